"""The model file of a command: read, and seen to be an aligner before any row is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from posthoc_align.commands._console import Console


def read_aligner(path: Path, console: Console) -> Any:
    """Load what transforms rows.

    Parameters
    ----------
    path : Path
    console : Console

    Returns
    -------
    estimator

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no model file, or the model transforms nothing, as a classifier does not.
    """
    from posthoc_align.align._apply import require_aligner
    from posthoc_align.persist import load

    with console.step("load"):
        model = load(path)
    try:
        require_aligner(model)
    except TypeError:
        inside = " Its own is saved by save(load(path).aligner_, other_path) of posthoc_align."
        raise ValueError(
            f"{path} holds {type(model).__name__}, which transforms no rows: give the file of an "
            "aligner, as posthoc-align fit writes it." + inside * hasattr(model, "aligner_")
        ) from None
    return model


def require_one_space(model: Any, path: Path) -> None:
    """Raise for a map between two spaces: rows of one space cannot be measured before and after.

    Parameters
    ----------
    model : estimator
    path : Path
        Its file, for the message.
    """
    from posthoc_align.align._apply import leaves
    from posthoc_align.align._map import SpaceMap

    maps = [type(step).__name__ for step in leaves(model) if isinstance(step, SpaceMap)]
    if maps:
        raise ValueError(
            f"{path} holds {maps[0]}, a map between two spaces: what it does to the languages of "
            "one is not told by comparing them before and after. Give an aligner, as posthoc-align "
            "fit writes it, or transform the rows and evaluate these by themselves."
        )
