"""Every estimator keeps scikit-learn's contract."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from posthoc_align import (
    LSAR,
    LanguageCentering,
    LanguageScaling,
    LinearMap,
    PivotAligner,
    Procrustes,
    TransportMap,
)

ESTIMATORS = [
    LanguageCentering(),
    LanguageCentering(anchor="pooled", shrinkage="auto", unseen="global"),
    LanguageScaling(),
    LanguageScaling(shrinkage="auto", anchor="pooled"),
    LSAR(),
    Procrustes(),
    Procrustes(center=False, reflection=False, scale=True),
    LinearMap(prior="zero"),
    LinearMap(prior="procrustes", penalty=1.0),
    PivotAligner(),
    PivotAligner(LinearMap(penalty=1.0), recipe=None),
]


@parametrize_with_checks(ESTIMATORS)
def test_the_contract_holds_without_a_waiver(estimator, check):
    check(estimator)


def widen(X: Any, y: Any) -> Any:
    """A one-column y repeated to the width of X; anything else as it came."""
    rows, target = np.asarray(X), None if y is None else np.asarray(y)
    if target is None or target.ndim == 2 or rows.ndim != 2:
        return y
    return np.tile(target.reshape(-1, 1), (1, rows.shape[1]))


class WideTargetLinearMap(LinearMap):
    """The default map, which needs a target of X's own width, given one."""

    def fit(self, X: Any, y: Any = None) -> WideTargetLinearMap:
        return super().fit(X, widen(X, y))

    def partial_fit(self, X: Any, y: Any = None) -> WideTargetLinearMap:
        return super().partial_fit(X, widen(X, y))

    def score(self, X: Any, y: Any) -> float:
        return super().score(X, widen(X, y))


class WideTargetTransportMap(TransportMap):
    """The default transport, which needs a target of X's own width, given one."""

    def fit(self, X: Any, y: Any = None) -> WideTargetTransportMap:
        return super().fit(X, widen(X, y))

    def score(self, X: Any, y: Any) -> float:
        return super().score(X, widen(X, y))


@parametrize_with_checks(
    [
        WideTargetLinearMap(),
        WideTargetLinearMap(penalty=1.0),
        WideTargetTransportMap(),
        WideTargetTransportMap(method="exact"),
    ]
)
def test_the_contract_holds_for_maps_that_need_a_target_of_equal_width(estimator, check):
    """The checks feed a one-column y, in which the space of X has no counterpart."""
    check(estimator)


@pytest.mark.parametrize("estimator", [LinearMap(), TransportMap()], ids=repr)
def test_a_target_of_another_width_is_refused_where_widths_must_agree(estimator):
    X = np.random.default_rng(0).normal(size=(20, 3))
    with pytest.raises(ValueError, match=r"equal width|same width|3.*1"):
        clone(estimator).fit(X, X[:, 0])
