"""Our work against what one would otherwise install.

Peers: scipy, scikit-learn, POT, concept-erasure, cca-zoo (``pip install -e ".[peers]"``) and the
published recipe of VecMap in plain NumPy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from _measure import Job, Work

import posthoc_align as pa


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


def erase(device: str) -> dict[str, Job]:
    x, codes = many(5000, 384, 12)

    def theirs() -> None:
        import torch
        from concept_erasure import LeaceFitter

        hot = torch.nn.functional.one_hot(torch.as_tensor(codes)).float()
        fitter = LeaceFitter(x.shape[1], hot.shape[1], dtype=torch.float32)
        _ = fitter.update(torch.as_tensor(x), hot).eraser

    return {"LEACE": lambda: pa.LEACE().fit(x, language=codes), "concept-erasure": theirs}


def rotate(device: str) -> dict[str, Job]:
    x, y = pair(200_000, 384)

    def theirs() -> None:
        from scipy.linalg import orthogonal_procrustes

        orthogonal_procrustes(x - x.mean(axis=0), y - y.mean(axis=0))

    return {"Procrustes": lambda: pa.Procrustes().fit(x, y), "scipy orthogonal_procrustes": theirs}


def correlate(device: str) -> dict[str, Job]:
    x, y = pair(10_000, 64)

    def sklearn() -> None:
        from sklearn.cross_decomposition import CCA

        CCA(n_components=8).fit(x, y)

    def zoo() -> None:
        from cca_zoo.linear import CCA

        CCA(n_components=8).fit([x, y])

    ours = pa.CCAMap(preset="cca", n_components=8)
    return {"CCAMap": lambda: ours.fit(x, y), "scikit-learn CCA": sklearn, "cca-zoo CCA": zoo}


def covary(device: str) -> dict[str, Job]:
    x, y = pair(10_000, 128)

    def sklearn() -> None:
        from sklearn.cross_decomposition import PLSSVD

        PLSSVD(n_components=32, scale=False).fit(x, y)

    ours = pa.CCAMap(whiten=False, reweight=0.0, dewhiten=False, n_components=32)
    return {"CCAMap, no whitening": lambda: ours.fit(x, y), "scikit-learn PLSSVD": sklearn}


def vecmap(device: str) -> dict[str, Job]:
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


def gaussian(device: str) -> dict[str, Job]:
    x, codes = many(20_000, 256, 2)

    def theirs() -> None:
        import ot

        ot.da.LinearTransport().fit(Xs=x[codes == 1], Xt=x[codes == 0])

    ours = pa.GaussianTransport(target=0)
    return {
        "GaussianTransport": lambda: ours.fit(x, language=codes),
        "ot.da.LinearTransport": theirs,
    }


def exact(device: str) -> dict[str, Job]:
    x, y = pair(3000, 128)

    def theirs() -> None:
        import ot

        ot.da.EMDTransport(max_iter=10**7).fit(Xs=x, Xt=y)

    ours = pa.TransportMap(method="exact")
    return {"TransportMap, exact": lambda: ours.fit(x, y), "ot.da.EMDTransport": theirs}


def consensus(device: str) -> dict[str, Job]:
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


def clouds(rows: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Two samples of one shape with a decaying spectrum, the second turned a little and moved."""
    rng = np.random.default_rng(0)
    spread = np.arange(1, width + 1) ** -0.5
    turn = np.linalg.qr(np.eye(width) + 0.02 * rng.normal(size=(width, width)))[0]
    x = rng.normal(size=(rows, width)) * spread
    y = (rng.normal(size=(rows, width)) * spread) @ turn + 0.1
    return x.astype(np.float32), y.astype(np.float32)


def entropic(device: str) -> dict[str, Job]:
    """One regularisation and one tolerance for all: `reg` counts in mean costs, as ours does."""
    import ot
    import torch

    reg, tol = 0.1, 1e-4  # share of misplaced mass
    x, y = clouds(5000, 256)
    mean_cost = float(x.var(axis=0).sum() + y.var(axis=0).sum())
    mean_cost += float(np.sum((x.mean(axis=0) - y.mean(axis=0)) ** 2))
    # POT's classes are given the norm of the error that implies this share.
    options = {"reg_e": reg * mean_cost, "max_iter": 1000, "tol": tol / len(x) ** 0.5}
    tensors = torch.from_numpy(x), torch.from_numpy(y)
    return {
        "TransportMap": lambda: pa.TransportMap(reg=reg, tol=tol).fit(x, y),
        "ot.da.SinkhornTransport": lambda: ot.da.SinkhornTransport(**options).fit(Xs=x, Xt=y),
        "ot.da.SinkhornTransport, torch tensors": lambda: ot.da.SinkhornTransport(**options).fit(
            Xs=tensors[0], Xt=tensors[1]
        ),
    }


def misplaced(fitted: Any) -> str:
    """The share of mass that a plan leaves in the wrong place."""
    from posthoc_align.align.transport import transport_plan

    plan = getattr(fitted, "coupling_", None)
    if plan is None:
        plan = transport_plan(*clouds(5000, 256), reg=fitted.reg, tol=fitted.tol)
    plan = np.asarray(plan)
    error = np.abs(plan.sum(axis=0, dtype=np.float64) - 1 / plan.shape[1]).sum()
    return f"misplaces {error:.0e}"


WORK = {
    "erase": Work("erase the language, 12 x 5000 rows of 384", erase, turns=3),
    "rotate": Work("rotate, 200,000 pairs of 384", rotate, turns=3),
    "correlate": Work("8 canonical variates, 10,000 pairs of 64", correlate, turns=3),
    "covary": Work("32 directions of covariance, 10,000 pairs of 128", covary, turns=3),
    "vecmap": Work("VecMap supervised, 5000 pairs of 300", vecmap, turns=3),
    "gaussian": Work("Gaussian transport, 2 x 20,000 rows of 256", gaussian, turns=3),
    "exact": Work("exact transport, 3000 onto 3000 rows of 128", exact, turns=3),
    "consensus": Work("multi-set CCA, 8 languages of 4000 rows of 128", consensus, turns=3),
    "entropic": Work(
        "entropic transport, 5000 onto 5000 rows of 256", entropic, 0.5, misplaced, turns=3
    ),
}
