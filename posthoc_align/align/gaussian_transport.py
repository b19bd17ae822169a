"""Optimal transport in closed form: languages as Gaussians, moved the least."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from posthoc_align.align._covariance import Covariance, CovarianceMatching, MatchedAffine
from posthoc_align.align._parameters import require_number
from posthoc_align.linalg import EPS, nearest_isometry, symmetric_power
from posthoc_align.moments import Moments


class GaussianTransport(CovarianceMatching):
    r"""Move every language onto one Gaussian, each row the least on average.

    Takes the rows of each language for a Gaussian and maps them by the optimal transport
    :math:`x \mapsto (x-\mu_l)A_l+\mu_t` with
    :math:`A_l = C_l^{-1/2}(C_l^{1/2}C_tC_l^{1/2})^{1/2}C_l^{-1/2}`, the only symmetric positive
    definite matrix with :math:`A_l C_l A_l = C_t`. The target is by default the Wasserstein
    barycentre, the Gaussian for which the rows travel the least in all. No pairs are needed.
    Fitted from moments; memory is O(L d^2), time O(n d^2) and some ten d x d singular value
    decompositions a language.

    Parameters
    ----------
    target : {"barycentre", "pooled"} or label, default="barycentre"
        Where all languages are moved: the barycentre, languages weighing as their rows; the mean
        of all rows with the covariance about the language means, pooled over languages; or one
        language, which itself stays as it is, bit for bit.
    shrinkage : float in [0, 1] or "auto", default="auto"
        Of each covariance, as in :class:`LanguageWhitening`.
    max_iter : int, default=100
        Steps of the barycentre at most.
    tol : float, default=1e-6
        The barycentre has converged when a step changes its covariance by less than this share
        (Frobenius norms).
    unseen : {"error", "global", "identity", "transductive"}, default="error"
        What to do with a language that was not in fit: raise, move it as all rows together would
        be, leave it alone, or move it by mean and covariance of its rows in the batch at hand.
    language_from : {"index"}, optional
        As in :class:`LanguageCentering`.

    Attributes
    ----------
    languages_ : list of length L
        Labels, sorted; ``[None]`` if fitted without labels.
    target_mean_ : ndarray of shape (n_features,)
    target_covariance_ : ndarray of shape (n_features, n_features)
        Of the barycentre, if that is the target.
    target_root_ : ndarray of shape (n_features, n_features)
        Symmetric square root of the target's covariance.
    distances_ : ndarray of shape (L,)
        2-Wasserstein distance of each language's Gaussian to the target: the root of the mean
        squared way of its rows.
    shrinkage_ : ndarray of shape (L,)
        Shrinkage of each language's covariance.
    n_iter_ : int
        Steps of the barycentre; 1 for the other targets.
    pieces_ : list of length L
        The affine map of each language, with its ``source``, ``matrix`` and ``target``.
    moments_ : LanguageMoments
    n_features_in_ : int

    Raises
    ------
    ValueError
        If the target is unknown, a number is out of range, a language has a single row, an unseen
        language meets ``unseen="error"``, or several languages were fitted and transform gets no
        label.

    Warns
    -----
    ConvergenceWarning
        If the barycentre has not converged after `max_iter` steps. Languages are then still
        brought together, but not by the least way.
    UserWarning
        If a covariance is singular and nothing is shrunk: directions without variance are removed.

    Notes
    -----
    With :math:`U S V^\top = C_l^{1/2}C_t^{1/2}` the map is :math:`C_l^{-1/2}\,UV^\top\,C_t^{1/2}`:
    whitening, the least rotation, colouring. So computed it loses half as many digits as by the
    formula above. The barycentre is the fixed point of Alvarez-Esteban et al. [2]_, which in these
    terms is the generalised Procrustes mean of the roots [3]_,
    :math:`B \leftarrow \sum_l w_l\,\mathrm{polar}(BC_l^{1/2})\,C_l^{1/2}` with covariance
    :math:`B^\top B`. The quadratic eraser of Belrose et al. [4]_ is the same map; the reference
    code moves to the unweighted mean of the language means instead of the barycentre's.
    Covariances divide by n - 1. The target's mean stays in all rows: before comparing directions,
    subtract ``target_mean_`` or centre.

    References
    ----------
    .. [1] M. Knott, C. S. Smith, "On the Optimal Mapping of Distributions", Journal of
       Optimization Theory and Applications 43 (1984).
    .. [2] P. C. Alvarez-Esteban, E. del Barrio, J. A. Cuesta-Albertos, C. Matran, "A Fixed-point
       Approach to Barycenters in Wasserstein Space", Journal of Mathematical Analysis and
       Applications 441 (2016).
    .. [3] V. Masarotto, V. M. Panaretos, Y. Zemel, "Procrustes Metrics on Covariance Operators and
       Optimal Transportation of Gaussian Processes", Sankhya A 81 (2019).
    .. [4] N. Belrose et al., "LEACE: Perfect Linear Concept Erasure in Closed Form",
       NeurIPS 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from posthoc_align import GaussianTransport
    >>> X = np.array([[1.0], [3.0], [10.0], [16.0]])
    >>> transport = GaussianTransport(target="de", shrinkage=0.0)
    >>> transport.fit_transform(X, language=["en", "en", "de", "de"])
    array([[10.],
           [16.],
           [10.],
           [16.]])
    """

    _own_target = "barycentre"
    _learned: ClassVar[tuple[str, ...]] = (*CovarianceMatching._learned, "n_iter_")

    n_iter_: int

    def __init__(
        self,
        *,
        target: Any = "barycentre",
        shrinkage: float | str = "auto",
        max_iter: int = 100,
        tol: float = 1e-6,
        unseen: str = "error",
        language_from: str | None = None,
    ) -> None:
        self.target = target
        self.shrinkage = shrinkage
        self.max_iter = max_iter
        self.tol = tol
        self.unseen = unseen
        self.language_from = language_from

    @property
    def distances_(self) -> np.ndarray:
        """Distance of each language to the target, shape (L,)."""
        return np.array([piece.distance for piece in self.pieces_])

    def _solve_reference(self, parts: dict[Any, Moments]) -> None:
        require_number("max_iter", self.max_iter, Integral, lambda n: n >= 1, "an int >= 1")
        require_number("tol", self.tol, Real, lambda t: t >= 0, "a small positive number")
        self.n_iter_ = 1
        super()._solve_reference(parts)

    def _solve_own_target(self, parts: dict[Any, Moments]) -> tuple[np.ndarray, np.ndarray]:
        pooled = self.moments_.pooled
        weights = np.array([part.count for part in parts.values()]) / pooled.count
        covariances = [Covariance.of(part, self.shrinkage) for part in parts.values()]
        root, self.n_iter_ = _barycentre(covariances, weights, self.max_iter, self.tol)
        return pooled.mean, root

    def _piece_of(self, part: Moments) -> MatchedAffine:
        covariance = self._covariance_of(part)
        if self._is_target(part):
            origin = np.zeros(part.n_features)
            return MatchedAffine(origin, (), origin, covariance.shrinkage, 0.0)
        turn, overlap = nearest_isometry(covariance.power(0.5) @ self.target_root_, eps=EPS)
        matrix = covariance.power(-0.5) @ turn @ self.target_root_
        square = float(
            np.sum((part.mean - self.target_mean_) ** 2)
            + np.trace(covariance.matrix)
            + np.sum(self.target_root_**2)
            - 2 * np.sum(overlap)
        )
        distance = np.sqrt(max(square, 0.0))
        return MatchedAffine(
            part.mean, (matrix,), self.target_mean_, covariance.shrinkage, distance
        )


def _barycentre(
    covariances: list[Covariance], weights: np.ndarray, max_iter: int, tol: float
) -> tuple[np.ndarray, int]:
    """Symmetric root of the covariance of the Wasserstein barycentre, and the steps it took."""
    roots = [covariance.power(0.5) for covariance in covariances]
    matrices = [covariance.matrix for covariance in covariances]
    now = np.tensordot(weights, matrices, axes=1)
    root = symmetric_power(now, 0.5)
    step, change = 0, np.inf
    while change > tol and step < max_iter:
        turned = [nearest_isometry(root @ other, eps=EPS)[0] @ other for other in roots]
        root, before = np.tensordot(weights, turned, axes=1), now
        now, step = root.T @ root, step + 1
        change = float(np.linalg.norm(now - before) / (np.linalg.norm(now) or 1.0))
    if change > tol:
        warnings.warn(
            f"The barycentre of {len(roots)} languages has not converged in max_iter={max_iter} "
            f"steps to tol={tol} (the last changed it by {change:.1g}). Give more steps or a "
            "larger tolerance, or choose target='pooled', which needs none.",
            ConvergenceWarning,
            stacklevel=6,
        )
    return symmetric_power(now, 0.5), step
