"""What is cloned, pickled, sent to other processes or answers in frames keeps the language."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.preprocessing import StandardScaler

from posthoc_align import LanguageCentering, LanguageScaling, make_language_scorer

# Rows so few have nothing that an adversary could better.
pytestmark = pytest.mark.filterwarnings("ignore:No state of training was better")

CHANNELS = pytest.mark.parametrize("channel", ["routing", "index"])


@CHANNELS
def test_a_clone_and_a_pickle_predict_as_the_model_does(channel, light, setting):
    s = setting(light, channel)
    model = s.model.fit(s.X, s.y, **s.fit)
    expected = model.predict_proba(s.X, **s.ask)
    again = pickle.loads(pickle.dumps(clone(model))).fit(s.X, s.y, **s.fit)
    for other in (again, pickle.loads(pickle.dumps(model))):
        # Sums depend in their last digits on where in memory rows lie.
        found = other.predict_proba(s.X, **s.ask)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.slow  # the first starts two processes
def test_processes_of_their_own_get_the_language(light, setting):
    told = setting(light, "told")
    expected = cross_val_score(told.model, told.X, told.y, cv=told.splits)
    s = setting(light, "routing")
    found = cross_val_score(
        s.model,
        s.X,
        s.y,
        cv=s.splits,
        scoring=make_language_scorer("accuracy"),
        params=s.fit or None,
        n_jobs=2,
        error_score="raise",
    )
    np.testing.assert_allclose(found, expected)


@CHANNELS
@pytest.mark.parametrize("output", ["pandas", "polars"])
def test_a_frame_comes_out_with_names_values_and_index(output, channel, light, setting, heads):
    if light in heads:
        pytest.skip("a head is no transformer")
    s = setting(light, channel)
    expected = np.asarray(clone(s.aligner).fit(s.X, s.y, **s.fit).transform(s.X, **s.ask))
    framed = copy.deepcopy(s.aligner).set_output(transform=output).fit(s.X, s.y, **s.fit)
    for Z in (framed.transform(s.X, **s.ask), framed.fit_transform(s.X, s.y, **s.fit)):
        assert isinstance(Z, {"pandas": pd.DataFrame, "polars": pl.DataFrame}[output])
        assert list(Z.columns) == list(framed.get_feature_names_out())
        np.testing.assert_allclose(Z.to_numpy(), expected, atol=1e-9)
        if output == "pandas" and channel == "index":
            assert Z.index.equals(s.X.index)


@pytest.mark.parametrize("output", ["default", "pandas", "polars"])
def test_a_pipeline_of_frames_predicts_alike(output, light, setting):
    s = setting(light, "routing")
    expected = s.model.fit(s.X, s.y, **s.fit).predict_proba(s.X, **s.ask)
    model = copy.deepcopy(s.model)
    if hasattr(model, "set_output"):
        model.set_output(transform=output)
    found = model.fit(s.X, s.y, **s.fit).predict_proba(s.X, **s.ask)
    np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize(("output", "kept"), [("pandas", True), ("polars", False)])
def test_an_index_goes_on_to_the_next_step_in_pandas_alone(output, kept, setting):
    s = setting("LanguageCentering", "index")
    first = StandardScaler().set_output(transform=output).fit(s.X)
    for aligner in (
        LanguageCentering(language_from="index"),
        LanguageScaling(language_from="index"),
    ):
        if kept:
            assert aligner.fit(first.transform(s.X)).languages_ == ["de", "en", "sw"]
        else:
            with pytest.raises(ValueError, match=r"polars has no index.*set_output\(transform='p"):
                aligner.fit(first.transform(s.X))


def test_one_label_stands_for_all_rows_of_a_prediction(light, setting):
    s = setting(light, "routing")
    model = s.model.fit(s.X, s.y, **s.fit)
    expected = model.predict_proba(s.X, **s.ask)
    for name in ("de", "en", "sw"):
        at = s.language == name
        found = model.predict_proba(s.X[at], language=name)
        np.testing.assert_allclose(found, expected[at], atol=1e-9)


def test_the_order_of_rows_does_not_matter(light, setting):
    s = setting(light, "routing")
    model = s.model.fit(s.X, s.y, **s.fit)
    order = np.random.default_rng(0).permutation(len(s.y))
    found = model.predict_proba(s.X[order], language=s.language[order])
    np.testing.assert_allclose(found, model.predict_proba(s.X, **s.ask)[order], atol=1e-9)
