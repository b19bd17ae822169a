"""The estimators, one idea a file."""

from posthoc_align.align.centering import LanguageCentering
from posthoc_align.align.linear_map import LinearMap
from posthoc_align.align.lsar import LSAR
from posthoc_align.align.pivot import PivotAligner
from posthoc_align.align.procrustes import Procrustes
from posthoc_align.align.scaling import LanguageScaling
from posthoc_align.align.transport import TransportMap

__all__ = [
    "LSAR",
    "LanguageCentering",
    "LanguageScaling",
    "LinearMap",
    "PivotAligner",
    "Procrustes",
    "TransportMap",
]
