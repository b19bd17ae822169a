"""Our work against the least that the mathematics needs: one product, one sum, one copy."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from functools import partial
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
from _measure import Job, Work

from posthoc_align import LSAR, LanguageCentering, LanguageScaling, Procrustes
from posthoc_align.metrics import nearest

BOTH = ("cpu", "cuda")
NEIGHBORS = 10
TILE = isqrt(2**24 // 4)  # rows and columns of the tiles of 16 MB that the measures take


def rows(n: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, width), dtype=np.float32) + 0.1


def put(X: np.ndarray, device: str) -> Any:
    """Rows as they come: NumPy on the host, a tensor on a device."""
    if device == "cpu":
        return X
    import torch

    return torch.as_tensor(X, device=device)


def languages_of(n: int, count: int, *, shuffled: bool) -> np.ndarray:
    codes = np.arange(n) * count // n
    return np.random.default_rng(0).permutation(codes) if shuffled else codes


def procrustes(n: int, width: int, device: str) -> dict[str, Job]:
    x, y = put(rows(n, width), device), put(rows(n, width, 1), device)

    def least() -> None:
        if device == "cpu":
            np.linalg.svd(x.T @ y)
        else:
            _ = x.T @ y

    what = "X.T @ Y and its SVD" if device == "cpu" else "X.T @ Y"
    return {"Procrustes.fit": lambda: Procrustes().fit(x, y), what: least}


def centring_fit(device: str, *, shuffled: bool) -> dict[str, Job]:
    n = 500_000
    x, language = put(rows(n, 384), device), languages_of(n, 12, shuffled=shuffled)
    return {
        "LanguageCentering.fit": lambda: LanguageCentering().fit(x, language=language),
        "X.sum(axis=0)": lambda: x.sum(0),
    }


def centring_transform(device: str) -> dict[str, Job]:
    n = 500_000
    x, language = put(rows(n, 384), device), languages_of(n, 12, shuffled=True)
    fitted = LanguageCentering().fit(x, language=language)
    means = put(np.stack([fitted.means_[code] for code in range(12)]).astype(np.float32), device)
    codes = put(language, device)
    return {
        "LanguageCentering.transform": lambda: fitted.transform(x, language=language),
        "X - m[codes]": lambda: x - means[codes],
    }


def lsar_transform(device: str) -> dict[str, Job]:
    n = 200_000
    x, language = put(rows(n, 768), device), languages_of(n, 12, shuffled=True)
    moved = x + put(rows(12, 768, 2), device)[put(language, device)]
    fitted = LSAR().fit(moved, language=language)
    axes = put(np.asarray(fitted.components_, dtype=np.float32), device)
    return {
        "LSAR.transform": lambda: fitted.transform(x),
        "two skinny products": lambda: x - (x @ axes.T) @ axes,
    }


def scaling(device: str) -> dict[str, Job]:
    from sklearn.preprocessing import StandardScaler

    n = 200_000
    x, language = rows(n, 384), languages_of(n, 12, shuffled=True)

    def theirs() -> None:
        out = np.empty_like(x)
        for code in range(12):
            at = language == code
            out[at] = StandardScaler().fit_transform(x[at])

    ours = LanguageScaling()
    return {
        "LanguageScaling.fit_transform": lambda: ours.fit_transform(x, language=language),
        "StandardScaler per language": theirs,
    }


def out_of_core(device: str, estimator: Any) -> dict[str, Job]:
    n, width = 2_000_000, 384
    folder = tempfile.TemporaryDirectory()
    path = Path(folder.name) / "embeddings.npy"
    held = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=(n, width))
    for start in range(0, n, 100_000):
        held[start : start + 100_000] = rows(100_000, width, start)
    held.flush()
    inside = np.array(held)
    language = languages_of(n, 12, shuffled=False)

    def fit(X: np.ndarray) -> None:
        if isinstance(estimator, Procrustes):
            estimator.fit(X[: n // 2], X[n // 2 :])
        else:
            estimator.fit(X, language=language)

    def from_map(kept: Any = folder) -> None:  # the folder lives as long as the job
        fit(np.load(path, mmap_mode="r"))

    return {"on the memory map": from_map, "on the same rows in memory": lambda: fit(inside)}


def csls(device: str) -> dict[str, Job]:
    n = 20_000
    x, y = put(rows(n, 384), device), put(rows(n, 384, 1), device)

    def passes_numpy() -> None:
        for queries, pool in ((x, y), (y, x), (x, y)):
            for i in range(0, n, TILE):
                for j in range(0, n, TILE):
                    scores = queries[i : i + TILE] @ pool[j : j + TILE].T
                    at = scores.shape[1] - NEIGHBORS
                    np.argpartition(scores, at, axis=1)[:, at:]

    def passes_torch() -> None:
        for queries, pool in ((x, y), (y, x), (x, y)):
            for i in range(0, n, TILE):
                for j in range(0, n, TILE):
                    (queries[i : i + TILE] @ pool[j : j + TILE].T).topk(NEIGHBORS, dim=1)

    jobs: dict[str, Job] = {
        "nearest(score='csls')": lambda: nearest(x, y, score="csls"),
        "three passes of product and top-10": passes_numpy if device == "cpu" else passes_torch,
    }
    if device == "cpu":
        jobs["faiss IndexFlatIP, two searches"] = lambda: (search(y, x), search(x, y))
    return jobs


def search(x: np.ndarray, y: np.ndarray) -> None:
    import faiss

    index, queries, pool = faiss.IndexFlatIP(x.shape[1]), x.copy(), y.copy()
    faiss.normalize_L2(queries)
    faiss.normalize_L2(pool)
    index.add(pool)
    index.search(queries, NEIGHBORS)


def importing(device: str) -> dict[str, Job]:
    def load(name: str) -> None:
        subprocess.run([sys.executable, "-c", f"import {name}"], check=True)

    names = ("posthoc_align", "sklearn")
    return {f"import {name}": partial(load, name) for name in names}


WORK = {
    "procrustes-384": Work(
        "rotate, 500,000 pairs of 384", partial(procrustes, 500_000, 384), 1.25, devices=BOTH
    ),
    "procrustes-1024": Work(
        "rotate, 1,000,000 pairs of 1024",
        partial(procrustes, 1_000_000, 1024),
        1.3,
        devices=("cuda",),
    ),
    "centring-fit": Work(
        "means of 12 languages, one after the other, 500,000 x 384",
        partial(centring_fit, shuffled=False),
        1.5,
        devices=BOTH,
    ),
    "centring-fit-shuffled": Work(
        "means of 12 shuffled languages, 500,000 x 384",
        partial(centring_fit, shuffled=True),
        1.5,
        devices=BOTH,
    ),
    "centring-transform": Work(
        "subtract the means of 12 shuffled languages, 500,000 x 384",
        centring_transform,
        1.3,
        devices=BOTH,
    ),
    "lsar-transform": Work("project out 11 axes, 200,000 x 768", lsar_transform, 1.3, devices=BOTH),
    "scaling": Work("standardise 12 shuffled languages, 200,000 x 384", scaling),
    "out-of-core-centring": Work(
        "LanguageCentering.fit, 2,000,000 x 384 float16",
        partial(out_of_core, estimator=LanguageCentering()),
        1 / 0.6,
        turns=3,
    ),
    "out-of-core-procrustes": Work(
        "Procrustes.fit, 1,000,000 pairs of 384 float16",
        partial(out_of_core, estimator=Procrustes()),
        1 / 0.6,
        turns=3,
    ),
    "csls": Work("nearest of 20,000 for each of 20,000, 384", csls, 1.1, turns=2, devices=BOTH),
    "import": Work("open the package", importing, 1.0),
}
