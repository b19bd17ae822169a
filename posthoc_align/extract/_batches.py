"""Batches of texts of like length, smaller where memory does not suffice."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable

import numpy as np


def in_batches(lengths: np.ndarray, work: Callable[[np.ndarray], None], *, size: int) -> int:
    """Call `work` on the positions of at most `size` rows at a time, long rows first.

    Rows of like length need little padding; with the longest first, memory runs out at once or not
    at all. When it does the batch is halved, and what follows has the smaller size.

    Parameters
    ----------
    lengths : ndarray of shape (n_rows,)
        Number of tokens of each row; equal ones keep their order.
    work : callable
        Takes the positions of a batch; may be called again on parts of what it failed on.
    size : int

    Returns
    -------
    size : int
        What it has come down to.

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
        at = order[start : start + size]
        if _done(work, at):
            start += len(at)
            continue
        gc.collect()  # after the error is gone, and with it what its frames held on to
        _empty_cache()
        longest = int(lengths[at].max())
        if len(at) == 1:
            raise MemoryError(
                f"Out of memory on a single text of {longest} tokens (row {at[0]}). Lower "
                "max_length, take compute_dtype='float16' or 'bfloat16', or a larger device."
            )
        size = len(at) // 2
        warnings.warn(
            f"Out of memory on a batch of {len(at)} texts of up to {longest} tokens: going on with "
            f"batches of {size}. Pass batch_size={size} to begin there.",
            UserWarning,
            stacklevel=2,
        )
    return size


def _done(work: Callable[[np.ndarray], None], at: np.ndarray) -> bool:
    """Whether the work was done, as opposed to out of memory."""
    try:
        work(at)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return False
    return True


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory did not suffice; torch's CPU allocator says so in words."""
    said = str(error).lower()
    return (
        isinstance(error, MemoryError)
        or "out of memory" in said
        or ("defaultcpuallocator" in said and "allocate memory" in said)
    )


def _empty_cache() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
