"""Retrieval between many languages, two at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from posthoc_align._arrays import Array, check_rows, index_like
from posthoc_align.languages import check_language, check_pair_id, pair_rows, require_unique_pairs
from posthoc_align.metrics import weak_alignment

_LEAST_PAIRS = 5  # with fewer one hit or miss is 25 points or more


def weak_between(
    X: Array, language: Any, pair_id: Any, *, pivot: Any = None
) -> dict[Any, dict[Any, float | None]]:
    """Weak alignment from each language into each other one, or into the pivot alone.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
    language : array-like of shape (n_samples,)
    pair_id : array-like of shape (n_samples,)
    pivot : str or int, optional

    Returns
    -------
    table : dict of dict
        ``table[asked_in][searched_in]``, a fraction; None within a language and where two
        languages share fewer than 5 pairs. Pools are as large as two languages have pairs.
        Time O(L^2 n^2 d) for n rows a language.

    Raises
    ------
    ValueError
        If there are fewer than two languages, the pivot is none of them, an id occurs twice in a
        language, or no two languages share enough pairs.
    """
    X = check_rows(None, X)
    languages = check_language(language, X.shape[0])
    names = [] if languages is None else np.unique(languages).tolist()
    if languages is None or len(names) < 2:
        raise ValueError(f"Retrieval needs rows of two languages or more; got {names}.")
    if pivot is not None and pivot not in names:
        raise ValueError(f"pivot={pivot!r} is not among the languages {names}: name one of them.")
    ids = check_pair_id(pair_id, X.shape[0])
    require_unique_pairs(languages, ids)
    rows = {name: np.flatnonzero(languages == name) for name in names}
    table: dict[Any, dict[Any, float | None]] = {}
    for source in names:
        for target in names if pivot is None else [pivot]:
            value = None
            a, b = pair_rows(ids[rows[source]], ids[rows[target]])
            if source != target and len(a) >= _LEAST_PAIRS:
                own, other = rows[source][a], rows[target][b]
                value = weak_alignment(X[index_like(own, X)], X[index_like(other, X)])
            table.setdefault(source, {})[target] = value
    if all(v is None for row in table.values() for v in row.values()):
        raise ValueError(
            f"No two of the languages {names} share {_LEAST_PAIRS} pair ids: nothing can be "
            "retrieved. Check pair_id."
        )
    return table
