"""Linear probes: what a classifier of scikit-learn can read from the directions of rows.

Heads run on the host: the rows they read are copied there as float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from posthoc_align._arrays import index_like, labels_to_host, to_host
from posthoc_align._blocks import blocks
from posthoc_align.languages import check_language
from posthoc_align.metrics._similarity import Directions

# A logistic regression with C = 1 on unit rows of hundreds of entries is held down by its own
# penalty. Rows of length 3 under C = 1 are unit rows under C = 9.
RADIUS = 3.0


def probe_rows(X: Directions, at: np.ndarray | None = None) -> np.ndarray:
    """Return rows of length 3 on the host, all of them or those at an index array."""
    at = np.arange(len(X)) if at is None else at
    out = np.empty((at.size, X.width))  # in float32 the solver stops early
    for part in blocks(out):
        out[part] = to_host(X.unit(index_like(at[part], X.rows)))
    out *= RADIUS
    return out


def make_head(head: Any, *, max_iter: int) -> Any:
    """Return an unfitted copy of the head, or the logistic regression that stands in for None."""
    from sklearn.base import clone
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=1.0, max_iter=max_iter) if head is None else clone(head)


def check_labels(labels: Any, n_rows: int, *, name: str) -> np.ndarray:
    """Return one class label a row.

    Raises
    ------
    ValueError
        If there is not one label a row, or a label is NaN.
    """
    values = labels_to_host(labels)
    if values.shape != (n_rows,):
        raise ValueError(
            f"{name} has shape {values.shape} but there are {n_rows} rows: pass one label a row."
        )
    if values.dtype.kind == "f" and np.isnan(values).any():
        raise ValueError(
            f"{name} is NaN, first in row {int(np.argmax(np.isnan(values)))}: every row needs a "
            "label. Leave out the rows without one."
        )
    return values


def check_languages(language: Any, n_rows: int, *, name: str) -> np.ndarray:
    """Return one language a row; None is refused."""
    labels = check_language(language, n_rows)
    if labels is None:
        raise ValueError(f"{name} is None: pass one language label a row.")
    return labels


def check_same_width(X: Directions, X_test: Directions) -> None:
    """Raise unless training and test rows have as many features."""
    if X.width != X_test.width:
        raise ValueError(
            f"X has {X.width} features and X_test has {X_test.width}: the head is fitted on one "
            "and reads the other. Pass embeddings of one space."
        )
