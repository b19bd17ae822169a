"""Silhouettes from sums of distances: of every row to every language, never of row to row held.

All in double precision: a silhouette compares two means that may differ in the last digits.
"""

from __future__ import annotations

from math import isqrt, sqrt

import numpy as np

from posthoc_align._arrays import Array, like, namespace, on_host, to_host, zeros_on
from posthoc_align._blocks import DEVICE_BLOCK, PRODUCT_BLOCK, blocks
from posthoc_align.linalg import EPS
from posthoc_align.metrics._directions import Directions
from posthoc_align.metrics._similarity import tiles
from posthoc_align.moments import Moments


def silhouette(distances: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Silhouette of each row, from its summed distances to the rows of each cluster.

    Parameters
    ----------
    distances : ndarray of shape (n_samples, n_clusters)
        Sums; a row's distance to itself is 0.
    codes : ndarray of int of shape (n_samples,)
        Cluster of each row.

    Returns
    -------
    ndarray of shape (n_samples,)
        0 for the only row of a cluster, and where both mean distances are 0.
    """
    counts = np.bincount(codes)
    each = np.arange(len(codes))
    own = distances[each, codes] / np.maximum(counts[codes] - 1, 1)
    means = distances / counts
    means[each, codes] = np.inf
    other = means.min(axis=1)
    greater = np.maximum(own, other)
    known = (counts[codes] > 1) & (greater > 0)
    return np.where(known, other - own, 0.0) / np.where(known, greater, 1.0)


def cosine_distances(X: Directions, codes: np.ndarray) -> np.ndarray:
    """Summed cosine distances of each row to each cluster, from the sums of unit rows.

    The cosines of a row with a set add up to its product with the sum of the set.
    """
    counts = np.bincount(codes)
    sums = zeros_on(X.rows, (X.width, len(counts)))
    for rows in blocks(X.rows):
        sums += X.exact(rows).T @ _members(codes[rows], len(counts), X.rows)
    parts = [counts - to_host(X.exact(rows) @ sums) for rows in blocks(X.rows)]
    distances = np.concatenate(parts)
    # A sum of n unit products is off by n roundings: equal directions are at distance 0.
    rounding = _rounding(X.width) * counts
    return np.where(distances <= rounding, 0.0, distances)


def _rounding(width: int) -> float:
    """Relative error of a product of rows, see :meth:`Directions.slack`."""
    return (4 + sqrt(width) / 2) * EPS


def _members(codes: np.ndarray, n_clusters: int, X: Array) -> Array:
    """One-hot rows of cluster codes, where X lies: a product with them sums by cluster."""
    return like(np.eye(n_clusters)[codes], X, dtype=namespace(X).float64)


def euclidean_distances(X: Array, codes: np.ndarray) -> np.ndarray:
    """Summed Euclidean distances of each row to each cluster, a tile of pairs at a time."""
    xp = namespace(X)
    n_clusters = int(codes.max()) + 1
    cells = (PRODUCT_BLOCK if on_host(X) else DEVICE_BLOCK) // 8
    height = max(1, min(isqrt(cells), cells // X.shape[1]))
    center = like(Moments.of(X).mean, X, dtype=xp.float64)
    out = np.zeros((X.shape[0], n_clusters))
    rounding = _rounding(X.shape[1])

    def centred(rows: slice) -> tuple[Array, Array]:
        block = xp.astype(X[rows], xp.float64) - center
        return block, xp.sum(block * block, axis=1)

    for rows in tiles(X.shape[0], height):
        left, left_squares = centred(rows)
        for columns in tiles(X.shape[0], height):
            right, right_squares = centred(columns)
            scale = left_squares[:, None] + right_squares
            squares = scale - 2 * (left @ right.T)
            # What rounding alone can make of equal rows is 0, a row's distance to itself included.
            squares = xp.where(squares > rounding * scale, squares, xp.zeros_like(squares))
            out[rows] += to_host(xp.sqrt(squares) @ _members(codes[columns], n_clusters, X))
    return out
