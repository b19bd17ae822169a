"""The guide to workers shows what runs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "scale.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", GUIDE, flags=re.DOTALL)


@pytest.mark.slow
@pytest.mark.distributed
def test_its_blocks_run_one_after_the_other(tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.chdir(tmp_path)
    *blocks, ranks = BLOCKS
    assert len(blocks) == 3
    names: dict[str, object] = {"__name__": "__main__"}
    fitted = []
    for body in blocks:
        exec(compile(body, "scale.md", "exec"), names)
        fitted.append(names["aligner"].moments_["fi"].scatter)
    np.testing.assert_allclose(names["moments"]["fi"].scatter, fitted[0], rtol=1e-5, atol=1e-2)
    np.testing.assert_allclose(fitted[2], fitted[0], rtol=1e-5, atol=1e-2)  # sums of 1000 squares
    compile(ranks, "scale.md", "exec")  # needs GPUs; test_ranks runs its like
