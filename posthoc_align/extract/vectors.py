"""Static word vectors: word2vec and fastText (text, binary), GloVe, an array and its words."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
from sklearn.utils import Bunch

from posthoc_align._array_files import PathLike, Refused, existing_file
from posthoc_align._table_files import read_text
from posthoc_align.store import read_embeddings

# The first bytes of fastText's own model files (a number they begin with, little-endian).
_FASTTEXT = (793712314).to_bytes(4, "little")


def read_vectors(
    path: PathLike, *, vocabulary: PathLike | None = None, max_words: int | None = None
) -> Bunch:
    r"""Read word vectors and their words.

    Parameters
    ----------
    path : str or path
        * ``.bin``: binary of word2vec (a line with the number of words and columns; then each word,
          a space, its float32 values).
        * ``.npy``, ``.npz``, ``.safetensors``: an array, with `vocabulary`.
        * any other: text, a word and its numbers a line, UTF-8; with a first line of two numbers
          (word2vec and fastText) or without (GloVe).
    vocabulary : str or path, optional
        The words of an array, one a line.
    max_words : int, optional
        Read so many from the start: files are sorted by frequency.

    Returns
    -------
    vectors : Bunch
        X : array of shape (n_words, n_features), float32, or as stored in an array file;
        word : ndarray of str, shape (n_words,)

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is empty, truncated, damaged, or a model file of fastText; or an array and its
        vocabulary differ in rows.

    Warns
    -----
    UserWarning
        If a word is there more than once: the first one counts. If bytes are no UTF-8: they are
        replaced.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "en.vec"
    >>> _ = path.write_text("2 3\ncat 1 0 0\ndog 0 1 .5\n")
    >>> vectors = read_vectors(path)
    >>> vectors.word.tolist(), vectors.X[1]
    (['cat', 'dog'], array([0. , 1. , 0.5], dtype=float32))
    """
    path = existing_file(path)
    if max_words is not None and max_words < 1:
        raise ValueError(f"max_words={max_words}: expected at least 1, or None for all.")
    if not path.stat().st_size:
        raise ValueError(f"{path} is empty: expected words and vectors. Fetch or write it again.")
    array_file = path.suffix.lower() in (".npy", ".npz", ".safetensors")
    if array_file != (vocabulary is not None):
        raise ValueError(
            f"{path} came {'without' if array_file else 'with'} vocabulary=: it is for "
            ".npy, .npz and .safetensors files, which hold no words, and for these alone."
        )
    with path.open("rb") as stream:
        if vocabulary is not None:
            X, words = _array(path, existing_file(vocabulary), max_words)
        elif path.suffix.lower() == ".bin":
            X, words = _binary(path, stream, max_words)
        else:
            X, words = _text(path, stream, max_words)
    replaced = sum("\ufffd" in word for word in words)
    if replaced:
        warnings.warn(
            f"{path} has {replaced} words with bytes that are no UTF-8; they were replaced.",
            UserWarning,
            stacklevel=2,
        )
    return _first_of_each(path, X, words)


def _first_of_each(path: Path, X: np.ndarray, words: list[str]) -> Bunch:
    first: dict[str, int] = {}
    for row, word in enumerate(words):
        first.setdefault(word, row)
    if len(first) < len(words):
        twice = next(word for row, word in enumerate(words) if first[word] != row)
        warnings.warn(
            f"{path} has {len(words) - len(first)} words more than once, such as {twice!r}: the "
            "first vector of each is kept.",
            UserWarning,
            stacklevel=3,
        )
        X = X[list(first.values())]
    return Bunch(X=X, word=np.array(list(first)))


def _text(path: Path, stream: BinaryIO, max_words: int | None) -> tuple[np.ndarray, list[str]]:
    head = stream.readline()
    n_words, width = _promised(path, head)
    if width is None:
        stream.seek(0)
        width = len(head.rstrip().split(b" ")) - 1
    if width < 1:
        raise Refused(
            f"{path} begins with {head[:40]!r}; expected a line with the number of words and "
            "columns, or a word and its numbers."
        )
    wanted = min(n for n in (n_words, max_words, np.inf) if n is not None)
    words, rows = [], []
    lines = islice(stream, None if wanted == np.inf else int(wanted))
    for word, row in _rows(path, lines, width, first=2 if n_words is not None else 1):
        words.append(word)
        rows.append(row)
    if not rows or (wanted != np.inf and max_words is None and len(rows) < wanted):
        promised = "words" if n_words is None else f"{n_words} words, as its first line says"
        raise Refused(
            f"{path} is truncated: expected {promised}, found {len(rows)}. Fetch it again."
        )
    return np.array(rows, dtype=np.float32), words


def _promised(path: Path, head: bytes) -> tuple[int, int] | tuple[None, None]:
    """The number of words and columns that a first line names, if it is such a line."""
    parts = head.split()
    if len(parts) != 2 or not all(part.isdigit() for part in parts):
        return None, None
    if max(map(len, parts)) > 12:  # a thousand times the words of the largest collections
        raise Refused(
            f"{path} is damaged: its first line promises {head[:20]!r}... words and columns. Fetch "
            "it again."
        )
    return int(parts[0]), int(parts[1])


def _rows(
    path: Path, lines: Iterator[bytes], width: int, *, first: int
) -> Iterator[tuple[str, np.ndarray]]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # how NumPy tells of what is no number
        for number, line in enumerate(lines, start=first):
            fields = line.rstrip().rsplit(b" ", width)  # a word may hold spaces itself
            try:
                row = np.fromstring(b" ".join(fields[1:]), dtype=np.float32, sep=" ")
            except (DeprecationWarning, ValueError):
                row = np.array([])
            if len(row) != width or len(fields) != width + 1:
                raise Refused(
                    f"{path} has no word and {width} numbers in line {number}: {line[:60]!r}. It "
                    "is damaged, cut off, or of another format. Fetch or write it again."
                )
            yield fields[0].decode(errors="replace"), row


def _binary(path: Path, stream: BinaryIO, max_words: int | None) -> tuple[np.ndarray, list[str]]:
    head = stream.readline(80)
    if head.startswith(_FASTTEXT):
        raise Refused(
            f"{path} is a model file of fastText; expected vectors. Give the .vec file beside it, "
            "or write one from the model with fastText's own tool."
        )
    n_words, width = _promised(path, head)
    if n_words is None or not width:
        raise Refused(
            f"{path} begins with {head[:40]!r}; expected a line with the number of words and "
            "columns (word2vec's binary format)."
        )
    data = stream.read()  # at once: words are of unknown length
    n_read = n_words if max_words is None else min(n_words, max_words)
    words: list[str] = []
    rows: list[np.ndarray] = []
    at = 0
    for _ in range(n_read):
        end = data.find(b" ", at)
        if end < 0 or end + 1 + 4 * width > len(data):
            raise Refused(
                f"{path} is truncated: its first line says {n_words} words, and {len(rows)} are "
                "there. Fetch it again."
            )
        words.append(data[at:end].lstrip(b"\n").decode(errors="replace"))
        rows.append(np.frombuffer(data, dtype="<f4", count=width, offset=end + 1))
        at = end + 1 + 4 * width
    if not rows:
        raise Refused(f"{path} holds no words: its first line is {head!r}.")
    return np.array(rows, dtype=np.float32), words


def _array(path: Path, vocabulary: Path, max_words: int | None) -> tuple[np.ndarray, list[str]]:
    X = read_embeddings(path)
    lines = read_text(vocabulary).split("\n")
    if lines[-1] == "":
        lines.pop()
    words = [line.rstrip("\r") for line in lines]
    if len(words) != X.shape[0]:
        raise Refused(
            f"{vocabulary} has {len(words)} words and {path} has {X.shape[0]} rows: expected one "
            "word a row, in the same order."
        )
    return X[:max_words], words[:max_words]
