#!/usr/bin/env python3
"""Record tensors.json: what PreprocessSpec must make of generated images, by Pillow and NumPy.

    cargo xtask peers preprocess

Pillow's resize is antialiased (its kernels widen with the scale). 8-bit images go through mode L, everything else
through mode F after the window, so the peer has no 16-bit rounding of its own.
"""

import json
import pathlib

import numpy as np
import PIL
from PIL import Image

FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos3": Image.Resampling.LANCZOS,
}


def stored(height, width, modulus):
    """The generated image: texture and slopes, whole numbers below `modulus`."""
    y, x = np.mgrid[0:height, 0:width].astype(np.int64)
    return (y * y * 3 + x * 11 + (x * y) // 7 + 40 * ((x // 9 + y // 13) % 2)) % modulus


def display(case):
    """Display values 0..=1 (PS3.3 C.11.2.1.2, LINEAR), or None for an 8-bit image that shows its stored values."""
    height, width = case["image"]
    values = stored(height, width, 2 ** case["bits_stored"]).astype(np.float64)
    if case["kind"] == "u8":
        return None
    if case["kind"] == "i16":
        values = values - 2 ** (case["bits_stored"] - 1)
    grey = case["spec"]["grey"]
    if grey["range"] == "window":
        slope, intercept = case["rescale"]
        values = values * slope + intercept
        center, width_ = grey["center"] - 0.5, grey["width"] - 1.0
        unit = np.clip((values - center) / width_ + 0.5, 0.0, 1.0)
    else:
        unit = values / (2 ** case["bits_stored"] - 1)
    return 1.0 - unit if case["monochrome1"] else unit


def crop_box(crop, height, width):
    """(left, top, right, bottom) of the part that is kept."""
    if crop["rule"] in ("whole", "fit-padded"):
        return 0, 0, width, height
    top = int(height * crop["fraction"]) if crop["rule"] == "crop-top" else 0
    left, right, bottom = 0, width, height
    if crop["rule"] == "centre-square" or crop.get("square"):
        side = min(width, height - top)
        left = (width - side) // 2
        top += (height - top - side) // 2
        right, bottom = left + side, top + side
    return left, top, right, bottom


def tensor(case):
    spec = case["spec"]
    height, width = case["image"]
    unit = display(case)
    if unit is None:
        picture, full = Image.fromarray(stored(height, width, 256).astype(np.uint8), "L"), 255.0
    else:
        picture, full = Image.fromarray(unit.astype(np.float32), "F"), 1.0
    picture = picture.crop(crop_box(spec["crop"], height, width))
    out_height, out_width = spec["size"]
    inner = (out_height, out_width)
    if spec["crop"]["rule"] == "fit-padded":
        scale = min(out_height / height, out_width / width)
        inner = (int(height * scale + 0.5), int(width * scale + 0.5))
    resized = np.asarray(picture.resize((inner[1], inner[0]), FILTERS[spec["filter"]]), np.float64) / full
    # The 16-bit way of the other side cannot hold what sharp kernels overshoot.
    resized = np.clip(resized, 0.0, 1.0)
    plane = np.zeros((out_height, out_width))
    top, left = (out_height - inner[0]) // 2, (out_width - inner[1]) // 2
    plane[top : top + inner[0], left : left + inner[1]] = resized
    return [(plane - mean) / std for mean, std in zip(spec["mean"], spec["std"])]


def case(name, image, size, *, kind="u8", bits=8, filter="bilinear", crop=None, grey=None, rescale=None, mono1=False, colour=False):
    spec = {
        "size": list(size),
        "filter": filter,
        "crop": crop or {"rule": "whole"},
        "grey": grey or {"range": "display"},
        "channels": 3 if colour else 1,
        "mean": [0.485, 0.456, 0.406] if colour else [0.5],
        "std": [0.229, 0.224, 0.225] if colour else [0.25],
    }
    made = {"name": name, "image": list(image), "kind": kind, "bits_stored": bits, "monochrome1": mono1, "rescale": rescale, "spec": spec}
    made["tensor"] = [np.round(plane, 5).ravel().tolist() for plane in tensor(made)]
    return made


LUNG = {"range": "window", "center": -600.0, "width": 1500.0}
CASES = [
    case("whole, down", (131, 97), (24, 20)),
    case("whole, three planes", (70, 90), (16, 16), colour=True),
    case("whole, up", (11, 13), (24, 20)),
    case("bicubic", (131, 97), (24, 20), filter="bicubic"),
    case("lanczos3", (131, 97), (24, 20), filter="lanczos3"),
    case("centre square of a tall image", (131, 96), (20, 20), crop={"rule": "centre-square"}),
    case("centre square of a wide image", (95, 130), (20, 20), crop={"rule": "centre-square"}),
    case("COVID-Net", (150, 121), (20, 20), crop={"rule": "crop-top", "fraction": 0.08, "square": True}),
    case("top cut off", (150, 121), (24, 20), crop={"rule": "crop-top", "fraction": 0.1, "square": False}),
    case("fit padded, wide", (60, 130), (20, 20), crop={"rule": "fit-padded"}),
    case("12 bit, MONOCHROME1", (131, 97), (24, 20), kind="u16", bits=12, mono1=True),
    case("16 bit, bicubic", (131, 97), (24, 20), kind="u16", bits=16, filter="bicubic"),
    case("CT lung window", (64, 64), (20, 20), kind="i16", bits=12, grey=LUNG, rescale=[1.0, 300.0]),
]

if __name__ == "__main__":
    here = pathlib.Path(__file__).parent
    recorded = {"made_by": "record.py", "pillow": PIL.__version__, "numpy": np.__version__, "cases": CASES}
    here.joinpath("tensors.json").write_text(json.dumps(recorded, separators=(",", ":")) + "\n")
