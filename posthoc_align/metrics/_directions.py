"""Rows as what products are taken of: unit vectors, or points of one common scale.

Nothing here copies the rows: they are divided (and moved) block by block, when they are read.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np

from posthoc_align._arrays import (
    Array,
    check_rows,
    compute_dtype,
    like,
    namespace,
    require_same_place,
    resolution,
)
from posthoc_align._blocks import blocks, require_finite


@dataclass(frozen=True)
class Directions:
    """Rows seen as unit vectors: the rows as given and their lengths, divided when they are read.

    Attributes
    ----------
    rows : array of shape (n_samples, n_features)
    lengths : array of shape (n_samples,)
        Euclidean norms, in the type products run in; each finite and above zero.
    """

    rows: Array
    lengths: Array

    @classmethod
    def of(cls, X: Any, *, name: str = "X", dtype: Any = None) -> Directions:
        """Check the rows and measure them; the type of the lengths is X's compute type if None."""
        X = check_rows(None, X, name=name)
        return cls(X, _lengths(X, compute_dtype(X) if dtype is None else dtype, name))

    def __len__(self) -> int:
        return int(self.rows.shape[0])

    @property
    def width(self) -> int:
        """Number of features."""
        return int(self.rows.shape[1])

    @property
    def double(self) -> bool:
        """Whether products run in double precision."""
        return "64" in str(self.lengths.dtype)

    def slack(self, spacing: float | None = None) -> float:
        """Return the largest difference that rounding makes between cosines of equal pairs.

        A sum of d rounded terms of a product of unit rows walks about sqrt(d) / 4 spacings.
        Measured over OpenBLAS, MKL, both precisions, d from 2 to 4096 and tiles of 1 to 2048
        rows, the worst was 0.65 sqrt(d) (small d) to 0.4 sqrt(d) (large d): the bound holds all.
        """
        spacing = resolution(self.lengths) if spacing is None else spacing
        return (4.0 + sqrt(self.width) / 2.0) * spacing

    def unit(self, at: slice | Array) -> Array:
        """Return the rows at a slice or an index array as unit rows, in the type of the lengths."""
        xp = namespace(self.rows)
        block = xp.astype(self.rows[at], self.lengths.dtype, copy=False)
        return block / self.lengths[at][:, None]

    def exact(self, at: slice | Array) -> Array:
        """Return the unit rows at a slice or an index array in double precision, measured anew."""
        xp = namespace(self.rows)
        block = xp.astype(self.rows[at], xp.float64)
        return block / xp.sqrt(xp.sum(block * block, axis=1))[:, None]


@dataclass(frozen=True)
class Points(Directions):
    """Rows seen as points, moved and divided by one number that brings all into the unit ball.

    Products of points are as exact as cosines are, see :meth:`Directions.slack`.

    Attributes
    ----------
    rows : array of shape (n_samples, n_features)
    lengths : array of shape (1,)
        The scale, in the type products run in.
    shift : array of shape (n_features,)
        Added to each row before it is divided.
    """

    shift: Array

    @classmethod
    def both(
        cls, X: Directions, Y: Directions, *, shift_x: Array = None, shift_y: Array = None
    ) -> tuple[Points, Points]:
        """Two checked sides, each moved by its shift, as points of one scale."""
        xp, dtype = namespace(X.rows), X.lengths.dtype
        shifts, scale = [], 0.0
        for side, shift in ((X, shift_x), (Y, shift_y)):
            moved = like(np.zeros(X.width) if shift is None else shift, X.rows, dtype=dtype)
            shifts.append(moved)
            longest = float(xp.max(side.lengths)) + float(xp.sqrt(xp.sum(moved * moved)))
            scale = max(scale, longest)
        lengths = like(np.asarray([scale]), X.rows, dtype=dtype)
        return cls(X.rows, lengths, shifts[0]), cls(Y.rows, lengths, shifts[1])

    def unit(self, at: slice | Array) -> Array:
        """Return the points at a slice or an index array, in the type of the lengths."""
        xp = namespace(self.rows)
        return (
            xp.astype(self.rows[at], self.lengths.dtype, copy=False) + self.shift
        ) / self.lengths

    def exact(self, at: slice | Array) -> Array:
        """Return the points at a slice or an index array in double precision."""
        xp = namespace(self.rows)
        shift, lengths = (xp.astype(v, xp.float64) for v in (self.shift, self.lengths))
        return (xp.astype(self.rows[at], xp.float64) + shift) / lengths


def _lengths(X: Array, dtype: Any, name: str) -> Array:
    """Norm of each row, by a scaled sum of squares: tiny and huge rows have a direction too."""
    xp = namespace(X)
    parts = []
    for rows in blocks(X):
        block = xp.astype(X[rows], dtype, copy=False)
        peak = xp.max(xp.abs(block), axis=1)
        if not bool(xp.all(xp.isfinite(peak))):
            require_finite(X, name=name)
        if not bool(xp.all(peak > 0)):
            first = rows.start + int(xp.argmax(xp.astype(peak == 0, xp.int64)))
            raise ValueError(
                f"{name} has a zero vector in row {first}: a cosine needs a direction. Remove "
                "such rows from both sides (an empty text often is the cause)."
            )
        block = block / peak[:, None]
        with np.errstate(over="ignore"):
            lengths = peak * xp.sqrt(xp.sum(block * block, axis=1))
        if not bool(xp.all(xp.isfinite(lengths))):
            raise ValueError(
                f"The lengths of {name}'s rows overflow {dtype}, first in row "
                f"{rows.start + int(xp.argmax(lengths))}. Rescale the rows or pass float64."
            )
        parts.append(lengths)
    return xp.concat(parts)


def check_sides(
    X: Any, Y: Any, *, paired: bool = True, names: tuple[str, str] = ("X", "Y")
) -> tuple[Directions, Directions]:
    """Check two sets of rows of one space, and that row i of X has a partner if `paired`.

    Raises
    ------
    ValueError
        If kinds, devices or widths differ, a row is zero or not finite; if `paired`, also if
        the row counts differ or there is one row only.
    """
    x_name, y_name = names
    X, Y = check_rows(None, X, name=x_name), check_rows(None, Y, name=y_name)
    require_same_place(X, Y, names=names)
    if X.shape[1] != Y.shape[1]:
        raise ValueError(
            f"{x_name} has {X.shape[1]} features and {y_name} has {Y.shape[1]}: similarities need "
            "one common space. Map one side into the space of the other first."
        )
    if paired and X.shape[0] != Y.shape[0]:
        raise ValueError(
            f"{x_name} has {X.shape[0]} rows and {y_name} has {Y.shape[0]}: row i of {y_name} must "
            f"be the translation of row i of {x_name}. Select the common rows first."
        )
    if paired and X.shape[0] < 2:
        raise ValueError(
            f"{x_name} and {y_name} have 1 row each: at least 2 pairs are needed, as a pair is "
            "compared with the rows that are not its translation."
        )
    dtype = namespace(X).result_type(compute_dtype(X), compute_dtype(Y))
    return Directions.of(X, name=x_name, dtype=dtype), Directions.of(Y, name=y_name, dtype=dtype)


def check_count(value: Any, limit: int, *, name: str, pool: str) -> int:
    """Return a whole number from 1 to the size of the pool it is taken from."""
    try:
        count = operator.index(value)
    except TypeError:
        raise ValueError(f"{name}={value!r} is not a whole number of rows.") from None
    if not 1 <= count <= limit:
        raise ValueError(
            f"{name}={count} but {pool} has {limit} rows: {name} must lie between 1 and {limit}."
        )
    return count
