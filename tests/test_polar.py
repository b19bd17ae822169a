"""The orthogonal factor by products is that of the SVD, and is refused where it is not unique."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from posthoc_align import Procrustes, linalg
from posthoc_align._polar import polar_factor
from posthoc_align.linalg import isometry_by_products, nearest_isometry
from posthoc_align.pair_moments import PairMoments

EPS = float(np.finfo(np.float64).eps)
EPS32 = float(np.finfo(np.float32).eps)
SHAPES = [(40, 40), (60, 25), (25, 60)]


def orthogonal(rng, d):
    return np.linalg.qr(rng.normal(size=(d, d)))[0]


def conditioned(rng, d_x, d_y, condition, rank=None):
    """A matrix of singular values from 7 down to 7 / condition, and the factor it was made with."""
    least = min(d_x, d_y)
    values = 7 * np.geomspace(1, 1 / condition, least)
    if rank is not None:
        values[rank:] = 0
    U, V = orthogonal(rng, d_x)[:, :least], orthogonal(rng, d_y)[:, :least]
    return U * values @ V.T, U @ V.T


@pytest.fixture
def narrow_too(monkeypatch):
    """Let narrow matrices be solved by products, so that tests are fast."""
    monkeypatch.setattr(linalg, "WIDE", 1)


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("condition", [1.0, 1e1, 1e4, 1e9])
def test_the_factor_that_was_planted_is_found(library, shape, condition, make_kind):
    matrix, planted = conditioned(np.random.default_rng(0), *shape, condition)
    factor = polar_factor(make_kind(matrix, f"{library} float64"), noise=max(shape) * EPS)
    # Rounding of a few dozen sums, over the relative size of the smallest singular value.
    np.testing.assert_allclose(np.asarray(factor), planted, atol=100 * EPS * condition)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("condition", [1e1, 1e10])
def test_the_factor_is_orthonormal_however_ill_the_matrix(shape, condition):
    matrix, _ = conditioned(np.random.default_rng(1), *shape, condition)
    factor = polar_factor(matrix, noise=max(shape) * EPS)
    gram = factor.T @ factor if shape[0] >= shape[1] else factor @ factor.T
    np.testing.assert_allclose(gram, np.eye(min(shape)), atol=1e-13)


@pytest.mark.parametrize("scale", [1e-150, 1e-30, 1e30, 1e150])
def test_the_unit_of_the_matrix_does_not_matter(scale):
    matrix, planted = conditioned(np.random.default_rng(2), 30, 30, 1e3)
    np.testing.assert_allclose(polar_factor(scale * matrix, noise=30 * EPS), planted, atol=1e-11)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rank", [0, 1, 20, 24])
def test_a_matrix_of_lower_rank_is_refused(shape, rank):
    matrix, _ = conditioned(np.random.default_rng(3), *shape, 10.0, rank=rank)
    assert polar_factor(matrix, noise=max(shape) * EPS) is None


@pytest.mark.parametrize(("least", "found"), [(3e-5, True), (1e-6, False)])
def test_what_counts_as_noise_is_what_counts_as_noise_for_the_rank(least, found):
    matrix, _ = conditioned(np.random.default_rng(4), 40, 40, 1 / least)
    values = np.linalg.svd(matrix, compute_uv=False)
    assert (linalg.numerical_rank(values, 40, EPS32) == 40) is found
    assert (polar_factor(matrix, noise=40 * EPS32) is not None) is found


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(value):
    assert polar_factor(np.full((3, 3), value), noise=1e-10) is None


# --- as the map is found ----------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_by_products_it_is_the_isometry_of_the_svd(shape, narrow_too):
    matrix, _ = conditioned(np.random.default_rng(5), *shape, 1e3)
    found = isometry_by_products(matrix, "cpu", eps=EPS)
    np.testing.assert_allclose(found, nearest_isometry(matrix, eps=EPS)[0], atol=1e-12)


def test_what_must_be_completed_or_turned_back_is_left_to_the_svd(narrow_too):
    matrix, planted = conditioned(np.random.default_rng(6), 30, 30, 10.0)
    if np.linalg.det(planted) > 0:
        matrix = matrix * np.where(np.arange(30) == 0, -1, 1)
    assert isometry_by_products(matrix, "cpu", eps=EPS) is not None
    assert isometry_by_products(matrix, "cpu", eps=EPS, reflection=False) is None
    assert isometry_by_products(-matrix[:, ::-1], "cpu", eps=EPS, max_rank=29) is None
    assert isometry_by_products(matrix, "cuda:99", eps=EPS) is None


@pytest.mark.parametrize("step", ["polar_factor", "to_host"])
def test_where_the_device_has_no_room_it_is_left_to_the_svd(step, moments, narrow_too, monkeypatch):
    def full(*given, **options):
        raise error

    monkeypatch.setattr(linalg, step, full)
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    assert isometry_by_products(np.eye(20), "cpu", eps=EPS) is None
    there = Procrustes().fit_moments(replace(moments, device="cpu"))
    np.testing.assert_array_equal(there.rotation_, Procrustes().fit_moments(moments).rotation_)
    error = RuntimeError("the device is lost")
    with pytest.raises(RuntimeError, match="is lost"):
        isometry_by_products(np.eye(20), "cpu", eps=EPS)


def test_a_narrow_matrix_is_left_to_the_svd():
    assert isometry_by_products(np.eye(linalg.WIDE - 1), "cpu", eps=EPS) is None


@pytest.fixture
def moments():
    X = np.random.default_rng(7).normal(size=(300, 20))
    Y = X @ orthogonal(np.random.default_rng(8), 20) + 0.3
    return PairMoments.of(X, Y)


@pytest.mark.parametrize("options", [{}, {"scale": True}, {"reflection": False}, {"center": False}])
def test_procrustes_solved_on_a_device_is_that_of_the_host(options, moments, narrow_too):
    on_host = Procrustes(**options).fit_moments(moments)
    there = Procrustes(**options).fit_moments(replace(moments, device="cpu"))
    X = np.random.default_rng(9).normal(size=(5, 20))
    np.testing.assert_allclose(there.transform(X), on_host.transform(X), atol=1e-11)
    np.testing.assert_allclose(there.singular_values_, on_host.singular_values_, rtol=1e-10)
    there.partial_fit(X, X)
    np.testing.assert_allclose(
        there.singular_values_, on_host.partial_fit(X, X).singular_values_, rtol=1e-10
    )


def test_moments_of_two_places_have_none(moments):
    there = replace(moments, device="cuda:0")
    assert (there + there).device == "cuda:0"
    assert (there + moments).device is None
    assert there.uncentred().device == "cuda:0"
    assert PairMoments.of(torch.eye(3), torch.eye(3)).device is None


def test_moments_of_a_device_that_is_gone_are_solved_on_the_host(moments, narrow_too):
    elsewhere = Procrustes().fit_moments(replace(moments, device="cuda:99"))
    np.testing.assert_array_equal(elsewhere.rotation_, Procrustes().fit_moments(moments).rotation_)
