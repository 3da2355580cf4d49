"""Records expected.json beside it: the transforms of the 17-fold expansion as SciPy and NumPy compute them.

    cargo xtask peers expansion

Noise has no peer: its random numbers are ours. The test looks at its distribution instead.
"""

import json
from pathlib import Path

import numpy as np
from scipy import ndimage

HEIGHT, WIDTH = 60, 84
EVERY = 13  # of the pixels; a file of all would be large
y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float64)
picture = 0.5 + 0.25 * np.sin(0.31 * x + 0.12 * y) + 0.2 * np.cos(0.23 * y * (1 + 0.02 * x))
picture = picture.astype(np.float32)


def about_the_middle(forward, shift=(0.0, 0.0)):
    """scipy.ndimage maps output to input: the inverse of the motion, about the middle of the pixels; axes are (y, x)."""
    inverse = np.linalg.inv(forward)
    middle = np.array([(HEIGHT - 1) / 2, (WIDTH - 1) / 2])
    offset = middle - inverse @ (middle + np.array(shift))
    return ndimage.affine_transform(picture.astype(np.float64), inverse, offset, order=1, mode="nearest")


def rotated(degrees):
    """Clockwise on the screen: in (y, x) with y down."""
    a = np.deg2rad(degrees)
    return about_the_middle(np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]]))


def clipped(values):
    return np.clip(values, 0, 1)


wide = picture.astype(np.float64)
still = np.eye(2)
sigma = 0.008 * min(HEIGHT, WIDTH)
expected = {
    "flip": np.fliplr(wide),
    "rotate_left_5": rotated(-5),
    "rotate_right_5": rotated(5),
    "rotate_left_10": rotated(-10),
    "rotate_right_10": rotated(10),
    "shift_left": ndimage.shift(wide, (0, -0.05 * WIDTH), order=1, mode="nearest"),
    "shift_right": ndimage.shift(wide, (0, 0.05 * WIDTH), order=1, mode="nearest"),
    "shift_up": ndimage.shift(wide, (-0.05 * HEIGHT, 0), order=1, mode="nearest"),
    "shift_down": ndimage.shift(wide, (0.05 * HEIGHT, 0), order=1, mode="nearest"),
    "enlarge": about_the_middle(1.1 * still),
    "reduce": about_the_middle(0.9 * still),
    "brighten": clipped(wide + 0.1),
    "darken": clipped(wide - 0.1),
    "more_contrast": clipped(0.5 + 1.25 * (wide - 0.5)),
    "less_contrast": clipped(0.5 + 0.8 * (wide - 0.5)),
    "blur": ndimage.gaussian_filter(wide, sigma, mode="nearest", radius=int(np.ceil(2.5 * sigma))),
}
out = {
    "height": HEIGHT,
    "width": WIDTH,
    "every": EVERY,
    "picture": picture.ravel().tolist(),
    "transforms": {name: np.round(values, 6).ravel()[::EVERY].tolist() for name, values in expected.items()},
}
Path(__file__).with_name("expected.json").write_text(json.dumps(out) + "\n")
