"""Canonical correlations and the maps of VecMap: whiten, rotate, re-weight, de-whiten, reduce."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.utils.validation import check_is_fitted

from posthoc_align._arrays import Array, check_rows
from posthoc_align.align._affine import Affine
from posthoc_align.align._cca_steps import Side, Steps, resolve_steps
from posthoc_align.align._map import PairedMap, affine_rows, explained_variance
from posthoc_align.align._parameters import require_int, require_number
from posthoc_align.linalg import (
    fix_signs,
    numerical_rank,
    paired_axes,
    shrunk_covariance,
    symmetric_eigen,
)
from posthoc_align.pair_moments import PairMoments


class CCAMap(PairedMap):
    r"""Map two spaces into a common one: whiten, rotate, re-weight, de-whiten, reduce.

    With the scatters :math:`C_x, C_y, C_{xy}` of the pairs and
    :math:`A=(C_x+\rho_x I)^{-1/2}`, :math:`B=(C_y+\rho_y I)^{-1/2}`, the singular value
    decomposition :math:`AC_{xy}B=U\operatorname{diag}(s)V^\top` gives regularised canonical axes
    and correlations :math:`s`, and the two sides are mapped by

    .. math:: T_x=A\,U s^a\,(U^\top A^{-1}U),\qquad T_y=B\,V s^b\,(V^\top B^{-1}V),

    where the brackets stand for de-whitening; in the end the first ``n_components`` columns are
    kept. Memory is O(d^2). The normalisation that VecMap does first is the ``recipe`` of
    :class:`PivotAligner`: "unit,center,unit" for its newer presets, "unit,center" for the others.

    Parameters
    ----------
    preset : str, default="supervised"
        Which steps are done where the parameters below are None: "supervised" (the same as
        "acl2018": whiten, re-weight both sides by 0.5, de-whiten), "aaai2018" (re-weight the target
        by 1), "orthogonal" (the same as "acl2017" and "emnlp2016": rotate only),
        "unconstrained" (least squares, written as whiten, re-weight the source by 1, de-whiten
        both with the target) or "cca" (whiten only).
    whiten : bool, optional
        False: A and B are the identity.
    reweight : float or pair of float, optional
        The powers a and b of the correlations; one number is for both sides.
    dewhiten : bool or pair of {"source", "target", None}, optional
        With whose covariance each side is de-whitened; True: with its own, False: not at all.
    n_components : int, optional
        Columns kept; None: as many as the narrower space has.
    penalty : float or "auto", default="auto"
        The ridge :math:`\rho`, in units of a summed squared coordinate. 0 is VecMap, and needs more
        pairs than dimensions; "auto" is the optimal shrinkage of each covariance (see
        :func:`posthoc_align.linalg.shrunk_covariance`) written as a ridge.
    damping : float, optional
        How much :meth:`onto_target` damps the inverse of the target's side, in units of its
        largest singular value; 0 inverts it outright. None: 1 if the target is re-weighted, else 0.
    center : bool, default=True
        Fit on centred rows and map both means onto the origin. False: as VecMap, whose rows are
        centred by the recipe over the whole vocabulary.

    Attributes
    ----------
    source_matrix_ : ndarray of shape (n_features_in, n_components_)
        :math:`T_x`; the same as ``matrix_``.
    target_matrix_ : ndarray of shape (n_target_features, n_components_)
        :math:`T_y`.
    onto_target_ : ndarray of shape (n_features_in, n_target_features)
        The linear part of :meth:`onto_target`.
    correlations_ : ndarray of shape (min(n_features_in, n_target_features),)
        The singular values s, descending: canonical correlations if whitened.
    penalty_ : tuple of float
        The ridges of source and target.
    n_components_ : int
    mean_in_, target_mean_ : ndarray of shape (n_features_in,), (n_target_features,)
    mean_out_ : ndarray of shape (n_components_,)
        Zero: the origin of the common space, onto which both means go.
    moments_ : PairMoments
    n_features_in_ : int

    Raises
    ------
    ValueError
        If fewer than 2 pairs were seen, a parameter is out of range, or ``penalty=0`` meets rows
        that do not span their space.

    Notes
    -----
    ``transform`` and ``transform_target`` map into a common space, defined up to one sign a column
    for both sides (fixed here). Where the pairs say nothing, U and V are completed to bring the two
    spaces as near each other as they can be (see :func:`posthoc_align.linalg.nearest_isometry`).

    :meth:`onto_target` maps the source onto the target as it is, :math:`T_xT_y^+`, as
    :class:`PivotAligner` needs it, with
    :math:`T_y^+=(1+\delta^2)(T_y^\top T_y+\delta^2\sigma^2I)^{-1}T_y^\top` for the largest singular
    value :math:`\sigma` of :math:`T_y` and the ``damping`` :math:`\delta`. This is the exact
    (pseudo-)inverse for a ``damping`` of 0, and for any where the target is only rotated.
    A re-weighted target is nearly singular, and its exact inverse blows up just the directions
    that re-weighting was to keep down: retrieval suffers badly. The greater the damping, the
    nearer are products with target rows to those in the common space.

    References
    ----------
    .. [1] M. Artetxe, G. Labaka, E. Agirre, "Generalizing and Improving Bilingual Word Embedding
       Mappings with a Multi-Step Framework of Linear Transformations", AAAI 2018.
    .. [2] M. Artetxe, G. Labaka, E. Agirre, "A robust self-learning method for fully unsupervised
       cross-lingual mappings of word embeddings", ACL 2018.
    .. [3] M. Faruqui, C. Dyer, "Improving Vector Space Word Representations Using Multilingual
       Correlation", EACL 2014.

    Examples
    --------
    >>> import numpy as np
    >>> from posthoc_align import CCAMap
    >>> X = np.array([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    >>> y = X @ np.array([[0.0, 3.0], [1.0, 0.0]]) + 5.0
    >>> cca = CCAMap(preset="cca", penalty=0).fit(X, y)
    >>> cca.correlations_.round(6)
    array([1., 1.])
    >>> np.allclose(cca.transform(X), cca.transform_target(y))
    True
    """

    _learned: ClassVar[tuple[str, ...]] = (
        "source_matrix_",
        "target_matrix_",
        "onto_target_",
        "correlations_",
        "penalty_",
        "n_components_",
        "mean_in_",
        "mean_out_",
        "target_mean_",
    )

    source_matrix_: np.ndarray
    target_matrix_: np.ndarray
    onto_target_: np.ndarray
    correlations_: np.ndarray
    penalty_: tuple[float, float]
    n_components_: int
    target_mean_: np.ndarray

    def __init__(
        self,
        *,
        preset: str = "supervised",
        whiten: bool | None = None,
        reweight: float | tuple[float, float] | None = None,
        dewhiten: bool | tuple[Side, Side] | None = None,
        n_components: int | None = None,
        penalty: float | str = "auto",
        damping: float | None = None,
        center: bool = True,
    ) -> None:
        self.preset = preset
        self.whiten = whiten
        self.reweight = reweight
        self.dewhiten = dewhiten
        self.n_components = n_components
        self.penalty = penalty
        self.damping = damping
        self.center = center

    def _pair_moments(self, X: Array, y: Array, weight: Array | None) -> PairMoments:
        return PairMoments.of(X, y, scatter=True, scatter_y=True, weight=weight)

    def _solve(self) -> None:
        steps, damping = self._check_parameters()
        self._require_pairs(self.moments_)
        moments = self.moments_ if self.center else self.moments_.uncentred()
        if moments.scatter_x is None or moments.scatter_y is None:
            raise ValueError(
                "CCAMap needs the scatters of X and y: accumulate PairMoments.of(X, y, "
                "scatter=True, scatter_y=True)."
            )
        x = self._whitener(moments.scatter_x, moments, steps.whiten, "X")
        y = self._whitener(moments.scatter_y, moments, steps.whiten, "y")
        cross = x.root @ moments.cross @ y.root
        most = moments.count - int(self.center)
        left, values, right = paired_axes(cross, eps=moments.eps, max_rank=most)
        rank = min(numerical_rank(values, max(cross.shape), moments.eps), most)
        values[rank:] = 0.0  # rounding noise, which a root would make visible
        k, both = len(values), fix_signs(np.vstack([left, right]).T).T
        left, right = both[: len(left)], both[len(left) :]
        keep = k
        if self.n_components is not None:
            why = f"the narrower space has {k} dimensions"
            keep = require_int("n_components", self.n_components, 1, k, why)
        back = {
            None: np.eye(k),
            "source": left.T @ x.back @ left,
            "target": right.T @ y.back @ right,
        }
        for_x, for_y = (back[side] for side in steps.dewhiten)
        self.source_matrix_ = (x.root @ (left * values ** steps.reweight[0]) @ for_x)[:, :keep]
        self.target_matrix_ = (y.root @ (right * values ** steps.reweight[1]) @ for_y)[:, :keep]
        self.onto_target_ = self.source_matrix_ @ _damped_inverse(
            self.target_matrix_, damping, moments.eps
        )
        self.correlations_, self.n_components_ = values, keep
        self.penalty_ = (x.penalty, y.penalty)
        self.mean_in_, self.target_mean_ = moments.mean_x, moments.mean_y
        self.mean_out_ = np.zeros(keep)

    def _check_parameters(self) -> tuple[Steps, float]:
        """The steps, of the preset where no parameter says otherwise, and the damping."""
        steps = resolve_steps(self.preset, self.whiten, self.reweight, self.dewhiten)
        if self.penalty != "auto":
            expected = "a number >= 0, or 'auto'"
            require_number("penalty", self.penalty, Real, _at_least_zero, expected)
        if self.damping is None:
            return steps, float(steps.reweight[1] > 0)
        require_number("damping", self.damping, Real, _at_least_zero, "a number >= 0")
        return steps, float(self.damping)

    def _whitener(
        self, scatter: np.ndarray, moments: PairMoments, whiten: bool, name: str
    ) -> _Whitener:
        d = len(scatter)
        if not whiten:
            return _Whitener(np.eye(d), np.eye(d), 0.0)
        values, vectors = symmetric_eigen(scatter)
        if self.penalty == "auto":
            _, factor = shrunk_covariance(scatter, int(moments.size))
            factor = min(factor, 0.99)  # of all but round scatters there is something to whiten
            penalty = float(np.mean(values)) * factor / (1 - factor) or 1.0
        else:
            penalty = float(self.penalty)
        rank = numerical_rank(values[::-1], d, moments.eps)
        if penalty == 0 and rank < d:
            raise ValueError(
                f"penalty=0 cannot whiten {name}, which spans {rank} of {d} dimensions "
                f"(n_samples = {moments.count} pairs). Give penalty='auto' or a number above 0, or "
                "more pairs."
            )
        scale = np.sqrt(values + penalty)
        return _Whitener((vectors / scale) @ vectors.T, (vectors * scale) @ vectors.T, penalty)

    @property
    def matrix_(self) -> np.ndarray:
        """The linear part of ``transform``, shape (n_features_in, n_components_)."""
        return self.source_matrix_

    def transform_target(self, y: Any) -> Array:
        """Map rows of the target space into the common space.

        Parameters
        ----------
        y : array of shape (n_samples, n_target_features)

        Returns
        -------
        array of shape (n_samples, n_components_)
            Of y's kind, type and device.
        """
        check_is_fitted(self)
        y = check_rows(None, y, name="y")
        self._require_target_width(y)
        return affine_rows(
            self,
            y,
            lambda: (self.target_mean_, self.target_matrix_, self.mean_out_),
            use="transform_target",
        )

    def onto_target(self) -> Affine:
        """Both sides folded into one map from the source onto the target as it is."""
        check_is_fitted(self)
        return Affine(self.mean_in_, (self.onto_target_,), self.target_mean_)

    def score(self, X: Any, y: Any) -> float:
        """Share of the variance of y that X explains, mapped :meth:`onto_target` (R squared).

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
        y : array of shape (n_samples, n_target_features)

        Returns
        -------
        float
            As of the maps that move one side; not a correlation, see ``correlations_``.
        """
        check_is_fitted(self)
        X, y = self._check_pairs(X, y)
        self._require_target_width(y)
        mapped = affine_rows(
            self, X, lambda: (self.mean_in_, self.onto_target_, self.target_mean_), use="score"
        )
        return explained_variance(y, mapped)

    def _require_target_width(self, y: Array) -> None:
        if y.shape[1] != len(self.target_mean_):
            raise ValueError(
                f"y has {y.shape[1]} features, but {type(self).__name__} maps to "
                f"{len(self.target_mean_)}. Pass rows of the target space."
            )


@dataclass(frozen=True, eq=False)
class _Whitener:
    """The inverse root of a scatter with a ridge, the root itself, and the ridge."""

    root: np.ndarray
    back: np.ndarray
    penalty: float


def _at_least_zero(value: float) -> bool:
    return 0 <= value < np.inf


def _damped_inverse(matrix: np.ndarray, damping: float, eps: float) -> np.ndarray:
    """(1 + t^2) (M'M + t^2 s^2 I)^-1 M' with s the largest singular value of M."""
    u, values, vt = np.linalg.svd(matrix, full_matrices=False)
    rank = numerical_rank(values, max(matrix.shape), eps)
    u, values, vt = u[:, :rank], values[:rank], vt[:rank]
    t = damping**2
    inverse = (1 + t) * values / (values**2 + t * values[:1] ** 2)
    return (vt.T * inverse) @ u.T
