"""Places to write to: looked at before long work, never one of the files that are read."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


def ready_folder(folder: Path) -> None:
    """Make a folder unless it is there, and see that it can be written to.

    Raises
    ------
    OSError
        If it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            f"The folder {folder} cannot be made ({error.strerror}): choose another --output."
        ) from error
    if not os.access(folder, os.W_OK):
        raise PermissionError(
            f"The folder {folder} is read-only: choose another --output, or change its rights."
        )


def ready_file(path: Path, *, read: Iterable[Path] = ()) -> bool:
    """See that a file can be put at a path; says whether one is there, which will be replaced.

    Parameters
    ----------
    path : Path
    read : iterable of Path
        Files of this run, none of which may be overwritten.

    Raises
    ------
    OSError
        If the folder cannot be made or written to, or the path is a folder.
    ValueError
        If the path is one of the files that are read.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: name the file to write in it.")
    require_other(path, read)
    ready_folder(path.parent)
    return path.exists()


def require_other(path: Path, read: Iterable[Path]) -> None:
    """Raise if something would be written over what is read."""
    for given in read:
        if path.resolve() == given.resolve():
            raise ValueError(f"{path} would overwrite what is read: choose another --output.")


def require_new(paths: Iterable[Path]) -> None:
    """Raise if a file is there: a corpus must not take the place of somebody's own texts."""
    there = [path for path in paths if path.exists()]
    if there:
        more = f" and {len(there) - 1} more" * (len(there) > 1)
        raise FileExistsError(
            f"{there[0]}{more} would be written over: nothing was written. Choose another folder, "
            "or delete what is there."
        )


def require_empty(folder: Path) -> None:
    """Raise if a folder holds anything: what is written there must not mix with it."""
    if folder.is_dir() and any(folder.iterdir()):
        raise FileExistsError(
            f"{folder} is there already and not empty: delete it, or choose another folder."
        )
