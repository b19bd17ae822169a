"""One embedding out of several encoders of the same texts."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from posthoc_align._arrays import (
    Array,
    cast_like,
    check_rows,
    empty_like_rows,
    index_like,
    namespace,
    to_host,
    upcast,
)
from posthoc_align._blocks import BadRow, require_finite
from posthoc_align.align._affine import Affine
from posthoc_align.align._consensus_space import (
    View,
    generalised_procrustes,
    mean_over_views,
    mean_square,
    multiset_cca,
    resized,
    rotation_onto,
    warn_if_unsettled,
)
from posthoc_align.align._parameters import require_choice, require_number
from posthoc_align.align.linear_map import LinearMap
from posthoc_align.align.recipe import FittedRecipe, parse_recipe

METHODS = ("procrustes", "cca")


class MetaEmbedding(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Map the embeddings of several encoders to one space and average them.

    The encoders' embeddings of a text lie side by side in its row, ``X = hstack([A, B])`` with
    ``widths=(A.shape[1], B.shape[1])``. A text that one encoder lacks has NaN in all of that
    encoder's columns, at fit and at transform: its average is over the others, from which ``fill``
    gives back what is missing. Spaces of different width are brought together by isometries into
    the widest (generalised Procrustes [1]_ on zero-padded rows) or by multi-set CCA.

    Parameters
    ----------
    widths : sequence of int, optional
        Columns of each encoder, from left to right. None: a single encoder, and the identity.
    method : {"procrustes", "cca"}, default="procrustes"
        How the spaces are brought together, see :class:`ConsensusAligner`.
    recipe : str or None, default="center,unit,center"
        Steps for each encoder before the map, as in :class:`PivotAligner`.
    penalty : float, default=1.0
        Ridge of "cca", in mean squared norms of a row.
    n_components : int, optional
        Number of canonical variates ("cca"). None: as many as the rows determine.
    max_iter : int, default=100
        Most rounds of generalised Procrustes.
    tol : float, default=1e-4
        Relative change of the space at which the rounds end.

    Attributes
    ----------
    maps_ : list of Affine
        From each encoder's space, after its recipe, to the common one.
    backs_ : list of Affine or None
        From the average of the other encoders to each encoder's own rows, by ridge regression;
        None where fewer than 3 texts have both.
    recipes_ : list of FittedRecipe
    n_rows_ : list of int
        Texts that each encoder had in fit.
    n_iter_ : int
        Rounds of generalised Procrustes; 1 where there were none.
    n_features_in_ : int

    Raises
    ------
    ValueError
        If the widths do not add up to the columns, a row has no encoder at all or NaN in a part of
        an encoder's columns, or an encoder shares fewer than 2 texts with the others.

    Warns
    -----
    ConvergenceWarning
        If ``max_iter`` was too small for ``tol``.

    Notes
    -----
    The average is not always better than the best encoder alone: it counts all encoders alike,
    the poor ones too. What it gives in any case is one space, and rows for texts that one lacks.

    References
    ----------
    .. [1] J. C. Gower, "Generalized Procrustes analysis", Psychometrika 40 (1975).
    .. [2] J. Coates, D. Bollegala, "Frustratingly Easy Meta-Embedding: Computing Meta-Embeddings by
       Averaging Source Word Embeddings", NAACL 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from posthoc_align import MetaEmbedding
    >>> A = np.array([[1.0, 0.0], [0.0, 2.0], [-1.0, -1.0], [0.0, -1.0]])
    >>> X = np.hstack([A, A[:, ::-1]])  # the second encoder swaps the axes
    >>> X[3, 2:] = np.nan  # and lacks the last text
    >>> meta = MetaEmbedding(widths=(2, 2), recipe=None).fit(X)
    >>> meta.transform(X).round(6) + 0.0
    array([[ 1.,  0.],
           [ 0.,  2.],
           [-1., -1.],
           [ 0., -1.]])
    """

    maps_: list[Affine]
    backs_: list[Affine | None]
    recipes_: list[FittedRecipe]
    n_features_in_: int

    def __init__(
        self,
        *,
        widths: Sequence[int] | None = None,
        method: str = "procrustes",
        recipe: str | None = "center,unit,center",
        penalty: float = 1.0,
        n_components: int | None = None,
        max_iter: int = 100,
        tol: float = 1e-4,
    ) -> None:
        self.widths = widths
        self.method = method
        self.recipe = recipe
        self.penalty = penalty
        self.n_components = n_components
        self.max_iter = max_iter
        self.tol = tol

    def fit(self, X: Any, y: Any = None) -> Self:
        """Find the common space and a map into it for every encoder.

        Parameters
        ----------
        X : array of shape (n_samples, sum(widths))
            NaN where an encoder lacks a text.
        y : ignored
        """
        X = check_rows(self, X, reset=True)
        self._check_parameters()
        steps, columns = parse_recipe(self.recipe), self._columns()
        present = self._present(X)
        self.recipes_, self.maps_, self.backs_, self.n_iter_ = [], [], [], 1
        self.n_rows_ = present.sum(axis=0).tolist()
        if len(columns) == 1:
            return self
        if self.n_components is not None and self.method != "cca":
            raise ValueError(
                f"n_components={self.n_components} belongs to method='cca': choose that, or leave "
                f"n_components=None for method={self.method!r}."
            )
        self._require_shared(present)
        n, views = X.shape[0], []
        for i, part in enumerate(columns):
            at = np.flatnonzero(present[:, i])
            recipe, rows = FittedRecipe.fit(steps, upcast(X[index_like(at, X)][:, part]))
            self.recipes_.append(recipe)
            views.append(View(rows, at))
        self.maps_ = self._solve(views, n)
        self.backs_ = [self._back(X, present, i) for i in range(len(columns))]
        return self

    def _check_parameters(self) -> None:
        require_choice("method", self.method, METHODS)
        require_number("penalty", self.penalty, Real, lambda p: 0 < p < np.inf, "a number > 0")
        require_number("max_iter", self.max_iter, Integral, lambda n: n >= 1, "an integer >= 1")
        require_number("tol", self.tol, Real, lambda t: 0 <= t < np.inf, "a number >= 0")
        if self.n_components is not None:
            expected = "None or an integer >= 1"
            require_number("n_components", self.n_components, Integral, lambda n: n >= 1, expected)

    def _columns(self) -> list[slice]:
        """The columns of each encoder."""
        widths = [self.n_features_in_] if self.widths is None else list(self.widths)
        for width in widths:
            require_number("widths", width, Integral, lambda n: n >= 1, "integers >= 1")
        if sum(widths) != self.n_features_in_:
            raise ValueError(
                f"widths={tuple(widths)} add up to {sum(widths)}, but X has "
                f"{self.n_features_in_} columns. Pass the encoders side by side, "
                "np.hstack([A, B]), and widths=(A.shape[1], B.shape[1])."
            )
        ends = np.cumsum(widths).tolist()
        return [slice(end - width, end) for end, width in zip(ends, widths, strict=True)]

    def _present(self, X: Array) -> np.ndarray:
        """Which row has which encoder, bool of shape (n_samples, n_encoders)."""
        columns = self._columns()
        if len(columns) == 1:
            require_finite(X)
            return np.ones((X.shape[0], 1), dtype=bool)
        xp, found = namespace(X), []
        for i, part in enumerate(columns):
            missing = to_host(xp.sum(xp.astype(xp.isnan(X[:, part]), xp.int64), axis=1))
            torn = (missing > 0) & (missing < part.stop - part.start)
            if np.any(torn):
                raise BadRow(
                    int(np.argmax(torn)),
                    f"Input X contains NaN in a part of encoder {i}'s columns in row {{row}}. NaN "
                    "in all of them says that the encoder lacks the text: remove or repair others.",
                )
            found.append(missing == 0)
            if np.any(found[-1]):
                at = np.flatnonzero(found[-1])
                try:
                    require_finite(X[index_like(at, X)][:, part])
                except BadRow as bad:
                    raise BadRow(int(at[bad.row]), bad.text) from None
        present = np.stack(found, axis=1)
        none = ~present.any(axis=1)
        if np.any(none):
            raise ValueError(
                f"{int(none.sum())} rows have no encoder at all (NaN in every column), first in "
                f"row {int(np.argmax(none))}: remove them."
            )
        return present

    def _require_shared(self, present: np.ndarray) -> None:
        shared = (present & (present.sum(axis=1, keepdims=True) > 1)).sum(axis=0)
        if np.any(shared < 2):
            raise ValueError(
                f"Too few texts that an encoder shares with others (by encoder: {shared.tolist()}, "
                f"n_samples = {len(present)}); at least 2 are needed, and about as many as "
                "dimensions for a map worth having. Add texts that all encoders have."
            )

    def _solve(self, views: list[View], n: int) -> list[Affine]:
        widest = max(views, key=lambda view: view.rows.shape[1])
        start = mean_over_views([widest], n)
        size = mean_square(views)
        if self.method == "cca":
            ridge = self.penalty * size
            shared = multiset_cca(
                views, n, penalty=ridge, n_components=self.n_components, near=start
            )
            space = resized(shared.rows, size)
        else:
            shared = generalised_procrustes(
                views, n, start=start, penalty=0.0, max_iter=self.max_iter, tol=self.tol
            )
            space = shared.rows
        self.n_iter_ = len(shared.history)
        warn_if_unsettled(shared, max_iter=self.max_iter, tol=self.tol)
        maps = []
        for view in views:
            onto = space[index_like(view.at, space)]
            if self.method == "cca":
                ridge_map = LinearMap(prior="zero", penalty=ridge, center=False)
                matrix = ridge_map.fit(view.rows, onto).coef_
            else:
                matrix = rotation_onto(view.rows, onto, 0.0)
            maps.append(Affine(np.zeros(len(matrix)), (matrix,), np.zeros(matrix.shape[1])))
        return maps

    def _back(self, X: Array, present: np.ndarray, i: int) -> Affine | None:
        """The map from the average of the other encoders to the rows of one."""
        others = present.copy()
        others[:, i] = False
        at = np.flatnonzero(present[:, i] & others.any(axis=1))
        if len(at) < 3:
            return None
        rows = X[index_like(at, X)]
        known = self._average(rows, others[at])
        back = LinearMap(prior="zero").fit(known, upcast(rows[:, self._columns()[i]]))
        return Affine(back.mean_in_, (back.coef_,), back.mean_out_)

    def _average(self, X: Array, present: np.ndarray) -> Array:
        """Average of the mapped rows of the encoders that are present, in the compute type."""
        mapped = []
        for i, part in enumerate(self._columns()):
            at = np.flatnonzero(present[:, i])
            if len(at):
                rows = self.recipes_[i].apply(upcast(X[index_like(at, X)][:, part]))
                mapped.append(View(self.maps_[i].on(rows)(rows), at))
        return mean_over_views(mapped, X.shape[0])

    def transform(self, X: Any) -> Array:
        """Average of what the encoders that have a text say of it.

        Parameters
        ----------
        X : array of shape (n_samples, sum(widths))
            NaN in all columns of an encoder that lacks a text.

        Returns
        -------
        array of shape (n_samples, max(widths))
            Of X's kind, type and device.
        """
        check_is_fitted(self)
        X = check_rows(self, X)
        present = self._present(X)
        if not self.maps_:
            return cast_like(1 * upcast(X), X)
        return cast_like(self._average(X, present), X)

    def inverse_transform(self, X: Any) -> Array:
        """Embeddings of all encoders that are likely for averages, by ridge regression.

        Parameters
        ----------
        X : array of shape (n_samples, max(widths))
            As ``transform`` gives them.

        Returns
        -------
        array of shape (n_samples, sum(widths))
        """
        check_is_fitted(self)
        X = check_rows(None, X)
        if X.shape[1] != self._n_features_out:
            raise ValueError(
                f"X has {X.shape[1]} features, but {type(self).__name__} maps to "
                f"{self._n_features_out}. Pass rows of the common space."
            )
        require_finite(X)
        if not self.maps_:
            return cast_like(1 * upcast(X), X)
        out = empty_like_rows(X, self.n_features_in_)
        for i, part in enumerate(self._columns()):
            out[:, part] = cast_like(self._require_back(i).on(X)(upcast(X)), X)
        return out

    def fill(self, X: Any) -> Array:
        """Put what is likely where an encoder lacks a text; all else stays as it came.

        Parameters
        ----------
        X : array of shape (n_samples, sum(widths))
            NaN in all columns of an encoder that lacks a text.

        Returns
        -------
        array of shape (n_samples, sum(widths))
            Without NaN, of X's kind, type and device.
        """
        check_is_fitted(self)
        X = check_rows(self, X)
        present = self._present(X)
        out = cast_like(1 * upcast(X), X)
        for i, part in enumerate(self._columns()):
            at = np.flatnonzero(~present[:, i])
            if len(at):
                there = index_like(at, X)
                known = self._average(X[there], present[at])
                out[there, part] = cast_like(self._require_back(i).on(known)(known), X)
        return out

    def _require_back(self, i: int) -> Affine:
        back = self.backs_[i]
        if back is None:
            raise ValueError(
                f"Encoder {i} shared fewer than 3 texts with others in fit, too few to give its "
                "rows back. Add texts that all encoders have."
            )
        return back

    @property
    def _n_features_out(self) -> int:
        return int(self.maps_[0].factors[0].shape[1]) if self.maps_ else int(self.n_features_in_)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.widths is not None
        tags.transformer_tags.preserves_dtype = ["float64", "float32", "float16"]
        return tags
