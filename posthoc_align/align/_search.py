"""The search of self-learning: match every language with the pivot, map, and match again."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import has_fit_parameter

from posthoc_align._arrays import Array, index_like, namespace
from posthoc_align.align._induction import Pairs, induce, match_by_distribution
from posthoc_align.align._routed import moved_by, take
from posthoc_align.align.recipe import unit_rows

STARTS = ("identity", "distribution")
PROFILED_ROWS = 4000  # rows described by their similarities to each other, which is n x n


@dataclass(eq=False)
class Cloud:
    """One language in the search: its rows, where its map takes them, what they match.

    Parameters
    ----------
    rows : array of shape (n_rows, n_features)
        After the recipe, in the compute type.
    seeds : pair of arrays, or None
        Rows and their translations in the pivot to start from.
    random_state : RandomState
        Chooses what is hidden from the language.
    """

    rows: Array
    seeds: tuple[Array, Array] | None
    random_state: np.random.RandomState
    map: Any = None
    pairs: Pairs = field(default_factory=lambda: Pairs.of(*np.zeros((2, 0), dtype=np.int64)))
    history: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.mapped = self.rows

    def fit(self, new: Any, x: Array, y: Array, **weighted: Any) -> None:
        """Fit a new map from rows onto rows of the pivot, and move all rows by it."""
        self.map = new.fit(x, y, **weighted)
        self.mapped = moved_by(self.map, self.rows)(self.rows)


@dataclass(frozen=True)
class Search:
    """How to search; parameters as of :class:`SelfLearningAligner`.

    Parameters
    ----------
    new_map, final : callable
        Give an unfitted map for every round, and for the end; None: the last round's stays.
    pivot : str or int
        For messages.
    """

    new_map: Callable[[], Any]
    final: Callable[[], Any] | None
    pivot: Any
    start: str
    matching: str
    similarity: str
    neighbors: int
    weighted: bool
    support: float
    keep: float
    max_iter: int
    patience: int
    tol: float
    n_jobs: int | None

    def run(self, clouds: Mapping[Any, Cloud], target: Array) -> int:
        """Match and map in rounds, all languages in step, and return how many rounds it took.

        Parameters
        ----------
        clouds : dict
            From each language to its rows; maps, matches and history are left in there.
        target : array of shape (n_target, n_features)
            Rows of the pivot after its recipe.
        """
        parallel = Parallel(n_jobs=self.n_jobs, prefer="threads")
        parallel(delayed(self._begin)(cloud, target) for cloud in clouds.values())
        keep, best, waited, n_iter = self.keep, -np.inf, 0, 0
        while clouds and n_iter < self.max_iter:
            n_iter += 1
            shown = self._supported(clouds, target)
            found = parallel(
                delayed(self._match)(cloud, shown[label], keep) for label, cloud in clouds.items()
            )
            for (label, cloud), pairs in zip(clouds.items(), found, strict=True):
                self._require_matches(label, pairs, n_iter)
                cloud.pairs = pairs
                cloud.history.append(pairs.quality)
            parallel(delayed(self._map)(c, target, self.new_map()) for c in clouds.values())
            quality = float(np.mean([pairs.quality for pairs in found]))
            waited = 0 if quality > best + self.tol else waited + 1
            best = max(best, quality)
            if waited >= self.patience:
                if keep >= 1.0:
                    break
                keep, best, waited = min(1.0, 2 * keep), -np.inf, 0
        else:
            if clouds:
                warnings.warn(
                    f"Self-learning still improves after {n_iter} rounds (mean best score "
                    f"{best:.4f}). Give a larger max_iter, or a larger tol.",
                    ConvergenceWarning,
                    stacklevel=5,
                )
        if self.final is not None:
            parallel(delayed(self._map)(c, target, self.final()) for c in clouds.values())
        return n_iter

    def _begin(self, cloud: Cloud, target: Array) -> None:
        """The first map of a language, from seeds or from distributions; none: the identity."""
        if cloud.seeds is not None:
            cloud.fit(self.new_map(), *cloud.seeds)
        elif self.start == "distribution":
            profiled = cloud.rows[:PROFILED_ROWS], target[:PROFILED_ROWS]
            cloud.pairs = match_by_distribution(*profiled, neighbors=self.neighbors)
            self._map(cloud, target, self.new_map())

    def _match(self, cloud: Cloud, shown: Callable[[], Array], keep: float) -> Pairs:
        return induce(
            cloud.mapped,
            shown(),
            matching=self.matching,
            similarity=self.similarity,
            neighbors=self.neighbors,
            keep=keep,
            random_state=cloud.random_state,
        )

    def _map(self, cloud: Cloud, target: Array, new: Any) -> None:
        """Fit the map of a language on its present matches and move its rows."""
        pairs = cloud.pairs
        weighted = self.weighted and has_fit_parameter(new, "sample_weight")
        weight = {"sample_weight": pairs.weight} if weighted else {}
        cloud.fit(new, take(cloud.rows, pairs.source), take(target, pairs.target), **weight)

    def _supported(
        self, clouds: Mapping[Any, Cloud], target: Array
    ) -> dict[Any, Callable[[], Array]]:
        """What each language sees of the pivot: its rows, with what the others matched to them.

        All languages' unit rows are added to the pivot's once; each then sees the sum less its own.
        """
        if not (self.support and len(clouds) > 1):
            return dict.fromkeys(clouds, lambda: target)
        xp = namespace(target)
        total = xp.asarray(unit_rows(target), copy=True)
        own = {}
        for label, cloud in clouds.items():
            at, place = _one_to_one(cloud.pairs)
            if len(at):
                rows = self.support * unit_rows(take(cloud.mapped, at))
                own[label] = index_like(place, total), rows
                total[own[label][0]] += rows

        def without(label: Any) -> Array:
            seen = xp.asarray(total, copy=True)
            if label in own:
                place, rows = own[label]
                seen[place] -= rows
            return seen

        return {label: partial(without, label) for label in clouds}

    def _require_matches(self, label: Any, pairs: Pairs, n_iter: int) -> None:
        if len(pairs) < 2:
            raise ValueError(
                f"Language {label!r} has {len(pairs)} matches with the pivot {self.pivot!r} in "
                f"round {n_iter}: at least 2 are needed. Give more rows, or seeds through seed_id."
            )


def _one_to_one(pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """The strongest match of each row of the target."""
    order = np.argsort(-pairs.weight, kind="stable")
    place, first = np.unique(pairs.target[order], return_index=True)
    return pairs.source[order][first], place
