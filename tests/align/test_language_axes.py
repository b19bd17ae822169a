"""Language axes: the directions that discriminate languages are found, kept or removed."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from posthoc_align import LSAR, LanguageAxes
from posthoc_align.datasets import load_parallel_topics

NAMES = np.array(["de", "en", "fr", "sw"])
COUNTS = np.array([30, 50, 70, 40])


def four_languages(seed=0, d=10):
    rng = np.random.default_rng(seed)
    language = rng.permutation(np.repeat(NAMES, COUNTS))
    means = 2 * rng.normal(size=(4, d)) + 3
    noise = rng.normal(size=(190, d)) @ rng.normal(size=(d, d))
    return noise + means[np.searchsorted(NAMES, language)], language


def test_the_axes_are_those_of_linear_discriminant_analysis():
    X, language = four_languages()
    axes = LanguageAxes(shrinkage=0).fit(X, language=language)
    lda = LinearDiscriminantAnalysis(solver="eigen").fit(X, language)
    theirs = np.linalg.qr(lda.scalings_[:, :3])[0].T
    np.testing.assert_allclose(np.abs(np.sum(theirs * axes.axes_, axis=1)), 1, atol=1e-9)
    ratio = axes.discriminability_ / axes.discriminability_.sum()
    np.testing.assert_allclose(ratio, lda.explained_variance_ratio_, atol=1e-10)


def test_the_first_discriminability_is_the_largest_ratio_of_any_direction():
    X, language = four_languages()
    axes = LanguageAxes(shrinkage=0).fit(X, language=language)

    def ratio(v):
        x = X @ v
        own = {name: x[language == name] for name in NAMES}
        within = sum(np.sum((o - o.mean()) ** 2) for o in own.values())
        return sum(len(o) * (o.mean() - x.mean()) ** 2 for o in own.values()) / within

    assert ratio(axes.axes_[0]) == pytest.approx(axes.discriminability_[0], rel=1e-10)
    others = np.random.default_rng(1).normal(size=(200, 10))
    assert max(ratio(v) for v in others) < axes.discriminability_[0]
    assert np.all(np.diff(axes.discriminability_) <= 0)


def test_a_planted_axis_is_found():
    rng = np.random.default_rng(2)
    planted = np.linalg.qr(rng.normal(size=(10, 1)))[0][:, 0]
    language = np.repeat(["a", "b"], 500)
    X = rng.normal(size=(1000, 10)) + np.where(language == "a", 0, 8)[:, None] * planted
    axes = LanguageAxes().fit(X, language=language)
    assert abs(axes.axes_[0] @ planted) > 0.99
    assert axes.discriminability_[0] == pytest.approx(16, rel=0.2)  # (8 / 2)^2 over 1


@pytest.mark.parametrize("n_axes", [1, 2, None])
def test_the_neutral_part_has_nothing_along_the_axes_and_the_sensitive_part_nothing_else(
    n_axes, as_kind, rows_of, rtol
):
    X, language = four_languages()
    neutral, sensitive = (
        LanguageAxes(n_axes=n_axes, keep=keep).fit(as_kind(X), language=language)
        for keep in ("neutral", "sensitive")
    )
    assert len(neutral.axes_) == neutral.n_axes_ == (n_axes or 3)
    np.testing.assert_allclose(neutral.axes_ @ neutral.axes_.T, np.eye(neutral.n_axes_), atol=1e-12)
    Z, S = rows_of(neutral.transform(as_kind(X))), rows_of(sensitive.transform(as_kind(X)))
    tight = 20 * rtol * np.abs(X).max()
    np.testing.assert_allclose((Z - neutral.mean_) @ neutral.axes_.T, 0, atol=tight)
    assert np.linalg.matrix_rank(S - S.mean(axis=0), tol=1e-2) == neutral.n_axes_
    np.testing.assert_allclose(Z + S - neutral.mean_, X, atol=tight)
    np.testing.assert_allclose(Z.mean(axis=0), X.mean(axis=0), atol=tight)


def test_at_full_shrinkage_the_axes_are_those_of_the_means():
    X, language = four_languages()
    axes = LanguageAxes(shrinkage=1).fit(X, language=language)
    lsar = LSAR().fit(X, language=language)
    np.testing.assert_allclose(
        axes.axes_.T @ axes.axes_, lsar.components_.T @ lsar.components_, atol=1e-10
    )


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_stream_of_batches_gives_the_same_axes(seed):
    rng = np.random.default_rng(seed)
    X, language = four_languages(seed % 5)
    edges = [0, *np.unique(rng.integers(1, 189, size=4)), 190]
    stream = LanguageAxes()
    for a, b in pairwise(edges):
        stream.partial_fit(X[a:b], language=language[a:b])
    whole = LanguageAxes().fit(X, language=language)
    np.testing.assert_allclose(stream.transform(X), whole.transform(X), atol=1e-9)
    np.testing.assert_allclose(stream.discriminability_, whole.discriminability_, rtol=1e-9)


def test_transform_needs_no_language():
    X, language = four_languages()
    axes = LanguageAxes().fit(X, language=language)
    np.testing.assert_array_equal(axes.transform(X), axes.transform(X, language="new"))
    neutral, specific = axes.decompose(X)
    np.testing.assert_allclose(neutral + specific, X, atol=1e-12)


def test_one_language_has_no_axes():
    X, _ = four_languages()
    np.testing.assert_array_equal(LanguageAxes().fit_transform(X), X)
    S = LanguageAxes(keep="sensitive").fit_transform(X)
    np.testing.assert_allclose(S, np.tile(X.mean(axis=0), (190, 1)), atol=1e-12)


def test_languages_of_the_same_rows_lower_the_number_of_axes_with_a_warning():
    X, language = four_languages()
    X, language = np.vstack([X, X[language == "en"]]), np.append(language, ["en2"] * 50)
    with pytest.warns(UserWarning, match="LanguageAxes removes 3 directions instead of 4"):
        assert LanguageAxes().fit(X, language=language).n_axes_ == 3


def test_constant_columns_and_few_rows_give_finite_axes():
    X, language = four_languages()
    X = np.hstack([X, np.full((190, 1), 7.0)])
    for shrinkage in (0, "auto"):
        few = LanguageAxes(shrinkage=shrinkage).fit(X[:8], language=np.repeat(["a", "b"], 4))
        assert np.all(np.isfinite(few.transform(X)))
    np.testing.assert_allclose(LanguageAxes().fit_transform(X, language=language)[:, -1], 7)


def test_float16_comes_back_as_float16():
    X, language = four_languages()
    Z = LanguageAxes().fit_transform(X.astype(np.float16), language=language)
    assert Z.dtype == np.float16
    expected = LanguageAxes().fit_transform(X, language=language)
    np.testing.assert_allclose(Z, expected, atol=0.05)


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"n_axes": 4}, r"n_axes=4 .*4 languages .* L - 1 = 3 axes. Give an int from 0 to 3"),
        ({"n_axes": True}, "n_axes=True is out of range"),
        ({"keep": "all"}, "keep='all' is not known: choose one of"),
        ({"shrinkage": -1}, "shrinkage=-1 is out of range: give a number from 0 to 1"),
    ],
)
def test_parameters_out_of_range_are_refused_at_fit(parameters, says):
    X, language = four_languages()
    with pytest.raises(ValueError, match=says):
        LanguageAxes(**parameters).fit(X, language=language)


def test_moments_without_scatter_say_what_is_missing():
    X, language = four_languages()
    with pytest.raises(ValueError, match="hold no scatter within languages"):
        LanguageAxes().fit_moments(LSAR().fit(X, language=language).moments_)


def test_held_out_languages_lie_apart_along_the_axes_of_the_bundled_corpus():
    corpus = load_parallel_topics()
    X, test = corpus.embeddings.astype(np.float64), corpus.split == "test"
    axes = LanguageAxes(n_axes=1).fit(X[~test], language=corpus.language[~test])

    def spread(v):
        along = X[test] @ v
        means = [along[corpus.language[test] == name].mean() for name in axes.languages_]
        return np.var(means) / np.var(along)

    random = np.random.default_rng(0).normal(size=(50, X.shape[1]))
    assert spread(axes.axes_[0]) > 3 * np.median([spread(v) for v in random])
