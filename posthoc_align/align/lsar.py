"""LSAR: remove the low-rank subspace in which the language means differ."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from posthoc_align.align._affine import AffineTransformer, Removal
from posthoc_align.align._base import require_rows
from posthoc_align.align._means import axes_of_means
from posthoc_align.align._parameters import require_int
from posthoc_align.moments import Second


class LSAR(AffineTransformer):
    r"""Low-rank subtraction of the language-specific subspace.

    Stacks the language means as columns of :math:`M`, finds
    :math:`\min_{\mu,M_s,\Gamma}\lVert M-\mu 1^\top-M_s\Gamma^\top\rVert_F^2` with
    :math:`\mu\perp M_s` and rank r, and maps :math:`x` to :math:`x - M_s M_s^\top x`. The solution
    is the first r principal axes of the centred means, every language weighing the same. Memory is
    O(L d); the d x d projector is never formed.

    Parameters
    ----------
    rank : int, optional
        Dimension of the removed subspace, at most L - 1 for L languages; None takes L - 1, which
        makes all language means equal. One language leaves nothing to remove: the identity.
    language_from : {"index"}, optional
        As in :class:`LanguageCentering`.

    Attributes
    ----------
    components_ : ndarray of shape (rank_, n_features)
        Orthonormal basis of the language subspace :math:`M_s`, strongest axis first.
    singular_values_ : ndarray of shape (min(L, n_features),)
        Of the centred means: how much each axis tells about the language.
    rank_ : int
        Dimension removed; smaller than asked for if the means span less (a warning says so).
    mean_ : ndarray of shape (n_features,)
        The shared mean :math:`\mu`, orthogonal to the subspace. It is not subtracted.
    languages_ : list of length L
    moments_ : LanguageMoments
    n_features_in_ : int

    Raises
    ------
    ValueError
        If ``rank`` exceeds L - 1, or a language has a single row. After ``partial_fit`` this is
        raised when the solution is first needed, since more languages may still come.

    Notes
    -----
    The projector needs no language at transform and works for languages never seen. It equals
    orthogonal LEACE of the language label at rank L - 1. The removed axes may also carry meaning:
    look at ``decompose``. At a rank below L - 1 the result depends on which languages
    were fitted, since a near-duplicate language pulls the principal axes.

    References
    ----------
    .. [1] Z. Xie, H. Zhao, T. Yu, S. Li, "Discovering Low-rank Subspaces for Language-agnostic
       Multilingual Representations", EMNLP 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from posthoc_align import LSAR
    >>> X = np.array([[1.0, 2.0], [1.0, 4.0], [9.0, 2.0], [9.0, 4.0]])
    >>> LSAR().fit_transform(X, language=["en", "en", "de", "de"])
    array([[0., 2.],
           [0., 4.],
           [0., 2.],
           [0., 4.]])
    """

    _learned: ClassVar[tuple[str, ...]] = (
        *AffineTransformer._learned,
        "components_",
        "singular_values_",
        "rank_",
        "mean_",
    )

    components_: np.ndarray
    singular_values_: np.ndarray
    rank_: int
    mean_: np.ndarray

    def __init__(
        self,
        *,
        rank: int | None = None,
        language_from: str | None = None,
    ) -> None:
        self.rank = rank
        self.language_from = language_from

    def _second(self) -> Second:
        return "diagonal"

    def _solve(self) -> None:
        require_rows(self.moments_)
        n_languages, width = len(self.moments_), self.moments_.n_features
        most = n_languages - 1
        why = f"the means of {n_languages} languages span at most L - 1 = {most} directions"
        wanted = most if self.rank is None else require_int("rank", self.rank, 0, most, why)
        axes, values, centre = axes_of_means(self.moments_, wanted, "LSAR")
        self.languages_ = list(self.moments_)
        self.rank_ = len(axes)
        self.components_ = axes
        self.singular_values_ = values
        self.mean_ = centre - (centre @ self.components_.T) @ self.components_
        self.piece_ = Removal(np.zeros(width), self.components_.T, self.components_)
