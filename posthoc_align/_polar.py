"""The orthogonal factor of a matrix by products alone, for devices on which an SVD is slow."""

from __future__ import annotations

import math

import numpy as np

from posthoc_align._arrays import Array, like, namespace

# Steps may stretch singular values by at most this: beyond it those near 1 would be sent so near
# zero that their rounding grows (J. Chen and E. Chow, "A stable scaling of Newton-Schulz for
# improving the sign function computation of a Hermitian matrix", Argonne preprint 5059, 2014).
STRETCH = 1.69770248525577310

# The step after one that was off by this much is exact to rounding: the error is squared.
NEAR = 1e-8


def polar_factor(matrix: Array, *, noise: float) -> Array | None:
    r"""The orthonormal factor of a float64 matrix of full numerical rank, None for any other.

    The scaled Newton-Schulz iteration :math:`Q \leftarrow Q\,(3\alpha I - \alpha^3 Q^\top Q)/2`:
    each singular value q becomes :math:`(3\alpha q - \alpha^3 q^3)/2`, which rises to 1, at first
    by a factor of about 2.5 a step and in the end quadratically. Some 20 products of float32
    noise, 45 of float64 noise; no inverse and no decomposition but one of Cholesky, of
    ``Q' matrix``, whose eigenvalues are the singular values of the matrix: it exists, less the
    noise on the diagonal, only if all of them exceed the noise.

    Parameters
    ----------
    matrix : array of shape (d_x, d_y)
        On any device.
    noise : float
        What share of the largest singular value is rounding, see
        :func:`posthoc_align.linalg.numerical_rank`.

    Returns
    -------
    array of shape (d_x, d_y), or None
        Orthonormal columns (rows, if ``d_x < d_y``). None where a singular value may be noise, so
        that the factor is not unique, and where the iteration did not converge.
    """
    if matrix.shape[0] < matrix.shape[1]:
        turned = polar_factor(matrix.T, noise=noise)
        return None if turned is None else turned.T
    xp = namespace(matrix)
    bound = _norm_bound(matrix)
    if not (math.isfinite(bound) and bound > 0):
        return None
    factor, identity = matrix / bound, _identity_like(matrix)
    least = noise / len(matrix) ** (1 / 64)  # the bound is at most so much above the norm
    if not 0 < least < 1:
        return None
    for _ in range(10 + math.ceil(math.log(1 / least) / math.log(2))):
        gram = factor.T @ factor
        off = _size(gram - identity)
        if off < 1:
            least = max(least, math.sqrt(1 - off))
        stretch = min(STRETCH, math.sqrt(3 / (1 + least + least**2)))
        factor = factor @ (1.5 * stretch * identity - 0.5 * stretch**3 * gram)
        least = min(1.0, 0.5 * stretch * least * (3 - (stretch * least) ** 2))
        if off < NEAR:
            break
    else:
        return None
    product = factor.T @ matrix
    try:
        xp.linalg.cholesky((product + product.T) / 2 - noise * bound * identity)
    except (ValueError, RuntimeError):  # NumPy's LinAlgError is the first, torch's the second
        return None
    return factor


def _norm_bound(matrix: Array) -> float:
    """An upper bound of the largest singular value, at most ``d ** (1 / 64)`` times as large.

    The largest eigenvalue of the Gram matrix G is at most the 16th root of the Frobenius norm of
    its 16th power, four squarings away.
    """
    size = _size(matrix)
    if not (math.isfinite(size) and size > 0):
        return size
    power = (matrix / size).T @ (matrix / size)
    log = 0.0
    for _ in range(4):
        of_power = _size(power)
        power = power / of_power
        power, log = power @ power, 2 * (log + math.log(of_power))
    return size * math.exp((log + math.log(_size(power))) / 32)


def _size(matrix: Array) -> float:
    """The Frobenius norm."""
    return math.sqrt(float(namespace(matrix).sum(matrix * matrix)))


def _identity_like(matrix: Array) -> Array:
    return like(np.eye(matrix.shape[1]), matrix, dtype=matrix.dtype)
