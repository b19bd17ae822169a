"""Canonical correlations: what two representations share up to any invertible linear map.

Row i of X and row i of Y belong together. All three functions work on the whitened cross-scatter,
so that memory is that of d x d matrices.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from posthoc_align.metrics._scatter import check_pairs, double_pair_moments, main_axes


def canonical_correlations(
    X: Any, Y: Any, *, n_components: int | float | None = None
) -> np.ndarray:
    r"""Correlations of the best matched directions of two spaces, falling.

    With centred columns and main directions :math:`X = P \Lambda^{1/2} V^\top` of each side, the
    singular values of :math:`P_x^\top P_y`.

    Time O(n d^2 + d^3), memory O(d^2) beside the arrays, in double precision.

    Parameters
    ----------
    X, Y : array of shape (n_samples, d_x), (n_samples, d_y)
        Row i of Y is the counterpart of row i of X. The widths may differ.
    n_components : int, float or None, default=None
        Main directions of each side that take part: how many, or as few as hold a share of the
        variance (a float between 0 and 1), or all that are not rounding noise.

    Returns
    -------
    ndarray of shape (min(k_x, k_y),)
        Each between 0 and 1; k_x and k_y are the directions that take part. On the host.

    Raises
    ------
    ValueError
        If a side takes part with n_samples - 1 directions or more (then all correlations are 1,
        whatever the rows), `n_components` is out of range, row counts, kinds or devices differ,
        a row is not finite, or all rows of a side are equal.

    Warns
    -----
    UserWarning
        If k_x + k_y > n_samples - 1: so many correlations are 1 by counting alone.

    Notes
    -----
    Blind to an invertible linear map and a shift of either side (with `n_components`, to a
    rotation, a shift and a scaling): no centring, rotation or whitening of a language moves it.
    Unrelated rows have large correlations too unless n is many times d: compare with those of
    shuffled pairs.

    References
    ----------
    .. [1] H. Hotelling, "Relations between two sets of variates", Biometrika 28 (1936).

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0], [0.0, 0.0]])
    >>> canonical_correlations(X, X @ [[1.0, 2.0], [3.0, 4.0]]).round(6)
    array([1., 1.])
    """
    return _canonical(X, Y, n_components)[0]


def svcca(X: Any, Y: Any, *, n_components: int | float | None = 0.99) -> float:
    """Mean canonical correlation of the main directions of two spaces (SVCCA).

    Each side is cut to its main directions first, since small ones are mostly noise, to which
    canonical correlations give the same weight. Higher means more alike.

    Time O(n d^2 + d^3), memory O(d^2) beside the arrays, in double precision.

    Parameters
    ----------
    X, Y : array of shape (n_samples, d_x), (n_samples, d_y)
        Row i of Y is the counterpart of row i of X. The widths may differ.
    n_components : int, float or None, default=0.99
        Main directions of each side that take part: how many, or as few as hold a share of the
        variance, or all that are not rounding noise.

    Returns
    -------
    float
        Between 0 and 1; unrelated rows lie above 0, the farther the smaller n.

    Raises
    ------
    ValueError
        As :func:`canonical_correlations`.

    Warns
    -----
    UserWarning
        As :func:`canonical_correlations`.

    Notes
    -----
    Blind to a rotation, a shift and a scaling of either side. The mean is over all correlations;
    published code leaves out the last that add up to 2 % of their sum, and reports more.

    References
    ----------
    .. [1] M. Raghu, J. Gilmer, J. Yosinski, J. Sohl-Dickstein, "SVCCA: Singular vector canonical
       correlation analysis for deep learning dynamics and interpretability", NeurIPS (2017),
       arXiv:1706.05806.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0], [0.0, 0.0]])
    >>> round(svcca(X, 3 * X[:, ::-1] + 7), 6)
    1.0
    """
    return float(np.mean(_canonical(X, Y, n_components)[0]))


def pwcca(X: Any, Y: Any, *, n_components: int | float | None = None) -> float:
    r"""Mean canonical correlation, each weighted by how much of X it accounts for (PWCCA).

    .. math:: \frac{\sum_i \alpha_i \rho_i}{\sum_i \alpha_i}, \qquad
        \alpha_i = \sum_j \lvert \langle h_i, x_j \rangle \rvert

    where :math:`h_i` is the i-th canonical variate of X and :math:`x_j` its j-th column, centred.
    Higher means more alike.

    Time O(n d^2 + d^3), memory O(d^2) beside the arrays, in double precision.

    Parameters
    ----------
    X : array of shape (n_samples, d_x)
        The side whose columns weigh: swap X and Y for another value.
    Y : array of shape (n_samples, d_y)
        Row i of Y is the counterpart of row i of X.
    n_components : int, float or None, default=None
        Main directions of each side that take part: how many, or as few as hold a share of the
        variance, or all that are not rounding noise.

    Returns
    -------
    float
        Between 0 and 1.

    Raises
    ------
    ValueError
        As :func:`canonical_correlations`.

    Warns
    -----
    UserWarning
        As :func:`canonical_correlations`.

    Notes
    -----
    Blind to an invertible linear map and a shift of Y, and to a shift and a scaling of X. A
    rotation of X moves the weights, though not the correlations. Where correlations are equal the
    weights are not unique, as the variates are not.

    References
    ----------
    .. [1] A. Morcos, M. Raghu, S. Bengio, "Insights on representational similarity in neural
       networks with canonical correlation", NeurIPS (2018), arXiv:1806.05759.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 3.0], [0.0, -3.0], [0.0, 0.0]])
    >>> Y = np.stack([X[:, 0], X[:, 1] + [3, 0, 0, -3, 0]], axis=1)  # spoils the large column
    >>> bool(pwcca(X, Y) < svcca(X, Y, n_components=None))
    True
    """
    correlations, variates, axes = _canonical(X, Y, n_components)
    values, vectors = axes
    weights = np.sum(np.abs((variates.T * np.sqrt(values)) @ vectors.T), axis=1)
    return float(weights @ correlations / np.sum(weights))


def _canonical(
    X: Any, Y: Any, n_components: int | float | None
) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Correlations, the canonical directions of X among its main axes, and those axes."""
    X, Y = check_pairs(X, Y)
    joint = double_pair_moments(X, Y)
    values_x, vectors_x = main_axes(np.asarray(joint.scatter_x), X, n_components, name="X")
    values_y, vectors_y = main_axes(np.asarray(joint.scatter_y), Y, n_components, name="Y")
    _require_rows(joint.count, len(values_x), len(values_y))
    whitened = (vectors_x / np.sqrt(values_x)).T @ joint.cross @ (vectors_y / np.sqrt(values_y))
    left, correlations, _ = np.linalg.svd(whitened, full_matrices=False)
    return np.minimum(correlations, 1.0), left, (values_x, vectors_x)


def _require_rows(n: int, k_x: int, k_y: int) -> None:
    """Refuse sides that span all centred rows; warn where they must share some directions."""
    name, k = ("X", k_x) if k_x >= k_y else ("Y", k_y)
    if k >= n - 1:
        raise ValueError(
            f"{n} rows, and {k} directions of {name} take part: they span everything that {n} "
            "centred rows can be, so that all canonical correlations are 1 whatever the rows. Pass "
            f"more than {k + 1} rows, or a smaller n_components."
        )
    forced = k_x + k_y - (n - 1)
    if forced > 0:
        warnings.warn(
            f"{forced} of {min(k_x, k_y)} canonical correlations are 1 by counting alone: {k_x} "
            f"and {k_y} directions meet among {n} rows. Pass {k_x + k_y + 1} rows or more, or a "
            "smaller n_components.",
            stacklevel=4,
        )
