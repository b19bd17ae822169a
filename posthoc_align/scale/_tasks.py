r"""Moments of many shards at once: workers open the shards themselves and send back sums."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from typing import Any
from uuid import uuid4

from joblib import Parallel, delayed, effective_n_jobs
from joblib.parallel import get_active_backend
from sklearn.base import clone

from posthoc_align.scale._accumulate import accumulate
from posthoc_align.scale._shards import ArrayShard, Mapped, Several, Shard, StoreShard
from posthoc_align.scale._tree import tree_sum

TASKS_PER_WORKER = 4
"""At least. More even out workers of unequal speed and leave less to do again when one dies; fewer
send fewer summaries, one a task."""

Task = tuple[Shard, ...]
Seen = Callable[[int], object]


def reduce_shards(
    shards: Sequence[Shard],
    estimator: Any,
    *,
    n_jobs: int | None = None,
    seen: Seen = lambda rows: None,
) -> Any:
    r"""Return the moments of all shards, read by the workers of joblib.

    Neighbouring shards make a task. Its worker opens them one after the other and adds their
    moments; the sums of the tasks are added in turn. All additions make one tree over the shards
    in their order, so that it leaves no trace in the result who read what, how many workers there
    were and which ended first. The result is the same to the last bit if BLAS runs on as many
    threads in every worker, else to rounding. joblib gives the BLAS of each process the cores
    divided by `n_jobs`, dask gives each worker's one thread; ``OMP_NUM_THREADS`` in the environment
    goes before joblib's choice. Threads share what this process has.

    A worker that reads :math:`k` shards a task holds :math:`2 + \log_2 k` moments and a few
    batches of rows. The caller holds those of the tasks that ended before their turn, at most 8 a
    worker; with dask only the last sum, since the workers add among themselves.

    Parameters
    ----------
    shards : sequence of Shard
        Of files, they travel as paths and row ranges. Those of arrays in memory are read by
        threads; where another backend is set, their rows have to travel.
    estimator : estimator with ``partial_fit``
        Its parameters travel, nothing that was fitted.
    n_jobs : int, optional
        Number of workers, as joblib understands it; None: 1, or what ``joblib.parallel_config``
        says. With ``parallel_config(backend="dask")``, all workers of the cluster.
    seen : callable
        Told the number of rows of every task.

    Returns
    -------
    moments : LanguageMoments or PairMoments

    Raises
    ------
    RuntimeError
        If a worker process died. On a cluster others take over, and it is raised for a task that
        ends each worker that tries.
    OSError, MemoryError, TypeError, ValueError
        What a shard raised, with the shard's name; anything else as a RuntimeError.
    """
    backend, _ = get_active_backend()
    tasks = tasks_of(shards, effective_n_jobs(n_jobs))
    estimator = clone(estimator)
    if hasattr(backend, "client"):  # the backend "dask"
        return _on_cluster(backend, tasks, estimator, seen)
    hint = {"prefer": "threads"} if any(map(_holds_rows, shards)) else {}
    try:
        workers = Parallel(n_jobs, return_as="generator", **hint)
    except ValueError:  # of a backend that hands over everything at the end
        workers = Parallel(n_jobs, **hint)
    work = delayed(summary_of)
    try:
        return tree_sum(_counted(workers(work(task, estimator) for task in tasks), tasks, seen))
    except BrokenExecutor as error:
        raise _worker_died(
            "and what the others did is lost with it",
            "Or read on a cluster, joblib.parallel_config(backend='dask'), where another worker "
            "takes over from one that died",
        ) from error


def tasks_of(shards: Sequence[Shard], n_workers: int) -> list[Task]:
    """Cut the shards into runs of neighbours, some for each worker.

    Their length is a power of two, so that each is a branch of the tree of additions, which then
    is the same for any number of workers.
    """
    share = len(shards) // (TASKS_PER_WORKER * n_workers)
    length = 1 << max(0, share.bit_length() - 1)
    return [tuple(shards[first : first + length]) for first in range(0, len(shards), length)]


def summary_of(task: Task, estimator: Any) -> Any:
    """Return the moments of the shards of a task: all that a worker does."""
    return tree_sum(_moments_of(shard, estimator) for shard in task)


def name_of(shard: Shard) -> str:
    """What messages call a shard: its file, if it has one, and its rows."""
    if isinstance(shard, Several):
        return f"{name_of(shard.shards[0])}, up to {name_of(shard.shards[-1])}"
    file = getattr(shard, "where", "") or "the array in memory"
    if isinstance(shard, StoreShard):
        file = str(shard.folder / shard.file.file)
    elif isinstance(shard, ArrayShard) and isinstance(shard.X, Mapped):
        file = shard.X.path
    first = getattr(shard, "first", 0)
    return f"{file}, rows {first} to {first + shard.n_rows - 1}"


def _called(task: Task) -> str:
    more = f" and {len(task) - 1} shards more" if len(task) > 1 else ""
    return name_of(task[0]) + more


def _moments_of(shard: Shard, estimator: Any) -> Any:
    try:
        return accumulate(shard.batches(), estimator)
    except Exception as error:
        # As a builtin exception: one of a library may not survive the way back from a process.
        kind = next((kind for kind in _KINDS if isinstance(error, kind)), None)
        text = f"{error}" if kind else f"{type(error).__name__}: {error}"
        raise (kind or RuntimeError)(f"{text} [{name_of(shard)}]") from error


_KINDS = (FileNotFoundError, OSError, MemoryError, TypeError, ValueError, RuntimeError)


def _holds_rows(shard: Shard) -> bool:
    if isinstance(shard, Several):
        return any(map(_holds_rows, shard.shards))
    return isinstance(shard, ArrayShard) and not isinstance(shard.X, Mapped)


def _counted(summaries: Any, tasks: Sequence[Task], seen: Seen) -> Iterator[Any]:
    for summary, task in zip(summaries, tasks, strict=True):
        yield summary
        seen(_rows_of(task))


def _rows_of(task: Task) -> int:
    return sum(shard.n_rows for shard in task)


def _on_cluster(backend: Any, tasks: Sequence[Task], estimator: Any, seen: Seen) -> Any:
    """Let the workers of a dask cluster read the tasks and add what they find among themselves.

    joblib's own way would bring every summary here, and would wait forever for a task that dask
    gave up. Its client is all that is needed, so nothing of dask is imported.
    """
    client, run = backend.client, f"moments_of-{uuid4().hex}"
    leaves = [
        client.submit(
            summary_of,
            task,
            estimator,
            key=(run, number, _called(task)),  # what dask's messages call it
            **backend.submit_kwargs,
        )
        for number, task in enumerate(tasks)
    ]
    # Additions first, so that summaries do not pile up on the workers.
    total = tree_sum(leaves, add=lambda a, b: client.submit(operator.add, a, b, priority=1))
    with backend.retrieval_context():
        for task in tasks:
            # To hold a leaf is to keep its summary on the worker: it is let go once it is done.
            if leaves.pop(0).exception() is not None:
                break
            seen(_rows_of(task))
        try:
            return total.result()
        except Exception as error:
            if type(error).__name__ != "KilledWorker":
                raise
            raise _worker_died(
                f"and so did those that took over. {error}", "Or give each worker more memory"
            ) from error


def _worker_died(what: str, other: str) -> RuntimeError:
    return RuntimeError(
        f"A worker process died while it summed up shards, {what}. Most often the system ends it "
        "for want of memory: use fewer workers on one machine, or an estimator that keeps less "
        f"(one scatter of all languages instead of one each). {other}. No file was changed."
    )
