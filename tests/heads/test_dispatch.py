"""Under array-API dispatch a head of scikit-learn reads tensors and answers in tensors."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from sklearn import config_context
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.utils import get_tags

from posthoc_align import LSAR, AlignedClassifier, AlignedRegressor, LanguageCentering


@pytest.fixture(autouse=True)
def _dispatch():
    if os.environ.get("SCIPY_ARRAY_API") != "1":
        pytest.skip("set SCIPY_ARRAY_API=1 before Python starts")
    if not get_tags(LogisticRegression()).array_api_support:
        pytest.skip("this scikit-learn has no logistic regression on tensors")
    with config_context(array_api_dispatch=True):
        yield


@pytest.mark.parametrize("aligner", [LanguageCentering(), LSAR(), "passthrough"], ids=repr)
def test_tensors_stay_tensors_from_rows_to_predictions(aligner, task):
    X, y = torch.as_tensor(task.X), torch.as_tensor((task.y == "yes").astype(np.int64))
    given = {"language": task.language}
    model = AlignedClassifier(aligner).fit(X, y, **given)
    assert isinstance(model.head_.coef_, torch.Tensor)
    for method in ("predict", "predict_proba", "decision_function"):
        assert isinstance(getattr(model, method)(X, **given), torch.Tensor)
    on_host = AlignedClassifier(aligner).fit(task.X, y.numpy(), **given)
    # Two solvers that stop when the gradient is below 1e-4.
    np.testing.assert_allclose(
        model.predict_proba(X, **given).numpy(), on_host.predict_proba(task.X, **given), atol=1e-3
    )
    assert model.score(X, y, **given) == on_host.score(task.X, y.numpy(), **given)
    weighted = AlignedClassifier(aligner).fit(X, y, sample_weight=np.ones(len(X)), **given)
    np.testing.assert_allclose(weighted.head_.coef_.numpy(), model.head_.coef_.numpy(), rtol=1e-6)


def test_names_of_classes_stay_names(task):
    X = torch.as_tensor(task.X)
    model = AlignedClassifier(LanguageCentering(), missing_label="")
    model.fit(X, task.masked, language=task.language)
    assert set(model.predict(X, language=task.language)) == {"no", "yes"}


def test_the_default_regressor_takes_tensors_without_a_warning(task):
    X, y = torch.as_tensor(task.X), torch.as_tensor(task.target)
    model = AlignedRegressor(LanguageCentering()).fit(X, y, language=task.language)
    assert isinstance(model.predict(X, language=task.language), torch.Tensor)
    assert model.score(X, y, language=task.language) > 0.95


def test_a_head_that_knows_no_tensors_reads_on_the_host(task):
    X, y = torch.as_tensor(task.X), torch.as_tensor((task.y == "yes").astype(np.int64))
    head = RandomForestClassifier(n_estimators=5, random_state=0)
    model = AlignedClassifier(LanguageCentering(), head).fit(X, y, language=task.language)
    assert isinstance(model.predict(X, language=task.language), np.ndarray)
