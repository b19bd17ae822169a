"""Orthogonal Procrustes: rotate one embedding space onto another."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from posthoc_align.align._map import PairedMap
from posthoc_align.linalg import isometry_by_products, nearest_isometry
from posthoc_align.pair_moments import PairMoments


class Procrustes(PairedMap):
    r"""Rotate one embedding space onto another, given paired rows.

    Solves :math:`\min_{R,\,s}\sum_i\lVert s\,(x_i-\bar x)R-(y_i-\bar y)\rVert^2` over orthogonal
    :math:`R`, from moments alone: one product ``X.T @ y`` and one d x d singular value
    decomposition; memory is O(d^2), not O(n d). Of rows on a GPU R is found there too, by products
    (scaled Newton-Schulz), where the cross-scatter has full rank and 256 or more columns.

    Parameters
    ----------
    center : bool, default=True
        Fit on centred rows and map mean onto mean. False fits and applies a rotation about the
        origin, as VecMap and MUSE do.
    reflection : bool, default=True
        Allow R to mirror the space, as the literature does. False makes R a proper rotation;
        between spaces of different width that makes no difference.
    scale : bool, default=False
        Also fit the scalar :math:`s`; otherwise :math:`s = 1`.

    Attributes
    ----------
    rotation_ : ndarray of shape (n_features_in, n_features_out)
        R, with orthonormal columns (rows, if the target space is the wider one).
    scale_ : float, unitless
    mean_in_, mean_out_ : ndarray of shape (n_features_in,), (n_features_out,)
    singular_values_ : ndarray of shape (min(n_features_in, n_features_out),)
        Of the cross-scatter; where they vanish R is not determined by the data. Where R was found
        without them they are computed when first asked for.
    matrix_ : ndarray of shape (n_features_in, n_features_out)
        ``scale_ * rotation_``, the linear part of the map.
    moments_ : PairMoments
        All that was kept of the data; add to it, save it, refit from it.
    n_features_in_ : int

    Raises
    ------
    ValueError
        If fewer than 2 pairs were seen, or rows of X and y do not correspond in number or place.

    Notes
    -----
    Unique only if the cross-scatter has full rank. With fewer pairs than dimensions the unseen
    directions are mapped as close to the identity as orthogonality allows (see
    :func:`posthoc_align.linalg.nearest_isometry`): deterministic, and a word the anchors say
    nothing about stays where it was. If ``y`` has fewer columns than ``X``, R maximises the trace
    of R'X'y, which is no longer the least-squares optimum.

    References
    ----------
    .. [1] P. Schonemann, "A generalized solution of the orthogonal Procrustes problem",
       Psychometrika 31 (1966).
    .. [2] M. Artetxe, G. Labaka, E. Agirre, "Learning principled bilingual mappings of word
       embeddings while preserving monolingual invariance", EMNLP 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from posthoc_align import Procrustes
    >>> X = np.array([[1.0, 0.0], [0.0, 2.0], [-1.0, -2.0]])
    >>> Procrustes().fit(X, X[:, ::-1]).rotation_.round(6) + 0.0
    array([[0., 1.],
           [1., 0.]])
    """

    _learned: ClassVar[tuple[str, ...]] = (
        "rotation_",
        "scale_",
        "mean_in_",
        "mean_out_",
        "singular_values_",
    )

    rotation_: np.ndarray
    scale_: float
    singular_values_: np.ndarray

    def __init__(
        self, *, center: bool = True, reflection: bool = True, scale: bool = False
    ) -> None:
        self.center = center
        self.reflection = reflection
        self.scale = scale

    def _solve(self) -> None:
        self._require_pairs(self.moments_)
        moments = self._centred_moments()
        given: Any = {
            "eps": moments.eps,
            "max_rank": moments.count - int(self.center),
            "reflection": self.reflection,
        }
        found = None
        if moments.device is not None:
            found = isometry_by_products(moments.cross, moments.device, **given)
        if found is None:
            found, self.singular_values_ = nearest_isometry(moments.cross, **given)
        self.rotation_ = found
        self.scale_ = 1.0
        if self.scale and moments.square_x > 0:
            # trace(R' cross), which is the sum of singular values unless R was kept from mirroring
            self.scale_ = float(np.sum(self.rotation_ * moments.cross)) / moments.square_x
        self.mean_in_, self.mean_out_ = moments.mean_x, moments.mean_y

    def _centred_moments(self) -> PairMoments:
        return self.moments_ if self.center else self.moments_.uncentred()

    def __getattr__(self, name: str) -> Any:
        if name == "singular_values_" and {"rotation_", "moments_"} <= vars(self).keys():
            cross = self._centred_moments().cross
            self.singular_values_ = np.linalg.svd(cross, compute_uv=False)
            return self.singular_values_
        return super().__getattr__(name)

    @property
    def matrix_(self) -> np.ndarray:
        """The linear part of the map, shape (n_features_in, n_features_out)."""
        return self.scale_ * self.rotation_

    def _inverse_matrix(self) -> np.ndarray:
        if self.scale_ == 0:  # every row was mapped onto the mean: so is its way back
            return np.zeros_like(self.rotation_.T)
        return self.rotation_.T / self.scale_
