"""CKA, Procrustes distance and average neuron-wise correlation of paired rows."""

import numpy as np
import pytest
import scipy.spatial

from posthoc_align.metrics import (
    average_neuron_correlation,
    cka,
    procrustes_distance,
    weak_alignment,
)

# Everything is summed in float64, of rows as they are stored: no kind of array is less exact.
EXACT = {"abs": 1e-10}


def rotation(d, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]


def shifted(X):
    return X + np.random.default_rng(5).normal(size=X.shape[1])


@pytest.fixture
def unrelated():
    rng = np.random.default_rng(3)
    return rng.normal(size=(40, 16)), rng.normal(size=(40, 16))


def gram_cka(X, Y, *, debiased=False):
    """Textbook forms on n x n matrices of dot products (debiased: Song et al., equation 5)."""

    def hsic(K, L):
        n = len(K)
        if not debiased:
            H = np.eye(n) - 1 / n
            return np.trace(K @ H @ L @ H)
        K, L = K - np.diag(np.diag(K)), L - np.diag(np.diag(L))
        one = np.ones(n)
        return (
            np.trace(K @ L)
            + (one @ K @ one) * (one @ L @ one) / ((n - 1) * (n - 2))
            - 2 / (n - 2) * (one @ K @ L @ one)
        )

    K, L = X @ X.T, Y @ Y.T
    return hsic(K, L) / np.sqrt(hsic(K, K) * hsic(L, L))


@pytest.mark.parametrize("debiased", [False, True])
def test_cka_is_that_of_the_matrices_of_dot_products(kind, translations, debiased):
    X, Y = (kind(Z) for Z in translations)
    expected = gram_cka(kind.plain(X), kind.plain(Y), debiased=debiased)
    assert cka(X, Y, debiased=debiased) == pytest.approx(expected, **EXACT)


def test_cka_takes_sides_of_unequal_width(translations):
    X, Y = translations
    for a, b in ((X, Y[:, :5]), (X[:, :5], Y)):
        assert cka(a, b) == pytest.approx(gram_cka(a, b), **EXACT)
        assert cka(a, b, debiased=True) == pytest.approx(gram_cka(a, b, debiased=True), **EXACT)


def test_cka_is_that_of_the_official_code(official):
    reference, X = official("cka"), official("inputs")["X_fit"]
    for i, (a, b) in enumerate(reference["pairs"].tolist()):
        value = cka(X[a], X[b])
        assert value == pytest.approx(reference["cka_biased"][i], abs=1e-9)
        assert np.arccos(value) == pytest.approx(reference["cka_angular"][i], abs=1e-9)
        few = X[a][:30], X[b][:30]
        assert cka(*few) == pytest.approx(reference["cka_biased_small_n"][i], abs=1e-9)
        for rows, name in (((X[a], X[b]), "cka_debiased"), (few, "cka_debiased_small_n")):
            assert cka(*rows, debiased=True) == pytest.approx(reference[name][i], abs=1e-9)


def test_debiasing_takes_unrelated_rows_to_zero(unrelated):
    assert cka(*unrelated) > 0.25
    assert abs(cka(*unrelated, debiased=True)) < 0.1


@pytest.mark.parametrize("debiased", [False, True])
def test_cka_sees_no_rotation_shift_or_scale_and_so_no_alignment(translations, debiased):
    X, _ = translations
    moved = shifted(3 * X @ rotation(16))
    assert cka(X, moved, debiased=debiased) == pytest.approx(1, **EXACT)
    assert weak_alignment(X, moved) < 0.2  # what it is blind to is the whole of alignment


def test_cka_sees_a_stretch(translations):
    X, _ = translations
    assert cka(X, X * np.linspace(0.1, 3, 16)) < 0.95


def test_the_procrustes_distance_is_the_angle_left_by_the_best_rotation(kind, translations):
    X, Y = (kind(Z) for Z in translations)
    # SciPy scales both sides to norm 1 and scales the rotated one to fit: sin^2 of the angle.
    disparity = scipy.spatial.procrustes(kind.plain(X), kind.plain(Y))[2]
    assert np.sin(procrustes_distance(X, Y)) ** 2 == pytest.approx(disparity, **EXACT)


def test_the_procrustes_distance_is_that_of_the_official_code(official):
    reference, X = official("procrustes_distance"), official("inputs")["X_fit"]
    for i, (a, b) in enumerate(reference["pairs"].tolist()):
        expected = reference["angular_alpha1p0"][i]
        assert procrustes_distance(X[a], X[b]) == pytest.approx(expected, abs=1e-7)


def test_the_procrustes_distance_sees_no_rotation_shift_or_scale(translations):
    X, Y = translations
    moved = shifted(3 * X @ rotation(16))
    assert procrustes_distance(X, moved) < 1e-7
    assert procrustes_distance(moved, Y) == pytest.approx(procrustes_distance(X, Y), **EXACT)
    assert procrustes_distance(X, Y) > 0.5


def test_the_procrustes_distance_is_a_distance(translations):
    X, Y = translations
    Z = np.random.default_rng(1).normal(size=X.shape)
    assert procrustes_distance(X, Y) == pytest.approx(procrustes_distance(Y, X), **EXACT)
    assert procrustes_distance(X, Z) <= procrustes_distance(X, Y) + procrustes_distance(Y, Z)


def test_a_narrow_side_counts_as_filled_up_with_zeros(translations):
    X, Y = translations
    wide = np.hstack([Y[:, :5], np.zeros((60, 11))])
    expected = procrustes_distance(X, wide)
    assert procrustes_distance(X, Y[:, :5]) == pytest.approx(expected, **EXACT)


def test_neurons_are_compared_one_by_one(kind, translations):
    X, Y = (kind(Z) for Z in translations)
    x, y = kind.plain(X), kind.plain(Y)
    expected = np.mean([np.corrcoef(x[:, j], y[:, j])[0, 1] for j in range(16)])
    assert average_neuron_correlation(X, Y) == pytest.approx(expected, **EXACT)


def test_neurons_see_a_rotation_but_no_shift_and_no_scale_of_a_column(translations):
    X, _ = translations
    assert abs(average_neuron_correlation(X, X @ rotation(16))) < 0.5
    stretched = shifted(X * np.linspace(0.1, 3, 16))
    assert average_neuron_correlation(X, stretched) == pytest.approx(1, **EXACT)
    assert average_neuron_correlation(X, -X) == pytest.approx(-1, **EXACT)


def test_unrelated_neurons_do_not_correlate(unrelated):
    assert abs(average_neuron_correlation(*unrelated)) < 0.1


def test_a_still_column_counts_as_zero_and_is_named(kind, translations):
    X, _ = translations
    Y = X.copy()
    Y[:, 3] = 0.1
    with pytest.warns(
        UserWarning, match="1 of 16 columns do not vary in X or in Y, first column 3"
    ):
        value = average_neuron_correlation(kind(X), kind(Y))
    assert value == pytest.approx(15 / 16, abs=1e-6)


MEASURES = [cka, procrustes_distance, average_neuron_correlation]


@pytest.mark.parametrize("measure", MEASURES)
class TestErrors:
    def test_row_counts_that_differ(self, measure):
        with pytest.raises(ValueError, match="X has 5 rows and Y has 4.*common rows first"):
            measure(np.eye(5), np.eye(5)[:4])

    def test_one_pair(self, measure):
        with pytest.raises(ValueError, match="X and Y have 1 rows: this measure needs 2 pairs"):
            measure(np.ones((1, 3)), np.ones((1, 3)))

    @pytest.mark.parametrize(("bad", "said"), [(np.nan, "NaN"), (np.inf, "infinity")])
    def test_rows_that_are_not_finite(self, measure, kind, bad, said):
        X, Y = np.eye(5), np.eye(5)
        Y[3, 1] = bad
        with pytest.raises(ValueError, match=f"Input Y contains {said}, first in row 3"):
            measure(kind(X), kind(Y))

    def test_a_side_without_variance(self, measure, kind):
        X = np.random.default_rng(0).normal(size=(9, 4))
        with pytest.raises(ValueError, match="All rows of Y are equal up to rounding"):
            measure(kind(X), kind(np.tile(X[:1], (9, 1))))

    def test_a_side_whose_variance_is_rounding(self, measure):
        X = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
        still = np.tile(X[:1], (9, 1)) + 1e-7 * X
        with pytest.raises(ValueError, match="All rows of X are equal up to rounding"):
            measure(still, X)

    def test_squares_that_overflow(self, measure):
        X = np.random.default_rng(0).normal(size=(9, 4)) * 1e200
        with pytest.raises(ValueError, match="overflow float64.*Rescale the rows"):
            measure(X, X)

    def test_mixed_kinds(self, measure):
        import torch

        with pytest.raises(ValueError, match="X is a NumPy array and Y is a torch tensor"):
            measure(np.eye(3), torch.eye(3))


def test_debiasing_needs_four_pairs():
    X = np.random.default_rng(0).normal(size=(3, 2))
    with pytest.raises(ValueError, match="have 3 rows: this measure needs 4 pairs"):
        cka(X, X, debiased=True)


def test_debiasing_says_when_rows_are_too_few():
    rng = np.random.default_rng(0)
    X = np.eye(5)  # equally far from each other: no shape beyond chance
    with pytest.raises(ValueError, match="debiased norm of X is not positive with 5 rows"):
        cka(X, rng.normal(size=(5, 2)), debiased=True)


def test_neurons_need_one_width():
    with pytest.raises(ValueError, match="X has 3 features and Y has 4: column j is compared"):
        average_neuron_correlation(np.ones((5, 3)), np.ones((5, 4)))
