"""Entropic transport against POT's own class: ``python benchmarks/transport.py [rows] [width]``.

Fits ``TransportMap`` and ``ot.da.SinkhornTransport`` on the same two float32 clouds (NumPy), each
in a process of its own, with the same regularisation and the same tolerance, and prints seconds,
growth of peak memory over the fit, and the share of mass that the plan misplaces: the least time of
several runs, in turn. The last contestant is POT's class on torch tensors of the same rows.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
import warnings

import numpy as np

MB = 2**20
CONTESTANTS = ("TransportMap", "ot.da.SinkhornTransport", "ot.da.SinkhornTransport, torch")
TOL = 1e-4  # share of misplaced mass; POT's classes are given the norm that implies it


def clouds(rows: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Two samples of one shape with a decaying spectrum, the second turned a little and moved."""
    rng = np.random.default_rng(0)
    spread = np.arange(1, width + 1) ** -0.5
    turn = np.linalg.qr(np.eye(width) + 0.02 * rng.normal(size=(width, width)))[0]
    x = rng.normal(size=(rows, width)) * spread
    y = (rng.normal(size=(rows, width)) * spread) @ turn + 0.1
    return x.astype(np.float32), y.astype(np.float32)


def fit(who: str, rows: int, width: int, reg: float, results: multiprocessing.Queue) -> None:
    import ot
    import torch

    from posthoc_align import TransportMap
    from posthoc_align.align.transport import transport_plan

    warnings.simplefilter("ignore")
    x, y = clouds(rows, width)
    small = (x[:16].copy(), y[:16].copy())
    TransportMap().fit(*small)  # imports and thread pools, before the clock and the baseline
    ot.da.SinkhornTransport().fit(Xs=small[0], Xt=small[1])
    mean_cost = float(x.var(axis=0).sum() + y.var(axis=0).sum())
    mean_cost += float(np.sum((x.mean(axis=0) - y.mean(axis=0)) ** 2))
    options = {"reg_e": reg * mean_cost, "max_iter": 1000, "tol": TOL / rows**0.5}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    start = time.perf_counter()
    if who == "TransportMap":
        TransportMap(reg=reg, tol=TOL).fit(x, y)
    else:
        as_given = torch.from_numpy if "torch" in who else np.asarray
        peer = ot.da.SinkhornTransport(**options).fit(Xs=as_given(x), Xt=as_given(y))
    seconds = time.perf_counter() - start
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    plan = transport_plan(x, y, reg=reg, tol=TOL) if who == "TransportMap" else peer.coupling_
    error = np.abs(np.asarray(plan).sum(axis=0, dtype=np.float64) - 1 / rows).sum()
    results.put((seconds, grown / MB, float(error)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=int, nargs="?", default=5000)
    parser.add_argument("width", type=int, nargs="?", default=256)
    parser.add_argument("--reg", type=float, nargs="+", default=[0.1, 0.03])
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")

    def run(who: str, reg: float) -> tuple[float, float, float]:
        results = context.Queue()
        job = (who, arguments.rows, arguments.width, reg, results)
        process = context.Process(target=fit, args=job)
        process.start()
        answer = results.get()
        process.join()
        return answer

    print(f"fit on {arguments.rows} x {arguments.width} float32 rows on either side")
    print(f"{'reg':>5} {'':32} {'seconds':>8} {'memory':>9} {'misplaced':>10}   ours / this")
    for reg in arguments.reg:
        runs = [[run(who, reg) for who in CONTESTANTS] for _ in range(arguments.repeat)]
        best = [min(of_one) for of_one in zip(*runs, strict=True)]
        for who, (seconds, memory, error) in zip(CONTESTANTS, best, strict=True):
            ratios = f"{best[0][0] / seconds:5.2f} time {best[0][1] / memory:5.2f} memory"
            print(f"{reg:5} {who:32} {seconds:8.2f} {memory:6.0f} MB {error:10.1e}   {ratios}")


if __name__ == "__main__":
    main()
