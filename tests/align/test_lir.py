"""LIR: each language loses its own top directions, and nothing else."""

import warnings
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posthoc_align import LIR, LanguageCentering
from posthoc_align.datasets import load_parallel_topics
from posthoc_align.metrics import weak_alignment
from posthoc_align.moments import LanguageMoments

NAMES = np.array(["de", "en", "sw"])


def three_languages(seed=0, n=40, d=12, offset=10.0):
    """Rows about three far-apart means, in mixed order, every dimension of its own spread."""
    rng = np.random.default_rng(seed)
    language = rng.permutation(np.repeat(NAMES, n))
    means = offset * rng.normal(size=(3, d))
    spread = np.linspace(0.5, 3, d)
    return spread * rng.normal(size=(3 * n, d)) + means[np.searchsorted(NAMES, language)], language


def projectors(lir):
    return np.eye(lir.n_features_in_) - np.swapaxes(lir.components_, 1, 2) @ lir.components_


# --- the law ----------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [1, 3])
def test_the_directions_are_the_right_singular_vectors_of_the_uncentred_rows(rank):
    X, language = three_languages()
    lir = LIR(rank=rank).fit(X, language=language)
    for name, P in zip(lir.languages_, projectors(lir), strict=True):
        axes = np.linalg.svd(X[language == name])[2][:rank]
        np.testing.assert_allclose(P, np.eye(12) - axes.T @ axes, atol=1e-11)


@pytest.mark.parametrize("rank", [1, 3])
def test_a_row_loses_its_part_in_the_directions_of_its_language(rank, as_kind, rows_of, rtol):
    X, language = three_languages()
    lir = LIR(rank=rank).fit(as_kind(X), language=language)
    Z = rows_of(lir.transform(as_kind(X), language=language))
    exact = projectors(LIR(rank=rank).fit(X, language=language))
    expected = np.stack([x @ exact[NAMES.searchsorted(name)] for x, name in zip(X, language)])  # noqa: B905
    np.testing.assert_allclose(Z, expected, atol=10 * rtol * np.abs(X).max())
    assert np.abs(Z - X).max() > 1
    again = rows_of(lir.transform(as_kind(Z), language=language))
    np.testing.assert_allclose(again, Z, atol=10 * rtol * np.abs(X).max())


def test_a_planted_direction_is_found_wherever_the_mean_lies():
    rng = np.random.default_rng(1)
    axis = np.linalg.qr(rng.normal(size=(12, 12)))[0][0]
    X = rng.normal(size=(60, 12))
    X -= X @ np.outer(axis, axis)
    X = np.vstack([X, -X])  # so that the mean of the rest is exactly zero
    X += np.outer(100 * np.tile([1.0, 1.2, 0.8], 40), axis)
    np.testing.assert_allclose(np.abs(LIR().fit(X).components_[0, 0] @ axis), 1, atol=1e-12)


def test_with_a_mean_long_against_the_spread_the_first_direction_is_the_mean():
    X, language = three_languages(offset=1e4)
    lir = LIR().fit(X, language=language)
    for name, (axis,) in zip(lir.languages_, lir.components_, strict=True):
        mean = X[language == name].mean(axis=0)
        # The spread turns it by about the ratio of the variance to the squared mean.
        assert 1 - abs(axis @ mean) / np.linalg.norm(mean) < 1e-7


def test_the_strongest_direction_comes_first_and_lower_ranks_are_part_of_higher_ones():
    X, language = three_languages()
    five, two = (LIR(rank=r).fit(X, language=language).components_ for r in (5, 2))
    np.testing.assert_array_equal(five[:, :2], two)
    for name, axes in zip(NAMES, five, strict=True):
        np.testing.assert_allclose(axes @ axes.T, np.eye(5), atol=1e-12)
        size = np.linalg.norm(X[language == name] @ axes.T, axis=0)
        assert (np.diff(size) < 0).all()


def test_rank_zero_leaves_everything_and_full_rank_nothing():
    X, language = three_languages()
    np.testing.assert_array_equal(LIR(rank=0).fit_transform(X, language=language), X)
    nothing = LIR(rank=12).fit_transform(X, language=language)
    np.testing.assert_allclose(nothing, 0, atol=1e-12 * np.abs(X).max())


# --- peer -------------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_the_official_code_gives_the_same_rows_and_projectors(official, rank):
    inputs, reference = official("inputs"), official("lir")
    fit, new = inputs["X_fit"], inputs["X_new"]
    lir = LIR(rank=rank).fit(np.concatenate(fit), language=np.repeat(np.arange(6), 160))
    Z = np.stack([lir.transform(rows, language=label) for label, rows in enumerate(new)])
    np.testing.assert_allclose(Z, reference[f"r{rank}_T_new"], atol=1e-9, rtol=0)
    assert np.abs(Z - new).max() > 1e-2
    if rank == 2:
        np.testing.assert_allclose(projectors(lir), reference["r2_P"], atol=1e-9, rtol=0)
        ours = lir.transform(fit[1], language=1)
        np.testing.assert_allclose(ours, reference["r2_T_fit_l1"], atol=1e-9, rtol=0)


def test_on_real_sentences_it_helps_retrieval_as_centring_does():
    corpus = load_parallel_topics()
    X = corpus.embeddings.astype(np.float64)
    test = corpus.split == "test"

    def weak(Z):
        en, de = (Z[test & (corpus.language == name)] for name in ("en", "de"))
        return weak_alignment(de, en)

    assert (corpus.pair_id[test & (corpus.language == "en")]
            == corpus.pair_id[test & (corpus.language == "de")]).all()  # fmt: skip
    fit = {"language": corpus.language[~test]}
    lir = LIR().fit(X[~test], **fit).transform(X, language=corpus.language)
    centred = LanguageCentering().fit(X[~test], **fit).transform(X, language=corpus.language)
    assert weak(lir) > weak(X)
    assert abs(weak(lir) - weak(centred)) < 0.1


# --- rank -------------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [13, -1, 1.5, "1", True, None])
def test_a_rank_that_rows_or_dimensions_cannot_hold_names_the_language_and_the_most(rank):
    X, language = three_languages()
    says = rf"rank={rank!r} is out of range: Language 'de' has 40 rows of 12 .* at most 12"
    with pytest.raises(ValueError, match=says):
        LIR(rank=rank).fit(X, language=language)
    few = np.append(language[:-3], ["zz"] * 3)
    with pytest.raises(ValueError, match=r"Language 'zz' has 3 rows .* from 0 to 3\."):
        LIR(rank=4).fit(X, language=few)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_rows_that_span_less_lower_the_rank_with_a_warning_that_names_them(dtype):
    X, language = three_languages()
    plane = np.random.default_rng(2).normal(size=(2, 12))
    X[language == "en"] = X[language == "en"][:, :2] @ plane
    with pytest.warns(UserWarning, match="Language 'en' spans 2 directions, fewer than rank=4"):
        lir = LIR(rank=4).fit(X.astype(dtype), language=language)
    np.testing.assert_array_equal(lir.rank_, [4, 2, 4])
    assert lir.components_.shape == (3, 4, 12)
    np.testing.assert_array_equal(lir.components_[1, 2:], 0)
    left = lir.transform(X[language == "en"], language="en")
    np.testing.assert_allclose(left, 0, atol=1e-3 if dtype == "float32" else 1e-10)


def test_rows_that_are_all_the_same_or_zero_are_warned_of():
    same = np.tile(np.array([1.1, 2.3, 0.7]), (7, 1))
    with pytest.warns(UserWarning, match="X spans 1 directions, fewer than rank=2"):
        assert LIR(rank=2).fit(same).rank_ == [1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(LIR().fit_transform(same), 0, atol=1e-14)
    with pytest.warns(UserWarning, match="X spans 0 directions"):
        np.testing.assert_array_equal(LIR().fit_transform(np.zeros((4, 3))), 0)


def test_moments_without_a_scatter_are_refused():
    X, language = three_languages()
    with pytest.raises(ValueError, match=r"no scatter: take .* second='full'"):
        LIR().fit_moments(LanguageMoments.of(X, language, second="diagonal"))


# --- ways to fit and to transform -------------------------------------------------------------


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_stream_of_batches_gives_the_same_rows(seed):
    rng = np.random.default_rng(seed)
    X, language = three_languages(seed)
    edges = [0, *np.unique(rng.integers(1, 119, size=4)), 120]
    stream = LIR()
    for a, b in pairwise(edges):
        stream.partial_fit(X[a:b], language=language[a:b])
    whole = LIR().fit_transform(X, language=language)
    # A direction turns by rounding over the gap to the next one, which is wide at rank 1.
    np.testing.assert_allclose(stream.transform(X, language=language), whole, atol=1e-9)


def test_torch_and_numpy_agree_and_the_kind_is_kept(as_kind, rows_of, rtol):
    X, language = three_languages()
    expected = LIR().fit_transform(X, language=language)
    Z = LIR().fit_transform(as_kind(X), language=language)
    assert type(Z) is type(as_kind(X))
    assert Z.dtype == as_kind(X).dtype
    np.testing.assert_allclose(rows_of(Z), expected, atol=10 * rtol * np.abs(X).max())


def test_half_precision_comes_back_in_half_precision():
    X, language = three_languages()
    X = X.astype(np.float16)
    Z = LIR().fit_transform(X, language=language)
    assert Z.dtype == np.float16
    exact = LIR().fit_transform(X.astype(np.float64), language=language)
    np.testing.assert_allclose(Z, exact, atol=2.0**-10 * np.abs(exact).max())


def test_the_two_parts_add_up_and_there_is_no_way_back():
    X, language = three_languages()
    lir = LIR().fit(X, language=language)
    neutral, specific = lir.decompose(X, language=language)
    np.testing.assert_allclose(neutral + specific, X, atol=1e-12)
    assert np.linalg.matrix_rank(specific[language == "en"]) == 1
    assert not hasattr(lir, "inverse_transform")


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rank", [1, 2])
def test_a_removal_knows_that_it_has_no_inverse_however_few_directions_it_takes(rank, seed):
    X = np.random.default_rng(seed).normal(size=(50, 300))
    removal = LIR(rank=rank).fit(X).pieces_[0]
    with pytest.raises(ValueError, match=r"no inverse. Keep what it removes: decompose\(X\)"):
        removal.inverse()
    half = removal.blend(0.5)
    there_and_back = half.inverse().on(X)(half.on(X)(X))
    np.testing.assert_allclose(there_and_back, X, atol=1e-12)


def test_a_language_can_be_added_and_the_others_stay_bit_identical():
    X, language = three_languages()
    old = language != "en"
    lir = LIR(rank=2).fit(X[old], language=language[old])
    before = lir.transform(X[old], language=language[old])
    lir.add_language(X[~old], "en")
    np.testing.assert_array_equal(lir.transform(X[old], language=language[old]), before)
    whole = LIR(rank=2).fit(X, language=language).transform(X[~old], language="en")
    np.testing.assert_allclose(lir.transform(X[~old], language="en"), whole, atol=1e-11)
    assert lir.components_.shape == (3, 2, 12)
    assert lir.languages_ == ["de", "sw", "en"]


def test_what_happens_to_a_language_that_fit_did_not_see():
    X, language = three_languages()
    old, new = language != "en", X[language == "en"]
    fitted = lambda unseen: LIR(unseen=unseen).fit(X[old], language=language[old])  # noqa: E731
    with pytest.raises(ValueError, match="'en'.*add_language"):
        fitted("error").transform(new, language="en")
    np.testing.assert_array_equal(fitted("identity").transform(new, language="en"), new)
    own = LIR().fit_transform(new)
    np.testing.assert_allclose(fitted("transductive").transform(new, language="en"), own)
    pooled = LIR().fit(X[old]).transform(new)
    np.testing.assert_allclose(fitted("global").transform(new, language="en"), pooled, atol=1e-11)
