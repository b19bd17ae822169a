"""Plans of low rank: both clouds are matched to a few points between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from posthoc_align.align._transport.clouds import Clouds, Solution


def solve_low_rank(
    factor: Callable[..., Any],
    clouds: Clouds,
    rank: int,
    *,
    random_state: np.random.RandomState,
    max_iter: int,
    tol: float,
) -> Solution:
    r"""Find a coupling through `rank` points between the clouds, on the host and in float64.

    Alternates exact plans from x and from y to the points with moving each point half-way between
    the means of the rows it got from either side. A row moves by what the mean of y differs from
    the mean of x at its point (at its points, in shares).

    Parameters
    ----------
    factor : callable
        ``ot.factored.factored_optimal_transport``.
    clouds : Clouds
    rank : int
    random_state : RandomState
        Draws the rows of both clouds that the points start from.
    max_iter : int
    tol : float
        How far the points may move in the last iteration, in units of the root mean cost.

    Returns
    -------
    Solution
        Of NumPy arrays.
    """
    clouds = clouds.on_host()
    x, y, (n, m) = clouds.x, clouds.y, clouds.size
    unit = clouds.mean_cost**0.5 or 1.0
    # The clouds may have more points in common than differ in means, so both may give a start.
    start = np.vstack([x, y])[random_state.choice(n + m, rank, replace=False)]
    there, back, _, log = factor(
        x / unit,
        y / unit,
        r=rank,
        X0=start / unit,
        stopThr=tol,
        numItermax=max_iter,
        log=True,
    )
    moves = log["delta_iter"]  # POT leaves out the move it stops at
    converged = len(moves) < max_iter
    of_x, of_y = rank * (there.T @ x), rank * (back @ y)
    shares = n * there
    cost = float(
        np.mean(np.sum(x * x, axis=1))
        + np.mean(np.sum(y * y, axis=1))
        - 2 * np.sum(of_x * of_y) / rank
        + clouds.offset @ clouds.offset
    )
    return Solution(
        plan=lambda: rank * (there @ back),
        images=x + shares @ (of_y - of_x),
        cost=max(0.0, cost),
        error=0.0 if converged else float(moves[-1]),
        n_iter=len(moves) + int(converged),
        converged=converged,
    )
