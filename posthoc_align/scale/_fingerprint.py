"""Tell fitted aligners apart: a digest of parameters and of what was learned."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np

from posthoc_align._state import Packer

_ON_DEMAND = {"Procrustes": ("singular_values_",)}
"""Attributes, by class, that an estimator may compute when they are first looked at. They follow
from the others, and a digest that told whether somebody looked would tell one aligner from itself.
They are not computed here instead: that takes O(d^3), and other threads give other last bits."""


def fingerprint(aligner: Any) -> str:
    """Digest of a fitted aligner, the same for one that was looked at, or saved and loaded again.

    Parameters
    ----------
    aligner : estimator
        Of this library: its parameters and attributes by value. Of another: its pickle, by
        joblib, which another version of that library may write differently.

    Returns
    -------
    str
        64 letters.
    """
    packer = Packer()
    try:
        tree = packer.pack(aligner, type(aligner).__name__)
    except TypeError:  # something that no model file holds
        import joblib

        return hashlib.sha256(joblib.hash(aligner).encode()).hexdigest()
    digests = {name: _digest(array) for name, array in packer.arrays.items()}
    text = json.dumps(_by_value(tree, digests), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _digest(array: np.ndarray) -> str:
    about = f"{array.dtype.str}{array.shape}"
    return hashlib.sha256(about.encode() + array.tobytes()).hexdigest()


def _by_value(tree: Any, digests: dict[str, str]) -> Any:
    """The tree with the digest of an array where its name stands.

    Whether two attributes share an array shows in names, and a file does not keep it.
    """
    if isinstance(tree, list):
        return [_by_value(part, digests) for part in tree]
    if not isinstance(tree, dict):
        return tree
    if isinstance(tree.get("array"), str):
        return {**tree, "array": digests.get(tree["array"], tree["array"])}
    if isinstance(tree.get("object"), str):
        left_out = _ON_DEMAND.get(tree["object"], ())
        state = {name: part for name, part in tree["state"].items() if name not in left_out}
        tree = {**tree, "state": state}
    return {key: _by_value(part, digests) for key, part in tree.items()}
