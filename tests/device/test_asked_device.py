"""Who asks for CUDA where there is none is told so; and settings of torch stay the user's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.base import clone

from posthoc_align import ContrastiveMap, Procrustes

# Rows so few have nothing that an adversary could better.
pytestmark = [
    pytest.mark.filterwarnings("ignore:No state of training was better"),
    pytest.mark.filterwarnings("ignore:INLP removed all"),
]

NO_CUDA = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")


@NO_CUDA
def test_training_asked_onto_cuda_is_an_error_and_no_silent_cpu_run():
    X, Y = np.random.default_rng(0).normal(size=(2, 40, 3))
    with pytest.raises(ValueError, match="device='cuda' cannot be used here.*Leave device=None"):
        ContrastiveMap(device="cuda", max_epochs=1).fit(X, Y)


@NO_CUDA
@pytest.mark.extras
def test_a_net_of_skorch_asked_onto_cuda_is_an_error():
    skorch = pytest.importorskip("skorch")
    from posthoc_align import AlignedClassifier

    X, y = np.random.default_rng(0).normal(size=(40, 3)).astype("float32"), np.arange(40) % 2
    net = skorch.NeuralNetClassifier(torch.nn.Linear(3, 2), device="cuda", verbose=0)
    with pytest.raises((AssertionError, RuntimeError), match="CUDA"):
        AlignedClassifier("passthrough", net).fit(X, y)


def test_rows_of_two_devices_are_an_error_that_names_both(foreign, rows_case):
    X = foreign.put(rows_case.X)
    with pytest.raises(ValueError, match="X is a torch tensor on cuda:0 and y is a .* on cpu"):
        Procrustes().fit(X, torch.as_tensor(rows_case.y))
    with pytest.raises(ValueError, match="X is a torch tensor on cuda:0 and y is a NumPy array"):
        Procrustes().fit(X, rows_case.y)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_tensors_come_back_narrow(case, dtype):
    X = torch.as_tensor(case.X).to(getattr(torch, dtype))
    y = torch.as_tensor(case.y).to(X.dtype) if case.y.ndim == 2 else case.y
    settings = torch.get_float32_matmul_precision(), torch.backends.cuda.matmul.allow_tf32
    fitted = clone(case.estimator).fit(X, y, **case.fit)
    if hasattr(fitted, "transform"):
        Z = fitted.transform(X, **case.ask)
        assert Z.dtype == X.dtype
        assert bool(torch.all(torch.isfinite(Z)))
    assert settings == (
        torch.get_float32_matmul_precision(),
        torch.backends.cuda.matmul.allow_tf32,
    )
