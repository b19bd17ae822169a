"""Small dense linear algebra that the estimators share.

Summaries are at most d x d, so they are solved in float64 on the host by LAPACK, whatever device
the rows are on; the nearest isometry alone is found on a device, by products. What counts as
numerically zero is decided here and nowhere else.
"""

from __future__ import annotations

import numpy as np

from posthoc_align._arrays import Array, namespace, summary_on, to_host
from posthoc_align._blocks import BadRow
from posthoc_align._memory import is_out_of_memory
from posthoc_align._polar import polar_factor

EPS = float(np.finfo(np.float64).eps)

# From this width a singular value decomposition on the host takes longer than to start the fifty
# small jobs on a device that do without. (On the host it is the faster of the two at any width:
# for 1024 columns by a factor of 2 to 6.)
WIDE = 256


def unit_block(x: Array, *, name: str | None = "X", first: int = 0) -> Array:
    """Rows of a block scaled to unit Euclidean norm, wherever they lie.

    Each row is divided by its largest entry first, since squares of tiny or huge entries would
    not fit into the type.

    Parameters
    ----------
    x : array of shape (n, d)
    name : str or None, default="X"
        What errors call the rows. None: a zero row, which has no direction, stays zero.
    first : int, default=0
        Number of the block's first row.

    Raises
    ------
    ValueError
        If a row is zero and `name` is given.
    """
    xp = namespace(x)
    largest = xp.max(xp.abs(x), axis=1, keepdims=True)
    zero = largest == 0
    if name is not None and bool(xp.any(zero)):
        raise BadRow(
            first + int(xp.argmax(xp.astype(zero[:, 0], xp.int64))),
            f"Row {{row}} of {name} is a zero vector (perhaps after centring), which has no "
            "direction to scale to unit norm. Remove such rows (an empty text often is the cause).",
        )
    one_if_zero = xp.astype(zero, x.dtype)
    x = x / (largest + one_if_zero)
    return x / (xp.sqrt(xp.sum(x * x, axis=1, keepdims=True)) + one_if_zero)


def numerical_rank(values: np.ndarray, size: int, eps: float, *, scale: float | None = None) -> int:
    """How many of the descending singular values are more than rounding noise.

    A product summed in arithmetic of relative spacing `eps` over matrices of `size` columns is
    known to about ``size * eps`` of its largest singular value (Golub & Van Loan, section 5.5.8,
    the rule of LAPACK users and of ``numpy.linalg.matrix_rank``); below that, directions are noise.
    Where the matrix is a difference of larger numbers, `scale` is the size of those.
    """
    scale = (float(values[0]) if values.size else 0.0) if scale is None else scale
    return int(np.sum(values > max(scale * size * eps, 0.0)))


def nearest_isometry(
    cross: np.ndarray, *, eps: float, max_rank: int | None = None, reflection: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    r"""The orthonormal matrix R that maximises trace(R' cross), completed towards the identity.

    With the singular value decomposition ``cross = U S V'``, ``R = U V'`` on the directions that
    carry signal. On the orthogonal complements N_x, N_y, about which `cross` says nothing, R is
    the isometry closest to the identity: ``N_x polar(N_x' I N_y) N_y'``. This is the limit of the
    polar factor of ``cross + t I`` as t falls to zero.

    Parameters
    ----------
    cross : ndarray of shape (d_x, d_y)
    eps : float
        Relative precision of `cross`, see :func:`numerical_rank`.
    max_rank : int, optional
        A bound on the rank known from elsewhere, such as the number of pairs.
    reflection : bool, default=True
        If False and `cross` is square, the determinant is made +1 by turning round the least
        certain direction. (Between spaces of different width the sign carries no meaning.)

    Returns
    -------
    isometry : ndarray of shape (d_x, d_y)
        Orthonormal columns if d_x >= d_y, orthonormal rows otherwise.
    singular_values : ndarray of shape (min(d_x, d_y),)
        Of `cross`, descending.

    Notes
    -----
    :func:`isometry_by_products` finds the same on a device, where nothing has to be completed.
    """
    d_x, d_y = cross.shape
    left, values, right = paired_axes(cross, eps=eps, max_rank=max_rank)
    isometry = left @ right.T
    if not reflection and d_x == d_y and np.linalg.slogdet(isometry)[0] < 0:
        isometry = isometry - 2 * np.outer(left[:, -1], right[:, -1])
    return isometry, values


def isometry_by_products(
    cross: np.ndarray,
    device: str,
    *,
    eps: float,
    max_rank: int | None = None,
    reflection: bool = True,
) -> np.ndarray | None:
    """The isometry of :func:`nearest_isometry` found on a device, or None where that must do it.

    Only `cross` goes there and only the isometry comes back. The two agree to the rounding of
    either, which is float64's over the relative size of the smallest singular value.

    Parameters
    ----------
    cross : ndarray of shape (d_x, d_y)
    device : str
        Such as ``"cuda:0"``.
    eps, max_rank, reflection
        As in :func:`nearest_isometry`.

    Returns
    -------
    ndarray of shape (d_x, d_y), or None
        None if `cross` is narrow, so that the host is as fast; if it is not of full numerical
        rank, so that there is something to complete; if a reflection has to be undone, which
        takes singular vectors; or if the device is not there, has no float64, or has not the
        memory.
    """
    least, most = sorted(cross.shape)
    if least < WIDE or (max_rank is not None and max_rank < least):
        return None
    there = summary_on(cross, device)
    try:
        factor = None if there is None else polar_factor(there, noise=most * eps)
        if factor is None:
            return None
        if not reflection and least == most and float(namespace(factor).linalg.det(factor)) < 0:
            return None
        return to_host(factor)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return None


def paired_axes(
    cross: np.ndarray, *, eps: float, max_rank: int | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Singular vectors and values of `cross`; where it says nothing, axes nearest each other.

    Parameters as in :func:`nearest_isometry`.

    Returns
    -------
    left, singular_values, right : ndarray of shape (d_x, m), (m,), (d_y, m)
        With m = min(d_x, d_y).
    """
    d_x, d_y = cross.shape
    u, values, vt = np.linalg.svd(cross, full_matrices=False)
    rank = numerical_rank(values, max(d_x, d_y), eps)
    if max_rank is not None:
        rank = min(rank, max_rank)
    left, right = u[:, :rank], vt[:rank].T
    if rank < min(d_x, d_y):
        rest_x, rest_y = complement(left), complement(right)
        p, _, qt = np.linalg.svd(rest_x.T @ np.eye(d_x, d_y) @ rest_y, full_matrices=False)
        left = np.hstack([left, rest_x @ p])
        right = np.hstack([right, rest_y @ qt.T])
    return left, values, right


def complement(basis: np.ndarray) -> np.ndarray:
    """Orthonormal basis, (d, d - r), of the complement of orthonormal columns (d, r)."""
    return np.linalg.qr(basis, mode="complete")[0][:, basis.shape[1] :]


def symmetric_eigen(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues (ascending, negative rounding noise set to zero) and eigenvectors in columns."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return np.maximum(values, 0.0), vectors


def symmetric_power(matrix: np.ndarray, power: float, *, eps: float = EPS) -> np.ndarray:
    """A power of a symmetric positive semi-definite matrix.

    Directions that are zero up to rounding (see :func:`numerical_rank`) stay zero, also where the
    power is negative: the pseudo-inverse, and its root at ``power=-0.5``.

    Parameters
    ----------
    matrix : ndarray of shape (d, d)
    power : float
    eps : float
        Relative precision of `matrix`.
    """
    values, vectors = symmetric_eigen(matrix)
    rank = numerical_rank(values, len(values), eps, scale=float(values[-1]))
    values, vectors = values[len(values) - rank :], vectors[:, len(values) - rank :]
    return (vectors * values**power) @ vectors.T


def fix_signs(rows: np.ndarray) -> np.ndarray:
    """Turn each row so that its largest entry is positive: a basis without a random sign."""
    at = np.argmax(np.abs(rows), axis=1)
    signs = np.sign(rows[np.arange(len(rows)), at])
    return rows * np.where(signs == 0, 1.0, signs)[:, None]


def shrunk_covariance(
    scatter: np.ndarray, count: int, shrinkage: float | str = "auto"
) -> tuple[np.ndarray, float]:
    r"""Covariance of `count` rows of a given scatter, pulled towards a multiple of the identity.

    :math:`(1-s)\,S + s\,\tfrac{\operatorname{tr}S}{d} I` with :math:`S` = scatter / count. "auto"
    is the factor of Bodnar, Gupta and Parolya (J. Multivariate Analysis 132, 2014), optimal in
    Frobenius norm as d and count grow together:
    :math:`s = \frac{(\operatorname{tr} S)^2\,d/n}{d\lVert S\rVert_F^2-(\operatorname{tr} S)^2}`,
    at most 1.

    Parameters
    ----------
    scatter : ndarray of shape (d, d)
        Centred and unnormalised.
    count : int
        Number of rows.
    shrinkage : float in [0, 1] or "auto", default="auto"

    Returns
    -------
    covariance : ndarray of shape (d, d)
    factor : float
        s, what was used.
    """
    check_shrinkage(shrinkage)
    d, covariance = len(scatter), scatter / count
    trace = float(np.trace(covariance))
    if isinstance(shrinkage, str):
        spread = d * float(np.sum(covariance**2)) - trace**2
        noise = trace**2 * d / count
        factor = 1.0 if spread <= noise else noise / spread
    else:
        factor = float(shrinkage)
    return (1 - factor) * covariance + factor * trace / d * np.eye(d), factor


def check_shrinkage(shrinkage: float | str) -> None:
    """Raise unless it is "auto" or a number from 0 to 1."""
    known = shrinkage == "auto"
    if isinstance(shrinkage, (int, float, np.number)) and not isinstance(shrinkage, bool):
        known = bool(0 <= shrinkage <= 1)
    if not known:
        raise ValueError(
            f"shrinkage={shrinkage!r} is out of range: give a number from 0 to 1, or 'auto'."
        )


def inverse_root(covariance: np.ndarray, *, eps: float = EPS) -> np.ndarray:
    """Symmetric inverse square root; what has no variance counts as having its rounding noise.

    Unlike :func:`symmetric_power` it always has an inverse.

    Parameters
    ----------
    covariance : ndarray of shape (d, d)
    eps : float
        Relative precision of `covariance`.
    """
    values, vectors = symmetric_eigen(covariance)
    floor = values[-1] * len(values) * eps if values[-1] > 0 else 1.0
    return (vectors / np.sqrt(np.maximum(values, floor))) @ vectors.T
