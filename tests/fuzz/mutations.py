"""Damage to valid files: what a disk, a network, an editor or an attacker makes of them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st

Draw = Callable[..., Any]

# Sizes and numbers that parsers stumble over: signs, ends of the machine's integers, no numbers.
NUMBERS = [
    *("0", "-1", "1", "7", "2147483648", "4294967295", "9223372036854775807"),
    *("18446744073709551615", "99999999999999999999", "9" * 5000, "1e400", "nan", "-inf", "0x10"),
]
WORDS = [0, 1, 2**31, 2**32 - 1, 2**53, 2**63 - 1, 2**63, 2**64 - 1]
TEXTS = [b"\xff", b"\x00", b"\n", b"\r", b"\t", b" ", b'"', b"{", b"[" * 2000, b"\xef\xbb\xbf"]
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 1, 2**31, 2**63, 2**64, 10**30, 1e308, 0.5]),
    st.sampled_from(["", "x", "\ud800", "../x", "os.system", "LSAR", "sklearn.pipeline.Pipeline"]),
    st.sampled_from(["BF16", "F64", "layer.0", "language", "text", "int", "nan"]),
    st.sampled_from([[], {}, [0, 0], [0, 2**62], [-4, -2], {"object": "LSAR", "state": {}}]),
)


def damaged(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Valid files with up to four edits; now and then bytes at random."""

    @st.composite
    def build(draw: Draw) -> bytes:
        if draw(st.integers(0, 19)) == 0:
            return draw(st.binary(max_size=200))
        data = draw(st.sampled_from(seeds))
        for _ in range(draw(st.integers(0, 4))):
            data = draw(st.sampled_from(EDITS))(draw, data, seeds)
        return data

    return build()


def _flip(draw: Draw, data: bytes, seeds: Sequence[bytes]) -> bytes:
    at = _place(draw, data)
    return data[:at] + bytes([draw(st.integers(0, 255))]) + data[at + 1 :]


def _insert(draw: Draw, data: bytes, seeds: Sequence[bytes]) -> bytes:
    at = _place(draw, data)
    return data[:at] + draw(st.sampled_from(TEXTS) | st.binary(max_size=8)) + data[at:]


def _delete(draw: Draw, data: bytes, seeds: Sequence[bytes]) -> bytes:
    at = _place(draw, data)
    return data[:at] + data[at + draw(st.integers(1, 40)) :]


def _truncate(draw: Draw, data: bytes, seeds: Sequence[bytes]) -> bytes:
    return data[: _place(draw, data)]


def _repeat(draw: Draw, data: bytes, seeds: Sequence[bytes]) -> bytes:
    at = _place(draw, data)
    part = data[at : at + draw(st.integers(1, 60))]
    return data[:at] + part * draw(st.sampled_from([2, 3, 50])) + data[at:]


def _splice(draw: Draw, data: bytes, seeds: Sequence[bytes]) -> bytes:
    other = draw(st.sampled_from(seeds))
    return data[: _place(draw, data)] + other[_place(draw, other) :]


def _number(draw: Draw, data: bytes, seeds: Sequence[bytes]) -> bytes:
    """Another number in place of one that the text holds."""
    found = list(re.finditer(rb"-?\d+", data[:100_000]))
    if not found:
        return data
    where = draw(st.sampled_from(found))
    return data[: where.start()] + draw(st.sampled_from(NUMBERS)).encode() + data[where.end() :]


def _word(draw: Draw, data: bytes, seeds: Sequence[bytes]) -> bytes:
    """Another little-endian integer, as sizes in binary headers are."""
    at = _place(draw, data)
    size = draw(st.sampled_from([2, 4, 8]))
    value = draw(st.sampled_from(WORDS)) % 256**size
    return data[:at] + value.to_bytes(size, "little") + data[at + size :]


def _place(draw: Draw, data: bytes) -> int:
    """A position; half of the time in the first bytes, where headers are."""
    last = max(0, len(data) - 1)
    return draw(st.integers(0, min(last, 64)) | st.integers(0, last))


def _json(draw: Draw, data: bytes, seeds: Sequence[bytes]) -> bytes:
    """Another value somewhere in a JSON file, in a line of one, or in a safetensors header."""
    if len(data) > 8 and data[8:9] == b"{":
        size = int.from_bytes(data[:8], "little")
        header = edited_json(draw, data[8 : 8 + size])
        return len(header).to_bytes(8, "little") + header + data[8 + size :]
    if data[:1] == b"{" and b"\n{" in data:
        lines = data.split(b"\n")
        at = draw(st.integers(0, len(lines) - 1))
        lines[at] = edited_json(draw, lines[at])
        return b"\n".join(lines)
    return edited_json(draw, data)


EDITS = [_flip, _insert, _delete, _truncate, _repeat, _splice, _number, _word, _json, _json]


def edited_json(draw: Draw, text: bytes) -> bytes:
    """The text with one value replaced, left out or doubled; as it was if it is no JSON."""
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return json.dumps(_edited(draw, tree)).encode()


def _edited(draw: Draw, tree: Any) -> Any:
    keys = list(tree) if isinstance(tree, dict) else range(len(tree)) if _long(tree) else []
    if not len(keys) or draw(st.integers(0, 9)) == 0:
        return draw(LEAVES)
    key = draw(st.sampled_from(keys))
    tree = tree.copy()
    what = draw(st.sampled_from(["deeper", "deeper", "deeper", "replace", "leave out", "add"]))
    if what == "deeper":
        tree[key] = _edited(draw, tree[key])
    elif what == "replace":
        tree[key] = draw(LEAVES)
    elif what == "leave out":
        del tree[key]
    elif isinstance(tree, list):
        tree.append(tree[key])
    else:
        tree[str(draw(LEAVES))] = tree[key]
    return tree


def _long(tree: Any) -> bool:
    return isinstance(tree, list) and len(tree) > 0
