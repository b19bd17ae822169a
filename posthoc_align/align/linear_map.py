"""Ridge towards a prior map: align, but stay close to where the space was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from scipy import linalg

from posthoc_align._arrays import Array, like, namespace, to_host, upcast, zeros_on
from posthoc_align._blocks import PRODUCT_BLOCK, blocks
from posthoc_align.align._map import PairedMap
from posthoc_align.linalg import nearest_isometry, numerical_rank, symmetric_eigen
from posthoc_align.moments import PairMoments

PRIORS = ("identity", "zero", "procrustes")


class LinearMap(PairedMap):
    r"""Least-squares map kept close to a prior: zero, the identity or the Procrustes rotation.

    Solves :math:`\min_W\lVert XW-Y\rVert_F^2+\lambda\lVert W-P\rVert_F^2` in closed form,
    :math:`W=(X^\top X+\lambda I)^{-1}(X^\top Y+\lambda P)`, on centred rows. With P the
    identity this is "align, but stay close to the original" [1]_ and the strongest simple method
    on encoders that already share a space. Memory is O(d^2).

    Parameters
    ----------
    prior : {"identity", "zero", "procrustes"}, default="identity"
        What the map falls back to where pairs say little. "identity" needs equal widths.
    penalty : float or "auto", default="auto"
        :math:`\lambda`, in units of a summed squared coordinate: with unit rows, 1.0 weighs as much
        as one pair. 0 is least squares, of minimum distance to the prior where that is not unique.
        "auto" minimises the exact leave-one-out error over the pairs given to fit.
    center : bool, default=True
        Fit on centred rows and map mean onto mean.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features_in, n_features_out)
        W.
    prior_ : ndarray of shape (n_features_in, n_features_out)
        P.
    penalty_ : float
        The :math:`\lambda` used.
    leave_one_out_ : float or None
        Mean squared leave-one-out residual (sum over dimensions) at ``penalty_``, for
        ``penalty="auto"``.
    mean_in_, mean_out_ : ndarray of shape (n_features_in,), (n_features_out,)
    moments_ : PairMoments
    n_features_in_ : int

    Raises
    ------
    ValueError
        If fewer than 2 pairs were seen (3 for "auto"), ``prior="identity"`` meets spaces
        of different width, or ``penalty="auto"`` meets moments without rows.

    Notes
    -----
    Leave-one-out residuals come from one eigendecomposition of the scatter:
    :math:`(y_i-\hat y_i)/(1-h_i)` with leverage
    :math:`h_i=1/n+x_i^\top(X^\top X+\lambda I)^{-1}x_i`
    [2]_; each trial :math:`\lambda` costs one product of n x d x d. The Procrustes prior is held
    fixed while rows are left out. Streams (``partial_fit``, ``fit_moments``) have no rows to
    leave out and need a number.

    References
    ----------
    .. [1] S. Cao, N. Kitaev, D. Klein, "Multilingual Alignment of Contextual Word
       Representations", ICLR 2020.
    .. [2] D. Allen, "The relationship between variable selection and data augmentation and a
       method for prediction", Technometrics 16 (1974).

    Examples
    --------
    >>> import numpy as np
    >>> from posthoc_align import LinearMap
    >>> X = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> LinearMap(penalty=2.0).fit(X, 3 * X).coef_
    array([[2., 0.],
           [0., 2.]])
    """

    _learned: ClassVar[tuple[str, ...]] = (
        "coef_",
        "prior_",
        "penalty_",
        "leave_one_out_",
        "mean_in_",
        "mean_out_",
    )

    coef_: np.ndarray
    prior_: np.ndarray
    penalty_: float
    leave_one_out_: float | None

    def __init__(
        self,
        *,
        prior: str = "identity",
        penalty: float | str = "auto",
        center: bool = True,
    ) -> None:
        self.prior = prior
        self.penalty = penalty
        self.center = center

    def _fit_pairs(self, X: Array, y: Array) -> Self:
        """Fit on checked pairs: the one solver that looks at rows as well as at moments."""
        if self.penalty != "auto":
            return super()._fit_pairs(X, y)
        self._forget()
        self.moments_ = self._pair_moments(X, y)
        self._check_parameters()
        moments = self._centred_moments()
        prior = self._prior(moments)
        self._set(*_best_penalty(X, y, moments, prior, centred=self.center), prior)
        return self

    def _pair_moments(self, X: Array, y: Array) -> PairMoments:
        return PairMoments.of(X, y, scatter=True)

    def _check_parameters(self) -> None:
        if self.prior not in PRIORS:
            raise ValueError(f"prior={self.prior!r} is not known: choose one of {PRIORS}.")
        penalty = self.penalty
        if penalty != "auto" and not (
            isinstance(penalty, (int, float, np.number)) and 0 <= penalty < np.inf
        ):
            raise ValueError(f"penalty={penalty!r} is out of range: give a number >= 0, or 'auto'.")

    def _centred_moments(self) -> PairMoments:
        self._require_pairs(self.moments_)
        return self.moments_ if self.center else self.moments_.uncentred()

    def _solve(self) -> None:
        self._check_parameters()
        moments = self._centred_moments()
        if self.penalty == "auto":
            raise ValueError(
                "penalty='auto' leaves out one row at a time and needs the rows: call fit(X, y), "
                "or give a number to use partial_fit and fit_moments."
            )
        self._set(float(self.penalty), None, self._prior(moments))

    def _set(self, penalty: float, error: float | None, prior: np.ndarray) -> None:
        moments = self._centred_moments()
        scatter = _scatter_of(moments)
        self.prior_, self.penalty_, self.leave_one_out_ = prior, penalty, error
        missing = moments.cross - scatter @ prior  # X'(Y - XP)
        self.coef_ = prior + _solve_ridge(scatter, missing, penalty, moments.eps)
        self.mean_in_, self.mean_out_ = moments.mean_x, moments.mean_y

    def _prior(self, moments: PairMoments) -> np.ndarray:
        d_in, d_out = moments.cross.shape
        if self.prior == "zero":
            return np.zeros((d_in, d_out))
        if self.prior == "procrustes":
            most = moments.count - int(self.center)
            return nearest_isometry(moments.cross, eps=moments.eps, max_rank=most)[0]
        if d_in != d_out:
            raise ValueError(
                f"prior='identity' needs spaces of equal width; X has {d_in} features and y has "
                f"{d_out}. Use prior='procrustes' or prior='zero'."
            )
        return np.eye(d_in)

    @property
    def matrix_(self) -> np.ndarray:
        """The linear part of the map, shape (n_features_in, n_features_out)."""
        return self.coef_


def _solve_ridge(scatter: np.ndarray, target: np.ndarray, penalty: float, eps: float) -> np.ndarray:
    """(scatter + penalty I)^-1 target; directions without any scatter get zero if penalty is 0."""
    if penalty > 0:
        return linalg.solve(scatter + penalty * np.eye(len(scatter)), target, assume_a="pos")
    values, vectors = symmetric_eigen(scatter)
    rank = numerical_rank(values[::-1], len(values), eps)
    seen = np.arange(len(values)) >= len(values) - rank
    inverse = np.where(seen, 1.0 / np.where(seen, values, 1.0), 0.0)
    return vectors @ (inverse[:, None] * (vectors.T @ target))


def _best_penalty(
    X: Array, y: Array, moments: PairMoments, prior: np.ndarray, *, centred: bool
) -> tuple[float, float]:
    """The penalty of least leave-one-out error, and that error.

    The error is smooth in log(penalty): it is sampled once a decade, from a millionth of the
    largest eigenvalue to a hundred times it, then eight times a decade around the best, then at the
    vertex of the parabola through the best three. Three passes over the rows.
    """
    if moments.count < 3:
        raise ValueError(
            f"penalty='auto' needs at least 3 pairs and got {moments.count} (n_samples = "
            f"{moments.count}): give more pairs, or a number."
        )
    spectrum = _Spectrum.of(moments, prior)
    largest = float(spectrum.values[-1])
    if largest == 0.0:
        return 1.0, moments.square_y / moments.count

    def errors(steps: np.ndarray) -> np.ndarray:
        penalties = largest * 10.0**steps
        return _leave_one_out(X, y, moments, spectrum, penalties, centred=centred)

    steps = np.arange(-6.0, 3.0)
    found = errors(steps)
    near = steps[np.argmin(found)] + np.arange(-7, 8) / 8
    steps, found = np.append(steps, near), np.append(found, errors(near))
    best = int(np.argmin(found))
    vertex = _vertex(near, found[-len(near) :])
    if vertex is not None:
        refined = float(errors(np.array([vertex]))[0])
        if refined <= found[best]:
            return largest * 10.0**vertex, refined
    return largest * 10.0 ** float(steps[best]), float(found[best])


def _vertex(steps: np.ndarray, errors: np.ndarray) -> float | None:
    """Where the parabola through the least of evenly spaced errors and its neighbours is least."""
    at = int(np.argmin(errors))
    if at in (0, len(steps) - 1):
        return None
    before, here, after = errors[at - 1 : at + 2]
    bend = before - 2 * here + after
    if not bend > 0:
        return None
    return float(steps[at] + (steps[1] - steps[0]) * (before - after) / (2 * bend))


@dataclass(frozen=True, eq=False)
class _Spectrum:
    """Eigenvalues and eigenvectors of the scatter of X, and X'(y - X prior) in their basis."""

    values: np.ndarray
    vectors: np.ndarray
    target: np.ndarray
    prior: np.ndarray

    @classmethod
    def of(cls, moments: PairMoments, prior: np.ndarray) -> _Spectrum:
        values, vectors = symmetric_eigen(_scatter_of(moments))
        target = vectors.T @ (moments.cross - _scatter_of(moments) @ prior)
        return cls(values, vectors, target, prior)


def _leave_one_out(
    X: Array,
    y: Array,
    moments: PairMoments,
    spectrum: _Spectrum,
    penalties: np.ndarray,
    *,
    centred: bool,
) -> np.ndarray:
    """Mean squared leave-one-out residual at each penalty, in one pass where the rows lie."""
    xp = namespace(X)
    mean_x, mean_y = like(moments.mean_x, X), like(moments.mean_y, X)
    basis, start = like(spectrum.vectors, X), like(spectrum.prior, X)
    weights = [like(1.0 / (spectrum.values + penalty), X) for penalty in penalties]
    changes = [
        like(spectrum.target / (spectrum.values + penalty)[:, None], X) for penalty in penalties
    ]
    share = 1.0 / moments.count if centred else 0.0
    totals = zeros_on(X, (len(penalties),))
    for rows in blocks(X, target=PRODUCT_BLOCK):
        x = upcast(X[rows]) - mean_x
        missing = upcast(y[rows]) - mean_y - x @ start
        projected = x @ basis
        squared = projected * projected
        for i, (weight, change) in enumerate(zip(weights, changes, strict=True)):
            residual = missing - projected @ change
            kept = 1.0 - share - squared @ weight
            kept = xp.where(kept > 1e-6, kept, 1e-6)  # a row that alone spans a direction: h = 1
            totals[i] += xp.sum(xp.sum(residual * residual, axis=1) / (kept * kept))
    return to_host(totals) / moments.count


def _scatter_of(moments: PairMoments) -> np.ndarray:
    if moments.scatter_x is None:
        raise ValueError(
            "LinearMap needs the scatter of X: accumulate PairMoments.of(X, y, scatter=True)."
        )
    return moments.scatter_x
