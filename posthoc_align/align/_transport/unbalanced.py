"""Unbalanced plans: rows may send, and receive, more or less than their share."""

from __future__ import annotations

from math import log

from posthoc_align._arrays import Array, like, namespace
from posthoc_align.align._transport.clouds import Clouds, Solution, cost_and_images
from posthoc_align.align._transport.plans import gauge, inner_cost, require_no_overflow


def solve_unbalanced(
    clouds: Clouds, temperature: float, penalty: float, *, max_iter: int, tol: float
) -> Solution:
    r"""Find the plan whose marginals are kept by a Kullback-Leibler penalty alone.

    Scaling iterations in the log domain: the plan is
    :math:`a_i b_j \exp(f_i + g_j - C_{ij}/t)` and each half step is
    :math:`f_i = -\varphi \log\sum_j b_j \exp(g_j - C_{ij}/t)` with :math:`\varphi = p/(p+t)`,
    which is Sinkhorn's for an infinite penalty p. (POT's own solver at the oldest supported
    version exponentiates the cost, which small temperatures do not survive.)

    Parameters
    ----------
    clouds : Clouds
    temperature : float
        t, in the unit of squared distances.
    penalty : float
        p, in the unit of squared distances.
    max_iter : int
    tol : float
        Largest change of a potential (unitless) in the last iteration.
    """
    xp, x, y = namespace(clouds.x), clouds.x, clouds.y
    n, m = clouds.size
    shift = like(clouds.offset, x)
    row, column = gauge(clouds, temperature)
    # Here the terms of one row or column count: ||x - y + offset||^2, masses included.
    row = row - (2 * (x @ shift) + float(clouds.offset @ clouds.offset)) / temperature - log(n)
    column = column + 2 * (y @ shift) / temperature - log(m)
    inner = inner_cost(clouds, temperature)
    share = penalty / (penalty + temperature)
    f, g = xp.zeros_like(row), xp.zeros_like(column)
    done, error = 0, float("inf")
    while error > tol and done < max_iter:
        before = g
        f = -share * (_log_sums(column + g - inner, axis=1) + row + log(n))
        g = -share * (_log_sums((row + f)[:, None] - inner, axis=0) + column + log(m))
        error = float(xp.max(xp.abs(g - before)))
        done += 1
    require_no_overflow(error, x)
    plan = xp.exp((row + f)[:, None] + (column + g) - inner)
    cost, images = cost_and_images(plan, clouds)
    return Solution(
        plan=lambda: plan,
        images=images,
        cost=cost,
        error=error,
        n_iter=done,
        converged=error <= tol,
        mass=float(xp.sum(plan)),
        log_weights=column + g,
    )


def _log_sums(logits: Array, *, axis: int) -> Array:
    """Logarithm of the sums of exponentials along an axis; overwrites the logits."""
    xp = namespace(logits)
    largest = xp.max(logits, axis=axis, keepdims=True)
    logits -= largest
    sums = xp.sum(xp.exp(logits), axis=axis)
    return xp.log(sums) + (largest[:, 0] if axis == 1 else largest[0])
