"""Batches of texts of like length, smaller where memory does not suffice."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from posthoc_align._memory import attempt, release_memory


@dataclass
class Room:
    """How much runs at once: at most `size` texts, and no more tokens than memory had room for.

    Parameters
    ----------
    size : int
        Texts of a batch.
    tokens : float
        Padded tokens of a batch; infinite until memory ran out once.
    """

    size: int
    tokens: float = math.inf

    def of(self, longest: int) -> int:
        """Texts that run at once if the longest has so many tokens."""
        return int(max(1, min(self.size, self.tokens // max(1, longest))))


def in_batches(lengths: np.ndarray, work: Callable[[np.ndarray], None], room: Room) -> None:
    """Call `work` on the positions of as many rows at a time as there is room, long rows first.

    Rows of like length need little padding; with the longest first, memory runs out at once or not
    at all. When it does the batch is halved, and no later batch has more tokens than the half:
    shorter rows still run many at a time.

    Parameters
    ----------
    lengths : ndarray of shape (n_rows,)
        Number of tokens of each row; equal ones keep their order.
    work : callable
        Takes the positions of a batch; may be called again on parts of what it failed on.
    room : Room
        Made smaller when memory runs out.

    Raises
    ------
    MemoryError
        If a single row is too much.

    Warns
    -----
    UserWarning
        For each halving.
    """
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        longest = int(lengths[order[start]])
        at = order[start : start + room.of(longest)]
        if attempt(work, at):
            start += len(at)
            continue
        release_memory()
        if len(at) == 1:
            raise MemoryError(
                f"Out of memory on a single text of {longest} tokens (row {at[0]}). Lower "
                "max_length, take compute_dtype='float16' or 'bfloat16', or a larger device."
            )
        half = len(at) // 2
        room.tokens = half * longest
        warnings.warn(
            f"Out of memory on a batch of {len(at)} texts of up to {longest} tokens: going on with "
            f"batches of {half} such texts, or {room.tokens} tokens. Pass batch_size={half} to "
            "begin there.",
            UserWarning,
            stacklevel=2,
        )
