"""Ridge towards a prior map: align, but stay close to where the space was."""

from __future__ import annotations

from numbers import Real
from typing import ClassVar, Self

import numpy as np

from posthoc_align._arrays import Array
from posthoc_align.align._map import PairedMap
from posthoc_align.align._parameters import require_choice, require_number
from posthoc_align.align._penalty import Ridge, best_penalty, generalized, leave_one_out, scatter_of
from posthoc_align.linalg import nearest_isometry, shrunk_covariance
from posthoc_align.pair_moments import PairMoments

PRIORS = ("identity", "zero", "procrustes")
METRICS = ("identity", "within-concept")
MIN_SHRINKAGE = 1e-3  # keeps a metric of many pairs well conditioned


class LinearMap(PairedMap):
    r"""Least-squares map kept close to a prior: zero, the identity or the Procrustes rotation.

    Solves :math:`\min_W\lVert XW-Y\rVert_F^2+\lambda\operatorname{tr}((W-P)^\top S(W-P))` in closed
    form, :math:`W=P+(X^\top X+\lambda S)^{-1}X^\top(Y-XP)`, on centred rows, with S the identity
    unless ``metric`` says otherwise. With P the identity this is "align, but stay close to the
    original" [1]_ and the strongest simple method on encoders that already share a space. Memory
    is O(d^2).

    Parameters
    ----------
    prior : {"identity", "zero", "procrustes"}, default="identity"
        What the map falls back to where pairs say little. "identity" needs equal widths.
    penalty : float or "auto", default="auto"
        :math:`\lambda`, in units of a summed squared coordinate: with unit rows, 1.0 weighs as much
        as one pair. 0 is least squares, of minimum distance to the prior where that is not unique.
        "auto" minimises the exact leave-one-out error over the pairs given to ``fit``; a stream
        (``partial_fit``, ``fit_moments``) has no rows to leave out, and there it minimises the
        error of generalised cross-validation, which moments suffice for.
    metric : {"identity", "within-concept"}, default="identity"
        How a departure from the prior is measured. "within-concept": S is the covariance of
        :math:`x_i-y_i`, how translations disagree, shrunk as in
        :func:`posthoc_align.linalg.shrunk_covariance` and scaled to trace d, so that the map keeps
        to the prior mostly where translations disagree anyway. Needs equal widths. On sentence
        encoders that share a space "identity" was measured to retrieve better.
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
        Mean squared leave-one-out residual (sum over dimensions) at ``penalty_``, where it was
        minimised.
    generalized_ : float or None
        What generalised cross-validation estimates it to be, where that was minimised.
    mean_in_, mean_out_ : ndarray of shape (n_features_in,), (n_features_out,)
    moments_ : PairMoments
    n_features_in_ : int

    Raises
    ------
    ValueError
        If fewer than 2 pairs were seen (3 for "auto"), or ``prior="identity"`` or
        ``metric="within-concept"`` meets spaces of different width.

    Notes
    -----
    Leave-one-out residuals come from one eigendecomposition of the scatter:
    :math:`(y_i-\hat y_i)/(1-h_i)` with leverage
    :math:`h_i=1/n+x_i^\top(X^\top X+\lambda S)^{-1}x_i`
    [2]_; each trial :math:`\lambda` costs one product of n x d x d. Generalised cross-validation
    [3]_ puts the mean leverage in the place of each :math:`h_i`. The Procrustes prior and S are
    held fixed while rows are left out.

    A weight counts copies, here as everywhere, and one copy at a time is left out: of a pair of
    weight 2 the other copy stays, as if the pair stood twice in the data. A pair that weighs
    less than 1 is left out whole; scale weights that mean importance to be at most 1.

    References
    ----------
    .. [1] S. Cao, N. Kitaev, D. Klein, "Multilingual Alignment of Contextual Word
       Representations", ICLR 2020.
    .. [2] D. Allen, "The relationship between variable selection and data augmentation and a
       method for prediction", Technometrics 16 (1974).
    .. [3] G. Golub, M. Heath, G. Wahba, "Generalized cross-validation as a method for choosing a
       good ridge parameter", Technometrics 21 (1979).

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
        "generalized_",
        "mean_in_",
        "mean_out_",
    )

    coef_: np.ndarray
    prior_: np.ndarray
    penalty_: float
    leave_one_out_: float | None
    generalized_: float | None

    def __init__(
        self,
        *,
        prior: str = "identity",
        penalty: float | str = "auto",
        metric: str = "identity",
        center: bool = True,
    ) -> None:
        self.prior = prior
        self.penalty = penalty
        self.metric = metric
        self.center = center

    def _fit_pairs(self, X: Array, y: Array, weight: Array | None) -> Self:
        """Fit on checked pairs: the one solver that looks at rows as well as at moments."""
        if self.penalty != "auto":
            return super()._fit_pairs(X, y, weight)
        self._forget()
        self.moments_ = self._pair_moments(X, y, weight)
        problem = self._problem()

        def errors(penalties: np.ndarray) -> np.ndarray:
            return leave_one_out(X, y, weight, problem, penalties, centred=self.center)

        penalty, error = best_penalty(errors, problem)
        self._set(problem, penalty, leave_one_out=error)
        return self

    def _pair_moments(self, X: Array, y: Array, weight: Array | None) -> PairMoments:
        within = self.metric == "within-concept"
        return PairMoments.of(X, y, scatter=True, scatter_y=within, weight=weight)

    def _check_parameters(self) -> None:
        require_choice("prior", self.prior, PRIORS)
        require_choice("metric", self.metric, METRICS)
        if self.penalty != "auto":
            expected = "a number >= 0, or 'auto'"
            require_number("penalty", self.penalty, Real, lambda p: 0 <= p < np.inf, expected)

    def _problem(self) -> Ridge:
        self._check_parameters()
        self._require_pairs(self.moments_)
        moments = self.moments_ if self.center else self.moments_.uncentred()
        metric = None if self.metric == "identity" else _within_concept(self.moments_)
        return Ridge(moments, self._prior(moments), metric)

    def _solve(self) -> None:
        problem = self._problem()
        if self.penalty != "auto":
            self._set(problem, float(self.penalty))
            return
        penalty, error = best_penalty(
            lambda penalties: generalized(problem, penalties, centred=self.center), problem
        )
        self._set(problem, penalty, generalized=error)

    def _set(
        self,
        problem: Ridge,
        penalty: float,
        *,
        leave_one_out: float | None = None,
        generalized: float | None = None,
    ) -> None:
        self.prior_, self.penalty_ = problem.prior, penalty
        self.leave_one_out_, self.generalized_ = leave_one_out, generalized
        self.coef_ = problem.solve(penalty)
        self.mean_in_, self.mean_out_ = problem.moments.mean_x, problem.moments.mean_y

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


def _within_concept(moments: PairMoments) -> np.ndarray:
    """Shrunk covariance of x - y over the pairs, scaled to trace d."""
    scatter, (d_in, d_out) = scatter_of(moments), moments.cross.shape
    if d_in != d_out:
        raise ValueError(
            f"metric='within-concept' compares translations and needs spaces of equal width; X has "
            f"{d_in} features and y has {d_out}. Use metric='identity'."
        )
    if moments.scatter_y is None:
        raise ValueError(
            "metric='within-concept' needs the scatter of y as well: accumulate PairMoments.of(X, "
            "y, scatter=True, scatter_y=True)."
        )
    apart = scatter + moments.scatter_y - moments.cross - moments.cross.T
    noise = moments.eps * (moments.square_x + moments.square_y)
    if np.trace(apart) <= noise:
        return np.eye(d_in)  # translations agree
    covariance, factor = shrunk_covariance((apart + apart.T) / 2, int(moments.size))
    if factor < MIN_SHRINKAGE:
        covariance, _ = shrunk_covariance((apart + apart.T) / 2, int(moments.size), MIN_SHRINKAGE)
    return covariance * (d_in / np.trace(covariance))
