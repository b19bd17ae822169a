"""What a map is once it is trained: a matrix, and perhaps a hidden layer beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from posthoc_align._arrays import Array, check_rows
from posthoc_align._blocks import PRODUCT_BLOCK, map_rows
from posthoc_align.align._map import SpaceMap
from posthoc_align.align._on_device import tables_on
from posthoc_align.align._training.forms import apply_form

HIDDEN = ("hidden_in", "hidden_out")


class TrainedMap(SpaceMap):
    """A map x -> f(x - mean_in) + mean_out, where f has one of the shapes of ``_forms``."""

    coef_: np.ndarray
    hidden_in_: np.ndarray
    hidden_out_: np.ndarray

    form: str
    sides: str

    def _store(self, weights: dict[str, np.ndarray]) -> None:
        """Keep trained weights, a change of low rank added to what it changes."""
        self.coef_ = weights["coef"]
        if "left" in weights:
            self.coef_ = self.coef_ + weights["left"] @ weights["right"]
        for name in HIDDEN:
            self.__dict__.pop(f"{name}_", None)
            if name in weights:
                setattr(self, f"{name}_", weights[name])

    @property
    def matrix_(self) -> np.ndarray:
        """The linear part of the map, shape (n_features_in, n_features_out)."""
        if hasattr(self, "hidden_in_"):
            raise AttributeError("A map of form='residual' is not linear and has no matrix_.")
        return self.coef_

    @property
    def _n_features_out(self) -> int:
        return int(self.coef_.shape[1])

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
        return self._map(check_rows(self, X), self.mean_in_)

    def transform_target(self, y: Any) -> Array:
        """Map rows of the target space to where ``transform`` maps their translations.

        Parameters
        ----------
        y : array of shape (n_samples, n_features_out)

        Returns
        -------
        array of shape (n_samples, n_features_out)
            y as it came if ``sides="one"``.
        """
        check_is_fitted(self)
        y = check_rows(None, y, name="y")
        self._require_out_width(y)
        return y if self.sides == "one" else self._map(y, self.mean_out_)

    def _map(self, X: Array, mean: np.ndarray) -> Array:
        weights = {"coef": self.coef_}
        if hasattr(self, "hidden_in_"):
            weights.update(hidden_in=self.hidden_in_, hidden_out=self.hidden_out_)
        before, after, *values = tables_on(
            self,
            X,
            lambda: (mean, self.mean_out_, *weights.values()),
            use="transform" if mean is self.mean_in_ else "transform_target",
        )
        there = dict(zip(weights, values, strict=True))
        return map_rows(
            lambda x, _: apply_form(there, x - before) + after,
            X,
            width=self._n_features_out,
            target=PRODUCT_BLOCK,
        )

    def score(self, X: Any, y: Any) -> float:
        """Share of the variance of y, as ``transform_target`` leaves it, that mapped X explains.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
        y : array of shape (n_samples, n_features_out)

        Returns
        -------
        float
            R squared over all columns: 1 is perfect, below 0 is worse than the mean.
        """
        return super().score(X, y if self.sides == "one" else self.transform_target(y))

    @available_if(lambda self: self.form != "residual")
    def inverse_transform(self, y: Any) -> Array:
        """Map rows of the target space back; not there for the form "residual".

        Parameters
        ----------
        y : array of shape (n_samples, n_features_out)

        Returns
        -------
        array of shape (n_samples, n_features)
            The exact inverse where the map is invertible, else the least-squares one of minimum
            norm.
        """
        return super().inverse_transform(y)
