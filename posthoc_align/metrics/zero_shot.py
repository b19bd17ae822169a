"""A head that was trained in one language reads all others: its predictions and its scores."""

from __future__ import annotations

from typing import Any

import numpy as np

from posthoc_align.metrics._directions import Directions
from posthoc_align.metrics._probe import (
    check_languages,
    check_same_width,
    head_blocks,
    make_head,
    probe_rows,
    rows_of,
)
from posthoc_align.metrics._scores import (
    VALUE_METRICS,
    check_metric,
    check_same_targets,
    check_targets,
    scores_by_language,
)


def zero_shot_predictions(
    X: Any,
    y: Any,
    language: Any,
    X_test: Any,
    *,
    pivot: str | int,
    metric: str | None = None,
    head: Any = None,
) -> np.ndarray:
    """What a head that has seen targets of the pivot only says of the rows of a test set.

    The head reads rows of length 3. It is a logistic regression (``C=1.0, max_iter=2000``) for
    classes, one such a label for an indicator matrix, and a ridge regression (``alpha=1.0``) for
    numbers. Rows of other languages in X take no part: they may be there so that one array serves
    both an aligner and this measure.

    The head is scikit-learn's and runs on the host: the pivot's rows are copied there as float64,
    and the test rows block by block.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
    y : array-like of shape (n_samples,) or (n_samples, n_labels)
        Class labels, an indicator matrix of 0 and 1, or numbers.
    language : array-like of str or int of shape (n_samples,), or a scalar
        Language of each row of X.
    X_test : array of shape (n_test, n_features)
    pivot : str or int
        The language the head is fitted on; it occurs in `language`.
    metric : str, optional
        What the predictions will be judged by; it tells classes that are numbers from numbers.
        See :func:`transfer_scores`.
    head : classifier or regressor, optional
        An unfitted scikit-learn estimator used in place of the default one, on the same rows of
        length 3. It is cloned.

    Returns
    -------
    ndarray of shape (n_test,) or (n_test, n_labels)

    Raises
    ------
    ValueError
        If the pivot is not in `language`, its rows have one class only, targets and rows differ
        in number, a target is missing in any language, widths differ, the metric does not fit the
        targets, or a row is zero or not finite.

    Examples
    --------
    >>> import numpy as np
    >>> X, y = np.array([[1.0, 0.1], [0.1, 1.0]]), ["sports", "health"]
    >>> zero_shot_predictions(X, y, "en", X[:, ::-1], pivot="en").tolist()
    ['health', 'sports']
    """
    x, tested = _two_sides(X, X_test)
    targets = check_targets(y, len(x), name="y")
    return _predict(
        x, targets, language, tested, pivot, check_metric(metric, targets, name="y"), head
    )


def zero_shot_scores(
    X: Any,
    y: Any,
    language: Any,
    X_test: Any,
    y_test: Any,
    language_test: Any,
    *,
    pivot: str | int,
    metric: str | None = None,
    head: Any = None,
) -> dict[Any, float]:
    """Score in each language of a head that has seen targets of the pivot only.

    The head is that of :func:`zero_shot_predictions`, the score that of :func:`transfer_scores`,
    which gives intervals, too.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
    y : array-like of shape (n_samples,) or (n_samples, n_labels)
        Class labels, an indicator matrix of 0 and 1, or numbers.
    language : array-like of str or int of shape (n_samples,), or a scalar
        Language of each row of X.
    X_test : array of shape (n_test, n_features)
    y_test : array-like of shape (n_test,) or (n_test, n_labels)
    language_test : array-like of str or int of shape (n_test,), or a scalar
    pivot : str or int
        The language the head is fitted on; it occurs in `language`.
    metric : {"accuracy", "f1_micro", "f1_macro", "r2", "spearman"}, optional
        See :func:`transfer_scores`.
    head : classifier or regressor, optional
        An unfitted scikit-learn estimator used in place of the default one, on the same rows of
        length 3. It is cloned.

    Returns
    -------
    dict of float
        The score, a fraction, of each language in `language_test`, in sorted order; the pivot's
        among them if it is there.

    Raises
    ------
    ValueError
        As :func:`zero_shot_predictions` and :func:`transfer_scores`.

    Examples
    --------
    German has the axes swapped, so that the English head is always wrong there.

    >>> import numpy as np
    >>> X, y = np.array([[1.0, 0.1], [0.1, 1.0]]), ["sports", "health"]
    >>> X_test, y_test = np.concatenate([X, X[:, ::-1]]), y + y
    >>> zero_shot_scores(X, y, "en", X_test, y_test, ["en", "en", "de", "de"], pivot="en")
    {'de': 0.0, 'en': 1.0}
    """
    x, tested = _two_sides(X, X_test)
    targets = check_targets(y, len(x), name="y")
    expected = check_targets(y_test, len(tested), name="y_test")
    check_same_targets(targets, expected, names=("y", "y_test"))
    languages = check_languages(language_test, len(tested), name="language_test")
    metric = check_metric(metric, targets, name="y")
    found = _predict(x, targets, language, tested, pivot, metric, head)
    return scores_by_language(metric, expected, found, languages)


def _two_sides(X: Any, X_test: Any) -> tuple[Directions, Directions]:
    x, tested = Directions.of(X), Directions.of(X_test, name="X_test")
    check_same_width(x, tested)
    return x, tested


def _predict(
    x: Directions,
    targets: np.ndarray,
    language: Any,
    tested: Directions,
    pivot: str | int,
    metric: str,
    head: Any,
) -> np.ndarray:
    """Fit the head on the pivot's rows and let it read the test rows."""
    labels = check_languages(language, len(x), name="language")
    seen = rows_of(pivot, labels)
    task = "values" if metric in VALUE_METRICS else "labels" if targets.ndim == 2 else "classes"
    _require_variety(targets[seen], task, f"The {seen.size} rows of pivot {pivot!r}")
    fitted = make_head(head, max_iter=2000, task=task).fit(probe_rows(x, seen), targets[seen])
    return np.concatenate([fitted.predict(rows) for rows in head_blocks(tested)])


def _require_variety(targets: np.ndarray, task: str, rows: str) -> None:
    """Raise unless there is something to tell apart, in each column of an indicator matrix."""
    if task == "classes" and np.unique(targets).size < 2:
        raise ValueError(
            f"{rows} have one class only ({targets[0].item()!r}): a head needs two or more."
        )
    if task == "labels":
        constant = np.flatnonzero(np.all(targets == targets[0], axis=0)).tolist()
        if constant:
            raise ValueError(
                f"{rows} are all 0 or all 1 in the columns {constant} of y: no head can learn such "
                "labels. Leave these columns out, of y_test as well."
            )
