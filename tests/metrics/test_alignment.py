"""Cosine of pairs, weak and strong alignment."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posthoc_align.metrics import (
    PairCosine,
    pair_cosine,
    retrieval_precision,
    strong_alignment,
    weak_alignment,
)


def rotation(d, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(2, 25),
    d=st.integers(1, 12),
    noise=st.floats(0, 3),
    shift=st.floats(0, 3),
)
def test_strong_alignment_is_never_above_weak_and_both_are_shares(seed, n, d, noise, shift):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    Y = X + noise * rng.normal(size=(n, d)) + shift
    strong, weak = strong_alignment(X, Y), weak_alignment(X, Y)
    assert 0 <= strong <= weak <= 1
    assert weak == retrieval_precision(X, Y)


def test_a_common_rotation_changes_nothing(translations):
    X, Y = translations
    Q = rotation(X.shape[1])
    assert weak_alignment(X @ Q, Y @ Q) == weak_alignment(X, Y)
    assert weak_alignment(X @ Q, Y @ Q, score="csls") == weak_alignment(X, Y, score="csls")
    assert strong_alignment(X @ Q, Y @ Q) == strong_alignment(X, Y)
    assert pair_cosine(X @ Q, Y @ Q) == pytest.approx(pair_cosine(X, Y), abs=1e-14)


def test_a_rotation_of_one_side_breaks_alignment(translations):
    X, Y = translations
    assert weak_alignment(X, Y) > 0.3
    assert weak_alignment(X @ rotation(X.shape[1]), Y) < 0.1


def test_unrelated_rows_are_aligned_by_chance_only():
    X, Y = np.random.default_rng(0).normal(size=(2, 400, 32))
    assert weak_alignment(X, Y) < 0.02  # chance is 1 / 400
    pairs, random = pair_cosine(X, Y)
    assert abs(pairs - random) < 0.05


def test_rows_equal_to_their_translations_are_perfectly_aligned(kind):
    X = kind(np.random.default_rng(0).normal(size=(50, 8)))
    assert weak_alignment(X, X) == strong_alignment(X, X) == 1
    assert pair_cosine(X, X).pairs == pytest.approx(1, abs=kind.tolerance)


def test_shifted_translations_are_weakly_but_not_strongly_aligned(kind):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 8))
    far = np.zeros(8)
    far[-1] = 30.0
    X[:, -1] = 0
    X, Y = kind(X), kind(X + far)
    assert weak_alignment(X, Y) > 0.6
    assert strong_alignment(X, Y) == 0


def test_alignment_has_a_direction():
    X = np.array([[1.0, 0.0], [0.0, 1.0]])
    Y = np.array([[1.0, 0.0], [1.0, -1.0]])  # both rows of Y are nearer to X[0]
    assert weak_alignment(X, Y) == 0.5
    assert weak_alignment(Y, X) == 0.5
    Y = np.array([[1.0, 0.0], [0.9, -0.1]])
    assert (weak_alignment(X, Y), weak_alignment(Y, X)) == (0.5, 0.5)
    X, Y = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]), np.array([[1.0, 0.0]] * 3)
    Y[1] = [1.0, 0.1]
    Y[2] = [1.0, 0.2]
    assert weak_alignment(X, Y) == pytest.approx(2 / 3)  # X[1] is nearest to Y[2]
    assert weak_alignment(Y, X) == pytest.approx(1 / 3)  # all are nearest to X[0]


def test_a_tie_is_a_miss(kind):
    X = kind([[1.0, 0.0], [0.0, 1.0]])
    assert weak_alignment(X, kind([[1.0, 1.0], [2.0, 2.0]])) == 0
    # X[0] is as near to X[1] as to its translation: a miss in the strong sense only.
    X = kind([[1.0, 0.0], [0.0, 1.0]])
    Y = kind([[0.0, -1.0], [-1.0, 1.0]])
    assert weak_alignment(X, Y) == 1
    assert strong_alignment(X, Y) == 0.5


def test_a_row_is_no_rival_of_itself_even_where_all_cosines_are_negative():
    X = np.array([[1.0, 0.0], [-1.0, 0.1]])
    Y = np.array([[-0.1, 1.0], [-1.0, -0.5]])
    assert Y[0] @ X[0] < 0
    assert strong_alignment(X, Y) == 1


def test_pair_cosine_is_the_mean_of_the_dense_matrix(kind, dense, translations):
    X, Y = map(kind, translations)
    S = dense.cosine(kind.plain(X), kind.plain(Y))
    off = S[~np.eye(len(S), dtype=bool)].mean()
    found = pair_cosine(X, Y)
    assert isinstance(found, PairCosine)
    assert found == pytest.approx((np.diag(S).mean(), off), abs=kind.tolerance)


def test_pair_cosine_is_symmetric(translations):
    X, Y = translations
    assert pair_cosine(X, Y) == pytest.approx(pair_cosine(Y, X), abs=1e-14)


def test_csls_lifts_alignment_that_a_hub_hides():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 20)) + 1.0
    Y = X + 0.8 * rng.normal(size=X.shape)
    Y[0] = 1.0  # the common mean: near to every query
    assert weak_alignment(X, Y) < weak_alignment(X, Y, score="csls")


MEASURES = [
    pair_cosine,
    weak_alignment,
    strong_alignment,
    lambda X, Y: weak_alignment(X, Y, score="csls", neighbors=2),
]


@pytest.mark.parametrize("measure", MEASURES)
class TestErrors:
    def test_widths_that_differ(self, measure, kind):
        with pytest.raises(ValueError, match=r"X has 3 features and Y has 4.*one common space"):
            measure(kind(np.ones((5, 3))), kind(np.ones((5, 4))))

    def test_row_counts_that_differ(self, measure, kind):
        with pytest.raises(ValueError, match=r"X has 5 rows and Y has 4.*common rows"):
            measure(kind(np.ones((5, 3))), kind(np.ones((4, 3))))

    def test_one_row(self, measure, kind):
        with pytest.raises(ValueError, match="1 row each: at least 2 pairs"):
            measure(kind(np.ones((1, 3))), kind(np.ones((1, 3))))

    def test_no_rows(self, measure, kind):
        with pytest.raises(ValueError, match=r"0 sample\(s\)"):
            measure(kind(np.ones((0, 3))), kind(np.ones((0, 3))))

    def test_one_dimension(self, measure, kind):
        with pytest.raises(ValueError, match="Expected 2D array, got 1D"):
            measure(kind(np.ones(3)), kind(np.ones(3)))

    @pytest.mark.parametrize(
        ("bad", "said"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")]
    )
    def test_rows_that_are_not_finite(self, measure, kind, bad, said):
        X, Y = np.eye(5), np.eye(5)
        Y[3, 1] = bad
        with pytest.raises(ValueError, match=f"Input Y contains {said}, first in row 3"):
            measure(kind(X), kind(Y))

    def test_zero_rows(self, measure, kind):
        X, Y = np.eye(5), np.eye(5)
        X[2] = X[4] = 0
        with pytest.raises(ValueError, match="X has a zero vector in row 2: a cosine needs a"):
            measure(kind(X), kind(Y))

    def test_mixed_kinds(self, measure):
        import torch

        with pytest.raises(ValueError, match="X is a NumPy array and Y is a torch tensor on cpu"):
            measure(np.eye(3), torch.eye(3))

    @pytest.mark.slow  # the first tensor on "meta" has torch import what it needs for it
    def test_mixed_devices(self, measure):
        import torch

        with pytest.raises(ValueError, match="tensor on cpu and Y is a torch tensor on meta"):
            measure(torch.eye(3), torch.eye(3, device="meta"))

    def test_lengths_that_overflow(self, measure):
        X = np.full((3, 4), 3e38, dtype=np.float32)
        with pytest.raises(
            ValueError, match="lengths of X's rows overflow float32, first in row 0"
        ):
            measure(X, np.ones_like(X))

    def test_text(self, measure):
        with pytest.raises(ValueError, match="X holds text"):
            measure([["a", "b"]] * 3, np.ones((3, 2)))


def test_unknown_scores_are_named():
    X = np.eye(3)
    with pytest.raises(ValueError, match=r"Unknown score 'dot'.*'cosine', 'csls', 'inverted_"):
        weak_alignment(X, X, score="dot")
    with pytest.raises(ValueError, match=r"Unknown score 'dot'.*\['cosine'\]"):
        strong_alignment(X, X, score="dot")


def test_strong_alignment_says_why_it_has_no_csls():
    with pytest.raises(ValueError, match="CSLS is defined between two spaces"):
        strong_alignment(np.eye(3), np.eye(3), score="csls")


@pytest.mark.parametrize("neighbors", [0, -1, 4])
def test_neighborhoods_that_do_not_fit_are_refused_where_they_are_used(neighbors):
    X = np.eye(3)
    assert weak_alignment(X, X, neighbors=neighbors) == 1
    with pytest.raises(ValueError, match=f"neighbors={neighbors} but each side has 3 rows"):
        weak_alignment(X, X, score="csls", neighbors=neighbors)


def test_a_neighborhood_is_a_whole_number():
    with pytest.raises(ValueError, match=r"neighbors=2\.5 is not a whole number"):
        weak_alignment(np.eye(3), np.eye(3), score="csls", neighbors=2.5)
