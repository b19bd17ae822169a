"""A background thread reads ahead, no further than it may, and ends when nobody listens."""

from __future__ import annotations

import threading
import traceback

import numpy as np
import pytest

from posthoc_align import LanguageCentering, moments_of
from posthoc_align.scale._read_ahead import AHEAD, read_ahead

NAME = "posthoc_align.read_ahead"
PATIENCE = 30.0  # seconds until a test that hangs is called failed; none waits for it


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == NAME]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    assert not readers()


def test_items_come_in_order_and_all_of_them():
    with read_ahead(range(1000)) as ready:
        assert list(ready) == list(range(1000))


def test_a_source_of_nothing_ends_at_once():
    with read_ahead([]) as ready:
        assert list(ready) == []


def test_another_thread_reads_while_this_one_works():
    read = [threading.Event() for _ in range(5)]

    def source():
        for event in read:
            assert threading.current_thread().name == NAME
            event.set()
            yield event

    with read_ahead(source()) as ready:
        next(ready)
        # Nobody asked for them, and they are being read.
        assert all(event.wait(PATIENCE) for event in read[1 : 1 + AHEAD])


def test_it_reads_no_further_ahead_than_it_may():
    begun, late = 0, threading.Event()

    def source():
        nonlocal begun
        for item in range(10):
            begun += 1
            if begun > 1 + AHEAD:
                late.set()
            yield item

    with read_ahead(source()) as ready:
        next(ready)
        assert not late.wait(0.2)  # it would have come by now, and cannot come later
        assert begun <= 1 + AHEAD


class Odd(Exception):
    """What a source of somebody else raises: not made from a message alone."""

    def __init__(self, code: int, *, where: str) -> None:
        super().__init__(code)
        self.where = where


def test_what_the_source_raises_comes_up_unchanged_after_what_it_gave():
    error = Odd(7, where="shelf")

    def source():
        yield 1
        yield 2
        raise error

    with read_ahead(source()) as ready:
        assert [next(ready), next(ready)] == [1, 2]
        with pytest.raises(Odd) as caught:
            next(ready)
    assert caught.value is error
    assert "raise error" in "".join(traceback.format_exception(caught.value))


def test_what_cannot_be_walked_through_raises_as_iter_does():
    with pytest.raises(TypeError, match="'int' object is not iterable"), read_ahead(3) as ready:
        next(ready)


@pytest.mark.parametrize("way", ["break", "raise"])
def test_the_thread_ends_and_the_source_is_closed_when_the_caller_breaks_off(way):
    closed = threading.Event()

    def source():
        try:
            while True:
                yield 0
        finally:
            closed.set()

    with pytest.raises(KeyError) if way == "raise" else read_ahead([]), read_ahead(source()) as it:
        for _ in it:
            if way == "raise":
                raise KeyError
            break
    assert not readers()
    assert closed.wait(PATIENCE)


def test_moments_leave_no_thread_behind_when_a_batch_is_bad():
    def batches():
        while True:
            yield np.full((5000, 3), np.nan)

    with pytest.raises(ValueError, match="NaN"):
        moments_of(batches(), LanguageCentering())
    assert not readers()


def test_an_error_of_the_users_source_comes_through_the_moments():
    error = Odd(3, where="database")

    def batches():
        yield np.ones((2, 3))
        raise error

    with pytest.raises(Odd) as caught:
        moments_of(batches(), LanguageCentering())
    assert caught.value is error


def test_the_cuda_device_of_the_caller_is_that_of_the_source(monkeypatch):
    torch = pytest.importorskip("torch")
    chosen = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(
        torch.cuda,
        "set_device",
        lambda device: chosen.append((device, threading.current_thread().name)),
    )
    with read_ahead([0]) as ready:
        assert list(ready) == [0]
    assert chosen == [(1, NAME)]
