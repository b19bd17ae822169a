"""Pieces of a source, each small enough to send and opened by whoever reads it."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from posthoc_align._arrays import Array
from posthoc_align.embedding_store._index import Shard as File
from posthoc_align.embedding_store._shard import joined, read_labels, read_rows
from posthoc_align.scale._batches import Batch, is_label

BATCH_ROWS = 2**13
"""Rows read and summed at a time. Each time d x d sums are added up, which costs as much as some
hundred rows: a few per cent. Three batches are held at once, of 32 MiB if rows have 1024 float32
columns; sums take more than that from d = 4096 on."""


@dataclass(frozen=True)
class Shard:
    """Rows that can be opened where they are needed.

    Parameters
    ----------
    n_rows : int
    """

    n_rows: int

    def batches(self) -> Iterator[Batch]:
        """Read the rows in order; from a disk, ``BATCH_ROWS`` at a time."""
        raise NotImplementedError(f"{type(self).__name__} must define batches.")


@dataclass(frozen=True)
class ArrayShard(Shard):
    """Rows ``[first, first + n_rows)`` of an array in memory or of a memory map.

    Parameters
    ----------
    X, y : array, Mapped or None
        Of all rows, if mapped; else of these alone.
    language : None, str, int, or ndarray of shape (n_rows,)
    first : int
        Number of the first row in the array.
    where : str
        What messages call the array, "" if there is only one.
    """

    X: Any
    y: Any = None
    language: Any = None
    first: int = 0
    where: str = ""

    def batches(self) -> Iterator[Batch]:
        on_disk = isinstance(self.X, Mapped) or isinstance(self.y, Mapped)
        X, y = (_opened(part, self.first, self.n_rows) for part in (self.X, self.y))
        if not on_disk:
            yield Batch(X, y, self.language, self.where, self.first)
            return
        for rows in _cuts(self.n_rows):
            yield Batch(
                _read(X[rows]),
                None if y is None else _read(y[rows]),
                cut_labels(self.language, rows),
                self.where,
                self.first + rows.start,
            )


@dataclass(frozen=True)
class StoreShard(Shard):
    """One file of an :class:`EmbeddingStore`.

    Parameters
    ----------
    folder : Path
        Absolute, for it is opened wherever a worker runs.
    file : Shard of the store's index
    keys : tuple of str
        Names of the layers wanted, which are put side by side.
    y : array, Mapped or None
        Of all rows of the store, if mapped; else of these alone.
    language : None, str, int, or ndarray of shape (n_rows,)
        Of rows that have none of their own.
    first : int
        Number of the first row in the store.
    """

    folder: Path
    file: File
    keys: tuple[str, ...]
    y: Any = None
    language: Any = None
    first: int = 0

    def batches(self) -> Iterator[Batch]:
        path = self.folder / self.file.file
        parts = [read_rows(self.folder, self.file, key) for key in self.keys]
        if any(part.shape[0] != self.n_rows for part in parts):
            raise ValueError(
                f"Shard {path} holds {parts[0].shape[0]} rows, but the index promises "
                f"{self.n_rows}: the file is of another store. Put its own back, or call verify() "
                "of the store, which leaves such files out."
            )
        y = _opened(self.y, self.first, self.n_rows)
        own = read_labels(self.folder, self.file, "language")
        for rows in _cuts(self.n_rows):
            yield Batch(
                _read(joined([part[rows] for part in parts], 1)),
                None if y is None else _read(y[rows]),
                cut_labels(self.language if own is None else own, rows),
                f"shard {path}",
                rows.start,
            )


@dataclass(frozen=True)
class Several(Shard):
    """Shards read one after the other: small ones make one task."""

    shards: tuple[Shard, ...]

    def batches(self) -> Iterator[Batch]:
        for shard in self.shards:
            yield from shard.batches()


@dataclass(frozen=True, eq=False)
class Mapped:
    """A memory-mapped array that is sent as the place where it lies, and mapped again there.

    Parameters
    ----------
    rows : memmap
    path : str
    offset : int
        Bytes before it in the file.
    """

    rows: np.memmap
    path: str
    offset: int

    @classmethod
    def of(cls, X: Any) -> Mapped | None:
        """Return X with its place, or None if no file has its values in one run."""
        if not isinstance(X, np.memmap) or not X.size:
            return None
        root: Any = X
        while isinstance(root.base, np.ndarray):
            root = root.base
        # Mode "c": what was written to the array since is not in the file.
        named = isinstance(root, np.memmap) and root.filename is not None and root.mode != "c"
        if not named or not isinstance(root.base, mmap.mmap):
            return None
        if not (X.flags.c_contiguous or X.flags.f_contiguous):
            return None
        path = os.path.abspath(root.filename)
        return cls(X, path, root.offset + _address(X) - _address(root))

    def __reduce__(self) -> tuple[Any, ...]:
        order = "C" if self.rows.flags.c_contiguous else "F"
        place = (self.path, self.rows.dtype, "r", self.offset, self.rows.shape, order)
        return _map_again, (self.path, self.offset, place)


def _map_again(path: str, offset: int, place: tuple[Any, ...]) -> Mapped:
    return Mapped(np.memmap(*place), path, offset)


def _address(X: np.ndarray) -> int:
    return int(X.__array_interface__["data"][0])


def _opened(part: Any, first: int, n_rows: int) -> Any:
    """The rows of a shard: cut out of a map of all rows, or at hand."""
    return part.rows[first : first + n_rows] if isinstance(part, Mapped) else part


def _read(X: Array) -> Array:
    """Rows in memory: a slice of a map is read here, by the thread that asks for the batch."""
    return np.array(X) if isinstance(X, np.memmap) else X


def _cuts(n_rows: int) -> Iterator[slice]:
    """Slices of ``BATCH_ROWS``; one of no rows too, for whoever reads it to complain of."""
    for start in range(0, max(1, n_rows), BATCH_ROWS):
        yield slice(start, start + BATCH_ROWS)


def cut_labels(language: Any, rows: slice) -> Any:
    """The labels of some rows; one for all stays as it is."""
    return language if is_label(language) else language[rows]
