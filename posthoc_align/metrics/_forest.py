"""Trees over rows: the shortest that joins them all, and how two of them differ.

The connected components of a growing distance (the homology of dimension 0 of a Vietoris-Rips
filtration) are all born at 0 and die at the lengths of a minimum spanning tree's edges.
"""

from __future__ import annotations

from math import isqrt

import numpy as np

from posthoc_align._arrays import Array, index_like, namespace, on_host, to_host
from posthoc_align._blocks import DEVICE_BLOCK, PRODUCT_BLOCK
from posthoc_align.metrics._similarity import tiles


def tree_lengths(rows: Array) -> np.ndarray:
    """Euclidean lengths of the edges of a minimum spanning tree of unit rows, falling.

    Boruvka's algorithm: in each of at most log2(n) rounds every tree of the forest takes its
    shortest edge to another tree. Time O(n^2 d) a round, in tiles; memory O(n).

    Parameters
    ----------
    rows : array of shape (n_samples, n_features)
        Of unit norm, so that the nearest row is that of the highest product.

    Returns
    -------
    ndarray of shape (n_samples - 1,)
    """
    n = rows.shape[0]
    tree = np.arange(n)
    edges: list[tuple[int, int]] = []
    while len(edges) < n - 1:
        score, other = _nearest_in_another_tree(rows, tree)
        edges += _join(tree, score, other)
    return np.sort(_lengths(rows, np.array(edges, dtype=np.int64).reshape(-1, 2)))[::-1]


def _nearest_in_another_tree(rows: Array, tree: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Highest product of each row with a row of another tree, and that row's position."""
    xp, n = namespace(rows), rows.shape[0]
    budget = PRODUCT_BLOCK if on_host(rows) else DEVICE_BLOCK
    height = max(1, isqrt(budget // 8))
    tree_there = index_like(tree, rows)
    score, other = np.full(n, -np.inf), np.zeros(n, dtype=np.int64)
    for queries in tiles(n, height):
        for columns in tiles(n, height):
            products = rows[queries] @ rows[columns].T
            products[tree_there[queries][:, None] == tree_there[columns][None, :]] = -np.inf
            at = xp.argmax(products, axis=1)[:, None]
            best = to_host(xp.take_along_axis(products, at, axis=1)[:, 0])
            better = best > score[queries]
            score[queries] = np.where(better, best, score[queries])
            found = to_host(at[:, 0]).astype(np.int64) + columns.start
            other[queries] = np.where(better, found, other[queries])
    return score, other


def _join(tree: np.ndarray, score: np.ndarray, other: np.ndarray) -> list[tuple[int, int]]:
    """Add the best edge of each tree, unless others have joined its ends; renumber in place.

    Two tiles may round one product differently, so that what should be one order of edges is
    not quite: ends are looked up, and no cycle arises.
    """
    by_score = np.argsort(-score, kind="stable")
    first = np.unique(tree[by_score], return_index=True)[1]
    root = {name: name for name in tree[by_score[first]].tolist()}

    def find(name: int) -> int:
        while root[name] != name:
            root[name] = root[root[name]]
            name = root[name]
        return name

    added = []
    for i in by_score[np.sort(first)].tolist():
        a, b = find(int(tree[i])), find(int(tree[other[i]]))
        if a != b:
            root[a] = b
            added.append((i, int(other[i])))
    names, codes = np.unique(tree, return_inverse=True)
    tree[:] = np.array([find(name) for name in names.tolist()])[codes]
    return added


def _lengths(rows: Array, edges: np.ndarray) -> np.ndarray:
    """Distances from differences: 2 - 2 cos would lose the short ones."""
    xp = namespace(rows)
    found = np.empty(len(edges))
    for part in tiles(len(edges), max(1, PRODUCT_BLOCK // (8 * rows.shape[1]))):
        a, b = (rows[index_like(edges[part, side], rows)] for side in (0, 1))
        apart = xp.astype(a, xp.float64) - xp.astype(b, xp.float64)
        found[part] = to_host(xp.sqrt(xp.sum(apart * apart, axis=1)))
    return found


def bottleneck(a: np.ndarray, b: np.ndarray) -> float:
    """Bottleneck distance of two persistence diagrams whose points (0, death) are all born at 0.

    Points are matched with each other, at the difference of their deaths, or left to the
    diagonal, at half their death. Some k largest deaths of each side, in order, are matched in
    one of the best matchings: where a larger death is left over and a smaller one is matched,
    exchanging the two, or leaving both and the partner to the diagonal, costs no more.

    Parameters
    ----------
    a, b : ndarray of shape (n_a,), (n_b,)
        Deaths, falling, not below 0.

    Returns
    -------
    float
    """
    common = min(len(a), len(b))
    matched = np.append(0.0, np.maximum.accumulate(np.abs(a[:common] - b[:common])))
    left = [np.append(side, 0.0)[: common + 1] / 2 for side in (a, b)]
    return float(np.min(np.maximum(matched, np.maximum(*left))))
