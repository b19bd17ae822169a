"""Batches are checked, compared and put together before they are summed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from posthoc_align._arrays import (
    Array,
    check_rows,
    check_target,
    device_of,
    is_tensor,
    labels_to_host,
)
from posthoc_align._blocks import BadRow
from posthoc_align.embedding_store._shard import joined, type_name
from posthoc_align.languages import check_language, language_of
from posthoc_align.scale._batches import Batch
from posthoc_align.scale._shards import BATCH_ROWS


@dataclass(frozen=True)
class Rows:
    """The rows of some batches, one after the other.

    Parameters
    ----------
    X : array of shape (n_rows, n_features)
    y : array of shape (n_rows,) or (n_rows, n_features_out), or None
    language : ndarray of shape (n_rows,), or None
    origin : list of tuple
        (number of rows, what messages call them, number of the first) of each batch.
    """

    X: Array
    y: Any
    language: np.ndarray | None
    origin: Sequence[tuple[int, str, int]]

    def renumbered(self, bad: BadRow) -> BadRow:
        """An error about a row, with the row's place in its own batch."""
        row, origin = bad.row, iter(self.origin)
        n_rows, where, first = next(origin)
        while row >= n_rows:
            row -= n_rows
            n_rows, where, first = next(origin)
        place = f" of {where}".replace("{", "{{").replace("}", "}}") if where else ""
        return BadRow(first + row, bad.text.replace("{row}", "{row}" + place))


def gathered(batches: Iterable[Batch], *, pairs: bool) -> Iterator[Rows]:
    """Check batches, and put small ones together up to ``BATCH_ROWS``.

    So d x d sums are added up as often as the rows ask for, however many batches they come in.

    Parameters
    ----------
    batches : iterable of Batch
    pairs : bool
        Whether y is the counterpart of X.

    Raises
    ------
    ValueError
        If a batch has no rows or labels that do not fit, or is not like the first: it is named.
    """
    first: tuple[str, dict[str, str]] | None = None
    waiting: list[Batch] = []
    n_waiting = 0
    for raw in batches:
        batch = _checked(raw, pairs)
        first = _require_alike(first, batch)
        n_rows = batch.X.shape[0]
        if waiting and n_waiting + n_rows > BATCH_ROWS:
            yield _together(waiting)
            waiting, n_waiting = [], 0
        waiting.append(batch)
        n_waiting += n_rows
    if waiting:
        yield _together(waiting)


def _together(batches: Sequence[Batch]) -> Rows:
    X, y, language = (
        None if parts[0] is None else joined(parts, 0)
        for parts in zip(*((batch.X, batch.y, batch.language) for batch in batches), strict=True)
    )
    return Rows(X, y, language, [(batch.X.shape[0], batch.where, batch.first) for batch in batches])


def _checked(batch: Batch, pairs: bool) -> Batch:
    """The batch with its rows as an array and a label for each."""
    try:
        language = language_of(batch.X, batch.language)
        X = batch.X if _is_plain(batch.X) else check_rows(None, batch.X)
        n_rows, y = X.shape[0], batch.y
        if pairs:
            y = check_target(y, X)
        elif y is not None and len(y := labels_to_host(y)) != n_rows:
            raise ValueError(f"X has {n_rows} rows and y has {len(y)}: pass one label a row.")
        return replace(batch, X=X, y=y, language=check_language(language, n_rows))
    except (TypeError, ValueError) as error:
        if not batch.where:
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{_named(batch)}: {error}") from error


def _is_plain(X: Any) -> bool:
    """Whether these are rows for certain: looking closer takes longer than to sum a few of them."""
    plain = type(X) is np.ndarray and X.ndim == 2 and X.size > 0
    return plain and X.dtype in (np.float32, np.float64, np.float16)


def _require_alike(first: tuple[str, dict[str, str]] | None, batch: Batch) -> Any:
    """Raise unless a batch is like the first, of which its name and traits are kept."""
    traits = _traits(batch)
    if first is None:
        return batch.where, traits
    where, before = first
    for what, cure in _CURES.items():
        if before[what] != traits[what]:
            raise ValueError(
                f"{_named(batch)} has {what} {traits[what]}, but {where} has {before[what]}. {cure}"
            )
    return first


_CURES = {
    "kind": "Move or convert one of them.",
    "columns": "Pass rows of one encoder and of one layer.",
    "dtype": "Convert one to the type of the other.",
    "language labels": "Pass language with every batch or with none, all text or all integers.",
    "y": "Pass y with every batch or with none, always of one kind and width.",
}


def _traits(batch: Batch) -> dict[str, str]:
    """What all batches must have in common, by the names that messages give it."""
    X, y = batch.X, batch.y
    return {
        "kind": f"torch tensor on {device_of(X)}" if is_tensor(X) else "NumPy array",
        "columns": str(X.shape[1]),
        "dtype": type_name(X),
        "language labels": _kind(batch.language),
        "y": _kind(y) + ("" if y is None or y.ndim < 2 else f" of {y.shape[1]} columns"),
    }


def _kind(labels: Any) -> str:
    if labels is None:
        return "none"
    kind = "f" if is_tensor(labels) else labels.dtype.kind
    return {"U": "text", "O": "objects"}.get(kind, "numbers")


def _named(batch: Batch) -> str:
    return batch.where[:1].upper() + batch.where[1:]
