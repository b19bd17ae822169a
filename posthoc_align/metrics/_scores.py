"""Scores of predictions as functions of sums over rows, so that each can be resampled by group.

Accuracy is a mean, F1 is made of counts, R^2 of squares, a rank correlation of products of
ranks. A score is a list of columns, one number a row each, and a function of their sums.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from posthoc_align._arrays import labels_to_host
from posthoc_align.languages import factorize, is_missing
from posthoc_align.metrics._clusters import mean_of

CLASS_METRICS = ("accuracy", "f1_micro", "f1_macro")
VALUE_METRICS = ("r2", "spearman")
METRICS = (*CLASS_METRICS, *VALUE_METRICS)


def check_metric(metric: str | None, y: np.ndarray, *, name: str) -> str:
    """Return a metric that fits the targets; None chooses by what they are.

    Accuracy for one class label a row, micro-averaged F1 for an indicator matrix, R^2 for
    numbers that are not all whole.
    """
    fractional = y.dtype.kind == "f" and bool(np.any(y != np.floor(y)))
    if metric is None:
        return "f1_micro" if y.ndim == 2 else "r2" if fractional else "accuracy"
    if metric not in METRICS:
        raise ValueError(f"Unknown metric {metric!r}: expected one of {list(METRICS)}.")
    if metric in VALUE_METRICS and (y.ndim == 2 or y.dtype.kind not in "biuf"):
        raise ValueError(
            f"metric={metric!r} is for numbers, but {name} has shape {y.shape} and dtype "
            f"{y.dtype}: pass one number a row, or choose from {list(CLASS_METRICS)}."
        )
    if metric in CLASS_METRICS and fractional:
        raise ValueError(
            f"metric={metric!r} is for classes, but {name} holds numbers that are not whole: "
            f"choose from {list(VALUE_METRICS)}."
        )
    return metric


def targets_to_host(y: Any) -> np.ndarray:
    """Targets as an array that still shows what a list held: text, numbers, None and NaN."""
    values = labels_to_host(y)
    if values.dtype.kind == "U" and isinstance(y, (list, tuple)):
        values = np.asarray(y, dtype=object)  # else 1 had become "1", and NaN "nan"
    return values


def missing_rows(values: np.ndarray) -> np.ndarray:
    """Mask of the rows of which a target is None, NaN or pandas' NA."""
    if values.dtype.kind == "f":
        missing = np.isnan(values)
    elif values.dtype.kind == "O":
        missing = np.vectorize(is_missing, otypes=[bool])(values)
    else:
        missing = np.zeros(values.shape, dtype=bool)
    return missing if missing.ndim == 1 else np.any(missing.reshape(len(missing), -1), axis=1)


def plain(values: Any, *, name: str = "y") -> Any:
    """Objects, none missing, that are all text or all numbers as an array of that type.

    Other arrays, tensors too, come back as they are.

    Raises
    ------
    ValueError
        If some are text and some are not: 1 and "1" would become one class.
    """
    if values.dtype != object:
        return values
    if len({isinstance(value, str) for value in values.flat}) > 1:
        kinds = sorted({type(value).__name__ for value in values.flat})
        raise ValueError(
            f"{name} holds labels of several kinds, {kinds}: text never equals a number. Make "
            "them all text or all numbers."
        )
    return np.array(values.tolist())


def check_marker(values: np.ndarray, missing_label: Any) -> None:
    """Refuse a ``missing_label`` that no row can have: a number among text, or text among none.

    Raises
    ------
    ValueError
        If all labels are of the other kind.
    """
    if is_missing(missing_label) or values.dtype.kind not in "OUbiuf":
        return
    as_text = isinstance(missing_label, str)
    if values.dtype.kind == "O":
        alien = all(isinstance(value, str) != as_text for value in values.flat)
    else:
        alien = (values.dtype.kind == "U") != as_text
    if alien:
        held, cure = ("numbers", "a number") if as_text else ("text", "text")
        raise ValueError(
            f"missing_label={missing_label!r}, but y holds {held}, so that no row has that label. "
            f"Mark rows without one by {cure} or NaN and name the mark in missing_label=; leave it "
            "out if every row has a label."
        )


def check_targets(y: Any, n_rows: int | None, *, name: str) -> np.ndarray:
    """Return targets: a label or number a row, or an indicator matrix, one column a label.

    Raises
    ------
    ValueError
        If there is not one target a row, one is missing, some are text and some are not, or a
        matrix holds other than 0 and 1.
    """
    values = targets_to_host(y)
    if values.ndim not in (1, 2) or values.size == 0:
        raise ValueError(
            f"{name} has shape {values.shape}: pass one label a row, of one row or more."
        )
    if n_rows is not None and len(values) != n_rows:
        raise ValueError(
            f"{name} has shape {values.shape} but there are {n_rows} rows: pass one label a row."
        )
    missing = missing_rows(values)
    if missing.any():
        raise ValueError(
            f"{name} is NaN or None in {int(missing.sum())} rows, first in row "
            f"{int(np.argmax(missing))}: every row needs a label. Leave out the rows without one."
        )
    values = plain(values, name=name)
    if values.ndim == 2 and (values.dtype.kind not in "biuf" or not np.isin(values, (0, 1)).all()):
        raise ValueError(
            f"{name} has shape {values.shape} and holds other values than 0 and 1. Pass one label "
            "a row or, where a row can have several, an indicator matrix with a column a label."
        )
    return values


def check_same_targets(a: np.ndarray, b: np.ndarray, *, names: tuple[str, str]) -> None:
    """Refuse targets that never could be equal: text against numbers, other columns."""
    text = [value.dtype.kind in "US" for value in (a, b)]
    if text[0] != text[1]:
        raise ValueError(
            f"{names[0]} has dtype {a.dtype} and {names[1]} has dtype {b.dtype}: text never "
            "equals a number. Pass labels of one kind."
        )
    if a.shape[1:] != b.shape[1:]:
        raise ValueError(
            f"{names[0]} has shape {a.shape} and {names[1]} has shape {b.shape}: both must hold "
            "one label a row, or indicators of the same labels in the same order."
        )


def columns(
    metric: str, y_true: np.ndarray, y_pred: np.ndarray, codes: np.ndarray
) -> Iterator[np.ndarray]:
    """Yield the columns whose sums :func:`score` reads; codes are the languages of rows."""
    if metric == "accuracy":
        hits = y_true == y_pred
        yield (hits if hits.ndim == 1 else hits.all(axis=1)).astype(np.float64)
        yield np.ones(len(y_true))
    elif metric in CLASS_METRICS:
        for truth, found in _indicators(y_true, y_pred):
            yield (truth & found).astype(np.float64)  # counted by label: true positives,
            yield truth.astype(np.float64) + found  # and rows that have it or were given it
    else:
        yield np.ones(len(y_true))
        a, b = y_true.astype(np.float64), y_pred.astype(np.float64)
        if metric == "spearman":
            a, b = _ranks(a, codes), _ranks(b, codes)
        else:
            b = a - b
            a = a - a.mean()  # so that the sum of squares does not cancel
        yield from (a, a * a, b, b * b, a * b)


def score(metric: str, sums: np.ndarray) -> np.ndarray:
    """Sums of the columns in the last axis -> scores; NaN where a score is not defined."""
    if metric == "accuracy":
        return mean_of(sums)
    with np.errstate(invalid="ignore", divide="ignore"):
        if metric in CLASS_METRICS:
            both, either = sums[..., 0::2], sums[..., 1::2]
            if metric == "f1_micro":
                return 2 * both.sum(axis=-1) / either.sum(axis=-1)
            known = either > 0.5  # counts, up to the rounding of a product
            f1 = np.where(known, 2 * both, 0.0) / np.where(known, either, 1.0)
            return f1.sum(axis=-1) / known.sum(axis=-1)
        n, a, aa, b, bb, ab = np.moveaxis(sums, -1, 0)
        spread = _spread(n, a, aa)
        if metric == "r2":
            return 1 - bb / spread
        return (ab - a * b / n) / np.sqrt(spread * _spread(n, b, bb))


def _spread(n: np.ndarray, total: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Sum of squares about the mean; NaN where it is rounding of a constant."""
    spread = squares - total * total / n
    return np.where(spread > 1e-12 * squares, spread, np.nan)


def _indicators(y_true: np.ndarray, y_pred: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield, label by label, which rows have it and which were given it."""
    if y_true.ndim == 2:
        yield from zip(y_true.T == 1, y_pred.T == 1, strict=True)
    else:
        for label in np.unique(np.concatenate([y_true, y_pred])):
            yield y_true == label, y_pred == label


def _ranks(values: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Ranks within each language, equal values sharing theirs, about 0."""
    from scipy.stats import rankdata

    ranks = np.empty(len(values))
    for code in np.unique(codes):
        rows = codes == code
        ranks[rows] = rankdata(values[rows]) - (1 + np.sum(rows)) / 2
    return ranks


def scores_by_language(
    metric: str, expected: np.ndarray, found: np.ndarray, labels: np.ndarray
) -> dict[Any, float]:
    """Return the score of each language, in sorted order.

    Raises
    ------
    ValueError
        If the score is not defined in some language.
    """
    names, codes = factorize(labels)
    each = columns(metric, expected, found, codes)
    sums = np.stack([np.bincount(codes, weights=column) for column in each], axis=1)
    scores = dict(zip(names.tolist(), score(metric, sums).tolist(), strict=True))
    undefined = [name for name, value in scores.items() if np.isnan(value)]
    if undefined:
        why = "have no label, true or predicted" if "f1" in metric else "do not vary"
        raise ValueError(
            f"metric={metric!r} is not defined in {undefined}: the rows there {why}. Leave such "
            "languages out, or choose another metric."
        )
    return scores
