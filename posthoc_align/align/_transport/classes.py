"""Class-regularised plans: a target row takes its mass from source rows of one class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from posthoc_align._arrays import Array, labels_to_host, like
from posthoc_align.align._transport.clouds import Clouds, Solution, cost_and_images
from posthoc_align.align._transport.plans import gauge, inner_cost, scale_kernel

STEPS = 10  # of majorisation-minimisation, the published number
POWER = 0.5  # of the group norm
FLOOR = 1e-3  # keeps its gradient finite where a class sends nothing


def class_codes(label: Any, n_rows: int) -> tuple[np.ndarray, int]:
    """Number the classes of labelled rows; -1 where the label is None or NaN.

    Raises
    ------
    ValueError
        If there is not one label a row, or no two classes are known.
    """
    labels = labels_to_host(label)
    if labels.shape != (n_rows,):
        raise ValueError(
            f"label has shape {labels.shape} and X has {n_rows} rows: give one label a row, None "
            "where it is unknown."
        )
    known = np.array([value is not None and value == value for value in labels.tolist()])
    names = sorted(set(labels[known].tolist()), key=lambda name: (str(type(name)), name))
    if len(names) < 2:
        raise ValueError(
            f"label names {len(names)} class among {n_rows} rows; at least 2 are needed to tell "
            "classes apart. Give labels of more classes, or leave label out."
        )
    codes = np.full(n_rows, -1)
    at = {name: code for code, name in enumerate(names)}
    codes[known] = [at[name] for name in labels[known].tolist()]
    return codes, len(names)


def solve_classes(
    solve: Callable[..., Any],
    clouds: Clouds,
    temperature: float,
    *,
    codes: np.ndarray,
    n_classes: int,
    penalty: float,
    max_iter: int,
    tol: float,
) -> Solution:
    r"""Find the entropic plan with a group penalty on what each class sends to each target row.

    Adds :math:`\eta\sum_{jc}(\sum_{i\in c}P_{ij})^{1/2}` to the objective, by
    majorisation-minimisation: the penalty's gradient at the last plan joins the cost of the next.

    Parameters
    ----------
    solve : callable
        ``ot.solve``.
    clouds : Clouds
    temperature : float
    codes : ndarray of int of shape (n,)
        Class of each source row, -1 where unknown: such rows are not penalised.
    n_classes : int
    penalty : float
        :math:`\eta`, in the unit of squared distances.
    max_iter : int
        Most Sinkhorn iterations a step.
    tol : float
    """
    member = _members(codes, n_classes, clouds.x)
    row, column = gauge(clouds, temperature)
    added: Array = None

    def cost() -> Array:
        inner = inner_cost(clouds, temperature)
        if added is not None:
            inner += member @ added
        return inner

    n_iter = 0
    for _ in range(STEPS):
        scaled = scale_kernel(solve, cost, row, column, max_iter=max_iter, tol=tol)
        row, column, n_iter = scaled.row, scaled.column, n_iter + scaled.n_iter
        sent = member.T @ scaled.plan
        added = POWER * (sent + FLOOR) ** (POWER - 1) * (penalty / temperature)
    cost_of_plan, images = cost_and_images(scaled.plan, clouds)
    return Solution(
        plan=lambda: scaled.plan,
        images=images,
        cost=cost_of_plan,
        error=scaled.error,
        n_iter=n_iter,
        converged=scaled.error <= tol,
    )


def _members(codes: np.ndarray, n_classes: int, x: Array) -> Array:
    """One column a class, 1 where a row is of it."""
    return like(codes[:, None] == np.arange(n_classes), x)
