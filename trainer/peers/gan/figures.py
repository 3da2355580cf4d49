"""KID, FID, precision and recall of the features that `gan assess` wrote, by scikit-learn, SciPy and prdc: figures.py FEATURES
prints them as JSON."""

import contextlib
import json
import sys

import numpy as np
from prdc import compute_prdc
from safetensors.numpy import load_file
from scipy.linalg import sqrtm
from sklearn.metrics.pairwise import polynomial_kernel

features = load_file(sys.argv[1])
real, made = (features[name].astype(np.float64) for name in ("training", "generated"))
width = real.shape[1]


def kid(x, y):
    n, m = len(x), len(y)
    xx, yy, xy = (polynomial_kernel(a, b, degree=3, gamma=1 / width, coef0=1) for a, b in ((x, x), (y, y), (x, y)))
    within = lambda kernel, count: (kernel.sum() - np.trace(kernel)) / (count * (count - 1))
    return within(xx, n) + within(yy, m) - 2 * xy.mean()


def fid(x, y):
    a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    return ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a + b - 2 * np.real(sqrtm(a @ b)))


# prdc prints what it counts.
with contextlib.redirect_stdout(sys.stderr):
    manifold = compute_prdc(real_features=real, fake_features=made, nearest_k=3)
found = {"kid": kid(real, made), "fid": fid(real, made)}
found |= {name: manifold[name] for name in ("precision", "recall")}
print(json.dumps({name: float(value) for name, value in found.items()}))
