"""Rows on a device stay there: only summaries leave it, and labels go up once."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.base import clone

import posthoc_align
from posthoc_align import _arrays, metrics
from posthoc_align._blocks import map_rows

# Rows so few have nothing that an adversary could better.
pytestmark = [
    pytest.mark.filterwarnings("ignore:No state of training was better"),
    pytest.mark.filterwarnings("ignore:INLP removed all"),
    pytest.mark.filterwarnings("ignore:.*no candidate beat"),
]

CROSSES = {
    "AlignedClassifier": "scikit-learn's heads take tensors only with array-API dispatch",
    "AlignedRegressor": "scikit-learn's heads take tensors only with array-API dispatch",
    "AutoAligner(objective='transfer')": "it judges aligners by a head of scikit-learn",
    "AdversarialMap": "places and scores of the two nearest rows, from which pairs are induced",
    "TransportMap(method='exact'": "the network simplex runs on the host, as its page says",
    "TransportMap(method='low_rank'": "POT's solver runs on the host, as its page says",
    "ContrastiveMap(form='residual'": "its hidden layer, 32 x d weights, is no row of X",
}
"""Estimators from whose fit more than summaries crosses, by how their names begin, and why."""


def leaks(log, n_rows):
    """What crossed that has more than one number a row."""
    return [shape for shape, _ in log if math.prod(shape) > n_rows]


def on_device(case, foreign):
    y = foreign.put(case.y) if case.y.ndim == 2 else case.y
    return foreign.put(case.X), y


def test_no_row_leaves_the_device_in_fit_or_transform(case, foreign):
    X, y = on_device(case, foreign)
    fitted = clone(case.estimator).fit(X, y, **case.fit)
    name = str(case)
    if any(name.startswith(known) for known in CROSSES):
        assert leaks(foreign.down, len(X)), f"{name} is said to send rows to the host; it does not"
        foreign.down.clear()
    if not hasattr(fitted, "transform"):
        return
    Z = fitted.transform(X, **case.ask)
    assert leaks(foreign.down, len(X)) == []
    assert type(Z) is type(X)
    assert Z.dtype == X.dtype
    assert np.all(np.isfinite(foreign.look(Z)))


WIDTH = 7  # of the rows, see rows_case
ONCE = {"MomentTransformer", "PairedMap"}


def test_label_codes_go_up_at_most_once_in_a_fit(case, foreign):
    if not solved_from_moments(case.estimator):
        return
    X, y = on_device(case, foreign)
    clone(case.estimator).fit(X, y, **case.fit)
    codes = [shape for shape, dtype in foreign.up if shape == (len(X),) and "int" in dtype]
    assert len(codes) <= 1
    assert codes or not isinstance(case.estimator, posthoc_align.LanguageCentering)


def solved_from_moments(estimator):
    return ONCE & {kind.__name__ for kind in type(estimator).__mro__}


def test_rows_of_one_language_need_no_codes_at_all(foreign):
    posthoc_align.LanguageCentering().fit(foreign.put(np.ones((99, 2)) * np.arange(99)[:, None]))
    assert [shape for shape, _ in foreign.up if shape == (99,)] == []


# --- measures -------------------------------------------------------------------------------


def pairs(name, **options):
    return lambda X, Y, case: getattr(metrics, name)(X, Y, **options)


def single(name, **options):
    return lambda X, Y, case: getattr(metrics, name)(X, **options)


def labelled(name, **options):
    return lambda X, Y, case: getattr(metrics, name)(X, case.fit["language"], **options)


def pooled(X, Y, case):
    given = {name: case.fit[name] for name in ("language", "pair_id")}
    return metrics.pooled_retrieval(X, **given)


def tatoeba(X, Y, case):
    given = {name: case.fit[name] for name in ("language", "pair_id")}
    return metrics.tatoeba_accuracy(X, **given, pivot="en")


MEASURES = {
    **{
        name: pairs(name)
        for name in (
            *("pair_cosine", "weak_alignment", "strong_alignment", "canonical_correlations"),
            *("svcca", "pwcca", "hubness", "relational_similarity", "eigenvector_similarity"),
            *("gromov_hausdorff", "mean_shift_accuracy", "mine_pairs", "cka", "xsim_error"),
            *("procrustes_distance", "average_neuron_correlation", "translation_ranks"),
            *("retrieval_precision", "mean_reciprocal_rank", "nearest", "csls_scores"),
            *("condition_harmonic_mean", "singular_value_gap", "subspace_angles"),
        )
    },
    **{
        name: single(name)
        for name in ("iso_score", "mean_random_cosine", "partition_ratio", "condition_number")
    },
    "anisotropy": labelled("anisotropy"),
    "language_silhouette": labelled("language_silhouette"),
    "language_identification": labelled("language_identification"),
    "pooled_retrieval": pooled,
    "tatoeba_accuracy": tatoeba,
}
OF_RESULTS = {
    *("bootstrap", "paired_difference", "best_threshold", "mining_f1", "chance_level"),
    *("transfer_gap", "transfer_scores", "zero_shot_predictions", "zero_shot_scores"),
}
"""Take outcomes and predictions, no rows; the last two hand rows to a head of scikit-learn."""


TO_HOST = {
    "hubness": ("places of the k = 10 nearest rows, which are counted there", 10),
    "eigenvector_similarity": ("the graph of nearest neighbours, two places a row", 2),
    "mine_pairs": ("places and cosines of the k = 4 nearest rows, which are sorted there", 4),
    "xsim_error": ("places and cosines of the k = 4 nearest rows", 4),
    "language_silhouette": ("the mean distance of each row to each of 3 languages", 3),
    "language_identification": ("the rows: the probe is scikit-learn's, as its page says", WIDTH),
}
"""Measures that send more than one number a row to the host: why, and how many at most."""


def test_every_measure_is_known_here():
    functions = {name for name in metrics.__all__ if name[0].islower()}
    assert functions == set(MEASURES) | OF_RESULTS


@pytest.mark.parametrize("name", MEASURES)
def test_no_row_leaves_the_device_in_a_measure(name, foreign, rows_case):
    X, Y = foreign.put(rows_case.X), foreign.put(rows_case.y)
    MEASURES[name](X, Y, rows_case)
    if name not in TO_HOST:
        assert leaks(foreign.down, len(X)) == []
        return
    _, most = TO_HOST[name]
    assert leaks(foreign.down, len(X)), f"{name} is said to send more to the host; it does not"
    assert max(shape[1] for shape in leaks(foreign.down, len(X))) <= most


# --- the device that is not there -----------------------------------------------------------


@pytest.mark.parametrize(
    "leak",
    [
        lambda X: X.cpu(),
        lambda X: X.to("cpu"),
        lambda X: X[:150].cpu().numpy(),
        lambda X: X.T.tolist(),
        lambda X: X.reshape(-1).cpu(),
        lambda X: torch.as_tensor(X, device="cpu"),
        lambda X: _arrays.to_host(X),
        lambda X: _arrays.labels_to_host(X),
        lambda X: map_rows(lambda block, _: _arrays.like(_arrays.to_host(block), block), X),
    ],
)
def test_a_leak_is_seen(leak, foreign, rows_case):
    X = foreign.put(rows_case.X)
    leak(X)
    assert leaks(foreign.down, len(X))


def test_the_device_refuses_what_cuda_refuses(foreign):
    X = foreign.put(np.ones((4, 3)))
    assert str(X.device) == "cuda:0"
    for to_numpy in (np.asarray, lambda X: X.numpy()):
        with pytest.raises(TypeError, match="can't convert cuda:0"):
            to_numpy(X)
    with pytest.raises(RuntimeError, match="all tensors to be on the same device"):
        X + torch.ones(3)
    assert type(X + torch.tensor(2.0)) is type(X)  # a scalar of the host may be mixed in


def test_what_lies_on_the_device_is_what_was_put_there(foreign):
    values = np.random.default_rng(0).normal(size=(4, 3))
    np.testing.assert_array_equal(foreign.look(foreign.put(values)), values)
