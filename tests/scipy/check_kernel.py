"""Reads a transport kernel and Gaussians with SciPy and NumPy alone, and checks what their files promise."""

import sys

import numpy as np
import scipy.sparse

kernel_path, gaussians_path = sys.argv[1:]
kernel = scipy.sparse.load_npz(kernel_path)
kernel.check_format(full_check=True)
meta = np.load(kernel_path, allow_pickle=False)
gaussians = np.load(gaussians_path, allow_pickle=False)

sums = np.asarray(kernel.sum(axis=1)).ravel()
worst = np.abs(sums - 1).max()
print(f"kernel {kernel.shape}, {kernel.nnz} entries, row sums off by at most {worst:.1e}, profile {meta['profile']}")
assert kernel.shape == (meta["grid_width"] * meta["grid_height"], len(gaussians["means"]) + 1), "one row a cell"
assert worst < 1e-5, "rows sum to 1, background included"
assert kernel.data.min() >= 0 and kernel.data.max() <= 1 + 1e-6, "weights are shares"
assert 2 * meta["bound"] <= meta["tau"], "the certificate keeps the tolerance"
assert np.isfinite(gaussians["scales"]).all() and (gaussians["scales"] > 0).all(), "scales are positive"
