"""Map every language towards a space that no language owns."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from joblib import Parallel, delayed

from posthoc_align._arrays import Array, check_rows, check_target, require_same_place, upcast
from posthoc_align._blocks import require_finite
from posthoc_align.align._affine import Affine
from posthoc_align.align._base import UNSEEN
from posthoc_align.align._consensus_space import (
    Shared,
    View,
    concepts_of,
    generalised_procrustes,
    mean_over_views,
    mean_square,
    multiset_cca,
    require_one_group,
    resized,
    rotation_onto,
    warn_if_unsettled,
)
from posthoc_align.align._parameters import require_choice, require_number
from posthoc_align.align._routed import RoutedAligner, fit_recipe, take
from posthoc_align.align.linear_map import LinearMap
from posthoc_align.align.recipe import parse_recipe
from posthoc_align.languages import check_pair_id, pair_rows, require_unique_pairs

METHODS = ("ridge", "procrustes", "cca")
PULL = 0.3  # of a row's mean square, for rotations; from held-out pairs of 20 languages of SIB-200
CCA_RIDGE = 1.0  # likewise


class ConsensusAligner(RoutedAligner):
    r"""Map every language towards a consensus of all of them, where no language is the pivot.

    Rows go through the recipe, are joined to concepts by ``pair_id``, and a consensus row is
    found for every concept that two languages or more have. Generalised Procrustes solves

    .. math:: \min_{C,\,R_l} \sum_l \lVert Z_l R_l - C_l \rVert^2 + \lambda \lVert R_l - I \rVert^2

    over orthogonal R_l, where C_l are the rows of C for the concepts that language l has: a
    missing translation is left out of the mean. Fit holds a copy or two of the paired rows.

    Parameters
    ----------
    method : {"ridge", "procrustes", "cca"}, default="ridge"
        "procrustes": the R_l. "ridge": C as above, scaled to the size of the rows, then a
        :class:`LinearMap` from each language onto it, kept close to the identity. "cca": ridge maps
        onto the variates of regularised multi-set CCA (MAXVAR) [2]_, [3]_, turned back by one
        rotation to lie near the mean of the rows.
    recipe : str or None, default="center,unit,center"
        Steps before the map, as in :class:`PivotAligner`.
    penalty : float or "auto", default="auto"
        :math:`\lambda`, in units of a summed squared coordinate: with unit rows, 1.0 weighs as much
        as one concept. It holds to the identity ("ridge", "procrustes") or to zero ("cca", where
        it must be positive). "auto": of least leave-one-out error for each language ("ridge"), 0.3
        ("procrustes") or 1 ("cca") mean squared row norms.
    n_components : int, optional
        Number of canonical variates ("cca"), the rank of the maps. None: as many as the rows
        determine.
    unseen : {"error", "global", "identity", "transductive"}, default="error"
        What to do with a language that was not in fit, as in :class:`PivotAligner`.
    max_iter : int, default=100
        Most rounds of generalised Procrustes.
    tol : float, default=1e-2
        Relative change of the consensus at which the rounds end.
    n_jobs : int, optional
        Languages solved at the same time, in threads (joblib's meaning of the number).
    language_from : {"index"}, optional
        As in :class:`LanguageCentering`.

    Attributes
    ----------
    languages_ : list of length L
        Labels, sorted; ``[None]`` if fitted without labels.
    maps_ : dict
        From each language to the affine map that follows its recipe.
    recipes_ : dict
        From each language to its :class:`~posthoc_align.align.recipe.FittedRecipe`.
    n_pairs_ : dict
        From each language to the number of concepts it shares with others.
    concepts_ : ndarray of shape (n_concepts,)
        The pair ids that two languages or more have, sorted.
    consensus_ : array of shape (n_concepts, n_features)
        What the languages were mapped onto, a row a concept. Of X's kind, on its device, in the
        compute type. ``add_language`` needs it.
    history_ : list of float
        The objective of generalised Procrustes after each round; for "cca" the sum of the
        eigenvalues kept.
    objective_ : float
        Its last entry.
    n_iter_ : int
        Rounds of generalised Procrustes; 1 where there were none.
    penalty_ : dict
        From each language to the penalty of its map.
    row_square_ : float
        Mean squared norm of a row after the recipe.
    n_features_in_ : int

    Raises
    ------
    ValueError
        If fewer than two languages or two concepts are shared, languages fall into groups without
        a common concept, a (language, pair_id) occurs twice, or transform gets no label.

    Warns
    -----
    ConvergenceWarning
        If ``max_iter`` was too small for ``tol``.

    Notes
    -----
    Without ``language`` it is the identity. Generalised Procrustes is not convex. With a positive
    penalty it starts at the mean of the rows; with 0 at the language of most concepts (the first of
    equals), whose frame the consensus then has; any common rotation of all is as good.

    Which to choose: a consensus serves the comparison of any two languages. Where the encoder was
    trained on one language and all others are searched against it, :class:`PivotAligner` finds
    more.

    References
    ----------
    .. [1] J. C. Gower, "Generalized Procrustes analysis", Psychometrika 40 (1975).
    .. [2] J. R. Kettenring, "Canonical analysis of several sets of variables", Biometrika 58
       (1971).
    .. [3] P. Rastogi, B. Van Durme, R. Arora, "Multiview LSA: Representation Learning via
       Generalized CCA", NAACL 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from posthoc_align import ConsensusAligner
    >>> en = np.array([[1.0, 0.0], [0.0, 1.0], [-2.0, -1.0]])
    >>> X = np.vstack([en, en[:, ::-1] + 5.0])
    >>> aligner = ConsensusAligner(method="procrustes", penalty=0.0, tol=1e-12)
    >>> Z = aligner.fit_transform(X, language=["en"] * 3 + ["de"] * 3, pair_id=[0, 1, 2] * 2)
    >>> np.allclose(Z[:3], Z[3:])
    True
    """

    __metadata_request__fit: ClassVar[dict[str, bool]] = {"language": True, "pair_id": True}

    concepts_: np.ndarray
    consensus_: Array
    history_: list[float]
    n_iter_: int
    n_pairs_: dict[Any, int]
    penalty_: dict[Any, float]
    row_square_: float

    def __init__(
        self,
        *,
        method: str = "ridge",
        recipe: str | None = "center,unit,center",
        penalty: float | str = "auto",
        n_components: int | None = None,
        unseen: str = "error",
        max_iter: int = 100,
        tol: float = 1e-2,
        n_jobs: int | None = None,
        language_from: str | None = None,
    ) -> None:
        self.method = method
        self.recipe = recipe
        self.penalty = penalty
        self.n_components = n_components
        self.unseen = unseen
        self.max_iter = max_iter
        self.tol = tol
        self.n_jobs = n_jobs
        self.language_from = language_from

    @property
    def objective_(self) -> float:
        """The last entry of ``history_``."""
        return self.history_[-1]

    def fit(self, X: Any, y: Any = None, *, language: Any = None, pair_id: Any = None) -> Self:
        """Find the consensus and a map onto it for every language.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
        y : ignored
        language : str, int or array-like of shape (n_samples,), optional
            Label of each row. None: one language, and the identity.
        pair_id : array-like of shape (n_samples,), optional
            Rows of different languages with the same id translate each other; -1 or None marks
            rows without a translation, which count for their language's means alone.
        """
        X, labels = self._check_fit(X, language)
        self._check_parameters()
        require_finite(X)
        self.maps_, self.recipes_, self.n_pairs_, self.penalty_ = {}, {}, {}, {}
        self.history_, self.n_iter_ = [0.0], 1
        self.concepts_, self.consensus_ = np.zeros(0, dtype=np.int64), take(X, np.arange(0))
        if labels is None:
            self.languages_ = [None]
            return self
        concepts, members = concepts_of(labels, pair_id)
        self._require_concepts({label: len(part[1]) for label, part in members.items()})
        if self.n_components is not None and self.method != "cca":
            raise ValueError(
                f"n_components={self.n_components} belongs to method='cca': choose that, or leave "
                f"n_components=None for method={self.method!r}."
            )
        steps = parse_recipe(self.recipe)
        if self.unseen == "global":
            self.recipes_[None] = fit_recipe(steps, X, np.arange(X.shape[0]))[0]
        views = []
        for label, (rows, paired, at) in members.items():
            self.recipes_[label], own = fit_recipe(steps, X, rows)
            views.append(View(take(own, paired), at))
        require_one_group(list(members), views, len(concepts))
        shared = self._consensus(views, len(concepts))
        self.history_, self.n_iter_ = shared.history, len(shared.history)
        space = (
            shared.rows if self.method == "procrustes" else resized(shared.rows, self.row_square_)
        )
        self.concepts_, self.consensus_ = concepts, space
        fitted = Parallel(n_jobs=self.n_jobs, prefer="threads")(
            delayed(self._map_onto)(view.rows, take(space, view.at)) for view in views
        )
        for label, view, (mapped, penalty) in zip(members, views, fitted, strict=True):
            self.maps_[label], self.penalty_[label] = mapped, penalty
            self.n_pairs_[label] = len(view.at)
        self.languages_ = list(members)
        return self

    def _check_parameters(self) -> None:
        require_choice("method", self.method, METHODS)
        require_choice("unseen", self.unseen, UNSEEN)
        require_number("max_iter", self.max_iter, Integral, lambda n: n >= 1, "an integer >= 1")
        require_number("tol", self.tol, Real, lambda t: 0 <= t < np.inf, "a number >= 0")
        if self.penalty != "auto":
            least = "> 0 for method='cca'" if self.method == "cca" else ">= 0"
            holds = (
                (lambda p: 0 < p < np.inf) if self.method == "cca" else lambda p: 0 <= p < np.inf
            )
            require_number("penalty", self.penalty, Real, holds, f"a number {least}, or 'auto'")
        if self.n_components is not None:
            require_number(
                "n_components",
                self.n_components,
                Integral,
                lambda n: n >= 1,
                "None or an integer >= 1",
            )

    def _consensus(self, views: list[View], n: int) -> Shared:
        """The space for views that have been through the recipe."""
        mean = mean_over_views(views, n)
        size = self.row_square_ = mean_square(views)
        if self.method == "cca":
            penalty = self._penalty_of(size)
            return multiset_cca(
                views, n, penalty=penalty, n_components=self.n_components, near=mean
            )
        penalty = PULL * size if self.method == "ridge" else self._penalty_of(size)
        if penalty == 0:
            mean = mean_over_views([max(views, key=lambda view: len(view.at))], n)
        shared = generalised_procrustes(
            views,
            n,
            start=mean,
            penalty=penalty,
            max_iter=self.max_iter,
            tol=self.tol,
            n_jobs=self.n_jobs,
        )
        warn_if_unsettled(shared, max_iter=self.max_iter, tol=self.tol)
        return shared

    def _penalty_of(self, size: float) -> float:
        """The penalty of rotations and of canonical variates for rows of this mean square."""
        if self.penalty != "auto":
            return float(self.penalty)
        return (CCA_RIDGE if self.method == "cca" else PULL) * size

    def _map_onto(self, rows: Array, target: Array) -> tuple[Affine, float]:
        """The map of rows that have been through the recipe onto consensus rows, its penalty."""
        if self.method == "procrustes":
            penalty = self._penalty_of(self.row_square_)
            zero = np.zeros(rows.shape[1])
            return Affine(zero, (rotation_onto(rows, target, penalty),), zero), penalty
        if self.method == "cca":
            penalty = self._penalty_of(self.row_square_)
            fitted = LinearMap(prior="zero", penalty=penalty, center=False).fit(rows, target)
        else:
            fitted = LinearMap(penalty=self.penalty).fit(rows, target)
        return Affine(fitted.mean_in_, (fitted.coef_,), fitted.mean_out_), fitted.penalty_

    def add_language(
        self, X: Any, language: Any, target: Any = None, *, pair_id: Any = None
    ) -> Self:
        """Fit one more language to the consensus; the results of all others stay bit-identical.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Rows of the new language.
        language : str or int
            Its label.
        target : array of shape (n_samples, n_features), optional
            Transformed rows of a fitted language, of which row i translates row i of X.
        pair_id : array-like of shape (n_samples,), optional
            Instead of `target`: ids as in fit; rows whose id is among ``concepts_`` are used.
        """
        self._check_new_language(language)
        if (target is None) == (pair_id is None):
            raise ValueError(
                "add_language needs to know what the rows translate: pass either pair_id=, ids as "
                "in fit, or target=, transformed rows of a fitted language."
            )
        X = check_rows(self, X)
        require_finite(X)
        all_rows = np.arange(X.shape[0])
        if pair_id is None:
            onto, paired = self._check_target(target, X), all_rows
        else:
            ids = check_pair_id(pair_id, X.shape[0])
            require_unique_pairs(np.full(X.shape[0], language), ids)
            at, paired = pair_rows(self.concepts_, ids)
            require_same_place(X, self.consensus_, names=("X", "consensus_"))
            onto = take(self.consensus_, at)
        self._require_concepts({language: len(paired)})
        recipe, own = fit_recipe(parse_recipe(self.recipe), X, all_rows)
        mapped, penalty = self._map_onto(take(own, paired), onto)
        self.languages_ = [*self.languages_, language]
        self.recipes_ = {**self.recipes_, language: recipe}
        self.maps_ = {**self.maps_, language: mapped}
        self.n_pairs_ = {**self.n_pairs_, language: len(paired)}
        self.penalty_ = {**self.penalty_, language: penalty}
        return self

    def _require_concepts(self, shared: dict[Any, int]) -> None:
        """Raise for languages with too few concepts (language: concepts) to fit a map on."""
        least = 3 if self.method == "ridge" and self.penalty == "auto" else 2
        lacking = {label: count for label, count in shared.items() if count < least}
        if lacking:
            raise ValueError(
                f"Too few translations shared with other languages (language: rows): {lacking}; at "
                f"least {least} are needed, and about as many as dimensions for a map worth "
                "having. Check that pair_id is shared across languages, or leave these languages "
                "out."
            )

    def _check_target(self, target: Any, X: Array) -> Array:
        target = check_target(target, X, name="target")
        require_finite(target, name="target")
        if target.shape[1] != self.n_features_in_:
            raise ValueError(
                f"target has {target.shape[1]} features and the consensus {self.n_features_in_}: "
                "pass transformed rows of a fitted language."
            )
        return upcast(target)
