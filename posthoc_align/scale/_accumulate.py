"""From batches of rows to their moments."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from sklearn.base import clone

from posthoc_align._blocks import BadRow
from posthoc_align.scale._batches import Batch
from posthoc_align.scale._gather import gathered
from posthoc_align.scale._read_ahead import read_ahead


def no_rows() -> ValueError:
    """The error for a source that came to its end at once."""
    return ValueError(
        "The source has no rows: it yielded no batch. An iterator can be walked through once: make "
        "a new one, or pass a list."
    )


def accumulate(
    batches: Iterable[Batch], estimator: Any, *, seen: Callable[[int], object] | None = None
) -> Any:
    """Return the moments that an estimator needs of all rows.

    A background thread reads the batches and puts small ones together; here they are summed.
    Nothing is solved.

    Parameters
    ----------
    batches : iterable of Batch
        Such as ``shard.batches()``.
    estimator : estimator with ``partial_fit`` and ``moments_``
        It stays as it is.
    seen : callable, optional
        Told how many rows were summed, now and then.

    Returns
    -------
    moments : LanguageMoments or PairMoments

    Raises
    ------
    ValueError
        If there are no batches, they are not alike, or hold what cannot be summed; the batch and
        its row are named.
    """
    worker, pairs = clone(estimator), needs_pairs(estimator)
    with read_ahead(gathered(batches, pairs=pairs)) as ready:
        for rows in ready:
            labels = {} if pairs else {"language": rows.language}
            try:
                worker.partial_fit(rows.X, rows.y, **labels)
            except BadRow as bad:
                raise rows.renumbered(bad) from None
            if seen is not None:
                seen(rows.X.shape[0])
    if "moments_" not in vars(worker):
        raise no_rows()
    return worker.moments_


def needs_pairs(estimator: Any) -> bool:
    """Whether it is fitted on X and y of rows that correspond."""
    return bool(getattr(estimator, "requires_pairs", False))
