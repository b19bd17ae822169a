"""Measures do not depend on how the work is cut, and never hold the whole matrix."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posthoc_align.metrics import _rivals as rivals
from posthoc_align.metrics import _similarity as similarity
from posthoc_align.metrics import (
    csls_scores,
    mean_reciprocal_rank,
    mine_pairs,
    nearest,
    pair_cosine,
    pooled_retrieval,
    retrieval_precision,
    strong_alignment,
    translation_ranks,
    weak_alignment,
)

# Bytes, and how many rows are used: tiles of one row; tiles of 11 (float64) or 19 rows.
TINY = [(8, 16), (1500, 60)]
SCORES = ["cosine", "csls", "inverted_softmax"]


@pytest.mark.parametrize(("tile_bytes", "n"), TINY)
@pytest.mark.parametrize("score", SCORES)
def test_ranks_are_the_dense_ranks_whatever_the_tile(
    kind, dense, translations, monkeypatch, tile_bytes, n, score
):
    monkeypatch.setattr(similarity, "TILE_BYTES", tile_bytes)
    X, Y = (kind(side[:n]) for side in translations)
    x, y = kind.plain(X), kind.plain(Y)
    rank = dense.rank(dense.scores(score, x, y))
    np.testing.assert_array_equal(translation_ranks(X, Y, score=score), rank)
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
@pytest.mark.parametrize("score", SCORES)
def test_nearest_rows_are_the_dense_ones_whatever_the_tile(
    kind, dense, translations, monkeypatch, tile_bytes, n, score
):
    monkeypatch.setattr(similarity, "TILE_BYTES", tile_bytes)
    X, Y = kind(translations[0][: n - 5]), kind(translations[1][:n])
    x, y = kind.plain(X), kind.plain(Y)
    scores = dense.scores(score, x, y)
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
        for module in (similarity, rivals):
            patch.setattr(module, "tile_height", lambda *_, **__: tile_rows)
        assert weak_alignment(X, Y) == 0
        assert weak_alignment(X, Y, score="csls", neighbors=n) == 0
        assert weak_alignment(X, Y, score="inverted_softmax") == 0
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
    monkeypatch.setattr(rivals, "_FEW", few)
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


@pytest.mark.parametrize("budget", [6 * 8 * 16 * 10, 50_000, 10**7])
@pytest.mark.parametrize("score", SCORES)
def test_the_memory_budget_does_not_change_the_answer(kind, translations, budget, score):
    X, Y = map(kind, translations)
    for measure in (translation_ranks, mean_reciprocal_rank, weak_alignment, retrieval_precision):
        found = measure(X, Y, score=score, neighbors=2, memory_budget=budget)
        np.testing.assert_array_equal(found, measure(X, Y, score=score, neighbors=2))
    assert strong_alignment(X, Y, memory_budget=budget) == strong_alignment(X, Y)
    found = kind.plain(nearest(X, Y, score=score, neighbors=2, memory_budget=budget))
    np.testing.assert_array_equal(found, kind.plain(nearest(X, Y, score=score, neighbors=2)))
    found = kind.plain(csls_scores(X, Y, memory_budget=budget))
    np.testing.assert_allclose(found, kind.plain(csls_scores(X, Y)), atol=kind.tolerance)


@pytest.mark.parametrize("measure", [nearest, translation_ranks, csls_scores, strong_alignment])
def test_a_budget_that_holds_no_row_or_is_no_number_is_refused(measure):
    X = np.eye(24)
    with pytest.raises(ValueError, match=r"memory_budget=1000 bytes does not hold .* at least \d+"):
        measure(X, X, memory_budget=1000)
    with pytest.raises(ValueError, match="memory_budget='1GB' is not a whole number of bytes"):
        measure(X, X, memory_budget="1GB")


def peak_of(function, *arguments, **options) -> int:
    tracemalloc.start()
    function(*arguments, **options)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize(
    ("dtype", "width", "n"),
    [("float64", 16, 800), ("float32", 16, 800), ("float16", 900, 400), ("float64", 900, 400)],
)
@pytest.mark.parametrize("k", [1, 50])
def test_the_memory_budget_is_kept(dtype, width, n, k):
    X, Y = np.random.default_rng(0).normal(size=(2, n, width)).astype(dtype)
    budget = 2**22  # above the blocks that rows are measured in
    own = n * (40 + 8 * k)  # lengths, counts, penalties and the answer
    for score in SCORES:
        options = {"score": score, "memory_budget": budget}
        assert peak_of(nearest, X, Y, k=k, **options) < budget + 3 * own
        assert peak_of(translation_ranks, X, Y, **options) < budget + own
    assert peak_of(strong_alignment, X, Y, memory_budget=budget) < budget + own
    assert peak_of(mine_pairs, X, Y, margin="distance", memory_budget=budget) < budget + n * 2000
    labels = {"language": np.arange(n) % 4, "pair_id": np.arange(n) // 4}
    assert peak_of(pooled_retrieval, X, **labels, memory_budget=budget) < budget + n * 2000


@pytest.mark.slow
@pytest.mark.parametrize("measure", [weak_alignment, strong_alignment, nearest])
def test_no_matrix_of_all_pairs_is_held(measure):
    rng = np.random.default_rng(0)
    X, Y = (rng.normal(size=(8000, 16)) for _ in range(2))  # all pairs: 512 MB
    options = {} if measure is strong_alignment else {"score": "csls"}
    assert peak_of(measure, X, Y, **options) < 100e6
