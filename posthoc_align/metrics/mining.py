"""Mining translations from two unpaired sets of rows, as in BUCC, with the threshold it needs."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np

from posthoc_align._arrays import labels_to_host
from posthoc_align.metrics._margin import (
    best_candidates,
    check_margin,
    margins,
    neighborhoods,
    warn_undefined,
)


class MinedPairs(NamedTuple):
    """Pairs found, best first; each row of either side occurs once at most.

    Attributes
    ----------
    rows_x, rows_y : ndarray of int64 of shape (n_pairs,)
        Positions in X and in Y.
    scores : ndarray of float64 of shape (n_pairs,)
        Margins, falling.
    """

    rows_x: np.ndarray
    rows_y: np.ndarray
    scores: np.ndarray


class MiningThreshold(NamedTuple):
    """A threshold on margins, and where it comes from.

    Attributes
    ----------
    value : float
        Pairs that score above it are kept.
    split : str
        The data it was tuned on.
    f1 : float
        What it reached there, in [0, 1].
    """

    value: float
    split: str
    f1: float


class MiningScore(NamedTuple):
    """Precision, recall and their harmonic mean, in [0, 1], over a threshold of a named split."""

    precision: float
    recall: float
    f1: float
    threshold: float
    tuned_on: str


def mine_pairs(
    X: Any, Y: Any, *, margin: str = "ratio", k: int = 4, memory_budget: int | None = None
) -> MinedPairs:
    r"""Pair the rows of X and Y that stand out as each other's translation, one to one.

    A cosine alone is no evidence, as some rows are near to everything. A margin compares it with
    the mean cosine of either row to its k nearest neighbours across, :math:`r_x` and :math:`r_y`:

    .. math::
        \text{ratio} = \frac{\cos(x, y)}{(r_x + r_y) / 2}, \qquad
        \text{distance} = \cos(x, y) - \frac{r_x + r_y}{2}, \qquad
        \text{absolute} = \cos(x, y)

    Every row names the best by margin among its k nearest neighbours across. Both directions'
    nominations, best first, are taken unless one of the two rows is taken already: the retrieval
    mode "max" of the BUCC task. No pair is cut: see :func:`best_threshold`.

    Time O(nmd) in blocks, memory O((n + m) k) and the budget.

    Parameters
    ----------
    X : array of shape (n_source, n_features)
    Y : array of shape (n_target, n_features)
    margin : {"ratio", "distance", "absolute"}, default="ratio"
    k : int, default=4
        Neighbours of a row; at most the rows of the smaller side.
    memory_budget : int, optional
        Bytes that may be held beside the arrays and the answer; 96 MB if None (1.6 GB on an
        accelerator). Does not change the answer.

    Returns
    -------
    MinedPairs
        On the host, at most min(n_source, n_target) pairs.

    Raises
    ------
    ValueError
        If widths, kinds or devices differ, a side is empty, a row is zero or not finite, the
        margin is unknown, or `k` is larger than a side.

    Warns
    -----
    UserWarning
        If the ratio is undefined for some candidates.

    Notes
    -----
    The ratio is undefined where its divisor is not above zero, as happens once languages are
    centred: such a candidate scores minus infinity and is never mined. Its thresholds do not
    carry over from one space to another. The distance knows neither trouble.

    References
    ----------
    .. [1] M. Artetxe, H. Schwenk, "Margin-based parallel corpus mining with multilingual sentence
       embeddings", ACL (2019), arXiv:1811.01136.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[1.0, 0.0, 0.1], [0.0, 1.0, 0.2]])
    >>> mined = mine_pairs(X, X[::-1], k=2)
    >>> sorted(zip(mined.rows_x.tolist(), mined.rows_y.tolist()))
    [(0, 1), (1, 0)]
    """
    x, y, k = check_margin(X, Y, margin, k, paired=False)
    near_x, near_y = neighborhoods(x, y, k, memory_budget)
    forward, _ = margins(near_x, near_y, margin)
    backward, _ = margins(near_y, near_x, margin)
    warn_undefined(forward, backward)
    best_y, score_x = best_candidates(near_x.rows, forward)
    best_x, score_y = best_candidates(near_y.rows, backward)
    rows_x = np.concatenate([np.arange(len(x)), best_x])
    rows_y = np.concatenate([best_y, np.arange(len(y))])
    return _one_to_one(rows_x, rows_y, np.concatenate([score_x, score_y]))


def best_threshold(mined: MinedPairs, gold: Any, *, split: str) -> MiningThreshold:
    """Find the threshold with the highest F1 on pairs of which the true ones are known.

    Tune on one split and score another: a threshold tuned on the pairs that it is scored on
    flatters. Midway between the last pair kept and the first one cut; of equally good ones the
    highest. If all are kept, it lies just below the last. Time O(n log n).

    Parameters
    ----------
    mined : MinedPairs
    gold : array-like of int of shape (n_gold, 2)
        Positions in X and Y of the true pairs.
    split : str
        What the data are called, such as "dev"; it travels on into the :class:`MiningScore`.

    Returns
    -------
    MiningThreshold

    Raises
    ------
    ValueError
        If there are no mined or no true pairs, or none of the mined is true.

    Examples
    --------
    >>> import numpy as np
    >>> mined = MinedPairs(np.array([0, 1, 2]), np.array([0, 1, 0]), np.array([1.5, 1.3, 0.9]))
    >>> best_threshold(mined, [[0, 0], [1, 1]], split="dev").value
    1.1
    """
    right = _is_gold(mined, gold)
    n_gold, scores = len(_check_gold(gold)), mined.scores
    if not len(scores):
        raise ValueError(
            "No mined pairs to tune a threshold on: expected at least one, got an empty set. Mine "
            'with margin="distance" if the ratio was undefined everywhere.'
        )
    if not np.any(right):
        raise ValueError(
            f"None of the {len(scores)} mined pairs is among the {n_gold} true ones, so that no "
            "threshold is better than another. Check that gold holds positions in X and in Y, in "
            "this order."
        )
    f1 = 2 * np.cumsum(right) / (np.arange(1, len(scores) + 1) + n_gold)
    last = np.flatnonzero(np.append(scores[1:] < scores[:-1], True))  # equals go together
    cut = int(last[np.argmax(f1[last])])
    below = scores[cut + 1] if cut + 1 < len(scores) else np.nextafter(scores[cut], -np.inf)
    value = (scores[cut] + below) / 2 if cut + 1 < len(scores) else below
    return MiningThreshold(float(value), str(split), float(f1[cut]))


def mining_f1(mined: MinedPairs, gold: Any, *, threshold: MiningThreshold) -> MiningScore:
    """Precision, recall and F1 of the pairs that score above a threshold.

    Parameters
    ----------
    mined : MinedPairs
    gold : array-like of int of shape (n_gold, 2)
        Positions in X and Y of the true pairs.
    threshold : MiningThreshold
        Of :func:`best_threshold` on another split, or made by hand:
        ``MiningThreshold(1.06, "published", float("nan"))``.

    Returns
    -------
    MiningScore

    Raises
    ------
    ValueError
        If there are no true pairs.

    Warns
    -----
    UserWarning
        If no pair scores above the threshold: precision is then undefined, and given as 0.

    Examples
    --------
    >>> import numpy as np
    >>> mined = MinedPairs(np.array([0, 1]), np.array([0, 0]), np.array([1.5, 1.3]))
    >>> mining_f1(mined, [[0, 0], [1, 1]], threshold=MiningThreshold(1.0, "dev", 1.0)).recall
    0.5
    """
    right = _is_gold(mined, gold)
    kept = mined.scores > threshold.value
    found, n_kept, n_gold = int(np.sum(right & kept)), int(np.sum(kept)), len(_check_gold(gold))
    if not n_kept:
        warnings.warn(
            f"None of the {len(kept)} mined pairs scores above the threshold "
            f"{threshold.value:.6g}: precision is undefined and given as 0. Tune the threshold in "
            "the same space, with the same margin.",
            UserWarning,
            stacklevel=2,
        )
    return MiningScore(
        found / max(n_kept, 1),
        found / n_gold,
        2 * found / (n_kept + n_gold),
        threshold.value,
        threshold.split,
    )


def _one_to_one(rows_x: np.ndarray, rows_y: np.ndarray, scores: np.ndarray) -> MinedPairs:
    """Take candidates from the best down, unless one of their rows is taken."""
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] > -np.inf]
    taken_x, taken_y, keep = set(), set(), []
    for at, i, j in zip(
        order.tolist(), rows_x[order].tolist(), rows_y[order].tolist(), strict=True
    ):
        if i not in taken_x and j not in taken_y:
            taken_x.add(i)
            taken_y.add(j)
            keep.append(at)
    kept = np.array(keep, dtype=np.int64)
    return MinedPairs(rows_x[kept], rows_y[kept], scores[kept])


def _check_gold(gold: Any) -> np.ndarray:
    pairs = labels_to_host(gold)
    if pairs.size == 0:
        raise ValueError(
            "gold is empty: recall and a threshold need at least one true pair, as rows "
            "(position in X, position in Y)."
        )
    if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu":
        raise ValueError(
            f"gold has shape {pairs.shape} and dtype {pairs.dtype}: expected integers of shape "
            "(n_gold, 2), the positions in X and Y of each true pair."
        )
    return np.unique(pairs.astype(np.int64), axis=0)


def _is_gold(mined: MinedPairs, gold: Any) -> np.ndarray:
    known = set(map(tuple, _check_gold(gold).tolist()))
    pairs = zip(mined.rows_x.tolist(), mined.rows_y.tolist(), strict=True)
    return np.array([pair in known for pair in pairs], dtype=bool)
