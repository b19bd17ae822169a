"""Hand rows to an aligner, whatever it takes: a language, pair ids, or rows alone."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.utils.validation import has_fit_parameter

from posthoc_align._arrays import Array
from posthoc_align.align.frozen import FrozenAligner

PASSTHROUGH = "passthrough"


def fit_aligner(
    aligner: Any, X: Array, y: Any = None, *, language: Any = None, pair_id: Any = None
) -> Any:
    """Fit a clone of an aligner, or of a pipeline of several, with what its steps ask for.

    Parameters
    ----------
    aligner : estimator, None or "passthrough"
        The last two are fitted to nothing. Pipelines, feature unions and column transformers may
        hold each other.
    X : array of shape (n_samples, n_features)
    y : array-like of shape (n_samples,), optional
    language, pair_id : array-like of shape (n_samples,), optional

    Returns
    -------
    estimator or "passthrough"

    Raises
    ------
    TypeError
        If the aligner is none, or holds one that the languages cannot be handed to.
    """
    if _is_identity(aligner):
        return PASSTHROUGH
    require_aligner(aligner)
    if language is not None:
        _require_reachable(aligner)
    fresh = clone(aligner)
    given = {"language": language, "pair_id": pair_id}
    known = {k: v for k, v in given.items() if any(has_fit_parameter(s, k) for s in leaves(fresh))}
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
    if language is not None:
        _require_reachable(aligner)
    known = {"language": language} if hears_language(aligner, method) else {}
    with _routing(aligner):
        return getattr(aligner, method)(X, **known)


def hears_language(aligner: Any, method: str = "transform") -> bool:
    """Whether a method of an aligner, or of a step of a pipeline, has a place for the language."""
    return any(
        "language" in inspect.signature(getattr(step, method)).parameters
        for step in leaves(aligner)
        if hasattr(step, method)
    )


def takes_language(aligner: Any) -> bool:
    """Whether an aligner, or a step of a pipeline, is fitted with languages."""
    return any(has_fit_parameter(step, "language") for step in leaves(aligner))


def needs_language(aligner: Any) -> bool:
    """Whether what an aligner, or a step of a pipeline, does to a row depends on its language."""
    return any(
        getattr(step, "requires_language", True)
        for step in leaves(aligner)
        if has_fit_parameter(step, "language")
    )


def fitted_languages(aligner: Any) -> list[Any]:
    """The languages that a fitted aligner, or the first step of a pipeline that knows any, saw."""
    known = (step.languages_ for step in leaves(aligner) if hasattr(step, "languages_"))
    return list(next(known, [None]))


def _is_identity(aligner: Any) -> bool:
    return aligner is None or (isinstance(aligner, str) and aligner == PASSTHROUGH)


def leaves(aligner: Any) -> Iterator[Any]:
    """The estimators that an aligner is made of, in their order; itself where it holds none."""
    parts = _parts(aligner)
    if parts is not None:
        for part in parts:
            yield from leaves(part)
    elif aligner is not None and not isinstance(aligner, str):  # these pass rows through, or drop
        yield aligner


def _parts(aligner: Any) -> list[Any] | None:
    """What a composite holds that hands metadata on; None for all else."""
    if isinstance(aligner, FrozenAligner):
        return [aligner.estimator]
    if isinstance(aligner, Pipeline):
        return [step for _, step in aligner.steps]
    if isinstance(aligner, FeatureUnion):
        return [step for _, step in aligner.transformer_list]
    if isinstance(aligner, ColumnTransformer):
        if hasattr(aligner, "transformers_"):  # with the remainder
            return [step for _, step, _ in aligner.transformers_]
        return [*(step for _, step, _ in aligner.transformers), aligner.remainder]
    return None


def _require_reachable(aligner: Any) -> None:
    """Raise if an estimator that takes languages is held by one that does not hand them on.

    It would be fitted, and would transform, as if all rows were of one language. One that reads the
    languages from the rows' index alone needs no handing on, and complains where they lack it.
    """
    for step in leaves(aligner):
        if has_fit_parameter(step, "language") or not hasattr(step, "get_params"):
            continue
        if step is aligner and hears_language(step):  # a frozen one, called without a pipeline
            continue
        for held in step.get_params().values():
            takes = hasattr(held, "fit") and has_fit_parameter(held, "language")
            if takes and getattr(held, "language_from", None) != "index":
                raise TypeError(
                    f"{type(step).__name__} holds {type(held).__name__}, which takes the language "
                    "of each row, and does not hand it on. Pass the "
                    f"{type(held).__name__} itself, or in a Pipeline, FeatureUnion or "
                    "ColumnTransformer; a fitted one by posthoc_align.freeze."
                )


def _routing(aligner: Any) -> Any:
    """Metadata routing for what holds others; for others what the user has set."""
    if _parts(aligner) is not None:
        return config_context(enable_metadata_routing=True)
    return nullcontext()
