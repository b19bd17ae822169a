r"""Finding translations: the nearest rows across, and where the true one ranks among them.

X asks and Y answers; swap the arguments for the other direction. In the Tatoeba task as XTREME
runs it, the English rows ask (``X``) and the foreign rows are searched (``Y``).

What a candidate is ranked by is its `score`. The cosine prefers hubs, rows that are near to
everything; the other two take off how near a candidate y is to the queries anyway:

* ``"csls"``: :func:`csls_scores`, by the mean cosine of y to its nearest queries [1]_;
* ``"inverted_softmax"``: :math:`e^{\beta \cos(x, y)} / \sum_{x'} e^{\beta \cos(x', y)}`, by all
  of them [2]_, with :math:`\beta = 30` as [1]_ publishes it.

Both look at all of X: pass all the queries there are, not samples of them.

A ``memory_budget`` is what tiles of scores and of unit rows may take together; less than about
1 MB makes them small and slow. Measuring the rows takes 3 MB before, which no budget lowers.

References
----------
.. [1] A. Conneau, G. Lample, M. Ranzato, L. Denoyer, H. Jegou, "Word translation without
   parallel data", ICLR (2018), arXiv:1710.04087.
.. [2] S. Smith, D. Turban, S. Hamblin, N. Hammerla, "Offline bilingual word vectors, orthogonal
   transformations and the inverted softmax", ICLR (2017), arXiv:1702.03859.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from posthoc_align._arrays import Array, empty_like_rows, largest, namespace
from posthoc_align._blocks import blocks
from posthoc_align.metrics._directions import check_count, check_sides
from posthoc_align.metrics._rivals import count_rivals
from posthoc_align.metrics._similarity import (
    check_neighbors,
    hubness_penalty,
    nearest_rows,
    tile_height,
    tiles,
)


def translation_ranks(
    X: Any,
    Y: Any,
    *,
    score: str = "cosine",
    neighbors: int = 10,
    own: bool = False,
    memory_budget: int | None = None,
) -> np.ndarray:
    """Rank of each row's translation among the rows of Y, one for the best.

    The outcome of every pair, from which other measures are means: with ranks r,
    :func:`weak_alignment` is the share of r = 1 (:func:`strong_alignment` that of `own` ranks),
    :func:`retrieval_precision` that of r <= k, :func:`mean_reciprocal_rank` the mean of 1 / r.

    The rank is pessimistic: one more than the number of other rows that score at least as high.

    Time O(n^2 d) in blocks, memory O(n) and the budget.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
        Queries.
    Y : array of shape (n_samples, n_features)
        Candidates; row i is the translation of row i of X.
    score : {"cosine", "csls", "inverted_softmax"}, default="cosine"
        See :mod:`posthoc_align.metrics.retrieval`.
    neighbors : int, default=10
        Rows in a CSLS neighbourhood; at most n_samples. Unused by the other scores.
    own : bool, default=False
        Whether the other rows of X are candidates too. For the cosine only.
    memory_budget : int, optional
        Bytes that may be held beside the arrays and the answer; 96 MB if None (1.6 GB on an
        accelerator). Does not change the answer.

    Returns
    -------
    ndarray of int64 of shape (n_samples,)
        On the host, whatever the kind of X.

    Raises
    ------
    ValueError
        If shapes, kinds or devices differ, there are fewer than 2 rows, a row is zero or not
        finite, the score is unknown or, with `own`, not the cosine, the neighbourhood is larger
        than the rows, or the budget is below one row.

    Notes
    -----
    Scores closer than the rounding of the products are ties: equal rows tie wherever they stand.

    Examples
    --------
    The second row's translation comes second.

    >>> import numpy as np
    >>> X = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> translation_ranks(X, np.array([[1.0, 0.0], [1.0, -1.0]]))
    array([1, 2])
    """
    if own and score != "cosine":
        raise ValueError(
            f"own=True has no score {score!r}: it compares two spaces, and has no scores for the "
            'rivals of a row\'s own language. Use score="cosine", or own=False.'
        )
    x, y = check_sides(X, Y)
    penalty = hubness_penalty(x, y, score, neighbors, memory_budget=memory_budget)
    return 1 + count_rivals(x, y, penalty=penalty, own=own, memory_budget=memory_budget)


def retrieval_precision(
    X: Any,
    Y: Any,
    *,
    k: int = 1,
    score: str = "cosine",
    neighbors: int = 10,
    memory_budget: int | None = None,
) -> float:
    """Share of rows of X whose translation is among the k best rows of Y.

    Ranks are those of :func:`translation_ranks`: ties count against the translation. At k = 1
    this is :func:`weak_alignment`.

    Time O(n^2 d) in blocks, memory O(n) and the budget.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
        Queries.
    Y : array of shape (n_samples, n_features)
        Candidates; row i is the translation of row i of X.
    k : int, default=1
        How many candidates may be looked at; at most n_samples.
    score : {"cosine", "csls", "inverted_softmax"}, default="cosine"
        See :mod:`posthoc_align.metrics.retrieval`.
    neighbors : int, default=10
        Rows in a CSLS neighbourhood, which has nothing to do with `k`; at most n_samples. Unused
        by the other scores.
    memory_budget : int, optional
        Bytes that may be held beside the arrays; 96 MB if None (1.6 GB on an accelerator).

    Returns
    -------
    float
        Between 0 and 1; chance is k / n_samples.

    Raises
    ------
    ValueError
        As :func:`translation_ranks`, and if `k` is larger than the rows.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> Y = np.array([[1.0, 0.0], [1.0, -1.0]])
    >>> retrieval_precision(X, Y), retrieval_precision(X, Y, k=2)
    (0.5, 1.0)
    """
    x, y = check_sides(X, Y)
    k = check_count(k, len(y), name="k", pool="Y")
    penalty = hubness_penalty(x, y, score, neighbors, memory_budget=memory_budget)
    return float(np.mean(count_rivals(x, y, penalty=penalty, memory_budget=memory_budget) < k))


def mean_reciprocal_rank(
    X: Any,
    Y: Any,
    *,
    score: str = "cosine",
    neighbors: int = 10,
    memory_budget: int | None = None,
) -> float:
    """Mean of one over the rank of each row's translation among the rows of Y.

    Ranks are those of :func:`translation_ranks`: ties count against the translation.

    Time O(n^2 d) in blocks, memory O(n) and the budget.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
        Queries.
    Y : array of shape (n_samples, n_features)
        Candidates; row i is the translation of row i of X.
    score : {"cosine", "csls", "inverted_softmax"}, default="cosine"
        See :mod:`posthoc_align.metrics.retrieval`.
    neighbors : int, default=10
        Rows in a CSLS neighbourhood; at most n_samples. Unused by the other scores.
    memory_budget : int, optional
        Bytes that may be held beside the arrays; 96 MB if None (1.6 GB on an accelerator).

    Returns
    -------
    float
        Above 0, at most 1.

    Raises
    ------
    ValueError
        As :func:`translation_ranks`.

    Examples
    --------
    The second row's translation comes second.

    >>> import numpy as np
    >>> X = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> mean_reciprocal_rank(X, np.array([[1.0, 0.0], [1.0, -1.0]]))
    0.75
    """
    ranks = translation_ranks(X, Y, score=score, neighbors=neighbors, memory_budget=memory_budget)
    return float(np.mean(1.0 / ranks))


def nearest(
    X: Any,
    Y: Any,
    *,
    k: int = 1,
    score: str = "cosine",
    neighbors: int = 10,
    memory_budget: int | None = None,
) -> Array:
    """Positions of the k rows of Y that score highest with each row of X, best first.

    Time O(nmd) in blocks, memory O(n k + m) and the budget.

    Parameters
    ----------
    X : array of shape (n_queries, n_features)
    Y : array of shape (n_candidates, n_features)
        Need not correspond to X.
    k : int, default=1
        At most n_candidates.
    score : {"cosine", "csls", "inverted_softmax"}, default="cosine"
        See :mod:`posthoc_align.metrics.retrieval`; the last two look at the whole of X, which
        should be all queries there are.
    neighbors : int, default=10
        Rows in a CSLS neighbourhood; at most the rows of the smaller side. Unused by the other
        scores.
    memory_budget : int, optional
        Bytes that may be held beside the arrays and the answer; 96 MB if None (1.6 GB on an
        accelerator). Does not change the answer.

    Returns
    -------
    array of int64 of shape (n_queries, k)
        Of the kind and on the device of X. Which of equally near rows comes first is not
        promised.

    Raises
    ------
    ValueError
        If widths, kinds or devices differ, a row is zero or not finite, the score is unknown,
        `k` or the neighbourhood is larger than the rows, or the budget is below one row.

    Examples
    --------
    >>> import numpy as np
    >>> nearest(np.array([[0.9, 0.1], [0.2, 0.3]]), np.eye(2), k=2)
    array([[0, 1],
           [1, 0]])
    """
    x, y = check_sides(X, Y, paired=False)
    k = check_count(k, len(y), name="k", pool="Y")
    penalty = hubness_penalty(x, y, score, neighbors, memory_budget=memory_budget)
    return nearest_rows(x, y, k, penalty=penalty, memory_budget=memory_budget)


def csls_scores(X: Any, Y: Any, *, neighbors: int = 10, memory_budget: int | None = None) -> Array:
    r"""Cross-domain similarity local scaling between all rows of X and all rows of Y.

    .. math:: \mathrm{CSLS}(x, y) = 2 \cos(x, y) - r_Y(x) - r_X(y)

    where :math:`r_Y(x)` is the mean cosine of x to its nearest rows of Y, and :math:`r_X(y)`
    that of y to its nearest rows of X. It lowers rows that are near to everything (hubs). Both
    neighbourhoods are taken in the sets as given: pass whole pools, not samples of them.

    The answer itself is the whole n x m matrix, the only one this package makes; the measures
    that use CSLS do not need it. Time O(nmd).

    Parameters
    ----------
    X : array of shape (n_queries, n_features)
    Y : array of shape (n_candidates, n_features)
    neighbors : int, default=10
        Rows in a neighbourhood, those of the translation included; at most the rows of the
        smaller side.
    memory_budget : int, optional
        Bytes that may be held beside the arrays and the answer; 96 MB if None (1.6 GB on an
        accelerator).

    Returns
    -------
    array of shape (n_queries, n_candidates)
        In [-4, 4]; of the kind and on the device of X, float64 for float64 rows, else float32.

    Raises
    ------
    ValueError
        If widths, kinds or devices differ, a row is zero or not finite, or the neighbourhood is
        larger than the rows.

    Notes
    -----
    Symmetric: swapping X and Y transposes it. With neighbourhoods as large as the pools it is
    twice the cosine minus its row and column means.

    References
    ----------
    .. [1] A. Conneau, G. Lample, M. Ranzato, L. Denoyer, H. Jegou, "Word translation without
       parallel data", ICLR (2018), arXiv:1710.04087.

    Examples
    --------
    >>> import numpy as np
    >>> csls_scores(np.eye(2), np.eye(2), neighbors=1)
    array([[ 0., -2.],
           [-2.,  0.]])
    """
    x, y = check_sides(X, Y, paired=False)
    neighbors = check_neighbors(neighbors, x, y)
    scores = empty_like_rows(x.unit(slice(0, 1)), len(y), n_rows=len(x))
    height = tile_height(x, memory_budget=memory_budget)
    for rows in tiles(len(x), height):
        queries = x.unit(rows)
        for columns in tiles(len(y), height):
            scores[rows, columns] = queries @ y.unit(columns).T
    target = height * height * (8 if x.double else 4)
    near_x, near_y = (_row_means(side, neighbors, target) for side in (scores, scores.T))
    scores *= 2
    scores -= near_x[:, None]
    scores -= near_y
    return scores


def _row_means(scores: Array, neighbors: int, target: int) -> Array:
    """Mean of the largest scores in each row, in blocks of so many bytes."""
    xp = namespace(scores)
    parts = blocks(scores, target=target)
    return xp.concat([xp.mean(largest(scores[rows], neighbors), axis=1) for rows in parts])
