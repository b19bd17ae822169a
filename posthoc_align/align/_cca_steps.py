"""The steps of a map of both sides, and the sets of steps that VecMap has names for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from posthoc_align.align._parameters import require_choice

Side = Literal["source", "target"] | None


@dataclass(frozen=True)
class Steps:
    """What is done after the pairs are moved to their means.

    Parameters
    ----------
    whiten : bool
    reweight : pair of float
        Powers of the correlations that source and target are scaled by.
    dewhiten : pair of "source", "target" or None
        Whose covariance source and target are given back.
    """

    whiten: bool
    reweight: tuple[float, float]
    dewhiten: tuple[Side, Side]


_OWN: tuple[Side, Side] = ("source", "target")
_ORTHOGONAL = Steps(False, (0.0, 0.0), (None, None))
_SUPERVISED = Steps(True, (0.5, 0.5), _OWN)
PRESETS = {
    "supervised": _SUPERVISED,
    "acl2018": _SUPERVISED,
    "aaai2018": Steps(True, (0.0, 1.0), _OWN),
    "acl2017": _ORTHOGONAL,
    "emnlp2016": _ORTHOGONAL,
    "orthogonal": _ORTHOGONAL,
    "unconstrained": Steps(True, (1.0, 0.0), ("target", "target")),
    "cca": Steps(True, (0.0, 0.0), (None, None)),
}


def resolve_steps(preset: str, whiten: Any, reweight: Any, dewhiten: Any) -> Steps:
    """The steps of the preset, but for those that are given.

    Raises
    ------
    ValueError
        If the preset is unknown or a step is out of range.
    """
    require_choice("preset", preset, tuple(PRESETS))
    steps = PRESETS[preset]
    if whiten is not None:
        steps = replace(steps, whiten=bool(whiten))
    if reweight is not None:
        powers = np.ravel(reweight).tolist()
        powers = powers * 2 if len(powers) == 1 else powers
        if len(powers) != 2 or not all(0 <= power < np.inf for power in powers):
            raise ValueError(
                f"reweight={reweight!r} is out of range: give a number >= 0, or one for "
                "the source and one for the target."
            )
        steps = replace(steps, reweight=(powers[0], powers[1]))
    if dewhiten is not None:
        sides = dewhiten
        if isinstance(sides, (bool, np.bool_)):
            sides = _OWN if sides else (None, None)
        if len(sides) != 2 or not set(sides) <= {"source", "target", None}:
            raise ValueError(
                f"dewhiten={dewhiten!r} is not known: give True, False, or one of "
                "'source', 'target' and None for each side."
            )
        steps = replace(steps, dewhiten=(sides[0], sides[1]))
    return steps
