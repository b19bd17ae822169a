"""Each method against what one would otherwise install: ``python benchmarks/peers.py [work ...]``.

A contestant runs in a process of its own on the same float32 rows: several fits, of which the
least time counts, and the peak of memory that the first takes. Prints a Markdown table; `ours /
theirs` below 1 means less. Peers: scipy, scikit-learn, POT, concept-erasure, cca-zoo (``pip install
-e ".[peers]"``) and the published recipe of VecMap in plain NumPy.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import importlib.util
import multiprocessing
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import psutil

import posthoc_align as pa

MB = 2**20
Job = Callable[[], Any]


def pair(rows: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Paired rows with a decaying spectrum, the second turned, moved and noisy."""
    rng = np.random.default_rng(0)
    spread = np.arange(1, width + 1) ** -0.5
    turn = np.linalg.qr(np.eye(width) + 0.05 * rng.normal(size=(width, width)))[0]
    x = rng.normal(size=(rows, width)) * spread
    y = x @ turn + 0.3 * rng.normal(size=(rows, width)) * spread + 0.1
    return x.astype(np.float32), y.astype(np.float32)


def many(rows: int, width: int, languages: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of languages with means of their own, and their codes."""
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(languages), rows)
    means = rng.normal(size=(languages, width))
    x = rng.normal(size=(len(codes), width)) * np.arange(1, width + 1) ** -0.5 + means[codes]
    return x.astype(np.float32), codes


def erase() -> dict[str, Job]:
    x, codes = many(5000, 384, 12)

    def theirs() -> None:
        import torch
        from concept_erasure import LeaceFitter

        hot = torch.nn.functional.one_hot(torch.as_tensor(codes)).float()
        fitter = LeaceFitter(x.shape[1], hot.shape[1], dtype=torch.float32)
        _ = fitter.update(torch.as_tensor(x), hot).eraser

    return {"LEACE": lambda: pa.LEACE().fit(x, language=codes), "concept-erasure": theirs}


def rotate() -> dict[str, Job]:
    x, y = pair(200_000, 384)

    def theirs() -> None:
        from scipy.linalg import orthogonal_procrustes

        orthogonal_procrustes(x - x.mean(axis=0), y - y.mean(axis=0))

    return {"Procrustes": lambda: pa.Procrustes().fit(x, y), "scipy orthogonal_procrustes": theirs}


def correlate() -> dict[str, Job]:
    x, y = pair(10_000, 64)

    def sklearn() -> None:
        from sklearn.cross_decomposition import CCA

        CCA(n_components=8).fit(x, y)

    def zoo() -> None:
        from cca_zoo.linear import CCA

        CCA(n_components=8).fit([x, y])

    ours = pa.CCAMap(preset="cca", n_components=8)
    return {"CCAMap": lambda: ours.fit(x, y), "scikit-learn CCA": sklearn, "cca-zoo CCA": zoo}


def covary() -> dict[str, Job]:
    x, y = pair(10_000, 128)

    def sklearn() -> None:
        from sklearn.cross_decomposition import PLSSVD

        PLSSVD(n_components=32, scale=False).fit(x, y)

    ours = pa.CCAMap(whiten=False, reweight=0.0, dewhiten=False, n_components=32)
    return {"CCAMap, no whitening": lambda: ours.fit(x, y), "scikit-learn PLSSVD": sklearn}


def vecmap() -> dict[str, Job]:
    x, y = pair(5000, 300)

    def whitening(rows: np.ndarray) -> np.ndarray:
        _, s, vt = np.linalg.svd(rows, full_matrices=False)
        return (vt.T / s) @ vt

    def theirs() -> None:
        """Whiten, rotate, re-weight by the square root, de-whiten, as published."""
        white_x, white_y = whitening(x), whitening(y)
        u, s, vt = np.linalg.svd((x @ white_x).T @ (y @ white_y))
        weight = np.diag(np.sqrt(s))
        _ = x @ white_x @ u @ weight @ u.T @ np.linalg.inv(white_x) @ u
        _ = y @ white_y @ vt.T @ weight @ vt @ np.linalg.inv(white_y) @ vt.T

    def ours() -> None:
        fitted = pa.CCAMap(preset="supervised", center=False, penalty=0.0).fit(x, y)
        fitted.transform(x)
        fitted.transform_target(y)

    return {"CCAMap, supervised, both sides moved": ours, "VecMap's recipe in NumPy": theirs}


def gaussian() -> dict[str, Job]:
    x, codes = many(20_000, 256, 2)

    def theirs() -> None:
        import ot

        ot.da.LinearTransport().fit(Xs=x[codes == 1], Xt=x[codes == 0])

    ours = pa.GaussianTransport(target=0)
    return {
        "GaussianTransport": lambda: ours.fit(x, language=codes),
        "ot.da.LinearTransport": theirs,
    }


def exact() -> dict[str, Job]:
    x, y = pair(3000, 128)

    def theirs() -> None:
        import ot

        ot.da.EMDTransport(max_iter=10**7).fit(Xs=x, Xt=y)

    ours = pa.TransportMap(method="exact")
    return {"TransportMap, exact": lambda: ours.fit(x, y), "ot.da.EMDTransport": theirs}


def consensus() -> dict[str, Job]:
    x, _ = pair(4000, 128)
    rng = np.random.default_rng(1)
    views = [(x + 0.3 * rng.normal(size=x.shape)).astype(np.float32) for _ in range(8)]
    rows = np.vstack(views)
    language = np.repeat(np.arange(8), len(x))
    pair_id = np.tile(np.arange(len(x)), 8)

    def theirs() -> None:
        from cca_zoo.linear import MCCA

        MCCA(n_components=64, shrinkage=0.1).fit(views)

    ours = pa.ConsensusAligner(method="cca", n_components=64, recipe="center")
    return {
        "ConsensusAligner, cca": lambda: ours.fit(rows, language=language, pair_id=pair_id),
        "cca-zoo MCCA": theirs,
    }


WORK = {
    "erase": (erase, "erase the language, 12 x 5000 rows of 384"),
    "rotate": (rotate, "rotate, 200,000 pairs of 384"),
    "correlate": (correlate, "8 canonical variates, 10,000 pairs of 64"),
    "covary": (covary, "32 directions of covariance, 10,000 pairs of 128"),
    "vecmap": (vecmap, "VecMap supervised, 5000 pairs of 300"),
    "gaussian": (gaussian, "Gaussian transport, 2 x 20,000 rows of 256"),
    "exact": (exact, "exact transport, 3000 onto 3000 rows of 128"),
    "consensus": (consensus, "multi-set CCA, 8 languages of 4000 rows of 128"),
}


def measure(work: str, who: str, repeat: int, results: multiprocessing.Queue) -> None:
    warnings.simplefilter("ignore")
    job = WORK[work][0]()[who]
    _warm_up()
    grown, seconds = peak_growth(job), []
    for _ in range(repeat):
        start = time.perf_counter()
        job()
        seconds.append(time.perf_counter() - start)
    results.put((min(seconds), max(grown, MB) / MB))


def peak_growth(job: Job) -> float:
    """Most bytes of main memory that a job takes beyond what the process held before it."""
    process, done = psutil.Process(), threading.Event()
    gc.collect()
    before = peak = process.memory_info().rss

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.001):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    job()
    done.set()
    watcher.join()
    return peak - before


def _warm_up() -> None:
    """Import what contestants import, and start the thread pools, before the clock."""
    for name in ("torch", "ot", "scipy.linalg", "sklearn.cross_decomposition"):
        importlib.import_module(name)
    for name in ("concept_erasure", "cca_zoo.linear"):
        if importlib.util.find_spec(name.split(".")[0]) is not None:
            importlib.import_module(name)
    x, y = pair(64, 4)
    pa.Procrustes().fit(x, y)
    np.linalg.svd(x.T @ y)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", nargs="*", help=f"some of {', '.join(WORK)}; all by default")
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    print("| work | | seconds | memory | ours / theirs, time | memory |")
    print("|---|---|---:|---:|---:|---:|")
    for work in arguments.work or WORK:
        found = {}
        for who in WORK[work][0]():
            results = context.Queue()
            process = context.Process(target=measure, args=(work, who, arguments.repeat, results))
            process.start()
            process.join()
            found[who] = results.get() if process.exitcode == 0 else (float("nan"),) * 2
        ours = next(iter(found.values()))
        for who, (seconds, memory) in found.items():
            first = WORK[work][1] if who == next(iter(found)) else ""
            ratios = " | " if first else f"{ours[0] / seconds:.2f} | {ours[1] / memory:.2f}"
            print(f"| {first} | {who} | {seconds:.2f} | {memory:.0f} MB | {ratios} |", flush=True)


if __name__ == "__main__":
    main()
