"""Translation by one vector: add the mean difference of two languages, take the nearest row."""

from __future__ import annotations

from typing import Any

import numpy as np

from posthoc_align._arrays import namespace, to_host
from posthoc_align._blocks import blocks
from posthoc_align.metrics._directions import Directions, Points, check_sides
from posthoc_align.metrics._rivals import count_rivals


def mean_shift_accuracy(
    X: Any, Y: Any, *, X_fit: Any = None, Y_fit: Any = None, memory_budget: int | None = None
) -> float | np.ndarray:
    r"""Share of rows that the mean difference of two languages carries to their translation.

    .. math::
        \hat y_i = x_i + \bar y - \bar x, \qquad \tfrac1n\, \#\{ i :
        \lVert \hat y_i - y_i \rVert < \min_{j \ne i} \lVert \hat y_i - y_j \rVert \}

    with Euclidean distances, as published. A tie is a miss. Swap X and Y for the other direction.

    Time O(n^2 d) a layer in blocks, memory O(n) and the budget; in double precision.

    Parameters
    ----------
    X, Y : array of shape (n_samples, n_features) or (n_layers, n_samples, n_features)
        Row i of Y translates row i of X. Layers may also come as a list of two-dimensional arrays,
        whose widths may differ from layer to layer.
    X_fit, Y_fit : of the same form, optional
        Rows of both languages that the means are taken from; they need not be paired. The rows of
        X and Y themselves if None, as in [1]_: then a little optimistic.
    memory_budget : int, optional
        Bytes that may be held beside the arrays; 96 MB if None (1.6 GB on an accelerator).

    Returns
    -------
    float, or ndarray of shape (n_layers,)
        Between 0 and 1; chance is 1 / n_samples.

    Raises
    ------
    ValueError
        If shapes, kinds or devices differ, there are fewer than 2 rows, a row is zero or not
        finite, layers differ in number, or only one of `X_fit` and `Y_fit` is given.

    References
    ----------
    .. [1] T. Pires, E. Schlinger, D. Garrette, "How multilingual is multilingual BERT?", ACL
       (2019), arXiv:1906.01502.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 1.0]])
    >>> mean_shift_accuracy(X, X + [10.0, -5.0])
    1.0
    """
    if (X_fit is None) != (Y_fit is None):
        raise ValueError(
            "X_fit and Y_fit go together: the shift is a difference of two means. Pass both, or "
            "neither to take the means of X and Y."
        )
    sides = {"X": X, "Y": Y, "X_fit": X_fit, "Y_fit": Y_fit}
    given = {name: side for name, side in sides.items() if side is not None}
    layers = {name: _layers(side) for name, side in given.items()}
    if all(side is None for side in layers.values()):
        return _accuracy(**given, memory_budget=memory_budget)
    counts = {name: 1 if side is None else len(side) for name, side in layers.items()}
    if len(set(counts.values())) > 1 or any(side is None for side in layers.values()):
        raise ValueError(
            f"The sides have different numbers of layers: {counts}. Pass the same layers of every "
            "side."
        )
    return np.array(
        [
            _accuracy(
                **{name: side[i] for name, side in layers.items() if side is not None},
                memory_budget=memory_budget,
            )
            for i in range(counts["X"])
        ]
    )


def _layers(side: Any) -> list[Any] | None:
    """The layers of a side, or None if it is one array of rows."""
    if getattr(side, "ndim", None) == 3:
        return [side[i] for i in range(side.shape[0])]
    if isinstance(side, (list, tuple)) and len(side) and getattr(side[0], "ndim", None) == 2:
        return list(side)
    return None


def _accuracy(
    X: Any, Y: Any, X_fit: Any = None, Y_fit: Any = None, *, memory_budget: int | None
) -> float:
    x, y = check_sides(X, Y)
    xp = namespace(x.rows)
    if X_fit is None:
        fit_x, fit_y = x, y
    else:
        fit_x, fit_y = check_sides(X_fit, Y_fit, paired=False, names=("X_fit", "Y_fit"))
    if fit_x.width != x.width:
        raise ValueError(
            f"X has {x.width} features and X_fit has {fit_x.width}: pass rows of one layer of one "
            "encoder."
        )
    mean_x, mean_y = _mean(fit_x), _mean(fit_y)
    # Distances are the same from any origin, and smallest in products from Y's own mean.
    origin = _mean(y)
    x, y = (Directions(side.rows, xp.astype(side.lengths, xp.float64)) for side in (x, y))
    moved, there = Points.both(x, y, shift_x=mean_y - mean_x - origin, shift_y=-origin)
    # |x - y|^2 falls as xy - |y|^2 / 2 rises.
    penalty = [xp.sum(there.unit(rows) ** 2, axis=1) / 2 for rows in blocks(y.rows)]
    rivals = count_rivals(moved, there, penalty=xp.concat(penalty), memory_budget=memory_budget)
    return float(np.mean(rivals == 0))


def _mean(side: Directions) -> np.ndarray:
    """Mean of the rows, in double precision."""
    xp, total = namespace(side.rows), 0.0
    for rows in blocks(side.rows):
        total = total + xp.sum(xp.astype(side.rows[rows], xp.float64), axis=0)
    return to_host(total) / len(side)
