"""Texts with their language and pair id, from files of four kinds."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from posthoc_align._array_files import PathLike, Refused, existing_file, unreadable
from posthoc_align._table_files import parse_pair_ids, read_columns, read_text
from posthoc_align.languages import check_pair_id, require_unique_pairs

_COLUMNS = ("text", "language", "pair_id")


def read_texts(
    paths: PathLike | Iterable[PathLike], *, language: str | Sequence[str] | None = None
) -> Bunch:
    r"""Read texts of one or several languages.

    Parameters
    ----------
    paths : path, or iterable of paths
        Each one of:

        * ``.txt``: one text a line, UTF-8. Line i (from 0) has the pair id i, so that several such
          files, one a language, must have equally many lines.
        * ``.tsv`` (tabs, no quoting) or ``.csv``: a header line with the column ``text`` and, if
          there, ``language`` and ``pair_id``; others are ignored.
        * ``.jsonl``: one object a line, with the same keys.
        * ``.parquet``: the same columns; needs pyarrow.
    language : str or sequence of str, optional
        Of the texts of each file, or one for all. Where it is not given a table's own column
        counts, or else the file's stem: ``texts/en.txt`` is "en".

    Returns
    -------
    corpus : Bunch
        * text : list of str
        * language : ndarray of str of shape (n_texts,)
        * pair_id : ndarray of shape (n_texts,); -1 or "" where a table names none

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ImportError
        If a ``.parquet`` file comes and pyarrow is not installed.
    ValueError
        If a file is empty, damaged or of another kind, lacks the column ``text``, has an empty
        text, plain files differ in lines, or a pair id is twice in a language.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for code, text in [("en", "Snow.\nRain.\n"), ("de", "Schnee.\nRegen.\n")]:
    ...     _ = (folder / f"{code}.txt").write_text(text, encoding="utf-8")
    >>> corpus = read_texts([folder / "en.txt", folder / "de.txt"])
    >>> corpus.text[3], str(corpus.language[3]), int(corpus.pair_id[3])
    ('Regen.', 'de', 1)
    """
    files = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    if not files:
        raise ValueError("No files of texts came: pass at least one.")
    names = _one_a_file(language, files)
    parts = [_read(path, name) for path, name in zip(files, names, strict=True)]
    _require_same_lines(files, parts)
    ids = [part.pair_id for part in parts]
    if len({array.dtype.kind for array in ids}) > 1:  # some text: then all are
        ids = [np.where(a == -1, "", a.astype(str)) if a.dtype.kind == "i" else a for a in ids]
    corpus = Bunch(
        text=[text for part in parts for text in part.text],
        language=np.concatenate([part.language for part in parts]),
        pair_id=np.concatenate(ids),
    )
    try:
        require_unique_pairs(corpus.language, corpus.pair_id)
    except ValueError as error:
        more = f" and {len(files) - 3} more" * (len(files) > 3)
        raise Refused(f"{', '.join(map(str, files[:3]))}{more}: {error}") from None
    return corpus


def _one_a_file(
    language: str | Sequence[str] | None, files: Sequence[PathLike]
) -> Sequence[str | None]:
    if language is None or isinstance(language, str):
        return [language] * len(files)
    if len(language) != len(files):
        raise ValueError(
            f"{len(language)} languages came with {len(files)} files: pass one a file, or one for "
            "all."
        )
    return language


def _read(path: PathLike, language: str | None) -> Bunch:
    path = existing_file(path)
    readers: dict[str, Callable[[Path], dict[str, Any]]] = {
        ".txt": _plain,
        ".tsv": read_columns,
        ".csv": read_columns,
        ".jsonl": _json_lines,
        ".parquet": _parquet,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ValueError(
            f"{path} has the extension {path.suffix!r}; texts are read from {', '.join(readers)}."
        )
    if not path.stat().st_size:
        raise ValueError(f"{path} is empty: expected texts. Check the step that wrote it.")
    columns = reader(path)
    if "text" not in columns:
        raise ValueError(
            f"{path} has the columns {list(columns)} and lacks 'text': expected text and, if "
            "wanted, language and pair_id."
        )
    texts = list(columns["text"])
    if not texts:
        raise ValueError(f"{path} has no rows: expected texts. Check the step that wrote it.")
    blank = [row for row, text in enumerate(texts) if not isinstance(text, str) or not text.strip()]
    if blank:
        raise ValueError(
            f"{path} has no text in row {blank[0]} (from 0; {len(blank)} such rows): an empty text "
            "has no embedding. Take the row out, in all languages if they correspond by row."
        )
    return Bunch(
        text=texts,
        language=_languages(path, columns, language, len(texts)),
        pair_id=_ids(path, columns.get("pair_id"), len(texts)),
        by_line=path.suffix.lower() == ".txt",
    )


def _languages(
    path: Path, columns: dict[str, Any], language: str | None, n_rows: int
) -> np.ndarray:
    if language is not None or "language" not in columns:
        return np.full(n_rows, path.stem if language is None else language)
    found = list(columns["language"])
    odd = [row for row, name in enumerate(found) if not isinstance(name, str) or not name]
    if odd:
        raise ValueError(f"{path} has no language in row {odd[0]} (from 0): every row needs one.")
    return np.array(found, dtype=str)


def _ids(path: Path, column: Any, n_rows: int) -> np.ndarray:
    if column is None:
        return np.full(n_rows, -1)
    if path.suffix.lower() in (".tsv", ".csv"):
        return parse_pair_ids(column)
    try:
        return check_pair_id(np.array(list(column), dtype=object), n_rows, of=str(path))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _plain(path: Path) -> dict[str, Any]:
    lines = read_text(path).split("\n")  # not at other characters that Unicode calls line ends
    if lines[-1] == "":
        lines.pop()
    return {"text": [line.rstrip("\r") for line in lines], "pair_id": np.arange(len(lines))}


def _json_lines(path: Path) -> dict[str, Any]:
    rows = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(
                f"{path} is no JSON in line {number} ({error}): expected one object a line. Was "
                "the file cut off?"
            ) from None
        if not isinstance(row, dict):
            raise ValueError(
                f"{path} has a {type(row).__name__} in line {number}: expected an object, like "
                '{"text": "Snow.", "language": "en", "pair_id": 0}.'
            )
        rows.append(row)
    names = [name for name in _COLUMNS if any(name in row for row in rows)]
    return {name: [row.get(name) for row in rows] for name in names}


def _parquet(path: Path) -> dict[str, Any]:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError(
            f"{path} needs pyarrow to be read: pip install pyarrow, or save it as .tsv or .jsonl."
        ) from error
    try:
        names = parquet.read_schema(path).names
        table = parquet.read_table(path, columns=[name for name in _COLUMNS if name in names])
        return {name: table[name].to_pylist() for name in table.column_names} or dict.fromkeys(
            names
        )
    except Exception as error:  # damaged bytes break parsers in ways no list of types covers
        raise unreadable(path, error) from error


def _require_same_lines(files: Sequence[PathLike], parts: Sequence[Bunch]) -> None:
    plain = [(f, len(part.text)) for f, part in zip(files, parts, strict=True) if part.by_line]
    odd = [(file, n) for file, n in plain if n != plain[0][1]]
    if odd:
        raise Refused(
            f"Files differ in lines: {plain[0][0]} has {plain[0][1]}, {odd[0][0]} has {odd[0][1]}. "
            "Line i of each must translate line i of the others; where translations are missing "
            "use one table with the columns text, language and pair_id."
        )
