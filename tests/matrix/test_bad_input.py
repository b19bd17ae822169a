"""What cannot be right is refused in words: what came, what was expected, what to do."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.model_selection import KFold, cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline

from posthoc_align import (
    AlignedClassifier,
    AlignedRegressor,
    Anchored,
    LanguageCentering,
    LanguageReport,
    PivotAligner,
    make_language_scorer,
)
from posthoc_align.model_selection import PairGroupKFold, ZeroShotSplit, check_no_leakage


@pytest.fixture
def s(setting):
    return setting("PivotAligner", "routing")


def test_a_class_that_the_head_never_saw_is_named_and_counts_as_wrong(s):
    y = np.array(["no", "yes"])[s.y]
    model = AlignedClassifier(LanguageCentering(), GaussianNB(), missing_label="")
    known = np.where((s.language == "en") | (y == "no"), y, "")
    model.fit(s.X, known, language=s.language)
    later = np.where((s.language == "sw") & (y == "yes"), "perhaps", y)
    with pytest.warns(UserWarning, match=r"\['perhaps'\].*only \['no', 'yes'\].*count as wrong"):
        score = model.score(s.X, later, language=s.language)
    assert score == pytest.approx(np.mean(later != "perhaps"))
    report = LanguageReport.of(model, s.X, later, language=s.language)
    assert "the head never saw ['perhaps']" in str(report)


@pytest.mark.parametrize("inner", [LanguageCentering(), PivotAligner()], ids=repr)
def test_a_language_with_labels_but_without_anchors_is_named(inner, s):
    there = s.language != "sw"
    anchors = {
        "X_anchor": (s.X[there],),
        "language_anchor": (s.language[there],),
        "pair_id_anchor": (s.fit["pair_id"][there],),
    }
    says = r"Languages \['sw'\] of X .* X_anchor, \['de', 'en'\]: add anchors of them, leave"
    for model in (
        AlignedClassifier(inner, GaussianNB()),
        make_pipeline(Anchored(inner), GaussianNB()),
    ):
        with pytest.raises(ValueError, match=says):
            model.fit(s.X, s.y, language=s.language, **anchors)
        model.fit(s.X[there], s.y[there], language=s.language[there], **anchors)
        with pytest.raises(ValueError, match=r"Unseen language.*'sw'.*'de', 'en'"):
            model.predict(s.X, language=s.language)


def test_translations_on_both_sides_of_a_fold_are_an_error(s):
    ids = s.fit["pair_id"]
    train, test = next(KFold(4, shuffle=True, random_state=0).split(s.X))
    says = r"test rows translate training rows \(pair ids .*PairGroupKFold, or ZeroShotSplit"
    with pytest.raises(ValueError, match=says):
        check_no_leakage(train, test, ids)
    with pytest.raises(ValueError, match=says):
        list(ZeroShotSplit("en").split(s.X, language=s.language, pair_id=ids))
    for train, test in PairGroupKFold(4).split(s.X, s.y, pair_id=ids):
        check_no_leakage(train, test, ids)


def test_folds_by_sentence_get_pair_ids_and_the_model_its_language(s):
    found = cross_val_score(
        s.model,
        s.X,
        s.y,
        cv=PairGroupKFold(2),
        scoring=make_language_scorer("accuracy"),
        params=s.fit,
        error_score="raise",
    )
    assert found.tolist() == [1.0, 1.0]
    with pytest.raises(ValueError, match=r"PairGroupKFold got no pair_id.*params=\{'pair_id'"):
        cross_val_score(
            make_pipeline(LanguageCentering(), GaussianNB()),
            s.X,
            s.y,
            cv=PairGroupKFold(2),
            params={"language": s.language},
        )


@pytest.mark.parametrize(
    ("kind", "y", "missing"),
    [(AlignedClassifier, "", ""), (AlignedRegressor, np.nan, np.nan)],
    ids=["classes", "numbers"],
)
def test_rows_of_which_none_has_a_label_are_refused(kind, y, missing, s):
    model = kind(LanguageCentering(), missing_label=missing)
    with pytest.raises(
        ValueError, match="y is missing .missing_label=.* in all 60 rows.*Pass labels"
    ):
        model.fit(s.X, np.full(len(s.y), y), language=s.language)


def test_a_language_that_was_not_in_fit_is_named_at_predict(light, setting):
    s = setting(light, "routing")
    model = s.model.fit(s.X, s.y, **s.fit)
    if s.needs_language:
        with pytest.raises(ValueError, match=r"Unseen language.*'fi'.*'de', 'en', 'sw'"):
            model.predict(s.X[:2], language=["en", "fi"])
    else:  # what treats all alike treats the new one so, too
        told = model.predict_proba(s.X[:2], language=["en", "de"])
        found = model.predict_proba(s.X[:2], language=["en", "fi"])
        np.testing.assert_array_equal(found, told)


def test_labels_of_another_length_are_refused_on_their_way(light, setting):
    s = setting(light, "routing")
    model = s.model.fit(s.X, s.y, **s.fit)
    for ask in (model.predict, model.predict_proba):
        with pytest.raises(ValueError, match=r"language has shape \(59,\) but X has 60 rows: pass"):
            ask(s.X, language=s.language[:-1])
