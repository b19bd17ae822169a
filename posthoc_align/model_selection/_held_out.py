"""Outcomes of aligners on held-out rows, row by row, so that any two can be compared in pairs.

Every aligner is fitted on the same folds and judged on the same rows in the same order: each
outcome belongs to one language and one sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from posthoc_align._arrays import Array, index_like
from posthoc_align.align import LanguageCentering
from posthoc_align.align._apply import apply_aligner, fit_aligner
from posthoc_align.align._induction import induce
from posthoc_align.languages import is_missing
from posthoc_align.metrics import Estimate, bootstrap, paired_difference
from posthoc_align.metrics._directions import Directions
from posthoc_align.metrics._probe import make_head, probe_rows
from posthoc_align.model_selection._pairs import found_both_ways, pairs_with
from posthoc_align.model_selection.pair_folds import class_codes, fold_of_rows

OBJECTIVES = ("retrieval", "transfer")

LEAST = 10  # outcomes a language: an interval of fewer says nothing

Move = Callable[[Any, Array, np.ndarray], Array]
"""(fitted aligner, rows, their languages) -> the rows it makes of them."""


@dataclass(frozen=True, eq=False)
class Block:
    """The held-out rows of one language in one fold, with rows of the pivot.

    Parameters
    ----------
    fold : int
    language : str or int
    own, to : ndarray of int
        Positions in X. Of translations row by row, or of two clouds without pairs.
    """

    fold: int
    language: Any
    own: np.ndarray
    to: np.ndarray


class HeldOut:
    """Rows cut into folds by sentence, and what is counted on them.

    With translations: whether a row and its translation in the pivot find each other
    ("retrieval"), or whether a head that was fitted on the pivot's training rows gives a held-out
    row the label of its translation in the pivot ("transfer"). Labels of other languages are never
    read.

    Without any translation: whether a held-out row and a row of the pivot are each other's nearest
    by CSLS ("retrieval"); or whether the head gives a held-out row the label of the row of the
    pivot that it is matched with so once both languages are centred ("transfer"). The matches of
    the second are the same for all aligners, right ones or not.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
    labels : ndarray of shape (n_samples,)
        Languages.
    ids : ndarray of shape (n_samples,) or None
        Pair ids; None for judging without translations.
    y : ndarray of shape (n_samples,) or None
        Task labels, for "transfer".
    pivot : str or int
    objective : {"retrieval", "transfer"}
    n_splits : int
    random_state : int, RandomState instance or None
    head : classifier or None
        Cloned for "transfer"; a logistic regression when None.
    """

    def __init__(
        self,
        X: Array,
        labels: np.ndarray,
        ids: np.ndarray | None,
        y: Any,
        *,
        pivot: Any,
        objective: str,
        n_splits: int,
        random_state: Any,
        head: Any = None,
    ) -> None:
        self.X, self.labels, self.ids, self.y = X, labels, ids, y
        self.pivot, self.head, self.n_splits = pivot, head, n_splits
        self.transfer = objective == "transfer"
        self.known = (
            known_classes(self.y, labels == pivot) if self.transfer else np.ones(len(labels), bool)
        )
        classes = class_codes(self.y, self.known) if self.transfer else None
        self.fold = fold_of_rows(
            X.shape[0], n_splits, classes, labels, ids, random_state=random_state
        )
        blocks = list(self._blocks())
        sizes = dict.fromkeys(np.unique(labels[labels != pivot]).tolist(), 0)
        for block in blocks:
            sizes[block.language] += len(self._sentences(block))
        self.sizes = sizes
        self.blocks = [block for block in blocks if sizes[block.language] >= LEAST]

    def _blocks(self) -> Iterator[Block]:
        for fold in range(self.n_splits):
            at = np.flatnonzero(self.fold == fold)
            if self.ids is not None:
                found = pairs_with(self.pivot, self.labels, self.ids, at)
            else:
                found = self._clouds(fold, at)
            for name, (own, to) in found.items():
                if self.transfer:
                    own, to = own[self.known[to]], to[self.known[to]]
                if min(len(own), len(to)) >= 2:
                    yield Block(fold, name, own, to)

    def _clouds(self, fold: int, at: np.ndarray) -> dict[Any, tuple[np.ndarray, np.ndarray]]:
        """Without translations: all held-out rows, or those that match once they are centred."""
        there = at[self.labels[at] == self.pivot]
        others = [name for name in np.unique(self.labels[at]).tolist() if name != self.pivot]
        clouds = {name: (at[self.labels[at] == name], there) for name in others}
        if not self.transfer:
            return clouds
        centring = self._fit(LanguageCentering(), np.flatnonzero(self.fold != fold))
        found = {}
        for name, (own, to) in clouds.items():
            x, y = (
                centring.transform(self.X[index_like(rows, self.X)], language=label)
                for rows, label in ((own, name), (to, self.pivot))
            )
            met = induce(x, y)
            found[name] = own[met.source], to[met.target]
        return found

    @property
    def languages(self) -> list[Any]:
        """The languages that are judged, sorted."""
        return [name for name, size in self.sizes.items() if size >= LEAST]

    @property
    def groups(self) -> np.ndarray:
        """What the outcomes of one sentence have in common."""
        return np.concatenate([self._sentences(block) for block in self.blocks])

    def _sentences(self, block: Block) -> np.ndarray:
        if self.ids is not None:
            return self.ids[block.to]
        return block.to if self.transfer else np.concatenate([block.own, block.to])

    @property
    def strata(self) -> np.ndarray:
        """The language of each outcome."""
        sizes = [len(self._sentences(block)) for block in self.blocks]
        return np.repeat([block.language for block in self.blocks], sizes)

    def macro(self, values: np.ndarray) -> float:
        """The mean over languages."""
        strata = self.strata
        return float(np.mean([values[strata == name].mean() for name in self.languages]))

    def estimate(self, values: np.ndarray, language: Any = None) -> Estimate:
        """The mean over languages, or that of one, with its interval."""
        groups, strata = self.groups, self.strata
        if language is None:
            return bootstrap(values, groups=groups, strata=strata)
        at = strata == language
        return bootstrap(values[at], groups=groups[at])

    def difference(
        self, values: np.ndarray, other: np.ndarray, language: Any = None, *, level: float = 0.95
    ) -> Estimate:
        """By how much one aligner is better than another, over languages or in one of them."""
        groups, strata = self.groups, self.strata
        if language is None:
            return paired_difference(values, other, groups=groups, strata=strata, level=level)
        at = strata == language
        return paired_difference(values[at], other[at], groups=groups[at], level=level)

    def fit(self, aligner: Any) -> list[Any]:
        """Fit a clone of an aligner a fold, on the rows outside of it."""
        return [self._fit(aligner, np.flatnonzero(self.fold != k)) for k in range(self.n_splits)]

    def _fit(self, aligner: Any, at: np.ndarray) -> Any:
        return fit_aligner(
            aligner,
            self.X[index_like(at, self.X)],
            None if self.y is None else self.y[at],
            language=self.labels[at],
            pair_id=None if self.ids is None else self.ids[at],
        )

    def outcomes(self, fitted: Sequence[Any], move: Move = apply_aligner) -> np.ndarray:
        """Return what comes of aligners that were fitted a fold: a share from 0 to 1 an outcome.

        Parameters
        ----------
        fitted : sequence of estimators
            As :meth:`fit` returns them.
        move : callable
            How an aligner is applied to rows of given languages.

        Returns
        -------
        ndarray of shape (n_outcomes,)
        """
        values = []
        for fold, aligner in enumerate(fitted):
            mine = [block for block in self.blocks if block.fold == fold]
            read = [at for block in mine for at in (block.own, block.to)]
            if self.transfer:
                taught = self._taught(fold)
                read = [taught, *(block.own for block in mine)]
            rows = np.unique(np.concatenate(read)) if mine else np.zeros(0, dtype=np.int64)
            if not len(rows):
                continue
            place = np.zeros(len(self.labels), dtype=np.int64)
            place[rows] = np.arange(len(rows))
            Z = move(aligner, self.X[index_like(rows, self.X)], self.labels[rows])
            judge = self._head_of(Z, place, fold) if self.transfer else self._meet
            values += [judge(Z, place, block) for block in mine]
        return np.concatenate(values)

    def _meet(self, Z: Array, place: np.ndarray, block: Block) -> np.ndarray:
        """Which rows of a block find each other."""
        x, y = (Z[index_like(place[at], Z)] for at in (block.own, block.to))
        if self.ids is not None:
            return found_both_ways(x, y)
        met = induce(x, y)
        own, to = np.zeros(len(block.own)), np.zeros(len(block.to))
        own[met.source], to[met.target] = 1.0, 1.0
        return np.concatenate([own, to])

    def _taught(self, fold: int) -> np.ndarray:
        """Rows of the pivot that the head of a fold is fitted on."""
        return np.flatnonzero((self.fold != fold) & (self.labels == self.pivot) & self.known)

    def _head_of(
        self, Z: Array, place: np.ndarray, fold: int
    ) -> Callable[[Array, np.ndarray, Block], np.ndarray]:
        """Whether the pivot's head gives the rows of a block their translations' labels."""
        seen, directions = self._taught(fold), Directions.of(Z)
        head = make_head(self.head, max_iter=2000)
        head.fit(probe_rows(directions, place[seen]), self.y[seen])

        def hits(Z: Array, place: np.ndarray, block: Block) -> np.ndarray:
            found = head.predict(probe_rows(directions, place[block.own]))
            return (np.asarray(found) == self.y[block.to]).astype(np.float64)

        return hits


def known_classes(y: np.ndarray, pivot: np.ndarray) -> np.ndarray:
    """Rows of the pivot that have a task label."""
    known = pivot.copy()
    known[pivot] = [not is_missing(value) for value in y[pivot].tolist()]
    return known
