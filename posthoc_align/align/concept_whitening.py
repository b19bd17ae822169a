"""Whitening within concepts: damp the directions in which translations disagree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Self

import numpy as np

from posthoc_align._arrays import (
    Array,
    index_like,
    namespace,
    resolution,
    to_host,
    upcast,
    zeros_on,
)
from posthoc_align._blocks import explain_nonfinite, is_finite_sum, require_finite, silent
from posthoc_align.align._affine import Affine, AffineTransformer
from posthoc_align.align._parameters import require_share
from posthoc_align.languages import check_pair_id, is_paired
from posthoc_align.linalg import check_shrinkage, shrunk_covariance, symmetric_power
from posthoc_align.moments import LanguageMoments, Moments

CHUNK = 2048  # rows whose concepts are averaged by one product


class ConceptWhitening(AffineTransformer):
    r"""Damp the directions in which translations of one text disagree.

    Maps x to :math:`x\,C^{-p/2}`, where C is the covariance of rows about the mean of their
    concept: within-class covariance normalisation [1]_, with the translations of a text as
    its class. All languages, the pivot included, are moved alike. Meant as the last step, after
    an aligner has brought the languages together: what it left of their differences is noise, and
    a cosine that trusts noisy directions less finds more translations.

    Parameters
    ----------
    power : float in [0, 1], default=0.5
        p: 1 whitens the disagreement altogether, 0 leaves rows as they are.
    shrinkage : float in [0, 1] or "auto", default="auto"
        Pull C towards the multiple of the identity of the same trace; "auto" as in
        :class:`LanguageWhitening`.
    language_from : {"index"}, optional
        As in :class:`LanguageCentering`.

    Attributes
    ----------
    matrix_ : ndarray of shape (n_features, n_features)
        :math:`C^{-p/2}`, symmetric, scaled so that its mean squared singular value is 1.
    shrinkage_ : float
    languages_ : list
        ``[None]``: none is told apart.
    moments_ : LanguageMoments
        Of the rows about the means of their concepts; the count is that of rows less concepts.
    n_features_in_ : int

    Raises
    ------
    ValueError
        If no two rows share a ``pair_id``, or a parameter is out of range.

    Notes
    -----
    Fitted without ``pair_id`` it is the identity: nothing is known to be a translation. A concept
    must not be spread over two calls of ``partial_fit``, since its mean is taken in each. Inverse
    exact; time O(n d^2 + d^3), memory O(d^2).

    References
    ----------
    .. [1] A. O. Hatch, S. Kajarekar, A. Stolcke, "Within-class covariance normalization for
       SVM-based speaker recognition", Interspeech 2006.

    Examples
    --------
    >>> import numpy as np
    >>> from posthoc_align import ConceptWhitening
    >>> X = np.array([[1.0, 2.0], [1.0, -2.0], [-1.0, 2.0], [-1.0, -2.0]])
    >>> whitening = ConceptWhitening(shrinkage=0.5).fit(X, pair_id=[0, 0, 1, 1])
    >>> whitening.transform(X[:1]).round(3)  # the second column tells translations apart
    array([[1.126, 1.711]])
    """

    __metadata_request__fit: ClassVar[dict[str, bool]] = {"language": True, "pair_id": True}
    __metadata_request__partial_fit: ClassVar[dict[str, bool]] = {"language": True, "pair_id": True}

    learns_from_language: ClassVar[bool] = False
    _learned: ClassVar[tuple[str, ...]] = (
        *AffineTransformer._learned,
        "matrix_",
        "shrinkage_",
    )

    matrix_: np.ndarray
    shrinkage_: float

    def __init__(
        self,
        *,
        power: float = 0.5,
        shrinkage: float | str = "auto",
        language_from: str | None = None,
    ) -> None:
        self.power = power
        self.shrinkage = shrinkage
        self.language_from = language_from

    def fit(self, X: Any, y: Any = None, *, language: Any = None, pair_id: Any = None) -> Self:
        """Fit on all rows; forgets what was seen before.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
        y : ignored
        language : ignored
            All languages are treated alike.
        pair_id : array-like of shape (n_samples,), optional
            Rows with the same id translate each other; -1 or None marks rows without a
            translation, which are not used. None: the identity.
        """
        X, _ = self._check_fit(X, language)
        return self.fit_moments(_about_concepts(X, pair_id))

    def partial_fit(
        self, X: Any, y: Any = None, *, language: Any = None, pair_id: Any = None
    ) -> Self:
        """Add rows to what was seen before. Parameters as in :meth:`fit`."""
        X, _ = self._check_fit(X, language, reset="moments_" not in vars(self))
        return self._add_moments(_about_concepts(X, pair_id))

    def fit_transform(
        self, X: Any, y: Any = None, *, language: Any = None, **fit_params: Any
    ) -> Array:
        """Do ``fit(X, y, ...).transform(X)``. Parameters as in :meth:`fit`."""
        return self.fit(X, y, **fit_params).transform(X)

    def _solve(self) -> None:
        require_share("power", self.power)
        check_shrinkage(self.shrinkage)
        part, width = self.moments_[None], self.moments_.n_features
        self.languages_, self.matrix_, self.shrinkage_ = [None], np.eye(width), 1.0
        if part.count and part.scatter is not None and np.trace(part.scatter) > 0:
            covariance, self.shrinkage_ = shrunk_covariance(
                part.scatter, part.count, self.shrinkage
            )
            root = symmetric_power(covariance, -self.power / 2, eps=part.eps)
            self.matrix_ = root * np.sqrt(width) / np.linalg.norm(root)
        origin = np.zeros(width)
        self.piece_ = Affine(origin, (self.matrix_,), origin)


def _about_concepts(X: Array, pair_id: Any) -> LanguageMoments:
    """Moments of the rows about the means of their concepts, in one pass in order of concepts."""
    width, eps = X.shape[1], resolution(X)
    order, codes = np.arange(0), np.arange(0)
    if pair_id is None:
        require_finite(X)  # no sum is taken that would show it
    else:
        ids = check_pair_id(pair_id, X.shape[0])
        at = np.flatnonzero(is_paired(ids))
        _, codes, counts = np.unique(ids[at], return_inverse=True, return_counts=True)
        shared = counts[codes] > 1
        order = at[shared][np.argsort(codes[shared], kind="stable")]
        codes = np.sort(codes[shared])
        if not len(order):
            raise ValueError(
                "No two rows share a pair_id: nothing says what translates what. Pass the ids "
                "of all languages together, equal for translations."
            )
    scatter, counted = zeros_on(X, (width, width)), 0
    for rows in _whole_concepts(codes):
        block = upcast(X[index_like(order[rows], X)])
        here = np.unique(codes[rows], return_inverse=True)[1]
        xp = namespace(block)
        groups = index_like(np.arange(here[-1] + 1), X)
        member = xp.astype(index_like(here, X)[None, :] == groups[:, None], block.dtype)
        with silent():
            means = (member @ block) / xp.sum(member, axis=1, keepdims=True)
            away = block - means[index_like(here, X)]
            scatter = scatter + away.T @ away
        counted += len(here) - len(groups)
    if not is_finite_sum(scatter):
        explain_nonfinite(X)
    part = Moments(counted, np.zeros(width), scatter=to_host(scatter), eps=eps)
    return LanguageMoments({None: part})


def _whole_concepts(codes: np.ndarray) -> Iterator[slice]:
    """Slices of sorted codes, of about ``CHUNK`` rows, that split no run of equal codes."""
    start = 0
    while start < len(codes):
        last = codes[min(start + CHUNK, len(codes)) - 1]
        stop = int(np.searchsorted(codes, last, side="right"))
        yield slice(start, stop)
        start = stop
