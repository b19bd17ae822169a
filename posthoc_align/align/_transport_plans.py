"""Transport plans between two clouds: what POT's solvers are given and what is read from them.

The solver itself is an argument, ``ot.solve``: POT is imported where the estimator is.
"""

from __future__ import annotations

import inspect
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from posthoc_align._arrays import Array, available_memory, like, namespace, to_host, upcast
from posthoc_align._blocks import require_finite
from posthoc_align.linalg import unit_block
from posthoc_align.moments import Moments

# Arrays as large as the plan that live at the same time, cost and plan included (measured as the
# growth of peak memory: 4.1 of the compute type, 5.2 of float64 for the exact solver).
COPIES = {"entropic": 4.5, "exact": 5.5}
# POT neither reports how many iterations it ran nor takes a warm start for this problem, so it is
# asked for this many at a time; leaving and entering costs as much as about four iterations.
ROUND = 50


@dataclass(frozen=True, eq=False)
class Clouds:
    """Two clouds in compute type, each relative to its own mean.

    Squared distances then differ from the true ones by terms of one row or one column, to which a
    transport plan is blind, and nothing cancels for data far from the origin.

    Parameters
    ----------
    x : array of shape (n, d)
    y : array of shape (m, d)
    mean_x, mean_y : ndarray of shape (d,)
    mean_cost : float
        Mean of the squared distances of all n x m pairs.
    """

    x: Array
    y: Array
    mean_x: np.ndarray
    mean_y: np.ndarray
    mean_cost: float

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
        offset = of_x.mean - of_y.mean
        # E||x - y||^2 = tr cov x + tr cov y + ||mean x - mean y||^2
        mean_cost = float(of_x.variance.sum() + of_y.variance.sum() + offset @ offset)
        return cls(x - like(of_x.mean, x), y - like(of_y.mean, y), of_x.mean, of_y.mean, mean_cost)


@dataclass(frozen=True, eq=False)
class Solution:
    """A plan and what was computed from it.

    Parameters
    ----------
    plan : array of shape (n, m)
    images : array of shape (n, d)
        Barycentric image of each row of x, relative to the mean of y.
    cost : float
        Sum of plan times squared distance.
    error : float
        Share of the mass that the plan puts in the wrong rows or columns.
    n_iter : int
    converged : bool
    log_weights : array of shape (m,), optional
        What :func:`~posthoc_align.align._potentials.entropic_image` needs of the dual potential.
    """

    plan: Array
    images: Array
    cost: float
    error: float
    n_iter: int
    converged: bool
    log_weights: Array | None = None


def require_memory(clouds: Clouds, method: str, budget: float | None) -> None:
    """Raise unless the arrays that `method` builds fit into the budget (None: what is free).

    Raises
    ------
    MemoryError
        Names what is needed, what there is, and the ways out.
    """
    n, m = clouds.x.shape[0], clouds.y.shape[0]
    wide = method == "exact" or "64" in str(clouds.x.dtype)
    needed = int(COPIES[method] * n * m * (8 if wide else 4))
    place = np.empty(0) if method == "exact" else clouds.x
    available = available_memory(place) if budget is None else int(budget)
    if needed > available:
        narrower = ", pass X and y as float32" if wide and method == "entropic" else ""
        raise MemoryError(
            f"A transport plan of {n} x {m} needs about {needed} bytes ({needed / 2**30:.3g} GiB: "
            f"{COPIES[method]} arrays of that size in float{64 if wide else 32}), and {available} "
            f"bytes are {'available' if budget is None else 'allowed by memory_budget'}. Fit on "
            f"fewer rows (subsample X and y){narrower}, or raise memory_budget if there is more."
        )


def solve_entropic(
    solve: Callable[..., Any], clouds: Clouds, temperature: float, *, max_iter: int, tol: float
) -> Solution:
    """Run log-domain Sinkhorn iterations where the clouds lie.

    The plan is ``exp(row_i + column_j + 2 x_i . y_j / temperature)``; each round hands the solver
    the cost with the potentials found so far absorbed, which continues the same iterations, and
    adds the (unitless) potentials it returns.

    Parameters
    ----------
    solve : callable
        ``ot.solve``.
    clouds : Clouds
    temperature : float
        Entropic regularisation, in the unit of squared distances.
    max_iter : int
    tol : float
        Share of the mass that may end in the wrong column.

    Returns
    -------
    Solution

    Raises
    ------
    ValueError
        If exponents overflow the compute type.
    """
    x, y = clouds.x, clouds.y
    xp, n, m = namespace(x), x.shape[0], y.shape[0]
    row, column = (xp.sum(z * z, axis=1) * (-1 / temperature) for z in (x, y))
    a, b = xp.full_like(row, 1 / n), xp.full_like(column, 1 / m)
    product = xp.broadcast_to(a[:1, None] / m, (n, m))
    done, error = 0, float("inf")
    while error > tol and done < max_iter:
        result: Any = None  # frees the last plan before the next cost is built
        cost = x @ y.T
        cost *= -2 / temperature
        cost -= row[:, None]
        cost -= column
        steps = min(ROUND, max_iter - done)
        result = _quietly(
            solve,
            cost,
            a,
            b,
            c=product,  # else POT writes a b' out in full, which this problem does not read
            reg=1.0,
            reg_type="entropy",
            max_iter=steps,
            tol=tol / m**0.5,  # POT judges the Euclidean norm of the error, this the sum
        )
        del cost
        row, column = row + result.potentials[0], column + result.potentials[1]
        error = float(xp.sum(xp.abs(xp.sum(result.plan, axis=0) - b)))
        done += steps
    if not np.isfinite(error):
        raise ValueError(
            f"The transport overflowed {str(x.dtype).removeprefix('torch.')} at a temperature "
            f"(reg times cost scale) of {temperature:.3g}. Raise reg, or pass X and y as float64."
        )
    cost_of_plan, images = _cost_and_images(result.plan, clouds)
    return Solution(
        plan=result.plan,
        images=images,
        cost=cost_of_plan,
        error=error,
        n_iter=done,
        converged=error <= tol,
        log_weights=column,
    )


def solve_exact(solve: Callable[..., Any], clouds: Clouds, *, max_iter: int) -> Solution:
    """Run the network simplex, which works on the host and in float64.

    Parameters
    ----------
    solve : callable
        ``ot.solve``.
    clouds : Clouds
    max_iter : int
        Most pivots.

    Returns
    -------
    Solution
        Of NumPy arrays.
    """
    clouds = Clouds(
        to_host(clouds.x), to_host(clouds.y), clouds.mean_x, clouds.mean_y, clouds.mean_cost
    )
    x, y = clouds.x, clouds.y
    n, m = len(x), len(y)
    cost = x @ y.T
    cost *= -2
    cost += np.sum(x * x, axis=1)[:, None]
    cost += np.sum(y * y, axis=1)
    cost /= clouds.mean_cost or 1.0  # the simplex compares costs with absolute tolerances
    c = np.broadcast_to(1 / (n * m), (n, m))
    result = _quietly(solve, cost, c=c, max_iter=max_iter)
    plan = np.asarray(result.plan)
    error = np.abs(plan.sum(axis=1) - 1 / n).sum() + np.abs(plan.sum(axis=0) - 1 / m).sum()
    cost_of_plan, images = _cost_and_images(plan, clouds)
    return Solution(
        plan=plan,
        images=images,
        cost=cost_of_plan,
        error=float(error),
        n_iter=1,
        converged=result.status == "Converged",
    )


class _PotSilence:
    """While any thread is inside, POT's warnings of non-convergence are off, and only those.

    Every unfinished round gives one. ``warnings.catch_warnings`` alone would not do: where threads
    overlap, the last to leave would restore the filters that the first had set.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._before = warnings.catch_warnings()
                self._before.__enter__()
                warnings.filterwarnings("ignore", "Sinkhorn did not converge")
                warnings.filterwarnings("ignore", "numItermax reached before optimality")
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._before.__exit__(None, None, None)


_SILENCE = _PotSilence()


def _quietly(solve: Callable[..., Any], *arguments: Any, c: Array, **options: Any) -> Any:
    """Call POT, with the argument c where it is known, without its own warnings."""
    if "c" in inspect.signature(solve).parameters:  # POT 0.9.4 has none, and writes none out
        options["c"] = c
    with _SILENCE:
        return solve(*arguments, **options)


def _cost_and_images(plan: Array, clouds: Clouds) -> tuple[float, Array]:
    """Cost of a plan, without another array of its size, and the barycentric images."""
    x, y, xp = clouds.x, clouds.y, namespace(plan)
    offset = clouds.mean_x - clouds.mean_y
    moved, shift = plan @ y, like(offset, x)
    rows, columns = xp.sum(plan, axis=1), xp.sum(plan, axis=0)
    cost = float(
        rows @ xp.sum(x * x, axis=1)
        + columns @ xp.sum(y * y, axis=1)
        - 2 * xp.sum(x * moved)
        + 2 * (rows @ (x @ shift) - columns @ (y @ shift))
    )
    tiny = float(xp.finfo(plan.dtype).tiny)  # an unfinished plan can send nothing from a row
    images = moved / xp.where(rows > tiny, rows, tiny)[:, None]
    return max(0.0, cost + float(offset @ offset) * float(xp.sum(rows))), images
