"""TransportMap: mass goes where it costs least, and new rows follow the rows that were fitted."""

import itertools
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import parametrize_with_checks

from posthoc_align import TransportMap
from posthoc_align.align.transport import transport_plan

TIGHT = {"tol": 1e-12, "max_iter": 20_000}
METHODS = ("entropic", "exact")


@pytest.fixture(scope="module", autouse=True)
def _solvers_are_loaded():
    """Importing POT takes seconds, which no single test should be charged with."""
    TransportMap().fit(np.eye(3), np.eye(3))


def two_clouds(seed=0, n=40, m=30, d=6, offset=2.0):
    """Samples of one shape, far from the origin and from each other, of different size."""
    rng = np.random.default_rng(seed)
    spread = np.arange(1, d + 1) ** -0.5
    return rng.normal(size=(n, d)) * spread + 5, rng.normal(size=(m, d)) * spread + 5 + offset


def planted(seed=0, n=60, d=8, noise=0.01):
    """X, its rows moved a little and shuffled, and where each row went."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    order = rng.permutation(n)
    y = np.empty_like(X)
    y[order] = X + noise * rng.normal(size=(n, d)) + 1
    return X, y, order


def squared(X, y):
    return cdist(X, y, "sqeuclidean")


def unit(X):
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def tight(kind):
    """Options with which the plan is exact up to the rounding of the kind."""
    return TIGHT if "64" in kind else {"tol": 3e-6, "max_iter": 5000}


# --- the laws of a plan -----------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("sizes", [(40, 40), (40, 30), (30, 40)])
def test_all_mass_leaves_every_row_and_reaches_every_row(method, sizes, kind, as_kind, rows_of):
    X, y = two_clouds(n=sizes[0], m=sizes[1])
    plan = rows_of(transport_plan(as_kind(X), as_kind(y), method=method, **tight(kind)))
    assert plan.shape == sizes
    assert plan.min() >= 0
    atol = 1e-12 if "64" in kind else 1e-5  # of a total mass of one
    np.testing.assert_allclose(plan.sum(axis=1), 1 / sizes[0], atol=atol)
    np.testing.assert_allclose(plan.sum(axis=0), 1 / sizes[1], atol=atol)


def test_the_entropic_plan_is_the_kernel_times_a_factor_a_row_and_one_a_column():
    X, y = two_clouds()
    plan = transport_plan(X, y, reg=0.1, **TIGHT)
    residual = np.log(plan) + squared(X, y) / (0.1 * squared(X, y).mean())
    residual -= residual.mean(axis=0)
    residual -= residual.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(residual, 0, atol=1e-10)  # zero gradient of the Lagrangian


def test_no_cyclic_exchange_makes_the_exact_plan_cheaper():
    X, y = two_clouds(n=12, m=12)
    sent = transport_plan(X, y, method="exact").argmax(axis=1)
    C = squared(X, y)
    for i, j, k in itertools.permutations(range(12), 3):
        assert (
            C[i, sent[i]] + C[j, sent[j]] + C[k, sent[k]]
            <= C[i, sent[j]] + C[j, sent[k]] + C[k, sent[i]] + 1e-12
        )


@pytest.mark.parametrize("method", METHODS)
def test_a_planted_shuffle_comes_back(method, as_kind, rows_of):
    X, y, order = planted()
    assert np.mean(squared(X, y).argmin(axis=1) == order) < 0.5  # the nearest row is not enough
    mapped = rows_of(TransportMap(method=method, reg=0.01).fit_transform(as_kind(X), as_kind(y)))
    np.testing.assert_array_equal(squared(mapped, y).argmin(axis=1), order)


def test_the_order_of_the_rows_does_not_matter():
    X, y = two_clouds()
    there = TransportMap(**TIGHT).fit(X, y).transform(X)
    again = TransportMap(**TIGHT).fit(X[::-1], y[::-1]).transform(X)
    np.testing.assert_allclose(again, there, rtol=1e-9)


# --- the laws of a map ------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_fitted_rows_go_to_the_average_of_where_their_mass_goes(
    method, kind, as_kind, rows_of, rtol
):
    X, y = two_clouds()
    # A barycentric image is exact whatever the columns: the last half step balances the rows.
    mapped = rows_of(TransportMap(method=method).fit_transform(as_kind(X), as_kind(y)))
    plan = rows_of(transport_plan(as_kind(X), as_kind(y), method=method))
    expected = plan @ y / plan.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(mapped, expected, atol=10 * rtol * np.abs(y).max())


@pytest.mark.parametrize("method", METHODS)
def test_moving_both_clouds_moves_the_images(method, as_kind, rows_of, rtol):
    X, y = two_clouds()
    new = two_clouds(seed=1)[0]
    here = TransportMap(method=method).fit(as_kind(X), as_kind(y)).transform(as_kind(new))
    there = TransportMap(method=method).fit(as_kind(X + 9), as_kind(y + 9))
    np.testing.assert_allclose(
        rows_of(there.transform(as_kind(new + 9))), rows_of(here) + 9, atol=100 * rtol
    )


@pytest.mark.parametrize("options", [{"method": "exact"}, {"scale_cost": False, "reg": 0.5}])
def test_the_distance_between_the_clouds_does_not_change_the_plan(options):
    X, y = two_clouds()
    here = transport_plan(X, y, **TIGHT, **options)
    np.testing.assert_allclose(transport_plan(X, y + 1000, **TIGHT, **options), here, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_the_unit_of_the_data_does_not_matter(method, kind, as_kind, rows_of, rtol):
    X, y = two_clouds()
    new = two_clouds(seed=1)[0]
    small = TransportMap(method=method, **tight(kind)).fit(as_kind(X), as_kind(y))
    large = TransportMap(method=method, **tight(kind)).fit(as_kind(1000 * X), as_kind(1000 * y))
    assert large.cost_scale_ == pytest.approx(1e6 * small.cost_scale_, rel=1e-5)
    np.testing.assert_allclose(
        rows_of(large.transform(as_kind(1000 * new))) / 1000,
        rows_of(small.transform(as_kind(new))),
        atol=100 * rtol,
    )


def test_without_scaling_the_unit_does_matter():
    X, y = two_clouds()
    small = TransportMap(scale_cost=False, reg=5.0).fit(X, y).transform(X)
    large = TransportMap(scale_cost=False, reg=5.0).fit(5 * X, 5 * y).transform(5 * X) / 5
    assert np.abs(large - small).max() > 0.1


@pytest.mark.parametrize("method", METHODS)
def test_where_a_row_goes_does_not_depend_on_its_company(method, as_kind, rows_of, rtol):
    X, y = two_clouds()
    new = as_kind(two_clouds(seed=1, n=700)[0])
    transport = TransportMap(method=method, n_neighbors=4).fit(as_kind(X), as_kind(y))
    whole = rows_of(transport.transform(new))
    np.testing.assert_allclose(rows_of(transport.transform(new[5:8])), whole[5:8], rtol=10 * rtol)
    np.testing.assert_allclose(rows_of(transport.transform(new[-1:])), whole[-1:], rtol=10 * rtol)


@pytest.mark.parametrize("metric", ["sqeuclidean", "cosine"])
@pytest.mark.parametrize("method", METHODS)
def test_fit_transform_is_fit_and_then_transform(method, metric):
    X, y = two_clouds()
    transport = TransportMap(method=method, metric=metric)
    np.testing.assert_array_equal(
        clone(transport).fit_transform(X, y), transport.fit(X, y).transform(X)
    )


def test_cosine_is_blind_to_the_length_of_rows_and_answers_unit_rows(as_kind, rows_of, rtol):
    X, y = two_clouds()
    lengths = np.random.default_rng(1).uniform(0.1, 10, size=(len(X), 1))
    for method in METHODS:
        here = TransportMap(method=method, metric="cosine").fit(as_kind(X), as_kind(y))
        there = TransportMap(method=method, metric="cosine").fit(
            as_kind(X * lengths), as_kind(3 * y)
        )
        mapped = rows_of(here.transform(as_kind(X)))
        np.testing.assert_allclose(rows_of(there.transform(as_kind(X))), mapped, atol=100 * rtol)
        np.testing.assert_allclose(np.linalg.norm(mapped, axis=1), 1, rtol=rtol)


def test_cosine_is_squared_euclidean_transport_of_unit_rows():
    X, y = two_clouds()
    by_hand = TransportMap().fit(unit(X), unit(y)).transform(unit(X))
    np.testing.assert_allclose(
        TransportMap(metric="cosine").fit(X, y).transform(X), unit(by_hand), rtol=1e-10
    )


@given(seed=st.integers(0, 10_000), reg=st.floats(0.02, 2.0))
@settings(deadline=None, max_examples=25)
def test_images_stay_among_the_target_rows(seed, reg):
    X, y = two_clouds(seed=seed, n=15, m=12, d=3)
    far = np.vstack([X, 10 * X])
    mapped = TransportMap(reg=reg).fit(X, y).transform(far)
    margin = 1e-9
    assert (mapped >= y.min(axis=0) - margin).all()
    assert (mapped <= y.max(axis=0) + margin).all()


def test_a_larger_reg_draws_images_together():
    X, y = two_clouds()
    spreads = [
        TransportMap(reg=reg, **TIGHT).fit_transform(X, y).var(axis=0).sum()
        for reg in (0.02, 0.1, 0.5, 2.0)
    ]
    assert spreads == sorted(spreads, reverse=True)
    assert spreads[0] < y.var(axis=0).sum() + 0.2


# --- closed forms -----------------------------------------------------------------------------


def test_on_a_line_the_exact_plan_keeps_the_order(as_kind, rows_of, rtol):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(50, 1)), rng.exponential(size=(50, 1))
    mapped = rows_of(TransportMap(method="exact").fit_transform(as_kind(X), as_kind(y)))
    expected = np.sort(y[:, 0])[np.argsort(np.argsort(X[:, 0]))]
    np.testing.assert_allclose(mapped[:, 0], expected, atol=10 * rtol)


def test_the_entropic_plan_of_two_points_is_a_logistic_curve():
    X = np.array([[0.0], [1.0]])
    plan = transport_plan(X, X, reg=0.3, scale_cost=False, **TIGHT)
    stays = 0.5 / (1 + np.exp(-1 / 0.3))  # odds of staying against crossing at cost 1: exp(1 / reg)
    np.testing.assert_allclose(plan, [[stays, 0.5 - stays], [0.5 - stays, stays]], rtol=1e-10)


def test_infinite_regularisation_sends_all_rows_to_the_mean():
    X, y = two_clouds()
    mapped = TransportMap(reg=1e9).fit_transform(X, y)
    np.testing.assert_allclose(mapped, np.tile(y.mean(axis=0), (len(X), 1)), atol=1e-6)


def test_vanishing_regularisation_gives_the_exact_map():
    X, y, _ = planted(n=20)
    entropic = TransportMap(reg=1e-3, **TIGHT).fit_transform(X, y)
    np.testing.assert_allclose(
        entropic, TransportMap(method="exact").fit_transform(X, y), atol=1e-8
    )


@pytest.mark.parametrize("metric", ["sqeuclidean", "cosine"])
def test_the_cost_scale_is_the_mean_cost_of_all_pairs(metric, as_kind, rtol):
    X, y = two_clouds()
    transport = TransportMap(metric=metric).fit(as_kind(X), as_kind(y))
    C = squared(X, y) if metric == "sqeuclidean" else squared(unit(X), unit(y))
    assert transport.cost_scale_ == pytest.approx(C.mean(), rel=10 * rtol)
    assert transport.temperature_ == pytest.approx(0.1 * C.mean(), rel=10 * rtol)


@pytest.mark.parametrize("method", METHODS)
def test_the_cost_is_that_of_the_plan(method, as_kind, rows_of, rtol):
    X, y = two_clouds()
    transport = TransportMap(method=method).fit(as_kind(X), as_kind(y))
    plan = rows_of(transport_plan(as_kind(X), as_kind(y), method=method))
    assert transport.cost_ == pytest.approx(np.sum(plan * squared(X, y)), rel=10 * rtol)


def test_clouds_without_any_spread_are_carried_over():
    X, y = np.full((4, 3), 2.0), np.full((5, 3), 7.0)
    for method in METHODS:
        np.testing.assert_allclose(TransportMap(method=method).fit_transform(X, y), 7.0)
        np.testing.assert_allclose(TransportMap(method=method).fit_transform(X, X), 2.0)


# --- new rows ---------------------------------------------------------------------------------


def test_new_rows_follow_the_target_potential():
    import ot

    X, y = two_clouds()
    new = two_clouds(seed=1)[0]
    C = squared(X, y)
    solved = ot.solve(C, reg=0.1 * C.mean(), max_iter=5000, tol=1e-13)
    # POT's potentials come divided by reg and with the log of the mass added.
    logits = solved.potentials[1] - squared(new, y) / (0.1 * C.mean())
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected = weights @ y / weights.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(TransportMap(**TIGHT).fit(X, y).transform(new), expected, rtol=1e-9)


def test_new_rows_move_as_their_nearest_anchors_moved(as_kind, rows_of, rtol):
    X, y = two_clouds()
    new = two_clouds(seed=1)[0]
    transport = TransportMap(method="exact", n_neighbors=5).fit(as_kind(X), as_kind(y))
    plan = transport_plan(X, y, method="exact")
    moved = plan @ y / plan.sum(axis=1, keepdims=True) - X
    expected = np.empty_like(new)
    for i, row in enumerate(new):
        far = np.sum((X - row) ** 2, axis=1)
        near = np.argsort(far)[:5]
        weights = 1 / far[near]
        expected[i] = row + weights @ moved[near] / weights.sum()
    np.testing.assert_allclose(
        rows_of(transport.transform(as_kind(new))), expected, atol=100 * rtol
    )


@pytest.mark.parametrize("n_neighbors", [1, 3, 1000])
def test_an_anchor_goes_to_its_own_image_whatever_rounding_did_to_it(n_neighbors, kind, as_kind):
    X, y, order = planted()
    transport = TransportMap(method="exact", n_neighbors=n_neighbors).fit(as_kind(X), as_kind(y))
    eps = np.finfo(kind.split()[1]).eps
    for nudge in (1.0, 1 + eps, 1 - 2 * eps):
        mapped = np.asarray(transport.transform(as_kind(X * nudge)))
        np.testing.assert_allclose(mapped, y[order], atol=30 * eps * np.abs(X).max())


def test_duplicate_anchors_share_their_images():
    X = np.array([[0.0, 0.0], [0.0, 0.0], [5.0, 5.0]])
    y = np.array([[1.0, 0.0], [3.0, 0.0], [6.0, 5.0]])
    transport = TransportMap(method="exact").fit(X, y)
    np.testing.assert_allclose(transport.transform(X), [[2, 0], [2, 0], [6, 5]], atol=1e-12)


# --- peers ------------------------------------------------------------------------------------


def test_scipy_assigns_the_same_partners():
    X, y = two_clouds(n=80, m=80)
    plan = transport_plan(X, y, method="exact")
    rows, columns = linear_sum_assignment(squared(X, y))
    np.testing.assert_array_equal(plan.argmax(axis=1), columns)
    assert TransportMap(method="exact").fit(X, y).cost_ == pytest.approx(
        squared(X, y)[rows, columns].mean(), rel=1e-12
    )


@pytest.fixture
def reference(official):
    """Unit rows of the reference set, and POT's answers for them."""
    inputs = official("inputs")
    return unit(inputs["X_fit"][1]), unit(inputs["X_fit"][0]), official("pot")


def test_official_entropic_plans_and_images_of_reg_0_2_are_reproduced(reference):
    x, y, expected = reference
    options = {"reg": 0.2, "scale_cost": False, **TIGHT}
    mapped = TransportMap(**options).fit(x, y).transform(x)
    np.testing.assert_allclose(mapped, expected["sinkhorn0p2_barycentric"], atol=1e-7)
    plan = transport_plan(x, y, **options)
    np.testing.assert_allclose(plan[:40], expected["sinkhorn0p2_plan_rows40"], atol=1e-9)


@pytest.mark.slow
def test_official_entropic_plans_and_images_of_reg_0_1_are_reproduced(reference):
    x, y, expected = reference
    options = {"reg": 0.1, "scale_cost": False, **TIGHT}
    mapped = TransportMap(**options).fit(x, y).transform(x)
    np.testing.assert_allclose(mapped, expected["sinkhorn0p1_barycentric"], atol=1e-7)
    plan = transport_plan(x, y, **options)
    np.testing.assert_allclose(plan, expected["sinkhorn0p1_plan"], atol=1e-9)
    few = y[: len(y) - 37]
    mapped = TransportMap(**options).fit(x, few).transform(x)
    np.testing.assert_allclose(mapped, expected["sinkhorn0p1_unequal_barycentric"], atol=1e-7)


def test_official_cosine_transport_is_that_of_unit_rows(official):
    inputs = official("inputs")
    options = {"reg": 0.2, "scale_cost": False, "metric": "cosine", **TIGHT}
    transport = TransportMap(**options).fit(inputs["X_fit"][1], inputs["X_fit"][0])
    expected = unit(official("pot")["sinkhorn0p2_barycentric"])
    np.testing.assert_allclose(transport.transform(inputs["X_fit"][1]), expected, atol=1e-7)


def test_official_exact_plans_are_reproduced(reference):
    x, y, expected = reference
    plan = transport_plan(x, y, method="exact")
    np.testing.assert_array_equal(plan.argmax(axis=1), expected["emd_permutation"])
    np.testing.assert_array_equal(np.count_nonzero(plan, axis=1), 1)
    transport = TransportMap(method="exact").fit(x, y)
    assert transport.cost_ == pytest.approx(float(expected["emd_cost"]), abs=1e-9)
    few = y[: len(y) - 37]
    transport = TransportMap(method="exact").fit(x, few)
    assert transport.cost_ == pytest.approx(float(expected["emd_unequal_cost"]), abs=1e-9)
    np.testing.assert_allclose(
        transport.transform(x), expected["emd_unequal_barycentric"], atol=1e-7
    )


# --- kinds ------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_every_kind_gives_the_same_map_in_its_own_kind(method, kind, as_kind, rows_of, rtol):
    X, y = two_clouds()
    new = two_clouds(seed=1)[0]
    expected = TransportMap(method=method).fit(X, y).transform(new)
    transport = TransportMap(method=method).fit(as_kind(X), as_kind(y))
    mapped = transport.transform(as_kind(new))
    assert type(mapped) is type(as_kind(new))
    assert mapped.dtype == as_kind(new).dtype
    np.testing.assert_allclose(rows_of(mapped), expected, atol=100 * rtol)
    for name in ("anchors_", "log_weights_" if method == "entropic" else "images_"):
        kept = getattr(transport, name)
        assert type(kept) is type(mapped)
        assert kept.dtype == mapped.dtype


@pytest.mark.parametrize("narrow", ["numpy float16", "torch float16", "torch bfloat16"])
@pytest.mark.parametrize("method", METHODS)
def test_sixteen_bits_come_back_as_sixteen_bits(method, narrow, make_kind, rows_of):
    X, y = two_clouds()
    X, y = make_kind(X, narrow), make_kind(y, narrow)
    transport = TransportMap(method=method).fit(X, y)
    mapped = transport.transform(X)
    assert type(mapped) is type(X)
    assert mapped.dtype == X.dtype
    assert "float32" in str(transport.anchors_.dtype)
    expected = TransportMap(method=method).fit_transform(rows_of(X), rows_of(y))
    eps = 2**-7 if "bf" in narrow else 2**-10
    np.testing.assert_allclose(rows_of(mapped), expected, rtol=eps)


@pytest.mark.parametrize("method", METHODS)
def test_rows_of_another_kind_than_the_anchors_are_mapped_in_their_own(method, make_kind, rows_of):
    X, y = two_clouds()
    expected = TransportMap(method=method).fit(X, y).transform(X)
    for one, other in itertools.permutations(
        ("numpy float64", "numpy float32", "torch float32"), 2
    ):
        transport = TransportMap(method=method).fit(make_kind(X, one), make_kind(y, one))
        mapped = transport.transform(make_kind(X, other))
        assert type(mapped) is type(make_kind(X, other))
        np.testing.assert_allclose(rows_of(mapped), expected, atol=1e-3)


def test_the_wider_type_computes():
    X, y = two_clouds()
    transport = TransportMap().fit(X.astype(np.float32), y)
    assert transport.anchors_.dtype == np.float64


# --- what is kept, what is reported -----------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_the_plan_is_not_kept(method):
    X, y = two_clouds(n=300, m=200)
    assert len(pickle.dumps(TransportMap(method=method).fit(X, y))) < X.size * 8 * 3
    assert X.size * 3 < 300 * 200  # so that a plan would have shown


def test_a_second_fit_by_another_method_forgets_the_first():
    X, y = two_clouds()
    transport = TransportMap().fit(X, y)
    transport.set_params(method="exact").fit(X, y)
    fresh = TransportMap(method="exact").fit(X, y)
    assert vars(transport).keys() == vars(fresh).keys()
    np.testing.assert_array_equal(transport.transform(X), fresh.transform(X))


@pytest.mark.parametrize("method", METHODS)
def test_transforming_changes_nothing(method):
    X, y = two_clouds()
    transport = TransportMap(method=method).fit(X, y)
    before = pickle.dumps(vars(transport))
    transport.transform(X)
    assert pickle.dumps(vars(transport)) == before
    assert transport.get_params() == TransportMap(method=method).get_params()


def test_data_frames_come_out_under_names_of_the_target_space():
    X, y = two_clouds(d=2)
    transport = TransportMap().set_output(transform="pandas")
    mapped = transport.fit_transform(pd.DataFrame(X, columns=["a", "b"]), pd.DataFrame(y))
    assert list(mapped.columns) == ["transportmap0", "transportmap1"]
    assert not TransportMap.requires_pairs


def test_a_round_too_few_warns_what_to_do():
    X, y, _ = planted()
    with pytest.warns(ConvergenceWarning, match=r"60 iterations.*tol=1e-12.*Raise max_iter or reg"):
        transport = TransportMap(reg=0.01, tol=1e-12, max_iter=60).fit(X, y)
    assert not transport.converged_
    assert transport.n_iter_ == 60
    assert transport.error_ > 1e-12
    with pytest.warns(ConvergenceWarning, match="float32 reaches about 1e-6"):
        TransportMap(reg=0.01, tol=0.0, max_iter=60).fit(X.astype(np.float32), y.astype(np.float32))


def test_an_exact_plan_that_is_not_optimal_warns_what_to_do():
    X, y = two_clouds()
    with pytest.warns(ConvergenceWarning, match=r"max_iter=2 pivots.*Raise max_iter"):
        assert not TransportMap(method="exact", max_iter=2).fit(X, y).converged_


@pytest.mark.parametrize("method", METHODS)
def test_a_fit_that_converges_is_silent_and_says_so(method):
    X, y = two_clouds()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        transport = TransportMap(method=method, max_iter=None, tol=1e-9).fit(X, y)
    assert transport.converged_
    assert transport.error_ <= 1e-9
    assert transport.n_iter_ >= 1


def test_rounds_continue_one_another():
    import ot

    X, y = two_clouds()
    with pytest.warns(ConvergenceWarning):
        plan = transport_plan(X, y, reg=0.1, scale_cost=False, tol=0.0, max_iter=240)
    C = squared(X - X.mean(axis=0), y - y.mean(axis=0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        at_once = ot.solve(C, reg=0.1, max_iter=240, tol=0.0).plan
        halfway = ot.solve(C, reg=0.1, max_iter=120, tol=0.0).plan
    assert np.abs(halfway - at_once).max() > 1e-4 * at_once.max()  # there was way to go
    np.testing.assert_allclose(plan, at_once, atol=1e-9 * at_once.max())


def test_score_is_the_share_of_variance_that_is_explained(as_kind, rows_of, rtol):
    X, y, order = planted()
    transport = TransportMap(reg=0.02).fit(as_kind(X), as_kind(y))
    target = y[order]
    mapped = rows_of(transport.transform(as_kind(X)))
    expected = 1 - np.sum((target - mapped) ** 2) / np.sum((target - target.mean(axis=0)) ** 2)
    assert transport.score(as_kind(X), as_kind(target)) == pytest.approx(expected, abs=10 * rtol)
    assert expected > 0.9 > transport.score(as_kind(X), as_kind(y))  # rows of y do not correspond


# --- errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (np.inf, "infinity")])
def test_a_bad_row_is_named(method, value, word, as_kind):
    X, y = two_clouds()
    spoiled = X.copy()
    spoiled[7, 2] = value
    with pytest.raises(ValueError, match=f"Input X contains {word}, first in row 7"):
        TransportMap(method=method).fit(as_kind(spoiled), as_kind(y))
    with pytest.raises(ValueError, match=f"Input y contains {word}, first in row 7"):
        TransportMap(method=method).fit(as_kind(X), as_kind(spoiled))
    for metric in ("sqeuclidean", "cosine"):
        transport = TransportMap(method=method, metric=metric).fit(as_kind(X), as_kind(y))
        with pytest.raises(ValueError, match=f"Input X contains {word}, first in row 7"):
            transport.transform(as_kind(spoiled))


@pytest.mark.parametrize("method", METHODS)
def test_a_zero_row_has_no_cosine(method, as_kind):
    X, y = two_clouds()
    holed = X.copy()
    holed[3] = 0
    transport = TransportMap(method=method, metric="cosine")
    with pytest.raises(ValueError, match="Row 3 of X is a zero vector"):
        transport.fit(as_kind(holed), as_kind(y))
    with pytest.raises(ValueError, match="Row 3 of y is a zero vector"):
        transport.fit(as_kind(X), as_kind(holed))
    many = np.vstack([y] * 2000 + [np.zeros((1, 6))])
    with pytest.raises(ValueError, match="Row 60000 of X is a zero vector"):
        transport.fit(as_kind(X), as_kind(y)).transform(as_kind(many))


def test_an_image_at_the_origin_has_no_direction_and_stays_there():
    X, y = np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([[0.0, 1.0], [0.0, -1.0]])
    np.testing.assert_array_equal(TransportMap(metric="cosine").fit_transform(X, y), 0)


def test_widths_must_agree(as_kind):
    X, y = two_clouds()
    with pytest.raises(ValueError, match=r"X has 6 features and y has 4.*equal width"):
        TransportMap().fit(as_kind(X), as_kind(y[:, :4]))
    transport = TransportMap().fit(as_kind(X), as_kind(y))
    with pytest.raises(ValueError, match="X has 4 features, but TransportMap is expecting 6"):
        transport.transform(as_kind(X[:, :4]))
    with pytest.raises(ValueError, match=r"X has 6 features and y has 4.*equal width"):
        transport.score(as_kind(X), as_kind(X[:, :4]))


def test_score_needs_pairs():
    X, y = two_clouds()
    with pytest.raises(ValueError, match="X has 40 rows and y has 30"):
        TransportMap().fit(X, y).score(X, y)


def test_one_row_is_no_cloud(as_kind):
    X, y = two_clouds()
    with pytest.raises(ValueError, match=r"X has only 1 row \(n_samples = 1\)"):
        TransportMap().fit(as_kind(X[:1]), as_kind(y))
    with pytest.raises(ValueError, match=r"y has only 1 row \(n_samples = 1\)"):
        TransportMap().fit(as_kind(X), as_kind(y[:1]))


def test_both_clouds_must_be_of_one_kind(make_kind):
    X, y = two_clouds()
    with pytest.raises(ValueError, match="X is a NumPy array and y is a torch tensor"):
        TransportMap().fit(X, make_kind(y, "torch float64"))
    with pytest.raises(ValueError, match="requires y to be passed, but the target y is None"):
        TransportMap().fit(X)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"method": "sinkhorn"},
            r"method='sinkhorn' is not known: choose one of \('entropic', 'exact'\)",
        ),
        ({"metric": "manhattan"}, r"metric='manhattan' is not known: choose one of"),
        ({"reg": 0}, "reg=0 was given; expected a positive number"),
        ({"reg": -1.0}, r"reg=-1.0 was given; expected a positive number"),
        ({"reg": np.nan}, r"reg=nan was given; expected a positive number"),
        ({"tol": -1e-9}, r"tol=-1e-09 was given; expected a number of at least 0"),
        ({"max_iter": 0}, r"max_iter=0 was given; expected an integer of at least 1"),
        ({"n_neighbors": 2.5}, r"n_neighbors=2.5 was given; expected an integer"),
        ({"n_neighbors": None}, r"n_neighbors=None was given; expected an integer"),
        ({"memory_budget": 0}, r"memory_budget=0 was given; expected a positive number of bytes"),
    ],
)
def test_parameters_out_of_range_are_refused(parameters, message):
    X, y = two_clouds()
    with pytest.raises(ValueError, match=message):
        TransportMap(**parameters).fit(X, y)


def test_exponents_that_overflow_are_reported():
    X, y = two_clouds()
    options = {"reg": 1e-30, "scale_cost": False}
    with pytest.raises(
        ValueError, match=r"overflowed float32 .* Raise reg, or pass X and y as float64"
    ):
        TransportMap(**options).fit(1e10 * X.astype(np.float32), 1e10 * y.astype(np.float32))


def test_a_plan_that_would_not_fit_is_refused_before_it_is_built():
    X, y = np.zeros((200_000, 2)), np.zeros((200_000, 2))
    with pytest.raises(MemoryError, match=r"200000 x 200000 needs about 1440000000000 bytes"):
        TransportMap(memory_budget=1e9).fit(X, y)
    with pytest.raises(MemoryError, match="1000000000 bytes are allowed by memory_budget"):
        TransportMap(memory_budget=1e9).fit(X, y)
    with pytest.raises(
        MemoryError, match=r"subsample X and y\), pass X and y as float32, or raise"
    ):
        TransportMap(memory_budget=1e9).fit(X, y)
    with pytest.raises(MemoryError, match=r"bytes are available. .*subsample X and y\), or raise"):
        TransportMap(method="exact").fit(X.astype(np.float32), y.astype(np.float32))


@pytest.mark.parametrize("method", METHODS)
def test_the_budget_is_compared_with_the_size_of_the_problem(method):
    X, y = two_clouds()
    enough = 6 * 40 * 30 * 8
    TransportMap(method=method, memory_budget=enough).fit(X, y)
    with pytest.raises(MemoryError, match="transport plan of 40 x 30"):
        TransportMap(method=method, memory_budget=enough / 2).fit(X, y)


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="reads Linux's account of memory"
)
@pytest.mark.parametrize("method", METHODS)
def test_the_estimate_of_memory_covers_what_a_fit_takes(method):
    code = f"""
import numpy as np
from posthoc_align import TransportMap
def peak():  # of this process alone: the kernel hands a parent's ru_maxrss down
    lines = open("/proc/self/status").read().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
x = np.random.default_rng(0).normal(size=(3200, 8)).astype(np.float32)
transport = TransportMap(method={method!r})
transport.fit(x[:20], x[20:60])
before = peak()
transport.fit(x, x[::-1] + np.float32(0.1))
print((peak() - before) / 3200**2)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    copies = float(run.stdout) / (8 if method == "exact" else 4)
    # Arrays of over 32 MB are given back when freed, as the estimate assumes; smaller need not be.
    assert 3 < copies < (5.5 if method == "exact" else 4.5)


# --- the contract -----------------------------------------------------------------------------


def widen(X, y):
    """A one-column y as rows of X's width, none of them zero; anything else as it came."""
    width, y = np.asarray(X).shape[1:], y if y is None else np.asarray(y)
    if y is None or len(width) != 1 or y.ndim != 1 or y.dtype.kind == "c":
        return y
    return y.reshape(-1, 1) + np.arange(1.0, 1 + width[0])


class WideTargetTransportMap(TransportMap):
    """TransportMap, given a target of X's own width where the contract's checks pass a column."""

    def fit(self, X, y=None):
        return super().fit(X, widen(X, y))

    def score(self, X, y):
        return super().score(X, widen(X, y))


ONE_COLUMN = "the check feeds a one-column y where a target space of X's own width is needed"
EXCUSED = dict.fromkeys(
    [
        "check_dict_unchanged",
        "check_dont_overwrite_parameters",
        "check_dtype_object",
        "check_estimators_dtypes",
        "check_estimators_fit_returns_self",
        "check_estimators_nan_inf",
        "check_estimators_overwrite_params",
        "check_estimators_pickle",
        "check_f_contiguous_array_estimator",
        "check_fit2d_predict1d",
        "check_fit_check_is_fitted",
        "check_fit_idempotent",
        "check_fit_score_takes_y",
        "check_methods_sample_order_invariance",
        "check_methods_subset_invariance",
        "check_n_features_in",
        "check_n_features_in_after_fitting",
        "check_pipeline_consistency",
        "check_positive_only_tag_during_fit",
        "check_readonly_memmap_input",
        "check_transformer_data_not_an_array",
        "check_transformer_general",
        "check_transformer_n_iter",
        "check_transformer_preserve_dtypes",
    ],
    ONE_COLUMN,
)


@parametrize_with_checks(
    [TransportMap(), TransportMap(method="exact")],
    expected_failed_checks=lambda estimator: EXCUSED,
)
def test_the_contract_holds_wherever_y_has_the_width_of_x(estimator, check):
    check(estimator)


@parametrize_with_checks(
    [
        WideTargetTransportMap(),
        WideTargetTransportMap(method="exact"),
    ]
)
def test_the_whole_contract_holds_when_y_is_widened(estimator, check):
    check(estimator)
