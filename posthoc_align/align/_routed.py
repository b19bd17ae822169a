"""What aligners of many languages share: rows go through their language's recipe, then its map."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from posthoc_align._arrays import Array, upcast
from posthoc_align._blocks import require_finite, route_rows
from posthoc_align.align._affine import Affine
from posthoc_align.align._base import LanguageTransformer
from posthoc_align.align.pivot import _fit_recipe
from posthoc_align.align.recipe import FittedRecipe, parse_recipe
from posthoc_align.languages import check_language, encode


class RoutedAligner(LanguageTransformer):
    """A transformer with a recipe and an affine map a language, and policies for unseen ones."""

    recipe: str | None
    unseen: str
    maps_: dict[Any, Affine]
    recipes_: dict[Any, FittedRecipe]

    def transform(self, X: Any, *, language: Any = None) -> Array:
        """Map rows into the common space.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
        language : str, int or array-like of shape (n_samples,), optional
            May be left out only if fit saw one language.

        Returns
        -------
        array of shape (n_samples, n_features)
            Of X's kind, type and device.
        """
        X, codes, unknown = self._check_transform(X, language)
        require_finite(X)
        if unknown and self.unseen == "error":
            self._require_seen(
                unknown,
                "Fit it, add it with add_language(X, language, pair_id=...), or choose "
                "unseen='global', 'identity' or 'transductive'.",
            )
        routes = [self._route(label, X) for label in self.languages_]
        if unknown:
            labels = check_language(language, X.shape[0])
            assert labels is not None  # unknown labels were found among them
            new = encode(labels, unknown)[0]
            routes += [self._unseen_route(X, np.flatnonzero(new == i)) for i in range(len(unknown))]
            codes = np.where(codes < 0, len(self.languages_) + new, codes)
        return route_rows(routes, codes, X)

    def _route(self, label: Any, X: Array) -> Callable[[Array], Array]:
        """What happens to rows of a fitted language."""
        if label not in self.maps_:
            return upcast
        recipe, mapped = self.recipes_[label], self.maps_[label].on(X)
        return lambda block: mapped(recipe.apply(block))

    def _unseen_route(self, X: Array, at: np.ndarray) -> Callable[[Array], Array]:
        """What the policy does to rows of an unseen language, which are at these places."""
        if self.unseen == "identity":
            return upcast
        if self.unseen == "transductive":
            return _fit_recipe(parse_recipe(self.recipe), X, at)[0].apply
        if None not in self.recipes_:
            raise ValueError(
                "unseen='global' was set after fit, which did not keep the means of all rows. Set "
                "it first and fit again."
            )
        return self.recipes_[None].apply
