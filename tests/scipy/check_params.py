"""The authors' files of Gaussians: h5py reads what `splatport convert` writes, and the other way round, bit for bit.

Arguments: the program `splatport`, the folder that the quickstart wrote to, and its photo.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np

program, folder, photo = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
PARTS = "means", "scales", "rotations", "colors"


def convert(*arguments):
    subprocess.run([program, "convert", *map(str, arguments)], check=True, capture_output=True)


def params(path):
    """What the authors' loader takes."""
    with h5py.File(path, "r") as file:
        return file["params"][:]


def columns(path):
    with np.load(path) as file:
        parts = [file[name] for name in PARTS]
    parts[2] = parts[2][:, np.newaxis]
    parts[3] = np.broadcast_to(parts[3], (len(parts[3]), 3))
    return np.concatenate(parts, axis=1)


def same(one, other):
    return one.dtype == other.dtype == np.float32 and one.tobytes() == other.tobytes()


with tempfile.TemporaryDirectory() as temporary:
    ours, back, theirs, empty, read = (Path(temporary) / name for name in ("a.h5", "a.npz", "b.h5", "c.h5", "b.npz"))
    convert(folder / "gaussians.npz", ours)
    expected = columns(folder / "gaussians.npz")
    assert expected.shape[1] == 8 and same(params(ours), expected)
    convert(ours, back, "--photo", photo)
    assert same(columns(back), expected)

    # As the authors' code writes; without points it writes an empty array of another type and shape.
    random = np.random.default_rng(7)
    for values, path in ((random.uniform(1, 30, (2000, 8)).astype(np.float32), theirs), (np.array([]), empty)):
        with h5py.File(path, "w") as file:
            file.create_dataset("params", data=values, compression="gzip")
        convert(path, read, "--photo", photo)
        assert columns(read).tobytes() == values.tobytes()
    convert(read, ours)
    assert len(params(ours)) == 0
print(f"params: {len(expected)} Gaussians to h5py {h5py.__version__} and back, 2000 and none from it")
