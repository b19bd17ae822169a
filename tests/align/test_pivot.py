"""PivotAligner: rows are joined by id and never by order, and every language gets its own map."""

import pickle
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from posthoc_align import LinearMap, PivotAligner, Procrustes, _blocks
from posthoc_align.align.recipe import FittedRecipe, parse_recipe, unit_rows

NAMES = np.array(["de", "en", "fr"])


def parallel(seed=0, n=60, d=6, noise=0.0):
    """X, language, pair_id: the same n meanings in three rotated and shifted spaces, mixed."""
    rng = np.random.default_rng(seed)
    meaning = rng.normal(size=(n, d))
    rotations = [np.linalg.qr(rng.normal(size=(d, d)))[0] for _ in NAMES]
    X = np.vstack([meaning @ Q + 3 * rng.normal(size=d) for Q in rotations])
    X += noise * rng.normal(size=X.shape)
    order = rng.permutation(3 * n)
    return X[order], np.repeat(NAMES, n)[order], np.tile(np.arange(n), 3)[order]


def apart(Z, language, pair_id):
    """The largest distance between the coordinates of two translations."""
    order = np.argsort(pair_id, kind="stable")
    parts = [Z[order][language[order] == name] for name in NAMES]
    return max(np.abs(part - parts[1]).max() for part in parts)


class MeanShift(BaseEstimator):
    """A map between unpaired clouds: mean onto mean."""

    requires_pairs: ClassVar[bool] = False

    def fit(self, X, y=None):
        self.shift_ = y.mean(axis=0) - X.mean(axis=0)
        self.rows_ = len(X), len(y)
        return self

    def transform(self, X):
        return X + self.shift_


# --- the law ----------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", [None, "center", "center,unit,center"])
def test_translations_meet_whether_they_were_fitted_or_not(recipe, as_kind, rows_of, rtol):
    X, language, pair_id = parallel()
    assert apart(X, language, pair_id) > 1  # it was not so before
    seen = pair_id < 40
    aligner = PivotAligner(recipe=recipe)
    aligner.fit(as_kind(X[seen]), language=language[seen], pair_id=pair_id[seen])
    Z = rows_of(aligner.transform(as_kind(X), language=language))
    assert apart(Z, language, pair_id) < 1000 * rtol  # two rotations of float32 rows


def test_wrong_ids_do_not_bring_translations_together():
    X, language, pair_id = parallel()
    wrong = np.random.default_rng(1).permutation(60)[pair_id]
    ids = np.where(language == "en", pair_id, wrong)
    Z = PivotAligner().fit_transform(X, language=language, pair_id=ids)
    assert apart(Z, language, pair_id) > 0.5


def test_the_order_of_rows_does_not_matter():
    X, language, pair_id = parallel(noise=0.5)
    order = np.random.default_rng(2).permutation(180)
    a = PivotAligner().fit(X, language=language, pair_id=pair_id)
    b = PivotAligner().fit(X[order], language=language[order], pair_id=pair_id[order])
    Z = a.transform(X, language=language)
    np.testing.assert_allclose(b.transform(X, language=language), Z, atol=1e-11)


@pytest.mark.parametrize("missing", [-1, None, float("nan")])
def test_rows_without_a_translation_are_left_out_of_the_maps(missing):
    X, language, pair_id = parallel()
    gone = (language == "de") & (pair_id % 3 == 0) | (language == "en") & (pair_id % 5 == 0)
    X[gone] += 50  # they would spoil any map
    ids = [missing if lone else int(i) for lone, i in zip(gone, pair_id, strict=True)]
    aligner = PivotAligner(recipe=None).fit(X, language=language, pair_id=ids)
    assert aligner.n_pairs_ == {"de": 32, "fr": 48}
    Z = aligner.transform(X[~gone], language=language[~gone])
    kept = ~gone & np.isin(pair_id, pair_id[(language == "de") & ~gone])
    kept &= np.isin(pair_id, pair_id[(language == "en") & ~gone])
    assert apart(Z[kept[~gone]], language[kept], pair_id[kept]) < 1e-10


def test_rows_missing_from_the_data_are_no_obstacle():
    X, language, pair_id = parallel()
    there = (language != "de") | (pair_id % 2 == 0)
    X, language, pair_id = X[there], language[there], pair_id[there]
    aligner = PivotAligner(recipe=None).fit(X, language=language, pair_id=pair_id)
    assert aligner.n_pairs_ == {"de": 30, "fr": 60}


def test_the_pivot_goes_through_the_recipe_alone():
    X, language, pair_id = parallel(noise=0.5)
    pivot = X[language == "en"]
    aligner = PivotAligner().fit(X, language=language, pair_id=pair_id)
    _, expected = FittedRecipe.fit(("center", "unit", "center"), pivot)
    np.testing.assert_allclose(aligner.transform(pivot, language="en"), expected, atol=1e-14)
    plain = PivotAligner(recipe=None).fit(X, language=language, pair_id=pair_id)
    np.testing.assert_array_equal(plain.transform(pivot, language="en"), pivot)


def test_each_map_is_the_one_fitted_by_hand_after_the_recipe():
    X, language, pair_id = parallel(noise=0.5)
    aligner = PivotAligner(LinearMap(penalty=1.0)).fit(X, language=language, pair_id=pair_id)
    made = {}
    for name in NAMES:
        rows = X[language == name][np.argsort(pair_id[language == name])]
        made[name] = FittedRecipe.fit(("center", "unit", "center"), rows)
    for name in ("de", "fr"):
        by_hand = LinearMap(penalty=1.0).fit(made[name][1], made["en"][1])
        np.testing.assert_allclose(aligner.maps_[name].coef_, by_hand.coef_, atol=1e-11)
        Z = aligner.transform(X[:5], language=str(name))
        expected = by_hand.transform(made[name][0].apply(X[:5]))
        np.testing.assert_allclose(Z, expected, atol=1e-11)


def test_the_official_orthogonal_mapping_of_vecmap_agrees(official):
    inputs, reference = official("inputs"), official("vecmap_supervised")
    X, rows = inputs["X_fit"], reference["dictionary_rows"]
    ids = np.full(160, -1)
    ids[rows] = rows  # the means are over the vocabulary, the map over the dictionary
    aligner = PivotAligner(Procrustes(center=False), pivot="l0", recipe="unit,center")
    language, both = np.repeat(["l1", "l0"], 160), np.vstack([X[1], X[0]])
    Z = aligner.fit_transform(both, language=language, pair_id=np.tile(ids, 2))
    for part, name in ((Z[:160], "src"), (Z[160:], "trg")):
        theirs = reference[f"orthogonal_unit_center_{name}"]
        np.testing.assert_allclose(part, theirs, atol=1e-7, rtol=0, err_msg=name)


@pytest.mark.parametrize("form", ["int", "str", "object"])
def test_ids_and_labels_may_be_integers_or_text(form):
    X, language, pair_id = parallel(noise=0.5)
    expected = PivotAligner().fit_transform(X, language=language, pair_id=pair_id)
    codes = np.searchsorted(NAMES, language)
    if form == "int":
        Z = PivotAligner(pivot=1).fit_transform(X, language=codes, pair_id=pair_id)
    else:
        ids = np.char.add("s", pair_id.astype(str)).astype(form)
        Z = PivotAligner().fit_transform(X, language=language.astype(object), pair_id=ids)
    np.testing.assert_allclose(Z, expected, atol=1e-12)


def test_the_pivot_alone_has_no_maps():
    X, language, pair_id = parallel()
    only = language == "en"
    aligner = PivotAligner().fit(X[only], language="en", pair_id=pair_id[only])
    assert aligner.maps_ == {}
    _, expected = FittedRecipe.fit(("center", "unit", "center"), X[only])
    np.testing.assert_allclose(aligner.transform(X[only]), expected, atol=1e-14)


def test_without_labels_it_is_the_identity(as_kind, rows_of):
    x = as_kind(parallel()[0])
    np.testing.assert_array_equal(rows_of(PivotAligner().fit_transform(x)), rows_of(x))


# --- the estimator inside ---------------------------------------------------------------------


def test_the_estimator_given_is_cloned_and_never_fitted():
    X, language, pair_id = parallel()
    given_ = Procrustes(scale=True)
    aligner = PivotAligner(given_).fit(X, language=language, pair_id=pair_id)
    assert not hasattr(given_, "rotation_")
    assert aligner.estimator is given_
    assert aligner.maps_["de"] is not aligner.maps_["fr"]
    assert aligner.maps_["de"].get_params() == given_.get_params()
    assert PivotAligner().fit(X, language=language, pair_id=pair_id).estimator is None


def test_a_map_of_unpaired_clouds_gets_all_rows_and_needs_no_ids():
    X, language, _ = parallel()
    keep = (language != "de") | (np.cumsum(language == "de") <= 25)
    X, language = X[keep], language[keep]
    aligner = PivotAligner(MeanShift(), recipe=None).fit(X, language=language)
    assert aligner.maps_["de"].rows_ == (25, 60)
    assert aligner.n_pairs_["de"] == 25
    Z = aligner.transform(X, language=language)
    for name in NAMES:
        mean = Z[language == name].mean(axis=0)
        np.testing.assert_allclose(mean, X[language == "en"].mean(axis=0), atol=1e-12)


def test_parameters_of_the_estimator_inside_can_be_set():
    aligner = PivotAligner(LinearMap()).set_params(estimator__penalty=3.0, pivot="fr")
    assert aligner.estimator.penalty == 3.0
    assert clone(aligner).get_params()["estimator__penalty"] == 3.0


@pytest.mark.parametrize("estimator", [None, LinearMap(), MeanShift()])
def test_two_jobs_do_what_one_does(estimator):
    X, language, pair_id = parallel(noise=0.5)
    one, two = (
        PivotAligner(estimator, n_jobs=n).fit_transform(X, language=language, pair_id=pair_id)
        for n in (1, 2)
    )
    np.testing.assert_array_equal(one, two)


# --- recipe -----------------------------------------------------------------------------------


def test_a_recipe_is_its_steps_and_none_is_no_steps():
    assert parse_recipe("center, unit ,center") == ("center", "unit", "center")
    assert parse_recipe(None) == parse_recipe("") == ()


@pytest.mark.parametrize(
    ("recipe", "says"),
    [("center,norm", r"unknown steps \['norm'\]: use .*center.*unit"), (3, "must be a string")],
)
def test_a_recipe_with_other_steps_is_explained(recipe, says):
    X, language, pair_id = parallel()
    with pytest.raises(ValueError, match=says):
        PivotAligner(recipe=recipe).fit(X, language=language, pair_id=pair_id)


def test_unit_scales_each_row_to_length_one(as_kind, rows_of, rtol):
    X = parallel()[0]
    Z = rows_of(unit_rows(as_kind(X)))
    np.testing.assert_allclose(Z, X / np.linalg.norm(X, axis=1, keepdims=True), atol=rtol)


@pytest.mark.parametrize("factor", [1e-25, 1e25])  # whose squares float32 cannot hold
def test_unit_rows_do_not_depend_on_the_length_of_the_rows(factor, as_kind, rows_of, rtol):
    X = parallel()[0]
    Z = rows_of(unit_rows(as_kind(X * factor)))
    np.testing.assert_allclose(Z, rows_of(unit_rows(as_kind(X))), atol=rtol)


def test_the_standard_recipe_centres_exactly_and_keeps_norms_near_one():
    X = parallel()[0] + 20
    recipe, Z = FittedRecipe.fit(("center", "unit", "center"), X)
    np.testing.assert_allclose(Z.mean(axis=0), 0, atol=1e-15)
    norms = np.linalg.norm(Z, axis=1)
    assert np.abs(norms - 1).max() < 0.5
    np.testing.assert_allclose(recipe.apply(X), Z, atol=1e-15)


@pytest.mark.parametrize("offset", [0.0, 2.0])
def test_iterative_normalisation_gives_unit_rows_about_the_origin(offset, as_kind, rows_of):
    X = np.random.default_rng(0).normal(size=(200, 6)) * np.linspace(0.3, 2, 6) + offset
    recipe, Z = FittedRecipe.fit(("iternorm",), as_kind(X))
    np.testing.assert_allclose(np.linalg.norm(rows_of(Z), axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(rows_of(Z).mean(axis=0), 0, atol=2e-6)
    np.testing.assert_allclose(rows_of(recipe.apply(as_kind(X))), rows_of(Z), atol=1e-6)
    once = rows_of(FittedRecipe.fit(("unit", "center", "unit"), X)[1])
    assert np.linalg.norm(once.mean(axis=0)) > 1e-3  # one round is not enough


def test_new_rows_run_the_rounds_with_the_means_of_the_fitted_ones():
    X, language, pair_id = parallel(noise=0.5)
    aligner = PivotAligner(recipe="iternorm").fit(X, language=language, pair_id=pair_id)
    row = X[language == "en"][:1] + 0.1
    Z = row
    for mean in aligner.recipes_["en"].means:
        Z = Z / np.linalg.norm(Z) - mean
    np.testing.assert_allclose(
        aligner.transform(row, language="en"), Z / np.linalg.norm(Z), atol=1e-13
    )


def test_iterative_normalisation_that_does_not_converge_warns():
    with pytest.warns(ConvergenceWarning, match="iternorm did not converge in 100 rounds"):
        FittedRecipe.fit(("iternorm",), np.array([[1.0], [2.0], [-1.0]]))


# --- unseen and added languages ---------------------------------------------------------------


@pytest.mark.parametrize("recipe", [None, "center,unit,center"])
@pytest.mark.parametrize("unseen", ["global", "identity", "transductive"])
def test_an_unseen_language_is_treated_by_the_policy(unseen, recipe, as_kind, rows_of, rtol):
    X, language, pair_id = parallel(noise=0.5)
    aligner = PivotAligner(unseen=unseen, recipe=recipe)
    aligner.fit(as_kind(X), language=language, pair_id=pair_id)
    new = np.random.default_rng(3).normal(size=(9, 6)) + 4
    batch, labels = np.vstack([new[:5], X, new[5:]]), ["xx"] * 5 + [*language] + ["xx"] * 4
    Z = rows_of(aligner.transform(as_kind(batch), language=labels))
    source = {"global": X, "transductive": new, "identity": None}[unseen]
    expected = new
    if source is not None:
        expected = FittedRecipe.fit(parse_recipe(recipe), source)[0].apply(new)
    np.testing.assert_allclose(np.vstack([Z[:5], Z[-4:]]), expected, atol=100 * rtol)
    known = rows_of(aligner.transform(as_kind(X), language=language))
    np.testing.assert_allclose(Z[5:-4], known, atol=rtol)  # the others do not notice


def test_adding_a_language_aligns_it_and_leaves_the_others_bit_identical():
    X, language, pair_id = parallel()
    old = language != "fr"
    aligner = PivotAligner().fit(X[old], language=language[old], pair_id=pair_id[old])
    before = aligner.transform(X[old], language=language[old])
    sort = lambda name: X[language == name][np.argsort(pair_id[language == name])]  # noqa: E731
    aligner.add_language(sort("fr"), "fr", sort("en"))
    after = aligner.transform(X[old], language=language[old])
    np.testing.assert_array_equal(after, before)
    assert apart(aligner.transform(X, language=language), language, pair_id) < 1e-10
    assert aligner.n_pairs_["fr"] == 60
    whole = PivotAligner().fit(X, language=language, pair_id=pair_id)
    expected = whole.transform(X, language=language)
    np.testing.assert_allclose(aligner.transform(X, language=language), expected, atol=1e-11)


# --- ways to use ------------------------------------------------------------------------------


def test_fit_transform_is_fit_and_then_transform(as_kind, rows_of):
    X, language, pair_id = parallel(noise=0.5)
    x = as_kind(X)
    a = PivotAligner().fit_transform(x, language=language, pair_id=pair_id)
    b = PivotAligner().fit(x, language=language, pair_id=pair_id).transform(x, language=language)
    np.testing.assert_array_equal(rows_of(a), rows_of(b))


def test_a_row_is_transformed_the_same_whatever_else_is_in_the_batch(monkeypatch):
    X, language, pair_id = parallel(noise=0.5)
    aligner = PivotAligner().fit(X, language=language, pair_id=pair_id)
    Z = aligner.transform(X, language=language)
    alone = [aligner.transform(X[i : i + 1], language=language[i : i + 1]) for i in range(30)]
    # A product of one row may be summed in another order than a product of many.
    np.testing.assert_allclose(np.vstack(alone), Z[:30], atol=1e-13)
    monkeypatch.setattr(_blocks, "ROUTED_BLOCK", 7 * 6 * 8)  # seven rows of six float64 at once
    np.testing.assert_allclose(aligner.transform(X, language=language), Z, atol=1e-13)


def test_torch_and_numpy_agree(as_kind, rows_of, rtol):
    X, language, pair_id = parallel(noise=0.5)
    expected = PivotAligner().fit_transform(X, language=language, pair_id=pair_id)
    Z = PivotAligner().fit_transform(as_kind(X), language=language, pair_id=pair_id)
    np.testing.assert_allclose(rows_of(Z), expected, atol=100 * rtol)


@pytest.mark.parametrize("door", ["numpy float16", "torch float16", "torch bfloat16"])
def test_half_precision_rows_come_back_in_half_precision(door, make_kind, rows_of):
    X, language, pair_id = parallel(noise=0.5)
    x = make_kind(X, door)
    Z = PivotAligner().fit_transform(x, language=language, pair_id=pair_id)
    assert type(Z) is type(x)
    assert Z.dtype == x.dtype
    exact = PivotAligner().fit_transform(rows_of(x), language=language, pair_id=pair_id)
    step = 2.0**-8 if "bfloat" in door else 2.0**-11  # relative rounding of the stored answer
    np.testing.assert_allclose(rows_of(Z), exact, rtol=step, atol=1e-4)


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_an_answer_too_large_for_half_precision_is_an_error_and_not_infinity(library, make_kind):
    X, language, pair_id = parallel()
    X[language == "en"] *= 2000
    aligner = PivotAligner(Procrustes(scale=True), recipe=None)
    aligner.fit(make_kind(X, f"{library} float16"), language=language, pair_id=pair_id)
    far = make_kind(20 * X[language == "de"], f"{library} float16")  # 2000 times that is too much
    with pytest.raises(ValueError, match=r"do not fit into .*float16\. Pass X as"):
        aligner.transform(far, language="de")


@pytest.mark.parametrize("route", ["map", "pivot", "unseen", "no label"])
@pytest.mark.parametrize("recipe", [None, "center"])
def test_a_row_that_is_not_finite_gets_through_on_no_route(route, recipe):
    X, language, pair_id = parallel()
    aligner = PivotAligner(recipe=recipe, unseen="identity")
    if route == "no label":
        aligner.fit(X)
    else:
        aligner.fit(X, language=language, pair_id=pair_id)
    X[3, 1] = np.nan
    labels = {"map": "de", "pivot": "en", "unseen": "xx", "no label": None}[route]
    with pytest.raises(ValueError, match="X contains NaN"):
        aligner.transform(X, language=labels)


@pytest.mark.parametrize("recipe", [None, "center"])
def test_a_row_that_is_not_finite_is_found_at_fit_even_where_it_is_unpaired(recipe):
    X, language, pair_id = parallel()
    X[3, 1], pair_id[3] = np.nan, -1
    with pytest.raises(ValueError, match="X contains NaN"):
        PivotAligner(recipe=recipe).fit(X, language=language, pair_id=pair_id)


def test_a_pipeline_delivers_language_and_ids_to_fit_and_language_to_transform():
    X, language, pair_id = parallel(noise=0.3)
    y = (X[language == "en"][np.argsort(pair_id[language == "en"]), 0] > 0).astype(int)[pair_id]
    with sklearn.config_context(enable_metadata_routing=True):
        pipe = make_pipeline(PivotAligner(), LogisticRegression())
        pipe.fit(X, y, language=language, pair_id=pair_id)
        predicted = pipe.predict(X, language=language)
        with pytest.raises(ValueError, match="transform got no language"):
            pipe.predict(X)
    Z = PivotAligner().fit_transform(X, language=language, pair_id=pair_id)
    np.testing.assert_array_equal(predicted, LogisticRegression().fit(Z, y).predict(Z))


def test_clone_pickle_and_pandas_output():
    X, language, pair_id = parallel(noise=0.5)
    aligner = PivotAligner(recipe="center", n_jobs=1).fit(X, language=language, pair_id=pair_id)
    assert not hasattr(clone(aligner), "maps_")
    again = pickle.loads(pickle.dumps(aligner))
    Z = aligner.transform(X, language=language)
    np.testing.assert_array_equal(again.transform(X, language=language), Z)
    frame = pd.DataFrame(X, columns=list("abcdef"), index=np.arange(180) + 5)
    ids, labels = pd.Series(pair_id), pd.Series(pd.Categorical(language))
    out = PivotAligner(recipe="center").set_output(transform="pandas")
    out = out.fit_transform(frame, language=labels, pair_id=ids)
    assert list(out.columns) == list("abcdef")
    assert list(out.index) == list(frame.index)
    np.testing.assert_allclose(out.to_numpy(), Z, atol=1e-13)
