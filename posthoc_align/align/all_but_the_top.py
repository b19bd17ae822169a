"""All-but-the-top: remove the directions that all rows share."""

from __future__ import annotations

import warnings
from typing import ClassVar

import numpy as np

from posthoc_align.align._affine import AffineTransformer, Removal
from posthoc_align.align._parameters import require_int
from posthoc_align.linalg import fix_signs, numerical_rank, symmetric_eigen
from posthoc_align.moments import Moments, Second, scatter_of


class AllButTheTop(AffineTransformer):
    r"""Centre rows and remove their strongest principal components.

    Maps :math:`x` to :math:`(x-\mu)(I-U^\top U)`, where :math:`\mu` is the mean of all rows
    and the rows of U are the principal axes of largest variance, whatever the language. Cosines
    then tell more: the mean and the top axes are common to all rows. Memory is O(d^2 + L d).

    Parameters
    ----------
    n_components : int, optional
        How many axes to remove; None takes a hundredth of the dimensions and at least one, the
        rule of thumb of [1]_. 0 only centres.
    language_from : {"index"}, optional
        As in :class:`LanguageCentering`.

    Attributes
    ----------
    components_ : ndarray of shape (n_components_, n_features)
        U, strongest axis first.
    explained_variance_ : ndarray of shape (n_features,)
        Variance along every principal axis, over n.
    mean_ : ndarray of shape (n_features,)
    n_components_ : int
        Fewer than asked for if the rows span less (a warning says so).
    languages_ : list of length L
    moments_ : LanguageMoments
    n_features_in_ : int

    Raises
    ------
    ValueError
        If ``n_components`` exceeds the number of dimensions, or there is a single row.

    Notes
    -----
    In [1]_ the axes are removed from the rows before centring, :math:`x-\mu-x\,U^\top U`, so the
    mean's part along them is taken away twice. The two differ by the constant
    :math:`\mu\,U^\top U`, which is kept out here: then the result has mean zero. Fit on rows of
    all languages together; which languages have how many rows matters. Where languages lie apart
    the top axes are largely the language, which :class:`LSAR` and :class:`LEACE` remove on purpose.

    References
    ----------
    .. [1] J. Mu, P. Viswanath, "All-but-the-Top: Simple and Effective Postprocessing for Word
       Representations", ICLR 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from posthoc_align import AllButTheTop
    >>> X = np.array([[9.0, 1.0], [-1.0, 1.0], [4.0, 2.0], [4.0, 0.0]])
    >>> AllButTheTop(n_components=1).fit_transform(X).round(6) + 0.0
    array([[ 0.,  0.],
           [ 0.,  0.],
           [ 0.,  1.],
           [ 0., -1.]])
    """

    learns_from_language: ClassVar[bool] = False
    _learned: ClassVar[tuple[str, ...]] = (
        *AffineTransformer._learned,
        "components_",
        "explained_variance_",
        "mean_",
        "n_components_",
    )

    components_: np.ndarray
    explained_variance_: np.ndarray
    mean_: np.ndarray
    n_components_: int

    def __init__(
        self,
        *,
        n_components: int | None = None,
        language_from: str | None = None,
    ) -> None:
        self.n_components = n_components
        self.language_from = language_from

    @property
    def has_inverse(self) -> bool:
        """Only where rows are centred and nothing is removed."""
        return self.n_components == 0

    def _second(self) -> Second:
        return "within"

    def _solve(self) -> None:
        pooled = self.moments_.pooled
        wanted = wanted_components(self.n_components, pooled.n_features)
        if pooled.count < 2:
            raise ValueError(
                "X has only 1 row (n_samples = 1), which has no principal components: pass at "
                "least 2."
            )
        axes, values = principal_axes(pooled)
        if len(axes) < wanted:
            warnings.warn(
                f"AllButTheTop removes {len(axes)} components instead of {wanted}: the "
                f"{pooled.count} rows vary in no more directions.",
                stacklevel=3,
            )
        self.languages_ = list(self.moments_)
        self.components_ = axes[:wanted]
        self.n_components_ = len(self.components_)
        self.explained_variance_ = values
        self.mean_ = pooled.mean
        self.piece_ = Removal(pooled.mean, self.components_.T, self.components_, -pooled.mean)


def wanted_components(n_components: int | None, width: int) -> int:
    """How many axes to remove, after a check; None is a hundredth of the dimensions."""
    if n_components is None:
        return max(1, width // 100)
    why = f"rows have n_features = {width} dimensions"
    return require_int("n_components", n_components, 0, width, why)


def principal_axes(part: Moments) -> tuple[np.ndarray, np.ndarray]:
    """The axes along which rows vary, strongest first in rows, and the variance along all axes."""
    values, vectors = symmetric_eigen(scatter_of(part) / part.count)
    values, axes = values[::-1], vectors.T[::-1]
    # Squares of deviations are known to the rounding of squares of the rows themselves.
    size = max(float(part.mean @ part.mean), float(values[0]))
    rank = numerical_rank(values, part.n_features, part.eps, scale=size)
    return (fix_signs(axes[:rank]) if rank else axes[:0]), values
