"""Each export answers as the estimator does."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

from posthoc_align import (
    LEACE,
    LIR,
    LSAR,
    AlignedClassifier,
    Anchored,
    AutoAligner,
    CCAMap,
    ConceptWhitening,
    ConsensusAligner,
    ContrastiveMap,
    DoNoHarm,
    LanguageCentering,
    LanguageScaling,
    LanguageWhitening,
    LinearMap,
    PivotAligner,
    Procrustes,
    SharedAligner,
    TransportMap,
    freeze,
)
from posthoc_align.export import UnitStep, fold, to_arrays, to_faiss, to_onnx, to_torch

RNG = np.random.default_rng(0)
X = RNG.normal(size=(150, 8)) + np.repeat(RNG.normal(size=(3, 8)), 50, axis=0)
LANGUAGE = np.repeat(["en", "de", "fi"], 50)
PAIR_ID = np.tile(np.arange(50), 3)
NEW = RNG.normal(size=(20, 8))


def fitted(model: Any) -> Any:
    if "pair_id" in model.fit.__code__.co_varnames:
        return model.fit(X, language=LANGUAGE, pair_id=PAIR_ID)
    return model.fit(X, language=LANGUAGE)


def pipeline() -> Any:
    pivot = fitted(PivotAligner(LinearMap(penalty=1.0)))
    aligned = pivot.transform(X, language=LANGUAGE)
    whiten = ConceptWhitening().fit(aligned, language=LANGUAGE, pair_id=PAIR_ID)
    again = whiten.transform(aligned)
    pca = PCA(4).fit(again)
    return make_pipeline(pivot, whiten, Normalizer(), pca)


MODELS = {
    "centring": lambda: fitted(LanguageCentering()),
    "scaling": lambda: fitted(LanguageScaling()),
    "LSAR": lambda: fitted(LSAR()),
    "LEACE": lambda: fitted(LEACE()),
    "LIR": lambda: fitted(LIR()),
    "Procrustes": lambda: fitted(PivotAligner(Procrustes())),
    "ridge": lambda: fitted(PivotAligner(LinearMap())),
    "CCA": lambda: fitted(PivotAligner(CCAMap())),
    "contrastive": lambda: fitted(PivotAligner(ContrastiveMap(max_epochs=2, random_state=0))),
    "shared": lambda: fitted(SharedAligner(LinearMap())),
    "consensus": lambda: fitted(ConsensusAligner()),
    "iterated recipe": lambda: fitted(PivotAligner(recipe="iternorm")),
    "no recipe": lambda: fitted(PivotAligner(recipe=None)),
    "pipeline": pipeline,
}


def scripted(module: torch.nn.Module) -> Any:
    """The module as TorchScript, which torch says it will not develop further."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.script(module)


def by_hand(model: Any, rows: np.ndarray, language: str) -> np.ndarray:
    """What the estimator itself makes of rows of a language."""
    steps = [step for _, step in model.steps] if hasattr(model, "steps") else [model]
    for step in steps:
        own = hasattr(step, "languages_")
        rows = step.transform(rows, language=language) if own else step.transform(rows)
    return rows


@pytest.fixture(params=MODELS)
def model(request: Any) -> Any:
    return MODELS[request.param]()


@pytest.mark.parametrize("language", ["en", "fi"])
def test_the_chain_and_the_module_answer_as_the_estimator_does(model, language):
    expected = by_hand(model, NEW, language)
    chain = fold(model, language)
    np.testing.assert_allclose(chain(NEW), expected, atol=1e-9)
    assert (chain.n_features_in, chain.n_features_out) == (8, expected.shape[1])
    kinds = [type(step) for step in chain.steps]
    assert all(a is not b for a, b in zip(kinds, kinds[1:], strict=False))

    module = to_torch(model, language)
    rows = torch.tensor(NEW, dtype=torch.float32)
    np.testing.assert_allclose(module(rows).numpy(), expected, atol=1e-5)
    assert torch.equal(scripted(module)(rows), module(rows))
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    assert torch.equal(compiled(rows), module(rows))


def test_a_router_maps_each_row_by_its_language(model):
    languages = ["fi", "en"]
    codes = np.arange(20) % 2
    module = to_torch(model, languages)
    rows, at = torch.tensor(NEW, dtype=torch.float32), torch.tensor(codes)
    for code, language in enumerate(languages):
        expected = by_hand(model, NEW[codes == code], language)
        np.testing.assert_allclose(module(rows, at)[codes == code].numpy(), expected, atol=1e-5)
    assert module.languages == languages
    assert torch.equal(scripted(module)(rows, at), module(rows, at))
    assert torch.isnan(module(rows, at + 2)[at == 1]).all(), "an unknown code must not pass"


@pytest.mark.extras
def test_an_onnx_file_answers_as_the_estimator_does(model, tmp_path):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    to_onnx(model, tmp_path / "m.onnx", "de")
    session = runtime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    for rows in (NEW, NEW[:1]):
        (aligned,) = session.run(None, {"rows": rows.astype(np.float32)})
        np.testing.assert_allclose(aligned, by_hand(model, rows, "de"), atol=1e-5)


@pytest.mark.extras
def test_a_faiss_index_finds_what_the_estimator_brings_together(model):
    faiss = pytest.importorskip("faiss")
    index = faiss.IndexFlatIP(fold(model, "en").n_features_out)
    shared = to_faiss(model, "en", index=index)
    shared.add(NEW.astype(np.float32))
    other = to_faiss(model, "de", index=index)
    aligned, queries = by_hand(model, NEW, "en"), by_hand(model, X[50:60], "de")
    scores, found = other.search(X[50:60].astype(np.float32), 3)
    expected = queries @ aligned.T
    np.testing.assert_allclose(scores, -np.sort(-expected, axis=1)[:, :3], rtol=1e-4, atol=1e-4)
    assert np.array_equal(found[:, 0], expected.argmax(axis=1))
    with pytest.raises(ValueError, match="index is for rows of 5 features, and the model gives"):
        to_faiss(model, "en", index=faiss.IndexFlatIP(5))


@pytest.mark.extras
def test_a_faiss_index_of_its_own_searches_by_cosine():
    pytest.importorskip("faiss")
    model = fitted(LanguageWhitening())
    index = to_faiss(model, "en")
    index.add(X[:50].astype(np.float32))
    rows = by_hand(model, X[:50], "en")
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    scores, found = index.search(NEW.astype(np.float32), 1)
    query = by_hand(model, NEW, "en")
    expected = query @ unit.T / np.linalg.norm(query, axis=1, keepdims=True)
    assert np.array_equal(found[:, 0], expected.argmax(axis=1))
    np.testing.assert_allclose(scores[:, 0], expected.max(axis=1), atol=1e-5)


WRAPPED = {
    "frozen": lambda: freeze(fitted(PivotAligner(LinearMap(penalty=1.0)))),
    "anchored": lambda: Anchored(PivotAligner(LinearMap(penalty=1.0))).fit(
        X, language=LANGUAGE, X_anchor=X, language_anchor=LANGUAGE, pair_id_anchor=PAIR_ID
    ),
    "auto": lambda: fitted(AutoAligner()),
    "gated": lambda: fitted(DoNoHarm(LanguageCentering())),
    "passthrough first": lambda: Pipeline([("no", "passthrough"), ("lsar", fitted(LSAR()))]),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", WRAPPED)
def test_an_aligner_inside_another_is_found(kind):
    model = WRAPPED[kind]()
    inner = model["lsar"] if kind == "passthrough first" else model
    for language in ("en", "fi"):
        expected = inner.transform(NEW, language=language)
        np.testing.assert_allclose(fold(model, language)(NEW), expected, atol=1e-9)


def test_a_language_that_the_gate_left_alone_is_left_alone():
    model = fitted(DoNoHarm(LanguageCentering()))
    model.routes_ = {"fi": "identity", "de": "pivot"}
    for language in ("fi", "de", "en"):
        expected = model.transform(NEW, language=language)
        np.testing.assert_allclose(fold(model, language)(NEW), expected, atol=1e-9)
    assert np.array_equal(fold(model, "fi")(NEW), NEW)


def test_a_head_is_told_apart_from_its_aligner():
    model = AlignedClassifier(PivotAligner(LinearMap())).fit(
        X, np.arange(150) % 2, language=LANGUAGE, pair_id=PAIR_ID
    )
    with pytest.raises(ValueError, match=r"AlignedClassifier transforms nothing.*aligner_"):
        fold(model, "de")
    assert fold(model.aligner_, "de").n_features_out == 8


def test_arrays_are_the_whole_map_where_no_row_is_scaled():
    model = make_pipeline(fitted(LanguageCentering()), StandardScaler().fit(X), PCA(3).fit(X))
    W, b = to_arrays(model, "de")
    np.testing.assert_allclose(NEW @ W + b, by_hand(model, NEW, "de"), atol=1e-10)
    W, b = to_arrays(fitted(PivotAligner(recipe=None)), "en")
    assert np.array_equal(W, np.eye(8))
    assert not b.any()


def test_what_has_no_single_matrix_says_so():
    with pytest.raises(ValueError, match="PivotAligner scales rows to unit norm on the way"):
        to_arrays(fitted(PivotAligner()), "de")
    assert any(isinstance(step, UnitStep) for step in fold(fitted(PivotAligner()), "de").steps)


def test_what_is_not_affine_is_refused_by_name():
    with pytest.raises(ValueError, match=r"PivotAligner is no affine map .*posthoc_align\.save"):
        fold(fitted(PivotAligner(TransportMap(reg=1.0))), "de")
    with pytest.raises(ValueError, match="Normalizer is no affine map"):
        fold(Normalizer("l1").fit(X))
    head = make_pipeline(LSAR(), LogisticRegression()).fit(X, np.arange(150) % 2)
    with pytest.raises(ValueError, match="'logisticregression' .* pipeline without its head"):
        fold(head)


def test_the_language_is_asked_for_where_it_matters():
    with pytest.raises(ValueError, match=r"language=None is none of .*\['de', 'en', 'fi'\]"):
        fold(fitted(LanguageCentering()))
    with pytest.raises(ValueError, match="language='sw' is none of"):
        fold(fitted(PivotAligner()), "sw")
    assert len(fold(fitted(LSAR())).steps) == 1


def test_missing_packages_name_what_to_install(monkeypatch, tmp_path):
    import sys

    model = fitted(LSAR())
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ImportError, match=r"pip install \"posthoc-align\[export\]\""):
        to_onnx(model, tmp_path / "m.onnx")
    with pytest.raises(ImportError, match=r"pip install \"posthoc-align\[export\]\""):
        to_faiss(model)
