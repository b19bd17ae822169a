"""Fixtures that several test files share."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """With POSTHOC_ALIGN_NO_SKIPS a missing package fails its tests: all is said to be there."""
    report = yield
    if os.environ.get("POSTHOC_ALIGN_NO_SKIPS") and report.skipped and "CUDA" not in str(call):
        report.outcome = "failed"
        report.longrepr = f"skipped although POSTHOC_ALIGN_NO_SKIPS is set: {call.excinfo}"
    return report


@pytest.fixture
def own_score_is_told() -> None:
    """For tests of folds and searches that leave scoring to the estimator's own ``score``."""
    import sklearn
    from sklearn.utils.fixes import parse_version

    if parse_version(sklearn.__version__) < parse_version("1.8"):
        pytest.skip("scikit-learn before 1.8 hands no metadata to an estimator's own score")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of data that cannot be bundled, found through POSTHOC_ALIGN_DATA."""
    folder = Path(os.environ.get("POSTHOC_ALIGN_DATA", ROOT / ".." / "shared" / "data")).resolve()
    if not folder.is_dir():
        pytest.skip(f"no data at {folder}: set POSTHOC_ALIGN_DATA to run this test")
    return folder


@pytest.fixture(scope="session")
def official(shared_data: Path) -> Callable[[str], Mapping[str, np.ndarray]]:
    """Outputs of official implementations: ``official("lsar")["r1_P"]``."""

    def read(name: str) -> Mapping[str, np.ndarray]:
        path = shared_data.parent / "reference" / "official" / f"{name}.npz"
        if not path.is_file():
            pytest.skip(f"no reference outputs at {path}")
        with np.load(path) as arrays:
            return dict(arrays)

    return read


def make(X: np.ndarray, kind: str) -> object:
    """X as the kind that a test is run on: "numpy float32", "torch bfloat16", ..."""
    library, dtype = kind.split()
    if library == "numpy":
        return np.asarray(X, dtype=dtype)
    import torch

    return torch.as_tensor(np.asarray(X), dtype=getattr(torch, dtype))


KINDS = ("numpy float64", "numpy float32", "torch float64", "torch float32")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """The kinds of array that a law of rows is run on."""
    return request.param


@pytest.fixture
def as_kind(kind: str) -> Callable[[np.ndarray], object]:
    """X -> the same rows as an array of this run's kind."""
    make(np.zeros((1, 1)), kind)  # imports the library before the test's clock starts
    return lambda X: make(X, kind)


@pytest.fixture(scope="session")
def make_kind() -> Callable[[np.ndarray, str], object]:
    """(X, kind) -> the same rows as an array of that kind."""
    return make


@pytest.fixture(scope="session")
def rows_of() -> Callable[[object], np.ndarray]:
    """Any array -> its values as float64 NumPy, to compare with what was expected."""

    def read(X: object) -> np.ndarray:
        if hasattr(X, "detach"):
            return X.detach().double().numpy()
        return np.asarray(X, dtype=np.float64)

    return read


@pytest.fixture
def rtol(kind: str) -> float:
    """What rounding allows: 1e-10 of the largest value in float64, 1e-5 in float32.

    Sums over a few hundred rows lose two or three of the 16 (or 7) digits, products as many.
    """
    return 1e-10 if "64" in kind else 1e-5
