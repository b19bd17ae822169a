"""LanguageCentering: every language ends at one mean, and nothing else changes."""

import pickle
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import sklearn
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from posthoc_align import LanguageCentering

NAMES = ["de", "en", "fr"]


def three_languages(seed=0, n=80, d=6):
    """Rows about three far-apart means, in mixed order."""
    rng = np.random.default_rng(seed)
    language = rng.permutation(np.repeat(NAMES, n))
    offsets = 10 * rng.normal(size=(3, d))
    return rng.normal(size=(3 * n, d)) + offsets[np.searchsorted(NAMES, language)], language


def means_of(Z, language):
    return np.stack([Z[language == name].mean(axis=0) for name in NAMES])


def flat(official):
    """The reference rows as one matrix with labels: fitting rows and held-out rows."""
    inputs = official("inputs")
    L = len(inputs["X_fit"])
    fit, new = (np.concatenate(inputs[key]) for key in ("X_fit", "X_new"))
    return fit, np.repeat(np.arange(L), len(fit) // L), new, np.repeat(np.arange(L), len(new) // L)


# --- the law ----------------------------------------------------------------------------------


def test_every_language_ends_with_mean_zero(as_kind, rows_of, rtol):
    X, language = three_languages()
    assert np.abs(means_of(X, language)).max() > 5  # it was not so before
    Z = rows_of(LanguageCentering().fit_transform(as_kind(X), language=language))
    np.testing.assert_allclose(means_of(Z, language), 0, atol=rtol * np.abs(X).max())


def test_rows_keep_their_differences_within_a_language():
    X, language = three_languages()
    Z = LanguageCentering().fit_transform(X, language=language)
    for name in NAMES:
        x, z = X[language == name], Z[language == name]
        np.testing.assert_allclose(z - z[0], x - x[0], atol=1e-13)  # two roundings


def test_the_pooled_anchor_keeps_the_mean_of_all_rows():
    X, language = three_languages()
    centring = LanguageCentering(anchor="pooled").fit(X, language=language)
    means = means_of(centring.transform(X, language=language), language)
    np.testing.assert_allclose(means, np.tile(X.mean(axis=0), (3, 1)), atol=1e-12)
    np.testing.assert_allclose(centring.pooled_mean_, X.mean(axis=0), atol=1e-13)


@pytest.mark.parametrize("rows", [80, 23])
def test_the_pooled_mean_weighs_rows_and_not_languages(rows):
    X, language = three_languages()
    keep = (language != "fr") | (np.cumsum(language == "fr") <= rows)
    centring = LanguageCentering().fit(X[keep], language=language[keep])
    np.testing.assert_allclose(centring.pooled_mean_, X[keep].mean(axis=0), atol=1e-12)


def test_a_named_anchor_is_the_mean_shift_and_stays_as_it_is():
    X, language = three_languages()
    Z = LanguageCentering(anchor="en").fit_transform(X, language=language)
    np.testing.assert_array_equal(Z[language == "en"], X[language == "en"])
    means = means_of(X, language)
    for name, mean in zip(NAMES, means, strict=True):
        expected = X[language == name] - mean + means[1]
        np.testing.assert_allclose(Z[language == name], expected, atol=1e-12)


def test_integer_labels_may_be_anchors():
    X, language = three_languages()
    codes = np.searchsorted(NAMES, language) * 10
    Z = LanguageCentering(anchor=10).fit_transform(X, language=codes)
    expected = LanguageCentering(anchor="en").fit_transform(X, language=language)
    np.testing.assert_array_equal(Z, expected)


def test_the_inverse_gives_the_rows_back(as_kind, rows_of, rtol):
    X, language = three_languages()
    for anchor in ("origin", "pooled", "fr"):
        centring = LanguageCentering(anchor=anchor).fit(as_kind(X), language=language)
        Z = centring.transform(as_kind(X), language=language)
        back = rows_of(centring.inverse_transform(Z, language=language))
        np.testing.assert_allclose(back, X, atol=rtol * np.abs(X).max())


def test_rotating_the_space_rotates_the_result():
    X, language = three_languages()
    Q = np.linalg.qr(np.random.default_rng(1).normal(size=(6, 6)))[0]
    Z = LanguageCentering(anchor="pooled").fit_transform(X, language=language)
    ZQ = LanguageCentering(anchor="pooled").fit_transform(X @ Q, language=language)
    np.testing.assert_allclose(ZQ, Z @ Q, atol=1e-12)


# --- peers ------------------------------------------------------------------------------------


def test_the_official_centring_gives_the_same_rows(official):
    fit, fit_language, new, new_language = flat(official)
    centring = LanguageCentering().fit(fit, language=fit_language)
    reference = official("demean")
    np.testing.assert_allclose(centring.means_, reference["means"], atol=1e-12, rtol=0)
    Z = centring.transform(new, language=new_language).reshape(reference["T_new"].shape)
    np.testing.assert_allclose(Z, reference["T_new"], atol=1e-12, rtol=0)


@pytest.mark.parametrize("case", ["balanced", "unbalanced"])
def test_oracle_erasure_of_the_language_is_centring_at_the_pooled_mean(official, case):
    fit, fit_language, new, new_language = flat(official)
    if case == "unbalanced":
        inputs = official("inputs")
        counts, n = inputs["counts_unbalanced"], inputs["X_fit"].shape[1]
        keep = np.tile(np.arange(n), len(counts)) < np.repeat(counts, n)
        fit, fit_language = fit[keep], fit_language[keep]
    Z = LanguageCentering(anchor="pooled").fit(fit, language=fit_language)
    reference = official("quadratic_oracle")[f"{case}_oracle_T_new"]
    Z = Z.transform(new, language=new_language).reshape(reference.shape)
    np.testing.assert_allclose(Z, reference, atol=1e-9, rtol=0)  # the index's tolerance


# --- ways to fit ------------------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 2**32 - 1),
    shrinkage=st.sampled_from([0.0, 0.3, "auto"]),
    anchor=st.sampled_from(["origin", "pooled", "en"]),
    balanced=st.booleans(),
)
def test_a_stream_of_batches_gives_the_same_fit(seed, shrinkage, anchor, balanced):
    rng = np.random.default_rng(seed)
    X, language = three_languages(seed, n=20)
    y = rng.integers(0, 2, size=60)
    make = lambda: LanguageCentering(  # noqa: E731
        anchor=anchor, shrinkage=shrinkage, class_balanced=balanced
    )
    stream, edges = make(), [0, *np.unique(rng.integers(1, 59, size=4)), 60]
    for a, b in pairwise(edges):
        stream.partial_fit(X[a:b], y[a:b], language=language[a:b])
    whole = make().fit(X, y, language=language)
    np.testing.assert_allclose(stream.means_, whole.means_, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(stream.anchor_, whole.anchor_, rtol=1e-10, atol=1e-10)


def test_merged_moments_give_the_same_fit():
    X, language = three_languages()
    parts = [LanguageCentering().fit(X[at], language=language[at]) for at in (
        slice(0, 100), slice(100, None)
    )]  # fmt: skip
    merged = LanguageCentering().fit_moments(parts[0].moments_ + parts[1].moments_)
    whole = LanguageCentering().fit(X, language=language)
    assert merged.languages_ == whole.languages_
    Z = merged.transform(X, language=language)
    np.testing.assert_allclose(Z, whole.transform(X, language=language), atol=1e-11)


def test_fit_forgets_what_was_seen_before():
    X, language = three_languages()
    centring = LanguageCentering().fit(X + 100, language=language).fit(X, language=language)
    np.testing.assert_array_equal(
        centring.means_, LanguageCentering().fit(X, language=language).means_
    )


@pytest.mark.parametrize("anchor", ["origin", "pooled", "en"])
def test_fit_transform_is_fit_and_then_transform(as_kind, rows_of, anchor):
    X, language = three_languages()
    x = as_kind(X)
    a = LanguageCentering(anchor=anchor).fit_transform(x, language=language)
    b = LanguageCentering(anchor=anchor).fit(x, language=language).transform(x, language=language)
    np.testing.assert_array_equal(rows_of(a), rows_of(b))


@pytest.mark.parametrize("unseen", ["global", "identity"])
def test_a_row_is_transformed_the_same_whatever_else_is_in_the_batch(unseen):
    X, language = three_languages()
    centring = LanguageCentering(unseen=unseen).fit(X[:200], language=language[:200])
    language[220:230] = "xx"
    together = centring.transform(X[200:], language=language[200:])
    alone = [centring.transform(X[i : i + 1], language=language[i]) for i in range(200, 240)]
    np.testing.assert_array_equal(together, np.vstack(alone))


def test_one_label_for_the_batch_is_that_label_for_each_row():
    X, language = three_languages()
    centring = LanguageCentering().fit(X, language=language)
    np.testing.assert_array_equal(
        centring.transform(X, language="fr"), centring.transform(X, language=["fr"] * len(X))
    )


def test_without_labels_all_rows_are_one_language():
    X, _ = three_languages()
    centring = LanguageCentering().fit(X)
    assert centring.languages_ == [None]
    np.testing.assert_allclose(centring.transform(X), X - X.mean(axis=0), atol=1e-12)


# --- unseen and added languages ---------------------------------------------------------------


@pytest.mark.parametrize("anchor", ["origin", "pooled", "en"])
@pytest.mark.parametrize("unseen", ["global", "identity", "transductive"])
def test_an_unseen_language_is_treated_by_the_policy(as_kind, rows_of, rtol, anchor, unseen):
    X, language = three_languages()
    centring = LanguageCentering(anchor=anchor, unseen=unseen).fit(as_kind(X), language=language)
    new = np.random.default_rng(2).normal(size=(9, 6)) + 50
    Z = rows_of(centring.transform(as_kind(np.vstack([new, X])), language=["xx"] * 9 + [*language]))
    subtracted = {"global": X.mean(axis=0), "transductive": new.mean(axis=0)}
    expected = new if unseen == "identity" else new - subtracted[unseen] + centring.anchor_
    np.testing.assert_allclose(Z[:9], expected, atol=rtol * 50)
    known = rows_of(centring.transform(as_kind(X), language=language))
    np.testing.assert_array_equal(Z[9:], known)  # the others do not notice


def test_adding_a_language_centres_it_and_leaves_the_others_bit_identical():
    X, language = three_languages()
    for anchor in ("origin", "pooled", "en"):
        centring = LanguageCentering(anchor=anchor).fit(X, language=language)
        before = centring.transform(X, language=language)
        pooled = centring.pooled_mean_.copy()
        new = np.random.default_rng(3).normal(size=(40, 6)) + 50
        centring.add_language(new, "aa")
        np.testing.assert_array_equal(centring.transform(X, language=language), before)
        np.testing.assert_array_equal(centring.pooled_mean_, pooled)
        mean = centring.transform(new, language="aa").mean(axis=0)
        np.testing.assert_allclose(mean, centring.anchor_, atol=1e-12)
        assert "aa" in centring.languages_


def test_a_language_added_to_a_stream_stays_after_more_rows_come():
    X, language = three_languages()
    centring = LanguageCentering().partial_fit(X[:200], language=language[:200])
    new = np.random.default_rng(4).normal(size=(40, 6)) + 50
    centring.add_language(new, "xx").partial_fit(X[200:], language=language[200:])
    assert "xx" in centring.languages_
    np.testing.assert_allclose(centring.transform(new, language="xx").mean(axis=0), 0, atol=1e-12)


def test_a_known_language_cannot_be_added_again():
    X, language = three_languages()
    with pytest.raises(ValueError, match="Cannot add language 'en'.*Only a new language"):
        LanguageCentering().fit(X, language=language).add_language(X, "en")


# --- shrinkage --------------------------------------------------------------------------------


def test_shrinkage_moves_each_mean_that_share_of_the_way():
    X, language = three_languages()
    raw = LanguageCentering().fit(X, language=language)
    for s in (0.25, 1):
        shrunk = LanguageCentering(shrinkage=s).fit(X, language=language)
        expected = raw.means_ + s * (raw.pooled_mean_ - raw.means_)
        np.testing.assert_allclose(shrunk.means_, expected, atol=1e-12)
        np.testing.assert_array_equal(shrunk.shrinkage_, [s] * 3)


def nearly_equal_languages(seed, rows, d=30):
    """Languages whose true means differ by less than one row's noise, and those means."""
    rng = np.random.default_rng(seed)
    truth = 0.3 * rng.normal(size=(len(rows), d))
    language = np.repeat(np.arange(len(rows)), rows)
    return truth[language] + rng.normal(size=(len(language), d)), language, truth


def test_automatic_shrinkage_is_large_for_tiny_languages_and_vanishes_for_big_ones():
    X, language, _ = nearly_equal_languages(5, [5000, 5000, 5000, 4])
    s = LanguageCentering(shrinkage="auto").fit(X, language=language).shrinkage_
    assert (s >= 0).all()
    assert (s <= 1).all()
    assert s[3] > 0.5
    assert s[:3].max() < 0.01


@pytest.mark.parametrize("seed", range(5))
def test_automatic_shrinkage_estimates_the_means_of_tiny_languages_better(seed):
    X, language, truth = nearly_equal_languages(seed, [400] * 4 + [5] * 8)
    raw = LanguageCentering().fit(X, language=language).means_
    shrunk = LanguageCentering(shrinkage="auto").fit(X, language=language).means_
    assert ((shrunk - truth)[4:] ** 2).sum() < 0.8 * ((raw - truth)[4:] ** 2).sum()


# --- class balance ----------------------------------------------------------------------------


def label_shift(seed=6):
    """Two languages, equal but for an offset, with opposite class mixes: 90/10 and 10/90."""
    rng = np.random.default_rng(seed)
    y = np.repeat([0, 1, 0, 1], [900, 100, 100, 900])
    language = np.repeat(["a", "b"], 1000)
    topic, offset = 3 * rng.normal(size=(2, 8)), 5 * rng.normal(size=(2, 8))
    X = topic[y] + offset[(language == "b").astype(int)] + 0.1 * rng.normal(size=(2000, 8))
    return X, y, language


def class_gap(Z, y, language):
    """How far the same class lies apart in the two languages."""
    at = lambda c, name: Z[(y == c) & (language == name)].mean(axis=0)  # noqa: E731
    return max(np.linalg.norm(at(c, "a") - at(c, "b")) for c in (0, 1))


def test_class_balance_brings_together_what_plain_centring_drives_apart(as_kind, rows_of):
    X, y, language = label_shift()
    plain = LanguageCentering().fit_transform(as_kind(X), y, language=language)
    balanced = LanguageCentering(class_balanced=True)
    balanced = balanced.fit_transform(as_kind(X), y, language=language)
    # The noise of a class mean of 100 rows in 8 dimensions is 0.1 * sqrt(8 / 100) = 0.03.
    assert class_gap(rows_of(balanced), y, language) < 0.1
    assert class_gap(rows_of(plain), y, language) > 3


def test_repeating_the_rows_of_a_class_changes_no_balanced_mean():
    X, y, language = label_shift()
    again = (y == 1) & (language == "a")
    more = [np.concatenate([v, v[again], v[again]]) for v in (X, y, language)]
    a = LanguageCentering(class_balanced=True).fit(X, y, language=language)
    b = LanguageCentering(class_balanced=True).fit(more[0], more[1], language=more[2])
    np.testing.assert_allclose(a.means_, b.means_, atol=1e-12)


def test_class_labels_may_be_text():
    X, y, language = label_shift()
    a = LanguageCentering(class_balanced=True).fit(X, y, language=language)
    b = LanguageCentering(class_balanced=True).fit(
        X, np.array(["sports", "art"])[y], language=language
    )
    np.testing.assert_allclose(a.means_, b.means_, atol=1e-13)


# --- kinds and company ------------------------------------------------------------------------


@pytest.mark.parametrize("door", ["numpy float16", "torch float16", "torch bfloat16"])
def test_half_precision_rows_come_back_in_half_precision(door, make_kind, rows_of):
    X, language = three_languages()
    x = make_kind(X, door)
    Z = LanguageCentering().fit_transform(x, language=language)
    assert type(Z) is type(x)
    assert Z.dtype == x.dtype
    exact = LanguageCentering().fit_transform(rows_of(x), language=language)
    step = 2.0**-8 if "bfloat" in door else 2.0**-11  # relative rounding of the stored answer
    np.testing.assert_allclose(rows_of(Z), exact, rtol=step, atol=1e-4)


def test_torch_and_numpy_agree(kind, as_kind, rows_of, rtol):
    X, language = three_languages()
    expected = LanguageCentering(anchor="pooled").fit_transform(X, language=language)
    Z = LanguageCentering(anchor="pooled").fit_transform(as_kind(X), language=language)
    np.testing.assert_allclose(rows_of(Z), expected, atol=rtol * np.abs(X).max())


def test_clone_and_pickle_keep_what_they_should():
    X, language = three_languages()
    centring = LanguageCentering(anchor="en", shrinkage=0.1).fit(X, language=language)
    assert not hasattr(clone(centring), "means_")
    assert clone(centring).get_params() == centring.get_params()
    again = pickle.loads(pickle.dumps(centring))
    np.testing.assert_array_equal(
        again.transform(X, language=language), centring.transform(X, language=language)
    )


def test_a_pandas_user_gets_data_frames_with_the_names_and_index_kept():
    X, language = three_languages()
    frame = pd.DataFrame(X, columns=list("abcdef"), index=np.arange(240) + 7)
    centring = LanguageCentering().set_output(transform="pandas")
    Z = centring.fit_transform(frame, language=pd.Series(language))
    assert list(Z.columns) == list("abcdef")
    assert list(Z.index) == list(frame.index)


def test_a_pipeline_delivers_the_language_to_fit_and_to_transform():
    X, y, language = label_shift()
    with sklearn.config_context(enable_metadata_routing=True):
        pipe = make_pipeline(LanguageCentering(anchor="a"), LogisticRegression())
        pipe.fit(X, y, language=language)
        accuracy = np.mean(pipe.predict(X, language=language) == y)
    Z = LanguageCentering(anchor="a").fit_transform(X, language=language)
    assert accuracy == LogisticRegression().fit(Z, y).score(Z, y)
