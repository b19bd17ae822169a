"""Reading a folder of shards as one table of rows."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from posthoc_align._array_files import PathLike, Refused
from posthoc_align._arrays import Array
from posthoc_align.embedding_store._index import Index, Shard, read_index
from posthoc_align.embedding_store._shard import (
    damage,
    gather,
    joined,
    listed,
    read_labels,
    read_rows,
    type_name,
)


class StoreReader:
    """What :class:`EmbeddingStore` can do without the right to write; described there.

    Parameters
    ----------
    path : str or path
    """

    def __init__(self, path: PathLike) -> None:
        self.path = Path(path)
        self._take(read_index(self.path))

    def _take(self, index: Index) -> None:
        """See what an index lists, and leave out the shards that are damaged."""
        self._index = index
        self._labels: dict[str, np.ndarray | None] = {}
        self._leave_out(thorough=False)
        if self.damaged:
            warnings.warn(
                f"{self.path} has {len(self.damaged)} damaged of {len(index.shards)} shards: "
                f"{listed(self.damaged)}. Their rows are left out. Copy or write them again.",
                UserWarning,
                stacklevel=3,
            )

    def _leave_out(self, *, thorough: bool) -> None:
        self.damaged = {}
        self._whole: list[Shard] = []
        for shard in self._index.shards:
            wrong = damage(self.path, shard, thorough=thorough)
            if wrong is None:
                self._whole.append(shard)
            else:
                self.damaged[shard.file] = wrong

    @property
    def n_features(self) -> int:
        return self._index.n_features

    @property
    def dtype(self) -> str:
        return self._index.dtype

    @property
    def layers(self) -> tuple[int, ...] | None:
        return self._index.layers

    @property
    def about(self) -> dict[str, Any]:
        return self._index.about

    @property
    def language(self) -> np.ndarray | None:
        """Language of each row, shape (n_rows,); None if no shard has any."""
        return self._all_labels("language")

    @property
    def pair_id(self) -> np.ndarray | None:
        """Pair id of each row, shape (n_rows,), -1 or "" if unpaired; None if none was given."""
        return self._all_labels("pair_id")

    def _all_labels(self, name: str) -> np.ndarray | None:
        if name not in self._index.labels:
            return None
        if name not in self._labels:
            parts = [read_labels(self.path, shard, name) for shard in self._whole]
            kind = str if self._index.labels[name] == "text" else np.int64
            self._labels[name] = np.concatenate([np.array([], dtype=kind), *parts])
        return self._labels[name]

    @property
    def shard_rows(self) -> tuple[int, ...]:
        """Rows of each shard, in their order."""
        return tuple(shard.rows for shard in self._whole)

    def digest(self, n_shards: int | None = None) -> str:
        """Say what the store holds in 64 letters, from the checksums in its index; O(n_shards).

        Parameters
        ----------
        n_shards : int, optional
            Of the first shards alone, whose digest stays while others are appended.

        Returns
        -------
        str
            The same for stores of the same shards, wherever they lie.
        """
        text = "".join(shard.sha256 for shard in self._whole[:n_shards])
        return hashlib.sha256(text.encode()).hexdigest()

    def __len__(self) -> int:
        return sum(shard.rows for shard in self._whole)

    def __repr__(self) -> str:
        layers = "" if self.layers is None else f", layers={list(self.layers)}"
        return (
            f"{type(self).__name__}({str(self.path)!r}: {len(self)} rows, "
            f"n_features={self.n_features}, dtype={self.dtype!r}{layers})"
        )

    def shards(self, *, layer: int | None = None) -> Iterator[Bunch]:
        """Walk over the shards; memory O(1) for one layer, whose rows stay on disk until used.

        Parameters
        ----------
        layer : int, optional
            One of the layers; None takes all, side by side in the columns.

        Yields
        ------
        part : Bunch
            X of shape (n_rows, n_features), read-only for one layer, or
            (n_rows, n_layers * n_features); language, pair_id of shape (n_rows,), or None.
        """
        for shard in self._whole:
            yield Bunch(X=joined(self._maps(shard, layer), 1), **self._labels_of(shard))

    def batches(self, n_rows: int, *, layer: int | None = None, start: int = 0) -> Iterator[Bunch]:
        """Walk over batches of at most `n_rows` rows; a batch does not reach over shards.

        Memory is O(n_rows n_layers n_features), and the labels of one shard.

        Parameters
        ----------
        n_rows : int
            Most rows of a batch.
        layer : int, optional
            As in :meth:`shards`.
        start : int, default=0
            Rows to pass over; shards that end before it are not opened.

        Yields
        ------
        batch : Bunch
            As in :meth:`shards`.
        """
        if n_rows < 1:
            raise ValueError(f"n_rows={n_rows}: a batch has at least one row.")
        if start < 0:
            raise ValueError(f"start={start}: give the number of rows to pass over, 0 or more.")
        for shard in self._whole:
            if start < shard.rows:
                maps, labels = self._maps(shard, layer), self._labels_of(shard)
                for row in range(start, shard.rows, n_rows):
                    cut = slice(row, row + n_rows)
                    yield Bunch(
                        X=joined([rows[cut] for rows in maps], 1),
                        **{
                            name: None if values is None else values[cut]
                            for name, values in labels.items()
                        },
                    )
            start = max(0, start - shard.rows)

    def to_array(self, *, layer: int | None = None) -> Array:
        """All rows as one array.

        Parameters
        ----------
        layer : int, optional
            As in :meth:`shards`.

        Returns
        -------
        X : array of shape (n_rows, n_features) or (n_rows, n_layers * n_features)
            A memory map if the store is one shard and one layer was asked for; else in memory,
            O(n_rows n_columns).
        """
        parts = [joined(self._maps(shard, layer), 1) for shard in self._whole]
        if not parts:
            raise ValueError(f"{self.path} has no rows: append some, or see its .damaged.")
        return joined(parts, 0)

    def rows(self, at: Any, *, layer: int | None = None) -> Array:
        """Some rows, in the order asked for; only these are read from the disk.

        Parameters
        ----------
        at : array-like of int or bool, or slice
            Which rows, as in NumPy.
        layer : int, optional
            As in :meth:`shards`.

        Returns
        -------
        X : array of shape (n_chosen, n_features) or (n_chosen, n_layers * n_features)
        """
        at = at if isinstance(at, slice) else np.atleast_1d(np.asarray(at))
        chosen = np.arange(len(self))[at]
        if not len(chosen):
            raise ValueError("No rows were asked for: pass at least one position.")
        return joined([gather(self._whole, chosen, read) for read in self._readers(layer)], 1)

    def _labels_of(self, shard: Shard) -> dict[str, np.ndarray | None]:
        return {name: read_labels(self.path, shard, name) for name in ("language", "pair_id")}

    def _maps(self, shard: Shard, layer: int | None) -> list[Array]:
        """The rows of a shard, an array a layer."""
        return [read(shard) for read in self._readers(layer)]

    def _readers(self, layer: int | None) -> list[Callable[[Shard], Array]]:
        """For each layer that is asked for, what maps its rows of a shard."""
        return [partial(self._map, key=key) for key in self._index.keys_of(layer, self.path)]

    def _map(self, shard: Shard, key: str) -> Array:
        X = read_rows(self.path, shard, key)
        shape = (shard.rows, self.n_features)
        if tuple(X.shape) != shape or type_name(X) != self.dtype:
            raise Refused(
                f"Shard {self.path / shard.file} holds {key!r} of shape {tuple(X.shape)} and type "
                f"{type_name(X)}, but the index promises {shape} and {self.dtype}: the file is of "
                "another store. Put its own back, or call verify(), which leaves such files out."
            )
        return X

    def verify(self) -> dict[str, str]:
        """Read every byte, compare it with the checksums, and leave out what differs.

        Returns
        -------
        damaged : dict of str -> str
            The attribute of that name, brought up to date.
        """
        self._leave_out(thorough=True)
        self._labels = {}
        return self.damaged
