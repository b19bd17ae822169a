"""Cluster-based isotropy: centre each cluster of rows and remove its strongest directions."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from posthoc_align._arrays import (
    Array,
    index_like,
    labels_to_host,
    like,
    namespace,
    to_host,
    upcast,
)
from posthoc_align._blocks import PRODUCT_BLOCK, blocks, require_finite, silent
from posthoc_align.align._affine import Removal, apply_pieces
from posthoc_align.align._base import LanguageTransformer
from posthoc_align.align._on_device import kept, tables_on
from posthoc_align.align._parameters import require_number
from posthoc_align.align.all_but_the_top import principal_axes, wanted_components
from posthoc_align.moments import LanguageMoments, Moments

SEEDS_A_CLUSTER = 256  # rows the seeding looks at: enough that each cluster is met


class ClusterIsotropy(LanguageTransformer):
    r"""Centre each cluster of rows and remove its strongest principal components.

    Embedding spaces fall into clusters that share no dominant directions; this does what
    :class:`AllButTheTop` does, for each cluster of a k-means by itself. A row that was not in fit
    is treated as the rows about the nearest centroid. Memory is O(k d^2) for k clusters; rows
    are clustered block by block on their own device.

    Parameters
    ----------
    n_clusters : int, default=4
        At most: a cluster of fewer than ``n_components + 2`` rows would be sent to zero as a whole
        and is dissolved into its neighbours.
    n_components : int, optional
        How many axes to remove in each cluster; None takes a hundredth of the dimensions and at
        least one. 0 only centres.
    max_iter : int, default=300
        Passes over the rows.
    tol : float, default=1e-4
        Stop when centroids move by less than this share of the spread of the rows (in squares).
    random_state : int, RandomState or None, default=None
        Seeds the k-means++ choice of the first centroids.
    language_from : {"index"}, optional
        As in :class:`LanguageCentering`.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (k, n_features)
        Means of the clusters, which become zero.
    cluster_sizes_ : ndarray of shape (k,)
        Rows of each cluster.
    components_ : list of ndarray of shape (n_components, n_features)
        Orthonormal axes removed in each cluster; fewer in a cluster that spans less.
    n_iter_ : int
    n_features_in_ : int

    Raises
    ------
    ValueError
        If there are fewer rows than clusters, or ``n_components`` exceeds the dimensions.

    Warns
    -----
    ConvergenceWarning
        If ``max_iter`` passes were not enough.
    UserWarning
        If clusters span fewer directions than are to be removed, which sends their rows to zero.

    Notes
    -----
    The map jumps where the nearest centroid changes, and what tells clusters apart is lost. With
    one cluster it is :class:`AllButTheTop`. Languages play no part, though clusters of an
    unaligned space are largely languages. k-means finds a local optimum, which depends on the
    seed.

    References
    ----------
    .. [1] S. Rajaee, M. T. Pilehvar, "A Cluster-based Approach for Improving Isotropy in
       Contextual Embedding Space", ACL-IJCNLP 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from posthoc_align import ClusterIsotropy
    >>> X = np.array([[0.0, 1.0], [4.0, 1.0], [70.0, 3.0], [70.0, 9.0]])
    >>> isotropy = ClusterIsotropy(n_clusters=2, n_components=0, random_state=0)
    >>> isotropy.fit_transform(X)
    array([[-2.,  0.],
           [ 2.,  0.],
           [ 0., -3.],
           [ 0.,  3.]])
    """

    requires_language: ClassVar[bool] = False

    cluster_centers_: np.ndarray
    cluster_sizes_: np.ndarray
    components_: list[np.ndarray]
    n_iter_: int

    def __init__(
        self,
        *,
        n_clusters: int = 4,
        n_components: int | None = None,
        max_iter: int = 300,
        tol: float = 1e-4,
        random_state: Any = None,
        language_from: str | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.n_components = n_components
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state
        self.language_from = language_from

    def fit(self, X: Any, y: Any = None, *, language: Any = None) -> Self:
        """Cluster the rows and fit each cluster.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            NumPy array, memory map or torch tensor.
        y : ignored
        language : ignored
            Accepted for the common signature.
        """
        X, _ = self._check_fit(X, language)
        wanted = wanted_components(self.n_components, X.shape[1])
        self._check_parameters(X.shape[0])
        require_finite(X)
        rng = check_random_state(self.random_state)
        codes, self.n_iter_ = _lloyd(X, self.n_clusters, self.max_iter, self.tol, rng)
        codes = _dissolve(X, codes, least=wanted + 2)
        parts = list(LanguageMoments.of(X, codes, second="full").values())
        self.cluster_centers_ = np.stack([part.mean for part in parts])
        self.cluster_sizes_ = np.array([part.count for part in parts])
        self.components_ = [principal_axes(part)[0][:wanted] for part in parts]
        short = [i for i, axes in enumerate(self.components_) if len(axes) < wanted]
        if short:
            warnings.warn(
                f"Clusters {short} of {self.cluster_sizes_[short].tolist()} rows vary in fewer "
                f"than {wanted} directions and are sent to zero: take fewer clusters or axes.",
                stacklevel=2,
            )
        return self

    def _check_parameters(self, n_rows: int) -> None:
        for name in ("n_clusters", "max_iter"):
            require_number(name, getattr(self, name), Integral, lambda n: n >= 1, "an int >= 1")
        require_number("tol", self.tol, Real, lambda t: 0 <= t < np.inf, "a number >= 0")
        if n_rows < max(2, self.n_clusters):
            raise ValueError(
                f"X has too few rows (n_samples = {n_rows}) for n_clusters={self.n_clusters}: "
                "pass at least as many rows as clusters, and 2."
            )

    def transform(self, X: Any, *, language: Any = None) -> Array:
        """Do to each row what is done in the cluster of the nearest centroid.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
        language : ignored
            Accepted for the common signature; clusters know no languages.

        Returns
        -------
        array of shape (n_samples, n_features)
            Of X's kind, type and device.
        """
        X = self._check_alike(X, language)
        tables = tables_on(self, X, lambda: _tables(self.cluster_centers_), use="nearest")
        codes, _ = _nearest_by(tables, X)  # of no meaning for rows refused below
        return apply_pieces(kept(self, X, self._pieces, use="transform"), codes, X)

    def _pieces(self) -> list[Removal]:
        """What is done to the rows of each cluster."""
        return [
            Removal(mean, axes.T, axes, -mean)
            for mean, axes in zip(self.cluster_centers_, self.components_, strict=True)
        ]


def _lloyd(
    X: Array, n_clusters: int, max_iter: int, tol: float, rng: np.random.RandomState
) -> tuple[np.ndarray, int]:
    """The cluster of each row, and the number of passes."""
    spread = float(np.sum(Moments.of(X, second="diagonal").variance))
    centres = _seeds(X, n_clusters, rng)
    codes, _ = _nearest(X, centres)
    for n_iter in range(1, max_iter + 1):
        before, old = centres.copy(), codes
        for code, part in LanguageMoments.of(X, codes).items():
            centres[code] = part.mean  # a cluster that lost all rows stays where it was
        codes, _ = _nearest(X, centres)
        moved = float(np.sum((centres - before) ** 2))
        if np.array_equal(codes, old) or moved <= tol * spread:
            return codes, n_iter
    warnings.warn(
        f"k-means still moved its centroids after max_iter={max_iter} passes. Raise max_iter.",
        ConvergenceWarning,
        stacklevel=3,
    )
    return codes, max_iter


def _dissolve(X: Array, codes: np.ndarray, least: int) -> np.ndarray:
    """Give rows of clusters of fewer than `least` rows to the nearest other, smallest first."""
    while True:
        parts = list(LanguageMoments.of(X, codes).values())
        smallest = int(np.argmin([part.count for part in parts]))
        if len(parts) == 1 or parts[smallest].count >= least:
            return codes
        del parts[smallest]
        codes, _ = _nearest(X, np.stack([part.mean for part in parts]))


def _seeds(X: Array, n_clusters: int, rng: np.random.RandomState) -> np.ndarray:
    """k-means++ (Arthur & Vassilvitskii, SODA 2007) on a sample, in its greedy form.

    Of a few rows drawn in proportion to their squared distance from the seeds so far, that one
    is taken which leaves the least distance.
    """
    size = min(X.shape[0], SEEDS_A_CLUSTER * n_clusters)
    at = np.sort(rng.choice(X.shape[0], size, replace=False))
    sample = upcast(X[index_like(at, X)])
    draws, left = 1, np.ones(size)
    seeds: list[np.ndarray] = []
    while len(seeds) < n_clusters and np.any(left > 0):
        options = []
        for row in rng.choice(size, draws, p=left / left.sum()):
            seed = to_host(sample[int(row)])
            distances = _nearest(sample, seed[None, :])[1]
            options.append((np.minimum(left, distances) if seeds else distances, seed))
        left, seed = min(options, key=lambda option: float(np.sum(option[0])))
        seeds.append(seed)
        draws = 2 + int(np.log(n_clusters))
    return np.stack(seeds)


def _nearest(X: Array, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest centroid of each row and its squared distance, found where X lies."""
    return _nearest_by([like(table, X) for table in _tables(centres)], X)


def _tables(centres: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Their middle, the centroids about it in columns, and half their squared distances to it."""
    middle = centres.mean(axis=0)
    around = centres - middle  # so that nothing cancels far from the origin
    return middle, around.T, np.sum(around**2, axis=1) / 2


def _nearest_by(tables: list[Array], X: Array) -> tuple[np.ndarray, np.ndarray]:
    xp, (shift, table, half) = namespace(X), tables
    codes, distances = [], []
    for rows in blocks(X, target=PRODUCT_BLOCK):
        with silent():
            x = upcast(X[rows]) - shift
            scores = x @ table - half
            best = xp.argmax(scores, axis=1)
            gap = xp.sum(x * x, axis=1) - 2 * xp.max(scores, axis=1)
        codes.append(labels_to_host(best))
        distances.append(to_host(gap))
    return np.concatenate(codes), np.maximum(np.concatenate(distances), 0.0)
