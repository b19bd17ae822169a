"""One writer at a time: a lock that the system takes back when its process dies."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import weakref
from pathlib import Path

NAME = ".writer.lock"

_HELD = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES)
"""What systems say of a lock that somebody else holds: flock the first two, which are one on most;
network drives that make a record lock of it, and Windows, the last."""


class WriterLock:
    """The right to write into a folder, held until :meth:`release` or the end of the process.

    The file stays when the lock is given back; it is the system's lock on it that counts, so a
    process that was killed leaves nothing to clean up. A copy of the process made by ``fork``
    shares the lock, which then lasts until both have ended.

    Parameters
    ----------
    folder : Path

    Raises
    ------
    BlockingIOError
        If another writer holds it.
    OSError
        If the file system of the folder has no locks.
    """

    def __init__(self, folder: Path) -> None:
        handle = os.open(folder / NAME, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(handle)
        except OSError as error:
            holder = ""
            with contextlib.suppress(OSError):  # Windows refuses to read what is locked
                holder = os.read(handle, 20).decode(errors="replace")
            os.close(handle)
            if error.errno not in _HELD:
                raise OSError(
                    error.errno,
                    f"The file system of {folder} has no locks ({error.strerror or error}), which "
                    "keep two writers apart. Write the store on another disk and copy the folder "
                    "here, since reading needs none, or mount this one with locks",
                ) from error
            raise BlockingIOError(
                f"{folder} is being written by another writer (process {holder or 'unknown'}): a "
                "store has one writer at a time. Wait for it or close it; reading is free."
            ) from None
        self._close = weakref.finalize(self, os.close, handle)
        with contextlib.suppress(OSError):  # a full disk: others will not be told who holds it
            os.ftruncate(handle, 0)
            os.write(handle, str(os.getpid()).encode())

    def release(self) -> None:
        """Let others write."""
        self._close()


def _lock(handle: int) -> None:
    """Lock an open file for this process alone, or raise OSError at once."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
