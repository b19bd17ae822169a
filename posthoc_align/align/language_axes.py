"""Language-sensitive axes: the directions along which languages are told apart best."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from posthoc_align.align._affine import Affine, AffineTransformer, Removal
from posthoc_align.align._base import require_rows
from posthoc_align.align._means import axes_of_means, within_scatter
from posthoc_align.align._parameters import require_choice, require_int
from posthoc_align.linalg import EPS, fix_signs, inverse_root, shrunk_covariance
from posthoc_align.moments import Second

KEEP = ("neutral", "sensitive")


class LanguageAxes(AffineTransformer):
    r"""Find the axes that are sensitive to language, and remove them or keep only them.

    Linear discriminant analysis with the language as the class: the axes are the vectors v of
    largest :math:`v^\top B v / v^\top S v`, where B is the covariance of the language means and S
    that within languages, made orthonormal one after the other (Gram-Schmidt) as in [1]_.
    Rows keep their dimensions and the mean of all rows stays where it is. Memory is O(d^2 + L d).

    Parameters
    ----------
    n_axes : int, optional
        How many, at most L - 1 for L languages; None takes L - 1.
    keep : {"neutral", "sensitive"}, default="neutral"
        What transform keeps of a row: the rest, or its part along the axes (to look at).
    shrinkage : float in [0, 1] or "auto", default="auto"
        Pull S towards a multiple of the identity, see
        :func:`posthoc_align.linalg.shrunk_covariance`.
    language_from : {"index"}, optional
        As in :class:`LanguageCentering`.

    Attributes
    ----------
    axes_ : ndarray of shape (n_axes_, n_features)
        Orthonormal, the most telling first.
    n_axes_ : int
        Fewer than asked for if the language means span less (a warning says so).
    discriminability_ : ndarray of shape (n_axes_,)
        Variance between over variance within languages along each discriminant direction.
    mean_ : ndarray of shape (n_features,)
        Mean of all rows.
    shrinkage_ : float
        What was used.
    languages_ : list of length L
    moments_ : LanguageMoments
    n_features_in_ : int

    Raises
    ------
    ValueError
        If ``n_axes`` exceeds L - 1, or a language has a single row.

    Notes
    -----
    A discriminant axis is the best to *read* the language from, not the direction in which
    language means *lie* apart: where dimensions correlate the two differ, and means differ still
    after the axes are removed. To erase what a linear classifier could know use :class:`LEACE`.
    One language has no sensitive axes: "neutral" leaves rows alone, "sensitive" leaves their mean.

    References
    ----------
    .. [1] T. Chang, Z. Tu, B. Bergen, "The Geometry of Multilingual Language Model
       Representations", EMNLP 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from posthoc_align import LanguageAxes
    >>> X = np.array([[0.0, 2.0], [2.0, 4.0], [8.0, 4.0], [10.0, 2.0]])
    >>> axes = LanguageAxes().fit(X, language=["en", "en", "de", "de"])
    >>> axes.axes_.round(6) + 0.0
    array([[1., 0.]])
    >>> axes.discriminability_.round(6)
    array([16.])
    """

    _learned: ClassVar[tuple[str, ...]] = (
        *AffineTransformer._learned,
        "axes_",
        "n_axes_",
        "discriminability_",
        "mean_",
        "shrinkage_",
    )

    axes_: np.ndarray
    n_axes_: int
    discriminability_: np.ndarray
    mean_: np.ndarray
    shrinkage_: float

    def __init__(
        self,
        *,
        n_axes: int | None = None,
        keep: str = "neutral",
        shrinkage: float | str = "auto",
        language_from: str | None = None,
    ) -> None:
        self.n_axes = n_axes
        self.keep = keep
        self.shrinkage = shrinkage
        self.language_from = language_from

    @property
    def has_inverse(self) -> bool:
        """Not where the sensitive axes alone are kept."""
        return self.keep == "neutral"

    def _second(self) -> Second:
        return "within"

    def _solve(self) -> None:
        require_choice("keep", self.keep, KEEP)
        require_rows(self.moments_)
        most = len(self.moments_) - 1
        why = f"{most + 1} languages are told apart along at most L - 1 = {most} axes"
        wanted = most if self.n_axes is None else require_int("n_axes", self.n_axes, 0, most, why)
        span, _, _ = axes_of_means(self.moments_, wanted, type(self).__name__)
        pooled, within = self.moments_.pooled, within_scatter(self.moments_)
        covariance, self.shrinkage_ = shrunk_covariance(within, pooled.count, self.shrinkage)
        whiten = inverse_root(covariance, eps=EPS if self.shrinkage_ else pooled.eps)
        means = np.stack([part.mean for part in self.moments_.values()]) - pooled.mean
        weights = np.array([part.count for part in self.moments_.values()]) / pooled.count
        between = np.sqrt(weights)[:, None] * means @ whiten
        _, values, directions = np.linalg.svd(between, full_matrices=False)
        rank = len(span)
        self.languages_ = list(self.moments_)
        self.n_axes_ = rank
        self.axes_ = fix_signs(np.linalg.qr(whiten @ directions[:rank].T)[0].T)
        self.discriminability_ = values[:rank] ** 2
        self.mean_ = pooled.mean
        kept = self.axes_ if rank else np.zeros((1, pooled.n_features))
        self.piece_ = (
            Removal(pooled.mean, self.axes_.T, self.axes_)
            if self.keep == "neutral"
            else Affine(pooled.mean, (kept.T, kept), pooled.mean)
        )
