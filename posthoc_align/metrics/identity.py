"""How much of the language is left: what a probe tells of it, what anyone could, how it clusters.

A space in which languages cannot be told apart is aligned in a stricter sense than strong
alignment; a probe near the chance level is evidence of it, for probes of its kind.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from posthoc_align._arrays import labels_to_host
from posthoc_align.languages import factorize
from posthoc_align.metrics._directions import Directions
from posthoc_align.metrics._probe import (
    CentroidProbe,
    check_languages,
    check_same_width,
    make_head,
    probe_rows,
)
from posthoc_align.metrics._scatter import check_cloud
from posthoc_align.metrics._silhouette import cosine_distances, euclidean_distances, silhouette

FOLDS = 5


def language_identification(
    X: Any,
    language: Any,
    *,
    X_test: Any = None,
    language_test: Any = None,
    probe: str = "linear",
    head: Any = None,
) -> float:
    """Accuracy with which a probe tells the language of a row; low means neutral.

    The linear probe is a logistic regression on rows of length 3 (``C=1.0, max_iter=500``); the
    other takes the language whose mean direction is nearest. With a test set the probe is fitted
    on X and scored there. Without, the figure is the mean over 5 stratified folds, shuffled with
    a fixed seed. Compare it with :func:`chance_level`.

    The linear probe is scikit-learn's and runs on the host: rows are copied there as float64,
    8 bytes an entry. Time is that of the head, about O(n d L) an iteration for L languages. The
    centroid probe leaves rows where they are: one pass for the means, one for the answers, both
    O(n d L), memory O(d L).

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
    probe : {"linear", "centroid"}, default="linear"
        The centroid probe sees differences of means only: after centring it is at chance by
        construction, whatever else tells languages apart.
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
        and `language_test` is given, a fold cannot hold every language, widths differ, a row
        is zero or not finite, or the probe is unknown or given beside a head.

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
    if probe not in ("linear", "centroid"):
        raise ValueError(f"Unknown probe {probe!r}: expected 'linear' or 'centroid'.")
    if probe == "centroid" and head is not None:
        raise ValueError(
            f"probe='centroid' fits no head, but head={head!r} came: leave one of them out."
        )
    x = Directions.of(X)
    labels, names = _languages(language, len(x))
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
        everywhere = np.arange(len(x)), np.arange(len(tested))
        return _accuracy(x, labels, tested, expected, everywhere, probe, head)
    counts = np.unique(labels, return_counts=True)[1]
    if counts.min() < FOLDS:
        rare = names[np.argmin(counts)].item()
        raise ValueError(
            f"Language {rare!r} has {counts.min()} rows; {FOLDS} folds need {FOLDS} of each. "
            "Pass X_test and language_test instead, or leave it out."
        )
    from sklearn.model_selection import StratifiedKFold

    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(labels, labels)
    return float(np.mean([_accuracy(x, labels, x, labels, at, probe, head) for at in folds]))


def _languages(language: Any, n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels of the rows, and the two or more names among them."""
    labels = check_languages(language, n_rows, name="language")
    names = np.unique(labels)
    if names.size < 2:
        raise ValueError(
            f"X holds one language only ({names.tolist()[0]!r}): telling languages apart needs "
            "rows of two or more."
        )
    return labels, names


def _accuracy(
    x: Directions,
    labels: np.ndarray,
    tested: Directions,
    expected: np.ndarray,
    at: tuple[np.ndarray, np.ndarray],
    probe: str,
    head: Any,
) -> float:
    """Fit a probe on some rows and score it on others."""
    train, test = at
    if probe == "centroid":
        found = CentroidProbe.of(x, labels, train).predict(tested, test)
    else:
        fitted = make_head(head, max_iter=500).fit(probe_rows(x, train), labels[train])
        found = fitted.predict(probe_rows(tested, test))
    return float(np.mean(found == expected[test]))


def chance_level(language: Any) -> float:
    """Share of the most frequent language: the accuracy of a probe that knows nothing.

    It is the majority rate. A guess among L languages is right in 1 / L of the rows; the two
    agree where languages have equally many rows, and elsewhere the majority is the higher.

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


def language_silhouette(X: Any, language: Any, *, metric: str = "cosine") -> float:
    r"""How far apart languages lie as clusters: the mean silhouette of rows by language.

    With a row's mean distance a to the other rows of its language, and b to the rows of the
    nearest other language,

    .. math:: s = \frac{b - a}{\max(a, b)}, \qquad -1 \le s \le 1 .

    1: tight, distant clusters of languages; about 0: languages lie in each other; below 0: rows
    lie nearer to another language than to their own.

    The mean cosine distance to a set of rows needs their mean only: time O(n d L), memory
    O(d L) for L languages. The Euclidean distance needs all pairs: time O(n^2 d) in blocks, memory
    O(n L) and about 64 MB; pass a sample of more than some 50,000 rows.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
    language : array-like of str or int of shape (n_samples,)
        Two languages or more.
    metric : {"cosine", "euclidean"}, default="cosine"
        The cosine distance is 1 minus the cosine.

    Returns
    -------
    float
        Between -1 and 1.

    Raises
    ------
    ValueError
        If there is one language only, the metric is unknown, a row is not finite or, for the
        cosine, zero.

    Notes
    -----
    It is that of scikit-learn, in which the only row of a language counts as 0, and so does a
    row at distance 0 from all. It sees clusters, which are convex: languages on two interleaved
    curves score 0 and are told apart by a good probe.

    References
    ----------
    .. [1] P. J. Rousseeuw, "Silhouettes: a graphical aid to the interpretation and validation of
       cluster analysis", Journal of Computational and Applied Mathematics 20 (1987).

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
    >>> language_silhouette(X, ["de", "de", "en", "en"])
    1.0
    >>> language_silhouette(X, ["de", "en", "de", "en"])
    -0.5
    """
    if metric not in ("cosine", "euclidean"):
        raise ValueError(f"Unknown metric {metric!r}: expected 'cosine' or 'euclidean'.")
    if metric == "cosine":
        rows = Directions.of(X)
        codes = factorize(_languages(language, len(rows))[0])[1]
        distances = cosine_distances(rows, codes)
    else:
        points = check_cloud(X, name="X")
        codes = factorize(_languages(language, points.shape[0])[0])[1]
        distances = euclidean_distances(points, codes)
    return float(np.mean(silhouette(distances, codes)))
