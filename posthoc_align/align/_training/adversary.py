"""A game between a linear map and a critic that tells mapped rows from rows of the target."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from posthoc_align._arrays import index_like, like
from posthoc_align.align._induction import induce
from posthoc_align.align._training.losses import softmax_loss, squared_loss, unit
from posthoc_align.align._training.optimise import Schedule
from posthoc_align.linalg import unit_block
from posthoc_align.metrics._similarity import Directions, mean_similarity

BETAS = (0.5, 0.9)  # of the critic's Adam, as in the paper of the gradient penalty
LEAK = 0.2  # slope of the critic's units where they are off

Tensor = Any


@dataclass(frozen=True)
class Rules:
    """How a game is played.

    Parameters
    ----------
    n_hidden : int
        Units in each of the critic's two hidden layers. 0: a linear critic.
    n_critic : int
        Steps of the critic for each step of the maps.
    gradient_penalty : float
        Weight of the squared distance of the critic's slopes from 1.
    critic_rate : float
        Learning rate of the critic.
    cycle : float
        Weight of the way there and back.
    temperature : float or None
        Of the contrastive loss of that way; None: the squared distance.
    orthogonality : float
        Length of the pull to an orthogonal matrix after each step.
    schedule : Schedule
        Of the maps.
    """

    n_hidden: int
    n_critic: int
    gradient_penalty: float
    critic_rate: float
    cycle: float
    temperature: float | None
    orthogonality: float
    schedule: Schedule


@dataclass
class Game:
    """What a game came to.

    Parameters
    ----------
    forward, backward : tensors of shape (d_in, d_out), (d_out, d_in)
        The maps after the best epoch.
    quality : list of float
        By epoch; ``quality[0]`` is that of the start.
    distance, cycle : list of float
        By epoch, means over its steps: how far apart the critic sees the clouds, and the loss of
        the way there and back.
    best : int
        Epochs after which the maps were best; 0 is the start.
    diverged : bool
        Whether mapped rows were not finite; the game ended there.
    """

    forward: Tensor
    backward: Tensor
    quality: list[float]
    distance: list[float] = field(default_factory=list)
    cycle: list[float] = field(default_factory=list)
    best: int = 0
    diverged: bool = False


def play(
    x: Tensor,
    y: Tensor,
    start: np.ndarray,
    rules: Rules,
    judge: Callable[[Tensor], float],
    random_state: np.random.RandomState,
    *,
    verbose: bool = False,
) -> Game:
    """Train F, which maps x into y's cloud, and G, which maps back; keep those of the best epoch.

    Parameters
    ----------
    x, y : tensors of shape (n, d_in), (m, d_out)
        Clouds of about unit variance in a column.
    start : ndarray of shape (d_in, d_out)
        F to begin with; G begins as its transpose.
    rules : Rules
    judge : callable
        From F to its quality: the higher, the better; not finite where mapped rows are not.
    random_state : RandomState
        Draws the critic and the batches, on the host, so that arrays of every kind play alike.
    verbose : bool, default=False
        Show a progress bar.
    """
    import torch
    from tqdm.auto import tqdm

    maps = [like(matrix, x).clone().requires_grad_(True) for matrix in (start, start.T)]
    forward, backward = maps
    game = Game(*_copy(forward, backward), quality=[judge(forward.detach())])
    critic = _new_critic(y, rules.n_hidden, random_state)
    critic_steps = torch.optim.Adam(critic, lr=rules.critic_rate, betas=BETAS)
    schedule = rules.schedule
    map_steps = torch.optim.SGD(maps, lr=schedule.learning_rate)
    longest = max(len(x), len(y))
    size = schedule.batch_size or longest
    n_steps = math.ceil(longest / size)

    def draw(rows: Tensor) -> Tensor:
        return rows[index_like(random_state.permutation(len(rows))[:size], rows)]

    def teach() -> float:
        """One step of the critic; returns how far apart it sees the clouds."""
        mapped, real = draw(x) @ forward.detach(), draw(y)
        gap = torch.mean(_verdict(critic, real)) - torch.mean(_verdict(critic, mapped))
        both = min(len(mapped), len(real))
        share = like(random_state.uniform(size=(both, 1)), x)
        slope = _slope(critic, share * real[:both] + (1 - share) * mapped[:both])
        critic_steps.zero_grad()
        (rules.gradient_penalty * torch.mean((slope - 1) ** 2) - gap).backward()
        critic_steps.step()
        return float(gap.detach())

    def fool() -> float:
        """One step of the maps; returns the loss of the way there and back."""
        rows = draw(x)
        mapped = rows @ forward
        returned = _way_back_loss(mapped @ backward, rows, rules.temperature)
        map_steps.zero_grad()
        (rules.cycle * returned - torch.mean(_verdict(critic, mapped))).backward()
        map_steps.step()
        with torch.no_grad():
            for matrix in maps:
                matrix += rules.orthogonality * (matrix - matrix @ (matrix.T @ matrix))
        return float(returned.detach())

    for epoch in tqdm(range(1, schedule.max_epochs + 1), disable=not verbose, unit="epoch"):
        distance, cycle = [], []
        for step in range(n_steps):
            share = (epoch - 1 + step / n_steps) / schedule.max_epochs
            map_steps.param_groups[0]["lr"] = schedule.rate_at(share)
            distance += [teach() for _ in range(rules.n_critic)]
            cycle.append(fool())
        quality = judge(forward.detach())
        if not math.isfinite(quality):
            game.diverged = True
            break
        game.distance.append(float(np.mean(distance)))
        game.cycle.append(float(np.mean(cycle)))
        game.quality.append(quality)
        if quality > game.quality[game.best]:
            game.best = epoch
            game.forward, game.backward = _copy(forward, backward)
    return game


def quality(z: Tensor, y: Tensor, neighbors: int) -> float:
    """Mean CSLS of mapped rows and rows of the target that are each other's nearest by CSLS.

    A cosine less what the neighbourhoods have in common, 2 cos(z, y) - r(z) - r(y), which no map
    gains by drawing all rows together. Rows without direction are left out; 0 if none is left,
    minus infinity if a mapped row is not finite.
    """
    if not bool(z.isfinite().all()):
        return -math.inf
    z, y = (unit_block(rows[(rows != 0).any(dim=1)], name=None) for rows in (z, y))
    if not len(z) or not len(y):
        return 0.0
    near = min(neighbors, len(z), len(y))
    left, right = Directions.of(z), Directions.of(y)
    pairs = induce(z, y, neighbors=near)
    at, place = index_like(pairs.source, z), index_like(pairs.target, y)
    hubs = mean_similarity(left, right, near)[at] + mean_similarity(right, left, near)[place]
    return float((2 * (z[at] * y[place]).sum(dim=1) - hubs).mean())


def _copy(forward: Tensor, backward: Tensor) -> tuple[Tensor, Tensor]:
    return forward.detach().clone(), backward.detach().clone()


def _new_critic(y: Tensor, n_hidden: int, random_state: np.random.RandomState) -> list[Tensor]:
    """Weights and biases, layer by layer."""
    widths = [y.shape[1], n_hidden, n_hidden, 1] if n_hidden else [y.shape[1], 1]
    critic = []
    for before, after in pairwise(widths):
        weight = random_state.normal(size=(before, after)) * (2 / before) ** 0.5
        critic += [like(weight, y), like(np.zeros(after), y)]
    return [part.requires_grad_(True) for part in critic]


def _verdict(critic: list[Tensor], rows: Tensor) -> Tensor:
    """What the critic says of each row: high where it takes it for one of the target's."""
    import torch

    *hidden, weight, bias = critic
    for a, b in zip(hidden[::2], hidden[1::2], strict=True):
        rows = torch.nn.functional.leaky_relu(rows @ a + b, LEAK)
    return (rows @ weight + bias)[:, 0]


def _slope(critic: list[Tensor], rows: Tensor) -> Tensor:
    """Norm of the critic's gradient at each row."""
    import torch

    rows = rows.requires_grad_(True)
    (slopes,) = torch.autograd.grad(_verdict(critic, rows).sum(), rows, create_graph=True)
    return torch.linalg.norm(slopes, dim=1)


def _way_back_loss(returned: Tensor, rows: Tensor, temperature: float | None) -> Tensor:
    """How far rows come back from where they set out."""
    if temperature is None:
        return squared_loss(returned, rows) / rows.shape[1]
    return softmax_loss(unit(returned), unit(rows), temperature=temperature)
