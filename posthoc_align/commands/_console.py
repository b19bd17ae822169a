"""What a command says, and where: the result on standard output, all else on standard error."""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr
from pathlib import Path
from typing import Any


class Console:
    """The two streams of one command.

    Parameters
    ----------
    arguments : argparse.Namespace
        With ``command``, ``quiet``, ``verbose`` and ``json``.

    Attributes
    ----------
    warnings : list of str
        All that was warned of, also where it is not shown.
    progress : bool
        Whether bars are wanted.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        if arguments.quiet and arguments.verbose:
            raise ValueError("--quiet and --verbose came together: pass one of them.")
        self._command = arguments.command
        self._verbose = arguments.verbose
        self._json = arguments.json
        self.progress = not arguments.quiet
        self.warnings: list[str] = []

    def note(self, text: str) -> None:
        """Say what is done."""
        if self.progress:
            print(text, file=sys.stderr)

    def warn(self, text: str) -> None:
        """Say what the user should know, once."""
        if text not in self.warnings:
            self.warnings.append(text)
            self.note(f"warning: {text}")

    def written(self, path: Path, what: str = "", *, replaced: bool = False) -> None:
        """Say where something was put, and whether it took the place of another."""
        about = (f": {what}" if what else "") + (" (replaced what was there)" if replaced else "")
        self.note(f"written to {path}{about}")

    def result(self, text: str | None, data: dict[str, Any]) -> None:
        """Print what was asked for: as text for a person, or as one line of JSON.

        Parameters
        ----------
        text : str or None
            None where the result is a file.
        data : dict
            Plain data; the command's name and its warnings are added.
        """
        if self._json:
            said = {"command": self._command, **data, "warnings": self.warnings}
            print(json.dumps(said, ensure_ascii=False, allow_nan=False, default=_plain))
        elif text is not None:
            print(text)

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Hear the warnings of a step, and time it; bars that libraries draw are hushed as well."""
        start = time.perf_counter()
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            try:
                with nullcontext() if self.progress else redirect_stderr(io.StringIO()):
                    yield
            finally:
                for warning in heard:
                    if not issubclass(warning.category, (DeprecationWarning, ImportWarning)):
                        self.warn(str(warning.message))
        if self._verbose:
            self.note(f"{what}: {time.perf_counter() - start:.1f} s")


def _plain(value: Any) -> Any:
    """Paths as text, numbers of NumPy as numbers."""
    return str(value) if isinstance(value, Path) else value.item()
