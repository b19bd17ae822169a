"""All-but-the-top: the mean and the strongest axes go, the rest stays."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from posthoc_align import AllButTheTop
from posthoc_align.datasets import load_parallel_topics
from posthoc_align.metrics import weak_alignment


def stretched(seed=0, n=200, d=12):
    """Rows about a far mean whose variance falls from axis to axis."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(d, d)))[0]
    return rng.normal(size=(n, d)) * 10 * 0.6 ** np.arange(d) @ turn + 5


def test_the_result_has_mean_zero_and_nothing_along_the_removed_axes(as_kind, rows_of, rtol):
    X = stretched()
    top = AllButTheTop(n_components=3).fit(as_kind(X))
    Z = rows_of(top.transform(as_kind(X)))
    np.testing.assert_allclose(Z.mean(axis=0), 0, atol=10 * rtol * np.abs(X).max())
    np.testing.assert_allclose(Z @ top.components_.T, 0, atol=10 * rtol * np.abs(X).max())


@pytest.mark.parametrize("n_components", [1, 3, 12])
def test_the_axes_and_variances_are_those_of_pca(n_components):
    X = stretched()
    top, pca = AllButTheTop(n_components=n_components).fit(X), PCA(n_components).fit(X)
    np.testing.assert_allclose(
        np.abs(np.sum(top.components_ * pca.components_, axis=1)), 1, atol=1e-10
    )
    np.testing.assert_allclose(
        top.explained_variance_[:n_components] * 200 / 199, pca.explained_variance_, rtol=1e-10
    )
    rest = X - pca.inverse_transform(pca.transform(X))
    np.testing.assert_allclose(top.transform(X), rest, atol=1e-10)


def test_the_form_in_the_paper_differs_by_a_constant():
    X, new = stretched(), stretched(seed=1)
    top = AllButTheTop(n_components=2).fit(X)
    paper = new - X.mean(axis=0) - new @ top.components_.T @ top.components_
    constant = X.mean(axis=0) @ top.components_.T @ top.components_
    np.testing.assert_allclose(top.transform(new) - paper, np.tile(constant, (200, 1)), atol=1e-11)
    assert np.abs(constant).max() > 0.1


@pytest.mark.parametrize(("width", "removed"), [(12, 1), (199, 1), (250, 2)])
def test_the_default_is_a_hundredth_of_the_dimensions_and_at_least_one(width, removed):
    X = np.random.default_rng(0).normal(size=(20, width))
    assert AllButTheTop().fit(X).n_components_ == removed


def test_no_components_leaves_centring():
    X = stretched()
    np.testing.assert_allclose(
        AllButTheTop(n_components=0).fit_transform(X), X - X.mean(axis=0), atol=1e-12
    )


def test_languages_are_pooled_and_their_labels_change_nothing():
    X, language = stretched(), np.repeat(["a", "b"], [50, 150])
    a = AllButTheTop(n_components=3).fit(X)
    b = AllButTheTop(n_components=3).fit(X, language=language)
    np.testing.assert_allclose(a.transform(X), b.transform(X, language="new"), atol=1e-11)
    assert b.languages_ == ["a", "b"]


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_stream_of_batches_gives_the_same_map(seed):
    rng = np.random.default_rng(seed)
    X, language = stretched(seed % 5), rng.choice(["a", "b", "c"], 200)
    edges = [0, *np.unique(rng.integers(1, 199, size=4)), 200]
    stream = AllButTheTop(n_components=2)
    for a, b in pairwise(edges):
        stream.partial_fit(X[a:b], language=language[a:b])
    whole = AllButTheTop(n_components=2).fit(X, language=language)
    np.testing.assert_allclose(stream.transform(X), whole.transform(X), atol=1e-9)
    np.testing.assert_allclose(stream.explained_variance_, whole.explained_variance_, atol=1e-10)


def test_kinds_agree(as_kind, rows_of, rtol):
    X = stretched()
    expected = AllButTheTop(n_components=2).fit_transform(X)
    Z = rows_of(AllButTheTop(n_components=2).fit_transform(as_kind(X)))
    np.testing.assert_allclose(Z, expected, atol=20 * rtol * np.abs(X).max())


def test_float16_comes_back_as_float16():
    x = stretched().astype(np.float16)
    Z = AllButTheTop().fit_transform(x)
    assert Z.dtype == np.float16
    expected = AllButTheTop().fit_transform(x.astype(float))
    np.testing.assert_allclose(Z, expected, rtol=2.0**-11, atol=1e-3)


def test_centring_alone_can_be_undone_and_a_removal_cannot():
    X = stretched()
    centred = AllButTheTop(n_components=0).fit(X)
    np.testing.assert_allclose(centred.inverse_transform(centred.transform(X)), X, atol=1e-12)
    top = AllButTheTop(n_components=1).fit(X)
    assert not hasattr(top, "inverse_transform")
    neutral, specific = top.decompose(X)
    np.testing.assert_allclose(neutral + specific, X, atol=1e-12)


def test_half_of_the_map_is_half_way_and_can_be_undone():
    X = stretched()
    top = AllButTheTop(n_components=2).fit(X)
    half = top.piece_.blend(0.5)
    Z = half.on(X)(X)
    np.testing.assert_allclose(Z, (X + top.transform(X)) / 2, atol=1e-11)
    np.testing.assert_allclose(half.inverse().on(Z)(Z), X, atol=1e-10)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_rows_that_span_less_than_is_to_be_removed_are_warned_of(dtype):
    X = stretched()[:3].astype(dtype)
    with pytest.warns(UserWarning, match="removes 2 components instead of 5: the 3 rows"):
        top = AllButTheTop(n_components=5).fit(X)
    assert top.n_components_ == len(top.components_) == 2
    with pytest.warns(UserWarning, match="removes 0 components instead of 1"):
        AllButTheTop().fit(np.full((9, 4), 3.7, dtype=dtype))


@pytest.mark.parametrize("n_components", [13, -1, 1.5, True, "2"])
def test_a_number_out_of_range_is_refused(n_components):
    with pytest.raises(ValueError, match=r"n_components=.*12 dimensions. Give an int from 0 to 12"):
        AllButTheTop(n_components=n_components).fit(stretched())


def test_a_single_row_has_no_components():
    with pytest.raises(ValueError, match="only 1 row.*at least 2"):
        AllButTheTop().fit(np.ones((1, 3)))


def test_retrieval_improves_on_the_bundled_corpus():
    corpus = load_parallel_topics()
    X = corpus.embeddings.astype(np.float64)
    Z = AllButTheTop().fit(X[corpus.split != "test"]).transform(X)
    better = 0
    pivot = (corpus.language == "en") & (corpus.split == "test")
    others = [name for name in np.unique(corpus.language) if name != "en"]
    for name in others:
        rows = (corpus.language == name) & (corpus.split == "test")
        assert np.array_equal(corpus.pair_id[rows], corpus.pair_id[pivot])
        better += weak_alignment(Z[rows], Z[pivot]) > weak_alignment(X[rows], X[pivot])
    assert better > len(others) / 2
