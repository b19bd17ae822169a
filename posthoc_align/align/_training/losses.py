"""Losses over a batch of pairs: what a map that is trained by gradient makes small.

Every function takes torch tensors and returns a scalar that gradients flow through. Row i of
``z``, the mapped rows, is the counterpart of row i of ``y``; all other rows of the batch are its
negatives, but for those whose target is the same row (a sentence that occurs twice, or one target
of several languages). ``unit`` has scaled both where a loss speaks of cosines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

Tensor = Any

PairLoss = Callable[..., Tensor]
"""``loss(z, y, mapped=...)`` of mapped rows and targets; ``mapped`` maps more rows."""

MARGINS = {"infonce": 0.0, "additive_margin": 0.3, "triplet": 0.2}
"""What each loss over cosines takes off a true pair by default."""


def pair_loss(
    name: str,
    *,
    pools: Sequence[Tensor],
    temperature: float,
    margin: float | None,
    symmetric: bool,
    same_side: bool,
    neighbors: int,
) -> PairLoss:
    """Return the loss of that name; each takes of the settings what it has a use for."""
    if name == "mse":
        return lambda z, y, mapped: squared_loss(z, y)
    if name == "rcsls":
        return partial(rcsls_loss, pools=pools, neighbors=neighbors)
    settings: dict[str, Any] = {
        "margin": MARGINS[name] if margin is None else margin,
        "symmetric": symmetric,
        "same_side": same_side,
    }
    if name == "triplet":
        return lambda z, y, mapped: triplet_loss(unit(z), unit(y), **settings)
    settings["temperature"] = temperature
    return lambda z, y, mapped: softmax_loss(unit(z), unit(y), **settings)


def unit(x: Tensor) -> Tensor:
    """Rows of unit Euclidean norm; a zero row, which has no direction, stays zero."""
    import torch

    return torch.nn.functional.normalize(x, dim=1)


def softmax_loss(
    z: Tensor,
    y: Tensor,
    *,
    temperature: float,
    margin: float = 0.0,
    symmetric: bool = True,
    same_side: bool = False,
) -> Tensor:
    r"""InfoNCE, and with a margin the additive margin softmax of LaBSE.

    The mean over i of :math:`-\log\frac{e^{(s_{ii}-m)/\tau}}{e^{(s_{ii}-m)/\tau}
    +\sum_{j\ne i}e^{s_{ij}/\tau}}` with the cosines :math:`s_{ij}=z_i^\top y_j`.

    Parameters
    ----------
    z, y : tensors of shape (n_batch, d), unit rows
    temperature : float
    margin : float, default=0.0
        What is taken off the cosine of a true pair.
    symmetric : bool, default=True
        Mean of both directions, z asking y and y asking z; otherwise z asks alone.
    same_side : bool, default=False
        Rows of the asking side are negatives as well.
    """
    import torch

    true = torch.eye(len(z), dtype=z.dtype, device=z.device)
    same = _same_target(y)
    across = ((z @ y.T - margin * true) / temperature).masked_fill(same & (true == 0), -torch.inf)

    def asked(scores: Tensor, side: Tensor) -> Tensor:
        if same_side:
            own = (side @ side.T / temperature).masked_fill(same, -torch.inf)
            scores = torch.cat([scores, own], dim=1)
        return torch.mean(torch.logsumexp(scores, dim=1) - across.diagonal())

    if not symmetric:
        return asked(across, z)
    return (asked(across, z) + asked(across.T, y)) / 2


def _same_target(y: Tensor) -> Tensor:
    """Which of the unit rows are one and the same, itself included, up to rounding."""
    import torch

    with torch.no_grad():
        same = y @ y.T > 1 - 1e-5
        return same.fill_diagonal_(True)


def triplet_loss(
    z: Tensor, y: Tensor, *, margin: float, symmetric: bool = True, same_side: bool = False
) -> Tensor:
    r"""Hinge on the hardest negative of the batch, as in VSE++.

    The mean over i of :math:`\max(0,\ m-s_{ii}+\max_{j\ne i}s_{ij})`, summed over both directions
    if `symmetric`. Parameters as in :func:`softmax_loss`. A batch of one pair has no negative and
    costs nothing.
    """
    import torch

    if len(z) < 2:
        return 0.0 * torch.sum(z)
    same = _same_target(y)
    across = z @ y.T

    def asked(scores: Tensor, side: Tensor) -> Tensor:
        if same_side:
            scores = torch.cat([scores, side @ side.T], dim=1)
        mask = torch.cat([same, same], dim=1) if same_side else same
        hardest = scores.masked_fill(mask, -torch.inf).amax(dim=1)
        return torch.mean(torch.relu(margin - across.diagonal() + hardest))

    return asked(across, z) + asked(across.T, y) if symmetric else asked(across, z)


def rcsls_loss(
    z: Tensor,
    y: Tensor,
    *,
    mapped: Callable[[Tensor], Tensor],
    pools: Sequence[Tensor],
    neighbors: int,
) -> Tensor:
    r"""Minus the relaxed CSLS criterion.

    The mean over i of :math:`-2z_i^\top y_i+\frac1k\sum_{y_j\in N_k(z_i)}z_i^\top y_j
    +\frac1k\sum_{z_j\in N_k(y_i)}z_j^\top y_i`. Neighbourhoods are held fixed under the gradient,
    which is exact wherever they do not change. Mapped rows are not scaled to unit norm.

    Parameters
    ----------
    z, y : tensors of shape (n_batch, d)
        Mapped rows, and targets of unit norm.
    mapped : callable
        The map, for the neighbours on the side that moves.
    pools : two tensors of shape (n_pool_x, d_in), (n_pool_y, d)
        Candidates of either side, of unit norm.
    neighbors : int
        k.
    """
    import torch

    pool_x, pool_y = pools
    with torch.no_grad():
        near_y = nearest_rows(z, pool_y, neighbors)
        near_x = nearest_rows(y, mapped(pool_x), neighbors)
    hub_y = pool_y[near_y].mean(dim=1)
    found = pool_x[near_x]
    hub_z = mapped(found.reshape(-1, pool_x.shape[1])).reshape(*found.shape[:2], -1).mean(dim=1)
    return torch.sum(z * (hub_y - 2 * y) + hub_z * y) / len(z)


def nearest_rows(queries: Tensor, pool: Tensor, k: int, *, budget: int = 2**26) -> Tensor:
    """Places of the k rows of the pool of largest dot product, for blocks of queries at a time."""
    import torch

    step = max(1, budget // (queries.element_size() * len(pool)))
    return torch.cat([(part @ pool.T).topk(k, dim=1).indices for part in queries.split(step)])


def squared_loss(z: Tensor, y: Tensor) -> Tensor:
    """Mean over pairs of the squared distance: distillation to a teacher's space."""
    import torch

    return torch.mean(torch.sum((z - y) ** 2, dim=1))


def same_length(z: Tensor, y: Tensor) -> float:
    """The factor that makes rows of z as long as those of y, in the root mean square."""
    size = float((z * z).sum())
    return float((y * y).sum() / size) ** 0.5 if size > 0 else 1.0
