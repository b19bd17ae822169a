"""What the estimators share that judge aligners on held-out rows before they take one."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_is_fitted

from posthoc_align._arrays import Array, check_rows, labels_to_host
from posthoc_align._blocks import require_finite
from posthoc_align.align._apply import apply_aligner, fit_aligner
from posthoc_align.align._base import LanguageTransformer
from posthoc_align.align._parameters import require_choice
from posthoc_align.languages import (
    check_language,
    check_pair_id,
    encode,
    require_unique_pairs,
)
from posthoc_align.model_selection._held_out import LEAST, OBJECTIVES, HeldOut, known_classes
from posthoc_align.model_selection._pairs import pairs_with

# What is counted, by objective and by whether there are translations.
MEASURED = {
    ("retrieval", True): "held-out translations found, both ways",
    ("retrieval", False): "held-out rows that are each other's nearest (no translations known)",
    ("transfer", True): "held-out translations that the pivot's head labels alike",
    ("transfer", False): "held-out matches that the pivot's head labels alike (no translations "
    "known)",
}


class JudgedAligner(LanguageTransformer):
    """An estimator that hands rows to ``aligner_``, which held-out rows spoke for."""

    __metadata_request__fit: ClassVar[dict[str, bool]] = {"language": True, "pair_id": True}

    aligner_: Any
    objective: str
    pivot: Any
    head: Any
    n_splits: int
    random_state: Any

    @property
    def requires_language(self) -> bool:  # type: ignore[override]  # a fact of what was taken
        """Whether ``transform`` depends on the language of a row."""
        taken = vars(self).get("aligner_")
        steps = [s for _, s in taken.steps] if isinstance(taken, Pipeline) else [taken]
        return taken is None or any(getattr(step, "requires_language", False) for step in steps)

    def transform(self, X: Any, *, language: Any = None) -> Array:
        """Transform rows by what was taken.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
        language : str, int or array-like of shape (n_samples,), optional
            May be left out only if fit saw one language, or what was taken needs none. A label
            that was not in fit is refused whatever was taken, unless that has an ``unseen`` policy.

        Returns
        -------
        array of shape (n_samples, n_features_out)
            Of X's kind, type and device.
        """
        check_is_fitted(self)
        language = self._labels_of(X, language)
        X = check_rows(self, X)
        labels = check_language(language, X.shape[0])
        if labels is not None and not self._has_policy():
            self._require_seen(
                encode(labels, self.languages_)[1],
                f"Fit {type(self).__name__} on rows of every language, or let it judge aligners "
                "that have a policy, such as LanguageCentering(unseen='global').",
            )
        return self._move(self.aligner_, X, labels)

    def _move(self, aligner: Any, X: Array, labels: np.ndarray | None) -> Array:
        return apply_aligner(aligner, X, labels)

    def _take(
        self,
        aligner: Any,
        X: Array,
        y: Any,
        labels: np.ndarray | None,
        ids: np.ndarray | None,
    ) -> None:
        """Fit what was taken on all rows, and see how wide it makes them."""
        self.aligner_ = fit_aligner(aligner, X, y, language=labels, pair_id=ids)
        first = self._move(self.aligner_, X[:1], None if labels is None else labels[:1])
        self._n_features_out = int(first.shape[1])

    def _has_policy(self) -> bool:
        """Whether what was given or taken, or a part of it, deals with unseen languages."""
        parts = (self, self.aligner_)
        found = [part.get_params() for part in parts if hasattr(part, "get_params")]
        return any(
            name.rpartition("__")[2] == "unseen" and value != "error"
            for parameters in found
            for name, value in parameters.items()
        )

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the columns: those that what was taken gives.

        Where it names none, those of X, or, if it changes the width, numbered ones.

        Parameters
        ----------
        input_features : sequence of str, optional
        """
        check_is_fitted(self)
        names = super().get_feature_names_out(input_features)
        try:
            return self.aligner_.get_feature_names_out(names)
        except AttributeError:  # of it, or of a step of it
            if self._n_features_out == len(names):
                return names
            own = type(self).__name__.lower()
            return np.array([f"{own}{i}" for i in range(self._n_features_out)], dtype=object)

    def _check(
        self, X: Any, y: Any, language: Any, pair_id: Any
    ) -> tuple[Array, np.ndarray | None, np.ndarray | None, np.ndarray | None]:
        """Rows, their languages, classes and pair ids; no ids where none joins two languages."""
        require_choice("objective", self.objective, OBJECTIVES)
        X, labels = self._check_fit(X, language)
        require_finite(X)
        y = y if y is None or hasattr(y, "shape") else np.asarray(y)
        if y is not None and tuple(y.shape[:1]) != (X.shape[0],):
            raise ValueError(
                f"y has shape {tuple(y.shape)} but X has {X.shape[0]} rows: pass one class a row, "
                "None or NaN where there is none."
            )
        ids = None if pair_id is None else check_pair_id(pair_id, X.shape[0])
        self.languages_ = [None] if labels is None else np.unique(labels).tolist()
        if labels is None or len(self.languages_) < 2:
            return X, labels, None, ids
        if self.pivot not in self.languages_:
            raise ValueError(
                f"pivot={self.pivot!r} is not among the languages {self.languages_}: name one of "
                "them."
            )
        if ids is not None:
            require_unique_pairs(labels, ids)
            if not pairs_with(self.pivot, labels, ids, np.arange(len(ids))):
                ids = None
        return X, labels, self._check_classes(y, labels), ids

    def _check_classes(self, y: Any, labels: np.ndarray) -> np.ndarray | None:
        values = None if y is None else labels_to_host(y)
        if self.objective != "transfer":
            return values
        if values is None:
            raise ValueError(
                "objective='transfer' needs y: pass the classes of the pivot's rows, one a row of "
                "X (those of other languages are not looked at; None will do), or choose "
                "objective='retrieval'."
            )
        if values.ndim != 1:
            raise ValueError(
                f"y has shape {values.shape}, several columns: objective='transfer' needs one "
                "class a row, y of shape (n_samples,)."
            )
        known = values[known_classes(values, labels == self.pivot)]
        kind = type_of_target(known.tolist()) if len(known) else "empty"
        # Two rows of a class are never in one fold, so that one is always there to train on.
        counts = np.unique(known.astype(str), return_counts=True)[1]
        if kind not in ("binary", "multiclass") or np.sum(counts >= 2) < 2:
            raise ValueError(
                f"objective='transfer' needs 2 or more classes of 2 rows or more in the pivot "
                f"{self.pivot!r}, but y is {kind} there, with {len(counts)} different values in "
                f"{len(known)} rows. Bin a number into classes, or choose objective='retrieval'."
            )
        return values

    def _hold_out(
        self, X: Array, labels: np.ndarray, y: np.ndarray | None, ids: np.ndarray | None
    ) -> HeldOut:
        held = HeldOut(
            X,
            labels,
            ids,
            y,
            pivot=self.pivot,
            objective=self.objective,
            n_splits=self.n_splits,
            random_state=self.random_state,
            head=self.head,
        )
        if not held.languages:
            what = "rows" if ids is None else "translations of the pivot"
            raise ValueError(
                f"{type(self).__name__} needs {LEAST} {what} or more in a language to judge by; "
                f"held out in {self.n_splits} folds are {held.sizes}. Give more, or take an "
                "aligner without judging, such as LanguageCentering()."
            )
        return held
