"""An aligner and a head in one estimator: which rows each is fitted on, and what each is given."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.utils import Tags, get_tags
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from posthoc_align._arrays import (
    Array,
    check_rows,
    check_weight,
    index_like,
    labels_to_host,
)
from posthoc_align.align._apply import apply_aligner, fit_aligner
from posthoc_align.align.anchored import Anchored
from posthoc_align.heads._labels import check_y, for_aligner, labelled_rows
from posthoc_align.heads._rows import scale_of, scaled, where_read
from posthoc_align.heads._torch import TorchHead, is_torch_head
from posthoc_align.languages import check_language, language_of
from posthoc_align.metrics._scores import check_marker, plain

_BY_LANGUAGE = {"language": True}


class AlignedHead(BaseEstimator):
    """What the aligned classifier and the aligned regressor share."""

    # Users are spared the set_*_request calls: metadata routing delivers these by itself.
    __metadata_request__fit: ClassVar[dict[str, bool]] = {
        "language": True,
        "pair_id": True,
        "X_anchor": True,
        "language_anchor": True,
        "pair_id_anchor": True,
    }
    __metadata_request__predict: ClassVar[dict[str, bool]] = _BY_LANGUAGE
    __metadata_request__predict_proba: ClassVar[dict[str, bool]] = _BY_LANGUAGE
    __metadata_request__decision_function: ClassVar[dict[str, bool]] = _BY_LANGUAGE
    __metadata_request__score: ClassVar[dict[str, bool]] = _BY_LANGUAGE

    aligner_: Any
    head_: Any
    scale_: float
    n_features_in_: int

    def __init__(self, aligner: Any, head: Any = None, *, missing_label: Any = None) -> None:
        self.aligner = aligner
        self.head = head
        self.missing_label = missing_label

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        language: Any = None,
        pair_id: Any = None,
        X_anchor: Any = None,
        language_anchor: Any = None,
        pair_id_anchor: Any = None,
        sample_weight: Any = None,
    ) -> Self:
        """Fit the aligner on the anchors, or on all rows, and the head on the labelled rows.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Rows of the task, labelled or not.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their labels; ``missing_label`` where a row has none.
        language : str, int or array-like of shape (n_samples,), optional
            Label of each row, or one for all; read from the level "language" of the index of a
            data frame where it is not passed.
        pair_id : array-like of shape (n_samples,), optional
            Rows of X with the same id translate each other, for an aligner that is fitted on X.
        X_anchor : array of shape (n_anchors, n_features), or a tuple of it, optional
            Rows the aligner is fitted on in place of X. A tuple passes through cross-validation
            whole, where a bare array that is as long as X is cut with it.
        language_anchor, pair_id_anchor : array-like of shape (n_anchors,), or a tuple, optional
            Of the anchors.
        sample_weight : array-like of shape (n_samples,), optional
            Weights for the head, where it takes them; the aligner is fitted without.
        """
        language = language_of(X, language)
        X = check_rows(self, X, reset=True)
        y = check_y(y, X.shape[0])
        labelled = labelled_rows(y, self.missing_label)
        check_marker(labels_to_host(y), self.missing_label)
        languages = check_language(language, X.shape[0])
        weight = check_weight(sample_weight, X)
        head = self._new_head(X)
        if weight is not None and not has_fit_parameter(head, "sample_weight"):
            raise TypeError(
                f"sample_weight was given, but {type(head).__name__}.fit takes none: leave it "
                "out, or choose a head that does."
            )
        if X_anchor is None and language_anchor is None and pair_id_anchor is None:
            known = for_aligner(self.aligner, y, labelled, self.missing_label)
            self.aligner_ = fit_aligner(self.aligner, X, known, language=languages, pair_id=pair_id)
        else:
            self.aligner_ = Anchored(self.aligner).fit(
                X,
                language=languages,
                X_anchor=X_anchor,
                language_anchor=language_anchor,
                pair_id_anchor=pair_id_anchor,
            )
        if not labelled.all():
            at = np.flatnonzero(labelled)
            X, y = X[index_like(at, X)], y[index_like(at, y)]
            languages = None if languages is None else languages[at]
            weight = None if weight is None else weight[index_like(at, weight)]
        Z = apply_aligner(self.aligner_, X, languages)
        self.scale_ = scale_of(Z, weight)
        given = {} if weight is None else {"sample_weight": where_read(head, weight)}
        self.head_ = head.fit(self._rows(head, Z), plain(where_read(head, y)), **given)
        return self

    def predict(self, X: Any, *, language: Any = None) -> Array:
        """Align rows and let the head predict.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
        language : str, int or array-like of shape (n_samples,), optional
            As the aligner takes it.

        Returns
        -------
        array of shape (n_samples,) or (n_samples, n_outputs)
            What the head returns.
        """
        return self._ask("predict", X, language)

    def _ask(self, method: str, X: Any, language: Any) -> Any:
        """Hand aligned rows to a method of the head."""
        check_is_fitted(self)
        language = language_of(X, language)
        X = check_rows(self, X)
        Z = apply_aligner(self.aligner_, X, check_language(language, X.shape[0]))
        return getattr(self.head_, method)(self._rows(self.head_, Z))

    def _rows(self, head: Any, Z: Array) -> Array:
        """Aligned rows as the head takes them."""
        return where_read(head, scaled(Z, self.scale_))

    def _new_head(self, X: Array) -> Any:
        """An unfitted head for rows like those of X."""
        if self.head is None:
            return self._default_head(X)
        if is_torch_head(self.head):
            return self._torch_head(self.head)
        if not hasattr(self.head, "fit") or isinstance(self.head, type):
            raise TypeError(
                f"head={self.head!r} is no estimator: give one of scikit-learn's, such as "
                "LogisticRegression(), a torch module, or None."
            )
        return clone(self.head)

    def _default_head(self, X: Array) -> Any:
        """The head where none is given."""
        raise NotImplementedError(f"{type(self).__name__} must define _default_head.")

    def _torch_head(self, head: Any) -> TorchHead:
        """A module of torch as a head."""
        raise NotImplementedError(f"{type(self).__name__} must define _torch_head.")

    def _scored(self, X: Any, y: Any, language: Any, sample_weight: Any) -> tuple[Any, Any, Any]:
        """Labels, predictions and weights of the labelled rows, on the host."""
        found = labels_to_host(self.predict(X, language=language))
        y = check_y(y, len(found))
        labelled = labelled_rows(y, self.missing_label)
        given = None if sample_weight is None else labels_to_host(sample_weight)
        weight = check_weight(given, np.empty((len(found), 0)))  # on the host, wherever X lies
        weight = None if weight is None else weight[labelled]
        return plain(labels_to_host(y)[labelled]), found[labelled], weight

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        own = get_tags(self._new_head(np.zeros((1, 1))))
        tags.classifier_tags = own.classifier_tags or tags.classifier_tags
        tags.regressor_tags = own.regressor_tags or tags.regressor_tags
        tags.target_tags.multi_output = own.target_tags.multi_output
        return tags


def head_has(method: str) -> Any:
    """Whether the head of an estimator has a method, fitted or not, for ``available_if``."""

    def check(estimator: AlignedHead) -> bool:
        fitted = vars(estimator).get("head_")
        head = estimator._new_head(np.zeros((1, 1))) if fitted is None else fitted
        if not hasattr(head, method):
            raise AttributeError(f"The head, {type(head).__name__}, has no {method}.")
        return True

    return check
