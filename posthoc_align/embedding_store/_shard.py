"""One file of rows: a tensor a layer, beside it language and pair id of each row."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from posthoc_align._array_files import Refused, map_tensor, write_whole
from posthoc_align._arrays import (
    Array,
    empty_like_rows,
    index_like,
    is_tensor,
    labels_to_host,
    like,
    namespace,
)
from posthoc_align.embedding_store._index import Shard
from posthoc_align.languages import factorize

_KEY = "posthoc_align"


def write_shard(
    folder: Path,
    number: int,
    layers: Mapping[str, Array],
    labels: Mapping[str, np.ndarray | None],
) -> Shard:
    """Write rows and their labels to a file of their own, and say what it holds.

    The same rows give the same bytes: tensors are in the library's fixed order, and the metadata
    is one JSON text.
    """
    prefix = f"{number:05d}."
    tensors = {prefix + key: X for key, X in layers.items()}
    first = next(iter(layers.values()))
    about: dict[str, Any] = {}
    for name, values in labels.items():
        if values is not None:
            about[name], packed = _packed(values)
            tensors |= {f"{prefix}{name}{part}": array for part, array in packed.items()}
    data = _serialized(tensors, {_KEY: json.dumps(about, ensure_ascii=False)}, first)
    file = f"embeddings-{number:05d}.safetensors"
    write_whole(folder / file, data)
    return Shard(
        file, first.shape[0], len(data), hashlib.sha256(data).hexdigest(), tuple(sorted(tensors))
    )


def _serialized(tensors: Mapping[str, Array], metadata: dict[str, str], like_this: Array) -> bytes:
    if "bfloat16" in str(like_this.dtype):  # NumPy has no such type: all travel as tensors
        from safetensors.torch import save as save_tensors

        xp = namespace(like_this)
        there = {n: like(X, like_this, dtype=getattr(xp, type_name(X))) for n, X in tensors.items()}
        # Copies, because the library refuses columns of one tensor: they share its memory.
        copies = {name: xp.asarray(X, copy=True).contiguous() for name, X in there.items()}
        return save_tensors(copies, metadata=metadata)
    from safetensors.numpy import save

    host = {name: np.ascontiguousarray(labels_to_host(X)) for name, X in tensors.items()}
    return save(host, metadata=metadata)


def _packed(values: np.ndarray) -> tuple[Any, dict[str, np.ndarray]]:
    """Labels as tensors, which hold no text.

    Integers go as they are. Text goes as the distinct labels (JSON) and a code a row where they are
    few, and as UTF-8 with the end of each label where most rows have one of their own.
    """
    if values.dtype.kind != "U":
        return "int", {"": values.astype(np.int64)}
    distinct, codes = factorize(values)
    if 4 * len(distinct) <= len(values) + 4:
        return distinct.tolist(), {"": codes.astype(np.int64)}
    encoded = [value.encode() for value in values.tolist()]
    ends = np.cumsum([len(value) for value in encoded], dtype=np.int64)
    return "text", {".ends": ends, "": np.frombuffer(b"".join(encoded), dtype=np.uint8)}


def read_labels(folder: Path, shard: Shard, name: str) -> np.ndarray | None:
    """Language or pair id of each row of a shard; None where it was not given."""
    from safetensors import SafetensorError, safe_open

    path = folder / shard.file
    try:
        with safe_open(path, framework="numpy") as file:
            about = json.loads((file.metadata() or {})[_KEY])
            if name not in about:
                return None
            key = _key(shard, name)
            codes = file.get_tensor(key)
            if about[name] == "int":
                return codes
            if about[name] == "text":
                ends = file.get_tensor(key + ".ends").tolist()
                data = codes.tobytes()
                starts = [0, *ends[:-1]]
                pairs = zip(starts, ends, strict=True)
                return np.array([data[a:b].decode() for a, b in pairs], dtype=str)
            return np.array(about[name], dtype=str)[codes]
    except (SafetensorError, KeyError, ValueError, IndexError, OSError) as error:
        raise Refused(
            f"The {name} of shard {path} cannot be read ({type(error).__name__}: {error}): it was "
            "changed since the store was opened. Open the store again; it then leaves out what is "
            "damaged."
        ) from error


def read_rows(folder: Path, shard: Shard, key: str) -> Array:
    """Map the rows of one layer of a shard; bfloat16 comes as a tensor."""
    path = folder / shard.file
    try:
        return map_tensor(path, _key(shard, key))
    except Exception as error:  # damaged bytes break parsers in ways no list of types covers
        raise Refused(
            f"The rows {key!r} of shard {path} cannot be read ({type(error).__name__}: {error}): "
            "it was changed since the store was opened. Open the store again; it then leaves out "
            "what is damaged."
        ) from error


def type_name(X: Array) -> str:
    """The type of an array by the name that stores call it."""
    return str(X.dtype).removeprefix("torch.")


def _key(shard: Shard, name: str) -> str:
    for tensor in shard.tensors:
        if tensor.partition(".")[2] == name:
            return tensor
    raise KeyError(name)


def damage(folder: Path, shard: Shard, *, thorough: bool) -> str | None:
    """What is wrong with a shard's file, or None; `thorough` reads every byte of it."""
    path = folder / shard.file
    try:
        size = path.stat().st_size
        if size != shard.bytes:
            return f"it has {size} bytes instead of {shard.bytes}"
        if thorough:
            with path.open("rb") as stream:
                if hashlib.file_digest(stream, "sha256").hexdigest() != shard.sha256:
                    return "its checksum differs"
    except FileNotFoundError:
        return "it is missing"
    except OSError as error:
        return f"it cannot be read ({error})"
    return None


def gather(shards: Sequence[Shard], chosen: np.ndarray, read: Callable[[Shard], Array]) -> Array:
    """Copy rows, numbered over all shards, in the order asked for; other shards are not opened."""
    ends = np.cumsum([shard.rows for shard in shards])
    where = np.searchsorted(ends, chosen, side="right")
    out = None
    for number in np.unique(where):
        X = read(shards[number])
        mine = np.flatnonzero(where == number)
        if out is None:
            out = empty_like_rows(X, X.shape[1], n_rows=len(chosen))
        local = chosen[mine] - (ends[number] - shards[number].rows)
        out[index_like(mine, X)] = X[index_like(local, X)]
    return out


def joined(parts: Sequence[Array], axis: int) -> Array:
    """Arrays one after the other; a single one as it is."""
    if len(parts) == 1:
        return parts[0]
    if is_tensor(parts[0]):
        return namespace(*parts).concat(list(parts), axis=axis)
    return np.concatenate(parts, axis=axis)


def listed(damaged: Mapping[str, str]) -> str:
    """Name the first few damaged files and what is wrong with each."""
    some = [f"{file} ({wrong})" for file, wrong in list(damaged.items())[:3]]
    more = len(damaged) - len(some)
    return "; ".join(some) + (f" and {more} more" if more else "")
