"""A pipeline on tensors: rows are tensors from the first step to the prediction."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from sklearn import config_context
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags

from posthoc_align import make_language_scorer

# Rows so few have nothing that an adversary could better.
pytestmark = pytest.mark.filterwarnings("ignore:No state of training was better")


@pytest.fixture(autouse=True)
def _dispatch(setting):
    if os.environ.get("SCIPY_ARRAY_API") != "1":
        pytest.skip("set SCIPY_ARRAY_API=1 before Python starts")
    if not get_tags(LogisticRegression()).array_api_support:
        pytest.skip("this scikit-learn has no logistic regression on tensors")
    with config_context(array_api_dispatch=True):
        yield


@pytest.fixture(params=["cpu", "cuda"])
def device(request):
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return request.param


def logistic(s):
    return Pipeline([("aligner", s.aligner), ("head", LogisticRegression())])


def test_tensors_stay_tensors_through_predict(aligner, device, setting):
    s = setting(aligner, "routing")
    X, y = torch.as_tensor(s.X, device=device), torch.as_tensor(s.y, device=device)
    model = logistic(s).fit(X, y, **s.fit)
    for method in ("predict", "predict_proba", "decision_function"):
        found = getattr(model, method)(X, **s.ask)
        assert isinstance(found, torch.Tensor)
        assert found.device == X.device
    on_host = clone(logistic(s)).fit(s.X, s.y, **s.fit)
    # Two solvers that stop when the gradient is below 1e-4.
    np.testing.assert_allclose(
        model.predict_proba(X, **s.ask).cpu().numpy(),
        on_host.predict_proba(s.X, **s.ask),
        atol=1e-2,
    )
    assert model.score(X, y, **s.ask) == pytest.approx(on_host.score(s.X, s.y, **s.ask), abs=0.05)


@pytest.mark.parametrize("scoring", [None, make_language_scorer("accuracy")], ids=["None", "ours"])
def test_folds_of_tensors_get_the_language(scoring, device, setting):
    s = setting("LanguageCentering", "routing")
    X, y = torch.as_tensor(s.X, device=device), torch.as_tensor(s.y, device=device)
    given = {"cv": s.splits, "params": s.fit, "scoring": scoring, "error_score": "raise"}
    found = cross_val_score(logistic(s), X, y, **given)
    np.testing.assert_allclose(found, cross_val_score(logistic(s), s.X, s.y, **given), rtol=1e-6)
    assert found.mean() > 0.95


def test_a_search_over_tensors_gets_the_language(device, setting):
    s = setting("LanguageCentering", "routing")
    X, y = torch.as_tensor(s.X, device=device), torch.as_tensor(s.y, device=device)
    search = GridSearchCV(
        logistic(s),
        {"aligner__shrinkage": [0.0, 0.5]},
        cv=s.splits,
        scoring=make_language_scorer("accuracy"),
        error_score="raise",
    ).fit(X, y, **s.fit)
    assert isinstance(search.best_estimator_.predict(X, **s.ask), torch.Tensor)
    assert search.score(X, y, **s.ask) == 1.0


def test_a_language_that_is_lost_is_an_error_on_tensors_too(device, setting):
    s = setting("LanguageCentering", "routing")
    X, y = torch.as_tensor(s.X, device=device), torch.as_tensor(s.y, device=device)
    model = logistic(s).fit(X, y, **s.fit)
    with pytest.raises(ValueError, match="got no language.*make_language_scorer"):
        model.predict(X)
    with pytest.raises(ValueError, match="got no language.*make_language_scorer"):
        cross_val_score(
            logistic(s), X, y, cv=s.splits, params=s.fit, scoring="accuracy", error_score="raise"
        )
