"""Which rows are labelled, and what the head and the aligner get to see of y."""

from __future__ import annotations

from typing import Any

import numpy as np

from posthoc_align._arrays import Array, is_tensor, labels_to_host
from posthoc_align.languages import is_missing
from posthoc_align.metrics._scores import missing_rows, plain, targets_to_host


def check_y(y: Any, n_rows: int) -> Array:
    """Return y as an array of its own kind, of one entry (or row) a row of X.

    Raises
    ------
    ValueError
        If y is None, or of another length.
    """
    if y is None:
        raise ValueError(
            "This estimator requires y to be passed, but the target y is None. Pass one label a "
            "row; rows without one are marked by missing_label=."
        )
    y = y if is_tensor(y) else targets_to_host(y)
    if y.ndim == 0 or y.shape[0] != n_rows:
        raise ValueError(
            f"y has shape {tuple(y.shape)} but X has {n_rows} rows: pass one label a row. Rows "
            "without one are marked by missing_label=."
        )
    return y


def labelled_rows(y: Array, missing_label: Any) -> np.ndarray:
    """Mask of the rows that have a label.

    Parameters
    ----------
    y : array of shape (n_samples,) or (n_samples, n_outputs)
    missing_label : label or None
        None: every row must have one. NaN: rows that are NaN, None or pandas' NA have none.

    Raises
    ------
    ValueError
        If y is missing although every row must have a label, no row has one, or some labels are
        text and some are not.
    """
    values = labels_to_host(y)
    missing = missing_rows(values)
    if missing_label is None:
        if missing.any():
            raise ValueError(
                f"Input y contains NaN or None in {int(missing.sum())} rows, first in row "
                f"{int(np.argmax(missing))}. Leave such rows out, or say that they are "
                "unlabelled with missing_label=numpy.nan."
            )
        return ~missing
    if not is_missing(missing_label):
        if missing.any():
            raise ValueError(
                f"Input y contains NaN or None in {int(missing.sum())} rows, first in row "
                f"{int(np.argmax(missing))}, but missing_label={missing_label!r}. Give unlabelled "
                "rows that label, or choose missing_label=numpy.nan."
            )
        missing = np.asarray(values == missing_label, dtype=bool)
        missing = missing if missing.ndim == 1 else np.any(missing, axis=1)
    if missing.all():
        raise ValueError(
            f"y is missing (missing_label={missing_label!r}) in all {len(values)} rows: the head "
            "needs labels to learn from. Pass labels for some rows."
        )
    plain(values[~missing])  # refuses labels of several kinds
    return ~missing


def for_aligner(aligner: Any, y: Array, labelled: np.ndarray, missing_label: Any) -> Any:
    """What an aligner sees of y: all of it, or None in unlabelled rows unless it knows of those.

    Raises
    ------
    ValueError
        If the aligner has a ``missing_label`` of its own, and another one.
    """
    if labelled.all():
        return y
    own = _missing_label_of(aligner)
    if own is None:
        # Those who use y refuse None by name; a label such as -1 would pass for a class.
        masked = labels_to_host(y).astype(object)
        masked[~labelled] = None
        return masked
    same = is_missing(own) if is_missing(missing_label) else own == missing_label
    if not same:
        raise ValueError(
            f"missing_label={missing_label!r}, but the aligner has missing_label={own!r}: give "
            "both the same label."
        )
    return y


def _missing_label_of(aligner: Any) -> Any:
    parameters = aligner.get_params() if hasattr(aligner, "get_params") else {}
    found = [v for k, v in parameters.items() if k.split("__")[-1] == "missing_label"]
    return next((value for value in found if value is not None), None)
