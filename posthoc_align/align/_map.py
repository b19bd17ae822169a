"""What maps between two spaces share: pairs in, an affine map out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from posthoc_align._arrays import (
    Array,
    check_rows,
    check_target,
    check_weight,
    namespace,
    to_host,
    upcast,
    zeros_on,
)
from posthoc_align._blocks import PRODUCT_BLOCK, blocks, map_rows
from posthoc_align.align._affine import Affine
from posthoc_align.align._base import MomentFitted, as_array
from posthoc_align.align._on_device import tables_on
from posthoc_align.pair_moments import PairMoments


class SpaceMap(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """A map x -> (x - mean_in) W + mean_out between two spaces, however it is fitted."""

    requires_pairs: ClassVar[bool] = True
    """Whether row i of y must be the counterpart of row i of X."""

    n_features_in_: int
    mean_in_: np.ndarray
    mean_out_: np.ndarray

    @property
    def matrix_(self) -> np.ndarray:
        """The linear part W of the map, shape (n_features_in, n_features_out)."""
        raise NotImplementedError(f"{type(self).__name__} must define matrix_.")

    @property
    def _n_features_out(self) -> int:
        return int(self.matrix_.shape[1])

    def _pieces(self) -> list[Affine]:
        """The map as an affine one."""
        return [Affine(self.mean_in_, (self.matrix_,), self.mean_out_)]

    def _check_pairs(self, X: Any, y: Any, *, reset: bool = False) -> tuple[Array, Array]:
        X = check_rows(self, X, reset=reset)
        return X, check_target(y, X)

    def transform(self, X: Any) -> Array:
        """Map rows into the target space.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)

        Returns
        -------
        array of shape (n_samples, n_features_out)
            Of X's kind, type and device.
        """
        check_is_fitted(self)
        X = check_rows(self, X)
        return affine_rows(
            self, X, lambda: (self.mean_in_, self.matrix_, self.mean_out_), use="transform"
        )

    def inverse_transform(self, y: Any) -> Array:
        """Map rows of the target space back.

        Parameters
        ----------
        y : array of shape (n_samples, n_features_out)

        Returns
        -------
        array of shape (n_samples, n_features)
            The exact inverse where W is invertible, else the least-squares one of minimum norm.
        """
        check_is_fitted(self)
        y = check_rows(None, y, name="y")
        self._require_out_width(y)
        return affine_rows(
            self,
            y,
            lambda: (self.mean_out_, self._inverse_matrix(), self.mean_in_),
            use="inverse_transform",
        )

    def _inverse_matrix(self) -> np.ndarray:
        return np.linalg.pinv(self.matrix_)

    def score(self, X: Any, y: Any) -> float:
        """Share of the variance of y that the mapped X explains (R squared; 1 is perfect).

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
        y : array of shape (n_samples, n_features_out)

        Returns
        -------
        float
            ``1 - sum ||y_i - T(x_i)||^2 / sum ||y_i - mean(y)||^2``; below 0: worse than the mean.
        """
        mapped = as_array(self.transform(X))
        y = check_target(y, mapped)
        self._require_out_width(y)
        return explained_variance(y, mapped)

    def _require_out_width(self, y: Array) -> None:
        if y.shape[1] != self._n_features_out:
            raise ValueError(
                f"y has {y.shape[1]} features, but {type(self).__name__} maps to "
                f"{self._n_features_out}. Pass rows of the target space."
            )

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32", "float16"]
        return tags


class PairedMap(MomentFitted, SpaceMap):
    """A map x -> (x - mean_in) W + mean_out, fitted on rows of X and y that correspond."""

    __metadata_request__fit: ClassVar[dict[str, bool]] = {"sample_weight": True}
    __metadata_request__partial_fit: ClassVar[dict[str, bool]] = {"sample_weight": True}

    moments_: PairMoments

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Fit on all pairs; forgets what was seen before.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
        y : array of shape (n_samples, n_features_out)
            Row i is the counterpart of row i of X; of X's kind, on X's device.
        sample_weight : array-like of shape (n_samples,), optional
            How many times each pair counts, >= 0: weight 2 is the pair twice, 0 is no pair.
        """
        X, y = self._check_pairs(X, y, reset=True)
        return self._fit_pairs(X, y, check_weight(sample_weight, X))

    def _fit_pairs(self, X: Array, y: Array, weight: Array | None) -> Self:
        return self.fit_moments(self._pair_moments(X, y, weight))

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Add pairs to what was seen before. Parameters as in :meth:`fit`."""
        X, y = self._check_pairs(X, y, reset="moments_" not in vars(self))
        return self._add_moments(self._pair_moments(X, y, check_weight(sample_weight, X)))

    def fit_moments(self, moments: PairMoments) -> Self:
        """Fit from merged joint moments instead of rows.

        Parameters
        ----------
        moments : PairMoments
        """
        self.n_features_in_ = len(moments.mean_x)
        return super().fit_moments(moments)

    def _pair_moments(self, X: Array, y: Array, weight: Array | None) -> PairMoments:
        return PairMoments.of(X, y, weight=weight)

    def _require_pairs(self, moments: PairMoments) -> None:
        if moments.count < 2:
            raise ValueError(
                f"{type(self).__name__} needs at least 2 pairs and got {moments.count} "
                f"(n_samples = {moments.count}). Give more rows that translate each other."
            )


def affine_rows(
    owner: SpaceMap,
    X: Array,
    make: Callable[[], tuple[np.ndarray, np.ndarray, np.ndarray]],
    *,
    use: str,
) -> Array:
    """(x - before) W + after, with the shifts folded into one; `make` gives before, W and after."""

    def folded() -> tuple[np.ndarray, np.ndarray]:
        before, matrix, after = make()
        return matrix, after - before @ matrix

    weight, shift = tables_on(owner, X, folded, use=use)
    return map_rows(lambda x, _: x @ weight + shift, X, width=weight.shape[1], target=PRODUCT_BLOCK)


def explained_variance(y: Array, predicted: Array) -> float:
    """R squared of all columns together, computed block by block where the rows lie."""
    xp = namespace(y)
    total = xp.mean(upcast(y[: min(256, y.shape[0])]), axis=0)
    residual, spread, drift = zeros_on(y, ()), zeros_on(y, ()), zeros_on(y, (y.shape[1],))
    for rows in blocks(y):
        truth = upcast(y[rows])
        residual = residual + xp.sum((truth - upcast(predicted[rows])) ** 2)
        moved = truth - total
        spread = spread + xp.sum(moved**2)
        drift = drift + xp.sum(moved, axis=0)
    offset = to_host(drift) / y.shape[0]
    variance = float(spread) - y.shape[0] * float(offset @ offset)
    if variance <= 0:
        return 1.0 if float(residual) == 0 else 0.0
    return 1.0 - float(residual) / variance
