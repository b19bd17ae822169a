"""Canonical correlations, SVCCA and PWCCA."""

import numpy as np
import pytest

from posthoc_align.metrics import canonical_correlations, pwcca, svcca

EXACT = {"abs": 1e-8}  # whitening multiplies rounding by the condition number of the rows


def rotation(d, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]


def general(d, seed=0):
    """An invertible map far from a rotation."""
    return rotation(d, seed) * np.linspace(0.2, 3, d) @ rotation(d, seed + 1)


def cut(X, k):
    """Centred rows on their k main directions, from a singular value decomposition."""
    X = X - X.mean(axis=0)
    return X @ np.linalg.svd(X, full_matrices=False)[2][:k].T


def by_qr(X, Y):
    """Correlations and the canonical variates of X, by orthonormal bases of the columns."""
    x, y = (np.linalg.qr(Z - Z.mean(axis=0))[0] for Z in (X, Y))
    u, rho, _ = np.linalg.svd(x.T @ y)
    return rho, (x @ u)[:, : len(rho)]


def test_correlations_are_those_of_orthonormal_bases(kind, translations):
    X, Y = (kind(Z) for Z in translations)
    expected = by_qr(kind.plain(X), kind.plain(Y))[0]
    np.testing.assert_allclose(canonical_correlations(X, Y), expected, atol=1e-8)
    expected = by_qr(cut(kind.plain(X), 5), cut(kind.plain(Y), 5))[0]
    np.testing.assert_allclose(canonical_correlations(X, Y, n_components=5), expected, atol=1e-8)


def test_a_share_of_the_variance_keeps_the_fewest_directions_that_hold_it(translations):
    X, Y = translations
    scales = np.array([10.0, 5.0] + [0.1] * 14)  # 80 % and 99.9 % of the variance, nearly
    X, Y = X / X.std(axis=0) * scales, Y / Y.std(axis=0) * scales
    for share, k in ((0.5, 1), (0.9, 2)):
        found = canonical_correlations(X, Y, n_components=share)
        np.testing.assert_allclose(found, canonical_correlations(X, Y, n_components=k))
        assert len(found) == k


def test_the_official_correlations_are_met(official):
    reference, X = official("svcca"), official("inputs")["X_fit"]
    for i, (a, b) in enumerate(reference["pairs"].tolist()):
        for k, name in ((None, "cca"), (20, "svcca20")):
            found = canonical_correlations(X[a], X[b], n_components=k)
            np.testing.assert_allclose(found, reference[f"{name}_correlations"][i], atol=1e-6)
            mean = svcca(X[a], X[b], n_components=k)
            assert mean == pytest.approx(reference[f"{name}_mean"][i], abs=1e-6)


def test_pwcca_weighs_by_the_columns_that_a_variate_accounts_for(kind, translations):
    X, Y = kind(translations[0]), kind(translations[1][:, :9])
    x, y = kind.plain(X), kind.plain(Y)
    rho, variates = by_qr(x, y)
    weights = np.abs(variates.T @ (x - x.mean(axis=0))).sum(axis=1)
    assert pwcca(X, Y) == pytest.approx(weights @ rho / weights.sum(), **EXACT)


def test_pwcca_has_a_direction(translations):
    X, Y = translations
    Y = Y * np.linspace(0.01, 3, 16)
    assert abs(pwcca(X, Y) - pwcca(Y, X)) > 1e-4


def test_no_invertible_map_or_shift_is_seen(translations):
    X, Y = translations
    moved = Y @ general(16) + 7
    for measure in (canonical_correlations, pwcca):
        np.testing.assert_allclose(measure(X, moved), measure(X, Y), atol=1e-8)
    np.testing.assert_allclose(
        canonical_correlations(X @ general(16, 3) - 1, Y), canonical_correlations(X, Y), atol=1e-8
    )
    np.testing.assert_allclose(canonical_correlations(X, X @ general(16)), 1, atol=1e-8)


def test_svcca_sees_no_rotation_shift_or_scale_but_a_stretch(translations):
    X, Y = translations
    moved = 3 * X @ rotation(16) + 7
    assert svcca(X, moved) == pytest.approx(1, **EXACT)
    assert svcca(moved, Y, n_components=4) == pytest.approx(svcca(X, Y, n_components=4), **EXACT)
    stretched = X * np.linspace(0.01, 3, 16)[::-1] @ rotation(16)
    assert svcca(X, stretched, n_components=4) < 0.9


def test_pwcca_sees_a_rotation_of_x_by_its_weights_alone(translations):
    X, Y = translations
    X = X * np.linspace(0.01, 3, 16)
    turned = X @ rotation(16)
    np.testing.assert_allclose(
        canonical_correlations(turned, Y), canonical_correlations(X, Y), atol=1e-8
    )
    assert abs(pwcca(turned, Y) - pwcca(X, Y)) > 1e-4


def test_unrelated_rows_fall_with_their_number():
    rng = np.random.default_rng(0)
    few, many = (svcca(*rng.normal(size=(2, n, 8)), n_components=None) for n in (40, 2000))
    assert few > 0.2
    assert many < 0.1


def test_directions_without_variance_take_no_part(kind, translations):
    X, Y = translations
    flat = kind(np.hstack([X[:, :6], np.full((60, 3), 0.1)]))
    found = canonical_correlations(flat, kind(Y))
    assert len(found) == 6
    np.testing.assert_allclose(found, canonical_correlations(kind(X[:, :6]), kind(Y)), atol=1e-8)


def test_rows_no_more_than_columns_are_refused(translations):
    X, Y = translations
    for measure in (canonical_correlations, pwcca):
        with pytest.raises(ValueError, match="16 rows, and 15 directions of X take part.*than 16"):
            measure(X[:16], Y[:16])
    with pytest.raises(ValueError, match="smaller n_components"):
        svcca(X[:16], Y[:16], n_components=15)
    with pytest.raises(ValueError, match="10 rows, and 9 directions of Y take part"):
        svcca(X[:10, :3], Y[:10], n_components=None)


def test_correlations_forced_by_counting_are_announced():
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(2, 20, 12))
    with pytest.warns(UserWarning, match="5 of 12 canonical.*are 1 by counting.*Pass 25 rows"):
        found = canonical_correlations(X, Y)
    np.testing.assert_allclose(found[:5], 1)
    assert found[5] < 0.999


@pytest.mark.parametrize("measure", [canonical_correlations, svcca, pwcca])
class TestErrors:
    @pytest.mark.parametrize("bad", [0, -1, 1.0, 0.0, 1.5, "all", True])
    def test_numbers_of_components_that_mean_nothing(self, measure, bad, translations):
        with pytest.raises(ValueError, match=f"n_components={bad!r} is out of range"):
            measure(*translations, n_components=bad)

    def test_more_components_than_directions(self, measure, translations):
        with pytest.raises(ValueError, match="n_components=17 but X varies in 16 directions"):
            measure(*translations, n_components=17)

    def test_row_counts_that_differ(self, measure, translations):
        X, Y = translations
        with pytest.raises(ValueError, match="X has 60 rows and Y has 50"):
            measure(X, Y[:50])

    def test_a_side_without_variance(self, measure, translations):
        with pytest.raises(ValueError, match="All rows of Y are equal up to rounding"):
            measure(translations[0], np.ones((60, 4)))
