"""The folder of shards as one table of rows."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from posthoc_align._array_files import PathLike
from posthoc_align._arrays import Array
from posthoc_align.embedding_store._check import check_kinds, check_new, check_parts
from posthoc_align.embedding_store._index import NAME, Index, Shard, read_index, write_index
from posthoc_align.embedding_store._lock import WriterLock
from posthoc_align.embedding_store._shard import (
    damage,
    gather,
    joined,
    listed,
    read_labels,
    read_rows,
    write_shard,
)
from posthoc_align.languages import check_language, check_pair_id


class EmbeddingStore:
    """Embeddings on disk: rows of one or several layers, with language and pair id.

    A folder of ``.safetensors`` shards and the index JSON that sharded models have, so that any
    tool for these reads it. Opening it reads the index alone; rows are mapped into memory when they
    are used. A shard is written beside its place, flushed to the disk and moved there, and then the
    index is replaced: whoever reads, also while another process writes, finds whole shards only,
    and a process that dies loses none that `append` returned from.

    Parameters
    ----------
    path : str or path
        A folder that :meth:`create` made. What was appended later by others is seen by opening it
        again.

    Attributes
    ----------
    path : Path
    n_features : int
        Columns of each layer.
    dtype : str
        "float16", "bfloat16", "float32" or "float64".
    layers : tuple of int, or None
        Numbers of the layers; None if rows came from one unnumbered layer.
    about : dict
        What the writer noted at :meth:`create`, such as the encoder.
    damaged : dict of str -> str
        File name of every shard that is torn or missing, and what is wrong with it. These are left
        out of all below. Opening compares sizes; :meth:`verify` compares checksums.

    Raises
    ------
    FileNotFoundError
        If there is no folder, or no store in it.
    ValueError
        If the index is damaged or of a later version.

    Warns
    -----
    UserWarning
        If shards are torn or missing: their rows are left out.

    Notes
    -----
    An append costs one file and one rewriting of the index, O(number of shards): append thousands
    of rows at a time. float16, float32 and float64 come back as NumPy arrays, bfloat16, which NumPy
    has not, as torch tensors. One writer at a time; readers need no lock.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "store"
    >>> with EmbeddingStore.create(folder, n_features=2) as store:
    ...     store.append(np.eye(2, dtype=np.float32), language="en", pair_id=[0, 1])
    ...     store.append(np.ones((1, 2), dtype=np.float32), language="de", pair_id=[1])
    >>> store = EmbeddingStore(folder)
    >>> len(store), store.language.tolist(), store.pair_id.tolist()
    (3, ['en', 'en', 'de'], [0, 1, 1])
    >>> store.rows(store.language == "de")
    array([[1., 1.]], dtype=float32)
    """

    def __init__(self, path: PathLike) -> None:
        self.path = Path(path)
        self._lock: WriterLock | None = None
        self._take(read_index(self.path))

    @classmethod
    def create(
        cls,
        path: PathLike,
        *,
        n_features: int,
        dtype: str = "float32",
        layers: Sequence[int] | None = None,
        about: Mapping[str, Any] | None = None,
    ) -> EmbeddingStore:
        """Begin an empty store, and hold the right to write into it.

        Parameters
        ----------
        path : str or path
            A folder that does not exist yet, or is no store.
        n_features : int
            Columns of each layer.
        dtype : {"float16", "bfloat16", "float32", "float64"}, default="float32"
            Type of all rows.
        layers : sequence of int, optional
            Numbers of the layers that every append brings.
        about : mapping, optional
            Anything that JSON can hold, kept with the store.

        Raises
        ------
        FileExistsError
            If there is a store already.
        ValueError
            If the width, type or layers cannot be those of embeddings.
        """
        path = Path(path)
        index = check_new(n_features, dtype, layers, about)
        path.mkdir(parents=True, exist_ok=True)
        lock = WriterLock(path)
        if (path / NAME).exists():
            lock.release()
            raise FileExistsError(
                f"{path} is a store already: open it with EmbeddingStore(path) to append, or "
                "choose another folder."
            )
        write_index(path, index)
        store = cls(path)
        store._lock = lock
        return store

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

    def __len__(self) -> int:
        return sum(shard.rows for shard in self._whole)

    def __repr__(self) -> str:
        layers = "" if self.layers is None else f", layers={list(self.layers)}"
        return (
            f"EmbeddingStore({str(self.path)!r}: {len(self)} rows, "
            f"n_features={self.n_features}, dtype={self.dtype!r}{layers})"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return EmbeddingStore, (self.path,)  # another process opens it for itself

    def append(
        self,
        X: Array | Mapping[int, Array],
        *,
        language: Any = None,
        pair_id: Any = None,
    ) -> None:
        """Add rows as one shard; when this returns they are safe on the disk.

        The first one takes the right to write, which :meth:`close` gives back.

        Parameters
        ----------
        X : array of shape (n_rows, n_features), or mapping from layer to such arrays
            Of the store's own type. A mapping with all layers, if the store has several.
        language : str, int, or array-like of shape (n_rows,), optional
            As everywhere; with every append or with none.
        pair_id : array-like of shape (n_rows,), optional
            As everywhere; with every append or with none.

        Raises
        ------
        ValueError
            If rows are of another width or type, there are none, layers are missing, or labels do
            not fit those before. The store stays as it was.
        BlockingIOError
            If another writer is at work.
        OSError
            If the shard cannot be written, for example on a full disk. The store stays as it was.
        """
        parts = check_parts(X, self._index)
        n_rows = next(iter(parts.values())).shape[0]
        labels = {
            "language": check_language(language, n_rows),
            "pair_id": None if pair_id is None else check_pair_id(pair_id, n_rows),
        }
        self.acquire()
        kinds = check_kinds(labels, self._index)
        number = len(self._index.shards)
        try:
            shard = write_shard(self.path, number, parts, labels)
            index = self._index.with_shard(shard, kinds)
            write_index(self.path, index)
        except OSError as error:
            raise OSError(
                error.errno,
                f"{n_rows} rows could not be written to {self.path} ({error.strerror}); the store "
                f"has {len(self)} rows as before. Make room, then append them again",
            ) from error
        self._index = index
        self._whole.append(shard)
        self._labels = {}

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
            yield Bunch(
                X=self._rows_of(shard, layer),
                language=read_labels(self.path, shard, "language"),
                pair_id=read_labels(self.path, shard, "pair_id"),
            )

    def batches(self, n_rows: int, *, layer: int | None = None) -> Iterator[Bunch]:
        """Walk over batches of at most `n_rows` rows; a batch does not reach over shards.

        Parameters
        ----------
        n_rows : int
            Most rows of a batch.
        layer : int, optional
            As in :meth:`shards`.

        Yields
        ------
        batch : Bunch
            As in :meth:`shards`.
        """
        if n_rows < 1:
            raise ValueError(f"n_rows={n_rows}: a batch has at least one row.")
        for shard in self.shards(layer=layer):
            for start in range(0, shard.X.shape[0], n_rows):
                cut = slice(start, start + n_rows)
                yield Bunch(
                    **{key: None if part is None else part[cut] for key, part in shard.items()}
                )

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
        parts = [self._rows_of(shard, layer) for shard in self._whole]
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
        return gather(self._whole, chosen, lambda shard: self._rows_of(shard, layer))

    def _rows_of(self, shard: Shard, layer: int | None) -> Array:
        keys = self._index.keys
        if layer is not None and layer not in keys:
            raise ValueError(
                f"layer={layer!r} is not in the store: it has {self.layers or 'one unnumbered'}."
            )
        wanted = [keys[layer]] if layer is not None else list(keys.values())
        return joined([read_rows(self.path, shard, key) for key in wanted], 1)

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

    def acquire(self) -> None:
        """Take the right to write, and see what was written before; :meth:`append` does it, too.

        Raises
        ------
        BlockingIOError
            If another writer is at work.
        """
        if self._lock is None:
            self._lock = WriterLock(self.path)
            for part in self.path.glob(".embeddings*"):  # of a writer that was killed
                part.unlink()
            self._take(read_index(self.path))

    def close(self) -> None:
        """Give back the right to write; reading goes on."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> EmbeddingStore:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
