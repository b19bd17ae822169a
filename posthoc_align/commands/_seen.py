"""What a model file knows of the rows that its aligner was fitted on: which, and how long."""

from __future__ import annotations

from typing import Any

import numpy as np

from posthoc_align._arrays import Array, labels_to_host, upcast
from posthoc_align._blocks import blocks

KEPT = 65_536
"""Fingerprints in a model file, half a megabyte; the smallest, which are a random part of all."""

_ROWS, _LENGTHS = "fitted_rows_", "fitted_lengths_"
_FACTOR = 2.0
"""How far beyond the fitted ones a length may lie: unit rows for others are off by more."""


def fingerprints(X: Array) -> np.ndarray:
    r"""A number for each row, equal for equal rows whatever type and file they come in.

    A multilinear hash of the row's float32 bits, :math:`\sum_j w_j x_j \bmod 2^{64}` with fixed
    random odd weights, then mixed so that its order is random. Time O(n d), memory O(n).

    Parameters
    ----------
    X : array of shape (n_samples, n_features)

    Returns
    -------
    ndarray of uint64 of shape (n_samples,)
    """
    weights = np.random.default_rng(0).integers(
        2**64, size=X.shape[1], dtype=np.uint64, endpoint=False
    ) | np.uint64(1)
    found = [np.zeros(0, dtype=np.uint64)]
    for rows in blocks(X):
        block = np.ascontiguousarray(labels_to_host(upcast(X[rows])), dtype=np.float32) + 0.0
        found.append((block.view(np.uint32) * weights).sum(axis=1, dtype=np.uint64))
    mixed = np.concatenate(found)
    for shift, factor in ((33, 0xFF51AFD7ED558CCD), (33, 0xC4CEB9FE1A85EC53)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(33))


def remember_rows(model: Any, X: Array) -> None:
    """Note in a fitted model what its rows were; :func:`posthoc_align.save` keeps it.

    Parameters
    ----------
    model : fitted estimator
    X : array of shape (n_samples, n_features)
    """
    setattr(model, _ROWS, np.unique(fingerprints(X))[:KEPT])
    setattr(model, _LENGTHS, np.array(_lengths(X)))


def require_like_fitted(model: Any, X: Array) -> None:
    """Raise if rows are far shorter or longer than those that a model was fitted on.

    Parameters
    ----------
    model : fitted estimator
        One that does not know its rows is let pass.
    X : array of shape (n_samples, n_features)

    Raises
    ------
    ValueError
        If they are.
    """
    known = getattr(model, _LENGTHS, None)
    if known is None:
        return
    (least, most), (short, long) = known, _lengths(X)
    if short < least / _FACTOR or long > most * _FACTOR:
        raise ValueError(
            f"The encoder's embeddings have a length of {short:.3g} and the aligner was fitted on "
            f"rows {least:.3g} to {most:.3g} long: these are not what the model's own encode "
            "returns. Fit it on those: extract --layers N, N one more than the model has blocks."
        )


def _lengths(X: Array) -> tuple[float, float]:
    """The shortest and the longest row."""
    found = [
        np.linalg.norm(np.asarray(labels_to_host(upcast(X[rows])), dtype=np.float64), axis=1)
        for rows in blocks(X)
    ]
    return float(min(f.min() for f in found)), float(max(f.max() for f in found))


def share_seen(model: Any, X: Array) -> float | None:
    """Share of rows that a model was fitted on; None where it does not know its rows.

    Exact up to :data:`KEPT` rows; beyond these it is the share among the rows whose fingerprint is
    small enough to be kept.
    """
    kept = getattr(model, _ROWS, None)
    if not isinstance(kept, np.ndarray) or not len(kept):
        return None
    own = fingerprints(X)
    if len(kept) >= KEPT:
        own = own[own <= kept.max()]
    return float(np.isin(own, kept).mean()) if len(own) else 0.0
