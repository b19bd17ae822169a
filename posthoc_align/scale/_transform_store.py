"""Transform the rows of one store into another, in bounded memory, from where a run stopped."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from pathlib import Path
from typing import Any

from sklearn.utils import Bunch

from posthoc_align._array_files import PathLike
from posthoc_align._arrays import Array
from posthoc_align._blocks import BadRow
from posthoc_align.align._apply import apply_aligner, require_aligner
from posthoc_align.align._base import as_array
from posthoc_align.align._parameters import require_number
from posthoc_align.align.layerwise import layer_columns
from posthoc_align.embedding_store import EmbeddingStore
from posthoc_align.embedding_store._begin import begin_or_resume
from posthoc_align.embedding_store._shard import type_name
from posthoc_align.scale._fingerprint import fingerprint

_NOTE = "transform_store"
"""Under this the target notes what it is made of."""


def transform_store(
    aligner: Any,
    source: EmbeddingStore | PathLike,
    target: PathLike,
    *,
    layer: int | None = None,
    batch_rows: int = 32_768,
    progress: bool = False,
) -> EmbeddingStore:
    """Write a store of aligned rows, or finish a run that was stopped.

    The source is read batch by batch, each is transformed with its rows' languages, and becomes a
    shard of the target, safe on the disk before the next begins; pair ids are copied. Called again
    with the same aligner, the run goes on after the last shard, and the target is, bit for bit,
    that of a run that was never stopped. A finished target is returned at once; one whose source
    has grown since is continued.

    Parameters
    ----------
    aligner : fitted estimator or Pipeline
        Anything with ``transform``; it gets ``language`` where it takes it.
    source : EmbeddingStore or path
        The rows to transform. It may grow meanwhile: what was there at the opening is done.
    target : path
        Folder of the aligned rows, another one.
    layer : int, optional
        The layer to transform, where the source has several; the target has it alone. None gives
        the aligner all layers side by side, as :class:`Layerwise` and :class:`LayerMixing` are
        fitted; the target has the same layers if as many columns come out, else one unnumbered.
    batch_rows : int, default=32768
        Most rows of a batch, hence of a shard of the target: what is computed again after a kill.
        Memory is about four times a batch, O(batch_rows n_features), in any number of rows.
    progress : bool, default=False
        Show a bar with rows, rate and time left.

    Returns
    -------
    store : EmbeddingStore
        The target, of the type that the aligner returns: that of the source, for those of this
        library.

    Raises
    ------
    FileNotFoundError
        If there is no source.
    ValueError
        If the source has no rows or several layers of which none was chosen; if the target is the
        source, was written by something else, with another aligner, layer or `batch_rows`, from
        other rows, or is damaged; if a row cannot be transformed, which is named by its number.
    BlockingIOError
        If another run writes the target.
    OSError
        If a shard cannot be written, for example on a full disk; all before it is kept.

    Warns
    -----
    UserWarning
        If shards of the source are damaged: their rows are left out, as everywhere. When they have
        come back, the target must be made anew.

    Notes
    -----
    What identifies the source are the checksums in its index; whether its bytes still agree with
    them is told by :meth:`EmbeddingStore.verify`, which reads every one of them.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from posthoc_align import EmbeddingStore, LanguageCentering, transform_store
    >>> X, language = np.array([[1.0, 2.0], [3.0, 6.0]]), ["en", "en"]
    >>> folder = Path(tempfile.mkdtemp())
    >>> with EmbeddingStore.create(folder / "raw", n_features=2, dtype="float64") as store:
    ...     store.append(X, language=language)
    >>> aligner = LanguageCentering().fit(X, language=language)
    >>> transform_store(aligner, folder / "raw", folder / "aligned").to_array()
    memmap([[-1., -2.],
            [ 1.,  2.]])
    """
    from tqdm.auto import tqdm

    require_number("batch_rows", batch_rows, Integral, lambda n: n >= 1, "an integer >= 1")
    _require_row_by_row(aligner)
    source = source if isinstance(source, EmbeddingStore) else EmbeddingStore(source)
    target = Path(target)
    if target.resolve() == source.path.resolve():
        raise ValueError(f"target is the source, {target}: rows are not replaced. Choose another.")
    # One row tells the width, and has a fit by partial_fit solved before its digest is taken.
    sample = _transformed(aligner, _first_row(aligner, source, layer), 0)
    layers = _layers_out(source, layer, sample)
    run = {
        "aligner": f"{type(aligner).__name__} {fingerprint(aligner)}",
        "layer": None if layer is None else int(layer),
        "batch_rows": int(batch_rows),
        "source_shards": len(source.shard_rows),
        "source_digest": source.digest(),
        "source_about": source.about,
    }
    begun = begin_or_resume(
        target,
        n_features=sample.shape[1] // len(layers or (None,)),
        dtype=type_name(sample),
        layers=layers,
        about={_NOTE: run},
    )
    with begun as store:
        _require_same_run(store, source, run)
        if store.about[_NOTE] != run:  # the source has grown
            store.note({_NOTE: run})
        with tqdm(
            total=len(source),
            initial=len(store),
            unit="row",
            unit_scale=True,
            disable=not progress,
        ) as bar:
            for batch in source.batches(batch_rows, layer=layer, start=len(store)):
                rows = _transformed(aligner, batch, len(store))
                _append(store, _by_layer(rows, layers), batch, len(source))
                bar.update(rows.shape[0])
    return store


def _require_row_by_row(aligner: Any) -> None:
    """Refuse what is no aligner, and one whose answer for a row depends on the rows beside it."""
    require_aligner(aligner)
    options = aligner.get_params() if hasattr(aligner, "get_params") else {}
    for name, value in options.items():
        if name.rpartition("__")[2] == "unseen" and value == "transductive":
            raise ValueError(
                f"{name}='transductive' learns a new language from the rows that come together, "
                "and a store comes in batches: rows would depend on batch_rows. Give the language "
                f"to add_language first, or set_params({name}='error'), 'global' or 'identity'."
            )


def _first_row(aligner: Any, source: EmbeddingStore, layer: int | None) -> Bunch:
    n_layers, width = len(source.layers or ()), source.n_features
    fitted = getattr(aligner, "n_features_in_", None)
    if layer is None and n_layers > 1 and fitted not in (None, n_layers * width):
        raise ValueError(
            f"{source.path} has the layers {list(source.layers or ())} of {width} columns, and the "
            f"aligner was fitted on {fitted}: choose one with layer=, or pass an aligner fitted on "
            f"all {n_layers * width} columns side by side, such as Layerwise."
        )
    for row in source.batches(1, layer=layer):
        return row
    raise ValueError(f"{source.path} has no rows to transform: append some, or see its .damaged.")


def _transformed(aligner: Any, batch: Bunch, start: int) -> Array:
    """The rows of a batch that begins at row `start` of the source, transformed."""
    try:
        return as_array(apply_aligner(aligner, batch.X, batch.language))
    except BadRow as bad:
        raise BadRow(start + bad.row, bad.text) from None


def _layers_out(source: EmbeddingStore, layer: int | None, sample: Array) -> tuple[int, ...] | None:
    """Numbers of the layers of the target."""
    if layer is not None:
        return (int(layer),)
    n_layers = len(source.layers or ())
    return source.layers if sample.shape[1] == n_layers * source.n_features else None


def _by_layer(rows: Array, layers: tuple[int, ...] | None) -> Array | dict[int, Array]:
    if layers is None:
        return rows
    columns = layer_columns(rows.shape[1], len(layers))
    return {layer: rows[:, cut] for layer, cut in zip(layers, columns, strict=True)}


def _require_same_run(
    store: EmbeddingStore, source: EmbeddingStore, run: Mapping[str, Any]
) -> None:
    """Refuse to go on with a store of another run."""
    noted = store.about.get(_NOTE)
    if noted is None:
        raise ValueError(
            f"{store.path} is a store that transform_store did not write. Choose another folder."
        )
    differ = [
        f"{name} was {noted[name]!r} and is {run[name]!r}"
        for name in ("aligner", "layer", "batch_rows")
        if noted[name] != run[name]
    ]
    seen = noted["source_shards"]
    if seen > run["source_shards"] or source.digest(seen) != noted["source_digest"]:
        differ.append(f"it was made of {seen} shards that {source.path} does not begin with")
    if differ:
        raise ValueError(
            f"{store.path} is of another run: {'; '.join(differ)}. Choose another folder, or run "
            "with what it was begun with."
        )
    cuts = [
        min(run["batch_rows"], rows - start)
        for rows in source.shard_rows
        for start in range(0, rows, run["batch_rows"])
    ]
    if list(store.shard_rows) != cuts[: len(store.shard_rows)]:
        raise ValueError(
            f"Rows were appended to {store.path} by others, and it cannot be gone on with. Choose "
            "another folder."
        )


def _append(store: EmbeddingStore, rows: Any, batch: Bunch, total: int) -> None:
    try:
        store.append(rows, language=batch.language, pair_id=batch.pair_id)
    except OSError as error:
        raise OSError(
            error.errno,
            f"{store.path} has {len(store)} of {total} rows and the next could not be written "
            f"({error.__cause__ or error}). Make room and run again: it goes on from there",
        ) from error
