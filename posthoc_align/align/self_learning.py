"""Self-learning: induce translation pairs from the spaces themselves, map, and repeat."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_random_state

from posthoc_align._arrays import Array, check_rows, require_same_place, upcast
from posthoc_align._blocks import require_finite
from posthoc_align.align._induction import MATCHINGS, SIMILARITIES
from posthoc_align.align._parameters import require_choice, require_number
from posthoc_align.align._routed import fit_recipe, take
from posthoc_align.align._search import STARTS, Cloud, Search
from posthoc_align.align.linear_map import LinearMap
from posthoc_align.align.pivot import PivotAligner
from posthoc_align.align.recipe import parse_recipe


class SelfLearningAligner(PivotAligner):
    r"""Map every language onto a pivot without translation pairs, or with a few as seeds.

    Matches each row with a row of the pivot (mutual nearest neighbours by CSLS), fits a map on
    the matched rows, maps, matches again, until the matches no longer improve. A match counts
    the more, the farther it leads over the second best. What the other languages found supports
    the search: a row of the pivot is shown together with the rows that were matched to it.

    Parameters
    ----------
    estimator : map, default=None
        Fitted on the matched rows; ``LinearMap(penalty=3.0, center=False)`` when None: a strong
        pull to the identity, since wrong matches agree with the map they came from, and the means
        of all rows, which the recipe has taken, not those of the matched ones.
    pivot : str or int, default="en"
        Label of the language whose space the others are mapped into.
    recipe : str or None, default="center,unit,center"
        As in :class:`PivotAligner`.
    start : {"identity", "distribution"}, default="identity"
        What the first matches are found by, where no seeds are given: the space as it is, for
        languages of one encoder; or how a row's similarities to its own language are distributed,
        for encoders whose spaces have nothing in common.
    matching : {"mutual", "forward", "union", "sinkhorn"}, default="mutual"
        Match rows that are nearest from both sides, nearest from the language to the pivot, or
        nearest from either side; or rows that exchange the most mass, from both sides, in an
        entropic transport plan of cosines, for clouds that hold much the same texts (the plan takes
        O(n^2) memory; `similarity` and `keep` do not apply).
    similarity : {"csls", "cosine", "dot"}, default="csls"
        What is nearest: CSLS, the cosine, or the inner product of the rows as the recipe and the
        map leave them.
    neighbors : int, default=10
        Neighbourhood of CSLS; fewer if a language has fewer rows.
    weighted : bool, default=True
        Let a match count by its lead over the second best, if the map's ``fit`` takes
        ``sample_weight``. False: all matches count the same.
    support : float, default=1.0
        Weight of a row that another language matched to a row of the pivot, beside that row. 0:
        every language for itself.
    keep : float in (0, 1], default=1.0
        Share of rows that are offered in the first rounds; the rest is hidden by chance. It
        doubles when matches stop improving. Below 1 (VecMap: 0.1) the search can leave a poor
        start; "distribution" needs it.
    max_rows : int, default=20000
        Rows of a language that take part, drawn at random; time grows with its square.
    max_iter : int, default=100
        Most rounds.
    patience : int, default=3
        Rounds without improvement after which `keep` doubles, or the search ends.
    tol : float, default=1e-3
        Least improvement of the mean best score.
    final : map, optional
        Fitted on the last matches in place of `estimator`, such as ``CCAMap()``.
    unseen : {"error", "global", "identity", "transductive"}, default="error"
        As in :class:`PivotAligner`.
    random_state : int, RandomState instance or None, default=None
        For `max_rows` and `keep`.
    n_jobs : int, optional
        Languages treated at the same time, in threads.
    language_from : {"index"}, optional
        As in :class:`LanguageCentering`.

    Attributes
    ----------
    languages_ : list of length L
    maps_, recipes_, n_pairs_ : dict
        As in :class:`PivotAligner`; ``n_pairs_`` counts the last matches.
    history_ : dict
        From each language but the pivot to its mean best score in each round, unitless.
    n_iter_ : int
    n_features_in_ : int

    Raises
    ------
    ValueError
        As :class:`PivotAligner`; if a parameter is out of range, or no rows match.

    Warns
    -----
    ConvergenceWarning
        If matches still improve in round `max_iter`.

    Notes
    -----
    There is no ``pair_id``, so that known pairs never help by accident. Seeds are given as
    ``seed_id``: the rows it joins start the search, and are not held on to. Time is O(n^2 d) a
    round and language, memory O(n d); only "distribution" holds an n x n matrix, of at most 4000
    rows.

    References
    ----------
    .. [1] M. Artetxe, G. Labaka, E. Agirre, "A robust self-learning method for fully
       unsupervised cross-lingual mappings of word embeddings", ACL 2018.
    .. [2] A. Conneau, G. Lample, M. Ranzato, L. Denoyer, H. Jegou, "Word translation without
       parallel data", ICLR 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from posthoc_align import SelfLearningAligner
    >>> en = np.random.default_rng(0).normal(size=(60, 4))
    >>> de = en[::-1] + [0.3, 0.0, 0.2, 0.0]
    >>> aligner = SelfLearningAligner().fit(np.vstack([en, de]), language=["en"] * 60 + ["de"] * 60)
    >>> aligner.n_pairs_
    {'de': 60}
    """

    __metadata_request__fit: ClassVar[dict[str, bool]] = {"language": True, "seed_id": True}

    history_: dict[Any, list[float]]
    n_iter_: int

    def __init__(
        self,
        estimator: Any = None,
        *,
        pivot: Any = "en",
        recipe: str | None = "center,unit,center",
        start: str = "identity",
        matching: str = "mutual",
        similarity: str = "csls",
        neighbors: int = 10,
        weighted: bool = True,
        support: float = 1.0,
        keep: float = 1.0,
        max_rows: int = 20000,
        max_iter: int = 100,
        patience: int = 3,
        tol: float = 1e-3,
        final: Any = None,
        unseen: str = "error",
        random_state: Any = None,
        n_jobs: int | None = None,
        language_from: str | None = None,
    ) -> None:
        super().__init__(
            estimator,
            pivot=pivot,
            recipe=recipe,
            unseen=unseen,
            n_jobs=n_jobs,
            language_from=language_from,
        )
        self.start = start
        self.matching = matching
        self.similarity = similarity
        self.neighbors = neighbors
        self.weighted = weighted
        self.support = support
        self.keep = keep
        self.max_rows = max_rows
        self.max_iter = max_iter
        self.patience = patience
        self.tol = tol
        self.final = final
        self.random_state = random_state

    def fit(  # type: ignore[override]  # seeds in place of pairs, and no weights
        self, X: Any, y: Any = None, *, language: Any = None, seed_id: Any = None
    ) -> Self:
        """Fit one map a language.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
        y : ignored
        language : str, int or array-like of shape (n_samples,), optional
            Label of each row. None: one language, and the identity.
        seed_id : array-like of shape (n_samples,), optional
            Rows of different languages with the same id translate each other; -1 or None marks
            rows without a known translation.
        """
        self.history_, self.n_iter_ = {}, 1
        return super().fit(X, y, language=language, pair_id=seed_id)

    def _check_parameters(self) -> None:
        require_choice("start", self.start, STARTS)
        require_choice("matching", self.matching, MATCHINGS)
        require_choice("similarity", self.similarity, SIMILARITIES)
        for name, least in (("neighbors", 1), ("max_rows", 2), ("max_iter", 1), ("patience", 1)):
            enough = least.__le__
            require_number(name, getattr(self, name), Integral, enough, f"an integer >= {least}")
        for name in ("support", "tol"):
            require_number(name, getattr(self, name), Real, lambda v: v >= 0, "a number >= 0")
        require_number("keep", self.keep, Real, lambda k: 0 < k <= 1, "a share in (0, 1]")

    def _new_map(self) -> Any:
        new = LinearMap(penalty=3.0, center=False) if self.estimator is None else super()._new_map()
        if not getattr(new, "requires_pairs", True):
            raise TypeError(
                f"estimator={new!r} is fitted on clouds without pairs, which leaves nothing to "
                "induce: use PivotAligner with it, or give a map such as LinearMap()."
            )
        return new

    def _pairs(
        self, labels: np.ndarray, pair_id: Any, rows: dict[Any, np.ndarray]
    ) -> Mapping[Any, tuple[np.ndarray, np.ndarray] | None]:
        if pair_id is None:
            return dict.fromkeys(label for label in rows if label != self.pivot)
        return super()._pairs(labels, pair_id, rows)

    def _fit_maps(
        self,
        steps: tuple[str, ...],
        X: Array,
        rows: dict[Any, np.ndarray],
        target: Array,
        pairs: Mapping[Any, tuple[np.ndarray, np.ndarray] | None],
        weight: Array | None = None,
    ) -> None:
        self._check_parameters()
        random_state = check_random_state(self.random_state)
        shown = self._sample(target.shape[0], random_state)
        clouds = {}
        for label, seeds in pairs.items():
            self.recipes_[label], own = fit_recipe(steps, X, rows[label])
            taken = self._sample(own.shape[0], random_state)
            start = None if seeds is None else (take(own, seeds[0]), take(target, seeds[1]))
            chance = np.random.RandomState(random_state.randint(2**31 - 1))
            clouds[label] = Cloud(take(own, taken), start, chance)
        self.n_iter_ = self._search().run(clouds, take(target, shown))
        for label, cloud in clouds.items():
            self.maps_[label], self.n_pairs_[label] = cloud.map, len(cloud.pairs)
        self.history_ = {label: cloud.history for label, cloud in clouds.items()}

    def _search(self) -> Search:
        final = self.final
        return Search(
            new_map=self._new_map,
            final=None if final is None else lambda: clone(final),
            pivot=self.pivot,
            start=self.start,
            matching=self.matching,
            similarity=self.similarity,
            neighbors=self.neighbors,
            weighted=self.weighted,
            support=self.support,
            keep=self.keep,
            max_iter=self.max_iter,
            patience=self.patience,
            tol=self.tol,
            n_jobs=self.n_jobs,
        )

    def _sample(self, n_rows: int, random_state: np.random.RandomState) -> np.ndarray:
        if n_rows <= self.max_rows:
            return np.arange(n_rows)
        return np.sort(random_state.permutation(n_rows)[: self.max_rows])

    def add_language(self, X: Any, language: Any, target: Any) -> Self:  # type: ignore[override]  # matches have no weights
        """Fit one more language; the results of all others stay bit-identical.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Rows of the new language.
        language : str or int
            Its label.
        target : array of shape (n_target, n_features)
            Any rows of the pivot language, in any order; they go through the pivot's recipe as
            fitted.
        """
        self._check_new_language(language)
        X, target = check_rows(self, X), check_rows(self, target, name="target")
        require_same_place(X, target, names=("X", "target"))
        everything = np.arange(X.shape[0])
        self._check_groups({language: everything, self.pivot: np.arange(2)})
        require_finite(X)
        require_finite(target, name="target")
        onto = self.recipes_[self.pivot].apply(upcast(target))
        new = clone(self)
        new.recipes_, new.maps_, new.n_pairs_ = {}, {}, {}
        new._fit_maps(parse_recipe(self.recipe), X, {language: everything}, onto, {language: None})
        self.languages_ = [*self.languages_, language]
        for name in ("recipes_", "maps_", "n_pairs_", "history_"):
            setattr(self, name, {**getattr(self, name), **getattr(new, name)})
        return self
