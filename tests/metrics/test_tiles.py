"""Measures do not depend on how the work is cut, and never hold the whole matrix."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posthoc_align.metrics import _similarity as similarity
from posthoc_align.metrics import (
    csls_scores,
    mean_reciprocal_rank,
    nearest,
    pair_cosine,
    retrieval_precision,
    strong_alignment,
    weak_alignment,
)

# Bytes, and how many rows are used: tiles of one row; tiles of 11 (float64) or 19 rows.
TINY = [(8, 16), (1500, 60)]


@pytest.mark.parametrize(("tile_bytes", "n"), TINY)
@pytest.mark.parametrize("score", ["cosine", "csls"])
def test_ranks_are_the_dense_ranks_whatever_the_tile(
    kind, dense, translations, monkeypatch, tile_bytes, n, score
):
    monkeypatch.setattr(similarity, "TILE_BYTES", tile_bytes)
    X, Y = (kind(side[:n]) for side in translations)
    x, y = kind.plain(X), kind.plain(Y)
    rank = dense.rank(dense.cosine(x, y) if score == "cosine" else dense.csls(x, y, 10))
    assert weak_alignment(X, Y, score=score) == np.mean(rank == 1)
    assert retrieval_precision(X, Y, k=5, score=score) == np.mean(rank <= 5)
    assert mean_reciprocal_rank(X, Y, score=score) == pytest.approx(np.mean(1 / rank), rel=1e-15)


@pytest.mark.parametrize(("tile_bytes", "n"), TINY)
def test_strong_alignment_is_the_dense_one_whatever_the_tile(
    kind, dense, translations, monkeypatch, tile_bytes, n
):
    monkeypatch.setattr(similarity, "TILE_BYTES", tile_bytes)
    X, Y = (kind(side[:n]) for side in translations)
    assert strong_alignment(X, Y) == dense.strong(kind.plain(X), kind.plain(Y))


@pytest.mark.parametrize(("tile_bytes", "n"), TINY)
@pytest.mark.parametrize("score", ["cosine", "csls"])
def test_nearest_rows_are_the_dense_ones_whatever_the_tile(
    kind, dense, translations, monkeypatch, tile_bytes, n, score
):
    monkeypatch.setattr(similarity, "TILE_BYTES", tile_bytes)
    X, Y = kind(translations[0][: n - 5]), kind(translations[1][:n])
    x, y = kind.plain(X), kind.plain(Y)
    scores = dense.cosine(x, y) if score == "cosine" else dense.csls(x, y, 10)
    found = kind.plain(nearest(X, Y, k=4, score=score))
    # Compared by what they score: near ties of narrow types may come in another order.
    reached = np.take_along_axis(scores, found.astype(int), axis=1)
    np.testing.assert_allclose(reached, -np.sort(-scores, axis=1)[:, :4], atol=kind.tolerance)
    assert all(len(set(row)) == 4 for row in found.tolist())


@pytest.mark.parametrize(("tile_bytes", "n"), TINY)
def test_csls_scores_are_the_dense_ones_whatever_the_tile(
    kind, dense, translations, monkeypatch, tile_bytes, n
):
    monkeypatch.setattr(similarity, "TILE_BYTES", tile_bytes)
    X, Y = kind(translations[0][: n - 5]), kind(translations[1][:n])
    expected = dense.csls(kind.plain(X), kind.plain(Y), 10)
    np.testing.assert_allclose(kind.plain(csls_scores(X, Y)), expected, atol=kind.tolerance)


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(2, 20),
    d=st.sampled_from([1, 2, 3, 17, 48, 200]),
    tile_rows=st.integers(3, 50),
    dtype=st.sampled_from(["float64", "float32"]),
)
def test_equal_rows_tie_wherever_they_stand(seed, n, d, tile_rows, dtype):
    rng = np.random.default_rng(seed)
    X, Y = (rng.normal(size=(n, d)).astype(dtype) for _ in range(2))
    order = rng.permutation(n)
    X, Y = np.concatenate([X, X[order]]), np.concatenate([Y, Y[order]])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(similarity, "tile_height", lambda *_: tile_rows)
        assert weak_alignment(X, Y) == 0
        assert weak_alignment(X, Y, score="csls", neighbors=n) == 0
        assert mean_reciprocal_rank(X, Y) <= 0.5
        assert strong_alignment(X, Y) == 0


def test_a_lead_below_single_precision_still_wins(kind):
    # Cosines 1 - 5e-9 and 1 - 2e-8 are one number in float32; the rows themselves differ.
    X = kind([[1.0, 0.0], [1.0, 2.0**-12]])
    Y = kind([[1.0, 2.0**-14], [1.0, 2.0**-12]])
    assert weak_alignment(X, Y) == 1
    assert weak_alignment(X, kind(kind.plain(Y)[::-1].copy())) == 0


@pytest.mark.parametrize("few", [0, 16, 1000])  # by a product, by whichever, one by one
def test_many_undecided_pairs_are_settled(kind, dense, monkeypatch, few):
    monkeypatch.setattr(similarity, "_FEW", few)
    rng = np.random.default_rng(3)
    X, Y = (
        kind(np.concatenate([np.ones((60, 3)), 2.0**-8 * rng.integers(0, 9, (60, 3))], axis=1))
        for _ in range(2)
    )
    rank = dense.rank(dense.cosine(kind.plain(X), kind.plain(Y)))
    assert mean_reciprocal_rank(X, Y) == pytest.approx(np.mean(1 / rank), rel=1e-15)
    assert strong_alignment(X, Y) == dense.strong(kind.plain(X), kind.plain(Y))


def test_rows_that_are_all_equal_rank_last(kind):
    X = kind(np.tile(np.random.default_rng(0).normal(size=24), (100, 1)))
    assert mean_reciprocal_rank(X, X) == pytest.approx(0.01)


def test_lengths_of_rows_do_not_matter_not_even_tiny_and_huge_ones(translations):
    X, Y = (side.astype(np.float32) for side in translations)
    scale = np.float32(10.0) ** np.linspace(-37, 36, len(X), dtype=np.float32)[:, None]
    assert weak_alignment(X * scale, Y) == weak_alignment(X, Y)
    assert strong_alignment(X, Y * scale) == pytest.approx(strong_alignment(X, Y), abs=1e-12)
    assert pair_cosine(X * scale, Y) == pytest.approx(pair_cosine(X, Y), abs=1e-6)


def test_a_side_in_single_and_a_side_in_double_precision_meet_in_double(translations):
    X, Y = translations
    narrow = X.astype(np.float32)
    assert csls_scores(narrow, Y).dtype == np.float64
    assert weak_alignment(narrow, Y) == weak_alignment(narrow.astype(np.float64), Y)
    assert pair_cosine(Y, narrow) == pytest.approx(pair_cosine(Y, narrow.astype(float)), abs=1e-15)


def test_memory_maps_give_what_arrays_give(translations, tmp_path: Path):
    mapped = []
    for name, side in zip("xy", translations, strict=True):
        np.save(tmp_path / f"{name}.npy", side.astype(np.float16))
        mapped.append(np.load(tmp_path / f"{name}.npy", mmap_mode="r"))
    arrays = [np.array(side) for side in mapped]
    assert pair_cosine(*mapped) == pair_cosine(*arrays)
    assert strong_alignment(*mapped) == strong_alignment(*arrays)
    assert retrieval_precision(*mapped, k=3, score="csls") == retrieval_precision(
        *arrays, k=3, score="csls"
    )
    np.testing.assert_array_equal(nearest(*mapped, k=3), nearest(*arrays, k=3))


@pytest.mark.slow
@pytest.mark.parametrize("measure", [weak_alignment, strong_alignment, nearest])
def test_no_matrix_of_all_pairs_is_held(measure):
    rng = np.random.default_rng(0)
    X, Y = (rng.normal(size=(8000, 16)) for _ in range(2))  # all pairs: 512 MB
    options = {} if measure is strong_alignment else {"score": "csls"}
    tracemalloc.start()
    measure(X, Y, **options)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6
