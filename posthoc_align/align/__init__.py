"""The estimators, one idea a file.

Language transformers: ``centering``, ``scaling``, ``whitening``, ``gaussian_transport``, ``lir``,
``subspace_shift``, ``lsar``, ``leace``, ``inlp``, ``language_axes``, ``all_but_the_top``,
``cluster_isotropy``, ``task_projection``, ``concept_whitening``.
Maps between two spaces: ``procrustes``, ``linear_map``, ``migration``, ``cca``, ``contrastive``;
without pairs ``transport``, ``wasserstein_procrustes``, ``adversarial``.
Aligners of many languages: ``pivot``, ``shared``, ``consensus``, ``self_learning``.
Around them: ``anchored``, ``blend``, ``frozen``, ``identity``, ``layerwise``,
``layer_mixing``, ``meta_embedding``.
"""

from posthoc_align.align.adversarial import AdversarialMap
from posthoc_align.align.all_but_the_top import AllButTheTop
from posthoc_align.align.anchored import Anchored
from posthoc_align.align.blend import Blend
from posthoc_align.align.cca import CCAMap
from posthoc_align.align.centering import LanguageCentering
from posthoc_align.align.cluster_isotropy import ClusterIsotropy
from posthoc_align.align.concept_whitening import ConceptWhitening
from posthoc_align.align.consensus import ConsensusAligner
from posthoc_align.align.contrastive import ContrastiveMap
from posthoc_align.align.frozen import FrozenAligner, freeze
from posthoc_align.align.gaussian_transport import GaussianTransport
from posthoc_align.align.identity import Identity
from posthoc_align.align.inlp import INLP
from posthoc_align.align.language_axes import LanguageAxes
from posthoc_align.align.layer_mixing import LayerMixing
from posthoc_align.align.layerwise import Layerwise
from posthoc_align.align.leace import LEACE
from posthoc_align.align.linear_map import LinearMap
from posthoc_align.align.lir import LIR
from posthoc_align.align.lsar import LSAR
from posthoc_align.align.meta_embedding import MetaEmbedding
from posthoc_align.align.migration import MigrationMap
from posthoc_align.align.pivot import PivotAligner
from posthoc_align.align.procrustes import Procrustes
from posthoc_align.align.scaling import LanguageScaling
from posthoc_align.align.self_learning import SelfLearningAligner
from posthoc_align.align.shared import SharedAligner
from posthoc_align.align.subspace_shift import LanguageSubspaceShift
from posthoc_align.align.task_projection import TaskProjection
from posthoc_align.align.transport import TransportMap
from posthoc_align.align.wasserstein_procrustes import WassersteinProcrustes
from posthoc_align.align.whitening import LanguageWhitening

__all__ = [
    "INLP",
    "LEACE",
    "LIR",
    "LSAR",
    "AdversarialMap",
    "AllButTheTop",
    "Anchored",
    "Blend",
    "CCAMap",
    "ClusterIsotropy",
    "ConceptWhitening",
    "ConsensusAligner",
    "ContrastiveMap",
    "FrozenAligner",
    "GaussianTransport",
    "Identity",
    "LanguageAxes",
    "LanguageCentering",
    "LanguageScaling",
    "LanguageSubspaceShift",
    "LanguageWhitening",
    "LayerMixing",
    "Layerwise",
    "LinearMap",
    "MetaEmbedding",
    "MigrationMap",
    "PivotAligner",
    "Procrustes",
    "SelfLearningAligner",
    "SharedAligner",
    "TaskProjection",
    "TransportMap",
    "WassersteinProcrustes",
    "freeze",
]
