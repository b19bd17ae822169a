"""What moments can be taken of: a source, cut into shards or walked through once.

Arrays, memory maps, files, stores, tables and lists of these have shards, which are read apart, in
any order, by whoever opens them. An iterator has batches only.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from posthoc_align._arrays import is_tensor
from posthoc_align.embedding_store import EmbeddingStore
from posthoc_align.languages import check_language
from posthoc_align.scale._batches import (
    EXPECTED,
    Batch,
    is_batch,
    is_label,
    parts_of,
    records_of,
)
from posthoc_align.scale._shards import (
    BATCH_ROWS,
    ArrayShard,
    Mapped,
    Several,
    Shard,
    StoreShard,
    cut_labels,
)
from posthoc_align.store import read_embeddings

__all__ = ["BATCH_ROWS", "SHARD_ROWS", "Batch", "Shard", "batches_of", "shards_of"]

SHARD_ROWS = 2**16
"""Rows of a piece of an array: a worker's task, which sends back d x d sums and so must have many
times d rows to be worth it, while a million rows should keep sixteen workers busy."""


def shards_of(
    source: Any,
    *,
    y: Any = None,
    language: Any = None,
    layer: int | None = None,
    pairs: bool = False,
) -> list[Shard] | None:
    """Cut a source into pieces that can be read apart and in any order.

    Parameters
    ----------
    source : array, store, path, batch, list of these, or iterable
        As in :func:`posthoc_align.scale.moments_of`.
    y, language, layer
        As there.
    pairs : bool, default=False
        Whether the second entry of a batch that is a tuple is y; else it is the language.

    Returns
    -------
    list of Shard, or None
        None for what can only be walked through: see :func:`batches_of`.

    Raises
    ------
    FileNotFoundError
        If a path leads nowhere, or to a folder that is no store.
    ValueError
        If labels do not fit the rows or came twice, or `layer` came for what has no layers.
    """
    source = _opened(source)
    if isinstance(source, EmbeddingStore):
        return _of_store(source, y, language, layer)
    if isinstance(source, list):
        _require_one_label(y, language)
        items = enumerate(source, start=1)
        return _packed(
            [
                shard
                for number, item in items
                for shard in _of_item(item, f"batch {number}", language, layer, pairs)
            ]
        )
    if is_batch(source):
        return _of_batch(source, y=y, language=language, layer=layer, pairs=pairs)
    return None


def batches_of(
    source: Any,
    *,
    y: Any = None,
    language: Any = None,
    layer: int | None = None,
    pairs: bool,
) -> Iterator[Batch]:
    """Walk through a source that has no shards, batch by batch.

    Parameters
    ----------
    source, y, language, layer, pairs
        As in :func:`shards_of`.

    Yields
    ------
    batch : Batch
        In memory of its own.

    Raises
    ------
    TypeError
        If the source cannot be walked through.
    ValueError
        If `y`, or a language for each row, came beside batches, or `layer` beside one that is no
        store.
    """
    _require_one_label(y, language)
    if hasattr(source, "to_batches"):  # an Arrow dataset of files
        source = source.to_batches()
    if hasattr(source, "iter") and hasattr(source, "with_format"):  # a Hugging Face dataset
        chosen = (getattr(source, "format", None) or {}).get("type")
        source = (source if chosen else source.with_format("arrow")).iter(batch_size=BATCH_ROWS)
    try:
        items = iter(source)
    except TypeError:
        raise TypeError(
            f"Moments cannot be taken of a {type(source).__name__}: expected an array, an "
            "EmbeddingStore or the path of one, an array file, an Arrow table, or batches: a list, "
            f"iterator or DataLoader. {EXPECTED}"
        ) from None
    # Copied before the next is asked for: a source may fill the same arrays again, while batches
    # are still waiting to be put together or to be summed. That costs a copy and saves the result.
    return (
        batch.copied()
        for number, item in enumerate(items, start=1)
        for shard in _of_item(item, f"batch {number}", language, layer, pairs)
        for batch in shard.batches()
    )


def _opened(source: Any) -> Any:
    """The store or the array at a path; anything else as it is."""
    if not isinstance(source, (str, os.PathLike)):
        return source
    path = Path(source)
    return read_embeddings(path) if path.suffix and not path.is_dir() else EmbeddingStore(path)


def _of_item(item: Any, where: str, language: Any, layer: int | None, pairs: bool) -> list[Shard]:
    """The shards of one batch among others, which may be a store, or a path to read."""
    item = _opened(item)
    if isinstance(item, EmbeddingStore):
        return _of_store(item, None, language, layer)
    return _of_batch(item, language=language, layer=layer, pairs=pairs, where=where)


def _of_batch(
    item: Any,
    *,
    y: Any = None,
    language: Any = None,
    layer: int | None = None,
    pairs: bool = False,
    where: str = "",
) -> list[Shard]:
    if hasattr(item, "to_batches"):
        _require_no_layer(layer, item, where)
        _require_one_label(y, language)
        return [
            replace(shard, first=first)
            for first, records in records_of(item)
            for shard in _of_records(records, language, pairs, where)
        ]
    found = parts_of(item, pairs=pairs, where=where)
    X, target = _opened(found.X), _only("y", found.y, y)
    labels = _only("language", found.language, language)
    if isinstance(X, EmbeddingStore):
        return _of_store(X, target, labels, layer)
    _require_no_layer(layer, X, where)
    return list(_of_array(X, target, labels, where))


def _of_records(records: Any, language: Any, pairs: bool, where: str) -> list[ArrayShard]:
    found = parts_of(records, pairs=pairs, where=where)
    labels = _only("language", found.language, language)
    return _of_array(found.X, found.y, labels, where)


def _only(name: str, own: Any, passed: Any) -> Any:
    if own is not None and passed is not None:
        raise ValueError(
            f"{name} came twice: with the source, and as {name}=. Leave {name}= out, or take it "
            "out of the source."
        )
    return passed if own is None else own


def _require_one_label(y: Any, language: Any) -> None:
    """Refuse labels of all rows beside batches, which bring their own."""
    if y is not None or not is_label(language):
        name = "language" if y is None else "y"
        raise ValueError(
            f"{name}= came beside batches, which bring their own: make each batch a tuple "
            f"(X, {name}) or a mapping with {name}. Beside them only one language for all rows "
            "can be passed."
        )


def _require_no_layer(layer: int | None, rows: Any, where: str) -> None:
    if layer is not None:
        kind = f"{where}, a {type(rows).__name__}" if where else f"a {type(rows).__name__}"
        raise ValueError(
            f"layer={layer!r} came with {kind}: only an EmbeddingStore has layers. Leave layer= "
            "out, or take its columns from the rows."
        )


def _of_array(X: Any, y: Any, language: Any, where: str) -> list[ArrayShard]:
    n_rows = len(X)
    of = where or "X"
    labels = language if is_label(language) else check_language(language, n_rows, of=of)
    _require_rows(y, n_rows, of)
    rows, target = Mapped.of(X), Mapped.of(y)
    # Cutting a list or a data frame copies it, and a view of a tensor is sent with all its rows.
    whole = is_tensor(X) or not hasattr(X, "shape") or hasattr(X, "columns") or is_tensor(y)
    shards = []
    for cut in _cuts(n_rows, n_rows if whole else SHARD_ROWS):
        own = X if whole else X[cut]
        shards.append(
            ArrayShard(
                len(own),
                rows or own,
                target or (y if y is None or whole else y[cut]),
                cut_labels(labels, cut),
                cut.start,
                where,
            )
        )
    return shards


def _of_store(store: EmbeddingStore, y: Any, language: Any, layer: int | None) -> list[Shard]:
    keys = store._index.keys_of(layer, store.path)
    if "language" in store._index.labels:
        _only("language", store, language)
    of = str(store.path)
    labels = language if is_label(language) else check_language(language, len(store), of=of)
    _require_rows(y, len(store), of)
    target = Mapped.of(y)
    folder = store.path.absolute()  # workers may run in another directory
    shards: list[Shard] = []
    first = 0
    for file in store._whole:
        cut = slice(first, first + file.rows)
        shards.append(
            StoreShard(
                file.rows,
                folder,
                file,
                keys,
                target or (None if y is None else y[cut]),
                cut_labels(labels, cut),
                first,
            )
        )
        first = cut.stop
    return shards


def _cuts(n_rows: int, step: int) -> Iterator[slice]:
    for start in range(0, max(1, n_rows), max(1, step)):
        yield slice(start, start + step)


def _require_rows(y: Any, n_rows: int, of: str) -> None:
    if y is not None and len(y) != n_rows:
        raise ValueError(
            f"{of} has {n_rows} rows and its y has {len(y)}: row i of y must belong to row i of X. "
            "Select the common rows first."
        )


def _packed(shards: Sequence[Shard]) -> list[Shard]:
    """Small neighbours in one piece, so that a thousand small batches are not as many tasks."""
    packs: list[list[Shard]] = []
    rows = 0
    for shard in shards:
        rows += shard.n_rows
        if not packs or rows > SHARD_ROWS:
            packs.append([])
            rows = shard.n_rows
        packs[-1].append(shard)
    return [
        pack[0] if len(pack) == 1 else Several(sum(s.n_rows for s in pack), tuple(pack))
        for pack in packs
    ]
