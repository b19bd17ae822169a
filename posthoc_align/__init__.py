"""Align multilingual embeddings after the fact.

Estimators in the manner of scikit-learn that are fitted on extracted embeddings and transform
them for downstream heads, and the measures that say what helped. Names are imported when first
used, so that importing the package costs little.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from posthoc_align import datasets as datasets
    from posthoc_align import export as export
    from posthoc_align import extract as extract
    from posthoc_align import heads as heads
    from posthoc_align import metrics as metrics
    from posthoc_align import model_selection as model_selection
    from posthoc_align import plots as plots
    from posthoc_align import scale as scale
    from posthoc_align.align import (
        INLP as INLP,
    )
    from posthoc_align.align import (
        LEACE as LEACE,
    )
    from posthoc_align.align import (
        LIR as LIR,
    )
    from posthoc_align.align import (
        LSAR as LSAR,
    )
    from posthoc_align.align import (
        AdversarialMap as AdversarialMap,
    )
    from posthoc_align.align import (
        AllButTheTop as AllButTheTop,
    )
    from posthoc_align.align import (
        Anchored as Anchored,
    )
    from posthoc_align.align import (
        Blend as Blend,
    )
    from posthoc_align.align import (
        CCAMap as CCAMap,
    )
    from posthoc_align.align import (
        ClusterIsotropy as ClusterIsotropy,
    )
    from posthoc_align.align import (
        ConceptWhitening as ConceptWhitening,
    )
    from posthoc_align.align import (
        ConsensusAligner as ConsensusAligner,
    )
    from posthoc_align.align import (
        ContrastiveMap as ContrastiveMap,
    )
    from posthoc_align.align import (
        FrozenAligner as FrozenAligner,
    )
    from posthoc_align.align import (
        GaussianTransport as GaussianTransport,
    )
    from posthoc_align.align import (
        Identity as Identity,
    )
    from posthoc_align.align import (
        LanguageAxes as LanguageAxes,
    )
    from posthoc_align.align import (
        LanguageCentering as LanguageCentering,
    )
    from posthoc_align.align import (
        LanguageScaling as LanguageScaling,
    )
    from posthoc_align.align import (
        LanguageSubspaceShift as LanguageSubspaceShift,
    )
    from posthoc_align.align import (
        LanguageWhitening as LanguageWhitening,
    )
    from posthoc_align.align import (
        LayerMixing as LayerMixing,
    )
    from posthoc_align.align import (
        Layerwise as Layerwise,
    )
    from posthoc_align.align import (
        LinearMap as LinearMap,
    )
    from posthoc_align.align import (
        MetaEmbedding as MetaEmbedding,
    )
    from posthoc_align.align import (
        MigrationMap as MigrationMap,
    )
    from posthoc_align.align import (
        PivotAligner as PivotAligner,
    )
    from posthoc_align.align import (
        Procrustes as Procrustes,
    )
    from posthoc_align.align import (
        SelfLearningAligner as SelfLearningAligner,
    )
    from posthoc_align.align import (
        SharedAligner as SharedAligner,
    )
    from posthoc_align.align import (
        TaskProjection as TaskProjection,
    )
    from posthoc_align.align import (
        TransportMap as TransportMap,
    )
    from posthoc_align.align import (
        WassersteinProcrustes as WassersteinProcrustes,
    )
    from posthoc_align.align import (
        freeze as freeze,
    )
    from posthoc_align.comparison import compare as compare
    from posthoc_align.embedding_store import EmbeddingStore as EmbeddingStore
    from posthoc_align.encoders import AlignedEncoder as AlignedEncoder
    from posthoc_align.heads import (
        AlignedClassifier as AlignedClassifier,
    )
    from posthoc_align.heads import (
        AlignedRegressor as AlignedRegressor,
    )
    from posthoc_align.heads import (
        LanguageReport as LanguageReport,
    )
    from posthoc_align.layer_profile import LayerProfile as LayerProfile
    from posthoc_align.model_selection import AutoAligner as AutoAligner
    from posthoc_align.model_selection import DoNoHarm as DoNoHarm
    from posthoc_align.model_selection import make_language_scorer as make_language_scorer
    from posthoc_align.persist import load as load
    from posthoc_align.persist import save as save
    from posthoc_align.report import Report as Report
    from posthoc_align.resampling import PairMixup as PairMixup
    from posthoc_align.scale import moments_of as moments_of
    from posthoc_align.scale import transform_store as transform_store

_HOME = {
    "AlignedEncoder": "posthoc_align.encoders",
    "Anchored": "posthoc_align.align",
    "FrozenAligner": "posthoc_align.align",
    "freeze": "posthoc_align.align",
    "ClusterIsotropy": "posthoc_align.align",
    "INLP": "posthoc_align.align",
    "TaskProjection": "posthoc_align.align",
    "LanguageAxes": "posthoc_align.align",
    "AllButTheTop": "posthoc_align.align",
    "LEACE": "posthoc_align.align",
    "MetaEmbedding": "posthoc_align.align",
    "Layerwise": "posthoc_align.align",
    "LayerMixing": "posthoc_align.align",
    "ConceptWhitening": "posthoc_align.align",
    "ConsensusAligner": "posthoc_align.align",
    "Blend": "posthoc_align.align",
    "CCAMap": "posthoc_align.align",
    "GaussianTransport": "posthoc_align.align",
    "LIR": "posthoc_align.align",
    "LanguageSubspaceShift": "posthoc_align.align",
    "LanguageWhitening": "posthoc_align.align",
    "LSAR": "posthoc_align.align",
    "LanguageCentering": "posthoc_align.align",
    "LanguageScaling": "posthoc_align.align",
    "LinearMap": "posthoc_align.align",
    "MigrationMap": "posthoc_align.align",
    "PivotAligner": "posthoc_align.align",
    "Procrustes": "posthoc_align.align",
    "AdversarialMap": "posthoc_align.align",
    "ContrastiveMap": "posthoc_align.align",
    "SelfLearningAligner": "posthoc_align.align",
    "SharedAligner": "posthoc_align.align",
    "TransportMap": "posthoc_align.align",
    "WassersteinProcrustes": "posthoc_align.align",
    "Identity": "posthoc_align.align",
    "AutoAligner": "posthoc_align.model_selection",
    "DoNoHarm": "posthoc_align.model_selection",
    "make_language_scorer": "posthoc_align.model_selection",
    "AlignedClassifier": "posthoc_align.heads",
    "AlignedRegressor": "posthoc_align.heads",
    "LanguageReport": "posthoc_align.heads",
    "PairMixup": "posthoc_align.resampling",
    "compare": "posthoc_align.comparison",
    "LayerProfile": "posthoc_align.layer_profile",
    "Report": "posthoc_align.report",
    "EmbeddingStore": "posthoc_align.embedding_store",
    "load": "posthoc_align.persist",
    "save": "posthoc_align.persist",
    "moments_of": "posthoc_align.scale",
    "transform_store": "posthoc_align.scale",
}
_ROOMS = (
    "datasets",
    "export",
    "extract",
    "heads",
    "metrics",
    "model_selection",
    "plots",
    "scale",
)

__all__ = ["__version__", *_HOME, *_ROOMS]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(importlib.import_module(_HOME[name]), name)
        globals()[name] = value
        return value
    if name in _ROOMS:
        return importlib.import_module(f"posthoc_align.{name}")
    raise AttributeError(f"module 'posthoc_align' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
