"""Match two clouds by the distances within each: the convex start of Wasserstein-Procrustes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from posthoc_align._arrays import namespace, to_host
from posthoc_align.align._transport.clouds import Clouds, distances_within
from posthoc_align.align._transport.plans import scale_kernel

STEPS = 50  # of Frank-Wolfe, whose last steps move the plan by 4 %
SINKHORN: dict[str, Any] = {"max_iter": 100, "tol": 1e-2}


def convex_start(
    solve: Callable[..., Any],
    clouds: Clouds,
    n_rows: int,
    reg: float,
    random_state: np.random.RandomState,
) -> np.ndarray:
    r"""Cross-scatter :math:`X^\top P Y` of rows matched without knowing the rotation.

    Frank-Wolfe on :math:`\min_P\lVert D_x P - P D_y\rVert^2` over plans of uniform marginals, the
    convex relaxation of matching rows by the distances D within each cloud. (Grave et al. take
    inner products, to which a centred cloud is degenerate: their rows sum to zero, and the plan
    that knows nothing is already optimal.)

    Parameters
    ----------
    solve : callable
        ``ot.solve``.
    clouds : Clouds
    n_rows : int
        Rows of either cloud, drawn at random if there are more.
    reg : float
        Strength of the entropy of each linear step, in units of the gradient's spread.
    random_state : RandomState

    Returns
    -------
    ndarray of shape (d_x, d_y)
    """
    k = min(*clouds.size, n_rows)
    part = clouds.of_rows(*(np.sort(random_state.permutation(size)[:k]) for size in clouds.size))
    of_x, of_y = distances_within(part.x) ** 0.5, distances_within(part.y) ** 0.5
    xp = namespace(of_x)
    of_x, of_y = (of / (float(xp.mean(of)) or 1.0) for of in (of_x, of_y))
    square_x, square_y = of_x @ of_x, of_y @ of_y
    plan = xp.zeros_like(of_x) + 1 / k
    row = column = xp.zeros_like(of_x[0])
    for step in range(STEPS):
        slope = square_x @ plan + plan @ square_y - 2 * (of_x @ plan @ of_y)
        spread = float(xp.std(slope)) or 1.0
        cost = partial(xp.multiply, slope, 1 / (reg * spread))
        corner = scale_kernel(solve, cost, row, column, **SINKHORN)
        row, column = corner.row, corner.column
        plan = plan + (k * corner.plan - plan) * (2 / (step + 2))
    return to_host(part.x.T @ (plan @ part.y))
