"""What holds for every measure of geometry, whatever it measures."""

import numpy as np
import pytest
import torch

from posthoc_align import metrics
from posthoc_align.metrics import _scatter, isotropy

PAIRS = {
    "average_neuron_correlation": {},
    "canonical_correlations": {},
    "cka": {"debiased": True},
    "condition_harmonic_mean": {"effective": True},
    "eigenvector_similarity": {},
    "gromov_hausdorff": {},
    "procrustes_distance": {},
    "pwcca": {},
    "relational_similarity": {},
    "singular_value_gap": {},
    "subspace_angles": {"n_components": 5},
    "svcca": {"n_components": 5},
}
SINGLE = ["condition_number", "iso_score", "mean_random_cosine", "partition_ratio"]
MEASURES = {
    **{
        name: (lambda X, Y, f=name, o=options: getattr(metrics, f)(X, Y, **o))
        for name, options in PAIRS.items()
    },
    **{name: (lambda X, Y, f=name: getattr(metrics, f)(X)) for name in SINGLE},
    "anisotropy": lambda X, Y: list(metrics.anisotropy(X, np.repeat(["de", "en"], 30)).values()),
    "hubness": lambda X, Y: metrics.hubness(X, Y, k=3).occurrence,
}


@pytest.fixture(params=MEASURES)
def measure(request):
    return MEASURES[request.param]


def test_memory_maps_give_what_arrays_give(measure, translations, tmp_path):
    maps = []
    for i, rows in enumerate(translations):
        np.save(tmp_path / f"{i}.npy", rows)
        maps.append(np.load(tmp_path / f"{i}.npy", mmap_mode="r"))
    np.testing.assert_array_equal(measure(*maps), measure(*translations))


def test_tensors_give_what_arrays_give_and_a_plain_answer(measure, translations):
    found = measure(*(torch.as_tensor(rows) for rows in translations))
    assert isinstance(found, (float, list, np.ndarray))
    np.testing.assert_allclose(found, measure(*translations), rtol=1e-9, atol=1e-9)


def test_rows_are_left_as_they_were(measure, translations):
    copies = [rows.copy() for rows in translations]
    measure(*copies)
    for copy, rows in zip(copies, translations, strict=True):
        np.testing.assert_array_equal(copy, rows)


def test_rows_are_read_in_blocks_of_any_size(measure, translations, monkeypatch):
    whole = measure(*translations)
    for module in (_scatter, isotropy):
        monkeypatch.setattr(module, "PRODUCT_BLOCK", 8 * 16 * 7)  # seven rows at a time
    np.testing.assert_allclose(measure(*translations), whole, rtol=1e-9, atol=1e-9)


# Directions of rows change with a shift; everything else is computed from centred rows.
OF_DIRECTIONS = {"eigenvector_similarity", "gromov_hausdorff", "relational_similarity"}


@pytest.mark.parametrize("name", sorted(set(PAIRS) - OF_DIRECTIONS))
def test_rows_far_from_the_origin_do_not_cancel(translations, name):
    X, Y = translations
    near, far = (MEASURES[name](X + shift, Y - shift) for shift in (0.0, 1e4))
    np.testing.assert_allclose(far, near, rtol=1e-6, atol=1e-6)
