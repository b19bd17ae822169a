"""Hand rows to an aligner, whatever it takes: a language, pair ids, or rows alone."""

from __future__ import annotations

import inspect
from contextlib import nullcontext
from typing import Any

from sklearn import config_context
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter

from posthoc_align._arrays import Array

PASSTHROUGH = "passthrough"


def fit_aligner(
    aligner: Any, X: Array, y: Any = None, *, language: Any = None, pair_id: Any = None
) -> Any:
    """Fit a clone of an aligner, or of a pipeline of several, with what its steps ask for.

    Parameters
    ----------
    aligner : estimator, None or "passthrough"
        The last two are fitted to nothing.
    X : array of shape (n_samples, n_features)
    y : array-like of shape (n_samples,), optional
    language, pair_id : array-like of shape (n_samples,), optional

    Returns
    -------
    estimator or "passthrough"

    Raises
    ------
    TypeError
        If the aligner is none.
    """
    if _is_identity(aligner):
        return PASSTHROUGH
    require_aligner(aligner)
    fresh = clone(aligner)
    given = {"language": language, "pair_id": pair_id}
    known = {k: v for k, v in given.items() if any(has_fit_parameter(s, k) for s in _steps(fresh))}
    with _routing(fresh):
        return fresh.fit(X, y, **known)


def require_aligner(aligner: Any) -> None:
    """Raise a TypeError for a name, a class, and whatever cannot be fitted and transform rows."""
    if isinstance(aligner, type):
        raise TypeError(
            f"{aligner.__name__} is a class and no aligner yet: give an instance of it, "
            f"{aligner.__name__}()."
        )
    able = hasattr(aligner, "fit") and hasattr(aligner, "transform")
    if not able and not _is_identity(aligner):
        raise TypeError(
            f"{aligner!r} is no aligner: give an estimator with fit and transform, such as "
            f"LanguageCentering(), a pipeline of several, or {PASSTHROUGH!r}."
        )


def apply_aligner(aligner: Any, X: Array, language: Any = None) -> Array:
    """Transform rows with a fitted aligner, with their language where it takes one.

    Parameters
    ----------
    aligner : fitted estimator, None or "passthrough"
        The last two leave the rows alone.
    X : array of shape (n_samples, n_features)
    language : array-like of shape (n_samples,), optional

    Returns
    -------
    array of shape (n_samples, n_features_out)
    """
    return X if _is_identity(aligner) else call_aligner(aligner, "transform", X, language)


def call_aligner(aligner: Any, method: str, X: Array, language: Any = None) -> Array:
    """Call a method of a fitted aligner on rows, with their language where it takes one."""
    known = {"language": language} if hears_language(aligner, method) else {}
    with _routing(aligner):
        return getattr(aligner, method)(X, **known)


def hears_language(aligner: Any, method: str = "transform") -> bool:
    """Whether a method of an aligner, or of a step of a pipeline, has a place for the language."""
    return any(
        "language" in inspect.signature(getattr(step, method)).parameters
        for step in _steps(aligner)
        if hasattr(step, method)
    )


def takes_language(aligner: Any) -> bool:
    """Whether an aligner, or a step of a pipeline, is fitted with languages."""
    return any(has_fit_parameter(step, "language") for step in _steps(aligner))


def needs_language(aligner: Any) -> bool:
    """Whether what an aligner, or a step of a pipeline, does to a row depends on its language."""
    return any(
        getattr(step, "requires_language", True)
        for step in _steps(aligner)
        if has_fit_parameter(step, "language")
    )


def fitted_languages(aligner: Any) -> list[Any]:
    """The languages that a fitted aligner, or the first step of a pipeline that knows any, saw."""
    known = (step.languages_ for step in _steps(aligner) if hasattr(step, "languages_"))
    return list(next(known, [None]))


def _is_identity(aligner: Any) -> bool:
    return aligner is None or (isinstance(aligner, str) and aligner == PASSTHROUGH)


def _steps(aligner: Any) -> list[Any]:
    steps = [s for _, s in aligner.steps] if isinstance(aligner, Pipeline) else [aligner]
    return [step for step in steps if not _is_identity(step)]


def _routing(aligner: Any) -> Any:
    """Metadata routing for a pipeline; for others what the user has set."""
    if isinstance(aligner, Pipeline):
        return config_context(enable_metadata_routing=True)
    return nullcontext()
