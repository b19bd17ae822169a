"""Checks of constructor parameters, which run at fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any


def require_choice(name: str, value: object, choices: Sequence[object]) -> None:
    """Raise a ValueError that lists the choices if the value is none of them."""
    if value not in choices:
        raise ValueError(f"{name}={value!r} is not known: choose one of {tuple(choices)}.")


def require_number(
    name: str, value: Any, kind: type, holds: Callable[[Any], bool], expected: str
) -> None:
    """Raise a ValueError that says what was expected unless the value is such a number."""
    if isinstance(value, bool) or not isinstance(value, kind) or not holds(value):
        raise ValueError(f"{name}={value!r} is out of range: give {expected}.")


def require_share(name: str, value: Any) -> None:
    """Raise unless the value is a number from 0 to 1."""
    require_number(name, value, Real, lambda v: 0 <= v <= 1, "a number from 0 to 1")


def require_int(name: str, value: Any, least: int, most: int, why: str) -> int:
    """Check a number of things to keep or remove.

    Raises
    ------
    ValueError
        Says `why` the range is what it is.
    """
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not (whole and least <= value <= most):
        raise ValueError(
            f"{name}={value!r} is out of range: {why}. Give an int from {least} to {most}, or None."
        )
    return int(value)
