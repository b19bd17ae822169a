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
from dataclasses import dataclass, field
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

Second = Literal["none", "diagonal", "full"]
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
        return _grouped(X, np.zeros(X.shape[0], dtype=np.int64), [None], second)[None]

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
        return Moments(
            count,
            self.mean + delta * (other.count / count),
            _merge(self.squares, other.squares, weight * delta * delta),
            _merge(self.scatter, other.scatter, weight * np.outer(delta, delta)),
            max(self.eps, other.eps),
        )


@dataclass(frozen=True, eq=False)
class LanguageMoments(Mapping[Label, Moments]):
    """The :class:`Moments` of each language: a mapping that adds.

    Parameters
    ----------
    parts : dict
        From label to :class:`Moments`; the label is None where no language was given.
    """

    parts: dict[Label, Moments] = field(default_factory=dict)

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
        second : {"none", "diagonal", "full"}, default="none"
            Which second moments to keep.
        """
        if language is None:
            return cls({None: Moments.of(X, second=second)})
        labels, codes = factorize(language)
        return cls(_grouped(X, codes, labels.tolist(), second))

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
        return reduce(add, self.parts.values())

    def __add__(self, other: LanguageMoments) -> LanguageMoments:
        if self.parts and other.parts and (None in self.parts) != (None in other.parts):
            raise ValueError(
                "Some rows came with language labels and some without: pass language= in every "
                "call of partial_fit, or in none."
            )
        if self.parts and other.parts:
            _require_width(self.n_features, other.n_features)
        if len({type(label) for label in (*self, *other)}) > 1:
            raise ValueError(
                f"The labels {list(self)} and {list(other)} do not mix: languages must be all str "
                "or all int in every call of partial_fit."
            )
        merged = dict(self.parts)
        for label, moments in other.items():
            merged[label] = merged[label] + moments if label in merged else moments
        return LanguageMoments({label: merged[label] for label in sorted(merged, key=_order)})


@dataclass(frozen=True, eq=False)
class PairMoments:
    """Joint moments of paired rows (x_i, y_i): what a linear map is fitted from.

    Parameters
    ----------
    count : int
        Number of pairs.
    mean_x, mean_y : ndarray of shape (d_x,), (d_y,)
    cross : ndarray of shape (d_x, d_y)
        Sum of outer products of the deviations of x and y.
    square_x, square_y : float
        Sums of squared deviations: the traces of the two scatters.
    eps : float
        Relative spacing of the arithmetic the products were summed in.
    scatter_x : ndarray of shape (d_x, d_x), optional
        Kept only where a solver needs it: it costs as much as `cross`.
    """

    count: int
    mean_x: np.ndarray
    mean_y: np.ndarray
    cross: np.ndarray
    square_x: float
    square_y: float
    eps: float
    scatter_x: np.ndarray | None = None

    @classmethod
    @silent()
    def of(cls, X: Array, Y: Array, *, scatter: bool = False) -> PairMoments:
        """Moments of row i of X with row i of Y, in one pass.

        Parameters
        ----------
        X, Y : arrays of shape (n_samples, d_x), (n_samples, d_y)
            Of one kind and on one device.
        scatter : bool, default=False
            Also keep the scatter of X.
        """
        xp = namespace(X)
        wide = X if X.shape[1] >= Y.shape[1] else Y
        compute = xp.float64 if xp.float64 in (X.dtype, Y.dtype) else xp.float32
        shift_x, shift_y = (xp.astype(_mean_of_first(Z), compute) for Z in (X, Y))
        sum_x, sum_y = zeros_on(X, (X.shape[1],)), zeros_on(X, (Y.shape[1],))
        cross = zeros_on(X, (X.shape[1], Y.shape[1]))
        scatter_x = zeros_on(X, (X.shape[1], X.shape[1])) if scatter else None
        squares = zeros_on(X, (2,))
        for rows in blocks(wide, target=PRODUCT_BLOCK):
            x = xp.astype(X[rows], compute, copy=False) - shift_x
            y = xp.astype(Y[rows], compute, copy=False) - shift_y
            sum_x, sum_y = sum_x + column_sums(x), sum_y + column_sums(y)
            cross = cross + x.T @ y
            if scatter_x is not None:
                scatter_x = scatter_x + x.T @ x
            flat_x, flat_y = xp.reshape(x, (-1,)), xp.reshape(y, (-1,))
            squares[0] += flat_x @ flat_x
            squares[1] += flat_y @ flat_y
        n = X.shape[0]
        if not np.all(np.isfinite(to_host(squares))):
            for name, Z in (("X", X), ("y", Y)):
                if not np.isfinite(to_host(squares)[0 if name == "X" else 1]):
                    explain_nonfinite(Z, name=name)
        delta_x, delta_y = to_host(sum_x) / n, to_host(sum_y) / n
        return cls(
            count=n,
            mean_x=to_host(shift_x) + delta_x,
            mean_y=to_host(shift_y) + delta_y,
            cross=to_host(cross) - n * np.outer(delta_x, delta_y),
            square_x=max(0.0, float(squares[0]) - n * float(delta_x @ delta_x)),
            square_y=max(0.0, float(squares[1]) - n * float(delta_y @ delta_y)),
            eps=min(resolution(X), resolution(Y)),  # the wider type computes
            scatter_x=(
                None if scatter_x is None else to_host(scatter_x) - n * np.outer(delta_x, delta_x)
            ),
        )

    def __add__(self, other: PairMoments) -> PairMoments:
        _require_width(len(self.mean_x), len(other.mean_x))
        _require_width(len(self.mean_y), len(other.mean_y))
        count = self.count + other.count
        weight = self.count * other.count / count
        delta_x, delta_y = other.mean_x - self.mean_x, other.mean_y - self.mean_y
        share = other.count / count
        return PairMoments(
            count=count,
            mean_x=self.mean_x + delta_x * share,
            mean_y=self.mean_y + delta_y * share,
            cross=self.cross + other.cross + weight * np.outer(delta_x, delta_y),
            square_x=self.square_x + other.square_x + weight * float(delta_x @ delta_x),
            square_y=self.square_y + other.square_y + weight * float(delta_y @ delta_y),
            eps=max(self.eps, other.eps),
            scatter_x=_merge(self.scatter_x, other.scatter_x, weight * np.outer(delta_x, delta_x)),
        )

    def uncentred(self) -> PairMoments:
        """The same sums about the origin instead of the means; the means read zero."""
        n = self.count
        return PairMoments(
            count=n,
            mean_x=np.zeros_like(self.mean_x),
            mean_y=np.zeros_like(self.mean_y),
            cross=self.cross + n * np.outer(self.mean_x, self.mean_y),
            square_x=self.square_x + n * float(self.mean_x @ self.mean_x),
            square_y=self.square_y + n * float(self.mean_y @ self.mean_y),
            eps=self.eps,
            scatter_x=(
                None
                if self.scatter_x is None
                else self.scatter_x + n * np.outer(self.mean_x, self.mean_x)
            ),
        )


@silent()
def _grouped(
    X: Array, codes: np.ndarray, labels: list[Label], second: Second
) -> dict[Label, Moments]:
    """Moments of each group of rows; `codes` count from 0 in the order of `labels`."""
    xp, d, n_groups = namespace(X), X.shape[1], len(labels)
    counts = np.bincount(codes, minlength=n_groups)
    shift = _provisional_means(X, codes, counts)
    runs = Runs(codes)
    shift_of = gather(shift, runs, X)
    sums = zeros_on(X, (n_groups, d))
    squares = zeros_on(X, (n_groups, d)) if second == "diagonal" else None
    scatters = zeros_on(X, (n_groups, d, d)) if second == "full" else None
    codes_there = index_like(codes, X)
    # Shuffled languages cost a product a block; products are worth it only if they are large.
    products = second == "full" or runs.count > len(codes) // 100
    for rows in blocks(X, target=PRODUCT_BLOCK if products else CACHE_BLOCK):
        block = upcast(X[rows]) - shift_of(rows)
        present = runs.present(rows)
        at = index_like(present, X)
        add = column_sums if len(present) == 1 else _sums_of(codes_there[rows], at, block)
        sums[at] += xp.astype(add(block), xp.float64)
        if squares is not None:
            squares[at] += xp.astype(add(block * block), xp.float64)
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
    return parts


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
