"""Scorers that hand on the language, where scikit-learn's own lose it."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, log_loss
from sklearn.model_selection import (
    GridSearchCV,
    LeaveOneGroupOut,
    StratifiedKFold,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import make_pipeline

from posthoc_align import Identity, LanguageCentering
from posthoc_align.model_selection import make_language_scorer

CV = StratifiedKFold(4, shuffle=True, random_state=0)


def planted(n=80, seed=0):
    """Classes that lie apart in one direction, languages farther apart in the same."""
    rng = np.random.default_rng(seed)
    y = np.tile([0, 1], n)
    language = np.repeat(["en", "de"], n)
    X = rng.normal(scale=0.5, size=(2 * n, 3))
    X[:, 0] += 2.0 * y + np.where(language == "en", 0.0, 8.0)
    return X, y, language


def model():
    return make_pipeline(LanguageCentering(), LogisticRegression())


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.mark.usefixtures("routing")
def test_language_reaches_predict_where_a_string_scorer_loses_it():
    X, y, language = planted()
    given = {"params": {"language": language}, "cv": CV, "error_score": "raise"}
    scores = cross_val_score(model(), X, y, scoring=make_language_scorer("accuracy"), **given)
    # Centred classes are 4 standard deviations apart: 0.977 are on their side.
    assert scores.mean() > 0.95
    with pytest.raises(ValueError, match="make_language_scorer"):
        cross_val_score(model(), X, y, scoring="accuracy", **given)


@pytest.mark.usefixtures("routing", "own_score_is_told")
def test_each_name_gives_what_the_scorer_of_that_name_gives_when_told():
    """Against the default scoring, which does route, and against metrics by hand."""
    X, y, language = planted()
    given = {"params": {"language": language}, "cv": CV, "error_score": "raise"}
    routed = cross_val_score(model(), X, y, **given)
    ours = cross_val_score(model(), X, y, scoring=make_language_scorer("accuracy"), **given)
    assert np.array_equal(routed, ours)
    fitted = model().fit(X, y, language=language)
    expected = f1_score(y, fitted.predict(X, language=language), average="macro")
    assert make_language_scorer("f1_macro")(fitted, X, y, language=language) == expected
    proba = fitted.predict_proba(X, language=language)
    loss = make_language_scorer("neg_log_loss")(fitted, X, y, language=language)
    assert loss == pytest.approx(-log_loss(y, proba), abs=1e-12)
    assert 0.9 < make_language_scorer("roc_auc")(fitted, X, y, language=language) <= 1


@pytest.mark.usefixtures("routing")
def test_a_function_is_scored_with_its_arguments_sign_and_response():
    X, y, language = planted()
    fitted = model().fit(X, y, language=language)
    f1 = make_language_scorer(f1_score, average="macro")
    assert f1(fitted, X, y, language=language) == make_language_scorer("f1_macro")(
        fitted, X, y, language=language
    )
    loss = make_language_scorer(log_loss, response_method="predict_proba", greater_is_better=False)
    assert loss(fitted, X, y, language=language) == make_language_scorer("neg_log_loss")(
        fitted, X, y, language=language
    )


@pytest.mark.usefixtures("routing")
def test_several_metrics_at_once():
    X, y, language = planted()
    found = cross_validate(
        model(),
        X,
        y,
        scoring={
            "all": make_language_scorer("accuracy"),
            "worst": make_language_scorer("accuracy", per_language="worst"),
            "mean": make_language_scorer("accuracy", per_language="mean"),
        },
        params={"language": language},
        cv=CV,
        error_score="raise",
    )
    assert np.all(found["test_worst"] <= found["test_mean"])
    assert np.all(found["test_mean"] > 0.9)


@pytest.mark.usefixtures("routing")
def test_languages_count_alike_or_the_worst_alone():
    """Nine English rows are right and one German row is wrong: 0.9, 0.5 and 0."""
    X = np.zeros((10, 1))
    head = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    y, language = [0] * 9 + [1], ["en"] * 9 + ["de"]
    for per_language, expected in ((None, 0.9), ("mean", 0.5), ("worst", 0.0)):
        scorer = make_language_scorer("accuracy", per_language=per_language)
        assert scorer(head, X, y, language=language) == pytest.approx(expected)


@pytest.mark.usefixtures("routing")
def test_a_grid_search_is_told_in_fit_score_and_when_nested():
    X, y, language = planted()
    scorer = make_language_scorer("accuracy")
    search = GridSearchCV(
        make_pipeline(Identity(), LogisticRegression()),
        {"identity": [Identity(), LanguageCentering()]},
        scoring=scorer,
        cv=CV,
        error_score="raise",
    )
    fitted = clone(search).fit(X, y, language=language)
    assert isinstance(fitted.best_params_["identity"], LanguageCentering)
    assert fitted.score(X, y, language=language) > 0.95
    outer = cross_val_score(
        search, X, y, scoring=scorer, params={"language": language}, cv=CV, error_score="raise"
    )
    assert outer.mean() > 0.95


@pytest.mark.usefixtures("routing")
def test_leaving_out_one_language_at_a_time_is_scikit_learns():
    """Zero-shot to each language: unseen in fit, centred with its own mean."""
    X, y, language = planted()
    scores = cross_val_score(
        make_pipeline(LanguageCentering(unseen="transductive"), LogisticRegression()),
        X,
        y,
        scoring=make_language_scorer("accuracy"),
        cv=LeaveOneGroupOut(),
        params={"language": language, "groups": language},
        error_score="raise",
    )
    assert scores.shape == (2,)
    assert scores.min() > 0.9


def test_called_by_hand_it_needs_no_routing():
    X, y, language = planted()
    with sklearn.config_context(enable_metadata_routing=True):
        fitted = model().fit(X, y, language=language)
    assert make_language_scorer("accuracy")(fitted, X, y, language=language) > 0.95


def test_an_estimator_that_asks_for_no_language_is_called_without():
    X, y, language = planted()
    head = LogisticRegression().fit(X, y)
    scorer = make_language_scorer("accuracy")
    assert scorer(head, X, y, language=language) == head.score(X, y)


def test_without_routing_the_aligner_says_what_is_lost():
    X, y, language = planted()
    with sklearn.config_context(enable_metadata_routing=True):
        fitted = model().fit(X, y, language=language)
    with pytest.raises(ValueError, match="got no language"):
        make_language_scorer("accuracy")(fitted, X, y)
    with pytest.raises(ValueError, match="per_language='mean' but got no language: enable"):
        make_language_scorer("accuracy", per_language="mean")(fitted, X, y)


def test_labels_in_the_index_will_do():
    pandas = pytest.importorskip("pandas")
    X, y, language = planted()
    frame = pandas.DataFrame(X, index=pandas.Index(language, name="language"))
    with sklearn.config_context(enable_metadata_routing=True):
        fitted = model().fit(X, y, language=language)
    scorer = make_language_scorer("accuracy", per_language="worst")
    assert scorer(fitted, frame.set_axis(range(3), axis=1), y) > 0.9


def test_tensors_are_cut_by_language_as_arrays_are():
    import torch

    X, y, language = planted()
    fitted = LogisticRegression().fit(X, y)
    scorer = make_language_scorer("accuracy", per_language="worst")
    expected = scorer(fitted, X, y, language=language)
    tensors = torch.as_tensor(X), torch.as_tensor(y)
    assert scorer(fitted, *tensors, language=language) == expected


@pytest.mark.parametrize(
    ("metric", "options", "says"),
    [
        ("accurate", {}, "'accurate' is not a valid"),
        (3, {}, "neither the name of a scorer nor a function"),
        ("accuracy", {"response_method": "predict"}, "names a scorer, which has its own"),
        ("accuracy", {"average": "macro"}, "names a scorer, which has its own"),
        ("accuracy", {"per_language": "least"}, "per_language='least' is not known: choose one"),
    ],
)
def test_what_is_no_metric_is_refused(metric, options, says):
    with pytest.raises(ValueError, match=says):
        make_language_scorer(metric, **options)


def test_it_says_what_it_is():
    shown = repr(make_language_scorer("accuracy", per_language="mean"))
    assert shown.startswith("LanguageScorer(make_scorer(accuracy_score")
    assert shown.endswith("per_language='mean')")
