"""Folds that keep a sentence and its translations on one side, and a check that they are."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from sklearn.model_selection import BaseCrossValidator
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import type_of_target

from posthoc_align._arrays import labels_to_host
from posthoc_align.align._parameters import require_number
from posthoc_align.languages import (
    check_language,
    check_pair_id,
    factorize,
    is_missing,
    is_paired,
)


class PairGroupKFold(BaseCrossValidator):
    """K folds with translations of one text never on both sides.

    The rows that share a ``pair_id`` go into one fold together; a row without one goes by itself.
    Sentences are shuffled, then dealt to the folds in turn, class by class and within a class by
    the languages they are there in (by their number of rows, where none are told): folds differ
    by one sentence at most, and nearly so in each class and language. Time O(n log n).

    Parameters
    ----------
    n_splits : int, default=5
        Folds, at least 2.
    random_state : int, RandomState instance or None, default=0
        What sentences are shuffled by.

    Notes
    -----
    With scikit-learn's metadata routing, ``pair_id`` and ``language`` reach :meth:`split` by
    themselves. Without it, tools such as ``cross_val_score`` pass ``groups=`` alone, which is
    then taken for the pair ids.

    Examples
    --------
    >>> import numpy as np
    >>> X, pair_id = np.zeros((6, 1)), [7, 8, -1, 8, 7, -1]
    >>> for train, test in PairGroupKFold(2).split(X, pair_id=pair_id):
    ...     print(test)
    [0 4 5]
    [1 2 3]
    """

    __metadata_request__split: ClassVar[dict[str, bool]] = {"language": True, "pair_id": True}

    def __init__(self, n_splits: int = 5, *, random_state: Any = 0) -> None:
        self.n_splits = n_splits
        self.random_state = random_state

    def split(
        self,
        X: Any,
        y: Any = None,
        groups: Any = None,
        *,
        language: Any = None,
        pair_id: Any = None,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the positions of training and test rows, one fold at a time.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,), optional
            Classes, which folds then share alike, and so rows without one (None or NaN); anything
            else is ignored.
        groups : array-like of shape (n_samples,), optional
            The pair ids, where `pair_id` is not given.
        language : array-like of shape (n_samples,), optional
            Languages, which folds then share alike.
        pair_id : array-like of shape (n_samples,), optional
            Rows with the same id translate each other; -1 or None: no translation.

        Raises
        ------
        ValueError
            If there are no pair ids, lengths differ, or there are fewer sentences than folds.
        """
        given = groups if pair_id is None else pair_id
        if given is None:
            raise ValueError(
                "PairGroupKFold got no pair_id: pass split(X, y, pair_id=...); inside "
                "scikit-learn's tools enable metadata routing and pass params={'pair_id': ...}, "
                "or, without routing, groups=."
            )
        folds = fold_of_rows(
            len(X), self.n_splits, y, language, given, random_state=self.random_state
        )
        for fold in range(self.n_splits):
            yield np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None, **params: Any) -> int:
        """Return the number of folds.

        Parameters
        ----------
        X, y, groups : ignored
        **params : ignored
        """
        return self.n_splits


def fold_of_rows(
    n_rows: int, n_splits: int, y: Any, language: Any, pair_id: Any, *, random_state: Any
) -> np.ndarray:
    """Return the fold of each row: rows with one pair id in one fold, classes spread evenly.

    Parameters
    ----------
    n_rows, n_splits : int
    y : array-like of shape (n_rows,) or None
        Spread evenly where it holds classes; rows without one (None or NaN) as a class by itself.
    language, pair_id : array-like of shape (n_rows,) or None
    random_state : int, RandomState instance or None

    Returns
    -------
    ndarray of int64 of shape (n_rows,)
    """
    require_number("n_splits", n_splits, Integral, lambda n: n >= 2, "an integer from 2 on")
    random = check_random_state(random_state)
    sentence = sentences(n_rows, pair_id)
    n_sentences = int(sentence.max()) + 1
    if n_sentences < n_splits:
        raise ValueError(
            f"n_splits={n_splits} but the rows hold {n_sentences} sentences, translations counted "
            "once: give fewer folds."
        )
    # Sentences in the same languages have the same sum of random tokens, in whatever order.
    labels = check_language(language, n_rows)
    tokens = random.randint(2**40, size=n_rows, dtype=np.int64)
    spoken = np.zeros(n_sentences, dtype=np.int64)
    language_of_row = np.zeros(n_rows, dtype=np.int64) if labels is None else factorize(labels)[1]
    np.add.at(spoken, sentence, tokens[language_of_row])
    classes = np.zeros(n_sentences, dtype=np.int64)
    np.maximum.at(classes, sentence, _classes(y, n_rows))
    order = np.lexsort((random.permutation(n_sentences), spoken, classes))
    fold = np.empty(n_sentences, dtype=np.int64)
    fold[order] = np.arange(n_sentences) % n_splits
    return fold[sentence]


def sentences(n_rows: int, pair_id: Any) -> np.ndarray:
    """Number of each row's sentence from 0: one for all rows of a pair id, else one of its own."""
    if pair_id is None:
        return np.arange(n_rows)
    ids = check_pair_id(pair_id, n_rows)
    paired = is_paired(ids)
    distinct, codes = np.unique(ids[paired], return_inverse=True)
    out = np.empty(n_rows, dtype=np.int64)
    out[paired] = codes
    out[~paired] = len(distinct) + np.arange(n_rows - len(codes))
    return out


def _classes(y: Any, n_rows: int) -> np.ndarray:
    """A number from 1 for each class and 0 for a missing one, or zeros if y holds no classes."""
    values = None if y is None else labels_to_host(y)
    if values is None or values.ndim != 1 or len(values) != n_rows:
        return np.zeros(n_rows, dtype=np.int64)
    known = np.array([not is_missing(value) for value in values.tolist()], dtype=bool)
    if not known.any() or type_of_target(values[known].tolist()) not in ("binary", "multiclass"):
        return np.zeros(n_rows, dtype=np.int64)
    return class_codes(values, known)


def class_codes(y: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Classes as numbers from 1, and 0 where none is known."""
    codes = np.zeros(len(y), dtype=np.int64)
    codes[known] = 1 + np.unique(y[known].astype(str), return_inverse=True)[1]
    return codes


def check_no_leakage(train: Any, test: Any, pair_id: Any) -> None:
    """Raise if a training row and a test row are one row, or translate each other.

    Parameters
    ----------
    train, test : array-like of int, or of bool of shape (n_samples,)
        Positions of the rows on either side, or masks.
    pair_id : array-like of shape (n_samples,)
        Rows with the same id translate each other; -1 or None: no translation.

    Raises
    ------
    ValueError
        Names the ids, or the rows, on both sides; or there are no pair ids.

    Examples
    --------
    >>> check_no_leakage([0, 1], [2], pair_id=[7, 8, 7])
    Traceback (most recent call last):
        ...
    ValueError: 1 of the 1 test rows translate training rows (pair ids [7]): what is measured ...
    """
    if pair_id is None:
        raise ValueError(
            "check_no_leakage got no pair_id: pass the id of each row of the corpus, -1 where a "
            "row has no translation. Without ids nothing says which rows translate each other."
        )
    ids = check_pair_id(pair_id, len(pair_id))
    sides = [np.asarray(side) for side in (train, test)]
    here, there = (np.flatnonzero(s) if s.dtype == bool else s.astype(np.int64) for s in sides)
    both = np.intersect1d(here, there)
    if len(both):
        raise ValueError(
            f"{len(both)} rows are on both sides of the split, first row {both[0]}: train and "
            "test must have no row in common."
        )
    torn = np.intersect1d(ids[here][is_paired(ids[here])], ids[there])
    if len(torn):
        named = f"{torn[:5].tolist()}" + (" and others" if len(torn) > 5 else "")
        raise ValueError(
            f"{int(np.isin(ids[there], torn).sum())} of the {len(there)} test rows translate "
            f"training rows (pair ids {named}): what is measured on them is known from training. "
            "Split by pair_id: PairGroupKFold, or ZeroShotSplit(n_splits=5)."
        )
