"""A report has the scores of every language, and says what the labels leave out."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from posthoc_align import (
    AlignedClassifier,
    AlignedRegressor,
    LanguageCentering,
    LanguageReport,
)
from posthoc_align.metrics.transfer import transfer_scores


@pytest.fixture
def model(task):
    """Centred on anchors of which Swahili is off by one class: its head is half wrong there."""
    anchors = task.X + np.where(task.language == "sw", 2.0, 0.0)[:, None] * np.eye(6)[0]
    return AlignedClassifier(LanguageCentering(), missing_label="").fit(
        task.X,
        task.masked,
        language=task.language,
        X_anchor=anchors,
        language_anchor=task.language,
    )


def report(model, task, y=None, **options):
    y = task.y if y is None else y
    return LanguageReport.of(
        model, task.X, y, language=task.language, pair_id=task.pair_id, **options
    )


def test_each_score_is_that_of_the_language_alone(model, task):
    found = report(model, task)
    for name, estimate in found.scores.per_language.items():
        own = task.language == name
        assert estimate.value == model.score(task.X[own], task.y[own], language=name)
        assert found.n_rows[name] == 40
    assert found.scores.source.value == 1.0
    assert found.scores.per_language["sw"].value < 0.8
    assert found.worst == "sw"
    values = [found.scores.per_language[name].value for name in ("de", "sw")]
    assert found.scores.macro.value == pytest.approx(np.mean(values))
    assert found.scores.gap.value == pytest.approx(1 - np.mean(values))


def test_intervals_resample_translations_together(model, task):
    expected = transfer_scores(
        task.y,
        model.predict(task.X, language=task.language),
        task.language,
        pivot="en",
        groups=task.pair_id,
    )
    assert report(model, task).scores == expected


def test_rows_without_a_label_do_not_count(model, task):
    y = np.where(np.arange(len(task.y)) % 4 == 0, "", task.y)
    found = report(model, task, y)
    assert set(found.n_rows.values()) == {30}
    kept = y != ""
    short = LanguageReport.of(
        model,
        task.X[kept],
        y[kept],
        language=task.language[kept],
        pair_id=task.pair_id[kept],
    )
    assert found == short


def test_classes_that_a_language_lacks_are_said(model, task):
    y = np.where((task.language == "de") & (task.y == "yes"), "", task.y)
    found = report(model, task, y)
    assert found.absent == {"de": ["yes"]}
    assert "de has no rows of ['yes']" in str(found)
    assert report(model, task).absent == {}


def test_classes_that_the_head_never_saw_are_said(model, task):
    y = np.where((task.language == "de") & (task.y == "yes"), "maybe", task.y)
    found = report(model, task, y)
    assert found.unknown == ["maybe"]
    assert found.scores.per_language["de"].value <= 0.5
    assert "the head never saw ['maybe']" in str(found)


def test_the_table_has_a_line_a_language(model, task):
    lines = str(report(model, task)).splitlines()
    assert lines[0].split() == ["language", "n", "accuracy"]
    assert [line.split()[0] for line in lines[1:6]] == ["de", "sw", "macro", "en", "gap"]
    assert lines[1].split()[:3] == ["de", "40", "100.0"]
    assert "worst language: sw" in lines[6]


def test_the_figures_come_as_plain_data_and_as_a_frame(model, task):
    found = report(model, task)
    data = found.to_dict()
    assert data["languages"]["sw"]["value"] == found.scores.per_language["sw"].value
    assert data["macro"]["low"] <= data["macro"]["value"] <= data["macro"]["high"]
    assert (data["worst"], data["source"], data["metric"]) == ("sw", "en", "accuracy")
    frame = found.to_frame()
    assert list(frame.columns) == ["n", "value", "low", "high"]
    assert frame.loc["sw", "value"] == data["languages"]["sw"]["value"]


def test_a_regressor_is_scored_by_r2_even_on_whole_numbers(task):
    y = np.round(task.target)
    model = AlignedRegressor(LanguageCentering()).fit(task.X, y, language=task.language)
    found = report(model, task, y)
    assert found.scores.metric == "r2"
    assert found.scores.macro.value > 0.9
    assert found.absent == {}
    assert report(model, task, y, metric="spearman").scores.metric == "spearman"


def test_f1_is_taken_where_asked_for(model, task):
    assert report(model, task, metric="f1_macro").scores.macro.value < 1


def test_a_pipeline_gets_the_language(task):
    pipeline = make_pipeline(LanguageCentering(), LogisticRegression())
    with config_context(enable_metadata_routing=True):
        pipeline.fit(task.X, task.y, language=task.language)
    assert report(pipeline, task).scores.macro.value == 1.0


def test_a_pipeline_that_takes_no_language_gets_none(task):
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(task.X, task.y)
    found = report(pipeline, task).scores.per_language
    for name, estimate in found.items():
        own = task.language == name
        assert estimate.value == pipeline.score(task.X[own], task.y[own])


@pytest.mark.usefixtures("own_score_is_told")
@pytest.mark.parametrize("kind", ["pipeline", "aligned head"])
def test_of_a_search_the_best_is_reported(kind, task):
    order = np.random.default_rng(0).permutation(len(task.X))
    X, y, language = task.X[order], task.masked[order], task.language[order]
    if kind == "pipeline":
        y = task.y[order]
        model, grid = make_pipeline(LanguageCentering(), LogisticRegression()), "logisticregression"
    else:
        model = AlignedClassifier(LanguageCentering(), LogisticRegression(), missing_label="")
        grid = "head"
    with config_context(enable_metadata_routing=True):
        search = GridSearchCV(model, {f"{grid}__C": [0.1, 1.0]}, cv=2)
        search.fit(X, y, language=language)
    found = LanguageReport.of(
        search,
        X,
        y if kind == "pipeline" else task.y[order],
        **{"language": language, "pair_id": task.pair_id[order]},
    )
    assert found.scores.macro.value == found.scores.source.value == 1.0


class Shifted(BaseEstimator):
    """A model that asks for no metadata, but whose predict takes a language."""

    def predict(self, X, language=None):
        assert language is not None
        return np.where(np.asarray(language) == "sw", "yes", "no")


def test_a_model_whose_predict_takes_a_language_gets_it(task):
    found = report(Shifted(), task).scores.per_language
    assert found["sw"].value == np.mean(task.y[task.language == "sw"] == "yes")


def test_a_head_alone_and_a_frame_with_an_index_are_scored_too(model, task):
    import pandas as pd

    head = LogisticRegression().fit(task.X, task.y)
    assert report(head, task).scores.source.value == np.mean(
        head.predict(task.X[task.english]) == task.y[task.english]
    )
    frame = pd.DataFrame(task.X, index=pd.Index(task.language, name="language"))
    found = LanguageReport.of(model, frame, task.y, pair_id=task.pair_id)
    assert found == report(model, task)


def test_tensors_are_reported_as_arrays_are(model, task):
    import torch

    y = np.where(np.arange(len(task.y)) % 4 == 0, "", task.y)
    given = {"language": task.language, "pair_id": task.pair_id}
    found = LanguageReport.of(model, torch.as_tensor(task.X), y, **given)
    assert found == report(model, task, y)


def test_what_is_missing_is_named(model, task, monkeypatch):
    with pytest.raises(ValueError, match="needs the language of each row: pass language="):
        LanguageReport.of(model, task.X, task.y)
    with pytest.raises(ValueError, match=r"source='fr' is not among the languages.*'de', 'en', 's"):
        report(model, task, source="fr")
    found = report(model, task)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r'pip install "posthoc-align\[io\]"'):
        found.to_frame()
