"""TransportMap: mass goes where it costs least, and new rows follow the rows that were fitted."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from sklearn.base import clone

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
