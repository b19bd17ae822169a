"""Task projection: the few directions that tell the classes of a task and not the language."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from posthoc_align._arrays import Array, cast_like, check_rows, like
from posthoc_align._blocks import PRODUCT_BLOCK, map_rows
from posthoc_align.align._base import MomentTransformer, as_array
from posthoc_align.align._cells import cell_moments
from posthoc_align.align._means import size_of_rows, within_scatter
from posthoc_align.align._on_device import tables_on
from posthoc_align.align._parameters import require_int, require_share
from posthoc_align.linalg import (
    EPS,
    check_shrinkage,
    fix_signs,
    inverse_root,
    numerical_rank,
    shrunk_covariance,
)
from posthoc_align.moments import LanguageMoments, Second


class TaskProjection(ClassNamePrefixFeaturesOutMixin, MomentTransformer):
    r"""Project rows onto directions that tell the classes of a task, but not the language.

    The second view of the survey of cross-lingual alignment [1]_ supposes for every task a linear
    projection in which the language is reduced and what the task needs is emphasised. Here
    it is the one of largest ratio of

    .. math:: \frac{v^\top B v}{v^\top\left((1-\gamma)\,S + \gamma\,L\right) v},

    with the covariance B of the class means, S within classes of one language, and L of the
    language means; :math:`\gamma` is `trade_off`. In closed form from the moments of each
    (language, class) cell: memory is O(d^2 + L C d), a fit costs O(n d^2 + d^3).

    Parameters
    ----------
    n_components : int, optional
        Dimensions of the result, at most C - 1 for C classes; None takes C - 1.
    trade_off : float in [0, 1], default=0.5
        0 looks at the task alone: linear discriminant analysis with language means taken out.
        0.5 counts differences of language as noise within classes. 1 allows only directions in
        which all language means are equal.
    shrinkage : float in [0, 1] or "auto", default="auto"
        Pull S towards a multiple of the identity, see
        :func:`posthoc_align.linalg.shrunk_covariance`.
    missing_label : label, optional
        The value of y of rows without a class; ``numpy.nan`` stands for NaN, None and pandas' NA.
        They count for L and S: give unlabelled rows of other languages to learn what to drop.
        None: every row has a class.
    language_from : {"index"}, optional
        As in :class:`LanguageCentering`.

    Attributes
    ----------
    components_ : ndarray of shape (n_components_, n_features)
        The vectors v, of unit variance S and most telling first; not orthogonal.
    n_components_ : int
        Fewer than asked for if the class means span less (a warning says so).
    task_variance_, language_variance_ : ndarray of shape (n_components_,)
        B and L along each component, where S is 1.
    mean_ : ndarray of shape (n_features,)
        Mean of all rows.
    shrinkage_ : float
        What was used.
    classes_ : list of length C
    languages_ : list of length L
    moments_ : LanguageMoments
        Of each (language, class) cell, and (language,) of rows without a class.
    n_features_in_ : int

    Raises
    ------
    ValueError
        If y is missing or has one class; if languages and classes cannot be told apart, since no
        chain of languages with classes in common connects them; if no class has two rows in one
        language; or if no direction is left.

    Notes
    -----
    Class means are fitted with language means beside them, by least squares over labelled rows,
    so that a class that is frequent in one language does not pass for a feature of that language
    nor the other way round; all classes then weigh the same in B and all languages in L. Rows
    without a class are taken to hold the classes in the shares that labelled rows have. A single
    language has no L. The directions that tell classes in one language need not be those of
    others: labelled rows of several languages help more than `trade_off` does. The result has no
    more dimensions than the task needs: for a head, not for retrieval.

    References
    ----------
    .. [1] K. Hammerl, J. Libovicky, A. Fraser, "Understanding Cross-Lingual Alignment -- A
       Survey", Findings of ACL 2024.
    .. [2] C. R. Rao, "The Utilization of Multiple Measurements in Problems of Biological
       Classification", Journal of the Royal Statistical Society B 10 (1948).

    Examples
    --------
    >>> import numpy as np
    >>> from posthoc_align import TaskProjection
    >>> X = np.array([[0.0, 0.0], [2.0, 1.0], [0.0, 4.0], [2.0, 5.0]])
    >>> X = np.vstack([X, X + [8.0, 0.0]])  # the other language lies to the right
    >>> y, language = np.tile([0, 0, 1, 1], 2), np.repeat(["en", "de"], 4)
    >>> task = TaskProjection(trade_off=1.0).fit(X, y, language=language)
    >>> task.components_.round(3) + 0.0
    array([[0.   , 1.706]])
    """

    requires_language: ClassVar[bool] = False
    _learned: ClassVar[tuple[str, ...]] = (
        "languages_",
        "classes_",
        "components_",
        "n_components_",
        "task_variance_",
        "language_variance_",
        "mean_",
        "shrinkage_",
    )

    classes_: list[Any]
    components_: np.ndarray
    n_components_: int
    task_variance_: np.ndarray
    language_variance_: np.ndarray
    mean_: np.ndarray
    shrinkage_: float

    def __init__(
        self,
        *,
        n_components: int | None = None,
        trade_off: float = 0.5,
        shrinkage: float | str = "auto",
        missing_label: Any = None,
        language_from: str | None = None,
    ) -> None:
        self.n_components = n_components
        self.trade_off = trade_off
        self.shrinkage = shrinkage
        self.missing_label = missing_label
        self.language_from = language_from

    @property
    def _n_features_out(self) -> int:
        return self.n_components_

    def _second(self) -> Second:
        return "within"

    def _moments_of(self, X: Array, y: Any, labels: np.ndarray | None) -> LanguageMoments:
        name, missing = type(self).__name__, self.missing_label
        return cell_moments(X, y, labels, self._second(), name=name, missing_label=missing)

    def _solve(self) -> None:
        self._check_parameters()
        cells, pooled = self.moments_, self.moments_.pooled
        languages = list(dict.fromkeys(cell[0] for cell in cells))
        classes = sorted({cell[1] for cell in cells if len(cell) > 1})
        wanted = self._wanted(len(classes), pooled.n_features)
        within = within_scatter(cells)
        if np.trace(within) <= pooled.n_features * (pooled.eps * size_of_rows(cells)) ** 2:
            raise ValueError(
                "No class has two different rows in one language, so there is no spread to hold "
                "class means against. Pass classes, not values, in y, and more rows of each."
            )
        of_class, of_language = _effects(cells, languages, classes)
        covariance, self.shrinkage_ = shrunk_covariance(within, pooled.count, self.shrinkage)
        whiten = inverse_root(covariance, eps=EPS if self.shrinkage_ else pooled.eps)
        task, language = of_class @ whiten, of_language @ whiten
        weigh = _away_from(language, self.trade_off)
        _, values, axes = np.linalg.svd(task @ weigh, full_matrices=False)
        scale = float(np.linalg.norm(task, axis=1).max())
        found = numerical_rank(values, max(task.shape), pooled.eps, scale=scale)
        if found == 0:
            raise ValueError(
                f"At trade_off={self.trade_off} nothing is left that tells the classes: they "
                "differ only where languages do, or not at all. Choose a lower trade_off, or "
                "check y."
            )
        if found < wanted:
            warnings.warn(
                f"TaskProjection keeps {found} components instead of {wanted}: the means of the "
                f"{len(classes)} classes differ in no more directions.",
                stacklevel=3,
            )
        rank = min(wanted, found)
        inside = fix_signs(axes[:rank]) @ weigh
        inside /= np.linalg.norm(inside, axis=1, keepdims=True)
        self.languages_, self.classes_ = languages, classes
        self.n_components_ = rank
        self.components_ = inside @ whiten
        self.task_variance_ = np.mean((task @ inside.T) ** 2, axis=0)
        self.language_variance_ = np.mean((language @ inside.T) ** 2, axis=0)
        self.mean_ = pooled.mean

    def _check_parameters(self) -> None:
        check_shrinkage(self.shrinkage)
        require_share("trade_off", self.trade_off)

    def _wanted(self, n_classes: int, width: int) -> int:
        if n_classes < 2:
            raise ValueError(
                f"y has {n_classes} class, and a task has at least 2. Pass rows of other classes."
            )
        most = min(n_classes - 1, width)
        if self.n_components is None:
            return most
        why = f"the means of {n_classes} classes in {width} dimensions span at most {most}"
        return require_int("n_components", self.n_components, 1, most, why)

    def transform(self, X: Any, *, language: Any = None) -> Array:
        """Project rows.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
        language : ignored
            Accepted for the common signature; all rows are treated the same.

        Returns
        -------
        array of shape (n_samples, n_components_)
            Of X's kind, type and device.
        """
        X = self._check_alike(X, language)
        mean, components = tables_on(self, X, lambda: (self.mean_, self.components_.T))
        return map_rows(
            lambda x, rows: (x - mean) @ components,
            X,
            width=self.n_components_,
            target=PRODUCT_BLOCK,
        )

    def inverse_transform(self, X: Any, *, language: Any = None) -> Array:
        """The rows nearest to the mean that are projected to X.

        Parameters
        ----------
        X : array of shape (n_samples, n_components_)
        language : ignored
        """
        check_is_fitted(self)
        X = check_rows(None, X)
        if X.shape[1] != self.n_components_:
            raise ValueError(
                f"X has {X.shape[1]} columns, but transform gives {self.n_components_}: pass "
                "what transform gave."
            )
        mean, back = like(self.mean_, X), like(np.linalg.pinv(self.components_.T), X)
        return map_rows(lambda x, rows: x @ back + mean, X, width=len(self.mean_))

    def decompose(self, X: Any, *, language: Any = None) -> tuple[Array, Array]:
        """Split rows into the part that is projected and the rest, which the task does not need.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
        language : ignored

        Returns
        -------
        neutral, specific : arrays of shape (n_samples, n_features)
            The mean plus the part along the components, and what is orthogonal to them; they add
            up to X.
        """
        x = check_rows(self, X)
        neutral = self.inverse_transform(as_array(self.transform(self._as_fitted(X, x))))
        specific = map_rows(lambda block, rows: block - neutral[rows], x)
        return cast_like(neutral, x), specific

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags


def _effects(
    cells: LanguageMoments, languages: list[Any], classes: list[Any]
) -> tuple[np.ndarray, np.ndarray]:
    """What class and language add to a row: (C, d) and (L, d), each with mean zero."""
    labelled = {cell: part for cell, part in cells.items() if len(cell) > 1}
    counts = np.array([part.count for part in labelled.values()], dtype=float)
    centre = cells.pooled.mean
    means = np.stack([part.mean for part in labelled.values()]) - centre
    known = list(dict.fromkeys(cell[0] for cell in labelled))
    design = np.zeros((len(labelled), len(known) + len(classes)))
    for row, (language, of_rows) in enumerate(labelled):
        design[row, known.index(language)] = 1
        design[row, len(known) + classes.index(of_rows)] = 1
    if np.linalg.matrix_rank(design) < design.shape[1] - 1:
        raise ValueError(
            "Classes and languages cannot be told apart: languages fall into groups that have no "
            "class in common. Pass labelled rows of one class in more languages."
        )
    weights = np.sqrt(counts)[:, None]
    fitted = np.linalg.lstsq(weights * design, weights * means, rcond=None)[0]
    of_class = fitted[len(known) :]
    of_class = of_class - of_class.mean(axis=0)
    shares = counts @ design[:, len(known) :] / counts.sum()
    added = {(name,): of_class[i] for i, name in enumerate(classes)} | {(): shares @ of_class}
    of_language = []
    for language in languages:
        own = [(cell, part) for cell, part in cells.items() if cell[0] == language]
        rest = [part.mean - centre - added[cell[1:]] for cell, part in own]
        of_language.append(np.average(rest, axis=0, weights=[part.count for _, part in own]))
    return of_class, np.stack(of_language) - np.mean(of_language, axis=0)


def _away_from(language: np.ndarray, trade_off: float) -> np.ndarray:
    """Inverse root of I + g/(1 - g) L, in whitened space; at g = 1 the projection off L."""
    _, values, axes = np.linalg.svd(language / np.sqrt(len(language)), full_matrices=False)
    rank = numerical_rank(values, max(language.shape), EPS, scale=max(1.0, float(values[0])))
    values, axes = values[:rank], axes[:rank]
    kept = np.sqrt((1 - trade_off) / ((1 - trade_off) + trade_off * values**2))
    return np.eye(language.shape[1]) - (axes.T * (1 - kept)) @ axes
