"""Photos with points from the wheels that scripts/fetch_data downloads: unpack_data.py WHEELS FOLDER

Points have the centre of the top-left pixel at (0.5, 0.5). Licences: deepforest MIT (c) 2019 Ben Weinstein, photos of NEON;
stardist BSD-3, photo of the 2018 Data Science Bowl CC0; ndev-sampledata BSD-3 (c) 2025 Tim Monko.
"""

import csv
import io
import os
import sys
import xml.etree.ElementTree as ElementTree
import zipfile
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

TREES = {
    "trees_yell_528000": "2019_YELL_2_528000_4978000_image_crop2",
    "trees_yell_541000": "2019_YELL_2_541000_4977000_image_crop",
    "trees_osbs_029": "OSBS_029",
}


def replace(path, write):
    """Writes beside `path` and moves: what is there under its name is whole."""
    temporary = path.with_name("." + path.name)
    write(temporary)
    os.replace(temporary, path)


def points(path, header, rows):
    def write(temporary):
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([header, *rows])

    replace(path.with_name(path.stem + "_points.csv"), write)


def photo(path, array):
    replace(path, lambda temporary: Image.fromarray(array).save(temporary, format="PNG"))


def boxes(document):
    """Centre and sides of the boxes of a Pascal VOC file, whose pixels count from 1 and include both ends."""
    for box in ElementTree.fromstring(document).iter("bndbox"):
        left, top, right, bottom = (float(box.find(name).text) for name in ("xmin", "ymin", "xmax", "ymax"))
        width, height = right - left + 1, bottom - top + 1
        yield left - 1 + width / 2, top - 1 + height / 2, width, height


def objects(mask):
    """Centroid, label, area and the square roots of the covariance's eigenvalues of every labelled object."""
    for label in np.unique(mask)[1:]:
        rows, columns = np.nonzero(mask == label)
        covariance = np.cov(columns, rows, bias=True)
        minor, major = np.sqrt(np.maximum(np.linalg.eigvalsh(covariance), 0))
        yield columns.mean() + 0.5, rows.mean() + 0.5, label, len(rows), major, minor


def labelled(path, array, mask):
    """Labels are numbered anew, so that they fit into 8 bits, in the order of the old ones."""
    mask = np.unique(mask, return_inverse=True)[1].reshape(mask.shape)
    if mask.max() > 255:
        raise SystemExit(f"{path}: {mask.max()} objects do not fit into a mask of 8 bits")
    photo(path, array)
    photo(path.with_name(path.stem + "_mask.png"), mask.astype(np.uint8))
    rows = ([f"{v:.3f}" for v in row[:2]] + [int(row[2]), row[3]] + [f"{v:.3f}" for v in row[4:]] for row in objects(mask))
    points(path, ["x", "y", "label", "area_px", "sigma_major", "sigma_minor"], rows)


def grey(array):
    """8 bits: as they are, or from the darkest to the brightest 0.1 %."""
    if array.max() < 256:
        return array.astype(np.uint8)
    low, high = np.percentile(array, [0.1, 99.9])
    return np.round(np.clip((array - low) / max(high - low, 1e-9), 0, 1) * 255).astype(np.uint8)


def main(wheels, folder):
    def wheel(name):
        found = sorted(Path(wheels).glob(name + "-*.whl"))
        if not found:
            raise SystemExit(f"{wheels}: no {name}-*.whl")
        return zipfile.ZipFile(found[-1])

    for name in ("trees", "nuclei", "scratch"):
        (Path(folder) / name).mkdir(parents=True, exist_ok=True)
    forest = wheel("deepforest")
    for name, source in TREES.items():
        target = Path(folder) / "trees" / f"{name}.png"
        photo(target, np.array(Image.open(io.BytesIO(forest.read(f"deepforest/data/{source}.png"))).convert("RGB")))
        rows = [[f"{v:g}" for v in box] for box in boxes(forest.read(f"deepforest/data/{source}.xml"))]
        points(target, ["x", "y", "box_w", "box_h"], rows)
    stars = wheel("stardist")
    image, mask = (tifffile.imread(io.BytesIO(stars.read(f"stardist/data/images/{n}2d.tif"))) for n in ("img", "mask"))
    labelled(Path(folder) / "nuclei" / "nuclei_dsb2018.png", grey(image), mask)
    scratch = wheel("ndev_sampledata").read("ndev_sampledata/samples/scratch-assay-labeled-10T-2Ch.tiff")
    frames = tifffile.imread(io.BytesIO(scratch))
    # Channels (two of light, two of labels), times, rows, columns.
    for time, (image, mask) in enumerate(zip(frames[0], frames[2])):
        mask = np.where(np.isin(mask, [label for label, n in zip(*np.unique(mask, return_counts=True)) if n >= 20]), mask, 0)
        labelled(Path(folder) / "scratch" / f"scratch_t{time:02}.png", grey(image), mask)


if __name__ == "__main__":
    main(*sys.argv[1:3])
