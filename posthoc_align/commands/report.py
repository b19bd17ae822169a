"""``posthoc-align report``: one page with every picture."""

from __future__ import annotations

import argparse
import shlex
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from posthoc_align.commands._console import Console
from posthoc_align.commands._options import (
    TEST_SIZE,
    add_labels,
    add_rows,
    add_split,
    declare,
    folder_or_layer,
)
from posthoc_align.commands._outputs import ready_file
from posthoc_align.commands.compare import HELD_OUT

EXAMPLES = """\
  posthoc-align report emb/*.npy --pivot en --labels topics.npy
      the table with intervals, pictures before and after, a verdict
  posthoc-align report emb/12/*.npy --pivot en --layers emb/4 emb/8 emb/12
      and which layer to align: a folder a layer, with files named alike
  posthoc-align report store --pivot en --layer 6 --layers all
      the same from a store of several layers
"""


def add(commands: Any) -> None:
    """Add the command.

    Parameters
    ----------
    commands : subparsers
    """
    command = declare(
        commands,
        "report",
        run,
        text="write one HTML page about your embeddings",
        examples=EXAMPLES,
    )
    add_rows(command)
    add_labels(command, "a head is trained on the pivot and scored on each language")
    add_split(command, default=TEST_SIZE, text=HELD_OUT)
    command.add_argument(
        "--layers",
        nargs="+",
        type=folder_or_layer,
        metavar="LAYER",
        help="folders, one a layer, each with files named as the ones above; of a store numbers, "
        "or all",
    )
    command.add_argument(
        "--output",
        type=Path,
        default=Path("posthoc-align-report.html"),
        metavar="FILE",
        help="the page (default: %(default)s)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Run the command.

    Parameters
    ----------
    arguments : argparse.Namespace
        As :func:`add` declares them.
    """
    from posthoc_align.commands._rows import Layers, read_rows
    from posthoc_align.report import Report
    from posthoc_align.report.whole import require_page

    console = Console(arguments)
    page = arguments.output
    replaced = ready_file(page, read=arguments.files)
    require_page(page)
    layers = Layers(arguments) if arguments.layers else None
    again = _again(arguments)  # fails now or never
    corpus = read_rows(arguments, console)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the report keeps them, they are said below
        report = Report.of(
            corpus.X,
            language=corpus.language,
            pair_id=corpus.pair_id,
            pivot=arguments.pivot,
            label=corpus.label,
            split=corpus.split,
            layers=layers,
            test_size=arguments.test_size,
            random_state=arguments.seed,
            progress=console.progress,
        )
    report = replace(report, command=again)
    for note in (*report.comparison.warnings, *(report.layers.warnings if report.layers else ())):
        console.warn(note)
    report.to_html(page)
    console.written(page, replaced=replaced)
    console.result(
        "\n".join(report.verdict),
        report.comparison.to_dict() | {"output": page, "verdict": report.verdict},
    )


def _again(arguments: argparse.Namespace) -> str:
    """What repeats the page: the command, and the same as a file, complete whatever was given."""
    from posthoc_align.commands._config import write_settings

    table = write_settings("report", arguments, arguments.output.parent)
    return (
        f"{shlex.join(['posthoc-align', *arguments.given])}\n\n"
        "# or posthoc-align run experiment.toml, with this file beside the page:\n" + table
    )
