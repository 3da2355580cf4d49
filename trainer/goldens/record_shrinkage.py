"""Prints the shrinkage that src/export/novelty.rs is checked against.

pip install numpy scikit-learn; python3 record_shrinkage.py
"""

import numpy as np
from sklearn.covariance import ledoit_wolf

rows = np.array(
    [[(r * 7 + c * 3) % 11 - 5.0 + 0.5 * ((r * c) % 3) for c in range(4)] for r in range(12)]
)
print(repr(ledoit_wolf(rows, assume_centered=True)[1]))
