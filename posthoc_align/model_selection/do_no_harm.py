"""A gate before an aligner: where held-out rows fare worse with it, it is not applied."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
from sklearn.utils import Tags, get_tags

from posthoc_align._arrays import Array, index_like
from posthoc_align.align._apply import apply_aligner, require_aligner
from posthoc_align.align.identity import Identity
from posthoc_align.metrics import Estimate
from posthoc_align.model_selection._held_out import HeldOut
from posthoc_align.model_selection._judged import JudgedAligner

FALLBACKS = ("pivot", "identity")


class DoNoHarm(JudgedAligner):
    """Leave alone what an aligner makes worse, language by language, and say so.

    The aligner is fitted on all folds of sentences but one and judged on that one, each fold in
    turn; translations are never on both sides. A language is harmed if its held-out outcome is
    worse than before with the interval of the difference below zero. For each such language are
    tried, in the space that the pivot has moved to,

    - "pivot": move its rows as the pivot's own, so that they lie to each other as they did;
    - "identity": leave its rows where they were;

    and the better is taken. If that, too, is worse than before, the aligner is not applied at
    all, to any language.

    Parameters
    ----------
    aligner : estimator
        A language transformer, an aligner, or a pipeline of those. A clone is fitted.
    objective : {"retrieval", "transfer"}, default="retrieval"
        What must not get worse, as in :class:`AutoAligner`.
    pivot : str or int, default="en"
        The language that others are compared with.
    head : classifier, optional
        As in :class:`AutoAligner`.
    n_splits : int, default=3
    random_state : int, RandomState instance or None, default=0
    language_from : {"index"}, optional
        As in :class:`LanguageCentering`.

    Attributes
    ----------
    aligner_ : estimator
        Fitted on all rows; :class:`Identity` if it is not applied at all.
    gains_ : dict of Estimate
        From each language that was judged to what the aligner adds, with its interval.
    harmed_ : dict of dict
        From each harmed language to "before", "after" and "kept" (what it has now), of type
        ``Estimate``, and "difference", of after to before.
    routes_ : dict of str
        From each harmed language to "pivot" or "identity".
    languages_ : list
    n_features_in_ : int

    Raises
    ------
    ValueError
        If there are no translations to judge by; else as :class:`AutoAligner`.

    Warns
    -----
    UserWarning
        For harmed languages, with figures; for those with fewer than 10 held-out pairs, which
        are aligned without being judged.

    Notes
    -----
    Fitted on one language, it is the aligner. Each language is judged by itself: where the aligner
    does nothing, 2.5 % of the languages, one in forty, are called harmed by chance, and of eleven
    languages at least one with probability 1 - 0.975^11 = 24 %. Unlike in :func:`compare`, this is
    not corrected for their number, since harm let pass costs more than a language left as it was.
    A difference that the rows cannot tell from none is let pass.

    Examples
    --------
    The rows of "xx" lie where their translations do, but for some that are far off: the mean of
    those alone is what centring subtracts.

    >>> import warnings
    >>> import numpy as np
    >>> from posthoc_align import DoNoHarm, LanguageCentering
    >>> en = np.random.default_rng(0).normal(size=(60, 4))
    >>> X = np.vstack([en, en, en[:30] + 50.0])
    >>> language = ["en"] * 60 + ["xx"] * 90
    >>> pair_id = [*range(60), *range(60), *[-1] * 30]
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     gate = DoNoHarm(LanguageCentering()).fit(X, language=language, pair_id=pair_id)
    >>> gate.routes_
    {'xx': 'pivot'}
    """

    gains_: dict[Any, Estimate]
    harmed_: dict[Any, dict[str, Estimate]]
    routes_: dict[Any, str]

    def __init__(
        self,
        aligner: Any,
        *,
        objective: str = "retrieval",
        pivot: Any = "en",
        head: Any = None,
        n_splits: int = 3,
        random_state: Any = 0,
        language_from: str | None = None,
    ) -> None:
        self.aligner = aligner
        self.objective = objective
        self.pivot = pivot
        self.head = head
        self.n_splits = n_splits
        self.random_state = random_state
        self.language_from = language_from

    def fit(self, X: Any, y: Any = None, *, language: Any = None, pair_id: Any = None) -> Self:
        """Judge the aligner, language by language, and fit it on all rows.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
        y : array-like of shape (n_samples,), optional
            As in :class:`AutoAligner`.
        language : str, int or array-like of shape (n_samples,), optional
            Label of each row. None: one language, and nothing to judge.
        pair_id : array-like of shape (n_samples,), optional
            Rows of different languages with the same id translate each other; -1 or None marks
            rows without a translation.
        """
        require_aligner(self.aligner)
        X, labels, classes, ids = self._check(X, y, language, pair_id)
        self.gains_, self.harmed_, self.routes_ = {}, {}, {}
        aligner = self.aligner
        if labels is not None and len(self.languages_) > 1:
            if ids is None:
                raise ValueError(
                    f"No row shares a pair id with the pivot {self.pivot!r}: whether an aligner "
                    "harms is judged by held-out translations. Pass pair_id=, or fit the aligner "
                    "by itself."
                )
            held = self._hold_out(X, labels, classes, ids)
            if not self._judge(held):
                aligner = Identity()
        self._take(aligner, X, y if classes is None else classes, labels, ids)
        return self

    def _judge(self, held: HeldOut) -> bool:
        """Fill in what was harmed and what becomes of it; whether to apply the aligner at all."""
        fitted = held.fit(self.aligner)
        before = held.outcomes([Identity().fit(held.X)] * self.n_splits)
        after = held.outcomes(fitted)
        self.gains_ = {name: held.difference(after, before, name) for name in held.languages}
        harmed = [name for name, gain in self.gains_.items() if gain.high < 0]
        instead = {
            route: held.outcomes(fitted, _mover(dict.fromkeys(harmed, route), self.pivot))
            for route in (FALLBACKS if harmed else ())
        }
        lost = []
        for name in harmed:
            means = {route: held.estimate(found, name) for route, found in instead.items()}
            route = max(means, key=lambda known: means[known].value)
            if held.difference(instead[route], before, name).high < 0:
                lost.append(name)
            self.routes_[name] = route
            self.harmed_[name] = {
                "before": held.estimate(before, name),
                "after": held.estimate(after, name),
                "difference": self.gains_[name],
                "kept": means[route],
            }
        if lost:
            self.routes_ = {}
            for found in self.harmed_.values():
                found["kept"] = found["before"]
        self._warn(held, lost)
        return not lost

    def _warn(self, held: HeldOut, lost: list[Any]) -> None:
        unjudged = [name for name, size in held.sizes.items() if name not in held.languages]
        if unjudged:
            warnings.warn(
                f"Languages {unjudged} have too few held-out pairs to judge by: they are aligned "
                "without being judged. Give more pairs, or leave them out.",
                stacklevel=4,
            )
        if not self.harmed_:
            return
        figures = "; ".join(
            f"{name!r} from {found['before']} to {found['after']} ({found['difference']})"
            for name, found in self.harmed_.items()
        )
        kept = ", ".join(
            f"{name!r} {_SAYS[route]} ({self.harmed_[name]['kept']})"
            for name, route in self.routes_.items()
        )
        warnings.warn(
            f"{type(self.aligner).__name__} made held-out {self.objective} worse, in per cent: "
            f"{figures}. "
            + (
                f"Nothing else keeps what {lost} had, so that no language is aligned: leave them "
                "out, or choose another aligner."
                if lost
                else f"Instead, {kept}."
            ),
            stacklevel=4,
        )

    @property
    def requires_language(self) -> bool:  # type: ignore[override]  # a fact of what was taken
        """Whether ``transform`` depends on the language of a row."""
        return bool(vars(self).get("routes_")) or super().requires_language

    def _move(self, aligner: Any, X: Array, labels: np.ndarray | None) -> Array:
        if labels is None:
            self._check_transform(X, None)
        return _mover(self.routes_, self.pivot)(aligner, X, labels)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        inner = get_tags(self.aligner)
        tags.target_tags, tags.input_tags = inner.target_tags, inner.input_tags
        return tags


_SAYS = {"pivot": "moves as the pivot does", "identity": "stays where it was"}


def _mover(routes: dict[Any, str], pivot: Any) -> Any:
    """How an aligner is applied where some languages take another route."""

    def move(aligner: Any, X: Array, labels: np.ndarray | None) -> Array:
        if labels is None or not routes:
            return apply_aligner(aligner, X, labels)
        routed = np.isin(labels, list(routes))
        Z = apply_aligner(aligner, X, np.where(routed, pivot, labels))
        stay = [name for name, route in routes.items() if route == "identity"]
        at = np.flatnonzero(np.isin(labels, stay))
        if len(at) and Z.shape[1] == X.shape[1]:
            Z[index_like(at, Z)] = X[index_like(at, X)]
        return Z

    return move
