"""Condition numbers, the singular value gap and angles between languages' subspaces."""

import numpy as np
import pytest
import scipy.linalg

from posthoc_align.metrics import (
    condition_harmonic_mean,
    condition_number,
    singular_value_gap,
    subspace_angles,
)

EXACT = {"rel": 1e-8}


def rotation(d, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]


def singular_values(X):
    return np.linalg.svd(X - X.mean(axis=0), compute_uv=False)


def planted(values, n=50, seed=0):
    """Rows with these singular values over root n, far from the origin."""
    rng = np.random.default_rng(seed)
    basis = rng.normal(size=(n, len(values)))
    basis = np.linalg.qr(basis - basis.mean(axis=0))[0]
    return np.sqrt(n) * basis * values @ rotation(len(values), seed) + 30


def effective_rank(values):
    share = values / values.sum()
    return int(np.floor(np.exp(-(share * np.log(share)).sum())))


def test_the_condition_number_is_that_of_a_singular_value_decomposition(kind, translations):
    X = kind(translations[0])
    values = singular_values(kind.plain(X))
    assert condition_number(X) == pytest.approx(values[0] / values[-1], **EXACT)
    at = effective_rank(values)
    assert 1 < at < 16
    assert condition_number(X, effective=True) == pytest.approx(values[0] / values[at - 1], **EXACT)


def test_a_planted_spectrum_comes_back():
    assert condition_number(planted([8.0, 4.0, 2.0])) == pytest.approx(4, **EXACT)
    # exp of the entropy of (8, 4, 2) / 14 is 2.6: the second value is the last that counts.
    assert condition_number(planted([8.0, 4.0, 2.0]), effective=True) == pytest.approx(2, **EXACT)
    assert condition_number(planted([3.0] * 4), effective=True) == pytest.approx(1, **EXACT)


def test_two_condition_numbers_meet_in_their_harmonic_mean():
    X, Y = planted([8.0, 4.0, 2.0]), planted([3.0, 3.0, 1.0], n=40, seed=1)
    assert condition_harmonic_mean(X, Y) == pytest.approx(2 * 4 * 3 / 7, **EXACT)
    effective = 2 * 2 * 1 / 3  # of (3, 3, 1) the effective rank is 2
    assert condition_harmonic_mean(X, Y, effective=True) == pytest.approx(effective, **EXACT)


def test_the_gap_is_that_of_the_definition(kind, translations):
    X, Y = (kind(Z) for Z in translations)
    x, y = (np.log(singular_values(kind.plain(Z))) for Z in (X, Y))
    assert singular_value_gap(X, Y) == pytest.approx(np.sum((x - y) ** 2), **EXACT)


def test_the_gap_is_one_of_spaces_not_of_row_counts():
    values = [8.0, 4.0, 2.0]
    many, few = planted(values, n=500), planted(values, n=30, seed=1)
    assert singular_value_gap(many, few) == pytest.approx(0, abs=1e-12)
    other = planted([8.0, 4.0, 4.0], n=30)
    assert singular_value_gap(many, other) == pytest.approx(np.log(2) ** 2, **EXACT)


def test_spectra_see_no_rotation_shift_or_order_and_the_gap_alone_sees_scale(translations):
    X, Y = translations
    moved = X[::-1] @ rotation(16) - 4
    assert singular_value_gap(moved, X) == pytest.approx(0, abs=1e-12)
    assert condition_number(3 * moved) == pytest.approx(condition_number(X), **EXACT)
    assert singular_value_gap(3 * X, X) == pytest.approx(16 * np.log(3) ** 2, **EXACT)
    assert singular_value_gap(X, Y) > 0.1


def test_angles_are_those_of_the_main_directions(kind, translations):
    X, Y = (kind(Z) for Z in translations)
    bases = []
    for Z in (X, Y):
        plain = kind.plain(Z)
        bases.append(np.linalg.svd(plain - plain.mean(axis=0))[2][:4].T)
    expected = scipy.linalg.subspace_angles(*bases)
    np.testing.assert_allclose(subspace_angles(X, Y, n_components=4), expected, atol=1e-8)


def test_planted_angles_come_back():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 2)), rng.normal(size=(70, 2))
    plane_x = np.array([[1.0, 0, 0, 0], [0, 1.0, 0, 0]])
    cos, sin = np.cos(0.3), np.sin(0.3)
    plane_y = np.array([[cos, 0, sin, 0], [0, 0, 0, 1.0]])
    found = subspace_angles(x @ plane_x, y @ plane_y, n_components=2)
    np.testing.assert_allclose(found, [np.pi / 2, 0.3], atol=1e-7)


def test_angles_see_a_rotation_but_neither_means_nor_a_map_within_the_subspace(translations):
    X, _ = translations
    X = X[:, :4] @ np.eye(4, 16)  # varies in four directions of sixteen
    moved = X[::-1].copy()
    moved[:, :4] = moved[:, :4] * [1, 2, 3, 4] @ rotation(4)
    np.testing.assert_allclose(subspace_angles(X, moved + 9, n_components=4), 0, atol=1e-7)
    assert subspace_angles(X, X @ rotation(16), n_components=4)[0] > 0.3


def test_sides_of_unequal_dimension_have_as_many_angles_as_the_smaller():
    X, Y = planted([9.0, 1.0, 1.0], n=60), planted([5.0, 5.0, 1.0], n=60, seed=1)
    assert len(subspace_angles(X, Y, n_components=0.9)) == 1


def test_directions_without_variance_are_left_out_and_announced(kind):
    values = np.array([8.0, 4.0, 2.0])
    X = kind(planted(values))
    dead = kind(np.hstack([planted(values), np.full((50, 2), 0.1)]))
    with pytest.warns(UserWarning, match="X varies in 3 of 5 directions"):
        assert condition_number(dead) == pytest.approx(condition_number(X), **EXACT)
    full = kind(planted(np.array([8.0, 4.0, 2.0, 1.0, 1.0])))
    with pytest.warns(UserWarning, match="Y varies in 3 of 5 directions"):
        found = singular_value_gap(full, dead)
    assert found == pytest.approx(0, abs=0.05)  # narrow types store the planted values roughly
    assert condition_number(dead, effective=True) == pytest.approx(
        condition_number(X, effective=True), **EXACT
    )


class TestErrors:
    @pytest.mark.parametrize(
        "measure",
        [
            condition_number,
            lambda X: condition_harmonic_mean(X, X),
            lambda X: singular_value_gap(X, X),
            lambda X: subspace_angles(X, X),
        ],
    )
    def test_rows_without_a_spectrum(self, measure, kind):
        with pytest.raises(ValueError, match="X has 1 row: this measure needs 2 or more"):
            measure(kind(np.ones((1, 4))))
        with pytest.raises(ValueError, match="All rows of X are equal up to rounding"):
            measure(kind(np.full((5, 4), 0.1)))
        X = np.ones((5, 4))
        X[2, 1] = np.nan
        with pytest.raises(ValueError, match="Input X contains NaN, first in row 2"):
            measure(kind(X))

    def test_no_more_rows_than_columns(self, translations):
        X, Y = translations
        with pytest.raises(ValueError, match="X has 16 rows and 16 columns.*effective=True"):
            condition_number(X[:16])
        with pytest.raises(ValueError, match="Y has 5 rows and 16 columns"):
            singular_value_gap(X, Y[:5])
        assert condition_number(X[:5], effective=True) >= 1

    def test_widths_that_differ(self, translations):
        X, Y = translations
        with pytest.raises(ValueError, match="X has 16 features and Y has 9.*common length"):
            singular_value_gap(X, Y[:, :9])
        with pytest.raises(ValueError, match="X has 16 features and Y has 9.*common space"):
            subspace_angles(X, Y[:, :9])

    def test_more_dimensions_than_there_are(self, translations):
        with pytest.raises(ValueError, match="n_components=17 but X varies in 16 directions"):
            subspace_angles(*translations, n_components=17)
