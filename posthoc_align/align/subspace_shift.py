"""Project rows onto the subspace of a language and shift their mean onto its own."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

import numpy as np

from posthoc_align.align._affine import Affine, PerLanguageAffine, Piece
from posthoc_align.align._base import known_labels
from posthoc_align.align._parameters import require_number
from posthoc_align.linalg import fix_signs, numerical_rank, symmetric_eigen
from posthoc_align.moments import Moments, Second, scatter_of


class LanguageSubspaceShift(PerLanguageAffine):
    r"""Move every language into the affine subspace that one language lives in.

    Maps a row of language a to :math:`(x-\mu_a)\,V_b^\top V_b + \mu_b`, where the rows of
    :math:`V_b` are the first k principal axes of language b, the fewest that hold a given share
    of its variance. Rows of b go through the same: they are projected onto their own subspace.
    Fitted from moments; memory is O(L d^2), and a transform costs two products with k columns.

    Parameters
    ----------
    to : label, optional
        Language b. May be left out only if fit sees one language, which is then projected onto
        its own subspace.
    variance : float in (0, 1], default=0.9
        Share of the variance of `to` that the subspace holds. At 1 nothing is projected away that
        its rows have.
    unseen : {"error", "global", "identity", "transductive"}, default="error"
        What to do with a language that was not in fit: raise, shift it by the mean of all rows,
        leave it alone, or shift it by the mean of its rows in the batch at hand.
    language_from : {"index"}, optional
        As in :class:`LanguageCentering`.

    Attributes
    ----------
    languages_ : list of length L
        Labels, sorted; ``[None]`` if fitted without labels.
    components_ : ndarray of shape (n_components_, n_features)
        Orthonormal axes of the subspace, strongest first.
    n_components_ : int
    target_mean_ : ndarray of shape (n_features,)
        Mean of the rows of `to`.
    pieces_ : list of length L
        The affine map of each language.
    moments_ : LanguageMoments
    n_features_in_ : int

    Raises
    ------
    ValueError
        If `to` is no fitted language or its rows are all the same, `variance` is out of range, a
        language has a single row, an unseen language meets ``unseen="error"``, or several
        languages were fitted and transform gets no label.

    Notes
    -----
    Without the projection this is the mean shift, ``LanguageCentering(anchor=to)``. Rows end in
    k dimensions, so that there is no ``inverse_transform``; ``decompose`` gives both parts.

    References
    ----------
    .. [1] T. Chang, Z. Tu, B. Bergen, "The Geometry of Multilingual Language Model
       Representations", EMNLP 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from posthoc_align import LanguageSubspaceShift
    >>> X = np.array([[3.0, 0.1], [-3.0, -0.1], [9.0, 4.0], [7.0, 6.0]])
    >>> shift = LanguageSubspaceShift(to="en")
    >>> shift.fit_transform(X, language=["en", "en", "de", "de"]).round(2) + 0.0
    array([[ 3.  ,  0.1 ],
           [-3.  , -0.1 ],
           [ 0.97,  0.03],
           [-0.97, -0.03]])
    """

    _learned: ClassVar[tuple[str, ...]] = (
        *PerLanguageAffine._learned,
        "components_",
        "target_mean_",
    )

    @property
    def has_inverse(self) -> bool:
        """No: directions are removed from every language."""
        return False

    components_: np.ndarray
    target_mean_: np.ndarray

    def __init__(
        self,
        *,
        to: Any = None,
        variance: float = 0.9,
        unseen: str = "error",
        language_from: str | None = None,
    ) -> None:
        self.to = to
        self.variance = variance
        self.unseen = unseen
        self.language_from = language_from

    @property
    def n_components_(self) -> int:
        """Dimension k of the subspace."""
        return len(self.components_)

    def _second(self) -> Second:
        return "full"

    def _solve_reference(self, parts: dict[Any, Moments]) -> None:
        goal = self._goal(parts)
        values, axes = symmetric_eigen(scatter_of(goal))
        values = values[::-1]
        noise = goal.count * float(np.sum((10 * goal.eps * goal.mean) ** 2))
        rank = numerical_rank(values, len(values), goal.eps) if values.sum() > noise else 0
        if rank == 0:
            raise ValueError(
                f"{self._whose(goal)} has {goal.count} rows that are all the same, which span no "
                "subspace. Give rows that differ, or choose another language with to=."
            )
        share = np.cumsum(values[:rank]) / np.sum(values[:rank])
        k = min(int(np.searchsorted(share, self.variance)) + 1, rank)
        self.components_ = fix_signs(axes[:, ::-1].T[:k])
        self.target_mean_ = goal.mean

    def _goal(self, parts: dict[Any, Moments]) -> Moments:
        """The moments of the language that all are moved to."""
        expected = "a share above 0, at most 1"
        require_number("variance", self.variance, Real, lambda v: 0 < v <= 1, expected)
        if self.to is None and len(parts) == 1:
            return next(iter(parts.values()))
        if self.to not in list(parts):
            raise ValueError(
                f"to={self.to!r} is none of the fitted languages {known_labels(list(parts))}: "
                "name the one that all are moved to."
            )
        return parts[self.to]

    def _piece_of(self, part: Moments) -> Piece:
        return Affine(part.mean, (self.components_.T, self.components_), self.target_mean_)
