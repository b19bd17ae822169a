"""``posthoc-align demo``: all methods on the bundled corpus, or its texts."""

from __future__ import annotations

import argparse
import csv
import io
from pathlib import Path
from typing import Any

from posthoc_align.commands._console import Console
from posthoc_align.commands._options import declare
from posthoc_align.commands._outputs import ready_folder, require_new
from posthoc_align.commands.compare import add_output, write_comparison

TOPICS = "topics.csv"
EXAMPLES = """\
  posthoc-align demo
      run every method on the bundled corpus (12 languages) and write a report
  posthoc-align demo --texts texts
      write the corpus as texts/en.txt, texts/de.txt, ... and stop there; where
      one of these files is there already it writes nothing
"""


def add(commands: Any) -> None:
    """Add the command.

    Parameters
    ----------
    commands : subparsers
    """
    command = declare(
        commands,
        "demo",
        run,
        text="compare all methods on the bundled corpus",
        examples=EXAMPLES,
    )
    command.add_argument(
        "--texts",
        type=Path,
        metavar="FOLDER",
        help="instead write the corpus as text files, one a language, and its topics as topics.csv",
    )
    add_output(command)


def run(arguments: argparse.Namespace) -> None:
    """Run the command.

    Parameters
    ----------
    arguments : argparse.Namespace
        As :func:`add` declares them.
    """
    from posthoc_align.datasets import load_parallel_topics

    console = Console(arguments)
    corpus = load_parallel_topics()
    if arguments.texts is not None:
        _write_texts(corpus, arguments.texts, console)
        return
    ready_folder(arguments.output)
    write_comparison(
        arguments,
        console,
        corpus.embeddings,
        language=corpus.language,
        pair_id=corpus.pair_id,
        label=corpus.topic,
        split=corpus.split,
        pivot=corpus.pivot,
    )


def _write_texts(corpus: Any, folder: Path, console: Console) -> None:
    """Write a file a language, a text a line, and the topic of each line."""
    from posthoc_align._array_files import write_whole

    names = [f"{language}.txt" for language in corpus.languages]
    require_new([folder / name for name in (*names, TOPICS)])
    ready_folder(folder)
    for language in corpus.languages:
        texts = corpus.text[corpus.language == language]
        write_whole(folder / f"{language}.txt", ("\n".join(texts) + "\n").encode())
    table = io.StringIO(newline="")
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(["label"])
    topics = corpus.topic[corpus.language == corpus.pivot]
    rows.writerows([topic] for topic in topics)
    write_whole(folder / TOPICS, table.getvalue().encode())
    console.written(folder, f"{', '.join(names)} of {len(topics)} lines each, and {TOPICS}")
    console.result(None, {"output": folder, "written": [*names, TOPICS]})
