"""What a batch may look like, and what is in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from posthoc_align._arrays import is_tensor

X_NAMES = ("X", "embedding", "embeddings")
"""What the rows of a batch with named parts may be called: by scikit-learn, by tables, by files."""

EXPECTED = (
    "A batch is an array of shape (n_rows, n_features), a tuple (X, language), for maps (X, y), or "
    f"named columns: {', '.join(X_NAMES[:-1])} or {X_NAMES[-1]}, and language, y where needed."
)


@dataclass(frozen=True)
class Batch:
    """Rows of a source, in memory.

    Parameters
    ----------
    X : array of shape (n_rows, n_features)
    y : array of shape (n_rows,) or (n_rows, n_features_out), optional
    language : None, str, int, or array-like of shape (n_rows,)
    where : str
        What messages call it, such as "batch 3"; "" where rows are numbered through.
    first : int
        Number that messages give its first row.
    """

    X: Any
    y: Any = None
    language: Any = None
    where: str = ""
    first: int = 0

    def copied(self) -> Batch:
        """The same batch in memory of its own, which nobody else writes to."""
        X, y, language = (
            part.clone() if is_tensor(part) else copy(part)
            for part in (self.X, self.y, self.language)
        )
        return replace(self, X=X, y=y, language=language)


def is_label(language: Any) -> bool:
    """Whether this is one label for all rows, or none at all."""
    return language is None or isinstance(language, (str, int, np.integer))


def is_records(item: Any) -> bool:
    """Whether this is an Arrow record batch; a table has chunks instead, see :func:`records_of`."""
    return hasattr(item, "schema") and hasattr(item, "num_rows")


def is_batch(item: Any) -> bool:
    """Whether this is one batch and not several."""
    named = isinstance(item, Mapping) or hasattr(item, "columns") or is_records(item)
    return named or isinstance(item, (np.ndarray, tuple)) or is_tensor(item)


def records_of(table: Any) -> Iterator[tuple[int, Any]]:
    """Yield the record batches of an Arrow table, each with the number of its first row."""
    first = 0
    for records in table.to_batches() if hasattr(table, "to_batches") else [table]:
        yield first, records
        first += records.num_rows


def parts_of(item: Any, *, pairs: bool, where: str = "") -> Batch:
    """Take a batch apart.

    Parameters
    ----------
    item : array, tuple, mapping or Arrow record batch
    pairs : bool
        Whether the second entry of a tuple is y; else it is the language.
    where : str
        What messages call it.

    Raises
    ------
    TypeError
        If it is none of these.
    ValueError
        If named columns have no rows among them, or twice.
    """
    if is_records(item):
        arrow = {name: item.column(i) for i, name in enumerate(item.schema.names)}
        return _named_parts(arrow, where, _from_arrow)
    if isinstance(item, Mapping):
        return _named_parts(item, where, lambda _, part, __: part)
    if isinstance(item, (tuple, list)) and 1 <= len(item) <= 2 and _has_rows(item[0]):
        second = item[1] if len(item) == 2 else None
        return Batch(item[0], second if pairs else None, None if pairs else second, where)
    if hasattr(item, "shape"):
        return Batch(item, where=where)
    what = f"{type(item).__name__} of {len(item)}" if hasattr(item, "__len__") else type(item)
    raise TypeError(
        f"{(where or 'the source').capitalize()} is a {what}, no batch. {EXPECTED} A list is a list"
        " of batches: pass numpy.asarray(source) of one that holds the rows themselves."
    )


def _has_rows(X: Any) -> bool:
    """Whether this is an array, or what becomes one: a path, a store, a list of rows."""
    return hasattr(X, "shape") or hasattr(X, "shards") or isinstance(X, str) or _is_path(X)


def _is_path(X: Any) -> bool:
    return hasattr(X, "__fspath__")


def _named_parts(parts: Mapping[str, Any], where: str, read: Any) -> Batch:
    names = [name for name in X_NAMES if name in parts]
    if len(names) != 1:
        raise ValueError(
            f"{(where or 'the source').capitalize()} has the columns {list(parts)}, "
            f"{names or 'none'} of which can be the rows; expected just one of "
            f"{', '.join(X_NAMES)}. Rename or leave out columns."
        )
    X, y, language = (
        None if parts.get(name) is None else read(name, parts[name], where)
        for name in (names[0], "y", "language")
    )
    return Batch(X, y, language, where)


def _from_arrow(name: str, column: Any, where: str) -> Any:
    """A column as rows or labels; rows share the memory of the column."""
    column = getattr(column, "storage", column)  # of an extension type, such as tensors
    if not hasattr(column.type, "value_type") or not hasattr(column, "flatten"):
        if name not in X_NAMES:
            numeric = str(column.type).startswith(("int", "uint", "float", "double", "halffloat"))
            return column.to_numpy(zero_copy_only=False) if numeric else column.to_pylist()
        raise ValueError(
            f"Column {name!r} of {where or 'the source'} is of type {column.type}; expected a list "
            "of numbers a row. Embeddings of one number a column: pass the columns as one array."
        )
    width = getattr(column.type, "list_size", None)
    if column.null_count:
        raise ValueError(
            f"Column {name!r} of {where or 'the source'} is null in {column.null_count} rows: "
            "every row needs an embedding. Leave such rows out."
        )
    if width is None:
        widths = np.unique(column.value_lengths().to_numpy(zero_copy_only=False))
        if len(widths) > 1:
            raise ValueError(
                f"Column {name!r} of {where or 'the source'} has rows of {widths[0]} to "
                f"{widths[-1]} numbers; expected as many in every row."
            )
        width = int(widths[0]) if len(widths) else 0
    return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), width)
