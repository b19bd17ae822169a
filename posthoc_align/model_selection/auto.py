"""Let held-out rows choose the aligner."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from posthoc_align.align.identity import Identity
from posthoc_align.model_selection._held_out import HeldOut
from posthoc_align.model_selection._judged import MEASURED, JudgedAligner
from posthoc_align.model_selection._ladder import IDENTITY, ladder

ONE_ERROR = 0.6827  # share of a normal distribution within one standard error


class AutoAligner(JudgedAligner):
    """Choose recipe, method and strength on held-out rows, then fit the choice on all.

    Candidates are fitted on all folds of sentences but one and judged on that one, each fold in
    turn; translations are never on both sides. The best mean over languages wins, or rather the
    first candidate in the list, from simple to elaborate, that is within one standard error of it
    [1]_, the error of their difference over the same sentences. The identity comes first: nothing
    is chosen that is not better.

    Parameters
    ----------
    objective : {"retrieval", "transfer"}, default="retrieval"
        What to be good at. "retrieval": a held-out row and its translation in the pivot are each
        other's nearest by cosine, counted from both sides. "transfer": a head that is fitted on
        the pivot's rows gives a held-out row the label of its translation in the pivot; labels
        of other languages are never looked at. The two differ: what finds the most translations
        need not serve a head best.
    candidates : dict of str to estimator, optional
        What to choose from, by name, the simpler first: language transformers, aligners,
        pipelines of those. The identity is always among them. None: a ladder from centring over
        :class:`LinearMap` of several recipes and strengths to :class:`ConsensusAligner`, or,
        without translations, to :class:`SelfLearningAligner`. Give your own to have
        :class:`ContrastiveMap` tried, which takes longer than all of those.
    pivot : str or int, default="en"
        The language that others are brought to.
    head : classifier, optional
        For "transfer": an unfitted classifier, on rows of length 3. None: a logistic regression.
    n_splits : int, default=3
        Folds: time grows with it, and so do the rows that candidates are fitted on.
    random_state : int, RandomState instance or None, default=0
        What sentences are shuffled by before they are cut into folds.
    language_from : {"index"}, optional
        As in :class:`LanguageCentering`.

    Attributes
    ----------
    choice_ : str
        Name of what was chosen.
    aligner_ : estimator
        That, fitted on all rows.
    candidates_ : list of dict
        A row each, in order: "name", "value", "low", "high" (a fraction and its interval of 95 %),
        "difference", "difference_low", "difference_high", "p_value" (to the identity, on the same
        rows), "seconds", "notes" (warnings heard). One that failed has "failed" instead, what it
        said. ``pandas.DataFrame(aligner.candidates_)`` is a table.
    reason_ : str
        Why, in words; ``print(aligner)`` shows it with the table.
    languages_ : list
        Labels, sorted; ``[None]`` if fitted without labels.
    n_features_in_ : int

    Raises
    ------
    ValueError
        If the pivot is not among the languages, y lacks for "transfer", a (language, pair_id)
        occurs twice, or no language has 10 rows to judge by.

    Warns
    -----
    UserWarning
        If a candidate failed, or a language has too few rows to be judged.

    Notes
    -----
    Every candidate is fitted `n_splits` times and judged as often. The default candidates take
    about 40 seconds of one core on 12 languages of 1200 translated rows of length 384, nearly all
    of it for the linear maps; nothing is shown meanwhile. ``candidates_`` has the seconds of each.

    Fitted on one language it is the identity. Without ``pair_id`` nothing says which rows
    translate each other. For "retrieval" is then counted how many rows are each other's nearest
    by CSLS; over methods that rank-correlates with weak alignment at 0.7 to 0.9 on the corpora of
    the guide, where the mean similarity of such rows falls as alignment rises (-0.2 to -0.6). For
    "transfer" rows that match so after centring stand in for translations, alike for all
    candidates (0.6 to 0.8 with the accuracy in the other languages). The first is blind to meaning:
    rows turned into noise are each other's nearest as often, so leave out candidates that destroy
    what rows hold.

    The value of the chosen one is the best of several and so a little flattered: measure it on
    rows that took no part.

    References
    ----------
    .. [1] L. Breiman, J. Friedman, R. Olshen, C. Stone, "Classification and Regression Trees",
       Wadsworth (1984), section 3.4.3: the one-standard-error rule.

    Examples
    --------
    >>> import numpy as np
    >>> from posthoc_align import AutoAligner, LanguageCentering, PivotAligner, Procrustes
    >>> en = np.random.default_rng(0).normal(size=(60, 4))
    >>> X, language = np.vstack([en, en[:, ::-1]]), ["en"] * 60 + ["de"] * 60
    >>> aligner = AutoAligner(
    ...     candidates={"centring": LanguageCentering(), "rotation": PivotAligner(Procrustes())}
    ... )
    >>> aligner.fit(X, language=language, pair_id=[*range(60)] * 2).choice_
    'rotation'
    """

    choice_: str
    candidates_: list[dict[str, Any]]
    reason_: str

    def __init__(
        self,
        *,
        objective: str = "retrieval",
        candidates: Mapping[str, Any] | None = None,
        pivot: Any = "en",
        head: Any = None,
        n_splits: int = 3,
        random_state: Any = 0,
        language_from: str | None = None,
    ) -> None:
        self.objective = objective
        self.candidates = candidates
        self.pivot = pivot
        self.head = head
        self.n_splits = n_splits
        self.random_state = random_state
        self.language_from = language_from

    def fit(self, X: Any, y: Any = None, *, language: Any = None, pair_id: Any = None) -> Self:
        """Judge the candidates and fit the one that is chosen.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
        y : array-like of shape (n_samples,), optional
            Classes; "transfer" reads those of the pivot's rows, None or NaN where there is none.
            Candidates that use classes get all of them.
        language : str, int or array-like of shape (n_samples,), optional
            Label of each row. None: one language, and the identity.
        pair_id : array-like of shape (n_samples,), optional
            Rows of different languages with the same id translate each other; -1 or None marks
            rows without a translation.
        """
        X, labels, classes, ids = self._check(X, y, language, pair_id)
        chosen = self._candidates(paired=ids is not None)
        self.candidates_ = []
        if labels is None or len(self.languages_) < 2:
            self.choice_, self.reason_ = IDENTITY, "One language: there is nothing to align."
        else:
            held = self._hold_out(X, labels, classes, ids)
            values = self._judge(held, chosen)
            self.choice_ = _first_of_the_best(held, values)
            self.reason_ = self._why(held, values)
        self._take(chosen[self.choice_], X, classes, labels, ids)
        return self

    def _candidates(self, *, paired: bool) -> dict[str, Any]:
        if self.candidates is None:
            return ladder(self.pivot, paired=paired)
        if not isinstance(self.candidates, Mapping):
            raise TypeError(
                f"candidates is a {type(self.candidates).__name__}: give a dict from names to "
                "estimators, the simpler first."
            )
        return {IDENTITY: Identity(), **{k: v for k, v in self.candidates.items() if k != IDENTITY}}

    def _judge(self, held: HeldOut, chosen: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Outcomes of the candidates that could be fitted; their figures go to the table."""
        values: dict[str, np.ndarray] = {}
        for name, aligner in chosen.items():
            start = time.perf_counter()
            row: dict[str, Any] = {"name": name}
            try:
                with warnings.catch_warnings(record=True) as heard:
                    warnings.simplefilter("always")
                    values[name] = held.outcomes(held.fit(aligner))
            except (ValueError, MemoryError, np.linalg.LinAlgError) as error:
                if name == IDENTITY:  # nothing to compare with: the rows themselves are at fault
                    raise
                row["failed"] = str(error)
            else:
                found = held.estimate(values[name])
                gain = held.difference(values[name], values[IDENTITY])
                row |= {"value": found.value, "low": found.low, "high": found.high}
                row |= {"difference": gain.value, "p_value": gain.p_value}
                row |= {"difference_low": gain.low, "difference_high": gain.high}
                row["notes"] = list(dict.fromkeys(str(w.message) for w in heard))
            self.candidates_.append(row | {"seconds": time.perf_counter() - start})
        failed = [row for row in self.candidates_ if "failed" in row]
        for row in failed:
            warnings.warn(
                f"Candidate {row['name']!r} failed and was left out: {row['failed']}",
                stacklevel=3,
            )
        unjudged = [name for name in self.languages_ if name not in (*held.languages, self.pivot)]
        if unjudged:
            warnings.warn(
                f"Languages {unjudged} have too few held-out rows to be judged by, and did not "
                "count in the choice.",
                stacklevel=3,
            )
        return values

    def _why(self, held: HeldOut, values: Mapping[str, np.ndarray]) -> str:
        best = max(values, key=lambda name: held.macro(values[name]))
        own = held.estimate(values[self.choice_])
        gain = held.difference(values[self.choice_], values[IDENTITY])
        measured = MEASURED[self.objective, held.ids is not None]
        text = (
            f"{self.choice_!r} of {len(values)} candidates for {self.objective}: {own} % of "
            f"{measured}, mean over {len(held.languages)} languages, {own.n} sentences"
        )
        if self.choice_ != IDENTITY:
            text += f"; {gain} to the identity"
        if best == self.choice_:
            return text + ". No other has a higher value."
        ahead = held.difference(values[best], values[self.choice_])
        return text + (
            f". {best!r} has a higher value by {100 * ahead.value:.1f}, within one standard error: "
            "the simpler one was taken."
        )

    def __str__(self) -> str:
        """The reason and the table of candidates, once fitted."""
        if "reason_" not in vars(self):
            return repr(self)
        lines = [f"{type(self).__name__}: {self.reason_}"]
        width = max((len(row["name"]) for row in self.candidates_), default=0)
        for row in self.candidates_:
            mark = "*" if row["name"] == self.choice_ else " "
            if "failed" in row:
                lines.append(f"{mark} {row['name']:{width}}  failed: {row['failed']}")
                continue
            value, low, high, gain = (
                100 * row[key] for key in ("value", "low", "high", "difference")
            )
            lines.append(
                f"{mark} {row['name']:{width}}  {value:5.1f} [{low:.1f}, {high:.1f}]"
                f"  {gain:+6.1f}  p = {row['p_value']:.3f}  {row['seconds']:6.1f} s"
            )
        return "\n".join(lines)


def _first_of_the_best(held: HeldOut, values: Mapping[str, np.ndarray]) -> str:
    """The first candidate that is within one standard error of the best one."""
    best = max(values, key=lambda name: held.macro(values[name]))
    for name, outcome in values.items():
        if held.difference(outcome, values[best], level=ONE_ERROR).high >= 0:
            return name
    return best
