"""The next batches are read while the last one is worked on."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")

AHEAD = 2
"""Batches read before they are asked for: while one waits to be taken, the next is on its way.
More would only even out a source that is slow now and then, at the cost of memory."""

_END = object()


def _device_of_this_thread() -> Callable[[], None]:
    """What makes another thread put tensors on the CUDA device that is current in this one.

    That device belongs to a thread, and a source that says ``.cuda()`` means its caller's.
    """
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return lambda: None
    return partial(torch.cuda.set_device, torch.cuda.current_device())


@contextmanager
def read_ahead(source: Iterable[T]) -> Iterator[Iterator[T]]:
    """Walk over what a background thread reads, up to ``AHEAD`` items before they are used.

    Only the thread touches the source. What the source raises is raised where its items are used,
    after those before it. On leaving, in whatever way, the thread comes to the end of the item it
    is at, and ends; leaving waits for that.

    Parameters
    ----------
    source : iterable

    Yields
    ------
    ready : iterator over the items, in order

    Examples
    --------
    >>> with read_ahead(n * n for n in range(4)) as ready:
    ...     list(ready)
    [0, 1, 4, 9]
    """
    here = _device_of_this_thread()
    read: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
    room = threading.Semaphore(AHEAD)
    left = threading.Event()

    def work() -> None:
        try:
            here()
            items = iter(source)
            while room.acquire() and not left.is_set():
                item: Any = next(items, _END)
                read.put((item, None))
                if item is _END:
                    return
        except BaseException as error:  # it is raised in the thread that asked
            read.put((_END, error))

    def walk() -> Iterator[T]:
        while True:
            item, error = read.get()
            if error is not None:
                raise error
            if item is _END:
                return
            room.release()
            yield item

    thread = threading.Thread(target=work, name="posthoc_align.read_ahead", daemon=True)
    thread.start()
    try:
        yield walk()
    finally:
        left.set()
        room.release()
        thread.join()
