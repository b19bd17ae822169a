"""A folder of shards that is written by one and read by many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from posthoc_align._array_files import PathLike
from posthoc_align._arrays import Array
from posthoc_align.embedding_store._check import check_kinds, check_new, check_parts
from posthoc_align.embedding_store._index import NAME, SHARDS, read_index, write_index
from posthoc_align.embedding_store._lock import WriterLock
from posthoc_align.embedding_store._reader import StoreReader
from posthoc_align.embedding_store._shard import write_shard
from posthoc_align.languages import check_language, check_pair_id


class EmbeddingStore(StoreReader):
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
    >>> import tempfile, numpy as np
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

    _lock: WriterLock | None = None

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
            If there is a store already, or what is left of one.
        OSError
            If files cannot be locked there.
        ValueError
            If the width, type or layers cannot be those of embeddings.
        """
        path = Path(path)
        index = check_new(n_features, dtype, layers, about)
        path.mkdir(parents=True, exist_ok=True)
        lock = WriterLock(path)
        try:
            _require_free(path)
            write_index(path, index)
            store = cls(path)
        except BaseException:
            lock.release()
            raise
        store._lock = lock
        return store

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process opens it for itself, maybe in another directory.
        return EmbeddingStore, (self.path.absolute(),)

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

    def note(self, about: Mapping[str, Any]) -> None:
        """Replace what is noted of the store, its attribute ``about``.

        Takes the right to write, as :meth:`append` does.

        Parameters
        ----------
        about : mapping
            Anything that JSON can hold.

        Raises
        ------
        BlockingIOError
            If another writer is at work.
        """
        self.acquire()
        index = replace(self._index, about=dict(about))
        write_index(self.path, index)
        self._index = index

    def acquire(self) -> None:
        """Take the right to write, and see what was written before; :meth:`append` does it, too.

        Raises
        ------
        BlockingIOError
            If another writer is at work.
        OSError
            If files cannot be locked there.
        """
        if self._lock is None:
            lock = WriterLock(self.path)
            try:
                for part in self.path.glob(".embeddings*"):  # of a writer that was killed
                    part.unlink()
                self._take(read_index(self.path))
            except BaseException:
                lock.release()
                raise
            self._lock = lock

    def close(self) -> None:
        """Give back the right to write; reading goes on."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> EmbeddingStore:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _require_free(path: Path) -> None:
    """Refuse to begin a store where one would be written over."""
    if (path / NAME).exists():
        raise FileExistsError(
            f"{path} is a store already: open it with EmbeddingStore(path) to append, or "
            "choose another folder."
        )
    shards = len(list(path.glob(SHARDS)))
    if shards:
        raise FileExistsError(
            f"{path} holds {shards} shards of a store whose index, {NAME}, is missing. Put the "
            "index back, choose another folder, or delete this one."
        )
