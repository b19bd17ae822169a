"""AdversarialMap: a critic leads the map to a planted rotation; the best state of all is kept."""

import pickle
import re
import warnings

import numpy as np
import pytest
import torch
from scipy.linalg import expm
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from posthoc_align import AdversarialMap, PivotAligner
from posthoc_align.align._training.adversary import quality

RATE = 0.1
SHORT = {"learning_rate": RATE, "max_epochs": 2, "batch_size": 32, "n_hidden": 8}
start_may_win = pytest.mark.filterwarnings("ignore:No state of training was better")


def planted(n=300, d=8, seed=0, angle=0.1):
    """A skew cloud; the same and some more rows, turned, shifted, in another order; the turn."""
    rng = np.random.default_rng(seed)
    rows = rng.exponential(size=(n + 40, d)) * np.arange(1.0, d + 1) ** -0.5
    tilt = rng.normal(size=(d, d))
    turn = expm(angle * (tilt - tilt.T))
    return rows[:n], rng.permutation(rows) @ turn + 3, turn


def far(matrix, turn):
    """Root mean square difference, over that of orthogonal entries."""
    return np.linalg.norm(matrix - turn) / len(turn) ** 0.5


@pytest.fixture(scope="module", autouse=True)
def _torch_is_warm():
    """The first gradient takes a second, which no single test should be charged with."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        AdversarialMap(**SHORT).fit(*planted(n=20)[:2])


# --- planted answers ------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_small_rotation_is_recovered_from_rows_in_another_order():
    X, y, turn = planted()
    map_ = AdversarialMap(learning_rate=RATE).fit(X, y)
    assert far(map_.matrix_, turn) < 0.6 * far(np.eye(8), turn)
    assert map_.quality_ > map_.history_["quality"][0][0]
    np.testing.assert_allclose(map_.mean_out_, y.mean(axis=0))
    np.testing.assert_allclose(map_.inverse_transform(map_.transform(X)), X, atol=1e-9)


@start_may_win
@pytest.mark.parametrize("cycle_loss", ["squared", "contrastive"])
def test_with_a_cycle_rows_come_back_closer_to_where_they_set_out(cycle_loss):
    X, y, _ = planted(n=100)
    lost = []
    for weight in (0.0, 3.0):
        settings = {"learning_rate": RATE, "max_epochs": 10, "orthogonality": 0.0}
        map_ = AdversarialMap(cycle=weight, cycle_loss=cycle_loss, **settings).fit(X, y)
        lost.append(map_.history_["cycle"][0][-1])
    assert lost[1] < 0.95 * lost[0]


def test_the_pull_to_orthogonality_keeps_the_map_near_an_orthogonal_one():
    X, y, _ = planted(n=100)
    y = y * np.linspace(0.5, 1.5, 8)  # no rotation would do
    settings = {"learning_rate": RATE, "max_epochs": 5, "cycle": 0.0}
    off = []
    for pull in (0.0, 0.2):
        C = AdversarialMap(orthogonality=pull, **settings).fit(X, y).matrix_
        off.append(np.linalg.norm(C.T @ C - np.eye(8)))
    assert off[1] < 0.5 * off[0]


def test_a_linear_critic_brings_the_means_of_uncentred_clouds_together():
    X, y, _ = planted(n=100, angle=0.0)
    X = X + 3
    y = y + np.linspace(-0.5, 0.5, 8)
    settings = {"critic": "linear", "center": False, "learning_rate": RATE, "n_restarts": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        map_ = AdversarialMap(**settings).fit(X, y)
    gaps = map_.history_["distance"][0]
    assert abs(gaps[-1]) < 0.5 * max(np.abs(gaps))
    np.testing.assert_array_equal(map_.mean_in_, 0)


@start_may_win
def test_each_language_is_mapped_onto_the_pivot_without_pairs():
    X, y, _ = planted(n=100)
    rows, language = np.vstack([y, X]), np.repeat(["en", "de"], [len(y), len(X)])
    aligner = PivotAligner(AdversarialMap(**SHORT), recipe=None).fit(rows, language=language)
    direct = AdversarialMap(**SHORT).fit(X, y)
    np.testing.assert_array_equal(aligner.maps_["de"].matrix_, direct.matrix_)
    assert aligner.n_pairs_ == {"de": 100}


# --- selection ------------------------------------------------------------------------------------


@start_may_win
@pytest.mark.parametrize("start", ["identity", "random"])
def test_the_best_state_of_all_restarts_is_kept_the_starts_among_them(start):
    X, y, _ = planted(n=100)
    map_ = AdversarialMap(start=start, **{**SHORT, "n_restarts": 4}).fit(X, y)
    qualities = map_.history_["quality"]
    assert len(qualities) == 4
    assert all(len(game) == 1 + SHORT["max_epochs"] for game in qualities)
    assert map_.quality_ == max(max(game) for game in qualities)
    assert map_.quality_ == qualities[map_.best_restart_][map_.best_epoch_]
    assert len({tuple(game) for game in qualities}) == 4  # every game is another one
    z, target = map_.transform(X) - map_.mean_out_, y - map_.mean_out_
    again = quality(torch.as_tensor(z), torch.as_tensor(target), map_.neighbors)
    assert again == pytest.approx(map_.quality_, abs=1e-9)


def test_more_restarts_are_never_judged_worse():
    X, y, _ = planted(n=100)
    one = AdversarialMap(learning_rate=RATE, n_restarts=1, max_epochs=5).fit(X, y)
    three = AdversarialMap(learning_rate=RATE, n_restarts=3, max_epochs=5).fit(X, y)
    assert one.history_["quality"][0] == three.history_["quality"][0]
    assert three.quality_ >= one.quality_ > one.history_["quality"][0][0]


def test_training_that_only_harms_leaves_the_start_and_says_so():
    X = planted(n=100)[0]
    map_ = AdversarialMap(**{**SHORT, "learning_rate": 0.5, "orthogonality": 0.0})
    with pytest.warns(ConvergenceWarning, match=r"No state .* better than the start \(quality 0\."):
        map_.fit(X, X)
    assert map_.best_epoch_ == 0
    np.testing.assert_array_equal(map_.matrix_, np.eye(8))


def test_a_game_that_diverges_is_ended_and_the_last_good_state_kept():
    X, y, _ = planted(n=100)
    map_ = AdversarialMap(**{**SHORT, "learning_rate": 1e6})
    with pytest.warns(ConvergenceWarning) as caught:
        map_.fit(X, y)
    says = " ".join(str(warning.message) for warning in caught)
    assert re.search(r"1 of 1 games diverged at a learning rate of 1000000.0; .* Choose a", says)
    assert np.isfinite(map_.transform(X)).all()
    assert map_.n_iter_ == 0


def test_drawing_all_rows_together_is_not_taken_for_closeness():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 8))
    y = x + 0.3 * rng.normal(size=(200, 8))
    collapse = np.outer(np.ones(8), np.ones(8)) / 8 + 0.05 * np.eye(8)
    x, y, collapse = (torch.as_tensor(part) for part in (x, y, collapse))
    assert quality(x @ collapse, y, 10) < quality(x, y, 10) - 0.1


# --- determinism and kinds ------------------------------------------------------------------------


@start_may_win
@pytest.mark.parametrize("start", ["identity", "random"])
def test_the_same_seed_gives_the_same_map_and_another_one_another(start):
    X, y, _ = planted(n=100)
    map_ = AdversarialMap(start=start, **SHORT)
    once = clone(map_).fit(X, y).history_
    assert map_.fit(X, y).history_ == once
    assert pickle.loads(pickle.dumps(map_)).history_ == once
    assert map_.set_params(random_state=1).fit(X, y).history_ != once


@start_may_win
def test_every_kind_gives_the_same_map_in_its_own_kind(kind, as_kind, rows_of):
    X, y, _ = planted(n=100)
    expected = AdversarialMap(**SHORT).fit(X, y)
    map_ = AdversarialMap(**SHORT).fit(as_kind(X), as_kind(y))
    Z = map_.transform(as_kind(X))
    assert type(Z) is type(as_kind(X))
    assert Z.dtype == as_kind(X).dtype
    # a game carries rounding on from step to step
    np.testing.assert_allclose(
        rows_of(Z), expected.transform(X), atol=1e-9 if "64" in kind else 1e-2
    )
    for fitted in (map_.matrix_, map_.backward_matrix_, map_.mean_in_):
        assert isinstance(fitted, np.ndarray)
        assert fitted.dtype == np.float64


@start_may_win
@pytest.mark.parametrize("narrow", ["numpy float16", "torch bfloat16"])
def test_sixteen_bits_come_back_as_sixteen_bits(narrow, make_kind):
    X, y = (make_kind(part, narrow) for part in planted(n=60)[:2])
    assert AdversarialMap(**SHORT).fit(X, y).transform(X).dtype == X.dtype


@start_may_win
def test_the_unit_of_the_rows_does_not_matter():
    X, y, _ = planted(n=100)
    here = AdversarialMap(**SHORT).fit(X, y).matrix_
    there = AdversarialMap(**SHORT).fit(1000 * X + 5, 1000 * y).matrix_
    np.testing.assert_allclose(there, here, atol=1e-8)


# --- degenerate input -----------------------------------------------------------------------------


@start_may_win
@pytest.mark.parametrize("widths", [(6, 3), (3, 6)])
def test_spaces_of_unequal_width_start_from_random_isometries(widths):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(50, widths[0])), rng.normal(size=(70, widths[1]))
    map_ = AdversarialMap(start="random", **SHORT).fit(X, y)
    assert map_.transform(X).shape == (50, widths[1])
    assert map_.backward_matrix_.shape == widths[::-1]


@start_may_win
@pytest.mark.parametrize("sizes", [(100, 2), (2, 100)])
def test_clouds_of_very_different_size_give_a_finite_map(sizes):
    X, y, _ = planted(n=100)
    map_ = AdversarialMap(**SHORT).fit(X[: sizes[0]], y[: sizes[1]])
    assert np.isfinite(map_.matrix_).all()


@start_may_win
def test_zero_vectors_duplicates_and_constant_columns_do_no_harm():
    X, y, _ = planted(n=100)
    X, y = X - X.mean(axis=0), y - y.mean(axis=0)
    X[:, 3], y[:, 3] = 0.0, 0.0
    X[4:6], y[7] = 0.0, 0.0
    X[10:20] = X[10]
    for center in (True, False):
        map_ = AdversarialMap(center=center, **SHORT).fit(X, y)
        assert np.isfinite(map_.transform(X)).all()
        assert np.isfinite(map_.quality_)


def test_clouds_without_spread_are_only_shifted():
    X = np.full((6, 3), 2.0)
    with pytest.warns(ConvergenceWarning, match=r"quality 0.0000.* Give more rows"):
        map_ = AdversarialMap(**SHORT).fit(X, X + 1)
    np.testing.assert_allclose(map_.transform(X), X + 1)


def test_errors_say_what_to_do():
    X, y, _ = planted(n=60)
    with pytest.raises(ValueError, match=r"X has only 1 row \(n_samples = 1\).* Add rows"):
        AdversarialMap().fit(X[:1], y)
    with pytest.raises(ValueError, match=r"y has only 1 row .* Add rows"):
        AdversarialMap().fit(X, y[:1])
    with pytest.raises(ValueError, match=r"8 features and y has 3.* Choose start='random'"):
        AdversarialMap().fit(X, y[:, :3])
    with pytest.raises(ValueError, match="requires y to be passed"):
        AdversarialMap().fit(X)
    with pytest.raises(ValueError, match=r"both must be of one kind .* Move one"):
        AdversarialMap().fit(X, torch.as_tensor(y))
    for bad, word in ((np.nan, "NaN"), (np.inf, "infinity")):
        broken = y.copy()
        broken[7, 0] = bad
        with pytest.raises(ValueError, match=rf"y contains {word}, first in row 7. Remove"):
            AdversarialMap().fit(X, broken)
    with pytest.raises(ValueError, match=r"critic='linear' .* choose center=False"):
        AdversarialMap(critic="linear").fit(X, y)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"start": "convex"}, r"start='convex' is not known: choose one of \('identity', 'random'"),
        ({"critic": "cnn"}, r"critic='cnn' is not known: choose one of \('mlp', 'linear'\)"),
        ({"cycle_loss": None}, r"cycle_loss=None is not known: choose one of \('squared'"),
        ({"orthogonality": 1}, "orthogonality=1 is out of range: give a number from 0 up to"),
        ({"gradient_penalty": -1}, "gradient_penalty=-1 is out of range: give a number >= 0"),
        ({"temperature": 0}, "temperature=0 is out of range: give a number > 0"),
        ({"batch_size": 1}, "batch_size=1 is out of range: give an integer >= 2"),
        ({"n_restarts": 0}, "n_restarts=0 is out of range: give an integer >= 1"),
        ({"max_epochs": 1.5}, "max_epochs=1.5 is out of range: give an integer >= 1"),
    ],
)
def test_parameters_out_of_range_are_refused(parameters, message):
    X, y, _ = planted(n=20)
    with pytest.raises(ValueError, match=message):
        AdversarialMap(**parameters).fit(X, y)
