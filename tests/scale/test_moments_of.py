"""Moments are taken of arrays, files, stores, tables and iterators, or it is said why not."""

from __future__ import annotations

import os
import pickle
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from joblib._parallel_backends import ThreadingBackend

from posthoc_align import (
    LEACE,
    LSAR,
    ConceptWhitening,
    EmbeddingStore,
    LanguageCentering,
    LanguageScaling,
    PivotAligner,
    Procrustes,
    TaskProjection,
    TransportMap,
    moments_of,
)
from posthoc_align.moments import LanguageMoments
from posthoc_align.pair_moments import PairMoments
from posthoc_align.scale._accumulate import accumulate
from posthoc_align.scale._shards import BATCH_ROWS
from posthoc_align.scale._sources import SHARD_ROWS, shards_of
from posthoc_align.scale._tree import tree_sum

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4)) + 3.0
LANGUAGE = np.array(["en", "de", "sw"])[RNG.integers(0, 3, 60)]
EXPECTED = LanguageMoments.of(X, LANGUAGE, second="full")
CUTS = [slice(0, 7), slice(7, 8), slice(8, 60)]
SCALING = LanguageScaling()


def assert_moments(moments: Any, expected: LanguageMoments = EXPECTED) -> None:
    assert list(moments) == list(expected)
    for label in expected:
        assert moments[label].count == expected[label].count
        np.testing.assert_allclose(moments[label].mean, expected[label].mean, rtol=1e-10)
        np.testing.assert_allclose(moments[label].variance, expected[label].variance, rtol=1e-10)


def batches() -> Any:
    return ((X[rows], LANGUAGE[rows]) for rows in CUTS)


def make_store(folder: Path, **settings: Any) -> EmbeddingStore:
    with EmbeddingStore.create(folder, n_features=4, dtype="float64", **settings) as store:
        for rows in CUTS:
            store.append(X[rows], language=LANGUAGE[rows])
    return EmbeddingStore(folder)


# Every kind of source


def test_an_array_beside_its_labels():
    assert_moments(moments_of(X, SCALING, language=LANGUAGE))
    assert_moments(moments_of(X, SCALING, language=LANGUAGE.tolist()))


def test_a_tuple_and_a_mapping_are_one_batch():
    assert_moments(moments_of((X, LANGUAGE), SCALING))
    assert_moments(moments_of({"X": X, "language": LANGUAGE, "pair_id": range(60)}, SCALING))


def test_one_label_stands_for_all_rows_of_a_batch():
    parts = [(X[code == LANGUAGE], code) for code in ("sw", "en", "de")]
    assert_moments(moments_of(parts, SCALING))
    assert_moments(moments_of({"X": rows, "language": code} for rows, code in parts))
    alone = moments_of([X[:5], X[5:]], SCALING, language="en")
    assert_moments(alone, LanguageMoments.of(X, np.full(60, "en"), second="diagonal"))


def test_without_labels_all_rows_are_of_one_language():
    assert_moments(moments_of(iter([X[:5], X[5:]])), LanguageMoments.of(X, second="full"))


@pytest.mark.parametrize("name", ["X", "embedding", "embeddings"])
def test_rows_of_a_mapping_go_by_three_names(name):
    assert_moments(moments_of([{name: X[at], "language": LANGUAGE[at]} for at in CUTS], SCALING))


def test_lists_and_iterators_of_all_that_a_batch_can_be(tmp_path):
    np.save(tmp_path / "middle.npy", X[CUTS[1]])
    with EmbeddingStore.create(tmp_path / "store", n_features=4, dtype="float64") as store:
        store.append(X[CUTS[2]], language=LANGUAGE[CUTS[2]])
    middle = (tmp_path / "middle.npy", LANGUAGE[CUTS[1]])
    parts = [{"X": X[CUTS[0]], "language": LANGUAGE[CUTS[0]]}, middle, tmp_path / "store"]
    assert_moments(moments_of(parts, SCALING))
    assert_moments(moments_of(iter(parts), SCALING))


def test_files_of_arrays(tmp_path):
    from safetensors.numpy import save_file

    np.save(tmp_path / "a.npy", X)
    np.savez(tmp_path / "a.npz", X)
    save_file({"embeddings": X}, tmp_path / "a.safetensors")
    for name in ("a.npy", "a.npz", "a.safetensors"):
        assert_moments(moments_of(tmp_path / name, SCALING, language=LANGUAGE))


@pytest.mark.parametrize("order", ["C", "F"])
def test_memory_maps_and_parts_of_them(tmp_path, order):
    np.save(tmp_path / "a.npy", np.asarray(X, order=order))
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert_moments(moments_of(mapped, SCALING, language=LANGUAGE))
    part = LanguageMoments.of(X[5:50], LANGUAGE[5:50], second="full")
    assert_moments(moments_of(mapped[5:50], SCALING, language=LANGUAGE[5:50]), part)
    stepped = LanguageMoments.of(X[::2], LANGUAGE[::2], second="full")
    assert_moments(moments_of(mapped[::2], SCALING, language=LANGUAGE[::2]), stepped)


def test_a_store_with_layers(tmp_path):
    with EmbeddingStore.create(tmp_path, n_features=4, dtype="float64", layers=[3, 7]) as store:
        store.append({3: X, 7: 2 * X}, language=LANGUAGE)
    assert_moments(moments_of(tmp_path, SCALING, layer=3))
    twice = LanguageMoments.of(2 * X, LANGUAGE, second="full")
    assert_moments(moments_of(tmp_path, SCALING, layer=7), twice)
    side_by_side = LanguageMoments.of(np.hstack([X, 2 * X]), LANGUAGE, second="full")
    assert_moments(moments_of(tmp_path, SCALING), side_by_side)


@pytest.mark.parametrize("walk", [list, iter])
def test_a_layer_is_that_of_each_store(tmp_path, walk):
    stores = []
    for number, rows in enumerate(CUTS):
        folder = tmp_path / str(number)
        with EmbeddingStore.create(folder, n_features=4, dtype="float64", layers=[3, 7]) as store:
            store.append({3: X[rows], 7: 2 * X[rows]}, language=LANGUAGE[rows])
        stores.append(store if number else folder)
    assert_moments(moments_of(walk(stores), SCALING, layer=3))
    twice = LanguageMoments.of(2 * X, LANGUAGE, second="full")
    assert_moments(moments_of(walk(stores), SCALING, layer=7), twice)
    targets = RNG.normal(size=(60, 2))
    pairs = [(store, targets[rows]) for store, rows in zip(stores, CUTS, strict=True)]
    found = moments_of(walk(pairs), Procrustes(), layer=7)
    np.testing.assert_allclose(found.cross, PairMoments.of(2 * X, targets).cross, rtol=1e-10)
    with pytest.raises(ValueError, match=r"layer=5 is not in the store .*0: it has \(3, 7\)"):
        moments_of(walk(stores), SCALING, layer=5)
    message = "layer=3 came with batch 4, a ndarray: only an EmbeddingStore has layers"
    with pytest.raises(ValueError, match=message):
        moments_of(walk([*stores, X]), SCALING, layer=3)


def test_labels_can_come_beside_a_store_that_has_none(tmp_path):
    with EmbeddingStore.create(tmp_path, n_features=4, dtype="float64") as store:
        for rows in CUTS:
            store.append(X[rows])
    assert_moments(moments_of(store, SCALING, language=LANGUAGE))
    target = RNG.normal(size=(60, 2))
    paired = moments_of(store, Procrustes(), y=target)
    np.testing.assert_allclose(paired.cross, PairMoments.of(X, target).cross, rtol=1e-10)


def test_pairs_in_every_form():
    Y = RNG.normal(size=(60, 3))
    expected = PairMoments.of(X, Y).cross
    tuples = [(X[rows], Y[rows]) for rows in CUTS]
    sources = [tuples, iter(tuples), [{"X": x, "y": y} for x, y in tuples], (X, Y)]
    found = [moments_of(source, Procrustes()) for source in sources]
    for moments in [*found, moments_of(X, Procrustes(), y=Y)]:
        np.testing.assert_allclose(moments.cross, expected, rtol=1e-10)


def test_pairs_of_memory_maps(tmp_path):
    Y = RNG.normal(size=(60, 3))
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    x, y = (np.load(tmp_path / name, mmap_mode="r") for name in ("x.npy", "y.npy"))
    moments = moments_of(x, Procrustes(), y=y)
    np.testing.assert_allclose(moments.cross, PairMoments.of(X, Y).cross, rtol=1e-10)


def test_tensors_and_a_data_loader():
    torch = pytest.importorskip("torch")
    from torch.utils.data import DataLoader, TensorDataset

    rows, codes = torch.as_tensor(X), torch.as_tensor(np.unique(LANGUAGE, return_inverse=True)[1])
    expected = LanguageMoments.of(X, codes.numpy(), second="full")
    assert_moments(moments_of(rows, SCALING, language=codes), expected)
    assert_moments(moments_of(DataLoader(TensorDataset(rows, codes), batch_size=7)), expected)
    named = [{"X": x, "language": str(code)} for x, code in zip(rows, LANGUAGE, strict=True)]
    assert_moments(moments_of(DataLoader(named, batch_size=7, shuffle=True)))
    alone = moments_of(DataLoader(TensorDataset(rows), batch_size=7))
    assert_moments(alone, LanguageMoments.of(X, second="full"))


def test_a_loader_of_pairs_in_half_precision():
    torch = pytest.importorskip("torch")
    from torch.utils.data import DataLoader, TensorDataset

    x = torch.as_tensor(X, dtype=torch.bfloat16)
    moments = moments_of(DataLoader(TensorDataset(x, 2 * x), batch_size=7), Procrustes())
    expected = PairMoments.of(x.double().numpy(), 2 * x.double().numpy())
    np.testing.assert_allclose(moments.cross, expected.cross, rtol=0, atol=1e-5 * 1000)


def test_labels_in_the_index_of_a_data_frame():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, index=pd.Index(LANGUAGE, name="language"))
    assert_moments(moments_of(frame, SCALING))
    assert_moments(moments_of((frame.iloc[rows] for rows in CUTS), SCALING))


def test_classes_travel_with_the_batches():
    y = np.arange(60) % 2
    model = TaskProjection()
    expected = model.fit(X, y, language=LANGUAGE).moments_
    named = [{"X": X[at], "y": y[at].tolist(), "language": LANGUAGE[at]} for at in CUTS]
    moments = moments_of(named, model)
    assert list(moments) == list(expected)
    np.testing.assert_allclose(moments.within, expected.within, rtol=1e-10)


# Arrays that are filled again


def as_numpy(rows: Any) -> np.ndarray:
    return np.array(rows)


def as_tensor(rows: Any) -> Any:
    return pytest.importorskip("torch").tensor(rows)


@pytest.mark.parametrize("kind", [as_numpy, as_tensor])
@pytest.mark.parametrize("size", [10, 2 * BATCH_ROWS])
def test_a_source_may_fill_the_same_arrays_for_every_batch(kind, size):
    """Whether they are small and put together, or read while others are summed."""
    rng = np.random.default_rng(1)
    rows, codes = rng.normal(size=(3 * size, 4)) + 3.0, rng.integers(0, 3, 3 * size)

    def batches():
        x, label = kind(np.zeros((size, 4))), kind(np.zeros(size, dtype=int))
        for start in range(0, 3 * size, size):
            x[:] = kind(rows[start : start + size])
            label[:] = kind(codes[start : start + size])
            yield x, label

    expected = LanguageMoments.of(rows, codes, second="full")
    assert_moments(moments_of(batches(), SCALING), expected)
    named = ({"X": x, "language": label.tolist()} for x, label in batches())
    assert_moments(moments_of(named, SCALING), expected)


@pytest.mark.parametrize("kind", [as_numpy, as_tensor])
def test_a_source_may_fill_the_same_pairs_for_every_batch(kind):
    Y = RNG.normal(size=(60, 3))

    def batches():
        x, y = kind(np.zeros((20, 4))), kind(np.zeros((20, 3)))
        for start in range(0, 60, 20):
            x[:], y[:] = kind(X[start : start + 20]), kind(Y[start : start + 20])
            yield x, y

    moments = moments_of(batches(), Procrustes())
    np.testing.assert_allclose(moments.cross, PairMoments.of(X, Y).cross, rtol=1e-10)


def test_a_source_may_fill_the_same_labels_for_every_batch():
    def batches():
        text, whole = np.empty(20, dtype=LANGUAGE.dtype), ["?"] * 20
        for start in range(0, 60, 20):
            text[:] = whole[:] = LANGUAGE[start : start + 20].tolist()
            yield {"X": X[start : start + 20], "language": whole if start % 40 else text}

    assert_moments(moments_of(batches(), SCALING))


# Arrow


@pytest.mark.extras
@pytest.mark.parametrize("kind", ["fixed", "varying", "sliced"])
def test_arrow_tables(kind):
    pa = pytest.importorskip("pyarrow")
    flat = pa.array(X.reshape(-1))
    if kind == "varying":
        rows = pa.ListArray.from_arrays(np.arange(0, 241, 4, dtype=np.int32), flat)
    else:
        rows = pa.FixedSizeListArray.from_arrays(flat, 4)
    table = pa.table({"text": ["?"] * 60, "embedding": rows, "language": LANGUAGE.tolist()})
    if kind == "sliced":
        table = pa.concat_tables([table.slice(0, 20), table.slice(20)])
    assert_moments(moments_of(table, SCALING))
    assert_moments(moments_of([table.slice(0, 9), table.slice(9)], SCALING))
    assert_moments(moments_of(table.to_batches(max_chunksize=7), SCALING))
    assert_moments(moments_of(table.to_reader(), SCALING))


@pytest.mark.extras
def test_rows_of_an_arrow_column_are_not_copied():
    pa = pytest.importorskip("pyarrow")
    rows = pa.FixedSizeListArray.from_arrays(pa.array(X.reshape(-1)), 4)
    (batch,) = shards_of(pa.table({"X": rows}))[0].batches()
    assert np.shares_memory(batch.X, rows.flatten().to_numpy())
    np.testing.assert_array_equal(batch.X, X)


@pytest.mark.extras
def test_arrow_columns_that_hold_no_embeddings_are_named():
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"text": ["a"], "vec": [[1.0, 2.0]]})
    with pytest.raises(ValueError, match=r"columns \['text', 'vec'\], none of which.*X, embedding"):
        moments_of(table)
    with pytest.raises(ValueError, match="'X' of the source is of type double; expected a list"):
        moments_of(pa.table({"X": [1.0, 2.0]}))
    with pytest.raises(ValueError, match="'X' of batch 1 is null in 1 rows"):
        moments_of([pa.table({"X": [[1.0], None]})])
    with pytest.raises(ValueError, match="'X' of the source has rows of 1 to 2 numbers"):
        moments_of(pa.table({"X": [[1.0], [1.0, 2.0]]}))
    with pytest.raises(ValueError, match="NaN, first in row 1"):
        moments_of(pa.table({"X": [[1.0, 2.0], [None, 3.0]]}))


@pytest.mark.extras
@pytest.mark.parametrize("form", [None, "numpy", "torch", "arrow"])
def test_hugging_face_datasets_in_any_format(form):
    datasets = pytest.importorskip("datasets")
    dataset = datasets.Dataset.from_dict({"embedding": X.tolist(), "language": LANGUAGE.tolist()})
    moments = moments_of(dataset.with_format(form), SCALING)
    for label, part in EXPECTED.items():  # numpy and torch formats read float32
        np.testing.assert_allclose(moments[label].mean, part.mean, rtol=1e-6)
    if form in (None, "arrow"):
        assert_moments(moments)


# What is wrong is named


def test_estimators_that_need_rows_are_refused_before_a_row_is_read():
    def never():
        raise AssertionError("read")
        yield

    able = r"expected one of .*LSAR.*Procrustes.*LanguageCentering, then fit Procrustes"
    for model in (PivotAligner(), TransportMap()):
        name = type(model).__name__
        with pytest.raises(TypeError, match=f"{name} is fitted on rows and not from.*{able}"):
            moments_of(never(), model)
    with pytest.raises(TypeError, match="ConceptWhitening needs all translations of a text"):
        moments_of(never(), ConceptWhitening())


def test_maps_take_no_language():
    with pytest.raises(ValueError, match="Procrustes maps one space to another and takes no lang"):
        moments_of([(X, X)], Procrustes(), language="en")


@pytest.mark.parametrize("source", [[], iter([]), (rows for rows in ())])
def test_a_source_of_nothing(source):
    with pytest.raises(ValueError, match="no rows: it yielded no batch.*walked through once"):
        moments_of(source, LSAR())


@pytest.mark.parametrize("walk", [list, iter])
@pytest.mark.parametrize(
    ("third", "message"),
    [
        (X[:2, :3], "Batch 3 has columns 3, but batch 1 has 4. Pass rows of one encoder"),
        (X[:2].astype("float32"), "Batch 3 has dtype float32, but batch 1 has float64. Convert"),
        (X[0], r"Batch 3: Expected 2D array, got 1D array"),
        (X[:0], r"Batch 3: Found array with 0 sample\(s\).*at least one row"),
        (np.array([["a", "b"]]), "Batch 3: X holds text or dates.*Embed the text first"),
        ((X[:2], "en"), "Batch 3 has language labels text, but batch 1 has none. Pass language"),
        ((X[:2], ["en"]), r"language has shape \(1,\) but batch 3 has 2 rows: pass one"),
        ({"rows": X}, r"Batch 3 has the columns \['rows'\], none of which.*Rename"),
        ({"X": X, "embedding": X}, r"\['X', 'embedding'\] of which can be the rows.*just one"),
        ((X, X, X), "Batch 3 is a tuple of 3, no batch. A batch is an array of shape"),
        ([1.0, 2.0], r"Batch 3 is a list of 2, no batch.*numpy.asarray\(source\)"),
        (object(), "Batch 3 is a .*object.*, no batch"),
        ({"X": X[:2], "y": [1]}, "and .*y has 1"),
    ],
)
def test_a_batch_that_is_wrong_is_named(third, message, walk):
    with pytest.raises((TypeError, ValueError), match=f"(?i){message}"):
        moments_of(walk([X[:1], X[1:5], third]), LEACE())


def test_a_batch_of_another_kind_is_named():
    torch = pytest.importorskip("torch")
    with pytest.raises(ValueError, match="Batch 2 has kind torch tensor on cpu, but.* NumPy"):
        moments_of([X, torch.as_tensor(X)])


def test_labels_of_two_types_are_named():
    message = "Batch 2 has language labels numbers, but batch 1 has text"
    with pytest.raises(ValueError, match=message):
        moments_of([(X, "en"), (X, 1)])


def test_pairs_without_a_counterpart_are_named():
    with pytest.raises(ValueError, match="Batch 2: .*requires y to be passed, but.*y is None"):
        moments_of(iter([(X, X), X]), Procrustes())
    with pytest.raises(ValueError, match="batch 1 has 60 rows and its y has 9"):
        moments_of([(X, X[:9])], Procrustes())
    with pytest.raises(ValueError, match="Batch 2 has y numbers of 2 columns.*4 columns"):
        moments_of([(X, X), (X, X[:, :2])], Procrustes())


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("size", [3, BATCH_ROWS + 1])
def test_nan_is_named_by_its_batch_and_its_row_there(bad, size):
    parts = [np.ones((size, 2)) for _ in range(4)]
    parts[2][1, 0] = bad
    kind = "NaN" if np.isnan(bad) else "infinity"
    with pytest.raises(ValueError, match=f"X contains {kind}, first in row 1 of batch 3. Remove"):
        moments_of(iter(parts), LanguageCentering())
    pairs = ((np.ones((size, 2)), part) for part in parts)
    with pytest.raises(ValueError, match=f"y contains {kind}, first in row 1 of batch 3"):
        moments_of(pairs, Procrustes())


def test_nan_in_a_memory_map_is_named_by_its_row(tmp_path):
    n_rows = SHARD_ROWS + BATCH_ROWS + 9
    mapped = np.memmap(tmp_path / "x", "float32", "w+", shape=(n_rows, 1))
    mapped[-2] = np.nan
    with pytest.raises(ValueError, match=f"NaN, first in row {n_rows - 2}. Remove"):
        moments_of(mapped, LanguageCentering())


def test_nan_in_a_store_is_named_by_its_shard(tmp_path):
    with EmbeddingStore.create(tmp_path, n_features=4, dtype="float64") as store:
        store.append(X)
        store.append(np.where(np.arange(60)[:, None] == 7, np.nan, X))
    with pytest.raises(ValueError, match=r"NaN, first in row 7 of shard .*embeddings-00001\.safe"):
        moments_of(tmp_path)


def test_labels_that_come_twice_or_beside_batches_are_refused(tmp_path):
    store = make_store(tmp_path)
    with pytest.raises(ValueError, match="language came twice: with the source, and as language="):
        moments_of(store, language="en")
    with pytest.raises(ValueError, match="language came twice"):
        moments_of({"X": X, "language": LANGUAGE}, language=LANGUAGE)
    for source in ([X], iter([X])):
        with pytest.raises(ValueError, match="language= came beside batches.*tuple \\(X, language"):
            moments_of(source, language=LANGUAGE)
        with pytest.raises(ValueError, match="y= came beside batches"):
            moments_of(source, Procrustes(), y=X)


def test_labels_of_another_length_are_refused(tmp_path):
    store = make_store(tmp_path)
    with pytest.raises(ValueError, match=r"language has shape \(5,\) but X has 60 rows"):
        moments_of(X, language=LANGUAGE[:5])
    with pytest.raises(ValueError, match="X has 60 rows and its y has 5: row i of y must belong"):
        moments_of(X, Procrustes(), y=X[:5])
    with pytest.raises(ValueError, match="has 60 rows and its y has 5"):
        moments_of(store, Procrustes(), y=X[:5])


@pytest.mark.parametrize("source", [3, None, LSAR(), LSAR])
def test_what_is_no_source_is_told_what_one_is(source):
    with pytest.raises(TypeError, match="cannot be taken of a .*EmbeddingStore.*A batch is"):
        moments_of(source)


def test_paths_that_lead_nowhere(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no folder .*missing"):
        moments_of(tmp_path / "missing")
    with pytest.raises(FileNotFoundError, match=r"There is no file .*missing\.npy"):
        moments_of(tmp_path / "missing.npy")
    np.save(tmp_path / "empty.npy", X[:0])
    with pytest.raises(ValueError, match=r"empty\.npy is empty: shape \(0, 4\)"):
        moments_of([X, tmp_path / "empty.npy"])
    with pytest.raises(FileNotFoundError, match="no embedding store: it lacks embeddings.safetens"):
        moments_of(tmp_path)


def test_layers_are_of_stores_that_have_them(tmp_path):
    with pytest.raises(ValueError, match="layer=2 is not in the store .*: it has one unnumbered"):
        moments_of(make_store(tmp_path), layer=2)
    with pytest.raises(ValueError, match="layer=2 came with a ndarray: only an EmbeddingStore"):
        moments_of(X, layer=2)


def test_a_damaged_shard_is_named_and_the_rest_is_used(tmp_path):
    make_store(tmp_path)
    path = tmp_path / "embeddings-00001.safetensors"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.warns(UserWarning, match=r"1 damaged of 3 shards: embeddings-00001\.safetensors"):
        moments = moments_of(tmp_path, SCALING)
    whole = np.r_[0:7, 8:60]
    assert_moments(moments, LanguageMoments.of(X[whole], LANGUAGE[whole], second="full"))


def test_a_shard_that_was_replaced_since_the_store_was_opened_is_named(tmp_path):
    store = make_store(tmp_path / "a")
    other = tmp_path / "b"
    with EmbeddingStore.create(other, n_features=4, dtype="float64") as longer:
        for _ in CUTS:
            longer.append(X, language=LANGUAGE)
    name = "embeddings-00001.safetensors"
    os.replace(other / name, tmp_path / "a" / name)
    with pytest.raises(ValueError, match=f"{name} holds 60 rows, but the index promises 1"):
        moments_of(store, SCALING)


class Cluster(ThreadingBackend):
    """A backend that means all of its workers where no number is given, as dask's does."""

    default_n_jobs = -1


@pytest.mark.parametrize(
    ("context", "n_jobs", "shared"),
    [
        ({}, None, False),
        ({}, 1, False),
        ({}, 2, True),
        ({"n_jobs": 2}, None, True),
        ({"n_jobs": 1}, None, False),
        ({"backend": "threading"}, None, False),
        ({"backend": Cluster}, None, True),
        ({"backend": "threading", "n_jobs": 2}, 1, False),
    ],
)
def test_workers_are_used_where_somebody_asked_for_them(context, n_jobs, shared, monkeypatch):
    calls = []

    def reduce_shards(shards, estimator, *, n_jobs, seen):
        calls.append(n_jobs)
        return tree_sum([accumulate(shard.batches(), estimator) for shard in shards])

    monkeypatch.setattr("posthoc_align.scale._tasks.reduce_shards", reduce_shards)
    context = {name: Cluster() if value is Cluster else value for name, value in context.items()}
    with joblib.parallel_config(**context):
        assert_moments(moments_of(list(batches()), SCALING, n_jobs=n_jobs))
    assert calls == ([n_jobs] if shared else [])


def test_workers_cannot_share_an_iterator():
    with pytest.raises(ValueError, match="n_jobs=2, but a generator can be read in one place only"):
        moments_of((rows for rows in [X]), n_jobs=2)
    assert_moments(moments_of(batches(), SCALING, n_jobs=1))


# How it is done


def test_a_thousand_small_batches_are_summed_in_one_piece(monkeypatch):
    calls = []
    of = LanguageMoments.of

    def counted(rows, *labels, **settings):
        calls.append(len(rows))
        return of(rows, *labels, **settings)

    monkeypatch.setattr(LanguageMoments, "of", counted)
    moments_of((X[:5] for _ in range(1000)), SCALING)
    assert calls == [5000]
    calls.clear()
    moments_of((X for _ in range(1000)), SCALING)
    assert sum(calls) == 60_000
    assert len(calls) <= 60_000 / (BATCH_ROWS - 60) + 1


def test_the_estimator_stays_as_it_is():
    model = LSAR(rank=1)
    moments_of(batches(), model)
    assert vars(model) == vars(LSAR(rank=1))


def test_rows_of_a_disk_are_read_by_the_background_thread(tmp_path, monkeypatch):
    mapped = np.memmap(tmp_path / "x", "float64", "w+", shape=X.shape)
    mapped[:] = X
    readers = set()

    def read(rows):
        assert isinstance(rows, np.memmap)
        readers.add(threading.current_thread().name)
        return np.array(rows)

    monkeypatch.setattr("posthoc_align.scale._shards._read", read)
    moments_of(mapped)
    moments_of(make_store(tmp_path / "store"))
    assert readers == {"posthoc_align.read_ahead"}


def test_shards_of_a_memory_map_travel_as_a_path(tmp_path):
    n_rows = 3 * SHARD_ROWS
    mapped = np.memmap(tmp_path / "x", "float32", "w+", shape=(n_rows, 2))
    mapped[:, 0] = np.arange(n_rows)
    mapped.flush()
    shards = shards_of(mapped[5:])
    sent = [pickle.dumps(shard) for shard in shards]
    assert len(shards) == 3
    assert max(map(len, sent)) < 2000
    opened = [batch for blob in sent for batch in pickle.loads(blob).batches()]
    np.testing.assert_array_equal(np.concatenate([b.X for b in opened])[:, 0], np.arange(5, n_rows))
    assert max(len(batch.X) for batch in opened) == BATCH_ROWS


def test_what_only_memory_knows_does_not_travel_as_a_path(tmp_path):
    np.save(tmp_path / "a.npy", X)
    private = np.load(tmp_path / "a.npy", mmap_mode="c")
    private[:] = 0.0
    (shard,) = shards_of(private)
    (batch,) = pickle.loads(pickle.dumps(shard)).batches()
    assert not batch.X.any()


def test_shards_of_a_store_travel_as_a_path_and_a_name(tmp_path):
    make_store(tmp_path)
    shards = pickle.loads(pickle.dumps(shards_of(tmp_path)))
    assert [shard.n_rows for shard in shards] == [7, 1, 52]
    (batch,) = shards[1].batches()
    np.testing.assert_array_equal(batch.X, X[7:8])
    assert batch.language.tolist() == LANGUAGE[7:8].tolist()


def test_shards_of_a_store_are_opened_from_any_directory(tmp_path, monkeypatch):
    make_store(tmp_path / "store")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    sent = [pickle.dumps(shards_of(source)) for source in ("store", ["store"], [("store", None)])]
    monkeypatch.chdir(tmp_path / "elsewhere")
    for blob in sent:
        found = [batch.X for shard in pickle.loads(blob) for batch in shard.batches()]
        np.testing.assert_array_equal(np.concatenate(found), X)


def test_small_batches_of_a_list_share_a_shard():
    assert len(shards_of([X] * 1000)) == 1
    assert len(shards_of([np.zeros((SHARD_ROWS // 2 + 1, 1))] * 4)) == 4


def test_a_stream_has_no_shards():
    assert shards_of(iter([X])) is None


def test_progress_counts_rows(capsys, tmp_path):
    moments_of(make_store(tmp_path), progress=True)
    assert "60.0/60.0" in capsys.readouterr().err
    moments_of(batches(), progress=True)
    err = capsys.readouterr().err
    assert "60.0row" in err
    assert "row/s" in err
    moments_of(batches())
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_memory_is_flat_in_the_number_of_rows(tmp_path):
    """Rows of a sparse file: twice as many take no more memory, which their sums would show."""

    def peak(n_rows: int) -> int:
        path = tmp_path / str(n_rows)
        with path.open("wb") as file:
            file.truncate(2 * n_rows * 64)
        mapped = np.memmap(path, "float16", "r", shape=(n_rows, 64))
        tracemalloc.start()
        moments_of(mapped, LEACE(), language="en")
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(BATCH_ROWS)  # what is imported on the way is counted once
    few, many = peak(40 * BATCH_ROWS), peak(80 * BATCH_ROWS)
    batch = BATCH_ROWS * 64 * 4
    assert many < few + batch / 2
    assert few < 12 * batch
