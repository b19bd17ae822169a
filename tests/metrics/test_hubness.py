"""Hubness from how often each row is among the nearest."""

import numpy as np
import pytest
import scipy.stats

from posthoc_align.metrics import hubness


def occurrences(X, Y, k, dense, *, own=False):
    scores = dense.cosine(X, Y)
    if own:
        np.fill_diagonal(scores, -np.inf)
    near = np.argsort(-scores, axis=1)[:, :k]
    return np.bincount(near.ravel(), minlength=len(Y))


def test_occurrences_and_figures_are_those_of_the_definition(kind, dense, translations):
    X, Y = kind(translations[0]), kind(translations[1][:45])
    found = hubness(X, Y, k=7)
    expected = occurrences(kind.plain(X), kind.plain(Y), 7, dense)
    assert found.occurrence.dtype == np.int64
    # Rounding may exchange two rows that are almost equally near.
    assert np.abs(found.occurrence - expected).sum() <= 2
    N, mean = found.occurrence, 60 * 7 / 45
    assert found.skewness == pytest.approx(scipy.stats.skew(N), abs=1e-12)
    assert found.robin_hood == pytest.approx(np.abs(N - mean).sum() / 2 / N.sum(), abs=1e-12)
    assert found.antihub_share == np.mean(N == 0)
    assert found.hub_share == pytest.approx(N[2 * mean <= N].sum() / N.sum(), abs=1e-12)


def test_within_one_set_no_row_finds_itself(kind, dense, translations):
    X = kind(translations[0])
    found = hubness(X, k=5)
    assert found.occurrence.sum() == 300
    expected = occurrences(kind.plain(X), kind.plain(X), 5, dense, own=True)
    assert np.abs(found.occurrence - expected).sum() <= 2


def test_copies_of_a_row_do_not_push_it_in(kind):
    X = kind(np.repeat(np.eye(3), 4, axis=0))
    found = hubness(X, k=3)  # each row finds the three copies of it
    assert found.occurrence.tolist() == [3] * 12
    assert (found.skewness, found.robin_hood, found.antihub_share) == (0, 0, 0)


@pytest.mark.parametrize("k", [5, 10])
def test_the_official_figures_are_met(official, k):
    reference, X = official("hubness"), official("inputs")["X_fit"]
    cases = {
        "self_l0": (X[0], None),
        "self_l3": (X[3], None),
        "l1_to_l0": (X[1], X[0]),
        "l3_to_l0": (X[3], X[0]),
        "l0_to_l3": (X[0], X[3]),
    }
    for name, (queries, pool) in cases.items():
        found = hubness(queries, pool, k=k)
        np.testing.assert_array_equal(found.occurrence, reference[f"{name}_k{k}_occurrence"])
        skewness, _, _, robin_hood, _, antihub, hub, _ = reference[f"{name}_k{k}_measures"]
        assert found.skewness == pytest.approx(skewness, abs=1e-9)
        assert found.robin_hood == pytest.approx(robin_hood, abs=1e-9)
        assert found.antihub_share == pytest.approx(antihub, abs=1e-9)
        assert found.hub_share == pytest.approx(hub, abs=1e-9)


def test_a_planted_hub_shows_in_every_figure():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 200)) + 0.5
    Y = rng.normal(size=(300, 200)) + 0.5
    plain = hubness(X, Y, k=1)
    Y[0] = 1.0  # the mean direction: near to every query
    hub = hubness(X, Y, k=1)
    assert hub.occurrence[0] > 200
    assert hub.skewness > plain.skewness
    assert hub.robin_hood > plain.robin_hood
    assert hub.antihub_share > plain.antihub_share
    assert hub.hub_share > plain.hub_share


def test_which_translation_is_found_is_not_seen(translations):
    X, Y = translations
    found, shuffled = hubness(X, Y, k=3), hubness(X[::-1], Y, k=3)
    assert (found.skewness, found.robin_hood) == (shuffled.skewness, shuffled.robin_hood)


def test_the_occurrences_stay_out_of_the_repr(translations):
    text = repr(hubness(*translations, k=3))
    assert "robin_hood=" in text
    assert "occurrence" not in text


class TestErrors:
    @pytest.mark.parametrize("k", [0, 10])
    def test_a_pool_too_small(self, kind, k):
        X = kind(np.eye(9))
        with pytest.raises(ValueError, match=f"k={k} but Y has 9 rows"):
            hubness(X, X, k=k)
        if k:
            with pytest.raises(ValueError, match="k=9 but the pool of other rows of X has 8 rows"):
                hubness(X, k=9)

    def test_a_number_that_is_none(self):
        with pytest.raises(ValueError, match=r"k=1\.5 is not a whole number"):
            hubness(np.eye(3), k=1.5)

    def test_rows_without_direction(self):
        X = np.eye(4)
        X[2] = 0
        with pytest.raises(ValueError, match="zero vector in row 2"):
            hubness(X, k=1)

    def test_widths_that_differ(self):
        with pytest.raises(ValueError, match="X has 3 features and Y has 4"):
            hubness(np.eye(3), np.eye(4), k=1)
