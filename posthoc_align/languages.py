"""Which language a row is in, and which rows translate each other.

A language label is a str or an int a row, or one scalar for a whole batch. A ``pair_id`` is
an id a row: rows of different languages with the same id are translations of each other;
``-1`` and ``None`` mean that the row has no known translation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from posthoc_align._arrays import labels_to_host

LEVEL = "language"
"""What the level of a pandas index that holds language labels is called."""


def language_of(X: Any, language: Any, language_from: str | None = None) -> Any:
    """Return the labels that were passed, or else those in the index of the data frame X.

    An index stays with its rows wherever scikit-learn cuts and shuffles a data frame, also where
    it hands on no metadata: string scorers, ``cross_val_predict``, calibration, stacking, a
    fitted search. A step that returns a plain array loses it, and so does bagging.

    Parameters
    ----------
    X : array or data frame of n_samples rows
        As it came: what makes it an array drops the index. A polars frame has none.
    language : None, str, int, or array-like of shape (n_samples,)
        Labels that were passed; they win over the index.
    language_from : {"index"}, optional
        "index": without labels, the index must have a level ``language``. None: it may have one.

    Returns
    -------
    None, str, int, or array-like of shape (n_samples,)

    Raises
    ------
    ValueError
        If labels must be in the index and are not.
    """
    if language_from not in (None, "index"):
        raise ValueError(
            f"language_from={language_from!r} is not known: choose 'index', which reads the level "
            "'language' of a pandas index, or None, which does so where it is there."
        )
    if language is not None:
        return language
    levels = getattr(getattr(X, "index", None), "names", None)  # a list's index is a method
    if levels is not None and LEVEL in levels:
        return X.index.get_level_values(LEVEL)
    if language_from is None:
        return None
    found = "no index" if levels is None else f"an index with the levels {list(levels)}"
    raise ValueError(
        f"language_from='index', but X came as a {type(X).__name__} with {found}; expected a "
        "pandas DataFrame whose index has a level named 'language' (polars has no index). If X had "
        "one, a step before this returned a plain array: call set_output(transform='pandas') on "
        "the pipeline. Otherwise name the level, X.index.name = 'language', or pass language= "
        "(inside a Pipeline by scikit-learn's metadata routing)."
    )


def check_language(
    language: Any, n_rows: int, *, name: str = "language", of: str = "X"
) -> np.ndarray | None:
    """Return one label a row, or None if no language was given.

    Parameters
    ----------
    language : None, str, int, or array-like of shape (n_rows,)
        A scalar stands for every row.
    n_rows : int
    name, of : str
        What error messages call the labels and the array they belong to.

    Returns
    -------
    ndarray of str or int of shape (n_rows,), or None

    Raises
    ------
    ValueError
        If the length is not `n_rows`, a label is missing, or labels are neither str nor int.
    """
    if language is None:
        return None
    if isinstance(language, (str, int, np.integer)) and not isinstance(language, bool):
        return np.full(n_rows, language)
    labels = _told_apart(language)
    if labels.ndim == 0:
        if not isinstance(labels.item(), (str, int)) or isinstance(labels.item(), bool):
            raise ValueError(
                f"{name}={language!r} is neither text nor an integer: labels must be all str or "
                "all int, one label a row or one for the whole batch."
            )
        return np.full(n_rows, labels.item())
    if labels.shape != (n_rows,):
        raise ValueError(
            f"{name} has shape {labels.shape} but {of} has {n_rows} rows: pass one label a row, "
            "or one scalar for the whole batch."
        )
    return _plain(labels, name)


def _told_apart(values: Any) -> np.ndarray:
    """Labels as an array that still shows which were str and which were int."""
    labels = labels_to_host(values)
    if labels.dtype.kind == "U" and isinstance(values, (list, tuple)):
        labels = np.asarray(values, dtype=object)  # so that ["en", 1] is seen for what it is
    return labels


def _plain(labels: np.ndarray, name: str) -> np.ndarray:
    """Object labels as a str or int array; anything else refused."""
    if labels.dtype.kind in "UiuS":
        return labels.astype(str) if labels.dtype.kind == "S" else labels
    kinds = {type(v) for v in labels.tolist()}
    if kinds <= {str, np.str_}:
        return labels.astype(str)
    if kinds <= {int, np.int64, np.int32} and kinds:
        try:
            return labels.astype(np.int64)
        except OverflowError:
            raise ValueError(
                f"{name} holds integers of more than 64 bits: pass them as str."
            ) from None
    missing = [i for i, v in enumerate(labels.tolist()) if is_missing(v)]
    if missing:
        raise ValueError(
            f"{name} is missing (None or NaN) in {len(missing)} rows, first in row {missing[0]}: "
            "every row needs a label."
        )
    raise ValueError(
        f"{name} holds {sorted(k.__name__ for k in kinds)}: labels must be all str or all int."
    )


def is_missing(value: Any) -> bool:
    """Whether a label or id is None, NaN or pandas' NA."""
    return value is None or str(value) in ("<NA>", "NaT") or bool(value != value)


def factorize(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sorted distinct labels and each row's position among them.

    Works on the heads of runs of equal labels, so that rows grouped by language cost one scan.
    """
    heads = np.flatnonzero(np.append(True, labels[1:] != labels[:-1]))
    if len(heads) > len(labels) // 4:  # nothing is gained by leaving out the others
        return _distinct(labels)
    distinct, codes = _distinct(labels[heads])
    return distinct, np.repeat(codes, np.diff(np.append(heads, len(labels))))


BUCKETS = 2**16
"""Places of the hash: a table for a core's cache, in which 200 labels meet once in four times."""


def _distinct(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Do as ``np.unique(labels, return_inverse=True)``, which sorts all of the labels.

    Few labels among many are found by hashing, in linear time; the result is compared with the
    labels, and where two of them share a bucket they are sorted after all.
    """
    if len(labels) < BUCKETS // 8 or labels.dtype.kind not in "Uiu":
        return np.unique(labels, return_inverse=True)
    unit: type = np.uint32 if labels.itemsize % 4 == 0 else np.uint8
    words: np.ndarray = np.ascontiguousarray(labels).view(unit).reshape(len(labels), -1)
    odd = np.arange(1, 2 * words.shape[1], 2, dtype=np.uint64)
    mixed = words @ (odd * np.uint64(0x9E3779B97F4A7C15))  # modulo 2 ** 64
    buckets = (mixed >> np.uint64(64 - 16)).astype(np.intp)
    one_of = np.full(BUCKETS, -1)
    one_of[buckets] = np.arange(len(labels))
    found = np.flatnonzero(one_of >= 0)
    distinct = labels[one_of[found]]
    order = np.argsort(distinct)
    distinct, position = distinct[order], np.empty(BUCKETS, dtype=np.intp)
    position[found[order]] = np.arange(len(found))
    codes = position[buckets]
    if np.array_equal(distinct[codes], labels):
        return distinct, codes
    return np.unique(labels, return_inverse=True)


def encode(labels: np.ndarray, known: Sequence[Any]) -> tuple[np.ndarray, list[Any]]:
    """Position of each label in `known`, -1 where it is not there, and the unknown labels."""
    distinct, codes = factorize(labels)
    position = {label: i for i, label in enumerate(known)}
    found = np.array([position.get(label, -1) for label in distinct.tolist()], dtype=np.int64)
    unknown = [label for label, at in zip(distinct.tolist(), found, strict=True) if at < 0]
    return found[codes], unknown


def unseen_error(unknown: Sequence[Any], known: Sequence[Any], cure: str) -> ValueError:
    """The error for languages that were not in fit."""
    fitted = f"fitted on {list(known)}" if len(known) else "fitted without language labels"
    return ValueError(f"Unseen language {list(unknown)}: this estimator was {fitted}. {cure}")


def check_pair_id(pair_id: Any, n_rows: int, *, name: str = "pair_id", of: str = "X") -> np.ndarray:
    """Return one id a row as a str or int array, and -1 or "" where a row is unpaired.

    Parameters
    ----------
    pair_id : array-like of shape (n_rows,)
    n_rows : int
    name, of : str
        What error messages call the ids and the array they belong to.

    Raises
    ------
    ValueError
        If the length is not `n_rows` or ids are neither all str nor all int.
    """
    ids = _told_apart(pair_id)
    if ids.shape != (n_rows,):
        raise ValueError(
            f"{name} has shape {ids.shape} but {of} has {n_rows} rows: pass one id a row, "
            "-1 or None where a row has no translation."
        )
    if ids.dtype.kind in "OfU":
        missing = np.array([is_missing(v) or bool(v == -1) for v in ids.tolist()], dtype=bool)
        present = ids[~missing]
        if present.dtype.kind == "f" and np.all(present == np.floor(present)):
            present = present.astype(np.int64)
        present = _plain(present, name) if present.size else present.astype(np.int64)
        unpaired: Any = "" if present.dtype.kind == "U" else -1
        ids = np.full(n_rows, unpaired, dtype=present.dtype)
        ids[~missing] = present
    return _plain(ids, name)


def is_paired(pair_id: np.ndarray) -> np.ndarray:
    """Mask of the rows that have an id."""
    return pair_id != ("" if pair_id.dtype.kind == "U" else -1)


def require_unique_pairs(labels: np.ndarray, pair_id: np.ndarray) -> None:
    """Raise if a (language, pair_id) occurs twice: the translation would be ambiguous."""
    paired = is_paired(pair_id)
    for label in np.unique(labels).tolist():
        ids = pair_id[paired & (labels == label)]
        values, counts = np.unique(ids, return_counts=True)
        if np.any(counts > 1):
            twice = values[counts > 1]
            raise ValueError(
                f"Duplicate (language, pair_id): {len(twice)} ids occur more than once in "
                f"language {label!r}, first {twice.tolist()[0]!r}. Keep one row an id, or set "
                "the others to -1 (unpaired)."
            )


def pair_rows(ids_a: np.ndarray, ids_b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions in two id arrays of the rows that share an id; ids must be unique in each."""
    a, b = np.flatnonzero(is_paired(ids_a)), np.flatnonzero(is_paired(ids_b))
    _, in_a, in_b = np.intersect1d(ids_a[a], ids_b[b], assume_unique=True, return_indices=True)
    return a[in_a], b[in_b]
