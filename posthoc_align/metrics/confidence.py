"""How sure a figure is: bootstrap intervals over independent groups, tests of paired differences.

The translations of one sentence are easy or hard together, so that rows of twelve languages are not
twelve independent observations. Groups of rows (pair ids, sentences) are resampled whole, in all
languages at once; an interval that treats rows as independent is too narrow.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import numpy as np

from posthoc_align._arrays import to_host
from posthoc_align.metrics._clusters import Clusters, Draws, mean_of, sign_flip


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval; prints itself in per cent.

    ``str`` gives ``41.3 [39.8, 42.9]``, a difference has signs and its p-value:
    ``+2.1 [+0.4, +3.8], p = 0.012``. A format specification is applied to each of the three
    numbers: ``f"{estimate:.2f}"``.

    Parameters
    ----------
    value : float
        The measure on the rows as they are, a fraction.
    low, high : float
        Ends of the interval, fractions.
    n : int
        Independent groups (rows, where there are no groups) that the figure rests on.
    level : float
        Share of such intervals that hold the truth.
    random_state : int
        Seed of the resamples.
    p_value : float, optional
        Two-sided, that a difference is none; None where the figure is no difference.

    Examples
    --------
    >>> print(Estimate(0.413, 0.398, 0.429, n=300, level=0.95, random_state=0))
    41.3 [39.8, 42.9]
    """

    value: float
    low: float
    high: float
    n: int
    level: float
    random_state: int
    p_value: float | None = None

    def __format__(self, spec: str) -> str:
        """Value and interval in per cent, each number by the specification."""
        spec = spec or ("z.1f" if self.p_value is None else "+z.1f")  # z: no minus before a zero
        value, low, high = (
            format(100 * number, spec) for number in (self.value, self.low, self.high)
        )
        p = "" if self.p_value is None else f", p = {self.p_value:.3f}"
        return f"{value} [{low}, {high}]{p}"

    def __str__(self) -> str:
        return format(self, "")


def bootstrap(
    values: Any,
    *,
    groups: Any = None,
    strata: Any = None,
    level: float = 0.95,
    n_resamples: int = 1000,
    random_state: int = 0,
) -> Estimate:
    r"""Mean outcome with a bootstrap interval, resampling whole groups.

    With strata s (languages) and rows of each, the figure is the macro average

    .. math:: \theta = \frac1S \sum_s \frac{1}{n_s} \sum_{i \in s} v_i .

    A resample draws as many groups as there are, with replacement, and takes all rows of each in
    every stratum, so that what languages have in common stays in common. The interval is BCa
    [1]_: quantiles of the resampled means, corrected for bias and for skewness. Shares near 0 or
    1 are skewed, and plain quantiles then miss the truth on one side.

    Time O(n + B G S) for B resamples of G groups, memory O(G S) and 16 MB.

    Parameters
    ----------
    values : array-like of shape (n_samples,)
        Outcome of each row: hit or miss, a reciprocal rank, an error. Tensors will do.
    groups : array-like of str or int of shape (n_samples,), optional
        Rows of one group depend on each other: pair ids, sentences. -1 or None marks a row that
        belongs to no other. None for all: rows are independent.
    strata : array-like of str or int of shape (n_samples,), optional
        Languages; each has the same weight in the figure, whatever its number of rows.
    level : float, default=0.95
    n_resamples : int, default=1000
    random_state : int, default=0

    Returns
    -------
    Estimate

    Raises
    ------
    ValueError
        If values are not one finite number a row, lengths differ, all rows of a stratum are of
        one group, strata are so small that resamples miss them, or the level or the number of
        resamples is out of range.

    Notes
    -----
    What never varied cannot vary in a resample: where all rows agree the interval has no width,
    and that is not certainty. After 0 hits in n independent trials a rate of 3 / n is still
    within 95 %. Below some twenty groups intervals are too narrow.

    A resample without a row of some stratum is left out.

    References
    ----------
    .. [1] B. Efron, "Better bootstrap confidence intervals", Journal of the American Statistical
       Association 82 (1987).

    Examples
    --------
    Each sentence is a hit in both languages or in none: two rows tell no more than one.

    >>> import numpy as np
    >>> hits = np.repeat([1, 0, 1, 1, 0, 1, 0, 1], 2)
    >>> sentence = np.repeat(np.arange(8), 2)
    >>> clustered, naive = bootstrap(hits, groups=sentence), bootstrap(hits)
    >>> clustered.value == naive.value, clustered.high - clustered.low > naive.high - naive.low
    (True, True)
    """
    clusters = Clusters.of_means(check_outcomes(values), groups, strata)
    check_resampling(level, n_resamples, random_state)
    draws = clusters.draws(mean_of, n_resamples=n_resamples, random_state=random_state)
    return interval(
        draws, clusters.weights(clusters.strata), level=level, random_state=random_state
    )


def paired_difference(
    values: Any,
    other: Any,
    *,
    groups: Any = None,
    strata: Any = None,
    level: float = 0.95,
    n_resamples: int = 1000,
    random_state: int = 0,
) -> Estimate:
    """Mean outcome of one method minus that of another on the same rows, and its p-value.

    The interval is that of :func:`bootstrap` on the differences of rows. The p-value is that of
    a sign-flip test [1]_: if the methods were alike, the difference of each group could as well
    have had the other sign, in all languages at once. It is the share of random flips (the
    observed one among them) whose mean is at least as far from 0.

    Unlike a p-value read off the bootstrap, this test keeps its level for few groups, too. Its
    smallest value is 1 / (n_resamples + 1). Time and memory are those of :func:`bootstrap`.

    Parameters
    ----------
    values, other : array-like of shape (n_samples,)
        Outcomes of the two methods, row by row.
    groups, strata : array-like of str or int of shape (n_samples,), optional
        As in :func:`bootstrap`.
    level : float, default=0.95
    n_resamples : int, default=1000
        Of groups, and flips of signs.
    random_state : int, default=0

    Returns
    -------
    Estimate
        With a p-value.

    Raises
    ------
    ValueError
        As :func:`bootstrap`, or if the two differ in length.

    Notes
    -----
    The p-value is of one comparison. Among twenty, one is below 0.05 by chance: correct for
    their number, for example by ``scipy.stats.false_discovery_control``. Near the
    threshold the interval and the test may disagree, being two computations.

    Where the methods agree on every row the difference is 0, its interval has no width and the
    p-value is 1.

    References
    ----------
    .. [1] R. A. Fisher, "The design of experiments", Oliver and Boyd (1935), section 21.

    Examples
    --------
    >>> import numpy as np
    >>> before = np.tile([0, 0, 1, 0], 10)
    >>> after = np.tile([1, 0, 1, 1], 10)
    >>> found = paired_difference(after, before)
    >>> found.value, found.p_value < 0.01
    (0.5, True)
    """
    first = check_outcomes(values)
    second = check_outcomes(other, name="other")
    if first.shape != second.shape:
        raise ValueError(
            f"values has {len(first)} rows and other has {len(second)}: both methods must be "
            "measured on the same rows, in the same order."
        )
    clusters = Clusters.of_means(first - second, groups, strata)
    check_resampling(level, n_resamples, random_state)
    seed = {"n_resamples": n_resamples, "random_state": random_state}
    draws = clusters.draws(mean_of, **seed)
    weights = clusters.weights(clusters.strata)
    p = sign_flip(clusters.shares()[..., 0] @ weights[:, None], **seed)
    return interval(draws, weights, level=level, random_state=random_state, p_value=float(p[0]))


def interval(
    draws: Draws,
    weights: np.ndarray,
    *,
    level: float,
    random_state: int,
    p_value: float | None = None,
) -> Estimate:
    r"""BCa interval of a weighted sum of the measures of strata.

    With the share :math:`p_0` of resampled values below the figure (half of the equal ones
    counted) and :math:`z_0 = \Phi^{-1}(p_0)`, and with the acceleration from what each group
    :math:`d_g = \bar\theta_{(\cdot)} - \theta_{(g)}` moves,

    .. math::
        a = \frac{\sum_g d_g^3}{6 (\sum_g d_g^2)^{3/2}}, \qquad
        \alpha(z) = \Phi\left(z_0 + \frac{z_0 + z}{1 - a (z_0 + z)}\right),

    the ends are the quantiles :math:`\alpha(\pm z)` of the resampled values.
    """
    from scipy.special import ndtr, ndtri

    used = weights != 0
    value = float(draws.value[used] @ weights[used])
    values = draws.resampled[:, used] @ weights[used]
    values = values[np.isfinite(values)]
    n = int(np.sum(draws.present[:, used].any(axis=1)))
    if len(values) < fewest_resamples(level):
        raise ValueError(
            f"Only {len(values)} of {len(draws.resampled)} resamples have a value in every "
            f"stratum: the smallest has rows of {int(draws.present.sum(axis=0).min())} groups. "
            "Leave small strata out, or raise n_resamples."
        )
    scale = 1e-12 * (abs(value) + np.abs(values).max())  # equal means in another order of sums
    below = np.mean(values < value - scale) + np.mean(np.abs(values - value) <= scale) / 2
    # A figure beyond all of its resamples is as far out as their number can tell.
    bias = ndtri(np.clip(below, 0.5 / len(values), 1 - 0.5 / len(values)))
    moves = draws.left_out[:, used] @ weights[used]
    moves = moves[np.isfinite(moves)].mean() - moves[np.isfinite(moves)]
    spread = float(np.sum(moves**2))
    skewness = float(np.sum(moves**3)) / (6 * spread**1.5) if spread > 0 else 0.0
    z = bias + ndtri([(1 - level) / 2, (1 + level) / 2])
    # |a| <= 1/6: only extreme levels reach the pole, beyond which the end is the last draw.
    low, high = np.quantile(values, ndtr(bias + z / np.maximum(1 - skewness * z, 1e-3)))
    return Estimate(value, float(low), float(high), n, level, random_state, p_value)


def check_outcomes(values: Any, *, name: str = "values") -> np.ndarray:
    """Return one finite float64 outcome a row."""
    try:
        outcomes = to_host(values)
    except (TypeError, ValueError):
        raise ValueError(f"{name} are no numbers: pass one outcome a row, such as a hit.") from None
    if outcomes.ndim != 1 or outcomes.size == 0:
        raise ValueError(
            f"{name} has shape {outcomes.shape}: pass one outcome a row, of one row or more."
        )
    if not np.isfinite(outcomes).all():
        first = int(np.argmax(~np.isfinite(outcomes)))
        raise ValueError(
            f"{name} is {outcomes[first]} in row {first}: every outcome must be finite. Leave out "
            "rows without one, in both methods if two are compared."
        )
    return outcomes


def fewest_resamples(level: float) -> int:
    """Return the number of resamples of which one lies beyond each end of an interval."""
    return int(np.ceil(2 / (1 - level) - 1e-9))


def check_resampling(level: Any, n_resamples: Any, random_state: Any) -> None:
    """Raise unless the interval can be had from that many resamples."""
    if not 0 < level < 1:
        raise ValueError(f"level={level!r} must lie between 0 and 1; 0.95 is usual.")
    for name, number in (("n_resamples", n_resamples), ("random_state", random_state)):
        try:
            operator.index(number)
        except TypeError:
            raise ValueError(
                f"{name}={number!r} is not a whole number: pass an int, so that the figures can be "
                "had again."
            ) from None
    if random_state < 0:
        raise ValueError(f"random_state={random_state} is negative: pass 0 or more.")
    if n_resamples < fewest_resamples(level):
        raise ValueError(
            f"n_resamples={n_resamples} are too few for an interval of level {level}: pass "
            f"{fewest_resamples(level)} at the very least, and better 1000."
        )
