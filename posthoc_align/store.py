"""Embeddings and labels on disk, read without ever running what a file holds.

Arrays in ``.npy`` and ``.safetensors`` are memory-mapped: rows are read when they are used; so is
one layer of an :class:`posthoc_align.embedding_store.EmbeddingStore` of one shard.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from posthoc_align._array_files import (
    SAVE,
    PathLike,
    Refused,
    existing_file,
    read_npy,
    read_npz,
    read_safetensors,
    require_rows,
    unreadable,
)
from posthoc_align._arrays import Array, is_tensor, namespace, upcast
from posthoc_align._blocks import blocks
from posthoc_align._table_files import read_labels, read_table
from posthoc_align.embedding_store import EmbeddingStore
from posthoc_align.embedding_store._index import NAME as STORE_INDEX
from posthoc_align.embedding_store._shard import listed

__all__ = [
    "is_store",
    "open_store",
    "read_corpus",
    "read_embeddings",
    "read_labels",
    "read_table",
]


def read_embeddings(path: PathLike, *, mmap: bool = True) -> Array:
    """Read one two-dimensional array of embeddings.

    Parameters
    ----------
    path : str or path
        ``.npy``; ``.npz`` or ``.safetensors`` with one array, or one named ``embeddings``.
    mmap : bool, default=True
        Leave the rows of ``.npy`` and ``.safetensors`` on disk until they are used: memory O(1).
        False copies them into memory. ``.npz`` is always read into memory.
        The array of True is read-only.

    Returns
    -------
    X : array of shape (n_samples, n_features)
        A NumPy array of the stored type; bfloat16 comes as a torch tensor.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, of another format, holds several arrays and none named
        ``embeddings``, pickled objects (never unpickled), text, complex or no numbers, or an array
        that is empty or not two-dimensional.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "en.npy"
    >>> np.save(path, np.eye(3, 2, dtype=np.float16))
    >>> X = read_embeddings(path)
    >>> X.shape, X.dtype, type(X).__name__
    ((3, 2), dtype('float16'), 'memmap')
    """
    path = existing_file(path)
    readers = {".npy": read_npy, ".npz": read_npz, ".safetensors": read_safetensors}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ValueError(
            f"{path} has the extension {path.suffix!r}; embeddings are read from "
            f"{', '.join(readers)}. {SAVE}"
        )
    try:
        X = reader(path)
    except (Refused, PermissionError, MemoryError):
        raise
    except Exception as error:  # damaged bytes break parsers in ways no list of types covers
        raise unreadable(path, error) from error
    require_rows(path, tuple(X.shape))
    return X if mmap or is_tensor(X) else np.array(X)


def read_corpus(
    paths: PathLike | Iterable[PathLike],
    *,
    table: PathLike | None = None,
    labels: Any = None,
    layer: int | None = None,
) -> Bunch:
    """Read the embeddings of several languages, and which rows translate each other.

    Parameters
    ----------
    paths : path, or iterable of paths
        Either several files, one a language: the file's stem is the language (``emb/en.npy`` is
        "en"), and row i of every file has the pair id i. They are joined in memory:
        O(n_samples n_features). Or one file with the rows of all languages, and a `table`; then
        rows stay on disk. Or the folder of one store, which says both itself.
    table : path, optional
        Language and pair id of each row of the one file, or of the store in place of its own: see
        :func:`read_table`.
    labels : path or array-like, optional
        Labels of the task: see :func:`read_labels`. One a row; or, without a table, one a pair,
        shared by all languages: that of the pair id i at place i.
    layer : int, optional
        Of a store that has several.

    Returns
    -------
    corpus : Bunch
        X of shape (n_samples, n_features); language, pair_id of shape (n_samples,); label and
        split the same, or None.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    TypeError
        If a path is no str or path.
    ValueError
        If files differ in rows, width or type, give one language twice, a table or labels do not
        have one entry a row, one file comes without a table, or several with one; if a row holds
        NaN or infinity, or zeros alone, which has no direction. The file and the row, counted from
        0, are named. If a store is damaged, has no such layer, or knows no languages.

    Notes
    -----
    All rows are read once to be checked, block by block.
    """
    files = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    if not files:
        raise ValueError("No embeddings files were given: pass one a language, or one and a table.")
    if is_store(files[0]):
        corpus = _from_store(files, table, layer)
    elif layer is not None:
        raise ValueError(
            f"A layer came ({layer}), but {files[0]} is no store: files have one layer each. Leave "
            "it out (in Python layer=, of the command --layer)."
        )
    else:
        corpus = _from_table(files, table) if table is not None else _from_files(files)
    if labels is not None:
        if corpus.label is not None:
            raise ValueError(
                f"Labels came twice: as the column label of {table} and as labels (labels=, "
                "--labels). Pass one."
            )
        found = read_labels(labels) if isinstance(labels, (str, os.PathLike)) else labels
        corpus.label = _one_a_row(np.asarray(found), corpus.pair_id, shared=table is None)
    return corpus


def is_store(path: PathLike) -> bool:
    """Whether a path is the folder of an embedding store.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    bool
    """
    return isinstance(path, (str, os.PathLike)) and (Path(path) / STORE_INDEX).is_file()


def open_store(path: PathLike) -> EmbeddingStore:
    """Open a store of which every shard is there.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    EmbeddingStore

    Raises
    ------
    FileNotFoundError
        If there is no store.
    ValueError
        If its index or a shard is damaged: going on without would leave rows out unseen.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of damaged shards: they are refused here
        store = EmbeddingStore(path)
    if store.damaged:
        raise ValueError(
            f"The store {path} is damaged: {listed(store.damaged)}. Copy it again, or delete the "
            "folder and extract again."
        )
    return store


def _from_store(files: Sequence[PathLike], table: PathLike | None, layer: int | None) -> Bunch:
    if len(files) > 1:
        raise ValueError(
            f"{files[0]} is a store and came with {len(files) - 1} more: a store has the rows of "
            "all languages. Pass it alone."
        )
    store = open_store(files[0])
    if layer is None and len(store.layers or ()) > 1:
        raise ValueError(
            f"The store {store.path} has the layers {list(store.layers or ())}: name one (in "
            "Python layer=, of the command --layer)."
        )
    X = store.to_array(layer=layer)
    _require_sound(store.path, X)
    if table is not None:
        return Bunch(X=X, **_rows_of_table(table, store.path, X.shape[0]))
    if store.language is None:
        raise ValueError(
            f"The store {store.path} does not know the language of its rows: pass a table with the "
            "columns language and pair_id (in Python table=, of the command --table)."
        )
    ids = np.full(len(store), -1) if store.pair_id is None else store.pair_id
    return Bunch(X=X, language=store.language, pair_id=ids, label=None, split=None)


def _from_table(files: Sequence[PathLike], table: PathLike) -> Bunch:
    if len(files) > 1:
        raise ValueError(
            f"{len(files)} files came with a table: a table describes the rows of one file. "
            "Pass one file, or no table and one file a language."
        )
    X = read_embeddings(files[0])
    _require_sound(files[0], X)
    return Bunch(X=X, **_rows_of_table(table, files[0], X.shape[0]))


def _rows_of_table(table: PathLike, described: PathLike, n_rows: int) -> Bunch:
    rows = read_table(table)
    if len(rows.language) != n_rows:
        raise ValueError(
            f"{table} has {len(rows.language)} rows and {described} has {n_rows}: expected one "
            "line a row of embeddings, in the same order, besides the header line."
        )
    return rows


def _from_files(files: Sequence[PathLike]) -> Bunch:
    if len(files) == 1:
        existing_file(files[0])  # a name that is mistyped is the likelier mistake
        raise ValueError(
            f"{files[0]} came alone: the languages of its rows are unknown. Pass one file a "
            "language, or a table with the columns language and pair_id (in Python table=, of the "
            "command --table)."
        )
    arrays = [read_embeddings(path) for path in files]
    stems = [Path(path).stem for path in files]
    twice = sorted({stem for stem in stems if stems.count(stem) > 1})
    if twice:
        same = [str(path) for path, stem in zip(files, stems, strict=True) if stem in twice]
        raise ValueError(
            f"The languages {twice} come from more than one file, {same}: a file's stem is its "
            "language. Rename or leave out one."
        )
    shapes = {tuple(X.shape) for X in arrays}
    turned = any(shape[::-1] in shapes for shape in shapes if shape[0] != shape[1])
    _require_same(
        "rows",
        files,
        [X.shape[0] for X in arrays],
        "Is one of them transposed? Their shapes are those of a matrix and its transpose; expected "
        "is (texts, dimensions) in each."
        if turned
        else "Rows must correspond (row i of each is one text); for partial translations pass one "
        "file and a table (in Python table=, of the command --table).",
    )
    _require_same("columns", files, [X.shape[1] for X in arrays], "Use one encoder and one layer.")
    _require_same("dtype", files, [str(X.dtype) for X in arrays], "Save all as one type.")
    for path, X in zip(files, arrays, strict=True):
        _require_sound(path, X)
    n_rows = arrays[0].shape[0]
    X = namespace(*arrays).concat(arrays) if is_tensor(arrays[0]) else np.concatenate(arrays)
    language = np.repeat(np.array(stems), n_rows)
    pair_id = np.tile(np.arange(n_rows), len(files))
    return Bunch(X=X, language=language, pair_id=pair_id, label=None, split=None)


def _require_sound(path: PathLike, X: Array) -> None:
    """Raise for the first row that holds NaN, infinity or zeros alone; one pass, by blocks."""
    xp = namespace(X)
    for rows in blocks(X):
        block = upcast(X[rows])
        wrong = {
            "NaN or infinity": ~xp.all(xp.isfinite(block), axis=1),
            "zeros alone": xp.all(block == 0, axis=1),
        }
        for what, bad in wrong.items():
            if bool(xp.any(bad)):
                row = rows.start + int(xp.argmax(xp.astype(bad, xp.int64)))
                raise ValueError(
                    f"{path} holds {what} in row {row}, counted from 0 (an empty text often is the "
                    "cause). Embed that text again, or leave it out together with its translations."
                )


def _require_same(what: str, files: Sequence[PathLike], found: Sequence[Any], cure: str) -> None:
    odd = next((i for i, value in enumerate(found) if value != found[0]), None)
    if odd is not None:
        raise ValueError(
            f"Files differ in {what}: {files[0]} has {found[0]}, {files[odd]} has {found[odd]}. "
            f"{cure}"
        )


def _one_a_row(labels: np.ndarray, pair_id: np.ndarray, *, shared: bool) -> np.ndarray:
    """Labels as they are if there is one a row, else, where they may be shared, by pair id."""
    n_rows = len(pair_id)
    if labels.shape == (n_rows,):
        return labels
    numbered = shared and pair_id.dtype.kind in "iu" and bool(pair_id.min() >= 0)
    n_pairs = int(pair_id.max()) + 1 if numbered else 0
    if numbered and labels.shape == (n_pairs,):
        return labels[pair_id]
    also = f"{n_pairs} (one a pair, shared by all languages) or " if numbered else ""
    raise ValueError(
        f"labels has shape {labels.shape}; expected {also}{n_rows} (one a row). "
        "Check that labels and embeddings come from the same texts."
    )
