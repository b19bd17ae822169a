"""The xSIM error: how often margin-based search misses the translation."""

from __future__ import annotations

from typing import Any

import numpy as np

from posthoc_align.metrics._margin import check_margin, margins, neighborhoods, warn_undefined


def xsim_error(
    X: Any, Y: Any, *, margin: str = "ratio", k: int = 4, memory_budget: int | None = None
) -> float:
    """Share of rows of X whose best candidate by margin is not their translation.

    Candidates are a row's k nearest neighbours, as in :func:`mine_pairs`. A tie is an error, and
    so is a translation with an undefined ratio. Lower is better; swap X and Y for the other
    direction.

    Time O(n^2 d) in blocks, memory O(nk) and the budget.

    Parameters
    ----------
    X, Y : array of shape (n_samples, n_features)
        Row i of Y translates row i of X.
    margin : {"ratio", "distance", "absolute"}, default="ratio"
    k : int, default=4
        Neighbours of a row; at most n_samples.
    memory_budget : int, optional
        Bytes that may be held beside the arrays; 96 MB if None (1.6 GB on an accelerator).

    Returns
    -------
    float
        Between 0 and 1; by chance 1 - 1 / n_samples.

    Raises
    ------
    ValueError
        If shapes, kinds or devices differ, there are fewer than 2 rows, a row is zero or not
        finite, the margin is unknown, or `k` is larger than the rows.

    Warns
    -----
    UserWarning
        If the ratio is undefined for some candidates.

    Notes
    -----
    With ``margin="absolute"`` it is one minus :func:`weak_alignment`, except that a lead below
    the rounding of single precision is a tie here.

    References
    ----------
    .. [1] M. R. Costa-jussa et al. (NLLB Team), "No language left behind: scaling human-centered
       machine translation" (2022), arXiv:2207.04672, section 5.1 (xsim).

    Examples
    --------
    >>> import numpy as np
    >>> xsim_error(np.eye(3), np.eye(3)[[0, 2, 1]], k=2)
    0.6666666666666666
    """
    x, y, k = check_margin(X, Y, margin, k, paired=True)
    near_x, near_y = neighborhoods(x, y, k, memory_budget)
    found, divisor = margins(near_x, near_y, margin)
    warn_undefined(found)
    home = (near_x.rows == np.arange(len(x))[:, None]) & np.isfinite(found)
    met = home.any(axis=1)
    lead = found[home] - np.where(home, -np.inf, found).max(axis=1)[met]
    # The cosine errs, and so do the two means it is compared with.
    slack = (2.0 + np.abs(found[home])) * x.slack() / divisor[home]
    return (len(x) - int(np.sum(lead > slack))) / len(x)
