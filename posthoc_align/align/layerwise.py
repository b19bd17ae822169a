"""One aligner a layer, for the layers of an encoder side by side."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any, ClassVar, Self

from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from posthoc_align._arrays import Array, check_rows, empty_like_rows
from posthoc_align.align._base import LanguageTransformer, as_array
from posthoc_align.align._parameters import require_number
from posthoc_align.align.pivot import PivotAligner


class Layerwise(LanguageTransformer):
    """Fit a clone of an aligner on each layer of an encoder.

    The layers lie side by side in the columns, all of one width: ``X = hstack([layer_9, ...,
    layer_12])``. With the default estimator this is RotateAlign [1]_ on frozen embeddings: each
    language is centred and rotated onto the pivot, layer by layer.

    Parameters
    ----------
    estimator : language transformer, default=None
        ``PivotAligner()`` when None; anything with ``fit(X, y, language=...)`` and
        ``transform(X, language=...)``.
    n_layers : int, default=1
        Number of layers; it divides the number of columns.
    n_jobs : int, optional
        Layers fitted at the same time, in threads (joblib's meaning of the number).
    language_from : {"index"}, optional
        As in :class:`LanguageCentering`.

    Attributes
    ----------
    estimators_ : list of length n_layers
        The fitted clones, in the order of the columns.
    languages_ : list
        Labels seen in fit.
    n_features_in_ : int

    Raises
    ------
    ValueError
        If the columns do not divide into ``n_layers``.

    References
    ----------
    .. [1] S. Kulshreshtha, J. L. Redondo Garcia, C.-Y. Chang, "Cross-lingual Alignment Methods for
       Multilingual BERT: A Comparative Study", Findings of EMNLP 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from posthoc_align import LanguageCentering, Layerwise
    >>> X = np.array([[1.0, 10.0], [3.0, 30.0]])  # two layers of width 1
    >>> Layerwise(LanguageCentering(), n_layers=2).fit_transform(X)
    array([[ -1., -10.],
           [  1.,  10.]])
    """

    __metadata_request__fit: ClassVar[dict[str, bool]] = {"language": True, "pair_id": True}

    estimators_: list[Any]

    def __init__(
        self,
        estimator: Any = None,
        *,
        n_layers: int = 1,
        n_jobs: int | None = None,
        language_from: str | None = None,
    ) -> None:
        self.estimator = estimator
        self.n_layers = n_layers
        self.n_jobs = n_jobs
        self.language_from = language_from

    @property
    def requires_language(self) -> bool:  # type: ignore[override]  # a fact of the estimator here
        """Whether ``transform`` depends on the language of a row."""
        return self.estimator is None or bool(getattr(self.estimator, "requires_language", False))

    def fit(self, X: Any, y: Any = None, *, language: Any = None, pair_id: Any = None) -> Self:
        """Fit one clone a layer.

        Parameters
        ----------
        X : array of shape (n_samples, n_layers * n_features)
        y : array-like of shape (n_samples,), optional
            Handed on.
        language : str, int or array-like of shape (n_samples,), optional
            Handed on.
        pair_id : array-like of shape (n_samples,), optional
            Handed on to estimators whose fit takes it.
        """
        X, labels = self._check_fit(X, language)
        layers = layer_columns(X.shape[1], self.n_layers)
        base = PivotAligner() if self.estimator is None else self.estimator
        given = {"language": labels, "pair_id": pair_id}
        known = {key: value for key, value in given.items() if has_fit_parameter(base, key)}
        self.estimators_ = Parallel(n_jobs=self.n_jobs, prefer="threads")(
            delayed(clone(base).fit)(X[:, columns], y, **known) for columns in layers
        )
        self.languages_ = list(getattr(self.estimators_[0], "languages_", [None]))
        return self

    def transform(self, X: Any, *, language: Any = None) -> Array:
        """Transform each layer by its own estimator.

        Parameters
        ----------
        X : array of shape (n_samples, n_layers * n_features)
        language : str, int or array-like of shape (n_samples,), optional
            Handed on.

        Returns
        -------
        array of shape (n_samples, n_layers * n_features)
            Of X's kind, type and device.
        """
        return self._each("transform", X, language)

    @available_if(lambda self: hasattr(self.estimator, "inverse_transform"))
    def inverse_transform(self, X: Any, *, language: Any = None) -> Array:
        """Undo ``transform``, where the estimators can. Parameters as in transform."""
        return self._each("inverse_transform", X, language)

    def _each(self, method: str, X: Any, language: Any) -> Array:
        check_is_fitted(self)
        language = self._labels_of(X, language)
        X = check_rows(self, X)
        out = empty_like_rows(X, X.shape[1])
        for estimator, columns in zip(self.estimators_, self._columns(), strict=True):
            layer = getattr(estimator, method)(X[:, columns], language=language)
            out[:, columns] = as_array(layer)
        return out

    def _columns(self) -> Sequence[slice]:
        return layer_columns(self.n_features_in_, len(self.estimators_))


def layer_columns(n_columns: int, n_layers: int) -> list[slice]:
    """The columns of each layer.

    Raises
    ------
    ValueError
        If `n_layers` is not a positive integer that divides the number of columns.
    """
    require_number("n_layers", n_layers, Integral, lambda n: n >= 1, "an integer >= 1")
    if n_columns % n_layers:
        raise ValueError(
            f"X has {n_columns} columns, which do not divide into n_layers={n_layers} of equal "
            "width. Pass the layers side by side, np.hstack([layer_1, layer_2, ...])."
        )
    width = n_columns // n_layers
    return [slice(i * width, (i + 1) * width) for i in range(n_layers)]
