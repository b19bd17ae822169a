"""Zero-shot transfer: what a head that was trained in one language is worth in the others."""

from __future__ import annotations

from typing import Any

import numpy as np

from posthoc_align._arrays import labels_to_host
from posthoc_align.metrics._probe import (
    check_labels,
    check_languages,
    check_same_width,
    make_head,
    probe_rows,
)
from posthoc_align.metrics._similarity import Directions


def zero_shot_scores(
    X: Any,
    y: Any,
    language: Any,
    X_test: Any,
    y_test: Any,
    language_test: Any,
    *,
    pivot: str | int,
    head: Any = None,
) -> dict[Any, float]:
    """Accuracy in each language of a head that has seen labels of the pivot only.

    The head is a logistic regression on rows of length 3 (``C=1.0, max_iter=2000``), fitted on
    the pivot's rows of X. Rows of other languages in X take no part: they may be there so that
    one array serves both an aligner and this measure.

    The head is scikit-learn's and runs on the host: the rows it reads are copied there as
    float64, one language at a time.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
    y : array-like of shape (n_samples,)
        Class labels.
    language : array-like of str or int of shape (n_samples,), or a scalar
        Language of each row of X.
    X_test : array of shape (n_test, n_features)
    y_test : array-like of shape (n_test,)
    language_test : array-like of str or int of shape (n_test,), or a scalar
    pivot : str or int
        The language the head is fitted on; it occurs in `language`.
    head : classifier, optional
        An unfitted scikit-learn classifier used in place of the logistic regression, on the same
        rows of length 3. It is cloned.

    Returns
    -------
    dict of float
        Accuracy, between 0 and 1, of each language in `language_test`, in sorted order; the
        pivot's among them if it is there.

    Raises
    ------
    ValueError
        If the pivot is not in `language`, its rows have one class only, labels and rows differ
        in number, widths differ, or a row is zero or not finite.

    Examples
    --------
    German has the axes swapped, so that the English head is always wrong there.

    >>> import numpy as np
    >>> X, y = np.array([[1.0, 0.1], [0.1, 1.0]]), ["sports", "health"]
    >>> X_test, y_test = np.concatenate([X, X[:, ::-1]]), y + y
    >>> zero_shot_scores(X, y, "en", X_test, y_test, ["en", "en", "de", "de"], pivot="en")
    {'de': 0.0, 'en': 1.0}
    """
    x, tested = Directions.of(X), Directions.of(X_test, name="X_test")
    check_same_width(x, tested)
    classes = check_labels(y, len(x), name="y")
    expected = check_labels(y_test, len(tested), name="y_test")
    _require_same_kind(classes, expected, names=("y", "y_test"))
    labels = check_languages(language, len(x), name="language")
    languages = check_languages(language_test, len(tested), name="language_test")
    seen = _rows_of(pivot, labels)
    if np.unique(classes[seen]).size < 2:
        raise ValueError(
            f"The {seen.size} rows of pivot {pivot!r} have one class only "
            f"({classes[seen[0]].item()!r}): a head needs two or more."
        )
    fitted = make_head(head, max_iter=2000).fit(probe_rows(x, seen), classes[seen])
    scores = {}
    for name in np.unique(languages).tolist():
        rows = np.flatnonzero(languages == name)
        scores[name] = float(np.mean(fitted.predict(probe_rows(tested, rows)) == expected[rows]))
    return scores


def transfer_gap(y_true: Any, y_pred: Any, language: Any, *, pivot: str | int) -> float:
    """Accuracy in the pivot minus the mean accuracy over the other languages.

    Each other language has the same weight, whatever its number of rows.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_samples,)
        True and predicted class labels.
    language : array-like of str or int of shape (n_samples,)
        Language of each row, the pivot and one other at least.
    pivot : str or int

    Returns
    -------
    float
        Between -1 and 1; 0 is no gap, below 0 the others do better.

    Raises
    ------
    ValueError
        If the pivot is not in `language` or is alone there, lengths differ, or one of `y_true`
        and `y_pred` holds text and the other numbers.

    Examples
    --------
    >>> transfer_gap([1, 0, 1, 0], [1, 0, 1, 1], ["en", "en", "de", "de"], pivot="en")
    0.5
    """
    shape = labels_to_host(y_true).shape
    if len(shape) != 1 or shape[0] == 0:
        raise ValueError(f"y_true has shape {shape}: pass one label a row, of one row or more.")
    expected = check_labels(y_true, shape[0], name="y_true")
    found = check_labels(y_pred, shape[0], name="y_pred")
    _require_same_kind(expected, found, names=("y_true", "y_pred"))
    labels = check_languages(language, shape[0], name="language")
    rows = _rows_of(pivot, labels)
    others = [name for name in np.unique(labels).tolist() if name != pivot]
    if not others:
        raise ValueError(
            f"language holds {pivot!r} only: a gap needs rows of another language as well."
        )
    hit = expected == found
    return float(np.mean(hit[rows]) - np.mean([np.mean(hit[labels == name]) for name in others]))


def _rows_of(pivot: str | int, labels: np.ndarray) -> np.ndarray:
    names = np.unique(labels).tolist()
    if pivot not in names:
        raise ValueError(f"Unknown pivot {pivot!r}: the languages are {names}. Pass one of them.")
    return np.flatnonzero(labels == pivot)


def _require_same_kind(a: np.ndarray, b: np.ndarray, *, names: tuple[str, str]) -> None:
    """Text never equals numbers: refuse what would be a silent score of 0."""
    text = [value.dtype.kind in "US" for value in (a, b)]
    if text[0] != text[1] and "O" not in (a.dtype.kind, b.dtype.kind):
        raise ValueError(
            f"{names[0]} has dtype {a.dtype} and {names[1]} has dtype {b.dtype}: text never "
            "equals a number. Pass labels of one kind."
        )
