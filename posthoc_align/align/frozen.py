"""A fitted estimator that no fit changes any more."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, Self

from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.utils import Tags, get_tags
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from posthoc_align._arrays import Array

CHANGING = ("partial_fit", "fit_moments", "add_language", "fit_predict")
"""Methods of an estimator that would change what was fitted."""


def _transforms(frozen: FrozenAligner) -> bool:
    return hasattr(frozen.estimator, "transform")


class FrozenAligner(BaseEstimator):
    """A fitted estimator that ``fit`` leaves as it is and that still gets its languages.

    Made by :func:`freeze`. In a pipeline that is fitted again, cloned, searched or cross-validated
    it keeps what it once learned. scikit-learn's ``FrozenEstimator`` does so too, but hides which
    metadata the estimator asks for, so that routing no longer delivers ``language``; this one
    passes the request on. A clone is the object itself.

    Parameters
    ----------
    estimator : fitted estimator
        Any: a language transformer, a map between two spaces, a pipeline.

    Attributes
    ----------
    estimator : estimator
        All else that it has, fitted attributes and methods that change nothing, is there under the
        same name.

    Raises
    ------
    NotFittedError
        If the estimator was not fitted.

    Notes
    -----
    Nothing is copied: fitting the original afterwards changes what was frozen. Freeze a
    ``copy.deepcopy`` to be safe from that.

    Examples
    --------
    >>> import numpy as np
    >>> from posthoc_align import LanguageCentering, freeze
    >>> X = np.array([[1.0], [3.0], [10.0], [30.0]])
    >>> frozen = freeze(LanguageCentering().fit(X, language=["en", "en", "de", "de"]))
    >>> frozen.fit(100 * X).transform([[2.0], [20.0]], language=["en", "de"])
    array([[0.],
           [0.]])
    """

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def fit(self, X: Any, y: Any = None, *, language: Any = None, **params: Any) -> Self:
        """Do nothing.

        Parameters
        ----------
        X, y, language, **params : ignored
        """
        self._require_fitted()
        return self

    @available_if(_transforms)
    def transform(self, X: Any, *, language: Any = None) -> Array:
        """Transform rows as fitted.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
        language : str, int or array-like of shape (n_samples,), optional
            As the estimator takes it; maps take none.

        Returns
        -------
        array
            Of X's kind, type and device.
        """
        self._require_fitted()
        given = {} if language is None else {"language": language}
        return self.estimator.transform(X, **given)

    @available_if(_transforms)
    def fit_transform(self, X: Any, y: Any = None, *, language: Any = None, **params: Any) -> Array:
        """Do ``transform(X, language=language)``.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
        y : ignored
        language : str, int or array-like of shape (n_samples,), optional
            As the estimator takes it; maps take none.
        **params : ignored
            What the estimator's ``fit`` takes, such as ``pair_id``.
        """
        return self.transform(X, language=language)

    def get_metadata_routing(self) -> Any:
        """Which metadata the estimator asks for; ``fit`` takes it and does not use it."""
        return get_routing_for_object(self.estimator)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The estimator; its own parameters are as frozen as what it learned by them.

        Parameters
        ----------
        deep : ignored
        """
        return {"estimator": self.estimator}

    def set_params(self, **params: Any) -> Self:
        """Put another estimator in place.

        Parameters
        ----------
        **params
            ``estimator``, and nothing else.

        Raises
        ------
        ValueError
            If a parameter of the estimator is to be set.
        """
        inner = [name for name in params if name != "estimator"]
        if inner:
            raise ValueError(
                f"Cannot set {inner} of a frozen {type(self.estimator).__name__}: it would not be "
                "fitted by them. Set them before fit, and freeze it then."
            )
        return super().set_params(**params)

    def _require_fitted(self) -> None:
        require_fitted(self.estimator)

    def __getattr__(self, name: str) -> Any:
        # Looked up where the object itself has no such name; before __init__ it has none at all.
        if name.startswith("__") or "estimator" not in vars(self):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        if name in CHANGING:
            raise AttributeError(
                f"{name} would change what is frozen. Call it on .estimator, and freeze that again."
            )
        return getattr(self.estimator, name)

    def __sklearn_clone__(self) -> Self:
        return self

    def __sklearn_is_fitted__(self) -> bool:
        try:
            check_is_fitted(self.estimator)
        except NotFittedError:
            return False
        return True

    def __sklearn_tags__(self) -> Tags:
        tags = deepcopy(get_tags(self.estimator))
        # The common checks fit what they check on data of their own, which does nothing here.
        tags._skip_test = True
        return tags


def freeze(estimator: Any) -> FrozenAligner:
    """Keep a fitted estimator as it is, whatever is fitted around it.

    Parameters
    ----------
    estimator : fitted estimator
        A language transformer, a map between two spaces, a pipeline.

    Returns
    -------
    FrozenAligner
        Holds the estimator itself, not a copy.

    Raises
    ------
    NotFittedError
        If the estimator was not fitted.
    """
    require_fitted(estimator)
    return estimator if isinstance(estimator, FrozenAligner) else FrozenAligner(estimator)


def require_fitted(estimator: Any) -> None:
    """Raise unless there is something to freeze."""
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        raise NotFittedError(
            f"This {type(estimator).__name__} was not fitted, and a frozen one never will be. Call "
            "its fit first, then freeze it."
        ) from None
    except TypeError:
        raise TypeError(
            f"{estimator!r} is no estimator that could be frozen: pass a fitted one."
        ) from None
