"""Hubs: rows that are near to many, and the rows that nobody finds because of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from posthoc_align._arrays import check_rows, to_host
from posthoc_align.metrics._directions import check_count
from posthoc_align.metrics.retrieval import nearest

HUB = 2  # times the mean occurrence from which a row is a hub, as in the literature's software


@dataclass(frozen=True, eq=False)
class Hubness:
    """How unevenly the places among the k nearest are shared out.

    Parameters
    ----------
    skewness : float
        Of the occurrences: about 0 where there are no hubs, above 1 where there are many.
    robin_hood : float
        Share of all places that would have to be taken from the rich so that every row had
        equally many, in [0, 1).
    antihub_share : float
        Share of rows that are among the k nearest of no query, in [0, 1).
    hub_share : float
        Share of all places that hubs take, rows with twice the mean occurrence or more, in [0, 1].
    occurrence : ndarray of int64 of shape (n_candidates,)
        How many queries have each row among their k nearest. On the host.
    """

    skewness: float
    robin_hood: float
    antihub_share: float
    hub_share: float
    occurrence: np.ndarray = field(repr=False)


def hubness(X: Any, Y: Any = None, *, k: int = 10) -> Hubness:
    r"""Hubs among the rows of Y as rows of X ask for their k nearest.

    With :math:`N_j` the number of rows of X that have row j of Y among their k nearest by cosine,
    whose mean is :math:`\bar N = k n / m`:

    .. math:: \text{skewness} = \frac{\frac1m \sum_j (N_j - \bar N)^3}
        {\bigl(\frac1m \sum_j (N_j - \bar N)^2\bigr)^{3/2}}, \qquad
        \text{Robin Hood} = \frac{\sum_j \lvert N_j - \bar N \rvert}{2 \sum_j N_j}

    Lower means fewer hubs, for each of the four figures.

    Time O(n m d) in blocks, memory O(n k + m) and about 64 MB beside the arrays.

    Parameters
    ----------
    X : array of shape (n_queries, n_features)
    Y : array of shape (n_candidates, n_features), optional
        Need not correspond to X. None: the other rows of X.
    k : int, default=10
        At most the number of candidates.

    Returns
    -------
    Hubness
        Its skewness is 0 where all rows occur equally often.

    Raises
    ------
    ValueError
        If `k` is larger than the pool, widths, kinds or devices differ, or a row is zero or not
        finite.

    Notes
    -----
    Blind to whether the rows found are the right ones. The figures move with k and with the number
    of rows: compare spaces at the same of both. Of equally near rows any may be counted.

    References
    ----------
    .. [1] M. Radovanovic, A. Nanopoulos, M. Ivanovic, "Hubs in space: popular nearest neighbors in
       high-dimensional data", JMLR 11 (2010).
    .. [2] R. Feldbauer, M. Leodolter, C. Plant, A. Flexer, "Fast approximate hubness reduction for
       large high-dimensional data", IEEE ICBK (2018).

    Examples
    --------
    Both queries find the first row, and nobody the third.

    >>> import numpy as np
    >>> X = np.array([[1.0, 0.2], [0.9, 0.1]])
    >>> found = hubness(X, np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]), k=2)
    >>> found.occurrence.tolist(), round(found.antihub_share, 3)
    ([2, 2, 0], 0.333)
    """
    X = check_rows(None, X, name="X")
    if Y is not None:
        Y = check_rows(None, Y, name="Y")
        near = to_host(nearest(X, Y, k=k)).astype(np.int64)
        return _from_occurrence(np.bincount(near.ravel(), minlength=len(Y)))
    n = len(X)
    k = check_count(k, n - 1, name="k", pool="the pool of other rows of X")
    near = to_host(nearest(X, X, k=k + 1)).astype(np.int64)
    # A row is its own nearest; where copies of it come first, it may not be listed at all.
    own = near == np.arange(n)[:, None]
    own[~own.any(axis=1), -1] = True
    return _from_occurrence(np.bincount(near[~own], minlength=n))


def _from_occurrence(occurrence: np.ndarray) -> Hubness:
    mean, places = occurrence.mean(), occurrence.sum()
    apart = occurrence - mean
    variance = np.mean(apart**2)
    return Hubness(
        skewness=float(np.mean(apart**3) / variance**1.5) if variance > 0 else 0.0,
        robin_hood=float(np.sum(np.abs(apart)) / (2 * places)),
        antihub_share=float(np.mean(occurrence == 0)),
        hub_share=float(occurrence[occurrence >= HUB * mean].sum() / places),
        occurrence=occurrence,
    )
