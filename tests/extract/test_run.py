"""From texts to a store: what is in it, and that a killed run ends in the same bytes."""

import hashlib
import multiprocessing
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from posthoc_align.embedding_store import EmbeddingStore
from posthoc_align.extract import Encoder, words_of, write_store, write_words
from posthoc_align.extract._run import digest_of

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
from posthoc_align.extract import Encoder, write_store, write_words
encoder = Encoder(model, layers="all", device="cpu")
texts = [f"the cat sat {i} times on the mat " + "rain " * (i % 17) for i in range(72)]
if level == "sentences":
    ids = list(range(len(texts)))
    write_store(encoder, texts, store, language="en", pair_id=ids, shard_rows=6)
else:
    write_words(encoder, texts, store, language="en", shard_rows=90)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "level"),
    [(kind, "sentences") for kind in ("bert", "xlm-r", "t5", "llama", "minilm")]
    + [("bert", "words")],
)
def test_a_killed_run_goes_on_and_ends_in_the_same_bytes(request, models, tmp_path, kind, level):
    folder = request.getfixturevalue("minilm") if kind == "minilm" else models(kind)

    processes = multiprocessing.get_context("forkserver")  # which imports once, for all of them
    processes.set_forkserver_preload(["transformers", "posthoc_align.extract"])

    def start(name):
        given = {"model": str(folder), "store": str(tmp_path / name), "level": level}
        run = processes.Process(target=exec, args=(RUN, given))
        run.start()
        return run

    def shards():
        return len(list((tmp_path / "s").glob("embeddings-*")))

    for pause in (0.0, 0.01):
        run, before = start("s"), shards()
        while run.is_alive():  # let it finish some more shards
            if shards() >= before + 3:
                time.sleep(pause)
                break
            time.sleep(0.002)
        run.kill()
        run.join()
        assert run.exitcode == -signal.SIGKILL, "it was done before the kill"
    written = len(EmbeddingStore(tmp_path / "s"))
    for name in ("s", "whole"):
        run = start(name)
        run.join()
        assert run.exitcode == 0
    assert files(tmp_path / "s") == files(tmp_path / "whole")
    assert 0 < written < len(EmbeddingStore(tmp_path / "s"))


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


@pytest.fixture(scope="module")
def sentence_model(models):
    """A model of sentence-transformers of one backbone, with a dense layer of that seed."""
    package = pytest.importorskip("sentence_transformers")
    modules = pytest.importorskip("sentence_transformers.sentence_transformer.modules")

    def make(seed, *, activation=None, unit=False):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            dense = modules.Dense(16, 16, activation_function=activation or torch.nn.Tanh())
        parts = [modules.Transformer(str(models("bert"))), modules.Pooling(16), dense]
        parts += [modules.Normalize()] * unit
        return package.SentenceTransformer(modules=parts, device="cpu")

    return make


@pytest.mark.parametrize(
    ("seed", "options"),
    [(2, {}), (1, {"activation": torch.nn.Sigmoid()}), (1, {"unit": True})],
    ids=["weights", "configuration", "modules"],
)
def test_other_modules_behind_the_pooling_are_another_run(
    sentence_model, corpus, tmp_path, seed, options
):
    def run(model):
        encoder = Encoder(model, layers=[4], device="cpu")
        return write_store(encoder, corpus["texts"], tmp_path / "s")

    store = run(sentence_model(1))
    assert len(run(sentence_model(1))) == len(store)
    with pytest.raises(ValueError, match="another run: encoder.output was '.*Choose another"):
        run(sentence_model(seed, **options))


def test_modules_that_are_not_used_do_not_matter(sentence_model):
    first, second = (
        Encoder(sentence_model(seed), layers=[1], device="cpu").settings() for seed in (1, 2)
    )
    assert first == second
    assert "output" not in first


@pytest.mark.parametrize("wrap", [lambda a: a, lambda a: (1, [a]), lambda a: _objects(a)])
def test_the_digest_reads_long_arrays_to_their_middle(wrap):
    plain, other = np.arange(2000), np.arange(2000)
    other[1000] = -1
    digests = {digest_of(["a"], {"links": [wrap(links)]}) for links in (plain, other)}
    assert len(digests) == 2
    with np.printoptions(threshold=4, edgeitems=1):
        assert digest_of(["a"], {"links": [wrap(plain)]}) in digests


def _objects(array):
    """An array of objects that holds the array and a word."""
    out = np.empty(2, dtype=object)
    out[:] = [array, "ü"]
    return out


def test_the_digest_tells_shapes_and_types_apart():
    links = [np.arange(6), np.arange(6).reshape(2, 3), np.arange(6, dtype=float), [*range(6)]]
    assert len({digest_of(["a"], {"links": [own]}) for own in links}) == len(links)


def test_labels_have_one_digest_however_they_are_held():
    texts, language = ["a", "b"], np.array(["de", "en"])
    digests = {
        digest_of(texts, {"language": held})
        for held in (language, language.astype("<U9"), language.astype(object), ["de", "en"])
    }
    assert len(digests) == 1


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


# Words


SENTENCES = {"en": ["the cat sat", "rain", "a dog"], "de": ["Katze saß die", "es regnet", "Hund"]}
LINKS = [np.array([[0, 2], [1, 0], [2, 1], [1, 2]]), np.array([[0, 0], [0, 1]]), np.zeros((0, 2))]


def both():
    return {
        "sentences": [text for texts in SENTENCES.values() for text in texts],
        "language": ["en"] * 3 + ["de"] * 3,
    }


@pytest.mark.parametrize("shard_rows", [1, 4, 5, 100])
def test_every_word_becomes_a_row(encoder, tmp_path, shard_rows):
    store = write_words(encoder, path=tmp_path / "s", shard_rows=shard_rows, **both())
    words = words_of(both()["sentences"])
    found = encoder.encode_words(both()["sentences"])
    assert len(store) == len(words.word) == 12
    assert store.language.tolist() == [both()["language"][i] for i in words.sentence]
    assert store.pair_id is None
    for layer in (0, 3):
        np.testing.assert_allclose(store.to_array(layer=layer), found.X[layer], atol=1e-6)
    sizes = [part.X.shape[0] for part in store.shards(layer=0)]
    assert all(size <= max(3, shard_rows) for size in sizes)
    assert len(sizes) == {1: 6, 4: 4, 5: 3, 100: 1}[shard_rows]


@pytest.mark.parametrize("shard_rows", [1, 4, 100])
def test_linked_words_become_a_pair_a_link(encoder, tmp_path, shard_rows):
    store = write_words(encoder, path=tmp_path / "s", shard_rows=shard_rows, links=LINKS, **both())
    ids = [0, 1, 2, 3, 4, 5]
    assert store.pair_id.tolist() == ids * 2
    assert store.language.tolist() == ["en"] * 6 + ["de"] * 6
    words = words_of(both()["sentences"])
    at = {(s, p): k for k, (s, p) in enumerate(zip(words.sentence, words.position, strict=True))}
    rows = [at[0, 0], at[0, 1], at[0, 2], at[0, 1], at[1, 0], at[1, 0]]  # en
    rows += [at[3, 2], at[3, 0], at[3, 1], at[3, 2], at[4, 0], at[4, 1]]  # de
    expected = encoder.encode_words(both()["sentences"]).X[3][rows]
    np.testing.assert_allclose(store.to_array(layer=3), expected, atol=1e-6)


def test_a_stopped_run_of_words_goes_on(encoder, tmp_path, monkeypatch, capsys):
    given = both() | {"links": LINKS, "shard_rows": 2}
    write_words(encoder, path=tmp_path / "whole", **given)
    plain, calls = encoder.encode_words, []

    def stopped(sentences, **options):
        calls.append(sentences)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return plain(sentences, **options)

    monkeypatch.setattr(encoder, "encode_words", stopped)
    with pytest.raises(KeyboardInterrupt):
        write_words(encoder, path=tmp_path / "s", **given)
    write_words(encoder, path=tmp_path / "s", **given, progress=True)
    assert "6/6" in capsys.readouterr().err, "the bar counts what was skipped"
    assert len(calls) == 5, "parts were computed twice or not at all"
    assert files(tmp_path / "s") == files(tmp_path / "whole")
    with pytest.raises(ValueError, match="another run: words.rows was 12 and is 8; words.sha256"):
        write_words(encoder, path=tmp_path / "s", **given | {"links": [LINKS[1], *LINKS[1:]]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"language": None}, "no named languages: they join the words of two. Pass language="),
        ({"language": ["en"] * 3 + ["de"] * 2 + ["fr"]}, "3 languages, 'en', 'de', 'fr'"),
        ({"language": ["en"] * 4 + ["de"] * 2}, "3 lines .* 4 sentences in 'en' and 2 in 'de'"),
        ({"links": LINKS[:2]}, "2 lines of links came for 3 sentences in 'en' and 3 in 'de'"),
        ({"links": [LINKS[0], np.array([[0, 2]]), LINKS[2]]}, "Link 0-2 in line 1 .* has 2. Words"),
        ({"links": [LINKS[2]] * 3}, "None of the 3 lines has a link"),
        ({"shard_rows": 0}, "shard_rows=0: a shard has at least one row"),
    ],
)
def test_wrong_links_are_refused_before_anything_is_written(encoder, tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        write_words(encoder, path=tmp_path / "s", **both() | {"links": LINKS} | change)
    assert not (tmp_path / "s").exists()
