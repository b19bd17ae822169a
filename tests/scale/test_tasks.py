"""Shards are read by workers; what comes back is the same for any number and kind of them."""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
import pytest
from joblib._parallel_backends import ThreadingBackend
from threadpoolctl import threadpool_limits

from posthoc_align import LSAR, EmbeddingStore, LanguageCentering, LanguageWhitening, Procrustes
from posthoc_align.moments import LanguageMoments
from posthoc_align.scale import moments_of
from posthoc_align.scale._shards import ArrayShard, Several
from posthoc_align.scale._sources import shards_of
from posthoc_align.scale._tasks import name_of, reduce_shards, summary_of, tasks_of
from posthoc_align.scale._tree import tree_sum

N_FILES, N_ROWS, WIDTH = 21, 400, 16
PROCESSES = {"backend": "loky", "inner_max_num_threads": 1}  # alike, so that they start once


@pytest.fixture(autouse=True)
def one_blas_thread() -> Iterator[None]:
    """Equal bits are promised for equal threads, and workers of a cluster have one each."""
    with threadpool_limits(1, "blas"):
        yield


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray, np.ndarray]:
    """A store of many files, its rows and their languages; not every file has every language."""
    rng = np.random.default_rng(0)
    language = rng.choice(["de", "en", "fi", "sw"], N_FILES * N_ROWS)
    language[: 3 * N_ROWS] = "en"
    shifts = {label: 100 * rng.standard_normal(WIDTH) for label in np.unique(language)}
    X = rng.standard_normal((len(language), WIDTH)) + np.stack([shifts[one] for one in language])
    folder = tmp_path_factory.mktemp("store") / "corpus"
    with EmbeddingStore.create(folder, n_features=WIDTH, dtype="float64") as store:
        for first in range(0, len(X), N_ROWS):
            rows = slice(first, first + N_ROWS)
            store.append(X[rows], language=language[rows])
    return folder, X, language


def bits(moments: LanguageMoments) -> dict[object, tuple[bytes, ...]]:
    """All numbers of moments, to be compared to the last bit."""
    return {
        label: (
            part.mean.tobytes(),
            b"" if part.scatter is None else part.scatter.tobytes(),
            str(part.count).encode(),
        )
        for label, part in moments.items()
    }


@pytest.mark.parametrize("n_workers", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("n_shards", [1, 2, 3, 8, 21, 64, 65, 1000])
def test_sums_of_tasks_continue_the_tree_of_their_shards(n_shards, n_workers):
    def add(a: str, b: str) -> str:
        return f"({a}{b})"

    leaves = [f"{i}." for i in range(n_shards)]
    tasks = tasks_of(leaves, n_workers)
    assert [leaf for task in tasks for leaf in task] == leaves
    assert min(n_shards, 4 * n_workers) <= len(tasks) <= max(8 * n_workers, 1)
    sums = [tree_sum(task, add=add) for task in tasks]
    assert tree_sum(sums, add=add) == tree_sum(leaves, add=add)


def test_a_tree_holds_the_logarithm_of_what_it_adds():
    held, most = 0, 0

    class Counted:
        def __init__(self) -> None:
            nonlocal held, most
            held += 1
            most = max(most, held)

        def __del__(self) -> None:
            nonlocal held
            held -= 1

    tree_sum((Counted() for _ in range(1000)), add=lambda a, b: Counted())
    assert most <= 10 + 4  # log2 of 1000, and those at hand: two summands, their sum, the next


def test_nothing_to_add_is_an_error():
    with pytest.raises(ValueError, match="no piece of the source had rows"):
        tree_sum([])


@pytest.mark.parametrize("estimator", [LanguageCentering(), LSAR(rank=2), LanguageWhitening()])
def test_moments_are_those_of_all_rows_at_once(corpus, estimator):
    folder, X, language = corpus
    found = reduce_shards(shards_of(folder), estimator, n_jobs=1)
    whole = type(estimator)(**estimator.get_params()).fit(X, language=language).moments_
    assert list(found) == list(whole)
    for label in whole:
        assert found[label].count == whole[label].count
        # Float64 rounding of some thousand rows, 100 from the origin.
        np.testing.assert_allclose(found[label].mean, whole[label].mean, rtol=1e-12)
        if whole[label].scatter is not None:
            np.testing.assert_allclose(
                found[label].scatter, whole[label].scatter, rtol=1e-10, atol=1e-9
            )
    assert not hasattr(estimator, "moments_")


def test_moments_of_pairs_are_those_of_all_pairs_at_once(tmp_path):
    rng = np.random.default_rng(1)
    pairs = [(rng.standard_normal((n, 5)), rng.standard_normal((n, 4))) for n in (9, 30, 2, 70)]
    shards = [ArrayShard(len(X), X, y) for X, y in pairs]
    X, y = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    found = reduce_shards(shards, Procrustes(), n_jobs=2)
    np.testing.assert_allclose(found.cross, Procrustes().fit(X, y).moments_.cross, rtol=1e-10)
    assert found.count == 111


@pytest.mark.parametrize("n_jobs", [2, 3])
def test_the_number_of_workers_leaves_no_trace(corpus, n_jobs):
    shards, estimator = shards_of(corpus[0]), LanguageWhitening()
    alone = reduce_shards(shards, estimator, n_jobs=1)
    with joblib.parallel_config(backend="threading"):
        assert bits(reduce_shards(shards, estimator, n_jobs=n_jobs)) == bits(alone)


def test_the_order_of_shards_does_leave_one(corpus):
    """What the tests of equal bits can tell apart."""
    shards = shards_of(corpus[0])
    forward, backward = (
        reduce_shards(cut, LanguageWhitening(), n_jobs=1) for cut in (shards, shards[::-1])
    )
    assert bits(forward) != bits(backward)


@pytest.mark.slow
def test_processes_give_the_same_bits(corpus):
    shards, estimator = shards_of(corpus[0]), LanguageWhitening()
    alone = reduce_shards(shards, estimator, n_jobs=1)
    with joblib.parallel_config(**PROCESSES):
        assert bits(reduce_shards(shards, estimator, n_jobs=2)) == bits(alone)


def test_a_backend_that_only_lists_results_will_do(corpus):
    class Lists(ThreadingBackend):
        supports_return_generator = False

    shards, estimator = shards_of(corpus[0]), LanguageWhitening()
    alone = reduce_shards(shards, estimator, n_jobs=1)
    with joblib.parallel_config(backend=Lists()):
        assert bits(reduce_shards(shards, estimator, n_jobs=2)) == bits(alone)


def test_workers_are_reached_through_moments_of(corpus):
    folder, _, language = corpus
    found = moments_of(folder, LanguageCentering(), n_jobs=2)
    assert {label: part.count for label, part in found.items()} == {
        label: int(np.sum(language == label)) for label in np.unique(language)
    }


def test_only_paths_and_sums_travel(corpus, tmp_path):
    np.save(tmp_path / "rows.npy", np.random.default_rng(2).standard_normal((200_000, WIDTH)))
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    fitted = LanguageWhitening().fit(mapped[:100])
    for source, size in ((corpus[0], corpus[1].nbytes), (mapped, mapped.nbytes)):
        tasks = tasks_of(shards_of(source), 1)
        there = sum(len(pickle.dumps(task)) for task in tasks)
        back = sum(len(pickle.dumps(summary_of(task, fitted))) for task in tasks)
        assert there < 2000 * len(tasks)
        assert there < size / 50
        assert back < len(tasks) * (4 * 8 * WIDTH * (WIDTH + 1) + 2000)


def test_arrays_in_memory_are_not_sent():
    class Stays(np.ndarray):
        def __reduce__(self):
            raise AssertionError("rows were pickled")

    X = np.random.default_rng(3).standard_normal((200_000, 2)).view(Stays)
    with pytest.raises(AssertionError, match="rows were pickled"):
        pickle.dumps(shards_of(X)[0])
    assert moments_of(X, n_jobs=2)[None].count == 200_000


def test_every_row_is_counted_once(corpus):
    counts: list[int] = []
    reduce_shards(shards_of(corpus[0]), LanguageCentering(), n_jobs=1, seen=counts.append)
    assert sum(counts) == N_FILES * N_ROWS


def test_a_shard_that_fails_is_named(tmp_path):
    X = np.ones((300_000, 2))
    X[150_000, 1] = np.nan
    np.save(tmp_path / "bad.npy", X)
    shards = shards_of(np.load(tmp_path / "bad.npy", mmap_mode="r"))
    with pytest.raises(ValueError, match=r"NaN.*bad\.npy, rows 131072 to 196607\]$"):
        reduce_shards(shards, LanguageCentering(), n_jobs=2)


def test_a_file_that_went_away_is_named(tmp_path):
    with EmbeddingStore.create(tmp_path / "store", n_features=2, dtype="float32") as store:
        for _ in range(3):
            store.append(np.ones((4, 2), dtype=np.float32))
    shards = shards_of(store)
    gone = shards[1].folder / shards[1].file.file
    gone.unlink()
    with pytest.raises(ValueError, match=rf"cannot be read.*{gone.name}, rows 4 to 7\]$"):
        reduce_shards(shards, LanguageCentering(), n_jobs=1)


@dataclass(frozen=True)
class Failing(ArrayShard):
    """Raises what no process but this one may know."""

    def batches(self):
        raise KeyError("lost")


def test_an_error_of_another_kind_keeps_its_name():
    shards = [Failing(5, None, first=10, where="batch 3")]
    with pytest.raises(RuntimeError, match=r"KeyError: 'lost' \[batch 3, rows 10 to 14\]"):
        reduce_shards(shards, LanguageCentering(), n_jobs=1)


def test_a_pack_of_shards_is_called_by_its_ends():
    parts = (ArrayShard(5, None, where="batch 1"), ArrayShard(2, None, where="batch 2"))
    assert name_of(Several(7, parts)) == "batch 1, rows 0 to 4, up to batch 2, rows 0 to 1"


@pytest.mark.slow
def test_a_worker_process_that_dies_is_told():
    class Deadly(ArrayShard):  # local, so that processes get the class itself
        def batches(self):
            os.kill(os.getpid(), signal.SIGKILL)
            yield

    shards = [Deadly(1, X=None, first=i) for i in range(4)]
    with (
        joblib.parallel_config(**PROCESSES),
        pytest.raises(RuntimeError, match=r"worker process died.*lost.*memory.*backend='dask'"),
    ):
        reduce_shards(shards, LanguageCentering(), n_jobs=2)
