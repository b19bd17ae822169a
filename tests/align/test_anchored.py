"""Anchors teach the aligner, the task's rows are only transformed, also inside a pipeline."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import config_context
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from posthoc_align import (
    LEACE,
    LSAR,
    Anchored,
    Blend,
    ConsensusAligner,
    DoNoHarm,
    LanguageCentering,
    LanguageScaling,
    LinearMap,
    PivotAligner,
    Procrustes,
    TaskProjection,
    freeze,
)

D, N_ANCHORS, N = 5, 40, 30
LANGUAGES = ["en", "de"]


def rows(n, seed, shift=9.0):
    """Rows of two languages by turns, the second one shifted."""
    language = np.array(LANGUAGES * (n // 2))
    X = np.random.default_rng(seed).normal(size=(n, D))
    return X + shift * (language == "de")[:, None], language


X_ANCHOR, LANGUAGE_ANCHOR = rows(N_ANCHORS, seed=1)
ID_ANCHOR = np.repeat(np.arange(N_ANCHORS // 2), 2)
X, LANGUAGE = rows(N, seed=2)
Y = np.random.default_rng(3).integers(0, 2, N)
ANCHORS = {
    "X_anchor": (X_ANCHOR,),
    "language_anchor": (LANGUAGE_ANCHOR,),
    "pair_id_anchor": (ID_ANCHOR,),
}


@pytest.mark.parametrize(
    "aligner", [LanguageCentering(), LSAR(), PivotAligner(), PivotAligner(LinearMap())]
)
@pytest.mark.parametrize("wrap", [True, False])
def test_it_does_what_the_aligner_does_that_saw_the_anchors_alone(aligner, wrap, as_kind, rows_of):
    anchors = {name: value if wrap else value[0] for name, value in ANCHORS.items()}
    anchored = Anchored(aligner).fit(as_kind(X), language=LANGUAGE, **anchors)
    given = {"pair_id": ID_ANCHOR} if isinstance(aligner, PivotAligner) else {}
    alone = clone(aligner).fit(X_ANCHOR, language=LANGUAGE_ANCHOR, **given)
    expected = alone.transform(as_kind(X), language=LANGUAGE)
    Z = anchored.transform(as_kind(X), language=LANGUAGE)
    np.testing.assert_array_equal(rows_of(Z), rows_of(expected))
    assert type(Z) is type(as_kind(X))
    assert anchored.languages_ == ["de", "en"]


def test_the_task_s_rows_teach_the_aligner_nothing():
    one = Anchored(LanguageCentering()).fit(X, language=LANGUAGE, **ANCHORS)
    other = Anchored(LanguageCentering()).fit(50 * X[:6], language=LANGUAGE[:6], **ANCHORS)
    np.testing.assert_array_equal(one.aligner_.means_, other.aligner_.means_)
    own = LanguageCentering().fit(X, language=LANGUAGE)  # the control: other rows, other means
    assert np.abs(one.aligner_.means_ - own.means_).max() > 0.05


def test_without_anchors_it_is_fitted_on_the_task_s_rows():
    ids = np.repeat(np.arange(N // 2), 2)
    anchored = Anchored(PivotAligner()).fit(X, language=LANGUAGE, pair_id=ids)
    alone = PivotAligner().fit(X, language=LANGUAGE, pair_id=ids)
    for method in ("transform", "inverse_transform"):
        if hasattr(alone, method):
            expected = getattr(alone, method)(X, language=LANGUAGE)
            np.testing.assert_array_equal(getattr(anchored, method)(X, language=LANGUAGE), expected)


def test_classes_reach_an_aligner_that_is_fitted_on_the_task_s_rows():
    anchored = Anchored(TaskProjection()).fit(X, Y, language=LANGUAGE)
    expected = TaskProjection().fit(X, Y, language=LANGUAGE)
    np.testing.assert_array_equal(anchored.transform(X), expected.transform(X))
    assert list(anchored.get_feature_names_out()) == ["taskprojection0"]
    assert Anchored(TaskProjection()).__sklearn_tags__().target_tags.required


def test_fit_transform_is_fit_and_then_transform():
    Z = Anchored(LanguageCentering()).fit_transform(X, language=LANGUAGE, **ANCHORS)
    fitted = Anchored(LanguageCentering()).fit(X, language=LANGUAGE, **ANCHORS)
    np.testing.assert_array_equal(Z, fitted.transform(X, language=LANGUAGE))
    back = fitted.inverse_transform(Z, language=LANGUAGE)
    np.testing.assert_allclose(back, X)
    for a, b in zip(fitted.decompose(X, language=LANGUAGE), (Z, X - Z), strict=True):
        np.testing.assert_allclose(a, b)


def test_a_frozen_aligner_keeps_what_it_learned():
    frozen = freeze(LanguageCentering().fit(X, language=LANGUAGE))
    anchored = Anchored(frozen).fit(X, language=LANGUAGE, **ANCHORS)
    np.testing.assert_array_equal(anchored.aligner_.means_, frozen.means_)


def test_anchors_may_be_of_another_kind_than_the_rows():
    anchors = {**ANCHORS, "X_anchor": (torch.as_tensor(X_ANCHOR),)}
    Z = Anchored(LanguageCentering()).fit_transform(X, language=LANGUAGE, **anchors)
    expected = Anchored(LanguageCentering()).fit_transform(X, language=LANGUAGE, **ANCHORS)
    np.testing.assert_allclose(Z, expected)


def test_languages_of_both_may_stand_in_an_index():
    frame = pd.DataFrame(X, index=pd.Index(LANGUAGE, name="language"))
    anchors = pd.DataFrame(X_ANCHOR, index=pd.Index(LANGUAGE_ANCHOR, name="language"))
    anchored = Anchored(LanguageCentering(), language_from="index")
    Z = anchored.fit_transform(frame, X_anchor=(anchors,))
    expected = Anchored(LanguageCentering()).fit_transform(X, language=LANGUAGE, **ANCHORS)
    np.testing.assert_array_equal(Z, expected)
    with pytest.raises(ValueError, match="set_output"):
        anchored.transform(X)


# --- in a pipeline ------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [StandardScaler(), PCA(n_components=3)], ids=repr)
def test_anchors_go_through_the_steps_before(before):
    with config_context(enable_metadata_routing=True):
        pipeline = Pipeline(
            [
                ("before", clone(before)),
                ("anchored", Anchored(PivotAligner())),
                ("head", LogisticRegression()),
            ],
            transform_input=["X_anchor"],
        ).fit(X, Y, language=LANGUAGE, **ANCHORS)
        predicted = pipeline.predict(X, language=LANGUAGE)
    step = clone(before).fit(X)
    aligner = PivotAligner().fit(
        step.transform(X_ANCHOR), language=LANGUAGE_ANCHOR, pair_id=ID_ANCHOR
    )
    Z = aligner.transform(step.transform(X), language=LANGUAGE)
    np.testing.assert_array_equal(predicted, LogisticRegression().fit(Z, Y).predict(Z))


def test_anchors_that_skip_a_step_that_changes_the_width_are_refused():
    with config_context(enable_metadata_routing=True):
        pipeline = make_pipeline(PCA(n_components=3), Anchored(PivotAligner()))
        with pytest.raises(ValueError, match=r"X_anchor has 5 .* X has 3.*transform_input=\['X_an"):
            pipeline.fit(X, language=LANGUAGE, **ANCHORS)


class Watched(LanguageCentering):
    """Notes how many rows each fit saw."""

    seen: list[int] = []  # noqa: RUF012  # shared by clones on purpose

    def fit(self, X, y=None, *, language=None):
        self.seen.append(len(X))
        return super().fit(X, y, language=language)


@pytest.mark.usefixtures("own_score_is_told")
@pytest.mark.parametrize("wrap", [True, False], ids=["in a tuple", "bare"])
def test_folds_cut_bare_anchors_as_long_as_x_and_leave_a_tuple_whole(wrap):
    Watched.seen.clear()
    anchors, language = X_ANCHOR[:N], LANGUAGE_ANCHOR[:N]
    given = {"X_anchor": anchors, "language_anchor": language}
    if wrap:
        given = {name: (value,) for name, value in given.items()}
    with config_context(enable_metadata_routing=True):
        pipeline = make_pipeline(Anchored(Watched()), LogisticRegression())
        params = {"language": LANGUAGE, **given}
        cross_val_score(pipeline, X, Y, params=params, cv=3, error_score="raise")
    assert Watched.seen == ([N] * 3 if wrap else [N * 2 // 3] * 3)


# --- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("aligner", "task", "given"),
    [
        (PivotAligner(), {"language": LANGUAGE}, {}),
        (LEACE(), {"language": LANGUAGE}, {}),
        (LanguageCentering(), {}, {}),
        (LSAR(), {}, {"pair_id_anchor": (ID_ANCHOR,)}),
    ],
)
def test_anchors_without_languages_are_refused(aligner, task, given):
    with pytest.raises(ValueError, match="X_anchor came without languages.*pass language_anchor="):
        Anchored(aligner).fit(X, X_anchor=(X_ANCHOR,), **task, **given)


def test_labels_of_anchors_without_anchors_are_refused():
    for name in ("language_anchor", "pair_id_anchor"):
        with pytest.raises(ValueError, match="no anchors: pass X_anchor="):
            Anchored(PivotAligner()).fit(X, language=LANGUAGE, **{name: ANCHORS[name]})


@pytest.mark.parametrize(
    "aligner",
    [PivotAligner(), ConsensusAligner(), DoNoHarm(PivotAligner())],
    ids=lambda a: type(a).__name__,
)
def test_anchors_without_the_ids_an_aligner_needs_are_refused_by_their_own_name(aligner):
    anchors = {**ANCHORS, "pair_id_anchor": None}
    with pytest.raises(ValueError, match="X_anchor came without their ids: pass pair_id_anchor="):
        Anchored(aligner).fit(X, language=LANGUAGE, pair_id=np.arange(N) // 2, **anchors)
    with pytest.raises(ValueError, match="[Pp]ass pair_id="):  # of rows, where these are fitted on
        Anchored(aligner).fit(X, language=LANGUAGE)


def test_labels_of_another_length_are_refused_by_name():
    for name, what in (("language_anchor", "label"), ("pair_id_anchor", "id")):
        short = {**ANCHORS, name: (ANCHORS[name][0][:-1],)}
        says = rf"{name} has shape \(39,\) but X_anchor has 40 rows: pass one {what} a row"
        with pytest.raises(ValueError, match=says):
            Anchored(PivotAligner()).fit(X, language=LANGUAGE, **short)


def test_a_language_of_the_task_that_no_anchor_is_of_is_named():
    swahili = np.where(np.arange(N) < 3, "sw", LANGUAGE)
    says = r"Languages \['sw'\] of X are not among .* \['de', 'en'\]: add anchors"
    ids = ANCHORS["pair_id_anchor"]
    for aligner in (LanguageCentering(), PivotAligner(), Blend(LanguageCentering())):
        given = {**ANCHORS, "pair_id_anchor": None if isinstance(aligner, Blend) else ids}
        with pytest.raises(ValueError, match=says):
            Anchored(aligner).fit(X, language=swahili, **given)


@pytest.mark.parametrize("aligner", [LSAR(), LanguageCentering(unseen="global")], ids=repr)
def test_an_aligner_that_can_do_with_other_languages_may_meet_them(aligner):
    swahili = np.where(np.arange(N) < 3, "sw", LANGUAGE)
    Z = Anchored(aligner).fit_transform(X, language=swahili, **ANCHORS)
    assert Z.shape == X.shape


def test_an_aligner_that_needs_classes_has_no_use_for_anchors():
    with pytest.raises(ValueError, match="classes, which anchors do not have.*Leave X_anchor out"):
        Anchored(TaskProjection()).fit(X, Y, language=LANGUAGE, **ANCHORS)


def test_a_map_between_two_spaces_is_refused_with_its_cure():
    with pytest.raises(TypeError, match=r"Procrustes.fit takes no language.*PivotAligner"):
        Anchored(Procrustes()).fit(X, X)


def test_a_tuple_of_more_than_one_is_refused():
    says = r"X_anchor is a tuple of 2: pass the array itself.*\(X_anchor,\)"
    with pytest.raises(ValueError, match=says):
        Anchored(LSAR()).fit(X, language=LANGUAGE, X_anchor=(X_ANCHOR, X_ANCHOR))


def test_a_transform_without_language_says_what_to_do():
    fitted = Anchored(LanguageCentering()).fit(X, language=LANGUAGE, **ANCHORS)
    with pytest.raises(ValueError, match="make_language_scorer"):
        fitted.transform(X)


def test_a_pipeline_of_aligners_is_fitted_on_the_anchors_and_told_the_languages():
    rng = np.random.default_rng(0)
    anchors, rows = rng.normal(size=(40, 4)), rng.normal(size=(20, 4))
    anchor_language, language = np.repeat(["en", "de"], 20), np.repeat(["de", "en"], 10)
    ids = np.tile(np.arange(20), 2)
    anchored = Anchored(make_pipeline(LanguageScaling(), PivotAligner(LinearMap(penalty=1.0))))
    Z = anchored.fit_transform(
        rows,
        language=language,
        X_anchor=anchors,
        language_anchor=anchor_language,
        pair_id_anchor=ids,
    )
    scaling = LanguageScaling().fit(anchors, language=anchor_language)
    aligner = PivotAligner(LinearMap(penalty=1.0)).fit(
        scaling.transform(anchors, language=anchor_language), language=anchor_language, pair_id=ids
    )
    by_hand = aligner.transform(scaling.transform(rows, language=language), language=language)
    np.testing.assert_allclose(Z, by_hand, atol=1e-12)
    assert anchored.requires_language
    with pytest.raises(ValueError, match=r"\['sw'\] of X are not among those of X_anchor"):
        anchored.fit(
            rows,
            language="sw",
            X_anchor=anchors,
            language_anchor=anchor_language,
            pair_id_anchor=ids,
        )
