"""ContrastiveMap: planted maps come back, the best state is kept, wrong settings are explained."""

import pickle
import warnings

import numpy as np
import pytest
import scipy.linalg
import torch
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from posthoc_align import ContrastiveMap, LinearMap, PivotAligner, Procrustes
from posthoc_align.align._training.forms import orthonormalise
from posthoc_align.align._training.optimise import Schedule, descend
from posthoc_align.datasets import load_parallel_topics
from posthoc_align.metrics import strong_alignment, weak_alignment

COSINE = ["infonce", "additive_margin", "triplet"]
LOSSES = [*COSINE, "rcsls", "mse"]
FORMS = ["linear", "orthogonal", "low_rank", "residual"]
FAST = {
    "learning_rate": 0.03,
    "max_epochs": 30,
    "batch_size": 64,
    "rank": 8,
    "validation_fraction": 0.1,
    "random_state": 0,
}


def planted(seed=0, n=200, d=8, noise=0.1):
    """Rows and the same rows rotated, shifted and disturbed."""
    rng = np.random.default_rng(seed)
    X, turn = rng.normal(size=(n, d)) + 2, rng.normal(size=(d, d)) / np.sqrt(d)
    Q = scipy.linalg.expm(turn - turn.T)  # no mirror: descent cannot reach one by rotations
    return X, X @ Q + 5 + noise * rng.normal(size=(n, d))


def found(map_, X, y):
    """How many rows find their counterpart, about the mean that rows are mapped onto."""
    x, y = map_.transform(X) - map_.mean_out_, map_.transform_target(y) - map_.mean_out_
    return weak_alignment(x, y)


def bilingual(language="de"):
    """Training and held-out pairs of a language of the bundled corpus with English, centred."""
    corpus = load_parallel_topics()
    X, train = corpus.embeddings.astype(np.float32), corpus.split != "test"
    sides = []
    for label in (language, "en"):
        rows = corpus.language == label
        fit, test = X[rows & train], X[rows & ~train]
        sides.append((fit - fit.mean(axis=0), test - fit.mean(axis=0)))
    (x, x_test), (y, y_test) = sides
    return x, y, x_test, y_test


# --- planted answers --------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_and_form_brings_planted_pairs_together(loss, form):
    X, y = planted()
    assert weak_alignment(X - X.mean(axis=0), y - y.mean(axis=0)) < 0.1
    map_ = ContrastiveMap(loss=loss, form=form, start="identity", stay_close=0.0, **FAST)
    assert found(map_.fit(X, y), X, y) > 0.7


def test_rows_that_do_not_correspond_do_not_generalise():
    X, y = planted()
    shuffled = np.random.default_rng(1).permutation(y[:100])
    map_ = ContrastiveMap(start="identity", **FAST).fit(X[:100], shuffled)
    assert found(map_, X[100:], y[100:]) < 0.2


def test_numpy_and_tensors_of_either_precision_agree(as_kind, rows_of, rtol):
    X, y = planted()
    map_ = ContrastiveMap(**{**FAST, "max_epochs": 3})
    expected = map_.fit(X, y).transform(X)
    x, target = as_kind(X), as_kind(y)
    Z = map_.fit(x, target).transform(x)
    assert type(Z) is type(x)
    assert Z.dtype == x.dtype
    # Steps of gradient descent carry rounding on: a hundred times that of one product.
    np.testing.assert_allclose(rows_of(Z), expected, atol=1000 * rtol)
    assert map_.coef_.dtype == np.float64
    assert isinstance(map_.coef_, np.ndarray)


@pytest.mark.parametrize("door", ["numpy float16", "torch float16", "torch bfloat16"])
def test_half_precision_rows_come_back_in_half_precision(door, make_kind, rows_of):
    x, y = (make_kind(Z, door) for Z in planted())
    Z = ContrastiveMap(**FAST).fit(x, y).transform(x)
    assert type(Z) is type(x)
    assert Z.dtype == x.dtype
    assert np.isfinite(rows_of(Z)).all()


def test_a_teacher_of_another_width_is_distilled():
    X, y = planted(d=8)
    teacher = np.tanh(y @ np.random.default_rng(2).normal(size=(8, 5)) / 8)
    for form in ("linear", "residual"):
        map_ = ContrastiveMap(loss="mse", start="procrustes", stay_close=0.0, form=form, **FAST)
        assert map_.fit(X, teacher).transform(X).shape == (200, 5)
        assert map_.score(X, teacher) > Procrustes().fit(X, teacher).score(X, teacher)


@pytest.mark.parametrize("weight", [0.0, 20.0])
def test_squared_distance_ends_at_the_closed_form(weight):
    X, y = planted()
    settings = {"loss": "mse", "batch_size": None, "learning_rate": 0.1, "max_epochs": 500}
    map_ = ContrastiveMap(stay_close=weight, **settings).fit(X, y)
    exact = LinearMap(penalty=weight).fit(X, y)
    np.testing.assert_allclose(map_.matrix_, exact.matrix_, atol=1e-6)
    np.testing.assert_allclose(map_.transform(X), exact.transform(X), atol=1e-5)


def test_staying_close_keeps_the_map_at_its_start():
    X, y = planted()
    moved = []
    for weight in (0.0, 100.0, 1e8):
        map_ = ContrastiveMap(loss="triplet", form="linear", stay_close=weight, **FAST).fit(X, y)
        matrix = map_.matrix_ / np.linalg.norm(map_.matrix_)
        moved.append(np.linalg.norm(matrix - np.eye(8) / np.sqrt(8)))
    assert moved[0] > moved[1] > moved[2]
    assert moved[2] < 0.05


# --- forms ------------------------------------------------------------------------------------


def test_an_orthogonal_map_is_orthogonal_and_a_low_rank_change_of_low_rank():
    X, y = planted()
    matrix = ContrastiveMap(form="orthogonal", **FAST).fit(X, y).matrix_
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(8), atol=1e-12)
    settings = {**FAST, "rank": 3, "start": "identity", "loss": "mse", "form": "low_rank"}
    change = ContrastiveMap(**settings).fit(X, y).matrix_ - np.eye(8)
    assert np.linalg.matrix_rank(change, tol=1e-10) == 3


@pytest.mark.parametrize("shape", [(6, 6), (6, 4), (4, 6)])
@pytest.mark.parametrize("far", [1e-3, 3.0])
def test_orthonormal_columns_are_restored_from_near_and_from_far(shape, far):
    rng = np.random.default_rng(0)
    start = np.linalg.svd(rng.normal(size=shape), full_matrices=False)
    coef = torch.as_tensor(start[0] @ start[2] + far * rng.normal(size=shape))
    orthonormalise({"coef": coef})
    values = np.linalg.svd(coef.numpy(), compute_uv=False)
    np.testing.assert_allclose(values, 1.0, atol=1e-4)


def test_the_residual_form_has_no_matrix_and_no_inverse():
    X, y = planted()
    map_ = ContrastiveMap(form="residual", **FAST).fit(X, y)
    assert not hasattr(map_, "matrix_")
    assert map_.hidden_in_.shape == (8, 8)
    assert not hasattr(map_, "inverse_transform")
    linear = map_.set_params(form="linear").fit(X, y)
    assert not hasattr(linear, "hidden_in_")
    np.testing.assert_allclose(linear.inverse_transform(linear.transform(X)), X, atol=1e-8)


@pytest.mark.parametrize("loss", COSINE)
def test_a_map_trained_on_cosines_makes_rows_as_long_as_their_targets(loss):
    X, y = planted()
    Z = ContrastiveMap(loss=loss, **FAST).fit(X, 7 * y).transform(X)
    lengths = [np.sqrt(((a - a.mean(axis=0)) ** 2).sum()) for a in (Z, 7 * y)]
    np.testing.assert_allclose(*lengths, rtol=1e-6)


def test_one_map_of_both_sides_moves_both():
    rng = np.random.default_rng(0)
    y = rng.normal(size=(200, 8))
    X = y + np.r_[np.ones(4) * 3, np.zeros(4)] * rng.normal(size=(200, 8))  # four noisy dimensions
    map_ = ContrastiveMap(sides="both", start="identity", stay_close=0.0, **FAST).fit(X, y)
    assert found(map_, X, y) > weak_alignment(X, y) + 0.1
    gains = np.linalg.norm(map_.matrix_, axis=1)
    assert gains[:4].max() < gains[4:].min()  # the noise is turned down
    one = ContrastiveMap(**FAST).fit(X, y)
    assert one.transform_target(y) is y


# --- RCSLS ------------------------------------------------------------------------------------


def unit(X):
    return X / np.linalg.norm(X, axis=1)[:, None]


@pytest.mark.parametrize("run", ["lr1", "lr5", "lr25", "lr2_center", "lr1_spectral"])
def test_the_official_rcsls_runs_are_reproduced(official, run):
    inputs, theirs = official("inputs"), official("rcsls")
    X, Y = (unit(inputs["X_fit"][i]) for i in (1, 0))
    if run.endswith("center"):
        X, Y = unit(X - X.mean(axis=0)), unit(Y - Y.mean(axis=0))
    train, test = theirs["train_rows"], theirs["test_rows"]
    map_ = ContrastiveMap(
        loss="rcsls",
        form="spectral" if run.endswith("spectral") else "linear",
        start="procrustes",
        stay_close=0.0,
        center=False,
        batch_size=None,
        learning_rate=int(run.split("_")[0][2:]),
        max_epochs=11,
        validation_fraction=0.0,
    ).fit(X[train], Y[train], candidates=(X, Y))
    np.testing.assert_allclose(map_.matrix_.T, theirs[f"{run}_R"], atol=1e-5, rtol=0)
    final = map_.history_["training"]
    np.testing.assert_allclose(final[-1], theirs[f"{run}_objective_final"], atol=1e-6, rtol=0)
    printed = theirs[f"{run}_objective_history_4digits"][1:]
    np.testing.assert_allclose(final[:-1], printed, atol=5.1e-5, rtol=0)
    cosines = map_.transform(X[test]) @ Y.T
    hits = (cosines.argmax(axis=1) == test).mean()
    np.testing.assert_allclose(hits, theirs[f"{run}_nn_accuracy"], rtol=1e-12)


def test_gradient_descent_on_all_pairs_never_goes_up_and_ends_where_no_step_helps():
    X, y = planted()
    settings = {"batch_size": None, "stay_close": 0.0}
    map_ = ContrastiveMap(learning_rate=1e4, max_epochs=60, **settings).fit(X, y)
    assert (np.diff(map_.history_["training"]) <= 0).all()
    assert found(map_, X, y) > 0.8


# --- stopping ---------------------------------------------------------------------------------


def test_the_state_of_least_held_out_loss_is_kept():
    goal = torch.tensor([10.0, 3.0])  # training rows pull to 10 and pass 3, where held-out ones are
    run = descend(
        {"w": torch.zeros(1)},
        lambda weights, rows: ((weights["w"] - goal[rows]) ** 2).mean(),
        lambda weights: 0.0,
        np.array([0]),
        np.array([1]),
        Schedule(batch_size=2, learning_rate=0.4, max_epochs=100, patience=4),
        project=lambda weights: None,
        random_state=np.random.RandomState(0),
    )
    assert 0 < run.best == np.argmin(run.held_out) < 20
    assert len(run.training) == run.best + 4 == len(run.held_out) - 1
    assert float((run.weights["w"] - 3) ** 2) == min(run.held_out)
    assert abs(float(run.weights["w"]) - 3) < 0.4


def test_pairs_are_held_out_and_stop_a_fit_that_learns_its_pairs_by_heart():
    X, y = planted(n=100, d=20, noise=2.0)
    settings = {**FAST, "stay_close": 0.0, "validation_fraction": 0.3, "max_epochs": 200}
    map_ = ContrastiveMap(**settings).fit(X, y)
    held_out = map_.history_["held_out"]
    assert map_.n_held_out_ == 30
    assert map_.best_epoch_ == np.argmin(held_out)
    assert map_.n_iter_ == map_.best_epoch_ + 5 == len(held_out) - 1 < 200


def test_a_start_that_training_cannot_better_is_kept():
    X = planted()[0]
    map_ = ContrastiveMap(loss="mse", **{**FAST, "start": "identity"}).fit(X, X)
    assert (map_.best_epoch_, map_.n_iter_) == (0, 5)
    np.testing.assert_array_equal(map_.coef_, np.eye(8))


@pytest.mark.parametrize("n", [10, 79])
def test_too_few_pairs_to_hold_any_out_train_to_the_last_epoch(n):
    X, y = planted(n=n)
    map_ = ContrastiveMap(**FAST).fit(X, y)
    assert map_.n_held_out_ == 0
    assert map_.history_["held_out"] == []
    assert map_.n_iter_ == map_.best_epoch_ == 30


@pytest.mark.parametrize("batch_size", [32, None])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_learning_rate_far_too_high_warns_at_most_and_leaves_no_nan(loss, batch_size):
    X, y = planted(n=60)
    settings = {**FAST, "learning_rate": 1e200, "batch_size": batch_size}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        map_ = ContrastiveMap(loss=loss, **settings).fit(X, y)
    assert np.isfinite(map_.coef_).all()
    if batch_size is not None:
        (warning,) = [w for w in caught if w.category is ConvergenceWarning]
        assert "diverged at a learning rate of 1e+200" in str(warning.message)
        assert "smaller learning_rate" in str(warning.message)


@pytest.mark.parametrize("form", FORMS)
def test_the_same_seed_gives_the_same_map_and_another_seed_another(form):
    X, y = planted()
    fits = [
        ContrastiveMap(form=form, **{**FAST, "max_epochs": 3, "random_state": seed}).fit(X, y)
        for seed in (1, 1, 2)
    ]
    mapped = [fit.transform(X) for fit in fits]
    np.testing.assert_array_equal(mapped[0], mapped[1])
    assert np.abs(mapped[0] - mapped[2]).max() > 1e-6


# --- degenerate rows and settings -------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES)
def test_zero_doubled_constant_and_collinear_rows_are_survived(loss):
    X, y = planted(n=60)
    X[:5] = X.mean(axis=0)
    X[5:10], y[5:10] = X[5], y[5]
    X[:, 3] = 1
    X[:, 4] = X[:, 5]
    assert np.isfinite(ContrastiveMap(loss=loss, **FAST).fit(X, y).transform(X)).all()
    same = np.ones((20, 3))
    assert np.isfinite(ContrastiveMap(loss=loss, **FAST).fit(same, same).transform(same)).all()


def test_fewer_pairs_than_dimensions_are_survived():
    X, y = planted(n=5, d=12)
    for start in ("identity", "procrustes", "ridge"):
        Z = ContrastiveMap(**{**FAST, "start": start}).fit(X, y).transform(X)
        assert np.isfinite(Z).all()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"loss": "cosine"}, "loss='cosine' is not known: choose one of .*'infonce'"),
        ({"form": "mlp"}, "form='mlp' is not known"),
        ({"start": "zero"}, "start='zero' is not known"),
        ({"sides": 2}, "sides=2 is not known"),
        ({"negatives": "hard"}, "negatives='hard' is not known"),
        ({"temperature": 0}, "temperature=0 is out of range: give a number > 0"),
        ({"stay_close": -1}, "stay_close=-1 is out of range"),
        ({"margin": -0.1}, "margin=-0.1 is out of range"),
        ({"batch_size": 1}, "batch_size=1 is out of range: give an integer >= 2"),
        ({"max_epochs": 0}, "max_epochs=0 is out of range"),
        ({"validation_fraction": 1.0}, "validation_fraction=1.0 is out of range"),
        ({"learning_rate": np.nan}, "learning_rate=nan is out of range"),
        ({"patience": True}, "patience=True is out of range"),
        ({"loss": "rcsls", "neighbors": 300}, "neighbors=300.*200 candidates.*choose at most"),
        ({"loss": "mse", "sides": "both"}, "shrink.*choose sides='one'"),
        ({"form": "orthogonal", "sides": "both"}, "changes no cosine: choose another form"),
        ({"device": "cuda:99"}, "device='cuda:99' cannot be used here.*Leave device=None"),
    ],
)
def test_a_setting_that_makes_no_sense_is_explained(settings, says):
    with pytest.raises(ValueError, match=f"(?s){says}"):
        ContrastiveMap(**settings).fit(*planted())


def test_spaces_of_unequal_width_need_a_start_that_can_join_them():
    X, y = planted()
    with pytest.raises(ValueError, match="equal width; X has 8.*5. Use start='procrustes'"):
        ContrastiveMap(start="identity").fit(X, y[:, :5])
    with pytest.raises(ValueError, match="equal width.*8.*5"):
        ContrastiveMap(sides="both").fit(X, y[:, :5])
    for start in ("procrustes", "ridge"):
        assert ContrastiveMap(**{**FAST, "start": start}).fit(X, y[:, :5]).coef_.shape == (8, 5)


def test_pairs_too_few_for_a_start_are_counted():
    X, y = planted(n=2)
    with pytest.raises(ValueError, match="start='ridge' needs at least 3 pairs and got 2"):
        ContrastiveMap(start="ridge").fit(X, y)
    slow = {**FAST, "start": "procrustes", "learning_rate": 1e-4}
    assert np.isfinite(ContrastiveMap(**slow).fit(X, y).coef_).all()


def test_candidates_are_checked():
    X, y = planted()
    rcsls = ContrastiveMap(loss="rcsls", **FAST)
    with pytest.raises(ValueError, match="candidates.*for loss='rcsls' alone: give"):
        ContrastiveMap().fit(X, y, candidates=(X, y))
    with pytest.raises(ValueError, match=r"candidates\[1\] has 5 features.*8: give"):
        rcsls.fit(X, y, candidates=(X, y[:, :5]))
    bad = X.copy()
    bad[3, 0] = np.nan
    with pytest.raises(ValueError, match=r"candidates\[0\] contains NaN, first in row 3"):
        rcsls.fit(X, y, candidates=(bad, y))
    with pytest.raises(ValueError, match=r"X is a NumPy array and candidates\[0\] is a torch"):
        rcsls.fit(X, y, candidates=(torch.as_tensor(X), y))
    assert found(rcsls.fit(X[:100], y[:100], candidates=(X, y)), X, y) > 0.7


# --- use --------------------------------------------------------------------------------------


def test_clone_pickle_and_a_fit_that_leaves_parameters_and_rows_alone():
    X, y = planted()
    before = X.copy(), y.copy()
    map_ = ContrastiveMap(form="residual", **FAST)
    parameters = map_.get_params()
    map_.fit(X, y)
    assert map_.get_params() == parameters == clone(map_).get_params()
    np.testing.assert_array_equal((X, y), before)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(map_)).transform(X), map_.transform(X))
    assert b"torch" not in pickle.dumps(map_)


def test_a_progress_bar_is_shown_only_where_it_is_asked_for(capsys):
    X, y = planted()
    ContrastiveMap(**FAST).fit(X, y)
    assert capsys.readouterr().err == ""
    ContrastiveMap(verbose=True, **FAST).fit(X, y)
    assert "epoch" in capsys.readouterr().err


def test_inside_a_pivot_aligner_other_languages_move_and_the_pivot_stays():
    X, y = planted()
    rows, language = np.vstack([X, y]), np.repeat(["de", "en"], 200)
    aligner = PivotAligner(ContrastiveMap(**FAST), pivot="en")
    Z = aligner.fit_transform(rows, language=language, pair_id=np.tile(np.arange(200), 2))
    assert weak_alignment(Z[:200], Z[200:]) > 0.9
    recipe = aligner.recipes_["en"].apply(y)
    np.testing.assert_array_equal(Z[200:], recipe)


def test_a_map_of_both_sides_is_no_map_onto_a_pivot_that_stays():
    X, y = planted()
    rows, language = np.vstack([X, y]), np.repeat(["de", "en"], 200)
    both = PivotAligner(ContrastiveMap(**FAST, sides="both"))
    with pytest.raises(ValueError, match="sides='both'.*Use it in SharedAligner"):
        both.fit_transform(rows, language=language, pair_id=np.tile(np.arange(200), 2))
    assert not hasattr(ContrastiveMap(), "onto_target")


def test_on_real_embeddings_training_betters_what_centring_does_on_held_out_pairs():
    x, y, x_test, y_test = bilingual()
    trained = ContrastiveMap(random_state=0).fit(x, y).transform(x_test)
    assert weak_alignment(trained, y_test) > weak_alignment(x_test, y_test) + 0.03
    assert strong_alignment(trained, y_test) > strong_alignment(x_test, y_test) + 0.03
