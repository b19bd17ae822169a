"""Moments of a stream, of shards and of merged parts are those of all rows at once."""

from __future__ import annotations

import inspect
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.linear_model import LogisticRegression

import posthoc_align
from posthoc_align import (
    INLP,
    LEACE,
    LIR,
    LSAR,
    AllButTheTop,
    CCAMap,
    ConceptWhitening,
    EmbeddingStore,
    GaussianTransport,
    LanguageAxes,
    LanguageCentering,
    LanguageScaling,
    LanguageSubspaceShift,
    LanguageWhitening,
    LinearMap,
    MigrationMap,
    Procrustes,
    TaskProjection,
    moments_of,
)

D, ROWS = 6, 90  # rows a language

TRANSFORMERS = [
    AllButTheTop(n_components=2),
    GaussianTransport(),
    GaussianTransport(target="pooled", shrinkage=0.5, unseen="global"),
    INLP(n_rounds=2),
    LanguageAxes(),
    LanguageAxes(keep="sensitive", shrinkage=0.1),
    LanguageCentering(),
    LanguageCentering(anchor="pooled", shrinkage="auto", unseen="global"),
    LanguageScaling(),
    LanguageScaling(shrinkage="auto", anchor="pooled"),
    LanguageSubspaceShift(to="en"),
    LanguageWhitening(),
    LanguageWhitening(target="pooled", shrinkage=0.5, unseen="global"),
    LEACE(),
    LEACE(method="orthogonal"),
    LEACE(method="oracle"),
    LIR(),
    LSAR(),
]
OF_CLASSES = [TaskProjection(), LanguageCentering(class_balanced=True)]
MAPS = [
    CCAMap(),
    CCAMap(preset="cca"),
    LinearMap(),  # the penalty of a stream is chosen from moments: see `at_once`
    LinearMap(prior="procrustes", penalty=1.0, metric="within-concept"),
    MigrationMap(),
    Procrustes(),
    Procrustes(center=False, scale=True),
]
ALL = [*TRANSFORMERS, *OF_CLASSES, *MAPS]
OF_CONCEPTS = {ConceptWhitening}
"""Fitted from rows about the mean of their translations: those must come together."""


@cache
def planted(dtype: str = "float64") -> tuple[Any, Any, Any, Any]:
    """X, its counterparts, languages and classes.

    Variances along the axes halve from each to the next, so that no two directions that a solver
    tells apart are nearer than a fraction of the largest; languages and classes lie apart.
    """
    rng = np.random.default_rng(0)
    language = np.array(["de", "en", "sw"]).repeat(ROWS)
    classes = np.tile(np.arange(3), ROWS)
    turn = np.linalg.qr(rng.normal(size=(D, D)))[0]
    X = rng.normal(size=(len(language), D)) * 2.0 ** (-np.arange(D) / 2)
    X += np.eye(D)[classes] + 3 * rng.normal(size=(3, D))[np.arange(3).repeat(ROWS)]
    X = X @ turn + 5.0
    Y = X @ np.linalg.qr(rng.normal(size=(D, D)))[0] + 0.1 * rng.normal(size=X.shape) - 2.0
    order = rng.permutation(len(X))
    return X[order].astype(dtype), Y[order].astype(dtype), language[order], classes[order]


def is_map(estimator: Any) -> bool:
    return any(type(estimator) is type(other) for other in MAPS)


def arguments(estimator: Any, rows: Any, dtype: str) -> dict[str, Any]:
    """What one batch of the rows is made of."""
    X, Y, language, classes = planted(dtype)
    if is_map(estimator):
        return {"X": X[rows], "y": Y[rows]}
    return {"X": X[rows], "y": classes[rows], "language": language[rows]}


def at_once(estimator: Any, dtype: str) -> Any:
    everything = arguments(estimator, slice(None), dtype)
    if isinstance(estimator, LinearMap) and estimator.penalty == "auto":
        return clone(estimator).partial_fit(**everything)
    return clone(estimator).fit(**everything)


def random_cuts(rng: np.random.Generator) -> list[np.ndarray]:
    return np.split(np.arange(3 * ROWS), np.sort(rng.choice(np.arange(1, 3 * ROWS), 12, False)))


CUTS = {
    "whole": lambda rng: [np.arange(3 * ROWS)],
    "one row each": lambda rng: np.arange(3 * ROWS)[:, None],
    "uneven": random_cuts,
    "uneven, in another order": lambda rng: random_cuts(rng)[::-1],
    "rows shuffled": lambda rng: np.array_split(rng.permutation(3 * ROWS), 7),
}
DTYPES = {"float64": 1e-10, "float32": 1e-5}
GAP = 1e-2
"""Of the planted spectra, relative: what is solved from them loses at most as much."""


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("estimator", ALL, ids=repr)
def test_a_stream_is_the_batch_however_it_is_cut(estimator, dtype, monkeypatch):
    monkeypatch.setattr("posthoc_align.scale._gather.BATCH_ROWS", 50)  # some are put together
    whole = at_once(estimator, dtype)
    expected = images(whole)
    for cut in CUTS.values():
        parts = cut(np.random.default_rng(1))
        stream = (arguments(estimator, rows, dtype) for rows in parts)
        streamed = moments_of(stream, estimator)
        assert_same(streamed, whole.moments_, DTYPES[dtype])
        got = images(clone(estimator).fit_moments(streamed))
        atol = DTYPES[dtype] / GAP * size(expected)
        np.testing.assert_allclose(got, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("estimator", ALL, ids=repr)
def test_moments_of_parts_add_up_in_any_order(estimator):
    cuts = random_cuts(np.random.default_rng(2))
    parts = [arguments(estimator, rows, "float64") for rows in cuts]
    merged = None
    for part in reversed(parts):
        moments = moments_of([part], estimator)
        merged = moments if merged is None else merged + moments
    assert_same(merged, at_once(estimator, "float64").moments_, DTYPES["float64"])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("estimator", TRANSFORMERS, ids=repr)
def test_a_store_whose_shards_split_languages_is_the_batch(estimator, dtype, tmp_path):
    X, _, language, _ = planted(dtype)
    with EmbeddingStore.create(tmp_path, n_features=D, dtype=dtype) as store:
        for rows in random_cuts(np.random.default_rng(3)):
            store.append(X[rows], language=language[rows])
    whole = at_once(estimator, dtype).moments_
    for source in (tmp_path, str(tmp_path), store, [store]):
        assert_same(moments_of(source, estimator), whole, DTYPES[dtype])


@pytest.mark.parametrize("estimator", TRANSFORMERS, ids=repr)
def test_without_an_estimator_there_is_enough_for_every_transformer(estimator):
    X, _, language, _ = planted()
    model = clone(estimator).fit_moments(moments_of(X, language=language))
    whole = at_once(estimator, "float64")
    atol = 1e-10 / GAP * size(images(whole))
    np.testing.assert_allclose(images(model), images(whole), rtol=0, atol=atol)


THOUSAND = [LSAR(), TaskProjection(), Procrustes()]  # one of each kind of moments


@pytest.mark.parametrize(
    ("estimator", "n"), [(e, 60) for e in ALL] + [(e, 1000) for e in THOUSAND], ids=str
)
def test_a_stream_is_solved_once(estimator, n, monkeypatch):
    at = np.resize(np.arange(3 * ROWS), n)
    batches = [arguments(estimator, [row], "float64") for row in at]
    calls = []
    solve = type(estimator)._solve
    monkeypatch.setattr(type(estimator), "_solve", lambda self: calls.append(1) or solve(self))
    moments = moments_of(iter(batches), estimator)
    assert not calls
    clone(estimator).fit_moments(moments)
    assert len(calls) == 1
    by_hand = clone(estimator)
    for batch in batches:
        by_hand.partial_fit(**batch)
    assert len(calls) == 1
    images(by_hand)
    assert len(calls) == 2


def test_concepts_that_come_together_are_the_batch():
    """The law of ConceptWhitening, for batches that hold every translation of their texts."""
    X, _, _, _ = planted()
    pair_id = np.arange(len(X)) // 3
    whole, stream = ConceptWhitening().fit(X, pair_id=pair_id), ConceptWhitening()
    for rows in np.split(np.arange(len(X)), [30, 33, 150]):
        stream.partial_fit(X[rows], pair_id=pair_id[rows])
    assert_same(stream.moments_, whole.moments_, 1e-10)


def test_no_estimator_that_streams_is_left_out():
    known = [getattr(posthoc_align, name) for name in posthoc_align.__all__]
    classes = [k for k in known if inspect.isclass(k) and issubclass(k, BaseEstimator)]
    streaming = {k for k in classes if hasattr(k, "partial_fit") or hasattr(k, "fit_moments")}
    assert streaming == {type(model) for model in ALL} | OF_CONCEPTS
    assert all(hasattr(k, "partial_fit") and hasattr(k, "fit_moments") for k in streaming)


def test_a_classifier_that_needs_rows_says_so_when_it_gets_moments():
    X, _, language, _ = planted()
    model = INLP(classifier=LogisticRegression())
    with pytest.raises(ValueError, match="INLP fits LogisticRegression on rows, but got moments"):
        model.fit_moments(moments_of(X, model, language=language))


def test_the_control_other_rows_have_other_moments():
    X, _, language, _ = planted()
    fewer, all_of_them = (moments_of(X[n:], language=language[n:]) for n in (1, 0))
    with pytest.raises(AssertionError):
        assert_same(fewer, all_of_them, 1e-5)


def images(model: Any) -> np.ndarray:
    """What becomes of the rows, which tells as much as the map does."""
    X, _, language, _ = planted()
    if is_map(model):
        return model.transform(X)
    return model.transform(X, language=language)


def size(values: np.ndarray) -> float:
    return float(np.abs(values).max())


def assert_same(a: Any, b: Any, rtol: float) -> None:
    """The same kind of moments with the same numbers, each array to its own size."""
    assert type(a) is type(b)
    if is_dataclass(a):
        for field in fields(a):
            if field.name != "eps":
                assert_same(getattr(a, field.name), getattr(b, field.name), rtol)
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for label in a:
            assert_same(a[label], b[label], rtol)
    elif isinstance(a, (np.ndarray, float)):
        np.testing.assert_allclose(a, b, rtol=0, atol=rtol * max(size(b), 1e-300))
    else:
        assert a == b
