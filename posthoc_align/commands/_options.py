"""What the commands have in common: how they are declared, options of rows and of splits."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

EXIT_CODES = "exit codes: 0 done, 1 wrong input, 2 wrong usage, 130 interrupted"

TEST_SIZE = 0.25
"""Share of the pairs that compare, report and evaluate hold out."""


class CommandParser(argparse.ArgumentParser):
    """A parser that never guesses at half an option, and shows examples as they are written."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        settings.setdefault("allow_abbrev", False)
        settings.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(*args, **settings)

    @property
    def settings(self) -> dict[str, argparse.Action]:
        """Options and arguments that a configuration may hold, by the name they have there."""
        left_out = ("help", "version", "config", "command")
        return {
            action.option_strings[-1].lstrip("-") if action.option_strings else action.dest: action
            for action in self._actions
            if action.dest not in left_out
        }


def declare(
    commands: Any,
    name: str,
    run: Callable[[argparse.Namespace], None],
    *,
    text: str,
    examples: str,
    config: bool = True,
) -> CommandParser:
    """Add a command with the options that all have.

    Parameters
    ----------
    commands : subparsers
        What ``CommandParser.add_subparsers`` returned.
    name : str
    run : callable
        Is called with the parsed arguments.
    text : str
        One line of help.
    examples : str
        Lines for the end of ``--help``.
    config : bool, default=True
        Whether it takes ``--config``.
    """
    command: CommandParser = commands.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog=f"examples:\n{examples}\n{EXIT_CODES}",
    )
    group = command.add_argument_group("in all commands")
    if config:
        group.add_argument(
            "--config",
            type=Path,
            metavar="TOML",
            help=f"take what is not given here from the table [{name}] of this file",
        )
    group.add_argument(
        "--json", action="store_true", help="print the result as JSON, and nothing else"
    )
    group.add_argument(
        "--quiet",
        action="store_true",
        help="the result and errors only: no progress, no notes, no warnings",
    )
    group.add_argument(
        "--verbose", action="store_true", help="say how long steps take, show where errors arise"
    )
    command.set_defaults(run=run, parser=command)
    return command


def add_rows(command: argparse.ArgumentParser, *, pivot: bool = True) -> None:
    """Add the arguments that say which rows a command reads."""
    command.add_argument(
        "files",
        nargs="+",
        type=Path,
        help="a store that extract wrote; or .npy, .npz, .safetensors: one file a language, its "
        "stem the language, with corresponding rows, or one with --table",
    )
    if pivot:
        command.add_argument(
            "--pivot",
            required=True,
            metavar="LANG",
            help="language that the others are compared with, or mapped onto",
        )
    command.add_argument(
        "--layer",
        type=int,
        metavar="N",
        help="layer of the store (may be left out where it has one)",
    )
    command.add_argument(
        "--table",
        type=Path,
        metavar="FILE",
        help="CSV or TSV, a line a row: columns language and pair_id, if wanted label and split",
    )


def add_labels(command: argparse.ArgumentParser, purpose: str) -> None:
    """Add the option that names the labels of a task."""
    command.add_argument(
        "--labels",
        type=Path,
        metavar="FILE",
        help=f"labels of a task, one a pair or one a row (.npy, .npz, .txt, .csv): {purpose}",
    )


def add_split(command: argparse.ArgumentParser, *, default: float | None, text: str) -> None:
    """Add the options of which pairs are held out; alike in all commands, so is what they draw."""
    command.add_argument("--test-size", type=float, default=default, metavar="SHARE", help=text)
    command.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of that draw (default: %(default)s)"
    )


def folder_or_name(text: str) -> str:
    """A model's folder, or its name on a hub; a configuration looks for a folder beside itself."""
    return text


def folder_or_layer(text: str) -> str:
    """A folder with files of one layer, or of a store a layer's number, or ``all``."""
    return text


def layer_or_all(text: str) -> str:
    """A layer's number, or ``all``; kept as text."""
    if text != "all":
        int(text)  # argparse says what came when this fails
    return text
