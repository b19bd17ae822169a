"""The language arrives wherever scikit-learn takes an aligner, or an error says how to bring it.

The rows are such that it matters: languages lie apart along the direction that tells the classes,
so that a head on rows centred without their language is hardly better than guessing.
"""

from __future__ import annotations

import inspect
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn import config_context
from sklearn.base import TransformerMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import (
    GridSearchCV,
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
)
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import StandardScaler

import posthoc_align
from posthoc_align import (
    INLP,
    LEACE,
    LIR,
    LSAR,
    AllButTheTop,
    Anchored,
    Blend,
    ClusterIsotropy,
    ConceptWhitening,
    ConsensusAligner,
    GaussianTransport,
    Identity,
    LanguageAxes,
    LanguageCentering,
    LanguageScaling,
    LanguageSubspaceShift,
    LanguageWhitening,
    LayerMixing,
    Layerwise,
    LinearMap,
    PivotAligner,
    SelfLearningAligner,
    SharedAligner,
    TaskProjection,
)
from posthoc_align.align._base import LanguageTransformer
from posthoc_align.languages import language_of

N, D = 180, 4
LANGUAGE = np.array(["de", "en", "sw"] * (N // 3))
PAIR_ID = np.repeat(np.arange(N // 3), 3)
Y = np.random.default_rng(0).integers(0, 2, N // 3).repeat(3)
CV = StratifiedKFold(3)


def planted() -> np.ndarray:
    """Classes 2 apart and languages 3 apart along the first axis; noise in the others."""
    X = 0.4 * np.random.default_rng(1).normal(size=(N, D))
    X[:, 0] += 2.0 * Y + 3.0 * np.unique(LANGUAGE, return_inverse=True)[1]
    return X


X = planted()
FRAME = pd.DataFrame(
    X,
    columns=list("abcd"),
    index=pd.MultiIndex.from_arrays([LANGUAGE, np.arange(N)], names=["language", "text"]),
)
REACHED = 0.95  # with the language; 0.5 is guessing
LOST = 0.8  # more than a head reaches that does not know it

TRANSFORMERS = [
    Identity(),
    LanguageCentering(),
    LanguageScaling(),
    LanguageWhitening(),
    GaussianTransport(),
    LIR(),
    LanguageSubspaceShift(to="en"),
    LSAR(rank=1),
    LEACE(),
    LEACE(method="oracle"),
    INLP(n_rounds=1),
    LanguageAxes(),
    AllButTheTop(),
    TaskProjection(),
    ClusterIsotropy(n_clusters=2, random_state=0),
    ConceptWhitening(),
    PivotAligner(),
    SharedAligner(LinearMap()),
    ConsensusAligner(),
    SelfLearningAligner(),
    Blend(LanguageCentering()),
    Layerwise(LanguageCentering(), n_layers=2),
    Anchored(LanguageCentering()),
]
PLAIN = [each for each in TRANSFORMERS if not each.requires_language]
each_transformer = pytest.mark.parametrize("transformer", TRANSFORMERS, ids=repr)


def given(transformer) -> dict:
    """What fit takes beside X, y and language."""
    takes = inspect.signature(transformer.fit).parameters
    wraps = isinstance(transformer, (Blend, Layerwise, Anchored))
    return {"pair_id": PAIR_ID} if "pair_id" in takes and not wraps else {}


def fit(transformer, rows, **labels):
    return clone(transformer).fit(rows, Y, **given(transformer), **labels)


def centred(**parameters):
    return make_pipeline(LanguageCentering(**parameters), LogisticRegression())


def by_hand(train, test) -> np.ndarray:
    """What the pipeline predicts for test rows when all gets its language."""
    aligner = LanguageCentering().fit(X[train], language=LANGUAGE[train])
    head = LogisticRegression().fit(aligner.transform(X[train], language=LANGUAGE[train]), Y[train])
    return head.predict(aligner.transform(X[test], language=LANGUAGE[test]))


def hand_scores() -> list[float]:
    """Accuracy in each fold when all gets its language."""
    return [float(np.mean(by_hand(a, b) == Y[b])) for a, b in CV.split(X, Y)]


def test_the_rows_are_such_that_the_language_matters():
    assert min(hand_scores()) > REACHED
    lost = cross_val_score(centred(), X, Y, cv=CV)  # centred as one language
    assert np.mean(lost) < LOST


# --- the level of an index ----------------------------------------------------------------------


def test_every_language_transformer_is_here():
    kinds = [getattr(posthoc_align, name) for name in posthoc_align.__all__]
    kinds = {k for k in kinds if inspect.isclass(k) and issubclass(k, LanguageTransformer)}
    home = {kind for kind in kinds if kind.__module__.startswith("posthoc_align.align")}
    assert home == {type(transformer) for transformer in TRANSFORMERS}


def same(Z, expected) -> None:
    """Equal to rounding: the numbers of a data frame lie column by column, and sums differ."""
    np.testing.assert_allclose(np.asarray(Z), np.asarray(expected), rtol=1e-9, atol=1e-9)


@each_transformer
@pytest.mark.parametrize("source", [None, "index"])
def test_labels_in_the_index_do_what_labels_passed_do(transformer, source):
    told = fit(transformer, X, language=LANGUAGE)
    expected = told.transform(X, language=LANGUAGE)
    read = fit(clone(transformer).set_params(language_from=source), FRAME)
    same(read.transform(FRAME), expected)
    assert getattr(read, "languages_", None) == getattr(told, "languages_", None)
    if hasattr(read, "partial_fit"):
        same(clone(read).partial_fit(FRAME, Y, **given(transformer)).transform(FRAME), expected)


@each_transformer
def test_both_parts_of_a_row_are_told_by_the_index(transformer):
    told, read = fit(transformer, X, language=LANGUAGE), fit(transformer, FRAME)
    expected = told.decompose(X, language=LANGUAGE)
    for one, other in zip(read.decompose(FRAME), expected, strict=True):
        same(one, other)
    read.set_output(transform="pandas")
    for one, other in zip(read.decompose(FRAME), expected, strict=True):
        same(one, other)


@pytest.mark.parametrize(
    "transformer",
    [
        LanguageCentering(),
        LanguageScaling(),
        LanguageWhitening(),
        LEACE(method="oracle"),
        Blend(LanguageCentering()),
        Layerwise(LanguageCentering()),
        Anchored(LanguageCentering()),
    ],
    ids=repr,
)
def test_the_way_back_is_told_by_the_index(transformer):
    fitted = fit(transformer, FRAME)
    Z = pd.DataFrame(fitted.transform(FRAME), columns=FRAME.columns, index=FRAME.index)
    same(fitted.inverse_transform(Z), FRAME)


@each_transformer
@pytest.mark.parametrize(
    ("rows", "came"),
    [
        (X, "ndarray with no index"),
        (pd.DataFrame(X), r"DataFrame with an index with the levels \[None\]"),
        (pl.DataFrame(X), r"DataFrame with no index.*polars has no index"),
    ],
    ids=["array", "pandas", "polars"],
)
def test_the_strict_mode_refuses_rows_without_the_level(transformer, rows, came):
    strict = clone(transformer).set_params(language_from="index")
    says = rf"X came as a {came}.*set_output\(transform='pandas'\).*pass language="
    with pytest.raises(ValueError, match=says):
        fit(strict, rows)
    fitted = fit(strict, X, language=LANGUAGE)
    if fitted.requires_language:
        with pytest.raises(ValueError, match=says):
            fitted.transform(rows)
    else:  # what needs no label asks for none
        fitted.transform(X)


def test_mixing_layers_reads_the_index_in_fit():
    layers = np.hstack([X, np.random.default_rng(2).normal(size=X.shape)])
    frame = pd.DataFrame(layers, index=FRAME.index)
    told = LayerMixing(n_layers=2).fit(layers, language=LANGUAGE, pair_id=PAIR_ID)
    read = LayerMixing(n_layers=2, language_from="index").fit(frame, pair_id=PAIR_ID)
    np.testing.assert_array_equal(read.weights_, told.weights_)
    with pytest.raises(ValueError, match="came as a ndarray with no index"):
        read.fit(layers, pair_id=PAIR_ID)


@pytest.mark.parametrize("source", [None, "index"])
def test_labels_that_are_passed_win_over_the_index(source):
    other = np.roll(LANGUAGE, 1)
    fitted = LanguageCentering(language_from=source).fit(FRAME, language=other)
    expected = LanguageCentering().fit(X, language=other)
    np.testing.assert_array_equal(fitted.means_, expected.means_)
    np.testing.assert_array_equal(
        fitted.transform(FRAME, language=other), expected.transform(X, language=other)
    )


@pytest.mark.parametrize(
    "index",
    [
        pd.Index(LANGUAGE, name="language"),
        pd.CategoricalIndex(LANGUAGE, name="language"),
        pd.MultiIndex.from_arrays([np.arange(N), LANGUAGE], names=["text", "language"]),
    ],
    ids=["plain", "categories", "levels"],
)
def test_any_index_with_the_level_is_read(index):
    fitted = LanguageCentering(language_from="index").fit(FRAME.set_axis(index))
    assert fitted.languages_ == ["de", "en", "sw"]


def test_an_index_of_another_name_is_not_taken_for_languages():
    frame = FRAME.set_axis(pd.Index(LANGUAGE, name="lang"))
    assert LanguageCentering().fit(frame).languages_ == [None]
    with pytest.raises(ValueError, match=r"levels \['lang'\].*X.index.name = 'language'"):
        LanguageCentering(language_from="index").fit(frame)


def test_a_missing_label_in_the_index_names_its_row():
    labels = LANGUAGE.astype(object)
    labels[5] = None
    frame = FRAME.set_axis(pd.Index(labels, name="language"))
    with pytest.raises(ValueError, match="language is missing .* 1 rows, first in row 5"):
        LanguageCentering().fit(frame)


def test_another_source_is_refused():
    with pytest.raises(ValueError, match="language_from='column' is not known: choose 'index'"):
        LanguageCentering(language_from="column").fit(FRAME)


@pytest.mark.parametrize("rows", [[[1.0]], (1.0, 2.0), np.ones((2, 1)), object()])
def test_things_without_an_index_have_no_labels(rows):
    assert language_of(rows, None) is None
    assert language_of(rows, "en", "index") == "en"


# --- the index survives where metadata does not -------------------------------------------------


@pytest.mark.parametrize("source", [None, "index"])
@pytest.mark.parametrize(
    "scoring", [None, "accuracy", make_scorer(accuracy_score)], ids=["None", "string", "scorer"]
)
def test_every_kind_of_scoring_sees_the_index(source, scoring):
    scores = cross_val_score(centred(language_from=source), FRAME, Y, cv=CV, scoring=scoring)
    np.testing.assert_allclose(scores, hand_scores())


@pytest.mark.slow  # starts two processes
def test_processes_of_their_own_see_the_index():
    pipeline = centred(language_from="index")
    scores = cross_val_score(pipeline, FRAME, Y, cv=CV, scoring="accuracy", n_jobs=2)
    np.testing.assert_allclose(scores, hand_scores())


def test_several_scores_at_once_see_the_index():
    found = cross_validate(centred(), FRAME, Y, cv=CV, scoring=["accuracy", "roc_auc"])
    np.testing.assert_allclose(found["test_accuracy"], hand_scores())
    assert found["test_roc_auc"].min() > REACHED


def test_predictions_of_all_folds_see_the_index():
    found = cross_val_predict(centred(language_from="index"), FRAME, Y, cv=CV)
    for train, test in CV.split(X, Y):
        np.testing.assert_array_equal(found[test], by_hand(train, test))


def test_a_search_fits_predicts_and_scores_by_the_index():
    search = GridSearchCV(
        centred(language_from="index"),
        {"languagecentering__shrinkage": [0.0, 1.0]},
        scoring="accuracy",
        cv=CV,
        error_score="raise",
    ).fit(FRAME, Y)
    assert search.best_params_ == {"languagecentering__shrinkage": 0.0}
    everything = np.arange(N)
    np.testing.assert_array_equal(search.predict(FRAME), by_hand(everything, everything))
    assert search.score(FRAME, Y) > REACHED


@pytest.mark.parametrize(
    "around",
    [
        CalibratedClassifierCV(centred(language_from="index"), cv=CV),
        StackingClassifier([("a", centred(language_from="index"))], cv=CV),
        VotingClassifier([("a", centred(language_from="index"))]),
        make_pipeline(
            make_union(LanguageCentering(language_from="index"), LSAR(language_from="index")),
            LogisticRegression(),
        ),
        make_pipeline(
            make_column_transformer((LanguageCentering(language_from="index"), ["a", "b"])),
            LogisticRegression(),
        ),
        make_pipeline(
            StandardScaler(), LanguageCentering(language_from="index"), LogisticRegression()
        ).set_output(transform="pandas"),
        make_pipeline(
            LanguageCentering(), LanguageScaling(language_from="index"), LogisticRegression()
        ).set_output(transform="pandas"),
    ],
    ids=["calibration", "stacking", "voting", "union", "columns", "after a scaler", "two of ours"],
)
def test_what_wraps_a_pipeline_hands_the_index_on(around):
    fitted = clone(around).fit(FRAME, Y)
    assert fitted.score(FRAME, Y) > REACHED
    assert pickle.loads(pickle.dumps(fitted)).score(FRAME, Y) > REACHED


def test_a_learning_curve_sees_the_index():
    sizes = np.array([0.5, 1.0])
    curve = learning_curve(
        centred(language_from="index"), FRAME, Y, cv=CV, train_sizes=sizes, error_score="raise"
    )
    assert curve[2].mean() > REACHED


@pytest.mark.parametrize(
    "around",
    [
        BaggingClassifier(centred(language_from="index"), n_estimators=2),
        make_pipeline(
            StandardScaler(), LanguageCentering(language_from="index"), LogisticRegression()
        ),
        make_pipeline(
            StandardScaler(), LanguageCentering(language_from="index"), LogisticRegression()
        ).set_output(transform="polars"),
    ],
    ids=["bagging", "a step that returns an array", "a step that returns polars"],
)
def test_where_the_index_is_lost_the_strict_mode_says_so(around):
    with pytest.raises(ValueError, match=r"language_from='index', but X came as.*set_output"):
        around.fit(FRAME, Y)


def test_bagging_gets_the_language_by_routing():
    with config_context(enable_metadata_routing=True):
        bag = BaggingClassifier(centred(), n_estimators=3, random_state=0)
        bag.fit(X, Y, language=LANGUAGE)
        if "params" not in inspect.signature(bag.predict).parameters:
            pytest.skip("this scikit-learn routes nothing to the predict of bagging")
        assert np.mean(bag.predict(X, language=LANGUAGE) == Y) > REACHED
        with pytest.raises(ValueError, match="got no language"):
            bag.predict(X)


@pytest.mark.parametrize("transformer", TRANSFORMERS, ids=repr)
def test_a_data_frame_that_comes_out_has_the_index_that_went_in(transformer):
    for configured in (True, False):
        with config_context(transform_output="default" if configured else "pandas"):
            each = clone(transformer)
            each = each.set_output(transform="pandas") if configured else each
            Z = each.fit_transform(FRAME, Y, **given(transformer))
            assert Z.index.equals(FRAME.index)
            same(Z, fit(transformer, X, language=LANGUAGE).transform(X, language=LANGUAGE))


# --- metadata routing ---------------------------------------------------------------------------


@each_transformer
def test_routing_needs_no_requests_by_the_user(transformer):
    told = fit(transformer, X, language=LANGUAGE)
    Z = np.asarray(told.transform(X, language=LANGUAGE))
    expected = LogisticRegression().fit(Z, Y).predict(Z)
    with config_context(enable_metadata_routing=True):
        pipeline = make_pipeline(clone(transformer), LogisticRegression())
        pipeline.fit(X, Y, language=LANGUAGE, **given(transformer))
        np.testing.assert_array_equal(pipeline.predict(X, language=LANGUAGE), expected)


def test_fit_transform_inside_a_pipeline_keeps_the_language():
    """scikit-learn's own ``fit_transform`` hands metadata to fit and drops it for transform."""

    class Forgetful(LanguageCentering):
        fit_transform = TransformerMixin.fit_transform

    everything = np.arange(N)
    with config_context(enable_metadata_routing=True):
        pipeline = centred().fit(X, Y, language=LANGUAGE)
        found = pipeline.predict(X, language=LANGUAGE)
        np.testing.assert_array_equal(found, by_hand(everything, everything))
        with (
            pytest.warns(UserWarning, match="does not forward metadata to `transform`"),
            pytest.raises(ValueError, match="got no language"),
        ):
            make_pipeline(Forgetful(), LogisticRegression()).fit(X, Y, language=LANGUAGE)


@pytest.mark.usefixtures("own_score_is_told")
def test_folds_that_score_by_the_pipeline_itself_get_the_language():
    with config_context(enable_metadata_routing=True):
        scores = cross_val_score(
            centred(), X, Y, cv=CV, params={"language": LANGUAGE}, error_score="raise"
        )
    np.testing.assert_allclose(scores, hand_scores())


@pytest.mark.parametrize(
    "scoring", ["accuracy", make_scorer(accuracy_score)], ids=["str", "scorer"]
)
def test_a_scorer_that_drops_the_language_fails_and_names_the_cures(scoring):
    cures = "make_language_scorer.*language_from='index'"
    with config_context(enable_metadata_routing=True):
        pipeline = centred().fit(X, Y, language=LANGUAGE)
        score = (lambda: scoring(pipeline, X, Y)) if callable(scoring) else None
        with pytest.raises(ValueError, match=cures):
            score() if score else pipeline.predict(X)
        with pytest.warns(UserWarning, match="Scoring failed"):
            found = cross_val_score(
                centred(), X, Y, cv=CV, params={"language": LANGUAGE}, scoring=scoring
            )
        assert np.isnan(found).all()  # no number that somebody could take for a result
        with pytest.raises(ValueError, match="got no language"):
            cross_val_predict(centred(), X, Y, cv=CV, params={"language": LANGUAGE})


def test_a_search_by_a_string_never_scores_without_the_language():
    with config_context(enable_metadata_routing=True):
        search = GridSearchCV(
            centred(), {"languagecentering__shrinkage": [0.0]}, cv=CV, scoring="accuracy"
        )
        with pytest.warns(UserWarning, match="Scoring failed|non-finite"):
            search.fit(X, Y, language=LANGUAGE)
        with pytest.raises(ValueError, match="got no language"):
            search.predict(X)


def test_a_transformer_that_needs_no_language_works_with_every_scorer():
    for transformer in PLAIN:
        with config_context(enable_metadata_routing=True):
            labels = {"language": LANGUAGE, **given(transformer)}
            pipeline = make_pipeline(clone(transformer), LogisticRegression())
            told, named = (
                cross_val_score(
                    pipeline, X, Y, cv=CV, params=labels, scoring=scoring, error_score="raise"
                )
                for scoring in (None, "accuracy")
            )
        np.testing.assert_array_equal(told, named)


@pytest.mark.parametrize("estimator", [LSAR(), LEACE(), INLP(), LanguageAxes()])
def test_a_fit_without_labels_is_not_taken_for_one_with_labels(estimator):
    """Such a fit knows of one language, and is next to the identity: silence would hide it."""
    X = np.random.default_rng(0).normal(size=(40, 3))
    language = np.repeat(["en", "de"], 20)
    fitted = estimator.fit(X)
    with pytest.raises(ValueError, match=r"fitted without language labels\. Fit it with language="):
        fitted.transform(X, language=language)
    assert fitted.transform(X, language="en").shape == X.shape
    assert AllButTheTop().fit(X).transform(X, language=language).shape == X.shape
