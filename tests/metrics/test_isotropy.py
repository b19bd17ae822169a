"""IsoScore, mean random cosine, anisotropy per language and the partition ratio."""

import numpy as np
import pytest

from posthoc_align.metrics import anisotropy, iso_score, mean_random_cosine, partition_ratio


def rotation(d, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]


def published_iso_score(X):
    """The steps of the paper, one by one."""
    d = X.shape[1]
    variances = np.linalg.eigvalsh(np.cov(X.T))
    normed = np.sqrt(d) * variances / np.linalg.norm(variances)
    defect = np.linalg.norm(normed - 1) / np.sqrt(2 * (d - np.sqrt(d)))
    share = (d - defect**2 * (d - np.sqrt(d))) ** 2 / d**2
    return (d * share - 1) / (d - 1)


def test_the_iso_score_is_that_of_the_published_steps(kind, translations):
    X = kind(translations[0] * np.linspace(0.1, 2, 16))
    assert iso_score(X) == pytest.approx(published_iso_score(kind.plain(X)), abs=1e-10)


def test_the_iso_score_is_that_of_the_official_code(official):
    reference, X = official("isoscore"), official("inputs")["X_fit"]
    for i, rows in enumerate(X):
        assert iso_score(rows) == pytest.approx(reference["raw"][i], abs=1e-9)
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        assert iso_score(unit) == pytest.approx(reference["unit_rows"][i], abs=1e-9)
    assert iso_score(X.reshape(-1, 48)) == pytest.approx(reference["pooled"], abs=1e-9)
    for name in ("gaussian", "one_direction"):
        found = iso_score(reference[f"{name}_sample"])
        assert found == pytest.approx(reference[name], abs=1e-9)


def test_the_iso_score_counts_dimensions_used():
    corners = np.vstack([np.eye(8), -np.eye(8)])
    assert iso_score(corners) == pytest.approx(1, abs=1e-12)
    for used in range(1, 8):
        flat = corners * (np.arange(8) < used)
        assert iso_score(flat) == pytest.approx((used - 1) / 7, abs=1e-12)


def test_few_rows_bound_the_iso_score():
    X = np.random.default_rng(0).normal(size=(6, 40))
    assert iso_score(X) <= 4 / 39


def test_the_iso_score_and_the_mean_cosine_are_blind_to_what_the_other_sees():
    rng = np.random.default_rng(0)
    ball = rng.normal(size=(500, 12))
    cone = ball + 20
    assert iso_score(cone) == pytest.approx(iso_score(ball), abs=1e-10)
    assert mean_random_cosine(cone) > 0.95
    assert abs(mean_random_cosine(ball)) < 0.01
    line = ball * ([1.0] + [0.01] * 11)
    assert iso_score(line) < 0.01
    assert abs(mean_random_cosine(line)) < 0.01


def test_rotation_and_scale_change_neither(translations):
    X, _ = translations
    moved = 3 * X @ rotation(16)
    assert iso_score(moved) == pytest.approx(iso_score(X), abs=1e-10)
    assert mean_random_cosine(moved) == pytest.approx(mean_random_cosine(X), abs=1e-10)


def test_the_mean_cosine_is_that_of_all_pairs(kind, dense, translations):
    X = kind(translations[0])
    cosines = dense.cosine(kind.plain(X), kind.plain(X))
    expected = cosines[~np.eye(60, dtype=bool)].mean()
    assert mean_random_cosine(X) == pytest.approx(expected, abs=kind.tolerance)


def test_the_mean_cosine_has_its_bounds():
    assert mean_random_cosine(np.ones((5, 3))) == pytest.approx(1)
    simplex = np.eye(5) - 0.2
    assert mean_random_cosine(simplex) == pytest.approx(-1 / 4)


def test_each_language_has_its_own_mean_cosine_in_any_order_of_rows(kind, translations):
    X = np.vstack([translations[0], translations[1] + 5, translations[0] * 2])
    language = np.repeat(["fi", "de", "en"], 60)
    order = np.random.default_rng(0).permutation(180)
    found = anisotropy(kind(X[order]), language[order])
    assert list(found) == ["de", "en", "fi"]
    for name, value in found.items():
        own = mean_random_cosine(kind(X[language == name]))
        assert value == pytest.approx(own, abs=kind.tolerance)
    assert found["de"] > 0.9


def test_one_label_for_all_rows_will_do(translations):
    X, _ = translations
    assert anisotropy(X, 7) == {7: mean_random_cosine(X)}


def partition_of(X):
    """Z of each main direction and its opposite."""
    axes = np.linalg.svd(X)[2]
    scores = X @ np.vstack([axes, -axes]).T
    return np.exp(scores).sum(axis=0)


def test_the_partition_ratio_is_that_of_the_definition(kind, translations):
    X = kind(translations[0])
    Z = partition_of(kind.plain(X))
    assert partition_ratio(X) == pytest.approx(Z.min() / Z.max(), abs=1e-10)


def test_the_partition_ratio_sees_a_cone_and_a_line(translations):
    ball = np.random.default_rng(0).normal(size=(3000, 12)) / 4
    assert partition_ratio(ball) > 0.9
    assert partition_ratio(ball + 0.5) < 0.1
    assert partition_ratio(ball * ([8.0] + [1.0] * 11)) < 0.3


def test_the_partition_ratio_sees_length_and_no_rotation(translations):
    X, _ = translations
    assert partition_ratio(X @ rotation(16)) == pytest.approx(partition_ratio(X), rel=1e-8)
    assert partition_ratio(1e-4 * X) > 0.99


def test_exponentials_of_long_rows_do_not_overflow(translations):
    X, _ = translations
    assert 0 <= partition_ratio(1e4 * X) < 1e-10


class TestErrors:
    @pytest.mark.parametrize("measure", [iso_score, partition_ratio])
    def test_degenerate_rows(self, measure, kind):
        with pytest.raises(ValueError, match="X has 1 row: this measure needs 2 or more"):
            measure(kind(np.ones((1, 4))))
        with pytest.raises(ValueError, match="All rows of X are equal up to rounding"):
            measure(kind(np.full((5, 4), 0.1)))
        X = np.ones((5, 4))
        X[2, 1] = np.inf
        with pytest.raises(ValueError, match="Input X contains infinity, first in row 2"):
            measure(kind(X))

    def test_one_column(self):
        with pytest.raises(ValueError, match="X has 1 column"):
            iso_score(np.arange(4.0)[:, None])

    def test_one_row_has_no_pairs(self):
        with pytest.raises(ValueError, match="X has 1 row: a mean over pairs"):
            mean_random_cosine(np.ones((1, 4)))
        with pytest.raises(ValueError, match="Language 'fi' has 1 row"):
            anisotropy(np.eye(3), ["de", "de", "fi"])

    def test_rows_without_direction(self):
        X = np.eye(4)
        X[2] = 0
        with pytest.raises(ValueError, match="X has a zero vector in row 2"):
            mean_random_cosine(X)
        with pytest.raises(ValueError, match="X has a zero vector in row 2"):
            anisotropy(X, "de")

    def test_labels_that_are_missing_or_do_not_fit(self):
        with pytest.raises(ValueError, match="language is None: pass one language label a row"):
            anisotropy(np.eye(3), None)
        with pytest.raises(ValueError, match=r"language has shape \(2,\)"):
            anisotropy(np.eye(3), ["de", "en"])
