"""The training loss of a stored kernel and its gradient, without Splatport: `python loss.py KERNEL.npz DENSITY.npy`.

With PyTorch installed the same again, its gradient by automatic differentiation.
"""
import sys
import numpy as np
import scipy.sparse

kernel = scipy.sparse.load_npz(sys.argv[1]).tocsr()    # [cells, points + 1], the background last; every row sums to 1
density = np.load(sys.argv[2]).astype(np.float64)      # [rows, columns], mass per cell
target = np.append(np.ones(kernel.shape[1] - 1), 0.0)  # one unit of mass a point, none for the background

transported = kernel.T @ density.ravel()               # K'z
loss = np.abs(transported - target).sum()
gradient = kernel @ np.sign(transported - target)
print(f"loss {loss:.9g}, gradient {gradient.min():.4f} to {gradient.max():.4f}")
if len(sys.argv) > 3:
    np.save(sys.argv[3], gradient.reshape(density.shape))

try:
    import torch
except ImportError:
    sys.exit()
plan = torch.sparse_csr_tensor(*map(torch.from_numpy, (kernel.indptr, kernel.indices, kernel.data.astype(float))), kernel.shape)
z = torch.from_numpy(density.ravel()).requires_grad_()
loss = (plan.to_dense().T @ z - torch.from_numpy(target)).abs().sum()
loss.backward()
print(f"PyTorch: loss {loss.item():.9g}, gradient off by {np.abs(z.grad.numpy() - gradient).max():.1e}")
