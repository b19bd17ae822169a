"""LIR: remove from each language the directions that its own rows share."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from posthoc_align.align._affine import PerLanguageAffine, Removal
from posthoc_align.linalg import EPS, fix_signs, numerical_rank
from posthoc_align.moments import Moments, Second, scatter_of


class LIR(PerLanguageAffine):
    r"""Language information removal: drop each language's own top principal components.

    Stacks the rows of language :math:`l` as :math:`A_l`, uncentred, takes its first r right
    singular vectors :math:`C_l`, and maps a row of that language to :math:`x - x\,C_l^\top C_l`.
    They are the top eigenvectors of the second moment :math:`S_l + n_l\mu_l\mu_l^\top`, hence
    fitted from moments; memory is O(L d^2), and the d x d projectors are never formed.

    Parameters
    ----------
    rank : int, default=1
        Directions removed from each language, at most min(rows, n_features).
    unseen : {"error", "global", "identity", "transductive"}, default="error"
        What to do with a language that was not in fit: raise, remove the top directions of all
        rows together, leave it alone, or remove the top directions of its rows in the batch.
    language_from : {"index"}, optional
        As in :class:`LanguageCentering`.

    Attributes
    ----------
    languages_ : list of length L
        Labels, sorted; ``[None]`` if fitted without labels.
    components_ : ndarray of shape (L, rank, n_features)
        Orthonormal directions :math:`C_l` of each language, strongest first. Where a language
        has fewer than `rank`, the last ones are zero.
    rank_ : ndarray of int of shape (L,)
        Number of directions removed from each language; smaller than asked for if the rows span
        less (a warning says so).
    moments_ : LanguageMoments
    n_features_in_ : int

    Raises
    ------
    ValueError
        If `rank` exceeds a language's rows or the dimensions, a language has a single row, an
        unseen language meets ``unseen="error"``, or several languages were fitted and transform
        gets no label.

    Notes
    -----
    Where the mean is long against the spread, rank 1 removes the mean's direction: close to
    centring, which removes the mean's offset alone. It also takes from every row what it says in
    that direction. What is removed is lost, so that there is no ``inverse_transform``;
    ``decompose`` gives both parts. Eigenvectors of a second moment are known to half as many
    digits as singular vectors of the rows would be; what float32 sums do not resolve counts as no
    direction.

    References
    ----------
    .. [1] Z. Yang, Y. Yang, D. Cer, E. Darve, "A Simple and Effective Method To Eliminate the Self
       Language Bias in Multilingual Representations", EMNLP 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from posthoc_align import LIR
    >>> X = np.array([[5.0, 1.0], [5.0, -1.0], [2.0, 7.0], [-2.0, 7.0]])
    >>> LIR().fit_transform(X, language=["en", "en", "de", "de"])
    array([[ 0.,  1.],
           [ 0., -1.],
           [ 2.,  0.],
           [-2.,  0.]])
    """

    pieces_: Sequence[Removal]

    @property
    def has_inverse(self) -> bool:
        """No: directions are removed from every language."""
        return False

    def __init__(
        self,
        *,
        rank: int = 1,
        unseen: str = "error",
        language_from: str | None = None,
    ) -> None:
        self.rank = rank
        self.unseen = unseen
        self.language_from = language_from

    @property
    def components_(self) -> np.ndarray:
        """Directions of each language, shape (L, rank, n_features)."""
        return np.stack([piece.back for piece in self.pieces_])

    @property
    def rank_(self) -> np.ndarray:
        """Number of directions removed from each language, shape (L,)."""
        return np.count_nonzero(self.components_.any(axis=2), axis=1)

    def _second(self) -> Second:
        return "full"

    def _piece_of(self, part: Moments) -> Removal:
        rank, width = self._wanted_of(part), part.n_features
        scatter = scatter_of(part)
        values, axes = np.linalg.eigh(scatter + part.count * np.outer(part.mean, part.mean))
        values = values[::-1]
        # The scatter was summed in the rows' own arithmetic, the mean's square was not.
        noise = max(part.eps * np.linalg.norm(scatter), max(part.eps**2, EPS) * values[0])
        found = min(rank, numerical_rank(values, width, 1.0, scale=float(noise)))
        if found < rank:
            warnings.warn(
                f"{self._whose(part)} spans {found} directions, fewer than rank={rank}; LIR "
                "removes those, which is all of its rows. Give a lower rank, or more rows.",
                stacklevel=4,
            )
        components = np.zeros((rank, width))
        if found:
            components[:found] = fix_signs(axes[:, ::-1].T[:found])
        return Removal(np.zeros(width), components.T, components)

    def _wanted_of(self, part: Moments) -> int:
        most = min(part.count, part.n_features)
        whole = isinstance(self.rank, (int, np.integer)) and not isinstance(self.rank, bool)
        if not (whole and 0 <= self.rank <= most):
            raise ValueError(
                f"rank={self.rank!r} is out of range: {self._whose(part)} has {part.count} rows of "
                f"{part.n_features} dimensions, which span at most {most} directions. Give an int "
                f"from 0 to {most}."
            )
        return int(self.rank)
