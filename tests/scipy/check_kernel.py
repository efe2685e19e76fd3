"""Reads the quickstart's transport kernel and Gaussians with SciPy, NumPy and safetensors alone, and checks what they promise.

Argument: the folder that the quickstart wrote to.
"""

import sys
import zlib
from pathlib import Path

import numpy as np
import scipy.sparse
from safetensors import safe_open

folder = Path(sys.argv[1])


def packed(name):
    """The arrays of a `.npz` file."""
    with np.load(folder / f"{name}.npz", allow_pickle=False) as file:
        return {key: file[key] for key in file}


def tensors(name):
    """The arrays of a safetensors file; its check sum is compared."""
    with safe_open(folder / f"{name}.safetensors", framework="numpy") as file:
        arrays = {key: file.get_tensor(key) for key in file.keys()}
        expected = file.metadata()["crc32"]
    got = zlib.crc32(b"".join(arrays[key].tobytes() for key in sorted(arrays)))
    assert f"{got:08x}" == expected, f"{name}: check sum {got:08x}, expected {expected}"
    return arrays


def same(name):
    """The arrays of a table, which both formats must hold bit for bit."""
    one, other = packed(name), tensors(name)
    assert one.keys() == other.keys(), f"{name}: {one.keys() ^ other.keys()}"
    for key, array in one.items():
        if array.dtype.kind in "SU":
            assert str(np.char.decode(array) if array.dtype.kind == "S" else array) == other[key].tobytes().decode(), key
        else:
            assert array.dtype == other[key].dtype and array.shape == other[key].shape, f"{name}: {key}"
            assert array.tobytes() == other[key].tobytes(), f"{name}: {key}"
    return other


meta, gaussians = same("kernel"), same("gaussians")
kernel = scipy.sparse.load_npz(folder / "kernel.npz")
kernel.check_format(full_check=True)
rebuilt = scipy.sparse.csr_matrix((meta["data"], meta["indices"], meta["indptr"]), shape=tuple(meta["shape"]))
assert (kernel != rebuilt).nnz == 0, "the same matrix from both formats"

profile = meta["profile"].tobytes().decode()
sums = np.asarray(kernel.sum(axis=1)).ravel()
worst = np.abs(sums - 1).max()
print(f"kernel {kernel.shape}, {kernel.nnz} entries, row sums off by at most {worst:.1e}, profile {profile}")
assert kernel.shape == (meta["grid_width"] * meta["grid_height"], len(gaussians["means"]) + 1), "one row a cell"
assert worst < 1e-5, "rows sum to 1, background included"
assert kernel.data.min() >= 0 and kernel.data.max() <= 1 + 1e-6, "weights are shares"
assert 2 * meta["bound"] <= meta["tau"], "the certificate keeps the tolerance"
assert np.isfinite(gaussians["scales"]).all() and (gaussians["scales"] > 0).all(), "scales are positive"
