"""Pixels of the synthetic files: integers from formulas, so that every bit is exercised and nothing is anybody's image."""

import numpy as np


def texture(rows, columns, bits, signed, frame=0):
    """All bits in use, extremes in the corners: for lossless codings."""
    y, x = np.mgrid[0:rows, 0:columns].astype(np.int64)
    span = 1 << bits
    values = (x * 37 + y * 101 + x * y * 7 + ((x + frame) << 3) + frame * 59 + (y // 4) * 613) % span
    # A flat part, for run-length coders.
    values[rows // 2 :, : columns // 2] = span // 3
    values[0, 0], values[-1, -1] = 0, span - 1
    if signed:
        values -= span // 2
    return values


def thorax(size, bits, frame=0):
    """Smooth shapes with a little noise: for lossy codings."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    lungs = np.exp(-(((np.abs(x) - 0.45) / 0.3) ** 4) - (y / 0.7) ** 4)
    heart = np.exp(-(((x - 0.1) / 0.25) ** 2) - ((y - 0.25) / 0.35) ** 2)
    grain = np.random.default_rng(7 + frame).normal(0, 0.01, (size, size))
    unit = 0.75 - 0.5 * lungs + 0.2 * heart + grain
    return np.clip(np.rint(unit * ((1 << bits) - 1)), 0, (1 << bits) - 1).astype(np.int64)
