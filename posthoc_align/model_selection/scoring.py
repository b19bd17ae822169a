"""Scorers that hand the language of each row to the estimator they score."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any

import numpy as np
from sklearn import config_context
from sklearn.metrics import get_scorer, make_scorer
from sklearn.utils.metadata_routing import MetadataRequest, get_routing_for_object

from posthoc_align._arrays import index_like, labels_to_host
from posthoc_align.align._parameters import require_choice
from posthoc_align.languages import check_language, language_of

PER_LANGUAGE = (None, "mean", "worst")
READS_LANGUAGE = ("predict", "predict_proba", "predict_log_proba", "decision_function")


def make_language_scorer(
    metric: str | Callable[..., float],
    *,
    per_language: str | None = None,
    response_method: str | None = None,
    greater_is_better: bool = True,
    **kwargs: Any,
) -> LanguageScorer:
    """Make a scorer that passes ``language`` on to the estimator's ``predict``.

    scikit-learn's own scorers (``scoring="accuracy"``, ``make_scorer``) drop it [1]_, so that
    every row is predicted as if nothing was known of its language. Goes wherever ``scoring=``
    goes: ``cross_val_score``, ``cross_validate``, ``GridSearchCV``, alone or in a dict of several.
    Language is asked for by the scorer itself; there is nothing to request.

    Parameters
    ----------
    metric : str or callable
        Name of a scorer of scikit-learn, such as "accuracy", "f1_macro" or "neg_log_loss"; or a
        function ``metric(y_true, y_pred)``.
    per_language : {"mean", "worst"}, optional
        Score each language by itself, and return the mean or the lowest. None: all rows at once,
        so that languages count by their rows.
    response_method : str, optional
        For a function: what it is given, "predict" (when None), "predict_proba" or
        "decision_function". The name of a scorer implies it.
    greater_is_better : bool, default=True
        For a function: False if it is a loss, whose negative is then returned.
    **kwargs
        For a function: further arguments of it.

    Returns
    -------
    LanguageScorer
        Called as ``scorer(estimator, X, y, language=...)``.

    Raises
    ------
    ValueError
        If the metric or `per_language` is unknown, or options of a function come with a name.

    Notes
    -----
    Needs scikit-learn's metadata routing, else its tools pass nothing to any scorer; an aligner
    that depends on the language then raises. An estimator that asks for no language is called
    without.

    References
    ----------
    .. [1] https://github.com/scikit-learn/scikit-learn/issues/27977

    Examples
    --------
    >>> import numpy as np
    >>> import sklearn
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import cross_val_score
    >>> from sklearn.pipeline import make_pipeline
    >>> from posthoc_align import LanguageCentering
    >>> X = np.array([[0.0], [1.0], [8.0], [9.0]] * 2)
    >>> y, language = [0, 1, 0, 1] * 2, ["en", "en", "de", "de"] * 2
    >>> model = make_pipeline(LanguageCentering(), LogisticRegression())
    >>> with sklearn.config_context(enable_metadata_routing=True):
    ...     cross_val_score(
    ...         model,
    ...         X,
    ...         y,
    ...         cv=2,
    ...         scoring=make_language_scorer("accuracy"),
    ...         params={"language": language},
    ...     )
    array([1., 1.])
    """
    require_choice("per_language", per_language, PER_LANGUAGE)
    if isinstance(metric, str):
        if response_method is not None or not greater_is_better or kwargs:
            raise ValueError(
                f"metric={metric!r} names a scorer, which has its own response_method, sign and "
                "arguments: leave them out, or pass a function (y_true, y_pred) -> float."
            )
        return LanguageScorer(get_scorer(metric), per_language)
    if not callable(metric):
        raise ValueError(
            f"metric={metric!r} is neither the name of a scorer nor a function "
            "(y_true, y_pred) -> float."
        )
    response_method = "predict" if response_method is None else response_method
    scorer = make_scorer(
        metric, response_method=response_method, greater_is_better=greater_is_better, **kwargs
    )
    return LanguageScorer(scorer, per_language)


class LanguageScorer:
    """A scorer of scikit-learn whose estimator is told the language: :func:`make_language_scorer`.

    Parameters
    ----------
    scorer : callable
        ``scorer(estimator, X, y)``.
    per_language : {"mean", "worst"} or None
    """

    def __init__(self, scorer: Callable[..., float], per_language: str | None = None) -> None:
        self.scorer = scorer
        self.per_language = per_language

    def __call__(self, estimator: Any, X: Any, y: Any, *, language: Any = None) -> float:
        """Score an estimator.

        Parameters
        ----------
        estimator : fitted estimator
            Of a search its ``best_estimator_`` is scored, since a search's own ``predict`` takes
            no language.
        X : array of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        language : array-like of shape (n_samples,), optional

        Returns
        -------
        float
            Higher is better.
        """
        estimator = best_of(estimator)
        language = language_of(X, language)
        if self.per_language is None:
            return float(self._score(estimator, X, y, language))
        labels = check_language(language, len(X))
        if labels is None:
            raise ValueError(
                f"The scorer has per_language={self.per_language!r} but got no language: enable "
                "scikit-learn's metadata routing and pass params={'language': ...} "
                "(GridSearchCV: fit(X, y, language=...))."
            )
        y = labels_to_host(y)
        parts = [np.flatnonzero(labels == name) for name in np.unique(labels)]
        scores = [self._score(estimator, _rows(X, at), y[at], labels[at]) for at in parts]
        return float(np.mean(scores) if self.per_language == "mean" else np.min(scores))

    def _score(self, estimator: Any, X: Any, y: Any, language: Any) -> float:
        if language is None:
            return self.scorer(estimator, X, y)
        with config_context(enable_metadata_routing=True):
            return self.scorer(Told(estimator, language), X, y)

    def get_metadata_routing(self) -> MetadataRequest:
        """What the scorer asks for: ``language``."""
        return request_of(self, "language")

    def __repr__(self) -> str:
        return f"LanguageScorer({self.scorer!r}, per_language={self.per_language!r})"


def _rows(X: Any, at: np.ndarray) -> Any:
    """Some rows of an array, a tensor, a data frame or a list."""
    if hasattr(X, "iloc"):
        return X.iloc[at]
    return [X[i] for i in at] if isinstance(X, list) else X[index_like(at, X)]


def best_of(estimator: Any) -> Any:
    """What a fitted search found, of searches within searches too; others as they are."""
    while hasattr(estimator, "best_estimator_"):
        estimator = estimator.best_estimator_
    return estimator


class Told:
    """A fitted estimator whose predictions are made with the language given here.

    Parameters
    ----------
    estimator : fitted estimator
        Called without a language where neither it nor a step of it takes one.
    language : array-like of shape (n_samples,)
        Of the rows that will be read; needs scikit-learn's metadata routing for a pipeline.
    """

    def __init__(self, estimator: Any, language: Any) -> None:
        self._estimator = estimator
        self._language = language

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._estimator, name)
        if name not in READS_LANGUAGE or not _takes_language(self._estimator, name):
            return found

        def told(X: Any) -> Any:
            return found(X, language=self._language)

        told.__name__ = name
        return told


def _takes_language(estimator: Any, method: str) -> bool:
    """Whether an estimator, or a step of it, asks for the language when it predicts."""
    asked = bool(get_routing_for_object(estimator).consumes(method, ["language"]))
    return asked or "language" in signature(getattr(estimator, method)).parameters


def request_of(owner: Any, *names: str) -> MetadataRequest:
    """The request of a scorer for metadata of these names."""
    request = MetadataRequest(owner=owner)
    for name in names:
        request.score.add_request(param=name, alias=True)
    return request
