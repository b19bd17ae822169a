"""Texts as padded token ids, and which tokens are pooled."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from posthoc_align.extract._models import Backbone

Tokens = list[dict[str, Any]]  # a text: input_ids, special_tokens_mask, offset_mapping, ...

_CHUNK = 4096  # texts a call: their token objects live at once


def tokenize(
    backbone: Backbone, texts: Sequence[str], *, max_length: int, offsets: bool = False
) -> Tokens:
    """Turn texts into token ids, cut at `max_length`, unpadded.

    Raises
    ------
    TypeError
        If a text is no str.
    ValueError
        If a text is empty or nothing of it is left as a token.

    Warns
    -----
    UserWarning
        If texts were cut, or the tokenizer knows nothing of what they hold.
    """
    _require_texts(texts)
    found: Tokens = []
    cut = 0
    for start in range(0, len(texts), _CHUNK):
        part = list(texts[start : start + _CHUNK])
        if backbone.around.lower:
            part = [_lower(text) if offsets else text.lower() for text in part]
        encoded = backbone.tokenizer(
            part,
            truncation=True,
            max_length=max_length,
            return_special_tokens_mask=True,
            return_offsets_mapping=offsets,
            return_attention_mask=False,
        )
        keys = list(encoded.keys())
        rows = [
            dict(zip(keys, values, strict=True)) for values in zip(*encoded.values(), strict=True)
        ]
        cut += sum(
            len(row["input_ids"]) >= max_length and bool(encoded[i].overflowing)
            for i, row in enumerate(rows)
        )
        found += rows
    _require_tokens(texts, found)
    _warn_of_unknown(backbone, texts, found)
    if cut:
        warnings.warn(
            f"{cut} of {len(texts)} texts were cut at {max_length} tokens. Split them, or raise "
            "max_length where the model allows it.",
            UserWarning,
            stacklevel=3,
        )
    return found


def _lower(text: str) -> str:
    """Lower case of the same length, so that offsets still fit: "İ", which grows, is left alone."""
    return "".join(low if len(low := letter.lower()) == 1 else letter for letter in text)


def _require_texts(texts: Sequence[str]) -> None:
    if isinstance(texts, (str, bytes)):
        raise TypeError("Expected a list of texts; got one str. Pass [text].")
    if not len(texts):
        raise ValueError("No texts came: pass at least one.")
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(
                f"Text {row} is a {type(text).__name__}; expected str. Read the file as text first."
            )
        if not text.strip():
            raise ValueError(
                f"Text {row} is empty ({text!r}): it has no embedding. Leave the row out, in all "
                "languages if they correspond row by row."
            )


def _require_tokens(texts: Sequence[str], rows: Tokens) -> None:
    for row, tokens in enumerate(rows):
        if all(tokens["special_tokens_mask"]):
            raise ValueError(
                f"Of text {row}, {texts[row][:40]!r}, the tokenizer leaves no token but special "
                "ones: it has no embedding. Leave the row out."
            )


def _warn_of_unknown(backbone: Backbone, texts: Sequence[str], rows: Tokens) -> None:
    """Say of which texts every token is the unknown one: all of them have about one embedding."""
    unknown = backbone.tokenizer.unk_token_id
    if unknown is None:
        return
    found = [
        row
        for row, tokens in enumerate(rows)
        if all(
            special or token == unknown
            for token, special in zip(
                tokens["input_ids"], tokens["special_tokens_mask"], strict=True
            )
        )
    ]
    if found:
        warnings.warn(
            f"Of {len(found)} of {len(texts)} texts the tokenizer knows no character, first text "
            f"{found[0]}, {texts[found[0]][:40]!r}: their embeddings say nothing of them. Take a "
            "model of their language, or leave them out.",
            UserWarning,
            stacklevel=4,
        )


def padded(backbone: Backbone, rows: Tokens, device: str | None) -> tuple[dict[str, Any], Any]:
    """Return the model's inputs, padded on the right, and a mask of the special tokens.

    On the right, so that the tokens of a text have the same positions in any batch. Padding is
    masked, so which id it has does not matter; a decoder without one gets 0.
    """
    import torch

    length = max(len(row["input_ids"]) for row in rows)
    pad = backbone.tokenizer.pad_token_id
    fill = {"input_ids": 0 if pad is None else pad, "special_tokens_mask": 1}
    arrays: dict[str, np.ndarray] = {
        key: np.full((len(rows), length), fill.get(key, 0), dtype=np.int64)
        for key in ("input_ids", "token_type_ids", "special_tokens_mask")
        if key in rows[0]
    }
    arrays["attention_mask"] = np.zeros((len(rows), length), dtype=np.int64)
    for i, row in enumerate(rows):
        n = len(row["input_ids"])
        arrays["attention_mask"][i, :n] = 1
        for key in arrays.keys() & row.keys():
            arrays[key][i, :n] = row[key]
    inputs = {key: torch.from_numpy(array).to(device) for key, array in arrays.items()}
    special = inputs.pop("special_tokens_mask").bool()
    if backbone.takes_no_types:
        inputs.pop("token_type_ids", None)
    return inputs, special
