"""A planted task: two classes in three languages, each shifted, of which one is labelled."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

D, N = 6, 40


@pytest.fixture
def task():
    """Rows of one class differ along the first axis by 2, languages lie 20 apart."""
    rng = np.random.default_rng(0)
    rows, classes = rng.normal(size=(N, D)) * 0.3, np.arange(N) % 2
    rows[:, 0] += 2.0 * classes
    shifts = 20 * rng.normal(size=(3, D))
    X = np.vstack([rows + shift for shift in shifts])
    language = np.repeat(["en", "de", "sw"], N)
    names = np.array(["no", "yes"])[np.tile(classes, 3)]
    return SimpleNamespace(
        X=X,
        y=names,
        language=language,
        pair_id=np.tile(np.arange(N), 3),
        english=language == "en",
        masked=np.where(language == "en", names, ""),
        target=np.tile(3.0 * rows[:, 0] + 50, 3),
    )
