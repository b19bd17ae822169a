"""Splits for zero-shot transfer: train in one language, test in the others."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from sklearn.model_selection import BaseCrossValidator

from posthoc_align.align._parameters import require_number
from posthoc_align.languages import check_language
from posthoc_align.model_selection.pair_folds import check_no_leakage, fold_of_rows


class ZeroShotSplit(BaseCrossValidator):
    """Train on the rows of a source language, test on those of each other language.

    Splits come language by language, in sorted order, and within a language fold by fold: their
    number is the number of other languages times `n_splits`.

    Parameters
    ----------
    source : str, int or list of those, default="en"
        Language, or languages, that training rows are in.
    n_splits : int, default=1
        1: train on all rows of the source, test on all of the other language. From 2 on sentences
        are cut into so many folds, with translations in one fold: trained is on the source's rows
        outside of a fold, tested on the other language's rows inside. Parallel data need it.
    each : bool, default=True
        Test one language at a time. False: all others at once, for a scorer that tells them
        apart: ``make_language_scorer("accuracy", per_language="mean")``.
    random_state : int, RandomState instance or None, default=0
        What sentences are shuffled by before they are cut into folds.

    Notes
    -----
    Training rows are in the source language alone, so an aligner inside of the estimator learns
    of no other. Fit it on other rows: ``Anchored(aligner)`` with its anchors, or
    ``freeze(aligner)``.

    With scikit-learn's metadata routing, ``language`` and ``pair_id`` reach :meth:`split` by
    themselves. Without it, tools such as ``cross_val_score`` pass ``groups=`` alone, which is
    then taken for the language; translations are then not known.

    Examples
    --------
    >>> import numpy as np
    >>> X, language = np.zeros((4, 1)), ["en", "de", "en", "fr"]
    >>> for train, test in ZeroShotSplit(source="en").split(X, language=language):
    ...     print(train, test)
    [0 2] [1]
    [0 2] [3]
    """

    __metadata_request__split: ClassVar[dict[str, bool]] = {"language": True, "pair_id": True}

    def __init__(
        self,
        source: Any = "en",
        *,
        n_splits: int = 1,
        each: bool = True,
        random_state: Any = 0,
    ) -> None:
        self.source = source
        self.n_splits = n_splits
        self.each = each
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
        """Yield the positions of training and test rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,), optional
            Classes, which folds then share alike, and so rows without one (None or NaN); anything
            else is ignored.
        groups : array-like of shape (n_samples,), optional
            The language, where `language` is not given.
        language : array-like of shape (n_samples,), optional
            Label of each row.
        pair_id : array-like of shape (n_samples,), optional
            Rows with the same id translate each other; -1 or None: no translation.

        Raises
        ------
        ValueError
            If there is no language, a source or any other language is missing, a test row
            translates a training row, or one side of a split is empty.
        """
        labels, targets = self._languages(len(X), groups if language is None else language)
        taught = np.isin(labels, self._sources())
        if self.n_splits == 1:
            folds = None
        else:
            folds = fold_of_rows(
                len(X), self.n_splits, y, labels, pair_id, random_state=self.random_state
            )
        for target in targets:
            tested = np.isin(labels, target)
            for fold in range(self.n_splits):
                kept = taught if folds is None else taught & (folds != fold)
                held = tested if folds is None else tested & (folds == fold)
                if not kept.any() or not held.any():
                    raise ValueError(
                        f"Fold {fold} of {self.n_splits} has {int(kept.sum())} training rows in "
                        f"{self._sources()} and {int(held.sum())} test rows in {target}: give "
                        "fewer folds, or more rows."
                    )
                train, test = np.flatnonzero(kept), np.flatnonzero(held)
                if pair_id is not None:
                    check_no_leakage(train, test, pair_id)
                yield train, test

    def get_n_splits(
        self,
        X: Any = None,
        y: Any = None,
        groups: Any = None,
        *,
        language: Any = None,
        pair_id: Any = None,
    ) -> int:
        """Return the number of splits.

        Parameters
        ----------
        X, y : ignored
        groups, language : array-like of shape (n_samples,), optional
            As in :meth:`split`; one of them is needed.
        pair_id : ignored
        """
        given = groups if language is None else language
        return self.n_splits * len(self._languages(None if given is None else len(given), given)[1])

    def _sources(self) -> list[Any]:
        return list(self.source) if isinstance(self.source, (list, tuple)) else [self.source]

    def _languages(self, n_rows: int | None, language: Any) -> tuple[np.ndarray, list[list[Any]]]:
        """Label of each row, and the languages that are tested together in each split."""
        require_number(
            "n_splits", self.n_splits, Integral, lambda n: n >= 1, "an integer from 1 on"
        )
        labels = None if n_rows is None else check_language(language, n_rows)
        if labels is None:
            raise ValueError(
                "ZeroShotSplit got no language: pass split(X, y, language=...); inside "
                "scikit-learn's tools enable metadata routing and pass params={'language': ...}, "
                "or, without routing, groups=."
            )
        names = np.unique(labels).tolist()
        missing = [name for name in self._sources() if name not in names]
        if missing:
            raise ValueError(
                f"source {missing} is not among the languages {names}: name one of them."
            )
        others = [name for name in names if name not in self._sources()]
        if not others:
            raise ValueError(
                f"All rows are in {names}, the source: rows of another language are needed to test."
            )
        return labels, [[name] for name in others] if self.each else [others]
