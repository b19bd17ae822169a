"""The moments of rows that come from anywhere, read once."""

from __future__ import annotations

from inspect import signature
from itertools import chain
from typing import Any

import joblib
from joblib.parallel import get_active_backend

from posthoc_align import align
from posthoc_align.align import LanguageWhitening
from posthoc_align.moments import LanguageMoments
from posthoc_align.pair_moments import PairMoments
from posthoc_align.scale._accumulate import accumulate, needs_pairs, no_rows
from posthoc_align.scale._sources import batches_of, shards_of


def moments_of(
    source: Any,
    estimator: Any = None,
    *,
    y: Any = None,
    language: Any = None,
    layer: int | None = None,
    n_jobs: int | None = None,
    progress: bool = False,
) -> LanguageMoments | PairMoments:
    r"""Sum up a source, of any size and read once, into what an estimator is fitted from.

    ``estimator.fit_moments(moments_of(source, estimator))`` fits as ``estimator.fit`` does on all
    rows at once, in whatever order and batches they come: moments agree to 1e-10 (float64 rows) or
    1e-5 (narrower ones), what is solved from them to that over the relative spectral gap. Memory
    does not grow with the number of rows: it is that of the sums, O(d^2), or O(L d^2) where each of
    L languages has its own, and of three batches. Time is that of ``fit``, O(n d^2). A background
    thread reads while the sums are taken.

    Parameters
    ----------
    source : array, store, path, table or batches
        * An array of shape (n_samples, n_features): NumPy array, memory map, torch tensor on any
          device; `language` and `y` come beside it.
        * An :class:`EmbeddingStore`, or the path of one; a warning names damaged shards, which are
          left out.
        * The path of a ``.npy``, ``.npz`` or ``.safetensors`` file.
        * An Arrow table or record batch, or a Hugging Face dataset: embeddings (lists of one
          length) in the column ``X``, ``embedding`` or ``embeddings``, labels in ``language`` and
          ``y``; other columns are not looked at.
        * Batches: a list, generator, torch ``DataLoader``, Arrow reader. A batch is an array, a
          tuple (X, language), or (X, y) if the estimator is a map of paired rows, a mapping with
          the names above, or any of the preceding. All are of one width, type and device.
    estimator : estimator with ``fit_moments``, optional
        Says which sums are wanted and stays as it is. None: the mean and full scatter of each
        language, which all transformers need that ask for no class labels.
    y : array-like of shape (n_samples,) or (n_samples, n_features_out), optional
        Target space of a map, or class labels, beside an array or store.
    language : str, int or array-like of shape (n_samples,), optional
        Labels beside an array or a store that has none; beside batches one label for all rows.
    layer : int, optional
        Which layer of a store, or of each in a list of stores; None takes all, side by side.
    n_jobs : int, optional
        Number of workers that read and sum pieces of the source. None: one, or what an enclosing
        ``joblib.parallel_config`` says.
    progress : bool, default=False
        Whether to show how many rows are done, and how fast.

    Returns
    -------
    moments : LanguageMoments, or PairMoments for a map
        They add: ``moments_of(a) + moments_of(b)`` are those of both.

    Raises
    ------
    FileNotFoundError
        If a path leads nowhere, or to a folder that is no store.
    TypeError
        If the estimator is not fitted from moments, or the source is none of the above.
    ValueError
        If there are no rows, batches differ in width, type or labels, or hold NaN: the batch is
        named, counted from 1, and the row, counted from 0. If `layer` came for what is no store.

    Notes
    -----
    Batches may be of any size: small ones are put together, up to some thousand rows, before they
    are summed. A generator may fill the same array again for each: they are copied as they come.
    What it raises comes up unchanged. It is run in another thread, so that it should not use what
    is bound to this one, such as a connection to SQLite.

    Examples
    --------
    A store, such as `posthoc_align.extract` writes:

    >>> import tempfile
    >>> import numpy as np
    >>> from posthoc_align import EmbeddingStore, LanguageCentering, Procrustes, moments_of
    >>> folder = tempfile.mkdtemp()
    >>> with EmbeddingStore.create(folder, n_features=2, dtype="float64") as store:
    ...     store.append(np.array([[1.0, 0.0], [3.0, 4.0]]), language="en")
    ...     store.append(np.array([[7.0, 8.0], [9.0, 8.0]]), language="de")
    >>> centring = LanguageCentering()
    >>> centring.fit_moments(moments_of(folder, centring)).means_
    array([[8., 8.],
           [2., 2.]])

    An iterator of batches, here (X, language):

    >>> stream = ((batch.X, batch.language) for batch in store.batches(1))
    >>> moments = moments_of(stream, centring)
    >>> moments["en"].count, moments["en"].mean
    (2, array([2., 2.]))

    Batches of paired rows (X, y), for a map:

    >>> rows = np.array([[1.0, 0.0], [0.0, 2.0], [-1.0, -2.0]])
    >>> pairs = [(rows[:1], rows[:1, ::-1]), (rows[1:], rows[1:, ::-1])]
    >>> Procrustes().fit_moments(moments_of(pairs, Procrustes())).rotation_.round(6) + 0.0
    array([[0., 1.],
           [1., 0.]])
    """
    estimator = LanguageWhitening() if estimator is None else estimator  # it needs the most
    _require_streaming(estimator)
    pairs = needs_pairs(estimator)
    if pairs and language is not None:
        raise ValueError(
            f"{type(estimator).__name__} maps one space to another and takes no language: leave "
            "language= out, and take the moments of each language's pairs apart."
        )
    shards = shards_of(source, y=y, language=language, layer=layer, pairs=pairs)
    if shards is None:
        if n_jobs not in (None, 1):
            raise ValueError(
                f"n_jobs={n_jobs}, but a {type(source).__name__} can be read in one place only. "
                "Leave n_jobs out, or pass what workers can open for themselves: a list of paths "
                "or stores, a store, a memory map."
            )
        batches = batches_of(source, y=y, language=language, layer=layer, pairs=pairs)
        with _bar(progress) as bar:
            return accumulate(batches, estimator, seen=bar.update)
    if not shards:
        raise no_rows()
    n_rows = sum(shard.n_rows for shard in shards)
    if _has_workers(n_jobs):
        from posthoc_align.scale._tasks import reduce_shards

        with _bar(progress, n_rows) as bar:
            return reduce_shards(shards, estimator, n_jobs=n_jobs, seen=bar.update)
    batches = chain.from_iterable(shard.batches() for shard in shards)
    with _bar(progress, n_rows) as bar:
        return accumulate(batches, estimator, seen=bar.update)


def _bar(progress: bool, n_rows: int | None = None) -> Any:
    """Rows done and their rate; of `n_rows`, if it is known."""
    from tqdm.auto import tqdm

    return tqdm(total=n_rows, unit="row", unit_scale=True, disable=not progress)


def _has_workers(n_jobs: int | None) -> bool:
    """Whether somebody asked for workers: here, or in an enclosing ``parallel_config``."""
    if n_jobs is not None:
        return joblib.effective_n_jobs(n_jobs) > 1
    backend, chosen = get_active_backend()
    # A cluster's backend means all of its workers unless told otherwise, be it a single one.
    return chosen not in (None, 1) or getattr(backend, "default_n_jobs", 1) != 1


def _require_streaming(estimator: Any) -> None:
    """Raise a TypeError for an estimator that sums over rows do not suffice for."""
    name = type(estimator).__name__
    if not (hasattr(estimator, "fit_moments") and hasattr(estimator, "partial_fit")):
        known = (getattr(align, name) for name in align.__all__)
        able = sorted(one.__name__ for one in known if hasattr(one, "fit_moments"))
        raise TypeError(
            f"{name} is fitted on rows and not from moments; expected one of {', '.join(able)}. "
            "For a map of each language onto a pivot: centre by the moments of "
            "LanguageCentering, then fit Procrustes or LinearMap from batches (X, y) of pairs."
        )
    if "pair_id" in signature(estimator.partial_fit).parameters:
        raise TypeError(
            f"{name} needs all translations of a text together, which a stream does not promise: "
            "call its partial_fit(X, pair_id=...) with batches of whole texts."
        )
