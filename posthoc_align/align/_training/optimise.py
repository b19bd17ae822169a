"""Gradient descent on a few small matrices: mini-batches with Adam, or all pairs at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

RISE = 0.1  # how much a mean loss may bounce near the least one, relative to 1 or its first value

Tensor = Any
Weights = dict[str, Tensor]
Loss = Callable[[Weights, np.ndarray], Tensor]
Penalty = Callable[[Weights], Tensor]


@dataclass(frozen=True)
class Schedule:
    """How fast and how long to descend.

    Parameters
    ----------
    batch_size : int or None
        None: plain gradient descent on all pairs, which halves its step where the loss rises.
    learning_rate : float
    max_epochs : int
    patience : int
        Epochs without a lower held-out loss after which to stop.
    """

    batch_size: int | None
    learning_rate: float
    max_epochs: int
    patience: int

    def rate_at(self, share: float) -> float:
        """The learning rate of Adam after a share of all steps: half a cosine, down to zero."""
        return self.learning_rate * (1 + math.cos(math.pi * share)) / 2

    def batches(self, order: np.ndarray) -> list[np.ndarray]:
        """The rows in batches of nearly equal size."""
        size = self.batch_size or len(order)
        return np.array_split(order, math.ceil(len(order) / size))


@dataclass
class Descent:
    """What a run of gradient descent found.

    Parameters
    ----------
    weights : dict of str to tensor
        The best state: of least held-out loss, or, without held-out pairs, the last one unless it
        diverged.
    training, held_out : list of float
        Cost by epoch, penalty included, and loss by epoch; ``held_out[0]`` is that of the start.
    best : int
        The number of epochs after which `weights` were.
    diverged : bool
        Whether a loss was not finite, or, without held-out pairs, training ended well above where
        it began; then the start is kept.
    """

    weights: Weights
    training: list[float] = field(default_factory=list)
    held_out: list[float] = field(default_factory=list)
    best: int = 0
    diverged: bool = False


def descend(
    weights: Weights,
    loss: Loss,
    penalty: Penalty,
    training: np.ndarray,
    held_out: np.ndarray,
    schedule: Schedule,
    *,
    project: Callable[[Weights], None],
    random_state: np.random.RandomState,
    verbose: bool = False,
) -> Descent:
    """Make ``loss(weights, rows) + penalty(weights)`` small over the training rows.

    Parameters
    ----------
    weights : dict of str to tensor
        The start. Left as it is.
    loss : callable
        Mean loss over the pairs of the given rows. Held-out rows are judged by it alone.
    penalty : callable
    training, held_out : ndarray of int
        Rows to descend on, and rows (perhaps none) that say when to stop.
    schedule : Schedule
    project : callable
        Puts weights back, in place, where they must be after a step.
    random_state : RandomState
        Shuffles the batches.
    verbose : bool, default=False
        Show a progress bar.
    """
    from tqdm.auto import tqdm

    weights = _copy(weights)
    step = _adam if schedule.batch_size else _halving

    def cost(weights: Weights, rows: np.ndarray) -> Tensor:
        return loss(weights, rows) + penalty(weights)

    epochs = step(weights, cost, training, schedule, project, random_state)
    start = _copy(weights)
    run = Descent(start)
    lowest = _held_out_loss(loss, weights, held_out, schedule)
    if len(held_out):
        run.held_out.append(lowest)
    for epoch in tqdm(range(1, schedule.max_epochs + 1), disable=not verbose, unit="epoch"):
        value = next(epochs, None)
        if value is None:  # no step lowers the loss any more
            break
        if not math.isfinite(value) or not _finite(weights):
            run.diverged = True
            break
        run.training.append(value)
        if not len(held_out):
            run.weights, run.best = _copy(weights), epoch
            continue
        run.held_out.append(_held_out_loss(loss, weights, held_out, schedule))
        if run.held_out[-1] < lowest:
            lowest, run.weights, run.best = run.held_out[-1], _copy(weights), epoch
        elif epoch - run.best >= schedule.patience:
            break
    if not len(held_out) and run.training:
        rise = run.training[-1] - run.training[0]
        run.diverged = run.diverged or rise > RISE * max(1.0, abs(run.training[0]))
    if run.diverged and not len(held_out):
        run.weights, run.best = start, 0
    return run


def _adam(
    weights: Weights,
    cost: Loss,
    training: np.ndarray,
    schedule: Schedule,
    project: Callable[[Weights], None],
    random_state: np.random.RandomState,
) -> Iterator[float]:
    """Yield the mean loss of each epoch of mini-batches."""
    import torch

    parameters = [value.requires_grad_(True) for value in weights.values()]
    optimiser = torch.optim.Adam(parameters, lr=schedule.learning_rate)
    last, step = schedule.max_epochs * len(schedule.batches(training)), 0
    while True:
        total = 0.0
        for rows in schedule.batches(random_state.permutation(training)):
            optimiser.param_groups[0]["lr"] = schedule.rate_at(step / last)
            step += 1
            optimiser.zero_grad()
            value = cost(weights, rows)
            value.backward()
            optimiser.step()
            with torch.no_grad():
                project(weights)
            total += float(value.detach()) * len(rows)
        yield total / len(training)


def _halving(
    weights: Weights,
    cost: Loss,
    training: np.ndarray,
    schedule: Schedule,
    project: Callable[[Weights], None],
    random_state: np.random.RandomState,
) -> Iterator[float]:
    """Yield the loss after each step on all pairs; ends when no step of any use lowers it."""
    import torch

    rate, parameters = schedule.learning_rate, list(weights.values())
    for value in parameters:
        value.requires_grad_(True)
    now = cost(weights, training)
    while True:
        slopes, before = torch.autograd.grad(now, parameters), _copy(weights)
        lower = None
        while lower is None and rate >= 1e-4 * schedule.learning_rate:
            with torch.no_grad():
                for value, start, slope in zip(parameters, before.values(), slopes, strict=True):
                    value.copy_(start - rate * slope)
                project(weights)
            trial = cost(weights, training)
            if float(trial.detach()) <= float(now.detach()):
                lower = trial
            else:
                rate /= 2
        if lower is None:
            with torch.no_grad():
                for value, start in zip(parameters, before.values(), strict=True):
                    value.copy_(start)
            return
        now = lower
        yield float(now.detach())


def _held_out_loss(loss: Loss, weights: Weights, rows: np.ndarray, schedule: Schedule) -> float:
    import torch

    if not len(rows):
        return math.inf
    with torch.no_grad():
        parts = [(len(part), float(loss(weights, part))) for part in schedule.batches(rows)]
    return sum(count * value for count, value in parts) / len(rows)


def _copy(weights: Weights) -> Weights:
    return {name: value.detach().clone() for name, value in weights.items()}


def _finite(weights: Weights) -> bool:
    return all(bool(value.detach().isfinite().all()) for value in weights.values())
