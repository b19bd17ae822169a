"""The covariance of each language, and what sends it to a common one."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from posthoc_align.align._affine import Affine, PerLanguageAffine
from posthoc_align.align._base import known_labels
from posthoc_align.align._means import within_scatter
from posthoc_align.linalg import (
    EPS,
    check_shrinkage,
    numerical_rank,
    shrunk_covariance,
    symmetric_power,
)
from posthoc_align.moments import LanguageMoments, Moments, Second, scatter_of


@dataclass(frozen=True, eq=False)
class Covariance:
    """A scatter over n - 1, pulled towards the multiple of the identity of the same trace.

    Parameters
    ----------
    matrix : ndarray of shape (d, d)
        (1 - s) S + s tr(S) / d I.
    shrinkage : float
        s, from 0 to 1.
    eps : float
        Relative precision of the matrix.
    """

    matrix: np.ndarray
    shrinkage: float
    eps: float

    @classmethod
    def of(cls, part: Moments, shrinkage: float | str) -> Covariance:
        """Estimate from moments; `shrinkage` as in :func:`shrunk_covariance`."""
        scatter = scatter_of(part)
        # A spread within the rounding of the mean is none: the rows are all the same.
        if np.trace(scatter) <= part.count * float(np.sum((10 * part.eps * part.mean) ** 2)):
            scatter = np.zeros_like(scatter)
        matrix, factor = shrunk_covariance(scatter, part.count - 1, shrinkage)
        # What was rounding noise is lifted by a ridge that is known to the last digit.
        return cls(matrix, factor, EPS if factor else part.eps)

    @property
    def rank(self) -> int:
        """How many directions have a variance above rounding noise."""
        values = np.linalg.eigvalsh(self.matrix)[::-1]
        return numerical_rank(values, len(values), self.eps)

    def power(self, power: float) -> np.ndarray:
        """A power of the matrix; zero on directions without variance."""
        return symmetric_power(self.matrix, power, eps=self.eps)


@dataclass(frozen=True, eq=False)
class MatchedAffine(Affine):
    """An affine map that was fitted on a shrunk covariance.

    Parameters
    ----------
    source, factors, target
        As of :class:`Affine`.
    shrinkage : float
    distance : float
        How far the rows' Gaussian lay from the target, where that is known.
    """

    shrinkage: float
    distance: float = float("nan")


class CovarianceMatching(PerLanguageAffine):
    """A transformer that gives every language the same mean and covariance."""

    _learned: ClassVar[tuple[str, ...]] = (
        *PerLanguageAffine._learned,
        "target_mean_",
        "target_root_",
    )
    _own_target: ClassVar[str]

    pieces_: Sequence[MatchedAffine]
    target: Any
    shrinkage: float | str
    target_mean_: np.ndarray
    target_root_: np.ndarray

    @property
    def target_covariance_(self) -> np.ndarray:
        """The covariance that all languages get, shape (n_features, n_features)."""
        return self.target_root_ @ self.target_root_

    @property
    def shrinkage_(self) -> np.ndarray:
        """Shrinkage of each language's covariance, shape (L,)."""
        return np.array([piece.shrinkage for piece in self.pieces_])

    def _second(self) -> Second:
        return "full"

    def _solve_reference(self, parts: dict[Any, Moments]) -> None:
        check_shrinkage(self.shrinkage)
        named = self.target if isinstance(self.target, str) else None
        if named == self._own_target:
            self.target_mean_, self.target_root_ = self._solve_own_target(parts)
            return
        if named != "pooled" and self.target not in list(parts):
            raise ValueError(
                f"target={self.target!r} is neither {self._own_target!r}, 'pooled' nor one of the "
                f"fitted languages {known_labels(list(parts))}: choose one of these."
            )
        goal = within(parts) if named == "pooled" else parts[self.target]
        self.target_mean_ = goal.mean
        self.target_root_ = Covariance.of(goal, self.shrinkage).power(0.5)

    def _solve_own_target(self, parts: dict[Any, Moments]) -> tuple[np.ndarray, np.ndarray]:
        """Mean and root of the covariance of the target that only this class knows."""
        raise NotImplementedError(f"{type(self).__name__} must define _solve_own_target.")

    def _is_target(self, part: Moments) -> bool:
        """Whether these are the rows of the language that others are moved onto."""
        named = isinstance(self.target, str) and self.target in (self._own_target, "pooled")
        return not named and self.moments_.parts.get(self.target) is part

    def _covariance_of(self, part: Moments) -> Covariance:
        found = Covariance.of(part, self.shrinkage)
        width = part.n_features
        rank = width if found.shrinkage and np.trace(found.matrix) > 0 else found.rank
        if rank < width:
            warnings.warn(
                f"{self._whose(part)} varies in {rank} of {width} directions ({part.count} rows); "
                "nothing can be scaled in the others, and they are removed. Give shrinkage='auto' "
                "or a number above 0 to keep them, or add rows.",
                stacklevel=4,
            )
        return found


def within(parts: dict[Any, Moments]) -> Moments:
    """Moments about the language means, pooled over languages; the mean is that of all rows.

    The differences between the languages' means are left out of the scatter: they would come back
    as a spread of all of them.
    """
    moments = LanguageMoments(parts)
    pooled, freedom = moments.pooled, moments.pooled.count - len(parts)
    return Moments(freedom + 1, pooled.mean, scatter=within_scatter(moments), eps=pooled.eps)
