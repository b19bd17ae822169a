"""``posthoc-align inspect``: what is in a model file or a store."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from posthoc_align.commands._console import Console
from posthoc_align.commands._options import declare

EXAMPLES = """\
  posthoc-align inspect aligner.safetensors
  posthoc-align inspect store --json
"""


def add(commands: Any) -> None:
    """Add the command.

    Parameters
    ----------
    commands : subparsers
    """
    command = declare(
        commands, "inspect", run, text="say what is in a model file or a store", examples=EXAMPLES
    )
    command.add_argument(
        "path", type=Path, help="a file that fit or save wrote, or a store that extract wrote"
    )


def run(arguments: argparse.Namespace) -> None:
    """Run the command.

    Parameters
    ----------
    arguments : argparse.Namespace
        As :func:`add` declares them.
    """
    from posthoc_align.persist import describe
    from posthoc_align.store import is_store

    console = Console(arguments)
    path = arguments.path
    about = _store(path) if is_store(path) else describe(path)
    lines = []
    for name, value in about.items():
        if value is None:
            continue
        if isinstance(value, dict):
            value = ", ".join(f"{key} {part}" for key, part in value.items())
        elif isinstance(value, list):
            value = ", ".join(map(str, value))
        lines.append(f"{name}: {value}")
    console.result("\n".join(lines), about)


def _store(path: Path) -> dict[str, Any]:
    import numpy as np

    from posthoc_align.store import open_store

    store = open_store(path)
    names, counts = np.unique([] if store.language is None else store.language, return_counts=True)
    return {
        "rows": dict(zip(names.tolist(), counts.tolist(), strict=True)) or len(store),
        "n_features": store.n_features,
        "dtype": store.dtype,
        "layers": list(store.layers) if store.layers is not None else None,
        "encoder": (store.about.get("encoder") or {}).get("model"),
    }
