"""What a fitted head is worth in each language, with what its test labels leave out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn import config_context
from sklearn.base import is_classifier, is_regressor

from posthoc_align._arrays import index_like, is_tensor, labels_to_host
from posthoc_align.heads._labels import check_y, labelled_rows
from posthoc_align.heads.aligned import unknown_classes
from posthoc_align.languages import check_language, check_pair_id, language_of
from posthoc_align.metrics._scores import plain
from posthoc_align.metrics.confidence import Estimate
from posthoc_align.metrics.transfer import TransferScores, transfer_scores
from posthoc_align.model_selection.scoring import Told, best_of


@dataclass(frozen=True)
class LanguageReport:
    """Scores of a fitted head by language: a table that prints itself.

    Made by :meth:`of`.

    Parameters
    ----------
    scores : TransferScores
        Score and interval of each language, of their mean, and of the gap to the source.
    n_rows : dict of int
        Labelled rows of each language.
    absent : dict of list
        For each language the classes that none of its rows has, of those that the head or the
        other languages know. Its score says nothing about them, and languages that lack different
        classes are not measured on the same task.
    unknown : list
        Classes that y has and the head never saw: their rows count as wrong.

    Examples
    --------
    >>> import numpy as np
    >>> from posthoc_align import AlignedClassifier, LanguageCentering, LanguageReport
    >>> X = np.array([[0.0], [1.0], [0.1], [0.9], [8.0], [9.0], [8.1], [8.1]])
    >>> y, language = ["no", "yes"] * 4, ["en"] * 4 + ["de"] * 4
    >>> model = AlignedClassifier(LanguageCentering()).fit(X, y, language=language)
    >>> print(LanguageReport.of(model, X, y, language=language, source="en"))
    language       n  accuracy
    de             4  75.0 [0.0, 100.0]
    macro             75.0 [0.0, 100.0]
    en (source)    4  100.0 [100.0, 100.0]
    gap               25.0 [0.0, 100.0]
    percent; 95% intervals, seed 0; worst language: de
    """

    scores: TransferScores
    n_rows: dict[Any, int]
    absent: dict[Any, list[Any]]
    unknown: list[Any]

    @classmethod
    def of(
        cls,
        model: Any,
        X: Any,
        y: Any,
        *,
        language: Any = None,
        source: Any = "en",
        metric: str | None = None,
        pair_id: Any = None,
    ) -> Self:
        """Let a fitted model predict, and score it language by language.

        Parameters
        ----------
        model : fitted estimator
            An :class:`AlignedClassifier`, an :class:`AlignedRegressor`, or whatever predicts. It
            gets the language if it, or a step of a pipeline, takes it. Of a search its
            ``best_estimator_`` is scored, since a search's own ``predict`` takes no language.
        X : array of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            True labels; rows without one (``missing_label`` of the model) do not count.
        language : array-like of str or int of shape (n_samples,), optional
            Of each row, `source` and one other at least. None: in the index of X.
        source : str or int, default="en"
            The language the others are compared with; mostly the one that labels were seen of.
        metric : {"accuracy", "f1_micro", "f1_macro", "r2", "spearman"}, optional
            As in :func:`posthoc_align.metrics.transfer_scores`. None: R^2 for a regressor, else
            accuracy, or micro-averaged F1 for several labels a row.
        pair_id : array-like of shape (n_samples,), optional
            Rows with the same id translate each other and are resampled together. None: rows are
            independent, which for parallel test sets makes the interval of the mean too narrow.

        Returns
        -------
        LanguageReport

        Raises
        ------
        ValueError
            If there is no language, no source among the labelled rows or nothing else, or no
            label; or as
            :func:`posthoc_align.metrics.transfer_scores`.
        """
        n, model = len(X), best_of(model)
        language = language_of(X, language)
        labels = check_language(language, n)
        if labels is None:
            raise ValueError("A report by language needs the language of each row: pass language=.")
        y = check_y(y, n)
        at = np.flatnonzero(labelled_rows(y, getattr(model, "missing_label", None)))
        expected, labels = plain(labels_to_host(y)[at]), labels[at]
        names = np.unique(labels).tolist()
        if source not in names:
            raise ValueError(
                f"source={source!r} is not among the languages of the labelled rows, {names}: name "
                "one of them."
            )
        with config_context(enable_metadata_routing=True):
            found = labels_to_host(Told(model, labels).predict(_rows(X, at)))
        groups = None if pair_id is None else check_pair_id(pair_id, n)[at]
        if metric is None and is_regressor(model):
            metric = "r2"
        scores = transfer_scores(
            expected, found, labels, pivot=source, metric=metric, groups=groups
        )
        by_language = {name: expected[labels == name] for name in scores.per_language}
        judged = is_classifier(model) and expected.ndim == 1
        known = labels_to_host(model.classes_) if judged else np.unique(expected[:0])
        return cls(
            scores,
            {name: len(own) for name, own in by_language.items()},
            _absent(by_language, known) if judged else {},
            unknown_classes(expected, known) if judged else [],
        )

    @property
    def worst(self) -> Any:
        """The language of the lowest score, the source left aside."""
        return self.scores.worst

    def to_dict(self) -> dict[str, Any]:
        """Plain data: fractions, with the ends of their intervals."""

        def plain_of(found: Estimate) -> dict[str, float]:
            return {"value": found.value, "low": found.low, "high": found.high}

        scores = self.scores
        return {
            "metric": scores.metric,
            "source": scores.pivot,
            "level": scores.macro.level,
            "languages": {
                name: {"n": self.n_rows[name], **plain_of(found)}
                for name, found in scores.per_language.items()
            },
            "macro": plain_of(scores.macro),
            "gap": plain_of(scores.gap),
            "worst": scores.worst,
            "absent classes": {name: list(values) for name, values in self.absent.items()},
            "unknown classes": list(self.unknown),
        }

    def to_frame(self) -> Any:
        """A pandas data frame of one row a language: n, value, low, high.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError(
                'to_frame needs pandas: pip install "posthoc-align[io]", or use to_dict().'
            ) from error
        frame = pd.DataFrame.from_dict(self.to_dict()["languages"], orient="index")
        return frame.rename_axis("language")

    def __str__(self) -> str:
        scores = self.scores
        named = {str(name): name for name in self.n_rows if name != scores.pivot}
        lines: dict[str, tuple[str, Estimate]] = {
            text: (str(self.n_rows[name]), scores.per_language[name])
            for text, name in named.items()
        }
        lines["macro"] = ("", scores.macro)
        lines[f"{scores.pivot} (source)"] = (str(self.n_rows[scores.pivot]), scores.source)
        lines["gap"] = ("", scores.gap)
        wide = max(map(len, ("language", *lines)))
        long = max(3, *(len(n) for n, _ in lines.values()))
        text = [f"{'language':<{wide}}  {'n':>{long}}  {scores.metric}"]
        text += [f"{name:<{wide}}  {n:>{long}}  {found}" for name, (n, found) in lines.items()]
        text.append(
            f"percent; {scores.macro.level:.0%} intervals, seed {scores.macro.random_state}; "
            f"worst language: {scores.worst}"
        )
        return "\n".join(text + self.notes)

    @property
    def notes(self) -> list[str]:
        """What the labels leave out, a sentence each."""
        said = [f"{name} has no rows of {values}" for name, values in self.absent.items()]
        if self.unknown:
            said.append(f"the head never saw {self.unknown}: their rows count as wrong")
        return said


def _rows(X: Any, at: np.ndarray) -> Any:
    """Rows of an array or a data frame; all of them as they are."""
    if len(at) == len(X):
        return X
    if hasattr(X, "iloc"):
        return X.iloc[at]
    return X[index_like(at, X)] if is_tensor(X) else np.asarray(X)[at]


def _absent(by_language: Mapping[Any, np.ndarray], known: np.ndarray) -> dict[Any, list[Any]]:
    """Classes that each language has no row of, where there are any."""
    seen = {name: set(own.tolist()) for name, own in by_language.items()}
    every = sorted(set(known.tolist()).union(*seen.values()))
    lacking = {name: [c for c in every if c not in own] for name, own in seen.items()}
    return {name: classes for name, classes in lacking.items() if classes}
