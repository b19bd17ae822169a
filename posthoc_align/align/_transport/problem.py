"""From the parameters of a transport to its solution: what is asked is checked, solved, judged."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from numbers import Integral, Real
from typing import Any

from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from posthoc_align._arrays import Array, check_rows, check_target
from posthoc_align.align._parameters import require_choice, require_number
from posthoc_align.align._transport.batches import draw_batches, solve_batches
from posthoc_align.align._transport.classes import class_codes, solve_classes
from posthoc_align.align._transport.clouds import (
    Clouds,
    Solution,
    entries,
    require_memory,
)
from posthoc_align.align._transport.gromov import solve_gromov
from posthoc_align.align._transport.low_rank import solve_low_rank
from posthoc_align.align._transport.plans import solve_entropic, solve_exact
from posthoc_align.align._transport.unbalanced import solve_unbalanced

MAX_ITER = {
    "entropic": 1000,
    "exact": 10_000_000,
    "unbalanced": 1000,
    "low_rank": 100,
    "gromov": 100,
}
REG = {"entropic": 0.1, "unbalanced": 0.1, "gromov": 0.005}
RANK = 100
METRICS = ("sqeuclidean", "cosine")
BATCHED = ("entropic", "exact", "unbalanced")


def check_parameters(options: Any, *, labelled: bool) -> None:
    """Raise a ValueError for a parameter of :class:`TransportMap` that has no meaning."""
    require_choice("method", options.method, tuple(MAX_ITER))
    require_choice("metric", options.metric, METRICS)
    positive = "a positive number"
    for name in ("reg", "marginal_penalty", "class_penalty", "memory_budget"):
        value = getattr(options, name)
        if value is not None or name not in ("reg", "memory_budget"):
            of = f"{positive} of bytes" if name == "memory_budget" else positive
            require_number(name, value, Real, lambda v: 0 < v < float("inf"), of)
    require_number("tol", options.tol, Real, lambda v: v >= 0, "a number of at least 0")
    for name in ("n_neighbors", "n_passes", "max_iter", "rank", "batch_size"):
        value = getattr(options, name)
        if value is not None or name in ("n_neighbors", "n_passes"):
            require_number(name, value, Integral, lambda v: v >= 1, "an integer of at least 1")
    if options.batch_size is not None and options.method not in BATCHED:
        raise ValueError(
            f"method={options.method!r} takes no mini-batches: leave batch_size out, or choose "
            f"one of {BATCHED}."
        )
    if labelled and (options.method != "entropic" or options.batch_size is not None):
        raise ValueError(
            f"label was given, but method={options.method!r} with batch_size="
            f"{options.batch_size!r} makes no use of it. Leave it out, or choose "
            "method='entropic' without batch_size."
        )


def two_clouds(estimator: Any, X: Any, y: Any) -> tuple[Array, Array]:
    """Check the unpaired rows of both spaces, and that either side has two of them at least."""
    X = check_rows(estimator, X, reset=True)
    y = check_target(y, X, same_length=False)
    for name, cloud in (("X", X), ("y", y)):
        if cloud.shape[0] < 2:
            raise ValueError(
                f"{name} has only {cloud.shape[0]} row (n_samples = {cloud.shape[0]}); at least 2 "
                "are needed on either side, since one row is no cloud. Add rows."
            )
    return X, y


def require_equal_width(X: Array, y: Array) -> None:
    """Raise if X and y, between which distances are measured, differ in width."""
    if X.shape[1] != y.shape[1]:
        raise ValueError(
            f"X has {X.shape[1]} features and y has {y.shape[1]}: transport measures distances "
            "between rows of both, so they must be of equal width. Between spaces of different "
            "width use method='gromov', or a map fitted on pairs, such as Procrustes()."
        )


def cost_scale(options: Any, clouds: Clouds) -> float:
    """By what the costs are divided."""
    return (clouds.mean_cost or 1.0) if options.scale_cost and options.method != "gromov" else 1.0


def temperature(options: Any, clouds: Clouds) -> float:
    """Strength of the entropy, in the unit of squared distances."""
    return float(strength(options)) * cost_scale(options, clouds)


def strength(options: Any) -> float:
    """``reg``, or what it is where none is given."""
    return REG[options.method] if options.reg is None else options.reg


def solve(options: Any, clouds: Clouds, label: Any = None, *, whole: bool = False) -> Solution:
    """Find the plan that the parameters of :class:`TransportMap` describe.

    Parameters
    ----------
    options : TransportMap
    clouds : Clouds
    label : array-like of shape (n,), optional
        Class of each source row.
    whole : bool, default=False
        Whether the plan will be asked for, which a mini-batch fit never holds.
    """
    n, m = clouds.size
    rank = _rank(options, n, m)
    classes = None if label is None else class_codes(label, n)
    numbers = entries(options.method, n, m, rank=rank, batch=None if whole else options.batch_size)
    if whole and options.method == "low_rank":
        numbers = max(numbers, n * m)
    name = options.method if classes is None else "classes"
    require_memory(name, clouds, numbers, options.memory_budget)
    solver = _solver(options, clouds, rank, classes)
    if options.batch_size is None:
        solution = solver(clouds)
    else:
        random_state = check_random_state(options.random_state)
        batches = draw_batches(n, m, options.batch_size, options.n_passes, random_state)
        solution = solve_batches(solver, clouds, batches, options.n_passes)
    if not solution.converged:
        _warn_unfinished(options, solution, clouds)
    return solution


def _solver(options: Any, clouds: Clouds, rank: int, classes: Any) -> Callable[[Clouds], Solution]:
    """What solves one problem of any size, at the scale of the given clouds."""
    import ot

    scale, heat = cost_scale(options, clouds), 0.0
    max_iter = MAX_ITER[options.method] if options.max_iter is None else options.max_iter
    limits = {"max_iter": max_iter, "tol": options.tol}
    if options.method == "exact":
        return partial(solve_exact, ot.solve, max_iter=max_iter)
    if options.method == "low_rank":
        random_state = check_random_state(options.random_state)
        factor = ot.factored.factored_optimal_transport
        return lambda of: solve_low_rank(factor, of, rank, random_state=random_state, **limits)
    heat = temperature(options, clouds)

    def on_tensors(of: Clouds) -> Solution:
        import torch

        # Faster and leaner on tensors; a tensor of a NumPy array shares its memory
        of = replace(of, x=torch.as_tensor(of.x), y=torch.as_tensor(of.y))
        if options.method == "unbalanced":
            return solve_unbalanced(of, heat, options.marginal_penalty * scale, **limits)
        if options.method == "gromov":
            return solve_gromov(ot.solve, of, heat, scale_cost=options.scale_cost, **limits)
        if classes is not None:
            penalty = options.class_penalty * scale
            codes, count = classes
            return solve_classes(
                ot.solve, of, heat, codes=codes, n_classes=count, penalty=penalty, **limits
            )
        return solve_entropic(ot.solve, of, heat, **limits)

    return on_tensors


def _rank(options: Any, n: int, m: int) -> int:
    """How many points a plan of low rank goes through."""
    most = min(n, m)
    if options.method == "low_rank" and options.rank is not None and options.rank > most:
        warnings.warn(
            f"rank={options.rank} exceeds the {most} rows of the smaller cloud and was lowered "
            "to that. Choose a smaller rank.",
            UserWarning,
            stacklevel=5,
        )
    return min(RANK if options.rank is None else options.rank, most)


def _warn_unfinished(options: Any, solution: Solution, clouds: Clouds) -> None:
    method, done, error = options.method, solution.n_iter, solution.error
    cure = "Raise max_iter."
    if method == "exact":
        message = (
            f"stopped after max_iter={options.max_iter} pivots before it was "
            f"optimal; {error:.2g} of the mass is misplaced"
        )
    else:
        message = (
            f"did not converge in {done} iterations: "
            + {
                "entropic": f"{error:.2g} of the mass is misplaced",
                "unbalanced": f"a potential still changed by {error:.2g}",
                "low_rank": f"the points between the clouds still moved by {error:.2g}",
                "gromov": f"{error:.2g} of the mass still moved",
            }[method]
        )
        message += f", tol={options.tol} is allowed"
        if method in REG:
            cure = "Raise max_iter or reg, or allow a larger tol"
            wide = "64" in str(clouds.x.dtype)
            cure += "." if wide else " (float32 reaches about 1e-6)."
    warnings.warn(
        f"The {method.replace('_', '-')} transport {message}. {cure}",
        ConvergenceWarning,
        stacklevel=4,
    )
