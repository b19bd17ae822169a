"""Imports point down, heavy packages have one home, importing the package is light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "posthoc_align"

FLOORS = {
    0: ("_arrays", "_memory", "_blocks", "_polar", "linalg"),
    1: ("moments", "pair_moments", "languages"),
    2: ("metrics",),
    3: ("align",),
    4: (
        "heads",
        "model_selection",
        "encoders",
        "extract",
        "embedding_store",
        "_between",
        "store",
        "export",
        "persist",
        "_state",
        "_array_files",
        "_table_files",
        "datasets",
        "resampling",
        "scale",
    ),
    5: ("comparison", "_held_out", "_outcomes", "result", "layer_profile", "report", "plots"),
    6: ("cli", "commands", "__main__"),
}
FLOOR_OF = {room: floor for floor, rooms in FLOORS.items() for room in rooms}

HOMES = {
    "ot": {"align/_transport/problem.py", "align/wasserstein_procrustes.py"},
    "matplotlib": {"plots/_style.py", "plots/_dots.py", "plots/tables.py"},
    "jinja2": {"report/page.py"},
    "mteb": {"encoders.py"},
    "skorch": {"heads/_torch.py"},
    "onnx": {"export/onnx_graph.py"},
    "sentence_transformers": {
        "commands/export.py",
        "export/sentence_transformer.py",
        "extract/_sentence_transformers.py",
    },
    "faiss": {"export/faiss_index.py", "commands/export.py"},
    "transformers": {"extract/_models.py"},
    "pyarrow": {"extract/texts.py"},
    "dask": set(),
    "torch": {
        "extract/_batches.py",
        "extract/_encoder.py",
        "extract/_layers.py",
        "extract/_models.py",
        "extract/_tokens.py",
        "heads/_torch.py",
        "align/_training/adversary.py",
        "align/adversarial.py",
        "align/_training/forms.py",
        "align/_training/losses.py",
        "align/_training/optimise.py",
        "align/contrastive.py",
        "_arrays.py",
        "_memory.py",
        "_array_files.py",
        "align/layer_mixing.py",
        "scale/ranks.py",
        "align/_transport/problem.py",
        "align/wasserstein_procrustes.py",
    },
    "pandas": {"heads/report.py"},
}

LATE = {"export/_layers.py"}
"""Rooms of classes of torch: they open with it, and are imported inside functions themselves."""

FILES = sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> list[tuple[str, bool]]:
    """(module, whether inside a function) for every import statement that runs."""
    tree = ast.parse(path.read_text())
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, (ast.FunctionDef, ast.Lambda))
        for node in ast.walk(function)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) in inside) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append((node.module or "", id(node) in inside))
            if node.module == "posthoc_align":
                found += [
                    (f"posthoc_align.{alias.name}", id(node) in inside) for alias in node.names
                ]
    return found


ROOMS = [path for path in FILES if path != PACKAGE / "__init__.py"]  # the front door opens all


@pytest.mark.parametrize("path", ROOMS, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_room_imports_from_a_floor_above_it(path):
    room = room_of(path)
    assert room in FLOOR_OF, f"give {room} a floor"
    for module, _ in imports(path):
        if module.startswith("posthoc_align."):
            other = module.split(".")[1]
            if other != "__version__":
                assert FLOOR_OF[other] <= FLOOR_OF[room], f"{room} imports {other} from above"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_heavy_packages_have_one_home_and_wait_inside_functions(path):
    room = str(path.relative_to(PACKAGE))
    late = {f"posthoc_align.{name.removesuffix('.py').replace('/', '.')}" for name in LATE}
    for module, inside in imports(path):
        top = module.split(".")[0]
        if module in late:
            assert inside, f"{module} opens with torch: import it inside a function"
        if top in HOMES and room not in LATE:
            assert room in HOMES[top], f"{top} has no business here"
            assert inside, f"{top} must be imported inside a function"


def test_importing_the_package_loads_no_heavy_package():
    heavy = ["torch", "ot", "transformers", "matplotlib", "sklearn.linear_model"]
    code = (
        "import sys, posthoc_align\n"
        f"print([name for name in {heavy} if name in sys.modules])\n"
        "posthoc_align.LanguageCentering, posthoc_align.PivotAligner, posthoc_align.TransportMap\n"
        f"print([name for name in {heavy[:4]} if name in sys.modules])\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split("\n")[:2] == ["[]", "[]"]


def test_the_front_door_opens_every_name_it_lists():
    import posthoc_align

    for name in posthoc_align.__all__:
        assert getattr(posthoc_align, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Unknown'"):
        _ = posthoc_align.Unknown
