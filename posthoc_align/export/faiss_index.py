"""A fitted aligner in front of a faiss index."""

from __future__ import annotations

from typing import Any

import numpy as np

from posthoc_align.export.chain import AffineStep, fold


def to_faiss(model: Any, language: Any = None, *, index: Any = None) -> Any:
    """Return an index of faiss that aligns rows of one language before it stores or looks for them.

    Several languages share one index behind a transform each: make ``index`` first, give it to
    every call, add each language's rows through its own, and ask through that of the query.

    Parameters
    ----------
    model : fitted transformer, or Pipeline of such
        As for :func:`posthoc_align.export.fold`.
    language : str or int, optional
        As for :func:`posthoc_align.export.fold`.
    index : faiss.Index, optional
        Of the aligned width, searched by its own metric. None: a new ``IndexFlatIP`` behind a
        scaling to unit norm, which is search by cosine, as all measures here are.

    Returns
    -------
    faiss.IndexPreTransform

    Raises
    ------
    ImportError
        If faiss is not installed.
    ValueError
        As :func:`posthoc_align.export.fold`, or if the index has another width.
    """
    try:
        import faiss
    except ImportError as error:
        raise ImportError('This needs faiss: pip install "posthoc-align[export]"') from error
    chain = fold(model, language)
    own = index is None
    index = faiss.IndexFlatIP(chain.n_features_out) if own else index
    if index.d != chain.n_features_out:
        raise ValueError(
            f"The index is for rows of {index.d} features, and the model gives "
            f"{chain.n_features_out}: pass an index of that width."
        )
    made = faiss.IndexPreTransform(index)
    width = chain.n_features_out
    if own:
        made.prepend_transform(faiss.NormalizationTransform(width, 2.0))
    for step in reversed(chain.steps):
        if isinstance(step, AffineStep):
            width = step.matrix.shape[0]
            made.prepend_transform(_linear(faiss, step))
        else:
            made.prepend_transform(faiss.NormalizationTransform(width, 2.0))
    return made


def _linear(faiss: Any, step: AffineStep) -> Any:
    made = faiss.LinearTransform(step.matrix.shape[0], step.matrix.shape[1], True)
    for table, vector in ((step.matrix.T, made.A), (step.offset, made.b)):
        faiss.copy_array_to_vector(np.ascontiguousarray(table, np.float32).ravel(), vector)
    made.is_trained = True
    return made
