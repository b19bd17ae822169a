"""Extraction equals the plain way of doing it, for every layer, pooling and kind of model."""

import gc
import os
import re
import subprocess
import sys
import warnings
import weakref

import numpy as np
import pytest
import torch

from posthoc_align.extract import Encoder
from posthoc_align.extract import _batches as batches_module
from posthoc_align.extract._layers import run_layers

pytestmark = pytest.mark.extract

KINDS = ["bert", "xlm-r", "t5", "llama"]


def plainly(folder, texts, pooling="mean", special_tokens=True):
    """One text at a time, no padding, all hidden states: what extraction must equal."""
    import transformers

    model = transformers.AutoModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = model.get_encoder() if model.config.is_encoder_decoder else model
    rows = []
    for text in texts:
        encoded = tokenizer(text, return_special_tokens_mask=True, return_tensors="pt")
        keep = torch.ones_like(encoded.pop("special_tokens_mask")[0], dtype=torch.bool)
        if not special_tokens:
            special = set(tokenizer(text, return_special_tokens_mask=True)["special_tokens_mask"])
            assert special == {0, 1}
            mask = tokenizer(text, return_special_tokens_mask=True)["special_tokens_mask"]
            keep = torch.tensor(mask) == 0
        encoded.pop("token_type_ids", None)
        with torch.no_grad():
            states = model(**encoded, output_hidden_states=True).hidden_states
        one = [state[0][keep] for state in states]
        how = {
            "mean": lambda h: h.mean(0),
            "cls": lambda h: h[0],
            "last": lambda h: h[-1],
            "max": lambda h: h.max(0).values,
        }[pooling]
        rows.append(torch.stack([how(h) for h in one]))
    return torch.stack(rows, dim=1).numpy()  # (n_layers + 1, n_texts, n_features)


@pytest.mark.parametrize("kind", KINDS)
def test_all_layers_equal_the_plain_way(models, sentences, kind):
    encoder = Encoder(models(kind), layers="all", batch_size=3, device="cpu")
    expected = plainly(models(kind), sentences)
    found = encoder.encode(sentences)
    assert encoder.layers_ == tuple(found) == (0, 1, 2, 3)
    assert (encoder.n_layers_, encoder.n_features_) == (3, 16)
    assert encoder._blocks is not None, "hooks were not used"
    for layer in found:
        assert found[layer].dtype == np.float32
        np.testing.assert_allclose(found[layer], expected[layer], atol=1e-6)
    assert np.abs(expected[3] - expected[3][::-1]).max() > 0.1, "order would not show"


@pytest.mark.parametrize("special_tokens", [True, False])
@pytest.mark.parametrize("pooling", ["mean", "cls", "last", "max"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_pooling_equals_the_plain_way(models, sentences, kind, pooling, special_tokens):
    encoder = Encoder(
        models(kind), pooling=pooling, special_tokens=special_tokens, batch_size=4, device="cpu"
    )
    expected = plainly(models(kind), sentences, pooling, special_tokens)
    np.testing.assert_allclose(encoder.encode(sentences)[3], expected[3], atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layers", [[0], [1], [2, 0], [-1], [-2, 0]])
def test_some_layers_are_those_of_all(models, sentences, kind, layers):
    everything = Encoder(models(kind), layers="all", device="cpu").encode(sentences)
    found = Encoder(models(kind), layers=layers, device="cpu").encode(sentences)
    assert set(found) == {layer % 4 for layer in layers}
    for layer, X in found.items():
        np.testing.assert_array_equal(X, everything[layer])


def test_blocks_above_the_last_wanted_layer_are_not_run(models, sentences):
    encoder = Encoder(models("bert"), layers=[1], device="cpu")
    before, runs = len(encoder._blocks[0]._forward_hooks), []
    hook = encoder._blocks[1].register_forward_hook(lambda *_: runs.append(1))
    encoder.encode(sentences)
    hook.remove()
    assert not runs
    assert len(encoder._blocks[0]._forward_hooks) == before, "hooks were left behind"


@pytest.mark.parametrize("kind", KINDS)
def test_states_of_a_layer_are_let_go_before_those_of_the_next_but_one(models, kind):
    encoder = Encoder(models(kind), device="cpu")
    inputs = {"input_ids": torch.tensor([[5, 6, 7]]), "attention_mask": torch.ones(1, 3).long()}
    alive = {}

    def take(layer, hidden):
        gc.collect()
        assert all(alive[older]() is None for older in alive if 0 < older < layer - 1)
        alive[layer] = weakref.ref(hidden)

    with torch.inference_mode():
        run_layers(encoder._backbone.model, encoder._blocks, 3, [0, 1, 2, 3], inputs, take)
    assert sorted(alive) == [0, 1, 2, 3]


def test_a_model_that_shares_its_blocks_runs_without_hooks(models, sentences):
    import transformers

    config = transformers.AlbertConfig(
        vocab_size=120, embedding_size=8, hidden_size=16, num_hidden_layers=3,
        num_attention_heads=2, intermediate_size=32, max_position_embeddings=64,
    )  # fmt: skip
    tokenizer = transformers.AutoTokenizer.from_pretrained(models("bert"))
    model = transformers.AlbertModel(config)
    encoder = Encoder(model, tokenizer=tokenizer, layers="all", device="cpu")
    assert encoder._blocks is None
    encoded = tokenizer(sentences[:1], return_tensors="pt")
    with torch.no_grad():
        states = model(**encoded, output_hidden_states=True).hidden_states
    for layer, X in encoder.encode(sentences[:1]).items():
        np.testing.assert_allclose(X, states[layer].mean(1).numpy(), atol=1e-6)


def test_a_loaded_model_is_taken_with_its_tokenizer(models, sentences):
    transformers = pytest.importorskip("transformers")
    model = transformers.AutoModel.from_pretrained(models("bert"))
    tokenizer = transformers.AutoTokenizer.from_pretrained(models("bert"))
    found = Encoder(model, tokenizer=tokenizer, device="cpu").encode(sentences)
    np.testing.assert_array_equal(
        found[3], Encoder(models("bert"), device="cpu").encode(sentences)[3]
    )
    with pytest.raises(ValueError, match="loaded BertModel came without its tokenizer"):
        Encoder(model, device="cpu")


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_embeddings_come_in_the_type_asked_for(models, sentences, dtype):
    exact = Encoder(models("bert"), device="cpu").encode(sentences)[3]
    found = Encoder(models("bert"), dtype=dtype, device="cpu").encode(sentences)[3]
    if dtype == "bfloat16":
        assert found.dtype == torch.bfloat16
        assert bool((found == torch.from_numpy(exact).bfloat16()).all())
    else:
        np.testing.assert_array_equal(found, exact.astype(dtype))


# They keep 8 and 11 bits; rounding of three blocks adds up to a few units in the last place.
@pytest.mark.parametrize(("dtype", "error"), [("bfloat16", 0.1), ("float16", 0.02)])
@pytest.mark.parametrize("kind", KINDS)
def test_a_model_may_compute_in_half_precision(models, sentences, kind, dtype, error):
    exact = Encoder(models(kind), device="cpu").encode(sentences)[3]
    found = Encoder(models(kind), compute_dtype=dtype, device="cpu").encode(sentences)[3]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, exact, atol=error * np.abs(exact).max())
    assert np.abs(found - exact).max() > 1e-5, "it computed in float32"


@pytest.mark.parametrize("kind", ["bert", "t5", "llama"])
def test_of_a_model_with_a_head_what_is_below_it_is_taken(models, sentences, kind):
    transformers = pytest.importorskip("transformers")
    makers = {
        "bert": transformers.AutoModelForMaskedLM,
        "t5": transformers.AutoModelForSeq2SeqLM,
        "llama": transformers.AutoModelForCausalLM,
    }
    config = transformers.AutoConfig.from_pretrained(models(kind))
    whole = makers[kind].from_config(config).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(models(kind))
    encoder = Encoder(whole, tokenizer=tokenizer, layers="all", device="cpu")
    assert encoder._blocks is not None, "it computes the head, too"
    assert "LM" not in type(encoder._backbone.model).__name__
    encoded = tokenizer(sentences[0], return_tensors="pt")
    encoded.pop("token_type_ids", None)
    with torch.no_grad():
        inner = whole.get_encoder() if kind == "t5" else whole.base_model
        states = inner(**encoded, output_hidden_states=True).hidden_states
    for layer, X in encoder.encode(sentences[:1]).items():
        np.testing.assert_allclose(X[0], states[layer][0].mean(0).numpy(), atol=1e-6)


# sentence-transformers


@pytest.fixture(scope="module")
def with_modules(models, tmp_path_factory):
    """(pooling mode, modules behind it, prompt) -> such a model, and the folder it is saved in."""
    package = pytest.importorskip("sentence_transformers")
    modules = pytest.importorskip("sentence_transformers.sentence_transformer.modules")

    def make(mode="cls", behind=("Dense", "Normalize"), prompt=None):
        with torch.random.fork_rng():
            torch.manual_seed(1)
            makers = {
                "Dense": lambda: modules.Dense(16, 16),
                "Narrow": lambda: modules.Dense(16, 5),
                "Normalize": modules.Normalize,
            }
            parts = [modules.Transformer(str(models("bert"))), modules.Pooling(16, mode)]
            model = package.SentenceTransformer(
                modules=[*parts, *(makers[name]() for name in behind)], device="cpu"
            )
        if prompt:
            model.prompts, model.default_prompt_name = {"query": prompt}, "query"
        folder = tmp_path_factory.mktemp("sentence")
        model.save(str(folder))
        return model, folder

    return make


@pytest.mark.parametrize("mode", ["cls", "mean", "max", "lasttoken"])
@pytest.mark.parametrize("behind", [["Normalize"], ["Dense"], ["Dense", "Normalize"], ["Narrow"]])
def test_the_layer_behind_the_last_is_what_the_model_itself_returns(
    with_modules, sentences, mode, behind
):
    model, folder = with_modules(mode, behind)
    expected = model.encode(sentences)
    for given in (model, folder):
        encoder = Encoder(given, layers=[4], device="cpu")
        assert encoder.n_features_ == expected.shape[1]
        np.testing.assert_allclose(encoder.encode(sentences)[4], expected, atol=1e-6)


def test_layers_of_one_width_come_together_and_the_rest_is_said(with_modules, sentences):
    model, folder = with_modules()
    encoder = Encoder(folder, layers=[0, 3, 4], batch_size=3, device="cpu")
    with pytest.warns(
        UserWarning, match="Layer 3 is what leaves .* Dense and Normalize .* layer 4"
    ):
        plain = Encoder(folder, layers="all", device="cpu")
    assert plain.layers_ == (0, 1, 2, 3)
    found = encoder.encode(sentences)
    for layer in (0, 3):
        np.testing.assert_allclose(found[layer], plain.encode(sentences)[layer], atol=1e-6)
    np.testing.assert_allclose(found[4], model.encode(sentences), atol=1e-6)
    assert np.abs(found[4] - found[3]).max() > 0.1
    with pytest.raises(ValueError, match="words have no such layer"):
        encoder.encode_words(sentences)


def test_what_the_model_does_besides_is_not_left_out_in_silence(with_modules, sentences):
    model, folder = with_modules("mean", ["Normalize"], "query: ")
    for given in (folder, model):
        with pytest.warns(UserWarning, match="own encode puts 'query: ' before each text"):
            encoder = Encoder(given, layers=[4], device="cpu")
    own = encoder.encode([f"query: {text}" for text in sentences])[4]
    np.testing.assert_allclose(own, model.encode(sentences), atol=1e-6)


@pytest.mark.parametrize(
    ("mode", "behind", "options", "message"),
    [
        ("weightedmean", [], {}, "The model pools by 'weightedmean', which is not among mean"),
        (("mean", "max"), [], {}, r"The model pools by 'mean\+max'"),
        (
            "cls",
            ["Dense"],
            {"layers": [4], "pooling": "mean"},
            "Layer 4 was made for 'cls' pooling",
        ),
        ("cls", ["Dense"], {"layers": [4], "special_tokens": False}, "special_tokens=False. Leave"),
        ("cls", ["Narrow"], {"layers": [3, 4]}, r"differ in width, \[5, 16\]"),
        ("cls", ["Dense"], {"layers": [5]}, "to 3, and 4, what its Dense make of that; negative"),
        ("cls", [], {"layers": [4]}, "Layer 4 does not exist"),
    ],
)
def test_what_does_not_fit_the_modules_is_refused(with_modules, mode, behind, options, message):
    model, folder = with_modules(mode, behind)
    for given in (folder, model):
        with pytest.raises(ValueError, match=message):
            Encoder(given, **options, device="cpu")
    if isinstance(mode, str) and mode == "weightedmean":
        assert Encoder(folder, pooling="mean", device="cpu").pooling_ == "mean"


def test_a_half_precision_model_of_the_users_stays_as_it_is(with_modules, sentences):
    model, _ = with_modules()
    model.half()
    before = model.encode(sentences)
    encoder = Encoder(model, layers=[4], device="cpu")
    found = encoder.encode(sentences)[4]
    assert {weight.dtype for weight in model.parameters()} == {torch.float16}
    np.testing.assert_array_equal(model.encode(sentences), before)
    exact = Encoder(model.float(), layers=[4], device="cpu").encode(sentences)[4]
    np.testing.assert_array_equal(found, exact)
    assert np.abs(before - exact).max() > 1e-5, "it was no half precision"


def test_a_model_in_training_goes_on_training(models, sentences):
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(models("bert"))
    model = transformers.AutoModel.from_pretrained(models("bert")).train()
    encoder = Encoder(model, tokenizer=tokenizer, device="cpu")
    assert all(part.training for part in model.modules())
    expected = Encoder(models("bert"), device="cpu").encode(sentences)[3]
    np.testing.assert_array_equal(encoder.encode(sentences)[3], expected)  # without dropout


def test_a_model_that_is_as_asked_for_is_not_copied(with_modules):
    model, _ = with_modules()
    encoder = Encoder(model, layers=[4], device="cpu")
    own = {weight.data_ptr() for weight in model.parameters()}
    taken = [encoder._backbone.model, *encoder._output.modules]
    assert {weight.data_ptr() for part in taken for weight in part.parameters()} <= own


def test_progress_counts_every_text_once(models, sentences):
    done = []
    Encoder(models("bert"), batch_size=3, device="cpu").encode(sentences, progress=done.append)
    assert sum(done) == len(sentences)
    assert max(done) == 3


# The real model


@pytest.mark.slow
def test_the_real_model_equals_the_plain_way(minilm, sentences):
    encoder = Encoder(minilm, layers="all", batch_size=3, device="cpu")
    found = encoder.encode(sentences)
    expected = plainly(minilm, sentences)
    assert encoder.pooling_ == "mean"
    assert encoder.max_length_ == 256  # what its sentence-transformers settings say
    for layer in range(7):
        np.testing.assert_allclose(found[layer], expected[layer], atol=1e-6)


@pytest.mark.slow
def test_sentence_transformers_gives_the_same_up_to_length(minilm, sentences):
    package = pytest.importorskip("sentence_transformers")
    model = package.SentenceTransformer(str(minilm), device="cpu")
    expected = model.encode(sentences)
    for given in (minilm, model):
        found = Encoder(given, device="cpu").encode(sentences)[6]
        unit = found / np.linalg.norm(found, axis=1, keepdims=True)
        np.testing.assert_allclose(unit, expected, atol=1e-6)


@pytest.mark.slow
def test_the_bundled_embeddings_come_out_of_the_bundled_sentences(minilm):
    from posthoc_align.datasets import load_parallel_topics

    corpus = load_parallel_topics()
    rows = np.arange(0, len(corpus.text), 24)  # 600 of all 12 languages
    found = Encoder(minilm, max_length=96, device="cpu")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".* texts were cut at 96")
        found = found.encode([corpus.text[i] for i in rows])[6]
    bundled = corpus.embeddings[rows].astype(np.float32)
    # float16 keeps 11 bits: half a unit in the last place is 2**-11 of the value
    np.testing.assert_allclose(found, bundled, rtol=2**-11, atol=1e-6)
    assert np.abs(found - np.roll(bundled, 1, axis=0)).max() > 0.1


# Memory


def out_of_memory_above(encoder, monkeypatch, tokens):
    """Let the model fail as torch does on batches of more than so many padded tokens."""
    forward, sizes = encoder._backbone.model.forward, []

    def limited(*args, input_ids, **kwargs):
        if input_ids.numel() > tokens:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        sizes.append(tuple(input_ids.shape))
        return forward(*args, input_ids=input_ids, **kwargs)

    monkeypatch.setattr(encoder._backbone.model, "forward", limited)
    return sizes


def test_a_batch_too_large_is_halved_and_said(models, sentences, monkeypatch):
    expected = Encoder(models("bert"), device="cpu").encode(sentences)[3]
    encoder = Encoder(models("bert"), device="cpu")
    sizes = out_of_memory_above(encoder, monkeypatch, 120)  # the longest text has some 40 tokens
    with pytest.warns(UserWarning, match="Out of memory on a batch of 7 texts of up to") as said:
        found = encoder.encode(sentences)[3]
    assert len(said) == 1
    rows, longest = sizes[0]
    assert f"going on with batches of {rows} such texts, or {rows * longest} tokens. Pass" in str(
        said[0].message
    )
    assert rows == 3
    assert sizes[1][0] > rows, "shorter texts have room for more"
    np.testing.assert_allclose(found, expected, atol=1e-6)
    encoder.encode(sentences)  # without a warning, which would be an error: it was learned
    assert sizes[: len(sizes) // 2] == sizes[len(sizes) // 2 :]


def test_a_text_too_large_is_an_error(models, sentences, monkeypatch):
    encoder = Encoder(models("bert"), batch_size=1, device="cpu")
    out_of_memory_above(encoder, monkeypatch, 0)
    longest = f"{sentences[4]} {sentences[0]}"  # longest texts go first
    with pytest.raises(MemoryError, match=r"single text of \d+ tokens \(row 7\).*max_length"):
        encoder.encode([*sentences, longest])


def test_other_errors_are_not_taken_for_lack_of_memory():
    def work(at):
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        batches_module.in_batches(np.array([3]), work, batches_module.Room(1))


# Words


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pooling", ["mean", "cls", "last", "max"])
def test_words_are_pooled_from_their_pieces(models, sentences, kind, pooling):
    transformers = pytest.importorskip("transformers")
    encoder = Encoder(models(kind), layers=[1, 3], pooling=pooling, batch_size=3, device="cpu")
    found = encoder.encode_words(sentences)
    assert found.word == [word for sentence in sentences for word in sentence.split()]
    for word, row, a, b in zip(found.word, found.sentence, found.start, found.end, strict=True):
        assert sentences[row][a:b] == word
    model = transformers.AutoModel.from_pretrained(models(kind)).eval()
    model = model.get_encoder() if kind == "t5" else model
    tokenizer = transformers.AutoTokenizer.from_pretrained(models(kind))
    several = 0
    for row, (sentence, position) in enumerate(zip(found.sentence, found.position, strict=True)):
        words = sentences[sentence].split()
        before = sum(len(word) + 1 for word in words[:position])
        encoded = tokenizer(sentences[sentence], return_tensors="pt", return_offsets_mapping=True)
        offsets = encoded.pop("offset_mapping")[0].tolist()
        encoded.pop("token_type_ids", None)
        mine = [
            t for t, (a, b) in enumerate(offsets)
            if a < before + len(words[position]) and b > before and b > a
        ]  # fmt: skip
        several += len(mine) > 1
        with torch.no_grad():
            states = model(**encoded, output_hidden_states=True).hidden_states
        for layer in (1, 3):
            h = states[layer][0][mine]
            expected = {
                "mean": h.mean(0), "cls": h[0], "last": h[-1], "max": h.max(0).values
            }[pooling]  # fmt: skip
            np.testing.assert_allclose(found.X[layer][row], expected.numpy(), atol=1e-6)
    assert several > 5


def test_words_may_come_split(models, sentences):
    encoder = Encoder(models("bert"), device="cpu")
    given = encoder.encode_words([sentence.split() for sentence in sentences])
    np.testing.assert_array_equal(given.X[3], encoder.encode_words(sentences).X[3])
    one = encoder.encode_words([["The", "cat's paw", "."]])
    assert one.word == ["The", "cat's paw", "."]
    assert one.position.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([["a", " "]], "Sentence 0 has an empty word"),
        (["ok", []], "Sentence 1 has no words"),
        (["   "], "Sentence 0 has no words"),
    ],
)
def test_words_without_pieces_are_refused(models, given, message):
    encoder = Encoder(models("bert"), device="cpu")
    with pytest.raises(ValueError, match=message):
        encoder.encode_words(given)


def test_a_word_behind_the_cut_is_refused(models):
    encoder = Encoder(models("bert"), max_length=6, device="cpu")
    with (
        pytest.warns(UserWarning, match="1 of 1 texts were cut at 6 tokens"),
        pytest.raises(ValueError, match=r"Word \d of sentence 0.*cut before it"),
    ):
        encoder.encode_words(["the cat sat on the mat and the dog"])


# Wrong input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": [4]}, r"Layer 4 does not exist: the model has the layers 0 .* to 3"),
        ({"layers": [-5]}, "Layer -5 does not exist"),
        ({"layers": [1.5]}, "Layer 1.5 does not exist"),
        ({"layers": []}, "expected 'all' or a list"),
        ({"layers": "some"}, "layers='some': expected 'all'"),
        ({"layers": 3}, "layers=3: expected 'all' or a list"),
        ({"layers": [3, -1]}, "names one layer twice"),
        ({"pooling": "sum"}, "pooling='sum' is not known: choose one of 'mean', 'cls'"),
        ({"dtype": "int8"}, "dtype='int8' is not known"),
        ({"compute_dtype": "float64"}, "compute_dtype='float64' is not known"),
        ({"batch_size": 0}, "batch_size=0: expected a whole number"),
        ({"max_length": 2.5}, "max_length=2.5: expected a whole number"),
        ({"max_length": 65}, "max_length=65, but the model has positions for 64 tokens"),
        ({"device": "tpu9"}, "device='tpu9' is not known"),
    ],
)
def test_wrong_options_are_refused(models, options, message):
    with pytest.raises(ValueError, match=message):
        Encoder(models("bert"), **{"device": "cpu"} | options)


def test_positions_that_padding_takes_are_not_counted(models):
    assert Encoder(models("xlm-r"), device="cpu").max_length_ == 64  # of a table of 66


def test_cuda_that_is_not_there_is_an_error_and_no_silent_cpu_run(models, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="device='cuda', but this torch.*finds no CUDA.*'cpu'"):
        Encoder(models("bert"), device="cuda")
    assert Encoder(models("bert")).device_ == "cpu"


@pytest.mark.parametrize(
    ("texts", "error", "message"),
    [
        (["a cat", " \n"], ValueError, r"Text 1 is empty \(' \\n'\).*Leave the row out"),
        ([], ValueError, "No texts came"),
        ("a cat", TypeError, r"got one str. Pass \[text\]"),
        (["a", 3], TypeError, "Text 1 is a int; expected str"),
        (["a", None], TypeError, "Text 1 is a NoneType"),
        (["\u0000\u200b"], ValueError, "leaves no token but special ones"),
    ],
)
def test_wrong_texts_are_refused(minilm, texts, error, message):
    with pytest.raises(error, match=message):
        Encoder(minilm, device="cpu").encode(texts)


@pytest.mark.parametrize("kind", KINDS)
def test_text_of_unknown_characters_alone_is_said(models, kind):
    encoder = Encoder(models(kind), device="cpu")
    with pytest.warns(
        UserWarning, match="Of 2 of 3 texts the tokenizer knows no character, first text 1, 'ᚠᛇᚻ'"
    ):
        found = encoder.encode(["A dog.", "ᚠᛇᚻ", "ᛇ ᛇ"])[3]
    assert np.isfinite(found).all()
    encoder.encode(["dog ᚠᛇᚻ"])  # some are known: no warning, which would be an error


def test_a_line_of_100000_characters_is_cut_and_said(models):
    encoder = Encoder(models("bert"), device="cpu")
    with pytest.warns(UserWarning, match="1 of 2 texts were cut at 64 tokens.*max_length"):
        found = encoder.encode(["cat " * 25_000, "A dog."])[3]
    np.testing.assert_allclose(found[1], encoder.encode(["A dog."])[3][0], atol=1e-6)


def test_a_folder_without_a_tokenizer_or_model_is_refused(models, tmp_path):
    import shutil

    for missing, message in [
        ("tokenizer", r"no tokenizer \(tokenizer.json\)"),
        ("model", "no mod"),
    ]:
        folder = tmp_path / missing
        shutil.copytree(models("bert"), folder)
        for file in folder.glob(f"{missing}*" if missing == "tokenizer" else "*model.*"):
            file.unlink()
        with pytest.raises(ValueError, match=rf"The folder .*{message}.*save_pretrained"):
            Encoder(folder, device="cpu")


def test_a_damaged_weight_file_is_refused(models, tmp_path):
    import shutil

    folder = tmp_path / "torn"
    shutil.copytree(models("bert"), folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ValueError, match="has no model .*that transformers can read"):
        Encoder(folder, device="cpu")


FOLDER = r"pass the folder that holds its config.json, tokenizer.json and .*hf download nobody/"


def test_a_name_without_a_network_says_which_folder_to_give():
    pytest.importorskip("transformers")
    with pytest.raises(OSError, match=rf"'nobody/nothing' is no folder here.*{FOLDER}nothing"):
        Encoder("nobody/nothing", device="cpu")


@pytest.mark.slow
def test_so_does_a_hub_that_does_not_answer(tmp_path):
    """Not told to stay offline: the library tries, and nothing listens at that port."""
    pytest.importorskip("transformers")
    settings = os.environ | {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9"}
    code = 'from posthoc_align.extract import Encoder; Encoder("nobody/nothing", device="cpu")'
    run = subprocess.run(
        [sys.executable, "-c", code], env=settings | {"HF_HOME": str(tmp_path)},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert run.returncode == 1
    last = run.stderr.strip().splitlines()[-1]
    assert re.search(rf"^OSError: 'nobody/nothing' is no folder here.*{FOLDER}nothing", last)


def test_models_without_hidden_states_are_refused(models):
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(models("bert"))
    images = transformers.ResNetModel(
        transformers.ResNetConfig(embedding_size=4, hidden_sizes=[4], depths=[1])
    )
    with pytest.raises(ValueError, match="ResNetModel returns no hidden states of shape"):
        Encoder(images, tokenizer=tokenizer, device="cpu")
    with pytest.raises(ValueError, match="model=Linear is no model of transformers: it has no lay"):
        Encoder(torch.nn.Linear(2, 2), tokenizer=tokenizer, device="cpu")


def test_static_vectors_of_sentence_transformers_have_no_layers(models):
    package = pytest.importorskip("sentence_transformers")
    modules = pytest.importorskip("sentence_transformers.sentence_transformer.modules")
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(models("bert"))
    static = modules.StaticEmbedding(tokenizer._tokenizer, embedding_dim=8)
    model = package.SentenceTransformer(modules=[static], device="cpu")
    with pytest.raises(ValueError, match="StaticEmbedding, is no model of .*by read_vectors"):
        Encoder(model, device="cpu")


@pytest.mark.parametrize("device", ["mps", "xpu", "cuda:99", "meta"])
def test_a_device_that_cannot_be_used_is_an_error(models, device, monkeypatch):
    if device.startswith("cuda"):  # a machine that has one, but not so many
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    elif device != "meta" and getattr(torch, device).is_available():
        return
    with pytest.raises(ValueError, match=f"device='{device}', but this torch.*Pass a device that"):
        Encoder(models("bert"), device=device)


def test_transformers_is_imported_when_an_encoder_is_made_and_not_before():
    code = (
        "import sys, posthoc_align.extract\n"
        "print([name for name in ('transformers', 'torch') if name in sys.modules])\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
