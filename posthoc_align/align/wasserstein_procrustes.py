"""Wasserstein-Procrustes: rotate one cloud onto another while matching their rows."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from posthoc_align._arrays import like, resolution, to_host
from posthoc_align.align._map import SpaceMap
from posthoc_align.align._parameters import require_choice, require_number
from posthoc_align.align._transport.clouds import Clouds, cost_and_images, require_memory
from posthoc_align.align._transport.convex_start import convex_start
from posthoc_align.align._transport.plans import gauge, inner_cost, scale_kernel
from posthoc_align.align._transport.problem import two_clouds
from posthoc_align.linalg import nearest_isometry

STARTS = ("identity", "convex")
SINKHORN: dict[str, Any] = {"max_iter": 200, "tol": 1e-3}  # a step needs no exact plan
SETTLED = 1e-4  # length of a step over that of the rotation


class WassersteinProcrustes(SpaceMap):
    r"""Rotate one cloud of embeddings onto another without pairs.

    Looks for the orthogonal R and the plan P of uniform marginals that solve

    .. math:: \min_{R,P} \sum_{ij} P_{ij} \lVert (x_i-\bar x)R - (y_j-\bar y)\rVert^2

    by turns: the entropic plan of a random batch at the present R, then a step of R along
    :math:`X^\top P Y` and back to the nearest orthogonal matrix [1]_. Batches double and become
    fewer from epoch to epoch; one that holds all rows takes R to its optimum for the plan,
    :class:`Procrustes`, until R settles. Memory is that of a plan of the largest batch.

    Parameters
    ----------
    start : {"identity", "convex"}, default="identity"
        R to begin with. "identity": for clouds of one encoder, which share their axes. "convex":
        from rows matched by their similarities within each cloud, for clouds of unrelated axes.
    reg : float, default=0.05
        Strength of the entropy of a plan, in units of the mean cost.
    batch_size : int, default=500
        Rows of either cloud in a batch of the first epoch.
    n_epochs : int, default=5
        Epochs; each doubles the batch and has a quarter of the iterations of the one before.
    n_iter : int, default=400
        Iterations of the first epoch, and most steps once a batch holds all rows.
    learning_rate : float, default=1.0
        Length of a step, in units in which :math:`X^\top P Y` of equal, isotropic clouds is R.
    start_rows : int, default=1000
        Rows of either cloud that "convex" matches; its time is O(start_rows^3).
    random_state : int, RandomState or None, default=0
        Draws the batches.
    memory_budget : float, optional
        Bytes for arrays as large as a plan. None: what is free where the rows lie.

    Attributes
    ----------
    rotation_ : ndarray of shape (n_features_in, n_features_out)
        R, with orthonormal columns (rows, if the target space is the wider one).
    matrix_ : ndarray of shape (n_features_in, n_features_out)
        The same, the linear part of the map.
    mean_in_, mean_out_ : ndarray of shape (n_features_in,), (n_features_out,)
    history_ : ndarray of shape (n_iter_,)
        Cost of each batch's plan, over the mean cost of all n x m pairs.
    n_iter_ : int
    n_features_in_ : int

    Raises
    ------
    ValueError
        If X and y have fewer than 2 rows, differ in width with ``start="identity"``, contain NaN
        or infinity, or a parameter is out of range.
    MemoryError
        Before anything large is built, if a plan of the largest batch does not fit.

    Warns
    -----
    ConvergenceWarning
        If R had not settled after ``n_iter`` steps with all rows.

    Notes
    -----
    The problem is not convex: what is found depends on the start, and symmetric clouds (isotropic
    ones, above all) have many solutions. Directions of little variance are matched last and worst.
    Where an encoder nearly shares its space already, a rotation from imperfect matches can do harm
    (it did on SIB-200): compare with no map, and with :class:`TransportMap` and a linear rule.
    The published code takes 5000 iterations with batches of 500; for a few thousand rows the
    default's few suffice, as the last epochs hold all of them.

    References
    ----------
    .. [1] E. Grave, A. Joulin, Q. Berthet, "Unsupervised Alignment of Embeddings with Wasserstein
       Procrustes", AISTATS 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from posthoc_align import WassersteinProcrustes
    >>> X = np.array([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0], [4.0, 1.0]])
    >>> turn = np.array([[0.8, 0.6], [-0.6, 0.8]])
    >>> fitted = WassersteinProcrustes(reg=0.01).fit(X, (X @ turn)[::-1])
    >>> np.allclose(fitted.rotation_, turn, atol=1e-3)
    True
    """

    requires_pairs: ClassVar[bool] = False

    rotation_: np.ndarray
    history_: np.ndarray

    def __init__(
        self,
        *,
        start: Literal["identity", "convex"] = "identity",
        reg: float = 0.05,
        batch_size: int = 500,
        n_epochs: int = 5,
        n_iter: int = 400,
        learning_rate: float = 1.0,
        start_rows: int = 1000,
        random_state: Any = 0,
        memory_budget: float | None = None,
    ) -> None:
        self.start = start
        self.reg = reg
        self.batch_size = batch_size
        self.n_epochs = n_epochs
        self.n_iter = n_iter
        self.learning_rate = learning_rate
        self.start_rows = start_rows
        self.random_state = random_state
        self.memory_budget = memory_budget

    @property
    def matrix_(self) -> np.ndarray:
        """The linear part of the map, shape (n_features_in, n_features_out)."""
        return self.rotation_

    def _inverse_matrix(self) -> np.ndarray:
        return self.rotation_.T

    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit on two clouds whose rows need not correspond; forgets what was seen before.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Source cloud.
        y : array of shape (n_target, n_features_out)
            Target cloud, of any number of rows, of X's kind and on X's device.
        """
        self._check_parameters()
        X, y = two_clouds(self, X, y)
        if self.start == "identity" and X.shape[1] != y.shape[1]:
            raise ValueError(
                f"X has {X.shape[1]} features and y has {y.shape[1]}: start='identity' needs "
                "spaces of equal width. Choose start='convex'."
            )
        clouds = Clouds.of(X, y, unit=False)
        self._require_memory(clouds)
        self.mean_in_, self.mean_out_ = clouds.mean_x, clouds.mean_y
        import torch

        # POT is faster on tensors; a tensor of a NumPy array shares its memory
        clouds = replace(clouds, x=torch.as_tensor(clouds.x), y=torch.as_tensor(clouds.y))
        # both are relative to their means from here on, which are mapped onto one another
        clouds = replace(clouds, mean_x=0 * clouds.mean_y, mean_y=0 * clouds.mean_y)
        history = self._descend(clouds, check_random_state(self.random_state))
        self.history_, self.n_iter_ = np.array(history), len(history)
        return self

    def _check_parameters(self) -> None:
        require_choice("start", self.start, STARTS)
        for name in ("reg", "learning_rate"):
            value = getattr(self, name)
            require_number(name, value, Real, lambda v: 0 < v < np.inf, "a positive number")
        for name in ("batch_size", "n_epochs", "n_iter", "start_rows"):
            value, expected = getattr(self, name), "an integer of at least 1"
            require_number(name, value, Integral, lambda v: v >= 1, expected)
        if self.memory_budget is not None:
            expected = "a positive number of bytes"
            require_number("memory_budget", self.memory_budget, Real, lambda v: v > 0, expected)

    def _require_memory(self, clouds: Clouds) -> None:
        n, m = clouds.size
        largest = self.batch_size * 2 ** (self.n_epochs - 1)
        numbers = min(n, largest) * min(m, largest)
        if self.start == "convex":
            numbers = max(numbers, 2 * min(n, m, self.start_rows) ** 2)
        require_memory("entropic", clouds, numbers, self.memory_budget)

    def _descend(self, clouds: Clouds, random_state: np.random.RandomState) -> list[float]:
        """Learn the rotation; returns what each step's plan cost."""
        import ot

        n, m = clouds.size
        steps = _Steps(ot.solve, clouds, self.reg)
        self.rotation_ = np.eye(clouds.x.shape[1], clouds.y.shape[1])
        if self.start == "convex":
            cross = convex_start(ot.solve, clouds, self.start_rows, self.reg, random_state)
            self.rotation_ = steps.nearest(cross)
        size, count = self.batch_size, self.n_iter
        for _ in range(self.n_epochs):
            if size >= max(n, m):
                self._settle(steps)
                break
            for _ in range(count):
                batch = clouds.of_rows(*(random_state.permutation(k)[:size] for k in (n, m)))
                cross = steps.cross(batch, self.rotation_)
                self.rotation_ = steps.nearest(self.rotation_ + self.learning_rate * cross)
            size, count = 2 * size, max(1, count // 4)
        return steps.history

    def _settle(self, steps: _Steps) -> None:
        """Alternate the plan of all rows with its best rotation until that stays put."""
        moved = np.inf
        for _ in range(self.n_iter):
            before = self.rotation_
            self.rotation_ = steps.nearest(steps.cross(steps.clouds, before))
            moved = float(np.linalg.norm(self.rotation_ - before)) / len(before) ** 0.5
            if moved <= SETTLED:
                return
        warnings.warn(
            f"The rotation had not settled after n_iter={self.n_iter} steps with all rows: its "
            f"last step was {moved:.2g}, {SETTLED} is allowed. Raise n_iter or reg.",
            ConvergenceWarning,
            stacklevel=4,
        )


class _Steps:
    """What is needed at each step, and what the steps cost so far."""

    def __init__(self, solve: Callable[..., Any], clouds: Clouds, reg: float) -> None:
        self.solve, self.clouds = solve, clouds
        self.scale = clouds.spread_x + clouds.spread_y or 1.0
        self.heat = reg * self.scale
        # the cross-scatter of equal clouds that are isotropic is then the identity
        widest = max(clouds.x.shape[1], clouds.y.shape[1])
        self.unit = (clouds.spread_x * clouds.spread_y) ** 0.5 / widest or 1.0
        self.eps = resolution(clouds.x)
        self.history: list[float] = []
        self.potentials = gauge(clouds, self.heat)

    def nearest(self, matrix: np.ndarray) -> np.ndarray:
        """The orthogonal matrix nearest to one."""
        return nearest_isometry(matrix, eps=self.eps)[0]

    def cross(self, clouds: Clouds, rotation: np.ndarray) -> np.ndarray:
        """X'PY, in its unit, for the plan P of some rows at the present rotation."""
        turned = replace(clouds, x=clouds.x @ like(rotation, clouds.x))
        begin = gauge(turned, self.heat) if clouds is not self.clouds else self.potentials
        cost = partial(inner_cost, turned, self.heat)
        scaled = scale_kernel(self.solve, cost, *begin, **SINKHORN)
        if clouds is self.clouds:  # all rows, as at the next step, whose plan is much the same
            self.potentials = scaled.row, scaled.column
        self.history.append(cost_and_images(scaled.plan, turned)[0] / self.scale)
        return to_host(clouds.x.T @ (scaled.plan @ clouds.y)) / self.unit
