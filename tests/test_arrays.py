"""The one door: rows keep their kind, blocks do not show, and wrong rows are explained."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator

from posthoc_align import _blocks
from posthoc_align._arrays import (
    check_rows,
    check_target,
    compute_dtype,
    labels_to_host,
    largest,
    largest_at,
    like,
    require_same_place,
    upcast,
)
from posthoc_align._blocks import blocks, map_rows, require_finite, route_rows

DOORS = (
    "numpy float64", "numpy float32", "numpy float16",
    "torch float64", "torch float32", "torch float16", "torch bfloat16",
)  # fmt: skip


@pytest.fixture
def X():
    return np.random.default_rng(0).normal(size=(50, 6))


@pytest.fixture
def memory_map(tmp_path, X):
    np.save(tmp_path / "rows.npy", X.astype(np.float16))
    return np.load(tmp_path / "rows.npy", mmap_mode="r")


@pytest.fixture
def tiny_blocks(monkeypatch):
    """Cut every pass over rows into blocks of three rows of six float64; count the cuts."""
    seen = []

    def cut(X, *, target=None):
        for rows in blocks(X, target=3 * 6 * 8):
            seen.append(rows)
            yield rows

    monkeypatch.setattr(_blocks, "blocks", cut)
    return seen


def double(block, rows):
    return block + block


# --- what goes in comes out ---------------------------------------------------------------


@pytest.mark.parametrize("door", DOORS)
def test_rows_come_back_in_the_kind_and_dtype_they_came_in(door, X, make_kind):
    rows = make_kind(X, door)
    out = map_rows(double, check_rows(None, rows))
    assert type(out) is type(rows)
    assert out.dtype == rows.dtype
    assert tuple(out.shape) == tuple(rows.shape)
    if door.startswith("torch"):
        assert out.device == rows.device


@pytest.mark.parametrize("door", DOORS)
def test_mapped_rows_hold_the_values_of_the_function(door, X, make_kind, rows_of):
    rows = make_kind(X, door)
    # Doubling is exact in every binary type, so the answer is too.
    np.testing.assert_array_equal(rows_of(map_rows(double, rows)), 2 * rows_of(rows))


@pytest.mark.parametrize("door", DOORS)
def test_narrow_types_are_computed_in_float32_and_float64_in_float64(door, X, make_kind):
    rows = make_kind(X, door)
    wide = "float64" if "float64" in door else "float32"
    seen = []
    map_rows(lambda block, at: seen.append(block.dtype) or block, rows)
    assert {str(dtype).removeprefix("torch.") for dtype in seen} == {wide}
    assert wide in str(compute_dtype(rows))


def test_a_memory_map_stays_on_disk_and_the_answer_is_an_array(memory_map):
    rows = check_rows(None, memory_map)
    assert np.shares_memory(rows, memory_map)
    out = map_rows(double, rows)
    assert type(out) is np.ndarray
    assert out.dtype == np.float16


@pytest.mark.parametrize("door", DOORS)
def test_the_door_does_not_copy_rows_that_are_fine(door, X, make_kind):
    rows = make_kind(X, door)
    checked = check_rows(None, rows)
    if door.startswith("torch"):
        assert checked.data_ptr() == rows.data_ptr()
    else:
        assert np.shares_memory(checked, rows)


def test_rows_already_wide_are_not_copied_by_upcast(X):
    assert upcast(X) is X


@pytest.mark.parametrize(
    "rows",
    [
        [[1, 2], [3, 4]],
        np.array([[1, 2], [3, 4]]),
        np.array([[True, False], [True, True]]),
        np.array([[1, 2.5], [3, 4]], dtype=object),
        torch.tensor([[1, 2], [3, 4]]),
        torch.tensor([[True, False], [True, True]]),
    ],
    ids=["list", "int", "bool", "object", "torch int", "torch bool"],
)
def test_integers_booleans_and_numeric_objects_become_float64(rows, rows_of):
    checked = check_rows(None, rows)
    assert str(checked.dtype).endswith("float64")
    expected = rows_of(rows) if hasattr(rows, "detach") else np.asarray(rows, dtype=float)
    np.testing.assert_array_equal(rows_of(checked), expected)


def test_a_data_frame_leaves_its_column_names_with_the_estimator(X):
    estimator = BaseEstimator()
    check_rows(estimator, pd.DataFrame(X, columns=list("abcdef")), reset=True)
    assert list(estimator.feature_names_in_) == list("abcdef")
    assert estimator.n_features_in_ == 6


@pytest.mark.parametrize("door", DOORS)
def test_like_makes_an_array_of_the_other_ones_kind_in_its_compute_type(door, X, make_kind):
    rows = make_kind(X, door)
    value = like(np.arange(3.0), rows)
    assert type(value) is type(rows)
    assert value.dtype == compute_dtype(rows)


# --- blocks ---------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    n=st.integers(1, 200),
    width=st.integers(1, 9),
    target=st.integers(1, 5000),
    dtype=st.sampled_from(["float16", "float32", "float64"]),
)
def test_blocks_cover_every_row_once_and_in_order(n, width, target, dtype):
    rows = [
        i for part in blocks(np.zeros((n, width), dtype), target=target) for i in range(n)[part]
    ]
    assert rows == list(range(n))


@settings(deadline=None)
@given(n=st.integers(1, 200), width=st.integers(1, 9), target=st.integers(1, 5000))
def test_a_block_is_no_larger_than_asked_for_unless_a_single_row_is(n, width, target):
    for part in blocks(np.zeros((n, width), np.float32), target=target):
        assert (part.stop - part.start) * width * 4 <= target or part.stop - part.start == 1


@pytest.mark.parametrize("door", DOORS)
def test_block_size_does_not_change_mapped_rows(door, X, make_kind, rows_of, tiny_blocks):
    rows = make_kind(X, door)
    cut = map_rows(double, rows)
    assert len(tiny_blocks) >= 50 // 6  # else this test would say nothing
    np.testing.assert_array_equal(rows_of(cut), 2 * rows_of(rows))


def test_the_function_is_told_which_rows_it_gets(X, tiny_blocks):
    out = map_rows(lambda block, rows: block - X[rows], X)
    assert len(tiny_blocks) > 1
    assert not out.any()


def test_the_answer_may_have_another_width(X):
    assert map_rows(lambda block, rows: block[:, :2], X, width=2).shape == (50, 2)


def test_the_rows_given_are_left_as_they_were(X):
    before = X.copy()
    map_rows(double, X)
    np.testing.assert_array_equal(X, before)


@pytest.mark.parametrize("door", DOORS)
def test_each_row_goes_through_the_function_its_code_names(
    door, X, make_kind, rows_of, tiny_blocks
):
    rows = make_kind(X, door)
    codes = np.random.default_rng(1).integers(0, 3, size=50)
    out = route_rows([lambda x: -x, lambda x: x + x, lambda x: x], codes, rows)
    assert out.dtype == rows.dtype
    expected = np.array([-1, 2, 1])[codes][:, None] * rows_of(rows)  # exact in binary
    np.testing.assert_array_equal(rows_of(out), expected)
    assert len(tiny_blocks) > 1


# --- refusals -------------------------------------------------------------------------------


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", [0, 17, 49])
def test_the_first_bad_row_is_named(library, value, row, X, make_kind, tiny_blocks):
    X[row, 2] = value
    X[49, 5] = value
    kind = "NaN" if np.isnan(value) else "infinity"
    rows = make_kind(X, f"{library} float32")
    with pytest.raises(ValueError, match=rf"X contains {kind}, first in row {row}\."):
        require_finite(rows)
    with pytest.raises(ValueError, match=rf"X contains {kind}, first in row {row}\."):
        map_rows(double, rows)


def test_both_infinities_in_one_row_are_called_infinity(X):
    X[3, :2] = np.inf, -np.inf
    with pytest.raises(ValueError, match="contains infinity, first in row 3"):
        require_finite(X)


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_finite_rows_whose_sum_overflows_are_not_called_infinite(library, make_kind):
    rows = make_kind(np.full((4, 4), 3e38), f"{library} float32")
    require_finite(rows)
    out = map_rows(lambda block, at: block, rows)
    assert bool((out == rows).all())


@pytest.mark.parametrize(
    ("door", "large", "wider"),
    [
        ("numpy float16", 6e4, "float32"),
        ("torch float16", 6e4, "float32"),
        ("torch bfloat16", 3e38, "float64"),  # which reaches as far as float32
    ],
)
def test_an_answer_too_large_for_its_type_is_an_error_and_not_infinity(
    door, large, wider, make_kind
):
    rows = make_kind(np.full((3, 2), large), door)
    with pytest.raises(ValueError, match=rf"do not fit into .*float16\. Pass X as {wider}"):
        map_rows(lambda block, at: block * 3, rows)


def test_an_answer_too_large_for_float32_is_told_to_come_as_float64():
    rows = np.full((3, 2), 3e38, np.float32)
    with (
        np.errstate(over="ignore"),
        pytest.raises(ValueError, match=r"do not fit into float32\. Pass X as float64"),
    ):
        map_rows(lambda block, at: block * np.float32(3), rows)


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (np.zeros(3), "Expected 2D array, got 1D"),
        (np.zeros((2, 2, 2)), "3"),
        (np.zeros((0, 3)), r"0 sample\(s\)"),
        (np.zeros((3, 0)), r"0 feature\(s\)"),
        (np.zeros((3, 2), complex), "Complex data not supported"),
    ],
    ids=["1-D", "3-D", "no rows", "no columns", "complex"],
)
def test_arrays_that_are_not_rows_of_real_numbers_are_refused(library, rows, says):
    with pytest.raises(ValueError, match=says):
        check_rows(None, torch.as_tensor(rows) if library == "torch" else rows)


@pytest.mark.parametrize("rows", [np.array([["1", "2"]]), [["a", "b"]], np.array([[b"1"]])])
def test_text_is_refused_even_where_it_could_be_read_as_numbers(rows):
    with pytest.raises(ValueError, match=r"X holds text .* Embed the text first"):
        check_rows(None, rows)


def test_dates_are_no_numbers():
    with pytest.raises((TypeError, ValueError), match="datetime64"):
        check_rows(None, np.full((2, 2), "2020-01-01", dtype="datetime64[D]"))


def test_sparse_rows_are_told_how_to_become_dense():
    with pytest.raises(TypeError, match="toarray"):
        check_rows(None, scipy.sparse.csr_array(np.eye(3)))
    with pytest.raises(TypeError, match="to_dense"):
        check_rows(None, torch.eye(3).to_sparse())


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_another_width_than_fitted_names_both_widths(library, X, make_kind):
    estimator = BaseEstimator()
    check_rows(estimator, X, reset=True)
    with pytest.raises(ValueError, match=r"X has 5 features, but .* expecting 6 features"):
        check_rows(estimator, make_kind(X[:, :5], f"{library} float64"))


def test_a_one_dimensional_target_becomes_one_column(X):
    assert check_target(X[:, 0], X).shape == (50, 1)


def test_a_target_of_another_length_names_both_lengths(X):
    with pytest.raises(ValueError, match="X has 50 rows and y has 7"):
        check_target(X[:7], X)
    assert check_target(X[:7], X, same_length=False).shape == (7, 6)


def test_no_target_is_explained(X):
    with pytest.raises(ValueError, match="y to be passed, but the target y is None"):
        check_target(None, X)


@pytest.mark.parametrize(
    "other", [np.zeros((2, 2)), torch.zeros(2, 2, device="meta")], ids=["NumPy", "other device"]
)
def test_two_arrays_must_lie_in_one_place(other):
    with pytest.raises(ValueError, match=r"X is a torch tensor on cpu and y is .* Move one"):
        require_same_place(torch.zeros(2, 2), other, names=("X", "y"))


# --- small helpers --------------------------------------------------------------------------


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), k=st.integers(1, 12), library=st.sampled_from(["n", "t"]))
def test_the_largest_values_are_those_of_a_sort(seed, k, library):
    block = np.random.default_rng(seed).normal(size=(4, 9))
    expected = -np.sort(-block, axis=1)[:, :k]
    given_block = torch.as_tensor(block) if library == "t" else block
    values, columns = (np.asarray(part) for part in largest_at(given_block, k))
    np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(np.take_along_axis(block, columns, axis=1), expected)
    np.testing.assert_array_equal(-np.sort(-np.asarray(largest(given_block, k)), 1), expected)


@pytest.mark.parametrize(
    "labels", [[0, 1, 1], np.array([0, 1, 1]), torch.tensor([0, 1, 1]), pd.Series([0, 1, 1])]
)
def test_class_labels_of_any_kind_become_numpy(labels):
    host = labels_to_host(labels)
    assert isinstance(host, np.ndarray)
    assert host.tolist() == [0, 1, 1]
