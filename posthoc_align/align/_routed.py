"""What aligners of many languages share: rows go through their language's recipe, then its map."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from posthoc_align._arrays import Array, index_like, upcast
from posthoc_align._blocks import BadRow, require_finite, route_rows
from posthoc_align.align._base import LanguageTransformer, as_array
from posthoc_align.align.recipe import FittedRecipe, parse_recipe


class RoutedAligner(LanguageTransformer):
    """A transformer with a recipe and a map a language, and policies for unseen ones.

    A language with a recipe and no map, such as a pivot, goes through its recipe alone.
    """

    recipe: str | None
    maps_: dict[Any, Any]
    recipes_: dict[Any, FittedRecipe]

    def __getstate__(self) -> dict[str, Any]:
        """Keys beside values: skops keeps dicts of text and numbers alone, and None is a label."""
        state = super().__getstate__()
        recipes = state.get("recipes_")
        if isinstance(recipes, dict):
            state = {**state, "recipes_": {"labels": list(recipes), "of": list(recipes.values())}}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        recipes = state.get("recipes_")
        if isinstance(recipes, dict):
            of = dict(zip(recipes["labels"], recipes["of"], strict=True))
            state = {**state, "recipes_": of}
        super().__setstate__(state)

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
        self._check_unseen(unknown)
        names = [*self.languages_, *unknown]
        present, codes = np.unique(codes, return_inverse=True)
        routes = [
            self._route(names[code], X, np.flatnonzero(codes == i))
            for i, code in enumerate(present.tolist())
        ]
        return route_rows(routes, codes, X)

    def _route(self, label: Any, X: Array, at: np.ndarray) -> Callable[[Array], Array]:
        """What happens to rows of one language; `at` says where they are in the batch."""
        if label in self.maps_:
            recipe, moved = self.recipes_[label], moved_by(self.maps_[label], X)
            return lambda block: moved(recipe.apply(block))
        if label in self.recipes_:
            return self.recipes_[label].apply
        if label is None or self.unseen == "identity":
            return upcast
        if self.unseen == "transductive":
            return fit_recipe(parse_recipe(self.recipe), X, at)[0].apply
        if None not in self.recipes_:
            raise ValueError(
                "unseen='global' was set after fit, which did not keep the means of all rows. Set "
                "it first and fit again."
            )
        return self.recipes_[None].apply


def moved_by(fitted: Any, X: Array) -> Callable[[Array], Array]:
    """What a fitted map does to rows like X; of one that moves both sides, both steps in one."""
    if hasattr(fitted, "onto_target"):
        fitted = fitted.onto_target()
    return fitted.on(X) if hasattr(fitted, "on") else lambda x: as_array(fitted.transform(x))


def fit_recipe(steps: tuple[str, ...], X: Array, at: np.ndarray) -> tuple[FittedRecipe, Array]:
    """The recipe of one language, whose rows of X are given, and the rows it makes of them."""
    try:
        return FittedRecipe.fit(steps, take(X, at))
    except BadRow as bad:
        raise BadRow(int(at[bad.row]), bad.text) from None


def take(X: Array, at: np.ndarray) -> Array:
    """The rows at the given positions, in the compute type."""
    return upcast(X[index_like(at, X)])
