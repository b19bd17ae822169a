"""From store to store: what is in the target, how a run is gone on with, what is refused."""

import hashlib
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from posthoc_align import (
    LSAR,
    EmbeddingStore,
    LanguageCentering,
    LayerMixing,
    Layerwise,
    PivotAligner,
    Procrustes,
    load,
    save,
    transform_store,
)
from posthoc_align.align._apply import apply_aligner, fit_aligner
from posthoc_align.embedding_store._index import read_index, write_index
from posthoc_align.embedding_store._shard import write_shard
from posthoc_align.scale._fingerprint import fingerprint

RNG = np.random.default_rng(0)
LANGUAGE = np.array(["en"] * 12 + ["de"] * 12)
PAIR_ID = np.tile(np.arange(12), 2)
X = RNG.normal(size=(24, 4)) + (LANGUAGE == "de")[:, None]
CUTS = (5, 14)  # shards of 5, 9 and 10 rows; German begins inside the second


def as_type(rows: np.ndarray, dtype: str) -> object:
    return torch.from_numpy(rows).bfloat16() if dtype == "bfloat16" else rows.astype(dtype)


def fill(store: EmbeddingStore, cuts=CUTS, start: int = 0, stop: int = 24) -> EmbeddingStore:
    """Append X, in every layer with another sign or scale, from a row to a row."""
    for at in np.split(np.arange(24), cuts):
        rows = at[(at >= start) & (at < stop)]
        if len(rows):
            part = as_type(X[rows], store.dtype)
            if store.layers:
                part = {layer: part * (layer + 1) for layer in store.layers}
            store.append(part, language=LANGUAGE[rows], pair_id=PAIR_ID[rows])
    store.close()
    return store


def made(path: Path, dtype: str = "float32", layers=None, **options) -> EmbeddingStore:
    return fill(
        EmbeddingStore.create(path, n_features=4, dtype=dtype, layers=layers, about={"by": "me"}),
        **options,
    )


def files(path: Path) -> dict[str, str]:
    """Digest of every file of a store but the lock."""
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in path.iterdir()
        if file.name != ".writer.lock"
    }


@pytest.fixture
def source(tmp_path):
    return made(tmp_path / "source")


@pytest.fixture
def centering():
    return LanguageCentering().fit(X.astype(np.float32), language=LANGUAGE)


# What is in the target


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("batch_rows", [3, 1000])
def test_the_target_is_the_source_transformed(tmp_path, dtype, batch_rows):
    source = made(tmp_path / "source", dtype)
    whole = source.to_array()
    aligner = LanguageCentering().fit(whole, language=LANGUAGE)
    target = transform_store(aligner, source, tmp_path / "target", batch_rows=batch_rows)
    expected = aligner.transform(whole, language=LANGUAGE)
    found = EmbeddingStore(tmp_path / "target").to_array()
    assert found.dtype == expected.dtype == whole.dtype
    assert bool((found == expected).all())
    assert not bool((found == whole).all())
    assert target.language.tolist() == LANGUAGE.tolist()
    assert target.pair_id.tolist() == PAIR_ID.tolist()
    assert target.shard_rows == ((3, 2, 3, 3, 3, 3, 3, 3, 1) if batch_rows == 3 else (5, 9, 10))
    assert target.verify() == {}


def test_the_source_may_be_one_shard_of_unlabelled_rows(tmp_path):
    store = EmbeddingStore.create(tmp_path / "source", n_features=4, dtype="float64")
    store.append(X)
    store.close()
    aligner = LanguageCentering().fit(X)
    target = transform_store(aligner, tmp_path / "source", tmp_path / "target", batch_rows=7)
    np.testing.assert_array_equal(target.to_array(), aligner.transform(X))
    assert target.language is None
    assert target.pair_id is None


def test_a_pipeline_gets_the_language_and_may_change_the_width(tmp_path, source):
    aligner = fit_aligner(
        make_pipeline(LanguageCentering(), PCA(2)), source.to_array(), language=LANGUAGE
    )
    target = transform_store(aligner, source, tmp_path / "target", batch_rows=6)
    expected = apply_aligner(aligner, source.to_array(), LANGUAGE)
    assert target.n_features == 2
    np.testing.assert_allclose(target.to_array(), expected, rtol=1e-5, atol=1e-6)


def test_one_layer_of_several_is_transformed(tmp_path, centering):
    source = made(tmp_path / "source", layers=[0, 6])
    target = transform_store(centering, source, tmp_path / "target", layer=6)
    assert target.layers == (6,)
    expected = centering.transform(source.to_array(layer=6), language=LANGUAGE)
    np.testing.assert_array_equal(target.to_array(), expected)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_layers_side_by_side_stay_layers(tmp_path, dtype):
    source = made(tmp_path / "source", dtype, layers=[3, 1])
    aligner = Layerwise(LanguageCentering(), n_layers=2)
    aligner.fit(source.to_array(), language=LANGUAGE)
    target = transform_store(aligner, source, tmp_path / "target", batch_rows=4)
    assert target.layers == (3, 1)
    expected = aligner.transform(source.to_array(), language=LANGUAGE)
    assert bool((target.to_array() == expected).all())
    alone = LanguageCentering().fit(source.to_array(layer=1), language=LANGUAGE)
    second = alone.transform(source.to_array(layer=1), language=LANGUAGE)
    assert bool((target.to_array(layer=1) == second).all())


def test_layers_that_are_mixed_become_one(tmp_path):
    source = made(tmp_path / "source", layers=[1, 3])
    aligner = LayerMixing(n_layers=2).fit(source.to_array(), language=LANGUAGE, pair_id=PAIR_ID)
    target = transform_store(aligner, source, tmp_path / "target")
    assert (target.layers, target.n_features) == (None, 4)
    np.testing.assert_array_equal(target.to_array(), aligner.transform(source.to_array()))


def test_an_empty_shard_of_the_source_is_passed_over(tmp_path):
    language = (LANGUAGE == "de").astype(int)
    with EmbeddingStore.create(tmp_path / "source", n_features=4, dtype="float64") as source:
        source.append(X[:5], language=language[:5])
        source.append(X[5:], language=language[5:])
    empty = write_shard(
        source.path, 2, {"embeddings": np.empty((0, 4))}, {"language": np.empty(0, dtype=int)}
    )
    index = read_index(source.path)
    write_index(source.path, replace(index, shards=(index.shards[0], empty, index.shards[1])))
    aligner = LanguageCentering().fit(X, language=language)
    target = transform_store(aligner, source.path, tmp_path / "target")
    np.testing.assert_array_equal(target.to_array(), aligner.transform(X, language=language))
    assert target.shard_rows == (5, 19)


def test_memory_is_that_of_a_batch_and_not_of_the_rows(tmp_path):
    rows = RNG.normal(size=(60_000, 32)).astype(np.float32)
    with EmbeddingStore.create(tmp_path / "source", n_features=32) as source:
        source.append(rows)
    aligner = LanguageCentering().fit(rows[:100])
    tracemalloc.start()  # counts what is allocated, not what is mapped
    try:
        transform_store(aligner, source, tmp_path / "s", batch_rows=1000)
        assert tracemalloc.get_traced_memory()[1] < rows.nbytes / 4
    finally:
        tracemalloc.stop()


def test_the_bar_counts_rows_and_is_off_unless_asked_for(tmp_path, source, centering, capsys):
    transform_store(centering, source, tmp_path / "quiet")
    assert capsys.readouterr().err == ""
    transform_store(centering, source, tmp_path / "told", progress=True)
    assert "24.0/24.0" in capsys.readouterr().err


# Going on


def stop_after(monkeypatch, n_shards: int) -> None:
    """Have the run stop once this many shards have been written."""
    append = EmbeddingStore.append

    def stopping(self, *rows, **labels):
        if len(self.shard_rows) == n_shards:
            raise KeyboardInterrupt
        append(self, *rows, **labels)

    monkeypatch.setattr(EmbeddingStore, "append", stopping)


def count_rows(monkeypatch) -> list[int]:
    """Rows of every call of transform from now on."""
    transform, seen = LanguageCentering.transform, []

    def counting(self, rows, *, language=None):
        seen.append(len(rows))
        return transform(self, rows, language=language)

    monkeypatch.setattr(LanguageCentering, "transform", counting)
    return seen


def test_a_stopped_run_goes_on_and_ends_in_the_same_bytes(tmp_path, source, centering, monkeypatch):
    transform_store(centering, source, tmp_path / "whole", batch_rows=4)
    with monkeypatch.context() as patched:
        stop_after(patched, 3)
        with pytest.raises(KeyboardInterrupt):
            transform_store(centering, source, tmp_path / "s", batch_rows=4)
    assert EmbeddingStore(tmp_path / "s").shard_rows == (4, 1, 4)
    seen = count_rows(monkeypatch)
    transform_store(centering, source, tmp_path / "s", batch_rows=4)
    assert seen == [1, 4, 1, 4, 4, 2], "a row to know the width by, then what was left to do"
    assert files(tmp_path / "s") == files(tmp_path / "whole")


def test_a_finished_target_is_returned_at_once(tmp_path, source, centering, monkeypatch):
    transform_store(centering, source, tmp_path / "s")
    before = files(tmp_path / "s")
    seen = count_rows(monkeypatch)
    assert len(transform_store(centering, source, tmp_path / "s")) == 24
    assert seen == [1]
    assert files(tmp_path / "s") == before


def test_a_source_that_has_grown_is_caught_up_with(tmp_path, centering):
    source = made(tmp_path / "source", stop=14)
    first = transform_store(centering, source, tmp_path / "s", batch_rows=4)
    assert len(first) == 14
    fill(EmbeddingStore(source.path), start=14)
    transform_store(centering, source.path, tmp_path / "s", batch_rows=4)
    transform_store(centering, source.path, tmp_path / "whole", batch_rows=4)
    assert len(EmbeddingStore(tmp_path / "s")) == 24
    assert files(tmp_path / "s") == files(tmp_path / "whole")


def test_a_chain_of_stores_grows_link_by_link(tmp_path, centering):
    source = made(tmp_path / "source", stop=14)
    once, twice = tmp_path / "once", tmp_path / "twice"
    for _ in range(2):
        transform_store(centering, source.path, once)
        transform_store(centering, once, twice)
        fill(EmbeddingStore(source.path), start=14)
    assert EmbeddingStore(twice).shard_rows == (5, 9, 10)


@pytest.mark.parametrize("solved", [True, False])
def test_a_saved_aligner_goes_on_for_the_one_it_was_saved_from(tmp_path, source, solved):
    aligner = LanguageCentering().partial_fit(X.astype(np.float32), language=LANGUAGE)
    if solved:
        _ = aligner.means_
    save(aligner, tmp_path / "aligner.safetensors")
    transform_store(aligner, source, tmp_path / "s")
    transform_store(load(tmp_path / "aligner.safetensors"), source, tmp_path / "s")


def test_the_target_notes_what_it_is_made_of(tmp_path, source, centering):
    about = transform_store(centering, source, tmp_path / "s").about["transform_store"]
    assert about["source_about"] == {"by": "me"}
    assert about["source_digest"] == source.digest()
    assert about["aligner"].startswith("LanguageCentering ")


# The digest of an aligner

FITTED = {
    "centering": lambda: LanguageCentering().fit(X, language=LANGUAGE),
    "lsar": lambda: LSAR().fit(X, language=LANGUAGE),
    "pivot": lambda: PivotAligner(pivot="en").fit(X, language=LANGUAGE, pair_id=PAIR_ID),
    "pipeline": lambda: fit_aligner(
        make_pipeline(LanguageCentering(), PCA(2)), X, language=LANGUAGE
    ),
}


@pytest.mark.parametrize("name", FITTED)
def test_a_digest_outlives_use_and_a_file(tmp_path, name):
    aligner = FITTED[name]()
    before = fingerprint(aligner)
    apply_aligner(aligner, X, LANGUAGE)
    assert fingerprint(aligner) == before == fingerprint(FITTED[name]())
    save(aligner, tmp_path / "a.safetensors")
    assert fingerprint(load(tmp_path / "a.safetensors")) == before


def test_a_digest_does_not_tell_whether_somebody_looked(tmp_path):
    """At what Procrustes computes on demand, where it found its rotation on a device."""
    aligner = Procrustes().fit(X, X[:, ::-1])
    whole = fingerprint(aligner)
    del vars(aligner)["singular_values_"]
    assert fingerprint(aligner) == whole
    save(aligner, tmp_path / "a.safetensors")
    _ = aligner.singular_values_
    assert "singular_values_" in vars(aligner)
    assert fingerprint(aligner) == whole
    assert fingerprint(load(tmp_path / "a.safetensors")) == whole
    inside = fingerprint(make_pipeline(aligner))
    del vars(aligner)["singular_values_"]
    assert fingerprint(make_pipeline(aligner)) == inside
    assert fingerprint(Procrustes().fit(X, -X[:, ::-1])) != whole


def test_digests_differ_by_parameters_rows_and_classes():
    fits = [
        LanguageCentering().fit(X, language=LANGUAGE),
        LanguageCentering(anchor="pooled").fit(X, language=LANGUAGE),
        LanguageCentering().fit(2 * X, language=LANGUAGE),
        LSAR().fit(X, language=LANGUAGE),
    ]
    assert len({fingerprint(aligner) for aligner in fits}) == len(fits)


def test_estimators_that_no_file_holds_have_a_digest():
    from sklearn.preprocessing import FunctionTransformer

    a, b = FunctionTransformer(np.abs), FunctionTransformer(np.sqrt)
    assert fingerprint(a) == fingerprint(FunctionTransformer(np.abs)) != fingerprint(b)


# Damage and full disks


def test_rows_of_a_torn_shard_are_left_out_and_their_return_is_noticed(tmp_path, source, centering):
    torn = source.path / "embeddings-00001.safetensors"
    data = torn.read_bytes()
    torn.write_bytes(data[:-1])
    with pytest.warns(UserWarning, match=r"1 damaged of 3 shards: embeddings-00001"):
        target = transform_store(centering, source.path, tmp_path / "s")
    kept = [*range(5), *range(14, 24)]
    expected = centering.transform(X[kept].astype(np.float32), language=LANGUAGE[kept])
    np.testing.assert_array_equal(target.to_array(), expected)
    torn.write_bytes(data)
    with pytest.raises(ValueError, match=r"made of 2 shards that .*source does not begin with"):
        transform_store(centering, source.path, tmp_path / "s")


def test_a_damaged_target_is_not_gone_on_with(tmp_path, source, centering):
    transform_store(centering, source, tmp_path / "s")
    (tmp_path / "s" / "embeddings-00001.safetensors").unlink()
    with (
        pytest.warns(UserWarning, match="damaged"),
        pytest.raises(
            ValueError, match=r"embeddings-00001.*damaged. Delete the folder and run"
        ) as refused,
    ):
        transform_store(centering, source, tmp_path / "s")
    with pytest.warns(UserWarning, match="damaged"):
        store = EmbeddingStore(tmp_path / "s")
    with pytest.warns(UserWarning, match="damaged"):
        store.acquire()  # the refused run gave the right to write back
    store.close()
    del refused  # it held the other store until here, so that no collection gave it back


RUN = """
import sys, numpy as np
from pathlib import Path
from posthoc_align import EmbeddingStore, LanguageCentering
from posthoc_align import transform_store
folder, place, how = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
X = np.arange(3500 * 64, dtype=np.float32).reshape(3500, 64)
with EmbeddingStore.create(folder / "source", n_features=64) as source:
    for rows in np.split(X, [500, 1000, 3000]):  # the third, of 512 kB, is too much
        source.append(rows, language="en")
aligner = LanguageCentering().fit(X, language="en")
transform_store(aligner, source, folder / "whole")
if how == "limit":
    import resource
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))
else:
    (place / "other").write_bytes(bytes(400_000))
try:
    transform_store(aligner, source, place / "s")
except OSError as error:
    print(error)
if how == "limit":
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
else:
    (place / "other").unlink()
print(len(EmbeddingStore(place / "s")), len(transform_store(aligner, source, place / "s")))
"""


def check_full(folder: Path, place: Path, how: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", RUN, str(folder), str(place), how],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "has 1000 of 3500 rows and the next could not be written" in run.stdout
    assert "Make room and run again: it goes on from there" in run.stdout
    assert run.stdout.splitlines()[-1] == "1000 3500"
    assert files(place / "s") == files(folder / "whole")


@pytest.mark.slow
def test_after_a_file_that_may_not_grow_the_run_goes_on(tmp_path):
    pytest.importorskip("resource")
    (tmp_path / "place").mkdir()
    check_full(tmp_path, tmp_path / "place", "limit")


@pytest.mark.slow
def test_after_a_full_disk_the_run_goes_on(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a small disk cannot be mounted here: that needs root")
    try:
        check_full(tmp_path, disk, "disk")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


# What is refused


def test_another_aligner_is_not_mixed_in(tmp_path, source, centering):
    transform_store(centering, source, tmp_path / "s")
    other = LanguageCentering().fit(2 * X, language=LANGUAGE)
    said = r"another run: aligner was 'LanguageCentering .*' and is 'LanguageCentering .*another f"
    with pytest.raises(ValueError, match=said):
        transform_store(other, source, tmp_path / "s")


def test_another_batch_size_is_not_mixed_in(tmp_path, source, centering):
    transform_store(centering, source, tmp_path / "s")
    with pytest.raises(
        ValueError, match="batch_rows was 32768 and is 4. Choose another folder, or"
    ):
        transform_store(centering, source, tmp_path / "s", batch_rows=4)


def test_another_layer_is_not_mixed_in(tmp_path, centering):
    source = made(tmp_path / "source", layers=[0, 6])
    transform_store(centering, source, tmp_path / "s", layer=6)
    with pytest.raises(ValueError, match="layer was 6 and is 0"):
        transform_store(centering, source, tmp_path / "s", layer=0)


def test_another_source_is_not_mixed_in(tmp_path, source, centering):
    transform_store(centering, source, tmp_path / "s")
    other = made(tmp_path / "other", cuts=(4, 14))
    with pytest.raises(ValueError, match="made of 3 shards that .*other does not begin with"):
        transform_store(centering, other, tmp_path / "s")


def test_a_store_of_something_else_is_not_written_into(tmp_path, source, centering):
    made(tmp_path / "s")
    with pytest.raises(ValueError, match="transform_store did not write. Choose another folder"):
        transform_store(centering, source, tmp_path / "s")
    assert len(EmbeddingStore(tmp_path / "s")) == 24


def test_rows_that_others_appended_are_noticed(tmp_path, centering):
    source = made(tmp_path / "source", stop=14)
    fill(transform_store(centering, source, tmp_path / "s"), cuts=(16,), start=14)
    fill(EmbeddingStore(source.path), start=14)
    with pytest.raises(ValueError, match="Rows were appended to .* by others"):
        transform_store(centering, source.path, tmp_path / "s")


def test_the_source_is_not_its_own_target(tmp_path, source, centering):
    with pytest.raises(ValueError, match="target is the source.*Choose another"):
        transform_store(centering, source, source.path / ".." / "source")


def test_there_is_one_run_at_a_time(tmp_path, source, centering):
    target = transform_store(centering, source, tmp_path / "s")
    target.acquire()
    with pytest.raises(BlockingIOError, match=r"being written by another writer \(process"):
        transform_store(centering, source, tmp_path / "s")
    target.close()


def test_layers_ask_for_a_choice(tmp_path, centering):
    source = made(tmp_path / "source", layers=[0, 6])
    said = (
        r"has the layers \[0, 6\] of 4 columns, and the aligner was fitted on 4: choose one with l"
    )
    with pytest.raises(ValueError, match=said):
        transform_store(centering, source, tmp_path / "s")
    with pytest.raises(ValueError, match=r"layer=3 is not in the store .*source: it has \(0, 6\)"):
        transform_store(centering, source, tmp_path / "s", layer=3)
    assert not (tmp_path / "s").exists()


def test_a_source_of_another_width_is_refused(tmp_path, source):
    aligner = LanguageCentering().fit(X[:, :3], language=LANGUAGE)
    with pytest.raises(ValueError, match="X has 4 features, but LanguageCentering is expecting 3"):
        transform_store(aligner, source, tmp_path / "s")


def test_a_source_without_rows_is_refused(tmp_path, centering):
    EmbeddingStore.create(tmp_path / "source", n_features=4).close()
    with pytest.raises(ValueError, match="has no rows to transform: append some"):
        transform_store(centering, tmp_path / "source", tmp_path / "s")


def test_a_source_that_is_not_there_is_refused(tmp_path, centering):
    with pytest.raises(FileNotFoundError, match="There is no folder .*nowhere"):
        transform_store(centering, tmp_path / "nowhere", tmp_path / "s")


def test_a_row_that_cannot_be_transformed_is_named_by_its_number(tmp_path, centering):
    source = made(tmp_path / "source", stop=14)
    bad = X[14:].astype(np.float32)
    bad[3, 1] = np.nan
    source.append(bad, language=LANGUAGE[14:], pair_id=PAIR_ID[14:])
    source.close()
    with pytest.raises(ValueError, match="contains NaN, first in row 17. Remove or repair"):
        transform_store(centering, source, tmp_path / "s", batch_rows=2)
    assert len(EmbeddingStore(tmp_path / "s")) == 16


def test_labels_that_the_aligner_needs_must_be_there(tmp_path, centering):
    with EmbeddingStore.create(tmp_path / "source", n_features=4) as source:
        source.append(X.astype(np.float32))
    with pytest.raises(ValueError, match="fitted on 2 languages .* got no language"):
        transform_store(centering, source, tmp_path / "s")


def test_an_answer_that_depends_on_the_rows_beside_is_refused(tmp_path, source):
    aligner = fit_aligner(
        make_pipeline(LanguageCentering(unseen="transductive")), X, language=LANGUAGE
    )
    said = r"languagecentering__unseen='transductive' learns .* batch_rows. Give .* add_language"
    with pytest.raises(ValueError, match=said):
        transform_store(aligner, source, tmp_path / "s")


def test_what_is_no_fitted_aligner_is_refused(tmp_path, source):
    with pytest.raises(TypeError, match="is a class and no aligner yet"):
        transform_store(LanguageCentering, source, tmp_path / "s")
    with pytest.raises(NotFittedError, match="not fitted yet"):
        transform_store(LanguageCentering(), source, tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_a_batch_has_rows(tmp_path, source, centering):
    with pytest.raises(ValueError, match="batch_rows=0.* an integer >= 1"):
        transform_store(centering, source, tmp_path / "s", batch_rows=0)
