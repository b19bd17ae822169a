"""What was fitted, where the rows lie: copied to a device once and kept there.

Copies belong to the object they were made of, go when it goes, and are neither pickled, cloned nor
saved. They are made anew once any attribute of it is another object than before: after a refit,
``set_params`` or an assignment. A change inside a fitted array would go unseen; so from its first
copy on such an array is read-only, and NumPy refuses the change: assign a new array instead.
Threads may ask at the same time; two that ask first may both make the copies, and one is kept.

On the host nothing is kept, since the tables are there already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np

from posthoc_align._arrays import Array, compute_dtype, like, on_host

_KEPT: WeakKeyDictionary[Any, dict[Any, tuple[list[Any], Any]]] = WeakKeyDictionary()
_LOCK = Lock()  # held while _KEPT is read or written, and never while copies are made

T = TypeVar("T")


def tables_on(
    owner: Any, X: Array, make: Callable[[], Sequence[np.ndarray]], *, use: str = "transform"
) -> list[Array]:
    """Small arrays where X lies, in its compute type.

    Parameters
    ----------
    owner : object
        Whose attributes the arrays are made of, and of nothing else.
    X : array of shape (n_samples, n_features)
    make : callable
        Gives the arrays; called only where they are not there yet.
    use : str, default="transform"
        Tells several sets of arrays of one owner apart.
    """
    return kept(owner, X, lambda: [like(table, X) for table in make()], use=use)


def kept(owner: Any, X: Array, make: Callable[[], T], *, use: str) -> T:
    """What `make` makes of an owner's attributes for rows like X. Parameters as in tables_on."""
    if on_host(X):
        return make()
    key = (use, X.device, compute_dtype(X))
    with _LOCK:
        known = _KEPT.setdefault(owner, {})
        for stale in [at for at, (state, _) in known.items() if not _is_state(state, owner)]:
            known.pop(stale, None)
        if key in known:
            return known[key][1]
    made = make()  # which may learn what was put off
    with _LOCK:
        known[key] = (list(vars(owner).values()), made)
        _freeze(owner)
    return made


def _is_state(state: list[Any], owner: Any) -> bool:
    now = list(vars(owner).values())
    return len(state) == len(now) and all(a is b for a, b in zip(state, now, strict=True))


def _freeze(owner: Any) -> None:
    """Make the arrays read-only that were learned; those passed as parameters are the user's."""
    parameters = owner.get_params(deep=False) if hasattr(owner, "get_params") else {}
    for name, value in list(vars(owner).items()):  # another thread may be learning more
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, np.ndarray) and name not in parameters:
                part.flags.writeable = False
