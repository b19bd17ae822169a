"""Docstrings name the parameters that the signatures have, in their order."""

from __future__ import annotations

import inspect

import pytest
from numpydoc.validate import validate

import posthoc_align
from posthoc_align import (
    datasets,
    export,
    extract,
    heads,
    metrics,
    model_selection,
    plots,
    scale,
)

WRONG = {
    "PR01": "a parameter is not documented",
    "PR02": "a parameter is documented that is not there",
    "PR03": "parameters are documented in another order",
    "GL08": "there is no docstring",
}


def public() -> list[str]:
    names = []
    rooms = (metrics, datasets, plots, model_selection, heads, export, extract, scale)
    for home in (posthoc_align, *rooms):
        for name in home.__all__:
            thing = getattr(home, name)
            if not callable(thing) or (inspect.isclass(thing) and issubclass(thing, tuple)):
                continue
            path = f"{thing.__module__}.{thing.__qualname__}"
            names.append(path)
            if inspect.isclass(thing):
                own = [m for m in dir(thing) if not m.startswith("_")]
                names += [
                    f"{path}.{m}"
                    for m in own
                    if inspect.isfunction(getattr(thing, m))
                    and getattr(thing, m).__module__.startswith("posthoc_align")
                ]
    return sorted(set(names))


@pytest.mark.parametrize("name", public())
def test_a_docstring_fits_its_signature(name):
    found = [f"{code}: {text}" for code, text in validate(name)["errors"] if code in WRONG]
    # "Parameters as in ..." refers to the one place that has them.
    if "arameters as in" in (validate(name)["docstring"] or ""):
        found = [line for line in found if not line.startswith("PR01")]
    assert not found, found
