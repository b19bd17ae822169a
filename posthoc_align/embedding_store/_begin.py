"""A store to write into: that of a run which was stopped, or a new one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from posthoc_align.embedding_store._index import NAME
from posthoc_align.embedding_store._store import EmbeddingStore


def begin_or_resume(
    path: Path,
    *,
    n_features: int,
    dtype: str,
    layers: Sequence[int] | None,
    about: Mapping[str, Any],
) -> EmbeddingStore:
    """Return a store with the right to write into it: what is there, whole, or else a new one.

    Whether what is there is of the same run is for the caller to see, from its ``about``.

    Parameters
    ----------
    path, n_features, dtype, layers, about
        As :meth:`EmbeddingStore.create` takes, for a new one.

    Raises
    ------
    ValueError
        If the store is damaged.
    BlockingIOError
        If another writer is at work.
    """
    if not (path / NAME).exists():
        return EmbeddingStore.create(
            path, n_features=n_features, dtype=dtype, layers=layers, about=about
        )
    store = EmbeddingStore(path)
    store.acquire()  # before it is looked at, or another run might add rows meanwhile
    if store.damaged:
        store.close()
        raise ValueError(
            f"{path} cannot be gone on with: its shards {list(store.damaged)} are damaged. Delete "
            "the folder and run again, or choose another if this run did not write it."
        )
    return store
