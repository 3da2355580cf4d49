"""Records figures of generated features by independent programs: scikit-learn's kernel (KID), SciPy's matrix root (FID) and
rank test (three-sample test), and prdc (precision and recall). The features are two overlapping clouds and a third."""

import json
from pathlib import Path

import numpy as np
from prdc import compute_prdc
from scipy.linalg import sqrtm
from scipy.stats import mannwhitneyu
from sklearn.metrics.pairwise import polynomial_kernel
from sklearn.neighbors import NearestNeighbors

rng = np.random.default_rng(5)
WIDTH = 6
mixing = rng.normal(size=(WIDTH, WIDTH))
real = np.round(rng.normal(size=(40, WIDTH)) @ mixing, 3)
generated = np.round(1.2 * rng.normal(size=(30, WIDTH)) @ mixing + 1.5, 3)
held_out = np.round(rng.normal(size=(20, WIDTH)) @ mixing, 3)


def kid(x, y):
    n, m = len(x), len(y)
    kernel = lambda a, b: polynomial_kernel(a, b, degree=3, gamma=1 / WIDTH, coef0=1)
    xx, yy, xy = kernel(x, x), kernel(y, y), kernel(x, y)
    within = lambda k, n: (k.sum() - np.trace(k)) / (n * (n - 1))
    return within(xx, n) + within(yy, m) - 2 * xy.mean()


def fid(x, y):
    a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = np.real(sqrtm(a @ b))
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a + b - 2 * root))


nearest = NearestNeighbors(n_neighbors=1).fit(real)
of_generated, of_held_out = (nearest.kneighbors(rows)[0][:, 0] for rows in (generated, held_out))
u = mannwhitneyu(of_generated, of_held_out, method="asymptotic").statistic
m, n = len(generated), len(held_out)
manifold = compute_prdc(real_features=real, fake_features=generated, nearest_k=3)

Path(__file__).with_name("expected.json").write_text(
    json.dumps(
        {
            "real": real.tolist(),
            "generated": generated.tolist(),
            "held_out": held_out.tolist(),
            "kid": float(kid(real, generated)),
            "fid": fid(real, generated),
            "precision": float(manifold["precision"]),
            "recall": float(manifold["recall"]),
            "copying": float((u - m * n / 2) / np.sqrt(m * n * (m + n + 1) / 12)),
        },
        separators=(",", ":"),
    )
    + "\n"
)
