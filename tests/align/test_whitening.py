"""LanguageWhitening: every language gets one mean and one covariance."""

import warnings
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from posthoc_align import LanguageScaling, LanguageWhitening
from posthoc_align.datasets import load_parallel_topics
from posthoc_align.moments import LanguageMoments

NAMES = np.array(["de", "en", "sw"])


def three_languages(seed=0, n=60, d=8, diagonal=False):
    """Rows of three means and covariances, in mixed order; variances lie between 0.1 and 10."""
    rng = np.random.default_rng(seed)
    X, language = np.empty((3 * n, d)), rng.permutation(np.repeat(NAMES, n))
    for name in NAMES:
        turn = np.eye(d) if diagonal else np.linalg.qr(rng.normal(size=(d, d)))[0]
        spread = np.exp(rng.uniform(np.log(0.3), np.log(3), size=d))
        X[language == name] = rng.normal(size=(n, d)) * spread @ turn + 10 * rng.normal(size=d)
    return X, language


def covariances(Z, language):
    return np.stack([np.cov(Z[language == name].T) for name in np.unique(language)])


def root(matrix):
    values, vectors = np.linalg.eigh(matrix)
    return vectors * np.sqrt(values) @ vectors.T


# --- the law ----------------------------------------------------------------------------------


def test_every_language_ends_at_the_origin_with_the_identity_for_covariance(as_kind, rows_of, rtol):
    X, language = three_languages()
    whitening = LanguageWhitening(shrinkage=0.0)
    Z = rows_of(whitening.fit_transform(as_kind(X), language=language))
    assert np.abs(covariances(X, language) - np.eye(8)).max() > 1
    # Covariances are known to the rounding of rows, times their condition of about a hundred.
    np.testing.assert_allclose(
        covariances(Z, language), np.tile(np.eye(8), (3, 1, 1)), atol=100 * rtol
    )
    for name in NAMES:
        np.testing.assert_allclose(Z[language == name].mean(axis=0), 0, atol=100 * rtol)


@pytest.mark.parametrize("target", ["pooled", "en"])
def test_or_with_the_mean_and_covariance_of_the_target(target):
    X, language = three_languages()
    whitening = LanguageWhitening(target=target, shrinkage=0.0).fit(X, language=language)
    Z = whitening.transform(X, language=language)
    if target == "en":
        mean, goal = X[language == "en"].mean(axis=0), np.cov(X[language == "en"].T)
    else:  # equally many rows a language: the mean of their covariances
        mean, goal = X.mean(axis=0), covariances(X, language).mean(axis=0)
    np.testing.assert_allclose(whitening.target_covariance_, goal, atol=1e-12)
    for name, found in zip(NAMES, covariances(Z, language), strict=True):
        np.testing.assert_allclose(found, goal, atol=1e-11)
        np.testing.assert_allclose(Z[language == name].mean(axis=0), mean, atol=1e-11)


@pytest.mark.parametrize("shrinkage", [0.0, 0.3, "auto"])
def test_the_target_language_itself_stays_bit_for_bit(shrinkage, as_kind, rows_of):
    X, language = three_languages()
    whitening = LanguageWhitening(target="en", shrinkage=shrinkage)
    Z = whitening.fit_transform(as_kind(X), language=language)
    en, x = language == "en", rows_of(as_kind(X))
    np.testing.assert_array_equal(rows_of(Z)[en], x[en])
    assert np.abs(rows_of(Z)[~en] - x[~en]).max() > 1


def test_the_matrix_is_the_symmetric_inverse_root():
    X, language = three_languages()
    whitening = LanguageWhitening(shrinkage=0.0).fit(X, language=language)
    for piece, C in zip(whitening.pieces_, covariances(X, language), strict=True):
        np.testing.assert_allclose(piece.matrix, piece.matrix.T, atol=1e-14)
        np.testing.assert_allclose(piece.matrix @ root(C), np.eye(8), atol=1e-12)


def test_no_other_whitening_stays_closer_to_the_rows():
    X, language = three_languages()
    X = X[language == "en"] - X[language == "en"].mean(axis=0)
    Z = LanguageWhitening(shrinkage=0.0).fit_transform(X)
    rng = np.random.default_rng(1)
    for _ in range(100):
        other = Z @ np.linalg.qr(rng.normal(size=(8, 8)))[0]
        assert np.linalg.norm(Z - X) < np.linalg.norm(other - X)


def test_the_whitening_of_sentence_embeddings_is_the_same_up_to_a_rotation():
    X, _ = three_languages()
    ours = LanguageWhitening(shrinkage=0.0).fit_transform(X)
    theirs = PCA(whiten=True).fit_transform(X)
    np.testing.assert_allclose(ours @ ours.T, theirs @ theirs.T, atol=1e-10)
    assert np.abs(ours - theirs).max() > 0.1


def test_where_dimensions_are_uncorrelated_it_is_the_z_score():
    X, language = three_languages(diagonal=True)
    for name in NAMES:  # to the last digit uncorrelated
        own = X[language == name] - X[language == name].mean(axis=0)
        X[language == name] = np.linalg.qr(own)[0] * np.arange(1, 9) + 7
    Z = LanguageWhitening(shrinkage=0.0).fit_transform(X, language=language)
    scaled = LanguageScaling().fit_transform(X, language=language)
    np.testing.assert_allclose(Z, scaled * np.sqrt(59 / 60), atol=1e-11)  # n - 1 here, n there


def test_a_rotated_space_gives_rotated_rows():
    X, language = three_languages()
    Q = np.linalg.qr(np.random.default_rng(2).normal(size=(8, 8)))[0]
    Z = LanguageWhitening(target="pooled").fit_transform(X, language=language)
    ZQ = LanguageWhitening(target="pooled").fit_transform(X @ Q, language=language)
    np.testing.assert_allclose(ZQ, Z @ Q, atol=1e-10)


# --- shrinkage --------------------------------------------------------------------------------


def test_shrinkage_mixes_in_the_identity_of_the_same_trace():
    X, language = three_languages()
    whitening = LanguageWhitening(shrinkage=0.25).fit(X, language=language)
    for piece, C in zip(whitening.pieces_, covariances(X, language), strict=True):
        shrunk = 0.75 * C + 0.25 * np.trace(C) / 8 * np.eye(8)
        np.testing.assert_allclose(piece.matrix @ root(shrunk), np.eye(8), atol=1e-12)
    np.testing.assert_array_equal(whitening.shrinkage_, 0.25)


def test_full_shrinkage_only_centres_and_scales_alike_in_all_directions():
    X, language = three_languages()
    Z = LanguageWhitening(shrinkage=1.0).fit_transform(X, language=language)
    for name, C in zip(NAMES, covariances(X, language), strict=True):
        own = X[language == name]
        expected = (own - own.mean(axis=0)) / np.sqrt(np.trace(C) / 8)
        np.testing.assert_allclose(Z[language == name], expected, atol=1e-11)


def test_the_automatic_shrinkage_falls_with_the_rows_and_is_there_for_each_language():
    X, language = three_languages(n=2000)
    few = np.concatenate([np.flatnonzero(language == "de"), np.flatnonzero(language == "en")[:12]])
    whitening = LanguageWhitening().fit(X[few], language=language[few])
    assert whitening.shrinkage_[0] < 0.01 < 0.1 < whitening.shrinkage_[1] <= 1


def test_the_automatic_shrinkage_comes_near_the_covariance_that_the_rows_were_drawn_from():
    rng = np.random.default_rng(3)
    spread = np.exp(rng.uniform(-1, 1, size=40))
    off = {0.0: [], "auto": [], 1.0: []}
    for _ in range(10):
        X = rng.normal(size=(60, 40)) * spread
        for shrinkage, errors in off.items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                matrix = LanguageWhitening(shrinkage=shrinkage).fit(X).pieces_[0].matrix
            # The inverse covariance against that of the population.
            errors.append(np.linalg.norm(matrix @ matrix - np.diag(spread**-2.0)))
    assert np.mean(off["auto"]) < 0.9 * min(np.mean(off[0.0]), np.mean(off[1.0]))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_fewer_rows_than_dimensions_are_whitened_where_shrinkage_helps(dtype):
    X = np.random.default_rng(4).normal(size=(6, 10)).astype(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whitening = LanguageWhitening().fit(X)
    back = whitening.inverse_transform(whitening.transform(X))
    np.testing.assert_allclose(back, X, atol=1e-10 if dtype == "float64" else 1e-4)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_without_shrinkage_directions_without_variance_are_removed_with_a_warning(dtype):
    X, language = three_languages()
    en = language == "en"
    X[en, 3:5] = X[en, 1:3] - X[en, 5:7]  # collinear
    with pytest.warns(UserWarning, match=r"'en' varies in 6 of 8 directions \(60 rows\).*'auto'"):
        whitening = LanguageWhitening(shrinkage=0.0).fit(X.astype(dtype), language=language)
    Z = whitening.transform(X[en], language="en")
    values = np.linalg.eigvalsh(np.cov(Z.T))
    np.testing.assert_allclose(values, [0, 0, 1, 1, 1, 1, 1, 1], atol=1e-2)
    with pytest.raises(ValueError, match="no inverse"):
        whitening.inverse_transform(Z, language="en")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("shrinkage", [0.0, "auto"])
def test_rows_that_are_all_the_same_end_at_the_mean_with_a_warning(dtype, shrinkage):
    X, language = three_languages()
    X[language == "en"] = 0.1 + np.arange(8) / 7
    with pytest.warns(UserWarning, match="'en' varies in 0 of 8 directions"):
        whitening = LanguageWhitening(shrinkage=shrinkage).fit(X.astype(dtype), language=language)
    np.testing.assert_allclose(whitening.transform(X[language == "en"], language="en"), 0)


# --- parameters -------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["xx", None, 3, ["en"], "barycentre"])
def test_a_target_that_is_no_language_names_the_choices(target):
    X, language = three_languages()
    says = r"is neither 'identity', 'pooled' nor one of .* \['de', 'en', 'sw'\]: choose"
    with pytest.raises(ValueError, match=says):
        LanguageWhitening(target=target).fit(X, language=language)


@pytest.mark.parametrize("shrinkage", [-0.1, 1.5, "none", None, np.nan, True])
def test_a_shrinkage_outside_its_range_names_the_range(shrinkage):
    with pytest.raises(ValueError, match="shrinkage=.* give a number from 0 to 1, or 'auto'"):
        LanguageWhitening(shrinkage=shrinkage).fit(three_languages()[0])


def test_moments_without_a_scatter_are_refused():
    X, language = three_languages()
    with pytest.raises(ValueError, match=r"no scatter: take .* second='full'"):
        LanguageWhitening().fit_moments(LanguageMoments.of(X, language, second="diagonal"))


# --- ways to fit and to transform -------------------------------------------------------------


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), target=st.sampled_from(["identity", "pooled", "en"]))
def test_a_stream_of_batches_gives_the_same_rows(seed, target):
    rng = np.random.default_rng(seed)
    X, language = three_languages(seed)
    edges = [0, *np.unique(rng.integers(1, 179, size=4)), 180]
    stream = LanguageWhitening(target=target)
    for a, b in pairwise(edges):
        stream.partial_fit(X[a:b], language=language[a:b])
    whole = LanguageWhitening(target=target).fit_transform(X, language=language)
    np.testing.assert_allclose(
        stream.transform(X, language=language), whole, atol=1e-10 * np.abs(X).max()
    )


@pytest.mark.parametrize("target", ["identity", "pooled", "en"])
def test_the_way_back(target, as_kind, rows_of, rtol):
    X, language = three_languages()
    whitening = LanguageWhitening(target=target).fit(as_kind(X), language=language)
    Z = whitening.transform(as_kind(X), language=language)
    assert type(Z) is type(as_kind(X))
    assert Z.dtype == as_kind(X).dtype
    back = rows_of(whitening.inverse_transform(Z, language=language))
    np.testing.assert_allclose(back, X, atol=10 * rtol * np.abs(X).max())


def test_half_precision_comes_back_in_half_precision():
    X, language = three_languages()
    X = X.astype(np.float16)
    Z = LanguageWhitening().fit_transform(X, language=language)
    assert Z.dtype == np.float16
    exact = LanguageWhitening().fit_transform(X.astype(np.float64), language=language)
    np.testing.assert_allclose(Z, exact, atol=2.0**-10 * np.abs(exact).max())


def test_the_order_of_rows_and_the_names_of_languages_do_not_matter():
    X, language = three_languages()
    order = np.random.default_rng(5).permutation(180)
    numbers = 9 - np.searchsorted(NAMES, language)
    a = LanguageWhitening(target="en").fit_transform(X, language=language)
    b = LanguageWhitening(target=8).fit_transform(X[order], language=numbers[order])
    np.testing.assert_allclose(b, a[order], atol=1e-10)


@pytest.mark.parametrize("target", ["identity", "pooled", "en"])
def test_a_language_can_be_added_and_the_others_stay_bit_identical(target):
    X, language = three_languages()
    old = language != "sw"
    whitening = LanguageWhitening(target=target).fit(X[old], language=language[old])
    before, goal = whitening.transform(X[old], language=language[old]), whitening.target_covariance_
    whitening.add_language(X[~old], "sw")
    np.testing.assert_array_equal(whitening.transform(X[old], language=language[old]), before)
    np.testing.assert_array_equal(whitening.target_covariance_, goal)
    assert whitening.shrinkage_.shape == (3,)
    Z = whitening.transform(X[~old], language="sw")
    np.testing.assert_allclose(Z.mean(axis=0), whitening.target_mean_, atol=1e-11)


def test_what_happens_to_a_language_that_fit_did_not_see():
    X, language = three_languages()
    old, new = language != "sw", X[language == "sw"]
    fitted = lambda unseen: LanguageWhitening(unseen=unseen).fit(  # noqa: E731
        X[old], language=language[old]
    )
    with pytest.raises(ValueError, match="'sw'.*add_language"):
        fitted("error").transform(new, language="sw")
    np.testing.assert_array_equal(fitted("identity").transform(new, language="sw"), new)
    own = LanguageWhitening().fit_transform(new)
    np.testing.assert_allclose(fitted("transductive").transform(new, language="sw"), own)
    pooled = LanguageWhitening().fit(X[old]).transform(new)
    np.testing.assert_allclose(fitted("global").transform(new, language="sw"), pooled, atol=1e-10)


def test_embeddings_of_a_layer_norm_which_lie_in_a_hyperplane_are_whitened_by_default():
    corpus = load_parallel_topics()
    X = corpus.embeddings[corpus.language == "en"].astype(np.float64)
    with pytest.warns(UserWarning, match="removed"):
        LanguageWhitening(shrinkage=0.0).fit(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whitening = LanguageWhitening().fit(X)
    back = whitening.inverse_transform(whitening.transform(X))
    np.testing.assert_allclose(back, X, atol=1e-10)
