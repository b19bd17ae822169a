"""Embeddings in a folder of shards: what comes back, and what damage and kills leave of it."""

import errno
import hashlib
import json
import os
import pickle
import signal
import subprocess
import sys
import time
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from posthoc_align.embedding_store import EmbeddingStore
from posthoc_align.embedding_store import _lock as lock_module
from posthoc_align.embedding_store import _shard as shard_module
from posthoc_align.embedding_store._index import read_index, write_index

RNG = np.random.default_rng(0)
X = RNG.normal(size=(10, 4)).astype(np.float32)
INDEX = "embeddings.safetensors.index.json"


def as_type(rows: np.ndarray, dtype: str) -> object:
    return torch.from_numpy(rows).bfloat16() if dtype == "bfloat16" else rows.astype(dtype)


def filled(path: Path, dtype: str = "float32", cuts: tuple[int, ...] = (4, 7)) -> EmbeddingStore:
    """X in shards of rows 0-3, 4-6 and 7-9, its first half English."""
    store = EmbeddingStore.create(path, n_features=4, dtype=dtype)
    for rows in np.split(np.arange(10), cuts):
        part = as_type(X[rows], dtype)
        store.append(part, language=np.where(rows < 5, "en", "de"), pair_id=rows % 5)
    store.close()
    return store


def files(path: Path) -> dict[str, str]:
    """Digest of every file of a folder but the lock."""
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in path.iterdir()
        if file.name != ".writer.lock"
    }


# What comes back


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_what_was_appended_is_read_in_its_own_type(tmp_path, dtype):
    filled(tmp_path / "s", dtype)
    store = EmbeddingStore(tmp_path / "s")
    found = store.to_array()
    expected = as_type(X, dtype)
    assert type(found).__module__.split(".")[0] == type(expected).__module__.split(".")[0]
    assert found.dtype == expected.dtype
    assert bool((found == expected).all())
    assert (len(store), store.n_features, store.dtype) == (10, 4, dtype)


def test_a_language_may_be_split_over_shards(tmp_path):
    store = filled(tmp_path / "s")
    assert store.language.tolist() == ["en"] * 5 + ["de"] * 5
    assert store.pair_id.tolist() == [0, 1, 2, 3, 4] * 2
    np.testing.assert_array_equal(store.rows(store.language == "en"), X[:5])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_rows_come_in_the_order_asked_for(tmp_path, dtype):
    store = filled(tmp_path / "s", dtype)
    for at in ([9, 0, 4, 4, -1], slice(2, 8), np.arange(10) % 3 == 0, 5):
        found = store.rows(at)
        everything = store.to_array()
        expected = everything[np.atleast_1d(np.arange(10)[at])]
        assert bool((found == expected).all())
        assert found.shape == expected.shape


def test_one_shard_of_one_layer_is_a_memory_map(tmp_path):
    assert isinstance(filled(tmp_path / "one", cuts=()).to_array(), np.memmap)
    assert not isinstance(filled(tmp_path / "three").to_array(), np.memmap)
    assert all(isinstance(s.X, np.memmap) for s in EmbeddingStore(tmp_path / "three").shards())


def test_batches_cover_all_rows_in_order(tmp_path):
    parts = list(filled(tmp_path / "s").batches(2))
    assert [len(part.X) for part in parts] == [2, 2, 2, 1, 2, 1]
    np.testing.assert_array_equal(np.concatenate([part.X for part in parts]), X)
    assert np.concatenate([part.language for part in parts]).tolist() == ["en"] * 5 + ["de"] * 5


def test_batches_begin_at_a_row_and_open_nothing_before_it(tmp_path):
    store = filled(tmp_path / "s")
    (tmp_path / "s" / "embeddings-00000.safetensors").unlink()
    for start, shapes in ((4, [2, 1, 2, 1]), (6, [1, 2, 1]), (9, [1]), (10, [])):
        parts = list(store.batches(2, start=start))
        assert [len(part.X) for part in parts] == shapes
        found = [X[:0], *(part.X for part in parts)]
        np.testing.assert_array_equal(np.concatenate(found), X[start:])
    with pytest.raises(ValueError, match="start=-1: give the number of rows to pass over"):
        next(store.batches(2, start=-1))


def test_reading_several_layers_takes_the_memory_of_what_is_asked_for(tmp_path):
    rows = np.ones((40_000, 16), np.float32)  # 2.6 MB a layer
    with EmbeddingStore.create(tmp_path / "s", n_features=16, layers=[0, 6]) as store:
        store.append({0: rows, 6: rows})
    tracemalloc.start()
    try:
        assert sum(len(batch.X) for batch in store.batches(1000)) == len(rows)
        assert store.rows([5, 39_999]).shape == (2, 32)
        assert tracemalloc.get_traced_memory()[1] < rows.nbytes / 2  # copies, not mapped rows
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_layers_may_be_columns_of_one_array_or_the_same(tmp_path, dtype):
    rows = as_type(X, dtype)
    with EmbeddingStore.create(tmp_path / "s", n_features=2, dtype=dtype, layers=[0, 6, 7]) as s:
        s.append({0: rows[:, :2], 6: rows[:, 2:], 7: rows[:, :2]})
    assert bool((s.to_array() == rows[:, [0, 1, 2, 3, 0, 1]]).all())


def test_layers_are_read_one_by_one_or_side_by_side(tmp_path):
    with EmbeddingStore.create(tmp_path / "s", n_features=4, layers=[0, 6]) as store:
        store.append({0: X[:5], 6: -X[:5]})
        store.append({6: -X[5:], 0: X[5:]})
    store = EmbeddingStore(tmp_path / "s")
    assert store.layers == (0, 6)
    assert store.language is None
    assert store.pair_id is None
    np.testing.assert_array_equal(store.to_array(layer=6), -X)
    np.testing.assert_array_equal(store.to_array(), np.hstack([X, -X]))
    np.testing.assert_array_equal(store.rows([7, 1], layer=0), X[[7, 1]])


@pytest.mark.parametrize(
    ("language", "pair_id"),
    [
        (["en", "zh", "日本"], ["a", "", "ünïcode-with-length"]),
        ([3, 1, 2], [None, 5, 7]),
        ("en", [-1, -1, -1]),
        (["a"] * 3, ["x", None, "x"]),
    ],
)
def test_labels_of_either_kind_come_back(tmp_path, language, pair_id):
    store = EmbeddingStore.create(tmp_path / "s", n_features=4)
    store.append(X[:3], language=language, pair_id=pair_id)
    store.close()
    unpaired = "" if any(isinstance(v, str) for v in pair_id) else -1
    assert store.language.tolist() == ([language] * 3 if isinstance(language, str) else language)
    assert store.pair_id.tolist() == [unpaired if v is None else v for v in pair_id]


def test_tools_for_sharded_models_find_every_tensor(tmp_path):
    filled(tmp_path / "s")
    index = json.loads((tmp_path / "s" / INDEX).read_text())
    for name, file in index["weight_map"].items():
        with safe_open(tmp_path / "s" / file, framework="numpy") as opened:
            assert name in opened.keys()  # noqa: SIM118
    assert index["metadata"]["total_size"] == sum(
        os.path.getsize(tmp_path / "s" / file) for file in set(index["weight_map"].values())
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_same_rows_give_the_same_bytes(tmp_path, dtype):
    filled(tmp_path / "a", dtype)
    filled(tmp_path / "b", dtype)
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_a_store_travels_to_another_process_by_its_path(tmp_path):
    again = pickle.loads(pickle.dumps(filled(tmp_path / "s")))
    np.testing.assert_array_equal(again.to_array(), X)
    assert "10 rows" in repr(again)


def test_a_store_travels_to_another_directory(tmp_path, monkeypatch):
    filled(tmp_path / "s")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    sent = pickle.dumps(EmbeddingStore("s"))
    monkeypatch.chdir(tmp_path / "elsewhere")
    np.testing.assert_array_equal(pickle.loads(sent).to_array(), X)


def test_what_the_writer_noted_is_kept(tmp_path):
    EmbeddingStore.create(tmp_path / "s", n_features=2, about={"encoder": "mini"}).close()
    store = EmbeddingStore(tmp_path / "s")
    assert store.about == {"encoder": "mini"}
    assert len(store) == 0


def test_notes_are_replaced_by_the_writer(tmp_path):
    filled(tmp_path / "s")
    with EmbeddingStore(tmp_path / "s") as store:
        store.note({"encoder": "maxi"})
        with pytest.raises(BlockingIOError, match="another writer"):
            EmbeddingStore(tmp_path / "s").note({})
    again = EmbeddingStore(tmp_path / "s")
    assert again.about == store.about == {"encoder": "maxi"}
    np.testing.assert_array_equal(again.to_array(), X)


def test_a_digest_says_what_the_first_shards_hold(tmp_path):
    a, b = filled(tmp_path / "a"), filled(tmp_path / "b")
    before = a.digest()
    assert a.shard_rows == (4, 3, 3)
    assert before == b.digest() == a.digest(3)
    a.append(X, language="en", pair_id=np.arange(10))
    a.close()
    assert a.digest() != before == a.digest(3)
    assert filled(tmp_path / "c", cuts=(5, 7)).digest() != before


# Writers and readers


def test_a_reader_sees_whole_shards_while_another_writes(tmp_path):
    writer = EmbeddingStore.create(tmp_path / "s", n_features=4)
    writer.append(X[:4])
    reader = EmbeddingStore(tmp_path / "s")
    writer.append(X[4:])
    np.testing.assert_array_equal(reader.to_array(), X[:4])
    np.testing.assert_array_equal(EmbeddingStore(tmp_path / "s").to_array(), X)
    writer.close()


def test_there_is_one_writer_at_a_time(tmp_path):
    first = EmbeddingStore.create(tmp_path / "s", n_features=4)
    second = EmbeddingStore(tmp_path / "s")
    with pytest.raises(BlockingIOError, match=rf"another writer \(process {os.getpid()}\).*close"):
        second.append(X)
    first.append(X[:4])
    first.close()
    second.append(X[4:])  # it sees what the first one wrote
    np.testing.assert_array_equal(second.to_array(), X)
    second.close()


def test_a_full_disk_hides_who_the_writer_is_but_not_that_there_is_one(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    filled(tmp_path / "s")
    (tmp_path / "s" / ".writer.lock").unlink()
    store = EmbeddingStore(tmp_path / "s")
    with monkeypatch.context() as patched:
        patched.setattr(lock_module.os, "write", refuse)
        store.acquire()
    with pytest.raises(BlockingIOError, match="process unknown"):
        EmbeddingStore(tmp_path / "s").acquire()
    store.close()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_not_called_another_writer(tmp_path, monkeypatch, number):
    def refuse(_):
        raise OSError(number, os.strerror(number))

    store = filled(tmp_path / "s")
    monkeypatch.setattr(lock_module, "_lock", refuse)
    said = rf"The file system of .*s has no locks \({os.strerror(number)}\).*another disk and copy"
    with pytest.raises(OSError, match=said) as caught:
        store.append(X, language="en", pair_id=np.arange(10))
    assert caught.value.errno == number
    assert not isinstance(caught.value, BlockingIOError)
    assert len(store) == len(EmbeddingStore(tmp_path / "s")) == 10
    with pytest.raises(OSError, match="has no locks"):
        EmbeddingStore.create(tmp_path / "new", n_features=4)


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES])
def test_whatever_a_system_says_of_a_held_lock_is_another_writer(tmp_path, monkeypatch, number):
    def refuse(_):
        raise OSError(number, os.strerror(number))

    store = filled(tmp_path / "s")
    monkeypatch.setattr(lock_module, "_lock", refuse)
    with pytest.raises(BlockingIOError, match="another writer"):
        store.acquire()


def test_a_writer_that_finds_the_index_damaged_keeps_no_right(tmp_path):
    store = filled(tmp_path / "s")
    index = tmp_path / "s" / INDEX
    whole = index.read_bytes()
    index.write_bytes(b"{")
    with pytest.raises(ValueError, match="damaged"):
        store.append(X)
    index.write_bytes(whole)
    EmbeddingStore(tmp_path / "s").acquire()


def test_a_writer_that_is_collected_gives_its_right_back(tmp_path):
    EmbeddingStore.create(tmp_path / "s", n_features=4)
    store = EmbeddingStore(tmp_path / "s")
    store.append(X)
    store.close()


WRITER = """
import sys, numpy as np
from posthoc_align.embedding_store import EmbeddingStore
store = EmbeddingStore.create(sys.argv[1], n_features=256)
for i in range(100_000):
    store.append(np.full((2000, 256), i, dtype=np.float32), language="en", pair_id=np.arange(2000))
    print(i, flush=True)
"""


@pytest.mark.slow
def test_a_killed_writer_loses_no_finished_shard_and_keeps_no_lock(tmp_path):
    path = tmp_path / "s"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    ) as writer:
        for _ in range(3):
            writer.stdout.readline()
        time.sleep(0.005)  # somewhere inside the next append
        writer.send_signal(signal.SIGKILL)
        said = 2 + len(writer.stdout.read().split())
    store = EmbeddingStore(path)
    finished = len(store) // 2000
    assert finished in (said + 1, said + 2)  # the last may have been done but not yet said
    assert store.verify() == {}
    assert store.to_array()[::2000, 0].tolist() == list(range(finished))
    (path / ".embeddings-00009.safetensors.1").touch()  # as a kill in the midst of a write leaves
    store.append(np.full((1, 256), -1, np.float32), language="en", pair_id=[0])
    assert not list(path.glob(".embeddings*"))
    assert store.rows(-1)[0, 0] == -1
    store.close()


# Damage


@pytest.mark.parametrize("harm", ["missing", "torn", "longer"])
def test_a_damaged_shard_is_named_and_the_rest_is_read(tmp_path, harm):
    filled(tmp_path / "s")
    file = tmp_path / "s" / "embeddings-00001.safetensors"
    data = file.read_bytes()
    if harm == "missing":
        file.unlink()
    else:
        file.write_bytes(data[:-3] if harm == "torn" else data + b"0")
    with pytest.warns(UserWarning, match=r"1 damaged of 3 shards: embeddings-00001.*left out"):
        store = EmbeddingStore(tmp_path / "s")
    assert list(store.damaged) == [file.name]
    kept = [0, 1, 2, 3, 7, 8, 9]
    np.testing.assert_array_equal(store.to_array(), X[kept])
    np.testing.assert_array_equal(store.rows([4, 0]), X[[7, 0]])
    assert store.pair_id.tolist() == [row % 5 for row in kept]
    with pytest.warns(UserWarning, match="damaged"):
        store.append(X[4:7], language="de", pair_id=[5, 6, 7])  # does not take its place
    assert len(store) == 10
    store.close()


def test_a_changed_byte_is_found_by_verify(tmp_path):
    store = filled(tmp_path / "s")
    file = tmp_path / "s" / "embeddings-00002.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert EmbeddingStore(tmp_path / "s").damaged == {}  # sizes agree
    assert store.verify() == {file.name: "its checksum differs"}
    assert len(store) == 7


def test_a_shard_that_is_torn_after_opening_ends_in_words(tmp_path):
    store = filled(tmp_path / "s")
    file = tmp_path / "s" / "embeddings-00000.safetensors"
    file.write_bytes(b"\x10")
    for read in (store.to_array, lambda: store.language):
        with pytest.raises(ValueError, match=r"embeddings-00000.*Open the store again"):
            read()


def test_the_file_of_another_store_is_refused_in_words(tmp_path):
    store = EmbeddingStore.create(tmp_path / "s", n_features=4)
    store.append(X)
    other = EmbeddingStore.create(tmp_path / "other", n_features=8, dtype="float16")
    other.append(np.zeros((10, 8), np.float16))
    name = "embeddings-00000.safetensors"
    data = (tmp_path / "other" / name).read_bytes()
    size = (tmp_path / "s" / name).stat().st_size
    assert len(data) == size, "else it is found at the opening"
    (tmp_path / "s" / name).write_bytes(data)
    said = r"shape \(10, 8\) and type float16, but the index promises \(10, 4\) and float32: the f"
    with pytest.raises(ValueError, match=said):
        EmbeddingStore(tmp_path / "s").to_array()
    assert list(store.verify()) == [name]


def test_an_empty_shard_adds_no_rows(tmp_path):
    with EmbeddingStore.create(tmp_path / "s", n_features=4) as store:
        store.append(X, language=0)
    labels = {"language": np.empty(0, dtype=np.int64)}
    empty = shard_module.write_shard(store.path, 1, {"embeddings": X[:0]}, labels)
    write_index(store.path, read_index(store.path).with_shard(empty, {"language": "int"}))
    store = EmbeddingStore(store.path)
    assert store.shard_rows == (10, 0)
    assert [len(batch.X) for batch in store.batches(6)] == [6, 4]
    np.testing.assert_array_equal(store.to_array(), X)
    np.testing.assert_array_equal(store.rows([9]), X[9:])
    assert len(store.language) == 10


FULL = """
import sys, numpy as np
from posthoc_align.embedding_store import EmbeddingStore
if sys.argv[2] == "limit":
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))
store = EmbeddingStore.create(sys.argv[1], n_features=100)
store.append(np.ones((1000, 100), np.float32))
try:
    store.append(np.ones((2000, 100), np.float32))
except OSError as error:
    print(error)
store.append(np.full((10, 100), 2, np.float32))
print(len(store), sorted(store.verify()), store.rows(-1)[0, 0])
"""


def check_full(path: Path, how: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", FULL, str(path), how], capture_output=True, text=True, check=True
    )
    assert "2000 rows could not be written" in run.stdout
    assert "has 1000 rows as before. Make room" in run.stdout
    assert run.stdout.splitlines()[-1] == "1010 [] 2.0"
    assert not list(path.glob(".embeddings*")), "the half-written file was not taken away"


@pytest.mark.slow
def test_a_file_that_may_not_grow_leaves_the_store_as_it_was(tmp_path):
    pytest.importorskip("resource")
    check_full(tmp_path / "s", "limit")


@pytest.mark.slow
def test_a_full_disk_leaves_the_store_as_it_was(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a small disk cannot be mounted here: that needs root")
    try:
        check_full(disk / "s", "disk")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


# Wrong input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_features": 0}, "n_features=0: expected the number of columns"),
        ({"n_features": 2.0}, "n_features=2.0"),
        ({"n_features": 2, "dtype": "int8"}, "dtype='int8' is not known: choose one of float16"),
        ({"n_features": 2, "layers": []}, "at least one"),
        ({"n_features": 2, "layers": [1, 1]}, "expected different numbers"),
    ],
)
def test_a_store_that_cannot_be_is_refused(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        EmbeddingStore.create(tmp_path / "s", **options)
    assert not (tmp_path / "s").exists()


def test_a_store_is_not_written_over(tmp_path):
    filled(tmp_path / "s")
    with pytest.raises(FileExistsError, match="is a store already.*choose another"):
        EmbeddingStore.create(tmp_path / "s", n_features=4)
    assert len(EmbeddingStore(tmp_path / "s")) == 10


@pytest.mark.parametrize(
    ("rows", "labels", "message"),
    [
        (X[:, :3], {}, r"shape \(10, 3\), but rows of the store have 4 columns"),
        (X.astype(np.float64), {}, "type float64, but the store holds float32"),
        (torch.from_numpy(X).bfloat16(), {}, "type bfloat16, but the store holds float32"),
        (X[:0], {}, "0 sample"),
        ({6: X}, {}, r"layers \['6'\]; expected those of the store, \['None'\]"),
        (X, {"pair_id": np.arange(10)}, "with {'pair_id': 'int'}, but the store has {'language'"),
        (X, {"language": 3, "pair_id": np.arange(10)}, "all text or all integers"),
        (X, {"language": ["en"]}, r"language has shape \(1,\) but X has 10 rows"),
    ],
)
def test_rows_unlike_those_there_are_refused(tmp_path, rows, labels, message):
    with filled(tmp_path / "s") as store:
        with pytest.raises(ValueError, match=message):
            store.append(rows, **labels)
        assert len(store) == len(EmbeddingStore(tmp_path / "s")) == 10


def test_layers_must_be_complete_and_of_equal_rows(tmp_path):
    with EmbeddingStore.create(tmp_path / "s", n_features=4, layers=[0, 6]) as store:
        with pytest.raises(ValueError, match=r"has the layers \[0, 6\]: pass a mapping"):
            store.append(X)
        with pytest.raises(ValueError, match="Layers differ in rows"):
            store.append({0: X, 6: X[:3]})
        store.append({0: X, 6: X})
        with pytest.raises(ValueError, match=r"layer=3 is not in the store .*s: it has \(0, 6\)"):
            store.to_array(layer=3)


def test_rows_that_are_not_there_are_refused(tmp_path):
    store = filled(tmp_path / "s")
    with pytest.raises(IndexError, match="out of bounds"):
        store.rows([10])
    with pytest.raises(ValueError, match="No rows were asked for"):
        store.rows(slice(0, 0))
    with pytest.raises(ValueError, match="n_rows=0"):
        next(store.batches(0))
    with (
        EmbeddingStore.create(tmp_path / "empty", n_features=4) as empty,
        pytest.raises(ValueError, match="has no rows"),
    ):
        empty.to_array()


def test_a_folder_without_a_store_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere.*EmbeddingStore.create"):
        EmbeddingStore(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="no embedding store: it lacks"):
        EmbeddingStore(tmp_path)


def test_shards_without_their_index_are_neither_read_nor_written_over(tmp_path):
    store = filled(tmp_path / "s")
    before = store.digest()
    whole = (tmp_path / "s" / INDEX).read_bytes()
    (tmp_path / "s" / INDEX).unlink()
    with pytest.raises(FileNotFoundError, match="holds 3 shards but not their index.* Put it back"):
        EmbeddingStore(tmp_path / "s")
    with pytest.raises(FileExistsError, match="holds 3 shards of a store whose index.*is missing"):
        EmbeddingStore.create(tmp_path / "s", n_features=4)
    (tmp_path / "s" / INDEX).write_bytes(whole)
    assert EmbeddingStore(tmp_path / "s").digest() == before
    assert EmbeddingStore(tmp_path / "s").verify() == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["metadata"].update(version=99), "version 99 .* reads up to 1: upgrade"),
        (lambda c: c["metadata"].update(format="pt"), "index of other tensors"),
        (lambda c: c["metadata"].pop("dtype"), "KeyError: 'dtype'"),
        (lambda c: c["metadata"].update(dtype="object"), "dtype 'object' is none of"),
        (lambda c: c["shards"][0].update(file="../../etc/passwd"), "no name of a file in the"),
        (lambda c: c["shards"][0].update(rows=-1), "-1 is no count"),
        (lambda c: c.pop("shards"), "damaged. Restore it"),
    ],
)
def test_a_wrong_index_is_refused(tmp_path, change, message):
    filled(tmp_path / "s")
    content = json.loads((tmp_path / "s" / INDEX).read_text())
    change(content)
    (tmp_path / "s" / INDEX).write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        EmbeddingStore(tmp_path / "s")


def test_a_torn_index_is_refused(tmp_path):
    filled(tmp_path / "s")
    (tmp_path / "s" / INDEX).write_bytes(b'{"metadata": {')
    with pytest.raises(ValueError, match="cannot be read as the index of a store.*damaged"):
        EmbeddingStore(tmp_path / "s")


def test_a_file_that_cannot_be_looked_at_is_damaged(tmp_path, monkeypatch):
    store = filled(tmp_path / "s")

    def refuse(self, **_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(shard_module.Path, "stat", refuse)
    with warnings.catch_warnings():
        store.verify()
    assert set(store.damaged.values()) == {"it cannot be read ([Errno 13] Permission denied)"}
