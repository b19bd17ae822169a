"""Wrong input to an aligned head: what came, what was expected, what to do."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from posthoc_align import (
    AlignedClassifier,
    AlignedRegressor,
    Anchored,
    AutoAligner,
    LanguageCentering,
    PivotAligner,
    TaskProjection,
)


@pytest.fixture
def fitted(task):
    model = AlignedClassifier(LanguageCentering(), missing_label="")
    return model.fit(task.X, task.masked, language=task.language)


def test_rows_without_any_label_are_refused(task):
    model = AlignedClassifier(LanguageCentering(), missing_label="")
    with pytest.raises(ValueError, match=r"missing_label=''.*all 120 rows.*Pass labels"):
        model.fit(task.X, np.full(len(task.X), ""), language=task.language)


def test_missing_labels_must_be_announced(task):
    y = np.where(task.english, task.target, np.nan)
    with pytest.raises(ValueError, match=r"NaN or None in 80 rows, first in row 40.*numpy\.nan"):
        AlignedRegressor(LanguageCentering()).fit(task.X, y, language=task.language)
    with pytest.raises(ValueError, match=r"80 rows.*missing_label=-1.*Give unlabelled rows that"):
        AlignedRegressor(LanguageCentering(), missing_label=-1).fit(
            task.X, y, language=task.language
        )


def test_labels_that_do_not_fit_the_rows_are_refused(task):
    with pytest.raises(ValueError, match=r"y has shape \(3,\) but X has 120 rows.*one label a row"):
        AlignedClassifier(LanguageCentering()).fit(task.X, [0, 1, 0])
    with pytest.raises(ValueError, match="target y is None"):
        AlignedClassifier(LanguageCentering()).fit(task.X, None)


def test_a_language_that_was_not_in_fit_is_refused_at_predict(fitted, task):
    with pytest.raises(ValueError, match=r"Unseen language \['fr'\].*fitted on \['de', 'en', 'sw"):
        fitted.predict(task.X[:2], language="fr")


def test_a_language_that_is_not_given_is_missed_at_predict(fitted, task):
    for method in ("predict", "predict_proba"):
        with pytest.raises(ValueError, match=r"fitted on 3 languages.*got no language"):
            getattr(fitted, method)(task.X[:2])


def test_labelled_rows_of_a_language_without_anchors_are_refused(task):
    anchors = task.language != "sw"
    model = AlignedClassifier(LanguageCentering(), missing_label="")
    with pytest.raises(ValueError, match=r"\['sw'\].*X_anchor.*add anchors of them"):
        model.fit(
            task.X,
            task.y,
            language=task.language,
            X_anchor=task.X[anchors],
            language_anchor=task.language[anchors],
        )


def test_labels_of_anchors_need_anchors(task):
    with pytest.raises(ValueError, match=r"no anchors: pass X_anchor"):
        AlignedClassifier(LanguageCentering()).fit(
            task.X, task.y, language=task.language, language_anchor=task.language
        )


def test_classes_that_the_head_never_saw_are_named(fitted, task):
    y = np.where(np.arange(len(task.y)) == 0, "maybe", task.y)
    with pytest.warns(UserWarning, match=r"\['maybe'\] that the head never saw, only \['no', 'ye"):
        found = fitted.score(task.X, y, language=task.language)
    assert found == pytest.approx(1 - 1 / len(y))


def test_an_aligner_that_uses_y_refuses_rows_without_it(task):
    given = {"language": task.language}
    model = AlignedClassifier(LanguageCentering(class_balanced=True), missing_label="")
    with pytest.raises(ValueError, match=r"y is missing.*80 rows.*class_balanced=True"):
        model.fit(task.X, task.masked, **given)
    model = AlignedClassifier(TaskProjection(missing_label="none"), missing_label="")
    with pytest.raises(ValueError, match=r"missing_label=''.*aligner has missing_label='none'"):
        model.fit(task.X, task.masked, **given)


def test_weights_need_a_head_that_takes_them(task):
    model = AlignedClassifier("passthrough", KNeighborsClassifier())
    with pytest.raises(TypeError, match=r"KNeighborsClassifier\.fit takes none: leave it out"):
        model.fit(task.X, task.y, sample_weight=np.ones(len(task.X)))


@pytest.mark.parametrize("head", ["logistic", LogisticRegression, 3])
def test_a_head_that_is_no_estimator_is_refused(head, task):
    with pytest.raises(TypeError, match="is no estimator: give one of scikit-learn's"):
        AlignedClassifier("passthrough", head).fit(task.X, task.y)


def test_a_bad_row_is_named_whatever_the_head(fitted, task):
    X = task.X.copy()
    X[7, 1] = np.nan
    with pytest.raises(ValueError, match="NaN, first in row 7"):
        fitted.predict(X, language=task.language)
    with pytest.raises(ValueError, match="NaN, first in row 7"):
        AlignedClassifier("passthrough").fit(X, task.y)


def test_a_method_the_head_has_not_is_named():
    with pytest.raises(AttributeError, match="no attribute 'decision_function'") as raised:
        _ = AlignedClassifier("passthrough", KNeighborsClassifier()).decision_function
    assert "KNeighborsClassifier, has no decision_function" in str(raised.value.__cause__)


@pytest.mark.parametrize(
    "y", [[1, "1", 2] * 40, np.array(["no", "yes", 2] * 40, object)], ids=["list", "objects"]
)
def test_labels_of_several_kinds_are_refused(y, task):
    with pytest.raises(ValueError, match=r"several kinds, \['int', 'str'\].*Make them all text or"):
        AlignedClassifier("passthrough").fit(task.X, y)


def test_nan_in_a_list_of_text_is_no_class(task):
    y = [label or np.nan for label in task.masked.tolist()]
    with pytest.raises(ValueError, match="NaN or None in 80 rows, first in row 40"):
        AlignedClassifier("passthrough").fit(task.X, y)


@pytest.mark.parametrize("estimator", ["the head", "the aligner"])
def test_a_marker_that_no_row_can_have_is_refused(estimator, task):
    def fit(marker, y):
        if estimator == "the aligner":
            return TaskProjection(missing_label=marker).fit(task.X, y, language=task.language)
        return AlignedClassifier("passthrough", missing_label=marker).fit(task.X, y)

    says = "missing_label=-1, but y holds text, .*Mark rows without one by text or NaN"
    for y in (task.y, task.y.astype(object), task.y.tolist()):
        with pytest.raises(ValueError, match=says):
            fit(-1, y)
    with pytest.raises(ValueError, match="missing_label='', but y holds numbers, .*by a number"):
        fit("", np.arange(120) % 2)
    assert list(fit(-1, [label or -1 for label in task.masked.tolist()]).classes_) == ["no", "yes"]


def test_weights_of_another_length_are_refused_in_scores_too(fitted, task):
    regressor = AlignedRegressor("passthrough").fit(task.X, task.target)
    for model, y, given in (
        (fitted, task.y, {"language": task.language}),
        (regressor, task.target, {}),
    ):
        with pytest.raises(ValueError, match=r"sample_weight has shape \(3,\) but X has 120 rows"):
            model.score(task.X, y, sample_weight=[1, 2, 3], **given)


@pytest.mark.parametrize(
    ("aligner", "says"),
    [
        ("centring", "'centring' is no aligner: give an estimator with fit and transform, such as"),
        (LanguageCentering, r"is a class and no aligner yet: give an instance.*Centering\(\)"),
        (LogisticRegression(), r"LogisticRegression\(\) is no aligner"),
    ],
    ids=["name", "class", "classifier"],
)
def test_what_is_no_aligner_is_refused(aligner, says, task):
    given = {"language": task.language}
    with pytest.raises(TypeError, match=says):
        AlignedClassifier(aligner).fit(task.X, task.y, **given)
    with pytest.raises(TypeError, match=says):
        Anchored(aligner).fit(task.X, **given)
    with pytest.raises(TypeError, match=says):
        AutoAligner(candidates={"mine": aligner}).fit(task.X, pair_id=task.pair_id, **given)


def test_anchors_without_pair_ids_are_told_apart_from_rows_without_them(task):
    with pytest.raises(ValueError, match="X_anchor came without their ids: pass pair_id_anchor="):
        AlignedClassifier(PivotAligner()).fit(
            task.X,
            task.y,
            language=task.language,
            pair_id=task.pair_id,
            X_anchor=task.X,
            language_anchor=task.language,
        )
