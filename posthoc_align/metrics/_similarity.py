"""Similarity of rows, tile by tile: what every retrieval and alignment measure is counted from.

An n x m matrix of similarities is never held. Both sides are cut into tiles of one height, so
that a row and its translation meet on the diagonal of a tile; a tile takes :data:`TILE_BYTES`, or
its share of the caller's ``memory_budget``.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from math import isqrt
from typing import Any

import numpy as np

from posthoc_align._arrays import Array, index_like, largest, largest_at, namespace, on_host
from posthoc_align._blocks import DEVICE_BLOCK, PRODUCT_BLOCK
from posthoc_align.metrics._directions import Directions, check_count

TILE_BYTES = PRODUCT_BLOCK  # one tile of scores, and one of unit rows, in main memory

# Held at once, in tiles: the unit rows of both sides, their scores, and either the mask that is
# counted with its summands, or the places of the largest scores, as 8-byte integers.
TILES_HELD = 6

SCORES = ("cosine", "csls", "inverted_softmax")

# The inverse temperature that MUSE publishes its inverted softmax with ("invsm_beta_30").
INVERTED_SOFTMAX_BETA = 30.0


def check_score(score: str, *, known: tuple[str, ...] = SCORES) -> str:
    """Return the name of a known score."""
    if score not in known:
        raise ValueError(f"Unknown score {score!r}: expected one of {list(known)}.")
    return score


def check_neighbors(neighbors: Any, X: Directions, Y: Directions) -> int:
    """Return a neighbourhood that both sides can fill."""
    pool = "the smaller of X and Y" if len(X) != len(Y) else "each side"
    return check_count(neighbors, min(len(X), len(Y)), name="neighbors", pool=pool)


def tile_height(side: Directions, width: int = 1, memory_budget: int | None = None) -> int:
    """Rows of a tile: its scores, and as many rows of `width` columns, stay in the budget.

    Parameters
    ----------
    side : Directions
    width : int, default=1
        Columns that are kept a row, if they are more than the features.
    memory_budget : int, optional
        Bytes for all that is held at once beside the arrays and the answer.

    Raises
    ------
    ValueError
        If the budget is no whole number, or too small for tiles of one row.
    """
    itemsize = 8 if side.double else 4
    width = max(side.width, width)
    if memory_budget is None:
        budget = TILE_BYTES if on_host(side.rows) else max(TILE_BYTES, DEVICE_BLOCK)
    else:
        budget = _tile_budget(memory_budget, least=TILES_HELD * itemsize * width)
    cells = budget // itemsize
    return max(1, min(isqrt(cells), cells // width))


def _tile_budget(memory_budget: Any, least: int) -> int:
    try:
        given = operator.index(memory_budget)
    except TypeError:
        raise ValueError(
            f"memory_budget={memory_budget!r} is not a whole number of bytes: pass e.g. 2**28 for "
            "256 MB, or None."
        ) from None
    if given < least:
        raise ValueError(
            f"memory_budget={given} bytes does not hold {TILES_HELD} tiles of one row: pass at "
            f"least {least}. Tiles of 2**20 bytes and more are fast."
        )
    return given // TILES_HELD


def tiles(n_rows: int, height: int) -> Iterator[slice]:
    """Yield slices of `height` rows that cover `n_rows`."""
    for start in range(0, n_rows, height):
        yield slice(start, min(start + height, n_rows))


def mean_similarity(
    X: Directions, Y: Directions, neighbors: int, *, memory_budget: int | None = None
) -> Array:
    """Mean cosine of each row of X to its nearest rows of Y: r_Y(x) of CSLS.

    Returns
    -------
    array of shape (len(X),), on X's device
    """
    xp = namespace(X.rows)
    height = tile_height(X, 4 * neighbors, memory_budget)  # best, new, both, and both sorted
    means = []
    for rows in tiles(len(X), height):
        queries, best = X.unit(rows), None
        for columns in tiles(len(Y), height):
            top = largest(queries @ Y.unit(columns).T, neighbors)
            best = top if best is None else largest(xp.concat([best, top], axis=1), neighbors)
        means.append(xp.mean(best, axis=1))
    return xp.concat(means)


def soft_highest_similarity(
    X: Directions, Y: Directions, *, memory_budget: int | None = None
) -> Array:
    r"""Softened highest cosine of each row of X: :math:`\tfrac1\beta \log \sum_y e^{\beta \cos}`.

    Returns
    -------
    array of shape (len(X),), on X's device
    """
    xp = namespace(X.rows)
    height = tile_height(X, memory_budget=memory_budget)
    parts = []
    for rows in tiles(len(X), height):
        queries, total = X.unit(rows), 0.0
        for columns in tiles(len(Y), height):
            scores = queries @ Y.unit(columns).T
            scores -= 1.0  # no term above one: nothing overflows, and the sum is taken as it is
            scores *= INVERTED_SOFTMAX_BETA
            # Summed over a tile in its own type (pairwise, hence exactly enough), then in double.
            total = total + xp.astype(xp.sum(xp.exp(scores), axis=1), xp.float64)
        parts.append(1.0 + xp.log(total) / INVERTED_SOFTMAX_BETA)
    return xp.astype(xp.concat(parts), X.lengths.dtype, copy=False)


def hubness_penalty(
    X: Directions, Y: Directions, score: str, neighbors: Any, *, memory_budget: int | None = None
) -> Array | None:
    r"""Return what ranking by `score` takes off the cosines with each row of Y; None for nothing.

    CSLS is 2 cos - r(x) - r(y): for one x, cos - r(y) / 2 has the same order. The inverted
    softmax :math:`e^{\beta \cos(x, y)} / \sum_{x'} e^{\beta \cos(x', y)}` has that of its
    logarithm over beta.
    """
    if check_score(score) == "cosine":
        return None
    if score == "inverted_softmax":
        return soft_highest_similarity(Y, X, memory_budget=memory_budget)
    near = check_neighbors(neighbors, X, Y)
    return mean_similarity(Y, X, near, memory_budget=memory_budget) / 2


def tile(queries: Array, pool: Directions, columns: slice | Array, penalty: Array | None) -> Array:
    """Scores of a block of unit queries with some rows of the pool, less their penalty."""
    scores = queries @ pool.unit(columns).T
    if penalty is not None:
        scores -= penalty[columns]
    return scores


def nearest_scored(
    X: Directions,
    Y: Directions,
    k: int,
    *,
    penalty: Array | None = None,
    memory_budget: int | None = None,
) -> tuple[Array, Array]:
    """Highest k scores of each row of X with rows of Y, falling, and the positions of those.

    Returns
    -------
    array of shape (len(X), k), array of int64 of the same shape; on X's device
    """
    xp = namespace(X.rows)
    height = tile_height(X, 8 * k, memory_budget)  # as there, each with its positions
    values, found = [], []
    for rows in tiles(len(X), height):
        queries = X.unit(rows)
        scores, positions = queries[:, :0], index_like(np.empty((len(queries), 0)), X.rows)
        for columns in tiles(len(Y), height):
            new, at = largest_at(tile(queries, Y, columns, penalty), k)
            scores, order = largest_at(xp.concat([scores, new], axis=1), k)
            positions = xp.concat([positions, at + columns.start], axis=1)
            positions = xp.take_along_axis(positions, order, axis=1)
        values.append(scores)
        found.append(positions)
    return xp.concat(values), xp.concat(found)


def nearest_rows(
    X: Directions,
    Y: Directions,
    k: int,
    *,
    penalty: Array | None = None,
    memory_budget: int | None = None,
) -> Array:
    """Positions of the k rows of Y that score highest with each row of X, best first.

    Returns
    -------
    array of int64 of shape (len(X), k), on X's device
    """
    return nearest_scored(X, Y, k, penalty=penalty, memory_budget=memory_budget)[1]
