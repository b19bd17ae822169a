"""How much of the language is left: what a linear probe can tell of it, and what anyone could.

A space in which languages cannot be told apart is aligned in a stricter sense than strong
alignment; a probe near the chance level is evidence of it, for linear probes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from posthoc_align._arrays import labels_to_host
from posthoc_align.metrics._probe import (
    check_languages,
    check_same_width,
    make_head,
    probe_rows,
)
from posthoc_align.metrics._similarity import Directions

FOLDS = 5


def language_identification(
    X: Any,
    language: Any,
    *,
    X_test: Any = None,
    language_test: Any = None,
    head: Any = None,
) -> float:
    """Accuracy with which a linear probe tells the language of a row; low means neutral.

    The probe is a logistic regression on rows of length 3 (``C=1.0, max_iter=500``). With a test
    set it is fitted on X and scored there. Without, the figure is the mean over 5 stratified
    folds, shuffled with a fixed seed. Compare it with :func:`chance_level`.

    The probe is scikit-learn's and runs on the host: rows are copied there as float64, 8 bytes
    an entry. Time is that of the head, about O(n d L) an iteration for L languages.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
    language : array-like of str or int of shape (n_samples,)
        Two languages or more.
    X_test : array of shape (n_test, n_features), optional
        If rows of X and X_test translate each other, the probe can profit from it: keep
        translations on one side.
    language_test : array-like of str or int of shape (n_test,), or a scalar, optional
        Languages of `X_test`, each of which occurs in `language`.
    head : classifier, optional
        An unfitted scikit-learn classifier used in place of the logistic regression, on the same
        rows of length 3. It is cloned.

    Returns
    -------
    float
        Between 0 and 1.

    Raises
    ------
    ValueError
        If there is one language only, a test language is not in `language`, only one of `X_test`
        and `language_test` is given, a fold cannot hold every language, widths differ, or a row
        is zero or not finite.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    >>> language_identification(X, ["de", "de", "en", "en"], X_test=X, language_test=["en"] * 4)
    0.5
    """
    if (X_test is None) != (language_test is None):
        lacking = "X_test" if X_test is None else "language_test"
        raise ValueError(f"{lacking} is missing: pass X_test and language_test, or neither.")
    x = Directions.of(X)
    labels = check_languages(language, len(x), name="language")
    names, counts = np.unique(labels, return_counts=True)
    if names.size < 2:
        raise ValueError(
            f"X holds one language only ({names.tolist()[0]!r}): telling languages apart needs "
            "rows of two or more."
        )
    probe = make_head(head, max_iter=500)
    if X_test is not None:
        tested = Directions.of(X_test, name="X_test")
        check_same_width(x, tested)
        expected = check_languages(language_test, len(tested), name="language_test")
        unknown = sorted(set(expected.tolist()) - set(names.tolist()), key=str)
        if unknown:
            raise ValueError(
                f"language_test holds {unknown}, which the probe has not seen: it knows "
                f"{names.tolist()}. Leave those rows out, or add such rows to X."
            )
        probe.fit(probe_rows(x), labels)
        return float(np.mean(probe.predict(probe_rows(tested)) == expected))
    if counts.min() < FOLDS:
        rare = names[np.argmin(counts)].item()
        raise ValueError(
            f"Language {rare!r} has {counts.min()} rows; {FOLDS} folds need {FOLDS} of each. "
            "Pass X_test and language_test instead, or leave it out."
        )
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    return float(np.mean(cross_val_score(probe, probe_rows(x), labels, cv=folds)))


def chance_level(language: Any) -> float:
    """Share of the most frequent language: the accuracy of a probe that knows nothing.

    Parameters
    ----------
    language : array-like of str or int of shape (n_samples,)

    Returns
    -------
    float
        Above 0; 1 where there is one language only.

    Raises
    ------
    ValueError
        If there are no labels, or a label is missing.

    Examples
    --------
    >>> chance_level(["en", "en", "en", "de"])
    0.75
    """
    shape = labels_to_host(language).shape
    if len(shape) != 1 or shape[0] == 0:
        raise ValueError(f"language has shape {shape}: pass one label a row, of one row or more.")
    labels = check_languages(language, shape[0], name="language")
    return float(np.unique(labels, return_counts=True)[1].max() / labels.size)
