"""What an aligner does to rows of one language, as few steps as it takes."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import Normalizer
from sklearn.utils.validation import check_is_fitted

from posthoc_align.align import Anchored, FrozenAligner
from posthoc_align.align._apply import apply_aligner, hears_language
from posthoc_align.align._routed import RoutedAligner
from posthoc_align.align.recipe import FittedRecipe
from posthoc_align.model_selection._judged import JudgedAligner

# Of a value, what rounding may make between a map and the affine map read off it: float64 keeps
# 1e-16 a term, and there are a few thousand of them at most.
_ROUNDING = 1e-9

NO_STEPS = FittedRecipe((), ())


@dataclass(frozen=True, eq=False)
class AffineStep:
    """x -> x W + b.

    Parameters
    ----------
    matrix : ndarray of shape (n_features, n_features_out)
    offset : ndarray of shape (n_features_out,)
    """

    matrix: np.ndarray
    offset: np.ndarray

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Map rows."""
        return rows @ self.matrix + self.offset

    def then(self, other: AffineStep) -> AffineStep:
        """Return one step that does this one and then the other. Parameters as in the class."""
        return AffineStep(self.matrix @ other.matrix, other(self.offset))


@dataclass(frozen=True)
class UnitStep:
    """Scale each row to unit norm."""

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Scale rows to unit norm; a zero row stays zero."""
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        return rows / np.where(norms > 0, norms, 1.0)


@dataclass(frozen=True, eq=False)
class Chain:
    """Steps one after the other, no two affine ones in a row.

    Parameters
    ----------
    steps : tuple of AffineStep and UnitStep
    n_features_in, n_features_out : int
    """

    steps: tuple[AffineStep | UnitStep, ...]
    n_features_in: int
    n_features_out: int

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Map rows of shape (n_samples, n_features_in)."""
        for step in self.steps:
            rows = step(rows)
        return rows


def fold(model: Any, language: Any = None) -> Chain:
    """Read off a fitted aligner what it does to rows of one language.

    An affine step is read off what the step makes of the origin and the d unit vectors, and tried
    on other rows; it takes O(d^3) time and O(d^2) memory, whatever the aligner was fitted on.

    Parameters
    ----------
    model : fitted transformer, or Pipeline of such
        Of this library or of scikit-learn. All that is affine, and scaling to unit norm.
    language : str or int, optional
        One that was fitted. May be left out where all rows are treated alike.

    Returns
    -------
    Chain

    Raises
    ------
    ValueError
        If the language is needed and missing, or was not fitted, or a step is not affine, such as
        that of a ``TransportMap``.

    Examples
    --------
    >>> import numpy as np
    >>> from posthoc_align import LanguageCentering
    >>> X, language = np.array([[1.0, 2.0], [3.0, 4.0]]), ["en", "en"]
    >>> fitted = LanguageCentering().fit(X, language=language)
    >>> fold(fitted, "en").steps[0].offset
    array([-2., -3.])
    """
    check_is_fitted(model)
    width = _width(model)
    steps: list[AffineStep | UnitStep] = []
    width_out = width
    for step in _steps(model, language, width):
        last = steps[-1] if steps else None
        if isinstance(step, AffineStep) and isinstance(last, AffineStep):
            steps[-1] = last.then(step)
        elif not (isinstance(step, UnitStep) and isinstance(last, UnitStep)):
            steps.append(step)
        if isinstance(step, AffineStep):
            width_out = len(step.offset)
    return Chain(tuple(steps), width, width_out)


def to_arrays(model: Any, language: Any = None) -> tuple[np.ndarray, np.ndarray]:
    """Return W and b of an aligner that maps a row x of the language to x W + b.

    Parameters
    ----------
    model : fitted transformer, or Pipeline of such
    language : str or int, optional
        As in :func:`fold`.

    Returns
    -------
    W : ndarray of shape (n_features_in, n_features_out)
    b : ndarray of shape (n_features_out,)

    Raises
    ------
    ValueError
        As :func:`fold`, and if rows are scaled to unit norm on the way, as the standard recipe of
        an aligner does: then there is no such W.

    Examples
    --------
    >>> import numpy as np
    >>> from posthoc_align import LanguageCentering
    >>> X, language = np.array([[1.0, 2.0], [3.0, 4.0]]), ["en", "en"]
    >>> W, b = to_arrays(LanguageCentering().fit(X, language=language), "en")
    >>> X @ W + b
    array([[-1., -1.],
           [ 1.,  1.]])
    """
    chain = fold(model, language)
    affine = [step for step in chain.steps if isinstance(step, AffineStep)]
    if len(affine) < len(chain.steps):
        raise ValueError(
            f"{type(model).__name__} scales rows to unit norm on the way, so that no one matrix "
            "does what it does. Export the steps with fold, to_torch, to_onnx or to_faiss, or fit "
            "with recipe='center'."
        )
    width = chain.n_features_in
    step = affine[0] if affine else AffineStep(np.eye(width), np.zeros(width))
    return step.matrix, step.offset


def _steps(model: Any, language: Any, width: int) -> Iterable[AffineStep | UnitStep]:
    """The steps of a model, unfolded."""
    if isinstance(model, FrozenAligner):
        yield from _steps(model.estimator, language, width)
    elif isinstance(model, (Anchored, JudgedAligner)):
        yield from _inside(model, language, width)
    elif isinstance(model, Pipeline):
        for name, part in model.steps:
            if part is None or part == "passthrough":
                continue
            if not hasattr(part, "transform"):
                raise ValueError(
                    f"The pipeline's step {name!r} ({type(part).__name__}) transforms nothing: "
                    "export the pipeline without its head, pipeline[:-1]."
                )
            for step in _steps(part, language, width):
                yield step
                width = len(step.offset) if isinstance(step, AffineStep) else width
    elif isinstance(model, Normalizer) and model.norm == "l2":
        yield UnitStep()
    elif isinstance(model, RoutedAligner):
        yield from _routed(model, language, width)
    else:
        yield _probed(model, language, width)


def _width(model: Any) -> int:
    """Columns of the rows that a fitted model takes."""
    if isinstance(model, Pipeline):
        return next(_width(part) for _, part in model.steps if part not in (None, "passthrough"))
    return int(model.n_features_in_)


def _inside(model: Any, language: Any, width: int) -> Iterable[AffineStep | UnitStep]:
    """The steps of the aligner that another one fitted, with the language it hands on."""
    route = getattr(model, "routes_", {}).get(language)
    if route != "identity":
        yield from _steps(model.aligner_, model.pivot if route == "pivot" else language, width)


def _routed(model: RoutedAligner, language: Any, width: int) -> Iterable[AffineStep | UnitStep]:
    """The recipe of a language, then what the aligner does to rows that went through it."""
    label = _fitted_label(model, language)
    recipe = model.recipes_.get(label, NO_STEPS)
    means = iter(recipe.means)
    for step in recipe.steps:
        yield AffineStep(np.eye(width), -next(means)) if step == "center" else UnitStep()
    bare = copy.copy(model)
    bare.recipes_ = {**model.recipes_, label: NO_STEPS}
    yield _probed(bare, label, width)


def _fitted_label(model: Any, language: Any) -> Any:
    """The language as the model knows it."""
    known = model.languages_
    if language is None and len(known) == 1:
        return known[0]
    if language not in known:
        raise ValueError(
            f"language={language!r} is none of those that {type(model).__name__} was fitted on: "
            f"export it for one of {known}."
        )
    return language


def _probed(model: Any, language: Any, width: int) -> AffineStep:
    """The affine map that a transformer is, read off what it does to a few rows."""
    if not hasattr(model, "transform"):
        raise ValueError(
            f"{type(model).__name__} transforms nothing: export the aligner inside it, "
            "such as classifier.aligner_."
        )
    told_apart = getattr(model, "requires_language", True) and hasattr(model, "languages_")
    label = _fitted_label(model, language) if told_apart and hears_language(model) else None
    others = np.random.default_rng(0).normal(size=(8, width)) * np.logspace(-1, 2, 8)[:, None]
    rows = np.vstack([np.zeros((1, width)), np.eye(width), others])
    try:
        made = np.asarray(apply_aligner(model, rows, label))
    except ValueError as error:
        raise _not_affine(model, f"it refuses the origin: {error}") from error
    step = AffineStep(made[1 : width + 1] - made[0], made[0])
    size = np.abs(made).max(axis=1, keepdims=True)[width + 1 :]
    off = np.abs(step(others) - made[width + 1 :]) / (size + np.abs(made[0]).max() + 1e-300)
    if not np.all(off <= _ROUNDING):
        raise _not_affine(model, f"rows end up to {off.max():.1e} of their size away from one")
    return step


def _not_affine(model: Any, why: str) -> ValueError:
    return ValueError(
        f"{type(model).__name__} is no affine map ({why}), and only affine maps and unit norms, "
        "one after the other, can be exported. Keep the estimator itself with posthoc_align.save."
    )
