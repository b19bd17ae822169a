"""LEACE: no linear classifier can tell the language, and nothing moves further than it must."""

import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from posthoc_align import LEACE, LSAR, LanguageCentering
from posthoc_align.datasets import load_parallel_topics
from posthoc_align.linalg import shrunk_covariance

NAMES = np.array(["de", "en", "fr", "sw", "zh"])
COUNTS = np.array([30, 60, 45, 20, 50])
FORMS = [LEACE(), LEACE(shrinkage=0), LEACE(method="orthogonal"), LEACE(affine=False)]


def five_languages(seed=0, d=12, offset=3.0):
    """Correlated rows about five means, unequally many, in mixed order."""
    rng = np.random.default_rng(seed)
    language = rng.permutation(np.repeat(NAMES, COUNTS))
    means = offset * rng.normal(size=(5, d)) + 3
    noise = rng.normal(size=(len(language), d)) @ rng.normal(size=(d, d))
    return noise + means[np.searchsorted(NAMES, language)], language


def means_of(Z, language):
    return np.stack([Z[language == name].mean(axis=0) for name in np.unique(language)])


def one_hot(language):
    return (language[:, None] == np.unique(language)).astype(float)


def reference_rows(official, case):
    inputs = official("inputs")
    L, n, _ = inputs["X_fit"].shape
    counts = inputs["counts_unbalanced"] if case == "unbalanced" else np.full(L, n)
    X = np.concatenate([rows[:k] for rows, k in zip(inputs["X_fit"], counts, strict=True)])
    return X, np.repeat(np.arange(L), counts), inputs["X_new"]


# --- the law ----------------------------------------------------------------------------------


@pytest.mark.parametrize("leace", [*FORMS, LEACE(method="oracle")], ids=repr)
def test_all_language_means_become_equal(leace, as_kind, rows_of, rtol):
    X, language = five_languages()
    assert np.ptp(means_of(X, language), axis=0).max() > 3  # it was not so before
    Z = rows_of(leace.fit_transform(as_kind(X), language=language))
    assert np.ptp(means_of(Z, language), axis=0).max() < 100 * rtol * np.abs(X).max()


def test_the_cross_covariance_with_the_language_vanishes():
    X, language = five_languages()
    Z = LEACE().fit_transform(X, language=language)
    indicator = one_hot(language) - one_hot(language).mean(axis=0)
    assert np.abs(X.T @ indicator).max() > 10
    np.testing.assert_allclose(Z.T @ indicator, 0, atol=1e-9)


def test_the_mean_of_all_rows_stays_unless_the_map_is_linear():
    X, language = five_languages()
    for leace in (LEACE(), LEACE(method="orthogonal"), LEACE(method="oracle")):
        Z = leace.fit_transform(X, language=language)
        np.testing.assert_allclose(Z.mean(axis=0), X.mean(axis=0), atol=1e-11)
    linear = LEACE(affine=False).fit(X, language=language)
    np.testing.assert_allclose(linear.transform(np.zeros((1, 12))), 0, atol=1e-13)


def test_no_other_map_that_equalises_the_means_moves_rows_less():
    X, language = five_languages()
    moved = lambda Z: np.mean((Z - X) ** 2)  # noqa: E731
    least = moved(LEACE(shrinkage=0).fit_transform(X, language=language))
    assert least < moved(LEACE(shrinkage=0.5).fit_transform(X, language=language))
    assert least < moved(LEACE(method="orthogonal").fit_transform(X, language=language))
    assert moved(LEACE(method="oracle").fit_transform(X, language=language)) < least
    # Any erasing map has this form: what is read may change by whatever does not see the means.
    P, rng = LEACE(shrinkage=0).fit(X, language=language).piece_, np.random.default_rng(1)
    other = rng.normal(size=P.drop.shape)
    blind = other - P.back.T @ P.back @ other
    for step in (1e-3, 1e-1):
        Z = X - (X - P.origin) @ (P.drop + step * blind) @ P.back
        assert np.ptp(means_of(Z, language), axis=0).max() < 1e-10
        assert moved(Z) > least


@pytest.mark.parametrize("leace", FORMS, ids=repr)
def test_erasing_twice_is_erasing_once_in_four_dimensions(leace):
    X, language = five_languages()
    fitted = leace.fit(X, language=language)
    once = fitted.transform(X)
    np.testing.assert_allclose(fitted.transform(once), once, atol=1e-10)
    assert fitted.rank_ == np.linalg.matrix_rank(X - once, tol=1e-8) == 4


def test_orthogonal_erasure_is_the_full_rank_subspace_removal_up_to_a_constant():
    X, language = five_languages()
    Z = LEACE(method="orthogonal").fit_transform(X, language=language)
    difference = Z - LSAR().fit_transform(X, language=language)
    np.testing.assert_allclose(difference, difference[:1].repeat(len(X), axis=0), atol=1e-11)


def test_the_oracle_is_centring_about_the_mean_of_all_rows():
    X, language = five_languages()
    oracle = LEACE(method="oracle").fit(X, language=language)
    centring = LanguageCentering(anchor="pooled").fit(X, language=language)
    Z = oracle.transform(X, language=language)
    np.testing.assert_allclose(Z, centring.transform(X, language=language), atol=1e-12)
    np.testing.assert_allclose(oracle.inverse_transform(Z, language=language), X, atol=1e-12)
    assert oracle.requires_language
    assert not LEACE().requires_language


def test_a_classifier_does_no_better_than_a_constant_afterwards():
    X, language = five_languages()
    probe = LogisticRegression(max_iter=2000)
    before = probe.fit(X, language).score(X, language)
    Z = LEACE().fit_transform(X, language=language)
    after = probe.fit(Z, language).score(Z, language)
    assert before > 0.6
    assert after == pytest.approx(60 / 205)  # that of always naming the largest


# --- peers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["balanced", "unbalanced"])
@pytest.mark.parametrize(("method", "theirs"), [("leace", "leace"), ("orthogonal", "orth")])
@pytest.mark.parametrize("affine", [True, False])
def test_the_official_code_gives_the_same_map(official, case, method, theirs, affine):
    X, language, new = reference_rows(official, case)
    reference = official("leace")
    leace = LEACE(method=method, shrinkage=0, affine=affine).fit(X, language=language)
    form = "affine" if affine else "linear"
    for name, ours in (
        ("P", leace.piece_.matrix.T),
        ("bias", leace.mean_),
        (f"T_new_{form}", np.stack([leace.transform(rows) for rows in new])),
    ):
        expected = reference[f"{case}_{theirs}_{name}"]
        np.testing.assert_allclose(ours, expected, atol=1e-8, rtol=0, err_msg=name)


def test_the_official_shrinkage_and_the_map_under_it_are_reproduced(official):
    X, language, _ = reference_rows(official, "balanced")
    reference = official("leace")
    covariance, factor = shrunk_covariance((X - X.mean(axis=0)).T @ (X - X.mean(axis=0)), len(X))
    np.testing.assert_allclose(
        covariance, reference["balanced_shrunk_sigma_xx"], atol=1e-12, rtol=0
    )
    leace = LEACE().fit(X, language=language)
    assert leace.shrinkage_ == pytest.approx(factor)
    np.testing.assert_allclose(
        leace.piece_.matrix.T, reference["balanced_shrunk_leace_P"], atol=1e-8, rtol=0
    )


@pytest.mark.parametrize("case", ["balanced", "unbalanced"])
def test_the_official_oracle_gives_the_same_rows(official, case):
    X, language, new = reference_rows(official, case)
    oracle = LEACE(method="oracle").fit(X, language=language)
    ours = np.stack([oracle.transform(rows, language=i) for i, rows in enumerate(new)])
    expected = official("quadratic_oracle")[f"{case}_oracle_T_new"]
    np.testing.assert_allclose(ours, expected, atol=1e-9, rtol=0)


@pytest.mark.parametrize("method", ["leace", "orthogonal", "oracle"])
def test_120_languages_that_differ_little_are_all_erased(method):
    rng = np.random.default_rng(2)
    language = np.repeat(np.arange(120), 5)
    X = rng.normal(size=(600, 140)) + 1e-3 * rng.normal(size=(120, 140))[language]
    Z = LEACE(method=method).fit_transform(X, language=language)
    assert np.ptp(means_of(X, language), axis=0).max() > 1
    assert np.ptp(means_of(Z, language), axis=0).max() < 1e-11


# --- ways to fit and to transform -------------------------------------------------------------


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), method=st.sampled_from(["leace", "orthogonal"]))
def test_a_stream_of_batches_gives_the_same_map(seed, method):
    rng = np.random.default_rng(seed)
    X, language = five_languages(seed % 7)
    edges = [0, *np.unique(rng.integers(1, 204, size=4)), 205]
    stream = LEACE(method=method)
    for a, b in pairwise(edges):
        stream.partial_fit(X[a:b], language=language[a:b])
    whole = LEACE(method=method).fit(X, language=language)
    np.testing.assert_allclose(stream.piece_.matrix, whole.piece_.matrix, atol=1e-10)


def test_kinds_agree(as_kind, rows_of, rtol):
    X, language = five_languages()
    expected = LEACE().fit_transform(X, language=language)
    Z = rows_of(LEACE().fit_transform(as_kind(X), language=language))
    np.testing.assert_allclose(Z, expected, atol=10 * rtol * np.abs(X).max())


@pytest.mark.parametrize("door", ["numpy float16", "torch float16", "torch bfloat16"])
def test_half_precision_comes_back_in_half_precision(door, make_kind, rows_of):
    X, language = five_languages()
    x = make_kind(X, door)
    Z = LEACE().fit_transform(x, language=language)
    assert type(Z) is type(x)
    assert Z.dtype == x.dtype
    expected = LEACE().fit_transform(rows_of(x), language=language)
    step = 2.0**-8 if "bfloat" in door else 2.0**-11
    np.testing.assert_allclose(rows_of(Z), expected, rtol=step, atol=1e-3)


def test_only_the_oracle_asks_for_the_language():
    X, language = five_languages()
    leace = LEACE().fit(X, language=language)
    np.testing.assert_array_equal(
        leace.transform(X), leace.transform(X, language="never seen before")
    )
    oracle = LEACE(method="oracle").fit(X, language=language)
    with pytest.raises(ValueError, match="transform got no language"):
        oracle.transform(X)
    with pytest.raises(ValueError, match="Unseen language .'xx'.*take method='leace'"):
        oracle.transform(X, language="xx")


def test_the_parts_add_up_and_what_is_erased_cannot_be_put_back():
    X, language = five_languages()
    leace = LEACE().fit(X, language=language)
    neutral, specific = leace.decompose(X)
    np.testing.assert_allclose(neutral + specific, X, atol=1e-12)
    with pytest.raises(ValueError, match="decompose"):
        leace.inverse_transform(X)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(leace)).transform(X), neutral)


# --- wrong and degenerate input ---------------------------------------------------------------


def test_one_language_leaves_rows_alone():
    X, _ = five_languages()
    np.testing.assert_array_equal(LEACE().fit_transform(X), X)


@pytest.mark.parametrize("method", ["leace", "orthogonal"])
def test_two_languages_of_the_same_rows_lower_the_rank_with_a_warning(method):
    X, language = five_languages()
    X, language = np.vstack([X, X[language == "en"]]), np.append(language, ["en2"] * 60)
    with pytest.warns(UserWarning, match="LEACE removes 4 directions instead of 5"):
        leace = LEACE(method=method).fit(X, language=language)
    assert leace.rank_ == 4
    assert np.ptp(means_of(leace.transform(X), language), axis=0).max() < 1e-10


@pytest.mark.parametrize("shrinkage", [0, "auto"])
def test_constant_and_duplicate_columns_and_few_rows_do_no_harm(shrinkage):
    X, language = five_languages()
    X = np.hstack([X, X[:, :3], np.full((205, 1), 7.0), np.zeros((205, 1))])
    for rows in (slice(None), slice(0, 14)):  # 14 rows in 17 dimensions
        few, labels = X[rows], np.where(language[rows] < "en", "a", "b")
        Z = LEACE(shrinkage=shrinkage).fit_transform(few, language=labels)
        assert np.ptp(means_of(Z, labels), axis=0).max() < 1e-9
        assert np.abs(Z).max() < 10 * np.abs(few).max()
        np.testing.assert_allclose(Z[:, -2:], few[:, -2:], atol=1e-9)


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"method": "orth"}, "method='orth' is not known: choose one of"),
        ({"shrinkage": 1.5}, "shrinkage=1.5 is out of range: give a number from 0 to 1"),
        ({"shrinkage": "none"}, "shrinkage='none' is out of range"),
    ],
)
def test_parameters_out_of_range_are_refused_at_fit(parameters, says):
    X, language = five_languages()
    with pytest.raises(ValueError, match=says):
        LEACE(**parameters).fit(X, language=language)


def test_moments_without_scatter_say_what_is_missing():
    X, language = five_languages()
    moments = LSAR().fit(X, language=language).moments_
    with pytest.raises(ValueError, match=r"hold no scatter: take .* second='full'"):
        LEACE().fit_moments(moments)
    LEACE(method="orthogonal").fit_moments(moments)  # needs none


# --- real data --------------------------------------------------------------------------------


def test_a_held_out_language_probe_falls_to_chance_on_the_bundled_corpus():
    corpus = load_parallel_topics()
    X, test = corpus.embeddings.astype(np.float64), corpus.split == "test"
    leace = LEACE().fit(X[~test], language=corpus.language[~test])

    def score(Z):
        probe = LogisticRegression(max_iter=1000).fit(Z[~test], corpus.language[~test])
        return probe.score(Z[test], corpus.language[test])

    assert score(leace.transform(X)) < 0.15 < 0.5 < score(X)
