r"""Mergeable statistics of embeddings: count, mean, scatter, of all rows or of each language.

Every statistic is one frozen object, centred, unnormalised and in float64, and two of them add:
with :math:`n = n_a + n_b` and :math:`\delta = \bar b - \bar a`,

.. math:: S = S_a + S_b + \frac{n_a n_b}{n}\,\delta\,\delta^\top

(Chan, Golub & LeVeque, The American Statistician 37, 1983). Rows are read once, block by block;
inside a block sums run in the compute type of X, where there are second moments shifted by a
provisional mean, so that data far from the origin do not cancel; blocks are added in float64.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import add
from typing import Any, Literal

import numpy as np

from posthoc_align._arrays import (
    Array,
    column_sums,
    group_sums,
    index_like,
    namespace,
    resolution,
    to_host,
    upcast,
    zeros_on,
)
from posthoc_align._blocks import (
    CACHE_BLOCK,
    PRODUCT_BLOCK,
    Runs,
    explain_nonfinite,
    over_blocks,
    silent,
)
from posthoc_align.languages import factorize

Second = Literal["none", "diagonal", "full", "within"]
Label = Any  # a language (str, int or None), or a (language, class) cell


@dataclass(frozen=True, eq=False)
class Moments:
    """Count, mean and, where asked for, centred second moments of a set of rows.

    Parameters
    ----------
    count : int
    mean : ndarray of shape (n_features,)
    squares : ndarray of shape (n_features,), optional
        Sum of squared deviations of each dimension.
    scatter : ndarray of shape (n_features, n_features), optional
        Sum of outer products of the deviations.
    eps : float
        Relative spacing of the arithmetic the rows were summed in.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[1.0, 0.0], [3.0, 0.0], [5.0, 6.0]])
    >>> whole = Moments.of(X[:2]) + Moments.of(X[2:])
    >>> whole.count, whole.mean
    (3, array([3., 2.]))
    """

    count: int
    mean: np.ndarray
    squares: np.ndarray | None = None
    scatter: np.ndarray | None = None
    eps: float = float(np.finfo(np.float64).eps)

    @classmethod
    def of(cls, X: Array, *, second: Second = "none") -> Moments:
        """Moments of all rows of X, which lie where they are: only sums leave the device."""
        parts, _ = _grouped(X, np.zeros(X.shape[0], dtype=np.int64), [None], second)
        return parts[None]

    @property
    def n_features(self) -> int:
        """Width of the rows."""
        return int(self.mean.shape[0])

    @property
    def variance(self) -> np.ndarray:
        """Population variance of each dimension, shape (n_features,)."""
        squares = self.squares if self.squares is not None else np.diag(_needed(self.scatter))
        return squares / self.count

    def __add__(self, other: Moments) -> Moments:
        require_width(self.n_features, other.n_features)
        if self.count == 0 or other.count == 0:
            return self if other.count == 0 else other
        count = self.count + other.count
        delta = other.mean - self.mean
        weight = self.count * other.count / count
        full = self.scatter is not None and other.scatter is not None
        return Moments(
            count,
            self.mean + delta * (other.count / count),
            merge(self.squares, other.squares, weight * delta * delta),
            merge(self.scatter, other.scatter, weight * np.outer(delta, delta)) if full else None,
            max(self.eps, other.eps),
        )


@dataclass(frozen=True, eq=False)
class LanguageMoments(Mapping[Label, Moments]):
    """The :class:`Moments` of each language: a mapping that adds.

    Parameters
    ----------
    parts : dict
        From label to :class:`Moments`; the label is None where no language was given.
    within : ndarray of shape (n_features, n_features), optional
        Sum over the labels of each one's scatter about its own mean: what solvers need that
        compare means, in the memory of one label.
    """

    parts: dict[Label, Moments] = field(default_factory=dict)
    within: np.ndarray | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Keys beside values: skops keeps dicts of text and numbers alone, and None is a label."""
        values = vars(self) | {"parts": list(self.parts.values())}
        return values | {"labels": list(self.parts)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        parts = dict(zip(state.pop("labels"), state.pop("parts"), strict=True))
        self.__dict__.update(state, parts=parts)

    @classmethod
    def of(
        cls, X: Array, language: np.ndarray | None = None, *, second: Second = "none"
    ) -> LanguageMoments:
        """Moments of the rows of each label in one pass over X.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
        language : ndarray of shape (n_samples,), optional
            Labels; None puts all rows under the label None.
        second : {"none", "diagonal", "full", "within"}, default="none"
            Which second moments to keep: none, those of each dimension or a full scatter for
            each label, or one scatter within labels for all of them.
        """
        if language is None:
            return cls(*_grouped(X, np.zeros(X.shape[0], dtype=np.int64), [None], second))
        labels, codes = factorize(language)
        return cls(*_grouped(X, codes, labels.tolist(), second))

    def __getitem__(self, label: Label) -> Moments:
        return self.parts[label]

    def __iter__(self) -> Iterator[Label]:
        return iter(self.parts)

    def __len__(self) -> int:
        return len(self.parts)

    @property
    def n_features(self) -> int:
        """Width of the rows."""
        return next(iter(self.parts.values())).n_features

    @property
    def pooled(self) -> Moments:
        """Moments of all rows together, whatever their language."""
        whole = reduce(add, self.parts.values())
        if self.within is None:
            return whole
        counts = np.array([part.count for part in self.parts.values()])
        apart = np.stack([part.mean for part in self.parts.values()]) - whole.mean
        return replace(whole, scatter=self.within + (apart.T * counts) @ apart)

    def __add__(self, other: LanguageMoments) -> LanguageMoments:
        if not (self.parts and other.parts):
            return self if self.parts else other
        if _labelled(self) != _labelled(other):
            raise ValueError(
                "Some rows came with language labels and some without: pass language= in every "
                "call of partial_fit, or in none."
            )
        require_width(self.n_features, other.n_features)
        if len({type(label) for label in (*self, *other)}) > 1:
            raise ValueError(
                f"The labels {list(self)} and {list(other)} do not mix: languages must be all str "
                "or all int in every call of partial_fit."
            )
        merged, between = dict(self.parts), np.zeros(())
        for label, moments in other.items():
            if label in merged and self.within is not None:
                before = merged[label]
                delta = moments.mean - before.mean
                weight = before.count * moments.count / (before.count + moments.count)
                between = between + weight * np.outer(delta, delta)
            merged[label] = merged[label] + moments if label in merged else moments
        parts = {label: merged[label] for label in sorted(merged, key=_order)}
        return LanguageMoments(parts, merge(self.within, other.within, between))


@silent()
def _grouped(
    X: Array, codes: np.ndarray, labels: list[Label], second: Second
) -> tuple[dict[Label, Moments], np.ndarray | None]:
    """Moments of each group of rows, and the scatter within groups if that is all that is wanted.

    `codes` count from 0 in the order of `labels`.
    """
    n_groups = len(labels)
    counts, runs = np.bincount(codes, minlength=n_groups), Runs(codes)
    if second == "none":
        shift = None
        sums = over_blocks(lambda cut: _sums(X, runs, n_groups, cut), X, target=PRODUCT_BLOCK)
        squares = scatters = within = None
    else:
        shift = _provisional_means(X, codes, counts)
        # Products want long blocks; so do shuffled languages, each of which has a part of a block.
        long = second in ("full", "within") or runs.many
        sums, squares, scatters, within = over_blocks(
            lambda cut: _second_sums(X, runs, shift, second, cut),
            X,
            target=PRODUCT_BLOCK if long else CACHE_BLOCK,
        )
    total = to_host(sums)
    if not np.all(np.isfinite(total)) or (
        squares is not None and not np.all(np.isfinite(to_host(squares)))
    ):
        explain_nonfinite(X)
    deltas = total / np.maximum(counts, 1)[:, None]
    means = deltas if shift is None else deltas + to_host(shift)
    parts: dict[Label, Moments] = {}
    for i, label in enumerate(labels):
        n, delta = int(counts[i]), deltas[i]
        parts[label] = Moments(
            n,
            means[i],
            None if squares is None else np.maximum(to_host(squares[i]) - n * delta * delta, 0.0),
            None if scatters is None else to_host(scatters[i]) - n * np.outer(delta, delta),
            resolution(X),
        )
    if within is None:
        return parts, None
    return parts, to_host(within) - (deltas.T * counts) @ deltas


def _sums(X: Array, runs: Runs, n_groups: int, slices: list[slice]) -> Array:
    """Sum of the rows of each group, as they are: nothing cancels in a mean, so no shift."""
    sums = zeros_on(X, (n_groups, X.shape[1]))
    for rows in slices:
        block = upcast(X[rows])
        if runs.single(rows):
            sums[int(runs.codes[rows.start])] += column_sums(block)
        else:
            sums += group_sums(block, runs.there(X)[rows], n_groups)
    return sums


def _second_sums(
    X: Array, runs: Runs, shift: Array, second: Second, slices: list[slice]
) -> tuple[Array, Array | None, Array | None, Array | None]:
    """Sums of the rows of each group, of their squares and products, about a shift of each."""
    n_groups, d = shift.shape
    sums = zeros_on(X, (n_groups, d))
    squares = zeros_on(X, (n_groups, d)) if second == "diagonal" else None
    scatters = zeros_on(X, (n_groups, d, d)) if second == "full" else None
    within = zeros_on(X, (d, d)) if second == "within" else None
    for rows in slices:
        order, cuts = runs.sorted(rows)
        if order is None:
            block = upcast(X[rows]) - shift[cuts[0][0]]
        else:
            block = upcast(X[index_like(rows.start + order, X)])
        for group, at in cuts:
            part = block[at]
            if order is not None:
                part -= shift[group]  # of the block, which is a copy
            sums[group] += column_sums(part)
            if squares is not None:
                squares[group] += column_sums(part * part)
            if scatters is not None:
                scatters[group] += part.T @ part
        if within is not None:
            within += block.T @ block
    return sums, squares, scatters, within


def _provisional_means(X: Array, codes: np.ndarray, counts: np.ndarray) -> Array:
    """Mean of the first rows of each group: near enough that subtracting it prevents cancellation.

    Languages lie apart, so one mean for all of them would not do.
    """
    xp = namespace(X)
    small = codes.astype(np.int16) if len(counts) < 2**15 else codes  # sorted by radix
    order, starts = np.argsort(small, kind="stable"), np.cumsum(counts) - counts
    few = (order[start : start + min(n, 32)] for start, n in zip(starts, counts, strict=True))
    means = [xp.mean(upcast(X[index_like(at, X)]), axis=0) for at in few]
    return finite_or_zero(xp.stack(means))


def finite_or_zero(X: Array) -> Array:
    """X with zeros for NaN and infinity."""
    xp = namespace(X)
    return xp.where(xp.isfinite(X), X, xp.zeros_like(X))


def merge(a: np.ndarray | None, b: np.ndarray | None, between: np.ndarray) -> np.ndarray | None:
    """Sum of two second moments and of what the means add; None if either was not kept."""
    return None if a is None or b is None else a + b + between


def _labelled(moments: LanguageMoments) -> bool:
    """Whether the languages have names, be it as labels or in (language, class) cells."""
    label = next(iter(moments))
    return (label[0] if isinstance(label, tuple) else label) is not None


def scatter_of(part: Moments) -> np.ndarray:
    """The scatter of moments that must hold one.

    Raises
    ------
    ValueError
        If they hold none.
    """
    if part.scatter is None:
        raise ValueError(
            "These moments hold no scatter: take those of an estimator of the same class, or "
            "accumulate with LanguageMoments.of(X, language, second='full')."
        )
    return part.scatter


def _needed(value: np.ndarray | None) -> np.ndarray:
    if value is None:
        raise ValueError(
            "These moments hold no second moments: accumulate with second='diagonal' or 'full'."
        )
    return value


def _order(label: Label) -> tuple[str, Any]:
    return (type(label).__name__, label if label is not None else 0)


def require_width(a: int, b: int) -> None:
    """Raise unless moments to be merged are of one width."""
    if a != b:
        raise ValueError(
            f"Moments of width {a} and {b} cannot be merged: they come from different "
            "spaces. Merge moments of one encoder's rows."
        )
