"""Held-out translations: which rows they are, and which of them are found."""

from __future__ import annotations

from typing import Any

import numpy as np

from posthoc_align._arrays import Array
from posthoc_align.languages import pair_rows
from posthoc_align.metrics import translation_ranks

NEIGHBORS = 10  # of CSLS, as everywhere; fewer where there are fewer pairs


def pairs_with(
    pivot: Any, labels: np.ndarray, ids: np.ndarray, at: np.ndarray
) -> dict[Any, tuple[np.ndarray, np.ndarray]]:
    """Among the rows at these positions, the translations of each language in the pivot.

    Returns
    -------
    dict
        From each language with 2 pairs or more to their positions in the language and the pivot.
    """
    there = at[labels[at] == pivot]
    found = {}
    for name in np.unique(labels[at]).tolist():
        here = at[labels[at] == name]
        own, to = pair_rows(ids[here], ids[there])
        if name != pivot and len(own) >= 2:
            found[name] = (here[own], there[to])
    return found


def found_both_ways(x: Array, y: Array, *, score: str = "cosine") -> np.ndarray:
    """Share of directions in which the rows of a pair find each other: 0, 1/2 or 1 a pair."""
    near = min(NEIGHBORS, x.shape[0])
    there = translation_ranks(x, y, score=score, neighbors=near) == 1
    back = translation_ranks(y, x, score=score, neighbors=near) == 1
    return (there + back.astype(np.float64)) / 2
