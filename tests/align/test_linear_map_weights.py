"""Weighted pairs, the penalty that a stream chooses, and the within-concept metric."""

from itertools import pairwise

import numpy as np
import pytest
import sklearn
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_val_score

from posthoc_align import CCAMap, LinearMap, PivotAligner, Procrustes
from posthoc_align.datasets import load_parallel_topics
from posthoc_align.metrics import weak_alignment
from posthoc_align.pair_moments import PairMoments

PRIORS = ["identity", "zero", "procrustes"]
METRICS = ["identity", "within-concept"]
MAPS = [
    Procrustes(),
    Procrustes(center=False, scale=True),
    LinearMap(penalty=2.0),
    LinearMap(),
    LinearMap(prior="procrustes", center=False),
    LinearMap(metric="within-concept"),
    CCAMap(),
]
each_map = pytest.mark.parametrize("map_", MAPS, ids=lambda m: " ".join(repr(m).split()))


def pairs(seed=0, n=40, d=5, noise=1.0):
    """Pairs with a linear relation not far from the identity, both spaces off the origin."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) * np.linspace(0.3, 3, d) + 2
    return X, X @ (np.eye(d) + 0.3 * rng.normal(size=(d, d))) - 1 + noise * rng.normal(size=(n, d))


def copies(weight, *arrays):
    """Each row as often as it weighs."""
    return [np.repeat(Z, weight, axis=0) for Z in arrays]


# --- a weight counts copies -------------------------------------------------------------------


@each_map
@pytest.mark.parametrize("seed", range(3))
def test_a_weight_is_how_often_the_pair_counts_and_zero_is_no_pair(map_, seed):
    X, Y = pairs(seed)
    weight = np.random.default_rng(seed).integers(0, 4, size=40)
    weighted = map_.fit(X, Y, sample_weight=weight).transform(X)
    repeated = map_.fit(*copies(weight, X, Y)).transform(X)
    np.testing.assert_allclose(weighted, repeated, atol=1e-8)
    assert np.abs(weighted - map_.fit(X, Y).transform(X)).max() > 1e-3  # weights do matter


@each_map
def test_equal_weights_are_no_weights(map_, as_kind, rows_of, rtol):
    x, y = (as_kind(Z) for Z in pairs())
    ones = map_.fit(x, y, sample_weight=np.ones(40)).transform(x)
    # The search for a penalty stops where float32 cannot tell errors apart.
    loose = 1e-3 if rtol > 1e-8 else 1e-8
    np.testing.assert_allclose(rows_of(ones), rows_of(map_.fit(x, y).transform(x)), atol=loose)


def test_weights_may_come_as_a_list_or_a_tensor():
    X, Y = pairs()
    weight = np.random.default_rng(0).uniform(size=40)
    expected = LinearMap(penalty=1.0).fit(X, Y, weight).coef_
    listed = LinearMap(penalty=1.0).fit(X, Y, weight.tolist()).coef_
    np.testing.assert_array_equal(listed, expected)
    tensors = [torch.as_tensor(Z) for Z in (X, Y, weight)]
    np.testing.assert_allclose(LinearMap(penalty=1.0).fit(*tensors).coef_, expected, atol=1e-12)


def test_weights_of_any_size_are_those_of_the_ridge_of_scikit_learn():
    X, Y = pairs()
    weight = np.random.default_rng(0).uniform(0, 3, size=40)
    map_ = LinearMap(prior="zero", penalty=2.0).fit(X, Y, sample_weight=weight)
    peer = Ridge(alpha=2.0).fit(X, Y, sample_weight=weight)
    np.testing.assert_allclose(map_.transform(X), peer.predict(X), atol=1e-11)


@pytest.mark.parametrize("metric", METRICS)
def test_one_copy_is_left_out_of_a_pair_that_weighs_more_and_all_of_one_that_weighs_less(metric):
    X, Y = pairs(n=15)
    weight = np.random.default_rng(1).choice([0.25, 0.5, 1.0, 2.0, 3.0], size=15)
    map_ = LinearMap(metric=metric).fit(X, Y, sample_weight=weight)
    moments, penalty, S = map_.moments_, map_.penalty_, within(X, Y, weight, metric)
    np.testing.assert_allclose(moments.total, weight.sum())
    errors = []
    for i in range(15):
        left = weight.copy()
        left[i] -= min(1.0, weight[i])
        mean_x, mean_y = left @ X / left.sum(), left @ Y / left.sum()
        x, y = X - mean_x, Y - mean_y
        inner = (x.T * left) @ x + penalty * S
        W = np.linalg.solve(inner, (x.T * left) @ y + penalty * S)
        errors.append(weight[i] * np.sum((y[i] - x[i] @ W) ** 2))
    np.testing.assert_allclose(map_.leave_one_out_, np.sum(errors) / weight.sum(), rtol=1e-8)


@each_map
def test_a_stream_of_weighted_batches_is_the_whole(map_):
    X, Y = pairs()
    weight = np.random.default_rng(2).uniform(0, 2, size=40)
    weight[3] = 0
    stream = sklearn.base.clone(map_)
    for a, b in ((0, 7), (7, 30), (30, 40)):
        stream.partial_fit(X[a:b], Y[a:b], sample_weight=weight[a:b])
    whole = sklearn.base.clone(map_).fit(X, Y, sample_weight=weight)
    again = sklearn.base.clone(map_).fit_moments(whole.moments_)
    np.testing.assert_allclose(stream.transform(X), again.transform(X), atol=1e-8)
    for name in ("cross", "scatter_x", "scatter_y", "mean_x", "mean_y", "total", "count"):
        a, b = getattr(stream.moments_, name), getattr(whole.moments_, name)
        if a is not None:
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


def test_batches_with_and_without_weights_add():
    X, Y = pairs()
    plain, weighted = (
        PairMoments.of(X[:20], Y[:20]),
        PairMoments.of(X[20:], Y[20:], weight=np.full(20, 2.0)),
    )
    both = plain + weighted
    assert (both.count, both.total, both.size) == (40, 60.0, 60.0)
    np.testing.assert_allclose(both.mean_x, (X[:20].sum(0) + 2 * X[20:].sum(0)) / 60, rtol=1e-12)


@each_map
@pytest.mark.parametrize(
    ("weight", "says"),
    [
        (np.r_[np.ones(39), -1.0], r"sample_weight is -1.0 in row 39: give finite weights >= 0"),
        (np.r_[np.nan, np.ones(39)], r"sample_weight is nan in row 0: give"),
        (np.zeros(40), r"sample_weight is zero in every row: give at least one"),
        (np.ones(39), r"sample_weight has shape \(39,\) but X has 40 rows: pass one weight a row"),
        (np.ones((40, 1)), r"sample_weight has shape \(40, 1\)"),
        (np.r_[1.0, np.zeros(39)], r"needs at least 2 pairs and got 1 .*Give more rows"),
    ],
)
def test_weights_that_make_no_sense_are_explained(map_, weight, says):
    with pytest.raises(ValueError, match=says):
        map_.fit(*pairs(), sample_weight=weight)


def test_metadata_routing_brings_weights_to_a_map_without_being_asked():
    X, Y = pairs()
    weight = np.tile([1, 0], 20)
    with sklearn.config_context(enable_metadata_routing=True):
        scores = cross_val_score(LinearMap(), X, Y, params={"sample_weight": weight}, cv=2)
    expected = LinearMap().fit(X[:20:2], Y[:20:2]).score(X[20:], Y[20:])
    np.testing.assert_allclose(scores[1], expected, rtol=1e-6)


# --- weights through the bridge ---------------------------------------------------------------


def test_a_pivot_aligner_passes_on_the_weight_of_the_other_language_of_each_pair():
    X, Y = pairs()
    rng = np.random.default_rng(3)
    order, weight = rng.permutation(80), rng.uniform(0, 2, size=80)
    rows, language, ids = np.vstack([X, Y]), np.repeat(["de", "en"], 40), np.tile(np.arange(40), 2)
    aligner = PivotAligner(LinearMap(), recipe=None).fit(
        rows[order], language=language[order], pair_id=ids[order], sample_weight=weight[order]
    )
    expected = LinearMap().fit(X, Y, sample_weight=weight[:40])
    np.testing.assert_allclose(aligner.maps_["de"].coef_, expected.coef_, atol=1e-9)
    added = aligner.add_language(X, "fr", Y, sample_weight=weight[:40])
    np.testing.assert_allclose(added.maps_["fr"].coef_, expected.coef_, atol=1e-9)


def test_a_map_that_takes_no_weights_is_named():
    class Shift(Procrustes):
        def fit(self, X, y=None):
            return super().fit(X, y)

    with pytest.raises(ValueError, match="Shift cannot be fitted on weighted pairs: leave sample"):
        PivotAligner(Shift()).fit(pairs()[0], language=["en", "de"] * 20, sample_weight=np.ones(40))


# --- generalised cross-validation -------------------------------------------------------------


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("n", [30, 8])
def test_streams_minimise_generalised_cross_validation(prior, center, n):
    X, Y = pairs(n=n, d=10, noise=2.0)
    map_ = LinearMap(prior=prior, center=center).partial_fit(X, Y)
    x, y = (X - X.mean(axis=0), Y - Y.mean(axis=0)) if center else (X, Y)

    def gcv(penalty):
        hat = x @ np.linalg.solve(x.T @ x + penalty * np.eye(10), x.T) + center / n
        W = LinearMap(prior=prior, center=center, penalty=penalty).fit(X, Y).coef_
        return np.mean(np.sum((y - x @ W) ** 2, axis=1)) / np.mean(1 - np.diag(hat)) ** 2

    np.testing.assert_allclose(map_.generalized_, gcv(map_.penalty_), rtol=1e-6)
    largest = np.linalg.eigvalsh(x.T @ x)[-1]  # the search goes from a millionth to a hundredfold
    for penalty in largest * np.logspace(-5, 2, 15):
        assert map_.generalized_ <= 1.001 * gcv(penalty)
    assert map_.leave_one_out_ is None


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), metric=st.sampled_from(METRICS))
def test_a_stream_chooses_its_penalty_whatever_the_cuts(seed, metric):
    rng = np.random.default_rng(seed)
    X, Y = pairs(seed)
    stream = LinearMap(metric=metric)
    for a, b in pairwise([0, *np.unique(rng.integers(1, 39, size=4)), 40]):
        stream.partial_fit(X[a:b], Y[a:b])
    whole = LinearMap(metric=metric).fit_moments(LinearMap(metric=metric).fit(X, Y).moments_)
    # The bottom of the curve is flat: half the digits of its argument are lost.
    np.testing.assert_allclose(stream.penalty_, whole.penalty_, rtol=1e-4)
    np.testing.assert_allclose(stream.coef_, whole.coef_, atol=1e-4)


def test_fit_leaves_rows_out_and_says_which_error_it_minimised():
    map_ = LinearMap().fit(*pairs())
    assert map_.generalized_ is None
    assert map_.leave_one_out_ > 0
    with pytest.raises(ValueError, match="penalty='auto' needs at least 3 pairs and got 2.*give"):
        LinearMap().partial_fit(*pairs(n=2)).transform(pairs()[0])


def test_an_exact_relation_is_found_from_moments():
    X, Y = pairs(noise=0.0)
    np.testing.assert_allclose(LinearMap().partial_fit(X, Y).transform(X), Y, atol=1e-4)


@pytest.fixture(scope="module")
def sentences():
    """Centred unit rows of Finnish and English: anchors, and held-out pairs."""
    corpus = load_parallel_topics()
    views = []
    for name in ("fi", "en"):
        at = np.flatnonzero(corpus.language == name)
        at = at[np.argsort(corpus.pair_id[at])]
        Z, test = corpus.embeddings[at].astype(np.float64), corpus.split[at] == "test"
        Z = Z - Z[~test].mean(axis=0)
        views.append(Z / np.linalg.norm(Z, axis=1, keepdims=True))
    (X, Y) = views
    return X[~test], Y[~test], X[test], Y[test]


def test_on_real_sentences_moments_choose_about_the_penalty_that_rows_do(sentences):
    X, Y, *held_out = sentences
    rows = LinearMap().fit(X, Y)
    moments = LinearMap().fit_moments(rows.moments_)
    np.testing.assert_allclose(moments.penalty_, rows.penalty_, rtol=0.1)
    np.testing.assert_allclose(moments.generalized_, rows.leave_one_out_, rtol=0.01)
    found = [weak_alignment(m.transform(held_out[0]), held_out[1]) for m in (rows, moments)]
    assert abs(found[0] - found[1]) <= 0.01
    assert min(found) > weak_alignment(*held_out)


# --- the within-concept metric ----------------------------------------------------------------


def within(X, Y, weight=None, metric="within-concept"):
    """S, computed apart from the class."""
    d = X.shape[1]
    if metric == "identity":
        return np.eye(d)
    weight = np.ones(len(X)) if weight is None else weight
    apart = (X - Y) - weight @ (X - Y) / weight.sum()
    scatter, n = (apart.T * weight) @ apart, int(max((weight > 0).sum(), weight.sum()))
    noise = np.trace(scatter) ** 2 * d / n
    s = min(1.0, noise / (d * np.sum(scatter**2) - np.trace(scatter) ** 2))
    scatter = (1 - s) * scatter + s * np.trace(scatter) / d * np.eye(d)
    return scatter * d / np.trace(scatter)


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("penalty", [0, 0.5, 30.0])
def test_in_the_within_concept_metric_the_gradient_vanishes_at_the_solution(prior, penalty):
    X, Y = pairs(n=200)
    map_ = LinearMap(prior=prior, penalty=penalty, metric="within-concept").fit(X, Y)
    x, y, S = X - X.mean(axis=0), Y - Y.mean(axis=0), within(X, Y)
    gradient = x.T @ (x @ map_.coef_ - y) + penalty * S @ (map_.coef_ - map_.prior_)
    np.testing.assert_allclose(gradient, 0, atol=1e-10 * np.abs(x.T @ y).max())
    assert np.abs(S - np.eye(5)).max() > 0.1  # it is another problem
    np.testing.assert_allclose(np.trace(S), 5)


def test_the_map_moves_where_translations_agree_and_keeps_still_where_they_do_not():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2))
    Y = 2 * X + rng.normal(size=(300, 2)) * [0.01, 3.0]
    moved = {
        metric: np.diag(LinearMap(penalty=200.0, metric=metric).fit(X, Y).coef_) - 1
        for metric in METRICS
    }
    assert moved["within-concept"][0] > moved["identity"][0]
    assert moved["within-concept"][1] < moved["identity"][1]


def test_translations_that_agree_exactly_have_no_metric_but_the_identity():
    X, _ = pairs()
    map_ = LinearMap(metric="within-concept").fit(X, X + 3)
    np.testing.assert_allclose(map_.transform(X), X + 3, atol=1e-9)


def test_the_within_concept_metric_needs_equal_widths_and_both_scatters():
    X, Y = pairs()
    with pytest.raises(ValueError, match="within-concept.*equal width; X has 5 .* y has 3. Use"):
        LinearMap(prior="zero", metric="within-concept").fit(X, Y[:, :3])
    moments = LinearMap(penalty=1.0).fit(X, Y).moments_
    with pytest.raises(ValueError, match="needs the scatter of y as well: accumulate .*scatter_y"):
        LinearMap(metric="within-concept").fit_moments(moments)
