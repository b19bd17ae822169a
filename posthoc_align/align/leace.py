"""LEACE: erase what a linear classifier could know of the language, at the least damage."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from posthoc_align._arrays import Array
from posthoc_align.align._affine import Affine, AffineTransformer, Piece, Removal, apply_pieces
from posthoc_align.align._base import require_rows
from posthoc_align.align._means import axes_of_means
from posthoc_align.align._on_device import kept
from posthoc_align.align._parameters import require_choice
from posthoc_align.linalg import EPS, check_shrinkage, inverse_root, shrunk_covariance
from posthoc_align.moments import Second, scatter_of

METHODS = ("leace", "orthogonal", "oracle")


class LEACE(AffineTransformer):
    r"""Least-squares concept erasure of the language.

    Among all affine maps after which no linear classifier beats a constant at telling the
    language, takes the one that moves rows least in the mean square [1]_:

    .. math:: x \mapsto x - (x-\mu)\,W (A W)^+ A, \qquad W = \Sigma^{-1/2},

    where the rows of A are an orthonormal basis of the differences of the language means. All
    language means become equal. A has at most L - 1 rows for L languages and the map is applied
    as two skinny products. Memory is O(d^2 + L d), a fit costs O(n d^2 + d^3).

    Parameters
    ----------
    method : {"leace", "orthogonal", "oracle"}, default="leace"
        "orthogonal" sets W to the identity: the map is an orthogonal projection, the one of
        :class:`LSAR` at full rank, and needs O(L d) memory. "oracle" takes the language of each
        row at transform as well and only moves its mean onto that of all rows, which damages
        still less: centring with ``anchor="pooled"``.
    shrinkage : float in [0, 1] or "auto", default="auto"
        Pull the covariance towards a multiple of the identity, see
        :func:`posthoc_align.linalg.shrunk_covariance`. Means become equal at any value; without
        shrinkage a few rows in many dimensions yield a map that fits them alone. Only for "leace".
    affine : bool, default=True
        Keep the mean of all rows. False leaves out :math:`\mu`: a linear map, for what follows
        without an intercept. "oracle" always keeps the mean.
    language_from : {"index"}, optional
        As in :class:`LanguageCentering`.

    Attributes
    ----------
    rank_ : int
        Dimension erased; smaller than L - 1 if the means span less (a warning says so).
    means_ : ndarray of shape (L, n_features)
        Mean of each language.
    mean_ : ndarray of shape (n_features,)
        Mean of all rows, languages weighing as many rows as they have.
    shrinkage_ : float
        What was used; 0 unless ``method="leace"``.
    languages_ : list of length L
    moments_ : LanguageMoments
    n_features_in_ : int

    Raises
    ------
    ValueError
        If a language has a single row, or the oracle form meets rows without language or of one
        that fit did not see.

    Notes
    -----
    Of the language only the linear part is erased: a classifier that reads variances may still
    tell it. What is erased is found whatever its size against the covariance, since its rank is
    that of the means to rounding; there is no absolute tolerance below which languages survive.

    References
    ----------
    .. [1] N. Belrose, D. Schneider-Joseph, S. Ravfogel, R. Cotterell, E. Raff, S. Biderman,
       "LEACE: Perfect Linear Concept Erasure in Closed Form", NeurIPS 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from posthoc_align import LEACE
    >>> X = np.array([[1.0, 2.0], [1.0, 4.0], [9.0, 2.0], [9.0, 4.0]])
    >>> LEACE().fit_transform(X, language=["en", "en", "de", "de"])
    array([[5., 2.],
           [5., 4.],
           [5., 2.],
           [5., 4.]])
    """

    _learned: ClassVar[tuple[str, ...]] = (
        *AffineTransformer._learned,
        "rank_",
        "means_",
        "mean_",
        "shrinkage_",
    )

    piece_: Any  # None in the oracle form, which has one a language
    rank_: int
    means_: np.ndarray
    mean_: np.ndarray
    shrinkage_: float

    def __init__(
        self,
        *,
        method: str = "leace",
        shrinkage: float | str = "auto",
        affine: bool = True,
        language_from: str | None = None,
    ) -> None:
        self.method = method
        self.shrinkage = shrinkage
        self.affine = affine
        self.language_from = language_from

    @property
    def requires_language(self) -> bool:  # type: ignore[override]  # it hangs on the method here
        """Whether ``transform`` depends on the language of a row: in the oracle form."""
        return self.method == "oracle"

    def _second(self) -> Second:
        return "within" if self.method == "leace" else "diagonal"

    def _solve(self) -> None:
        require_choice("method", self.method, METHODS)
        check_shrinkage(self.shrinkage)
        require_rows(self.moments_)
        axes, _, _ = axes_of_means(self.moments_, len(self.moments_) - 1, type(self).__name__)
        pooled = self.moments_.pooled
        drop, self.shrinkage_ = axes.T, 0.0
        if self.method == "leace":
            covariance, self.shrinkage_ = shrunk_covariance(
                scatter_of(pooled), pooled.count, self.shrinkage
            )
            whiten = inverse_root(covariance, eps=EPS if self.shrinkage_ else pooled.eps)
            drop = whiten @ np.linalg.pinv(axes @ whiten)
        self.languages_ = list(self.moments_)
        self.rank_ = len(axes)
        self.means_ = np.stack([part.mean for part in self.moments_.values()])
        self.mean_ = pooled.mean
        origin = pooled.mean if self.affine else np.zeros_like(pooled.mean)
        self.piece_ = None if self.method == "oracle" else Removal(origin, drop, axes)

    def _pieces(self) -> list[Piece]:
        if self.method != "oracle":
            return super()._pieces()
        return [Affine(mean, (), self.mean_) for mean in self.means_]

    def transform(self, X: Any, *, language: Any = None) -> Array:
        """Erase the language.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
        language : str, int or array-like of shape (n_samples,), optional
            Needed by the oracle form and ignored by the others.

        Returns
        -------
        array of shape (n_samples, n_features)
            Of X's kind, type and device.
        """
        if not self.requires_language:
            return super().transform(X, language=language)
        X, codes = self._check_known(X, language)
        return apply_pieces(kept(self, X, self._pieces, use="transform"), codes, X)

    def inverse_transform(self, X: Any, *, language: Any = None) -> Array:
        """Put the language back, which only the oracle form can. Parameters as in transform.

        Raises
        ------
        ValueError
            If directions were removed; ``decompose`` keeps them.
        """
        if not self.requires_language:
            return super().inverse_transform(X, language=language)
        X, codes = self._check_known(X, language)
        return apply_pieces([piece.inverse() for piece in self._pieces()], codes, X)

    def _check_known(self, X: Any, language: Any) -> tuple[Array, np.ndarray]:
        X, codes, unknown = self._check_transform(X, language)
        cure = "Fit it too, or take method='leace' or 'orthogonal', which need no language."
        self._require_seen(unknown, cure)
        return X, codes
