"""From texts to a store, shard by shard, so that a killed run goes on where it stopped."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from posthoc_align._array_files import PathLike
from posthoc_align.embedding_store import EmbeddingStore
from posthoc_align.embedding_store._begin import begin_or_resume
from posthoc_align.extract._encoder import Encoder
from posthoc_align.languages import check_language, check_pair_id, require_unique_pairs


def write_store(
    encoder: Encoder,
    texts: Sequence[str],
    path: PathLike,
    *,
    language: Any = None,
    pair_id: Any = None,
    shard_rows: int = 8192,
    progress: bool = False,
) -> EmbeddingStore:
    """Embed texts into a store, or finish a run that was stopped.

    Each shard holds the next `shard_rows` texts and is safe on the disk before the next begins.
    Called again with the same encoder and texts, the run goes on after the last shard; every row
    is written exactly once, and the store is, bit for bit, that of a run that was never stopped
    (unless memory ran out in one of them, for a batch's size shows in the last bits).

    Parameters
    ----------
    encoder : Encoder
    texts : sequence of str
    path : str or path
        Folder of the store.
    language : str, int, or array-like of shape (n_texts,), optional
    pair_id : array-like of shape (n_texts,), optional
        Unique within a language.
    shard_rows : int, default=8192
        Rows of a shard: what is computed again after a kill, and what is held in memory,
        O(shard_rows n_layers n_features).
    progress : bool, default=False
        Show a bar with rate and time left.

    Returns
    -------
    store : EmbeddingStore

    Raises
    ------
    ValueError
        If the folder holds a store of another encoder, other texts or other settings, or a damaged
        one, or a pair id is twice in a language; and as :meth:`Encoder.encode`.
    BlockingIOError
        If another run writes there.
    """
    n_texts = len(texts)
    labels = {
        "language": check_language(language, n_texts, of="texts"),
        "pair_id": None if pair_id is None else check_pair_id(pair_id, n_texts, of="texts"),
    }
    if labels["pair_id"] is not None:
        one = np.zeros(n_texts, dtype=int)
        require_unique_pairs(
            one if labels["language"] is None else labels["language"], labels["pair_id"]
        )
    about = {
        "encoder": encoder.settings(),
        "texts": {"rows": n_texts, "shard_rows": shard_rows, "sha256": digest_of(texts, labels)},
    }

    def rows(part: slice, progress: Callable[[int], Any]) -> dict[str, Any]:
        cut = {name: None if row is None else row[part] for name, row in labels.items()}
        return {"X": encoder.encode(texts[part], progress=progress), **cut}

    ends = np.arange(1, n_texts + 1)
    return write_rows(
        encoder, Path(path), about, ends, shard_rows, rows, "text" if progress else None
    )


def write_rows(
    encoder: Encoder,
    path: Path,
    about: dict[str, Any],
    ends: np.ndarray,
    shard_rows: int,
    rows: Callable[[slice, Callable[[int], Any]], dict[str, Any]],
    unit: str | None,
) -> EmbeddingStore:
    """Append what the store lacks, a shard for each part of the texts.

    Parameters
    ----------
    encoder, path, shard_rows
        As :func:`write_store` takes.
    about : dict
        All that the rows depend on; another run's store is refused.
    ends : ndarray of int of shape (n_texts,)
        Number of rows that the texts up to each one bring.
    rows : callable
        Takes a part of the texts and a progress bar's ``update``; returns the arguments of an
        append.
    unit : str or None
        What the bar counts; None for no bar.
    """
    from tqdm.auto import tqdm

    cuts = _cuts(ends, shard_rows)
    begun = begin_or_resume(
        path,
        n_features=encoder.n_features_,
        dtype=encoder.dtype,
        layers=encoder.layers_,
        about=about,
    )
    with begun as store:
        _require_same_run(store, about)
        written = len(store)
        done = [cut.stop for cut in cuts if ends[cut.stop - 1] <= written]
        with tqdm(
            total=len(ends), initial=max(done, default=0), unit=unit or "text", disable=unit is None
        ) as bar:
            for cut in cuts[len(done) :]:
                if ends[cut.stop - 1] > len(store):  # not a part without rows
                    store.append(**rows(cut, bar.update))
    return store


def _cuts(ends: np.ndarray, shard_rows: int) -> list[slice]:
    """Parts of texts with at most so many rows each, or one text."""
    if shard_rows < 1:
        raise ValueError(f"shard_rows={shard_rows}: a shard has at least one row.")
    cuts, start, before = [], 0, 0
    while start < len(ends):
        stop = max(start + 1, int(np.searchsorted(ends, before + shard_rows, side="right")))
        cuts.append(slice(start, stop))
        start, before = stop, int(ends[stop - 1])
    return cuts


def _require_same_run(store: EmbeddingStore, about: dict[str, Any]) -> None:
    differ = [
        f"{part}.{key} was {store.about.get(part, {}).get(key)!r} and is {value!r}"
        for part, values in about.items()
        for key, value in values.items()
        if store.about.get(part, {}).get(key) != value
    ]
    if differ:
        raise ValueError(
            f"{store.path} holds embeddings of another run: {'; '.join(differ)}. Choose another "
            "folder, or run with what it was begun with."
        )


def digest_of(texts: Sequence[Any], labels: Mapping[str, Sequence[Any] | np.ndarray | None]) -> str:
    """Digest of all values of texts and labels, however they are nested."""
    digest = hashlib.sha256()
    for values in (texts, *labels.values()):
        for value in [] if values is None else values:
            _put(digest, value)
        digest.update(b"\x1d")
    return digest.hexdigest()


def _put(digest: Any, value: Any) -> None:
    """Arrays of numbers go in by their bytes: as text NumPy leaves out the middle of long ones."""
    if isinstance(value, np.ndarray) and value.dtype.kind not in "OSUT":
        digest.update(f"{value.dtype.str}{value.shape}".encode())
        digest.update(value.tobytes())
    elif isinstance(value, np.ndarray):  # of objects, whose bytes are addresses, or of text
        _put(digest, value.tolist())
    elif isinstance(value, (list, tuple)):
        digest.update(f"[{len(value)}]".encode())
        for part in value:
            _put(digest, part)
    else:
        digest.update(f"{value}\x1e".encode(errors="surrogatepass"))
