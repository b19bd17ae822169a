"""How evenly a space is used: cones, dominant directions, and languages that sit in a corner."""

from __future__ import annotations

from typing import Any

import numpy as np

from posthoc_align._arrays import index_like, like, namespace, to_host
from posthoc_align._blocks import PRODUCT_BLOCK, blocks
from posthoc_align.languages import check_language, factorize
from posthoc_align.metrics._directions import Directions
from posthoc_align.metrics._scatter import check_cloud, double, double_moments
from posthoc_align.moments import scatter_of


def iso_score(X: Any) -> float:
    r"""Share of its dimensions that a space uses evenly (IsoScore); 1 for a round one.

    .. math:: \frac{1}{d - 1}
        \left(\frac{(\sum_i \lambda_i)^2}{\sum_i \lambda_i^2} - 1\right)

    with the variances :math:`\lambda` along the main directions: a closed form of the published
    steps [1]_, and the participation ratio of the spectrum put between 0 and 1. Higher means
    more isotropic.

    Time O(n d^2), memory O(d^2) beside the array, in double precision.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
        Two columns or more.

    Returns
    -------
    float
        Between 0 (one direction) and 1 (equal variance in all). At most (n - 2) / (d - 1): with
        few rows it is too low.

    Raises
    ------
    ValueError
        If there is one row or one column only, a row is not finite, or all rows are equal.

    Notes
    -----
    Blind to the mean: a narrow cone far from the origin scores as a ball does. Also to
    a rotation and a scaling. See :func:`mean_random_cosine` for what it does not see.

    References
    ----------
    .. [1] W. Rudman, N. Gillman, T. Rayne, C. Eickhoff, "IsoScore: measuring the uniformity of
       embedding space utilization", Findings of ACL (2022), arXiv:2108.07344.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> round(iso_score(X), 6), round(iso_score(X * [1.0, 0.0]), 6)
    (1.0, 0.0)
    """
    X = check_cloud(X, name="X")
    if X.shape[1] < 2:
        raise ValueError("X has 1 column: whether a space is isotropic needs 2 or more.")
    scatter = scatter_of(double_moments(X, second="full"))
    ratio = float(np.trace(scatter) ** 2 / np.sum(scatter**2))
    return min(1.0, max(0.0, (ratio - 1) / (X.shape[1] - 1)))


def mean_random_cosine(X: Any) -> float:
    r"""Mean cosine of all pairs of different rows: how narrow the cone is that they lie in.

    .. math:: \frac{\lVert \sum_i \hat x_i \rVert^2 - n}{n (n - 1)}

    with unit rows :math:`\hat x`, over all pairs and not a sample of them. Lower means more
    isotropic; 0 is a ball about the origin.

    Time O(nd), memory O(d) beside the rows' lengths.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)

    Returns
    -------
    float
        Between -1 / (n - 1) and 1.

    Raises
    ------
    ValueError
        If there is one row only, or a row is zero or not finite.

    Notes
    -----
    Blind to everything but the mean of the directions: rows along one axis, half of them turned
    round, score 0. See :func:`iso_score` for what it does not see. Centring takes it to about 0.

    References
    ----------
    .. [1] K. Ethayarajh, "How contextual are contextualized word representations? Comparing the
       geometry of BERT, ELMo, and GPT-2 embeddings", EMNLP (2019), arXiv:1909.00512.

    Examples
    --------
    >>> import numpy as np
    >>> mean_random_cosine(np.array([[1.0, 0.0], [0.0, 2.0]]))
    0.0
    >>> mean_random_cosine(np.array([[1.0, 0.0], [5.0, 0.0]]))
    1.0
    """
    x = Directions.of(X)
    if len(x) < 2:
        raise ValueError("X has 1 row: a mean over pairs of different rows needs 2 or more.")
    return float(_mean_cosines(x, np.zeros(len(x), dtype=np.int64), np.array([len(x)]))[0])


def anisotropy(X: Any, language: Any) -> dict[Any, float]:
    """Mean cosine of pairs of different rows within each language.

    The :func:`mean_random_cosine` of each language's rows, in one pass. Lower means more
    isotropic.

    Time O(nd), memory O(L d) beside the rows' lengths, for L languages.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
    language : array-like of str or int of shape (n_samples,), or a scalar

    Returns
    -------
    dict of float
        From language, in sorted order, to a value between -1 / (n - 1) and 1.

    Raises
    ------
    ValueError
        If a language has one row only, labels are missing or do not fit, or a row is zero or not
        finite.

    Notes
    -----
    Blind to whether the languages' cones point the same way: see
    :func:`posthoc_align.metrics.language_identification` for that.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 0.0], [5.0, 0.0]])
    >>> anisotropy(X, ["de", "de", "en", "en"])
    {'de': 0.0, 'en': 1.0}
    """
    x = Directions.of(X)
    labels = check_language(language, len(x))
    if labels is None:
        raise ValueError("language is None: pass one language label a row.")
    names, codes = factorize(labels)
    counts = np.bincount(codes)
    if counts.min() < 2:
        lonely = names[np.argmin(counts)].item()
        raise ValueError(
            f"Language {lonely!r} has 1 row: a mean over pairs of its rows needs 2 or more. Leave "
            "it out, or pass more of its rows."
        )
    return dict(zip(names.tolist(), _mean_cosines(x, codes, counts).tolist(), strict=True))


def _mean_cosines(x: Directions, codes: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean cosine of pairs of different rows of each group."""
    xp = namespace(x.rows)
    sums = np.zeros((len(counts), x.width))
    for rows in blocks(x.rows):
        unit, here = x.unit(rows), codes[rows]
        for code in np.unique(here).tolist():
            members = unit[index_like(np.flatnonzero(here == code), unit)]
            sums[code] += to_host(xp.sum(xp.astype(members, xp.float64), axis=0))
    return (np.sum(sums**2, axis=1) - counts) / (counts * (counts - 1.0))


def partition_ratio(X: Any) -> float:
    r"""Smallest over largest partition function among the main directions; 1 for a round space.

    .. math:: \frac{\min_c Z(c)}{\max_c Z(c)}, \qquad Z(c) = \sum_i e^{c^\top x_i}

    over the unit eigenvectors c of :math:`X^\top X` (rows as they are, not centred) and their
    opposites: an eigenvector has no sign, and the published measure [1]_ depends on which one the
    solver returns. Higher means more isotropic.

    Time O(n d^2 + d^3), memory O(d^2) beside the array, in double precision.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)

    Returns
    -------
    float
        Above 0 (it may round to 0) and at most 1.

    Raises
    ------
    ValueError
        If there is one row only, a row is not finite, or all rows are equal.

    Notes
    -----
    Depends on the length of the rows: short rows have an exponential near 1 in every direction,
    and look isotropic whatever their shape. Scale spaces alike before they are compared. Blind to
    a rotation. Not unique where eigenvalues are equal.

    References
    ----------
    .. [1] J. Mu, P. Viswanath, "All-but-the-top: simple and effective postprocessing for word
       representations", ICLR (2018), arXiv:1702.01417.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> round(partition_ratio(X), 6)
    1.0
    >>> round(partition_ratio(X * [2.0, 1.0]), 3)  # (2 + 2 cosh 1) / (2 + 2 cosh 2)
    0.534
    """
    X = check_cloud(X, name="X")
    moments = double_moments(X, second="full")
    mean = moments.mean
    axes = np.linalg.eigh(scatter_of(moments) + moments.count * np.outer(mean, mean))[1]
    xp = namespace(X)
    both = like(np.hstack([axes, -axes]), X, dtype=xp.float64)
    # Exponentials would overflow: log Z is kept as its largest term and the sum over that.
    peak, total = np.full(both.shape[1], -np.inf), np.zeros(both.shape[1])
    for rows in blocks(X, target=PRODUCT_BLOCK):
        scores = double(X, rows) @ both
        highest = xp.max(scores, axis=0)
        added = to_host(xp.sum(xp.exp(scores - highest), axis=0))
        new = np.maximum(peak, to_host(highest))
        total = total * np.exp(peak - new) + added * np.exp(to_host(highest) - new)
        peak = new
    log_z = peak + np.log(total)
    return float(np.exp(np.min(log_z) - np.max(log_z)))
