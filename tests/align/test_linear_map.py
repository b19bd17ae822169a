"""LinearMap: ridge towards a prior, and the exact leave-one-out choice of its penalty."""

import pickle
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, Ridge, RidgeCV

from posthoc_align import LinearMap, Procrustes

PRIORS = ["identity", "zero", "procrustes"]


def pairs(seed=0, n=40, d_in=5, d_out=5, noise=1.0):
    """Pairs with a linear relation not far from the identity, both spaces off the origin."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d_in)) * np.linspace(0.3, 3, d_in) + 2
    W = np.eye(d_in, d_out) + 0.3 * rng.normal(size=(d_in, d_out))
    return X, X @ W - 1 + noise * rng.normal(size=(n, d_out))


def prior_of(name, X, Y, center=True):
    """The prior, computed apart from the class."""
    if name == "identity":
        return np.eye(X.shape[1])
    if name == "zero":
        return np.zeros((X.shape[1], Y.shape[1]))
    return Procrustes(center=center).fit(X, Y).rotation_


def centred(X, Y, center=True):
    return (X - X.mean(axis=0), Y - Y.mean(axis=0)) if center else (X, Y)


# --- the optimum ------------------------------------------------------------------------------


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("penalty", [0, 0.5, 30.0])
def test_the_gradient_vanishes_at_the_solution(prior, center, penalty):
    X, Y = pairs()
    map_ = LinearMap(prior=prior, penalty=penalty, center=center).fit(X, Y)
    x, y = centred(X, Y, center)
    P = prior_of(prior, X, Y, center)
    np.testing.assert_allclose(map_.prior_, P, atol=1e-12)
    gradient = x.T @ (x @ map_.coef_ - y) + penalty * (map_.coef_ - P)
    np.testing.assert_allclose(gradient, 0, atol=1e-11 * np.abs(x.T @ y).max())
    away = x.T @ (x @ P - y)
    assert np.abs(away).max() > 1  # the prior itself is not the solution


@pytest.mark.parametrize("center", [True, False])
def test_rows_are_mapped_mean_onto_mean_or_about_the_origin(center, as_kind, rows_of, rtol):
    X, Y = pairs()
    map_ = LinearMap(penalty=1.0, center=center).fit(as_kind(X), as_kind(Y))
    expected = X @ map_.coef_
    if center:
        expected = (X - X.mean(axis=0)) @ map_.coef_ + Y.mean(axis=0)
    np.testing.assert_allclose(rows_of(map_.transform(as_kind(X))), expected, atol=100 * rtol)


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("d_out", [1, 3, 8])
def test_with_prior_zero_it_is_the_ridge_of_scikit_learn(center, d_out):
    X, Y = pairs(d_out=d_out)
    map_ = LinearMap(prior="zero", penalty=2.0, center=center).fit(X, Y)
    peer = Ridge(alpha=2.0, fit_intercept=center).fit(X, Y)
    np.testing.assert_allclose(map_.coef_, peer.coef_.reshape(d_out, -1).T, atol=1e-11)
    np.testing.assert_allclose(map_.transform(X), peer.predict(X).reshape(-1, d_out), atol=1e-11)


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("center", [True, False])
def test_any_prior_is_a_ridge_of_what_the_prior_leaves(prior, center):
    X, Y = pairs()
    map_ = LinearMap(prior=prior, penalty=2.0, center=center).fit(X, Y)
    P = prior_of(prior, X, Y, center)
    peer = Ridge(alpha=2.0, fit_intercept=center).fit(X, Y - X @ P)
    np.testing.assert_allclose(map_.transform(X), peer.predict(X) + X @ P, atol=1e-11)


@pytest.mark.parametrize("prior", PRIORS)
def test_without_penalty_it_is_least_squares(prior):
    X, Y = pairs()
    expected = LinearRegression().fit(X, Y).predict(X)
    map_ = LinearMap(prior=prior, penalty=0).fit(X, Y)
    np.testing.assert_allclose(map_.transform(X), expected, atol=1e-10)


@pytest.mark.parametrize("prior", PRIORS)
def test_a_huge_penalty_gives_the_prior(prior):
    X, Y = pairs()
    map_ = LinearMap(prior=prior, penalty=1e12).fit(X, Y)
    np.testing.assert_allclose(map_.coef_, prior_of(prior, X, Y), atol=1e-8)  # X'Y / 1e12


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_with_few_pairs_and_no_penalty_it_is_the_exact_map_nearest_the_prior(prior, center, dtype):
    X, Y = (Z.astype(dtype) for Z in pairs(n=6, d_in=12, d_out=12))
    map_ = LinearMap(prior=prior, penalty=0, center=center).fit(X, Y)
    x, y = centred(X.astype(np.float64), Y.astype(np.float64), center)
    expected = map_.prior_ + np.linalg.pinv(x, rcond=1e-8) @ (y - x @ map_.prior_)
    # Squaring in the normal equations loses the condition number of x, some ten, twice.
    tight = 1e-9 if dtype == "float64" else 1e-3
    np.testing.assert_allclose(map_.coef_, expected, atol=tight)
    np.testing.assert_allclose(map_.transform(X), Y, atol=10 * tight)


def test_a_planted_map_comes_back_without_noise():
    X, Y = pairs(noise=0.0)
    map_ = LinearMap(penalty=0).fit(X, Y)
    np.testing.assert_allclose(map_.transform(X), Y, atol=1e-11)
    assert np.abs(X - Y).max() > 1  # it was not aligned before


def test_the_unconstrained_mapping_of_vecmap_agrees(official):
    X, reference = official("inputs")["X_fit"], official("vecmap_supervised")
    rows = reference["dictionary_rows"]
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (X[1], X[0])]
    source, target = (x - x.mean(axis=0) for x in unit)
    map_ = LinearMap(prior="zero", penalty=0, center=False).fit(source[rows], target[rows])
    ours = map_.transform(source)
    np.testing.assert_allclose(ours, reference["unconstrained_unit_center_src"], atol=1e-7, rtol=0)
    np.testing.assert_allclose(
        target, reference["unconstrained_unit_center_trg"], atol=1e-7, rtol=0
    )


# --- leave one out ----------------------------------------------------------------------------


def left_out_error(X, Y, prior, penalty, center):
    """Mean squared error of each pair under a map refitted without it; P is held fixed."""
    P = prior_of(prior, X, Y, center)
    errors = []
    for i in range(len(X)):
        x, y = np.delete(X, i, axis=0), np.delete(Y, i, axis=0)
        mean_x, mean_y = (x.mean(axis=0), y.mean(axis=0)) if center else (0, 0)
        x, y = x - mean_x, y - mean_y
        W = np.linalg.solve(x.T @ x + penalty * np.eye(len(P)), x.T @ y + penalty * P)
        errors.append(((Y[i] - mean_y - (X[i] - mean_x) @ W) ** 2).sum())
    return np.mean(errors)


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("n", [25, 8])
def test_the_leave_one_out_error_is_that_of_refitting_without_each_pair(prior, center, n):
    X, Y = pairs(n=n, d_in=10, d_out=10)
    map_ = LinearMap(prior=prior, center=center).fit(X, Y)
    brute = left_out_error(X, Y, prior, map_.penalty_, center)
    np.testing.assert_allclose(map_.leave_one_out_, brute, rtol=1e-8)


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("seed", range(3))
def test_no_other_penalty_has_a_smaller_leave_one_out_error(prior, seed):
    X, Y = pairs(seed, n=15, d_in=6, d_out=6, noise=2.0)
    map_ = LinearMap(prior=prior).fit(X, Y)
    for penalty in np.logspace(-3, 5, 33):
        # Near the minimum the error is flat: a search may stop a thousandth above it.
        error = left_out_error(X, Y, prior, penalty, center=True)
        assert map_.leave_one_out_ <= 1.001 * error


def test_scikit_learn_chooses_the_same_penalty_from_a_fine_grid():
    X, Y = pairs(1, n=30, noise=3.0)
    chosen = LinearMap(prior="zero").fit(X, Y).penalty_
    grid = np.logspace(-3, 5, 400)
    peer = RidgeCV(alphas=grid).fit(X, Y).alpha_
    # A step of the grid is 5 %; the bottom of the curve is flat over a few steps.
    np.testing.assert_allclose(np.log(chosen), np.log(peer), atol=0.25)


def test_the_fit_is_the_one_of_the_penalty_it_reports():
    X, Y = pairs()
    auto = LinearMap().fit(X, Y)
    given_ = LinearMap(penalty=auto.penalty_).fit(X, Y)
    np.testing.assert_allclose(auto.coef_, given_.coef_, atol=1e-12)
    assert given_.leave_one_out_ is None


def test_the_noisier_the_pairs_the_closer_the_map_stays_to_the_prior():
    distance = []
    for noise in (0.01, 1.0, 100.0):
        X, Y = pairs(2, noise=noise)
        distance.append(np.linalg.norm(LinearMap().fit(X, Y).coef_ - np.eye(5)))
    truth = np.linalg.norm(LinearMap(penalty=0).fit(*pairs(2, noise=0.0)).coef_ - np.eye(5))
    np.testing.assert_allclose(distance[0], truth, rtol=0.05)
    X, Y = pairs(2, noise=100.0)
    assert distance[2] < 0.5 * np.linalg.norm(LinearMap(penalty=0).fit(X, Y).coef_ - np.eye(5))


@pytest.mark.parametrize("seed", range(3))
def test_on_held_out_pairs_the_chosen_penalty_beats_least_squares_and_the_prior(seed):
    X, Y = pairs(seed, n=2000, d_in=20, d_out=20, noise=3.0)
    train, test = slice(0, 30), slice(30, None)
    score = lambda penalty: (  # noqa: E731
        LinearMap(penalty=penalty).fit(X[train], Y[train]).score(X[test], Y[test])
    )
    assert score("auto") > score(0)
    assert score("auto") > score(1e12)


def test_the_chosen_penalty_does_not_depend_on_the_kind_of_array(as_kind):
    X, Y = pairs(n=30)
    expected = LinearMap().fit(X, Y)
    map_ = LinearMap().fit(as_kind(X), as_kind(Y))
    # Twice the square root of the arithmetic's resolution: the flat bottom of the curve.
    np.testing.assert_allclose(map_.penalty_, expected.penalty_, rtol=1e-2)
    np.testing.assert_allclose(map_.leave_one_out_, expected.leave_one_out_, rtol=1e-5)


def test_rows_that_never_vary_are_mapped_to_the_mean_of_their_counterparts():
    Y = pairs()[1]
    map_ = LinearMap().fit(np.full((40, 5), 0.1), Y)
    Z = map_.transform(np.full((1, 5), 0.1))
    np.testing.assert_allclose(Z[0], Y.mean(axis=0), atol=1e-12)


# --- widths -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("d_in", "d_out"), [(6, 4), (4, 6)])
@pytest.mark.parametrize("prior", ["zero", "procrustes"])
def test_spaces_of_different_width_are_mapped(d_in, d_out, prior):
    X, Y = pairs(d_in=d_in, d_out=d_out)
    map_ = LinearMap(prior=prior, penalty=1.0).fit(X, Y)
    assert map_.transform(X).shape == Y.shape
    assert map_.inverse_transform(Y).shape == X.shape


def test_the_inverse_gives_the_rows_back_where_the_map_is_invertible(as_kind, rows_of, rtol):
    X, Y = pairs()
    map_ = LinearMap(penalty=1.0).fit(as_kind(X), as_kind(Y))
    back = rows_of(map_.inverse_transform(map_.transform(as_kind(X))))
    np.testing.assert_allclose(back, X, atol=1000 * rtol)  # times the map's condition number


def test_elsewhere_the_inverse_is_the_least_squares_one():
    X, Y = pairs(d_in=6, d_out=4)
    map_ = LinearMap(prior="zero", penalty=1.0).fit(X, Y)
    expected = (Y - map_.mean_out_) @ np.linalg.pinv(map_.coef_) + map_.mean_in_
    np.testing.assert_allclose(map_.inverse_transform(Y), expected, atol=1e-11)


# --- ways to fit and to use -------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), prior=st.sampled_from(PRIORS), center=st.booleans())
def test_a_stream_of_batches_gives_the_same_fit(seed, prior, center):
    rng = np.random.default_rng(seed)
    X, Y = pairs(seed)
    edges = [0, *np.unique(rng.integers(1, 39, size=4)), 40]
    stream = LinearMap(prior=prior, penalty=1.0, center=center)
    for a, b in pairwise(edges):
        stream.partial_fit(X[a:b], Y[a:b])
    whole = LinearMap(prior=prior, penalty=1.0, center=center).fit(X, Y)
    # 1e-10 of moments, over the gap below which a rotation turns freely (prior procrustes).
    np.testing.assert_allclose(stream.coef_, whole.coef_, atol=1e-8)


def test_merged_moments_give_the_same_fit():
    X, Y = pairs()
    a, b = (LinearMap(penalty=1.0).fit(X[i::2], Y[i::2]).moments_ for i in (0, 1))
    merged = LinearMap(penalty=1.0).fit_moments(a + b)
    np.testing.assert_allclose(merged.coef_, LinearMap(penalty=1.0).fit(X, Y).coef_, atol=1e-12)


def test_moments_without_the_scatter_of_rows_are_refused():
    moments = Procrustes().fit(*pairs()).moments_
    with pytest.raises(ValueError, match=r"needs the scatter of X: accumulate .*scatter=True"):
        LinearMap(penalty=1.0).fit_moments(moments)


@pytest.mark.parametrize("penalty", [1.0, "auto"])
def test_fit_transform_is_fit_and_then_transform(as_kind, rows_of, penalty):
    X, Y = (as_kind(Z) for Z in pairs())
    together = rows_of(LinearMap(penalty=penalty).fit_transform(X, Y))
    apart = LinearMap(penalty=penalty).fit(X, Y).transform(X)
    np.testing.assert_array_equal(together, rows_of(apart))


@pytest.mark.parametrize("door", ["numpy float16", "torch float16", "torch bfloat16"])
@pytest.mark.parametrize("penalty", [1.0, "auto"])
def test_half_precision_rows_come_back_in_half_precision(door, penalty, make_kind, rows_of):
    x, y = (make_kind(Z, door) for Z in pairs())
    Z = LinearMap(penalty=penalty).fit(x, y).transform(x)
    assert type(Z) is type(x)
    assert Z.dtype == x.dtype
    exact = LinearMap(penalty=penalty).fit(rows_of(x), rows_of(y)).transform(rows_of(x))
    step = 2.0**-8 if "bfloat" in door else 2.0**-11  # relative rounding of the stored answer
    np.testing.assert_allclose(rows_of(Z), exact, rtol=step, atol=2e-3)


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"prior": "rotation"}, r"prior='rotation' is not known: choose one of .*identity"),
        ({"metric": "cosine"}, r"metric='cosine' is not known: choose one of .*within-concept"),
        ({"penalty": -1.0}, r"penalty=-1.0 is out of range: give a number >= 0, or 'auto'"),
        ({"penalty": np.nan}, "penalty=nan is out of range"),
        ({"penalty": np.inf}, "penalty=inf is out of range"),
        ({"penalty": "loo"}, "penalty='loo' is out of range"),
        ({"penalty": None}, "penalty=None is out of range"),
    ],
)
def test_parameters_out_of_range_are_explained_at_fit(parameters, says):
    with pytest.raises(ValueError, match=says):
        LinearMap(**parameters).fit(*pairs())


def test_clone_pickle_and_pandas_output():
    X, Y = pairs()
    map_ = LinearMap(prior="zero", penalty=1.0).fit(X, Y)
    expected = {"prior": "zero", "penalty": 1.0, "metric": "identity", "center": True}
    assert clone(map_).get_params() == expected
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(map_)).transform(X), map_.transform(X))
    Z = map_.transform(torch.as_tensor(X))  # fitted on NumPy rows, used on a tensor
    np.testing.assert_allclose(Z.numpy(), map_.transform(X), atol=1e-13)
    out = map_.set_output(transform="pandas").transform(pd.DataFrame(X))
    assert list(out.columns) == [f"linearmap{i}" for i in range(5)]


@pytest.mark.parametrize("penalty", ["auto", 1e-12])
def test_rows_of_low_rank_without_noise_are_fitted(penalty):
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(200, 3)) @ rng.normal(size=(3, 40))).astype(np.float32)
    y = X @ rng.normal(size=(40, 5)).astype(np.float32)
    fitted = LinearMap(prior="zero", penalty=penalty).fit(X, y)
    np.testing.assert_allclose(fitted.transform(X), y, atol=1e-3 * np.abs(y).max())
