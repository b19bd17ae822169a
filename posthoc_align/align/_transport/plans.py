"""Balanced plans between two clouds: what POT's solvers are given and what is read from them.

The solver itself is an argument, ``ot.solve``: POT is imported where the plan is chosen.
"""

from __future__ import annotations

import inspect
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from posthoc_align._arrays import Array, namespace
from posthoc_align.align._transport.clouds import Clouds, Solution, cost_and_images

# POT neither reports how many iterations it ran nor takes a warm start for this problem, so it is
# asked for this many at a time; leaving and entering costs as much as about four iterations.
ROUND = 50


@dataclass(frozen=True, eq=False)
class Scaled:
    """A kernel scaled to uniform row and column sums: ``exp(row_i + column_j - cost_ij)``.

    Parameters
    ----------
    plan : array of shape (n, m)
    row, column : arrays of shape (n,), (m,)
        Potentials, unitless.
    error : float
        Share of the mass in the wrong column.
    n_iter : int
    """

    plan: Array
    row: Array
    column: Array
    error: float
    n_iter: int


def scale_kernel(
    solve: Callable[..., Any],
    cost: Callable[[], Array],
    row: Array,
    column: Array,
    *,
    max_iter: int,
    tol: float,
) -> Scaled:
    """Run log-domain Sinkhorn iterations where the cost lies.

    Each round hands the solver the cost with the potentials found so far absorbed, which continues
    the same iterations, and adds the (unitless) potentials it returns.

    Parameters
    ----------
    solve : callable
        ``ot.solve``.
    cost : callable
        Returns the cost over the temperature, an array of shape (n, m) that may be overwritten.
    row, column : arrays of shape (n,), (m,)
        Potentials to begin with.
    max_iter : int
    tol : float

    Raises
    ------
    ValueError
        If exponents overflow the compute type.
    """
    xp, n, m = namespace(row), row.shape[0], column.shape[0]
    a, b = xp.full_like(row, 1 / n), xp.full_like(column, 1 / m)
    product = xp.broadcast_to(a[:1, None] / m, (n, m))
    done, error = 0, float("inf")
    while error > tol and done < max_iter:
        result: Any = None  # frees the last plan before the next cost is built
        reduced = cost()
        reduced -= row[:, None]
        reduced -= column
        steps = min(ROUND, max_iter - done)
        result = quietly(
            solve,
            reduced,
            a,
            b,
            c=product,  # else POT writes a b' out in full, which this problem does not read
            reg=1.0,
            reg_type="entropy",
            max_iter=steps,
            tol=tol / m**0.5,  # POT judges the Euclidean norm of the error, this the sum
        )
        del reduced
        row, column = row + result.potentials[0], column + result.potentials[1]
        error = float(xp.sum(xp.abs(xp.sum(result.plan, axis=0) - b)))
        done += steps
    require_no_overflow(error, row)
    return Scaled(result.plan, row, column, error, done)


def require_no_overflow(error: float, x: Array) -> None:
    """Raise if what a solver reports is not finite."""
    if not np.isfinite(error):
        raise ValueError(
            f"The transport overflowed {str(x.dtype).removeprefix('torch.')} at a temperature "
            "(reg times cost scale) too small for its costs. Raise reg, or pass X and y as float64."
        )


def solve_entropic(
    solve: Callable[..., Any], clouds: Clouds, temperature: float, *, max_iter: int, tol: float
) -> Solution:
    """Find the entropic plan ``exp(row_i + column_j + 2 x_i . y_j / temperature)``.

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
    """
    start = gauge(clouds, temperature)
    scaled = scale_kernel(
        solve, lambda: inner_cost(clouds, temperature), *start, max_iter=max_iter, tol=tol
    )
    cost, images = cost_and_images(scaled.plan, clouds)
    return Solution(
        plan=lambda: scaled.plan,
        images=images,
        cost=cost,
        error=scaled.error,
        n_iter=scaled.n_iter,
        converged=scaled.error <= tol,
        log_weights=scaled.column,
    )


def inner_cost(clouds: Clouds, temperature: float) -> Array:
    """The part of the cost that is no term of one row or one column, over the temperature."""
    cost = clouds.x @ clouds.y.T
    cost *= -2 / temperature
    return cost


def gauge(clouds: Clouds, temperature: float) -> tuple[Array, Array]:
    """Potentials that make up the rest of the cost, over the temperature."""
    xp = namespace(clouds.x)
    row, column = (xp.sum(z * z, axis=1) * (-1 / temperature) for z in (clouds.x, clouds.y))
    return row, column


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
    clouds = clouds.on_host()
    x, y = clouds.x, clouds.y
    n, m = clouds.size
    cost = x @ y.T
    cost *= -2
    cost += np.sum(x * x, axis=1)[:, None]
    cost += np.sum(y * y, axis=1)
    cost /= clouds.mean_cost or 1.0  # the simplex compares costs with absolute tolerances
    c = np.broadcast_to(1 / (n * m), (n, m))
    result = quietly(solve, cost, c=c, max_iter=max_iter)
    plan = np.asarray(result.plan)
    error = np.abs(plan.sum(axis=1) - 1 / n).sum() + np.abs(plan.sum(axis=0) - 1 / m).sum()
    cost_of_plan, images = cost_and_images(plan, clouds)
    return Solution(
        plan=lambda: plan,
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


def quietly(solve: Callable[..., Any], *arguments: Any, c: Array, **options: Any) -> Any:
    """Call POT, with the argument c where it is known, without its own warnings."""
    if "c" in inspect.signature(solve).parameters:  # POT 0.9.4 has none, and writes none out
        options["c"] = c
    with _SILENCE:
        return solve(*arguments, **options)
