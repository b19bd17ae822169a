"""Every estimator keeps scikit-learn's contract."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import RidgeClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

from posthoc_align import (
    INLP,
    LEACE,
    LIR,
    LSAR,
    AdversarialMap,
    AlignedClassifier,
    AlignedRegressor,
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
)

ESTIMATORS = [
    LanguageCentering(),
    LanguageCentering(anchor="pooled", shrinkage="auto", unseen="global"),
    LanguageScaling(),
    LanguageScaling(shrinkage="auto", anchor="pooled"),
    LSAR(),
    LEACE(),
    LEACE(method="oracle"),
    INLP(),
    INLP(n_rounds=None, penalty=10.0),
    AllButTheTop(),
    AllButTheTop(n_components=0),
    LanguageAxes(),
    LanguageAxes(keep="sensitive", shrinkage=0.1),
    TaskProjection(),
    TaskProjection(trade_off=1.0, shrinkage=0),
    ClusterIsotropy(),
    ClusterIsotropy(n_clusters=2, n_components=0),
    LIR(),
    LIR(rank=0, unseen="global"),
    LanguageWhitening(),
    LanguageWhitening(target="pooled", shrinkage=0.5, unseen="global"),
    GaussianTransport(),
    GaussianTransport(target="pooled", shrinkage=0.5, unseen="global"),
    LanguageSubspaceShift(),
    LanguageSubspaceShift(variance=1.0, unseen="global"),
    TransportMap(method="gromov", reg=0.1),
    WassersteinProcrustes(start="convex"),
    Procrustes(),
    Procrustes(center=False, reflection=False, scale=True),
    LinearMap(prior="zero"),
    LinearMap(prior="procrustes", penalty=1.0),
    MigrationMap(),
    CCAMap(),
    CCAMap(preset="cca", n_components=1, center=False),
    ContrastiveMap(start="procrustes", max_epochs=3),
    ContrastiveMap(loss="mse", form="residual", start="procrustes", max_epochs=3),
    PivotAligner(),
    PivotAligner(LinearMap(penalty=1.0), recipe=None),
    SharedAligner(),
    SharedAligner(LinearMap(), recipe=None, unseen="global"),
    SelfLearningAligner(),
    SelfLearningAligner(Procrustes(), start="distribution", keep=0.5, recipe=None),
    Anchored(LanguageCentering()),
    Anchored(PivotAligner()),
    Blend(LSAR()),
    Blend(LanguageScaling(), strength=1.0),
    ConceptWhitening(),
    ConceptWhitening(power=1.0, shrinkage="auto"),
    ConsensusAligner(),
    ConsensusAligner(method="cca", recipe=None, penalty=1.0, unseen="global"),
    Layerwise(),
    Layerwise(LanguageCentering(anchor="pooled")),
    LayerMixing(),
    LayerMixing(temperature=1.0, random_state=0),
    MetaEmbedding(),
    MetaEmbedding(method="cca", recipe=None),
    Identity(),
    AutoAligner(),
    AutoAligner(objective="transfer"),
    DoNoHarm(LanguageCentering()),
    AlignedClassifier(PivotAligner()),
    AlignedRegressor(PivotAligner()),
    AlignedClassifier("passthrough", RidgeClassifier()),
]


@parametrize_with_checks(ESTIMATORS)
def test_the_contract_holds_without_a_waiver(estimator, check):
    check(estimator)


def widen(X: Any, y: Any) -> Any:
    """A one-column y repeated to the width of X; anything else as it came."""
    rows, target = np.asarray(X), None if y is None else np.asarray(y)
    if target is None or target.ndim == 2 or rows.ndim != 2:
        return y
    return np.tile(target.reshape(-1, 1), (1, rows.shape[1]))


class WideTargetLinearMap(LinearMap):
    """The default map, which needs a target of X's own width, given one."""

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> WideTargetLinearMap:
        return super().fit(X, widen(X, y), sample_weight)

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> WideTargetLinearMap:
        return super().partial_fit(X, widen(X, y), sample_weight)

    def score(self, X: Any, y: Any) -> float:
        return super().score(X, widen(X, y))


class WideTargetContrastiveMap(ContrastiveMap):
    """The default map, which needs a target of X's own width, given one."""

    def fit(self, X: Any, y: Any = None, *, candidates: Any = None) -> WideTargetContrastiveMap:
        return super().fit(X, widen(X, y), candidates=candidates)

    def score(self, X: Any, y: Any) -> float:
        return super().score(X, widen(X, y))


class WideTargetTransportMap(TransportMap):
    """The default transport, which needs a target of X's own width, given one."""

    def fit(self, X: Any, y: Any = None) -> WideTargetTransportMap:
        return super().fit(X, widen(X, y))

    def score(self, X: Any, y: Any) -> float:
        return super().score(X, widen(X, y))


class WideTargetWassersteinProcrustes(WassersteinProcrustes):
    """The default start, which needs a target of X's own width, given one."""

    def fit(self, X: Any, y: Any = None) -> WideTargetWassersteinProcrustes:
        return super().fit(X, widen(X, y))

    def score(self, X: Any, y: Any) -> float:
        return super().score(X, widen(X, y))


class WideTargetAdversarialMap(AdversarialMap):
    """The default start, which needs a target of X's own width, given one."""

    def fit(self, X: Any, y: Any = None) -> WideTargetAdversarialMap:
        return super().fit(X, widen(X, y))

    def score(self, X: Any, y: Any) -> float:
        return super().score(X, widen(X, y))


# Rows at random have nothing that an adversary could align.
@pytest.mark.filterwarnings("ignore:No state of training was better")
@parametrize_with_checks(
    [
        WideTargetLinearMap(),
        WideTargetLinearMap(penalty=1.0),
        WideTargetLinearMap(metric="within-concept"),
        WideTargetContrastiveMap(max_epochs=3),
        WideTargetTransportMap(),
        WideTargetTransportMap(method="exact"),
        WideTargetTransportMap(method="unbalanced"),
        WideTargetTransportMap(method="low_rank"),
        WideTargetTransportMap(batch_size=8),
        WideTargetWassersteinProcrustes(),
        WideTargetAdversarialMap(max_epochs=2, n_restarts=2),
        WideTargetAdversarialMap(start="random", max_epochs=2, n_restarts=2),
    ]
)
def test_the_contract_holds_for_maps_that_need_a_target_of_equal_width(estimator, check):
    """The checks feed a one-column y, in which the space of X has no counterpart."""
    check(estimator)


@pytest.mark.parametrize("estimator", [LinearMap(), ContrastiveMap(), TransportMap()], ids=repr)
def test_a_target_of_another_width_is_refused_where_widths_must_agree(estimator):
    X = np.random.default_rng(0).normal(size=(20, 3))
    with pytest.raises(ValueError, match=r"equal width|same width|3.*1"):
        clone(estimator).fit(X, X[:, 0])
