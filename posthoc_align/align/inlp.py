"""INLP: remove, round by round, the directions a linear classifier reads the language from."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import clone

from posthoc_align._arrays import to_host
from posthoc_align.align._affine import AffineTransformer, Removal
from posthoc_align.align._base import require_rows
from posthoc_align.align._means import size_of_rows, within_scatter
from posthoc_align.align._parameters import require_number
from posthoc_align.linalg import EPS, numerical_rank
from posthoc_align.moments import Second, scatter_of


class INLP(AffineTransformer):
    r"""Iterative null-space projection of the language.

    Each round trains a linear classifier of the language on what is left of the rows and removes
    the span of its weights; the result is the projection :math:`x \mapsto x - x\,U^\top U` onto
    the intersection of all null spaces. With the ridge classifier

    .. math:: W_l \propto (T + \alpha I)^{-1} (\mu_l - \mu)^\top

    where T is the scatter of all rows, the whole iteration runs on moments: memory is
    O(d^2 + L d), a round costs O(d^3) whatever the number of rows.

    Parameters
    ----------
    n_rounds : int or None, default=8
        Rounds to do, unless the language means are equal to rounding before. None goes on until
        they lie no further apart than those of random parts of one language would: until the
        variance between languages over that within them, each by its degrees of freedom, is at
        most 1.
    penalty : float, default=1.0
        :math:`\alpha` of the ridge classifier, above 0. A large one removes the differences of
        the means themselves, as :class:`LSAR` does, in one round.
    classifier : estimator with ``coef_``, optional
        A linear classifier of scikit-learn to use instead. It is fitted on rows: they are copied
        to the host as float64, and there is no ``partial_fit``.
    language_from : {"index"}, optional
        As in :class:`LanguageCentering`.

    Attributes
    ----------
    components_ : ndarray of shape (n_removed, n_features)
        U, orthonormal, the directions of the first round first.
    round_ranks_ : list of int
        How many directions each round removed: at most L - 1 with the ridge classifier.
    languages_ : list of length L
    moments_ : LanguageMoments
    n_features_in_ : int

    Raises
    ------
    ValueError
        If a language has a single row, the penalty is not positive, or a `classifier` is to be
        fitted from moments.

    Notes
    -----
    A round takes up to L - 1 dimensions and with them whatever else they carry; the language
    means become equal only in the limit. :class:`LEACE` makes them equal with L - 1 dimensions.
    The penalty is measured against the scatter of all rows, which grows with their number and
    size: one far below its eigenvalues lets each round remove directions in which rows hardly
    vary, so that it takes many rounds.

    References
    ----------
    .. [1] S. Ravfogel, Y. Elazar, H. Gonen, M. Twiton, Y. Goldberg, "Null It Out: Guarding
       Protected Attributes by Iterative Nullspace Projection", ACL 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from posthoc_align import INLP
    >>> X = np.array([[1.0, 2.0], [1.0, 4.0], [9.0, 2.0], [9.0, 4.0]])
    >>> INLP().fit_transform(X, language=["en", "en", "de", "de"]).round(6) + 0.0
    array([[0., 2.],
           [0., 4.],
           [0., 2.],
           [0., 4.]])
    """

    _learned: ClassVar[tuple[str, ...]] = (
        *AffineTransformer._learned,
        "components_",
        "round_ranks_",
    )

    components_: np.ndarray
    round_ranks_: list[int]

    def __init__(
        self,
        *,
        n_rounds: int | None = 8,
        penalty: float = 1.0,
        classifier: Any = None,
        language_from: str | None = None,
    ) -> None:
        self.n_rounds = n_rounds
        self.penalty = penalty
        self.classifier = classifier
        self.language_from = language_from

    def _second(self) -> Second:
        return "within"

    def fit(self, X: Any, y: Any = None, *, language: Any = None) -> Self:
        """Fit on all rows; forgets what was seen before.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            NumPy array, memory map or torch tensor.
        y : ignored
        language : str, int or array-like of shape (n_samples,), optional
            Label of each row, or one for all. None: all rows are of one language.
        """
        if self.classifier is None:
            return super().fit(X, y, language=language)
        X, labels = self._check_fit(X, language)
        self._forget()
        self.moments_ = self._moments_of(X, y, labels)
        rows = to_host(X)
        self._remove(lambda removed, _: self._row_space(rows, labels, removed))
        return self

    def _solve(self) -> None:
        if self.classifier is not None:
            raise ValueError(
                f"INLP fits {type(self.classifier).__name__} on rows, but got moments: call fit, "
                "or leave classifier=None for the ridge classifier, which moments suffice for."
            )
        require_number("penalty", self.penalty, Real, lambda p: 0 < p < np.inf, "a number above 0")
        scatter = scatter_of(self.moments_.pooled)
        self._remove(lambda removed, axes: _ridge_space(scatter, self.penalty, removed, axes))

    def _remove(self, space_of: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> None:
        """Remove round by round the space that a classifier uses, given what is removed so far.

        `space_of` also gets the axes along which the means still differ; both in rows.
        """
        if self.n_rounds is not None:
            expected = "an int from 0 on, or None"
            require_number("n_rounds", self.n_rounds, Integral, lambda n: n >= 0, expected)
        moments, width = self.moments_, self.moments_.n_features
        require_rows(moments)
        pooled, size = moments.pooled, size_of_rows(moments)
        means = np.stack([part.mean for part in moments.values()]) - pooled.mean
        counts = np.array([part.count for part in moments.values()])
        within, removed = within_scatter(moments), np.zeros((0, width))
        self.round_ranks_ = []
        while self.n_rounds is None or len(self.round_ranks_) < self.n_rounds:
            left = means - means @ removed.T @ removed
            _, values, axes = np.linalg.svd(left, full_matrices=False)
            rank = numerical_rank(values, max(left.shape), pooled.eps, scale=size)
            rank = min(rank, len(means) - 1, width - len(removed))
            if rank == 0:
                break
            if self.n_rounds is None:
                noise = np.trace(within) - np.sum((removed @ within) * removed)
                between = float(counts @ np.sum(left**2, axis=1)) / (len(means) - 1)
                if between * (pooled.count - len(means)) <= noise:
                    break
            space = space_of(removed, axes[:rank])
            removed = np.vstack([removed, space])
            self.round_ranks_.append(len(space))
        if len(removed) == width:
            warnings.warn(
                f"INLP removed all {width} dimensions in {len(self.round_ranks_)} rounds. Take "
                "fewer rounds.",
                stacklevel=4,
            )
        self.languages_ = list(moments)
        self.components_ = removed
        self.piece_ = Removal(np.zeros(width), removed.T, removed)

    def _row_space(
        self, rows: np.ndarray, labels: np.ndarray | None, removed: np.ndarray
    ) -> np.ndarray:
        """Orthonormal basis of the weights of a classifier fitted on what is left of the rows."""
        fitted = clone(self.classifier).fit(rows - rows @ removed.T @ removed, labels)
        if not hasattr(fitted, "coef_"):
            raise ValueError(
                f"{type(fitted).__name__} has no coef_: classifier must be linear, such as "
                "sklearn.linear_model.LogisticRegression."
            )
        weights = to_host(fitted.coef_)
        weights = weights - weights @ removed.T @ removed
        _, values, axes = np.linalg.svd(weights, full_matrices=False)
        # Weights that sum to zero over classes do so to a solver's precision, not to rounding.
        return axes[: numerical_rank(values, 1, float(np.sqrt(EPS)))]


def _ridge_space(
    scatter: np.ndarray, penalty: float, removed: np.ndarray, axes: np.ndarray
) -> np.ndarray:
    """Orthonormal basis of the weights of the ridge classifier on what is left of the rows.

    `axes` span what is left of the differences of means.
    """
    keep = np.eye(len(scatter)) - removed.T @ removed
    ridge = keep @ scatter @ keep + penalty * np.eye(len(scatter))
    weights = keep @ np.linalg.solve(ridge, axes.T)
    return np.linalg.qr(weights)[0].T
