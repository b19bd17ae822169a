"""Who scores at least as high: the counts behind ranks, alignment and average precision.

Floating products of equal rows differ in the last digits with their place in a tile, hence
"is it greater?" is not answered by ``>`` alone. Scores closer than :meth:`Directions.slack` are
undecided. For products in single precision these few pairs are computed again in double; what
then lies within the rounding of double precision is a tie, and so are undecided scores that had a
penalty taken off.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from posthoc_align._arrays import Array, index_like, namespace, to_host
from posthoc_align.metrics._directions import Directions
from posthoc_align.metrics._similarity import tile, tile_height, tiles

_FEW = 16  # undecided rivals a row up to which gathering them is cheaper than a product


@dataclass(frozen=True)
class Contest:
    """One tile: some rows of X ask, each has a row of Y as its gold, rows of a pool are rivals.

    Attributes
    ----------
    X, Y, pool : Directions
    asking : array of int64 of shape (height,)
        Rows of X.
    gold : array of int64 of shape (height,)
        The row of Y that each of them should find.
    columns : array of int64 of shape (width,)
        Rows of the pool.
    penalized : bool
        Whether a penalty was taken off the scores.
    """

    X: Directions
    Y: Directions
    pool: Directions
    asking: Array
    gold: Array
    columns: Array
    penalized: bool = False

    def at_least(self, scores: Array, level: Array) -> np.ndarray:
        """Count in each row of the scores those that are not below the row's gold score."""
        # A penalty is half a mean of cosines, or a softened highest one: it errs no more than one
        # cosine does, and so does the difference of those of equal rows.
        slack = 2 * self.X.slack() if self.penalized else self.X.slack()
        low, high = (level - slack)[:, None], (level + slack)[:, None]
        reached = _count(scores >= low, scores)
        if self.penalized or self.X.double:
            return reached
        above = _count(scores > high, scores)
        unsure = np.flatnonzero(reached != above)
        for part in tiles(unsure.size, max(1, len(above) // 4)):
            at = index_like(unsure[part], scores)
            undecided = (scores[at] >= low[at]) & (scores[at] <= high[at])
            above[unsure[part]] += self._settle(undecided, at)
        return above

    def _settle(self, undecided: Array, at: Array) -> np.ndarray:
        """Count the undecided rivals, by row `at` of the tile, that are no farther in double.

        Few are compared one by one, as differences; many (copies of one text) by one more product.
        """
        xp = namespace(undecided)
        slack = self.X.slack(float(np.finfo(np.float64).eps))
        asking, gold = self.asking[at], self.gold[at]
        if int(xp.sum(undecided)) > _FEW * int(at.shape[0]):
            queries = self.X.exact(asking)
            floor = xp.sum(queries * self.Y.exact(gold), axis=1)[:, None] - slack
            return _count(undecided & (queries @ self.pool.exact(self.columns).T >= floor), queries)
        i, j = xp.nonzero(undecided)
        counts = np.zeros(int(at.shape[0]), dtype=np.int64)
        for part in tiles(int(i.shape[0]), max(len(self.asking), len(self.columns))):
            row = i[part]
            nearer = self.pool.exact(self.columns[j[part]]) - self.Y.exact(gold[row])
            rivals = row[xp.sum(self.X.exact(asking[row]) * nearer, axis=1) >= -slack]
            counts += np.bincount(to_host(rivals).astype(np.int64), minlength=counts.size)
        return counts


def _count(mask: Array, scores: Array) -> np.ndarray:
    # Summed as floats, which is exact below 2^24 columns: torch sums booleans five times slower.
    xp = namespace(scores)
    return to_host(xp.sum(xp.astype(mask, scores.dtype), axis=1)).astype(np.int64)


def count_rivals(
    X: Directions,
    Y: Directions,
    *,
    penalty: Array | None = None,
    own: bool = False,
    memory_budget: int | None = None,
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
    memory_budget : int, optional
        See :func:`tile_height`.

    Returns
    -------
    ndarray of int64 of shape (n_samples,)
        A tie counts as a rival.
    """
    height = tile_height(X, memory_budget=memory_budget)
    counts = np.zeros(len(X), dtype=np.int64)
    for rows in tiles(len(X), height):
        queries = X.unit(rows)
        asking = index_like(np.arange(rows.start, rows.stop), X.rows)
        each = asking - rows.start
        home = tile(queries, Y, rows, penalty)
        gold = home[each, each]
        for pool in (Y, X) if own else (Y,):
            for columns in tiles(len(X), height):
                taken_off = penalty if pool is Y else None
                if pool is Y and columns == rows:
                    scores = home
                else:
                    scores = tile(queries, pool, columns, taken_off)
                if columns == rows:
                    scores[each, each] = -np.inf
                there = index_like(np.arange(columns.start, columns.stop), X.rows)
                contest = Contest(X, Y, pool, asking, asking, there, penalty is not None)
                counts[rows] += contest.at_least(scores, gold)
    return counts
