"""A head on aligned rows works in languages it saw no label of, and is never told a wrong one."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, RidgeClassifier
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from posthoc_align import (
    LSAR,
    AlignedClassifier,
    AlignedRegressor,
    LanguageCentering,
    LanguageScaling,
    LanguageWhitening,
    LinearMap,
    PivotAligner,
    TaskProjection,
)


def english_head(**options):
    return AlignedClassifier(LanguageCentering(), missing_label="", **options)


def test_a_head_that_saw_english_labels_works_in_every_language(task):
    model = english_head().fit(task.X, task.masked, language=task.language)
    assert model.score(task.X, task.y, language=task.language) == 1.0
    # Without alignment the languages lie elsewhere: a constant answer, right half of the time.
    plain = AlignedClassifier("passthrough", missing_label="").fit(task.X, task.masked)
    assert plain.score(task.X[~task.english], task.y[~task.english]) < 0.8


def test_it_is_the_aligner_on_all_rows_and_the_head_on_labelled_ones(task):
    model = english_head().fit(task.X, task.masked, language=task.language)
    aligner = LanguageCentering().fit(task.X, language=task.language)
    Z = model.scale_ * aligner.transform(task.X, language=task.language)
    head = LogisticRegression(max_iter=1000).fit(Z[task.english], task.y[task.english])
    np.testing.assert_allclose(
        model.predict_proba(task.X, language=task.language), head.predict_proba(Z), rtol=1e-9
    )
    np.testing.assert_array_equal(model.classes_, ["no", "yes"])
    assert is_classifier(model)
    assert not is_regressor(model)


def test_labelled_rows_are_brought_to_length_three(task):
    model = english_head().fit(task.X, task.masked, language=task.language)
    Z = model.scale_ * model.aligner_.transform(task.X, language=task.language)[task.english]
    length = np.sqrt(np.mean(np.sum((Z - Z.mean(axis=0)) ** 2, axis=1)))
    np.testing.assert_allclose(length, 3.0)


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_the_length_of_embeddings_does_not_matter(factor, task):
    fitted = [
        english_head().fit(f * task.X, task.masked, language=task.language) for f in (1.0, factor)
    ]
    first, second = (
        model.predict_proba(f * task.X, language=task.language)
        for model, f in zip(fitted, (1.0, factor), strict=True)
    )
    np.testing.assert_allclose(first, second, atol=1e-6)  # the solver stops at 1e-4


def test_weights_are_as_repeated_rows(task):
    X, y = task.X[task.english], task.y[task.english]
    times = np.random.default_rng(1).integers(0, 4, len(X))
    exact = AlignedClassifier("passthrough", LogisticRegression(tol=1e-10, max_iter=5000))
    weighted = clone(exact).fit(X, y, sample_weight=times)
    repeated = clone(exact).fit(np.repeat(X, times, 0), np.repeat(y, times))
    np.testing.assert_allclose(weighted.scale_, repeated.scale_)
    np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), atol=1e-6)
    assert weighted.score(X, y, sample_weight=times) == repeated.score(
        np.repeat(X, times, 0), np.repeat(y, times)
    )


def test_equal_rows_are_left_at_their_length():
    model = AlignedRegressor("passthrough").fit(np.ones((4, 2)), np.arange(4.0))
    assert model.scale_ == 1.0


def test_the_aligner_is_fitted_on_anchors_where_there_are_some(task):
    anchors = np.vstack([task.X + 1.0, task.X - 1.0])
    where = np.tile(task.language, 2)
    given = {"X_anchor": anchors, "language_anchor": where}
    rows = task.X[task.english][:6]
    model = english_head().fit(rows, task.y[task.english][:6], language="en", **given)
    expected = LanguageCentering().fit(anchors, language=where)
    np.testing.assert_allclose(
        model.aligner_.transform(task.X, language=task.language),
        expected.transform(task.X, language=task.language),
    )
    assert model.score(task.X, task.y, language=task.language) == 1.0
    tupled = {name: (value,) for name, value in given.items()}
    again = english_head().fit(rows, task.y[task.english][:6], language="en", **tupled)
    np.testing.assert_array_equal(again.head_.coef_, model.head_.coef_)


def test_anchors_may_be_pairs(task):
    aligner = PivotAligner(LinearMap(penalty=1e-3), pivot="en")
    model = AlignedClassifier(aligner).fit(
        task.X[task.english],
        task.y[task.english],
        language="en",
        X_anchor=task.X,
        language_anchor=task.language,
        pair_id_anchor=task.pair_id,
    )
    assert model.score(task.X, task.y, language=task.language) == 1.0


def test_pairs_may_be_among_the_rows_of_the_task(task):
    model = AlignedClassifier(PivotAligner(pivot="en"), missing_label="")
    model.fit(task.X, task.masked, language=task.language, pair_id=task.pair_id)
    assert model.score(task.X, task.y, language=task.language) == 1.0


def test_the_aligner_may_be_a_pipeline(task):
    aligner = make_pipeline(LanguageCentering(), LanguageScaling(anchor="pooled"), PCA(3))
    model = AlignedClassifier(aligner, missing_label="")
    model.fit(task.X, task.masked, language=task.language)
    assert model.score(task.X, task.y, language=task.language) == 1.0


HEADS = [
    LogisticRegression(),
    RidgeClassifier(),
    SVC(),
    KNeighborsClassifier(),
    RandomForestClassifier(n_estimators=10, random_state=0),
    make_pipeline(PCA(3), LogisticRegression()),
    GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2),
]


@pytest.mark.parametrize("head", HEADS, ids=lambda h: type(h).__name__)
def test_any_classifier_will_do(head, task):
    model = AlignedClassifier(LanguageCentering(), head, missing_label="")
    for method in ("predict_proba", "decision_function"):
        assert hasattr(model, method) == hasattr(head, method)
    model.fit(task.X, task.masked, language=task.language)
    assert model.score(task.X, task.y, language=task.language) == 1.0
    for method in ("predict_proba", "decision_function"):
        assert hasattr(model, method) == hasattr(model.head_, method)
        if hasattr(model, method):
            assert len(getattr(model, method)(task.X, language=task.language)) == len(task.X)


@pytest.mark.parametrize("head", [None, Ridge(0.1), LinearRegression()], ids=repr)
def test_a_regressor_carries_over_to_other_languages(head, task):
    y = np.where(task.english, task.target, np.nan)
    model = AlignedRegressor(LanguageCentering(), head, missing_label=np.nan)
    model.fit(task.X, y, language=task.language)
    assert model.score(task.X, task.target, language=task.language) > 0.95
    raw = AlignedRegressor("passthrough", head, missing_label=np.nan).fit(task.X, y)
    assert raw.score(task.X, task.target) < 0
    assert is_regressor(model)


def test_several_targets_are_predicted_at_once(task):
    y = np.column_stack([task.target, -task.target])
    y[~task.english, 1] = np.nan  # one is enough to make a row unlabelled
    model = AlignedRegressor(LanguageCentering(), missing_label=np.nan)
    found = model.fit(task.X, y, language=task.language).predict(task.X, language=task.language)
    assert found.shape == y.shape
    np.testing.assert_allclose(found[:, 0], -found[:, 1])


MARKERS = [
    ("", lambda y: y),
    (None, lambda y: np.where(y == "", "no", y)),  # every row labelled
    (-1, lambda y: np.select([y == "no", y == "yes"], [0, 1], -1)),
    (np.nan, lambda y: np.select([y == "no", y == "yes"], [0.0, 1.0], np.nan)),
    (np.nan, lambda y: [v or None for v in y]),
]


@pytest.mark.parametrize(("marker", "mark"), MARKERS)
def test_the_marker_says_which_rows_have_no_label(marker, mark, task):
    y = mark(task.masked)
    model = AlignedClassifier(LanguageCentering(), missing_label=marker)
    model.fit(task.X, y, language=task.language)
    whole = marker is None
    labelled = np.ones(len(task.X), bool) if whole else task.english
    classes = np.unique(np.asarray([v for v, has in zip(y, labelled, strict=True) if has]))
    np.testing.assert_array_equal(model.classes_, classes)
    assert model.score(task.X, y, language=task.language) > (0.6 if whole else 0.99)


def test_minus_one_is_a_class_unless_said_otherwise(task):
    y = np.where(task.y == "no", -1, 1)
    model = AlignedClassifier(LanguageCentering()).fit(task.X, y, language=task.language)
    np.testing.assert_array_equal(model.classes_, [-1, 1])


def test_an_aligner_that_knows_of_unlabelled_rows_gets_the_labels(task):
    aligner = TaskProjection(missing_label="")
    model = AlignedClassifier(aligner, missing_label="")
    model.fit(task.X, task.masked, language=task.language)
    assert model.aligner_.classes_ == ["no", "yes"]
    assert model.score(task.X, task.y, language=task.language) > 0.9


def test_head_and_aligner_may_both_mark_rows_by_nan(task):
    by_text = AlignedClassifier(TaskProjection(missing_label=""), missing_label="")
    expected = by_text.fit(task.X, task.masked, language=task.language).predict_proba(task.X)
    model = AlignedClassifier(TaskProjection(missing_label=np.nan), missing_label=np.nan)
    y = np.array([label or None for label in task.masked.tolist()], dtype=object)
    model.fit(task.X, y, language=task.language)
    np.testing.assert_array_equal(model.predict_proba(task.X), expected)


def test_several_labels_a_row_are_scored_where_all_are_right(task):
    y = np.column_stack([task.y == "yes", task.y == "no"]).astype(int)
    model = AlignedClassifier(LanguageCentering(), KNeighborsClassifier())
    model.fit(task.X, y, language=task.language)
    wrong = y.copy()
    wrong[:30, 0] = 1 - wrong[:30, 0]
    assert model.score(task.X, y, language=task.language) == 1.0
    assert model.score(task.X, wrong, language=task.language) == 0.75


def test_fitting_changes_no_parameter_and_the_model_can_be_copied(task):
    aligner, head = LanguageCentering(), LogisticRegression()
    model = AlignedClassifier(aligner, head, missing_label="")
    model.fit(task.X, task.masked, language=task.language)
    assert not hasattr(aligner, "means_")
    assert not hasattr(head, "coef_")
    same = pickle.loads(pickle.dumps(model))
    fresh = clone(model).fit(task.X, task.masked, language=task.language)
    expected = model.predict_proba(task.X, language=task.language)
    for other in (same, fresh):
        np.testing.assert_array_equal(other.predict_proba(task.X, language=task.language), expected)


def test_a_search_goes_over_aligners_and_heads(task):
    order = np.random.default_rng(0).permutation(len(task.X))
    X, y, language = task.X[order], task.y[order], task.language[order]
    grid = {
        "aligner": ["passthrough", LanguageCentering(), LanguageWhitening()],
        "head__C": [1e-6, 1.0],
    }
    model = AlignedClassifier("passthrough", LogisticRegression())
    with config_context(enable_metadata_routing=True):
        search = GridSearchCV(model, grid, cv=3).fit(X, y, language=language)
        assert search.score(X, y, language=language) == 1.0
    assert search.best_params_["aligner"] != "passthrough"
    nested = GridSearchCV(
        AlignedClassifier(LanguageCentering(), LogisticRegression()),
        {"aligner__anchor": ["origin", "pooled"]},
        cv=3,
    )
    with config_context(enable_metadata_routing=True):
        assert nested.fit(X, y, language=language).best_score_ == 1.0


def test_cross_validation_routes_language_and_leaves_anchors_whole(task):
    order = np.random.default_rng(0).permutation(len(task.X))
    X, y, language = task.X[order], task.y[order], task.language[order]
    given = {"language": language, "X_anchor": (X,), "language_anchor": (language,)}
    model = AlignedClassifier(LanguageCentering())
    with config_context(enable_metadata_routing=True):
        assert cross_val_score(model, X, y, cv=3, params=given).min() == 1.0


def test_without_routing_a_lost_language_is_an_error_and_no_score(task):
    model = AlignedClassifier(LanguageCentering())
    with pytest.warns(UserWarning, match=r"(?s)Scoring failed.*got no language"):
        found = cross_val_score(model, task.X, task.y, params={"language": task.language})
    assert np.isnan(found).all()


def test_the_language_may_be_in_the_index_of_a_frame(task):
    import pandas as pd

    frame = pd.DataFrame(task.X, index=pd.Index(task.language, name="language"))
    frame.columns = [f"x{i}" for i in range(frame.shape[1])]
    model = english_head().fit(frame, task.masked)
    assert model.score(frame, task.y) == 1.0
    order = np.random.default_rng(0).permutation(len(frame))
    scores = cross_val_score(
        AlignedClassifier(LanguageCentering()), frame.iloc[order], task.y[order], scoring="accuracy"
    )
    assert scores.min() == 1.0


@pytest.mark.parametrize("aligner", [LanguageCentering(), LSAR(), "passthrough"], ids=repr)
def test_a_tensor_is_predicted_as_the_array_is(aligner, task):
    import torch

    X = torch.as_tensor(task.X)
    given = {"language": task.language}
    on_host = AlignedClassifier(aligner, missing_label="").fit(task.X, task.masked, **given)
    model = AlignedClassifier(aligner, missing_label="").fit(X, task.masked, **given)
    found = model.predict_proba(X, **given)
    assert isinstance(found, np.ndarray)  # what a head of scikit-learn returns without dispatch
    np.testing.assert_allclose(found, on_host.predict_proba(task.X, **given), rtol=1e-8)
    codes = torch.as_tensor(np.where(task.english, task.y == "yes", -1).astype(np.int64))
    model = AlignedClassifier(aligner, missing_label=-1).fit(X, codes, **given)
    np.testing.assert_array_equal(model.classes_, [0, 1])
    narrow = AlignedClassifier(LanguageCentering(), missing_label=-1)
    narrow.fit(X.bfloat16(), codes, **given)
    assert narrow.score(X.bfloat16(), task.y == "yes", **given) > 0.9
