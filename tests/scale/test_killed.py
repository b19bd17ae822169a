"""Processes that are killed, or read while another writes: no finished shard is lost or torn.

A kill at a random moment hardly ever falls into the microseconds that matter. So these processes
kill themselves, by the signal that nobody can catch: at every step of writing a file in turn.
"""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from posthoc_align import EmbeddingStore, LanguageCentering, save, transform_store

pytestmark = pytest.mark.slow
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes to fork and kill")

N_SHARDS, SHARD = 6, 50

HEAD = """
import json, os, signal, sys
from pathlib import Path
import numpy as np
from posthoc_align import EmbeddingStore, load, transform_store
"""

WRITE = """
def run(path):
    begun = (path / "embeddings.safetensors.index.json").exists()
    store = EmbeddingStore(path) if begun else EmbeddingStore.create(path, n_features=16)
    with store:
        store.acquire()
        for i in range(len(store.shard_rows), int(sys.argv[3])):
            rows = np.random.default_rng(i).normal(size=(50, 16)).astype(np.float32)
            store.append(rows, language="en" if i % 2 else "de", pair_id=np.arange(50))
"""

TRANSFORM = """
def run(path):
    transform_store(load(sys.argv[3]), sys.argv[4], path, batch_rows=30)
"""

KILL = """
def work(path, n_calls):
    '''Run, and die by kill -9 at the n-th call that keeps, moves, or has half written, a file.'''
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1]
    calls = 0
    def count(what):
        nonlocal calls
        calls += 1
        if calls == n_calls:
            (path.parent / f"died in {what}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
    def deadly(function):
        def call(*given, **options):
            count(function.__name__)
            return function(*given, **options)
        return call
    class Halved:
        def __init__(self, file):
            self.file = file
        def __enter__(self):
            return self
        def __exit__(self, *_):
            self.file.close()
        def __getattr__(self, name):
            return getattr(self.file, name)
        def write(self, data):
            self.file.write(data[: len(data) // 2])
            self.file.flush()
            count("write")
            self.file.write(data[len(data) // 2 :])
    opened = Path.open
    def halved(self, mode="r", *given):
        file = opened(self, mode, *given)
        return Halved(file) if set(mode) & set("wx") else file
    os.fsync, os.replace, Path.open = deadly(os.fsync), deadly(os.replace), halved
    run(path)
    os._exit(0)

whole, path = Path(sys.argv[1]), Path(sys.argv[2])
run(whole)
seen = []
n_calls = 1
while work(path, n_calls) == signal.SIGKILL:
    n_calls += 1
    if (path / "embeddings.safetensors.index.json").exists():
        store = EmbeddingStore(path)
        assert store.verify() == {}
        seen.append(len(store.shard_rows))
print(json.dumps(seen))
"""


def files(path: Path) -> dict[str, str]:
    """Digest of every file of a store but the lock."""
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in path.iterdir()
        if file.name != ".writer.lock"
    }


def rows_of(number: int) -> np.ndarray:
    return np.random.default_rng(number).normal(size=(SHARD, 16)).astype(np.float32)


def check_kills(code: str, folder: Path, *given: object, n_shards: int) -> None:
    """Kill a run again and again, each time one call later, until one is let to its end."""
    run = subprocess.run(
        [
            sys.executable,
            "-c",
            HEAD + code + KILL,
            str(folder / "whole"),
            str(folder / "s"),
            *map(str, given),
        ],
        stdout=subprocess.PIPE,
        check=True,
    )
    seen = json.loads(run.stdout)
    assert seen == sorted(seen), "a finished shard was lost"
    assert set(seen) >= set(range(n_shards - 1)), "it was not killed at every shard"
    assert {place.name for place in folder.glob("died in *")} == {
        "died in fsync",
        "died in replace",
        "died in write",
    }
    assert files(folder / "s") == files(folder / "whole")
    assert len(EmbeddingStore(folder / "s").shard_rows) == n_shards


@needs_fork
def test_a_writer_killed_at_every_step_goes_on_and_ends_in_the_same_bytes(tmp_path):
    check_kills(WRITE, tmp_path, N_SHARDS, n_shards=N_SHARDS)
    np.testing.assert_array_equal(
        EmbeddingStore(tmp_path / "s").to_array(), np.vstack([rows_of(i) for i in range(N_SHARDS)])
    )


@needs_fork
def test_a_transform_killed_at_every_step_goes_on_and_ends_in_the_same_bytes(tmp_path):
    with EmbeddingStore.create(tmp_path / "source", n_features=16) as source:
        for i in range(N_SHARDS // 2):
            language = "en" if i % 2 else "de"
            source.append(rows_of(i), language=language, pair_id=np.arange(SHARD))
    aligner = LanguageCentering().fit(source.to_array(), language=source.language)
    save(aligner, tmp_path / "aligner.safetensors")
    check_kills(
        TRANSFORM, tmp_path, tmp_path / "aligner.safetensors", source.path, n_shards=N_SHARDS
    )
    expected = aligner.transform(source.to_array(), language=source.language)
    np.testing.assert_array_equal(EmbeddingStore(tmp_path / "s").to_array(), expected)
    transform_store(aligner, source, tmp_path / "s", batch_rows=30)  # of the same run


GROW = """
import sys, time, numpy as np
from posthoc_align import EmbeddingStore
with EmbeddingStore.create(sys.argv[1], n_features=16) as store:
    while not (store.path.parent / "enough").exists():
        i = len(store.shard_rows)
        rows = np.random.default_rng(i).normal(size=(50, 16)).astype(np.float32)
        store.append(rows, language="en", pair_id=np.arange(50))
        time.sleep(0.001)
"""


def checked(path: Path) -> int:
    """Shards of a store that grows by one a call; a torn one would warn, hence fail."""
    store = EmbeddingStore(path)
    n_shards = len(store.shard_rows)
    if n_shards:
        np.testing.assert_array_equal(store.rows(slice(-SHARD, None)), rows_of(n_shards - 1))
        assert len(store.language) == len(store.pair_id) == SHARD * n_shards
    return n_shards


def test_a_reader_sees_whole_shards_while_another_process_writes(tmp_path):
    seen = [0]
    enough = tmp_path / "enough"
    with subprocess.Popen([sys.executable, "-c", GROW, str(tmp_path / "s")]) as writer:
        try:
            while len(set(seen)) <= 10 and writer.poll() is None:
                if (tmp_path / "s" / "embeddings.safetensors.index.json").exists():
                    seen.append(checked(tmp_path / "s"))
        finally:
            enough.touch()
    assert writer.returncode == 0
    assert seen == sorted(seen)
    assert len(set(seen)) > 10
    assert EmbeddingStore(tmp_path / "s").verify() == {}
