"""How alike two representations of the same sentences are, up to what each measure ignores.

Row i of X and row i of Y belong together: translations, or two layers of one encoder.
"""

from __future__ import annotations

import warnings
from math import acos, sqrt
from typing import Any

import numpy as np

from posthoc_align._arrays import Array, like, namespace, to_host
from posthoc_align._blocks import blocks
from posthoc_align.metrics._scatter import (
    check_pairs,
    double,
    double_moments,
    double_pair_moments,
    is_still,
)
from posthoc_align.pair_moments import PairMoments


def cka(X: Any, Y: Any, *, debiased: bool = False) -> float:
    r"""Linear centred kernel alignment of paired rows; 1 for spaces of one shape.

    .. math:: \mathrm{CKA} = \frac{\lVert Y^\top X\rVert_F^2}
        {\lVert X^\top X\rVert_F\,\lVert Y^\top Y\rVert_F}

    on centred columns: the cosine between the two matrices of dot products of rows. Higher means
    more alike.

    Time O(n d^2), memory O(d^2) beside the arrays, in double precision.

    Parameters
    ----------
    X, Y : array of shape (n_samples, d_x), (n_samples, d_y)
        Row i of Y is the counterpart of row i of X. The widths may differ.
    debiased : bool, default=False
        Take off what rows share with themselves, by which CKA of unrelated rows rises towards 1
        when n is not much larger than d: each squared norm becomes an unbiased estimate [1]_ [2]_.

    Returns
    -------
    float
        Between 0 and 1. Debiased: about 0 for unrelated rows, below 0 by chance, and it may
        exceed 1.

    Raises
    ------
    ValueError
        If there are fewer than 2 pairs (debiased: 4), row counts, kinds or devices differ, a row
        is not finite, all rows of a side are equal, or there are too few rows for the debiased
        norm of a side to come out positive.

    Notes
    -----
    Blind to a rotation, a shift and a scaling of either side: centring a language, or rotating it
    onto another, leaves it as it was. It cannot tell what alignment achieved; it says
    how much an orthogonal map could achieve.

    References
    ----------
    .. [1] S. Kornblith, M. Norouzi, H. Lee, G. Hinton, "Similarity of neural network
       representations revisited", ICML (2019), arXiv:1905.00414.
    .. [2] L. Song, A. Smola, A. Gretton, J. Bedo, K. Borgwardt, "Feature selection via dependence
       maximization", JMLR 13 (2012).

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> round(cka(X, 3 * X[:, ::-1] + 7), 6)
    1.0
    >>> round(cka(X, X[:, :1]), 4)  # 4 / (sqrt(8) * 2)
    0.7071
    """
    X, Y = check_pairs(X, Y, minimum=4 if debiased else 2)
    joint = double_pair_moments(X, Y)
    across, own_x, own_y = (
        float(np.sum(np.asarray(part) ** 2))
        for part in (joint.cross, joint.scatter_x, joint.scatter_y)
    )
    if not debiased:
        return min(1.0, across / sqrt(own_x * own_y))
    across, own_x, own_y = _debias((across, own_x, own_y), X, Y, joint)
    for name, own in (("X", own_x), ("Y", own_y)):
        if own <= 0:
            raise ValueError(
                f"The debiased norm of {name} is not positive with {X.shape[0]} rows: there are "
                "too few to tell its shape from chance. Pass more pairs, or debiased=False."
            )
    return across / sqrt(own_x * own_y)


def _debias(
    squares: tuple[float, float, float], X: Array, Y: Array, joint: PairMoments
) -> tuple[float, float, float]:
    """Unbiased estimates, up to one common factor, of three squared norms (XY, XX, YY)."""
    xp, n = namespace(X), X.shape[0]
    mean_x = like(joint.mean_x, X, dtype=xp.float64)
    mean_y = like(joint.mean_y, X, dtype=xp.float64)
    own = np.zeros(3)
    for rows in blocks(X if X.shape[1] >= Y.shape[1] else Y):
        x = xp.sum((double(X, rows) - mean_x) ** 2, axis=1)
        y = xp.sum((double(Y, rows) - mean_y) ** 2, axis=1)
        own += [float(x @ y), float(x @ x), float(y @ y)]
    traces = np.array(
        [joint.square_x * joint.square_y, joint.square_x**2, joint.square_y**2], dtype=np.float64
    )
    across, own_x, own_y = squares - n / (n - 2) * own + traces / ((n - 1) * (n - 2))
    return float(across), float(own_x), float(own_y)


def procrustes_distance(X: Any, Y: Any) -> float:
    r"""Angle between two spaces after the best rotation of one onto the other; 0 for one shape.

    .. math:: \theta = \arccos \frac{\lVert X^\top Y\rVert_*}{\lVert X\rVert_F\,\lVert Y\rVert_F}

    on centred columns, where :math:`\lVert\cdot\rVert_*` is the sum of singular values. It is a
    distance: symmetric, with the triangle inequality [1]_. Lower means more alike.

    Time O(n d^2 + d^3), memory O(d^2) beside the arrays, in double precision.

    Parameters
    ----------
    X, Y : array of shape (n_samples, d_x), (n_samples, d_y)
        Row i of Y is the counterpart of row i of X. The narrower side counts as filled up with
        columns of zeros.

    Returns
    -------
    float
        Radians, from 0 to pi / 2. A zero is met to about 1e-7: the arc cosine is steep there.

    Raises
    ------
    ValueError
        If there are fewer than 2 pairs, row counts, kinds or devices differ, a row is not finite,
        or all rows of a side are equal.

    Notes
    -----
    Blind to a rotation, a shift and a scaling of either side. It is what remains when a rotation
    has done its best (on these very rows), so it cannot score the rotation; with n at or below d
    a rotation fits unrelated rows well, and the distance is too small.

    References
    ----------
    .. [1] A. Williams, E. Kunz, S. Kornblith, S. Linderman, "Generalized shape metrics on neural
       representations", NeurIPS (2021), arXiv:2110.14739.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> round(procrustes_distance(X, X[:, ::-1]), 6), round(procrustes_distance(X, X[:, :1]), 4)
    (0.0, 0.7854)
    """
    X, Y = check_pairs(X, Y)
    joint = double_pair_moments(X, Y)
    nuclear = float(np.sum(np.linalg.svd(joint.cross, compute_uv=False)))
    return acos(min(1.0, nuclear / sqrt(joint.square_x * joint.square_y)))


def average_neuron_correlation(X: Any, Y: Any) -> float:
    r"""Mean over columns of the correlation of column j of X with column j of Y (ANC).

    .. math:: \mathrm{ANC} = \tfrac1d \sum_j \mathrm{corr}(X_{\cdot j}, Y_{\cdot j})

    It compares neuron with neuron and forgives no rotation, unlike CKA and CCA. Higher means
    more alike.

    Time O(nd), memory O(d) beside the arrays, in double precision.

    Parameters
    ----------
    X, Y : array of shape (n_samples, n_features)
        Row i of Y is the counterpart of row i of X.

    Returns
    -------
    float
        Between -1 and 1; about 0 for unrelated rows. A column that does not vary on one of the
        sides counts as 0, with a warning.

    Raises
    ------
    ValueError
        If there are fewer than 2 pairs, widths, row counts, kinds or devices differ, a row is not
        finite, or all rows of a side are equal.

    Notes
    -----
    Blind to a shift of either side and to the scale of each of its columns: centring or
    standardising a language leaves it as it was.

    References
    ----------
    .. [1] M. Del, M. Fishel, "Cross-lingual similarity of multilingual representations
       revisited", AACL (2022), arXiv:2212.01924.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[1.0, 1.0], [2.0, -1.0], [3.0, 1.0]])
    >>> round(average_neuron_correlation(X, 5 - 2 * X), 6)
    -1.0
    >>> round(average_neuron_correlation(X, X * [1.0, -1.0]), 6)
    0.0
    """
    X, Y = check_pairs(X, Y, same_width=True)
    x, y = (double_moments(Z, second="diagonal", name=n) for Z, n in ((X, "X"), (Y, "Y")))
    xp = namespace(X)
    mean_x, mean_y = (like(part.mean, X, dtype=xp.float64) for part in (x, y))
    shared = np.zeros(x.n_features)
    for rows in blocks(X):
        product = (double(X, rows) - mean_x) * (double(Y, rows) - mean_y)
        shared += to_host(xp.sum(product, axis=0))
    still = is_still(x, X) | is_still(y, Y)
    if np.any(still):
        warnings.warn(
            f"{np.count_nonzero(still)} of {len(still)} columns do not vary in X or in Y, first "
            f"column {int(np.argmax(still))}: they have no correlation and count as 0.",
            stacklevel=2,
        )
    lengths = np.sqrt(x.variance * y.variance) * x.count
    return float(np.mean(np.where(still, 0.0, shared / np.where(still, 1.0, lengths))))
