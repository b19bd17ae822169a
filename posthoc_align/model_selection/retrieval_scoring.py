"""A scorer of aligners by retrieval, for searches over aligners that have no head behind them."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.metadata_routing import MetadataRequest

from posthoc_align._arrays import check_rows, index_like
from posthoc_align.align._apply import apply_aligner
from posthoc_align.align._parameters import require_choice
from posthoc_align.languages import check_language, check_pair_id, language_of, require_unique_pairs
from posthoc_align.model_selection._pairs import found_both_ways, pairs_with
from posthoc_align.model_selection.scoring import request_of


def make_retrieval_scorer(*, pivot: Any = "en", score: str = "cosine") -> RetrievalScorer:
    """Make a scorer of aligners: the share of held-out rows that find their translation.

    The mean of weak alignment from each language to the pivot and back, over languages: see
    :func:`posthoc_align.metrics.weak_alignment`. With it ``GridSearchCV`` searches over aligners,
    which have no ``score`` of their own; ``cv=PairGroupKFold()`` holds translations out together.
    Language and ``pair_id`` are asked for by the scorer itself; there is nothing to request.

    Parameters
    ----------
    pivot : str or int, default="en"
        The language that others look for their translations in.
    score : {"cosine", "csls"}, default="cosine"
        What is nearest.

    Returns
    -------
    RetrievalScorer
        Called as ``scorer(estimator, X, language=..., pair_id=...)``.

    Notes
    -----
    Needs scikit-learn's metadata routing, which delivers both.

    Examples
    --------
    >>> import numpy as np
    >>> import sklearn
    >>> from sklearn.model_selection import GridSearchCV
    >>> from posthoc_align import PivotAligner, Procrustes
    >>> from posthoc_align.model_selection import PairGroupKFold
    >>> en = np.random.default_rng(0).normal(size=(30, 4))
    >>> X = np.vstack([en, en[:, ::-1]])
    >>> search = GridSearchCV(
    ...     PivotAligner(),
    ...     {"recipe": [None, "center"]},
    ...     cv=PairGroupKFold(3),
    ...     scoring=make_retrieval_scorer(),
    ... )
    >>> with sklearn.config_context(enable_metadata_routing=True):
    ...     found = search.fit(X, language=["en"] * 30 + ["de"] * 30, pair_id=[*range(30)] * 2)
    >>> float(found.best_score_)
    1.0
    """
    require_choice("score", score, ("cosine", "csls"))
    return RetrievalScorer(pivot, score)


class RetrievalScorer:
    """A scorer of aligners by retrieval: :func:`make_retrieval_scorer`.

    Parameters
    ----------
    pivot : str or int
    score : {"cosine", "csls"}
    """

    def __init__(self, pivot: Any = "en", score: str = "cosine") -> None:
        self.pivot = pivot
        self.score = score

    def __call__(
        self, estimator: Any, X: Any, y: Any = None, *, language: Any = None, pair_id: Any = None
    ) -> float:
        """Score an aligner.

        Parameters
        ----------
        estimator : fitted estimator
            Of a search its ``best_estimator_`` is scored.
        X : array of shape (n_samples, n_features)
        y : ignored
        language, pair_id : array-like of shape (n_samples,)

        Returns
        -------
        float
            Between 0 and 1.
        """
        while hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        labels = check_language(language_of(X, language), len(X))
        if labels is None or pair_id is None:
            lost = [n for n, v in {"language": labels, "pair_id": pair_id}.items() if v is None]
            raise ValueError(
                f"The retrieval scorer got no {' and no '.join(lost)}: enable scikit-learn's "
                "metadata routing and pass params={'language': ..., 'pair_id': ...} "
                "(GridSearchCV: fit(X, language=..., pair_id=...))."
            )
        ids = check_pair_id(pair_id, len(X))
        require_unique_pairs(labels, ids)
        Z = check_rows(None, apply_aligner(estimator, X, labels))
        pairs = pairs_with(self.pivot, labels, ids, np.arange(len(X)))
        found = [
            np.mean(found_both_ways(Z[index_like(own, Z)], Z[index_like(to, Z)], score=self.score))
            for own, to in pairs.values()
        ]
        if not found:
            raise ValueError(
                f"No language shares 2 or more pair ids with the pivot {self.pivot!r} among the "
                f"{len(X)} held-out rows: hold translations out together with PairGroupKFold, or "
                "name another pivot, make_retrieval_scorer(pivot=...)."
            )
        return float(np.mean(found))

    def get_metadata_routing(self) -> MetadataRequest:
        """What the scorer asks for: ``language`` and ``pair_id``."""
        return request_of(self, "language", "pair_id")

    def __repr__(self) -> str:
        return f"RetrievalScorer(pivot={self.pivot!r}, score={self.score!r})"
