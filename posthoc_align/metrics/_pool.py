"""Where the right answers stand in a pool of many languages: counts, tile by tile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from posthoc_align._arrays import Array, index_like, like, namespace, to_host
from posthoc_align.languages import is_paired
from posthoc_align.metrics._directions import Directions
from posthoc_align.metrics._rivals import Contest
from posthoc_align.metrics._similarity import tile, tile_height, tiles


@dataclass(frozen=True)
class Answers:
    """The queries that have right answers, and those answers.

    Attributes
    ----------
    asked : ndarray of int64 of shape (n_asked,)
        Rows of X.
    rows : ndarray of int64 of shape (n_asked, R)
        Rows of the pool; where a query has fewer than R, one of them stands again.
    real : ndarray of bool of shape (n_asked, R)
        Whether an entry of `rows` is no such repetition.
    """

    asked: np.ndarray
    rows: np.ndarray
    real: np.ndarray

    @classmethod
    def of(cls, pair_id: np.ndarray, pool_id: np.ndarray, *, alone: bool) -> Answers:
        """Join by id; `alone` when the pool is X itself, of which no row answers itself."""
        paired = np.flatnonzero(is_paired(pool_id))
        sorted_rows = paired[np.argsort(pool_id[paired], kind="stable")]
        known = pool_id[sorted_rows]
        first, stop = (np.searchsorted(known, pair_id, side=side) for side in ("left", "right"))
        count = np.where(is_paired(pair_id), stop - first, 0)
        asked = np.flatnonzero(count > int(alone))
        if not len(asked):
            raise ValueError(
                f"None of the {len(pair_id)} rows of X has a translation in the pool. Check that "
                "translations share a pair_id."
            )
        first, count = first[asked, None], count[asked, None]
        place = np.arange(count.max())
        rows = sorted_rows[first + np.minimum(place, count - 1)]
        real = place < count
        if alone:  # the row itself goes to the end, and off
            real &= rows != asked[:, None]
            order = np.argsort(~real, axis=1, kind="stable")[:, :-1]
            rows, real = (np.take_along_axis(v, order, axis=1) for v in (rows, real))
            rows = np.where(real, rows, rows[:, :1])
        return cls(asked, rows, real)


@dataclass(frozen=True)
class Counts:
    """How many rows score at least as high as each right answer, that answer included.

    Attributes
    ----------
    all, own : ndarray of int64 of shape (n_asked, R)
        Rows of the pool, and those of the query's language among them.
    right, own_right : ndarray of int64 of shape (n_asked, R)
        Right answers, and those of the query's language among them.
    """

    all: np.ndarray
    own: np.ndarray
    right: np.ndarray
    own_right: np.ndarray


def count_ahead(
    x: Directions,
    y: Directions,
    language: np.ndarray,
    pool_language: np.ndarray,
    answers: Answers,
    *,
    alone: bool,
    memory_budget: int | None,
) -> Counts:
    """Count for all queries; the pool is read in the order of its languages."""
    height = tile_height(x, memory_budget=memory_budget)
    order = np.argsort(pool_language, kind="stable")
    sorted_language, place = pool_language[order], np.argsort(order)
    counts = Counts(*(np.zeros(answers.rows.shape, dtype=np.int64) for _ in range(4)))
    for at, label in _by_language(language[answers.asked], height):
        asking, gold, real = answers.asked[at], answers.rows[at], answers.real[at]
        level = _levels(x, y, asking, gold, height)
        level[~real] = np.inf  # which no row reaches
        same = real & (pool_language[gold] == label)
        counts.right[at], counts.own_right[at] = _among_themselves(level, real, same, x)
        own = [int(np.searchsorted(sorted_language, label, side)) for side in ("left", "right")]
        in_x = index_like(asking, x.rows)
        queries = x.unit(in_x)
        thresholds = like(level, queries)
        wanted = [index_like(gold[:, r], y.rows) for r in range(gold.shape[1])]
        for columns in tiles(len(y), height):
            there = index_like(order[columns], y.rows)
            scores = tile(queries, y, there, None)
            if alone:
                _mask(scores, place[asking] - columns.start)
            mine = slice(*(min(max(end - columns.start, 0), len(there)) for end in own))
            for r, right in enumerate(wanted):
                contest = Contest(x, y, y, in_x, right, there)
                counts.all[at, r] += contest.at_least(scores, thresholds[:, r])
                if mine.stop > mine.start:
                    contest = replace(contest, columns=there[mine])
                    counts.own[at, r] += contest.at_least(scores[:, mine], thresholds[:, r])
    return counts


def _by_language(language: np.ndarray, height: int) -> Iterator[tuple[np.ndarray, Any]]:
    """Positions of queries of one language, and that language, a tile at a time."""
    for label in np.unique(language).tolist():
        here = np.flatnonzero(language == label)
        for part in tiles(len(here), height):
            yield here[part], label


def _levels(
    x: Directions, y: Directions, asking: np.ndarray, gold: np.ndarray, height: int
) -> np.ndarray:
    """Score of each query with each of its right answers, in double precision."""
    xp = namespace(x.rows)
    level = np.empty(gold.shape)
    for part in tiles(len(asking), max(1, height // 4)):  # three blocks of rows twice as wide
        queries = x.exact(index_like(asking[part], x.rows))
        for r in range(gold.shape[1]):
            found = y.exact(index_like(gold[part, r], y.rows))
            level[part, r] = to_host(xp.sum(queries * found, axis=1))
    return level


def _among_themselves(
    level: np.ndarray, real: np.ndarray, same: np.ndarray, x: Directions
) -> tuple[np.ndarray, np.ndarray]:
    """For each right answer, how many right ones reach it: of any language, of the query's."""
    slack = x.slack(float(np.finfo(np.float64).eps))
    right, own_right = np.zeros(level.shape, dtype=np.int64), np.zeros(level.shape, dtype=np.int64)
    for r in range(level.shape[1]):
        reached = real & real[:, r, None] & (level >= level[:, r, None] - slack)
        right[:, r] = reached.sum(axis=1)
        own_right[:, r] = (reached & same).sum(axis=1)
    return right, own_right


def _mask(scores: Array, place: np.ndarray) -> None:
    """Take the query itself out of the race, where it stands in this tile."""
    inside = np.flatnonzero((place >= 0) & (place < scores.shape[1]))
    scores[index_like(inside, scores), index_like(place[inside], scores)] = -np.inf
