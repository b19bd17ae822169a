"""INLP: what a linear classifier reads the language from is removed round by round."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.svm import LinearSVC

from posthoc_align import INLP, LEACE, LSAR
from posthoc_align.datasets import load_parallel_topics

NAMES = np.array(["de", "en", "fr", "sw"])
COUNTS = np.array([30, 50, 70, 40])
SCALED = 1 / (1 + 1e-6)  # what the official code multiplies its training rows by


def four_languages(seed=0, d=14, offset=2.0):
    rng = np.random.default_rng(seed)
    language = rng.permutation(np.repeat(NAMES, COUNTS))
    means = offset * rng.normal(size=(4, d)) + 3
    noise = rng.normal(size=(190, d)) @ rng.normal(size=(d, d))
    return noise + means[np.searchsorted(NAMES, language)], language


def reference_rows(official, n_languages):
    X = official("inputs")["X_fit"][:n_languages] * SCALED
    return X.reshape(-1, X.shape[2]), np.repeat(np.arange(n_languages), X.shape[1])


def projector(inlp):
    return np.eye(inlp.n_features_in_) - inlp.components_.T @ inlp.components_


# --- the law ----------------------------------------------------------------------------------


@pytest.mark.parametrize("n_rounds", [1, 2, 4])
def test_each_round_removes_as_many_directions_as_the_classifier_has(n_rounds):
    X, language = four_languages()
    inlp = INLP(n_rounds=n_rounds).fit(X, language=language)
    assert inlp.round_ranks_ == [3] * n_rounds
    U = inlp.components_
    np.testing.assert_allclose(U @ U.T, np.eye(3 * n_rounds), atol=1e-10)
    fewer = INLP(n_rounds=n_rounds - 1).fit(X, language=language).components_
    np.testing.assert_allclose(U[: 3 * n_rounds - 3], fewer, atol=1e-10)


def test_the_first_round_removes_the_weights_of_the_ridge_classifier():
    X, language = four_languages()
    weights = RidgeClassifier(alpha=2.5).fit(X, language).coef_
    inlp = INLP(n_rounds=1, penalty=2.5).fit(X, language=language)
    np.testing.assert_allclose(projector(inlp) @ weights.T, 0, atol=1e-10)
    assert np.linalg.matrix_rank(weights) == len(inlp.components_) == 3


def test_moments_and_rows_give_the_same_rounds():
    X, language = four_languages()
    a = INLP(n_rounds=3, penalty=2.0).fit(X, language=language)
    b = INLP(n_rounds=3, classifier=RidgeClassifier(alpha=2.0)).fit(X, language=language)
    assert a.round_ranks_ == b.round_ranks_ == [3, 3, 3]  # no noise direction in the later rounds
    np.testing.assert_allclose(projector(a), projector(b), atol=1e-9)


def test_a_large_penalty_removes_the_differences_of_the_means_in_one_round_and_then_stops():
    X, language = four_languages()
    inlp = INLP(n_rounds=4, penalty=1e20).fit(X, language=language)
    lsar = LSAR().fit(X, language=language)
    assert inlp.round_ranks_ == [3]
    np.testing.assert_allclose(
        projector(inlp), np.eye(14) - lsar.components_.T @ lsar.components_, atol=1e-9
    )


def test_language_is_told_less_and_less():
    X, language = four_languages()
    probe = lambda Z: RidgeClassifier().fit(Z, language).score(Z, language)  # noqa: E731
    scores = [probe(INLP(n_rounds=k).fit(X, language=language).transform(X)) for k in (0, 1, 2, 4)]
    assert scores[0] > 0.8
    assert all(b < a for a, b in pairwise(scores))
    assert scores[-1] < 0.5


def test_without_a_number_of_rounds_it_stops_when_means_differ_by_chance_only():
    X, language = four_languages(d=60)
    inlp = INLP(n_rounds=None).fit(X, language=language)
    Z = inlp.transform(X)

    def ratio(Z):
        own = [Z[language == name] for name in NAMES]
        between = sum(len(o) * np.sum((o.mean(axis=0) - Z.mean(axis=0)) ** 2) for o in own) / 3
        return between / (sum(np.sum((o - o.mean(axis=0)) ** 2) for o in own) / (190 - 4))

    assert ratio(Z) <= 1 < ratio(X)
    before = INLP(n_rounds=len(inlp.round_ranks_) - 1).fit_transform(X, language=language)
    assert ratio(before) > 1
    random = np.random.default_rng(0).permutation(language)
    assert len(INLP(n_rounds=None).fit(X, language=random).round_ranks_) <= 1


# --- peers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("run", "inlp", "n_languages", "atol"),
    [
        ("ridge_binary_8", INLP(n_rounds=8), 2, 1e-6),
        ("ridge_multiclass_1", INLP(n_rounds=1), 6, 1e-6),
        (
            "logreg_binary_4",
            INLP(
                n_rounds=4,
                classifier=LogisticRegression(solver="newton-cholesky", tol=1e-12, max_iter=500),
            ),
            2,
            1e-4,
        ),
        (
            "linearsvc_multiclass_2",
            INLP(n_rounds=2, classifier=LinearSVC(C=0.1, dual=False, tol=1e-10)),
            6,
            1e-4,
        ),
    ],
)
def test_the_official_code_gives_the_same_projection(official, run, inlp, n_languages, atol):
    X, language = reference_rows(official, n_languages)
    inlp.fit(X, language=language)
    reference = official("inlp")
    np.testing.assert_allclose(projector(inlp), reference[f"{run}_P"], atol=atol, rtol=0)
    assert inlp.round_ranks_ == reference[f"{run}_rowspace_ranks"].tolist()
    assert len(inlp.components_) == reference[f"{run}_rank_removed"]


def test_the_official_code_gives_the_same_new_rows(official):
    inputs, reference = official("inputs"), official("inlp")
    X, language = reference_rows(official, 6)
    Z = INLP(n_rounds=1).fit(X, language=language).transform(inputs["X_new"].reshape(-1, 48))
    expected = reference["ridge_multiclass_1_T_new"].reshape(-1, 48)
    np.testing.assert_allclose(Z, expected, atol=1e-6, rtol=0)


# --- ways to fit and to transform -------------------------------------------------------------


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_stream_of_batches_gives_the_same_projection(seed):
    rng = np.random.default_rng(seed)
    X, language = four_languages(seed % 5)
    edges = [0, *np.unique(rng.integers(1, 189, size=4)), 190]
    stream = INLP(n_rounds=2)
    for a, b in pairwise(edges):
        stream.partial_fit(X[a:b], language=language[a:b])
    whole = INLP(n_rounds=2).fit(X, language=language)
    np.testing.assert_allclose(projector(stream), projector(whole), atol=1e-9)


def test_kinds_agree(as_kind, rows_of, rtol):
    X, language = four_languages()
    expected = INLP(n_rounds=2).fit_transform(X, language=language)
    Z = rows_of(INLP(n_rounds=2).fit_transform(as_kind(X), language=language))
    np.testing.assert_allclose(Z, expected, atol=20 * rtol * np.abs(X).max())


def test_a_classifier_is_fitted_on_rows_of_any_kind(as_kind, rows_of, rtol):
    X, language = four_languages()
    inlp = INLP(n_rounds=2, classifier=RidgeClassifier())
    expected = INLP(n_rounds=2).fit_transform(X, language=language)
    Z = rows_of(inlp.fit_transform(as_kind(X), language=language))
    np.testing.assert_allclose(Z, expected, atol=50 * rtol * np.abs(X).max())
    assert not hasattr(inlp.classifier, "coef_")  # a clone was fitted


def test_transform_needs_no_language_and_float16_stays_float16():
    X, language = four_languages()
    inlp = INLP(n_rounds=2).fit(X, language=language)
    np.testing.assert_array_equal(inlp.transform(X), inlp.transform(X, language="new"))
    assert inlp.transform(X.astype(np.float16)).dtype == np.float16


def test_leace_needs_fewer_dimensions_to_equalise_the_means():
    X, language = four_languages()
    inlp, leace = INLP(n_rounds=3).fit(X, language=language), LEACE().fit(X, language=language)
    apart = lambda Z: np.ptp([Z[language == n].mean(axis=0) for n in NAMES], axis=0).max()  # noqa: E731
    assert leace.rank_ == 3 < len(inlp.components_) == 9
    assert apart(leace.transform(X)) < 1e-10 < 1e-3 < apart(inlp.transform(X))


# --- wrong and degenerate input ---------------------------------------------------------------


def test_one_language_or_no_rounds_leave_rows_alone():
    X, language = four_languages()
    np.testing.assert_array_equal(INLP(n_rounds=None).fit_transform(X), X)
    np.testing.assert_array_equal(INLP(n_rounds=0).fit_transform(X, language=language), X)


def test_languages_of_the_same_rows_count_as_one():
    X, language = four_languages()
    X, language = np.vstack([X, X[language == "en"]]), np.append(language, ["en2"] * 50)
    assert INLP(n_rounds=2).fit(X, language=language).round_ranks_ == [3, 3]


def test_removing_everything_is_warned_of():
    X, language = four_languages()
    with pytest.warns(UserWarning, match="removed all 14 dimensions in 5 rounds. Take fewer"):
        inlp = INLP(n_rounds=9).fit(X, language=language)
    assert inlp.round_ranks_ == [3, 3, 3, 3, 2]


def test_more_dimensions_than_rows_and_constant_columns_do_no_harm():
    X, _ = four_languages(d=40)
    X = np.hstack([X[:12], np.full((12, 2), 7.0)])
    Z = INLP(n_rounds=2).fit_transform(X, language=np.repeat(["a", "b"], 6))
    assert np.all(np.isfinite(Z))
    np.testing.assert_allclose(Z[:, -2:], 7, atol=1e-9)


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"n_rounds": -1}, "n_rounds=-1 is out of range: give an int from 0 on, or None"),
        ({"n_rounds": 1.5}, "n_rounds=1.5 is out of range"),
        ({"penalty": 0}, "penalty=0 is out of range: give a number above 0"),
        ({"penalty": "auto"}, "penalty='auto' is out of range"),
    ],
)
def test_parameters_out_of_range_are_refused_at_fit(parameters, says):
    X, language = four_languages()
    with pytest.raises(ValueError, match=says):
        INLP(**parameters).fit(X, language=language)


def test_a_classifier_of_one_language_or_without_weights_or_from_moments_is_refused():
    X, language = four_languages()
    with pytest.raises(ValueError, match="KMeans has no coef_: classifier must be linear"):
        INLP(classifier=KMeans(2, n_init=1)).fit(X, language=language)
    from_moments = INLP(classifier=LogisticRegression()).partial_fit(X, language=language)
    with pytest.raises(ValueError, match="fits LogisticRegression on rows.*call fit"):
        from_moments.transform(X)


def test_held_out_languages_are_told_less_on_the_bundled_corpus():
    corpus = load_parallel_topics()
    X, test = corpus.embeddings.astype(np.float64), corpus.split == "test"
    score = lambda Z: (  # noqa: E731
        RidgeClassifier(alpha=0.1)
        .fit(Z[~test], corpus.language[~test])
        .score(Z[test], corpus.language[test])
    )
    Z = INLP(n_rounds=None).fit(X[~test], language=corpus.language[~test]).transform(X)
    assert score(Z) < 0.25 < 0.5 < score(X)
