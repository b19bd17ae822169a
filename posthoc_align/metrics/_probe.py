"""Probes: what a classifier can read from the directions of rows.

Heads of scikit-learn run on the host: the rows they read are copied there as float64. The
centroid probe works where the rows lie.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from posthoc_align._arrays import Array, index_like, labels_to_host, like, namespace, to_host
from posthoc_align._blocks import PRODUCT_BLOCK, blocks
from posthoc_align.languages import check_language, factorize
from posthoc_align.metrics._directions import Directions

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


def head_blocks(X: Directions) -> Iterator[np.ndarray]:
    """Yield all rows of length 3 on the host, a block at a time."""
    for rows in blocks(X.rows, target=PRODUCT_BLOCK):
        yield probe_rows(X, np.arange(rows.start, rows.stop))


def make_head(head: Any, *, max_iter: int, task: str = "classes") -> Any:
    """Return an unfitted copy of the head, or what stands in for None.

    Logistic regression for classes, one a label for "labels", ridge regression for "values".
    """
    from sklearn.base import clone

    if head is not None:
        return clone(head)
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.multiclass import OneVsRestClassifier

    if task == "values":
        return Ridge(alpha=1.0)
    classifier = LogisticRegression(C=1.0, max_iter=max_iter)
    return OneVsRestClassifier(classifier) if task == "labels" else classifier


@dataclass(frozen=True, eq=False)
class CentroidProbe:
    """Names a row by the nearest mean direction.

    Attributes
    ----------
    names : ndarray of shape (n_classes,)
    means : ndarray of float64 of shape (n_classes, n_features)
        Mean unit row of each class.
    """

    names: np.ndarray
    means: np.ndarray

    @classmethod
    def of(cls, X: Directions, labels: np.ndarray, at: np.ndarray) -> CentroidProbe:
        """Average the unit rows at an index array by label."""
        names, codes = factorize(labels[at])
        sums = np.zeros((len(names), X.width))
        for part in _parts(X, at):
            one_hot = like(np.eye(len(names))[codes[part]], X.rows, dtype=X.lengths.dtype)
            sums += to_host(one_hot.T @ X.unit(index_like(at[part], X.rows)))
        return cls(names, sums / np.bincount(codes)[:, None])

    def predict(self, X: Directions, at: np.ndarray) -> np.ndarray:
        """Return the name of each row at an index array."""
        xp = namespace(X.rows)
        means = like(self.means, X.rows, dtype=X.lengths.dtype)
        # The nearest mean has the largest x'm - |m|^2 / 2.
        offsets = xp.sum(means * means, axis=1) / 2
        found: list[Array] = []
        for part in _parts(X, at):
            scores = X.unit(index_like(at[part], X.rows)) @ means.T - offsets
            found.append(labels_to_host(xp.argmax(scores, axis=1)))
        return self.names[np.concatenate(found)]


def _parts(X: Directions, at: np.ndarray) -> list[slice]:
    """Slices of an index array, each of as many rows as a block has."""
    return [part for part in blocks(X.rows) if part.start < at.size]


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


def rows_of(pivot: str | int, labels: np.ndarray) -> np.ndarray:
    """Return the positions of the pivot's rows; raise where there are none."""
    names = np.unique(labels).tolist()
    if pivot not in names:
        raise ValueError(f"Unknown pivot {pivot!r}: the languages are {names}. Pass one of them.")
    return np.flatnonzero(labels == pivot)
