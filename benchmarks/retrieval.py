"""Large retrieval in little memory: ``python benchmarks/retrieval.py``.

10,000 queries among 1,000,000 rows of 384 float32 columns, and 1,000,000 among 10,000, within
``--budget`` bytes, beside faiss, which is left out where it is not installed. Memory is what the
process takes beyond the arrays.
"""

from __future__ import annotations

import argparse
import importlib.util
import time

import numpy as np
from _measure import MB, Job, Peak

from posthoc_align.metrics import nearest

WIDTH = 384


def rows(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, WIDTH)).astype(np.float32)


def faiss_search(x: np.ndarray, y: np.ndarray, k: int) -> None:
    import faiss

    index = faiss.IndexFlatIP(WIDTH)
    unit = y.copy()
    faiss.normalize_L2(unit)
    index.add(unit)
    unit = x.copy()
    faiss.normalize_L2(unit)
    index.search(unit, k)


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--many", type=int, default=1_000_000)
    parser.add_argument("--few", type=int, default=10_000)
    parser.add_argument("--budget", type=int, default=256 * MB)
    arguments = parser.parse_args()
    small = rows(64, 2)
    nearest(small, small)  # starts the thread pools
    print("| | seconds | memory |\n|---|---:|---:|")
    for who, job in large_jobs(arguments.many, arguments.few, arguments.budget).items():
        with Peak() as peak:
            start = time.perf_counter()
            job()
            seconds = time.perf_counter() - start
        print(f"| {who} | {seconds:.1f} | {peak.grown / MB:.0f} MB |", flush=True)


if __name__ == "__main__":
    main()
