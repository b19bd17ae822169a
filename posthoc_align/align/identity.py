"""Rows as they are: what every alignment has to beat."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from posthoc_align._arrays import Array
from posthoc_align._blocks import map_rows, require_finite
from posthoc_align.align._base import LanguageTransformer


class Identity(LanguageTransformer):
    """Leave rows as they are.

    The baseline in a list of aligners. Unlike "passthrough" in a pipeline it takes ``language``,
    so that a grid may hold it beside aligners that need one.

    Parameters
    ----------
    language_from : {"index"}, optional
        As in :class:`LanguageCentering`.

    Attributes
    ----------
    languages_ : list
        Labels, sorted; ``[None]`` if fitted without labels.
    n_features_in_ : int

    Raises
    ------
    ValueError
        If X holds NaN or infinity.

    Examples
    --------
    >>> Identity().fit_transform([[1.0, 2.0]], language="en")
    array([[1., 2.]])
    """

    requires_language = False

    def __init__(self, *, language_from: str | None = None) -> None:
        self.language_from = language_from

    def fit(self, X: Any, y: Any = None, *, language: Any = None) -> Self:
        """Learn nothing.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
        y : ignored
        language : str, int or array-like of shape (n_samples,), optional
        """
        X, labels = self._check_fit(X, language)
        require_finite(X)
        self.languages_ = [None] if labels is None else np.unique(labels).tolist()
        return self

    def transform(self, X: Any, *, language: Any = None) -> Array:
        """Return a copy of the rows.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
        language : str, int or array-like of shape (n_samples,), optional
            Not used.

        Returns
        -------
        array of shape (n_samples, n_features)
            Of X's kind, type and device.
        """
        X, _, _ = self._check_transform(X, language)
        return map_rows(lambda x, _: x, X)

    def inverse_transform(self, X: Any, *, language: Any = None) -> Array:
        """Return a copy of the rows. Parameters as in :meth:`transform`."""
        return self.transform(X, language=language)
