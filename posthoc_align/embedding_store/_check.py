"""What may go into a store: rows and labels like those that are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from posthoc_align._arrays import Array, check_rows
from posthoc_align.embedding_store._index import DTYPES, Index
from posthoc_align.embedding_store._shard import type_name


def check_new(
    n_features: int, dtype: str, layers: Sequence[int] | None, about: Mapping[str, Any] | None
) -> Index:
    """Return the index of an empty store, or raise ValueError."""
    if type(n_features) is not int or n_features < 1:
        raise ValueError(f"n_features={n_features!r}: expected the number of columns, an int.")
    if dtype not in DTYPES:
        raise ValueError(f"dtype={dtype!r} is not known: choose one of {', '.join(DTYPES)}.")
    numbers = None if layers is None else tuple(int(layer) for layer in layers)
    if numbers is not None and (not numbers or len(set(numbers)) < len(numbers)):
        raise ValueError(f"layers={layers!r}: expected different numbers, at least one.")
    return Index(n_features, dtype, numbers, dict(about or {}))


def check_parts(X: Any, index: Index) -> dict[str, Array]:
    """Return the rows of every layer by the name of their tensor, or raise ValueError."""
    keys = index.keys
    if not isinstance(X, Mapping):
        if len(keys) > 1:
            raise ValueError(
                f"X came as a {type(X).__name__}, but the store has the layers {list(keys)}: pass "
                "a mapping from each layer to its rows."
            )
        X = {next(iter(keys)): X}
    if set(X) != set(keys):
        raise ValueError(
            f"X has the layers {sorted(map(str, X))}; expected those of the store, "
            f"{sorted(map(str, keys))}."
        )
    parts = {keys[layer]: check_rows(None, X[layer]) for layer in keys}
    shapes = sorted({tuple(part.shape) for part in parts.values()})
    types = sorted({type_name(part) for part in parts.values()})
    if len({rows for rows, _ in shapes}) > 1:
        raise ValueError(f"Layers differ in rows, shapes {shapes}: pass the same rows of each.")
    if {width for _, width in shapes} != {index.n_features}:
        raise ValueError(
            f"X has shape {shapes[0]}, but rows of the store have {index.n_features} columns. "
            "Use one encoder, or begin another store."
        )
    if types != [index.dtype]:
        raise ValueError(
            f"X is of type {', '.join(types)}, but the store holds {index.dtype}. Convert X first, "
            "or begin a store of its type."
        )
    return parts


def check_kinds(labels: Mapping[str, np.ndarray | None], index: Index) -> dict[str, str]:
    """Return which labels there are, each "text" or "int"; the same in all shards."""
    kinds = {
        name: "text" if values.dtype.kind == "U" else "int"
        for name, values in labels.items()
        if values is not None
    }
    if index.shards and kinds != index.labels:
        raise ValueError(
            f"Rows came with {kinds or 'no labels'}, but the store has "
            f"{index.labels or 'no labels'}: pass language and pair_id with every append or with "
            "none, all text or all integers."
        )
    return kinds
