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
from posthoc_align.metrics.canonical import canonical_correlations, pwcca, svcca
from posthoc_align.metrics.confidence import Estimate, bootstrap, paired_difference
from posthoc_align.metrics.hubs import Hubness, hubness
from posthoc_align.metrics.identity import (
    chance_level,
    language_identification,
    language_silhouette,
)
from posthoc_align.metrics.isomorphism import (
    eigenvector_similarity,
    gromov_hausdorff,
    relational_similarity,
)
from posthoc_align.metrics.isotropy import (
    anisotropy,
    iso_score,
    mean_random_cosine,
    partition_ratio,
)
from posthoc_align.metrics.mean_shift import mean_shift_accuracy
from posthoc_align.metrics.mining import (
    MinedPairs,
    MiningScore,
    MiningThreshold,
    best_threshold,
    mine_pairs,
    mining_f1,
)
from posthoc_align.metrics.pooled import PooledRetrieval, pooled_retrieval
from posthoc_align.metrics.representation import (
    average_neuron_correlation,
    cka,
    procrustes_distance,
)
from posthoc_align.metrics.retrieval import (
    csls_scores,
    mean_reciprocal_rank,
    nearest,
    retrieval_precision,
    translation_ranks,
)
from posthoc_align.metrics.spectrum import (
    condition_harmonic_mean,
    condition_number,
    singular_value_gap,
    subspace_angles,
)
from posthoc_align.metrics.tatoeba import TatoebaAccuracy, tatoeba_accuracy
from posthoc_align.metrics.transfer import TransferScores, transfer_gap, transfer_scores
from posthoc_align.metrics.xsim import xsim_error
from posthoc_align.metrics.zero_shot import zero_shot_predictions, zero_shot_scores

__all__ = [
    "Estimate",
    "Hubness",
    "MinedPairs",
    "MiningScore",
    "MiningThreshold",
    "PairCosine",
    "PooledRetrieval",
    "TatoebaAccuracy",
    "TransferScores",
    "anisotropy",
    "average_neuron_correlation",
    "best_threshold",
    "bootstrap",
    "canonical_correlations",
    "chance_level",
    "cka",
    "condition_harmonic_mean",
    "condition_number",
    "csls_scores",
    "eigenvector_similarity",
    "gromov_hausdorff",
    "hubness",
    "iso_score",
    "language_identification",
    "language_silhouette",
    "mean_random_cosine",
    "mean_reciprocal_rank",
    "mean_shift_accuracy",
    "mine_pairs",
    "mining_f1",
    "nearest",
    "pair_cosine",
    "paired_difference",
    "partition_ratio",
    "pooled_retrieval",
    "procrustes_distance",
    "pwcca",
    "relational_similarity",
    "retrieval_precision",
    "singular_value_gap",
    "strong_alignment",
    "subspace_angles",
    "svcca",
    "tatoeba_accuracy",
    "transfer_gap",
    "transfer_scores",
    "translation_ranks",
    "weak_alignment",
    "xsim_error",
    "zero_shot_predictions",
    "zero_shot_scores",
]
