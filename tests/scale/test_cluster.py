"""A dask cluster reads shards as one process does, also when a worker is killed half-way."""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from posthoc_align import EmbeddingStore, LanguageWhitening, moments_of
from posthoc_align.moments import LanguageMoments
from posthoc_align.scale._shards import ArrayShard, Mapped
from posthoc_align.scale._sources import shards_of
from posthoc_align.scale._tasks import reduce_shards, tasks_of

pytestmark = [pytest.mark.distributed, pytest.mark.slow]

WIDTH, LANGUAGES = 16, ("de", "en", "fi")


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Two processes of one thread each, which a nanny starts again when they die."""
    distributed = pytest.importorskip("distributed")
    dask = pytest.importorskip("dask")
    with (
        # A task that ends two workers is given up, not one that ends four: starting takes seconds.
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture(autouse=True)
def on_the_cluster(client: Any) -> Iterator[None]:
    """With one BLAS thread here too, as the workers have: equal bits need equal threads."""
    with threadpool_limits(1, "blas"), joblib.parallel_config(backend="dask"):
        yield


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("store") / "corpus"
    with EmbeddingStore.create(folder, n_features=WIDTH, dtype="float32") as store:
        for _ in range(37):
            X = rng.standard_normal((3000, WIDTH)).astype(np.float32)
            store.append(X, language=rng.choice(LANGUAGES, len(X)))
    return folder


@pytest.fixture(scope="module")
def alone(store: Path) -> LanguageMoments:
    """What one process finds."""
    with threadpool_limits(1, "blas"), joblib.parallel_config(backend="sequential"):
        return reduce_shards(shards_of(store), LanguageWhitening(), n_jobs=1)


def require_same_bits(found: LanguageMoments, expected: LanguageMoments) -> None:
    assert list(found) == list(expected)
    for label, part in found.items():
        assert part.count == expected[label].count
        np.testing.assert_array_equal(part.mean, expected[label].mean)
        np.testing.assert_array_equal(part.scatter, expected[label].scatter)


def test_a_cluster_gives_the_same_bits(store, alone):
    require_same_bits(moments_of(store), alone)


def count_what_is_sent() -> None:
    """From now on keep the number of bytes that this process writes to others."""
    from distributed.comm.tcp import TCP

    plain = TCP.write

    async def write(self: Any, *args: Any, **options: Any) -> int:
        n_bytes = await plain(self, *args, **options)
        TCP.sent = getattr(TCP, "sent", 0) + n_bytes
        return n_bytes

    TCP.write = write


def sent() -> int:
    from distributed.comm.tcp import TCP

    return getattr(TCP, "sent", 0)


def test_only_paths_and_sums_travel(client, store, alone, monkeypatch):
    from distributed.comm.tcp import TCP

    monkeypatch.setattr(TCP, "write", TCP.write)  # to be as it was afterwards
    count_what_is_sent()
    client.run(count_what_is_sent)
    shards = shards_of(store)
    tasks = tasks_of(shards, 2)
    before = sum(client.run(sent).values()) + sent()
    reduce_shards(shards, LanguageWhitening())
    travelled = sum(client.run(sent).values()) + sent() - before
    # Each summary moves at most twice. Shards are some hundred bytes, what dask says of a task to
    # its scheduler and workers a few thousand.
    assert len(pickle.dumps(alone)) < travelled
    assert travelled < 2 * len(tasks) * len(pickle.dumps(alone)) + 20_000 * len(tasks)
    assert travelled < 37 * 3000 * WIDTH * 4 / 10


def test_every_row_is_counted_once(store):
    counts: list[int] = []
    reduce_shards(shards_of(store), LanguageWhitening(), seen=counts.append)
    assert sum(counts) == 37 * 3000


def test_a_worker_killed_half_way_changes_nothing(client, tmp_path):
    class OnceDeadly(ArrayShard):  # local, so that workers get the class itself
        def batches(self) -> Iterator[Any]:
            for number, batch in enumerate(super().batches()):
                flag = Path(self.where)
                if number == 1 and not flag.exists():
                    flag.touch()
                    os.kill(os.getpid(), signal.SIGKILL)
                yield batch

    rng = np.random.default_rng(1)
    np.save(tmp_path / "rows.npy", rng.standard_normal((2**17 + 40_000, WIDTH)))
    X = np.load(tmp_path / "rows.npy", mmap_mode="r")
    language = rng.choice(LANGUAGES, len(X))
    rows, step = Mapped.of(X), 20_000
    cuts = [(first, min(step, len(X) - first)) for first in range(0, len(X), step)]
    plain = [ArrayShard(n, rows, None, language[i : i + n], i) for i, n in cuts]
    with joblib.parallel_config(backend="sequential"):
        expected = reduce_shards(plain, LanguageWhitening(), n_jobs=1)
    flag = tmp_path / "killed"
    at = len(cuts) // 2
    first, n = cuts[at]
    deadly = OnceDeadly(n, rows, None, language[first : first + n], first, str(flag))
    before = set(client.run(os.getpid).values())
    found = reduce_shards([*plain[:at], deadly, *plain[at + 1 :]], LanguageWhitening())
    assert flag.exists()
    client.wait_for_workers(2, timeout=60)
    assert set(client.run(os.getpid).values()) != before
    require_same_bits(found, expected)


def test_a_shard_that_fails_on_a_worker_is_named(tmp_path):
    X = np.ones((150_000, 2))
    X[70_000, 1] = np.nan
    np.save(tmp_path / "bad.npy", X)
    with pytest.raises(ValueError, match=r"NaN.*bad\.npy, rows 65536 to 131071\]$"):
        moments_of(np.load(tmp_path / "bad.npy", mmap_mode="r"))


def test_a_shard_that_ends_every_worker_is_named():
    class Deadly(ArrayShard):
        def batches(self) -> Iterator[Any]:
            os.kill(os.getpid(), signal.SIGKILL)
            yield

    with pytest.raises(RuntimeError, match=r"worker process died.*batch 7, rows 0 to 4.*memory"):
        reduce_shards([Deadly(5, None, where="batch 7")], LanguageWhitening())
