"""An aligner that is fitted on one corpus and transforms another."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from sklearn.utils import Tags, get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from posthoc_align._arrays import Array, check_rows, index_like
from posthoc_align.align._apply import (
    apply_aligner,
    call_aligner,
    fit_aligner,
    fitted_languages,
    needs_language,
    require_aligner,
    takes_language,
)
from posthoc_align.align._base import LanguageTransformer, as_array, known_labels
from posthoc_align.languages import check_language, check_pair_id, encode, language_of


class Anchored(LanguageTransformer):
    """Fit an aligner on anchors, apart from the task's rows, inside one pipeline.

    Anchors are the corpus that an alignment is learned from, mostly parallel and without classes;
    the rows of the task are only transformed. ``fit`` takes both: X for the pipeline, ``X_anchor``
    for the aligner. Wrap each anchor argument in a tuple of one, ``X_anchor=(A,)``: scikit-learn
    cuts a bare array that is as long as X into folds together with X, a tuple it leaves whole.

    Parameters
    ----------
    aligner : language transformer, or Pipeline with one
        Anything with ``fit(X, y, language=...)`` and ``transform(X, language=...)``. A clone is
        fitted.
    language_from : {"index"}, optional
        As in :class:`LanguageCentering`; anchors may have their languages in an index too.

    Attributes
    ----------
    aligner_ : estimator
        The fitted clone.
    languages_ : list
        Of the anchors.
    n_features_in_ : int

    Raises
    ------
    ValueError
        If anchors come without the languages that tell them apart or the pair ids that the aligner
        needs, are of another width than X, or hold no row of a language of X that the aligner must
        know.
    TypeError
        If the aligner is none, or takes no language.

    Notes
    -----
    Without ``X_anchor`` the aligner is fitted on X itself. Where steps come before this one, the
    anchors must go through them: ``Pipeline(..., transform_input=["X_anchor"])``, with metadata
    routing on. No such step may depend on the language itself: it would get that of the task's
    rows.
    Anchors that translate test rows leak: keep them out.

    Examples
    --------
    >>> import numpy as np
    >>> from posthoc_align import Anchored, LanguageCentering
    >>> anchors = np.array([[0.0], [2.0], [10.0], [12.0]])
    >>> aligner = Anchored(LanguageCentering())
    >>> aligner.fit_transform(
    ...     [[1.0], [5.0]],
    ...     language=["en", "de"],
    ...     X_anchor=(anchors,),
    ...     language_anchor=(["en", "en", "de", "de"],),
    ... )
    array([[ 0.],
           [-6.]])
    """

    __metadata_request__fit: ClassVar[dict[str, bool]] = {
        "language": True,
        "pair_id": True,
        "X_anchor": True,
        "language_anchor": True,
        "pair_id_anchor": True,
    }

    aligner_: Any

    def __init__(self, aligner: Any, *, language_from: str | None = None) -> None:
        self.aligner = aligner
        self.language_from = language_from

    @property
    def requires_language(self) -> bool:  # type: ignore[override]  # a fact of the aligner here
        """Whether ``transform`` depends on the language of a row."""
        return needs_language(self.aligner)

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        language: Any = None,
        pair_id: Any = None,
        X_anchor: Any = None,
        language_anchor: Any = None,
        pair_id_anchor: Any = None,
    ) -> Self:
        """Fit the aligner on the anchors, or on X where there are none.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Rows of the task.
        y : array-like of shape (n_samples,), optional
            Classes of X; for the aligner only if it is fitted on X.
        language : str, int or array-like of shape (n_samples,), optional
            Of X.
        pair_id : array-like of shape (n_samples,), optional
            Of X; not used if there are anchors.
        X_anchor : array of shape (n_anchors, n_features), or a tuple of it, optional
        language_anchor : str, int or array-like of shape (n_anchors,), or a tuple of it, optional
        pair_id_anchor : array-like of shape (n_anchors,), or a tuple of it, optional
            Rows of different languages with the same id translate each other.
        """
        require_aligner(self.aligner)
        if not takes_language(self.aligner):
            raise TypeError(
                f"{type(self.aligner).__name__}.fit takes no language: give a language "
                "transformer, such as LanguageCentering() or PivotAligner(LinearMap())."
            )
        X, labels = self._check_fit(X, language)
        anchors = _bare("X_anchor", X_anchor)
        of_anchors = _bare("language_anchor", language_anchor)
        ids = _bare("pair_id_anchor", pair_id_anchor)
        if anchors is None:
            if of_anchors is not None or ids is not None:
                raise ValueError(
                    "fit got labels of anchors but no anchors: pass X_anchor= as well, or leave "
                    "language_anchor and pair_id_anchor out."
                )
            self.aligner_ = fit_aligner(self.aligner, X, y, language=labels, pair_id=pair_id)
        else:
            anchors, of_anchors = self._check_anchors(X, labels, anchors, of_anchors, ids)
            if ids is not None:
                ids = check_pair_id(ids, anchors.shape[0], name="pair_id_anchor", of="X_anchor")
            self.aligner_ = self._fit_on_anchors(anchors, of_anchors, ids)
        self.languages_ = fitted_languages(self.aligner_)
        if anchors is not None and labels is not None and self.requires_language:
            self._require_covered(X, labels)
        return self

    def _check_anchors(
        self, X: Array, labels: np.ndarray | None, anchors: Any, language: Any, ids: Any
    ) -> tuple[Array, np.ndarray | None]:
        """Anchors and their labels, as arrays that go together and with X."""
        name = type(self.aligner).__name__
        if get_tags(self.aligner).target_tags.required:
            raise ValueError(
                f"{name} is fitted on classes, which anchors do not have. Leave X_anchor out, or "
                "choose an aligner that needs none."
            )
        language = language_of(anchors, language)
        anchors = check_rows(None, anchors, name="X_anchor")
        if anchors.shape[1] != X.shape[1]:
            raise ValueError(
                f"X_anchor has {anchors.shape[1]} features, but X has {X.shape[1]}: pass anchors "
                "of the same encoder; in a pipeline name them, transform_input=['X_anchor'], so "
                "that they go through the steps before."
            )
        found = check_language(language, anchors.shape[0], name="language_anchor", of="X_anchor")
        if found is None and (labels is not None or ids is not None or self.requires_language):
            raise ValueError(
                f"X_anchor came without languages, and {name} learns nothing from anchors that it "
                "cannot tell apart: pass language_anchor=."
            )
        return anchors, found

    def _fit_on_anchors(self, anchors: Array, language: np.ndarray | None, ids: Any) -> Any:
        try:
            return fit_aligner(self.aligner, anchors, language=language, pair_id=ids)
        except ValueError as error:
            if ids is not None or "pass pair_id=" not in str(error).lower():
                raise
            raise ValueError(
                f"{type(self.aligner).__name__} is fitted on translations, but X_anchor came "
                "without their ids: pass pair_id_anchor=, one id a row of X_anchor (pair_id= is "
                "of X and is not used here)."
            ) from error

    def _require_covered(self, X: Array, labels: np.ndarray) -> None:
        """Raise if the aligner cannot transform rows of a language that no anchor is of."""
        codes, unknown = encode(labels, self.languages_)
        if not unknown:
            return
        at = np.flatnonzero(codes < 0)
        try:
            apply_aligner(self.aligner_, X[index_like(at, X)], labels[at])
        except ValueError as error:
            raise ValueError(
                f"Languages {unknown} of X are not among those of X_anchor, "
                f"{known_labels(self.languages_)}: add anchors of them, leave their rows out, or "
                f"give the aligner a policy (unseen=). It says: {error}"
            ) from error

    def transform(self, X: Any, *, language: Any = None) -> Array:
        """Transform rows by the aligner.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
        language : str, int or array-like of shape (n_samples,), optional
            As the aligner takes it.

        Returns
        -------
        array of shape (n_samples, n_features_out)
            Of X's kind, type and device.
        """
        return self._by_aligner("transform", X, language)

    @available_if(lambda self: hasattr(self.aligner, "inverse_transform"))
    def inverse_transform(self, X: Any, *, language: Any = None) -> Array:
        """Undo ``transform``, where the aligner can. Parameters as in transform."""
        return self._by_aligner("inverse_transform", X, language)

    def _by_aligner(self, method: str, X: Any, language: Any) -> Array:
        check_is_fitted(self)
        language = self._labels_of(X, language)
        X = check_rows(self, X)
        return as_array(call_aligner(self.aligner_, method, X, language))

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the columns: those of X, or the aligner's if it changes the width.

        Parameters
        ----------
        input_features : sequence of str, optional
        """
        check_is_fitted(self)
        return self.aligner_.get_feature_names_out(super().get_feature_names_out(input_features))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        inner = get_tags(self.aligner)
        tags.target_tags = inner.target_tags
        tags.input_tags = inner.input_tags
        return tags


def _bare(name: str, value: Any) -> Any:
    """An anchor argument without the tuple that kept it whole."""
    if not isinstance(value, tuple):
        return value
    if len(value) != 1:
        raise ValueError(
            f"{name} is a tuple of {len(value)}: pass the array itself, or a tuple of it alone, "
            f"({name},)."
        )
    return value[0]
