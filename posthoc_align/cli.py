"""The command ``posthoc-align``."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import posthoc_align
from posthoc_align.commands import (
    compare,
    demo,
    evaluate,
    export,
    extract,
    fit,
    inspect,
    report,
    transform,
)
from posthoc_align.commands._options import EXIT_CODES, CommandParser, declare

EXAMPLES = """examples:
  posthoc-align demo
      run every method on the bundled corpus (12 languages) and write a report
  posthoc-align compare emb/en.npy emb/de.npy emb/fr.npy --pivot en
      which method helps on your embeddings: one file a language

from texts to an aligned encoder:
  posthoc-align extract path/to/model en.txt de.txt fr.txt --output store
  posthoc-align fit store --pivot en --test-size 0.25 --output a.safetensors
  posthoc-align evaluate store --pivot en --model a.safetensors
  posthoc-align export a.safetensors de.onnx --language de

posthoc-align COMMAND --help says more of each.
"""
RUN_EXAMPLES = """\
  posthoc-align run experiment.toml
      with, for example, in experiment.toml:

        [fit]
        files = "store"
        pivot = "en"
        test-size = 0.25
        output = "aligner.safetensors"

        [evaluate]
        files = "store"
        pivot = "en"
        model = "aligner.safetensors"

Options are named as the flags, arguments as in the usage line; paths count from
the file's folder. A command that runs twice has two tables [[export]].
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        What follows the command's name; None takes it from the process.

    Returns
    -------
    int
        0 done, 1 wrong input, 130 interrupted. Wrong usage exits by ``SystemExit`` with 2.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    arguments: argparse.Namespace | None = None
    resume = ""
    try:
        arguments = _parsed(given)
        resume = getattr(arguments, "resume", "")
        arguments.run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output has closed it, as head does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, OSError, MemoryError, ImportError) as error:
        if "--verbose" in given if arguments is None else arguments.verbose:
            traceback.print_exc()
        said = str(error) or "memory ran out"
        print(f"posthoc-align: error: {said}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"posthoc-align: stopped. {resume}".rstrip(), file=sys.stderr)
        return 130
    return 0


def _parsed(given: Sequence[str]) -> argparse.Namespace:
    """Parse a command line; what a configuration says are its defaults."""
    parser, commands = _parsers()
    first = CommandParser(add_help=False)
    first.add_argument("--config", type=Path)
    path = first.parse_known_args(given)[0].config
    name = next((word for word in given if not word.startswith("-")), None)
    if path is not None and name in commands and name != "run":
        from posthoc_align.commands._config import read_experiment, take_settings

        tables = [table for key, table in read_experiment(path, commands) if key == name]
        if len(tables) != 1:
            raise ValueError(
                f"{path} has {len(tables)} tables [{name}]; expected one. All that it has are run "
                f"by posthoc-align run {path}."
            )
        take_settings(commands[name], tables[0], f"{path}: [{name}]", path.parent)
    arguments = parser.parse_args(given)
    arguments.given = given
    return arguments


def _run_experiment(arguments: argparse.Namespace) -> None:
    """Run every table of a file, in the order in which they stand there."""
    from posthoc_align.commands._config import read_experiment

    path = arguments.experiment
    common = [f"--{name}" for name in ("json", "quiet", "verbose") if getattr(arguments, name)]
    tables = read_experiment(path, _parsers()[1])
    for name, table in tables:  # all are looked at before the first runs
        _step(name, table, path, common, fill=False)
    for name, table in tables:
        step = _step(name, table, path, common, fill=True)
        if not step.quiet:
            print(f"[{name}]", file=sys.stderr)
        arguments.verbose = step.verbose  # for the error that it may end in
        step.run(step)


def _step(
    name: str, table: dict[str, Any], path: Path, common: list[str], *, fill: bool
) -> argparse.Namespace:
    """Parse one table of an experiment."""
    from posthoc_align.commands._config import take_settings

    if name == "run":
        raise ValueError(f"{path} has a table [run]: an experiment cannot run another.")
    parser, commands = _parsers()
    where = f"{path}: [{name}]"
    take_settings(commands[name], table, where, path.parent, fill=fill)
    missing = [key for key, action in commands[name].settings.items() if action.required]
    if missing:
        raise ValueError(f"{where} lacks {', '.join(missing)}: posthoc-align {name} needs it.")
    step = parser.parse_args([name, *common])
    step.given = ["run", str(path)]
    return step


def _parser() -> CommandParser:
    """The parser of the whole command line."""
    return _parsers()[0]


def _parsers() -> tuple[CommandParser, dict[str, CommandParser]]:
    """The parser, and those of the commands by name."""
    parser = CommandParser(
        prog="posthoc-align",
        description="Align multilingual embeddings after the fact, and say what helped.",
        epilog=f"{EXAMPLES}\n{EXIT_CODES}",
    )
    parser.add_argument("-V", "--version", action="version", version=posthoc_align.__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in (demo, compare, report, extract, fit, evaluate, transform, export, inspect):
        module.add(commands)
    run = declare(
        commands,
        "run",
        _run_experiment,
        text="run the commands of a TOML file, one after the other",
        examples=RUN_EXAMPLES,
        config=False,
    )
    run.add_argument("experiment", type=Path, help="a file with a table a command")
    return parser, dict(commands.choices)
