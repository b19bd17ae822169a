r"""Mergeable statistics of embeddings: count, mean, scatter, cross-scatter.

Every statistic is one frozen object, centred, unnormalised and in float64, and two of them add:
with :math:`n = n_a + n_b` and :math:`\delta = \bar b - \bar a`,

.. math:: S = S_a + S_b + \frac{n_a n_b}{n}\,\delta\,\delta^\top

(Chan, Golub & LeVeque, The American Statistician 37, 1983). Rows are read once, block by block;
inside a block sums run in the compute type of X, shifted by a provisional mean so that data far
from the origin do not cancel, and blocks are added in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import add
from typing import Any, Literal

import numpy as np

from posthoc_align._arrays import (
    Array,
    column_sums,
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
    blocks,
    explain_nonfinite,
    gather,
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
        _require_width(self.n_features, other.n_features)
        if self.count == 0 or other.count == 0:
            return self if other.count == 0 else other
        count = self.count + other.count
        delta = other.mean - self.mean
        weight = self.count * other.count / count
        full = self.scatter is not None and other.scatter is not None
        return Moments(
            count,
            self.mean + delta * (other.count / count),
            _merge(self.squares, other.squares, weight * delta * delta),
            _merge(self.scatter, other.scatter, weight * np.outer(delta, delta)) if full else None,
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
        _require_width(self.n_features, other.n_features)
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
        return LanguageMoments(parts, _merge(self.within, other.within, between))


@dataclass(frozen=True, eq=False)
class PairMoments:
    """Joint moments of paired rows (x_i, y_i): what a linear map is fitted from.

    Parameters
    ----------
    count : int
        Number of pairs (of those that weigh anything).
    mean_x, mean_y : ndarray of shape (d_x,), (d_y,)
    cross : ndarray of shape (d_x, d_y)
        Sum of outer products of the deviations of x and y.
    square_x, square_y : float
        Sums of squared deviations: the traces of the two scatters.
    eps : float
        Relative spacing of the arithmetic the products were summed in.
    scatter_x, scatter_y : ndarray of shape (d_x, d_x), (d_y, d_y), optional
        Kept only where a solver needs them: each costs as much as `cross`.
    weight : float, optional
        Sum of the pairs' weights; None: each weighs 1.
    """

    count: int
    mean_x: np.ndarray
    mean_y: np.ndarray
    cross: np.ndarray
    square_x: float
    square_y: float
    eps: float
    scatter_x: np.ndarray | None = None
    scatter_y: np.ndarray | None = None
    weight: float | None = None

    @classmethod
    @silent()
    def of(
        cls,
        X: Array,
        Y: Array,
        *,
        scatter: bool = False,
        scatter_y: bool = False,
        weight: Array | None = None,
    ) -> PairMoments:
        """Moments of row i of X with row i of Y, in one pass.

        Parameters
        ----------
        X, Y : arrays of shape (n_samples, d_x), (n_samples, d_y)
            Of one kind and on one device.
        scatter, scatter_y : bool, default=False
            Also keep the scatter of X, and that of Y.
        weight : array of shape (n_samples,), optional
            How many times each pair counts, from :func:`posthoc_align._arrays.check_weight`.
        """
        xp = namespace(X)
        wide = X if X.shape[1] >= Y.shape[1] else Y
        compute = xp.float64 if xp.float64 in (X.dtype, Y.dtype) else xp.float32
        shift_x, shift_y = (xp.astype(_mean_of_first(Z), compute) for Z in (X, Y))
        sum_x, sum_y = zeros_on(X, (X.shape[1],)), zeros_on(X, (Y.shape[1],))
        cross = zeros_on(X, (X.shape[1], Y.shape[1]))
        xx = zeros_on(X, (X.shape[1], X.shape[1])) if scatter else None
        yy = zeros_on(X, (Y.shape[1], Y.shape[1])) if scatter_y else None
        squares = zeros_on(X, (2,))
        for rows in blocks(wide, target=PRODUCT_BLOCK):
            x = xp.astype(X[rows], compute, copy=False) - shift_x
            y = xp.astype(Y[rows], compute, copy=False) - shift_y
            wx, wy = x, y
            if weight is not None:
                times = xp.astype(weight[rows], compute, copy=False)[:, None]
                wx, wy = times * x, times * y
            sum_x, sum_y = sum_x + column_sums(wx), sum_y + column_sums(wy)
            cross = cross + wx.T @ y
            if xx is not None:
                xx = xx + wx.T @ x
            if yy is not None:
                yy = yy + wy.T @ y
            squares[0] += xp.reshape(wx, (-1,)) @ xp.reshape(x, (-1,))
            squares[1] += xp.reshape(wy, (-1,)) @ xp.reshape(y, (-1,))
        count, n = X.shape[0], float(X.shape[0])
        if weight is not None:
            count = int(xp.sum(xp.astype(weight > 0, xp.int64)))
            n = float(xp.sum(xp.astype(weight, xp.float64)))
        if not np.all(np.isfinite(to_host(squares))):
            for name, Z in (("X", X), ("y", Y)):
                if not np.isfinite(to_host(squares)[0 if name == "X" else 1]):
                    explain_nonfinite(Z, name=name)
        delta_x, delta_y = to_host(sum_x) / n, to_host(sum_y) / n
        return cls(
            count=count,
            mean_x=to_host(shift_x) + delta_x,
            mean_y=to_host(shift_y) + delta_y,
            cross=to_host(cross) - n * np.outer(delta_x, delta_y),
            square_x=max(0.0, float(squares[0]) - n * float(delta_x @ delta_x)),
            square_y=max(0.0, float(squares[1]) - n * float(delta_y @ delta_y)),
            eps=min(resolution(X), resolution(Y)),  # the wider type computes
            scatter_x=None if xx is None else to_host(xx) - n * np.outer(delta_x, delta_x),
            scatter_y=None if yy is None else to_host(yy) - n * np.outer(delta_y, delta_y),
            weight=None if weight is None else n,
        )

    @property
    def total(self) -> float:
        """Sum of the pairs' weights."""
        return float(self.count) if self.weight is None else self.weight

    @property
    def size(self) -> float:
        """How many rows these are worth: a row of weight 2 is two, one of weight 1/2 is one."""
        return max(float(self.count), self.total)

    def __add__(self, other: PairMoments) -> PairMoments:
        _require_width(len(self.mean_x), len(other.mean_x))
        _require_width(len(self.mean_y), len(other.mean_y))
        n = self.total + other.total
        between = self.total * other.total / n
        delta_x, delta_y = other.mean_x - self.mean_x, other.mean_y - self.mean_y
        share = other.total / n
        weighted = self.weight is not None or other.weight is not None
        return PairMoments(
            count=self.count + other.count,
            mean_x=self.mean_x + delta_x * share,
            mean_y=self.mean_y + delta_y * share,
            cross=self.cross + other.cross + between * np.outer(delta_x, delta_y),
            square_x=self.square_x + other.square_x + between * float(delta_x @ delta_x),
            square_y=self.square_y + other.square_y + between * float(delta_y @ delta_y),
            eps=max(self.eps, other.eps),
            scatter_x=_merge(self.scatter_x, other.scatter_x, between * np.outer(delta_x, delta_x)),
            scatter_y=_merge(self.scatter_y, other.scatter_y, between * np.outer(delta_y, delta_y)),
            weight=n if weighted else None,
        )

    def uncentred(self) -> PairMoments:
        """The same sums about the origin instead of the means; the means read zero."""
        n, mean_x, mean_y = self.total, self.mean_x, self.mean_y
        return PairMoments(
            count=self.count,
            mean_x=np.zeros_like(mean_x),
            mean_y=np.zeros_like(mean_y),
            cross=self.cross + n * np.outer(mean_x, mean_y),
            square_x=self.square_x + n * float(mean_x @ mean_x),
            square_y=self.square_y + n * float(mean_y @ mean_y),
            eps=self.eps,
            scatter_x=_merge(self.scatter_x, np.zeros(()), n * np.outer(mean_x, mean_x)),
            scatter_y=_merge(self.scatter_y, np.zeros(()), n * np.outer(mean_y, mean_y)),
            weight=self.weight,
        )


@silent()
def _grouped(
    X: Array, codes: np.ndarray, labels: list[Label], second: Second
) -> tuple[dict[Label, Moments], np.ndarray | None]:
    """Moments of each group of rows, and the scatter within groups if that is all that is wanted.

    `codes` count from 0 in the order of `labels`.
    """
    xp, d, n_groups = namespace(X), X.shape[1], len(labels)
    counts = np.bincount(codes, minlength=n_groups)
    shift = _provisional_means(X, codes, counts)
    runs = Runs(codes)
    shift_of = gather(shift, runs, X)
    sums = zeros_on(X, (n_groups, d))
    squares = zeros_on(X, (n_groups, d)) if second == "diagonal" else None
    scatters = zeros_on(X, (n_groups, d, d)) if second == "full" else None
    within = zeros_on(X, (d, d)) if second == "within" else None
    codes_there = index_like(codes, X)
    # Shuffled languages cost a product a block; products are worth it only if they are large.
    products = second in ("full", "within") or runs.count > len(codes) // 100
    for rows in blocks(X, target=PRODUCT_BLOCK if products else CACHE_BLOCK):
        block = upcast(X[rows]) - shift_of(rows)
        present = runs.present(rows)
        at = index_like(present, X)
        add = column_sums if len(present) == 1 else _sums_of(codes_there[rows], at, block)
        sums[at] += xp.astype(add(block), xp.float64)
        if squares is not None:
            squares[at] += xp.astype(add(block * block), xp.float64)
        if within is not None:
            within += block.T @ block
        if scatters is not None:
            for group in present.tolist():
                part = block if len(present) == 1 else block[codes_there[rows] == group]
                scatters[group] += part.T @ part
    total = to_host(sums)
    if not np.all(np.isfinite(total)) or (
        squares is not None and not np.all(np.isfinite(to_host(squares)))
    ):
        explain_nonfinite(X)
    deltas = total / np.maximum(counts, 1)[:, None]
    means = deltas + to_host(shift)
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


def _sums_of(codes: Array, groups: Array, block: Array) -> Callable[[Array], Array]:
    """Sums over the rows of each group as one product, whose order of adding is always the same."""
    member = codes[None, :] == groups[:, None]
    indicator = namespace(block).astype(member, block.dtype)
    return lambda rows: indicator @ rows


def _provisional_means(X: Array, codes: np.ndarray, counts: np.ndarray) -> Array:
    """Mean of the first rows of each group: near enough that subtracting it prevents cancellation.

    Languages lie apart, so one mean for all of them would not do.
    """
    xp = namespace(X)
    small = codes.astype(np.int16) if len(counts) < 2**15 else codes  # sorted by radix
    order, starts = np.argsort(small, kind="stable"), np.cumsum(counts) - counts
    few = (order[start : start + min(n, 32)] for start, n in zip(starts, counts, strict=True))
    means = [xp.mean(upcast(X[index_like(at, X)]), axis=0) for at in few]
    return _finite_or_zero(xp.stack(means))


def _mean_of_first(X: Array) -> Array:
    return _finite_or_zero(namespace(X).mean(upcast(X[: min(X.shape[0], 256)]), axis=0))


def _finite_or_zero(X: Array) -> Array:
    xp = namespace(X)
    return xp.where(xp.isfinite(X), X, xp.zeros_like(X))


def _merge(a: np.ndarray | None, b: np.ndarray | None, between: np.ndarray) -> np.ndarray | None:
    return None if a is None or b is None else a + b + between


def _labelled(moments: LanguageMoments) -> bool:
    """Whether the languages have names, be it as labels or in (language, class) cells."""
    label = next(iter(moments))
    return (label[0] if isinstance(label, tuple) else label) is not None


def _needed(value: np.ndarray | None) -> np.ndarray:
    if value is None:
        raise ValueError(
            "These moments hold no second moments: accumulate with second='diagonal' or 'full'."
        )
    return value


def _order(label: Label) -> tuple[str, Any]:
    return (type(label).__name__, label if label is not None else 0)


def _require_width(a: int, b: int) -> None:
    if a != b:
        raise ValueError(
            f"Moments of width {a} and {b} cannot be merged: they come from different "
            "spaces. Merge moments of one encoder's rows."
        )
