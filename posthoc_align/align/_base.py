"""What the estimators share: one path from moments to a fit, and how a language label travels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from posthoc_align._arrays import Array, cast_like, check_rows, upcast
from posthoc_align._blocks import map_rows
from posthoc_align.languages import check_language, encode, language_of, unseen_error
from posthoc_align.moments import LanguageMoments, Moments, Second

UNSEEN = ("error", "global", "identity", "transductive")
"""What to do with a language that was not in fit."""


class MomentFitted:
    """An estimator that is solved from its ``moments_`` alone.

    ``fit``, ``partial_fit`` and ``fit_moments`` all store moments and end in ``_solve``.
    ``partial_fit`` leaves solving to the first look at a learned attribute, so a stream of a
    thousand batches is solved once.
    """

    _learned: ClassVar[tuple[str, ...]] = ()
    moments_: Any

    def _solve(self) -> None:
        raise NotImplementedError(f"{type(self).__name__} must define _solve.")

    def fit_moments(self, moments: Any) -> Self:
        """Fit from (merged) statistics instead of rows; every other way to fit ends here.

        Parameters
        ----------
        moments : LanguageMoments or PairMoments
            As found in ``moments_`` of an estimator of the same class.
        """
        self._forget()
        self.moments_ = moments
        self._solve()
        return self

    def _add_moments(self, moments: Any) -> Self:
        before = vars(self).get("moments_")
        self._forget()
        self.moments_ = moments if before is None else before + moments
        return self

    def _forget(self) -> None:
        for name in self._learned:
            vars(self).pop(name, None)

    def __getattr__(self, name: str) -> Any:
        if name in type(self)._learned and "moments_" in vars(self):
            self._solve()
            return vars(self)[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


class LanguageTransformer(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """A transformer of rows of many languages, told apart by the keyword ``language``."""

    # Users are spared the set_*_request calls: metadata routing delivers `language` by itself.
    __metadata_request__fit: ClassVar[dict[str, bool]] = {"language": True}
    __metadata_request__partial_fit: ClassVar[dict[str, bool]] = {"language": True}
    __metadata_request__transform: ClassVar[dict[str, bool]] = {"language": True}
    __metadata_request__inverse_transform: ClassVar[dict[str, bool]] = {"language": True}

    requires_language: ClassVar[bool] = True
    """Whether ``transform`` depends on the language of a row."""

    language_from: str | None
    unseen: str
    learns_from_language: ClassVar[bool] = False
    """Whether a class that treats all rows alike could learn nothing from a fit without labels."""

    languages_: list[Any]
    n_features_in_: int

    def fit(self, X: Any, y: Any = None, *, language: Any = None) -> Self:
        raise NotImplementedError(f"{type(self).__name__} must define fit.")

    def transform(self, X: Any, *, language: Any = None) -> Array:
        raise NotImplementedError(f"{type(self).__name__} must define transform.")

    def fit_transform(
        self, X: Any, y: Any = None, *, language: Any = None, **fit_params: Any
    ) -> Array:
        """Do ``fit(X, y, language=language).transform(X, language=language)``.

        Parameters as in :meth:`fit`.
        """
        return self.fit(X, y, language=language, **fit_params).transform(X, language=language)

    def decompose(self, X: Any, *, language: Any = None) -> tuple[Array, Array]:
        """Split rows into what ``transform`` leaves of them and what it takes away.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
        language : str, int or array-like of shape (n_samples,), optional
            As in ``transform``.

        Returns
        -------
        neutral, specific : arrays of shape (n_samples, n_features)
            ``transform(X)`` and the language-specific rest; they add up to X.
        """
        language = self._labels_of(X, language)
        x = check_rows(self, X)
        neutral = as_array(self.transform(self._as_fitted(X, x), language=language))
        specific = map_rows(lambda block, rows: block - neutral[rows], x)
        return cast_like(neutral, x), specific

    def _as_fitted(self, X: Any, x: Array) -> Any:
        """Rows to transform on the way: as they came where columns have names, else exact."""
        return X if hasattr(self, "feature_names_in_") else upcast(x)

    def _check_fit(
        self, X: Any, language: Any, *, reset: bool = True
    ) -> tuple[Array, np.ndarray | None]:
        """Checked rows and a label for each, None without."""
        language = language_of(X, language, self.language_from)
        X = check_rows(self, X, reset=reset)
        return X, check_language(language, X.shape[0])

    def _labels_of(self, X: Any, language: Any) -> Any:
        """The labels of rows that are transformed, of a class that asks for them."""
        return language_of(X, language, self.language_from) if self.requires_language else language

    def _check_transform(self, X: Any, language: Any) -> tuple[Array, np.ndarray, list[Any]]:
        """Checked rows, each one's place among ``languages_`` and unseen labels, the latter."""
        check_is_fitted(self)
        language = self._labels_of(X, language)
        X = check_rows(self, X)
        labels = check_language(language, X.shape[0])
        if labels is not None:
            codes, unknown = encode(labels, self.languages_)
            if unknown:
                at = np.flatnonzero(codes < 0)
                codes[at] = len(self.languages_) + encode(labels[at], unknown)[0]
            return X, codes, unknown
        if len(self.languages_) > 1 and self.requires_language:
            raise ValueError(
                f"{type(self).__name__} was fitted on {len(self.languages_)} languages and "
                "transforms each differently, but transform got no language. Pass "
                "transform(X, language=...); inside a Pipeline enable scikit-learn's metadata "
                "routing (sklearn.set_config(enable_metadata_routing=True)) and pass language= to "
                "the pipeline's own fit and predict. scoring='accuracy' and other strings drop it "
                "even so: take posthoc_align.model_selection.make_language_scorer. Or keep labels "
                "in the index of a DataFrame, in a level named 'language', which every tool hands "
                "on (see language_from='index')."
            )
        return X, np.zeros(X.shape[0], dtype=np.int64), []

    def _check_alike(self, X: Any, language: Any) -> Array:
        """Checked rows for a class that treats all alike: it asks for no label, and uses none."""
        check_is_fitted(self)
        X = check_rows(self, X)
        labels = check_language(language, X.shape[0])
        if self.learns_from_language and labels is not None and self.languages_ == [None]:
            found = np.unique(labels).tolist()
            if len(found) > 1:
                cure = "Fit it with language=, too: it learns from what sets languages apart."
                raise unseen_error(found, [], cure)
        return X

    def _check_unseen(self, unknown: list[Any]) -> None:
        """Raise for languages that were not in fit, where that is the policy."""
        if self.unseen == "error":
            self._require_seen(
                unknown,
                "Fit it, add it with add_language, or choose unseen='global', 'identity' or "
                "'transductive'.",
            )

    def _require_seen(self, unknown: list[Any], cure: str) -> None:
        if unknown:
            raise unseen_error(
                unknown,
                known_labels(self.languages_),
                f"{cure} In cross-validation of rows ordered by language: shuffle them, or split "
                "by PairGroupKFold.",
            )

    def _check_new_language(self, language: Any) -> None:
        """Whether a label can be added to a fitted estimator."""
        check_is_fitted(self)
        if not isinstance(language, (str, int, np.integer)):
            raise ValueError(f"add_language takes one label, a str or an int; got {language!r}.")
        if language in self.languages_ or None in self.languages_:
            raise ValueError(
                f"Cannot add language {language!r}: fitted on {self.languages_}. Only a new "
                "language can be added, to an estimator fitted with labels."
            )

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32", "float16"]
        return tags


class MomentTransformer(MomentFitted, LanguageTransformer):
    """A language transformer that is solved from the moments of each language."""

    moments_: LanguageMoments

    def fit(self, X: Any, y: Any = None, *, language: Any = None) -> Self:
        """Fit on all rows; forgets what was seen before.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            NumPy array, memory map or torch tensor.
        y : array-like of shape (n_samples,), optional
            Class labels, used only where the class says so.
        language : str, int or array-like of shape (n_samples,), optional
            Label of each row, or one for all. None: all rows are of one language.
        """
        X, labels = self._check_fit(X, language)
        return self.fit_moments(self._moments_of(X, y, labels))

    def partial_fit(self, X: Any, y: Any = None, *, language: Any = None) -> Self:
        """Add rows to what was seen before. Parameters as in :meth:`fit`."""
        X, labels = self._check_fit(X, language, reset="moments_" not in vars(self))
        return self._add_moments(self._moments_of(X, y, labels))

    def fit_moments(self, moments: LanguageMoments) -> Self:
        """Fit from the merged moments of each language instead of rows.

        Parameters
        ----------
        moments : LanguageMoments
        """
        self.n_features_in_ = moments.n_features
        return super().fit_moments(moments)

    def _second(self) -> Second:
        """Which second moments the solver needs."""
        return "none"

    def _moments_of(self, X: Array, y: Any, labels: np.ndarray | None) -> LanguageMoments:
        return LanguageMoments.of(X, labels, second=self._second())


def as_array(rows: Any) -> Array:
    """What a ``transform`` gave to work on, which ``set_output`` may have made a data frame."""
    return check_rows(None, rows)


def require_two_rows(groups: Mapping[Any, np.ndarray]) -> None:
    """Raise if a language has a single row, given the positions of the rows of each.

    Raises
    ------
    ValueError
        Names the language.
    """
    for label, at in groups.items():
        if len(at) < 2:
            raise ValueError(
                f"Language {label!r} has only {len(at)} row (n_samples = {len(at)}); at least 2 "
                "are needed to centre it. Add rows, or leave the language out."
            )


def known_labels(languages: list[Any]) -> list[Any]:
    """The languages that have a name."""
    return [label for label in languages if label is not None]


def require_rows(moments: dict[Any, Moments] | LanguageMoments, least: int = 2) -> None:
    """Raise if a language has fewer rows than a mean or variance needs.

    Raises
    ------
    ValueError
        Names the language and its number of rows.
    """
    for label, part in moments.items():
        if part.count < least:
            whose = "X" if label is None else f"Language {label!r}"
            raise ValueError(
                f"{whose} has only {part.count} row (n_samples = {part.count}); at least {least} "
                "are needed, since the mean of a single row is that row itself. Add rows, or "
                "leave the language out and choose a policy with unseen=."
            )
