"""Mergeable statistics of paired rows: what a linear map between two spaces is fitted from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from posthoc_align._arrays import (
    Array,
    column_sums,
    namespace,
    on_host,
    resolution,
    to_host,
    upcast,
    zeros_on,
)
from posthoc_align._blocks import PRODUCT_BLOCK, explain_nonfinite, over_blocks, silent
from posthoc_align.moments import finite_or_zero, merge, require_width


@dataclass(frozen=True, eq=False)
class PairMoments:
    """Joint moments of paired rows (x_i, y_i): what a linear map is fitted from.

    Parameters
    ----------
    count : int
        Number of pairs (of those that weigh anything).
    mean_x, mean_y : ndarray of shape (d_x,), (d_y,)
    cross : ndarray of shape (d_x, d_y)
        Sum of outer products of the deviations of x and y.
    square_x, square_y : float
        Sums of squared deviations: the traces of the two scatters.
    eps : float
        Relative spacing of the arithmetic the products were summed in.
    scatter_x, scatter_y : ndarray of shape (d_x, d_x), (d_y, d_y), optional
        Kept only where a solver needs them: each costs as much as `cross`.
    weight : float, optional
        Sum of the pairs' weights; None: each weighs 1.
    device : str, optional
        Where the rows lay, if not in main memory: what is costly to solve is solved there, if
        such a device is there. No result depends on it beyond rounding.
    """

    count: int
    mean_x: np.ndarray
    mean_y: np.ndarray
    cross: np.ndarray
    square_x: float
    square_y: float
    eps: float
    scatter_x: np.ndarray | None = None
    scatter_y: np.ndarray | None = None
    weight: float | None = None
    device: str | None = None

    @classmethod
    @silent()
    def of(
        cls,
        X: Array,
        Y: Array,
        *,
        scatter: bool = False,
        scatter_y: bool = False,
        weight: Array | None = None,
    ) -> PairMoments:
        """Moments of row i of X with row i of Y, in one pass.

        Parameters
        ----------
        X, Y : arrays of shape (n_samples, d_x), (n_samples, d_y)
            Of one kind and on one device.
        scatter, scatter_y : bool, default=False
            Also keep the scatter of X, and that of Y.
        weight : array of shape (n_samples,), optional
            How many times each pair counts, as ``posthoc_align._arrays.check_weight`` has it.
        """
        xp = namespace(X)
        compute = xp.float64 if xp.float64 in (X.dtype, Y.dtype) else xp.float32
        shift_x, shift_y = (_shift_of(Z, compute) for Z in (X, Y))
        wide = X if X.shape[1] >= Y.shape[1] else Y

        def sums(slices: list[slice]) -> tuple[Array, ...]:
            sum_x, sum_y = zeros_on(X, (X.shape[1],)), zeros_on(X, (Y.shape[1],))
            cross = zeros_on(X, (X.shape[1], Y.shape[1]))
            xx = zeros_on(X, (X.shape[1], X.shape[1])) if scatter else None
            yy = zeros_on(X, (Y.shape[1], Y.shape[1])) if scatter_y else None
            squares = zeros_on(X, (2,))
            for rows in slices:
                x = _shifted(xp.astype(X[rows], compute, copy=False), shift_x)
                y = _shifted(xp.astype(Y[rows], compute, copy=False), shift_y)
                wx, wy = x, y
                if weight is not None:
                    times = xp.astype(weight[rows], compute, copy=False)[:, None]
                    wx, wy = times * x, times * y
                sum_x, sum_y = sum_x + column_sums(wx), sum_y + column_sums(wy)
                cross = cross + wx.T @ y
                if xx is not None:
                    xx = xx + wx.T @ x
                if yy is not None:
                    yy = yy + wy.T @ y
                squares[0] += xp.reshape(wx, (-1,)) @ xp.reshape(x, (-1,))
                squares[1] += xp.reshape(wy, (-1,)) @ xp.reshape(y, (-1,))
            return sum_x, sum_y, cross, xx, yy, squares

        found = over_blocks(sums, wide, target=PRODUCT_BLOCK)
        sum_x, sum_y, cross, xx, yy, squares = found
        count, n = X.shape[0], float(X.shape[0])
        if weight is not None:
            count = int(xp.sum(xp.astype(weight > 0, xp.int64)))
            n = float(xp.sum(xp.astype(weight, xp.float64)))
        if not np.all(np.isfinite(to_host(squares))):
            for name, Z in (("X", X), ("y", Y)):
                if not np.isfinite(to_host(squares)[0 if name == "X" else 1]):
                    explain_nonfinite(Z, name=name)
        delta_x, delta_y = to_host(sum_x) / n, to_host(sum_y) / n
        return cls(
            count=count,
            mean_x=delta_x if shift_x is None else to_host(shift_x) + delta_x,
            mean_y=delta_y if shift_y is None else to_host(shift_y) + delta_y,
            cross=to_host(cross) - n * np.outer(delta_x, delta_y),
            square_x=max(0.0, float(squares[0]) - n * float(delta_x @ delta_x)),
            square_y=max(0.0, float(squares[1]) - n * float(delta_y @ delta_y)),
            eps=min(resolution(X), resolution(Y)),  # the wider type computes
            scatter_x=None if xx is None else to_host(xx) - n * np.outer(delta_x, delta_x),
            scatter_y=None if yy is None else to_host(yy) - n * np.outer(delta_y, delta_y),
            weight=None if weight is None else n,
            device=None if on_host(X) else str(X.device),
        )

    @property
    def total(self) -> float:
        """Sum of the pairs' weights."""
        return float(self.count) if self.weight is None else self.weight

    @property
    def size(self) -> float:
        """How many rows these are worth: a row of weight 2 is two, one of weight 1/2 is one."""
        return max(float(self.count), self.total)

    def __add__(self, other: PairMoments) -> PairMoments:
        require_width(len(self.mean_x), len(other.mean_x))
        require_width(len(self.mean_y), len(other.mean_y))
        n = self.total + other.total
        between = self.total * other.total / n
        delta_x, delta_y = other.mean_x - self.mean_x, other.mean_y - self.mean_y
        share = other.total / n
        weighted = self.weight is not None or other.weight is not None
        return PairMoments(
            count=self.count + other.count,
            mean_x=self.mean_x + delta_x * share,
            mean_y=self.mean_y + delta_y * share,
            cross=self.cross + other.cross + between * np.outer(delta_x, delta_y),
            square_x=self.square_x + other.square_x + between * float(delta_x @ delta_x),
            square_y=self.square_y + other.square_y + between * float(delta_y @ delta_y),
            eps=max(self.eps, other.eps),
            scatter_x=merge(self.scatter_x, other.scatter_x, between * np.outer(delta_x, delta_x)),
            scatter_y=merge(self.scatter_y, other.scatter_y, between * np.outer(delta_y, delta_y)),
            weight=n if weighted else None,
            device=self.device if self.device == other.device else None,
        )

    def uncentred(self) -> PairMoments:
        """The same sums about the origin instead of the means; the means read zero."""
        n, mean_x, mean_y = self.total, self.mean_x, self.mean_y
        return replace(
            self,
            mean_x=np.zeros_like(mean_x),
            mean_y=np.zeros_like(mean_y),
            cross=self.cross + n * np.outer(mean_x, mean_y),
            square_x=self.square_x + n * float(mean_x @ mean_x),
            square_y=self.square_y + n * float(mean_y @ mean_y),
            scatter_x=merge(self.scatter_x, np.zeros(()), n * np.outer(mean_x, mean_x)),
            scatter_y=merge(self.scatter_y, np.zeros(()), n * np.outer(mean_y, mean_y)),
        )


def _shift_of(X: Array, compute: Any) -> Array | None:
    """What to subtract so that sums of products do not cancel; None where that gains nothing.

    Products of rows about the origin are larger than those about the mean by the squared length of
    the mean over the variance. Up to a factor of 2 that is a bit of precision at most, and not
    worth two passes over the rows.
    """
    xp = namespace(X)
    first = upcast(X[: min(X.shape[0], 256)])
    mean = xp.mean(first, axis=0)
    length, around = xp.sum(mean * mean), xp.sum((first - mean) ** 2) / first.shape[0]
    return None if bool(length <= around) else xp.astype(finite_or_zero(mean), compute)


def _shifted(block: Array, shift: Array | None) -> Array:
    return block if shift is None else block - shift
