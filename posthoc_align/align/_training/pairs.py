"""One map, trained on pairs: where it starts, what is made small, what is left at the end."""

from __future__ import annotations

from typing import Any

import numpy as np

from posthoc_align._arrays import like, to_host
from posthoc_align.align._training.forms import (
    apply_form,
    clip_spectrum,
    initial_weights,
    orthonormalise,
    start_matrix,
)
from posthoc_align.align._training.losses import PairLoss
from posthoc_align.align._training.optimise import Descent, Schedule, Tensor, Weights, descend
from posthoc_align.linalg import nearest_isometry

PROJECTIONS = {"orthogonal": orthonormalise, "spectral": clip_spectrum}


def train_map(
    x: Tensor,
    y: Tensor,
    pair_loss: PairLoss,
    *,
    form: str,
    start: str,
    rank: int,
    stay_close: float,
    both: bool,
    n_held_out: int,
    schedule: Schedule,
    random_state: np.random.RandomState,
    verbose: bool = False,
) -> tuple[Descent, Weights]:
    """Train a map of centred rows x onto their targets y, or of both.

    Parameters
    ----------
    x, y : tensors of shape (n, d_in), (n, d_out)
    pair_loss : callable
        ``pair_loss(z, y, mapped=...)``.
    form, start, rank
        See :mod:`posthoc_align.align._training.forms`.
    stay_close : float
        Weight of the squared distance of the trained matrices from where they start, beside the
        sum of the loss over pairs.
    both : bool
        Whether y is mapped as well.
    n_held_out : int
        Pairs that say when to stop.
    schedule : Schedule
    random_state : RandomState
    verbose : bool, default=False

    Returns
    -------
    run : Descent
    weights : dict of str to tensor
        All matrices of the trained map.
    """
    held_out, training = np.split(random_state.permutation(len(x)), [n_held_out])
    begin = start_matrix(start, x[training], y[training])
    size = float((x * x).sum(axis=1).mean()) ** 0.5
    initial, names = initial_weights(form, begin, rank=rank, size=size, random_state=random_state)
    everything = {name: like(value, x) for name, value in initial.items()}
    origin = {name: everything[name] for name in names}

    def loss(trained: Weights, rows: np.ndarray) -> Tensor:
        """Of the pairs alone: what held-out pairs judge by."""
        weights = {**everything, **trained}

        def mapped(rows: Any) -> Tensor:
            return apply_form(weights, rows)

        z, target = mapped(x[rows]), mapped(y[rows]) if both else y[rows]
        return pair_loss(z, target, mapped=mapped)

    def penalty(trained: Weights) -> Tensor:
        moved = sum(((trained[name] - origin[name]) ** 2).sum() for name in names)
        return stay_close / len(training) * moved

    run = descend(
        origin,
        loss,
        penalty,
        training,
        held_out,
        schedule,
        project=PROJECTIONS.get(form, lambda weights: None),
        random_state=random_state,
        verbose=verbose,
    )
    weights = {**everything, **run.weights}
    if form == "orthogonal":  # to the last digit
        eps = float(np.finfo(np.float64).eps)
        weights = {"coef": like(nearest_isometry(to_host(weights["coef"]), eps=eps)[0], x)}
    return run, weights
