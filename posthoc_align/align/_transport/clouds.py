"""What every transport starts from and ends in: two clouds, and what was solved for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from posthoc_align._arrays import (
    Array,
    index_like,
    like,
    namespace,
    to_host,
    upcast,
)
from posthoc_align._blocks import require_finite
from posthoc_align._memory import available_memory
from posthoc_align.linalg import unit_block
from posthoc_align.moments import Moments

# Arrays as large as the plan that live at the same time, cost and plan included (measured as the
# growth of peak memory: 4.1 of the compute type, 5.2 of float64 for the exact solver).
COPIES = {
    "entropic": 4.5,
    "exact": 5.5,
    "unbalanced": 4.5,
    "low_rank": 5.5,
    "gromov": 5.5,
    "classes": 5.5,
}
ON_HOST = ("exact", "low_rank")
"""Methods that run on the host's processor in float64, whatever the device of X."""


@dataclass(frozen=True, eq=False)
class Clouds:
    """Two clouds in compute type, each relative to its own mean.

    Squared distances then differ from the true ones by terms of one row or one column, to which a
    balanced plan is blind, and nothing cancels for data far from the origin.

    Parameters
    ----------
    x : array of shape (n, d)
    y : array of shape (m, d)
    mean_x, mean_y : ndarray of shape (d,)
    spread_x, spread_y : float
        Mean squared distance of the rows from their mean.
    """

    x: Array
    y: Array
    mean_x: np.ndarray
    mean_y: np.ndarray
    spread_x: float
    spread_y: float

    @classmethod
    def of(cls, X: Array, Y: Array, *, unit: bool) -> Clouds:
        """Check the rows, scale them to unit norm if so asked, and centre them."""
        xp = namespace(X)
        require_finite(X)
        require_finite(Y, name="y")
        x, y = upcast(X), upcast(Y)
        if x.dtype != y.dtype:  # the wider type computes
            x, y = xp.astype(x, xp.float64), xp.astype(y, xp.float64)
        if unit:
            x, y = unit_block(x), unit_block(y, name="y")
        of_x, of_y = Moments.of(x, second="diagonal"), Moments.of(y, second="diagonal")
        return cls(
            x - like(of_x.mean, x),
            y - like(of_y.mean, y),
            of_x.mean,
            of_y.mean,
            float(of_x.variance.sum()),
            float(of_y.variance.sum()),
        )

    @property
    def size(self) -> tuple[int, int]:
        """Numbers of rows n and m."""
        return self.x.shape[0], self.y.shape[0]

    @property
    def offset(self) -> np.ndarray:
        """From the mean of y to the mean of x."""
        return self.mean_x - self.mean_y

    @property
    def mean_cost(self) -> float:
        """Mean of the squared distances of all n x m pairs."""
        return self.spread_x + self.spread_y + float(self.offset @ self.offset)

    def of_rows(self, rows: np.ndarray, columns: np.ndarray) -> Clouds:
        """Some rows of either cloud, still relative to the means of all."""
        x, y = self.x[index_like(rows, self.x)], self.y[index_like(columns, self.y)]
        return replace(self, x=x, y=y)

    def on_host(self) -> Clouds:
        """The same clouds as float64 NumPy arrays."""
        return replace(self, x=to_host(self.x), y=to_host(self.y))


@dataclass(frozen=True, eq=False)
class Solution:
    """A plan and what was computed from it.

    Parameters
    ----------
    plan : callable
        Returns the plan, of shape (n, m).
    images : array of shape (n, d)
        Image of each row of x, relative to the mean of y.
    cost : float
        What the plan costs, before any regularisation.
    error : float
        How far from solved, against the tolerance.
    n_iter : int
    converged : bool
    mass : float
        Sum of the plan.
    log_weights : array of shape (m,), optional
        What ``potentials.entropic_image`` needs of the dual potential.
    """

    plan: Callable[[], Array]
    images: Array
    cost: float
    error: float
    n_iter: int
    converged: bool
    mass: float = 1.0
    log_weights: Array | None = None


def entries(method: str, n: int, m: int, *, rank: int, batch: int | None) -> int:
    """How many numbers the largest arrays of a method hold."""
    if method == "low_rank":
        return (n + m) * rank
    if batch is not None:
        n, m = min(n, batch), min(m, batch)
    return n * m if method != "gromov" else max(n * m, n * n, m * m)


def require_memory(method: str, clouds: Clouds, numbers: int, budget: float | None) -> None:
    """Raise unless the arrays that `method` builds fit into the budget (None: what is free).

    Raises
    ------
    MemoryError
        Names what is needed, what there is, and the ways out.
    """
    n, m = clouds.size
    wide = method in ON_HOST or "64" in str(clouds.x.dtype)
    needed = int(COPIES[method] * numbers * (8 if wide else 4))
    place = np.empty(0) if method in ON_HOST else clouds.x
    available = available_memory(place) if budget is None else int(budget)
    if needed > available:
        narrower = ", pass X and y as float32" if wide and method not in ON_HOST else ""
        raise MemoryError(
            f"A transport plan of {n} x {m} needs about {needed} bytes ({needed / 2**30:.3g} GiB: "
            f"{COPIES[method]} arrays of {numbers} numbers in float{64 if wide else 32}), and "
            f"{available} bytes are "
            f"{'available' if budget is None else 'allowed by memory_budget'}. Fit on "
            f"fewer rows (subsample X and y){narrower}, or raise memory_budget if there is more; "
            "batch_size= bounds what is needed whatever the number of rows."
        )


def cost_and_images(plan: Array, clouds: Clouds) -> tuple[float, Array]:
    """Cost of a plan, without another array of its size, and the barycentric images."""
    x, y, xp = clouds.x, clouds.y, namespace(plan)
    moved, shift = plan @ y, like(clouds.offset, x)
    rows, columns = xp.sum(plan, axis=1), xp.sum(plan, axis=0)
    cost = float(
        rows @ xp.sum(x * x, axis=1)
        + columns @ xp.sum(y * y, axis=1)
        - 2 * xp.sum(x * moved)
        + 2 * (rows @ (x @ shift) - columns @ (y @ shift))
    )
    cost += float(clouds.offset @ clouds.offset) * float(xp.sum(rows))
    return max(0.0, cost), row_means(plan, moved)


def row_means(plan: Array, moved: Array) -> Array:
    """``plan @ y`` divided by the mass of each row."""
    xp = namespace(plan)
    rows = xp.sum(plan, axis=1)
    tiny = float(xp.finfo(plan.dtype).tiny)  # an unfinished plan can send nothing from a row
    return moved / xp.where(rows > tiny, rows, tiny)[:, None]


def distances_within(x: Array) -> Array:
    """Squared distances between all rows of a cloud."""
    xp = namespace(x)
    squares = xp.sum(x * x, axis=1)
    apart = x @ x.T
    apart *= -2
    apart += squares[:, None]
    apart += squares
    return xp.where(apart > 0, apart, xp.zeros_like(apart))
