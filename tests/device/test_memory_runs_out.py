"""Where memory runs out, rows go through in smaller blocks, and somebody is told."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from posthoc_align import LanguageCentering
from posthoc_align import moments as moments_module
from posthoc_align import pair_moments as pair_moments_module
from posthoc_align._blocks import map_rows, over_blocks, route_rows
from posthoc_align._memory import is_out_of_memory
from posthoc_align.moments import LanguageMoments
from posthoc_align.pair_moments import PairMoments

CUDA = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def with_room_for(n_rows, error, seen):
    """A function of blocks that fails on more rows than there is room for."""

    def double(block, *_):
        if len(block) > n_rows:
            raise error
        seen.append(len(block))
        return block + block

    return double


@pytest.mark.parametrize("error", [CUDA, MemoryError("no room")], ids=["CUDA", "host"])
def test_the_block_is_halved_until_it_fits_and_stays_so(error):
    X, seen = np.arange(40.0).reshape(20, 2), []
    with pytest.warns(UserWarning, match="Out of memory on a block of") as told:
        out = map_rows(with_room_for(6, error, seen), X)
    np.testing.assert_array_equal(out, 2 * X)
    assert seen == [5, 5, 5, 5]
    assert [str(w.message).split(".")[0] for w in told] == [
        "Out of memory on a block of 20 rows: going on with blocks of 10",
        "Out of memory on a block of 10 rows: going on with blocks of 5",
    ]


def test_rows_of_mixed_languages_go_through_in_smaller_blocks_too():
    X, codes = np.arange(40.0).reshape(20, 2), np.arange(20) % 2
    with pytest.warns(UserWarning, match="going on with blocks of 10"):
        out = route_rows([with_room_for(6, CUDA, []), lambda x: -x], codes, X)
    np.testing.assert_array_equal(out, np.where(codes == 0, 2, -1)[:, None] * X)


def test_no_room_for_a_single_row_is_an_error_that_says_what_to_do():
    with (
        pytest.warns(UserWarning, match="Out of memory on a block"),
        pytest.raises(MemoryError, match=r"single row of 3 columns\. Free memory .* X\.cpu\(\)"),
    ):
        map_rows(with_room_for(0, CUDA, []), np.ones((4, 3)))


def test_other_errors_are_not_taken_for_it():
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        map_rows(with_room_for(0, RuntimeError("shapes cannot be multiplied"), []), np.ones((4, 3)))


@pytest.mark.parametrize(
    ("error", "is_it"),
    [
        (CUDA, True),
        (MemoryError(), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("size mismatch"), False),
        (ValueError("X has 3 features"), False),
    ],
)
def test_what_says_that_memory_ran_out(error, is_it):
    assert is_out_of_memory(error) is is_it


def test_an_estimator_gives_the_same_rows_in_small_blocks(monkeypatch):
    X, language = np.random.default_rng(0).normal(size=(40, 3)), np.repeat(["a", "b"], 20)
    centring = LanguageCentering().fit(X, language=language)
    expected = centring.transform(X, language=language)
    whole = np.ndarray.__sub__

    class Tight(np.ndarray):
        def __sub__(self, other):
            if len(self) > 12:
                raise CUDA
            return whole(self, other)

    monkeypatch.setattr("posthoc_align._blocks.upcast", lambda block: block.view(Tight))
    with pytest.warns(UserWarning, match="Out of memory on a block of"):
        found = centring.transform(X, language=language)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("second", ["none", "diagonal", "full", "within"])
def test_a_fit_begins_anew_with_smaller_blocks_and_counts_nothing_twice(second, monkeypatch):
    rng = np.random.default_rng(0)
    X, language = rng.normal(size=(40, 3)), np.arange(40) % 2
    expected = LanguageMoments.of(X, language, second=second)
    short_of_memory(monkeypatch, moments_module)
    with pytest.warns(UserWarning, match="Out of memory on a block of"):
        found = LanguageMoments.of(X, language, second=second)
    for label, part in expected.items():
        np.testing.assert_allclose(found[label].mean, part.mean, atol=1e-12)
        if second in ("diagonal", "full"):
            np.testing.assert_allclose(found[label].variance, part.variance, atol=1e-12)
    if second == "within":
        np.testing.assert_allclose(found.within, expected.within, atol=1e-12)


def test_a_fit_of_pairs_begins_anew_too(monkeypatch):
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(40, 3)), rng.normal(size=(40, 3))
    expected = PairMoments.of(X, Y)
    short_of_memory(monkeypatch, pair_moments_module)
    with pytest.warns(UserWarning, match="Out of memory on a block of"):
        found = PairMoments.of(X, Y)
    np.testing.assert_allclose(found.cross, expected.cross, atol=1e-12)
    np.testing.assert_allclose(found.mean_x, expected.mean_x, atol=1e-12)


def short_of_memory(monkeypatch, module):
    """Fail half way through a pass over the rows, on blocks of more than 10."""

    real = over_blocks

    def short(make, X, *, target):
        def limited(slices):
            if slices[0].stop - slices[0].start > 10:
                make(slices[:1])  # is done, and must not count
                raise CUDA
            return make(slices)

        return real(limited, X, target=target)

    monkeypatch.setattr(module, "over_blocks", short)
