"""Where a transport sends rows it was not fitted on: two rules, each a pure function of blocks.

Both take rows relative to the mean of the source cloud and answer relative to the mean of the
target cloud, and both work in sub-blocks of rows, so that what they hold at once is bounded.
"""

from __future__ import annotations

from collections.abc import Iterator

from posthoc_align._arrays import (
    Array,
    device_of,
    largest_at,
    like,
    namespace,
    on_host,
    resolution,
    to_host,
)
from posthoc_align._blocks import DEVICE_BLOCK, PRODUCT_BLOCK

# Nearness computed as a product confuses anchors that lie closer together than the square root of
# the arithmetic's resolution; a few more candidates are taken and their distances computed anew.
SPARE_CANDIDATES = 8


def entropic_image(x: Array, anchors: Array, log_weights: Array, temperature: float) -> Array:
    r"""Softmax-weighted average of the target anchors: the entropic map.

    :math:`T(x) = \sum_j p_j y_j` with :math:`p = \mathrm{softmax}_j(2 x \cdot y_j / t + w_j)`,
    which is :math:`\mathrm{softmax}_j((g_j - \lVert x - y_j\rVert^2)/t + \log b_j)` without the
    term that does not depend on j.

    Parameters
    ----------
    x : array of shape (n, d)
    anchors : array of shape (m, d)
    log_weights : array of shape (m,)
        :math:`w_j = (g_j - \lVert y_j\rVert^2)/t + \log b_j`, unitless.
    temperature : float
        t, in the unit of squared distances.

    Returns
    -------
    array of shape (n, d)
    """
    xp = namespace(x)
    parts = []
    for rows in _sub_blocks(x, anchors.shape[0]):
        logits = (x[rows] * (2.0 / temperature)) @ anchors.T
        logits += log_weights
        logits -= xp.max(logits, axis=1, keepdims=True)
        weights = xp.exp(logits)
        parts.append((weights @ anchors) / xp.sum(weights, axis=1, keepdims=True))
    return xp.concat(parts, axis=0)


def neighbour_image(x: Array, anchors: Array, images: Array, n_neighbors: int) -> Array:
    r"""Move rows as the nearest source anchors were moved, the nearer the more.

    :math:`T(x) = \sum_i w_i (t_i + x - a_i)` over the nearest anchors :math:`a_i` with images
    :math:`t_i` and :math:`w_i \propto 1/\lVert x - a_i\rVert^2`. At an anchor all weight falls on
    it (on all its duplicates alike), hence :math:`T(a_i) = t_i`.

    Parameters
    ----------
    x : array of shape (n, d)
    anchors, images : arrays of shape (m, d)
    n_neighbors : int

    Returns
    -------
    array of shape (n, d)
    """
    xp = namespace(x)
    k = min(n_neighbors, anchors.shape[0])
    candidates = min(k + SPARE_CANDIDATES, anchors.shape[0])
    squares = xp.sum(anchors * anchors, axis=1)
    # Distances below rounding of the data count as zero, and as equal to one another.
    floor = max(float(xp.mean(squares)) * resolution(x) ** 2, float(xp.finfo(x.dtype).tiny))
    parts = []
    for rows in _sub_blocks(x, max(anchors.shape[0], 2 * candidates * x.shape[1])):
        block = x[rows]
        _, near = largest_at((2.0 * block) @ anchors.T - squares, candidates)
        apart = block[:, None, :] - anchors[near]
        nearness, best = largest_at(-xp.sum(apart * apart, axis=2), k)
        weights = floor / xp.where(-nearness > floor, -nearness, floor)
        weights = weights / xp.sum(weights, axis=1, keepdims=True)
        near = xp.take_along_axis(near, best, axis=1)
        moved = images[near] + (block[:, None, :] - anchors[near])
        parts.append(xp.sum(weights[:, :, None] * moved, axis=1))
    return xp.concat(parts, axis=0)


def at_place_of(value: Array, X: Array) -> Array:
    """A fitted array as one of X's kind, on X's device, in X's compute type."""
    return like(value if device_of(value) == device_of(X) else to_host(value), X)


def _sub_blocks(x: Array, width: int) -> Iterator[slice]:
    """Row slices of x for which `width` numbers a row stay within a fixed number of bytes."""
    target = PRODUCT_BLOCK if on_host(x) else DEVICE_BLOCK
    step = max(1, target // (width * (8 if "64" in str(x.dtype) else 4)))
    for start in range(0, x.shape[0], step):
        yield slice(start, min(start + step, x.shape[0]))
