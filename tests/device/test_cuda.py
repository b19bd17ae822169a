"""On a GPU: the same answers as on the host, where the rows are, in the memory of the device."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.base import clone

from posthoc_align import LSAR, LanguageCentering, Procrustes

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    # Rows so few have nothing that an adversary could better.
    pytest.mark.filterwarnings("ignore:No state of training was better"),
    pytest.mark.filterwarnings("ignore:INLP removed all"),
]

SEEDED = ("ContrastiveMap", "AdversarialMap", "SelfLearning", "Wasserstein", "ClusterIsotropy")
"""Draw numbers: the same ones on either device, but what they lead to hangs on their last digit."""


def on_cuda(case):
    y = torch.as_tensor(case.y, device="cuda") if case.y.ndim == 2 else case.y
    return torch.as_tensor(case.X, device="cuda"), y


def test_the_answer_is_that_of_the_host_and_lies_on_the_device(case):
    X, y = on_cuda(case)
    there = clone(case.estimator).fit(X, y, **case.fit)
    here = clone(case.estimator).fit(case.X, case.y, **case.fit)
    if not hasattr(there, "transform"):
        assert np.mean(there.predict(X, **case.ask) == here.predict(case.X, **case.ask)) > 0.95
        return
    Z = there.transform(X, **case.ask)
    assert Z.device == X.device
    assert Z.dtype == X.dtype
    assert bool(torch.all(torch.isfinite(Z)))
    if not str(case).startswith(SEEDED):
        expected = here.transform(case.X, **case.ask)
        # Solvers that stop at a tolerance stop at other last digits: most agree to 1e-9.
        np.testing.assert_allclose(Z.cpu().numpy(), expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("estimator", [LanguageCentering(), LSAR()], ids=repr)
def test_a_type_comes_back(estimator, dtype):
    X = torch.randn(300, 16, device="cuda", dtype=dtype)
    language = np.repeat(["a", "b", "c"], 100)
    Z = estimator.fit(X, language=language).transform(X, language=language)
    assert (Z.dtype, Z.device) == (X.dtype, X.device)


def test_a_wide_rotation_is_found_on_the_device_and_is_that_of_the_svd():
    generator = torch.Generator("cuda").manual_seed(0)
    X = torch.randn(4000, 384, device="cuda", generator=generator)
    turn = torch.linalg.qr(torch.randn(384, 384, device="cuda", generator=generator))[0]
    fitted = Procrustes().fit(X, X @ turn)
    assert "singular_values_" not in vars(fitted)  # no singular value decomposition was needed
    expected = Procrustes().fit(X.cpu(), (X @ turn).cpu()).rotation_
    np.testing.assert_allclose(fitted.rotation_, expected, atol=1e-5)


def test_precision_of_products_is_left_as_the_user_set_it():
    before = torch.get_float32_matmul_precision(), torch.backends.cuda.matmul.allow_tf32
    Procrustes().fit(*torch.randn(2, 500, 32, device="cuda"))
    assert before == (
        torch.get_float32_matmul_precision(),
        torch.backends.cuda.matmul.allow_tf32,
    )


def test_memory_of_the_host_does_not_grow_with_the_rows():
    language = np.repeat(["a", "b"], 500_000)
    X = torch.randn(1_000_000, 256, device="cuda")  # 1 GB
    model = LanguageCentering().fit(X[:1000], language=np.repeat(["a", "b"], 500))
    model.transform(X[:1000], language="a")
    before = peak_memory()
    model.fit(X, language=language)
    Procrustes().fit(X, X)
    model.transform(X, language=language)
    # Labels take a few bytes a row, rows would take 1 GB.
    assert peak_memory() - before < 256 * 2**20


def peak_memory():
    """Bytes of main memory that this process ever held at once."""
    import resource

    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
