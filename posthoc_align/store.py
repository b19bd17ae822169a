"""Embeddings and labels on disk, read without ever running what a file holds.

Arrays in ``.npy`` and ``.safetensors`` are memory-mapped: rows are read when they are used.
"""

from __future__ import annotations

import os
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

__all__ = ["read_corpus", "read_embeddings", "read_labels", "read_table"]


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
) -> Bunch:
    """Read the embeddings of several languages, and which rows translate each other.

    Parameters
    ----------
    paths : path, or iterable of paths
        Either several files, one a language: the file's stem is the language (``emb/en.npy`` is
        "en"), and row i of every file has the pair id i. They are joined in memory:
        O(n_samples n_features). Or one file with the rows of all languages, and a `table`; then
        rows stay on disk.
    table : path, optional
        Language and pair id of each row of the one file: see :func:`read_table`.
    labels : path or array-like, optional
        Labels of the task: see :func:`read_labels`. With several files one a pair, shared by all
        languages, or one a row of all files; with one file one a row.

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
        0, are named.

    Notes
    -----
    All rows are read once to be checked, block by block.
    """
    files = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    if not files:
        raise ValueError("No embeddings files were given: pass one a language, or one and a table.")
    corpus = _from_table(files, table) if table is not None else _from_files(files)
    n_rows = corpus.X.shape[0]
    if labels is not None:
        if corpus.label is not None:
            raise ValueError(
                f"Labels came twice: as the column label of {table} and as labels (labels=, "
                "--labels). Pass one."
            )
        found = read_labels(labels) if isinstance(labels, (str, os.PathLike)) else labels
        corpus.label = _one_a_row(np.asarray(found), n_rows, len(files))
    return corpus


def _from_table(files: Sequence[PathLike], table: PathLike) -> Bunch:
    if len(files) > 1:
        raise ValueError(
            f"{len(files)} files came with a table: a table describes the rows of one file. "
            "Pass one file, or no table and one file a language."
        )
    X = read_embeddings(files[0])
    _require_sound(files[0], X)
    rows = read_table(table)
    if len(rows.language) != X.shape[0]:
        raise ValueError(
            f"{table} has {len(rows.language)} rows and {files[0]} has {X.shape[0]}: expected one "
            "line a row of embeddings, in the same order, besides the header line."
        )
    return Bunch(X=X, **rows)


def _from_files(files: Sequence[PathLike]) -> Bunch:
    if len(files) == 1:
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


def _one_a_row(labels: np.ndarray, n_rows: int, n_files: int) -> np.ndarray:
    if labels.shape == (n_rows,):
        return labels
    if n_files > 1 and labels.shape == (n_rows // n_files,):
        return np.tile(labels, n_files)
    shared = f"{n_rows // n_files} (one a pair, shared by all languages) or " * (n_files > 1)
    raise ValueError(
        f"labels has shape {labels.shape}; expected {shared}{n_rows} (one a row). "
        "Check that labels and embeddings come from the same texts."
    )
