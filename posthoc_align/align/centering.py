"""Per-language centring: move every language to one mean."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar, Self

import numpy as np

from posthoc_align._arrays import Array, check_rows
from posthoc_align._blocks import gather, map_rows
from posthoc_align.align._affine import Affine, unseen_moments
from posthoc_align.align._base import UNSEEN, MomentTransformer, known_labels, require_rows
from posthoc_align.align._cells import cell_moments
from posthoc_align.align._on_device import tables_on
from posthoc_align.align._parameters import require_choice
from posthoc_align.languages import check_language
from posthoc_align.linalg import check_shrinkage
from posthoc_align.moments import LanguageMoments, Moments, Second


class LanguageCentering(MomentTransformer):
    r"""Subtract from each row the mean of its language.

    Maps a row of language :math:`l` to :math:`x - \mu_l + a`, where the anchor :math:`a` is the
    origin, the mean of all rows, or the mean of one language. Means are fitted on anchor rows
    and never taken from the rows being transformed. Memory is O(L d) for L languages.

    Parameters
    ----------
    anchor : {"origin", "pooled"} or label, default="origin"
        Where the means are moved to. With a language's label this is the mean shift of Chang
        et al. [2]_: every language is moved onto that one, which itself stays as it is.
    shrinkage : float in [0, 1] or "auto", default=0.0
        Pull each mean towards the pooled mean: :math:`\mu_l \leftarrow \mu_l + s(\bar\mu-\mu_l)`.
        "auto" is the positive-part James-Stein factor [3]_, which is large for languages with
        few rows and vanishes with many.
    class_balanced : bool, default=False
        Give every class of ``y`` the same weight in a language's mean. Centring moves a language
        whose class mix differs from the others' by the mean of its frequent classes; this does not.
        Needs ``y`` in fit.
    unseen : {"error", "global", "identity", "transductive"}, default="error"
        What to do with a language that was not in fit: raise, subtract the pooled mean, leave
        it alone, or subtract the mean of its rows in the batch at hand.
    language_from : {"index"}, optional
        Where labels are read that are not passed: the level ``language`` of the index of a pandas
        DataFrame. "index" raises where labels matter and the level is not there, as after a step
        that returns plain arrays and in bagging; None does without.

    Attributes
    ----------
    languages_ : list of length L
        Labels, sorted; ``[None]`` if fitted without labels.
    means_ : ndarray of shape (L, n_features)
        Mean of each language, after shrinkage and class balancing.
    pooled_mean_ : ndarray of shape (n_features,)
    anchor_ : ndarray of shape (n_features,)
        The point the means are moved to.
    shrinkage_ : ndarray of shape (L,)
        Shrinkage factor of each language.
    moments_ : LanguageMoments
        All that was kept of the data; add to it, save it, refit from it.
    n_features_in_ : int

    Raises
    ------
    ValueError
        If a language has a single row, an unseen language meets ``unseen="error"``, or several
        languages were fitted and transform gets no label.

    Notes
    -----
    With equal class weights the result equals oracle LEACE [4]_ of the language label when
    ``anchor="pooled"``. Cosines between languages change, cosines of differences do not; a
    measure that ignores shifts (CKA, RSIM) cannot see this transformation.

    References
    ----------
    .. [1] J. Libovicky, R. Rosa, A. Fraser, "On the Language Neutrality of Pre-trained
       Multilingual Representations", Findings of EMNLP 2020.
    .. [2] T. Chang, Z. Tu, B. Bergen, "The Geometry of Multilingual Language Model
       Representations", EMNLP 2022.
    .. [3] W. James, C. Stein, "Estimation with Quadratic Loss", Berkeley Symposium 1961.
    .. [4] N. Belrose et al., "LEACE: Perfect Linear Concept Erasure in Closed Form",
       NeurIPS 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from posthoc_align import LanguageCentering
    >>> X = np.array([[1.0, 0.0], [3.0, 0.0], [0.0, 5.0], [0.0, 7.0]])
    >>> LanguageCentering().fit_transform(X, language=["en", "en", "de", "de"])
    array([[-1.,  0.],
           [ 1.,  0.],
           [ 0., -1.],
           [ 0.,  1.]])
    """

    _learned: ClassVar[tuple[str, ...]] = (
        "languages_",
        "means_",
        "pooled_mean_",
        "anchor_",
        "shrinkage_",
    )

    means_: np.ndarray
    pooled_mean_: np.ndarray
    anchor_: np.ndarray
    shrinkage_: np.ndarray

    def __init__(
        self,
        *,
        anchor: Any = "origin",
        shrinkage: float | str = 0.0,
        class_balanced: bool = False,
        unseen: str = "error",
        language_from: str | None = None,
    ) -> None:
        self.anchor = anchor
        self.shrinkage = shrinkage
        self.class_balanced = class_balanced
        self.unseen = unseen
        self.language_from = language_from

    def _second(self) -> Second:
        return "diagonal" if self.shrinkage == "auto" else "none"

    def _moments_of(self, X: Array, y: Any, labels: np.ndarray | None) -> LanguageMoments:
        self._check_parameters()
        if not self.class_balanced:
            return LanguageMoments.of(X, labels, second=self._second())
        return cell_moments(X, y, labels, self._second(), name="class_balanced=True")

    def _check_parameters(self) -> None:
        require_choice("unseen", self.unseen, UNSEEN)
        check_shrinkage(self.shrinkage)

    def _parts(self) -> dict[Any, Moments]:
        """Moments of each language, of equal class weights where asked for."""
        self._check_parameters()
        parts = _balance(self.moments_) if self.class_balanced else dict(self.moments_)
        require_rows(parts)
        return parts

    def _solve(self) -> None:
        parts = self._parts()
        pooled = LanguageMoments(parts).pooled
        self.languages_ = list(parts)
        self.pooled_mean_ = pooled.mean
        self.shrinkage_ = np.array([self._mean_shrinkage(p, parts) for p in parts.values()])
        means = np.stack([part.mean for part in parts.values()])
        self.means_ = means + self.shrinkage_[:, None] * (pooled.mean - means)
        self.anchor_ = self._anchor_mean()

    def _anchor_mean(self) -> np.ndarray:
        if isinstance(self.anchor, str) and self.anchor == "origin":
            return np.zeros_like(self.pooled_mean_)
        if isinstance(self.anchor, str) and self.anchor == "pooled":
            return self.pooled_mean_
        return self.means_[self._anchor_position()]

    def _anchor_position(self) -> int:
        if self.anchor not in self.languages_:
            raise ValueError(
                f"anchor={self.anchor!r} is neither 'origin', 'pooled' nor one of the fitted "
                f"languages {known_labels(self.languages_)}."
            )
        return self.languages_.index(self.anchor)

    def _mean_shrinkage(self, part: Moments, parts: dict[Any, Moments]) -> float:
        """How far the mean of a language is pulled towards the pooled mean."""
        if self.shrinkage != "auto":
            return float(self.shrinkage)
        pooled = LanguageMoments(parts).pooled
        rows = sum(p.count - 1 for p in parts.values())
        within = sum(float(np.sum(p.variance)) * p.count for p in parts.values()) / rows
        distance = float(np.sum((part.mean - pooled.mean) ** 2))
        d = pooled.n_features
        noise = within / part.count * max(d - 2, 0) / d
        return 1.0 if distance <= noise else noise / distance

    def add_language(self, X: Any, language: Any, *, y: Any = None) -> Self:
        """Fit one more language; the results of all others stay bit-identical.

        The pooled mean and the anchor stay as fitted.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Rows of the new language alone.
        language : str or int
            Its label.
        y : array-like of shape (n_samples,), optional
            Class labels, for ``class_balanced=True``.
        """
        self._check_new_language(language)
        X = check_rows(self, X)
        added = self._moments_of(X, y, check_language(language, X.shape[0]))
        parts = _balance(added) if self.class_balanced else dict(added)
        require_rows(parts)
        self._append(next(iter(parts.values())), self._parts())
        self.languages_ = [*self.languages_, language]
        self.moments_ = self.moments_ + added
        return self

    def _append(self, part: Moments, known: dict[Any, Moments]) -> None:
        """Learn what a new language adds to the tables of those known so far."""
        shrinkage = self._mean_shrinkage(part, known)
        mean = part.mean + shrinkage * (self.pooled_mean_ - part.mean)
        self.means_ = np.vstack([self.means_, mean])
        self.shrinkage_ = np.append(self.shrinkage_, shrinkage)

    def transform(self, X: Any, *, language: Any = None) -> Array:
        """Centre rows of known languages.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
        language : str, int or array-like of shape (n_samples,), optional
            May be left out only if fit saw one language.

        Returns
        -------
        array of shape (n_samples, n_features)
            Of X's kind, type and device.
        """
        X, codes, unknown = self._check_transform(X, language)
        means = self._with_unseen(self.means_, X, codes, unknown)
        codes = np.minimum(codes, len(means) - 1)
        table = means - self._targets(means, unknown)
        if not unknown:
            table = tables_on(self, X, lambda: (table,))[0]
        offset = gather(table, codes, X)
        return map_rows(lambda x, rows: x - offset(rows), X)

    def inverse_transform(self, X: Any, *, language: Any = None) -> Array:
        """Put the language back: x + mean of its language - anchor. Parameters as in transform."""
        X, codes, unknown = self._check_transform(X, language)
        self._require_seen(unknown, "Only fitted languages can be put back.")
        table = tables_on(self, X, lambda: (self.means_ - self.anchor_,), use="inverse_transform")
        offset = gather(table[0], codes, X)
        return map_rows(lambda x, rows: x + offset(rows), X)

    def _pieces(self) -> list[Affine]:
        """What is done to rows of each of ``languages_``."""
        return [Affine(mean, (), self.anchor_) for mean in self.means_]

    def _targets(self, means: np.ndarray, unknown: list[Any]) -> np.ndarray:
        """Where each row of the table of means is moved to."""
        targets = np.broadcast_to(self.anchor_, means.shape).copy()
        if unknown and self.unseen == "identity":
            targets[-1] = means[-1]
        return targets

    def _with_unseen(
        self, means: np.ndarray, X: Array, codes: np.ndarray, unknown: list[Any]
    ) -> np.ndarray:
        """The table of means, and behind it one row for all unseen languages or one for each."""
        if not unknown:
            return means
        self._check_unseen(unknown)
        if self.unseen != "transductive":
            return np.vstack([means, self.pooled_mean_])
        new = unseen_moments(X, codes - len(means), unknown, second="none")
        return np.vstack([means, [part.mean for part in new]])


def _balance(cells: LanguageMoments) -> dict[Any, Moments]:
    """One Moments a language in which every class weighs the same."""
    classes = {cell[1] for cell in cells}
    parts = {}
    for language in dict.fromkeys(cell[0] for cell in cells):
        own = [part for cell, part in cells.items() if cell[0] == language]
        if len(own) < len(classes):
            warnings.warn(
                f"Language {language!r} has rows of {len(own)} of {len(classes)} classes: its "
                "balanced mean covers only those. Add rows of the others.",
                stacklevel=2,
            )
        means = np.stack([part.mean for part in own])
        count, mean = sum(part.count for part in own), means.mean(axis=0)
        squares = None
        if all(part.squares is not None for part in own):
            variance = np.mean([part.variance for part in own], axis=0) + means.var(axis=0)
            squares = count * variance
        parts[language] = Moments(count, mean, squares, eps=max(part.eps for part in own))
    return parts
