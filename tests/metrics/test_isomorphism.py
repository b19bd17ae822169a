"""Relational similarity, eigenvector similarity and the Gromov-Hausdorff proxy."""

import bisect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching, minimum_spanning_tree

from posthoc_align.metrics import (
    _forest,
    eigenvector_similarity,
    gromov_hausdorff,
    relational_similarity,
    weak_alignment,
)

MEASURES = [relational_similarity, eigenvector_similarity, gromov_hausdorff]


def rotation(d, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]


def shape(X):
    X = X / np.linalg.norm(X, axis=1, keepdims=True)
    X = X - X.mean(axis=0)
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def off_diagonal(S):
    return S[~np.eye(len(S), dtype=bool)]


def spectrum(X):
    """Eigenvalues of the Laplacian of the graph of nearest neighbours, from the whole matrix."""
    S = shape(X) @ shape(X).T
    np.fill_diagonal(S, -np.inf)
    A = np.zeros_like(S)
    A[np.arange(len(S)), S.argmax(axis=1)] = 1
    A = np.maximum(A, A.T)
    return np.linalg.eigvalsh(np.diag(A.sum(axis=1)) - A)[::-1]


def deaths(X):
    distances = np.linalg.norm(shape(X)[:, None] - shape(X)[None], axis=2)
    return np.sort(minimum_spanning_tree(distances).data)[::-1]


def matched_within(a, b, limit):
    """Whether all points find a partner, or the diagonal, at a cost of at most the limit."""
    n, m = len(a), len(b)
    allowed = np.zeros((n + m, n + m), dtype=bool)
    allowed[:n, :m] = np.abs(a[:, None] - b[None]) <= limit
    allowed[:n, m:] = np.eye(n, dtype=bool) & (a / 2 <= limit)[:, None]
    allowed[n:, :m] = np.eye(m, dtype=bool) & (b / 2 <= limit)[None]
    allowed[n:, m:] = True
    return bool(np.all(maximum_bipartite_matching(csr_array(allowed)) >= 0))


def by_matching(a, b):
    """The smallest cost within which all points can be matched, by bisection."""
    costs = np.concatenate([np.abs(a[:, None] - b[None]).ravel(), a / 2, b / 2, [0.0]])
    costs = np.unique(costs)
    at = bisect.bisect_left(range(len(costs)), True, key=lambda i: matched_within(a, b, costs[i]))
    return costs[at]


def test_relational_similarity_is_the_correlation_of_all_cosines(kind, translations):
    X, Y = kind(translations[0]), kind(translations[1][:, :9])
    x, y = (shape(kind.plain(Z)) for Z in (X, Y))
    expected = np.corrcoef(off_diagonal(x @ x.T), off_diagonal(y @ y.T))[0, 1]
    # Differences of sums of cosines: a few digits fewer than a cosine has.
    assert relational_similarity(X, Y) == pytest.approx(expected, abs=50 * kind.tolerance)


def test_eigenvector_similarity_is_that_of_the_whole_graphs(kind, translations):
    X, Y = kind(translations[0]), kind(translations[1][:50, :9])
    x, y = spectrum(kind.plain(X)), spectrum(kind.plain(Y))
    k = min(1 + np.argmax(np.cumsum(v) >= 0.9 * v.sum() - 1e-9) for v in (x, y))
    assert k < 50
    expected = np.sum((x[:k] - y[:k]) ** 2)
    assert eigenvector_similarity(X, Y) == pytest.approx(expected, abs=1e-9)


def test_eigenvalues_are_the_largest_not_the_smallest():
    """The smallest are zeros, one a component, and tell nothing of the rest."""
    star = np.eye(8)
    star[1:, 0] = 1.0  # every other row is nearest to the first: 8, 1, 1, 1, 1, 1, 1, 0
    chain = np.eye(8) + np.eye(8, k=1) * np.linspace(1, 0.3, 8)  # a path: at most 4
    x, y = spectrum(star), spectrum(chain)
    assert x[-1] == pytest.approx(y[-1], abs=1e-12)
    assert eigenvector_similarity(star, chain) > (x[0] - y[0]) ** 2 - 1e-9 > 1


def test_the_proxy_is_the_bottleneck_of_the_spanning_trees(kind, translations):
    X, Y = kind(translations[0]), kind(translations[1][:40, :9])
    expected = by_matching(deaths(kind.plain(X)), deaths(kind.plain(Y)))
    assert gromov_hausdorff(X, Y) == pytest.approx(expected, abs=10 * kind.tolerance)


def test_a_gap_in_one_of_two_rings_is_the_difference():
    at = np.linspace(0, 2 * np.pi, 41)[:-1]
    ring = np.stack([np.cos(at), np.sin(at)], axis=1)
    split = ring[np.r_[0:18, 20:38]]  # two gaps of three steps: a tree crosses one of them
    step, gap = 2 * np.sin(np.pi / 40), 2 * np.sin(3 * np.pi / 40)
    # The long edge meets a short one, at their difference, or no edge, at half its length.
    expected = min(gap - step, gap / 2)
    assert gromov_hausdorff(ring, split) == pytest.approx(expected, abs=1e-9)


@settings(deadline=None, max_examples=60)
@given(
    a=st.lists(st.integers(0, 20), min_size=0, max_size=6),
    b=st.lists(st.integers(0, 20), min_size=0, max_size=6),
)
def test_the_bottleneck_is_that_of_the_best_matching(a, b):
    a, b = (np.sort(np.array(side, dtype=float))[::-1] for side in (a, b))
    assert _forest.bottleneck(a, b) == by_matching(a, b)


@pytest.mark.parametrize("block", [2**24, 8 * 9])
def test_the_tree_is_shortest_however_it_is_tiled(monkeypatch, translations, block):
    monkeypatch.setattr(_forest, "PRODUCT_BLOCK", block)
    X = shape(translations[0])
    np.testing.assert_allclose(_forest.tree_lengths(X), deaths(translations[0]), atol=1e-12)


def test_a_tree_over_copies_has_edges_of_no_length(kind, translations):
    X = kind(shape(np.repeat(translations[0][:20], 3, axis=0)))
    lengths = _forest.tree_lengths(X)
    assert len(lengths) == 59
    assert np.all(lengths[19:] == 0)
    assert np.all(lengths[:19] > 0)


@pytest.mark.parametrize("measure", MEASURES)
def test_no_rotation_of_a_side_and_no_length_of_a_row_is_seen(measure, translations):
    X, Y = translations
    turned = np.linspace(1, 9, 60)[:, None] * X @ rotation(16)
    assert measure(turned, Y) == pytest.approx(measure(X, Y), abs=1e-9)
    perfect = 1 if measure is relational_similarity else 0
    assert measure(turned, X) == pytest.approx(perfect, abs=1e-9)
    assert abs(measure(X, Y) - perfect) > 0.01
    assert weak_alignment(X, turned) < 0.2  # as far from aligned as can be


@pytest.mark.parametrize("measure", [eigenvector_similarity, gromov_hausdorff])
def test_which_row_is_which_is_not_seen_without_pairs(measure, translations):
    X, Y = translations
    assert measure(X[::-1], Y) == pytest.approx(measure(X, Y), abs=1e-9)


def test_relational_similarity_asks_for_the_right_partners(translations):
    X, Y = translations
    assert relational_similarity(X, Y) > 0.2
    assert abs(relational_similarity(X[::-1], Y)) < 0.1


def test_relational_similarity_can_be_the_opposite():
    X = np.array([[1.0, 0.0], [0.9, 0.1], [-1.0, 0.3], [-0.9, -0.5]])
    assert relational_similarity(X, X[[0, 2, 1, 3]]) < 0


class TestErrors:
    @pytest.mark.parametrize("measure", MEASURES)
    def test_too_few_rows(self, measure):
        with pytest.raises(ValueError, match=r"2 rows.*3"):
            measure(np.eye(2), np.eye(2))

    @pytest.mark.parametrize("measure", MEASURES)
    def test_rows_that_are_not_finite(self, measure, kind):
        X, Y = np.eye(5), np.eye(5)
        Y[3, 1] = np.nan
        with pytest.raises(ValueError, match="Input Y contains NaN, first in row 3"):
            measure(kind(X), kind(Y))

    @pytest.mark.parametrize("measure", MEASURES)
    def test_rows_without_direction(self, measure, kind):
        X, Y = np.eye(5), np.eye(5)
        Y[3] = 0
        with pytest.raises(ValueError, match="Row 3 of Y is a zero vector"):
            measure(kind(X), kind(Y))

    @pytest.mark.parametrize("measure", MEASURES)
    def test_equal_rows(self, measure, kind):
        X = np.random.default_rng(0).normal(size=(6, 5))
        with pytest.raises(ValueError, match="Row 0 of Y points where the mean.*all rows equal"):
            measure(kind(X), kind(np.tile(X[:1], (6, 1))))

    def test_pairs_that_do_not_match(self):
        with pytest.raises(ValueError, match="X has 5 rows and Y has 4"):
            relational_similarity(np.eye(5), np.eye(5)[:4])

    def test_rows_equally_far_from_each_other(self, kind):
        X = np.random.default_rng(0).normal(size=(5, 5))
        with pytest.raises(ValueError, match="All rows of Y are equally far from each other"):
            relational_similarity(kind(X), kind(np.eye(5)))
