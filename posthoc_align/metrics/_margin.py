"""How far a pair of rows stands out among the neighbours of both.

The margins are defined in :func:`posthoc_align.metrics.mine_pairs`.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np

from posthoc_align._arrays import to_host
from posthoc_align.metrics._directions import Directions, check_count, check_sides
from posthoc_align.metrics._similarity import nearest_scored

MARGINS = ("ratio", "distance", "absolute")


class Near(NamedTuple):
    """Cosines and positions of each row's k nearest across, and the cosines' mean."""

    cosines: np.ndarray
    rows: np.ndarray
    mean: np.ndarray


def check_margin(
    X: Any, Y: Any, margin: str, k: Any, *, paired: bool
) -> tuple[Directions, Directions, int]:
    """Check two sides, the name of a margin and a neighbourhood that both sides can fill."""
    if margin not in MARGINS:
        raise ValueError(f"Unknown margin {margin!r}: expected one of {list(MARGINS)}.")
    x, y = check_sides(X, Y, paired=paired)
    pool = "the smaller of X and Y" if len(x) != len(y) else "each side"
    return x, y, check_count(k, min(len(x), len(y)), name="k", pool=pool)


def neighborhoods(
    x: Directions, y: Directions, k: int, memory_budget: int | None
) -> tuple[Near, Near]:
    """Find the k nearest of each row across, in both directions."""
    near = []
    for queries, pool in ((x, y), (y, x)):
        cosines, rows = map(to_host, nearest_scored(queries, pool, k, memory_budget=memory_budget))
        near.append(Near(cosines, rows.astype(np.int64), cosines.mean(axis=1)))
    return near[0], near[1]


def margins(near: Near, other: Near, margin: str) -> tuple[np.ndarray, np.ndarray]:
    """Margin of each row with each of its nearest, and what divided the cosine's rounding.

    An undefined margin is minus infinity.
    """
    ones = np.ones_like(near.cosines)
    if margin == "absolute":
        return near.cosines, ones
    middle = (near.mean[:, None] + other.mean[near.rows]) / 2
    if margin == "distance":
        return near.cosines - middle, ones
    ratio = np.divide(near.cosines, middle, out=np.full_like(ones, -np.inf), where=middle > 0)
    return ratio, middle


def warn_undefined(*found: np.ndarray) -> None:
    """Say how many ratios had nothing to be divided by."""
    undefined = sum(int(np.sum(np.isneginf(part))) for part in found)
    if undefined:
        warnings.warn(
            f"The ratio margin is undefined for {undefined} of {sum(m.size for m in found)} "
            "candidates, whose neighbourhoods have a mean cosine <= 0, as in centred spaces: they "
            'are never taken. Use margin="distance".',
            UserWarning,
            stacklevel=3,
        )


def best_candidates(rows: np.ndarray, found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Position and margin of each row's best candidate."""
    at = np.argmax(found, axis=1)
    each = np.arange(len(rows))
    return rows[each, at], found[each, at]
