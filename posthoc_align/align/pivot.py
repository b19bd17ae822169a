"""The bridge from maps between two spaces to many languages: one map a language, onto a pivot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.utils.validation import has_fit_parameter

from posthoc_align._arrays import (
    Array,
    check_rows,
    check_weight,
    index_like,
    require_same_place,
    upcast,
)
from posthoc_align._blocks import require_finite
from posthoc_align.align._base import UNSEEN, require_two_rows
from posthoc_align.align._parameters import require_choice
from posthoc_align.align._routed import RoutedAligner, fit_recipe, take
from posthoc_align.align.procrustes import Procrustes
from posthoc_align.align.recipe import FittedRecipe, parse_recipe
from posthoc_align.languages import check_pair_id, pair_rows, require_unique_pairs


class PivotAligner(RoutedAligner):
    """Map every language onto a pivot language, with one map a language.

    Runs the recipe on each language with that language's own means, joins rows by ``pair_id``,
    fits a clone of ``estimator`` from each language to the pivot, and routes rows at transform by
    ``language``. The pivot's rows go through the recipe alone.

    Parameters
    ----------
    estimator : map, default=None
        ``Procrustes()`` when None; any estimator with ``fit(X, y)`` and ``transform(X)`` between
        two spaces: :class:`LinearMap`, :class:`TransportMap`, a scikit-learn regressor is none. Of
        a map that moves both sides (:class:`CCAMap`) its ``onto_target()`` is used, since the
        pivot stays where it is.
    pivot : str or int, default="en"
        Label of the language whose space the others are mapped into.
    recipe : str or None, default="center,unit,center"
        Steps before the map, of "center" (subtract the language's mean), "unit" (scale rows to
        unit norm) and "iternorm" (unit and center by turns until both hold), joined by commas; the
        standard recipe of VecMap. None: no steps.
    unseen : {"error", "global", "identity", "transductive"}, default="error"
        What to do with a language that was not in fit: raise; run the recipe with the means of all
        rows and map nothing; leave its rows as they came; or run the recipe with the means of its
        rows in the batch and map nothing.
    n_jobs : int, optional
        Languages fitted at the same time, in threads (joblib's meaning of the number).
    language_from : {"index"}, optional
        As in :class:`LanguageCentering`.

    Attributes
    ----------
    languages_ : list of length L
        Labels, sorted; ``[None]`` if fitted without labels.
    maps_ : dict
        From each language but the pivot to its fitted map.
    recipes_ : dict
        From each language to its :class:`~posthoc_align.align.recipe.FittedRecipe`.
    n_pairs_ : dict
        From each language but the pivot to the number of rows its map was fitted on.
    n_features_in_ : int

    Raises
    ------
    ValueError
        If the pivot is not among the languages, a language shares too few ``pair_id`` with it, a
        (language, pair_id) occurs twice, a language has a single row, a row is a zero vector
        where the recipe scales to unit norm, or transform gets no label.

    Notes
    -----
    Fitted without ``language`` it is the identity: nothing is known to be brought together. Fit
    keeps one copy of a language's rows and of the pivot's in memory at a time (for each job).

    References
    ----------
    .. [1] M. Artetxe, G. Labaka, E. Agirre, "Generalizing and Improving Bilingual Word Embedding
       Mappings with a Multi-Step Framework of Linear Transformations", AAAI 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from posthoc_align import PivotAligner
    >>> en = np.array([[1.0, 0.0], [0.0, 1.0], [-2.0, -1.0]])
    >>> X = np.vstack([en, en[:, ::-1] + 5.0])
    >>> aligner = PivotAligner(pivot="en", recipe=None)
    >>> Z = aligner.fit_transform(X, language=["en"] * 3 + ["de"] * 3, pair_id=[0, 1, 2] * 2)
    >>> np.allclose(Z[:3], Z[3:])
    True
    """

    __metadata_request__fit: ClassVar[dict[str, bool]] = {"language": True, "pair_id": True}

    n_pairs_: dict[Any, int]

    def __init__(
        self,
        estimator: Any = None,
        *,
        pivot: Any = "en",
        recipe: str | None = "center,unit,center",
        unseen: str = "error",
        n_jobs: int | None = None,
        language_from: str | None = None,
    ) -> None:
        self.estimator = estimator
        self.pivot = pivot
        self.recipe = recipe
        self.unseen = unseen
        self.n_jobs = n_jobs
        self.language_from = language_from

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        language: Any = None,
        pair_id: Any = None,
        sample_weight: Any = None,
    ) -> Self:
        """Fit one map a language.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
        y : ignored
        language : str, int or array-like of shape (n_samples,), optional
            Label of each row. None: one language, and the identity.
        pair_id : array-like of shape (n_samples,), optional
            Rows of different languages with the same id translate each other; -1 or None marks
            rows without a translation. Needed unless the map is fitted on unpaired clouds.
        sample_weight : array-like of shape (n_samples,), optional
            Weight of each row's pair with the pivot, for the map; what the pivot's own rows weigh
            is not used, and the recipe's means are unweighted. With metadata routing it is passed
            on only after ``set_fit_request(sample_weight=True)``: a pipeline's weights are mostly
            meant for the head.
        """
        X, labels = self._check_fit(X, language)
        require_choice("unseen", self.unseen, UNSEEN)
        steps = parse_recipe(self.recipe)
        weight = check_weight(sample_weight, X)
        if weight is not None:
            self._require_weighted()
        require_finite(X)
        self.maps_, self.recipes_, self.n_pairs_ = {}, {}, {}
        if labels is None:
            self.languages_ = [None]
            return self
        languages = np.unique(labels).tolist()
        rows = {label: np.flatnonzero(labels == label) for label in languages}
        self._check_groups(rows)
        pairs = self._pairs(labels, pair_id, rows)
        if self.unseen == "global":
            self.recipes_[None] = fit_recipe(steps, X, np.arange(X.shape[0]))[0]
        self.recipes_[self.pivot], target = fit_recipe(steps, X, rows[self.pivot])
        weighted = {} if weight is None else {"weight": weight}
        self._fit_maps(steps, X, rows, target, pairs, **weighted)
        self.languages_ = languages
        return self

    def _fit_maps(
        self,
        steps: tuple[str, ...],
        X: Array,
        rows: dict[Any, np.ndarray],
        target: Array,
        pairs: Mapping[Any, tuple[np.ndarray, np.ndarray] | None],
        weight: Array | None = None,
    ) -> None:
        """Learn recipe and map of each language; `target`: the pivot's rows after its recipe."""
        fitted = Parallel(n_jobs=self.n_jobs, prefer="threads")(
            delayed(_fit_language)(self._new_map(), steps, X, rows[label], target, pair, weight)
            for label, pair in pairs.items()
        )
        for label, (recipe, fitted_map) in zip(pairs, fitted, strict=True):
            self.recipes_[label], self.maps_[label] = recipe, fitted_map
            pair = pairs[label]
            self.n_pairs_[label] = len(rows[label]) if pair is None else len(pair[0])

    def _new_map(self) -> Any:
        if self.estimator is None:
            return Procrustes()
        if not hasattr(self.estimator, "transform"):
            raise TypeError(
                f"estimator={self.estimator!r} has no transform: give a map between two spaces, "
                "such as Procrustes(), LinearMap() or TransportMap()."
            )
        return clone(self.estimator)

    def _require_weighted(self) -> None:
        if not has_fit_parameter(self._new_map(), "sample_weight"):
            raise ValueError(
                f"{type(self._new_map()).__name__} cannot be fitted on weighted pairs: leave "
                "sample_weight out, or use a map that takes it, such as LinearMap()."
            )

    def _check_groups(self, rows: dict[Any, np.ndarray]) -> None:
        if self.pivot not in rows:
            raise ValueError(
                f"pivot={self.pivot!r} is not among the languages {list(rows)}: name one of them."
            )
        require_two_rows(rows)

    def _pairs(
        self, labels: np.ndarray, pair_id: Any, rows: dict[Any, np.ndarray]
    ) -> Mapping[Any, tuple[np.ndarray, np.ndarray] | None]:
        """For each language but the pivot, the positions of paired rows in it and in the pivot."""
        others = [label for label in rows if label != self.pivot]
        if not getattr(self._new_map(), "requires_pairs", True):
            return dict.fromkeys(others)
        if pair_id is None:
            if not others:
                return {}
            raise ValueError(
                f"{type(self._new_map()).__name__} is fitted on translation pairs, but fit got no "
                "pair_id (row order is never taken for it). Pass pair_id=: one id a row, equal for "
                "translations; or use a map without pairs, such as TransportMap()."
            )
        ids = check_pair_id(pair_id, len(labels))
        require_unique_pairs(labels, ids)
        pairs = {label: pair_rows(ids[rows[label]], ids[rows[self.pivot]]) for label in others}
        lacking = {label: len(pair[0]) for label, pair in pairs.items() if len(pair[0]) < 2}
        if lacking:
            raise ValueError(
                f"Too few pairs with the pivot {self.pivot!r} (language: pairs): {lacking}; at "
                "least 2 are needed, and about as many as dimensions for a map worth having. "
                "Check that pair_id is shared across languages, or leave these languages out."
            )
        return pairs

    def add_language(
        self, X: Any, language: Any, target: Any, *, sample_weight: Any = None
    ) -> Self:
        """Fit one more language; the results of all others stay bit-identical.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Rows of the new language.
        language : str or int
            Its label.
        target : array of shape (n_target, n_features)
            Rows of the pivot language: row i translates row i of X, or, for a map without pairs,
            any rows. They go through the pivot's recipe as fitted.
        sample_weight : array-like of shape (n_samples,), optional
            Weight of each row of X, as in :meth:`fit`.
        """
        self._check_new_language(language)
        X, target = check_rows(self, X), check_rows(self, target, name="target")
        require_same_place(X, target, names=("X", "target"))
        weight = check_weight(sample_weight, X)
        if weight is not None:
            self._require_weighted()
        self._check_groups({language: np.arange(X.shape[0]), self.pivot: np.arange(2)})
        new, pair = self._new_map(), None
        if getattr(new, "requires_pairs", True):
            if X.shape[0] != target.shape[0]:
                raise ValueError(
                    f"X has {X.shape[0]} rows and target has {target.shape[0]}: row i of target "
                    "must translate row i of X."
                )
            pair = (np.arange(X.shape[0]), np.arange(X.shape[0]))
        require_finite(X)
        require_finite(target, name="target")
        onto = self.recipes_[self.pivot].apply(upcast(target))
        steps, all_rows = parse_recipe(self.recipe), np.arange(X.shape[0])
        recipe, fitted = _fit_language(new, steps, X, all_rows, onto, pair, weight)
        self.languages_ = [*self.languages_, language]
        self.recipes_ = {**self.recipes_, language: recipe}
        self.maps_ = {**self.maps_, language: fitted}
        self.n_pairs_ = {**self.n_pairs_, language: X.shape[0]}
        return self


def _fit_language(
    estimator: Any,
    steps: tuple[str, ...],
    X: Array,
    at: np.ndarray,
    target: Array,
    pair: tuple[np.ndarray, np.ndarray] | None,
    weight: Array | None = None,
) -> tuple[FittedRecipe, Any]:
    """The recipe and the map of one language; `target` has been through the pivot's recipe."""
    recipe, own = fit_recipe(steps, X, at)
    used = slice(None) if pair is None else pair[0]
    weighted = {} if weight is None else {"sample_weight": weight[index_like(at[used], X)]}
    if pair is None:
        return recipe, estimator.fit(own, target, **weighted)
    return recipe, estimator.fit(take(own, pair[0]), take(target, pair[1]), **weighted)
