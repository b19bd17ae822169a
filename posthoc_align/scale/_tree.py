"""Sums of many moments, in a tree over their order."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Any


def tree_sum(moments: Iterable[Any], *, add: Callable[[Any, Any], Any] = operator.add) -> Any:
    """Add neighbours, then their sums, and so on, while the moments come in.

    Rounding grows with the logarithm of their number, and so does memory: what is complete is
    added at once. Runs of a power of two are whole branches: summed elsewhere first, each run but
    the last of the same length, they give the same bits.

    Parameters
    ----------
    moments : iterable
        Of what `add` takes: moments of one kind, or places where a cluster will have them.
    add : callable, default=operator.add

    Returns
    -------
    The sum.

    Raises
    ------
    ValueError
        If there are none.

    Examples
    --------
    >>> tree_sum("abcdefg", add=lambda a, b: f"({a}{b})")
    '(((ab)(cd))((ef)g))'
    """
    branches: list[tuple[int, Any]] = []  # (leaves, sum), of fewer and fewer leaves
    for branch in moments:
        leaves = 1
        while branches and branches[-1][0] == leaves:
            branch, leaves = add(branches.pop()[1], branch), 2 * leaves
        branches.append((leaves, branch))
    if not branches:
        raise ValueError("There are no moments to add: no piece of the source had rows.")
    _, total = branches.pop()
    while branches:
        total = add(branches.pop()[1], total)
    return total
