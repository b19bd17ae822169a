"""Language labels and translation ids in every form a user may have them."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from posthoc_align.languages import (
    check_language,
    check_pair_id,
    encode,
    factorize,
    is_paired,
    pair_rows,
    require_unique_pairs,
    unseen_error,
)

WORDS = ["en", "de", "de", "sw"]
NUMBERS = [3, 1, 1, 2]


# --- language -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "labels",
    [
        WORDS,
        tuple(WORDS),
        np.array(WORDS),
        np.array(WORDS, dtype=object),
        pd.Series(WORDS),
        pd.Series(WORDS, dtype="string"),
        pd.Series(pd.Categorical(WORDS)),
        pd.Categorical(WORDS),
        pd.Index(WORDS),
        [np.str_(word) for word in WORDS],
    ],
    ids=[
        "list",
        "tuple",
        "array",
        "object",
        "Series",
        "string-Series",
        "Categorical-Series",
        "Categorical",
        "Index",
        "str_",
    ],
)
def test_text_labels_of_any_container_are_the_same_labels(labels):
    checked = check_language(labels, 4)
    assert isinstance(checked, np.ndarray)
    assert checked.shape == (4,)
    assert [str(label) for label in checked] == WORDS


@pytest.mark.parametrize(
    "labels",
    [
        NUMBERS,
        np.array(NUMBERS),
        np.array(NUMBERS, dtype=np.uint8),
        np.array(NUMBERS, dtype=object),
        [np.int32(n) for n in NUMBERS],
        pd.Series(NUMBERS),
        pd.Series(NUMBERS, dtype="Int64"),
        pd.Series(pd.Categorical(NUMBERS)),
        torch.tensor(NUMBERS),
        torch.tensor(NUMBERS, dtype=torch.int16),
    ],
    ids=[
        "list",
        "array",
        "uint8",
        "object",
        "np.int32",
        "Series",
        "Int64",
        "Categorical",
        "torch",
        "torch-int16",
    ],
)
def test_integer_labels_of_any_container_are_the_same_labels(labels):
    checked = check_language(labels, 4)
    assert checked.dtype.kind in "iu"
    assert checked.tolist() == NUMBERS


@pytest.mark.parametrize("scalar", ["en", np.str_("en"), 7, np.int64(7), torch.tensor(7)])
def test_a_scalar_stands_for_every_row(scalar):
    checked = check_language(scalar, 5)
    assert checked.shape == (5,)
    assert len(set(checked.tolist())) == 1
    assert checked[0] == ("en" if isinstance(scalar, str) else 7)


def test_a_word_is_one_label_and_not_a_list_of_letters():
    np.testing.assert_array_equal(check_language("abc", 3), ["abc"] * 3)


def test_no_language_is_none():
    assert check_language(None, 3) is None


@pytest.mark.parametrize("labels", [["a", "b"], ["a"] * 4, np.array([["a"]] * 3), []])
def test_labels_of_another_length_name_both_lengths(labels):
    shape = np.asarray(labels).shape
    says = f"language has shape {shape} but X has 3 rows".replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(ValueError, match=says + ".*one label a row"):
        check_language(labels, 3)


@pytest.mark.parametrize(
    "labels",
    [
        ["a", None, "b"],
        ["a", float("nan"), "b"],
        pd.Series(["a", None, "b"]),
        pd.Series(["a", pd.NA, "b"], dtype="string"),
        pd.Series(pd.Categorical(["a", None, "b"])),
        pd.Series([1, pd.NA, 2], dtype="Int64"),
    ],
    ids=["None", "NaN", "Series", "NA-string", "Categorical", "Int64"],
)
def test_a_missing_label_names_its_row(labels):
    with pytest.raises(ValueError, match=r"language is missing .* 1 rows, first in row 1"):
        check_language(labels, 3)


@pytest.mark.parametrize(
    "labels", [[1, "a", 2], [0.5, 1.5, 2.0], [True, False, True], [("a",), ("b",), ("c",)]]
)
def test_labels_that_are_neither_all_text_nor_all_integers_are_refused(labels):
    with pytest.raises(ValueError, match="all str or all int|one label a row"):
        check_language(labels, 3)


@pytest.mark.parametrize("scalar", [0.5, b"en", True, {"en"}, {"en": 1}])
def test_a_scalar_that_is_neither_text_nor_an_integer_is_refused(scalar):
    with pytest.raises(ValueError, match="all str or all int|one label a row"):
        check_language(scalar, 3)


# --- groups ---------------------------------------------------------------------------------

labels_of_rows = st.one_of(
    st.lists(st.sampled_from(["de", "en", "en-GB", "zh", ""]), min_size=1, max_size=40),
    st.lists(st.integers(-3, 3), min_size=1, max_size=40),
)


@settings(deadline=None)
@given(labels=labels_of_rows)
def test_factorising_gives_back_the_labels(labels):
    names, codes = factorize(np.array(labels))
    assert names[codes].tolist() == labels


@settings(deadline=None)
@given(labels=labels_of_rows)
def test_names_are_sorted_and_each_is_used(labels):
    names, codes = factorize(np.array(labels))
    assert names.tolist() == sorted(set(labels))
    assert sorted(set(codes.tolist())) == list(range(len(names)))


@settings(deadline=None)
@given(labels=labels_of_rows, known=st.permutations(["de", "en", "zh"]), n=st.integers(0, 3))
def test_encoding_points_at_known_labels_and_lists_the_unknown_ones(labels, known, n):
    known = known[:n] if isinstance(labels[0], str) else [0, -2, 3][:n]
    codes, unknown = encode(np.array(labels), known)
    assert sorted(unknown) == sorted(set(labels) - set(known))
    for label, code in zip(labels, codes, strict=True):
        assert code == (known.index(label) if label in known else -1)


def test_longer_labels_than_were_known_are_not_cut_to_their_length():
    codes, unknown = encode(np.array(["en-GB", "en"]), ["de", "en"])
    assert codes.tolist() == [-1, 1]
    assert [str(label) for label in unknown] == ["en-GB"]


def test_text_is_never_equal_to_the_number_it_spells():
    codes, unknown = encode(np.array(["1", "2"]), [1, 2])
    assert codes.tolist() == [-1, -1]
    assert len(unknown) == 2


def test_the_error_for_an_unseen_language_names_it_what_is_known_and_the_cure():
    error = unseen_error(["xx"], ["de", "en"], "Do this.")
    assert isinstance(error, ValueError)
    for part in ("'xx'", "'de', 'en'", "Do this."):
        assert part in str(error)


# --- pair_id --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ids",
    [
        [4, -1, 7],
        [4, None, 7],
        [4, float("nan"), 7],
        np.array([4, -1, 7]),
        np.array([4.0, np.nan, 7.0]),
        pd.Series([4, None, 7]),
        pd.Series([4, pd.NA, 7], dtype="Int64"),
        torch.tensor([4, -1, 7]),
        ["x4", None, "x7"],
        ["x4", -1, "x7"],
        ["x4", float("nan"), "x7"],
        pd.Series(["x4", None, "x7"]),
        pd.Series(["x4", pd.NA, "x7"], dtype="string"),
    ],
)
def test_a_row_without_a_translation_may_be_marked_in_any_usual_way(ids):
    checked = check_pair_id(ids, 3)
    assert is_paired(checked).tolist() == [True, False, True]
    assert [str(i).removeprefix("x") for i in checked[[0, 2]]] == ["4", "7"]


def test_ids_of_another_length_name_both_lengths():
    with pytest.raises(ValueError, match=r"pair_id has shape \(2,\) but X has 3 rows"):
        check_pair_id([1, 2], 3)


def test_one_id_for_all_rows_is_refused():
    with pytest.raises(ValueError, match="pair_id has shape .* but X has 3 rows"):
        check_pair_id(5, 3)


@pytest.mark.parametrize("ids", [[1, "a", 2], [0.5, 1.0, 2.0]])
def test_ids_that_are_neither_all_text_nor_all_integers_are_refused(ids):
    with pytest.raises(ValueError, match="pair_id holds .* all str or all int"):
        check_pair_id(ids, 3)


def test_an_id_twice_in_a_language_is_refused_with_the_language_and_the_id():
    labels = np.array(["en", "en", "de", "de"])
    require_unique_pairs(labels, np.array([1, 2, 1, 2]))
    with pytest.raises(ValueError, match=r"Duplicate .* language .*de.*, first .*77.*-1"):
        require_unique_pairs(labels, np.array([1, 77, 77, 77]))


def test_unpaired_rows_are_no_duplicates():
    require_unique_pairs(np.array(["en"] * 4), check_pair_id([-1, None, 5, -1], 4))
    require_unique_pairs(np.array(["en"] * 4), check_pair_id([None, None, "5", None], 4))


ids_of_rows = st.lists(st.integers(0, 30), unique=True, max_size=20)


@settings(deadline=None)
@given(a=ids_of_rows, b=ids_of_rows, as_text=st.booleans())
def test_the_join_finds_every_shared_id_once(a, b, as_text):
    kind = str if as_text else int
    a, b = (np.array(ids, dtype=kind if ids or not as_text else "<U1") for ids in (a, b))
    at_a, at_b = pair_rows(a, b)
    np.testing.assert_array_equal(a[at_a], b[at_b])
    assert set(a[at_a].tolist()) == set(a.tolist()) & set(b.tolist())
    assert len(set(at_a.tolist())) == len(at_a)


@settings(deadline=None)
@given(a=ids_of_rows, b=ids_of_rows, seed=st.integers(0, 2**32 - 1))
def test_the_join_does_not_depend_on_the_order_of_rows(a, b, seed):
    rng = np.random.default_rng(seed)
    a, b = np.array(a, dtype=int), np.array(b, dtype=int)
    p, q = rng.permutation(len(a)), rng.permutation(len(b))
    pairs = set(zip(*(at.tolist() for at in pair_rows(a, b)), strict=True))
    at_a, at_b = pair_rows(a[p], b[q])
    assert set(zip(p[at_a].tolist(), q[at_b].tolist(), strict=True)) == pairs


def test_no_shared_id_gives_no_pairs():
    at_a, at_b = pair_rows(np.array([1, 2]), np.array([3, 4]))
    assert len(at_a) == len(at_b) == 0


@pytest.mark.parametrize("n_labels", [1, 12, 200, 9000])
@pytest.mark.parametrize("kind", ["U", "i", "u1"])
@pytest.mark.parametrize("step", [1, 2])
def test_many_labels_are_told_apart_as_by_sorting(n_labels, kind, step):
    rng = np.random.default_rng(0)
    numbers = rng.integers(-n_labels // 2, n_labels // 2 + 1, size=40_000)
    labels = np.array([f"l{n}" for n in numbers]) if kind == "U" else numbers.astype(kind)
    labels = labels[::step]
    names, codes = factorize(labels)
    expected = np.unique(labels, return_inverse=True)
    np.testing.assert_array_equal(names, expected[0])
    np.testing.assert_array_equal(codes, expected[1])
