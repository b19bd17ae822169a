"""Labels of rows in text files and arrays: one a row, or a table with named columns."""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

from posthoc_align._array_files import (
    PathLike,
    Refused,
    existing_file,
    npy_header,
    npz_array,
    one_key,
    require_numbers,
    unreadable,
)

_TABLES = (".csv", ".tsv")


def read_labels(path: PathLike) -> np.ndarray:
    """Read one label a row.

    Parameters
    ----------
    path : str or path
        ``.txt``: one label a line. ``.csv`` or ``.tsv``: a header line, then the column ``label``,
        or the only column. ``.npy`` or ``.npz`` (the array ``label``, or the only one): one
        dimension, of text or numbers.

    Returns
    -------
    labels : ndarray of shape (n,)
        Integers if every label of a text file is one (without leading zeros), else str.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, of another format, empty, not one-dimensional, or has a blank line.
    """
    path = existing_file(path)
    kind = path.suffix.lower()
    if kind == ".txt":
        lines = read_text(path).split("\n")
        if lines[-1] == "":
            lines.pop()
        cells = [line.rstrip("\r") for line in lines]
        blank = [i for i, cell in enumerate(cells, start=1) if not cell.strip()]
        if blank:
            raise ValueError(f"{path} is blank in line {blank[0]}: expected one label a line.")
        labels = _numbers_if_all(cells)
    elif kind in _TABLES:
        columns = read_columns(path)
        labels = _numbers_if_all(columns[one_key(path, list(columns), "label", "columns")])
    elif kind in (".npy", ".npz"):
        labels = _label_array(path)
    else:
        raise ValueError(
            f"{path} has the extension {path.suffix!r}; labels are read from .txt (one a line), "
            ".csv, .tsv, .npy, .npz."
        )
    if labels.ndim != 1 or not labels.size:
        raise ValueError(
            f"{path} holds labels of shape {labels.shape}; expected one a row, shape (n,), n > 0."
        )
    return labels


def _label_array(path: Path) -> np.ndarray:
    try:
        if path.suffix.lower() == ".npz":
            return npz_array(path, "label", text=True)
        with path.open("rb") as stream:
            shape, _, dtype = npy_header(stream, path, os.path.getsize(path))
            if dtype.kind != "U":
                require_numbers(path, dtype)
            data = stream.read()
        return np.ndarray(shape, dtype, data)
    except (Refused, PermissionError, MemoryError):
        raise
    except Exception as error:  # damaged bytes break parsers in ways no list of types covers
        raise unreadable(path, error) from error


def read_table(path: PathLike) -> Bunch:
    r"""Read which language and which translation each row of an embeddings file is.

    Parameters
    ----------
    path : str or path
        ``.csv``, or ``.tsv`` (tabs, no quoting), UTF-8, with a header line and the columns
        ``language`` and ``pair_id``, optionally ``label`` and ``split``; others are ignored.
        An empty ``pair_id``, or -1, means that the row has no translation.

    Returns
    -------
    table : Bunch
        language, pair_id : ndarray of shape (n_rows,); label, split : the same, or None.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a column is missing, a line has another number of cells than the header, a language is
        empty, or the file is no text table.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "rows.csv"
    >>> _ = path.write_text("language,pair_id,label\nen,0,sport\nde,0,sport\nde,,food\n")
    >>> read_table(path).pair_id
    array([ 0,  0, -1])
    """
    path = existing_file(path)
    if path.suffix.lower() not in _TABLES:
        raise ValueError(f"{path} has the extension {path.suffix!r}; expected .csv or .tsv.")
    columns = read_columns(path)
    missing = [name for name in ("language", "pair_id") if name not in columns]
    if missing:
        raise ValueError(
            f"{path} has the columns {list(columns)} and lacks {missing}: expected a header line "
            "with language and pair_id (and, if wanted, label and split)."
        )
    empty = [i for i, cell in enumerate(columns["language"], start=1) if not cell]
    if empty:
        raise ValueError(f"{path} has no language in data row {empty[0]}: every row needs one.")
    return Bunch(
        language=np.array(columns["language"]),
        pair_id=parse_pair_ids(columns["pair_id"]),
        label=_numbers_if_all(columns["label"]) if "label" in columns else None,
        split=np.array(columns["split"]) if "split" in columns else None,
    )


def read_text(path: Path) -> str:
    """Read a file of UTF-8 text, with or without a byte order mark."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        data, at = error.object, error.start  # without the mark
        wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        raise Refused(
            f"{path} is not UTF-8 text: line {data.count(10, 0, at) + 1} has the byte "
            f"0x{data[at]:02x} as its byte {at - data.rfind(10, 0, at)} ({error.reason})"
            f"{'; it begins like UTF-16' if wide else ''}. Save it as UTF-8, e.g. with "
            "iconv -f ENCODING -t utf-8."
        ) from error


def read_columns(path: Path) -> dict[str, list[str]]:
    """Read a table with a header line as one list of cells a column."""
    tabs = path.suffix.lower() == ".tsv"
    text = read_text(path)
    try:
        quoted = csv.reader(io.StringIO(text, newline=""))
        lines = _tab_rows(text) if tabs else [row for row in quoted if row]
    except csv.Error as error:
        raise Refused(f"{path} is not a {path.suffix} table ({error}).") from error
    if len(lines) < 2:
        raise Refused(f"{path} has {len(lines)} lines: expected a header line, then the rows.")
    header = [cell.strip() for cell in lines[0]]
    for number, row in enumerate(lines[1:], start=1):
        if len(row) != len(header):
            raise Refused(
                f"{path} has {len(row)} cells in data row {number} and {len(header)} in its header "
                f"{header}. Cells that hold {'tabs' if tabs else 'commas'} need quotes in .csv "
                "and cannot be in .tsv."
            )
    if len(set(header)) != len(header):
        raise Refused(f"{path} names a column twice: {header}. Rename one.")
    cells = zip(*lines[1:], strict=True)
    return {name: [c.strip() for c in column] for name, column in zip(header, cells, strict=True)}


def _tab_rows(text: str) -> list[list[str]]:
    """Cells between tabs, no quoting: a text with a stray quotation mark costs no rows."""
    lines = (line.removesuffix("\r") for line in text.split("\n"))
    return [line.split("\t") for line in lines if line]


def _numbers_if_all(cells: Sequence[str]) -> np.ndarray:
    """Integers if every cell is one as Python writes it ("07" is an id, not 7), else str."""
    if cells and all(re.fullmatch(r"0|-?[1-9]\d{0,17}", cell, re.ASCII) for cell in cells):
        return np.array([int(cell) for cell in cells], dtype=np.int64)
    return np.array(cells, dtype=str)


def parse_pair_ids(cells: Sequence[str]) -> np.ndarray:
    """Ids as int with -1, or as str with "", where a row is unpaired."""
    ids = _numbers_if_all([cell or "-1" for cell in cells])
    if ids.dtype.kind == "U":
        ids[ids == "-1"] = ""
    return ids
