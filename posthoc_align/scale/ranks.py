"""Moments of ranks: each process of ``torch.distributed`` reads its rows, all get the sum."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from posthoc_align.moments import LanguageMoments, Moments
from posthoc_align.pair_moments import PairMoments
from posthoc_align.scale._tree import tree_sum

KINDS = (Moments, LanguageMoments, PairMoments)
"""What ranks may send."""


def all_reduce(moments: Any, *, group: Any = None) -> Any:
    r"""Merge the moments that every rank took of its own rows; all ranks get the same.

    Centred moments do not add element by element: each merge needs both counts and both means
    (see :mod:`posthoc_align.moments`), so they are no ``SUM`` of ``torch.distributed``. The ranks
    send theirs in turn, and each rank merges them in the order of the ranks. The result is the
    same to the last bit on all of them, whichever came first.

    Rows stay where they are. With :math:`R` ranks and moments of :math:`m` bytes (:math:`8 L d^2`
    for a scatter of each of L languages), every rank receives :math:`R m` bytes and holds at most
    :math:`(2 + \log_2 R)\,m` of them.

    Parameters
    ----------
    moments : LanguageMoments, PairMoments, Moments or None
        Of this rank's rows, as ``moments_of`` gives or as in ``moments_`` of an estimator. Ranks
        may have seen different languages. None: this rank had no rows.
    group : torch.distributed.ProcessGroup, optional
        The ranks that take part; each of them must call this. Default: all.

    Returns
    -------
    LanguageMoments, PairMoments or Moments
        Of the rows of all ranks, for ``fit_moments``.

    Raises
    ------
    RuntimeError
        If ``torch.distributed`` is not initialised.
    ValueError
        If this process is not in the group, if no rank had rows, or if moments do not merge:
        other widths, labels on some ranks only. All ranks of the group raise it together.
    TypeError
        If a rank sent something else. All ranks of the group raise it together.

    Notes
    -----
    Objects travel by ``torch.distributed.broadcast_object_list``. With NCCL they pass through the
    current device of each rank: call ``torch.cuda.set_device`` first, one device a rank. They are
    pickled, so use a group only with processes you trust. A rank that failed before it came here
    keeps the others waiting until the timeout of the group.

    Examples
    --------
    In a script that ``torchrun --nproc-per-node 2`` starts::

        torch.distributed.init_process_group("gloo")
        mine = moments_of(X[rank::2], LSAR(), language=language[rank::2])
        lsar = LSAR().fit_moments(all_reduce(mine))
    """
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized()):
        raise RuntimeError(
            "torch.distributed is not initialised, so there are no ranks to merge. Start the "
            "script with torchrun and call torch.distributed.init_process_group('nccl'), or "
            "'gloo' without GPUs, before all_reduce. With one process the moments need no "
            "all_reduce."
        )
    if dist.get_rank(group) < 0:
        raise ValueError(
            f"Rank {dist.get_rank()} is not in the group it passed: only members call all_reduce."
        )
    return tree_sum(_in_turn(moments, dist.group.WORLD if group is None else group))


def _in_turn(moments: Any, group: Any) -> Iterator[Any]:
    """What each rank of the group holds, in their order; ranks without rows are left out.

    What is wrong is sent as well, by its name, so that all ranks stop at the same point and none
    waits for a message that never comes.
    """
    import torch.distributed as dist

    known = moments is None or isinstance(moments, KINDS)
    mine = moments if known else f"something of type {type(moments).__name__}"
    first: tuple[int, type] | None = None
    for rank in range(dist.get_world_size(group)):
        box = [mine]
        dist.broadcast_object_list(box, src=dist.get_global_rank(group, rank), group=group)
        found = box[0]
        if found is None:
            continue
        if isinstance(found, str):
            raise TypeError(
                f"Rank {rank} passed {found} to all_reduce; expected moments, or None from a rank "
                "without rows. Take them with moments_of, or from moments_ of a fitted estimator."
            )
        first = first or (rank, type(found))
        if type(found) is not first[1]:
            raise TypeError(
                f"Rank {first[0]} has {first[1].__name__} and rank {rank} "
                f"{type(found).__name__}: all ranks must take those of one estimator."
            )
        yield found
    if first is None:
        raise ValueError(
            "No rank had rows: all of them passed None. Check how rows are dealt to the ranks."
        )
