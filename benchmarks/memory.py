"""Private memory of fits on a memory map: ``python benchmarks/memory.py [rows] [width]``.

Writes a float16 ``.npy`` of 1,000,000 x 384 (768 MB) to a temporary folder, fits each estimator on
the map in a process of its own, and prints the peak of the unique set size (USS) over the fit,
beside what the process held before. The USS counts pages of the file that no other process maps;
the parent therefore maps and reads the file too: what is left is what the fit allocates.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil

from posthoc_align import LSAR, LanguageCentering, LanguageScaling, LinearMap, Procrustes

MB = 2**20


def write(path: Path, rows: int, width: int) -> None:
    rng = np.random.default_rng(0)
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=(rows, width))
    for start in range(0, rows, 50_000):
        out[start : start + 50_000] = rng.normal(size=(min(50_000, rows - start), width)) + 1.0
    out.flush()


def fit(name: str, path: Path, results: multiprocessing.Queue) -> None:
    X = np.load(path, mmap_mode="r")
    language = np.arange(len(X)) * 10 // len(X)  # ten languages, one after the other
    half = len(X) // 2
    jobs = {
        "LanguageCentering": lambda: LanguageCentering().fit(X, language=language),
        "LanguageScaling": lambda: LanguageScaling().fit(X, language=language),
        "LSAR": lambda: LSAR().fit(X, language=language),
        "Procrustes (half onto half)": lambda: Procrustes().fit(X[:half], X[half:]),
        "LinearMap, penalty 1 (half onto half)": lambda: LinearMap(penalty=1.0).fit(
            X[:half], X[half:]
        ),
        "LinearMap, penalty auto (half onto half)": lambda: LinearMap().fit(X[:half], X[half:]),
    }
    if not name:
        results.put(list(jobs))
        return
    process, done = psutil.Process(), threading.Event()
    before = peak = process.memory_full_info().uss

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.02):
            peak = max(peak, process.memory_full_info().uss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    jobs[name]()
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    results.put((before / MB, peak / MB, seconds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=int, nargs="?", default=1_000_000)
    parser.add_argument("width", type=int, nargs="?", default=384)
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "embeddings.npy"
        write(path, arguments.rows, arguments.width)

        shared = np.load(path, mmap_mode="r")
        shared.view(np.uint8).max()  # every page mapped here, too

        def run(name: str):
            results = context.Queue()
            process = context.Process(target=fit, args=(name, path, results))
            process.start()
            answer = results.get()
            process.join()
            return answer

        print(f"float16 memory map, {arguments.rows:,} x {arguments.width}")
        print(f"{'fit':42} {'USS before':>10} {'USS peak':>10} {'seconds':>8}")
        for name in run(""):
            before, peak, seconds = run(name)
            print(f"{name:42} {before:7.0f} MB {peak:7.0f} MB {seconds:8.1f}")


if __name__ == "__main__":
    main()
