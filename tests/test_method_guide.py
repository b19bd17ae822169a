"""The method guide names what exists, and covers every estimator."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

import posthoc_align

GUIDE = (Path(__file__).resolve().parent.parent / "docs" / "methods.md").read_text()
CALLS = [
    span for span in re.findall(r"`([^`\n]+)`", GUIDE) if re.match(r"[A-Za-z_.]+\(.*\)$", span)
]
KNOWN = {name: getattr(posthoc_align, name) for name in posthoc_align._HOME}
FILE_READERS = [KNOWN[name] for name in ("load", "save", "moments_of", "transform_store")]


def made(call: str) -> object:
    """What a call of the guide makes, with names that the package and scikit-learn know."""
    from sklearn.pipeline import make_pipeline

    aligner = posthoc_align.LanguageCentering()
    return eval(call, {**KNOWN, "make_pipeline": make_pipeline, "aligner": aligner})


@pytest.mark.parametrize("call", CALLS)
def test_every_call_it_shows_makes_an_estimator_or_a_scorer(call):
    """A call that works on files is held against the signature instead."""
    shown = ast.parse(call, mode="eval").body
    function = KNOWN.get(shown.func.id) if isinstance(shown.func, ast.Name) else None
    if function in FILE_READERS:
        names = {word.arg: None for word in shown.keywords}
        inspect.signature(function).bind(*shown.args, **names)
        return
    assert hasattr(made(call), "fit") or callable(made(call))


def test_it_shows_calls_at_all():
    assert len(CALLS) > 10


def test_every_estimator_is_named():
    unnamed = [name for name in KNOWN if name != "compare" and name not in GUIDE]
    assert not unnamed


def test_its_figures_are_those_of_its_table():
    """A line of advice repeats what the table below it says of the method."""
    table = {
        cells[0]: cells[1:]
        for line in GUIDE.splitlines()
        if (cells := [cell.strip() for cell in line.strip("|").split("|")]) and len(cells) == 7
    }
    advice = {
        '`SelfLearningAligner(pivot="en")`': "SelfLearningAligner",
        "`PivotAligner(ContrastiveMap())`: the highest *strong*": "ContrastiveMap",
        '`ConsensusAligner(method="cca")`': "ConsensusAligner, CCA",
    }
    for call, row in advice.items():
        weak, strong, csls, head = (table[row][i] for i in (0, 2, 3, 5))
        assert f"{call} | {weak} | {strong} | {csls} | {head} |" in GUIDE
