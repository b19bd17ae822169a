"""The further methods of TransportMap: unbalanced, low rank, mini-batches, classes, Gromov."""

import warnings

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from posthoc_align import LinearMap, PivotAligner, Procrustes, TransportMap
from posthoc_align.align._transport.batches import draw_batches
from posthoc_align.align.transport import transport_plan

TIGHT = {"tol": 1e-12, "max_iter": 20_000}
WAYS = {
    "unbalanced": {"method": "unbalanced"},
    "low rank": {"method": "low_rank", "rank": 5},
    "gromov": {"method": "gromov", "reg": 0.2},
    "batches": {"batch_size": 12},
    "exact batches": {"method": "exact", "batch_size": 12},
    "linear": {"method": "exact", "out_of_sample": LinearMap(penalty=1.0)},
}
each_way = pytest.mark.parametrize("way", list(WAYS))


@pytest.fixture(scope="module", autouse=True)
def _solvers_are_loaded():
    """Importing POT takes seconds, which no single test should be charged with."""
    TransportMap().fit(np.eye(3), np.eye(3))


def two_clouds(seed=0, n=40, m=30, d=4, offset=2.0):
    """Samples of one shape, far from the origin and from each other, of different size."""
    rng = np.random.default_rng(seed)
    spread = np.arange(1, d + 1) ** -0.5
    return rng.normal(size=(n, d)) * spread + 5, rng.normal(size=(m, d)) * spread + 5 + offset


def means(plan, y):
    return plan @ y / plan.sum(axis=1, keepdims=True)


def scaled_cost(X, y):
    C = cdist(X, y, "sqeuclidean")
    return C / C.mean()


# --- every way ------------------------------------------------------------------------------------


@each_way
def test_every_kind_gives_the_same_map_in_its_own_kind(way, kind, as_kind, rows_of, rtol):
    X, y = two_clouds()
    options = WAYS[way] | {"tol": 1e-5}
    new = as_kind(two_clouds(seed=1)[0])
    expected = TransportMap(**options).fit(X, y).transform(rows_of(new))
    mapped = TransportMap(**options).fit(as_kind(X), as_kind(y)).transform(new)
    assert type(mapped) is type(new)
    assert mapped.dtype == new.dtype
    # iterations stop at a tolerance of 1e-6, a network simplex where float32 made ties differ
    np.testing.assert_allclose(rows_of(mapped), expected, atol=1e-8 if "64" in kind else 2e-3)


@each_way
@pytest.mark.parametrize("narrow", ["numpy float16", "torch bfloat16"])
def test_sixteen_bits_come_back_as_sixteen_bits(way, narrow, make_kind, rows_of):
    X, y = (make_kind(part, narrow) for part in two_clouds())
    mapped = TransportMap(**WAYS[way]).fit(X, y).transform(X)
    assert mapped.dtype == X.dtype
    assert np.isfinite(rows_of(mapped)).all()


@each_way
@pytest.mark.parametrize("sizes", [(60, 3), (3, 60)])
def test_clouds_may_differ_in_size(way, sizes):
    X, y = two_clouds(n=sizes[0], m=sizes[1])
    options = WAYS[way] | ({"rank": 3} if way == "low rank" else {})
    mapped = TransportMap(**options).fit(X, y).transform(X)
    assert mapped.shape == X.shape
    assert np.linalg.norm(mapped.mean(axis=0) - y.mean(axis=0)) < 1.0  # it was 4 away


@each_way
def test_duplicated_rows_go_to_one_place(way):
    X, y = two_clouds()
    X[1] = X[0]
    mapped = TransportMap(**WAYS[way]).fit(X, y).transform(X)
    np.testing.assert_allclose(mapped[1], mapped[0], atol=1e-9)


@each_way
def test_one_row_is_no_cloud_and_a_zero_row_has_no_cosine(way):
    X, y = two_clouds()
    transport = TransportMap(**WAYS[way])
    with pytest.raises(ValueError, match=r"X has only 1 row .* Add rows"):
        clone(transport).fit(X[:1], y)
    X[3] = 0
    with pytest.raises(ValueError, match="Row 3 of X is a zero vector.* Remove such rows"):
        transport.set_params(metric="cosine").fit(X, y)


@each_way
def test_fit_transform_is_fit_and_then_transform_and_both_are_reproducible(way):
    X, y = two_clouds()
    transport = TransportMap(**WAYS[way])
    once = clone(transport).fit_transform(X, y)
    np.testing.assert_array_equal(once, transport.fit(X, y).transform(X))
    np.testing.assert_array_equal(once[4:9], transport.transform(X)[4:9])


@each_way
def test_cosine_is_transport_of_unit_rows(way):
    X, y = two_clouds()
    lengths = np.random.default_rng(1).uniform(0.1, 10, size=(len(X), 1))
    options = WAYS[way] | {"metric": "cosine"}
    mapped = TransportMap(**options).fit(X, y).transform(X)
    np.testing.assert_allclose(np.linalg.norm(mapped, axis=1), 1, rtol=1e-12)
    again = TransportMap(**options).fit(X * lengths, y).transform(X)
    np.testing.assert_allclose(again, mapped, atol=1e-6)


@each_way
def test_clouds_without_any_spread_are_carried_over(way):
    X, y = np.full((6, 3), 2.0), np.full((7, 3), 7.0)
    np.testing.assert_allclose(TransportMap(**WAYS[way]).fit_transform(X, y), 7.0)


def test_another_method_forgets_what_this_one_learned():
    X, y = two_clouds()
    transport = TransportMap()
    for way in WAYS.values():
        transport.set_params(**TransportMap(**way).get_params(deep=False)).fit(X, y)
        fresh = TransportMap(**way).fit(X, y)
        assert vars(transport).keys() == vars(fresh).keys()
        np.testing.assert_array_equal(transport.transform(X), fresh.transform(X))


# --- unbalanced -----------------------------------------------------------------------------------


def test_unbalanced_plans_are_those_of_pot(kind, as_kind, rows_of):
    import ot

    X, y = two_clouds()
    a, b = np.full(len(X), 1 / len(X)), np.full(len(y), 1 / len(y))
    expected = ot.unbalanced.sinkhorn_unbalanced(
        a, b, scaled_cost(X, y), 0.1, 0.5, reg_type="kl", numItermax=20_000, stopThr=1e-14
    )
    options = {"method": "unbalanced", "reg": 0.1, "marginal_penalty": 0.5, "max_iter": 5000}
    tol = 1e-13 if "64" in kind else 1e-5
    plan = rows_of(transport_plan(as_kind(X), as_kind(y), tol=tol, **options))
    np.testing.assert_allclose(plan, expected, atol=1e-12 if "64" in kind else 1e-6)
    fitted = TransportMap(tol=tol, **options).fit(as_kind(X), as_kind(y))
    np.testing.assert_allclose(
        rows_of(fitted.transform(as_kind(X))),
        means(expected, y),
        atol=1e-9 if "64" in kind else 1e-3,
    )
    assert fitted.mass_ == pytest.approx(expected.sum(), rel=1e-5)


def test_a_large_marginal_penalty_gives_the_balanced_plan():
    X, y = two_clouds()
    plan = transport_plan(
        X, y, method="unbalanced", marginal_penalty=100.0, tol=1e-5, max_iter=9999
    )
    np.testing.assert_allclose(plan, transport_plan(X, y, **TIGHT), atol=1e-4)


def test_an_outlier_gets_little_mass_where_rows_need_not_send_their_share():
    X, y = two_clouds(offset=0)
    X[0] += 50
    options = {"method": "unbalanced", "marginal_penalty": 0.1, "scale_cost": False}
    plan = transport_plan(X, y, **options)
    assert plan[0].sum() < 1e-3 * plan[1:].sum(axis=1).min()
    assert transport_plan(X, y)[0].sum() == pytest.approx(1 / 40)


# --- low rank -------------------------------------------------------------------------------------


def test_low_rank_couplings_are_those_of_pot():
    import ot

    X, y = two_clouds()
    x0, y0 = X - X.mean(axis=0), y - y.mean(axis=0)
    unit = cdist(X, y, "sqeuclidean").mean() ** 0.5
    start = np.random.RandomState(3).choice(70, 5, replace=False)
    there, back, _ = ot.factored.factored_optimal_transport(
        x0 / unit, y0 / unit, r=5, X0=np.vstack([x0, y0])[start] / unit, stopThr=1e-4
    )
    options = {"method": "low_rank", "rank": 5, "random_state": 3}
    plan = transport_plan(X, y, **options)
    np.testing.assert_allclose(plan, 5 * there @ back, atol=1e-12)
    assert np.linalg.matrix_rank(plan) <= 5
    np.testing.assert_allclose(plan.sum(axis=1), 1 / 40, rtol=1e-9)
    moved = 40 * there @ (5 * back @ y - 5 * there.T @ X)
    fitted = TransportMap(**options).fit(X, y)
    np.testing.assert_allclose(fitted.transform(X), X + moved, atol=1e-8)
    assert fitted.cost_ == pytest.approx(np.sum(plan * cdist(X, y, "sqeuclidean")))


def test_a_shift_is_found_through_few_points():
    X, _ = two_clouds()
    mapped = TransportMap(method="low_rank", rank=4).fit(X, X[::-1] + 3).transform(X)
    np.testing.assert_allclose(mapped, X + 3, atol=0.5)


def test_a_rank_above_the_rows_is_lowered_aloud():
    X, y = two_clouds()
    with pytest.warns(UserWarning, match=r"rank=99 exceeds the 30 rows .* Choose a smaller rank"):
        TransportMap(method="low_rank", rank=99).fit(X, y)


def test_low_rank_fits_where_a_plan_would_not():
    X, y = np.zeros((200_000, 2)), np.zeros((200_000, 2))
    with pytest.raises(MemoryError, match="batch_size= bounds"):
        transport_plan(X, y, method="low_rank", memory_budget=1e9)


# --- mini-batches ---------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["entropic", "exact", "unbalanced"])
def test_one_batch_of_all_rows_is_the_whole_problem(method, as_kind, rows_of):
    X, y = two_clouds()
    options = {"method": method, "tol": 1e-6}
    plan = rows_of(transport_plan(as_kind(X), as_kind(y), **options))
    one = {"batch_size": 1000, "n_passes": 1}
    again = rows_of(transport_plan(as_kind(X), as_kind(y), **options, **one))
    np.testing.assert_allclose(again, plan, atol=1e-5)
    mapped = TransportMap(**options, **one).fit(as_kind(X), as_kind(y)).transform(as_kind(X))
    np.testing.assert_allclose(rows_of(mapped), means(plan, y), atol=2e-3)


def test_batches_average_the_plans_of_pot():
    import ot

    X, y = two_clouds()
    batches = draw_batches(40, 30, 12, 3, np.random.RandomState(7))
    expected, images = np.zeros((40, 30)), np.zeros_like(X)
    for rows, columns in batches:
        plan = ot.emd([], [], cdist(X[rows], y[columns], "sqeuclidean"))
        expected[np.ix_(rows, columns)] += plan * len(rows) / (40 * 3)
        images[rows] += len(rows) * plan @ y[columns] / 3
    options = {"method": "exact", "batch_size": 12, "n_passes": 3, "random_state": 7}
    np.testing.assert_allclose(transport_plan(X, y, **options), expected, atol=1e-12)
    np.testing.assert_allclose(TransportMap(**options).fit(X, y).transform(X), images, atol=1e-8)


def test_a_pass_goes_through_every_row_once():
    batches = draw_batches(41, 7, 10, 2, np.random.RandomState(0))
    rows = np.concatenate([rows for rows, _ in batches])
    np.testing.assert_array_equal(np.bincount(rows), 2)
    assert max(len(rows) for rows, _ in batches) <= 10
    assert all(len(set(columns)) == 7 for _, columns in batches)


def test_batches_fit_where_the_whole_plan_would_not():
    X, y = two_clouds(n=400, m=300)
    budget = 6 * 20 * 20 * 8
    TransportMap(batch_size=20, n_passes=1, memory_budget=budget).fit(X, y)
    with pytest.raises(MemoryError, match="transport plan of 400 x 300"):
        TransportMap(memory_budget=budget).fit(X, y)


# --- classes --------------------------------------------------------------------------------------


def test_class_regularised_plans_are_those_of_pot(kind, as_kind, rows_of):
    import ot

    X, y = two_clouds()
    label = np.array(["a", "b", "b", "c"] * 10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # POT's last digits do not settle
        expected = ot.da.sinkhorn_lpl1_mm(
            np.full(40, 1 / 40),
            np.unique(label, return_inverse=True)[1],
            np.full(30, 1 / 30),
            scaled_cost(X, y),
            0.1,
            eta=0.2,
            numInnerItermax=1000,
            stopInnerThr=1e-14,
        )
    options = {"reg": 0.1, "class_penalty": 0.2, "max_iter": 5000}
    options["tol"] = 1e-8 if "64" in kind else 3e-6
    plan = rows_of(transport_plan(as_kind(X), as_kind(y), label=label, **options))
    np.testing.assert_allclose(plan, expected, atol=1e-8 if "64" in kind else 1e-5)
    fitted = TransportMap(**options).fit(as_kind(X), as_kind(y), label=label)
    atol = 1e-5 if "64" in kind else 1e-3
    np.testing.assert_allclose(rows_of(fitted.transform(as_kind(X))), means(expected, y), atol=atol)


def test_target_rows_take_their_mass_from_one_class():
    X, y = two_clouds()
    label = np.array([0, 1] * 20)

    def mixed(plan):
        return np.minimum(plan[::2].sum(axis=0), plan[1::2].sum(axis=0)).sum()

    plain = mixed(transport_plan(X, y))
    assert mixed(transport_plan(X, y, label=label, class_penalty=0.3)) < 0.5 * plain


def test_rows_of_unknown_class_are_left_free():
    X, y = two_clouds()
    label = np.array([0, 1] * 20, dtype=object)
    unknown = label.copy()
    unknown[10:] = None
    known = transport_plan(X, y, label=label, class_penalty=0.3)
    partly = transport_plan(X, y, label=unknown, class_penalty=0.3)
    assert np.abs(partly - known).max() > 1e-3
    as_nan = np.where(unknown == None, np.nan, unknown).astype(float)  # noqa: E711
    np.testing.assert_array_equal(transport_plan(X, y, label=as_nan, class_penalty=0.3), partly)


@pytest.mark.parametrize(
    ("label", "options", "message"),
    [
        ([0, 1], {}, r"label has shape \(2,\) and X has 40 rows: give one label a row"),
        ([0] * 40, {}, "label names 1 class .* Give labels of more classes"),
        ([0, 1] * 20, {"method": "exact"}, "makes no use of it. Leave it out"),
        ([0, 1] * 20, {"batch_size": 10}, "makes no use of it. Leave it out"),
    ],
)
def test_labels_that_cannot_be_used_are_refused(label, options, message):
    with pytest.raises(ValueError, match=message):
        TransportMap(**options).fit(*two_clouds(), label=label)


# --- Gromov-Wasserstein ---------------------------------------------------------------------------


def turned(n=40, d=3, wider=2, seed=0):
    """A skewed cloud, its rows turned into a wider space and shuffled, and where each went."""
    rng = np.random.default_rng(seed)
    X = rng.exponential(size=(n, d)) * np.arange(1, d + 1)
    turn = np.linalg.qr(rng.normal(size=(d + wider, d)))[0].T
    order = rng.permutation(n)
    y = np.empty((n, d + wider))
    y[order] = X @ turn + 4
    return X, y, order


@pytest.mark.parametrize("metric", ["sqeuclidean", "cosine"])
def test_gromov_plans_are_those_of_pot(metric):
    import ot

    X, y, _ = turned()
    A, B = (cdist(z, z, metric) for z in (X, y))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # POT's last digits do not settle
        expected = ot.gromov.entropic_gromov_wasserstein(
            A / A.mean(), B / B.mean(), epsilon=0.4, max_iter=200, tol=1e-12, stopThr=1e-14
        )
    options = {"method": "gromov", "metric": metric, "reg": 0.4, "tol": 1e-8}
    np.testing.assert_allclose(transport_plan(X, y, **options), expected, atol=1e-7)
    loss = ot.gromov.gwloss(
        *ot.gromov.init_matrix(
            A / A.mean(), B / B.mean(), np.full(40, 1 / 40), np.full(40, 1 / 40)
        ),
        expected,
    )
    assert TransportMap(**options).fit(X, y).cost_ == pytest.approx(float(loss), rel=1e-5)


def test_a_turn_into_a_wider_space_comes_back(as_kind, rows_of):
    X, y, order = turned()
    fitted = TransportMap(method="gromov", reg=0.03, tol=1e-3).fit(as_kind(X), as_kind(y))
    mapped = rows_of(fitted.transform(as_kind(X)))
    assert mapped.shape == y.shape
    np.testing.assert_array_equal(cdist(mapped, y).argmin(axis=1), order)
    assert isinstance(fitted.map_, Procrustes)
    assert list(fitted.get_feature_names_out()) == [f"transportmap{i}" for i in range(5)]


def test_other_methods_point_to_gromov_where_widths_differ():
    X, y, _ = turned()
    with pytest.raises(ValueError, match=r"X has 3 features and y has 5.*use method='gromov'"):
        TransportMap().fit(X, y)
    with pytest.raises(ValueError, match="takes no mini-batches: leave batch_size out"):
        TransportMap(method="gromov", batch_size=5).fit(X, y)


# --- out of sample --------------------------------------------------------------------------------


def test_a_map_is_fitted_on_rows_and_their_images(as_kind, rows_of, rtol):
    X, y = two_clouds()
    new = two_clouds(seed=1)[0]
    plan = transport_plan(X, y, method="exact")
    by_hand = LinearMap(penalty=2.0).fit(X, means(plan, y)).transform(new)
    rule = LinearMap(penalty=2.0)
    transport = TransportMap(method="exact", out_of_sample=rule).fit(as_kind(X), as_kind(y))
    np.testing.assert_allclose(rows_of(transport.transform(as_kind(new))), by_hand, atol=1e3 * rtol)
    assert not hasattr(rule, "coef_")
    assert not hasattr(transport, "anchors_")


def test_a_linear_rule_helps_new_rows_of_real_languages_without_pairs():
    from posthoc_align.datasets import load_parallel_topics
    from posthoc_align.metrics import weak_alignment

    corpus = load_parallel_topics()
    keep = np.isin(corpus.language, ["en", "de", "ru"])
    X, language = corpus.embeddings[keep].astype(np.float64), corpus.language[keep]
    fitted = corpus.split[keep] != "test"
    rule = LinearMap(penalty=3.0)
    aligner = PivotAligner(TransportMap(reg=0.02, tol=1e-2, out_of_sample=rule))
    aligner.fit(X[fitted], language=language[fitted])
    held, names = X[~fitted], language[~fitted]
    mapped = aligner.transform(held, language=names)
    for label in ("de", "ru"):
        found = weak_alignment(mapped[names == label], mapped[names == "en"])
        recipe, onto = aligner.recipes_[label], aligner.recipes_["en"]
        before = weak_alignment(recipe.apply(held[names == label]), onto.apply(held[names == "en"]))
        assert found >= before - 0.01


# --- convergence, parameters ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "unbalanced", "max_iter": 2}, "unbalanced transport did not converge in 2 .*R"),
        ({"method": "low_rank", "rank": 5, "max_iter": 1}, "low-rank .* points .* Raise max_iter"),
        (
            {"method": "gromov", "max_iter": 1},
            r"gromov .* iterations: .* of the mass still moved.* Raise max_iter or reg",
        ),
        ({"batch_size": 10, "max_iter": 1}, "entropic transport did not converge .* Raise max_"),
    ],
)
def test_too_few_iterations_warn_what_to_do(options, message):
    X, y = two_clouds()
    with pytest.warns(ConvergenceWarning, match=message):
        assert not TransportMap(tol=1e-9, **options).fit(X, y).converged_


@each_way
def test_a_fit_that_converges_is_silent(way):
    X, y = two_clouds()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        transport = TransportMap(**WAYS[way]).fit(X, y)
    assert transport.converged_
    assert transport.n_iter_ >= 1


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"marginal_penalty": 0}, "marginal_penalty=0 is out of range: give a positive number"),
        ({"class_penalty": np.inf}, "class_penalty=inf is out of range: give a positive number"),
        ({"rank": 0}, "rank=0 is out of range: give an integer of at least 1"),
        ({"batch_size": 0.5}, "batch_size=0.5 is out of range: give an integer of at least 1"),
        ({"n_passes": None}, "n_passes=None is out of range: give an integer of at least 1"),
    ],
)
def test_parameters_out_of_range_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        TransportMap(**parameters).fit(*two_clouds())


# --- the rest of the official outputs -------------------------------------------------------------


def test_official_exact_plans_of_unequal_clouds_have_as_few_entries(official):
    inputs, expected = official("inputs"), official("pot")
    x, y = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in inputs["X_fit"][1::-1])
    plan = transport_plan(x, y[: len(y) - 37], method="exact")
    assert np.count_nonzero(plan) == int(expected["emd_unequal_nnz"])
    np.testing.assert_allclose(
        len(x) * plan @ y[: len(y) - 37], expected["emd_unequal_barycentric"], atol=1e-7
    )


def test_official_marginal_errors_were_below_what_is_asked_here(official):
    expected = official("pot")
    for reg in ("0p2", "0p1"):
        assert float(expected[f"sinkhorn{reg}_marginal_error"]) < 1e-9
        assert float(expected[f"sinkhorn{reg}_transport_class_max_diff"]) < 1e-7
