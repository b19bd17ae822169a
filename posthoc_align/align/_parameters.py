"""Checks of constructor parameters, which run at fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
