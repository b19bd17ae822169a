"""Rows for a comparison: checked, and split so that no pair is on both sides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from posthoc_align._arrays import Array, labels_to_host
from posthoc_align.languages import (
    check_language,
    check_pair_id,
    is_paired,
    pair_rows,
    require_unique_pairs,
)

PICTURED = 3000  # held-out rows kept for pictures: more dots than that hide each other
LEAST_PICTURED = 20  # sentences kept however many languages there are


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Checked rows with what is known of them, and which of them are held out.

    Attributes
    ----------
    X : array of shape (n_samples, n_features)
    language, pair_id : ndarray of shape (n_samples,)
    label : ndarray of shape (n_samples,), or None
    test : ndarray of bool of shape (n_samples,)
        Mask of the held-out rows; all others are anchors.
    pivot : str or int
    languages : list
        Sorted names.
    sample : ndarray of int64
        Held-out rows for the pictures, all languages of a random part of the pair ids.
    """

    X: Array
    language: np.ndarray
    pair_id: np.ndarray
    label: np.ndarray | None
    test: np.ndarray
    pivot: Any
    languages: list[Any]
    sample: np.ndarray

    @classmethod
    def of(
        cls,
        X: Array,
        language: Any,
        pair_id: Any,
        pivot: Any,
        label: Any,
        split: Any,
        test_size: float,
        random_state: int,
    ) -> HeldOut:
        """Check what is known of the rows and hold out a part of the pairs.

        Raises
        ------
        ValueError
            As :func:`posthoc_align.compare`.
        """
        n = X.shape[0]
        languages = check_language(language, n)
        if languages is None:
            raise ValueError("compare needs the language of each row: pass language=.")
        names = np.unique(languages).tolist()
        if pivot not in names:
            raise ValueError(
                f"pivot={pivot!r} is not among the languages {names}: name one of them."
            )
        if len(names) < 2:
            raise ValueError(f"compare needs at least 2 languages; got only {names}.")
        ids = check_pair_id(pair_id, n)
        if not is_paired(ids).any():
            raise ValueError(
                "No row has a pair id: pair_id is -1 or None everywhere, and what is measured are "
                "held-out translations. Give rows that translate each other the same id."
            )
        require_unique_pairs(languages, ids)
        labels = None if label is None else labels_to_host(label)
        if labels is not None and labels.shape != (n,):
            raise ValueError(f"label has shape {labels.shape} but X has {n} rows: pass one a row.")
        labels = check_language(label, n, name="label")
        rng = np.random.default_rng(random_state)
        test = _test_rows(ids, languages, pivot, split, n, test_size, rng)
        pictured = rng.permutation(np.unique(ids[test & is_paired(ids)]))
        sample = np.flatnonzero(
            test & np.isin(ids, pictured[: max(LEAST_PICTURED, PICTURED // len(names))])
        )
        data = cls(X, languages, ids, labels, test, pivot, names, sample)
        for name in data.others:
            pairs = len(data.pairs(name)[0])
            if pairs < 2:
                raise ValueError(
                    f"Language {name!r} has {pairs} held-out pairs with pivot {pivot!r}; at least "
                    "2 are needed, as a pair is compared with others. Check pair_id and split."
                )
        return data

    @property
    def others(self) -> list[Any]:
        """The languages but the pivot."""
        return [name for name in self.languages if name != self.pivot]

    def pairs(self, language: Any) -> tuple[np.ndarray, np.ndarray]:
        """Held-out rows of a language and of the pivot that translate each other."""
        own = np.flatnonzero(self.test & (self.language == language))
        pivot = np.flatnonzero(self.test & (self.language == self.pivot))
        in_own, in_pivot = pair_rows(self.pair_id[own], self.pair_id[pivot])
        return own[in_own], pivot[in_pivot]


def _test_rows(
    ids: np.ndarray,
    language: np.ndarray,
    pivot: Any,
    split: Any,
    n: int,
    test_size: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Mask of held-out rows; a pair is held out whole."""
    if split is not None:
        names = np.asarray(split)
        if names.shape != (n,):
            raise ValueError(f"split has shape {names.shape} but X has {n} rows: pass one a row.")
        test = names == "test"
        torn = np.intersect1d(ids[test & is_paired(ids)], ids[~test & is_paired(ids)])
        if len(torn):
            raise ValueError(
                f"{len(torn)} pair ids have rows on both sides of the split, first "
                f"{torn.tolist()[0]!r}: held-out rows would be translations of anchors. "
                "Split by pair_id."
            )
    else:
        if not 0 < test_size < 1:
            raise ValueError(f"test_size={test_size!r} must lie between 0 and 1.")
        known = np.unique(ids[is_paired(ids) & (language == pivot)])
        held = (
            rng.permutation(known)[: max(1, round(test_size * len(known)))] if len(known) else known
        )
        test = np.isin(ids, held) & is_paired(ids)
    for name in np.unique(language).tolist():
        anchors, held_out = (
            int(np.sum(~test[language == name])),
            int(np.sum(test[language == name])),
        )
        if anchors < 2 or held_out < 2:
            raise ValueError(
                f"Language {name!r} has {anchors} anchor rows and {held_out} held-out rows; at "
                "least 2 of each are needed. Check pair_id and split, or change test_size."
            )
    return test
