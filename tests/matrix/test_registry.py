"""The matrix holds every estimator of the library, on rows where a lost language shows."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline, make_pipeline

import posthoc_align
from posthoc_align import (
    AlignedClassifier,
    AlignedRegressor,
    LanguageCentering,
    MetaEmbedding,
    PairMixup,
    Procrustes,
)

# Rows so few have nothing that an adversary could better.
pytestmark = pytest.mark.filterwarnings("ignore:No state of training was better")

ELSEWHERE = {
    AlignedRegressor,  # made of each model for the tools of regression
    PairMixup,  # no step of a pipeline: see below
}
BLIND = {
    "Identity",
    "AllButTheTop",
    "ClusterIsotropy",
    "ConceptWhitening",
}
"""Treat all languages alike: there is nothing to lose."""
CANNOT = {
    "LSAR": "rank=1 is out of range",
    "LanguageSubspaceShift": "is none of the fitted languages",
    "LayerMixing": "fit got no language",
    "FrozenAligner": "got no language",
}
"""Need more than one language to be fitted, or used, at all."""


def test_every_estimator_is_in_the_matrix(every):
    known = [getattr(posthoc_align, name) for name in posthoc_align.__all__]
    kinds = {k for k in known if inspect.isclass(k) and issubclass(k, BaseEstimator)}
    held = {type(part) for model in every.values() for part in (model, *parts(model))}
    assert kinds - held - ELSEWHERE == set()


def parts(model):
    return model.get_params().values()


def test_losing_the_language_shows(aligner, setting):
    """The control: else a cell of the matrix could not tell an arrival from a loss."""
    told, lost = setting(aligner, "told"), setting(aligner, "routing")
    expected = told.model.fit(told.X, told.y).predict_proba(told.X)
    given = {name: labels for name, labels in lost.fit.items() if name != "language"}
    if aligner in CANNOT:
        with pytest.raises(ValueError, match=CANNOT[aligner]):
            lost.model.fit(lost.X, lost.y, **given)
        return
    found = lost.model.fit(lost.X, lost.y, **given).predict_proba(lost.X)
    if aligner in BLIND:
        np.testing.assert_allclose(found, expected, atol=1e-6)
    else:
        assert np.abs(found - expected).max() > 0.05


def test_a_head_that_is_told_is_right_and_one_that_is_not_is_often_wrong(setting):
    told, lost = setting("LanguageCentering", "told"), setting("LanguageCentering", "nothing")
    assert told.model.fit(told.X, told.y).score(told.X, told.y) == 1.0
    unknowing = make_pipeline(LanguageCentering(), GaussianNB()).fit(lost.X, lost.y)
    assert unknowing.score(lost.X, lost.y) < 0.8


@pytest.mark.parametrize("step", [Procrustes(), MetaEmbedding()], ids=repr)
def test_a_step_that_knows_of_no_language_is_not_given_one_in_silence(step, setting):
    s = setting("LanguageCentering", "routing")
    with pytest.raises(TypeError, match="unexpected argument.*language.*not routed"):
        make_pipeline(step, GaussianNB()).fit(s.X, s.y, language=s.language)


def test_a_step_behind_one_that_knows_of_none_still_gets_it(setting):
    s = setting("LanguageCentering", "routing")
    found = make_pipeline(MetaEmbedding(), s.aligner, GaussianNB()).fit(s.X, s.y, **s.fit)
    expected = s.model.fit(s.X, s.y, **s.fit).predict_proba(s.X, **s.ask)
    np.testing.assert_array_equal(found.predict_proba(s.X, **s.ask), expected)


def test_without_routing_a_pipeline_refuses_a_language(setting):
    s = setting("LanguageCentering", "told")
    with pytest.raises(ValueError, match="does not accept the language parameter"):
        make_pipeline(LanguageCentering(), GaussianNB()).fit(s.X, s.y, language=s.language)


def test_a_language_for_one_step_s_fit_is_missed_by_the_predictions(light, setting):
    """The older way to pass to a step reaches fit alone."""
    s = setting(light, "routing")
    told = s.model.fit(s.X, s.y, **s.fit).predict_proba(s.X, **s.ask)
    setting(light, "told")  # routing off
    prefix = "aligner__" if isinstance(s.model, Pipeline) else ""
    model = clone(s.model).fit(s.X, s.y, **{prefix + name: v for name, v in s.fit.items()})
    if s.needs_language:
        with pytest.raises(ValueError, match="got no language"):
            model.predict_proba(s.X)
    else:
        np.testing.assert_array_equal(model.predict_proba(s.X), told)


def test_a_sampler_is_no_step_of_a_pipeline(setting):
    s = setting("LanguageCentering", "told")
    with pytest.raises(TypeError, match="All intermediate steps should be transformers"):
        make_pipeline(PairMixup(), AlignedClassifier("passthrough")).fit(s.X, s.y)
