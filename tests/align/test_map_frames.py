"""A map whose transform answers in data frames scores as one that answers in arrays."""

import numpy as np
import pytest

from posthoc_align import CCAMap, ContrastiveMap, LinearMap, MigrationMap, Procrustes, TransportMap

pytest.importorskip("pandas")
X = np.random.default_rng(0).normal(size=(30, 3))


@pytest.mark.parametrize(
    "estimator",
    [
        Procrustes(),
        LinearMap(),
        MigrationMap(),
        CCAMap(),
        ContrastiveMap(max_epochs=2, random_state=0),
        TransportMap(),
    ],
    ids=lambda e: type(e).__name__,
)
def test_score_is_the_same_under_set_output(estimator):
    plain = estimator.fit(X, X[:, ::-1]).score(X, X[:, ::-1])
    assert estimator.set_output(transform="pandas").score(X, X[:, ::-1]) == pytest.approx(plain)
