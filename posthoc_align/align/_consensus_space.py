"""A space that several views of the same things share: generalised Procrustes, multi-set CCA.

A view is one language, or one encoder. The space is a row a concept; each view has rows for some of
the concepts, and enters with those. Rows and the space stay where X lies; what is solved on the
host is d x d, but for the canonical variates, whose Gram matrix is decomposed where X lies.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.exceptions import ConvergenceWarning

from posthoc_align._arrays import Array, index_like, like, namespace, resolution, to_host
from posthoc_align.align._base import require_two_rows
from posthoc_align.languages import check_pair_id, is_paired, pair_rows, require_unique_pairs
from posthoc_align.linalg import nearest_isometry, numerical_rank, symmetric_eigen

REWEIGHT = 0.5
"""Power of the canonical weights, as in VecMap's recommended re-weighting."""


@dataclass(frozen=True, eq=False)
class View:
    """Rows of one view and which concept each is of.

    Parameters
    ----------
    rows : array of shape (n_rows, n_features)
        In the compute type.
    at : ndarray of int of shape (n_rows,)
        Each concept at most once.
    """

    rows: Array
    at: np.ndarray


@dataclass(frozen=True, eq=False)
class Shared:
    """A shared space.

    Parameters
    ----------
    rows : array of shape (n_concepts, width)
        Of the views' kind, where they lie.
    history : list of float
        The objective, an entry an iteration.
    change : float
        How far the space moved in the last iteration, relative to its size.
    """

    rows: Array
    history: list[float]
    change: float


def require_one_group(labels: Sequence[Any], views: Sequence[View], n: int) -> None:
    """Raise if the views, of these labels, fall into groups without a concept in common."""
    of = np.repeat(np.arange(len(views)), [len(view.at) for view in views])
    at = np.concatenate([view.at for view in views]) + len(views)
    size = len(views) + n
    graph = coo_array((np.ones(len(at)), (of, at)), shape=(size, size))
    groups = connected_components(graph, directed=False)[1][: len(views)]
    if np.any(groups):
        parts = [
            [label for label, group in zip(labels, groups, strict=True) if group == number]
            for number in np.unique(groups)
        ]
        raise ValueError(
            f"Languages fall into groups that share no pair_id: {parts}. Nothing says how "
            "these lie to each other. Add translations between them, or fit each group alone."
        )


def concepts_of(
    labels: np.ndarray, pair_id: Any
) -> tuple[np.ndarray, dict[Any, tuple[np.ndarray, np.ndarray, np.ndarray]]]:
    """Ids that two languages or more have; of each language its rows, those paired, their ids."""
    names = np.unique(labels).tolist()
    rows = {label: np.flatnonzero(labels == label) for label in names}
    require_two_rows(rows)
    if len(names) < 2:
        raise ValueError(f"A consensus needs at least 2 languages; got only {names}. Add one.")
    if pair_id is None:
        raise ValueError(
            "ConsensusAligner is fitted on translations, but fit got no pair_id (row order is "
            "never taken for it). Pass pair_id=: one id a row, equal for translations."
        )
    ids = check_pair_id(pair_id, len(labels))
    require_unique_pairs(labels, ids)
    known, counts = np.unique(ids[is_paired(ids)], return_counts=True)
    concepts = known[counts > 1]
    return concepts, {label: (at, *pair_rows(ids[at], concepts)) for label, at in rows.items()}


def mean_over_views(views: Sequence[View], n: int) -> Array:
    """Mean of the rows of each concept, over the views that have it; zero where none has."""
    first = views[0].rows
    total = like(np.zeros((n, first.shape[1])), first)
    for view in views:
        total[index_like(view.at, first)] += view.rows
    return total / like(np.maximum(_counts(views, n), 1)[:, None], first)


def _counts(views: Sequence[View], n: int) -> np.ndarray:
    return np.bincount(np.concatenate([view.at for view in views]), minlength=n)


def rotation_onto(rows: Array, target: Array, penalty: float) -> np.ndarray:
    """The isometry R that makes |rows R - target|^2 + penalty |R - I|^2 least."""
    cross = to_host(rows.T @ target)
    cross = cross + penalty * np.eye(*cross.shape)
    return nearest_isometry(cross, eps=resolution(rows), reflection=True)[0]


def generalised_procrustes(
    views: Sequence[View],
    n: int,
    *,
    start: Array,
    penalty: float,
    max_iter: int,
    tol: float,
    n_jobs: int | None = None,
) -> Shared:
    """Alternate: rotate every view onto the space, then average the rotated views.

    Neither step raises the objective, the sum over views of |rows R - space|^2 + penalty |R - I|^2.

    Parameters
    ----------
    views : sequence of View
    n : int
        Number of concepts.
    start : array of shape (n, width)
        Where to begin; zero rows for concepts it does not know.
    penalty : float
        How strongly rotations are held to the identity.
    max_iter : int
    tol : float
        Relative change of the space at which to stop.
    n_jobs : int, optional
    """
    space, history, change = start, [], np.inf
    for _ in range(max_iter):
        rotations = Parallel(n_jobs=n_jobs, prefer="threads")(
            delayed(rotation_onto)(view.rows, space[index_like(view.at, space)], penalty)
            for view in views
        )
        turned = [
            View(view.rows @ like(rotation, view.rows), view.at)
            for view, rotation in zip(views, rotations, strict=True)
        ]
        new = mean_over_views(turned, n)
        change = np.sqrt(_square(new - space) / max(_square(new), np.finfo(np.float64).tiny))
        space = new
        pull = sum(float(np.sum((r - np.eye(*r.shape)) ** 2)) for r in rotations)
        apart = sum(_square(view.rows - space[index_like(view.at, space)]) for view in turned)
        history.append(apart + penalty * pull)
        if change <= tol:
            break
    return Shared(space, history, float(change))


def warn_if_unsettled(shared: Shared, *, max_iter: int, tol: float) -> None:
    """Warn if generalised Procrustes ran out of rounds."""
    if shared.change > tol:
        warnings.warn(
            f"Generalised Procrustes still moved the space by {shared.change:.1e} of its size "
            f"after max_iter={max_iter} rounds (tol={tol:g}). Raise max_iter, or tol.",
            ConvergenceWarning,
            stacklevel=5,
        )


def multiset_cca(
    views: Sequence[View], n: int, *, penalty: float, n_components: int | None, near: Array
) -> Shared:
    r"""Return the canonical variates that all views predict best, turned to lie near `near`.

    With the ridge projection :math:`P_l = Z_l (Z_l^\top Z_l + \lambda I)^{-1} Z_l^\top`, these are
    the first eigenvectors of :math:`D^{-1/2} (\sum_l P_l) D^{-1/2}`, where the diagonal D counts
    the views that have a concept. Each is weighted by its eigenvalue, the share that the views
    predict, to the power ``REWEIGHT``; then one isometry, which changes no cosine, turns the whole
    to the frame of `near`.

    Parameters
    ----------
    views : sequence of View
    n : int
    penalty : float
    n_components : int or None
        None: as many as the rows determine, at most the width.
    near : array of shape (n, width)

    Raises
    ------
    ValueError
        If `n_components` is more than the rows determine.
    """
    first = views[0].rows
    xp = namespace(first)
    root = np.sqrt(_counts(views, n))
    parts = []
    for view in views:
        values, vectors = symmetric_eigen(to_host(view.rows.T @ view.rows))
        whiten = vectors / np.sqrt(values + penalty)
        part = like(np.zeros((n, len(values))), first)
        at = index_like(view.at, first)
        part[at] = (view.rows @ like(whiten, first)) / like(root[view.at][:, None], first)
        parts.append(part)
    stacked = xp.concat(parts, axis=1)
    wide = stacked.shape[1] > n
    values, vectors = xp.linalg.eigh(stacked @ stacked.T if wide else stacked.T @ stacked)
    weights = np.clip(to_host(values)[::-1], 0.0, 1.0)
    largest = min(near.shape[1], numerical_rank(weights, n, 10 * resolution(first)))
    k = largest if n_components is None else n_components
    if k > largest:
        raise ValueError(
            f"n_components={n_components} is more than the {largest} that {n} concepts in "
            f"{near.shape[1]} dimensions determine: choose at most {largest}."
        )
    last = index_like(np.arange(len(values))[::-1][:k].copy(), first)
    variates = vectors[:, last]
    if not wide:
        variates = (stacked @ variates) / like(np.sqrt(weights[:k]), first)
    variates = variates / like(root[:, None], first) * like(weights[:k] ** REWEIGHT, first)
    turn = nearest_isometry(to_host(variates.T @ near), eps=resolution(first))[0]
    return Shared(variates @ like(turn, first), [float(np.sum(weights[:k]))], 0.0)


def mean_square(views: Sequence[View]) -> float:
    """Mean squared norm of a row."""
    return sum(_square(view.rows) for view in views) / sum(len(view.at) for view in views)


def resized(rows: Array, size: float) -> Array:
    """Rows scaled to the given mean squared norm."""
    own = _square(rows) / rows.shape[0]
    return rows * float(np.sqrt(size / own)) if own > 0 else rows


def _square(rows: Array) -> float:
    xp = namespace(rows)
    return float(xp.sum(xp.sum(rows * rows, axis=1)))
