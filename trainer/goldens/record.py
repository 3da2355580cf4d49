"""Records metrics.json beside it: figures of merit as scikit-learn, SciPy and NumPy compute them.

    cargo xtask peers metrics
"""

import json
from pathlib import Path

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from scipy.stats import binomtest
from sklearn import metrics
from sklearn.covariance import ledoit_wolf

rng = np.random.default_rng(20240517)
n, classes = 157, 3
truth = rng.choice(classes, size=n, p=[0.6, 0.3, 0.1])
logits = rng.normal(scale=2.0, size=(n, classes))
logits[np.arange(n), truth] += 2.5
# Coarse logits make ties among the probabilities, which is where hand-written areas go wrong.
logits = (np.round(logits * 2) / 2).astype(np.float32)
probabilities = softmax(logits.astype(np.float64), axis=1).astype(np.float32)
predicted = probabilities.argmax(axis=1)

confusion = metrics.confusion_matrix(truth, predicted, labels=range(classes))
sensitivity, specificity, auroc = [], [], []
for label in range(classes):
    positive = truth == label
    sensitivity.append(metrics.recall_score(positive, predicted == label))
    specificity.append(metrics.recall_score(~positive, predicted != label))
    auroc.append(metrics.roc_auc_score(positive, probabilities[:, label]))
fpr, tpr, _ = metrics.roc_curve(truth == 1, probabilities[:, 1], drop_intermediate=False)


# Platt's targets: every label seen once more.
targets = (n * np.eye(classes)[truth] + 1) / (n + classes)


def nll(log_temperature):
    return -(targets * log_softmax(logits.astype(np.float64) / np.exp(log_temperature), axis=1)).sum(axis=1).mean()


best = minimize_scalar(nll, bounds=(np.log(0.05), np.log(20.0)), method="bounded", options={"xatol": 1e-12})

confidence = probabilities.max(axis=1).astype(np.float64)
edges = np.linspace(0, 1, 16)
bins = np.clip(np.digitize(confidence, edges, right=True), 1, 15)
ece = sum(
    abs((predicted[bins == b] == truth[bins == b]).mean() - confidence[bins == b].mean()) * (bins == b).mean()
    for b in range(1, 16)
    if (bins == b).any()
)

map_a = rng.gamma(1.0, size=49).astype(np.float32)
map_b = (map_a + rng.normal(scale=0.4, size=49)).astype(np.float32)
hot = round(0.2 * 49)
hot_a, hot_b = (set(np.argsort(-m, kind="stable")[:hot]) for m in (map_a, map_b))


def wilson(hits, count):
    interval = binomtest(hits, count).proportion_ci(confidence_level=0.95, method="wilson")
    return {"hits": hits, "n": count, "low": interval.low, "high": interval.high}


# The rows that the test of src/export/novelty.rs makes.
rows = np.array([[(r * 7 + c * 3) % 11 - 5.0 + 0.5 * ((r * c) % 3) for c in range(4)] for r in range(12)])

Path(__file__).with_name("metrics.json").write_text(
    json.dumps(
        {
            "truth": truth.tolist(),
            "probabilities": probabilities.tolist(),
            "logits": logits.tolist(),
            "confusion": confusion.tolist(),
            "accuracy": metrics.accuracy_score(truth, predicted),
            "balanced_accuracy": metrics.balanced_accuracy_score(truth, predicted),
            "sensitivity": sensitivity,
            "specificity": specificity,
            "auroc": auroc,
            "roc_class_1": {"false_positive_rate": fpr.tolist(), "true_positive_rate": tpr.tolist()},
            "temperature": float(np.exp(best.x)),
            "nll_at_temperature": float(best.fun),
            "ece_15_bins": float(ece),
            "wilson": [wilson(0, 10), wilson(10, 10), wilson(7, 31), wilson(980, 1000)],
            "map_a": map_a.tolist(),
            "map_b": map_b.tolist(),
            "pearson": float(np.corrcoef(map_a.astype(np.float64), map_b.astype(np.float64))[0, 1]),
            "top_20_iou": len(hot_a & hot_b) / len(hot_a | hot_b),
            "mcnemar_exact": [
                {"only_first": a, "only_second": b, "p": binomtest(min(a, b), a + b).pvalue}
                for a, b in [(1, 0), (3, 9), (5, 5), (12, 40), (230, 280)]
            ],
            "shrinkage": float(ledoit_wolf(rows, assume_centered=True)[1]),
        },
        indent=None,
        separators=(",", ":"),
    )
    + "\n"
)
