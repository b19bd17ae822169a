"""Penalised least squares from moments, and how much penalty is best."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import linalg

from posthoc_align._arrays import Array, like, namespace, to_host, upcast, zeros_on
from posthoc_align._blocks import PRODUCT_BLOCK, blocks
from posthoc_align.linalg import numerical_rank, symmetric_eigen
from posthoc_align.pair_moments import PairMoments


@dataclass(frozen=True, eq=False)
class Ridge:
    """Penalised least squares: min over W of ||XW - Y||^2 + penalty tr((W - P)' S (W - P)).

    Parameters
    ----------
    moments : PairMoments
        Of X and y, with the scatter of X.
    prior : ndarray of shape (d_x, d_y)
        P.
    metric : ndarray of shape (d_x, d_x), optional
        S, positive definite; None: the identity.
    """

    moments: PairMoments
    prior: np.ndarray
    metric: np.ndarray | None

    @property
    def missing(self) -> np.ndarray:
        """X'(Y - XP)."""
        return self.moments.cross - scatter_of(self.moments) @ self.prior

    @cached_property
    def basis(self) -> tuple[np.ndarray, np.ndarray]:
        """Values v (ascending) and vectors B with B' scatter B = diag(v) and B' S B = I."""
        scatter = scatter_of(self.moments)
        if self.metric is None:
            return symmetric_eigen(scatter)
        values, vectors = linalg.eigh((scatter + scatter.T) / 2, self.metric)
        return np.maximum(values, 0.0), vectors

    @cached_property
    def target(self) -> np.ndarray:
        """B'X'(Y - XP)."""
        return self.basis[1].T @ self.missing

    @property
    def rank(self) -> int:
        """How many directions carry any scatter."""
        values = self.basis[0]
        return numerical_rank(values[::-1], len(values), self.moments.eps)

    def solve(self, penalty: float) -> np.ndarray:
        """W; where X has no scatter it is P."""
        scatter = scatter_of(self.moments)
        # Rounding may make eigenvalues that are zero negative, by at most this.
        noise = len(scatter) * self.moments.eps * float(np.trace(scatter))
        if penalty > (noise if self.metric is None else 0):
            metric = np.eye(len(self.prior)) if self.metric is None else self.metric
            inner = scatter + penalty * metric
            return self.prior + linalg.solve(inner, self.missing, assume_a="pos")
        values, vectors = self.basis
        seen = slice(len(values) - self.rank, None)
        shrunk = self.target[seen] / (values[seen] + penalty)[:, None]
        return self.prior + vectors[:, seen] @ shrunk


def best_penalty(
    errors_at: Callable[[np.ndarray], np.ndarray], problem: Ridge
) -> tuple[float, float]:
    """The penalty of least error, and that error.

    The error is smooth in log(penalty): it is sampled once a decade, from a millionth of the
    largest eigenvalue to a hundred times it, then eight times a decade around the best, then at the
    vertex of the parabola through the best three.
    """
    moments = problem.moments
    if moments.size < 3:
        raise ValueError(
            f"penalty='auto' needs at least 3 pairs and got {moments.count} (n_samples = "
            f"{moments.count}): give more pairs, or a number."
        )
    largest = float(problem.basis[0][-1])
    if largest == 0.0:
        return 1.0, moments.square_y / moments.total

    def errors(steps: np.ndarray) -> np.ndarray:
        return errors_at(largest * 10.0**steps)

    steps = np.arange(-6.0, 3.0)
    found = errors(steps)
    near = steps[np.argmin(found)] + np.arange(-7, 8) / 8
    steps, found = np.append(steps, near), np.append(found, errors(near))
    best = int(np.argmin(found))
    vertex = _vertex(near, found[-len(near) :])
    if vertex is not None:
        refined = float(errors(np.array([vertex]))[0])
        if refined <= found[best]:
            return largest * 10.0**vertex, refined
    return largest * 10.0 ** float(steps[best]), float(found[best])


def _vertex(steps: np.ndarray, errors: np.ndarray) -> float | None:
    """Where the parabola through the least of evenly spaced errors and its neighbours is least."""
    at = int(np.argmin(errors))
    if at in (0, len(steps) - 1):
        return None
    before, here, after = errors[at - 1 : at + 2]
    bend = before - 2 * here + after
    if not bend > 0:
        return None
    return float(steps[at] + (steps[1] - steps[0]) * (before - after) / (2 * bend))


def generalized(problem: Ridge, penalties: np.ndarray, *, centred: bool) -> np.ndarray:
    """Mean squared residual over the squared mean of 1 - leverage, at each penalty."""
    moments, prior, rank = problem.moments, problem.prior, problem.rank
    values, change = problem.basis[0][-rank:], np.sum(problem.target[-rank:] ** 2, axis=1)
    free = moments.size - int(centred) - rank
    left = moments.square_y + np.sum(prior * (scatter_of(moments) @ prior - 2 * moments.cross))
    # What no penalty would leave: none at all where there are as many directions as pairs.
    noise = max(0.0, float(left - np.sum(change / values))) if free > 0 else 0.0
    shrunk = penalties[:, None] / (values + penalties[:, None])
    residual = noise + np.sum(change / values * shrunk**2, axis=1)
    kept = (max(free, 0.0) + np.sum(shrunk, axis=1)) / moments.size
    return residual / moments.total / kept**2


def leave_one_out(
    X: Array,
    y: Array,
    weight: Array | None,
    problem: Ridge,
    penalties: np.ndarray,
    *,
    centred: bool,
) -> np.ndarray:
    """Mean squared leave-one-out residual at each penalty, in one pass where the rows lie."""
    xp, moments, (values, vectors) = namespace(X), problem.moments, problem.basis
    mean_x, mean_y = like(moments.mean_x, X), like(moments.mean_y, X)
    basis, start = like(vectors, X), like(problem.prior, X)
    inverses = [like(1.0 / (values + penalty), X) for penalty in penalties]
    changes = [like(problem.target / (values + penalty)[:, None], X) for penalty in penalties]
    share = 1.0 / moments.total if centred else 0.0
    totals = zeros_on(X, (len(penalties),))
    for rows in blocks(X, target=PRODUCT_BLOCK):
        x = upcast(X[rows]) - mean_x
        missing = upcast(y[rows]) - mean_y - x @ start
        projected = x @ basis
        squared = projected * projected
        times = xp.ones_like(x[:, 0]) if weight is None else weight[rows]
        once = xp.where(times < 1, times, 1.0)  # one copy is left out, or what there is of it
        for i, (inverse, change) in enumerate(zip(inverses, changes, strict=True)):
            residual = missing - projected @ change
            kept = 1.0 - once * (share + squared @ inverse)
            kept = xp.where(kept > 1e-6, kept, 1e-6)  # a row that alone spans a direction: h = 1
            totals[i] += xp.sum(times * xp.sum(residual * residual, axis=1) / (kept * kept))
    return to_host(totals) / moments.total


def scatter_of(moments: PairMoments) -> np.ndarray:
    """The scatter of X, which the moments must hold."""
    if moments.scatter_x is None:
        raise ValueError(
            "LinearMap needs the scatter of X: accumulate PairMoments.of(X, y, scatter=True)."
        )
    return moments.scatter_x
