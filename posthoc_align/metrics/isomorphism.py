"""Are two languages' spaces of one shape? Measures of distances within each of them.

All three scale rows to unit norm, centre them and scale them again, as the published measures do;
a copy of the rows in their compute type is made for it. All are blind to any orthogonal map of a
language, and so rate the spaces that an alignment starts from, never the alignment.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from posthoc_align._arrays import (
    Array,
    check_rows,
    empty_like_rows,
    like,
    namespace,
    resolution,
    to_host,
    upcast,
)
from posthoc_align._blocks import BadRow, blocks, require_finite
from posthoc_align.linalg import EPS, unit_block
from posthoc_align.metrics._forest import bottleneck, tree_lengths
from posthoc_align.metrics._scatter import check_pairs, double_pair_moments
from posthoc_align.metrics.retrieval import nearest

SHARE = 0.9  # of a spectrum's sum that the compared eigenvalues hold [Sogaard et al.]


def relational_similarity(X: Any, Y: Any) -> float:
    r"""Correlation of the cosines within one language with those of their translations (RSIM).

    .. math:: \mathrm{corr}_{i \ne j}\bigl(\cos(\tilde x_i, \tilde x_j),
        \cos(\tilde y_i, \tilde y_j)\bigr)

    over all pairs of different rows, each side unit, centred, unit. Higher means more alike.

    All n (n - 1) pairs are counted, from d x d products alone: time O(n d^2), memory one copy of
    the rows and O(d^2). (Published figures use 1,000 words.)

    Parameters
    ----------
    X, Y : array of shape (n_samples, d_x), (n_samples, d_y)
        Row i of Y translates row i of X. The widths may differ.

    Returns
    -------
    float
        Between -1 and 1.

    Raises
    ------
    ValueError
        If there are fewer than 3 pairs, row counts, kinds or devices differ, a row is zero, not
        finite or equal to the mean of the unit rows, or all rows of a side are equally far from
        each other, so that there is nothing to correlate.

    Notes
    -----
    Blind to a rotation of either side, to the lengths of rows and, nearly, to a shift (exactly
    so for rows of unit norm). It does not ask whether translations are near each other.

    References
    ----------
    .. [1] I. Vulic, S. Ruder, A. Sogaard, "Are all good word vector spaces isomorphic?", EMNLP
       (2020), arXiv:2004.04070.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[1.0, 0.0], [0.8, 0.6], [-0.6, 0.8], [0.0, -1.0]])
    >>> round(relational_similarity(X, -X[:, ::-1]), 6)
    1.0
    """
    X, Y = check_pairs(X, Y, minimum=3)
    joint = double_pair_moments(_shape(X, "X"), _shape(Y, "Y"))
    about_zero = joint.uncentred()
    n, pairs = X.shape[0], X.shape[0] * (X.shape[0] - 1)
    # Sums over all i, j of cosines and of their products; the n with i = j are 1 each.
    mean_x, mean_y = ((n**2 * float(m @ m) - n) / pairs for m in (joint.mean_x, joint.mean_y))
    xy, xx, yy = (
        (float(np.sum(np.asarray(part) ** 2)) - n) / pairs
        for part in (about_zero.cross, about_zero.scatter_x, about_zero.scatter_y)
    )
    for name, square, mean in (("X", xx, mean_x), ("Y", yy, mean_y)):
        # Cosines are known to a few spacings, and the difference of two sums to a few of theirs.
        if square - mean**2 <= max((16 * resolution(X)) ** 2, 64 * EPS * square):
            raise ValueError(
                f"All rows of {name} are equally far from each other: their cosines do not vary, "
                "and have no correlation. Pass more rows."
            )
    spread = sqrt((xx - mean_x**2) * (yy - mean_y**2))
    return max(-1.0, min(1.0, (xy - mean_x * mean_y) / spread))


def eigenvector_similarity(X: Any, Y: Any) -> float:
    r"""Difference of the spectra of two languages' nearest neighbour graphs (EVS).

    Each side, unit, centred, unit, becomes a graph that joins every row with its nearest other row
    by cosine. With the falling eigenvalues of its Laplacian, k the fewest of them that hold 90 %
    of their sum, for the side with the smaller k:

    .. math:: \sum_{i \le k} (\lambda_i^x - \lambda_i^y)^2

    Lower means more alike.

    Time O(n^2 d) in blocks for the neighbours, and the cube of each connected component's size for
    the eigenvalues (components of such graphs are small); memory one copy of the rows, the square
    of the largest component's size and about 64 MB.

    Parameters
    ----------
    X, Y : array of shape (n_x, d_x), (n_y, d_y)
        Two languages, not paired. Published figures use the 10,000 most frequent words.

    Returns
    -------
    float
        0 or more. It is a sum, and grows with the number of rows: compare values at one number.

    Raises
    ------
    ValueError
        If there are fewer than 3 rows, or a row is zero, not finite or equal to the mean of the
        unit rows.

    Notes
    -----
    Blind to a rotation of either side and to which row is which. Which of equally near rows is the
    nearest is not promised. The script of [2]_ sums over the k smallest eigenvalues, since its
    solver returns them rising; the definition [1]_ is over the largest, as here.

    References
    ----------
    .. [1] A. Sogaard, S. Ruder, I. Vulic, "On the limitations of unsupervised bilingual dictionary
       induction", ACL (2018), arXiv:1805.03620.
    .. [2] I. Vulic, S. Ruder, A. Sogaard, "Are all good word vector spaces isomorphic?", EMNLP
       (2020), arXiv:2004.04070.

    Examples
    --------
    Two pairs of neighbours have the spectrum 2, 2, 0, 0, wherever the pairs lie.

    >>> import numpy as np
    >>> X = np.array([[1.0, 0.0], [1.0, 0.1], [-1.0, 0.0], [-1.0, 0.1]])
    >>> round(eigenvector_similarity(X, X[::-1, ::-1]), 6)
    0.0
    """
    x, y = (_laplacian_spectrum(_checked_shape(Z, name)) for Z, name in ((X, "X"), (Y, "Y")))
    k = min(_leading(x), _leading(y), len(x), len(y))
    return float(np.sum((x[:k] - y[:k]) ** 2))


def gromov_hausdorff(X: Any, Y: Any) -> float:
    r"""Bottleneck distance of how the rows of two languages cluster: a Gromov-Hausdorff proxy.

    Each side, unit, centred, unit, has the distances :math:`\sqrt{2 - 2\cos}`. As a threshold
    on the distance grows, groups of rows merge; the thresholds at which they do (the persistence
    diagram of dimension 0 of the Vietoris-Rips filtration) are compared between the sides, each
    matched with one of the other or, at half its size, with none. Lower means more alike.

    Time O(n^2 d) in tiles for each of a few rounds (at most log2 n) of the minimum spanning tree,
    memory one copy of the rows and about 64 MB.

    Parameters
    ----------
    X, Y : array of shape (n_x, d_x), (n_y, d_y)
        Two languages, not paired. Published figures use the 5,000 most frequent words.

    Returns
    -------
    float
        Between 0 and 1. At most twice the Gromov-Hausdorff distance [1]_, which is the
        smallest distortion any matching of the rows can have, and NP-hard to compute.

    Raises
    ------
    ValueError
        If there are fewer than 3 rows, or a row is zero, not finite or equal to the mean of the
        unit rows.

    Notes
    -----
    Blind to a rotation of either side and to which row is which; and, being a maximum over one
    kind of distances, to most of the rest. Published code hands its matrix of distances to a
    function that takes it for coordinates, so that its figures differ.

    References
    ----------
    .. [1] F. Chazal, V. de Silva, S. Oudot, "Persistence stability for geometric complexes",
       Geometriae Dedicata 173 (2014).
    .. [2] B. Patra, J. Moniz, S. Garg, M. Gormley, G. Neubig, "Bilingual lexicon induction with
       semi-supervision in non-isometric embedding spaces", ACL (2019), arXiv:1908.06625.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> gromov_hausdorff(X, X[::-1])
    0.0
    """
    x, y = (tree_lengths(_checked_shape(Z, name)) for Z, name in ((X, "X"), (Y, "Y")))
    return bottleneck(x, y)


def _checked_shape(X: Any, name: str) -> Array:
    X = check_rows(None, X, name=name)
    if X.shape[0] < 3:
        raise ValueError(
            f"{name} has {X.shape[0]} rows: after centring, a shape needs 3 or more to show."
        )
    require_finite(X, name=name)
    return _shape(X, name)


def _shape(X: Array, name: str) -> Array:
    """Rows scaled to unit norm, centred and scaled again, in the compute type."""
    xp, n = namespace(X), X.shape[0]
    out = empty_like_rows(upcast(X[:1]), X.shape[1], n_rows=n)
    total = np.zeros(X.shape[1])
    for rows in blocks(X):
        out[rows] = unit_block(upcast(X[rows]), name=name, first=rows.start)
        total += to_host(xp.sum(out[rows], axis=0))
    mean = like(total / n, out)
    for rows in blocks(out):
        block = out[rows] - mean
        lengths = xp.sqrt(xp.sum(block * block, axis=1, keepdims=True))
        short = lengths[:, 0] <= 8 * resolution(X)  # what rounding leaves of a difference of zero
        if bool(xp.any(short)):
            raise BadRow(
                rows.start + int(xp.argmax(xp.astype(short, xp.int64))),
                f"Row {{row}} of {name} points where the mean of all unit rows lies: after "
                "centring it has no direction. Are all rows equal? Remove such rows.",
            )
        out[rows] = block / lengths
    return out


def _laplacian_spectrum(rows: Array) -> np.ndarray:
    """Falling eigenvalues of the Laplacian of the graph of nearest neighbours."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = rows.shape[0]
    near = to_host(nearest(rows, rows, k=2)).astype(np.int64)
    mate = np.where(near[:, 0] == np.arange(n), near[:, 1], near[:, 0])
    low, high = np.minimum(np.arange(n), mate), np.maximum(np.arange(n), mate)
    edges = np.unique(np.stack([low, high], axis=1), axis=0)
    graph = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(n, n))
    n_parts, part = connected_components(graph, directed=False)
    size = np.bincount(part, minlength=n_parts)
    # Rows sorted by component: a row's place in its own component's matrix.
    order = np.argsort(part, kind="stable")
    place = np.empty(n, dtype=np.int64)
    place[order] = np.arange(n) - np.repeat(np.cumsum(size) - size, size)
    values = []
    for width in np.unique(size).tolist():
        chosen = np.flatnonzero(size == width)
        values.append(_spectra(edges, part, place, chosen, width))
    return np.sort(np.concatenate(values))[::-1]


def _spectra(
    edges: np.ndarray, part: np.ndarray, place: np.ndarray, chosen: np.ndarray, width: int
) -> np.ndarray:
    """Eigenvalues of the Laplacians of the chosen components, which have `width` rows each."""
    number = np.full(int(part.max()) + 1, -1)
    number[chosen] = np.arange(len(chosen))
    component = number[part[edges[:, 0]]]
    inside = component >= 0
    c, a, b = component[inside], place[edges[inside, 0]], place[edges[inside, 1]]
    laplacian = np.zeros((len(chosen), width, width))
    laplacian[c, a, b] = laplacian[c, b, a] = -1.0
    diagonal = np.arange(width)
    laplacian[:, diagonal, diagonal] = -laplacian.sum(axis=2)
    return np.maximum(np.linalg.eigvalsh(laplacian), 0.0).ravel()


def _leading(values: np.ndarray) -> int:
    """How many of the falling values hold :data:`SHARE` of their sum."""
    share = np.cumsum(values) / np.sum(values)
    return int(np.searchsorted(share, SHARE - len(values) * EPS)) + 1
