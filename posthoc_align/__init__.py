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
    from posthoc_align import metrics as metrics
    from posthoc_align import plots as plots
    from posthoc_align.align import (
        LSAR as LSAR,
    )
    from posthoc_align.align import (
        LanguageCentering as LanguageCentering,
    )
    from posthoc_align.align import (
        LanguageScaling as LanguageScaling,
    )
    from posthoc_align.align import (
        LinearMap as LinearMap,
    )
    from posthoc_align.align import (
        PivotAligner as PivotAligner,
    )
    from posthoc_align.align import (
        Procrustes as Procrustes,
    )
    from posthoc_align.align import (
        TransportMap as TransportMap,
    )
    from posthoc_align.comparison import compare as compare

_HOME = {
    "LSAR": "posthoc_align.align",
    "LanguageCentering": "posthoc_align.align",
    "LanguageScaling": "posthoc_align.align",
    "LinearMap": "posthoc_align.align",
    "PivotAligner": "posthoc_align.align",
    "Procrustes": "posthoc_align.align",
    "TransportMap": "posthoc_align.align",
    "compare": "posthoc_align.comparison",
}
_ROOMS = ("datasets", "metrics", "plots")

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
