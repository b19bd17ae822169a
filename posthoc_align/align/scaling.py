"""Per-language normalisation: one mean and one spread for every language."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from posthoc_align._arrays import Array
from posthoc_align._blocks import Runs, gather, map_rows
from posthoc_align.align._affine import Affine, unseen_moments
from posthoc_align.align._on_device import tables_on
from posthoc_align.align.centering import LanguageCentering
from posthoc_align.moments import LanguageMoments, Moments, Second


class LanguageScaling(LanguageCentering):
    r"""Give every language the same mean and the same variance in each dimension.

    Maps a row of language :math:`l` to :math:`(x-\mu_l)\,\sigma_a/\sigma_l + a` in each
    dimension, with population standard deviations. With ``anchor="origin"`` this is the z-score
    per language. Memory is O(L d).

    Parameters
    ----------
    anchor : {"origin", "pooled"} or label, default="origin"
        Which mean and spread all languages get: zero and one, those of all rows, or those of
        one language.
    shrinkage : float in [0, 1] or "auto", default=0.0
        Pull means and variances of each language towards the pooled ones. "auto" takes the
        James-Stein factor for the mean and the factor of Opgen-Rhein and Strimmer [2]_ for the
        variances.
    class_balanced : bool, default=False
        Give every class of ``y`` the same weight in a language's mean and variance.
    unseen : {"error", "global", "identity", "transductive"}, default="error"
        As in :class:`LanguageCentering`.
    language_from : {"index"}, optional
        As in :class:`LanguageCentering`.

    Attributes
    ----------
    languages_ : list of length L
    means_ : ndarray of shape (L, n_features)
    scales_ : ndarray of shape (L, n_features)
        Standard deviation of each language; 1 where a dimension is constant.
    pooled_mean_, pooled_scale_ : ndarray of shape (n_features,)
    anchor_, anchor_scale_ : ndarray of shape (n_features,)
    shrinkage_ : ndarray of shape (L,)
        Shrinkage factor of each language's mean.
    moments_ : LanguageMoments
    n_features_in_ : int

    Raises
    ------
    ValueError
        As :class:`LanguageCentering`.

    Notes
    -----
    Zhao et al. [1]_ normalise each batch of one language at inference, padding included; here
    the statistics are those of the language, fitted once.

    References
    ----------
    .. [1] W. Zhao, S. Eger, J. Bjerva, I. Augenstein, "Inducing Language-Agnostic Multilingual
       Representations", \*SEM 2021.
    .. [2] R. Opgen-Rhein, K. Strimmer, "Accurate Ranking of Differentially Expressed Genes by a
       Distribution-Free Shrinkage Approach", Stat. Appl. Genet. Mol. Biol. 6 (2007).

    Examples
    --------
    >>> import numpy as np
    >>> from posthoc_align import LanguageScaling
    >>> X = np.array([[1.0], [3.0], [10.0], [50.0]])
    >>> LanguageScaling().fit_transform(X, language=["en", "en", "de", "de"])
    array([[-1.],
           [ 1.],
           [-1.],
           [ 1.]])
    """

    _learned: ClassVar[tuple[str, ...]] = (
        *LanguageCentering._learned,
        "scales_",
        "pooled_scale_",
        "anchor_scale_",
    )

    scales_: np.ndarray
    pooled_scale_: np.ndarray
    anchor_scale_: np.ndarray

    def _second(self) -> Second:
        return "diagonal"

    def _solve(self) -> None:
        super()._solve()
        parts = self._parts()
        pooled = LanguageMoments(parts).pooled
        self.pooled_scale_ = _scale(pooled.variance, pooled.mean)
        within = _within_variance(parts)
        self.scales_ = np.stack([self._scale_of(part, within) for part in parts.values()])
        self.anchor_scale_ = self._anchor_scale()

    def _anchor_scale(self) -> np.ndarray:
        if isinstance(self.anchor, str) and self.anchor == "origin":
            return np.ones_like(self.pooled_scale_)
        if isinstance(self.anchor, str) and self.anchor == "pooled":
            return self.pooled_scale_
        return self.scales_[self._anchor_position()]

    def _scale_of(self, part: Moments, within: np.ndarray) -> np.ndarray:
        """Standard deviations of one language, shrunk towards the pooled within-language ones."""
        variance = part.variance
        if self.shrinkage != "auto":
            factor = float(self.shrinkage)
        else:
            noise = float(np.sum(2 * variance**2)) / max(part.count - 1, 1)
            distance = float(np.sum((variance - within) ** 2))
            factor = 1.0 if distance <= noise else noise / distance
        return _scale(variance + factor * (within - variance), part.mean)

    def _append(self, part: Moments, known: dict[Any, Moments]) -> None:
        super()._append(part, known)
        scale = self._scale_of(part, _within_variance(known))
        self.scales_ = np.vstack([self.scales_, scale])

    def transform(self, X: Any, *, language: Any = None) -> Array:
        """Centre and scale rows; parameters as in :meth:`LanguageCentering.transform`."""
        X, codes, unknown = self._check_transform(X, language)
        means, scales = self._with_unseen(self.means_, X, codes, unknown), self.scales_
        if unknown and self.unseen == "transductive":
            new = unseen_moments(X, codes - len(scales), unknown, second="diagonal")
            scales = np.vstack([scales, [_scale(part.variance, part.mean) for part in new]])
        elif unknown:
            scales = np.vstack([scales, self.pooled_scale_])
        factors = self.anchor_scale_ / scales
        if unknown and self.unseen == "identity":
            factors[-1] = 1.0
        codes = np.minimum(codes, len(means) - 1)
        tables = means, factors, self._targets(means, unknown)
        return _affine(X, codes, tables if unknown else tables_on(self, X, lambda: tables))

    def _pieces(self) -> list[Affine]:
        """What is done to rows of each of ``languages_``."""
        factors = self.anchor_scale_ / self.scales_
        return [
            Affine(mean, (np.diag(factor),), self.anchor_)
            for mean, factor in zip(self.means_, factors, strict=True)
        ]

    def inverse_transform(self, X: Any, *, language: Any = None) -> Array:
        """Put mean and spread of the language back. Parameters as in transform."""
        X, codes, unknown = self._check_transform(X, language)
        self._require_seen(unknown, "Only fitted languages can be put back.")
        source = np.broadcast_to(self.anchor_, self.means_.shape)
        tables = source, self.scales_ / self.anchor_scale_, self.means_
        return _affine(X, codes, tables_on(self, X, lambda: tables, use="inverse_transform"))


def _affine(X: Array, codes: np.ndarray, tables: Sequence[Array]) -> Array:
    """(x - source) * factor + target with one row of each table a language."""
    runs = Runs(codes)
    minus, times, plus = (gather(table, runs, X) for table in tables)
    return map_rows(lambda x, rows: (x - minus(rows)) * times(rows) + plus(rows), X)


def _within_variance(parts: dict[Any, Moments]) -> np.ndarray:
    """Variance about the language means, pooled over languages."""
    rows = sum(part.count for part in parts.values())
    return np.sum([part.variance * part.count for part in parts.values()], axis=0) / rows


def _scale(variance: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Standard deviation, 1 for a constant dimension (which centring already makes zero).

    A variance within the rounding of the mean, 16 digits below its square, is none.
    """
    constant = variance <= (10 * np.finfo(np.float64).eps * mean) ** 2
    return np.where(constant, 1.0, np.sqrt(np.where(constant, 1.0, variance)))
