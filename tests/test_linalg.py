"""Polar factors with a documented completion, numerical rank, and bases without random signs."""

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from posthoc_align.linalg import (
    complement,
    fix_signs,
    nearest_isometry,
    numerical_rank,
    symmetric_eigen,
    symmetric_power,
)

EPS = np.finfo(np.float64).eps
SHAPES = [(7, 7), (9, 4), (4, 9)]


def orthogonal(rng, d):
    return np.linalg.qr(rng.normal(size=(d, d)))[0]


def of_rank(rng, d_x, d_y, rank):
    """A d_x x d_y matrix of exactly this rank, with singular values between 1 and 2."""
    U, V = orthogonal(rng, d_x)[:, :rank], orthogonal(rng, d_y)[:, :rank]
    return U * rng.uniform(1, 2, size=rank) @ V.T


# --- numerical rank -------------------------------------------------------------------------


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rank=st.integers(1, 8))
def test_a_planted_rank_is_found(seed, rank):
    values = np.linalg.svd(of_rank(np.random.default_rng(seed), 8, 8, rank), compute_uv=False)
    assert numerical_rank(values, 8, EPS) == rank


def test_nothing_has_rank_zero():
    assert numerical_rank(np.zeros(4), 4, EPS) == 0


def test_rank_in_coarser_arithmetic_counts_fewer_directions():
    values = np.array([1.0, 1e-8, 1e-20])
    assert numerical_rank(values, 3, EPS) == 2
    assert numerical_rank(values, 3, float(np.finfo(np.float32).eps)) == 1


def test_a_difference_of_larger_numbers_is_judged_by_their_size():
    values = np.array([1e-9, 1e-10])
    assert numerical_rank(values, 2, EPS) == 2
    assert numerical_rank(values, 2, EPS, scale=1e8) == 0


# --- nearest isometry -----------------------------------------------------------------------


@pytest.mark.parametrize(("d_x", "d_y"), SHAPES)
@pytest.mark.parametrize("rank", [0, 1, 3, 4])
def test_columns_or_rows_are_orthonormal_at_any_rank(d_x, d_y, rank):
    R, _ = nearest_isometry(of_rank(np.random.default_rng(rank), d_x, d_y, rank), eps=EPS)
    assert R.shape == (d_x, d_y)
    gram = R.T @ R if d_x >= d_y else R @ R.T
    np.testing.assert_allclose(gram, np.eye(min(d_x, d_y)), atol=1e-12)  # a product of rotations


@pytest.mark.parametrize(("d_x", "d_y"), SHAPES)
def test_no_isometry_has_a_larger_trace(d_x, d_y):
    rng = np.random.default_rng(0)
    cross = rng.normal(size=(d_x, d_y))
    R, values = nearest_isometry(cross, eps=EPS)
    best = np.trace(R.T @ cross)
    # The maximum of trace(R' C) over isometries is the nuclear norm (von Neumann).
    np.testing.assert_allclose(best, np.linalg.norm(cross, "nuc"), rtol=1e-12)
    np.testing.assert_allclose(values, np.linalg.svd(cross, compute_uv=False), rtol=1e-12)
    for _ in range(100):
        other = orthogonal(rng, max(d_x, d_y))[:d_x, :d_y]
        assert np.trace(other.T @ cross) < best


def test_scipy_finds_the_same_rotation_where_the_cross_product_has_full_rank():
    rng = np.random.default_rng(1)
    X, Y = rng.normal(size=(2, 30, 6))
    theirs, _ = scipy.linalg.orthogonal_procrustes(X, Y)
    ours, _ = nearest_isometry(X.T @ Y, eps=EPS)
    np.testing.assert_allclose(ours, theirs, atol=1e-11)  # conditioned by the smallest singular gap


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rank=st.integers(0, 7), shape=st.sampled_from(SHAPES))
def test_unseen_directions_are_the_limit_of_a_vanishing_pull_to_the_identity(seed, rank, shape):
    rng = np.random.default_rng(seed)
    cross = of_rank(rng, *shape, min(rank, *shape))
    R, _ = nearest_isometry(cross, eps=EPS)
    t = 1e-7
    U, _, Vt = np.linalg.svd(cross + t * np.eye(*shape), full_matrices=False)
    towards_identity = np.trace(R[: min(shape), : min(shape)])
    # The pull gives up t of what is certain for what is free, and rounding enters as eps / t:
    # both lie well below 1e-5, while another completion is off by a share of one.
    np.testing.assert_allclose(np.trace((U @ Vt).T @ np.eye(*shape)), towards_identity, atol=1e-5)
    np.testing.assert_allclose(np.trace(R.T @ cross), np.linalg.norm(cross, "nuc"), atol=1e-10)


def test_directions_unseen_on_both_sides_stay_where_they_are():
    rng = np.random.default_rng(2)
    cross = np.zeros((8, 8))
    cross[:3, :3] = rng.normal(size=(3, 3))
    R, _ = nearest_isometry(cross, eps=EPS)
    np.testing.assert_allclose(R[3:, 3:], np.eye(5), atol=1e-12)
    assert np.abs(R[:3, :3] - np.eye(3)).max() > 0.1  # the seen ones did turn


def test_no_completion_is_nearer_to_the_identity():
    rng = np.random.default_rng(3)
    cross = of_rank(rng, 8, 8, 3)
    R, _ = nearest_isometry(cross, eps=EPS)
    U, _, Vt = np.linalg.svd(cross)
    for _ in range(200):
        other = U[:, :3] @ Vt[:3] + U[:, 3:] @ orthogonal(rng, 5) @ Vt[3:]
        np.testing.assert_allclose(np.trace(other.T @ cross), np.trace(R.T @ cross))
        assert np.linalg.norm(R - np.eye(8)) < np.linalg.norm(other - np.eye(8))


@pytest.mark.parametrize(("d_x", "d_y"), SHAPES)
def test_no_signal_at_all_gives_the_identity(d_x, d_y):
    R, _ = nearest_isometry(np.zeros((d_x, d_y)), eps=EPS)
    np.testing.assert_allclose(R, np.eye(d_x, d_y), atol=1e-14)


def test_a_bound_on_the_rank_known_from_elsewhere_is_kept():
    rng = np.random.default_rng(4)
    cross = of_rank(rng, 8, 8, 3)
    noisy = cross + 1e-10 * rng.normal(size=(8, 8))  # noise that full rank would take for signal
    R, _ = nearest_isometry(cross, eps=EPS)
    np.testing.assert_array_equal(nearest_isometry(cross, eps=EPS, max_rank=8)[0], R)
    bounded, _ = nearest_isometry(noisy, eps=EPS, max_rank=3)
    unbounded, _ = nearest_isometry(noisy, eps=EPS)
    np.testing.assert_allclose(bounded, R, atol=1e-8)  # noise over the gap of 1, some tens of it
    assert np.abs(unbounded - R).max() > 0.1


# --- rotations without reflection -----------------------------------------------------------


@pytest.mark.parametrize("rank", range(6))
@pytest.mark.parametrize("seed", range(4))
def test_a_proper_rotation_has_determinant_one(rank, seed):
    cross = of_rank(np.random.default_rng(seed), 5, 5, rank)
    R, _ = nearest_isometry(cross, eps=EPS, reflection=False)
    np.testing.assert_allclose(np.linalg.det(R), 1, rtol=1e-12)
    np.testing.assert_allclose(R.T @ R, np.eye(5), atol=1e-12)


def test_reflections_are_used_where_they_are_allowed():
    mirror = np.diag([1.0, 2.0, -3.0])
    R, _ = nearest_isometry(mirror, eps=EPS)
    np.testing.assert_allclose(R, np.diag([1.0, 1.0, -1.0]), atol=1e-14)


@pytest.mark.parametrize("seed", range(6))
def test_scipy_finds_the_same_proper_rotation_in_three_dimensions(seed):
    rng = np.random.default_rng(seed)
    X, Y = rng.normal(size=(2, 20, 3))
    theirs = Rotation.align_vectors(Y, X)[0].as_matrix().T  # theirs acts from the left
    ours, _ = nearest_isometry(X.T @ Y, eps=EPS, reflection=False)
    np.testing.assert_allclose(ours, theirs, atol=1e-10)


@pytest.mark.parametrize("seed", range(6))
def test_turning_into_a_rotation_costs_nothing_where_a_direction_is_unseen(seed):
    cross = of_rank(np.random.default_rng(seed), 6, 6, 4)
    R, _ = nearest_isometry(cross, eps=EPS, reflection=False)
    np.testing.assert_allclose(np.trace(R.T @ cross), np.linalg.norm(cross, "nuc"), rtol=1e-12)


def test_between_different_widths_reflection_makes_no_difference():
    cross = np.random.default_rng(5).normal(size=(6, 4))
    with_, _ = nearest_isometry(cross, eps=EPS, reflection=True)
    without, _ = nearest_isometry(cross, eps=EPS, reflection=False)
    np.testing.assert_array_equal(with_, without)


# --- bases ----------------------------------------------------------------------------------


@pytest.mark.parametrize("r", [0, 1, 4, 6])
def test_a_basis_and_its_complement_fill_the_space(r):
    basis = orthogonal(np.random.default_rng(r), 6)[:, :r]
    rest = complement(basis)
    assert rest.shape == (6, 6 - r)
    both = np.hstack([basis, rest])
    np.testing.assert_allclose(both.T @ both, np.eye(6), atol=1e-13)


def test_eigenvectors_rebuild_the_matrix_and_eigenvalues_rise_from_zero():
    A = np.random.default_rng(6).normal(size=(4, 9))
    S = A.T @ A  # rank 4 of 9: five eigenvalues are rounding noise of either sign
    values, vectors = symmetric_eigen(S)
    assert (values >= 0).all()
    assert (np.diff(values) >= 0).all()
    np.testing.assert_allclose(vectors * values @ vectors.T, S, atol=1e-12)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(9), atol=1e-13)


@pytest.mark.parametrize("power", [0.5, -0.5, -1, 2])
def test_powers_of_a_symmetric_matrix_are_those_of_scipy(power):
    A = np.random.default_rng(8).normal(size=(20, 6))
    theirs = scipy.linalg.fractional_matrix_power(A.T @ A, power)
    np.testing.assert_allclose(symmetric_power(A.T @ A, power), theirs, rtol=1e-11, atol=1e-12)


def test_negative_powers_leave_out_directions_that_are_zero_up_to_rounding():
    A = np.random.default_rng(9).normal(size=(4, 9))
    S = A.T @ A
    np.testing.assert_allclose(symmetric_power(S, -1), np.linalg.pinv(S), atol=1e-12)
    half = symmetric_power(S, -0.5)
    np.testing.assert_allclose(half @ half, np.linalg.pinv(S), atol=1e-12)
    noisy = np.diag([1.0, 1e-6])
    assert symmetric_power(noisy, -1)[1, 1] == pytest.approx(1e6)
    coarse = float(np.finfo(np.float32).eps) * 10
    np.testing.assert_array_equal(symmetric_power(noisy, -1, eps=coarse), np.diag([1.0, 0.0]))
    np.testing.assert_array_equal(symmetric_power(np.zeros((3, 3)), -0.5), np.zeros((3, 3)))


def test_signs_do_not_depend_on_the_signs_they_came_in():
    rows = np.random.default_rng(7).normal(size=(5, 8))
    flipped = rows * np.array([1, -1, 1, -1, -1])[:, None]
    fixed = fix_signs(rows)
    np.testing.assert_array_equal(fixed, fix_signs(flipped))
    np.testing.assert_array_equal(np.abs(fixed), np.abs(rows))
    assert (fixed[np.arange(5), np.abs(fixed).argmax(axis=1)] > 0).all()
