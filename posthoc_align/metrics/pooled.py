"""Retrieval from one pool of many languages, as in LAReQA: a test of strong alignment."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np

from posthoc_align.languages import check_language, check_pair_id
from posthoc_align.metrics._directions import Points, check_count, check_sides
from posthoc_align.metrics._pool import Answers, Counts, count_ahead
from posthoc_align.metrics._similarity import check_score


class PooledRetrieval(NamedTuple):
    """How a pool of many languages answers, from 0 to 1.

    Attributes
    ----------
    map : float
        Mean average precision over the full ranking: the mean over all queries.
    map_at : float
        The same over the first `at` places.
    per_language : dict
        The mean average precision by the language that asks.
    own_language : float
        Of the wrong rows that come before a right one of another language, the share that is of
        the query's own language; mean over the queries that have such rows.
    own_language_chance : float
        What that share is if wrong rows come in any order: the share of the query's own language
        among all wrong rows. Above it, the space prefers the own language; a language-neutral
        space has both equal.
    average_precision : ndarray of shape (n_asked,)
        By query.
    asked : ndarray of int64 of shape (n_asked,)
        The rows of X that have a translation in the pool.
    """

    map: float
    map_at: float
    per_language: dict[Any, float]
    own_language: float
    own_language_chance: float
    average_precision: np.ndarray
    asked: np.ndarray


def pooled_retrieval(
    X: Any,
    Y: Any = None,
    *,
    language: Any,
    pair_id: Any,
    language_pool: Any = None,
    pair_id_pool: Any = None,
    score: str = "cosine",
    at: int = 20,
    memory_budget: int | None = None,
) -> PooledRetrieval:
    r"""Mean average precision of retrieval from a mixed-language pool, and its language bias.

    Right answers to a query are all rows of the pool with its id, in every language. With R right
    answers at ranks :math:`p_1 \le \dots \le p_R`,

    .. math::
        \mathrm{AP} = \frac1R \sum_r \frac{r}{p_r}, \qquad
        \mathrm{AP@}k = \frac1{\min(R, k)} \sum_{p_r \le k} \frac{r}{p_r}

    A space that puts rows of the own language first, right or wrong, is only weakly aligned, and
    scores low here.

    Time O(nmd + nmR) in blocks, memory O(nR + m) and the budget.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
        Queries.
    Y : array of shape (n_pool, n_features), optional
        The pool. X itself if None, of which a row never answers itself.
    language : array-like of str or int of shape (n_samples,)
    pair_id : array-like of str or int of shape (n_samples,)
        Rows without a right answer in the pool, -1 and None among them, ask nothing. Ids may occur
        more than once in a language.
    language_pool, pair_id_pool : array-like of shape (n_pool,), optional
        Those of Y. Rows that answer nothing are distractors.
    score : {"cosine", "dot"}, default="cosine"
        ``"dot"`` is the product as it is, for which LAReQA's encoders were trained.
    at : int, default=20
        Places that `map_at` looks at; at most the rows of the pool.
    memory_budget : int, optional
        Bytes that may be held beside the arrays and the answer; 96 MB if None (1.6 GB on an
        accelerator). Does not change the answer.

    Returns
    -------
    PooledRetrieval

    Raises
    ------
    ValueError
        If the pool is of one language, no query has a right answer, only some arguments of the
        pool are given, labels do not fit the rows, widths, kinds or devices differ, a row is zero
        or not finite, the score is unknown, or `at` is larger than the pool.

    Warns
    -----
    UserWarning
        If no wrong row comes before a right one of another language: `own_language` is NaN.

    Notes
    -----
    Equal scores share the last of their ranks, the right answers among them too, as in
    scikit-learn's ``average_precision_score``.

    References
    ----------
    .. [1] U. Roy, N. Constant, R. Al-Rfou, A. Barua, A. Phillips, Y. Yang, "LAReQA:
       language-agnostic answer retrieval from a multilingual pool", EMNLP (2020),
       arXiv:2004.05484.

    Examples
    --------
    Languages lie apart: before its translation each row meets the other row of its own language.

    >>> import numpy as np
    >>> X = np.array([[10, 1], [10, -1], [-10, 1], [-10, -1]])
    >>> found = pooled_retrieval(X, language=["en", "en", "de", "de"], pair_id=[0, 1, 0, 1], at=1)
    >>> found.map, found.map_at, found.own_language, found.own_language_chance
    (0.5, 0.0, 1.0, 0.5)
    """
    check_score(score, known=("cosine", "dot"))
    alone = Y is None
    if alone != (language_pool is None) or alone != (pair_id_pool is None):
        raise ValueError(
            "Y, language_pool and pair_id_pool go together: pass all three, or none to search X "
            "itself."
        )
    x, y = check_sides(X, X if alone else Y, paired=False)
    if score == "dot":
        x, y = Points.both(x, y)
    labels, ids = _labels(language, pair_id, len(x), "")
    if alone:
        pool_labels, pool_ids = labels, ids
    else:
        pool_labels, pool_ids = _labels(language_pool, pair_id_pool, len(y), "_pool")
        _require_one_kind(labels, pool_labels, "language")
        _require_one_kind(ids, pool_ids, "pair_id")
    if len(np.unique(pool_labels)) < 2:
        raise ValueError(
            f"The pool has one language only, {pool_labels.tolist()[0]!r}: a mixed pool needs two "
            "or more. For a pair of languages see retrieval_precision."
        )
    at = check_count(at, len(y), name="at", pool="the pool")
    answers = Answers.of(ids, pool_ids, alone=alone)
    counts = count_ahead(
        x, y, labels, pool_labels, answers, alone=alone, memory_budget=memory_budget
    )
    asking = labels[answers.asked]
    precision = np.divide(
        counts.right, counts.all, out=np.zeros(counts.all.shape), where=answers.real
    )
    n_right = answers.real.sum(axis=1)
    average = precision.sum(axis=1) / n_right
    first = np.where(counts.all <= at, precision, 0.0).sum(axis=1) / np.minimum(n_right, at)
    own, chance = _own_language(counts, answers, asking, pool_labels, alone=alone)
    return PooledRetrieval(
        float(np.mean(average)),
        float(np.mean(first)),
        {label: float(np.mean(average[asking == label])) for label in np.unique(asking).tolist()},
        own,
        chance,
        average,
        answers.asked,
    )


def _labels(language: Any, pair_id: Any, n_rows: int, suffix: str) -> tuple[np.ndarray, np.ndarray]:
    labels = check_language(language, n_rows)
    if labels is None or pair_id is None:
        missing = "language" if labels is None else "pair_id"
        raise ValueError(f"{missing}{suffix} is None: pass one a row.")
    return labels, check_pair_id(pair_id, n_rows)


def _require_one_kind(ours: np.ndarray, theirs: np.ndarray, name: str) -> None:
    if (ours.dtype.kind == "U") != (theirs.dtype.kind == "U"):
        raise ValueError(
            f"{name} is of dtype {ours.dtype} and {name}_pool of {theirs.dtype}: they never meet. "
            "Pass both as text or both as integers."
        )


def _own_language(
    counts: Counts, answers: Answers, asking: np.ndarray, pool: np.ndarray, *, alone: bool
) -> tuple[float, float]:
    """Share of the query's language among the wrong rows met before others' answers; by chance."""
    across = answers.real & (pool[answers.rows] != asking[:, None])
    wrong = np.sum((counts.all - counts.right) * across, axis=1)
    own_wrong = np.sum((counts.own - counts.own_right) * across, axis=1)
    met = wrong > 0
    if not np.any(met):
        warnings.warn(
            "No wrong row comes before a right one of another language: which language wrong rows "
            "are of cannot be told, own_language is NaN.",
            UserWarning,
            stacklevel=3,
        )
        return float("nan"), float("nan")
    distinct, sizes = np.unique(pool, return_counts=True)
    size_of = dict(zip(distinct.tolist(), sizes.tolist(), strict=True))
    own_rows = np.array([size_of.get(label, 0) for label in asking.tolist()]) - int(alone)
    own_wrong_rows = own_rows - np.sum(answers.real & ~across, axis=1)
    wrong_rows = len(pool) - int(alone) - answers.real.sum(axis=1)
    return (
        float(np.mean(own_wrong[met] / wrong[met])),
        float(np.mean(own_wrong_rows[met] / wrong_rows[met])),
    )
