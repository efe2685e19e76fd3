"""Compares the loss of `examples/python/loss.py` with that of the command line.

Arguments: the program `splatport`, the folder that the quickstart wrote to and, for the example's second half, a Python that has PyTorch.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import scipy.sparse

program, folder = sys.argv[1], Path(sys.argv[2])
example = Path(__file__).parents[2] / "examples/python/loss.py"
path = folder / "kernel.npz"
kernel = scipy.sparse.load_npz(path).tocsc()

with tempfile.TemporaryDirectory() as temporary:
    density, device, python = (str(Path(temporary) / name) for name in ("z.npy", "device.npy", "python.npy"))
    with np.load(path) as file:
        shape = int(file["grid_height"]), int(file["grid_width"])
    z = np.random.default_rng(7).exponential(0.03, shape).astype(np.float32)
    np.save(density, z)
    command = [program, "--json", "loss", path, "--density", density, "--gradient", device]
    told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    printed = subprocess.run([sys.executable, example, path, density, python], check=True, capture_output=True, text=True)
    expected = float(printed.stdout.split()[1].rstrip(","))
    torch = [subprocess.run([found, example, path, density], check=True, capture_output=True, text=True) for found in sys.argv[3:]]
    slopes = np.abs(np.load(device).ravel() - np.load(python).ravel())

# The device sums an annotation's products in f32, Python in f64: of `length` terms each sum is off by at most (length + 1) u of
# its terms' sizes, which together are what the annotation got.
unit = 2.0**-24
lengths, masses = np.diff(kernel.indptr), kernel.T @ z.ravel().astype(np.float64)
off, bound = abs(told["value"] - expected), float(((lengths + 1) * unit * masses).sum())
print(f"loss {told['value']:.6f} on the device, {expected:.6f} in NumPy: {off:.1e} apart, at most {bound:.1e}")
assert off <= bound
# A gradient's value is a sum of a row's weights, which are shares of 1, with signs.
row = int(np.diff(kernel.tocsr().indptr).max())
print(f"gradient {slopes.max():.1e} apart, at most {(row + 1) * unit:.1e}")
assert slopes.max() <= (row + 1) * unit
# Automatic differentiation adds the same numbers in f64; nine digits of the loss are printed.
for run in torch:
    words = run.stdout.splitlines()[-1].split()
    assert words[0] == "PyTorch:", run.stdout
    value, apart = float(words[2].rstrip(",")), float(words[-1])
    print(f"PyTorch: loss {abs(value - expected):.1e}, gradient {apart:.1e} apart")
    assert abs(value - expected) <= 1e-8 * expected and apart <= (row + 1) * 2.0**-53
