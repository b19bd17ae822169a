"""``posthoc-align compare``: all methods on your rows."""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

from posthoc_align.commands._console import Console
from posthoc_align.commands._options import (
    TEST_SIZE,
    add_labels,
    add_rows,
    add_split,
    declare,
)
from posthoc_align.commands._outputs import ready_folder

WRITTEN = ("comparison.csv", "comparison.json", "experiment.toml")
DRAWN = ("comparison.html", "space.png")
HELD_OUT = "share of the pairs to hold out, if no column split says it (default: %(default)s)"
EXAMPLES = """\
  posthoc-align compare emb/en.npy emb/de.npy emb/fr.npy --pivot en
      one file a language, row i of each translates row i of the others
  posthoc-align compare emb/*.npy --pivot en --labels topics.npy --output report
      with task labels, one a pair: a head trained on English, scored on others
  posthoc-align compare all.safetensors --table rows.csv --pivot en
      one file, and a CSV with the columns language and pair_id
"""


def add(commands: Any) -> None:
    """Add the command.

    Parameters
    ----------
    commands : subparsers
    """
    command = declare(
        commands,
        "compare",
        run,
        text="compare all methods on your embeddings",
        examples=EXAMPLES,
    )
    add_rows(command)
    add_labels(command, "a head is trained on the pivot and scored on each language")
    add_split(command, default=TEST_SIZE, text=HELD_OUT)
    add_output(command)


def add_output(command: argparse.ArgumentParser) -> None:
    """Add the option that names the folder of what is written."""
    command.add_argument(
        "--output",
        type=Path,
        default=Path("posthoc-align-report"),
        metavar="FOLDER",
        help="for comparison.csv, .json, .html, space.png and the experiment.toml that repeats it "
        "(default: %(default)s)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Run the command.

    Parameters
    ----------
    arguments : argparse.Namespace
        As :func:`add` declares them.
    """
    from posthoc_align.commands._rows import read_rows

    console = Console(arguments)
    ready_folder(arguments.output)
    corpus = read_rows(arguments, console)
    write_comparison(
        arguments,
        console,
        corpus.X,
        language=corpus.language,
        pair_id=corpus.pair_id,
        label=corpus.label,
        split=corpus.split,
        pivot=arguments.pivot,
        test_size=arguments.test_size,
        random_state=arguments.seed,
    )


def write_comparison(
    arguments: argparse.Namespace, console: Console, X: Any, **settings: Any
) -> None:
    """Compare, print the table, write the files.

    Parameters
    ----------
    arguments : argparse.Namespace
        With ``output``.
    console : Console
    X : array of shape (n_samples, n_features)
    **settings
        As of :func:`posthoc_align.compare`.
    """
    from posthoc_align._array_files import write_whole
    from posthoc_align.commands._config import write_settings
    from posthoc_align.comparison import compare

    folder = arguments.output
    there = {name for name in (*WRITTEN, *DRAWN) if (folder / name).exists()}
    again = write_settings(arguments.command, arguments, folder)  # fails now or never
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the comparison keeps them, they are said below
        comparison = compare(X, progress=console.progress, **settings)
    for note in comparison.warnings:
        console.warn(note)
    comparison.to_csv(folder / "comparison.csv")
    comparison.to_json(folder / "comparison.json")
    write_whole(folder / "experiment.toml", again.encode())
    written = list(WRITTEN)
    try:
        comparison.to_html(folder / "comparison.html")
        comparison.plot_space().savefig(folder / "space.png", dpi=120)
        written += DRAWN
    except ImportError as error:
        console.warn(f"no HTML page and no picture: {error}")
    console.written(folder, ", ".join(written), replaced=bool(there & set(written)))
    console.result(str(comparison), comparison.to_dict() | {"output": folder, "written": written})
