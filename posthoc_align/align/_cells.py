"""Moments of the rows of one language and one class."""

from __future__ import annotations

from typing import Any

import numpy as np

from posthoc_align._arrays import Array, labels_to_host
from posthoc_align.languages import factorize, is_missing
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
        The value of y that says that a row has no class; None: every row has one.

    Raises
    ------
    ValueError
        If y is None, of another length than X, or missing in some rows.
    """
    if y is None:
        raise ValueError(
            f"{name} needs the class of each row and requires y to be passed, but the target y "
            "is None: pass y."
        )
    classes = labels_to_host(y)
    if classes.shape != (X.shape[0],):
        raise ValueError(
            f"y has shape {classes.shape} but X has {X.shape[0]} rows: pass one class a row."
        )
    missing = [i for i, v in enumerate(classes.tolist()) if is_missing(v)]
    if missing:
        raise ValueError(
            f"y is missing (None or NaN) in {len(missing)} rows, first in row {missing[0]}: "
            f"{name} needs the class of every row. Leave such rows out, or, where the estimator "
            "has missing_label=, give them that label."
        )
    names, of_class = factorize(classes)
    languages, of_language = factorize(np.zeros(X.shape[0], int) if labels is None else labels)
    moments = LanguageMoments.of(X, of_language * len(names) + of_class, second=second)
    parts = {}
    for cell, part in moments.items():
        language = None if labels is None else languages.tolist()[cell // len(names)]
        of_rows = names.tolist()[cell % len(names)]
        unlabelled = missing_label is not None and of_rows == missing_label
        parts[(language,) if unlabelled else (language, of_rows)] = part
    return LanguageMoments(parts, moments.within)
