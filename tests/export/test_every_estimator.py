"""Every estimator of the library is exported as it answers, or refused with its reason."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator
from sklearn.pipeline import make_pipeline

import posthoc_align
from posthoc_align import (
    INLP,
    LEACE,
    LIR,
    LSAR,
    AdversarialMap,
    AlignedClassifier,
    AllButTheTop,
    Anchored,
    AutoAligner,
    Blend,
    CCAMap,
    ClusterIsotropy,
    ConceptWhitening,
    ConsensusAligner,
    ContrastiveMap,
    DoNoHarm,
    GaussianTransport,
    Identity,
    LanguageAxes,
    LanguageCentering,
    LanguageScaling,
    LanguageSubspaceShift,
    LanguageWhitening,
    LayerMixing,
    Layerwise,
    LinearMap,
    MetaEmbedding,
    MigrationMap,
    PivotAligner,
    Procrustes,
    SelfLearningAligner,
    SharedAligner,
    TaskProjection,
    TransportMap,
    WassersteinProcrustes,
    freeze,
)
from posthoc_align.align._apply import apply_aligner
from posthoc_align.export import UnitStep, fold, to_arrays, to_faiss, to_onnx, to_torch

# Rows at random have nothing that an adversary could align, or a gate could let pass.
pytestmark = pytest.mark.filterwarnings("ignore")

D = 8
RNG = np.random.default_rng(0)
CONCEPTS = RNG.normal(size=(50, D))
X = np.vstack([CONCEPTS + 0.3 * RNG.normal(size=(50, D)) + RNG.normal(size=D) for _ in "abc"])
LANGUAGE = np.repeat(["en", "de", "fi"], 50)
PAIR_ID = np.tile(np.arange(50), 3)
TOPIC = PAIR_ID % 3
NEW = RNG.normal(size=(20, D)) * np.logspace(-1, 1, 20)[:, None]

EXPORTED = {
    "Identity": Identity(),
    "LanguageCentering": LanguageCentering(),
    "LanguageScaling": LanguageScaling(),
    "LanguageWhitening": LanguageWhitening(),
    "GaussianTransport": GaussianTransport(),
    "LIR": LIR(),
    "LanguageSubspaceShift": LanguageSubspaceShift(to="en"),
    "LSAR": LSAR(),
    "LEACE": LEACE(),
    "LEACE, oracle": LEACE(method="oracle"),
    "INLP": INLP(n_rounds=1),
    "LanguageAxes": LanguageAxes(),
    "AllButTheTop": AllButTheTop(),
    "TaskProjection": TaskProjection(),
    "ConceptWhitening": ConceptWhitening(),
    "PivotAligner": PivotAligner(),
    "PivotAligner, no recipe": PivotAligner(recipe=None),
    "PivotAligner, iterated": PivotAligner(LinearMap(), recipe="iternorm"),
    "SharedAligner": SharedAligner(LinearMap(penalty=1.0)),
    "ConsensusAligner": ConsensusAligner(),
    "ConsensusAligner, CCA": ConsensusAligner(method="cca", penalty=1.0),
    "SelfLearningAligner": SelfLearningAligner(random_state=0),
    "Layerwise": Layerwise(LanguageCentering(), n_layers=2),
    "LayerMixing": LayerMixing(n_layers=2),
    "MetaEmbedding": MetaEmbedding(),
    "MetaEmbedding of two": MetaEmbedding(widths=(4, 4), recipe="center"),
    "Blend": Blend(LSAR()),
    "Blend of a map": PivotAligner(Blend(Procrustes())),
    "Anchored": Anchored(LanguageCentering()),
    "FrozenAligner": freeze(LanguageCentering().fit(X, language=LANGUAGE)),
    "AutoAligner": AutoAligner(),
    "DoNoHarm": DoNoHarm(LanguageCentering()),
    "Procrustes": Procrustes(),
    "LinearMap": LinearMap(),
    "MigrationMap": MigrationMap(),
    "CCAMap": CCAMap(),
    "ContrastiveMap": ContrastiveMap(max_epochs=1, random_state=0),
    "AdversarialMap": AdversarialMap(max_epochs=1, n_restarts=1, random_state=0),
    "TransportMap, then linear": TransportMap(tol=0.1, out_of_sample=LinearMap(penalty=1.0)),
    "WassersteinProcrustes": WassersteinProcrustes(random_state=0),
    "pipeline": make_pipeline(PivotAligner(), LSAR(), ConceptWhitening()),
}
REFUSED = {
    "TransportMap": (TransportMap(tol=0.1), "no affine map"),
    "ClusterIsotropy": (ClusterIsotropy(n_clusters=2, random_state=0), "no affine map"),
    "residual ContrastiveMap": (
        ContrastiveMap(form="residual", max_epochs=1, random_state=0),
        "no affine map",
    ),
    "MetaEmbedding, unit rows a part": (MetaEmbedding(widths=(4, 4)), "no affine map"),
    "Blend of unit rows": (Blend(PivotAligner()), "no affine map"),
    "AlignedClassifier": (AlignedClassifier(LanguageCentering()), "transforms nothing"),
}
ELSEWHERE = {"AlignedRegressor", "PairMixup"}
"""A head as AlignedClassifier is, and a sampler without a transform."""


def fitted(model: Any) -> Any:
    """The estimator with what its fit takes."""
    if hasattr(model, "steps"):
        rows = X
        for _, step in model.steps:
            rows = apply_aligner(fit_one(step, rows), rows, LANGUAGE)
        return model
    return fit_one(model, X)


def fit_one(model: Any, rows: np.ndarray) -> Any:
    given = inspect.signature(model.fit).parameters
    if "language" not in given:
        alone = isinstance(model, MetaEmbedding)
        return model.fit(rows) if alone else model.fit(rows[50:100], rows[:50])
    told: dict[str, Any] = {"language": LANGUAGE}
    inner = model.estimator if isinstance(model, Blend) else model
    if "pair_id" in inspect.signature(inner.fit).parameters:
        told["pair_id"] = PAIR_ID
    if isinstance(model, Anchored):
        told = {"language": LANGUAGE, "X_anchor": X, "language_anchor": LANGUAGE}
    labelled = isinstance(model, (TaskProjection, AlignedClassifier))
    return model.fit(rows, TOPIC if labelled else None, **told)


@pytest.fixture(scope="module", params=EXPORTED)
def model(request: Any) -> Any:
    return fitted(EXPORTED[request.param])


@pytest.fixture(scope="module", params=["en", "fi"])
def case(request: Any, model: Any) -> tuple[Any, str, np.ndarray, float]:
    """A model, a language, what it makes of new rows, and what float32 may lose of that."""
    expected = np.asarray(apply_aligner(model, NEW, request.param))
    # 8 + 1 terms of 7 digits each, a few steps after one another, and rows a hundredfold apart
    return model, request.param, expected, 1e-5 * np.abs(expected).max()


def test_the_module_answers_as_the_estimator_does(case):
    model, language, expected, atol = case
    module = to_torch(model, language)
    rows = torch.tensor(NEW, dtype=torch.float32)
    np.testing.assert_allclose(module(rows).numpy(), expected, atol=atol)
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    assert torch.equal(compiled(rows), module(rows))
    scripted, traced = torch.jit.script(module), torch.jit.trace(module, rows)
    assert torch.equal(scripted(rows[:3]), module(rows[:3]))
    assert torch.equal(traced(rows[:3]), module(rows[:3])), "the number of rows is free"


def test_the_arrays_answer_as_the_estimator_does_or_say_why_not(case):
    model, language, expected, atol = case
    if any(isinstance(step, UnitStep) for step in fold(model, language).steps):
        with pytest.raises(ValueError, match="scales rows to unit norm on the way"):
            to_arrays(model, language)
        return
    W, b = to_arrays(model, language)
    found = NEW.astype(np.float32) @ W.astype(np.float32) + b.astype(np.float32)
    np.testing.assert_allclose(found, expected, atol=atol)


@pytest.mark.extras
def test_the_onnx_file_answers_as_the_estimator_does(case, tmp_path):
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    model, language, expected, atol = case
    to_onnx(model, tmp_path / "m.onnx", language)
    made = onnx.load(tmp_path / "m.onnx")
    onnx.checker.check_model(made, full_check=True)
    assert [o.version for o in made.opset_import] == [17]
    session = runtime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == ["n_samples", D]
    for rows in (slice(None), slice(0, 1)):
        (found,) = session.run(["aligned"], {"rows": NEW[rows].astype(np.float32)})
        np.testing.assert_allclose(found, expected[rows], atol=atol)


@pytest.mark.extras
def test_the_faiss_chain_answers_as_the_estimator_does(case):
    faiss = pytest.importorskip("faiss")
    model, language, expected, atol = case
    index = to_faiss(model, language, index=faiss.IndexFlatIP(expected.shape[1]))
    np.testing.assert_allclose(applied(faiss, index), expected, atol=atol)


def applied(faiss: Any, index: Any) -> np.ndarray:
    """What the transforms before an index make of the new rows."""
    rows = np.ascontiguousarray(NEW, np.float32)
    for i in range(index.chain.size()):
        rows = faiss.downcast_VectorTransform(index.chain.at(i)).apply(rows)
    return rows


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_exported_says_why(name):
    model, why = REFUSED[name]
    for export in (fold, to_torch, to_arrays):
        with pytest.raises(ValueError, match=why):
            export(fitted(model), "de")


def test_every_estimator_is_exported_or_refused():
    public = [getattr(posthoc_align, name) for name in posthoc_align.__all__]
    kinds = {k for k in public if inspect.isclass(k) and issubclass(k, BaseEstimator)}
    tried = {type(model) for model in EXPORTED.values()}
    tried |= {type(model) for model, _ in REFUSED.values()}
    assert {kind.__name__ for kind in kinds - tried} == ELSEWHERE
