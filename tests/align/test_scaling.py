"""LanguageScaling: every language ends at one mean and one spread in each dimension."""

import pickle
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.preprocessing import StandardScaler

from posthoc_align import LanguageScaling

NAMES = ["de", "en", "fr"]


def three_languages(seed=0, n=100, d=5):
    """Rows about far-apart means with spreads that differ a hundredfold, in mixed order."""
    rng = np.random.default_rng(seed)
    language = rng.permutation(np.repeat(NAMES, n))
    at = np.searchsorted(NAMES, language)
    offsets, spreads = 10 * rng.normal(size=(3, d)), 10 ** rng.uniform(-1, 1, size=(3, d))
    return rng.normal(size=(3 * n, d)) * spreads[at] + offsets[at], language


def stats(Z, language, names=NAMES):
    parts = [Z[language == name] for name in names]
    return np.stack([p.mean(axis=0) for p in parts]), np.stack([p.std(axis=0) for p in parts])


# --- the law ----------------------------------------------------------------------------------


def test_every_language_ends_with_mean_zero_and_spread_one(as_kind, rows_of, rtol):
    X, language = three_languages()
    assert np.ptp(stats(X, language)[1], axis=0).min() > 0.1  # it was not so before
    Z = rows_of(LanguageScaling().fit_transform(as_kind(X), language=language))
    mean, spread = stats(Z, language)
    # Offsets are a hundred times the smallest spread: two digits more are lost in the mean.
    np.testing.assert_allclose(mean, 0, atol=1e3 * rtol)
    np.testing.assert_allclose(spread, 1, rtol=10 * rtol)


def test_scikit_learn_scales_each_language_alone_to_the_same_rows(as_kind, rows_of, rtol):
    X, language = three_languages()
    Z = rows_of(LanguageScaling().fit_transform(as_kind(X), language=language))
    for name in NAMES:
        theirs = StandardScaler().fit_transform(X[language == name])
        np.testing.assert_allclose(Z[language == name], theirs, atol=1e3 * rtol)


def test_a_named_anchor_gives_its_mean_and_spread_to_all_and_stays_as_it_is():
    X, language = three_languages()
    Z = LanguageScaling(anchor="en").fit_transform(X, language=language)
    np.testing.assert_allclose(Z[language == "en"], X[language == "en"], rtol=1e-12)
    mean, spread = stats(X, language)
    after_mean, after_spread = stats(Z, language)
    np.testing.assert_allclose(after_mean, np.tile(mean[1], (3, 1)), atol=1e-11)
    np.testing.assert_allclose(after_spread, np.tile(spread[1], (3, 1)), rtol=1e-11)


def test_the_pooled_anchor_gives_all_languages_one_mean_and_spread():
    X, language = three_languages()
    scaling = LanguageScaling(anchor="pooled").fit(X, language=language)
    mean, spread = stats(scaling.transform(X, language=language), language)
    np.testing.assert_allclose(mean, np.tile(X.mean(axis=0), (3, 1)), atol=1e-11)
    np.testing.assert_allclose(spread, np.tile(scaling.anchor_scale_, (3, 1)), rtol=1e-11)
    np.testing.assert_allclose(scaling.anchor_scale_, X.std(axis=0), rtol=1e-11)


def test_the_learned_means_and_scales_are_those_of_each_language():
    X, language = three_languages()
    scaling = LanguageScaling().fit(X, language=language)
    mean, spread = stats(X, language)
    np.testing.assert_allclose(scaling.means_, mean, rtol=1e-12)
    np.testing.assert_allclose(scaling.scales_, spread, rtol=1e-12)


def test_scaling_any_dimension_of_the_input_changes_nothing():
    X, language = three_languages()
    factors = np.array([1e-3, 0.5, 1, 7, 1e3])
    Z = LanguageScaling().fit_transform(X, language=language)
    np.testing.assert_allclose(
        LanguageScaling().fit_transform(X * factors, language=language), Z, atol=1e-10
    )


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_a_dimension_that_never_varies_is_centred_and_not_divided_by_zero(dtype):
    X, language = three_languages()
    X = X.astype(dtype)
    X[:, 2] = 0.1
    X[language == "fr", 4] = 1 / 3  # constant in one language alone
    scaling = LanguageScaling().fit(X, language=language)
    np.testing.assert_array_equal(scaling.scales_[:, 2], 1)
    assert scaling.scales_[2, 4] == 1
    Z = scaling.transform(X, language=language)
    # One rounding of a value of a third or less.
    np.testing.assert_allclose(Z[:, 2], 0, atol=np.finfo(dtype).eps)
    np.testing.assert_allclose(Z[language == "fr", 4], 0, atol=np.finfo(dtype).eps)


def test_a_dimension_that_never_varies_survives_a_stream():
    X, language = three_languages()
    X[:, 2] = 0.1
    scaling = LanguageScaling()
    for at in np.array_split(np.arange(300), 7):
        scaling.partial_fit(X[at], language=language[at])
    np.testing.assert_array_equal(scaling.scales_[:, 2], 1)


def test_float32_rows_far_from_the_origin_get_their_true_spread():
    X = (np.random.default_rng(1).normal(size=(4000, 3)) + 1e4).astype(np.float32)
    language = np.repeat(["a", "b"], 2000)
    scaling = LanguageScaling().fit(X, language=language)
    exact = stats(X.astype(np.float64), language, ["a", "b"])[1]
    np.testing.assert_allclose(scaling.scales_, exact, rtol=1e-5)  # sums in float32
    naive = np.sqrt(np.abs((X**2).mean(axis=0) - X.mean(axis=0) ** 2))
    assert np.abs(naive / exact - 1).max() > 0.1  # what happens without a shift


@pytest.mark.parametrize("order", ["grouped", "mixed"])
def test_float32_languages_far_from_each_other_get_their_true_spread(order):
    rng = np.random.default_rng(2)
    language = np.repeat(["a", "b"], 1000)
    if order == "mixed":
        rng.shuffle(language)
    X = (rng.normal(size=(2000, 3)) + 300 * (language == "b")[:, None]).astype(np.float32)
    scaling = LanguageScaling().fit(X, language=language)
    exact = stats(X.astype(np.float64), language, ["a", "b"])[1]
    np.testing.assert_allclose(scaling.scales_, exact, rtol=1e-4)  # rows are exact to 3e-5


def test_the_inverse_gives_the_rows_back(as_kind, rows_of, rtol):
    X, language = three_languages()
    for anchor in ("origin", "pooled", "fr"):
        scaling = LanguageScaling(anchor=anchor).fit(as_kind(X), language=language)
        Z = scaling.transform(as_kind(X), language=language)
        back = rows_of(scaling.inverse_transform(Z, language=language))
        np.testing.assert_allclose(back, X, atol=10 * rtol * np.abs(X).max())


# --- ways to fit ------------------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 2**32 - 1),
    shrinkage=st.sampled_from([0.0, 0.3, "auto"]),
    balanced=st.booleans(),
)
def test_a_stream_of_batches_gives_the_same_fit(seed, shrinkage, balanced):
    rng = np.random.default_rng(seed)
    X, language = three_languages(seed, n=20)
    y = rng.integers(0, 2, size=60)
    make = lambda: LanguageScaling(shrinkage=shrinkage, class_balanced=balanced)  # noqa: E731
    stream, edges = make(), [0, *np.unique(rng.integers(1, 59, size=4)), 60]
    for a, b in pairwise(edges):
        stream.partial_fit(X[a:b], y[a:b], language=language[a:b])
    whole = make().fit(X, y, language=language)
    np.testing.assert_allclose(stream.means_, whole.means_, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(stream.scales_, whole.scales_, rtol=1e-10)


def test_merged_moments_give_the_same_fit():
    X, language = three_languages()
    a, b = (LanguageScaling().fit(X[i::2], language=language[i::2]).moments_ for i in (0, 1))
    merged = LanguageScaling().fit_moments(a + b)
    whole = LanguageScaling().fit(X, language=language)
    np.testing.assert_allclose(merged.scales_, whole.scales_, rtol=1e-12)
    np.testing.assert_allclose(merged.means_, whole.means_, rtol=1e-12)


def test_fit_transform_is_fit_and_then_transform(as_kind, rows_of):
    X, language = three_languages()
    x = as_kind(X)
    a = LanguageScaling(anchor="pooled").fit_transform(x, language=language)
    b = LanguageScaling(anchor="pooled").fit(x, language=language).transform(x, language=language)
    np.testing.assert_array_equal(rows_of(a), rows_of(b))


def test_a_row_is_transformed_the_same_whatever_else_is_in_the_batch():
    X, language = three_languages()
    scaling = LanguageScaling().fit(X, language=language)
    alone = [scaling.transform(X[i : i + 1], language=language[i]) for i in range(30)]
    np.testing.assert_array_equal(
        scaling.transform(X[:30], language=language[:30]), np.vstack(alone)
    )


def test_without_labels_all_rows_are_one_language():
    X, _ = three_languages()
    np.testing.assert_allclose(
        LanguageScaling().fit_transform(X), StandardScaler().fit_transform(X), atol=1e-12
    )


# --- unseen and added languages ---------------------------------------------------------------


@pytest.mark.parametrize("anchor", ["origin", "en"])
@pytest.mark.parametrize("unseen", ["global", "identity", "transductive"])
def test_an_unseen_language_is_treated_by_the_policy(anchor, unseen):
    X, language = three_languages()
    scaling = LanguageScaling(anchor=anchor, unseen=unseen).fit(X, language=language)
    new = 7 * np.random.default_rng(3).normal(size=(9, 5)) + 50
    Z = scaling.transform(np.vstack([new, X]), language=["xx"] * 9 + [*language])
    mean, scale = {
        "global": (scaling.pooled_mean_, scaling.pooled_scale_),
        "transductive": (new.mean(axis=0), new.std(axis=0)),
        "identity": (scaling.anchor_, scaling.anchor_scale_),
    }[unseen]
    expected = (new - mean) / scale * scaling.anchor_scale_ + scaling.anchor_
    np.testing.assert_allclose(Z[:9], expected, rtol=1e-9)
    np.testing.assert_array_equal(Z[9:], scaling.transform(X, language=language))


def test_adding_a_language_scales_it_and_leaves_the_others_bit_identical():
    X, language = three_languages()
    for anchor in ("origin", "pooled", "en"):
        scaling = LanguageScaling(anchor=anchor).fit(X, language=language)
        before = scaling.transform(X, language=language)
        new = 7 * np.random.default_rng(4).normal(size=(40, 5)) + 50
        scaling.add_language(new, "aa")
        np.testing.assert_array_equal(scaling.transform(X, language=language), before)
        Z = scaling.transform(new, language="aa")
        np.testing.assert_allclose(Z.mean(axis=0), scaling.anchor_, atol=1e-10)
        np.testing.assert_allclose(Z.std(axis=0), scaling.anchor_scale_, rtol=1e-10)


# --- shrinkage and class balance --------------------------------------------------------------


def test_full_shrinkage_treats_all_languages_alike():
    X, language = three_languages()
    scaling = LanguageScaling(shrinkage=1).fit(X, language=language)
    np.testing.assert_allclose(scaling.means_, np.tile(X.mean(axis=0), (3, 1)), atol=1e-12)
    np.testing.assert_allclose(scaling.scales_, np.tile(scaling.scales_[0], (3, 1)), rtol=1e-12)


def test_automatic_shrinkage_leaves_big_languages_alone():
    moved = []
    for n in (50, 5000):
        X, language = three_languages(n=n)
        raw = LanguageScaling().fit(X, language=language).scales_
        shrunk = LanguageScaling(shrinkage="auto").fit(X, language=language).scales_
        moved.append(np.abs(np.log(shrunk / raw)).max())
    # The factor falls as 1 / n: a hundredth is left with a hundred times the rows.
    assert moved[1] < 0.03 * moved[0]


@pytest.mark.parametrize("seed", range(5))
def test_automatic_shrinkage_estimates_the_spreads_of_tiny_languages_better(seed):
    rng = np.random.default_rng(seed)
    truth = np.exp(0.1 * rng.normal(size=(12, 30)))
    language = np.repeat(np.arange(12), [400] * 4 + [6] * 8)
    X = rng.normal(size=(len(language), 30)) * truth[language]
    raw = LanguageScaling().fit(X, language=language).scales_
    shrunk = LanguageScaling(shrinkage="auto").fit(X, language=language).scales_
    error = lambda s: (np.log(s / truth)[4:] ** 2).sum()  # noqa: E731
    assert error(shrunk) < 0.8 * error(raw)


def test_class_balance_gives_the_same_class_the_same_place_in_every_language():
    rng = np.random.default_rng(5)
    y = np.repeat([0, 1, 0, 1], [900, 100, 100, 900])
    language = np.repeat(["a", "b"], 1000)
    topic, spread = 3 * rng.normal(size=(2, 4)), np.array([[1.0] * 4, [5.0] * 4])
    at = (language == "b").astype(int)
    X = (topic[y] + 0.1 * rng.normal(size=(2000, 4))) * spread[at] + 7 * at[:, None]
    gaps = []
    for balanced in (True, False):
        Z = LanguageScaling(class_balanced=balanced).fit_transform(X, y, language=language)
        places = [Z[(y == c) & (at == k)].mean(axis=0) for c in (0, 1) for k in (0, 1)]
        gaps.append(np.abs(np.array(places[::2]) - places[1::2]).max())
    assert gaps[0] < 0.1  # noise of a mean of 100 rows, 0.01, in units of the spread
    assert gaps[1] > 1


# --- kinds and company ------------------------------------------------------------------------


@pytest.mark.parametrize("door", ["numpy float16", "torch float16", "torch bfloat16"])
def test_half_precision_rows_come_back_in_half_precision(door, make_kind, rows_of):
    X, language = three_languages()
    x = make_kind(X, door)
    Z = LanguageScaling().fit_transform(x, language=language)
    assert type(Z) is type(x)
    assert Z.dtype == x.dtype
    exact = LanguageScaling().fit_transform(rows_of(x), language=language)
    step = 2.0**-8 if "bfloat" in door else 2.0**-11  # relative rounding of the stored answer
    np.testing.assert_allclose(rows_of(Z), exact, rtol=step, atol=1e-3)


def test_clone_pickle_and_pandas_output():
    X, language = three_languages()
    scaling = LanguageScaling(anchor="en").set_output(transform="pandas")
    Z = scaling.fit_transform(pd.DataFrame(X, columns=list("abcde")), language=language)
    assert list(Z.columns) == list("abcde")
    assert clone(scaling).get_params() == scaling.get_params()
    again = pickle.loads(pickle.dumps(LanguageScaling().fit(X, language=language)))
    np.testing.assert_array_equal(
        again.transform(X, language=language), LanguageScaling().fit_transform(X, language=language)
    )
