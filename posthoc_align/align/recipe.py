"""The recipe before a map: centre a language, scale rows to unit norm, centre again, or repeat."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from posthoc_align._arrays import Array, like
from posthoc_align._blocks import map_rows
from posthoc_align.align._on_device import tables_on
from posthoc_align.linalg import unit_block
from posthoc_align.moments import Moments

STEPS = ("center", "unit", "iternorm")
ROUNDS = 100  # of iterative normalisation; sentence embeddings need five to seven
CENTRED = 1e-6  # of a unit row: what float32 can tell from zero


def parse_recipe(recipe: str | None) -> tuple[str, ...]:
    """The steps of a recipe such as ``"center,unit,center"``; None and "" are no steps.

    Raises
    ------
    ValueError
        If a step is none of "center", "unit" and "iternorm".
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
        "center" and "unit"; an "iternorm" is written out as those it took.
    means : tuple of ndarray of shape (n_features,)
        One a "center" step, in order.
    """

    steps: tuple[str, ...]
    means: tuple[np.ndarray, ...]

    @classmethod
    def fit(cls, steps: tuple[str, ...], X: Array) -> tuple[FittedRecipe, Array]:
        """Fit on the rows of one language; returns the recipe and the rows it makes of X.

        "iternorm" is iterative normalisation: unit and center by turns until the mean of unit rows
        is zero (M. Zhang et al., "Are Girls Neko or Shojo? Cross-Lingual Alignment of
        Non-Isomorphic Embeddings with Iterative Normalization", ACL 2019).
        """
        done: list[str] = []
        means: list[np.ndarray] = []
        for step in steps:
            if step != "iternorm":
                X = _fit_step(step, X, done, means)
                continue
            for _ in range(ROUNDS):
                X = _fit_step("unit", X, done, means)
                X = _fit_step("center", X, done, means)
                if np.linalg.norm(means[-1]) < CENTRED:
                    break
            else:
                warnings.warn(
                    f"iternorm did not converge in {ROUNDS} rounds: the mean still has norm "
                    f"{np.linalg.norm(means[-1]):.1e}. Check whether there are very few rows "
                    "or dimensions, or use 'center,unit,center'.",
                    ConvergenceWarning,
                    stacklevel=2,
                )
            X = _fit_step("unit", X, done, means)
        return cls(tuple(done), tuple(means)), X

    def apply(self, X: Array) -> Array:
        """Run the steps with the fitted means on rows of the same language."""
        means = iter(tables_on(self, X, lambda: self.means))
        for step in self.steps:
            X = _subtract(X, next(means)) if step == "center" else unit_rows(X)
        return X


def _fit_step(step: str, X: Array, done: list[str], means: list[np.ndarray]) -> Array:
    """Do a step, and note it."""
    done.append(step)
    if step == "unit":
        return unit_rows(X)
    means.append(Moments.of(X).mean)
    return _subtract(X, means[-1])


def _subtract(X: Array, mean: Array) -> Array:
    offset = like(mean, X)
    return map_rows(lambda x, _: x - offset, X)
