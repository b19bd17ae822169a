"""How much memory there is, and what to do where it runs out."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from typing import TypeVar

from posthoc_align._arrays import Array, on_host

Part = TypeVar("Part")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory did not suffice; torch's CPU allocator says so in words."""
    said = str(error).lower()
    return (
        isinstance(error, MemoryError)
        or "out of memory" in said
        or ("defaultcpuallocator" in said and "allocate memory" in said)
    )


def attempt(work: Callable[[Part], object], part: Part) -> bool:
    """Do the work on a part; whether it was done, as opposed to out of memory."""
    try:
        work(part)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return False
    return True


def release_memory() -> None:
    """Give back what torch keeps in reserve on devices."""
    gc.collect()  # after an error is gone, and with it what its frames held on to
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


# Taken where nothing tells how much memory is free: half of what the smallest machines that run
# torch have, so that an answer of a few thousand rows squared still passes.
_MEMORY_UNKNOWN = 2**32


def available_memory(X: Array) -> int:
    """Bytes that can still be allocated where X lies; 4 GiB where the place does not tell."""
    if not on_host(X):
        if X.device.type != "cuda":
            return _MEMORY_UNKNOWN
        import torch

        return int(torch.cuda.mem_get_info(X.device)[0])
    try:
        with open("/proc/meminfo") as table:
            for line in table:
                if line.startswith("MemAvailable:"):
                    return 1024 * int(line.split()[1])
    except OSError:
        pass
    try:
        return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return _MEMORY_UNKNOWN
