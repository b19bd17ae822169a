"""WassersteinProcrustes: the rotation and the matching find each other."""

import warnings

import numpy as np
import pytest
from scipy.linalg import expm
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from posthoc_align import PivotAligner
from posthoc_align.align.procrustes import Procrustes
from posthoc_align.align.wasserstein_procrustes import WassersteinProcrustes

SMALL = {"batch_size": 30, "n_epochs": 2, "n_iter": 8}


@pytest.fixture(scope="module", autouse=True)
def _solvers_are_loaded():
    """Importing POT takes seconds, which no single test should be charged with."""
    WassersteinProcrustes().fit(np.eye(3), np.eye(3))


def planted(n=90, d=5, seed=0, angle=None):
    """A cloud of falling spectrum, its rows turned and shuffled, and the rotation."""
    rng = np.random.default_rng(seed)
    X = rng.exponential(size=(n, d)) * np.arange(1.0, d + 1) ** -0.5
    tilt = rng.normal(size=(d, d))
    turn = np.linalg.qr(tilt)[0] if angle is None else expm(angle * (tilt - tilt.T))
    return X, (X @ turn)[rng.permutation(n)] + 3, turn


def far(rotation, turn):
    """Root mean square difference, over that of orthogonal entries."""
    return np.linalg.norm(rotation - turn) / len(turn) ** 0.5


# --- laws -----------------------------------------------------------------------------------------


def test_any_rotation_is_recovered_from_the_convex_start(as_kind):
    X, y, turn = planted()
    fitted = WassersteinProcrustes(start="convex", reg=0.02).fit(as_kind(X), as_kind(y))
    assert far(fitted.rotation_, turn) < 0.01
    assert far(np.eye(5), turn) > 0.5
    np.testing.assert_allclose(fitted.rotation_ @ fitted.rotation_.T, np.eye(5), atol=1e-10)


def test_a_small_rotation_is_recovered_from_the_identity(as_kind):
    X, y, turn = planted(angle=0.1)
    fitted = WassersteinProcrustes(reg=0.02).fit(as_kind(X), as_kind(y))
    assert far(fitted.rotation_, turn) < 0.1 * far(np.eye(5), turn)


def test_batches_come_close_and_growing_ones_closer(as_kind):
    X, y, turn = planted(n=300, angle=0.1)
    options = {"batch_size": 60, "n_iter": 24, "learning_rate": 0.5}
    fitted = WassersteinProcrustes(n_epochs=2, **options).fit(as_kind(X), as_kind(y))
    assert far(fitted.rotation_, turn) < 0.5 * far(np.eye(5), turn)
    assert fitted.n_iter_ == len(fitted.history_) == 24 + 6
    assert fitted.history_[-6:].mean() < fitted.history_[:6].mean()
    np.testing.assert_allclose(fitted.rotation_.T @ fitted.rotation_, np.eye(5), atol=1e-10)


def test_a_space_of_another_width_is_reached_from_the_convex_start():
    X, y, turn = planted()
    wide = np.linalg.qr(np.random.default_rng(1).normal(size=(7, 5)))[0].T
    fitted = WassersteinProcrustes(start="convex", reg=0.02).fit(X, y @ wide)
    assert far(fitted.rotation_, turn @ wide) < 0.02
    np.testing.assert_allclose(fitted.inverse_transform(fitted.transform(X)), X, atol=1e-9)


def test_at_the_end_the_rotation_is_that_of_procrustes_for_the_matched_rows():
    X, y, turn = planted()
    partners = ((X - X.mean(axis=0)) @ turn)[:, None] - (y - y.mean(axis=0))
    order = (partners**2).sum(axis=2).argmin(axis=1)
    paired = Procrustes().fit(X, y[order])
    fitted = WassersteinProcrustes(start="convex", reg=0.01).fit(X, y)
    np.testing.assert_allclose(fitted.rotation_, paired.rotation_, atol=5e-3)


def test_shifting_and_scaling_both_clouds_changes_nothing():
    X, y, _ = planted(angle=0.1)
    here = WassersteinProcrustes().fit(X, y).rotation_
    there = WassersteinProcrustes().fit(10 * X + 5, 10 * y - 3).rotation_
    np.testing.assert_allclose(there, here, atol=1e-8)


@pytest.mark.parametrize("start", ["identity", "convex"])
def test_the_same_seed_gives_the_same_rotation(start):
    X, y, _ = planted()
    aligner = WassersteinProcrustes(start=start, start_rows=40, **SMALL)
    once = clone(aligner).fit(X, y).rotation_
    np.testing.assert_array_equal(aligner.fit(X, y).rotation_, once)
    other = aligner.set_params(random_state=1).fit(X, y).rotation_
    assert np.abs(other - once).max() > 1e-6


# --- kinds ----------------------------------------------------------------------------------------


def test_every_kind_gives_the_same_map_in_its_own_kind(kind, as_kind, rows_of):
    X, y, _ = planted(angle=0.1)
    expected = WassersteinProcrustes(**SMALL).fit(X, y).transform(X)
    mapped = WassersteinProcrustes(**SMALL).fit(as_kind(X), as_kind(y)).transform(as_kind(X))
    assert type(mapped) is type(as_kind(X))
    assert mapped.dtype == as_kind(X).dtype
    np.testing.assert_allclose(rows_of(mapped), expected, atol=1e-8 if "64" in kind else 1e-2)


@pytest.mark.parametrize("narrow", ["numpy float16", "torch bfloat16"])
def test_sixteen_bits_come_back_as_sixteen_bits(narrow, make_kind):
    X, y = (make_kind(part, narrow) for part in planted()[:2])
    assert WassersteinProcrustes(**SMALL).fit(X, y).transform(X).dtype == X.dtype


def test_each_language_is_turned_onto_the_pivot_without_pairs():
    X, y, _ = planted(angle=0.1)
    rows, language = np.vstack([y, X]), np.repeat(["en", "de"], len(X))
    aligner = PivotAligner(WassersteinProcrustes(reg=0.02), recipe="center")
    mapped = aligner.fit_transform(rows, language=language)
    nearest = ((mapped[90:, None] - mapped[None, :90]) ** 2).sum(axis=2).min(axis=1)
    assert np.median(nearest) < 0.01


# --- degenerate input -----------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("sizes", [(60, 3), (3, 60)])
@pytest.mark.parametrize("start", ["identity", "convex"])
def test_clouds_of_very_different_size_give_a_rotation(sizes, start):
    X, y, _ = planted()
    fitted = WassersteinProcrustes(start=start, **SMALL).fit(X[: sizes[0]], y[: sizes[1]])
    np.testing.assert_allclose(fitted.rotation_ @ fitted.rotation_.T, np.eye(5), atol=1e-10)


def test_clouds_without_spread_are_not_turned():
    X = np.full((6, 3), 2.0)
    np.testing.assert_array_equal(WassersteinProcrustes().fit(X, X + 1).rotation_, np.eye(3))


def test_duplicated_rows_and_constant_columns_do_no_harm():
    X, y, _ = planted(angle=0.1)
    X[1:5], X[:, 4], y[:, 4] = X[0], 1.0, 2.0
    rotation = WassersteinProcrustes(**SMALL).fit(X, y).rotation_
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(5), atol=1e-10)


def test_errors_say_what_to_do():
    X, y, _ = planted()
    with pytest.raises(ValueError, match=r"X has only 1 row .* Add rows"):
        WassersteinProcrustes().fit(X[:1], y)
    with pytest.raises(ValueError, match=r"5 features and y has 3.* Choose start='convex'"):
        WassersteinProcrustes().fit(X, y[:, :3])
    with pytest.raises(ValueError, match="requires y to be passed"):
        WassersteinProcrustes().fit(X)
    with pytest.raises(MemoryError, match=r"plan of 90 x 90 .* Fit on fewer rows"):
        WassersteinProcrustes(memory_budget=100).fit(X, y)
    X[7, 0] = np.nan
    with pytest.raises(ValueError, match=r"X contains NaN, first in row 7. Remove or repair"):
        WassersteinProcrustes().fit(X, y)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"start": "random"}, r"start='random' is not known: choose one of \('identity', 'convex'"),
        ({"reg": 0}, "reg=0 is out of range: give a positive number"),
        ({"learning_rate": -1.0}, r"learning_rate=-1.0 is out of range: give a positive number"),
        ({"batch_size": 0}, "batch_size=0 is out of range: give an integer of at least 1"),
        ({"n_epochs": 1.5}, r"n_epochs=1.5 is out of range: give an integer"),
        ({"memory_budget": 0}, "memory_budget=0 is out of range: give a positive number of bytes"),
    ],
)
def test_parameters_out_of_range_are_refused(parameters, message):
    X, y, _ = planted()
    with pytest.raises(ValueError, match=message):
        WassersteinProcrustes(**parameters).fit(X, y)


def test_a_rotation_that_has_not_settled_warns_what_to_do():
    X, y, _ = planted(angle=0.1)
    with pytest.warns(ConvergenceWarning, match=r"not settled after n_iter=1 .* Raise n_iter"):
        WassersteinProcrustes(n_iter=1).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        WassersteinProcrustes(reg=0.02).fit(X, y)
