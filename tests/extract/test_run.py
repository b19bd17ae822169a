"""From texts to a store: what is in it, and that a killed run ends in the same bytes."""

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from posthoc_align import extract_command as command
from posthoc_align.embedding_store import EmbeddingStore
from posthoc_align.extract import Encoder, write_store

pytestmark = pytest.mark.extract


def files(path: Path) -> dict[str, str]:
    """Digest of every file of a store but the lock."""
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in path.iterdir()
        if file.name != ".writer.lock"
    }


@pytest.fixture(scope="module")
def corpus(sentences):
    """Forty texts of different lengths in two languages."""
    texts = [f"{sentences[i % 7]} {'rain ' * (i % 5)}" for i in range(20)]
    return {
        "texts": texts + texts[::-1],
        "language": ["en"] * 20 + ["de"] * 20,
        "pair_id": [*range(20), *range(20)],
    }


@pytest.fixture
def encoder(models):
    return Encoder(models("bert"), layers=[0, 3], batch_size=4, device="cpu")


def test_the_store_holds_what_the_encoder_gives(encoder, corpus, tmp_path):
    store = write_store(encoder, path=tmp_path / "s", shard_rows=16, **corpus)
    expected = encoder.encode(corpus["texts"])
    store = EmbeddingStore(store.path)
    assert [part.X.shape for part in store.shards(layer=0)] == [(16, 16), (16, 16), (8, 16)]
    for layer in (0, 3):  # in batches of other texts, hence not to the last bit
        np.testing.assert_allclose(store.to_array(layer=layer), expected[layer], atol=1e-6)
    assert store.language.tolist() == corpus["language"]
    assert store.pair_id.tolist() == corpus["pair_id"]
    assert store.about["encoder"]["pooling"] == "mean"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_reaches_the_disk(models, corpus, tmp_path, dtype):
    encoder = Encoder(models("bert"), dtype=dtype, device="cpu")
    store = write_store(encoder, corpus["texts"], tmp_path / "s")
    expected = encoder.encode(corpus["texts"])[3]
    assert dtype in str(expected.dtype)
    assert store.to_array().dtype == expected.dtype
    assert bool((store.to_array() == expected).all())


def test_a_stopped_run_goes_on_and_ends_in_the_same_bytes(encoder, corpus, tmp_path, monkeypatch):
    write_store(encoder, path=tmp_path / "whole", shard_rows=16, **corpus)
    plain, calls = encoder.encode, []

    def stopped(texts, **options):
        calls.append(len(texts))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return plain(texts, **options)

    monkeypatch.setattr(encoder, "encode", stopped)
    with pytest.raises(KeyboardInterrupt):
        write_store(encoder, path=tmp_path / "s", shard_rows=16, **corpus)
    assert len(EmbeddingStore(tmp_path / "s")) == 16
    write_store(encoder, path=tmp_path / "s", shard_rows=16, **corpus)
    assert calls == [16, 16, 16, 8], "rows were computed twice or not at all"
    assert files(tmp_path / "s") == files(tmp_path / "whole")
    write_store(encoder, path=tmp_path / "s", shard_rows=16, **corpus)
    assert len(calls) == 4, "a finished run has nothing to do"


RUN = """
import sys
from posthoc_align.extract import Encoder, write_store
encoder = Encoder(sys.argv[1], layers="all", device="cpu")
texts = [f"the cat sat {i} times on the mat " + "rain " * (i % 17) for i in range(400)]
ids = list(range(400))
write_store(encoder, texts, sys.argv[2], language="en", pair_id=ids, shard_rows=20)
"""


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_in_the_same_bytes(models, tmp_path):
    def start(name):
        settings = os.environ | {"OMP_NUM_THREADS": "1"}
        given = [sys.executable, "-c", RUN, str(models("bert")), str(tmp_path / name)]
        return subprocess.Popen(given, env=settings, stderr=subprocess.DEVNULL)

    for pause in (0.0, 0.01):
        with start("s") as run:
            before = len(list((tmp_path / "s").glob("embeddings-*")))
            while run.poll() is None:  # let it finish some more shards
                if len(list((tmp_path / "s").glob("embeddings-*"))) >= before + 3:
                    time.sleep(pause)
                    break
                time.sleep(0.005)
            run.send_signal(signal.SIGKILL)
            assert run.wait() == -signal.SIGKILL, "it was done before the kill"
    assert 0 < len(EmbeddingStore(tmp_path / "s")) < 400
    for name in ("s", "whole"):
        with start(name) as run:
            assert run.wait() == 0
    assert files(tmp_path / "s") == files(tmp_path / "whole")
    assert len(EmbeddingStore(tmp_path / "s")) == 400


@pytest.mark.parametrize(
    ("options", "change", "message"),
    [
        ({"pooling": "cls"}, {}, "encoder.pooling was 'mean' and is 'cls'"),
        ({"layers": [3]}, {}, r"encoder.layers was \[0, 3\] and is \[3\]"),
        ({}, {"texts": 39}, "texts.rows was 40 and is 39; texts.sha256 was"),
        ({}, {"shard_rows": 20}, "texts.shard_rows was 16 and is 20"),
        ({}, {"language": "fr"}, "texts.sha256 was"),
    ],
)
def test_another_run_is_not_mixed_in(models, corpus, tmp_path, options, change, message):
    made = {"layers": [0, 3], "device": "cpu"}
    given = {"shard_rows": 16} | {k: v for k, v in corpus.items() if k != "pair_id"}
    write_store(Encoder(models("bert"), **made), path=tmp_path / "s", **given)
    if "texts" in change:
        change = {k: given[k][:39] for k in ("texts", "language")}
    with pytest.raises(ValueError, match=rf"embeddings of another run: {message}.*another folder"):
        write_store(
            Encoder(models("bert"), **made | options), path=tmp_path / "s", **given | change
        )


def test_other_weights_are_another_run(models, corpus, tmp_path):
    encoder = Encoder(models("bert"), device="cpu")
    write_store(encoder, corpus["texts"], tmp_path / "s")
    with torch.no_grad():
        encoder._backbone.model.embeddings.LayerNorm.weight += 1
    with pytest.raises(ValueError, match="encoder.weights was"):
        write_store(encoder, corpus["texts"], tmp_path / "s")


def test_a_damaged_store_is_not_gone_on_with(encoder, corpus, tmp_path):
    write_store(encoder, path=tmp_path / "s", shard_rows=16, **corpus)
    (tmp_path / "s" / "embeddings-00001.safetensors").unlink()
    with (
        pytest.warns(UserWarning, match="1 damaged of 3"),
        pytest.raises(ValueError, match="cannot be gone on with.*embeddings-00001.*run again"),
    ):
        write_store(encoder, path=tmp_path / "s", shard_rows=16, **corpus)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pair_id": [0] * 40}, "Duplicate .language, pair_id.: 1 ids occur more than once"),
        ({"language": None}, "Duplicate"),
        ({"language": ["en"]}, r"language has shape \(1,\) but texts has 40 rows"),
        ({"pair_id": [0]}, r"pair_id has shape \(1,\) but texts has 40 rows"),
        ({"texts": []}, "has shape"),
    ],
)
def test_labels_that_do_not_fit_are_refused_before_anything_is_written(
    encoder, corpus, tmp_path, change, message
):
    with pytest.raises(ValueError, match=message):
        write_store(encoder, path=tmp_path / "s", **corpus | change)
    assert not (tmp_path / "s").exists()


# The command


def call(*given: object) -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    command.run(parser.parse_args(list(map(str, given))))


def test_the_command_goes_from_files_to_a_store(models, sentences, tmp_path, capsys):
    for code in ("en", "de"):
        (tmp_path / f"{code}.txt").write_text("\n".join(sentences), encoding="utf-8")
    given = [models("bert"), tmp_path / "en.txt", tmp_path / "de.txt", "--output", tmp_path / "s"]
    given += ["--layers", "0", "-1", "--dtype", "float16", "--device", "cpu"]
    call(*given, "--json")
    said = capsys.readouterr()
    assert json.loads(said.out) | {"store": ""} == {
        "store": "", "rows": 14, "n_features": 16, "layers": [0, 3], "dtype": "float16",
    }  # fmt: skip
    assert "14 texts, layers [0, 3], mean pooling, on cpu" in said.err
    assert "14/14" in said.err
    store = EmbeddingStore(tmp_path / "s")
    assert store.language.tolist() == ["en"] * 7 + ["de"] * 7
    assert store.pair_id.tolist() == [*range(7)] * 2
    call(*given, "--quiet")
    said = capsys.readouterr()
    assert "14 rows" in said.out


def test_the_command_takes_languages(models, sentences, tmp_path, capsys):
    (tmp_path / "a.txt").write_text(sentences[0])
    (tmp_path / "b.txt").write_text(sentences[1])
    given = [models("bert"), tmp_path / "a.txt", tmp_path / "b.txt", "--quiet", "--device", "cpu"]
    call(*given, "--output", tmp_path / "s", "--language", "en", "sw", "--layers", "all")
    store = EmbeddingStore(tmp_path / "s")
    assert store.language.tolist() == ["en", "sw"]
    assert store.layers == (0, 1, 2, 3)
    with pytest.raises(ValueError, match="--layers six: expected numbers"):
        call(*given, "--output", tmp_path / "t", "--layers", "six")
