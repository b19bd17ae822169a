"""The Tatoeba protocol: retrieval between a pivot and each other language, in both directions."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from posthoc_align._arrays import check_rows, index_like
from posthoc_align.languages import (
    check_language,
    check_pair_id,
    pair_rows,
    require_unique_pairs,
)
from posthoc_align.metrics.retrieval import translation_ranks


class TatoebaAccuracy(NamedTuple):
    """Accuracy by language, and its mean over languages, in [0, 1].

    Attributes
    ----------
    from_pivot : dict
        By language: the pivot's rows ask, the language's are searched. The direction of XTREME.
    to_pivot : dict
        By language: its rows ask, the pivot's are searched.
    macro_from_pivot, macro_to_pivot : float
        Means over languages, each counting once whatever its number of pairs.
    pairs : dict
        Number of pairs by language. Chance is one over it.
    """

    from_pivot: dict[Any, float]
    to_pivot: dict[Any, float]
    macro_from_pivot: float
    macro_to_pivot: float
    pairs: dict[Any, int]


def tatoeba_accuracy(
    X: Any,
    *,
    language: Any,
    pair_id: Any,
    pivot: Any = "en",
    score: str = "cosine",
    neighbors: int = 10,
    memory_budget: int | None = None,
) -> TatoebaAccuracy:
    """Share of rows whose nearest row across is their translation, for every language.

    For each language the rows that have a translation in the pivot are set against those
    translations alone, as in the benchmark, whose English side differs from language to language:
    give each of its pairs an id of its own, such as "deu-17". Where languages share the pivot's
    sentences the ids are shared too. A tie is a miss.

    Time O(n^2 d) a language in blocks, memory O(n d) for the rows of two languages, and the
    budget.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
    language : array-like of str or int of shape (n_samples,)
    pair_id : array-like of str or int of shape (n_samples,)
        Rows without a partner in the pivot, -1 and None among them, take no part.
    pivot : str or int, default="en"
    score : {"cosine", "csls", "inverted_softmax"}, default="cosine"
        XTREME uses the cosine; see :mod:`posthoc_align.metrics.retrieval`.
    neighbors : int, default=10
        Rows in a CSLS neighbourhood; at most the pairs of a language.
    memory_budget : int, optional
        Bytes that may be held beside the rows; 96 MB if None (1.6 GB on an accelerator).

    Returns
    -------
    TatoebaAccuracy

    Raises
    ------
    ValueError
        If there is one language only, the pivot is not among them, an id occurs twice in a
        language, a language has fewer than 2 pairs, or a row is zero or not finite.

    Notes
    -----
    Accuracies of two languages are comparable only if they are taken over the same sentences.

    References
    ----------
    .. [1] M. Artetxe, H. Schwenk, "Massively multilingual sentence embeddings for zero-shot
       cross-lingual transfer and beyond", TACL 7 (2019), arXiv:1812.10464.
    .. [2] J. Hu, S. Ruder, A. Siddhant, G. Neubig, O. Firat, M. Johnson, "XTREME: a massively
       multilingual multi-task benchmark", ICML (2020), arXiv:2003.11080.

    Examples
    --------
    German and English agree; both Finnish rows are nearer to the first English one.

    >>> import numpy as np
    >>> X = np.array([[1, 0], [0, 1], [2, 0], [0, 2], [3, 1], [4, 1]])
    >>> found = tatoeba_accuracy(
    ...     X, language=["en", "en", "de", "de", "fi", "fi"], pair_id=[0, 1, 0, 1, 0, 1]
    ... )
    >>> found.to_pivot, found.macro_to_pivot
    ({'de': 1.0, 'fi': 0.5}, 0.75)
    """
    X = check_rows(None, X)
    labels = check_language(language, X.shape[0])
    if labels is None:
        raise ValueError("language is None: pass one label a row, the pivot's among them.")
    ids = check_pair_id(pair_id, X.shape[0])
    require_unique_pairs(labels, ids)
    others = [label for label in np.unique(labels).tolist() if label != pivot]
    if len(others) == len(np.unique(labels)):
        raise ValueError(f"pivot={pivot!r} is none of the languages {others}: pass one of them.")
    if not others:
        raise ValueError(
            f"language holds {pivot!r} only: pass rows of the pivot and of another language."
        )
    at_pivot = np.flatnonzero(labels == pivot)
    from_pivot, to_pivot, pairs = {}, {}, {}
    for label in others:
        at = np.flatnonzero(labels == label)
        in_language, in_pivot = pair_rows(ids[at], ids[at_pivot])
        if len(in_language) < 2:
            raise ValueError(
                f"Language {label!r} has {len(in_language)} rows with a translation in "
                f"{pivot!r}: at least 2 pairs are needed. Check that translations share a "
                "pair_id, or leave the language out."
            )
        foreign = X[index_like(at[in_language], X)]
        home = X[index_like(at_pivot[in_pivot], X)]
        accuracies = []
        for asking, searched in ((home, foreign), (foreign, home)):
            ranks = translation_ranks(
                asking, searched, score=score, neighbors=neighbors, memory_budget=memory_budget
            )
            accuracies.append(float(np.mean(ranks == 1)))
        from_pivot[label], to_pivot[label] = accuracies
        pairs[label] = len(in_language)
    macro = [float(np.mean(list(each.values()))) for each in (from_pivot, to_pivot)]
    return TatoebaAccuracy(from_pivot, to_pivot, macro[0], macro[1], pairs)
