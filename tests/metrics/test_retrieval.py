"""Precision at k, reciprocal ranks, nearest rows and CSLS."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import label_ranking_average_precision_score
from sklearn.neighbors import NearestNeighbors

from posthoc_align.metrics import (
    csls_scores,
    mean_reciprocal_rank,
    nearest,
    retrieval_precision,
    strong_alignment,
    translation_ranks,
    weak_alignment,
)


@pytest.mark.parametrize("score", ["cosine", "csls", "inverted_softmax"])
def test_the_measures_are_means_of_ranks(kind, translations, score):
    X, Y = map(kind, translations)
    ranks = translation_ranks(X, Y, score=score)
    assert ranks.dtype == np.int64
    assert weak_alignment(X, Y, score=score) == np.mean(ranks == 1)
    assert retrieval_precision(X, Y, k=3, score=score) == np.mean(ranks <= 3)
    assert mean_reciprocal_rank(X, Y, score=score) == np.mean(1 / ranks)


def test_more_rivals_make_no_better_rank_and_strong_is_at_most_weak(kind, translations):
    X, Y = map(kind, translations)
    across, all_rows = translation_ranks(X, Y), translation_ranks(X, Y, own=True)
    assert np.all(all_rows >= across)
    assert np.any(all_rows > across)
    assert strong_alignment(X, Y) == np.mean(all_rows == 1) <= np.mean(across == 1)


def test_own_rivals_have_a_cosine_only():
    with pytest.raises(ValueError, match="own=True has no score 'csls'"):
        translation_ranks(np.eye(3), np.eye(3), score="csls", own=True)


def test_the_inverted_softmax_passes_over_a_hub(kind):
    # Row 2 of Y is near to all queries: by the cosine it takes the first two.
    X = kind([[1.0, 0.0, 0.9], [0.0, 1.0, 0.9], [0.2, 0.2, 1.0]])
    Y = kind([[1.0, -0.4, 0.2], [-0.4, 1.0, 0.2], [0.5, 0.5, 1.0]])
    assert weak_alignment(X, Y) == pytest.approx(1 / 3)
    assert weak_alignment(X, Y, score="inverted_softmax") == 1


@pytest.mark.parametrize("score", ["cosine", "csls"])
def test_precision_at_1_is_weak_alignment(kind, translations, score):
    X, Y = map(kind, translations)
    for a, b in [(X, Y), (Y, X)]:
        assert retrieval_precision(a, b, score=score) == weak_alignment(a, b, score=score)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), n=st.integers(2, 30), d=st.integers(1, 8))
def test_precision_grows_with_k_to_one_and_bounds_the_reciprocal_rank(seed, n, d):
    X, Y = np.random.default_rng(seed).normal(size=(2, n, d))
    at = [retrieval_precision(X, Y, k=k) for k in range(1, n + 1)]
    assert np.all(np.diff(at) >= 0)
    assert at[-1] == 1
    # Abel summation: the mean of 1/rank is a mixture of the precisions.
    k = np.arange(1, n + 1)
    weight = 1 / k - np.append(1 / k[1:], 0)
    assert mean_reciprocal_rank(X, Y) == pytest.approx(float(weight @ at), abs=1e-12)


def test_the_reciprocal_rank_is_the_ranking_precision_of_one_right_answer(dense, translations):
    X, Y = translations
    expected = label_ranking_average_precision_score(np.eye(len(X)), dense.cosine(X, Y))
    assert mean_reciprocal_rank(X, Y) == pytest.approx(expected, abs=1e-12)


def test_ranks_are_pessimistic(kind):
    X = kind(np.eye(4))
    Y = kind(np.ones((4, 4)))  # all candidates are equal
    assert mean_reciprocal_rank(X, Y) == 0.25
    assert retrieval_precision(X, Y, k=3) == 0
    assert retrieval_precision(X, Y, k=4) == 1


def test_a_duplicated_candidate_is_a_miss_at_1_and_a_hit_at_2(kind):
    rng = np.random.default_rng(0)
    Y = rng.normal(size=(40, 12))
    Y[31] = Y[2]
    Y = kind(Y)
    assert retrieval_precision(Y, Y) == pytest.approx(38 / 40)
    assert retrieval_precision(Y, Y, k=2) == 1


def test_planted_ranks_come_back(kind):
    # Query i points along axis 0; candidate i is its translation at the i-th smallest angle.
    angle = np.linspace(0.1, 1.4, 8)
    Y = kind(np.stack([np.cos(angle), np.sin(angle)], axis=1))
    X = kind(np.tile([1.0, 0.0], (8, 1)))
    assert mean_reciprocal_rank(X, Y) == pytest.approx(np.mean(1 / np.arange(1, 9)))
    for k in range(1, 9):
        assert retrieval_precision(X, Y, k=k) == k / 8


def test_nearest_agrees_with_scikit_learn(translations):
    X, Y = translations
    peer = NearestNeighbors(n_neighbors=7, metric="cosine", algorithm="brute").fit(Y)
    np.testing.assert_array_equal(nearest(X, Y, k=7), peer.kneighbors(X, return_distance=False))


def test_nearest_answers_in_the_kind_that_asked(kind, translations):
    X, Y = map(kind, translations)
    found = nearest(X, Y, k=3)
    assert type(found) is type(X)
    assert "int64" in str(found.dtype)
    assert tuple(found.shape) == (60, 3)


def test_all_candidates_can_be_asked_for(kind):
    Y = kind(np.random.default_rng(0).normal(size=(9, 4)))
    found = kind.plain(nearest(Y[:2], Y, k=9))
    np.testing.assert_array_equal(np.sort(found, axis=1), np.tile(np.arange(9), (2, 1)))
    np.testing.assert_array_equal(found[:, 0], [0, 1])


def test_the_nearest_row_by_csls_has_the_highest_csls_score(translations):
    X, Y = translations
    for neighbors in (1, 10, 60):
        scores = csls_scores(X, Y, neighbors=neighbors)
        found = nearest(X, Y, score="csls", neighbors=neighbors)[:, 0]
        np.testing.assert_array_equal(found, scores.argmax(axis=1))


def test_csls_is_symmetric(kind, translations):
    X, Y = kind(translations[0][:40]), kind(translations[1])
    np.testing.assert_allclose(
        kind.plain(csls_scores(X, Y)), kind.plain(csls_scores(Y, X)).T, atol=kind.tolerance
    )


def test_csls_over_whole_pools_takes_off_row_and_column_means(kind, dense, translations):
    X, Y = map(kind, translations)
    S = dense.cosine(kind.plain(X), kind.plain(Y))
    expected = 2 * S - S.mean(axis=1, keepdims=True) - S.mean(axis=0)
    found = kind.plain(csls_scores(X, Y, neighbors=60))
    np.testing.assert_allclose(found, expected, atol=kind.tolerance)


def test_csls_of_pools_of_two_sizes_over_the_smaller(dense, translations):
    X, Y = translations[0][:30], translations[1]
    np.testing.assert_allclose(csls_scores(X, Y, neighbors=30), dense.csls(X, Y, 30), atol=1e-13)


def test_csls_scores_keep_the_kind_and_double_precision_only(kind, translations):
    X, Y = map(kind, translations)
    found = csls_scores(X, Y)
    assert type(found) is type(X)
    assert ("float64" if kind.dtype == "float64" else "float32") in str(found.dtype)


def test_inputs_are_left_as_they_came(kind, translations):
    X, Y = map(kind, translations)
    before = kind.plain(X).copy(), kind.plain(Y).copy()
    csls_scores(X, Y)
    nearest(X, Y, score="csls")
    np.testing.assert_array_equal(kind.plain(X), before[0])
    np.testing.assert_array_equal(kind.plain(Y), before[1])


def test_csls_matches_muse(official):
    expected, inputs = official("csls"), official("inputs")["X_fit"]
    X, Y = inputs[2], inputs[0]
    scores = csls_scores(X, Y)
    np.testing.assert_allclose(scores, expected["csls_knn_10_scores"], atol=1e-10, rtol=0)
    for score, name in [
        ("csls", "csls_knn_10"),
        ("cosine", "nn"),
        ("inverted_softmax", "invsm_beta_30"),
    ]:
        found = nearest(X, Y, k=10, score=score)
        np.testing.assert_array_equal(found, expected[f"{name}_top10"])
        percent = [100 * retrieval_precision(X, Y, k=k, score=score) for k in (1, 5, 10)]
        np.testing.assert_allclose(percent, expected[f"{name}_p1_p5_p10"], rtol=1e-14)


@pytest.mark.parametrize("language", [1, 2, 3, 4, 5])
def test_tatoeba_retrieval_matches_xtreme_in_both_directions(official, language):
    expected, inputs = official("tatoeba"), official("inputs")["X_fit"]
    foreign, english = inputs[language], inputs[0]
    name = f"tatoeba_l{language}"
    for dtype in (np.float64, np.float32):
        x, y = foreign.astype(dtype), english.astype(dtype)
        # The official direction: English rows ask, foreign rows are searched.
        np.testing.assert_array_equal(nearest(y, x)[:, 0], expected[f"{name}_official_predictions"])
        np.testing.assert_array_equal(nearest(x, y)[:, 0], expected[f"{name}_reverse_predictions"])
        accuracy = [retrieval_precision(y, x), retrieval_precision(x, y)]
        np.testing.assert_allclose(accuracy, expected[f"{name}_accuracy"], rtol=1e-14)


@pytest.mark.parametrize("measure", [retrieval_precision, nearest])
@pytest.mark.parametrize("k", [0, -2, 4])
def test_a_k_that_does_not_fit_is_refused(measure, k):
    with pytest.raises(ValueError, match=f"k={k} but Y has 3 rows: k must lie between 1 and 3"):
        measure(np.eye(3), np.eye(3), k=k)


def test_a_k_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="k='5' is not a whole number"):
        nearest(np.eye(3), np.eye(3), k="5")


@pytest.mark.parametrize(
    "measure",
    [
        csls_scores,
        lambda X, Y, **options: nearest(X, Y, score="csls", **options),
    ],
)
def test_neighborhoods_must_fit_the_smaller_side(measure):
    with pytest.raises(ValueError, match="neighbors=3 but the smaller of X and Y has 2 rows"):
        measure(np.eye(3)[:2], np.eye(3), neighbors=3)


@pytest.mark.parametrize("measure", [retrieval_precision, mean_reciprocal_rank])
@pytest.mark.parametrize("score", ["cosine", "csls"])
def test_ranks_need_pairs(measure, score):
    with pytest.raises(ValueError, match="X has 3 rows and Y has 2"):
        measure(np.eye(3), np.eye(3)[:2], score=score)


@pytest.mark.parametrize("measure", [retrieval_precision, mean_reciprocal_rank, nearest])
def test_unknown_scores_are_named(measure):
    with pytest.raises(ValueError, match=r"Unknown score 'margin'.*'cosine', 'csls', 'inverted_"):
        measure(np.eye(3), np.eye(3), score="margin")


@pytest.mark.parametrize("measure", [nearest, csls_scores])
def test_rows_without_direction_or_value_are_named(measure, kind):
    X = np.eye(12)
    bad = X.copy()
    bad[4] = 0
    with pytest.raises(ValueError, match="Y has a zero vector in row 4"):
        measure(kind(X), kind(bad))
    bad[4] = np.nan
    with pytest.raises(ValueError, match="Input Y contains NaN, first in row 4"):
        measure(kind(X), kind(bad))
    with pytest.raises(ValueError, match="X has 12 features and Y has 5"):
        measure(kind(X), kind(X[:, :5]))
