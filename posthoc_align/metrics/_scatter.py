"""Scatters of rows in double precision, whatever type the rows have, and their main axes.

Measures of geometry ask about small directions, which a product in single precision would lose.
Rows are cast block by block and the merge law of the moments adds the blocks.
"""

from __future__ import annotations

import operator
from functools import reduce
from typing import Any

import numpy as np

from posthoc_align._arrays import Array, check_rows, check_target, namespace, resolution
from posthoc_align._blocks import PRODUCT_BLOCK, blocks, explain_nonfinite, require_finite, silent
from posthoc_align.linalg import EPS, numerical_rank, symmetric_eigen
from posthoc_align.moments import Moments, Second
from posthoc_align.pair_moments import PairMoments


def check_pairs(
    X: Any, Y: Any, *, minimum: int = 2, same_width: bool = False
) -> tuple[Array, Array]:
    """Check two sets of finite rows of which row i and row i belong together.

    Raises
    ------
    ValueError
        If kinds, devices or row counts differ, widths differ where they must not, there are
        fewer than `minimum` pairs, or a row is not finite.
    """
    X = check_rows(None, X, name="X")
    Y = check_target(Y, X, name="Y")
    if X.shape[0] < minimum:
        raise ValueError(
            f"X and Y have {X.shape[0]} rows: this measure needs {minimum} pairs or more, as it "
            "asks how rows differ from each other."
        )
    if same_width and X.shape[1] != Y.shape[1]:
        raise ValueError(
            f"X has {X.shape[1]} features and Y has {Y.shape[1]}: column j is compared with "
            "column j. Map one side into the space of the other first."
        )
    require_finite(X, name="X")
    require_finite(Y, name="Y")
    return X, Y


def check_cloud(X: Any, *, name: str) -> Array:
    """Check a set of two finite rows or more.

    Raises
    ------
    ValueError
        If there is one row only, or a row is not finite.
    """
    X = check_rows(None, X, name=name)
    if X.shape[0] < 2:
        raise ValueError(
            f"{name} has 1 row: this measure needs 2 or more, as it asks how they lie."
        )
    require_finite(X, name=name)
    return X


def double(X: Array, rows: slice) -> Array:
    """A block of X in double precision."""
    xp = namespace(X)
    return xp.astype(X[rows], xp.float64, copy=False)


def double_moments(X: Array, *, second: Second, name: str = "X") -> Moments:
    """Moments of all rows of X, which must vary.

    Raises
    ------
    ValueError
        If all rows are equal, or their squares overflow.
    """
    cut = blocks(X, target=PRODUCT_BLOCK)
    with silent():
        moments = reduce(operator.add, (Moments.of(double(X, r), second=second) for r in cut))
    require_spread(float(np.sum(moments.variance)), moments.mean, X, name=name)
    return moments


def double_pair_moments(X: Array, Y: Array) -> PairMoments:
    """Joint moments of paired rows with both scatters; both sides must vary.

    Raises
    ------
    ValueError
        If all rows of a side are equal, or their squares overflow.
    """
    wide = X if X.shape[1] >= Y.shape[1] else Y
    parts = (
        PairMoments.of(double(X, r), double(Y, r), scatter=True, scatter_y=True)
        for r in blocks(wide, target=PRODUCT_BLOCK)
    )
    with silent():
        joint = reduce(operator.add, parts)
    require_spread(joint.square_x / joint.count, joint.mean_x, X, name="X")
    require_spread(joint.square_y / joint.count, joint.mean_y, Y, name="Y")
    return joint


def require_spread(variance: float, mean: np.ndarray, X: Array, *, name: str) -> None:
    """Raise if the total variance of the rows is zero, or no more than the rounding of the rows.

    Rows that should be equal differ by a few spacings of the type that computed them.
    """
    if not np.isfinite(variance):
        explain_nonfinite(X, name=name)
    if variance <= _rounding(X) * float(mean @ mean):
        raise ValueError(
            f"All rows of {name} are equal up to rounding: a space without variance has no "
            "geometry to measure. Look at the step that made these rows."
        )


def is_still(moments: Moments, X: Array) -> np.ndarray:
    """Mask of the columns of X that vary by no more than rounding, from their moments."""
    return moments.variance <= _rounding(X) * moments.mean**2


def _rounding(X: Array) -> float:
    """Variance, relative to the squared mean, of rows that should be equal."""
    return (4 * resolution(X)) ** 2


def main_axes(
    scatter: np.ndarray, X: Array, n_components: int | float | None, *, name: str = "X"
) -> tuple[np.ndarray, np.ndarray]:
    """Largest eigenvalues of a scatter of X, falling, and their eigenvectors in columns.

    Parameters
    ----------
    scatter : ndarray of shape (d, d)
        Summed in double precision.
    X : array of shape (n_samples, d)
        What the scatter is of: its type says what is rounding.
    n_components : int, float or None
        How many; or (a float between 0 and 1) as few as hold that share of the variance; or all
        that are not rounding noise.
    name : str, default="X"

    Returns
    -------
    values, vectors : ndarray of shape (k,), (d, k)

    Raises
    ------
    ValueError
        If `n_components` is neither, or more than the numerical rank.
    """
    values, vectors = (part[..., ::-1] for part in symmetric_eigen(scatter))
    # Rows stored in single precision have noise of eps^2 of the largest eigenvalue everywhere.
    rank = numerical_rank(values, len(values), max(EPS, resolution(X) ** 2))
    k = rank
    if isinstance(n_components, (float, np.floating)) and 0 < n_components < 1:
        shares = np.cumsum(values[:rank]) / np.sum(values[:rank])
        k = min(rank, int(np.searchsorted(shares, n_components)) + 1)
    elif n_components is not None:
        try:
            # index() is what tells a whole number from a float, which the type admits as a share
            k = 0 if isinstance(n_components, bool) else operator.index(n_components)  # type: ignore[arg-type]
        except TypeError:
            k = 0
        if k < 1:
            raise ValueError(
                f"n_components={n_components!r} is out of range: give a whole number from 1, a "
                "share of the variance between 0 and 1, or None for all directions."
            )
        if k > rank:
            raise ValueError(
                f"n_components={k} but {name} varies in {rank} directions only "
                f"({X.shape[0]} rows, {X.shape[1]} columns): ask for {rank} or fewer."
            )
    return values[:k], vectors[:, :k]
