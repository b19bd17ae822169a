"""What of an index's retrieval is kept when it moves to another encoder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import GroupKFold, KFold

from posthoc_align._arrays import Array, check_rows, check_target, index_like, to_host
from posthoc_align._blocks import require_finite
from posthoc_align.align._base import as_array
from posthoc_align.align._parameters import require_number
from posthoc_align.languages import check_pair_id, is_paired
from posthoc_align.metrics import Estimate, bootstrap, nearest, paired_difference

TODAY = "old model alone"
MAPPED = "mapped index"
BACK = "queries mapped back"
NOTHING = "nothing done"
ANEW = "embedded anew"


@dataclass(frozen=True)
class MigrationReport:
    """Retrieval before, during and after a move to another encoder; prints itself as a table.

    Parameters
    ----------
    new_neighbors : dict of Estimate
        From each way to search to its recall of the neighbours that the new encoder gives, had it
        embedded everything: "old model alone" (the index and the queries of today), "nothing done"
        (new queries in the old index, where widths agree), "mapped index" (new queries), "queries
        mapped back" (new queries, in the old index; where the map can) and "embedded anew".
    old_neighbors : dict of Estimate
        The same of the neighbours that the old encoder gives: what users are used to.
    gain : Estimate
        Recall of the new neighbours by the mapped index less that by the old model alone.
    k : int
        Neighbours looked for.
    n_candidates : int
        Documents among which they were, in each fold.
    """

    new_neighbors: dict[str, Estimate]
    old_neighbors: dict[str, Estimate]
    gain: Estimate
    k: int
    n_candidates: int

    def __str__(self) -> str:
        head = f"recall of {self.k} among {self.n_candidates}"
        lines = [f"{head:28}{'new neighbours':26}old neighbours"]
        for name, new in self.new_neighbors.items():
            lines.append(f"{name:28}{new!s:26}{self.old_neighbors[name]}")
        return "\n".join([*lines, f"{'gain of the mapped index':28}{self.gain}"])


def migration_report(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    k: int = 10,
    groups: Any = None,
    n_splits: int = 5,
    random_state: int = 0,
) -> MigrationReport:
    """Measure on held-out documents what retrieval a map between two encoders keeps.

    The sample is split in folds. A clone of the estimator, fitted on all folds but one, maps the
    documents of that one, and each of its documents asks for its neighbours among the others. A
    neighbour is near by the cosine.

    Time O(n^2 d / n_splits) and `n_splits` fits; memory O(n d).

    Parameters
    ----------
    estimator : estimator
        A map such as :class:`MigrationMap`, or a Pipeline that ends in one.
    X : array of shape (n_samples, n_features)
        Documents embedded by the old encoder.
    y : array of shape (n_samples, n_features_out)
        The same documents embedded by the new encoder.
    k : int, default=10
        Neighbours of a document.
    groups : array-like of str or int of shape (n_samples,), optional
        Which rows are parts of one document, or near copies: they are held out together, and
        resampled together for the intervals. -1 or None marks a row of its own.
    n_splits : int, default=5
    random_state : int, default=0
        Of the folds, where there are no groups, and of the resamples.

    Returns
    -------
    MigrationReport

    Raises
    ------
    ValueError
        If rows do not correspond, a row is zero, or a fold has fewer than k + 2 documents.

    Notes
    -----
    Held-out documents are a small index: the more documents, the more come between a query and its
    neighbours, so that recall in the whole index is lower. Compare the lines, not one of them with
    an index of another size.

    Examples
    --------
    >>> import numpy as np
    >>> from posthoc_align import MigrationMap
    >>> old = np.random.default_rng(0).normal(size=(300, 4))
    >>> new = np.hstack([old[:, ::-1], old[:, :2]])
    >>> report = migration_report(MigrationMap(), old, new)
    >>> report.new_neighbors["old model alone"].high < report.new_neighbors["mapped index"].low
    True
    """
    require_number("k", k, Integral, lambda n: n >= 1, "an integer >= 1")
    require_number("n_splits", n_splits, Integral, lambda n: n >= 2, "an integer >= 2")
    X = check_rows(None, X)
    y = check_target(y, X)
    for rows, name in ((X, "X"), (y, "y")):
        require_finite(rows, name=name)
    parts = None if groups is None else _of_their_own(groups, X.shape[0])
    asked, sizes = [], []
    outcomes: dict[str, tuple[list[np.ndarray], list[np.ndarray]]] = {}
    for train, test in _folds(X.shape[0], parts, n_splits, random_state, least=k + 2):
        fitted = clone(estimator).fit(*(rows[index_like(train, rows)] for rows in (X, y)))
        old, new = (rows[index_like(test, rows)] for rows in (X, y))
        wanted_new, wanted_old = _neighbors(new, new, k), _neighbors(old, old, k)
        for name, (queries, documents) in _ways(fitted, old, new).items():
            found = _neighbors(queries, documents, k)
            new_recalls, old_recalls = outcomes.setdefault(name, ([], []))
            new_recalls.append(_recall(found, wanted_new))
            old_recalls.append(_recall(found, wanted_old))
        asked.append(test)
        sizes.append(len(test) - 1)
    seed, told = random_state, None if parts is None else parts[np.concatenate(asked)]

    def mean(found: np.ndarray) -> Estimate:
        return bootstrap(found, groups=told, random_state=seed)

    new_values = {name: np.concatenate(found[0]) for name, found in outcomes.items()}
    old_values = {name: np.concatenate(found[1]) for name, found in outcomes.items()}
    return MigrationReport(
        new_neighbors={name: mean(found) for name, found in new_values.items()},
        old_neighbors={name: mean(found) for name, found in old_values.items()},
        gain=paired_difference(
            new_values[MAPPED], new_values[TODAY], groups=told, random_state=seed
        ),
        k=int(k),
        n_candidates=min(sizes),
    )


def _ways(fitted: Any, old: Array, new: Array) -> dict[str, tuple[Array, Array]]:
    """Queries and documents of each way to search, by its name."""
    ways = {TODAY: (old, old)}
    if old.shape[1] == new.shape[1]:
        ways[NOTHING] = (new, old)
    ways[MAPPED] = (new, as_array(fitted.transform(old)))
    if hasattr(fitted, "inverse_transform"):
        ways[BACK] = (as_array(fitted.inverse_transform(new)), old)
    return ways | {ANEW: (new, new)}


def _neighbors(queries: Array, documents: Array, k: int) -> np.ndarray:
    """Positions of the k nearest other documents of each, shape (n_samples, k)."""
    found = to_host(nearest(queries, documents, k=k + 1))
    own = found == np.arange(len(found))[:, None]
    own[~own.any(axis=1), k] = True  # it did not find itself: the last is one too many
    return found[~own].reshape(len(found), k)


def _recall(found: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Share of the wanted neighbours that were found, of each document."""
    return np.mean((found[:, :, None] == wanted[:, None, :]).any(axis=1), axis=1)


def _of_their_own(groups: Any, n_rows: int) -> np.ndarray:
    """Codes of groups, a new one for each row that belongs to none."""
    labels = check_pair_id(groups, n_rows, name="groups")
    known = is_paired(labels)
    codes = np.arange(n_rows) + n_rows
    codes[known] = np.unique(labels[known], return_inverse=True)[1]
    return codes


def _folds(
    n_rows: int, parts: np.ndarray | None, n_splits: int, random_state: int, *, least: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows to fit on and rows held out, of each fold."""
    rows = np.zeros((n_rows, 1))
    if n_rows < n_splits * least:
        raise ValueError(
            f"{n_rows} documents in {n_splits} folds are too few: a fold needs at least {least}, "
            f"two more than the k neighbours. Give {n_splits * least} documents or more, or choose "
            "a smaller k or n_splits."
        )
    if parts is None:
        yield from KFold(n_splits, shuffle=True, random_state=random_state).split(rows)
        return
    for train, test in GroupKFold(n_splits).split(rows, groups=parts):
        if len(test) < least:
            raise ValueError(
                f"groups leave {len(test)} rows in a fold, and at least {least} are needed, two "
                "more than the k neighbours. Give more groups, or choose a smaller k or n_splits."
            )
        yield train, test
