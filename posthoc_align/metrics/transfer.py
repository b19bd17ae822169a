"""What predictions of a head are worth by language, and the gap to the language it was trained in.

Tasks: one class a row, several labels a row (an indicator matrix), or a number a row. For token
tagging rows are tokens and the sentence is their group.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from posthoc_align.languages import factorize
from posthoc_align.metrics._clusters import Clusters
from posthoc_align.metrics._probe import check_languages, rows_of
from posthoc_align.metrics._scores import (
    check_metric,
    check_same_targets,
    check_targets,
    columns,
    score,
    scores_by_language,
)
from posthoc_align.metrics.confidence import Estimate, check_resampling, interval


@dataclass(frozen=True)
class TransferScores:
    """Scores of one head by language, each with its interval.

    ``source`` is the score in the pivot, ``worst`` the other language of the lowest score.

    Parameters
    ----------
    metric : str
    pivot : str or int
        The language the head was fitted on.
    per_language : dict of Estimate
        In sorted order, the pivot among them.
    macro : Estimate
        Mean over the languages but the pivot, each of the same weight.
    gap : Estimate
        Score of the pivot minus `macro`; 0 is no gap, below 0 the others do better.
    """

    metric: str
    pivot: Any
    per_language: dict[Any, Estimate]
    macro: Estimate
    gap: Estimate

    @property
    def source(self) -> Estimate:
        """The score in the pivot."""
        return self.per_language[self.pivot]

    @property
    def worst(self) -> Any:
        """The language of the lowest score, the pivot left aside."""
        others = {k: v.value for k, v in self.per_language.items() if k != self.pivot}
        return min(others, key=others.__getitem__)

    def __str__(self) -> str:
        lines = {
            str(name): found for name, found in self.per_language.items() if name != self.pivot
        }
        lines |= {"macro": self.macro, f"{self.pivot} (pivot)": self.source, "gap": self.gap}
        width = max(map(len, lines))
        text = "\n".join(f"{name:<{width}}  {found}" for name, found in lines.items())
        return (
            f"{text}\n{self.metric}, percent; {self.macro.level:.0%} intervals; worst language: "
            f"{self.worst}; seed {self.macro.random_state}"
        )


def transfer_scores(
    y_true: Any,
    y_pred: Any,
    language: Any,
    *,
    pivot: str | int,
    metric: str | None = None,
    groups: Any = None,
    level: float = 0.95,
    n_resamples: int = 1000,
    random_state: int = 0,
) -> TransferScores:
    r"""Scores by language, their mean, the worst, and the gap to the pivot, with intervals.

    Intervals are those of :func:`bootstrap`: groups of rows are resampled whole, in all languages
    at once, and the score is taken anew in each resample, from sums of its groups. Time
    O(n K + B G L K) for B resamples, G groups, L languages and K columns (1 for accuracy, the
    labels for F1), memory O(G L K).

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_samples,) or (n_samples, n_labels)
        True and predicted classes, indicators of 0 and 1, or numbers.
    language : array-like of str or int of shape (n_samples,)
        Language of each row, the pivot and one other at least.
    pivot : str or int
        The language the head was fitted on.
    metric : {"accuracy", "f1_micro", "f1_macro", "r2", "spearman"}, optional
        None: accuracy for classes, micro-averaged F1 for indicators, R^2 for numbers that are not
        all whole.

        * "accuracy": of an indicator matrix, the share of rows with every label right.
        * "f1_micro": of one class a row, the same as the accuracy.
        * "f1_macro": mean over the labels that occur in a language, as true or as predicted.
        * "r2": :math:`1 - \sum (y - \hat y)^2 / \sum (y - \bar y)^2`, the mean that of the
          language. It can be far below 0: a shift of the whole language counts as error.
        * "spearman": correlation of ranks within a language; blind to shift and scale. Its
          interval resamples the ranks as they are.
    groups : array-like of str or int of shape (n_samples,), optional
        Rows of one group depend on each other: pair ids for parallel test sets, the sentence for
        tokens. -1 or None marks a row that belongs to no other. None for all: rows are
        independent.
    level : float, default=0.95
    n_resamples : int, default=1000
    random_state : int, default=0

    Returns
    -------
    TransferScores

    Raises
    ------
    ValueError
        If the pivot is not in `language` or is alone there, lengths differ, a target or a
        prediction is missing, some of them are text and others numbers, the metric does not fit
        them or is not defined in some language (all values equal), or an interval cannot be had:
        see :func:`bootstrap`.

    Examples
    --------
    >>> y_true, y_pred = [1, 0, 1, 0, 1, 0, 1, 0], [1, 0, 1, 0, 1, 1, 1, 0]
    >>> language = ["en"] * 4 + ["de"] * 4
    >>> found = transfer_scores(y_true, y_pred, language, pivot="en", groups=[1, 2, 3, 4] * 2)
    >>> found.source.value, found.macro.value, found.gap.value, found.worst, found.macro.n
    (1.0, 0.75, 0.25, 'de', 4)
    """
    metric, expected, found, labels = _checked(y_true, y_pred, language, pivot, metric)
    check_resampling(level, n_resamples, random_state)
    names, codes = factorize(labels)
    scores_by_language(metric, expected, found, labels)  # where the score is not defined, says so
    clusters = Clusters.of(columns(metric, expected, found, codes), len(labels), groups, labels)
    draws = clusters.draws(
        partial(score, metric), n_resamples=n_resamples, random_state=random_state
    )
    estimate = partial(interval, draws, level=level, random_state=random_state)
    others = [name for name in names.tolist() if name != pivot]
    return TransferScores(
        metric,
        pivot,
        {name: estimate(clusters.weights([name])) for name in names.tolist()},
        estimate(clusters.weights(others)),
        estimate(clusters.weights([pivot], others)),
    )


def transfer_gap(
    y_true: Any, y_pred: Any, language: Any, *, pivot: str | int, metric: str | None = None
) -> float:
    """Score in the pivot minus the mean score over the other languages.

    Each other language has the same weight, whatever its number of rows. For intervals see
    :func:`transfer_scores`.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_samples,) or (n_samples, n_labels)
        True and predicted classes, indicators of 0 and 1, or numbers.
    language : array-like of str or int of shape (n_samples,)
        Language of each row, the pivot and one other at least.
    pivot : str or int
    metric : {"accuracy", "f1_micro", "f1_macro", "r2", "spearman"}, optional
        See :func:`transfer_scores`.

    Returns
    -------
    float
        0 is no gap, below 0 the others do better. Between -1 and 1 for classes.

    Raises
    ------
    ValueError
        If the pivot is not in `language` or is alone there, lengths differ, a target or a
        prediction is missing, some of them are text and others numbers, or the metric does not
        fit them or is not defined in some language.

    Examples
    --------
    >>> transfer_gap([1, 0, 1, 0], [1, 0, 1, 1], ["en", "en", "de", "de"], pivot="en")
    0.5
    """
    scores = scores_by_language(*_checked(y_true, y_pred, language, pivot, metric))
    return scores[pivot] - float(np.mean([v for name, v in scores.items() if name != pivot]))


def _checked(
    y_true: Any, y_pred: Any, language: Any, pivot: str | int, metric: str | None
) -> tuple[str, np.ndarray, np.ndarray, np.ndarray]:
    """Metric, targets, predictions and languages that fit each other."""
    expected = check_targets(y_true, None, name="y_true")
    found = check_targets(y_pred, len(expected), name="y_pred")
    check_same_targets(expected, found, names=("y_true", "y_pred"))
    metric = check_metric(metric, expected, name="y_true")
    check_metric(metric, found, name="y_pred")
    labels = check_languages(language, len(expected), name="language")
    rows_of(pivot, labels)
    if np.unique(labels).size < 2:
        raise ValueError(
            f"language holds {pivot!r} only: a gap needs rows of another language as well."
        )
    return metric, expected, found, labels
