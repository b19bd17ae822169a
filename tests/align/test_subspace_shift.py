"""LanguageSubspaceShift: every language ends in the affine subspace of one."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posthoc_align import LanguageCentering, LanguageSubspaceShift
from posthoc_align.datasets import load_parallel_topics
from posthoc_align.moments import LanguageMoments

NAMES = np.array(["de", "en", "sw"])


def three_languages(seed=0, n=40, d=12):
    """Rows about three far-apart means, in mixed order, every dimension of its own spread."""
    rng = np.random.default_rng(seed)
    language = rng.permutation(np.repeat(NAMES, n))
    means = 10 * rng.normal(size=(3, d))
    spread = np.linspace(0.1, 3, d)
    return spread * rng.normal(size=(3 * n, d)) + means[np.searchsorted(NAMES, language)], language


# --- the law ----------------------------------------------------------------------------------


def test_rows_are_projected_onto_the_subspace_and_their_mean_is_shifted(as_kind, rows_of, rtol):
    X, language = three_languages()
    shift = LanguageSubspaceShift(to="en").fit(as_kind(X), language=language)
    Z = rows_of(shift.transform(as_kind(X), language=language))
    en = X[language == "en"]
    mean = en.mean(axis=0)
    _, s, axes = np.linalg.svd(en - mean, full_matrices=False)
    k = 1 + np.flatnonzero(np.cumsum(s**2) / np.sum(s**2) >= 0.9)[0]
    for name in NAMES:  # of "en" itself too
        own = X[language == name]
        expected = (own - own.mean(axis=0)) @ axes[:k].T @ axes[:k] + mean
        np.testing.assert_allclose(
            Z[language == name], expected, atol=100 * rtol * np.abs(X).max(), err_msg=name
        )
    assert 1 < k < 12
    assert np.abs(Z - X).max() > 1


@pytest.mark.parametrize("variance", [0.01, 0.3, 0.9, 0.999, 1.0, 1])
def test_the_subspace_is_the_smallest_that_holds_the_variance_asked_for(variance):
    X, language = three_languages()
    shift = LanguageSubspaceShift(to="en", variance=variance).fit(X, language=language)
    C = shift.components_
    assert C.shape == (shift.n_components_, 12)
    np.testing.assert_allclose(C @ C.T, np.eye(len(C)), atol=1e-12)
    centred = X[language == "en"] - X[language == "en"].mean(axis=0)
    held = (np.linalg.norm(centred @ C.T, axis=0) / np.linalg.norm(centred)) ** 2
    assert (np.diff(held) <= 1e-12).all()  # strongest first
    assert held.sum() >= variance - 1e-12
    assert held[:-1].sum() < variance


def test_at_full_variance_it_is_the_mean_shift():
    X, language = three_languages()
    Z = LanguageSubspaceShift(to="en", variance=1.0).fit_transform(X, language=language)
    expected = LanguageCentering(anchor="en").fit_transform(X, language=language)
    np.testing.assert_allclose(Z, expected, atol=1e-11)


def test_a_planted_plane_is_found_and_everything_lands_in_it():
    rng = np.random.default_rng(1)
    X, language = three_languages()
    plane = np.linalg.qr(rng.normal(size=(12, 2)))[0].T
    X[language == "en"] = 5 + rng.normal(size=(40, 2)) @ plane
    shift = LanguageSubspaceShift(to="en", variance=1.0).fit(X, language=language)
    C = shift.components_
    np.testing.assert_allclose(C.T @ C, plane.T @ plane, atol=1e-12)
    Z = shift.transform(X, language=language)
    assert np.linalg.matrix_rank(Z - shift.target_mean_) == 2
    np.testing.assert_allclose(Z[language == "en"], X[language == "en"], atol=1e-11)


def test_doing_it_twice_as_the_target_language_changes_nothing_more():
    X, language = three_languages()
    shift = LanguageSubspaceShift(to="en").fit(X, language=language)
    once = shift.transform(X, language=language)
    np.testing.assert_allclose(shift.transform(once, language="en"), once, atol=1e-11)


def test_on_real_sentences_a_tenth_of_the_variance_takes_most_of_the_dimensions():
    corpus = load_parallel_topics()
    shift = LanguageSubspaceShift(to="en").fit(corpus.embeddings, language=corpus.language)
    assert 20 < shift.n_components_ < corpus.embeddings.shape[1] / 2


# --- parameters -------------------------------------------------------------------------------


def test_one_language_needs_no_name_and_is_projected_onto_its_own_subspace():
    X, language = three_languages()
    en = X[language == "en"]
    alone = LanguageSubspaceShift().fit_transform(en)
    among = LanguageSubspaceShift(to="en").fit(X, language=language).transform(en, language="en")
    np.testing.assert_allclose(alone, among, atol=1e-12)
    labelled = LanguageSubspaceShift().fit_transform(en, language="en")
    np.testing.assert_array_equal(labelled, alone)


@pytest.mark.parametrize("to", [None, "xx", ["en"], 3])
def test_a_target_that_is_no_language_names_those_that_are(to):
    X, language = three_languages()
    with pytest.raises(ValueError, match=r"none of the fitted .* \['de', 'en', 'sw'\]: name"):
        LanguageSubspaceShift(to=to).fit(X, language=language)


@pytest.mark.parametrize("variance", [0, 0.0, 1.1, -1, np.nan, "0.9", None, True])
def test_a_share_of_variance_out_of_range_is_refused(variance):
    X, _ = three_languages()
    with pytest.raises(ValueError, match=rf"variance={variance!r} is out of range: give a share"):
        LanguageSubspaceShift(variance=variance).fit(X)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_target_of_equal_rows_has_no_subspace(dtype):
    X, language = three_languages()
    X[language == "en"] = np.random.default_rng(3).normal(size=12)
    with pytest.raises(ValueError, match="Language 'en' has 40 rows that are all the same.*Give"):
        LanguageSubspaceShift(to="en").fit(X.astype(dtype), language=language)
    # As a source it is merely moved.
    Z = LanguageSubspaceShift(to="de").fit_transform(X, language=language)
    mean = X[language == "de"].mean(axis=0)
    np.testing.assert_allclose(Z[language == "en"], np.tile(mean, (40, 1)), atol=1e-11)


def test_fewer_rows_than_dimensions_give_a_subspace_of_one_less_than_the_rows():
    X, language = three_languages()
    few = X[language == "en"][:5]
    shift = LanguageSubspaceShift(variance=1.0).fit(few)
    assert shift.n_components_ == 4
    np.testing.assert_allclose(shift.transform(few), few, atol=1e-11)


def test_moments_without_a_scatter_are_refused():
    X, _ = three_languages()
    with pytest.raises(ValueError, match=r"no scatter: take .* second='full'"):
        LanguageSubspaceShift().fit_moments(LanguageMoments.of(X, second="diagonal"))


# --- ways to fit and to transform -------------------------------------------------------------


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_stream_of_batches_gives_the_same_rows(seed):
    rng = np.random.default_rng(seed)
    X, language = three_languages(seed)
    edges = [0, *np.unique(rng.integers(1, 119, size=4)), 120]
    stream = LanguageSubspaceShift(to="en", variance=0.5)
    for a, b in pairwise(edges):
        stream.partial_fit(X[a:b], language=language[a:b])
    whole = LanguageSubspaceShift(to="en", variance=0.5).fit(X, language=language)
    assert stream.n_components_ == whole.n_components_
    # The subspace turns by rounding over the gap between the last axis kept and the first dropped.
    np.testing.assert_allclose(
        stream.transform(X, language=language), whole.transform(X, language=language), atol=1e-8
    )


def test_half_precision_comes_back_in_half_precision():
    X, language = three_languages()
    X = X.astype(np.float16)
    Z = LanguageSubspaceShift(to="en").fit_transform(X, language=language)
    assert Z.dtype == np.float16
    exact = LanguageSubspaceShift(to="en").fit_transform(X.astype(np.float64), language=language)
    np.testing.assert_allclose(Z, exact, atol=2.0**-10 * np.abs(exact).max())


def test_the_two_parts_add_up_and_there_is_no_way_back():
    X, language = three_languages()
    shift = LanguageSubspaceShift(to="en").fit(X, language=language)
    neutral, specific = shift.decompose(X, language=language)
    np.testing.assert_allclose(neutral + specific, X, atol=1e-12)
    assert not hasattr(shift, "inverse_transform")


def test_a_language_can_be_added_and_the_others_stay_bit_identical():
    X, language = three_languages()
    old = language != "sw"
    shift = LanguageSubspaceShift(to="en").fit(X[old], language=language[old])
    before = shift.transform(X[old], language=language[old])
    shift.add_language(X[~old], "sw")
    np.testing.assert_array_equal(shift.transform(X[old], language=language[old]), before)
    whole = LanguageSubspaceShift(to="en").fit(X, language=language)
    np.testing.assert_allclose(  # sums of rows alone and among others differ in rounding
        shift.transform(X[~old], language="sw"),
        whole.transform(X[~old], language="sw"),
        atol=1e-12,
    )


def test_what_happens_to_a_language_that_fit_did_not_see():
    X, language = three_languages()
    old, new = language != "sw", X[language == "sw"]
    fitted = lambda unseen: LanguageSubspaceShift(to="en", unseen=unseen).fit(  # noqa: E731
        X[old], language=language[old]
    )
    with pytest.raises(ValueError, match="'sw'.*add_language"):
        fitted("error").transform(new, language="sw")
    np.testing.assert_array_equal(fitted("identity").transform(new, language="sw"), new)
    own = fitted("error").add_language(new, "sw").transform(new, language="sw")
    np.testing.assert_allclose(fitted("transductive").transform(new, language="sw"), own)
    shift = fitted("global")
    C, mean = shift.components_, X[old].mean(axis=0)
    np.testing.assert_allclose(
        shift.transform(new, language="sw"), (new - mean) @ C.T @ C + shift.target_mean_, atol=1e-11
    )
