"""A whole experiment in a TOML file: a table a command, its options named as the flags.

.. code-block:: toml

    [fit]
    files = "store"
    pivot = "en"
    test-size = 0.25
    output = "aligner.safetensors"

Paths count from the file's folder; ``*`` and ``?`` in names of files are filled in as a shell does.
"""

from __future__ import annotations

import argparse
import difflib
import glob
import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from posthoc_align._array_files import existing_file
from posthoc_align._table_files import read_text
from posthoc_align.commands._options import (
    CommandParser,
    folder_or_layer,
    folder_or_name,
    layer_or_all,
)

# What a setting may be, by the type that the command line would make of it.
_KINDS: dict[Any, tuple[str, tuple[type, ...]]] = {
    None: ("text", (str,)),
    Path: ("a path", (str,)),
    int: ("a whole number", (int,)),
    float: ("a number", (int, float)),
    folder_or_name: ("a folder or a name", (str,)),
    folder_or_layer: ('a folder, a number or "all"', (int, str)),
    layer_or_all: ('a number or "all"', (int, str)),
}


def read_experiment(path: Path, known: Mapping[str, CommandParser]) -> list[tuple[str, Any]]:
    """Read the tables of a file, in their order.

    Parameters
    ----------
    path : Path
    known : mapping of str to CommandParser
        The commands there are.

    Returns
    -------
    list of (str, dict)
        Command and its settings; a command that has several tables, ``[[export]]``, is there as
        often.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no TOML, or has something besides tables of commands.
    """
    path = existing_file(path)
    try:
        content = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is no TOML ({error}).") from None
    tables = []
    for name, value in content.items():
        if name not in known:
            raise ValueError(f"{path} has an unknown table [{name}]{_nearest(name, known)}.")
        for table in value if isinstance(value, list) else [value]:
            if not isinstance(table, dict):
                raise ValueError(
                    f"{path}: {name} is {table!r}; expected a table, [{name}], with the options of "
                    f"posthoc-align {name}."
                )
            tables.append((name, table))
    if not tables:
        raise ValueError(f"{path} is empty: expected tables such as [fit], one a command.")
    return tables


def take_settings(
    parser: CommandParser, table: Mapping[str, Any], where: str, base: Path, *, fill: bool = True
) -> None:
    """Make settings the defaults of a command, so that its flags override them.

    Parameters
    ----------
    parser : CommandParser
    table : mapping
        As :func:`read_experiment` gives it.
    where : str
        File and table, for messages.
    base : Path
        The folder that paths count from.
    fill : bool, default=True
        Whether ``*`` and ``?`` in names of files are filled in: not before the files are there.

    Raises
    ------
    ValueError
        If a key is unknown, or its value is not of the kind that the option takes.
    """
    for name, value in table.items():
        if name not in parser.settings:
            raise ValueError(
                f"{where} has an unknown key {name!r}{_nearest(name, parser.settings)}."
            )
        action = parser.settings[name]
        action.default = _value(action, value, f"{where}: {name}", base, fill)
        action.required = False
        if not action.option_strings:  # a positional that may be left out is one of these two
            action.nargs = "*" if action.nargs == "+" else "?"


def write_settings(command: str, arguments: argparse.Namespace, base: Path) -> str:
    """Write what a command ran with as a table of an experiment.

    Parameters
    ----------
    command : str
    arguments : argparse.Namespace
        As parsed, whatever came from the command line and what from a file.
    base : Path
        The folder that the file will lie in.

    Returns
    -------
    str
        TOML, with every setting that is not absent or off.
    """
    lines = [f"[{command}]"]
    for name, action in arguments.parser.settings.items():
        value = getattr(arguments, action.dest)
        if value is None or value is False or name in ("json", "quiet", "verbose"):
            continue
        if action.type in (folder_or_name, folder_or_layer):
            several = isinstance(value, list)
            found = [Path(v) if Path(v).exists() else v for v in (value if several else [value])]
            value = found if several else found[0]
        lines.append(f"{name} = {_toml(value, base)}")
    return "\n".join(lines) + "\n"


def _value(action: argparse.Action, value: Any, where: str, base: Path, fill: bool) -> Any:
    """One setting as the command line would have made it."""
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise ValueError(f"{where} is {value!r}; expected true or false.")
        return value
    several = action.nargs in ("+", "*")
    parts = value if several and isinstance(value, list) else [value]
    what, kinds = _KINDS[action.type]
    for part in parts:
        if isinstance(part, bool) or not isinstance(part, kinds):
            listed = f"{what}, or a list of these" if several else what
            raise ValueError(f"{where} is {value!r}; expected {listed}.")
        if action.choices is not None and part not in action.choices:
            raise ValueError(f"{where} is {part!r}; expected one of {list(action.choices)}.")
    if not parts:
        raise ValueError(f"{where} is an empty list; expected {what} at least.")
    if action.type is Path:
        parts = [path for part in parts for path in _paths(part, where, base, several and fill)]
    elif action.type in (folder_or_name, folder_or_layer):  # else a name on a hub, or a number
        parts = [
            str(base / str(part)) if (base / str(part)).exists() else str(part) for part in parts
        ]
    elif action.type is float:
        parts = [float(part) for part in parts]
    elif action.type is layer_or_all:
        parts = [str(part) for part in parts]
    return parts if several else parts[0]


def _paths(name: str, where: str, base: Path, fill: bool) -> Sequence[Path]:
    if not fill or not glob.has_magic(name):
        return [base / name]
    found = sorted(glob.glob(name, root_dir=base))
    if not found:
        raise ValueError(f"{where}: no file in {base.resolve()} is like {name!r}.")
    return [base / path for path in found]


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name.replace("_", "-"), known, n=1, cutoff=0.5)
    if near:
        return f": did you mean {near[0]!r}? There are {', '.join(sorted(known))}"
    return f"; it may be one of {', '.join(sorted(known))}"


def _relative(path: Path, base: Path) -> str:
    try:
        return Path(os.path.relpath(path, base)).as_posix()
    except ValueError:  # on Windows no path leads from one drive to another
        return path.resolve().as_posix()


def _toml(value: Any, base: Path) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_toml(part, base) for part in value) + "]"
    if isinstance(value, Path):
        value = _relative(value, base)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    # A string of JSON is one of TOML, but for this one character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
