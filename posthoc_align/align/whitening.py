"""Whitening and re-colouring: one mean and one covariance for every language."""

from __future__ import annotations

from typing import Any

import numpy as np

from posthoc_align.align._covariance import CovarianceMatching, MatchedAffine
from posthoc_align.moments import Moments


class LanguageWhitening(CovarianceMatching):
    r"""Give every language the same mean and the same covariance.

    Maps a row of language :math:`l` to :math:`(x-\mu_l)\,C_l^{-1/2}C_t^{1/2}+\mu_t` with symmetric
    roots: whitening by the least change (ZCA [1]_), then colouring with the target's covariance
    (CORAL [2]_). Fitted from moments; memory is O(L d^2), time O(n d^2 + L d^3).

    Parameters
    ----------
    target : {"identity", "pooled"} or label, default="identity"
        Whose mean and covariance all languages get: zero and the identity; the mean of all rows
        and the covariance about the language means, pooled over languages; or those of one
        language, which itself stays as it is, bit for bit.
    shrinkage : float in [0, 1] or "auto", default="auto"
        Pull each covariance towards the multiple of the identity of the same trace:
        :math:`C \leftarrow (1-s)\,C + s\,\mathrm{tr}(C)/d\;I`. "auto" takes for each language the
        factor of Bodnar et al. [3]_, large where rows are few for the dimensions.
    unseen : {"error", "global", "identity", "transductive"}, default="error"
        What to do with a language that was not in fit: raise, whiten with mean and covariance of
        all rows, leave it alone, or whiten with those of its rows in the batch at hand.
    language_from : {"index"}, optional
        As in :class:`LanguageCentering`.

    Attributes
    ----------
    languages_ : list of length L
        Labels, sorted; ``[None]`` if fitted without labels.
    target_mean_ : ndarray of shape (n_features,)
    target_covariance_ : ndarray of shape (n_features, n_features)
    target_root_ : ndarray of shape (n_features, n_features)
        Symmetric square root of the target's covariance.
    shrinkage_ : ndarray of shape (L,)
        Shrinkage of each language's covariance.
    pieces_ : list of length L
        The affine map of each language, with its ``source``, ``matrix`` and ``target``.
    moments_ : LanguageMoments
    n_features_in_ : int

    Raises
    ------
    ValueError
        If the target or the shrinkage is unknown, a language has a single row, an unseen language
        meets ``unseen="error"``, or several languages were fitted and transform gets no label.

    Warns
    -----
    UserWarning
        If a covariance is singular and nothing is shrunk: directions without variance are removed
        (the pseudo-inverse), and ``inverse_transform`` has no answer.

    Notes
    -----
    Covariances divide by n - 1. Without shrinkage the covariances of all languages become exactly
    equal; with it, as equal as they are known to be. Whitening also lifts directions of little
    variance, which are mostly noise: more shrinkage lifts them less. The target's mean stays
    in all rows: before comparing directions, subtract ``target_mean_`` or centre. The whitening of
    sentence embeddings by Su et al. [4]_ is this one fitted on a single language, up to a
    rotation, which cosines do not see. :class:`GaussianTransport` moves rows less, by a rotation
    between the roots.

    References
    ----------
    .. [1] A. Kessy, A. Lewin, K. Strimmer, "Optimal Whitening and Decorrelation", The American
       Statistician 72 (2018).
    .. [2] B. Sun, J. Feng, K. Saenko, "Return of Frustratingly Easy Domain Adaptation", AAAI 2016.
    .. [3] T. Bodnar, A. K. Gupta, N. Parolya, "On the Strong Convergence of the Optimal Linear
       Shrinkage Estimator for Large Dimensional Covariance Matrix", Journal of Multivariate
       Analysis 132 (2014).
    .. [4] J. Su, J. Cao, W. Liu, Y. Ou, "Whitening Sentence Representations for Better Semantics
       and Faster Retrieval", arXiv 2103.15316 (2021).

    Examples
    --------
    >>> import numpy as np
    >>> from posthoc_align import LanguageWhitening
    >>> X = np.array([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> LanguageWhitening(shrinkage=0.0).fit_transform(X).round(3) + 0.0
    array([[ 1.225,  0.   ],
           [-1.225,  0.   ],
           [ 0.   ,  1.225],
           [ 0.   , -1.225]])
    """

    _own_target = "identity"

    def __init__(
        self,
        *,
        target: Any = "identity",
        shrinkage: float | str = "auto",
        unseen: str = "error",
        language_from: str | None = None,
    ) -> None:
        self.target = target
        self.shrinkage = shrinkage
        self.unseen = unseen
        self.language_from = language_from

    def _solve_own_target(self, parts: dict[Any, Moments]) -> tuple[np.ndarray, np.ndarray]:
        width = self.moments_.n_features
        return np.zeros(width), np.eye(width)

    def _piece_of(self, part: Moments) -> MatchedAffine:
        covariance = self._covariance_of(part)
        if self._is_target(part):
            origin = np.zeros(part.n_features)
            return MatchedAffine(origin, (), origin, covariance.shrinkage)
        matrix = covariance.power(-0.5) @ self.target_root_
        return MatchedAffine(part.mean, (matrix,), self.target_mean_, covariance.shrinkage)
