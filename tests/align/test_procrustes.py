"""Procrustes: the planted rotation comes back, and where pairs say nothing rows stay."""

import pickle
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.metrics import r2_score

from posthoc_align import Procrustes
from posthoc_align.align.recipe import FittedRecipe

SHAPES = [(6, 6), (8, 5), (5, 8)]


def orthogonal(rng, d):
    return np.linalg.qr(rng.normal(size=(d, d)))[0]


def planted(seed=0, n=60, d=6, noise=0.0):
    """Rows, the same rows rotated and shifted, and the rotation and the shift."""
    rng = np.random.default_rng(seed)
    X, Q, shift = rng.normal(size=(n, d)) + 2, orthogonal(rng, d), 5 * rng.normal(size=d)
    return X, X @ Q + shift + noise * rng.normal(size=(n, d)), Q, shift


def unrelated(seed, d_in, d_out, n=60):
    """Two spaces with some linear relation and much noise, of any widths."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d_in)) + 3
    return X, X @ rng.normal(size=(d_in, d_out)) + rng.normal(size=(n, d_out))


# --- planted answers --------------------------------------------------------------------------


def test_a_planted_rotation_and_shift_come_back(as_kind, rows_of, rtol):
    X, Y, Q, _ = planted()
    assert np.abs(X - Y).max() > 1  # it was not aligned before
    map_ = Procrustes().fit(as_kind(X), as_kind(Y))
    np.testing.assert_allclose(map_.rotation_, Q, atol=10 * rtol)
    np.testing.assert_allclose(rows_of(map_.transform(as_kind(X))), Y, atol=100 * rtol)


def test_rows_that_do_not_correspond_are_not_brought_together():
    X, Y, _, _ = planted()
    assert Procrustes().fit(X, Y).score(X, Y) > 1 - 1e-12
    shuffled = np.random.default_rng(1).permutation(Y)
    assert Procrustes().fit(X, shuffled).score(X, shuffled) < 0.5


def test_a_planted_scale_comes_back_only_where_it_is_asked_for():
    X, Y, Q, _ = planted()
    scaled = Procrustes(scale=True).fit(X, 3 * Y)
    np.testing.assert_allclose(scaled.scale_, 3, rtol=1e-12)
    np.testing.assert_allclose(scaled.transform(X), 3 * Y, atol=1e-11)
    np.testing.assert_allclose(scaled.matrix_, 3 * Q, atol=1e-11)
    plain = Procrustes().fit(X, 3 * Y)
    assert plain.scale_ == 1
    np.testing.assert_allclose(plain.rotation_, Q, atol=1e-11)


@pytest.mark.parametrize("reflection", [True, False])
def test_the_scale_is_the_best_one_for_the_rotation_that_was_allowed(reflection):
    X, Y = unrelated(1, 6, 6)
    Y[:, 0] *= np.sign(np.linalg.det((X - X.mean(axis=0)).T @ Y)) * -1  # a mirror is best
    map_ = Procrustes(scale=True, reflection=reflection).fit(X, Y)
    x, y = (X - X.mean(axis=0)) @ map_.rotation_, Y - Y.mean(axis=0)
    np.testing.assert_allclose(map_.scale_, (x * y).sum() / (x * x).sum(), rtol=1e-12)


@pytest.mark.parametrize("reflection", [True, False])
@pytest.mark.parametrize("mirrored", [True, False])
def test_a_mirror_is_used_only_where_it_is_there_and_allowed(reflection, mirrored):
    X, _, Q, _ = planted()
    Q[:, 0] *= np.sign(np.linalg.det(Q)) * (-1 if mirrored else 1)
    map_ = Procrustes(reflection=reflection).fit(X, X @ Q)
    expected = -1 if mirrored and reflection else 1
    np.testing.assert_allclose(np.linalg.det(map_.rotation_), expected, rtol=1e-12)
    exact = np.abs(map_.transform(X) - X @ Q).max() < 1e-11
    assert exact == (reflection or not mirrored)


def test_into_a_wider_space_planted_rows_come_back_exactly():
    rng = np.random.default_rng(2)
    X, Q = rng.normal(size=(60, 5)), orthogonal(rng, 8)[:5]
    map_ = Procrustes().fit(X, X @ Q + 7)
    np.testing.assert_allclose(map_.rotation_, Q, atol=1e-12)
    np.testing.assert_allclose(map_.inverse_transform(X @ Q + 7), X, atol=1e-12)


def test_into_a_narrower_space_the_planted_directions_come_back():
    rng = np.random.default_rng(3)
    Q = orthogonal(rng, 8)[:, :5]
    Y = rng.normal(size=(60, 5))  # rows of X live where y can tell, and nowhere else
    map_ = Procrustes().fit(Y @ Q.T, Y)
    np.testing.assert_allclose(map_.rotation_, Q, atol=1e-12)


def test_float32_rows_far_from_the_origin_are_rotated_precisely():
    X, Y, Q, _ = planted(n=500)
    X, Y = (X + 1e4).astype(np.float32), (Y + 1e4).astype(np.float32)
    np.testing.assert_allclose(Procrustes().fit(X, Y).rotation_, Q, atol=1e-4)  # rows: to 1e-3


# --- optimum and identities -------------------------------------------------------------------


@pytest.mark.parametrize(("d_in", "d_out"), SHAPES)
def test_the_narrower_side_of_the_rotation_is_orthonormal(d_in, d_out):
    R = Procrustes().fit(*unrelated(0, d_in, d_out)).rotation_
    assert R.shape == (d_in, d_out)
    gram = R.T @ R if d_in >= d_out else R @ R.T
    np.testing.assert_allclose(gram, np.eye(min(d_in, d_out)), atol=1e-13)


@pytest.mark.parametrize(("d_in", "d_out"), [(6, 6), (5, 8)])
@pytest.mark.parametrize("scale", [True, False])
def test_the_residual_is_the_closed_form_and_no_rotation_has_a_smaller_one(d_in, d_out, scale):
    X, Y = unrelated(4, d_in, d_out)
    map_ = Procrustes(scale=scale).fit(X, Y)
    x, y = X - X.mean(axis=0), Y - Y.mean(axis=0)
    sigma = np.linalg.svd(x.T @ y, compute_uv=False)
    np.testing.assert_allclose(map_.singular_values_, sigma, rtol=1e-11)
    residual = ((map_.transform(X) - Y) ** 2).sum()
    if scale:
        np.testing.assert_allclose(map_.scale_, sigma.sum() / (x**2).sum(), rtol=1e-11)
        expected = (y**2).sum() - sigma.sum() ** 2 / (x**2).sum()
    else:
        expected = (x**2).sum() + (y**2).sum() - 2 * sigma.sum()
    np.testing.assert_allclose(residual, expected, rtol=1e-11)
    rng = np.random.default_rng(5)
    for _ in range(50):
        other = map_.scale_ * x @ orthogonal(rng, max(d_in, d_out))[:d_in, :d_out]
        assert ((other - y) ** 2).sum() > residual


def test_rotating_either_space_rotates_the_answer():
    X, Y = unrelated(6, 6, 6)
    A, B = (orthogonal(np.random.default_rng(seed), 6) for seed in (7, 8))
    R = Procrustes().fit(X, Y).rotation_
    np.testing.assert_allclose(Procrustes().fit(X @ A, Y @ B).rotation_, A.T @ R @ B, atol=1e-11)


def test_moving_either_space_does_not_turn_the_rotation():
    X, Y = unrelated(9, 6, 6)
    R = Procrustes().fit(X, Y).rotation_
    np.testing.assert_allclose(Procrustes().fit(X + 50, Y - 70).rotation_, R, atol=1e-11)
    about_origin = Procrustes(center=False)
    moved = about_origin.fit(X + 50, Y - 70).rotation_
    assert np.abs(moved - R).max() > 0.1  # without centring it does


def test_the_map_back_is_the_map_of_the_swapped_pairs():
    X, Y = unrelated(10, 6, 6)
    there, back = Procrustes().fit(X, Y), Procrustes().fit(Y, X)
    np.testing.assert_allclose(back.rotation_, there.rotation_.T, atol=1e-11)
    np.testing.assert_allclose(there.inverse_transform(Y), back.transform(Y), atol=1e-11)


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize(("d_in", "d_out"), [(6, 6), (5, 8)])
def test_the_inverse_gives_the_rows_back(as_kind, rows_of, rtol, scale, d_in, d_out):
    X, Y = unrelated(11, d_in, d_out)
    map_ = Procrustes(scale=scale).fit(as_kind(X), as_kind(Y))
    back = rows_of(map_.inverse_transform(map_.transform(as_kind(X))))
    np.testing.assert_allclose(back, X, atol=100 * rtol)


def test_a_space_shrunk_to_a_point_is_mapped_back_to_the_mean():
    X = unrelated(11, 6, 6)[0]
    map_ = Procrustes(scale=True).fit(X, np.ones_like(X))
    np.testing.assert_allclose(map_.transform(X), 1, atol=1e-13)
    back = map_.inverse_transform(X)  # the least-squares inverse of zero is zero
    np.testing.assert_allclose(back, np.tile(X.mean(axis=0), (60, 1)), atol=1e-12)


@pytest.mark.parametrize("center", [True, False])
def test_scipy_finds_the_same_rotation(center):
    X, Y = unrelated(12, 6, 6)
    x, y = (X - X.mean(axis=0), Y - Y.mean(axis=0)) if center else (X, Y)
    theirs, _ = scipy.linalg.orthogonal_procrustes(x, y)
    map_ = Procrustes(center=center).fit(X, Y)
    np.testing.assert_allclose(map_.rotation_, theirs, atol=1e-11)
    if not center:
        np.testing.assert_allclose(map_.transform(X), X @ theirs, atol=1e-11)


# --- official outputs -------------------------------------------------------------------------


@pytest.mark.parametrize("center", [True, False])
def test_the_official_alignment_matrices_agree(official, center):
    X = official("inputs")["X_fit"]
    name = "procrustes_centred_l1_to_l0" if center else "procrustes_l1_to_l0"
    theirs = official("procrustes_distance")[name]
    ours = Procrustes(center=center).fit(X[1], X[0]).rotation_
    np.testing.assert_allclose(ours, theirs, atol=1e-8, rtol=0)


@pytest.mark.parametrize("scoring", ["fit", "heldout"])
def test_the_official_angular_distances_follow_from_the_fitted_maps(official, scoring):
    inputs, reference = official("inputs"), official("procrustes_distance")
    X = inputs["X_fit"]
    names = {"fit": "angular_alpha1p0", "heldout": "angular_alpha1p0_heldout"}
    S = inputs["X_new"] if scoring == "heldout" else X
    for (i, j), theirs in zip(reference["pairs"], reference[names[scoring]], strict=True):
        map_ = Procrustes().fit(X[i], X[j])
        a, b = map_.transform(S[i]) - map_.mean_out_, S[j] - map_.mean_out_
        cosine = (a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b)
        np.testing.assert_allclose(np.arccos(cosine), theirs, atol=1e-7, rtol=0)


@pytest.mark.parametrize("recipe", [("unit", "center"), ("unit", "center", "unit")])
def test_the_official_orthogonal_mapping_of_vecmap_agrees(official, recipe):
    X, reference = official("inputs")["X_fit"], official("vecmap_supervised")
    rows, name = reference["dictionary_rows"], "orthogonal_" + "_".join(recipe)
    (_, source), (_, target) = (FittedRecipe.fit(recipe, X[i]) for i in (1, 0))
    map_ = Procrustes(center=False).fit(source[rows], target[rows])
    mapped = map_.transform(source)
    np.testing.assert_allclose(mapped, reference[f"{name}_src"], atol=1e-7, rtol=0)
    np.testing.assert_allclose(target, reference[f"{name}_trg"], atol=1e-7, rtol=0)


# --- fewer pairs than dimensions --------------------------------------------------------------


def few_pairs(seed=13, n=5, d=12):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.normal(size=(n, d))


@pytest.mark.parametrize("center", [True, False])
def test_directions_that_no_pair_has_seen_stay_where_they_are(center):
    X, Y = few_pairs()
    map_ = Procrustes(center=center).fit(X, Y)
    unseen = scipy.linalg.null_space(np.vstack([X, Y])).T
    np.testing.assert_allclose(unseen @ map_.matrix_, unseen, atol=1e-12)
    np.testing.assert_allclose(map_.rotation_.T @ map_.rotation_, np.eye(12), atol=1e-13)


def test_no_equally_good_rotation_is_nearer_to_the_identity():
    X, Y = few_pairs()
    R = Procrustes(center=False).fit(X, Y).rotation_
    U, sigma, Vt = np.linalg.svd(X.T @ Y)
    np.testing.assert_allclose(np.trace(R.T @ X.T @ Y), sigma.sum(), rtol=1e-12)
    rng = np.random.default_rng(14)
    for _ in range(100):
        other = U[:, :5] @ Vt[:5] + U[:, 5:] @ orthogonal(rng, 7) @ Vt[5:]
        assert np.linalg.norm(R - np.eye(12)) < np.linalg.norm(other - np.eye(12))


@pytest.mark.parametrize("reflection", [True, False])
def test_with_few_pairs_the_order_of_rows_does_not_matter(reflection, as_kind, rtol):
    X, Y = few_pairs()
    map_ = Procrustes(reflection=reflection)
    R = map_.fit(as_kind(X), as_kind(Y)).rotation_
    np.testing.assert_array_equal(map_.fit(as_kind(X), as_kind(Y)).rotation_, R)
    for seed in range(5):
        p = np.random.default_rng(seed).permutation(5)
        again = Procrustes(reflection=reflection).fit(as_kind(X[p]), as_kind(Y[p])).rotation_
        np.testing.assert_allclose(again, R, atol=100 * rtol)


def test_few_pairs_far_away_that_come_one_at_a_time_give_the_same_fit():
    X, Y = few_pairs()
    stream = Procrustes()
    for i in range(5):
        stream.partial_fit(X[i : i + 1] + 1e6, Y[i : i + 1] + 1e6)
    # Merged means round to 1e-10: that noise must not pass for a direction that was seen.
    expected = Procrustes().fit(X + 1e6, Y + 1e6).rotation_
    np.testing.assert_allclose(stream.rotation_, expected, atol=1e-7)


def test_with_few_pairs_a_determinant_of_one_is_free():
    X, Y = few_pairs()
    free, proper = Procrustes().fit(X, Y), Procrustes(reflection=False).fit(X, Y)
    np.testing.assert_allclose(np.linalg.det(proper.rotation_), 1, rtol=1e-12)
    np.testing.assert_allclose(proper.score(X, Y), free.score(X, Y), rtol=1e-12)


# --- ways to fit and to use -------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.sampled_from(SHAPES),
    center=st.booleans(),
    scale=st.booleans(),
)
def test_a_stream_of_batches_gives_the_same_fit(seed, shape, center, scale):
    rng = np.random.default_rng(seed)
    X, Y = unrelated(seed, *shape)
    edges = [0, *np.unique(rng.integers(1, 59, size=4)), 60]
    stream = Procrustes(center=center, scale=scale)
    for a, b in pairwise(edges):
        stream.partial_fit(X[a:b], Y[a:b])
    whole = Procrustes(center=center, scale=scale).fit(X, Y)
    np.testing.assert_allclose(stream.moments_.cross, whole.moments_.cross, rtol=1e-10, atol=1e-9)
    # The rotation turns by rounding over the smallest singular value.
    worst = 1e-11 * whole.singular_values_[0] / whole.singular_values_[-1]
    np.testing.assert_allclose(stream.matrix_, whole.matrix_, atol=1e-11 + 10 * worst)


def test_merged_moments_give_the_same_fit():
    X, Y = unrelated(15, 6, 6)
    a, b = (Procrustes().fit(X[i::2], Y[i::2]).moments_ for i in (0, 1))
    merged = Procrustes().fit_moments(a + b)
    expected = Procrustes().fit(X, Y).transform(X)
    np.testing.assert_allclose(merged.transform(X), expected, atol=1e-11)


def test_fit_forgets_keeps_no_scatter_and_leaves_the_rows_alone():
    X, Y = unrelated(16, 6, 6)
    before = X.copy(), Y.copy()
    map_ = Procrustes().fit(Y, X).fit(X, Y)
    np.testing.assert_array_equal(map_.rotation_, Procrustes().fit(X, Y).rotation_)
    np.testing.assert_array_equal((X, Y), before)
    assert map_.moments_.scatter_x is None  # a second d x d product would cost as much again


def test_fit_transform_is_fit_and_then_transform(as_kind, rows_of):
    X, Y = (as_kind(Z) for Z in unrelated(17, 6, 6))
    together = rows_of(Procrustes().fit_transform(X, Y))
    np.testing.assert_array_equal(together, rows_of(Procrustes().fit(X, Y).transform(X)))


def test_a_row_is_transformed_the_same_whatever_else_is_in_the_batch():
    X, Y = unrelated(18, 6, 6)
    map_ = Procrustes().fit(X, Y)
    alone = np.vstack([map_.transform(X[i : i + 1]) for i in range(20)])
    # A product of one row may be summed in another order than a product of many.
    np.testing.assert_allclose(map_.transform(X[:20]), alone, atol=1e-13)


def test_the_score_is_the_share_of_variance_explained(as_kind, rtol):
    X, Y = unrelated(19, 6, 6)
    map_ = Procrustes(scale=True).fit(X, Y)
    peer = r2_score(Y, map_.transform(X), multioutput="variance_weighted")
    np.testing.assert_allclose(map_.score(as_kind(X), as_kind(Y)), peer, rtol=10 * rtol)


def test_a_one_dimensional_target_is_one_column():
    X, Y = unrelated(20, 6, 1)
    np.testing.assert_array_equal(
        Procrustes().fit(X, Y[:, 0]).rotation_, Procrustes().fit(X, Y).rotation_
    )


@pytest.mark.parametrize("door", ["numpy float16", "torch float16", "torch bfloat16"])
def test_half_precision_rows_come_back_in_half_precision(door, make_kind, rows_of):
    x, y = (make_kind(Z, door) for Z in unrelated(21, 6, 6))
    Z = Procrustes().fit(x, y).transform(x)
    assert type(Z) is type(x)
    assert Z.dtype == x.dtype
    exact = Procrustes().fit(rows_of(x), rows_of(y)).transform(rows_of(x))
    step = 2.0**-8 if "bfloat" in door else 2.0**-11  # relative rounding of the stored answer
    np.testing.assert_allclose(rows_of(Z), exact, rtol=step, atol=1e-4)


def test_clone_pickle_and_pandas_output():
    X, Y = unrelated(22, 6, 4)
    map_ = Procrustes(scale=True).fit(X, Y)
    assert clone(map_).get_params() == {"center": True, "reflection": True, "scale": True}
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(map_)).transform(X), map_.transform(X))
    out = map_.set_output(transform="pandas").transform(pd.DataFrame(X))
    assert list(out.columns) == [f"procrustes{i}" for i in range(4)]
