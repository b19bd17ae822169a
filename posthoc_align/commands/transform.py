"""``posthoc-align transform``: rows through a saved aligner."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from posthoc_align.commands._console import Console
from posthoc_align.commands._options import add_rows, declare
from posthoc_align.commands._outputs import ready_file, ready_folder, require_other

EXAMPLES = """\
  posthoc-align transform a.safetensors new/de.npy new/sw.npy --output aligned
      a file each, under its own name; its stem is the language
  posthoc-align transform a.safetensors all.npy --table rows.csv --output out
      one file, the languages of its rows in a table
  posthoc-align transform a.safetensors store --output aligned-store
      from store to store; a run that was stopped goes on where it was
"""


def add(commands: Any) -> None:
    """Add the command.

    Parameters
    ----------
    commands : subparsers
    """
    command = declare(
        commands, "transform", run, text="align rows by a saved aligner", examples=EXAMPLES
    )
    command.add_argument("model", type=Path, help="a file that fit or save wrote")
    add_rows(command, pivot=False)
    command.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="for .npy files named as the ones that came, or of the new store",
    )


def run(arguments: argparse.Namespace) -> None:
    """Run the command.

    Parameters
    ----------
    arguments : argparse.Namespace
        As :func:`add` declares them.
    """
    from posthoc_align.commands._models import read_aligner
    from posthoc_align.store import is_store

    console = Console(arguments)
    model = read_aligner(arguments.model, console)
    if any(is_store(path) for path in arguments.files):
        _transform_store(model, arguments, console)
    else:
        _transform_files(model, arguments, console)


def _transform_store(model: Any, arguments: argparse.Namespace, console: Console) -> None:
    from posthoc_align.scale import transform_store
    from posthoc_align.store import open_store

    if len(arguments.files) > 1:
        raise ValueError("A store is transformed alone: pass it without other files.")
    if arguments.table is not None:
        raise ValueError("A store knows the languages of its rows: leave out --table.")
    (path,) = arguments.files
    require_other(arguments.output, [path])
    ready_folder(arguments.output)
    source, layer = open_store(path), arguments.layer
    if layer is None and len(source.layers or ()) > 1:
        raise ValueError(f"{path} has the layers {list(source.layers or ())}: name one by --layer.")
    with console.step("transform"):
        made = transform_store(
            model, source, arguments.output, layer=layer, progress=console.progress
        )
    console.written(made.path, f"{len(made)} rows of {made.n_features}, {made.dtype}")
    console.result(None, {"store": made.path, "rows": len(made), "n_features": made.n_features})


def _transform_files(model: Any, arguments: argparse.Namespace, console: Console) -> None:
    from functools import partial

    import numpy as np

    from posthoc_align._array_files import write_whole
    from posthoc_align._arrays import labels_to_host, upcast
    from posthoc_align.align._apply import apply_aligner
    from posthoc_align.store import read_embeddings, read_table

    if arguments.layer is not None:
        raise ValueError("--layer is of a store: files have one layer each. Leave it out.")
    if arguments.table is not None and len(arguments.files) > 1:
        raise ValueError("A table describes the rows of one file: pass one file, or no --table.")
    places = [arguments.output / f"{path.stem}.npy" for path in arguments.files]
    twice = sorted({place.stem for place in places if places.count(place) > 1})
    if twice:
        raise ValueError(f"More than one file is named {twice}: one would overwrite the other.")
    there = [ready_file(place, read=arguments.files) for place in places]
    written = []
    for path, place, replaced in zip(arguments.files, places, there, strict=True):
        X = read_embeddings(path)
        language: Any = path.stem
        if arguments.table is not None:
            language = read_table(arguments.table).language
        try:
            with console.step(f"transform {path}"):
                Z = apply_aligner(model, X, language)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        rows = labels_to_host(upcast(Z) if "bfloat16" in str(Z.dtype) else Z)  # .npy has no such
        write_whole(place, partial(np.save, arr=rows))
        what = f"{rows.shape[0]} rows of {rows.shape[1]}, {rows.dtype}"
        console.written(place, what, replaced=replaced)
        written.append({"file": place, "rows": rows.shape[0], "n_features": rows.shape[1]})
    console.result(None, {"written": written})
