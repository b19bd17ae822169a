"""Sums of outcomes by group and stratum, and what becomes of them when groups are drawn again.

A measure here is a function of sums over rows: a mean is (sum of values, number of rows), F1 is
made of counts, R^2 of squares. Sums of a group of rows that belong together (the translations of
one sentence) are taken once; a resample weighs groups, hence is one product of small matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from posthoc_align._blocks import PRODUCT_BLOCK
from posthoc_align.languages import check_language, check_pair_id, factorize, is_paired

Measure = Callable[[np.ndarray], np.ndarray]  # sums of shape (..., k) -> values of shape (...)


def means_of(sums: np.ndarray) -> np.ndarray:
    """Sums of values, and of rows in the last place -> means; NaN where there are no rows."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return sums[..., :-1] / sums[..., -1:]


def mean_of(sums: np.ndarray) -> np.ndarray:
    """Give the mean of the only value there is."""
    return means_of(sums)[..., 0]


def check_groups(groups: Any, n_rows: int) -> np.ndarray:
    """Return the number of the group of each row; a row without a pair id is one of its own."""
    if groups is None:
        return np.arange(n_rows)
    ids = check_pair_id(groups, n_rows, name="groups", of="values")
    paired = is_paired(ids)
    codes = np.empty(n_rows, dtype=np.int64)
    known, codes[paired] = np.unique(ids[paired], return_inverse=True)
    codes[~paired] = len(known) + np.arange(int(np.sum(~paired)))
    return codes


@dataclass(frozen=True, eq=False)
class Clusters:
    """Sums of rows by group and stratum.

    Attributes
    ----------
    sums : ndarray of float64 of shape (n_groups, n_strata, n_statistics)
    strata : list
        Sorted names; ``[None]`` where rows are not told apart.
    present : ndarray of bool of shape (n_groups, n_strata)
        Whether a group has rows in a stratum.
    """

    sums: np.ndarray
    strata: list[Any]
    present: np.ndarray

    @classmethod
    def of(
        cls, columns: Iterable[np.ndarray], n: int, groups: Any = None, strata: Any = None
    ) -> Clusters:
        """Sum statistics of n rows, which come one column after the other.

        Raises
        ------
        ValueError
            If there is not one label a row, or a stratum has rows of one group only.
        """
        group = check_groups(groups, n)
        names, stratum = [None], np.zeros(n, dtype=np.int64)
        labels = check_language(strata, n, name="strata", of="values")
        if labels is not None:
            distinct, stratum = factorize(labels)
            names = distinct.tolist()
        n_groups = int(group.max()) + 1
        shape = (n_groups, len(names))
        cell = np.ravel_multi_index((group, stratum), shape)

        def by_cell(column: np.ndarray | None) -> np.ndarray:
            return np.bincount(cell, weights=column, minlength=shape[0] * shape[1]).reshape(shape)

        present = by_cell(None) > 0
        alone = [name for name, k in zip(names, present.sum(axis=0), strict=True) if k < 2]
        if alone:
            whose = "The rows" if names == [None] else f"The rows of {alone}"
            raise ValueError(
                f"{whose} are of one group only: an interval needs two independent groups or "
                "more. Pass more rows, or groups=None if rows are independent."
            )
        return cls(np.stack([by_cell(column) for column in columns], axis=2), names, present)

    @classmethod
    def of_means(cls, values: np.ndarray, groups: Any = None, strata: Any = None) -> Clusters:
        """Sum values and count rows: what :func:`mean_of` reads."""
        return cls.of((values, np.ones(len(values))), len(values), groups, strata)

    @property
    def n_groups(self) -> int:
        """Number of groups, the units that are drawn."""
        return int(self.sums.shape[0])

    def minus(self, other: Clusters) -> Clusters:
        """Return the differences of values of the same rows, from sums and counts of each."""
        change = self.sums[..., :-1] - other.sums[..., :-1]
        sums = np.concatenate([change, self.sums[..., -1:]], axis=-1)
        return Clusters(sums, self.strata, self.present)

    def weights(self, plus: Any, minus: Any = ()) -> np.ndarray:
        """Weights of strata: the mean over some of them, minus the mean over others."""
        weights = np.zeros(len(self.strata))
        for names, sign in ((list(plus), 1.0), (list(minus), -1.0)):
            for name in names:
                weights[self.strata.index(name)] += sign / len(names)
        return weights

    def draws(self, measure: Measure, *, n_resamples: int, random_state: int) -> Draws:
        """Take a measure of each stratum: as is, in resamples, and with one group left out."""
        total = self.sums.sum(axis=0)
        flat = self.sums.reshape(self.n_groups, -1)
        rng = np.random.default_rng(random_state)
        parts = [
            measure((w @ flat).reshape(-1, *total.shape)) for w in self._weights(n_resamples, rng)
        ]
        return Draws(
            self.present,
            measure(total),
            np.concatenate(parts),
            measure(total - self.sums),
        )

    def _weights(self, n_resamples: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """How often each group is drawn, a block of resamples at a time."""
        g = self.n_groups
        step = max(1, PRODUCT_BLOCK // (8 * g))
        for start in range(0, n_resamples, step):
            size = min(step, n_resamples - start)
            drawn = rng.integers(g, size=(size, g)) + g * np.arange(size)[:, None]
            counts = np.bincount(drawn.ravel(), minlength=size * g)
            yield counts.reshape(size, g).astype(np.float64)

    def shares(self) -> np.ndarray:
        """Give what each group adds to the means of each stratum, shape (n_groups, n_strata, k)."""
        return self.sums[..., :-1] / self.sums[..., -1:].sum(axis=0)


@dataclass(frozen=True, eq=False)
class Draws:
    """A measure of every stratum, and how it varies.

    Attributes
    ----------
    present : ndarray of bool of shape (n_groups, n_strata)
    value : ndarray of shape (n_strata,)
    resampled : ndarray of shape (n_resamples, n_strata)
        NaN where a resample has no row of a stratum.
    left_out : ndarray of shape (n_groups, n_strata)
        The measure without each group.
    """

    present: np.ndarray
    value: np.ndarray
    resampled: np.ndarray
    left_out: np.ndarray

    def pick(self, k: int) -> Draws:
        """Return one measure of several, which stand in the last axis."""
        return Draws(
            self.present, self.value[..., k], self.resampled[..., k], self.left_out[..., k]
        )


def sign_flip(effects: np.ndarray, *, n_resamples: int, random_state: int) -> np.ndarray:
    """Two-sided p-values of sums of effects, whose signs are arbitrary under the null.

    Parameters
    ----------
    effects : ndarray of shape (n_groups, n_sums)
        All sums see the same flips.

    Returns
    -------
    ndarray of shape (n_sums,)
        Share of flips, the observed one among them, whose sum is at least as far from 0.
    """
    g = len(effects)
    observed = np.abs(effects.sum(axis=0))
    # Equal sums of the same numbers in another order differ by rounding: they count as reached.
    floor = observed - 1e-12 * np.abs(effects).sum(axis=0)
    rng = np.random.default_rng(random_state)
    reached = np.ones(effects.shape[1])
    step = max(1, PRODUCT_BLOCK // (8 * g))
    for start in range(0, n_resamples, step):
        size = min(step, n_resamples - start)
        signs = 2.0 * rng.integers(2, size=(size, g)) - 1.0
        reached += np.sum(np.abs(signs @ effects) >= floor, axis=0)
    return reached / (n_resamples + 1)
