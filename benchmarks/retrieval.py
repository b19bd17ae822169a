"""Speed and memory of retrieval: ``python benchmarks/retrieval.py [csls] [large]``.

``csls``: the nearest row by CSLS among 20,000 for each of 20,000, 384 columns, float32, against
three passes of a matrix product and a top-10 over tiles of the same size, in NumPy and in torch,
and against ``faiss.IndexFlatIP`` (two searches, one for neighbourhoods, one for candidates).
Contestants take turns, and the least time of each counts. ``large``: 10,000 queries among
1,000,000 rows, and 1,000,000 among 10,000, within ``--budget`` bytes, beside faiss. Memory is what
the process takes beyond the arrays. faiss-cpu is left out where it is not installed.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import threading
import time
from collections.abc import Callable
from math import isqrt
from typing import Any

import numpy as np
import psutil

from posthoc_align.metrics import nearest

MB = 2**20
WIDTH = 384
NEIGHBORS = 10
TILE = isqrt(2**24 // 4)  # rows and columns of the tiles of 16 MB that the measures take
Job = Callable[[], Any]


def rows(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, WIDTH)).astype(np.float32)


def three_passes_numpy(x: np.ndarray, y: np.ndarray) -> None:
    for queries, pool in ((x, y), (y, x), (x, y)):
        for i in range(0, len(queries), TILE):
            for j in range(0, len(pool), TILE):
                scores = queries[i : i + TILE] @ pool[j : j + TILE].T
                at = scores.shape[1] - NEIGHBORS
                np.argpartition(scores, at, axis=1)[:, at:]


def three_passes_torch(x: np.ndarray, y: np.ndarray) -> None:
    import torch

    tx, ty = torch.from_numpy(x), torch.from_numpy(y)
    for queries, pool in ((tx, ty), (ty, tx), (tx, ty)):
        for i in range(0, len(queries), TILE):
            for j in range(0, len(pool), TILE):
                (queries[i : i + TILE] @ pool[j : j + TILE].T).topk(NEIGHBORS, dim=1)


def faiss_search(x: np.ndarray, y: np.ndarray, k: int) -> None:
    import faiss

    index = faiss.IndexFlatIP(WIDTH)
    unit = y.copy()
    faiss.normalize_L2(unit)
    index.add(unit)
    unit = x.copy()
    faiss.normalize_L2(unit)
    index.search(unit, k)


def csls_jobs(n: int) -> dict[str, Job]:
    import torch

    x, y = rows(n, 0), rows(n, 1)
    tx, ty = torch.from_numpy(x), torch.from_numpy(y)
    jobs: dict[str, Job] = {
        'nearest(score="csls"), NumPy': lambda: nearest(x, y, score="csls"),
        'nearest(score="csls"), torch': lambda: nearest(tx, ty, score="csls"),
        "three passes, NumPy": lambda: three_passes_numpy(x, y),
        "three passes, torch": lambda: three_passes_torch(x, y),
    }
    if importlib.util.find_spec("faiss"):

        def theirs() -> None:
            faiss_search(y, x, NEIGHBORS)
            faiss_search(x, y, NEIGHBORS)

        jobs["faiss IndexFlatIP, two searches"] = theirs
    return jobs


def large_jobs(many: int, few: int, budget: int) -> dict[str, Job]:
    x, y = rows(few, 0), rows(many, 1)
    mb = budget // MB
    jobs: dict[str, Job] = {
        f"nearest, {few} among {many}, {mb} MB": lambda: nearest(x, y, memory_budget=budget),
        f"nearest, {many} among {few}, {mb} MB": lambda: nearest(y, x, memory_budget=budget),
    }
    if importlib.util.find_spec("faiss"):
        jobs[f"faiss, {few} among {many}"] = lambda: faiss_search(x, y, 1)
        jobs[f"faiss, {many} among {few}"] = lambda: faiss_search(y, x, 1)
    return jobs


def measured(job: Job) -> tuple[float, float]:
    """Seconds, and the most bytes of main memory beyond what the process held before."""
    process, done = psutil.Process(), threading.Event()
    gc.collect()
    before = peak = process.memory_info().rss

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.005):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    job()
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    return seconds, (peak - before) / MB


def race(jobs: dict[str, Job], repeat: int, ratios: dict[str, str]) -> None:
    """Take turns; print the least time and the most memory of each, and ours over theirs."""
    turns = [{who: measured(job) for who, job in jobs.items()} for _ in range(repeat)]
    best = {who: min(turn[who][0] for turn in turns) for who in jobs}
    print("| | seconds | memory | ours / this, time |\n|---|---:|---:|---:|")
    for who in jobs:
        ours = ratios.get(who)
        ratio = f"{best[ours] / best[who]:.2f}" if ours else ""
        memory = max(turn[who][1] for turn in turns)
        print(f"| {who} | {best[who]:.1f} | {memory:.0f} MB | {ratio} |", flush=True)
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", nargs="*", default=["csls", "large"], help="csls, large or both")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--rows", type=int, default=20_000, help="of either side, for csls")
    parser.add_argument("--many", type=int, default=1_000_000)
    parser.add_argument("--few", type=int, default=10_000)
    parser.add_argument("--budget", type=int, default=256 * MB)
    arguments = parser.parse_args()
    work = arguments.work
    small = rows(64, 2)
    nearest(small, small, score="csls")  # starts the thread pools
    if "csls" in work:
        numpy, torch = (f'nearest(score="csls"), {name}' for name in ("NumPy", "torch"))
        against = {
            "three passes, NumPy": numpy,
            "three passes, torch": torch,
            "faiss IndexFlatIP, two searches": numpy,
        }
        race(csls_jobs(arguments.rows), arguments.repeat, against)
    if "large" in work:
        jobs = large_jobs(arguments.many, arguments.few, arguments.budget)
        names = list(jobs)
        against = dict(zip(names[2:], names[:2], strict=False))
        race(jobs, 1, against)


if __name__ == "__main__":
    main()
