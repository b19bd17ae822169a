"""The command ``posthoc-align``."""

from __future__ import annotations

import argparse
import shlex
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import posthoc_align
from posthoc_align import extract_command, model_command

EXAMPLES = """examples:
  posthoc-align demo
      run every method on the bundled corpus (12 languages) and write a report
  posthoc-align compare emb/en.npy emb/de.npy emb/fr.npy --pivot en
      one file a language, row i of each translates row i of the others
  posthoc-align compare emb/*.npy --pivot en --labels topics.npy --output report
      with task labels (one a pair): a head trained on English, scored on each language
  posthoc-align compare all.safetensors --table rows.csv --pivot en
      one file, and a CSV with the columns language and pair_id
  posthoc-align report emb/12/*.npy --pivot en --layers emb/4 emb/8 emb/12
      one page with every picture, and which layer to align: a folder a layer, files named alike
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code (0 done, 1 wrong input, 2 wrong usage)."""
    arguments = _parser().parse_args(argv)
    arguments.given = list(sys.argv[1:] if argv is None else argv)
    try:
        arguments.run(arguments)
    except (ValueError, OSError, MemoryError, ImportError) as error:
        print(f"posthoc-align: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("posthoc-align: stopped", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="posthoc-align",
        description="Align multilingual embeddings after the fact, and say what helped.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=posthoc_align.__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")

    demo = commands.add_parser("demo", help="compare all methods on the bundled corpus")
    demo.set_defaults(run=_demo)

    compare = _corpus_command(commands, "compare", "compare all methods on your embeddings")
    compare.set_defaults(run=_compare)
    for command in (demo, compare):
        command.add_argument(
            "--output",
            type=Path,
            default=Path("posthoc-align-report"),
            help="folder for comparison.csv, .json, .html and space.png (default: %(default)s)",
        )
    report = _corpus_command(commands, "report", "write one HTML page about your embeddings")
    report.add_argument(
        "--layers",
        nargs="+",
        type=Path,
        help="folders, one a layer, each with files named as the ones above",
    )
    report.add_argument(
        "--output",
        type=Path,
        default=Path("posthoc-align-report.html"),
        help="the page (default: %(default)s)",
    )
    report.set_defaults(run=_report)

    for command in (compare, report):
        _add_split(command)
    model_command.add_commands(commands, _corpus_command)

    extract = commands.add_parser("extract", help=extract_command.HELP)
    extract_command.add_arguments(extract)
    extract.set_defaults(run=extract_command.run)

    for command in (demo, compare, report):
        command.add_argument("--quiet", action="store_true", help="no progress bar")
    return parser


def _corpus_command(commands: Any, name: str, text: str) -> argparse.ArgumentParser:
    """Add a command that reads embeddings of several languages."""
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=text, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_argument(
        "files",
        nargs="+",
        type=Path,
        help=".npy, .npz or .safetensors: one file a language (named by its stem) with "
        "corresponding rows, or one file with --table",
    )
    command.add_argument("--pivot", required=True, help="language the others are mapped onto")
    command.add_argument(
        "--table",
        type=Path,
        help="CSV or TSV with columns language and pair_id (optional: label, split), a line a row",
    )
    command.add_argument(
        "--labels", type=Path, help="task labels, one a pair or one a row (.npy, .npz, .txt, .csv)"
    )
    return command


def _add_split(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--test-size",
        type=float,
        default=0.25,
        help="share of the pairs held out when the table names no split (default: %(default)s)",
    )
    command.add_argument("--seed", type=int, default=0, help="of that split (default: %(default)s)")


def _demo(arguments: argparse.Namespace) -> None:
    from posthoc_align.datasets import load_parallel_topics

    corpus = load_parallel_topics()
    _run(
        arguments,
        corpus.embeddings,
        language=corpus.language,
        pair_id=corpus.pair_id,
        label=corpus.topic,
        split=corpus.split,
        pivot=corpus.pivot,
    )


def _compare(arguments: argparse.Namespace) -> None:
    X, settings = _corpus(arguments)
    _run(arguments, X, **settings)


def _corpus(arguments: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """Read the files: the rows, and what is known of them and asked for."""
    from posthoc_align.store import read_corpus

    corpus = read_corpus(arguments.files, table=arguments.table, labels=arguments.labels)
    return corpus.X, {
        "language": corpus.language,
        "pair_id": corpus.pair_id,
        "label": corpus.label,
        "split": corpus.split,
        "pivot": arguments.pivot,
        "test_size": arguments.test_size,
        "random_state": arguments.seed,
    }


class _Layers(Mapping[str, Any]):
    """The rows of each layer, read when asked for: one layer is in memory at a time."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        from posthoc_align._array_files import existing_file

        names = [folder.name for folder in arguments.layers]
        alike = len(set(names)) < len(names)
        self._folders = {str(f) if alike else f.name: f for f in arguments.layers}
        self._names = [path.name for path in arguments.files]
        self._table = arguments.table
        for folder in self._folders.values():  # a missing one is found before hours of work
            for name in self._names:
                existing_file(folder / name)

    def __getitem__(self, layer: str) -> Any:
        from posthoc_align.store import read_corpus

        files = [self._folders[layer] / name for name in self._names]
        return read_corpus(files, table=self._table).X

    def __iter__(self) -> Iterator[str]:
        return iter(self._folders)

    def __len__(self) -> int:
        return len(self._folders)


def _report(arguments: argparse.Namespace) -> None:
    """Compare, profile the layers, write the page."""
    from posthoc_align.report import Report
    from posthoc_align.report.whole import require_page

    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    require_page(arguments.output)
    X, settings = _corpus(arguments)
    layers = _Layers(arguments) if arguments.layers else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the report keeps them, they are printed below
        report = Report.of(X, layers=layers, progress=not arguments.quiet, **settings)
    report = replace(report, command=shlex.join(["posthoc-align", *arguments.given]))
    report.to_html(arguments.output)
    print(*report.verdict, sep="\n")
    for note in (*report.comparison.warnings, *(report.layers.warnings if report.layers else ())):
        print(f"warning: {note}")
    print(f"written to {arguments.output}")


def _run(arguments: argparse.Namespace, X: Any, **settings: Any) -> None:
    """Compare, print the table, write the three files."""
    from posthoc_align.comparison import compare

    arguments.output.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the comparison keeps them, they are printed below
        comparison = compare(X, progress=not arguments.quiet, **settings)
    print(comparison)
    for note in comparison.warnings:
        print(f"warning: {note}")
    comparison.to_csv(arguments.output / "comparison.csv")
    comparison.to_json(arguments.output / "comparison.json")
    written = ["comparison.csv", "comparison.json"]
    try:
        comparison.to_html(arguments.output / "comparison.html")
        comparison.plot_space().savefig(arguments.output / "space.png", dpi=120)
        written += ["comparison.html", "space.png"]
    except ImportError as error:
        print(f"warning: no HTML page and no picture: {error}")
    print(f"written to {arguments.output}: {', '.join(written)}")
