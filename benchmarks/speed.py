"""Speed and memory as ratios: ``python benchmarks/speed.py [work ...] [--device cuda]``.

Each piece of work is done by this library, by the least that the mathematics needs (a matrix
product, a copy) and by what one would otherwise install, all in the same run. Prints a Markdown
table in which ``ours / theirs`` below 1 means less; says which promises are not met.

``--keep`` adds the table to RESULTS.md and the figures to ``kept/``; ``--check`` compares the
ratios (not the seconds) with the last kept run on that kind of device, and exits with 1 where one
grew or a contestant is gone. A peer that is not installed is left out
(``pip install -e ".[peers]"``).
"""

from __future__ import annotations

import argparse
import datetime
import multiprocessing
import queue
import sys
import traceback
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import _peers
import _rooflines
from _measure import Row, Run, Work, machine, slower, take_turns

HERE = Path(__file__).resolve().parent
WORK: dict[str, Work] = {**_rooflines.WORK, **_peers.WORK}


def measure(name: str, device: str, results: multiprocessing.Queue) -> None:
    warnings.simplefilter("ignore")  # peers warn of their own future
    try:
        results.put(take_turns(name, WORK[name], device))
    except Exception:
        results.put(traceback.format_exc())


def in_a_process(name: str, device: str) -> list[Row]:
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=measure, args=(name, device, results), name=name)
    process.start()
    rows = answer_of(process, results)
    process.join()
    if isinstance(rows, str):
        raise RuntimeError(f"{name} failed:\n{rows}")
    return rows


def answer_of(process: Any, results: Any, *, pause: float = 1.0) -> Any:
    """What a process sends; an error if it ends without, as one does that is killed.

    Parameters
    ----------
    process : multiprocessing.Process
    results : multiprocessing.Queue
    pause : float, default=1.0
        Seconds between looks at whether it lives.
    """
    while True:
        alive = process.is_alive()  # asked first: what it sent before its end has arrived then
        try:
            return results.get(timeout=pause)
        except queue.Empty:
            if not alive:
                raise RuntimeError(
                    f"{process.name} ended with exit code {process.exitcode} and no result. A "
                    "negative code is the signal that killed it; -9 often means that the "
                    "machine ran out of memory."
                ) from None


def table(rows: list[Row]) -> list[str]:
    lines = [
        "| work | | seconds | memory | ours / theirs, time | memory |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for row in rows:
        title = WORK[row.work].title if row.time_ratio is None else ""
        ratios = " | "
        if row.time_ratio is not None and row.memory_ratio is not None:
            ratios = f"{row.time_ratio:.2f} | {row.memory_ratio:.2f}"
        who = f"{row.who} ({row.quality})" if row.quality else row.who
        seconds = f"{row.seconds:.3g}" if row.seconds < 100 else f"{row.seconds:.0f}"
        lines.append(f"| {title} | {who} | {seconds} | {row.memory_mb:.0f} MB | {ratios} |")
    return lines


def missed(rows: list[Row]) -> list[str]:
    """Promises that are not met: each is about the first contestant beside ours."""
    found, seen = [], set()
    for row in rows:
        if row.time_ratio is None or row.work in seen:
            continue
        seen.add(row.work)
        target = WORK[row.work].target
        if target is not None and row.time_ratio > target:
            found.append(f"{row.work}: {row.time_ratio:.2f} x {row.who}, promised {target} x")
    return found


def last_kept(device: str) -> Path | None:
    runs = sorted((HERE / "kept").glob(f"*-{device.split(':')[0]}.json"))
    return runs[-1] if runs else None


def keep(run: Run) -> None:
    """Write a run to kept/ and RESULTS.md, where it replaces what was measured that day."""
    path = HERE / "kept" / f"{run.date}-{run.device}.json"
    if path.exists():
        again = {row.work for row in run.rows}
        rows = [row for row in Run.read(path).rows if row.work not in again] + run.rows
        order = {name: i for i, name in enumerate(WORK)}
        run = replace(run, rows=sorted(rows, key=lambda row: order[row.work]))
    run.write(path)
    title = f"## {run.date}, speed, {run.device}\n"
    results = HERE / "RESULTS.md"
    before, _, after = results.read_text().partition(title)
    rest = after.partition("\n## ")
    section = f"{title}\n{run.machine} (`python benchmarks/speed.py`):\n\n"
    section += "\n".join(table(run.rows)) + "\n"
    results.write_text(before.rstrip() + "\n\n" + section + "".join(rest[1:]))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", nargs="*", metavar="work", help=f"of {', '.join(WORK)}")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--keep", action="store_true", help="add to RESULTS.md and kept/")
    parser.add_argument("--check", action="store_true", help="compare with the last kept run")
    arguments = parser.parse_args()
    unknown = set(arguments.work) - set(WORK)
    if unknown:
        parser.error(f"unknown work {sorted(unknown)}; there is {list(WORK)}")
    device = arguments.device
    kind = device.split(":")[0]
    names = [name for name in arguments.work or WORK if kind in WORK[name].devices]
    kept = last_kept(device)
    before = Run.read(kept).rows if kept else []
    if arguments.check and kept is None:
        parser.error(f"no run on {device} is kept: make one with --keep")

    rows: list[Row] = []
    print("\n".join(table([])), flush=True)
    for name in names:
        found = in_a_process(name, device)
        rows += found
        print("\n".join(table(found)[2:]), flush=True)
    print(f"\n{machine(device)}")
    for line in missed(rows):
        print(f"not met: {line}")
    if arguments.keep:
        keep(Run(datetime.date.today().isoformat(), machine(device), kind, rows))
    if arguments.check and kept is not None:
        grown = slower(before, rows)
        print(*(f"worse than in {kept.name}: {line}" for line in grown), sep="\n")
        return int(bool(grown))
    return 0


if __name__ == "__main__":
    sys.exit(main())
