"""One map for all languages: learned on one language pair, used on every language."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np

from posthoc_align._arrays import Array, check_rows, namespace
from posthoc_align._blocks import require_finite
from posthoc_align.align._base import as_array
from posthoc_align.align._routed import fit_recipe, take
from posthoc_align.align.contrastive import ContrastiveMap
from posthoc_align.align.pivot import PivotAligner
from posthoc_align.align.recipe import parse_recipe


class SharedAligner(PivotAligner):
    """Move all languages by one map, fitted on the pairs of one language or of several.

    Runs the recipe on each language with that language's own means, fits one clone of
    ``estimator`` from the rows of the chosen languages onto their translations in the pivot, and
    applies it to every language. A language needs rows for its means, but no translations: what
    is learned on one pair transfers to languages that no pair was seen of [1]_.

    Parameters
    ----------
    estimator : map, default=None
        A map between two spaces. One that moves both sides (it has ``transform_target``) also moves
        the pivot; others leave it to the recipe. None: a :class:`ContrastiveMap` with
        ``sides="both"`` and ``stay_close=100``.
    pivot : str or int, default="en"
        Label of the language whose rows translate those of the others.
    languages : sequence of labels, optional
        Languages whose pairs with the pivot the map is fitted on, such as ``["de"]``. None: all.
    recipe : str or None, default="center,unit,center"
        As in :class:`PivotAligner`.
    unseen : {"error", "global", "identity", "transductive"}, default="error"
        What to do with a language that was not in fit: raise; run the recipe with the means of all
        rows, or with the means of its rows in the batch, and map them; or leave its rows as they
        came.
    language_from : {"index"}, optional
        As in :class:`LanguageCentering`.

    Attributes
    ----------
    languages_ : list of length L
        Labels, sorted; ``[None]`` if fitted without labels.
    map_ : estimator or None
        The fitted map; None if there was no language beside the pivot.
    recipes_ : dict
        From each language to its :class:`~posthoc_align.align.recipe.FittedRecipe`.
    n_pairs_ : dict
        From each language the map was fitted on to its number of pairs.
    n_features_in_ : int

    Raises
    ------
    ValueError
        If the pivot or one of ``languages`` is not there, one of those shares too few ``pair_id``
        with the pivot, a language has a single row, or transform gets no label.

    Notes
    -----
    Pairs of several languages are pooled, and each pair weighs the same. One map cannot do what one
    a language can (:class:`PivotAligner`); it is for languages without translations. It must stay
    close to the identity to be of use to them, hence the default's ``stay_close=100``. A map that
    moves both sides by the same rotation changes no cosine: only what stretches the space helps.

    References
    ----------
    .. [1] C. Tien, S. Steinert-Threlkeld, "Bilingual alignment transfers to multilingual alignment
       for unsupervised parallel text mining", ACL 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from posthoc_align import LinearMap, SharedAligner
    >>> en = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> X, language = np.vstack([en, 2 * en, 2 * en + 5]), ["en"] * 4 + ["de"] * 4 + ["fr"] * 4
    >>> aligner = SharedAligner(LinearMap(penalty=0.0), languages=["de"], recipe="center")
    >>> Z = aligner.fit_transform(X, language=language, pair_id=[0, 1, 2, 3] * 2 + [-1] * 4)
    >>> np.allclose(Z[8:], en)  # no pair of French was seen
    True
    """

    map_: Any

    def __init__(
        self,
        estimator: Any = None,
        *,
        pivot: Any = "en",
        languages: Sequence[Any] | None = None,
        recipe: str | None = "center,unit,center",
        unseen: str = "error",
        language_from: str | None = None,
    ) -> None:
        self.estimator = estimator
        self.pivot = pivot
        self.languages = languages
        self.recipe = recipe
        self.unseen = unseen
        self.language_from = language_from

    def fit(  # type: ignore[override]  # the default map takes no weights
        self, X: Any, y: Any = None, *, language: Any = None, pair_id: Any = None
    ) -> Self:
        """Fit one map on the pairs of the chosen languages.

        Parameters as in :meth:`PivotAligner.fit`; a language whose pairs are not used needs no
        ``pair_id``.
        """
        self.map_ = None
        return super().fit(X, y, language=language, pair_id=pair_id)

    def _new_map(self) -> Any:
        if self.estimator is None:
            return ContrastiveMap(sides="both", stay_close=100.0, random_state=0)
        return super()._new_map()

    def _pairs(
        self, labels: np.ndarray, pair_id: Any, rows: dict[Any, np.ndarray]
    ) -> Mapping[Any, tuple[np.ndarray, np.ndarray] | None]:
        """For each language the map is fitted on, the positions of its pairs with the pivot."""
        others = [label for label in rows if label != self.pivot]
        chosen = others if self.languages is None else list(self.languages)
        missing = [label for label in chosen if label not in others]
        if missing or not (chosen or self.languages is None):
            raise ValueError(
                f"languages={self.languages!r} must name languages beside the pivot "
                f"{self.pivot!r} that were given to fit: choose from {others}."
            )
        return super()._pairs(
            labels, pair_id, {label: rows[label] for label in (*chosen, self.pivot)}
        )

    def _fit_maps(
        self,
        steps: tuple[str, ...],
        X: Array,
        rows: dict[Any, np.ndarray],
        target: Array,
        pairs: Mapping[Any, tuple[np.ndarray, np.ndarray] | None],
        weight: Array | None = None,
    ) -> None:
        """Learn the recipe of each language and one map of the pairs of the chosen ones."""
        sources, targets = [], []
        for label, at in rows.items():
            if label == self.pivot:
                continue
            self.recipes_[label], own = fit_recipe(steps, X, at)
            if label not in pairs:
                continue
            pair = pairs[label]
            here, there = (np.arange(len(at)), None) if pair is None else pair
            sources.append(take(own, here))
            if there is not None:
                targets.append(take(target, there))
            self.n_pairs_[label] = len(here)
        if not sources:
            return
        xp = namespace(X)
        onto = xp.concat(targets) if targets else target
        self.map_ = self._new_map().fit(xp.concat(sources), onto)

    def add_language(
        self, X: Any, language: Any, target: Any = None, *, sample_weight: Any = None
    ) -> Self:
        """Learn the recipe of one more language; the map stays as it is.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Rows of the new language.
        language : str or int
            Its label.
        target, sample_weight : ignored
            No translations are needed.
        """
        self._check_new_language(language)
        X = check_rows(self, X)
        self._check_groups({language: np.arange(X.shape[0]), self.pivot: np.arange(2)})
        require_finite(X)
        recipe = fit_recipe(parse_recipe(self.recipe), X, np.arange(X.shape[0]))[0]
        self.languages_ = [*self.languages_, language]
        self.recipes_ = {**self.recipes_, language: recipe}
        return self

    def _route(self, label: Any, X: Array, at: np.ndarray) -> Callable[[Array], Array]:
        """What happens to rows of one language; `at` says where they are in the batch."""
        prepared = super()._route(label, X, at)
        asked = label is not None and (label in self.recipes_ or self.unseen != "identity")
        if self.map_ is None or not asked:
            return prepared
        moved = self.map_.transform
        if label == self.pivot:
            if not hasattr(self.map_, "transform_target"):
                return prepared
            moved = self.map_.transform_target
        return lambda block: as_array(moved(prepared(block)))
