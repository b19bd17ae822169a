"""Fuzz every reader of files: ``python tests/fuzz/readers.py --seconds 600``.

Valid files are damaged (see mutations.py) and read. What comes back must be a value, or a
ValueError or OSError that names the file. Anything else is a finding: another error, a crash, an
allocation of what a header only promises, more than ten seconds of work, a file written, code of a
file run. A finding ends the run with status 1; its example, shrunk by hypothesis, stays in a
folder that is named. Readers take turns, so that any length of run tries all.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HANG = 10  # seconds for one file of a few kilobytes: a reader takes milliseconds
ROOM = 2 * 2**30  # bytes that a reader may ask for beyond what the process has at the start
TURN = 50  # examples of one reader before the next one's turn

# What no reader has reason to do; open is looked at more closely.
FORBIDDEN = {
    *("pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.mkdir"),
    *("os.remove", "os.rename", "os.symlink", "shutil.rmtree", "subprocess.Popen"),
    *("socket.connect", "socket.bind", "ctypes.dlopen"),
}


class Finding(BaseException):
    """Past every ``except Exception`` of a reader."""


class Watch:
    """Whether a reader is at work; what it does meanwhile is looked at.

    Attributes
    ----------
    on : bool
    seen : list of str
        What it did that no reader may do.
    """

    def __init__(self) -> None:
        self.on = False
        self.seen: list[str] = []
        sys.addaudithook(self._audit)

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event in FORBIDDEN:
            self.seen.append(f"{event}{args}")
        elif event == "open" and isinstance(args[1], str) and set(args[1]) & set("wxa+"):
            self.seen.append(f"open{args}")

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        self.on, self.seen = True, []
        try:
            with at_most(HANG):
                yield
        finally:
            self.on = False
        if self.seen:
            raise Finding(f"it did what no reader may do: {self.seen[0]}")


@contextlib.contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise a finding after so much work; waiting for other programs is not counted.

    What waits without work, or lets no alarm through, the parent process ends.
    """

    def late(*_: object) -> None:
        raise Finding(f"it took more than {seconds} seconds")

    signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def outcome(read: Callable[[Path], None], path: Path, watch: Watch) -> str | None:
    """Where the file was refused, "file:line"; None if it was read. Anything else is raised."""
    try:
        with watch():
            read(path)
    except (ValueError, OSError) as error:
        if watch.seen:
            raise Finding(f"it did what no reader may do: {watch.seen[0]}") from error
        if str(path if path.is_dir() else path.parent) not in str(error):
            raise Finding(f"its refusal does not name the file: {error!r}") from error
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if "posthoc_align" in frame.filename]
        return f"{own[-1].filename}:{own[-1].lineno}"
    return None


def work(seconds: float, start: int, only: str, folder: Path) -> None:
    """Read damaged files until time is up; the file being read is in `folder`."""
    from hypothesis import HealthCheck, given, seed, settings
    from targets import targets

    warnings.simplefilter("ignore")
    canary = folder / "canary"
    todo = [target for target in targets(canary) if only in target.name]
    if not todo:
        raise SystemExit(f"No reader has {only!r} in its name.")
    watch = Watch()
    counts: dict[str, collections.Counter[str]] = {t.name: collections.Counter() for t in todo}
    options = settings(
        max_examples=TURN, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    _warm_up(todo, folder, start)
    soft = _used() + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (soft, soft))
    ends, turn = time.monotonic() + seconds, start
    while time.monotonic() < ends:
        for target in todo:
            path = folder / target.name.replace(" ", "-")
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir()
            (folder / "at").write_text(f"{target.name}, --seed {turn}")

            check = examine(target, path, canary, watch, counts[target.name])
            seed(turn)(options(given(target.example)(check)))()
            if time.monotonic() > ends:
                break
        turn += 1
    print(f"seeds {start} to {turn - 1}; {sum(c.total() for c in counts.values())} examples\n")
    print("| reader | examples | read | refused | places that refuse |\n|---|---|---|---|---|")
    for name, count in counts.items():
        read = count.pop("read", 0)
        refused = count.total()
        print(f"| {name} | {read + refused} | {read} | {refused} | {len(count)} |")


def examine(
    target: Any, path: Path, canary: Path, watch: Watch, count: collections.Counter[str]
) -> Callable[[dict[str, bytes]], None]:
    """A check of one example, which counts where it ended."""

    def check(example: dict[str, bytes]) -> None:
        where = outcome(target.read, target.put(example, path), watch)
        if canary.exists():
            raise Finding("it ran a pickle")
        count[where or "read"] += 1

    return check


def _warm_up(todo: list[Any], folder: Path, start: int) -> None:
    """Let every reader import what it needs: imports run code, and take room."""
    from hypothesis import HealthCheck, given, settings

    few = settings(
        max_examples=5, database=None, derandomize=True, deadline=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    for target in todo:
        few(given(target.example)(_once(target, _fresh(folder, target, start))))()


def _once(target: Any, path: Path) -> Callable[[dict[str, bytes]], None]:
    def once(example: dict[str, bytes]) -> None:
        with at_most(60), contextlib.suppress(Exception):  # findings are for the run itself
            target.read(target.put(example, path))

    return once


def _fresh(folder: Path, target: Any, turn: int) -> Path:
    """An empty folder for the files of a reader, and a note of whose turn it is."""
    (folder / "at").write_text(f"{target.name}, --seed {turn}")
    path = folder / target.name.replace(" ", "-")
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    return path


def _used() -> int:
    """Bytes of address space that the process has."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--seed", type=int, default=None, help="of the first turn (default: time)")
    parser.add_argument("--only", default="", help="part of the name of the readers to try")
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"), help="folder")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)  # of the process that reads
    arguments = parser.parse_args()
    if arguments.seed is None:
        arguments.seed = int(time.time())
    if arguments.folder is not None:
        work(arguments.seconds, arguments.seed, arguments.only, arguments.folder)
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        given = [sys.executable, __file__, "--folder", name, "--seconds", str(arguments.seconds)]
        given += ["--seed", str(arguments.seed), "--only", arguments.only]
        settings = os.environ | {"OMP_NUM_THREADS": "1"}
        try:
            status = subprocess.run(
                given, env=settings, timeout=2 * arguments.seconds + 600
            ).returncode
        except subprocess.TimeoutExpired:  # code that no alarm reaches
            status = None
        if status == 0:
            return 0
        at = (folder / "at").read_text() if (folder / "at").exists() else "none, before it began"
        how = {None: "hung", **{-n: f"died of signal {n}" for n in range(1, 65)}}
        print(f"\nFINDING, the process {how.get(status, 'raised the above')}. Reader: {at}")
        kept = arguments.findings / at.partition(",")[0].replace(" ", "-")
        part = folder / kept.name
        if part.is_dir():
            shutil.copytree(part, kept, dirs_exist_ok=True)
            print(f"The file is in {kept}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
