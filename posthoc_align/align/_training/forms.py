"""The shapes a trained map can have: x C, with C free, orthogonal or of low rank, or a bent one.

Weights are a dict of matrices, of NumPy or torch alike:

* ``coef``: x C; "spectral" keeps the singular values of C at 1 or below;
* ``left``, ``right``: + (x L) R;
* ``hidden_in``, ``hidden_out``: + tanh(x A) B.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from posthoc_align._arrays import Array, namespace
from posthoc_align.align.linear_map import LinearMap
from posthoc_align.align.procrustes import Procrustes
from posthoc_align.linalg import nearest_isometry

Weights = dict[str, Any]

FORMS = ("linear", "orthogonal", "spectral", "low_rank", "residual")
STARTS = ("identity", "procrustes", "ridge")


def start_matrix(start: str, X: Array, y: Array) -> np.ndarray:
    """The matrix a map starts from, shape (d_in, d_out), fitted on centred rows where it is fitted.

    Raises
    ------
    ValueError
        If ``start="identity"`` meets spaces of different width.
    """
    if start == "procrustes":
        return Procrustes(center=False).fit(X, y).matrix_
    same = X.shape[1] == y.shape[1]
    if start == "ridge":
        if X.shape[0] < 3:
            raise ValueError(
                f"start='ridge' needs at least 3 pairs and got {X.shape[0]}: give more pairs, or "
                "use start='procrustes'."
            )
        return LinearMap(prior="identity" if same else "zero", center=False).fit(X, y).matrix_
    if not same:
        raise ValueError(
            f"start='identity' needs spaces of equal width; X has {X.shape[1]} features and y has "
            f"{y.shape[1]}. Use start='procrustes' or start='ridge'."
        )
    return np.eye(X.shape[1])


def initial_weights(
    form: str,
    matrix: np.ndarray,
    *,
    rank: int,
    size: float,
    random_state: np.random.RandomState,
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Weights that do what the matrix does, and the names of those that are trained.

    What is added to the matrix begins with a random half and a zero half, so that it does nothing
    at first and yet has a gradient. Rows of norm `size` excite a hidden unit by about 1.
    """
    if form in ("linear", "spectral"):
        return {"coef": matrix}, ("coef",)
    if form == "orthogonal":
        eps = float(np.finfo(np.float64).eps)
        return {"coef": nearest_isometry(matrix, eps=eps)[0]}, ("coef",)
    d_in, d_out = matrix.shape
    random = random_state.normal(size=(d_in, rank)) / (size or 1.0)
    names = ("left", "right") if form == "low_rank" else ("hidden_in", "hidden_out")
    return {"coef": matrix, names[0]: random, names[1]: np.zeros((rank, d_out))}, names


def apply_form(weights: Weights, x: Any) -> Any:
    """What the map makes of centred rows."""
    z = x @ weights["coef"]
    if "left" in weights:
        z = z + (x @ weights["left"]) @ weights["right"]
    if "hidden_in" in weights:
        z = z + namespace(x).tanh(x @ weights["hidden_in"]) @ weights["hidden_out"]
    return z


def rescaled(weights: Weights, factor: float) -> Weights:
    """The map times a factor."""
    last = ("coef", "right", "hidden_out")
    return {name: value * factor if name in last else value for name, value in weights.items()}


def clip_spectrum(weights: Weights) -> None:
    """Bring the singular values of ``coef`` down to 1, in place, where they exceed it."""
    import torch

    u, s, vt = torch.linalg.svd(weights["coef"], full_matrices=False)
    weights["coef"].copy_((u * s.clamp(max=1.0)) @ vt)


def orthonormalise(weights: Weights) -> None:
    """Bring ``coef`` back, in place, next to the orthonormal matrix it has just left.

    One Newton-Schulz step, C <- C (3 I - C'C) / 2, which squares the distance where that is small;
    the polar factor where it is not.
    """
    import torch

    coef = weights["coef"]
    wide = coef.shape[0] < coef.shape[1]
    tall = coef.T if wide else coef
    gram = tall.T @ tall
    off = torch.linalg.norm(gram - torch.eye(len(gram), dtype=gram.dtype, device=gram.device))
    if float(off) < 0.5:
        near = 1.5 * tall - 0.5 * tall @ gram
    else:
        u, _, vt = torch.linalg.svd(tall, full_matrices=False)
        near = u @ vt
    coef.copy_(near.T if wide else near)
