"""AutoAligner finds what was planted, never takes what is not better, and says why."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from posthoc_align import (
    AutoAligner,
    Blend,
    ConceptWhitening,
    Identity,
    LanguageCentering,
    PivotAligner,
    Procrustes,
    make_language_scorer,
)
from posthoc_align.model_selection import PairGroupKFold

CANDIDATES = {"centring": LanguageCentering(), "rotation": PivotAligner(Procrustes())}


def fit(data, **options):
    given = {"candidates": CANDIDATES, **options}
    return AutoAligner(**given).fit(data.X, data.y, language=data.language, pair_id=data.pair_id)


def rows_of(aligner):
    return {row["name"]: row for row in aligner.candidates_}


@pytest.mark.parametrize("objective", ["retrieval", "transfer"])
def test_the_planted_rotation_is_chosen_and_fitted_on_all_rows(rotated, objective):
    aligner = fit(rotated, objective=objective)
    assert aligner.choice_ == "rotation"
    rows = rows_of(aligner)
    assert rows["rotation"]["value"] > 0.9
    assert rows["rotation"]["difference_low"] > 0
    assert rows["identity"]["difference"] == 0
    by_hand = PivotAligner(Procrustes()).fit(
        rotated.X, language=rotated.language, pair_id=rotated.pair_id
    )
    expected = by_hand.transform(rotated.X, language=rotated.language)
    assert np.array_equal(aligner.transform(rotated.X, language=rotated.language), expected)


@pytest.mark.parametrize("objective", ["retrieval", "transfer"])
@pytest.mark.parametrize("seed", range(3))
def test_the_choice_is_never_worse_than_the_identity_on_the_rows_that_chose(objective, seed):
    """Rows that have nothing to do with each other: what differs is chance."""
    rng = np.random.default_rng(seed)
    X, language = rng.normal(size=(240, 6)), np.repeat(["en", "de"], 120)
    y, pair_id = np.tile([0, 1, 1], 80), np.tile(np.arange(120), 2)
    aligner = AutoAligner(objective=objective, candidates=CANDIDATES)
    aligner.fit(X, y, language=language, pair_id=pair_id)
    rows = rows_of(aligner)
    assert rows[aligner.choice_]["value"] >= rows["identity"]["value"]


def test_the_identity_is_taken_where_the_others_only_harm(rotated):
    ruin = FunctionTransformer(lambda X: np.ones_like(X) + 1e-3 * X[:, :1])
    aligner = fit(rotated, candidates={"ruin": ruin})
    rows = rows_of(aligner)
    assert rows["ruin"]["difference_high"] < 0
    assert aligner.choice_ == "identity"


def two_ends(X):
    """All columns but that of the class; the size of that column alone."""
    return X[:, 1:], np.hstack([np.abs(X[:, :1]) - 1.5, np.full((len(X), 1), 0.1)])


def test_the_two_objectives_choose_differently_where_they_must(rotated):
    """The class is the size of a column whose sign is the language's; the rest tells the text."""
    rng = np.random.default_rng(2)
    text, y = rng.normal(size=(90, 5)), np.arange(90) % 2
    size = 1.0 + y + 0.05 * rng.normal(size=90)
    X = np.vstack([np.column_stack([s * size, text]) for s in (4, -4)])
    X[:, 0] /= 4
    candidates = {
        "text": FunctionTransformer(lambda X: two_ends(X)[0]),
        "class": FunctionTransformer(lambda X: two_ends(X)[1]),
    }
    given = {"language": ["en"] * 90 + ["de"] * 90, "pair_id": [*range(90)] * 2}
    chosen = {
        objective: AutoAligner(objective=objective, candidates=candidates)
        .fit(X, np.tile(y, 2), **given)
        .choice_
        for objective in ("retrieval", "transfer")
    }
    assert chosen == {"retrieval": "text", "transfer": "class"}


def test_labels_of_other_languages_are_never_read(rotated):
    told = fit(rotated, objective="transfer")
    rotated.y = np.where(rotated.language == "en", rotated.y, None)
    untold = fit(rotated, objective="transfer")
    for row in (*told.candidates_, *untold.candidates_):
        del row["seconds"]
    assert told.candidates_ == untold.candidates_


def test_rows_of_the_pivot_without_a_label_take_no_part(rotated):
    some = rotated.y.astype(object)
    some[:10] = None
    rotated.y = some
    aligner = fit(rotated, objective="transfer")
    assert aligner.choice_ == "rotation"
    assert "80 sentences" in aligner.reason_


def test_another_head_judges_by_its_own_hits(rotated):
    ours = rows_of(fit(rotated, objective="transfer"))["rotation"]["value"]
    theirs = fit(rotated, objective="transfer", head=KNeighborsClassifier(1))
    assert rows_of(theirs)["rotation"]["value"] != ours


def test_of_equals_the_first_is_taken(rotated):
    rotation = PivotAligner(Procrustes())
    twice = {"first": rotation, "second": Blend(rotation, strength=1.0)}
    assert fit(rotated, candidates=twice).choice_ == "first"
    assert fit(rotated, candidates=dict(reversed(twice.items()))).choice_ == "second"


def clustered(seed=4):
    """Texts on 30 subjects, so that rows have kin in the other language; French is shifted."""
    rng = np.random.default_rng(seed)
    subjects = rng.normal(size=(30, 12))
    of = rng.integers(30, size=360)
    X = subjects[of] + 0.3 * rng.normal(size=(360, 12))
    X[180:] += 1.5
    return X, of % 2, np.repeat(["en", "fr"], 180)


@pytest.mark.parametrize("objective", ["retrieval", "transfer"])
@pytest.mark.parametrize("unpaired", [None, -1])
def test_without_translations_the_planted_shift_is_found(objective, unpaired):
    """No row translates another one here, known or not."""
    X, y, language = clustered()
    candidates = {
        "flattened": FunctionTransformer(lambda X: X[:, :1] + 0.5 * X),
        "centring": LanguageCentering(),
    }
    pair_id = None if unpaired is None else np.full(len(X), -1)
    aligner = AutoAligner(objective=objective, candidates=candidates)
    aligner.fit(X, np.where(language == "en", y, -7), language=language, pair_id=pair_id)
    assert aligner.choice_ == "centring"
    assert "no translations known" in aligner.reason_
    assert rows_of(aligner)["centring"]["difference_low"] > 0


def test_without_translations_a_destroyer_fools_retrieval_but_not_transfer():
    """The blindness that the docstring states: noise has mutual neighbours, too."""
    X, y, language = clustered()
    candidates = {
        "scramble": FunctionTransformer(lambda X: np.sin(50 * X)),
        "centring": LanguageCentering(),
    }
    gain = {}
    for objective in ("retrieval", "transfer"):
        aligner = AutoAligner(objective=objective, candidates=candidates)
        aligner.fit(X, y, language=language)
        gain[objective] = rows_of(aligner)["scramble"]["difference_low"]
    assert gain["retrieval"] > 0 > gain["transfer"]


@pytest.mark.slow
def test_the_default_ladder_finds_what_was_planted(rotated):
    aligner = fit(rotated, candidates=None)
    assert not any("failed" in row for row in aligner.candidates_)
    assert rows_of(aligner)[aligner.choice_]["value"] > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["retrieval", "transfer"])
def test_the_default_ladder_without_translations_beats_the_identity(objective):
    X, y, language = clustered()
    aligner = AutoAligner(objective=objective)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of the refit, on few rows
        aligner.fit(X, y, language=language)
    assert not any("failed" in row for row in aligner.candidates_)
    assert rows_of(aligner)[aligner.choice_]["difference_low"] > 0


def test_tensors_are_judged_as_arrays_are_and_stay_tensors(rotated):
    import torch

    numpy = fit(rotated, objective="transfer")
    rotated.X = torch.as_tensor(rotated.X)
    tensor = fit(rotated, objective="transfer")
    assert tensor.choice_ == numpy.choice_
    for ours, theirs in zip(tensor.candidates_, numpy.candidates_, strict=True):
        assert ours["value"] == theirs["value"]
    Z = tensor.transform(rotated.X, language=rotated.language)
    assert isinstance(Z, torch.Tensor)
    assert Z.dtype == rotated.X.dtype


def test_a_candidate_that_fails_is_named_and_left_out(rotated):
    broken = {"wrong pivot": PivotAligner(pivot="xx"), **CANDIDATES}
    with pytest.warns(UserWarning, match="'wrong pivot' failed and was left out: pivot='xx'"):
        aligner = fit(rotated, candidates=broken)
    assert aligner.choice_ == "rotation"
    assert "pivot='xx'" in rows_of(aligner)["wrong pivot"]["failed"]
    assert "failed: pivot='xx'" in str(aligner)


def test_a_language_with_few_pairs_does_not_count_and_is_named(rotated):
    rotated.pair_id[(rotated.language == "fr") & (rotated.pair_id > 7)] = -1
    with pytest.warns(UserWarning, match=r"Languages \['fr'\] have too few held-out rows"):
        aligner = fit(rotated)
    assert "mean over 1 languages" in aligner.reason_


def test_it_says_what_it_chose_and_why(rotated):
    unfitted = AutoAligner(objective="transfer")
    assert str(unfitted) == "AutoAligner(objective='transfer')"
    aligner = fit(rotated)
    assert aligner.reason_.startswith("'rotation' of 3 candidates for retrieval: ")
    assert "90 sentences" in aligner.reason_
    lines = str(aligner).splitlines()
    assert lines[0] == f"AutoAligner: {aligner.reason_}"
    assert [line[:2] for line in lines[1:]] == ["  ", "  ", "* "]


def test_a_simpler_one_within_a_standard_error_is_preferred_in_so_many_words(rotated):
    """A rotation that is blended with one part in a million of nothing loses no more than noise."""
    rng = np.random.default_rng(3)
    rotated.X = rotated.X + 0.4 * rng.normal(size=rotated.X.shape)
    close = {
        f"strength {s}": PivotAligner(Blend(Procrustes(), strength=s)) for s in (0.9, 0.95, 1.0)
    }
    aligner = fit(rotated, candidates=close)
    values = {name: row["value"] for name, row in rows_of(aligner).items()}
    best = max(values, key=values.get)
    assert values[aligner.choice_] > values["identity"]
    assert ("within one standard error" in aligner.reason_) == (aligner.choice_ != best)


def test_one_language_is_left_alone():
    X = np.arange(12.0).reshape(6, 2)
    for language in (None, "en", ["de"] * 6):
        aligner = AutoAligner().fit(X, language=language)
        assert (aligner.choice_, aligner.candidates_) == ("identity", [])
        assert np.array_equal(aligner.transform(X), X)
        assert aligner.reason_ == "One language: there is nothing to align."


def test_it_goes_through_a_pipeline_and_cross_validation(rotated):
    model = make_pipeline(fit(rotated).set_params(candidates=CANDIDATES), LogisticRegression())
    with sklearn.config_context(enable_metadata_routing=True):
        scores = cross_val_score(
            model,
            rotated.X,
            rotated.y,
            scoring=make_language_scorer("accuracy"),
            cv=PairGroupKFold(3),
            params={"language": rotated.language, "pair_id": rotated.pair_id},
            error_score="raise",
        )
    assert scores.mean() > 0.9


def test_pipelines_are_candidates_and_what_was_chosen_pickles(rotated):
    pipeline = make_pipeline(PivotAligner(Procrustes()), ConceptWhitening())
    aligner = fit(rotated, candidates={"two steps": pipeline})
    assert aligner.choice_ == "two steps"
    assert aligner.requires_language
    Z = aligner.transform(rotated.X, language=rotated.language)
    copy = pickle.loads(pickle.dumps(aligner))
    assert np.array_equal(copy.transform(rotated.X, language=rotated.language), Z)
    with pytest.raises(ValueError, match="got no language"):
        aligner.transform(rotated.X)
    assert "choice_" not in vars(clone(aligner))


@pytest.mark.parametrize(
    ("options", "y", "says"),
    [
        ({"objective": "both"}, None, r"objective='both' is not known: choose one of"),
        ({"objective": "transfer"}, None, r"objective='transfer' needs y: pass the classes"),
        (
            {"objective": "transfer"},
            [1] * 270,
            r"needs 2 or more classes of 2 rows or more in the pivot 'en'",
        ),
        ({"objective": "transfer"}, [0] * 269 + [1], r"of 2 rows or more in the pivot"),
        ({"objective": "transfer"}, np.linspace(0, 1, 270), r"y is continuous there.*Bin"),
        ({"objective": "transfer"}, [0, 1], r"y has shape \(2,\) but X has 270 rows"),
        ({"objective": "transfer"}, [None] * 270, r"needs 2 or more classes.*y is empty"),
        ({"pivot": "xx"}, None, r"pivot='xx' is not among the languages \['de', 'en', 'fr'\]"),
        ({"n_splits": 1}, None, r"n_splits=1 is out of range"),
        ({"n_splits": 88}, None, r"needs 10 translations of the pivot or more in a language"),
    ],
)
def test_what_cannot_be_judged_is_refused(rotated, options, y, says):
    rotated.y = y
    with pytest.raises(ValueError, match=says):
        fit(rotated, **options)


def test_candidates_that_are_no_dict_are_refused(rotated):
    with pytest.raises(TypeError, match="candidates is a list: give a dict from names"):
        fit(rotated, candidates=[Identity()])


def test_a_pair_that_is_there_twice_is_refused(rotated):
    rotated.pair_id[1] = 0
    with pytest.raises(ValueError, match="Duplicate"):
        fit(rotated)


NARROW = {
    "named by its last step": make_pipeline(PivotAligner(Procrustes()), PCA(5)),
    "named by none": make_pipeline(
        PivotAligner(Procrustes()), FunctionTransformer(lambda X: X[:, :5])
    ),
}


@pytest.mark.parametrize("name", NARROW)
def test_names_of_columns_are_as_many_as_there_are_columns(rotated, name):
    pytest.importorskip("pandas")
    aligner = fit(rotated, candidates={name: NARROW[name]})
    assert aligner.choice_ == name
    first = "pca0" if name == "named by its last step" else "autoaligner0"
    assert len(aligner.get_feature_names_out()) == 5
    frame = aligner.set_output(transform="pandas").transform(rotated.X, language=rotated.language)
    assert frame.shape == (270, 5)
    assert frame.columns[0] == first


def test_names_of_columns_stay_where_the_width_does(rotated):
    """Also behind a step that names nothing."""
    same = make_pipeline(PivotAligner(Procrustes()), FunctionTransformer(lambda X: 2 * X))
    aligner = fit(rotated, candidates={"same": same})
    assert aligner.choice_ == "same"
    assert aligner.get_feature_names_out().tolist() == [f"x{i}" for i in range(8)]


@pytest.mark.parametrize("candidates", [CANDIDATES, {}])
def test_an_unseen_language_is_refused_whatever_was_chosen(rotated, candidates):
    aligner = fit(rotated, candidates=candidates)
    assert aligner.choice_ == ("rotation" if candidates else "identity")
    with pytest.raises(
        ValueError, match=r"Unseen language \['xx'\].*fitted on \['de', 'en', 'fr'\]"
    ):
        aligner.transform(rotated.X[:2], language="xx")


def test_a_choice_that_has_a_policy_for_unseen_languages_follows_it(rotated):
    shift = rotated.language != "de"
    for name in ("X", "y", "language", "pair_id"):
        setattr(rotated, name, getattr(rotated, name)[shift])
    aligner = fit(rotated, candidates={"centring": LanguageCentering(unseen="identity")})
    assert aligner.choice_ == "centring"
    assert np.array_equal(aligner.transform(rotated.X[:2], language="xx"), rotated.X[:2])


@pytest.mark.parametrize("objective", ["retrieval", "transfer"])
def test_a_y_of_another_length_is_refused(rotated, objective):
    rotated.y = rotated.y[:100]
    with pytest.raises(
        ValueError, match=r"y has shape \(100,\) but X has 270 rows: pass one class"
    ):
        fit(rotated, objective=objective)


def test_several_columns_of_y_are_no_classes_for_transfer(rotated):
    rotated.y = np.column_stack([rotated.y, rotated.y])
    with pytest.raises(
        ValueError, match=r"y has shape \(270, 2\), several columns.*one class a row"
    ):
        fit(rotated, objective="transfer")
