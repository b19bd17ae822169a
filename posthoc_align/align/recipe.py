"""The standard recipe before a map: centre a language, scale rows to unit norm, centre again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from posthoc_align._arrays import Array, like
from posthoc_align._blocks import map_rows
from posthoc_align.linalg import unit_block
from posthoc_align.moments import Moments

STEPS = ("center", "unit")


def parse_recipe(recipe: str | None) -> tuple[str, ...]:
    """The steps of a recipe such as ``"center,unit,center"``; None and "" are no steps.

    Raises
    ------
    ValueError
        If a step is neither "center" nor "unit".
    """
    if recipe is not None and not isinstance(recipe, str):
        raise ValueError(f"recipe must be a string such as 'center,unit,center'; got {recipe!r}.")
    steps = tuple(step.strip() for step in (recipe or "").split(",") if step.strip())
    unknown = [step for step in steps if step not in STEPS]
    if unknown:
        raise ValueError(f"recipe has unknown steps {unknown}: use {STEPS}, joined by commas.")
    return steps


def unit_rows(X: Array, *, name: str = "X") -> Array:
    """Rows of X scaled to unit Euclidean norm.

    Raises
    ------
    ValueError
        If a row has zero norm: it has no direction.
    """
    return map_rows(lambda x, rows: unit_block(x, name=name, first=rows.start), X)


@dataclass(frozen=True, eq=False)
class FittedRecipe:
    """The steps with the mean that each "center" subtracts.

    Parameters
    ----------
    steps : tuple of str
    means : tuple of ndarray of shape (n_features,)
        One a "center" step, in order.
    """

    steps: tuple[str, ...]
    means: tuple[np.ndarray, ...]

    @classmethod
    def fit(cls, steps: tuple[str, ...], X: Array) -> tuple[FittedRecipe, Array]:
        """Fit on the rows of one language; returns the recipe and the rows it makes of X."""
        means = []
        for step in steps:
            if step == "center":
                means.append(Moments.of(X).mean)
                X = _subtract(X, means[-1])
            else:
                X = unit_rows(X)
        return cls(steps, tuple(means)), X

    def apply(self, X: Array) -> Array:
        """Run the steps with the fitted means on rows of the same language."""
        means = iter(self.means)
        for step in self.steps:
            X = _subtract(X, next(means)) if step == "center" else unit_rows(X)
        return X


def _subtract(X: Array, mean: np.ndarray) -> Array:
    offset = like(mean, X)
    return map_rows(lambda x, _: x - offset, X)
