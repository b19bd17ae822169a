"""``posthoc-align evaluate``: measures of held-out rows, as they are and through an aligner."""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posthoc_align.commands._console import Console
from posthoc_align.commands._options import (
    TEST_SIZE,
    add_labels,
    add_rows,
    add_split,
    declare,
)

if TYPE_CHECKING:
    from posthoc_align._arrays import Array
    from posthoc_align._held_out import HeldOut

AFTER = "aligned"
NEIGHBORS = 10  # for hubs, as in the literature's software
EXAMPLES = """\
  posthoc-align evaluate store --pivot en
      embeddings as they are, on a quarter of the pairs
  posthoc-align evaluate store --pivot en --model a.safetensors --labels y.csv
      before and after an aligner that was fitted with --test-size 0.25; and a
      head trained on English, scored on each language
  posthoc-align evaluate all.npy --table rows.csv --pivot en
      the rows whose column split says test

What is measured are held-out pairs: those whose column split says test, or a
share drawn by --test-size and --seed. fit leaves out the same pairs when it is
given the same. The other rows teach the head and the probe of language id.
Where measured rows are among those that the aligner was fitted on, the output
says so first.
"""


def add(commands: Any) -> None:
    """Add the command.

    Parameters
    ----------
    commands : subparsers
    """
    command = declare(
        commands,
        "evaluate",
        run,
        text="measure embeddings, as they are or through a saved aligner",
        examples=EXAMPLES,
    )
    add_rows(command)
    command.add_argument("--model", type=Path, metavar="FILE", help="a file that fit or save wrote")
    add_labels(command, "zero-shot transfer, a head trained on the pivot scored on each language")
    add_split(
        command,
        default=TEST_SIZE,
        text="share of the pairs to measure, if no column split says it (default: %(default)s)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Run the command.

    Parameters
    ----------
    arguments : argparse.Namespace
        As :func:`add` declares them.
    """
    from posthoc_align.align.frozen import freeze
    from posthoc_align.commands._models import read_aligner, require_one_space
    from posthoc_align.commands._rows import hold_out, read_rows
    from posthoc_align.commands._scores import as_text
    from posthoc_align.commands._seen import share_seen
    from posthoc_align.comparison import IDENTITY, compare

    console = Console(arguments)
    model = None
    if arguments.model is not None:
        model = read_aligner(arguments.model, console)
        require_one_space(model, arguments.model)
    corpus = read_rows(arguments, console)
    data = hold_out(arguments, corpus)
    spaces, aligners, seen = {IDENTITY: _held_out(data)}, {}, None
    if model is not None:
        spaces[AFTER] = _through(model, data, arguments.model)
        aligners[AFTER] = freeze(model)
        seen = share_seen(model, spaces[IDENTITY])
        _warn_of_seen(seen, arguments.model, console)
    with console.step("measure"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the comparison keeps them, they are said below
        comparison = compare(
            corpus.X,
            language=corpus.language,
            pair_id=corpus.pair_id,
            pivot=arguments.pivot,
            label=corpus.label,
            split=corpus.split,
            aligners=aligners,
            test_size=arguments.test_size,
            random_state=arguments.seed,
        )
    for note in comparison.warnings:
        console.warn(note)
    result = comparison.to_dict()
    drawn = {"test_size": arguments.test_size, "seed": arguments.seed}
    result["measured"] = _measured(data, seen, drawn if corpus.split is None else None)
    with console.step("geometry"):
        for row in result["rows"]:
            row["geometry"] = _geometry(spaces[row["method"]], data)
    console.result(as_text(result, arguments.model), result)


def _held_out(data: HeldOut) -> Array:
    import numpy as np

    from posthoc_align._arrays import index_like

    return data.X[index_like(np.flatnonzero(data.test), data.X)]


def _through(model: Any, data: HeldOut, path: Path) -> Array:
    from posthoc_align.align._apply import apply_aligner

    try:
        return apply_aligner(model, _held_out(data), data.language[data.test])
    except ValueError as error:
        raise ValueError(f"{path} cannot transform these rows: {error}") from error


def _measured(data: HeldOut, seen: float | None, drawn: dict[str, Any] | None) -> dict[str, Any]:
    """Which rows are measured, how they were chosen, and how many of them the aligner knew."""
    return {
        "rows": int(data.test.sum()),
        "of": len(data.test),
        "pairs": {str(name): len(data.pairs(name)[0]) for name in data.others},
        "drawn": drawn,
        "fitted_share": seen,
    }


def _warn_of_seen(seen: float | None, path: Path, console: Console) -> None:
    if seen is None:
        console.warn(
            f"{path} does not know the rows that it was fitted on: whether these were held out "
            "cannot be told. A model that posthoc-align fit wrote knows them."
        )
    elif seen > 0:
        console.warn(
            f"{100 * seen:.0f} % of the measured rows are among those that {path} was fitted on: "
            "the figures flatter it. Fit it with the --test-size and --seed of this command, with "
            "a column split, or measure other rows."
        )


def _geometry(Z: Array, data: HeldOut) -> dict[str, Any]:
    """How evenly the space is used, and hubs among the rows of the pivot; of held-out rows."""
    import numpy as np

    from posthoc_align._arrays import index_like
    from posthoc_align.metrics import anisotropy, hubness, iso_score

    language = data.language[data.test]

    def rows_of(name: Any) -> Array:
        return Z[index_like(np.flatnonzero(language == name), Z)]

    pivot = rows_of(data.pivot)
    k = min(NEIGHBORS, pivot.shape[0])
    cones = anisotropy(Z, language)
    return {
        "iso_score": iso_score(Z),
        "anisotropy": {str(name): value for name, value in cones.items()},
        "hub_skewness": {
            str(name): hubness(rows_of(name), pivot, k=k).skewness for name in data.others
        },
    }
