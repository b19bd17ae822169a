"""What a store says of its shards: one JSON file in the layout of sharded models.

``metadata`` and ``weight_map`` (tensor -> file) are those of the usual
``*.safetensors.index.json``, so that tools which read sharded models find every tensor; ``shards``
adds what they have no place for: rows, bytes and checksum of each file.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from posthoc_align._array_files import Refused, write_whole

NAME = "embeddings.safetensors.index.json"
SHARDS = "embeddings-*.safetensors"
FORMAT = "posthoc_align.EmbeddingStore"
VERSION = 1
"""Of the layout; a reader reads its own and all before."""

DTYPES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}
"""Bytes of the types that rows can be stored in."""


@dataclass(frozen=True)
class Shard:
    """One finished file of rows."""

    file: str
    rows: int
    bytes: int
    sha256: str
    tensors: tuple[str, ...]


@dataclass(frozen=True)
class Index:
    """What holds for all shards, and the shards in the order of their rows."""

    n_features: int
    dtype: str
    layers: tuple[int, ...] | None
    about: dict[str, Any] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)  # "language" -> "text" or "int"
    shards: tuple[Shard, ...] = ()

    @property
    def keys(self) -> dict[int | None, str]:
        """Name of the tensor of each layer; of None where layers have no numbers."""
        if self.layers is None:
            return {None: "embeddings"}
        return {layer: f"layer.{layer}" for layer in self.layers}

    def keys_of(self, layer: int | None, folder: Path) -> tuple[str, ...]:
        """Names of the tensors of a layer; of all layers, in their order, for None.

        Raises
        ------
        ValueError
            If the store, which lies in `folder`, has no such layer.
        """
        if layer is None:
            return tuple(self.keys.values())
        if layer not in self.keys:
            raise ValueError(
                f"layer={layer!r} is not in the store {folder}: it has "
                f"{self.layers or 'one unnumbered'}."
            )
        return (self.keys[layer],)

    def with_shard(self, shard: Shard, labels: dict[str, str]) -> Index:
        """The index with one shard more at its end."""
        return replace(self, labels=labels, shards=(*self.shards, shard))


def write_index(folder: Path, index: Index) -> None:
    """Replace the index of a folder; a reader finds the old one or the new one, whole."""
    content = {
        "metadata": {
            "format": FORMAT,
            "version": VERSION,
            "total_size": sum(shard.bytes for shard in index.shards),
            "n_features": index.n_features,
            "dtype": index.dtype,
            "layers": index.layers,
            "about": index.about,
            "labels": index.labels,
        },
        "weight_map": {name: shard.file for shard in index.shards for name in shard.tensors},
        "shards": [asdict(shard) for shard in index.shards],
    }
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1)
    write_whole(folder / NAME, text.encode())


def read_index(folder: Path) -> Index:
    """Read the index of a folder.

    Raises
    ------
    FileNotFoundError
        If there is no folder, or no index in it.
    ValueError
        If the index is damaged, not one of a store, or of a later version.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f"There is no folder {folder} (looked in {Path.cwd()}). Check the path, or begin a "
            "store with EmbeddingStore.create(path, n_features=...)."
        )
    path = folder / NAME
    if not path.is_file():
        shards = len(list(folder.glob(SHARDS)))
        if shards:
            raise FileNotFoundError(
                f"{folder} holds {shards} shards but not their index, {NAME}: it was deleted, or "
                "not copied with them. Put it back; without it which shards are whole is unknown."
            )
        raise FileNotFoundError(
            f"{folder} is no embedding store: it lacks {NAME}. Pass the folder that "
            "EmbeddingStore.create made; single files are read by store.read_embeddings."
        )
    try:
        content = json.loads(path.read_bytes())
        metadata = content["metadata"]
        if metadata.get("format") != FORMAT:
            raise Refused(
                f"{path} is the index of other tensors (format {metadata.get('format')!r}); "
                f"expected {FORMAT!r}. Pass a folder that EmbeddingStore.create made."
            )
        if metadata["version"] > VERSION:
            raise Refused(
                f"{path} is of version {metadata['version']} of the layout and this version reads "
                f"up to {VERSION}: upgrade posthoc_align."
            )
        return _parsed(metadata, content["shards"])
    except Refused:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Refused(
            f"{path} cannot be read as the index of a store ({type(error).__name__}: {error}): it "
            "is damaged. Restore it; the shards beside it are whole."
        ) from error


def _parsed(metadata: dict[str, Any], shards: Sequence[dict[str, Any]]) -> Index:
    layers = metadata["layers"]
    found = tuple(
        Shard(
            file=_plain_name(shard["file"]),
            rows=_count(shard["rows"]),
            bytes=_count(shard["bytes"]),
            sha256=str(shard["sha256"]),
            tensors=tuple(map(str, shard["tensors"])),
        )
        for shard in shards
    )
    if metadata["dtype"] not in DTYPES:
        raise ValueError(f"dtype {metadata['dtype']!r} is none of {list(DTYPES)}")
    return Index(
        n_features=_count(metadata["n_features"]),
        dtype=metadata["dtype"],
        layers=None if layers is None else tuple(map(int, layers)),
        about=dict(metadata["about"]),
        labels={str(name): str(kind) for name, kind in metadata["labels"].items()},
        shards=found,
    )


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no count")
    return value


def _plain_name(value: Any) -> str:
    """Refuse a file name that leads out of the folder."""
    if not isinstance(value, str) or Path(value).name != value or "\\" in value:
        raise ValueError(f"{value!r} is no name of a file in the folder")
    return value
