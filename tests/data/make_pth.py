"""Writes convolutions.pth, a state dictionary in the format of torch.save (zip, since PyTorch 1.6), without PyTorch."""

import collections
import io
import pickle
import struct
import sys
import types
import zipfile


def module(name, **members):
    made = types.ModuleType(name)
    made.__dict__.update(members)
    sys.modules[name] = made
    return made


class FloatStorage:
    """Named `torch.FloatStorage` in the pickle, as a type only."""


def _rebuild_tensor_v2():
    """Named `torch._utils._rebuild_tensor_v2` in the pickle; readers call their own."""


FloatStorage.__module__, FloatStorage.__qualname__ = "torch", "FloatStorage"
_rebuild_tensor_v2.__module__ = "torch._utils"
module("torch", FloatStorage=FloatStorage, _utils=module("torch._utils", _rebuild_tensor_v2=_rebuild_tensor_v2))


class Storage:
    def __init__(self, key, numbers):
        self.key, self.numbers = key, numbers


class Tensor:
    def __init__(self, storage, shape):
        self.storage, self.shape = storage, shape

    def __reduce__(self):
        strides = [1]
        for size in reversed(self.shape[1:]):
            strides.insert(0, strides[0] * size)
        arguments = (self.storage, 0, tuple(self.shape), tuple(strides), False, collections.OrderedDict())
        return _rebuild_tensor_v2, arguments


class Pickler(pickle.Pickler):
    def persistent_id(self, thing):
        if isinstance(thing, Storage):
            return "storage", FloatStorage, thing.key, "cpu", len(thing.numbers)
        return None


# What a test can compute again: element i of the n-th array is (100 n + i) / 256.
shapes = {"features.0.weight": [2, 3, 3, 3], "features.0.bias": [2], "features.2.weight": [1, 2, 1, 1], "features.2.bias": [1]}
storages, state = [], collections.OrderedDict()
for n, (name, shape) in enumerate(shapes.items()):
    count = 1
    for size in shape:
        count *= size
    storages.append(Storage(str(n), [(100 * n + i) / 256 for i in range(count)]))
    state[name] = Tensor(storages[-1], shape)

pickled = io.BytesIO()
Pickler(pickled, protocol=2).dump(state)
with zipfile.ZipFile("convolutions.pth", "w", zipfile.ZIP_STORED) as file:
    stamp = (1980, 1, 1, 0, 0, 0)
    file.writestr(zipfile.ZipInfo("convolutions/data.pkl", stamp), pickled.getvalue())
    file.writestr(zipfile.ZipInfo("convolutions/byteorder", stamp), "little")
    for storage in storages:
        numbers = struct.pack(f"<{len(storage.numbers)}f", *storage.numbers)
        file.writestr(zipfile.ZipInfo(f"convolutions/data/{storage.key}", stamp), numbers)
    file.writestr(zipfile.ZipInfo("convolutions/version", stamp), "3\n")
