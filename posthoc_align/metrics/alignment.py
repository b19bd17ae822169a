"""How near translations are: to each other, nearer than any other row, nearer than their own kin.

Weak and strong alignment are the definitions of the survey of cross-lingual alignment; both
are shares of pairs and ask about ranks, the mean cosine of pairs asks about angles.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from posthoc_align._arrays import namespace, to_host
from posthoc_align._blocks import blocks
from posthoc_align.metrics._directions import check_sides
from posthoc_align.metrics._similarity import check_score
from posthoc_align.metrics.retrieval import translation_ranks


class PairCosine(NamedTuple):
    """Mean cosine of translations and of all other pairs, both in [-1, 1]."""

    pairs: float
    random: float


def pair_cosine(X: Any, Y: Any) -> PairCosine:
    r"""Mean cosine of translation pairs, and of all pairs that are no translations.

    With unit rows :math:`\hat x_i, \hat y_i`, from sums alone:

    .. math::
        p = \tfrac1n \sum_i \hat x_i^\top \hat y_i, \qquad
        r = \frac{(\sum_i \hat x_i)^\top (\sum_j \hat y_j) - n p}{n (n - 1)}

    One number of the two says little: an anisotropic space has a high cosine everywhere. Their
    difference is what alignment adds. Time O(nd), memory O(d) beside the rows' lengths.

    Parameters
    ----------
    X, Y : array of shape (n_samples, n_features)
        Row i of Y translates row i of X.

    Returns
    -------
    PairCosine
        ``pairs`` and ``random``, floats in [-1, 1].

    Raises
    ------
    ValueError
        If shapes, kinds or devices differ, there are fewer than 2 rows, or a row is zero or not
        finite.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[1.0, 0.0], [0.0, 2.0]])
    >>> pair_cosine(X, X)
    PairCosine(pairs=1.0, random=0.0)
    """
    x, y = check_sides(X, Y)
    xp = namespace(x.rows)
    sum_x, sum_y, matched = np.zeros(x.width), np.zeros(x.width), 0.0
    for rows in blocks(x.rows):
        unit_x, unit_y = x.unit(rows), y.unit(rows)
        sum_x += to_host(xp.sum(unit_x, axis=0))
        sum_y += to_host(xp.sum(unit_y, axis=0))
        matched += float(xp.sum(unit_x * unit_y))
    n = len(x)
    return PairCosine(matched / n, (float(sum_x @ sum_y) - matched) / (n * (n - 1)))


def weak_alignment(
    X: Any,
    Y: Any,
    *,
    score: str = "cosine",
    neighbors: int = 10,
    memory_budget: int | None = None,
) -> float:
    r"""Share of rows that are nearer to their translation than to any other row across.

    Row i counts if :math:`s(x_i, y_i) > \max_{j \ne i} s(x_i, y_j)` (Eq. 1 of [1]_). A tie is a
    miss. It is the precision at 1 of retrieval, and has a direction: swap X and Y for the other.

    Time O(n^2 d) in blocks, memory O(n) and the budget.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
        The rows that ask.
    Y : array of shape (n_samples, n_features)
        The rows among which row i is the translation of row i of X.
    score : {"cosine", "csls", "inverted_softmax"}, default="cosine"
        What :math:`s` is. The last two take off what a candidate has in common with everything
        near it: see :mod:`posthoc_align.metrics.retrieval`.
    neighbors : int, default=10
        Rows in a CSLS neighbourhood; at most n_samples. Unused by the other scores.
    memory_budget : int, optional
        Bytes that may be held beside the arrays; 96 MB if None (1.6 GB on an accelerator).

    Returns
    -------
    float
        Between 0 and 1; chance is 1 / n_samples.

    Raises
    ------
    ValueError
        As :func:`translation_ranks`.

    Notes
    -----
    Scores closer than the rounding of the products are ties: equal rows tie wherever they stand.

    References
    ----------
    .. [1] K. Hammerl, J. Libovicky, A. Fraser, "Understanding cross-lingual alignment: a survey",
       Findings of ACL (2024), arXiv:2404.06228.

    Examples
    --------
    The second row is nearer to the first row's translation than to its own.

    >>> import numpy as np
    >>> X = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> weak_alignment(X, np.array([[1.0, 0.0], [1.0, -1.0]]))
    0.5
    """
    ranks = translation_ranks(X, Y, score=score, neighbors=neighbors, memory_budget=memory_budget)
    return float(np.mean(ranks == 1))


def strong_alignment(
    X: Any, Y: Any, *, score: str = "cosine", memory_budget: int | None = None
) -> float:
    r"""Share of rows that are nearer to their translation than to any other row at all.

    Row i counts if :math:`s(x_i, y_i)` is greater than every :math:`s(x_i, y_j)` and every
    :math:`s(x_i, x_j)` with :math:`j \ne i` (Eq. 2 of [1]_). A tie is a miss, so a text that
    occurs twice in X is one. It is never above :func:`weak_alignment`, and has a direction.

    Time O(n^2 d) in blocks, memory O(n) and the budget.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
        The rows that ask; also rivals, save each row to itself.
    Y : array of shape (n_samples, n_features)
        Row i is the translation of row i of X.
    score : {"cosine"}, default="cosine"
        What :math:`s` is. The other scores compare two spaces and have none within one.
    memory_budget : int, optional
        Bytes that may be held beside the arrays; 96 MB if None (1.6 GB on an accelerator).

    Returns
    -------
    float
        Between 0 and 1.

    Raises
    ------
    ValueError
        If shapes, kinds or devices differ, there are fewer than 2 rows, a row is zero or not
        finite, or the score is not ``"cosine"``.

    Notes
    -----
    Published code differs in how a row's similarity to itself is taken out: with 0 in its place
    a row whose cosines are all negative never counts. Here it takes no part.

    References
    ----------
    .. [1] K. Hammerl, J. Libovicky, A. Fraser, "Understanding cross-lingual alignment: a survey",
       Findings of ACL (2024), arXiv:2404.06228.

    Examples
    --------
    Both rows find their translation across; the first has a nearer row in its own language.

    >>> import numpy as np
    >>> X = np.array([[1.0, 0.0], [2.0, 1.0]])
    >>> Y = np.array([[3.0, -2.0], [1.0, 1.0]])
    >>> weak_alignment(X, Y), strong_alignment(X, Y)
    (1.0, 0.5)
    """
    if score == "csls":
        raise ValueError(
            'strong_alignment has no score "csls": CSLS is defined between two spaces, not for '
            'the rivals of a row\'s own language. Use score="cosine", or weak_alignment.'
        )
    check_score(score, known=("cosine",))
    ranks = translation_ranks(X, Y, own=True, memory_budget=memory_budget)
    return float(np.mean(ranks == 1))
