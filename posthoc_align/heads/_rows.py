"""What a head is given: rows of one length on average, where the head can read them."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.utils import get_tags

from posthoc_align._arrays import Array, labels_to_host, upcast
from posthoc_align._blocks import blocks, map_rows
from posthoc_align.heads._torch import TorchHead
from posthoc_align.metrics._probe import RADIUS
from posthoc_align.moments import Moments


def takes_tensors(head: Any) -> bool:
    """Whether a head reads rows where they lie: torch's, and scikit-learn's under dispatch."""
    if isinstance(head, TorchHead):
        return True
    return bool(get_config()["array_api_dispatch"]) and get_tags(head).array_api_support


def where_read(head: Any, values: Array) -> Array:
    """Rows, labels or weights where the head reads them: as they are, or on the host."""
    return values if takes_tensors(head) else labels_to_host(values)


def scaled(Z: Array, scale: float) -> Array:
    """Rows times a number, in the compute type; NaN in them is named."""
    return map_rows(lambda z, rows: scale * z, upcast(Z))


def scale_of(Z: Array, weight: Array | None) -> float:
    """The factor that brings rows to a root-mean-square distance of RADIUS from their mean.

    Encoders and aligners leave rows of any length, from 0.1 to 100, and the penalty of a linear
    head, the steps of a torch head, act on that length. One number for all rows and dimensions
    changes no angle and no ratio, so that a head that does not care (trees, neighbours) sees the
    same, and a shift of all rows plays no part.
    """
    if weight is None:
        spread = float(np.sum(Moments.of(Z, second="diagonal").variance))
    else:
        spread = _weighted_spread(Z, weight)
    return RADIUS / spread**0.5 if spread > 0 else 1.0  # equal rows have no length to set


def _weighted_spread(Z: Array, weight: Array) -> float:
    """Weighted sum of the variances of all dimensions, in two passes so that nothing cancels."""
    total = float(weight.sum())
    mean = sum(weight[rows] @ upcast(Z[rows]) for rows in blocks(Z)) / total
    squares = sum(float((weight[rows] @ (upcast(Z[rows]) - mean) ** 2).sum()) for rows in blocks(Z))
    return squares / total
