"""The rows, the estimators and the ways to hand over a language that the matrix is made of.

Each cell is judged by one and the same oracle: the very tool, around an aligner that reads the
language in a further column of X. No tool can part a row from its own columns, so what the oracle
predicts is what comes of a language that arrives.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context, set_config
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline

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
    FrozenAligner,
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

D, SENTENCES = 4, 20
NAMES = ("de", "en", "sw")
LANGUAGE = np.array(NAMES * SENTENCES)
PAIR_ID = np.arange(SENTENCES).repeat(3)
Y = np.tile([0, 1], SENTENCES // 2).repeat(3)
HALF = np.arange(SENTENCES).repeat(3) // 2 % 2 == 0
SPLITS = [(np.flatnonzero(~test), np.flatnonzero(test)) for test in (HALF, ~HALF)]


def planted() -> np.ndarray:
    """Classes 2 apart along the first axis; languages 3 apart along it and the second.

    The last two axes hold what a sentence and its translations have in common.
    """
    rng = np.random.default_rng(0)
    X = 0.25 * rng.normal(size=(len(Y), D))
    X[:, 2:] += rng.normal(size=(SENTENCES, 2)).repeat(3, axis=0)
    X[:, 0] += 2.0 * Y
    X[:, :2] += 3.0 * np.unique(LANGUAGE, return_inverse=True)[1][:, None]
    return X


X = planted()
FRAME = pd.DataFrame(X, columns=list("abcd"), index=pd.Index(LANGUAGE, name="language"))
X_TOLD = np.column_stack([X, np.unique(LANGUAGE, return_inverse=True)[1], PAIR_ID])


CENTRED = LanguageCentering().fit(X, language=LANGUAGE)
ALIGNERS = {
    "Identity": Identity(),
    "LanguageCentering": LanguageCentering(),
    "LanguageScaling": LanguageScaling(),
    "LanguageWhitening": LanguageWhitening(),
    "GaussianTransport": GaussianTransport(),
    "LIR": LIR(),
    "LanguageSubspaceShift": LanguageSubspaceShift(to="en"),
    "LSAR": LSAR(rank=1),
    "LEACE": LEACE(),
    "LEACE, oracle": LEACE(method="oracle"),
    "INLP": INLP(n_rounds=1),
    "LanguageAxes": LanguageAxes(),
    "AllButTheTop": AllButTheTop(),
    "TaskProjection": TaskProjection(),
    "ClusterIsotropy": ClusterIsotropy(n_clusters=2, random_state=0),
    "ConceptWhitening": ConceptWhitening(),
    "PivotAligner": PivotAligner(),
    "SharedAligner": SharedAligner(LinearMap(penalty=1.0)),
    "ConsensusAligner": ConsensusAligner(penalty=1.0, max_iter=5),
    "Layerwise": Layerwise(LanguageCentering(), n_layers=2),
    "Blend": Blend(LanguageCentering(), strength=1.0),
    "Anchored": Anchored(LanguageCentering()),
    "FrozenAligner": freeze(CENTRED),
}
COSTLY = {
    "SelfLearningAligner": SelfLearningAligner(tol=1.0, random_state=0),
    "LayerMixing": LayerMixing(n_layers=2, penalty=10.0),
    "Blend of pairs": Blend(PivotAligner(), strength=1.0),
    "Anchored to pairs": Anchored(PivotAligner()),
    "AutoAligner": AutoAligner(candidates={"centring": LanguageCentering()}, n_splits=2),
    "DoNoHarm": DoNoHarm(LanguageCentering(), n_splits=2),
}
MAPS = {
    "Procrustes": PivotAligner(Procrustes(scale=True)),
    "Procrustes, blended": PivotAligner(Blend(Procrustes())),
    "LinearMap": PivotAligner(LinearMap(penalty=1.0)),
    "MigrationMap": PivotAligner(MigrationMap()),
    "CCAMap": PivotAligner(CCAMap()),
    "MetaEmbedding": PivotAligner(MetaEmbedding()),
    "ContrastiveMap": PivotAligner(ContrastiveMap(max_epochs=1, random_state=0)),
    "TransportMap": PivotAligner(TransportMap(tol=0.1)),
    "WassersteinProcrustes": PivotAligner(WassersteinProcrustes(random_state=0)),
    "AdversarialMap": PivotAligner(AdversarialMap(max_epochs=1, n_restarts=1, random_state=0)),
}
"""Maps between two spaces know of no language: an aligner of many languages holds them."""
HEADS = {
    "AlignedClassifier": AlignedClassifier(LanguageCentering(), GaussianNB()),
    "AlignedClassifier of pairs": AlignedClassifier(PivotAligner(), GaussianNB()),
}
EVERY = {**ALIGNERS, **COSTLY, **MAPS, **HEADS}
WAYS = ("routing", "index", "nothing")


def takes_pairs(aligner: Any) -> bool:
    """Whether fit takes pair ids, and has a use for them."""
    if isinstance(aligner, Blend):
        return takes_pairs(aligner.estimator)
    return "pair_id" in inspect.signature(aligner.fit).parameters


class Told(TransformerMixin, BaseEstimator):
    """An aligner that reads language and pair id in the last two columns of X."""

    def __init__(self, aligner: Any) -> None:
        self.aligner = aligner

    @staticmethod
    def parts(X: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        X = np.asarray(X)
        codes, pair_id = X[:, D:].astype(int).T
        return np.ascontiguousarray(X[:, :D]), np.array(NAMES)[codes], pair_id

    def fit(self, X: Any, y: Any = None) -> Told:
        rows, language, pair_id = self.parts(X)
        given = {"pair_id": pair_id} if takes_pairs(self.aligner) else {}
        self.aligner_ = clone(self.aligner).fit(rows, y, language=language, **given)
        return self

    def transform(self, X: Any) -> np.ndarray:
        rows, language, _ = self.parts(X)
        return np.asarray(self.aligner_.transform(rows, language=language))


def strict(aligner: Any) -> Any:
    """The aligner, but told by an index and by nothing else."""
    if isinstance(aligner, FrozenAligner):
        return freeze(LanguageCentering(language_from="index").fit(FRAME))
    return clone(aligner).set_params(language_from="index")


@dataclass(frozen=True)
class Setting:
    """What a tool is given: rows, an aligner for them, and what is passed along."""

    name: str
    aligner: Any
    X: Any
    fit: dict[str, Any]  # to fit, for each row
    ask: dict[str, Any]  # to predict
    routing: bool  # whether metadata routing is on
    told: bool = False  # whether this is the oracle

    y = Y
    splits = SPLITS
    language = LANGUAGE

    def around(self, head: Any, kind: Any = AlignedClassifier) -> Any:
        """The aligner with a head behind it: as one estimator, or in a pipeline."""
        if self.name in HEADS:
            return kind(self.aligner, head)
        return Pipeline([("aligner", self.aligner), ("head", head)])

    @property
    def model(self) -> Any:
        """A classifier that is lost without the language: no slope makes up for it."""
        return self.around(GaussianNB())

    @property
    def needs_language(self) -> bool:
        """Whether rows of two languages are transformed differently."""
        if isinstance(self.aligner, AutoAligner):  # knows once it has chosen: here, centring
            return True
        return bool(getattr(self.aligner, "requires_language", False))


def make_setting(name: str, way: str) -> Setting:
    """A model of the table and a way to pass the language, or "told", the oracle."""
    aligner = HEADS[name].aligner if name in HEADS else EVERY[name]
    pairs = {"pair_id": PAIR_ID} if takes_pairs(aligner) else {}
    if way == "told":
        return Setting(name, Told(aligner), X_TOLD, {}, {}, False, told=True)
    if way == "routing":
        told = {"language": LANGUAGE}
        return Setting(name, aligner, X, {**told, **pairs}, told, True)
    # Pair ids have no other way than routing; the language takes its own.
    rows = FRAME if way == "index" else X
    return Setting(name, strict(aligner), rows, pairs, {}, bool(pairs))


@pytest.fixture
def setting() -> Iterator[Callable[[str, str], Setting]]:
    """(name, way) -> a setting, with metadata routing as it wants."""
    with config_context():

        def enter(name: str, way: str) -> Setting:
            made = make_setting(name, way)
            set_config(enable_metadata_routing=made.routing)
            return made

        yield enter


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test on models that are fitted at once, on those that take longer, in every way."""
    for wanted, values in {
        "light": (*ALIGNERS, "AlignedClassifier"),
        "costly": (*COSTLY, *MAPS, "AlignedClassifier of pairs"),
        "aligner": (*ALIGNERS, *COSTLY, *MAPS),
        "way": WAYS,
    }.items():
        if wanted in metafunc.fixturenames:
            metafunc.parametrize(wanted, values)


@pytest.fixture(scope="session")
def every() -> dict[str, Any]:
    """The table: a model for every estimator of the library."""
    return EVERY


@pytest.fixture(scope="session")
def heads() -> dict[str, Any]:
    """The models of the table that are no transformers."""
    return HEADS
