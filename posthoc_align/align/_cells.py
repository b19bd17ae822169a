"""Moments of the rows of one language and one class."""

from __future__ import annotations

from typing import Any

import numpy as np

from posthoc_align._arrays import Array
from posthoc_align.languages import factorize, is_missing
from posthoc_align.metrics._scores import check_marker, missing_rows, plain, targets_to_host
from posthoc_align.moments import LanguageMoments, Second


def cell_moments(
    X: Array,
    y: Any,
    labels: np.ndarray | None,
    second: Second,
    *,
    name: str,
    missing_label: Any = None,
) -> LanguageMoments:
    """Moments of each (language, class) cell; rows without a class are in a cell (language,).

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
    y : array-like of shape (n_samples,)
        Classes.
    labels : ndarray of shape (n_samples,), optional
        Languages; the language of all cells is None without.
    second : str
        Which second moments to keep.
    name : str
        Who needs the classes, for errors.
    missing_label : label, optional
        The value of y that says that a row has no class, NaN for NaN, None and pandas' NA; None:
        every row has one.

    Raises
    ------
    ValueError
        If y is None, of another length than X, missing in some rows without `missing_label`
        saying so, holds text and numbers, or only such as `missing_label` can never equal.
    """
    if y is None:
        raise ValueError(
            f"{name} needs the class of each row and requires y to be passed, but the target y "
            "is None: pass y."
        )
    classes = targets_to_host(y)
    if classes.shape != (X.shape[0],):
        raise ValueError(
            f"y has shape {classes.shape} but X has {X.shape[0]} rows: pass one class a row."
        )
    unlabelled = missing_rows(classes)
    if missing_label is None or not is_missing(missing_label):
        if unlabelled.any():
            raise ValueError(
                f"y is missing (None or NaN) in {int(unlabelled.sum())} rows, first in row "
                f"{int(np.argmax(unlabelled))}: {name} needs the class of every row. Leave such "
                "rows out, or, where the estimator has missing_label=, give them that label."
            )
        check_marker(classes, missing_label)
        unlabelled = unlabelled | (classes == missing_label)
    names, codes = np.unique(plain(classes[~unlabelled]), return_inverse=True)
    of_class = np.zeros(len(classes), dtype=np.int64)  # 0 for none
    of_class[~unlabelled] = 1 + codes
    languages, of_language = factorize(np.zeros(X.shape[0], int) if labels is None else labels)
    known: list[tuple[Any, ...]] = [(), *((label,) for label in names.tolist())]
    moments = LanguageMoments.of(X, of_language * len(known) + of_class, second=second)
    parts = {}
    for cell, part in moments.items():
        language = None if labels is None else languages.tolist()[cell // len(known)]
        parts[language, *known[cell % len(known)]] = part
    return LanguageMoments(parts, moments.within)
