"""Similarity of rows, tile by tile: what every retrieval and alignment measure is counted from.

An n x m matrix of similarities is never held. Both sides are cut into tiles of one height, so
that a row and its translation meet on the diagonal of a tile; a tile takes :data:`TILE_BYTES`.

Floating products of equal rows differ in the last digits with their place in a tile, hence
"is it greater?" is not answered by ``>`` alone. Scores closer than :meth:`Directions.slack` are
undecided. For cosines in single precision these few pairs are computed again in double; what
then lies within the rounding of double precision is a tie, and so are undecided CSLS scores.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from math import isqrt, sqrt
from typing import Any

import numpy as np

from posthoc_align._arrays import (
    Array,
    check_rows,
    compute_dtype,
    index_like,
    largest,
    largest_at,
    namespace,
    on_host,
    require_same_place,
    resolution,
    to_host,
)
from posthoc_align._blocks import DEVICE_BLOCK, PRODUCT_BLOCK, blocks, require_finite

TILE_BYTES = PRODUCT_BLOCK  # one tile of scores, and one of unit rows, in main memory

SCORES = ("cosine", "csls")
_FEW = 16  # undecided rivals a row up to which gathering them is cheaper than a product


@dataclass(frozen=True)
class Directions:
    """Rows seen as unit vectors: the rows as given and their lengths, divided when they are read.

    Attributes
    ----------
    rows : array of shape (n_samples, n_features)
    lengths : array of shape (n_samples,)
        Euclidean norms, in the type products run in; each finite and above zero.
    """

    rows: Array
    lengths: Array

    @classmethod
    def of(cls, X: Any, *, name: str = "X", dtype: Any = None) -> Directions:
        """Check the rows and measure them; the type of the lengths is X's compute type if None."""
        X = check_rows(None, X, name=name)
        return cls(X, _lengths(X, compute_dtype(X) if dtype is None else dtype, name))

    def __len__(self) -> int:
        return int(self.rows.shape[0])

    @property
    def width(self) -> int:
        """Number of features."""
        return int(self.rows.shape[1])

    @property
    def double(self) -> bool:
        """Whether products run in double precision."""
        return "64" in str(self.lengths.dtype)

    def slack(self, spacing: float | None = None) -> float:
        """Return the largest difference that rounding makes between cosines of equal pairs.

        A sum of d rounded terms of a product of unit rows walks about sqrt(d) / 4 spacings.
        Measured over OpenBLAS, MKL, both precisions, d from 2 to 4096 and tiles of 1 to 2048
        rows, the worst was 0.65 sqrt(d) (small d) to 0.4 sqrt(d) (large d): the bound holds all.
        """
        spacing = resolution(self.lengths) if spacing is None else spacing
        return (4.0 + sqrt(self.width) / 2.0) * spacing

    def unit(self, at: slice | Array) -> Array:
        """Return the rows at a slice or an index array as unit rows, in the type of the lengths."""
        xp = namespace(self.rows)
        block = xp.astype(self.rows[at], self.lengths.dtype, copy=False)
        return block / self.lengths[at][:, None]

    def exact(self, at: slice | Array) -> Array:
        """Return the unit rows at a slice or an index array in double precision, measured anew."""
        xp = namespace(self.rows)
        block = xp.astype(self.rows[at], xp.float64)
        return block / xp.sqrt(xp.sum(block * block, axis=1))[:, None]


def _lengths(X: Array, dtype: Any, name: str) -> Array:
    """Norm of each row, by a scaled sum of squares: tiny and huge rows have a direction too."""
    xp = namespace(X)
    parts = []
    for rows in blocks(X):
        block = xp.astype(X[rows], dtype, copy=False)
        peak = xp.max(xp.abs(block), axis=1)
        if not bool(xp.all(xp.isfinite(peak))):
            require_finite(X, name=name)
        if not bool(xp.all(peak > 0)):
            first = rows.start + int(xp.argmax(xp.astype(peak == 0, xp.int64)))
            raise ValueError(
                f"{name} has a zero vector in row {first}: a cosine needs a direction. Remove "
                "such rows from both sides (an empty text often is the cause)."
            )
        block = block / peak[:, None]
        with np.errstate(over="ignore"):
            lengths = peak * xp.sqrt(xp.sum(block * block, axis=1))
        if not bool(xp.all(xp.isfinite(lengths))):
            raise ValueError(
                f"The lengths of {name}'s rows overflow {dtype}, first in row "
                f"{rows.start + int(xp.argmax(lengths))}. Rescale the rows or pass float64."
            )
        parts.append(lengths)
    return xp.concat(parts)


def check_sides(X: Any, Y: Any, *, paired: bool = True) -> tuple[Directions, Directions]:
    """Check two sets of rows of one space, and that row i of X has a partner if `paired`.

    Raises
    ------
    ValueError
        If kinds, devices or widths differ, a row is zero or not finite; if `paired`, also if
        the row counts differ or there is one row only.
    """
    X, Y = check_rows(None, X, name="X"), check_rows(None, Y, name="Y")
    require_same_place(X, Y)
    if X.shape[1] != Y.shape[1]:
        raise ValueError(
            f"X has {X.shape[1]} features and Y has {Y.shape[1]}: similarities need one common "
            "space. Map one side into the space of the other first."
        )
    if paired and X.shape[0] != Y.shape[0]:
        raise ValueError(
            f"X has {X.shape[0]} rows and Y has {Y.shape[0]}: row i of Y must be the translation "
            "of row i of X. Select the common rows first."
        )
    if paired and X.shape[0] < 2:
        raise ValueError(
            "X and Y have 1 row each: at least 2 pairs are needed, as a pair is compared with "
            "the rows that are not its translation."
        )
    dtype = namespace(X).result_type(compute_dtype(X), compute_dtype(Y))
    return Directions.of(X, name="X", dtype=dtype), Directions.of(Y, name="Y", dtype=dtype)


def check_score(score: str, *, known: tuple[str, ...] = SCORES) -> str:
    """Return the name of a known score."""
    if score not in known:
        raise ValueError(f"Unknown score {score!r}: expected one of {list(known)}.")
    return score


def check_count(value: Any, limit: int, *, name: str, pool: str) -> int:
    """Return a whole number from 1 to the size of the pool it is taken from."""
    try:
        count = operator.index(value)
    except TypeError:
        raise ValueError(f"{name}={value!r} is not a whole number of rows.") from None
    if not 1 <= count <= limit:
        raise ValueError(
            f"{name}={count} but {pool} has {limit} rows: {name} must lie between 1 and {limit}."
        )
    return count


def check_neighbors(neighbors: Any, X: Directions, Y: Directions) -> int:
    """Return a CSLS neighbourhood that both sides can fill."""
    pool = "the smaller of X and Y" if len(X) != len(Y) else "each side"
    return check_count(neighbors, min(len(X), len(Y)), name="neighbors", pool=pool)


def tile_height(side: Directions, width: int = 1) -> int:
    """Rows of a tile: its scores, and as many rows of `width` columns, stay in the budget."""
    budget = TILE_BYTES if on_host(side.rows) else max(TILE_BYTES, DEVICE_BLOCK)
    cells = budget // (8 if side.double else 4)
    return max(1, min(isqrt(cells), cells // max(side.width, width)))


def tiles(n_rows: int, height: int) -> Iterator[slice]:
    """Yield slices of `height` rows that cover `n_rows`."""
    for start in range(0, n_rows, height):
        yield slice(start, min(start + height, n_rows))


def mean_similarity(X: Directions, Y: Directions, neighbors: int) -> Array:
    """Mean cosine of each row of X to its nearest rows of Y: r_Y(x) of CSLS.

    Returns
    -------
    array of shape (len(X),), on X's device
    """
    xp = namespace(X.rows)
    height = tile_height(X, neighbors)
    means = []
    for rows in tiles(len(X), height):
        queries, best = X.unit(rows), None
        for columns in tiles(len(Y), height):
            top = largest(queries @ Y.unit(columns).T, neighbors)
            best = top if best is None else largest(xp.concat([best, top], axis=1), neighbors)
        means.append(xp.mean(best, axis=1))
    return xp.concat(means)


def hubness_penalty(X: Directions, Y: Directions, score: str, neighbors: Any) -> Array | None:
    """Return what ranking by `score` takes off the cosines with each row of Y; None for nothing.

    CSLS is 2 cos - r(x) - r(y): for one x, cos - r(y) / 2 has the same order.
    """
    if check_score(score) == "cosine":
        return None
    return mean_similarity(Y, X, check_neighbors(neighbors, X, Y)) / 2


def _tile(queries: Array, pool: Directions, columns: slice, penalty: Array | None) -> Array:
    scores = queries @ pool.unit(columns).T
    if penalty is not None:
        scores -= penalty[columns]
    return scores


def count_rivals(
    X: Directions, Y: Directions, *, penalty: Array | None = None, own: bool = False
) -> np.ndarray:
    """How many rows other than its translation score at least as high with each row of X.

    Parameters
    ----------
    X, Y : Directions of n_samples rows
        Row i of Y translates row i of X.
    penalty : array of shape (n_samples,), optional
        Taken off the cosines with each row of Y.
    own : bool, default=False
        Whether the other rows of X are rivals too.

    Returns
    -------
    ndarray of int64 of shape (n_samples,)
        A tie counts as a rival.
    """
    height = tile_height(X)
    counts = np.zeros(len(X), dtype=np.int64)
    for rows in tiles(len(X), height):
        queries = X.unit(rows)
        each = index_like(np.arange(rows.stop - rows.start), X.rows)
        home = _tile(queries, Y, rows, penalty)
        gold = home[each, each]
        for pool in (Y, X) if own else (Y,):
            for columns in tiles(len(X), height):
                if pool is Y and columns == rows:
                    scores = home
                else:
                    scores = _tile(queries, pool, columns, penalty if pool is Y else None)
                if columns == rows:
                    scores[each, each] = -np.inf
                counts[rows] += _at_least(scores, gold, (X, Y, pool), rows, columns, penalty)
    return counts


def _at_least(
    scores: Array,
    gold: Array,
    sides: tuple[Directions, Directions, Directions],
    rows: slice,
    columns: slice,
    penalty: Array | None,
) -> np.ndarray:
    """Count the scores in each row of a tile that are not below the row's gold score."""
    X = sides[0]
    # A penalty is half a mean of cosines, so that two of them add no more than one cosine errs.
    slack = X.slack() if penalty is None else 2 * X.slack()
    low, high = (gold - slack)[:, None], (gold + slack)[:, None]
    reached = _count(scores >= low, scores)
    if penalty is not None or X.double:
        return reached
    above = _count(scores > high, scores)
    unsure = np.flatnonzero(reached != above)
    for part in tiles(unsure.size, max(1, len(above) // 4)):
        at = index_like(unsure[part], scores)
        undecided = (scores[at] >= low[at]) & (scores[at] <= high[at])
        above[unsure[part]] += _settle(sides, undecided, at + rows.start, columns)
    return above


def _count(mask: Array, scores: Array) -> np.ndarray:
    # Summed as floats, which is exact below 2^24 columns: torch sums booleans five times slower.
    xp = namespace(scores)
    return to_host(xp.sum(xp.astype(mask, scores.dtype), axis=1)).astype(np.int64)


def _settle(
    sides: tuple[Directions, Directions, Directions], undecided: Array, at: Array, columns: slice
) -> np.ndarray:
    """Count the undecided rivals, by row `at` of X, that double precision finds no farther.

    Few are compared one by one, as differences; many (copies of one text) by one more product.
    """
    X, Y, pool = sides
    xp = namespace(undecided)
    slack = X.slack(float(np.finfo(np.float64).eps))
    if int(xp.sum(undecided)) > _FEW * int(at.shape[0]):
        queries = X.exact(at)
        floor = xp.sum(queries * Y.exact(at), axis=1)[:, None] - slack
        return _count(undecided & (queries @ pool.exact(columns).T >= floor), queries)
    i, j = xp.nonzero(undecided)
    counts = np.zeros(int(at.shape[0]), dtype=np.int64)
    for part in tiles(int(i.shape[0]), tile_height(X)):
        pair = at[i[part]]
        nearer = pool.exact(j[part] + columns.start) - Y.exact(pair)
        rivals = i[part][xp.sum(X.exact(pair) * nearer, axis=1) >= -slack]
        counts += np.bincount(to_host(rivals).astype(np.int64), minlength=counts.size)
    return counts


def nearest_rows(X: Directions, Y: Directions, k: int, *, penalty: Array | None = None) -> Array:
    """Positions of the k rows of Y that score highest with each row of X, best first.

    Returns
    -------
    array of int64 of shape (len(X), k), on X's device
    """
    xp = namespace(X.rows)
    height = tile_height(X, k)
    found = []
    for rows in tiles(len(X), height):
        queries = X.unit(rows)
        scores, positions = queries[:, :0], index_like(np.empty((len(queries), 0)), X.rows)
        for columns in tiles(len(Y), height):
            new, at = largest_at(_tile(queries, Y, columns, penalty), k)
            scores, order = largest_at(xp.concat([scores, new], axis=1), k)
            positions = xp.concat([positions, at + columns.start], axis=1)
            positions = xp.take_along_axis(positions, order, axis=1)
        found.append(positions)
    return xp.concat(found)
