"""Gromov-Wasserstein plans: match two clouds by the distances within each."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from posthoc_align._arrays import namespace
from posthoc_align.align._transport.clouds import (
    Clouds,
    Solution,
    distances_within,
    row_means,
)
from posthoc_align.align._transport.plans import scale_kernel

INNER = 200  # most Sinkhorn iterations of one step, which the next step continues
SMOOTH = 0.1
"""Entropy to begin with: at 0.005 the first steps, which know little, would settle everything."""


def solve_gromov(
    solve: Callable[..., Any],
    clouds: Clouds,
    reg: float,
    *,
    scale_cost: bool,
    max_iter: int,
    tol: float,
) -> Solution:
    r"""Descend to a plan that sends near rows to near rows, by projected gradient steps.

    With A and B the squared distances within x and within y, each step is the entropic plan for
    the gradient :math:`-4\,A P B` at the last (terms of one row or one column aside), from the
    plan that knows nothing. Steps end where one moves next to no mass, in one local optimum; the
    entropy falls to `reg` by halves, each time from the last optimum (if the costs are scaled).

    Parameters
    ----------
    solve : callable
        ``ot.solve``.
    clouds : Clouds
        May be of different width.
    reg : float
        Strength of the entropy.
    scale_cost : bool
        Divide A and B by their means.
    max_iter : int
        Most steps at each strength of the entropy.
    tol : float
        Share of the mass that a last step may still move.
    """
    xp = namespace(clouds.x)
    n, m = clouds.size
    # the mean squared distance of pairs is twice that from the mean
    A, B = distances_within(clouds.x), distances_within(clouds.y)
    if scale_cost:
        A, B = A / (2 * clouds.spread_x or 1.0), B / (2 * clouds.spread_y or 1.0)
    row, column = xp.zeros_like(A[0]), xp.zeros_like(B[0])
    plan = xp.zeros_like(A[:, :1] * B[:1]) + 1 / (n * m)
    steps, error, strengths = 0, float("inf"), [reg]
    while scale_cost and strengths[0] < SMOOTH:
        strengths.insert(0, min(2 * strengths[0], SMOOTH))
    for strength in strengths:
        row, column, error, last = 0 * row, 0 * column, float("inf"), steps + max_iter
        while error > tol and steps < last:
            cost = partial(xp.multiply, A @ plan @ B, -4 / strength)
            scaled = scale_kernel(solve, cost, row, column, max_iter=INNER, tol=tol)
            moved = float(xp.sum(xp.abs(scaled.plan - plan)))
            error, plan = max(moved, scaled.error), scaled.plan
            row, column = scaled.row, scaled.column
            steps += 1
    objective = float(xp.mean(A * A) + xp.mean(B * B) - 2 * xp.sum((A @ plan @ B) * plan))
    return Solution(
        plan=lambda: plan,
        images=row_means(plan, plan @ clouds.y),
        cost=max(0.0, objective),
        error=error,
        n_iter=steps,
        converged=error <= tol,
    )
