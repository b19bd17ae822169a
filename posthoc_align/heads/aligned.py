"""A classifier and a regressor on aligned rows, told the language by a keyword."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from posthoc_align._arrays import Array, is_tensor, labels_to_host
from posthoc_align.heads._base import AlignedHead, head_has
from posthoc_align.heads._torch import TorchClassifier, TorchHead, TorchRegressor


class AlignedClassifier(ClassifierMixin, AlignedHead):
    r"""Align rows, then classify them: one estimator that knows of languages.

    .. math:: \hat y(x, l) = \mathrm{head}\big(c\, T(x, l)\big)

    with T the aligner and one number c for all rows. The aligner is fitted on the anchors, or on
    all rows where there are none, labelled or not; the head on the rows that have a label, of one
    language (zero-shot transfer) or of several. Needs no metadata routing and works with it.

    Parameters
    ----------
    aligner : estimator, pipeline of several, or "passthrough"
        T: whatever has ``fit`` and ``transform``; those that take ``language`` get it.
    head : classifier, torch.nn.Module or class of it, or skorch net, default=None
        Fitted on the aligned rows. None: ``LogisticRegression(max_iter=1000)``. A module gets
        rows of float32 and answers a logit a class; a class is called with the numbers of
        features and of classes. See Notes.
    missing_label : label, default=None
        The value of y of rows without a label. None: every row has one. ``numpy.nan`` stands for
        NaN, None and pandas' NA.

    Attributes
    ----------
    aligner_ : estimator or "passthrough"
        The fitted clone.
    head_ : estimator
        The fitted clone; for torch its ``net_`` is the net of skorch.
    classes_ : array of shape (n_classes,)
        Those the head has seen, sorted.
    scale_ : float
        c: after it, labelled rows have a root-mean-square distance of 3 from their mean.
    n_features_in_ : int

    Raises
    ------
    ValueError
        If y is missing, or missing in all rows, or holds text and numbers, or no text where
        ``missing_label`` is text or the other way round; if a torch module does not fit the rows
        or classes; or if a row or language is what the aligner cannot take: unseen, not given,
        without anchors.
    TypeError
        If the aligner or the head is none, or the head takes no sample_weight and was to be given
        some.
    ImportError
        If the head is a torch module and skorch is not installed.

    Notes
    -----
    The scale c makes a head's penalty mean the same whatever lengths the encoder and the aligner
    leave. Directions and ratios of rows stay as they are, so a head that does not care sees no
    difference.

    An aligner that uses y (:class:`TaskProjection`, ``LanguageCentering(class_balanced=True)``)
    gets it where it is fitted on X. With unlabelled rows among them it must have a
    ``missing_label`` itself, equal to this one; else it raises.

    Torch modules are trained by skorch (``pip install "posthoc-align[heads]"``) with AdamW: about
    300 steps of 3e-3 in batches of 32, at least 10 passes, from a fixed seed, on the device of X.
    For anything else give a skorch net. Heads of scikit-learn read on the host: rows of a CUDA
    tensor are copied there, after alignment. Under
    ``sklearn.config_context(array_api_dispatch=True)`` heads that support it read tensors where
    they lie and answer in tensors.

    Examples
    --------
    English is labelled, German is not: its rows lie elsewhere.

    >>> import numpy as np
    >>> from posthoc_align import AlignedClassifier, LanguageCentering
    >>> X = np.array([[0.0], [1.0], [8.0], [9.0]])
    >>> y, language = ["no", "yes", "", ""], ["en", "en", "de", "de"]
    >>> model = AlignedClassifier(LanguageCentering(), missing_label="")
    >>> model.fit(X, y, language=language).predict(X[2:], language="de")
    array(['no', 'yes'], dtype='<U3')
    """

    @property
    def classes_(self) -> Any:
        """Classes the head has seen, sorted."""
        check_is_fitted(self, "head_")
        return self.head_.classes_

    @available_if(head_has("predict_proba"))
    def predict_proba(self, X: Any, *, language: Any = None) -> Array:
        """Probability of each of ``classes_``, where the head has such. Parameters as in predict.

        Returns
        -------
        array of shape (n_samples, n_classes)
        """
        return self._ask("predict_proba", X, language)

    @available_if(head_has("decision_function"))
    def decision_function(self, X: Any, *, language: Any = None) -> Array:
        """Decision function of the head, where it has one. Parameters as in predict.

        Returns
        -------
        array of shape (n_samples,) or (n_samples, n_classes)
        """
        return self._ask("decision_function", X, language)

    def score(self, X: Any, y: Any, sample_weight: Any = None, *, language: Any = None) -> float:
        """Accuracy over the labelled rows.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            True labels; rows of ``missing_label`` do not count. Of several labels a row all must
            be right.
        sample_weight : array-like of shape (n_samples,), optional
        language : str, int or array-like of shape (n_samples,), optional

        Returns
        -------
        float

        Warns
        -----
        UserWarning
            If y has classes that the head never saw: their rows count as wrong.
        """
        from sklearn.metrics import accuracy_score

        expected, found, weight = self._scored(X, y, language, sample_weight)
        # With several labels a row the head has classes a column, mostly 0 and 1.
        unknown = unknown_classes(expected, self.classes_) if expected.ndim == 1 else []
        if unknown:
            warnings.warn(
                f"y has classes {unknown} that the head never saw, only "
                f"{labels_to_host(self.classes_).tolist()}: their rows count as wrong. Leave them "
                "out, or label rows of these classes at fit.",
                stacklevel=2,
            )
        return float(accuracy_score(expected, found, sample_weight=weight))

    def _default_head(self, X: Array) -> Any:
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(max_iter=1000)

    def _torch_head(self, head: Any) -> TorchHead:
        return TorchClassifier(head)


class AlignedRegressor(RegressorMixin, AlignedHead):
    r"""Align rows, then predict a number, or several, from them.

    As :class:`AlignedClassifier`, which see for what is fitted on which rows and how torch heads
    and tensors fare.

    Parameters
    ----------
    aligner : estimator, pipeline of several, or "passthrough"
        As in :class:`AlignedClassifier`.
    head : regressor, torch.nn.Module or class of it, or skorch net, default=None
        None: ``Ridge()``. A module answers one number an output and is fitted to targets of mean
        0 and variance 1, which predict undoes.
    missing_label : float, default=None
        The value of y of rows without a target; mostly ``numpy.nan``. None: every row has one.

    Attributes
    ----------
    aligner_ : estimator or "passthrough"
        The fitted clone.
    head_ : estimator
        The fitted clone.
    scale_ : float
        What aligned rows are multiplied by for the head.
    n_features_in_ : int

    Raises
    ------
    ValueError, TypeError, ImportError
        As :class:`AlignedClassifier`.

    Examples
    --------
    >>> import numpy as np
    >>> from posthoc_align import AlignedRegressor, LanguageCentering
    >>> X = np.array([[0.0], [1.0], [2.0], [7.0], [8.0], [9.0]])
    >>> y, language = [1.0, 2.0, 3.0] + [np.nan] * 3, ["en"] * 3 + ["de"] * 3
    >>> model = AlignedRegressor(LanguageCentering(), missing_label=np.nan)
    >>> model.fit(X, y, language=language).predict(X[3:], language="de").round(1)
    array([1., 2., 3.])
    """

    def score(self, X: Any, y: Any, sample_weight: Any = None, *, language: Any = None) -> float:
        """R² over the labelled rows.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            True targets; rows of ``missing_label`` do not count.
        sample_weight : array-like of shape (n_samples,), optional
        language : str, int or array-like of shape (n_samples,), optional

        Returns
        -------
        float
        """
        from sklearn.metrics import r2_score

        expected, found, weight = self._scored(X, y, language, sample_weight)
        return float(r2_score(expected, found, sample_weight=weight))

    def _default_head(self, X: Array) -> Any:
        from sklearn.linear_model import Ridge

        # The one solver of tensors under dispatch; asked for by name, so that it does not warn.
        return Ridge(solver="svd" if is_tensor(X) else "auto")

    def _torch_head(self, head: Any) -> TorchHead:
        return TorchRegressor(head)


def unknown_classes(expected: np.ndarray, known: Any) -> list[Any]:
    """Labels among those expected that are no class of the head; all where kinds differ."""
    seen = set(labels_to_host(known).tolist())
    return [label for label in np.unique(expected).tolist() if label not in seen]
