"""Cluster isotropy: each cluster of rows is centred and loses its strongest axes."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs
from sklearn.exceptions import ConvergenceWarning

from posthoc_align import AllButTheTop, ClusterIsotropy
from posthoc_align.datasets import load_parallel_topics
from posthoc_align.metrics import pair_cosine


def blobs(seed=0, n=300, d=8, k=3, spread=1.0):
    return make_blobs(n, d, centers=k, cluster_std=spread, center_box=(-20, 20), random_state=seed)


def test_each_planted_cluster_is_centred_and_loses_its_strongest_axes(as_kind, rows_of, rtol):
    X, planted = blobs()
    isotropy = ClusterIsotropy(n_clusters=3, n_components=2, random_state=0).fit(as_kind(X))
    Z = rows_of(isotropy.transform(as_kind(X)))
    assert sorted(isotropy.cluster_sizes_) == sorted(np.bincount(planted))
    for cluster in range(3):
        own = planted == cluster
        expected = AllButTheTop(n_components=2).fit_transform(X[own])
        np.testing.assert_allclose(Z[own], expected, atol=50 * rtol * np.abs(X).max())


def test_one_cluster_is_all_but_the_top():
    X, _ = blobs()
    one = ClusterIsotropy(n_clusters=1, n_components=2).fit_transform(X)
    np.testing.assert_allclose(one, AllButTheTop(n_components=2).fit_transform(X), atol=1e-10)


@pytest.mark.parametrize("far", [0.0, 1e6])
def test_the_clusters_are_no_worse_than_those_of_scikit_learn(far):
    X, _ = blobs(k=6, spread=4.0)
    isotropy = ClusterIsotropy(n_clusters=6, n_components=0, random_state=0).fit(X + far)
    Z = isotropy.transform(X + far)
    theirs = KMeans(6, n_init=1, random_state=0).fit(X)
    assert np.sum(Z**2) < 1.1 * theirs.inertia_


def test_a_new_row_is_treated_as_the_rows_about_the_nearest_centroid():
    X, _ = blobs()
    isotropy = ClusterIsotropy(n_clusters=3, n_components=1, random_state=0).fit(X)
    new = np.random.default_rng(1).normal(scale=15, size=(50, 8))
    distances = ((new[:, None] - isotropy.cluster_centers_) ** 2).sum(axis=2)
    for row, at in zip(new, distances.argmin(axis=1), strict=True):
        axes = isotropy.components_[at]
        centred = row - isotropy.cluster_centers_[at]
        expected = centred - centred @ axes.T @ axes
        np.testing.assert_allclose(isotropy.transform(row[None])[0], expected, atol=1e-10)


def test_the_same_seed_gives_the_same_clusters_and_shuffled_rows_the_same_partition():
    X, _ = blobs()
    isotropy = ClusterIsotropy(n_clusters=3, n_components=1, random_state=4)
    a, b = isotropy.fit_transform(X), clone(isotropy).fit_transform(X)
    np.testing.assert_array_equal(a, b)
    order = np.random.default_rng(0).permutation(300)
    np.testing.assert_allclose(clone(isotropy).fit_transform(X[order]), a[order], atol=1e-9)


def test_fit_transform_is_fit_and_then_transform_and_languages_play_no_part():
    X, y = blobs()
    isotropy = ClusterIsotropy(n_clusters=3, random_state=0)
    a = isotropy.fit_transform(X, language=y)
    np.testing.assert_array_equal(a, clone(isotropy).fit(X).transform(X))
    neutral, specific = isotropy.decompose(X)
    np.testing.assert_allclose(neutral + specific, X, atol=1e-12)


@pytest.mark.parametrize("door", ["numpy float16", "torch float16", "torch bfloat16"])
def test_half_precision_comes_back_in_half_precision(door, make_kind, rows_of):
    x = make_kind(blobs()[0], door)
    isotropy = ClusterIsotropy(n_clusters=3, random_state=0)
    Z = isotropy.fit_transform(x)
    assert type(Z) is type(x)
    assert Z.dtype == x.dtype
    expected = isotropy.fit_transform(rows_of(x))
    step = 2.0**-8 if "bfloat" in door else 2.0**-11
    np.testing.assert_allclose(rows_of(Z), expected, rtol=step, atol=1e-3)


# --- wrong and degenerate input ---------------------------------------------------------------


def test_a_lone_row_joins_the_nearest_cluster_instead_of_becoming_zero():
    X, _ = blobs()
    X = np.vstack([X, np.full((1, 8), 500.0)])
    isotropy = ClusterIsotropy(n_clusters=4, random_state=0).fit(X)
    assert sorted(isotropy.cluster_sizes_) == [100, 100, 101]
    assert np.linalg.norm(isotropy.transform(X), axis=1).min() > 0


def test_fewer_distinct_rows_than_clusters_give_fewer_clusters():
    X = np.repeat(np.array([[0.0, 0.0], [9.0, 0.0]]), 10, axis=0)
    isotropy = ClusterIsotropy(n_clusters=5, n_components=0, random_state=0).fit(X)
    assert isotropy.cluster_sizes_.tolist() == [10, 10]
    with pytest.warns(UserWarning, match=r"Clusters \[0, 1\] of \[10, 10\] rows vary in fewer"):
        ClusterIsotropy(n_clusters=2, n_components=1, random_state=0).fit(X)


def test_too_few_passes_are_warned_of():
    X, _ = blobs(k=6, spread=8.0)
    with pytest.warns(ConvergenceWarning, match="max_iter=1 passes. Raise max_iter"):
        ClusterIsotropy(n_clusters=6, max_iter=1, tol=0, random_state=0).fit(X)


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"n_clusters": 0}, "n_clusters=0 is out of range: give an int >= 1"),
        ({"n_clusters": 301}, r"n_samples = 300\) for n_clusters=301: pass at least as many"),
        ({"n_components": 9}, r"n_components=9 .* Give an int from 0 to 8"),
        ({"max_iter": 1.5}, "max_iter=1.5 is out of range"),
        ({"tol": -1}, "tol=-1 is out of range: give a number >= 0"),
    ],
)
def test_parameters_out_of_range_are_refused_at_fit(parameters, says):
    with pytest.raises(ValueError, match=says):
        ClusterIsotropy(**parameters).fit(blobs()[0])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_rows_that_are_not_finite_are_named(value):
    X, _ = blobs()
    isotropy = ClusterIsotropy(random_state=0).fit(X)
    X[7, 1] = value
    for call in (isotropy.fit, isotropy.transform):
        with pytest.raises(ValueError, match="row 7.*Remove or repair"):
            call(X)


def test_random_pairs_of_the_bundled_corpus_are_less_alike_afterwards():
    corpus = load_parallel_topics()
    X, test = corpus.embeddings.astype(np.float64), corpus.split == "test"
    Z = ClusterIsotropy(random_state=0).fit(X[~test]).transform(X)
    of = lambda rows, name: rows[test & (corpus.language == name)]  # noqa: E731
    before, after = (pair_cosine(of(rows, "de"), of(rows, "en")).random for rows in (X, Z))
    assert abs(after) < 0.5 * before
