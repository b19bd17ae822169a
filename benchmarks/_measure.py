"""A piece of work, who competes at it, and how they are measured.

A piece of work runs in a process of its own, where its contestants take turns, so that a slow
minute of the machine hits all of them. The least time of each counts, and the peak of memory that
its first turn takes beyond what the process held.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

MB = 2**20
Job = Callable[[], Any]


@dataclass(frozen=True)
class Work:
    """A piece of work.

    Parameters
    ----------
    title : str
        What is done, on how much.
    jobs : callable
        From the device to each contestant's job; ours comes first.
    target : float, optional
        Most that our time may be of the second contestant's.
    quality : callable, optional
        What a job returned as a few words, where contestants do not all reach the same.
    turns : int
        How often each has its turn.
    devices : tuple of str
        Where it can run.
    """

    title: str
    jobs: Callable[[str], dict[str, Job]]
    target: float | None = None
    quality: Callable[[Any], str] | None = None
    turns: int = 5
    devices: tuple[str, ...] = ("cpu",)


@dataclass(frozen=True)
class Row:
    """What one contestant took; the ratios are ours over its own, None in our own row."""

    work: str
    who: str
    seconds: float
    memory_mb: float
    time_ratio: float | None = None
    memory_ratio: float | None = None
    quality: str = ""


def take_turns(name: str, work: Work, device: str) -> list[Row]:
    """Measure all contestants of a piece of work, in this process."""
    jobs = work.jobs(device)
    wait = _synchronise(device)
    seconds: dict[str, float] = dict.fromkeys(jobs, float("inf"))
    memory: dict[str, float] = {}
    quality: dict[str, str] = {}
    for who, job in list(jobs.items()):  # imports, thread pools and kernels, before the clock
        try:
            job()
        except ImportError as error:
            print(f"{name}: {who} is left out ({error})", file=sys.stderr)
            del jobs[who], seconds[who]
    for turn in range(work.turns):
        for who, job in jobs.items():
            with Peak(device) as peak:
                start = time.perf_counter()
                made = job()
                wait()
                seconds[who] = min(seconds[who], time.perf_counter() - start)
            if turn == 0:
                memory[who] = peak.grown / MB
                quality[who] = work.quality(made) if work.quality else ""
    ours = next(iter(jobs))
    rows = []
    for who in jobs:
        ratios = (
            (None, None)
            if who == ours
            else (seconds[ours] / seconds[who], max(memory[ours], 1) / max(memory[who], 1))
        )
        rows.append(Row(name, who, seconds[who], memory[who], *ratios, quality[who]))
    return rows


def _synchronise(device: str) -> Callable[[], None]:
    """Wait for the device, whose work outlasts the call that asked for it."""
    if device == "cpu":
        return lambda: None
    import torch

    return lambda: torch.cuda.synchronize(device)


class Peak:
    """The most bytes that a block of code takes beyond what was held before: ``.grown``."""

    def __init__(self, device: str = "cpu") -> None:
        self._device, self._done = device, threading.Event()
        self.grown = 0

    def __enter__(self) -> Peak:
        gc.collect()
        if self._device != "cpu":
            import torch

            torch.cuda.reset_peak_memory_stats(self._device)
            self._before = torch.cuda.memory_allocated(self._device)
            return self
        self._process = psutil.Process()
        self._before = self._most = self._process.memory_info().rss
        self._watcher = threading.Thread(target=self._watch)
        self._watcher.start()
        return self

    def _watch(self) -> None:
        while not self._done.wait(0.002):
            self._most = max(self._most, self._process.memory_info().rss)

    def __exit__(self, *exc: object) -> None:
        if self._device != "cpu":
            import torch

            self.grown = torch.cuda.max_memory_allocated(self._device) - self._before
            return
        self._done.set()
        self._watcher.join()
        self.grown = max(self._most, self._process.memory_info().rss) - self._before


def machine(device: str) -> str:
    """The machine in a few words, with the versions that matter."""
    import sklearn
    import torch

    where = f"{len(os.sched_getaffinity(0))} cores of {_processor()}"
    if device != "cpu":
        where = f"{torch.cuda.get_device_name(device)}, {where}"
    threads = os.environ.get("OMP_NUM_THREADS")
    return (
        f"{where}, {psutil.virtual_memory().total / 2**30:.0f} GiB, "
        f"{'' if threads is None else f'{threads} threads, '}"
        f"NumPy {np.__version__}, torch {torch.__version__}, scikit-learn {sklearn.__version__}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))


@dataclass(frozen=True)
class Run:
    """All rows of one run, as it is kept."""

    date: str
    machine: str
    device: str
    rows: list[Row]

    def write(self, path: Path) -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Run:
        held = json.loads(path.read_text())
        return cls(**{**held, "rows": [Row(**row) for row in held["rows"]]})


NOISE = 1.35
"""Ratios of least times moved by up to a quarter between runs on a machine that did nothing else;
what grew by more has a reason."""


def slower(kept: list[Row], now: list[Row]) -> list[str]:
    """What is worse than in a kept run: ratios of time or memory that grew, contestants that left.

    Ratios, because other machines have other seconds. Work that was not run now is not compared.
    """
    before = {(row.work, row.who): row for row in kept}
    found = []
    for row in now:
        old = before.pop((row.work, row.who), None)
        if old is None:
            continue
        for what, was, is_now in (
            ("time", old.time_ratio, row.time_ratio),
            ("memory", old.memory_ratio, row.memory_ratio),
        ):
            if was is not None and is_now is not None and is_now > NOISE * was:
                found.append(
                    f"{row.work}: {is_now:.2f} x the {what} of {row.who}, "
                    f"which was {was:.2f} x in the kept run"
                )
    ran = {row.work for row in now}
    found += [
        f"{work}: {who} is in the kept run and was not measured now"
        for work, who in before
        if work in ran
    ]
    return found
