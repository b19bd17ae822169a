"""Measures of alignment: plain functions, arrays in, fractions out.

They take NumPy arrays, memory maps and torch tensors on any device, know nothing of estimators,
and never hold an n x m matrix of similarities (:func:`csls_scores` aside, whose answer it is).
"""

from posthoc_align.metrics.alignment import (
    PairCosine,
    pair_cosine,
    strong_alignment,
    weak_alignment,
)
from posthoc_align.metrics.identity import chance_level, language_identification
from posthoc_align.metrics.retrieval import (
    csls_scores,
    mean_reciprocal_rank,
    nearest,
    retrieval_precision,
)
from posthoc_align.metrics.transfer import transfer_gap, zero_shot_scores

__all__ = [
    "PairCosine",
    "chance_level",
    "csls_scores",
    "language_identification",
    "mean_reciprocal_rank",
    "nearest",
    "pair_cosine",
    "retrieval_precision",
    "strong_alignment",
    "transfer_gap",
    "weak_alignment",
    "zero_shot_scores",
]
