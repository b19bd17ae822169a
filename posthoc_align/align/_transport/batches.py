"""Mini-batches: the average of the plans of many small random problems, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

import numpy as np

from posthoc_align._arrays import Array, index_like, like
from posthoc_align.align._transport.clouds import Clouds, Solution

Batch = tuple[np.ndarray, np.ndarray]


def draw_batches(
    n: int, m: int, size: int, passes: int, random_state: np.random.RandomState
) -> list[Batch]:
    """Rows of x and of y of each batch.

    A pass goes through the rows of x in random order, `size` at most at a time, and matches each
    batch with as many rows of y (all, if there are fewer) drawn anew.
    """
    return [
        (rows, random_state.choice(m, min(size, m), replace=False))
        for _ in range(passes)
        for rows in np.array_split(random_state.permutation(n), ceil(n / size))
    ]


def solve_batches(
    solve: Callable[[Clouds], Solution], clouds: Clouds, batches: list[Batch], passes: int
) -> Solution:
    """Average the images of each row over the batches it was in.

    Parameters
    ----------
    solve : callable
        Solves one batch.
    clouds : Clouds
    batches : list of (rows, columns)
    passes : int
        How often each row of x is among them.
    """
    n, m = clouds.size
    images, cost, mass, error = 0.0 * clouds.x, 0.0, 0.0, 0.0
    n_iter, converged = 0, True
    for rows, columns in batches:
        part, share = solve(clouds.of_rows(rows, columns)), len(rows) / (n * passes)
        at = index_like(rows, images)
        images[at] = images[at] + like(part.images, images) / passes
        cost, mass = cost + share * part.cost, mass + share * part.mass
        error, n_iter = max(error, part.error), max(n_iter, part.n_iter)
        converged = converged and part.converged

    def plan() -> Array:
        total = clouds.x[:, :1] * 0.0 + like(np.zeros((1, m)), clouds.x)
        for rows, columns in batches:
            part = like(solve(clouds.of_rows(rows, columns)).plan(), total)
            at = index_like(rows, total)[:, None], index_like(columns, total)
            total[at] = total[at] + part * (len(rows) / (n * passes))
        return total

    return Solution(plan, images, cost, error, n_iter, converged, mass)
