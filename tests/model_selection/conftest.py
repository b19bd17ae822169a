"""Planted corpora of translations that several files choose aligners on."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest


@pytest.fixture
def rotated():
    """English; German, a rotation of it; French, a shift of it: 90 sentences, 2 classes."""
    rng = np.random.default_rng(0)
    n, d = 90, 8
    en = rng.normal(size=(n, d))
    turn = np.linalg.qr(rng.normal(size=(d, d)))[0]
    X = np.vstack([en, en @ turn, en + 3.0]) + 0.05 * rng.normal(size=(3 * n, d))
    return SimpleNamespace(
        X=X,
        y=np.tile(np.where(en[:, 0] > 0, "b", "a"), 3),
        language=np.repeat(["en", "de", "fr"], n),
        pair_id=np.tile(np.arange(n), 3),
    )
