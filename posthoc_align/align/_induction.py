"""Pairs where none are given: which rows of two clouds probably translate each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from posthoc_align._arrays import Array, index_like, largest_at, namespace, to_host
from posthoc_align.align.transport import transport_plan
from posthoc_align.metrics._directions import Directions
from posthoc_align.metrics._similarity import mean_similarity, nearest_scored

MATCHINGS = ("mutual", "forward", "union", "sinkhorn")
SINKHORN_REG = 0.02  # of the mean cost
SIMILARITIES = ("csls", "cosine", "dot")


@dataclass(frozen=True, eq=False)
class Pairs:
    """Rows that were matched, by their places in the two clouds.

    Parameters
    ----------
    source, target : ndarray of int64 of shape (n_pairs,)
    weight : ndarray of shape (n_pairs,)
        By how much the match beats the second best, as a multiple of the mean over pairs; at
        least 0.1.
    quality : float
        Mean score of each row's best match, over the rows of both clouds: what self-learning
        climbs.
    """

    source: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    quality: float = np.nan

    @classmethod
    def of(cls, source: np.ndarray, target: np.ndarray) -> Pairs:
        """Pairs that are known, all of weight 1."""
        return cls(source, target, np.ones(len(source)))

    def __len__(self) -> int:
        return len(self.source)


def induce(
    x: Array,
    y: Array,
    *,
    matching: str = "mutual",
    similarity: str = "csls",
    neighbors: int = 10,
    keep: float = 1.0,
    random_state: np.random.RandomState | None = None,
) -> Pairs:
    """Match each row with its nearest row of the other cloud.

    Parameters
    ----------
    x, y : arrays of shape (n, d), (m, d)
        In one space; no zero rows, unless they are scored by "dot".
    matching : {"mutual", "forward", "union", "sinkhorn"}, default="mutual"
        Pairs that are nearest from both sides, from x to y, or from either side; or that exchange
        the most mass, from both sides, in an entropic transport plan, which is n x m.
    similarity : {"csls", "cosine", "dot"}, default="csls"
        What is nearest; "dot" is the inner product of the rows as they are.
    neighbors : int, default=10
        Neighbourhood of CSLS; fewer if a cloud has fewer rows.
    keep : float, default=1.0
        Share of each cloud that is offered to the other; the rest is hidden by chance.
    """
    if similarity == "dot":
        left, right = _as_they_are(x), _as_they_are(y)
    else:
        left, right = Directions.of(x, name="X"), Directions.of(y, name="the pivot")
    if matching == "sinkhorn":
        return _exchange(left, right)
    near = min(neighbors, len(left), len(right))
    hub_x = mean_similarity(left, right, near) / 2 if similarity == "csls" else None
    hub_y = mean_similarity(right, left, near) / 2 if similarity == "csls" else None
    to_y, gap, score_y = _best(left, right, hub_y, _shown(len(right), keep, random_state))
    if matching == "forward":
        return Pairs(np.arange(len(left)), to_y, _relative(gap), float(np.mean(score_y)))
    to_x, gap_back, score_x = _best(right, left, hub_x, _shown(len(left), keep, random_state))
    quality = float(np.mean(score_x) + np.mean(score_y)) / 2
    if matching == "mutual":
        at = np.flatnonzero(to_x[to_y] == np.arange(len(to_y)))
        return Pairs(at, to_y[at], _relative(gap[at]), quality)
    source = np.concatenate([np.arange(len(left)), to_x])
    target = np.concatenate([to_y, np.arange(len(right))])
    return Pairs(source, target, _relative(np.concatenate([gap, gap_back])), quality)


def _exchange(left: Directions, right: Directions) -> Pairs:
    """Pairs whose share of mass is the largest in the row and in the column of the plan."""
    x, y = left.unit(slice(None)), right.unit(slice(None))
    plan = transport_plan(x, y, reg=SINKHORN_REG, tol=1e-2)
    shares, at = largest_at(plan, 2)
    to_y, shares = _places(at[:, 0]), to_host(shares)
    to_x = _places(largest_at(plan.T, 1)[1][:, 0])
    found = np.flatnonzero(to_x[to_y] == np.arange(len(to_y)))
    lead = shares[:, 0] - shares[:, -1] if shares.shape[1] > 1 else shares[:, 0]
    xp = namespace(x)
    cosines = to_host(xp.sum(x * y[at[:, 0]], axis=1))
    return Pairs(found, to_y[found], _relative(lead[found]), float(np.mean(cosines)))


def _places(at: Array) -> np.ndarray:
    return to_host(at).astype(np.int64)


def _as_they_are(x: Array) -> Directions:
    """Rows whose products are taken without dividing by their lengths."""
    xp = namespace(x)
    return Directions(x, xp.ones_like(x[:, 0]))


def _shown(n_rows: int, keep: float, random_state: np.random.RandomState | None) -> np.ndarray:
    """The rows that are offered: at least two."""
    if keep >= 1.0 or random_state is None:
        return np.arange(n_rows)
    n_shown = min(n_rows, max(2, round(keep * n_rows)))
    return np.sort(random_state.permutation(n_rows)[:n_shown])


def _best(
    queries: Directions, pool: Directions, hubs: Array | None, shown: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Place in `pool` of the best match of each query, its lead over the second, its score."""
    if len(shown) < len(pool):
        at = index_like(shown, pool.rows)
        offered = Directions(pool.rows[at], pool.lengths[at])
        hubs = None if hubs is None else hubs[at]
    else:
        offered = pool
    values, found = nearest_scored(queries, offered, min(2, len(offered)), penalty=hubs)
    scores = to_host(values)
    lead = scores[:, 0] - scores[:, 1] if scores.shape[1] > 1 else np.ones(len(scores))
    return shown[_places(found[:, 0])], lead, scores[:, 0]


def _relative(lead: np.ndarray) -> np.ndarray:
    """Leads as multiples of their mean, at least a tenth of it: a duplicate leads by nothing."""
    mean = float(np.mean(lead)) if len(lead) else 0.0
    return np.maximum(lead / mean, 0.1) if mean > 0 else np.ones_like(lead)


def match_by_distribution(x: Array, y: Array, *, neighbors: int = 10) -> Pairs:
    r"""Match rows of two clouds in different spaces by how they lie within their own cloud.

    A row is described by its similarities :math:`(XX^\top)^{1/2}` to the rows of its cloud,
    sorted, which no rotation and no order of rows changes [1]_. Time and memory O(n^2) in the
    rows of the smaller cloud; of the larger one the first as many rows are taken.

    References
    ----------
    .. [1] M. Artetxe, G. Labaka, E. Agirre, "A robust self-learning method for fully
       unsupervised cross-lingual mappings of word embeddings", ACL 2018.
    """
    n_rows = min(x.shape[0], y.shape[0])
    left, right = _profile(x[:n_rows]), _profile(y[:n_rows])
    return induce(left, right, matching="union", neighbors=neighbors)


def _profile(x: Array) -> Array:
    xp = namespace(x)
    u, s, _ = xp.linalg.svd(x, full_matrices=False)
    rows = xp.sort((u * s) @ u.T, axis=1)
    rows = rows / xp.sqrt(xp.sum(rows * rows, axis=1, keepdims=True))
    rows = rows - xp.mean(rows, axis=0)
    return rows / xp.sqrt(xp.sum(rows * rows, axis=1, keepdims=True))
