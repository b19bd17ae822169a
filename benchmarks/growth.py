"""How cost grows with rows, columns, languages, batches: ``python benchmarks/growth.py [--quick]``.

Fits on a float16 memory map, of which one quantity grows while the others stay: seconds, and the
most that NumPy allocates at once (pages of the map are not counted, they belong to the system).
Draws ``growth.png`` on logarithmic axes beside a line of slope 1, and prints the slopes: log of
cost per log of the quantity, by least squares over the upper half of the points.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from _measure import MB

from posthoc_align import LSAR, LanguageCentering, Procrustes, moments_of

HERE = Path(__file__).resolve().parent
Fit = Callable[[np.ndarray, np.ndarray, int], Any]

COLORS = {  # Okabe & Ito's, which the colour-blind tell apart
    "LanguageCentering": "#0072B2",
    "LSAR": "#E69F00",
    "Procrustes": "#009E73",
    "stream of batches": "#CC79A7",
}


def batches_of(X: np.ndarray, language: np.ndarray, count: int) -> Iterator[tuple[Any, Any]]:
    edges = np.linspace(0, len(X), count + 1).astype(int)
    for start, stop in pairwise(edges):
        yield X[start:stop], language[start:stop]


def streamed(X: np.ndarray, language: np.ndarray, n_batches: int) -> None:
    """Moments of batches, then one solution."""
    estimator = LanguageCentering()
    source = batches_of(X, language, n_batches)
    estimator.fit_moments(moments_of(source, estimator))


FITS: dict[str, Fit] = {
    "LanguageCentering": lambda X, language, _: LanguageCentering().fit(X, language=language),
    "LSAR": lambda X, language, _: LSAR().fit(X, language=language),
    "Procrustes": lambda X, *_: Procrustes().fit(*X[: len(X) // 2 * 2].reshape(2, -1, X.shape[1])),
    "stream of batches": streamed,
}


def cost(fit: Fit, X: np.ndarray, count: int, n_batches: int) -> tuple[float, float]:
    """Least seconds of two fits, then the peak of a third: counting memory takes time."""
    seconds, language = [], np.arange(len(X)) * count // len(X)
    for _ in range(2):
        start = time.perf_counter()
        fit(X, language, n_batches)
        seconds.append(time.perf_counter() - start)
    tracemalloc.start()
    fit(X, language, n_batches)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return min(seconds), peak / MB


def slope(at: list[int], costs: list[float]) -> float:
    half = len(at) // 2
    return float(np.polyfit(np.log(at[half:]), np.log(costs[half:]), 1)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a hundredth of the rows")
    parser.add_argument("--output", type=Path, default=HERE / "growth.png")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    most = 20_000 if arguments.quick else 2_000_000
    width, fixed = 384, max(most // 20, 6000)
    # What grows, its values, and (rows, width, languages, batches) for a value.
    axes: dict[str, tuple[list[int], Callable[[int], tuple[int, int, int, int]]]] = {
        "rows": (
            np.geomspace(most / 200, most, 7).astype(int).tolist(),
            lambda n: (n, width, 12, 50),
        ),
        "columns": ([64, 128, 256, 512, 1024], lambda d: (fixed, d, 12, 50)),
        "languages": ([2, 5, 12, 30, 80, 200], lambda count: (fixed, width, count, 50)),
        "batches": ([10, 30, 100, 300, 1000, 3000], lambda b: (fixed, width, 12, b)),
    }
    figure, panels = plt.subplots(2, 4, figsize=(15, 6.5), sharex="col", layout="constrained")
    print("| grows | | slope of time | slope of memory | memory at the end |")
    print("|---|---|---:|---:|---:|")
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "embeddings.npy"
        held = np.lib.format.open_memmap(
            path, mode="w+", dtype=np.float16, shape=(max(most, fixed * 3), width)
        )
        for start in range(0, len(held), 100_000):
            block = held[start : start + 100_000]
            block[:] = rng.standard_normal(block.shape, dtype=np.float32) + 0.1
        everything = np.load(path, mmap_mode="r").reshape(-1)
        for (name, (values, shape)), column in zip(axes.items(), panels.T, strict=True):
            for who, fit in FITS.items():
                if name == "batches" and who != "stream of batches":
                    continue  # it makes no difference to the others
                costs = []
                for value in values:
                    n, d, count, n_batches = shape(value)
                    costs.append(cost(fit, everything[: n * d].reshape(n, d), count, n_batches))
                seconds, memory = (list(part) for part in zip(*costs, strict=True))
                grown = (slope(values, seconds), slope(values, memory))
                print(
                    f"| {name} | {who} | {grown[0]:.2f} | {grown[1]:.2f} | {memory[-1]:.0f} MB |",
                    flush=True,
                )
                for panel, drawn in zip(column, (seconds, memory), strict=True):
                    panel.plot(values, drawn, "o-", color=COLORS[who], label=who, markersize=4)
            line = np.array(values) / values[-1]
            for panel in column:
                top = max(drawn.get_ydata()[-1] for drawn in panel.lines)
                panel.plot(values, top * line, "--", color="#999999", label="slope 1", zorder=0)
                panel.set(xscale="log", yscale="log")
                panel.grid(alpha=0.3)
            column[1].set_xlabel(name)
    panels[0, 0].set_ylabel("seconds")
    panels[1, 0].set_ylabel("peak of NumPy's memory (MB)")
    lines, names = panels[0, 0].get_legend_handles_labels()
    figure.legend(lines, names, loc="outside upper center", ncols=len(names), frameon=False)
    figure.savefig(arguments.output, dpi=110)
    print(f"\ndrawn in {arguments.output}")


if __name__ == "__main__":
    main()
