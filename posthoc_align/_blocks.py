"""Work on rows in blocks: bounded memory, a cache that is used, errors that name the row."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np

from posthoc_align._arrays import (
    Array,
    cast_like,
    empty_like_rows,
    index_like,
    like,
    namespace,
    on_host,
    upcast,
)
from posthoc_align._memory import attempt, release_memory

# A block that is read, changed and summed should stay in a core's cache (measured: 512 x 384
# float32 is the fastest for sums); a matrix product wants longer blocks; a GPU wants few launches.
CACHE_BLOCK = 2**20
PRODUCT_BLOCK = 2**24
DEVICE_BLOCK = 2**28
LONGEST = 2**14  # rows of a block on the host, however narrow: sums of float32 grow inexact
ROUTED_BLOCK = 2**26  # rows of mixed languages are gathered language by language, this much at once


T = TypeVar("T")


def blocks(X: Array, *, target: int = CACHE_BLOCK) -> Iterator[slice]:
    """Yield row slices that cover X, each about `target` bytes in the compute type."""
    itemsize = 8 if "64" in str(X.dtype) else 4
    there = not on_host(X)
    step = max(1, (max(target, DEVICE_BLOCK) if there else target) // (itemsize * X.shape[1]))
    step = step if there else min(step, LONGEST)
    for start in range(0, X.shape[0], step):
        yield slice(start, min(start + step, X.shape[0]))


def silent() -> Any:
    """Hush NumPy where NaN and infinity end in an error of our own, which names the row."""
    return np.errstate(invalid="ignore", over="ignore")


def is_finite_sum(block: Array) -> bool:
    """Whether the sum of a block is finite, hence (overflow aside) every entry is."""
    with silent():
        return bool(np.isfinite(float(namespace(block).sum(block))))


class BadRow(ValueError):
    """An error about one row, which whoever passed on a part of the rows can renumber.

    Parameters
    ----------
    row : int
    text : str
        The message, with ``{row}`` where the number goes.
    """

    def __init__(self, row: int, text: str) -> None:
        super().__init__(text.format(row=row))
        self.row, self.text = row, text

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.row, self.text)


def require_finite(X: Array, *, name: str = "X") -> None:
    """Raise a ValueError that names the first row of X with NaN or infinity, if there is one."""
    xp = namespace(X)
    for rows in blocks(X):
        block = upcast(X[rows])
        if is_finite_sum(block):
            continue
        bad = ~xp.all(xp.isfinite(block), axis=1)
        if bool(xp.any(bad)):
            at = int(xp.argmax(xp.astype(bad, xp.int64)))
            kind = "NaN" if bool(xp.any(xp.isnan(block[at]))) else "infinity"
            raise BadRow(
                rows.start + at,
                f"Input {name} contains {kind}, first in row {{row}}. Remove or repair such rows "
                "(an empty text often is the cause).",
            )


def explain_nonfinite(X: Array, *, name: str = "X") -> None:
    """Raise for sums that are not finite: name the bad row, or the overflow."""
    require_finite(X, name=name)
    wide = "64" in str(X.dtype)
    raise ValueError(
        f"Sums over {name} overflow float{64 if wide else 32}: its values are too large. "
        + ("Rescale the rows." if wide else "Rescale the rows or pass float64.")
    )


def map_rows(
    function: Callable[[Array, slice], Array],
    X: Array,
    *,
    width: int | None = None,
    target: int = CACHE_BLOCK,
) -> Array:
    """Apply a function to X block by block; the answer has X's kind, type and device.

    Parameters
    ----------
    function : callable
        ``function(block, rows)`` gets rows ``X[rows]`` in the compute type and returns as many
        rows with `width` columns. It must not change the block in place.
    X : array of shape (n_samples, n_features)
    width : int, optional
        Columns of the answer; those of X when None.
    target : int
        Bytes of a block: ``PRODUCT_BLOCK`` where the function is a matrix product.

    Raises
    ------
    ValueError
        If X holds NaN or infinity, or the answer does not fit into X's type.
    """
    out = empty_like_rows(X, X.shape[1] if width is None else width)

    def work(rows: slice) -> None:
        with silent():
            block = function(upcast(X[rows]), rows)
        _store(block, out, rows, X)

    in_blocks(work, X, target=target)
    return out


def in_blocks(work: Callable[[slice], None], X: Array, *, target: int = CACHE_BLOCK) -> None:
    """Call `work` on one slice of rows after the other; on smaller ones where memory runs out.

    Parameters
    ----------
    work : callable
        May be called again on parts of the rows that it ran out of memory on.
    X : array of shape (n_samples, n_features)
    target : int
        Bytes of a block.

    Raises
    ------
    MemoryError
        If memory does not suffice for a single row.

    Warns
    -----
    UserWarning
        For each halving.
    """
    step = X.shape[0]
    for whole in blocks(X, target=target):
        start = whole.start
        while start < whole.stop:
            rows = slice(start, min(start + step, whole.stop))
            if attempt(work, rows):
                start = rows.stop
                continue
            step = _half(rows.stop - rows.start, X)


def over_blocks(make: Callable[[list[slice]], T], X: Array, *, target: int = CACHE_BLOCK) -> T:
    """What `make` makes of slices that cover X; of smaller ones, anew, if memory runs out.

    Parameters
    ----------
    make : callable
        Sums over the rows of all slices, such that nothing is left of a pass that failed.
    X, target
        As in :func:`in_blocks`, as is what it raises and warns of.
    """
    slices, made = list(blocks(X, target=target)), []
    while not attempt(lambda cut: made.append(make(cut)), slices):
        step = _half(slices[0].stop - slices[0].start, X)
        slices = [slice(i, min(i + step, X.shape[0])) for i in range(0, X.shape[0], step)]
    return made[0]


def _half(n_rows: int, X: Array) -> int:
    """Half of a block that was too large; what torch kept in reserve is free again."""
    release_memory()
    if n_rows == 1:
        raise MemoryError(
            f"Out of memory on a single row of {X.shape[1]} columns. Free memory where X lies "
            "(other arrays, other processes), or pass X elsewhere, such as X.cpu()."
        )
    warnings.warn(
        f"Out of memory on a block of {n_rows} rows: going on with blocks of {n_rows // 2}. Free "
        "memory where X lies, or pass fewer rows at once.",
        UserWarning,
        stacklevel=2,
    )
    return n_rows // 2


def route_rows(functions: list[Callable[[Array], Array]], codes: np.ndarray, X: Array) -> Array:
    """Apply to each row the function its code names; the answer is like X.

    Parameters
    ----------
    functions : list of callable
        Each maps rows in the compute type to as many rows of the same width.
    codes : ndarray of int of shape (n_samples,)
    X : array of shape (n_samples, n_features)

    Raises
    ------
    ValueError
        If a function fails on a row (the row is named by its place in X), or an answer does not
        fit into X's type.
    """
    out = empty_like_rows(X, X.shape[1])

    def work(rows: slice) -> None:
        here = codes[rows]
        for code in np.unique(here).tolist():
            at = rows.start + np.flatnonzero(here == code)
            place = rows if len(at) == len(here) else index_like(at, X)
            try:
                with silent():
                    block = functions[code](upcast(X[place]))
            except BadRow as bad:
                raise BadRow(int(at[bad.row]), bad.text) from None
            _store(block, out, place, X)

    in_blocks(work, X, target=ROUTED_BLOCK)
    return out


def _store(block: Array, out: Array, place: Any, X: Array) -> None:
    """Write computed rows into an answer of X's type; refuse NaN in and infinity out."""
    xp = namespace(X)
    narrow = "16" in str(X.dtype)
    with silent():
        out[place] = cast_like(block, X)
    stored = upcast(out[place]) if narrow else block
    if not is_finite_sum(stored):
        require_finite(X)
        bad = ~xp.all(xp.isfinite(stored), axis=1)
        if bool(xp.any(bad)):
            wider = "float32" if "float16" in str(X.dtype).split(".") else "float64"
            raise ValueError(
                f"{int(xp.sum(xp.astype(bad, xp.int64)))} transformed rows do not fit into "
                f"{X.dtype}. Pass X as {wider}, or scale it down."
            )


class Runs:
    """Codes of rows, and whether a slice of them holds a single one (answered in no time).

    Parameters
    ----------
    codes : ndarray of int of shape (n_samples,)
    """

    def __init__(self, codes: np.ndarray) -> None:
        few = not len(codes) or codes.max() < 2**15
        self.codes = codes.astype(np.int16) if few else codes  # which NumPy sorts in linear time
        self._there: Array | None = None
        self._run = np.cumsum(np.diff(codes, prepend=codes[:1]) != 0, dtype=np.int32)

    @property
    def many(self) -> bool:
        """Whether a block of rows is of several codes, as a rule: the rows are shuffled."""
        return int(self._run[-1]) + 1 > len(self.codes) // 100

    def single(self, rows: slice) -> bool:
        """Whether the rows are of one code."""
        return bool(self._run[rows.start] == self._run[rows.stop - 1])

    def there(self, X: Array) -> Array:
        """The codes where X lies: one upload, and none where every block is of a single code."""
        if self._there is None:
            self._there = index_like(self.codes, X)
        return self._there

    def sorted(self, rows: slice) -> tuple[np.ndarray | None, list[tuple[int, slice]]]:
        """The order that puts rows of one code together, and where in it each code's rows lie.

        The order is None where the rows are of one code.
        """
        here = self.codes[rows]
        if self.single(rows):
            return None, [(int(here[0]), slice(0, len(here)))]
        order = np.argsort(here, kind="stable")
        found, starts = np.unique(here[order], return_index=True)
        stops = [*starts[1:].tolist(), len(here)]
        cuts = zip(starts.tolist(), stops, strict=True)
        return order, [(int(code), slice(*cut)) for code, cut in zip(found, cuts, strict=True)]


def gather(table: Array, codes: np.ndarray | Runs, X: Array) -> Callable[[slice], Array]:
    """Rows of a small table by each row's code, for one block at a time.

    A block of one language gets a single row to broadcast, which saves the gathered copy.
    """
    runs = codes if isinstance(codes, Runs) else Runs(codes)
    on_device = like(table, X)

    def rows_of(rows: slice) -> Array:
        if runs.single(rows):
            return on_device[int(runs.codes[rows.start])][None, :]
        return on_device[runs.there(X)[rows]]

    return rows_of
