"""New training rows between a sentence and its translation (mixup), before any classifier."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from posthoc_align._arrays import (
    Array,
    cast_like,
    check_rows,
    index_like,
    labels_to_host,
    like,
    namespace,
    upcast,
)
from posthoc_align._blocks import require_finite
from posthoc_align.align._parameters import require_number
from posthoc_align.languages import check_language, check_pair_id, pair_rows, require_unique_pairs


class PairMixup(BaseEstimator):
    r"""Add training rows between rows of the pivot and their translations.

    A new row is :math:`\lambda x + (1-\lambda) t` with x a row of the pivot, t its translation and
    :math:`\lambda \sim \mathrm{Beta}(\alpha, \alpha)`; both have one label, so the new row has it.
    The interpolation of X-Mixup [1]_ on frozen embeddings, where a head is fitted: nothing is
    needed at prediction. Used as imbalanced-learn's samplers are.

    Parameters
    ----------
    alpha : float, default=1.0
        Of the Beta distribution. 1: lambda is uniform; small: near one of the two rows; large:
        near their middle.
    ratio : float, optional
        A fixed lambda from 0 (the translation itself) to 1 (the row of the pivot), instead of
        random ones.
    n_copies : int, default=1
        New rows a pair.
    random_state : int, RandomState instance or None, default=None

    Attributes
    ----------
    sample_indices_ : ndarray of shape (n_new, 2)
        Rows of X that each new row lies between: of the pivot, and its translation.
    mixing_ : ndarray of shape (n_new,)
        lambda of each new row.

    Raises
    ------
    ValueError
        If the pivot is no language of X, there is no pair, or the labels of a pair differ.

    Notes
    -----
    Align X first, and expect little: on aligned embeddings of SIB-200 nearly all of the gain of a
    logistic regression is that of training on the translations themselves; the rows between were
    worth half a percentage point at most, within what one split can tell.

    References
    ----------
    .. [1] H. Yang, H. Chen, H. Zhou, L. Li, "Enhancing Cross-lingual Transfer by Manifold Mixup",
       ICLR 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from posthoc_align import PairMixup
    >>> X = np.array([[0.0], [1.0], [4.0]])
    >>> mixup = PairMixup(ratio=0.25)
    >>> X_new, y_new = mixup.fit_resample(
    ...     X, ["a", "b", "b"], language=["en", "en", "de"], pair_id=[0, 1, 1], pivot="en"
    ... )
    >>> X_new.ravel(), y_new
    (array([0.  , 1.  , 4.  , 3.25]), array(['a', 'b', 'b', 'b'], dtype='<U1'))

    Then ``LogisticRegression().fit(X_new, y_new)``.
    """

    def __init__(
        self,
        *,
        alpha: float = 1.0,
        ratio: float | None = None,
        n_copies: int = 1,
        random_state: Any = None,
    ) -> None:
        self.alpha = alpha
        self.ratio = ratio
        self.n_copies = n_copies
        self.random_state = random_state

    def fit_resample(
        self, X: Any, y: Any, *, language: Any, pair_id: Any, pivot: Any = "en"
    ) -> tuple[Array, np.ndarray]:
        """Return the rows with new ones after them, and their labels.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Training rows: those of the pivot and translations of some of them, which count as
            training rows of their label, too.
        y : array-like of shape (n_samples,)
            Label of each row.
        language : array-like of shape (n_samples,)
        pair_id : array-like of shape (n_samples,)
            Rows of different languages with the same id translate each other.
        pivot : str or int, default="en"
            The language whose rows are mixed with their translations.

        Returns
        -------
        X_new : array of shape (n_samples + n_new, n_features)
            Of X's kind, type and device; X first.
        y_new : ndarray of shape (n_samples + n_new,)
        """
        X = check_rows(None, X)
        self._check_parameters()
        require_finite(X)
        labels = check_language(language, X.shape[0])
        classes = _check_classes(y, X.shape[0])
        if labels is None or pivot not in labels:
            names = [] if labels is None else np.unique(labels).tolist()
            raise ValueError(
                f"pivot={pivot!r} is not among the languages {names}: name one of them."
            )
        ids = check_pair_id(pair_id, X.shape[0])
        require_unique_pairs(labels, ids)
        pairs = _pairs(labels, ids, pivot)
        differ = np.flatnonzero(classes[pairs[:, 0]] != classes[pairs[:, 1]])
        if len(differ):
            a, b = pairs[differ[0]]
            raise ValueError(
                f"Labels differ in {len(differ)} of {len(pairs)} pairs, first in rows {a} "
                f"({classes[a]!r}) and {b} ({classes[b]!r}): a translation must have the label of "
                "its original. Check y and pair_id."
            )
        pairs = np.repeat(pairs, self.n_copies, axis=0)
        random = check_random_state(self.random_state)
        mixing = (
            random.beta(self.alpha, self.alpha, size=len(pairs))
            if self.ratio is None
            else np.full(len(pairs), float(self.ratio))
        )
        self.sample_indices_, self.mixing_ = pairs, mixing
        own, other = (upcast(X[index_like(pairs[:, side], X)]) for side in (0, 1))
        share = like(mixing[:, None], X)
        new = cast_like(share * own + (1 - share) * other, X)
        return namespace(X).concat([X, new], axis=0), np.append(classes, classes[pairs[:, 0]])

    def _check_parameters(self) -> None:
        require_number("alpha", self.alpha, Real, lambda a: 0 < a < np.inf, "a number > 0")
        require_number("n_copies", self.n_copies, Integral, lambda n: n >= 1, "an integer >= 1")
        if self.ratio is not None:
            expected = "None or a number from 0 to 1"
            require_number("ratio", self.ratio, Real, lambda r: 0 <= r <= 1, expected)


def _check_classes(y: Any, n_rows: int) -> np.ndarray:
    classes = labels_to_host(y)
    if classes.shape != (n_rows,):
        raise ValueError(f"y has shape {classes.shape} but X has {n_rows} rows: pass one a row.")
    return classes


def _pairs(labels: np.ndarray, ids: np.ndarray, pivot: Any) -> np.ndarray:
    """Rows of the pivot and their translations in all other languages, shape (n_pairs, 2)."""
    there = np.flatnonzero(labels == pivot)
    found = []
    for name in np.unique(labels[labels != pivot]).tolist():
        here = np.flatnonzero(labels == name)
        in_pivot, in_other = pair_rows(ids[there], ids[here])
        found.append(np.column_stack([there[in_pivot], here[in_other]]))
    pairs = np.concatenate(found) if found else np.zeros((0, 2), dtype=np.int64)
    if len(pairs) == 0:
        raise ValueError(
            f"No row translates a row of the pivot {pivot!r}: pass rows of another language with "
            "the same pair_id, or fit the head without mixup."
        )
    return pairs
