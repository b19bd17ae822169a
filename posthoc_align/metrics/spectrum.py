"""What the spectra of two languages say of each other: no pairs needed, only covariances.

Singular values are those of centred rows, over the root of their number, so that languages of
unequal size compare.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from posthoc_align._arrays import Array
from posthoc_align.linalg import EPS
from posthoc_align.metrics._scatter import check_cloud, double_moments, main_axes
from posthoc_align.moments import scatter_of


def condition_number(X: Any, *, effective: bool = False) -> float:
    r"""Largest over smallest singular value of centred rows: how unevenly a space is filled.

    .. math:: \kappa = \sigma_1 / \sigma_d, \qquad
        \kappa_{\mathrm{eff}} = \sigma_1 / \sigma_{r}, \quad
        r = \lfloor e^{H(\sigma / \sum \sigma)} \rfloor

    with H the entropy: r is the effective rank [2]_, which leaves out the tail. Lower means a
    rounder space, and easier to map onto another [1]_.

    Time O(n d^2 + d^3), memory O(d^2) beside the array, in double precision.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
    effective : bool, default=False
        Whether to take the singular value at the effective rank in place of the smallest.

    Returns
    -------
    float
        1 or more.

    Raises
    ------
    ValueError
        If there is one row only, a row is not finite, all rows are equal, or (unless `effective`)
        there are no more rows than columns, so that the smallest singular value is zero.

    Warns
    -----
    UserWarning
        If the rows do not vary in some directions (a dead column of the encoder, a direction that
        was projected out), unless `effective`. These are left out.

    Notes
    -----
    Blind to a rotation, a shift and a scaling, and to which row is which.

    References
    ----------
    .. [1] H. Dubossarsky, I. Vulic, R. Reichart, A. Korhonen, "The secret is in the spectra:
       predicting cross-lingual task performance with spectral similarity measures", EMNLP (2020),
       arXiv:2001.11136.
    .. [2] O. Roy, M. Vetterli, "The effective rank: a measure of effective dimensionality",
       EUSIPCO (2007).

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> round(condition_number(X), 6)
    3.0
    """
    return _ratio(_singular_values(X, name="X", whole=not effective), effective)


def condition_harmonic_mean(X: Any, Y: Any, *, effective: bool = False) -> float:
    r"""Harmonic mean of two spaces' condition numbers: COND-HM, effective: ECOND-HM.

    .. math:: \frac{2\,\kappa_x \kappa_y}{\kappa_x + \kappa_y}

    Lower foretells an easier alignment.

    Time O(n d^2 + d^3), memory O(d^2) beside the arrays, in double precision.

    Parameters
    ----------
    X, Y : array of shape (n_x, d_x), (n_y, d_y)
        Two languages, not paired.
    effective : bool, default=False
        See :func:`condition_number`.

    Returns
    -------
    float
        1 or more.

    Raises
    ------
    ValueError
        As :func:`condition_number`.

    Warns
    -----
    UserWarning
        As :func:`condition_number`.

    Notes
    -----
    Blind to a rotation, a shift and a scaling of either side, and to which row is which. It does
    not compare the sides: two ill conditioned spaces of one shape score badly.

    References
    ----------
    .. [1] H. Dubossarsky, I. Vulic, R. Reichart, A. Korhonen, "The secret is in the spectra:
       predicting cross-lingual task performance with spectral similarity measures", EMNLP (2020),
       arXiv:2001.11136.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> round(condition_harmonic_mean(X, X * [1.0, 3.0]), 6)  # of 3 and 1
    1.5
    """
    x = _ratio(_singular_values(X, name="X", whole=not effective), effective)
    y = _ratio(_singular_values(Y, name="Y", whole=not effective), effective)
    return 2 * x * y / (x + y)


def singular_value_gap(X: Any, Y: Any) -> float:
    r"""Squared distance between the logarithms of two spaces' singular values (SVG).

    .. math:: \sum_i (\log \sigma_i^x - \log \sigma_i^y)^2

    both falling. Lower means more alike.

    Time O(n d^2 + d^3), memory O(d^2) beside the arrays, in double precision.

    Parameters
    ----------
    X, Y : array of shape (n_x, n_features), (n_y, n_features)
        Two languages, not paired.

    Returns
    -------
    float
        0 or more. With equally many rows it is the published value; otherwise the singular values
        are put on one footing by the root of the row counts.

    Raises
    ------
    ValueError
        If widths differ, a row is not finite, all rows of a side are equal, or there are no more
        rows than columns, so that the smallest singular value has no logarithm.

    Warns
    -----
    UserWarning
        If a side does not vary in some directions: as many of the smallest values are left out on
        both sides.

    Notes
    -----
    Blind to a rotation and a shift of either side, and to which row is which; not to scale. The
    smallest singular values, least well known, weigh as much as the largest.

    References
    ----------
    .. [1] H. Dubossarsky, I. Vulic, R. Reichart, A. Korhonen, "The secret is in the spectra:
       predicting cross-lingual task performance with spectral similarity measures", EMNLP (2020),
       arXiv:2001.11136.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> round(singular_value_gap(X, X[:, ::-1]), 6)
    0.0
    >>> round(singular_value_gap(X, np.e * X), 6)
    2.0
    """
    X, Y = check_cloud(X, name="X"), check_cloud(Y, name="Y")
    if X.shape[1] != Y.shape[1]:
        raise ValueError(
            f"X has {X.shape[1]} features and Y has {Y.shape[1]}: their spectra have no common "
            "length. Cut both to as many main directions first."
        )
    x, y = _singular_values(X, name="X"), _singular_values(Y, name="Y")
    common = min(len(x), len(y))
    x, y = x[:common], y[:common]
    return float(np.sum((np.log(x) - np.log(y)) ** 2))


def subspace_angles(X: Any, Y: Any, *, n_components: int | float = 0.9) -> np.ndarray:
    r"""Principal angles between the subspaces two languages mostly vary in, largest first.

    The subspaces are spanned by the main directions of centred rows. All angles 0: one subspace
    holds the other; pi / 2: a direction of one is orthogonal to the whole of the other.

    Time O(n d^2 + d^3), memory O(d^2) beside the arrays, in double precision.

    Parameters
    ----------
    X, Y : array of shape (n_x, n_features), (n_y, n_features)
        Two languages, not paired.
    n_components : int or float, default=0.9
        Dimensions of each subspace: how many, or as few as hold a share of the variance.

    Returns
    -------
    ndarray of shape (min(k_x, k_y),)
        Radians, from 0 to pi / 2, in the order of :func:`scipy.linalg.subspace_angles`. On the
        host.

    Raises
    ------
    ValueError
        If widths differ, there is one row only, a row is not finite, all rows of a side are equal,
        or `n_components` is out of range.

    Notes
    -----
    Blind to the means (which may lie far apart), to a linear map within either subspace, and to
    which row is which. Not unique where the variance is equal on both sides of the cut.

    References
    ----------
    .. [1] A. Bjorck, G. Golub, "Numerical methods for computing angles between linear subspaces",
       Mathematics of Computation 27 (1973).
    .. [2] T. Chang, Z. Tu, B. Bergen, "The geometry of multilingual language model
       representations", EMNLP (2022), arXiv:2205.10964.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]])
    >>> Y = np.array([[1.0, 1.0, 5.0], [-1.0, -1.0, 5.0]])
    >>> np.degrees(subspace_angles(X, Y)).round(4)
    array([45.])
    """
    from scipy.linalg import subspace_angles as angles_between

    X, Y = check_cloud(X, name="X"), check_cloud(Y, name="Y")
    if X.shape[1] != Y.shape[1]:
        raise ValueError(
            f"X has {X.shape[1]} features and Y has {Y.shape[1]}: angles need one common space. "
            "Map one side into the space of the other first."
        )
    bases = []
    for name, rows in (("X", X), ("Y", Y)):
        scatter = scatter_of(double_moments(rows, second="full", name=name))
        bases.append(main_axes(scatter, rows, n_components, name=name)[1])
    return np.asarray(angles_between(*bases))


def _singular_values(X: Any, *, name: str, whole: bool = True) -> np.ndarray:
    """Falling singular values of centred rows over root n, save those that are rounding noise.

    If `whole`, too few rows for a full spectrum are refused and values left out announced.
    """
    rows: Array = check_cloud(X, name=name)
    n, d = rows.shape
    if whole and n <= d:
        raise ValueError(
            f"{name} has {n} rows and {d} columns: its smallest singular value is zero for want of "
            "rows. Pass more rows than columns, or cut the columns to main directions (PCA); "
            "condition numbers also take effective=True."
        )
    moments = double_moments(rows, second="full", name=name)
    values, _ = main_axes(scatter_of(moments), rows, None, name=name)
    if whole and len(values) < d:
        warnings.warn(
            f"{name} varies in {len(values)} of {d} directions: the other singular values are "
            "zero up to rounding and are left out.",
            stacklevel=3,
        )
    return np.sqrt(values / moments.count)


def _ratio(values: np.ndarray, effective: bool) -> float:
    """The condition number of falling singular values."""
    at = len(values)
    if effective:
        share = values / np.sum(values)
        # Equal values have an entropy of log d, whose exponential may round to just below d.
        at = int(np.exp(-share @ np.log(share)) * (1 + 4 * len(values) * EPS))
    return float(values[0] / values[at - 1])
