"""LSAR: the subspace in which the language means differ is removed, and nothing else."""

import pickle
import warnings
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

from posthoc_align import LSAR, LanguageCentering

NAMES = np.array(["de", "en", "fr", "sw", "zh"])


def five_languages(seed=0, n=40, d=12, offset=10.0):
    """Rows about five far-apart means, in mixed order."""
    rng = np.random.default_rng(seed)
    language = rng.permutation(np.repeat(NAMES, n))
    means = offset * rng.normal(size=(5, d)) + 3
    return rng.normal(size=(5 * n, d)) + means[np.searchsorted(NAMES, language)], language


def means_of(Z, language):
    return np.stack([Z[language == name].mean(axis=0) for name in np.unique(language)])


def projector(lsar):
    C = lsar.components_
    return np.eye(C.shape[1]) - C.T @ C


def reference_rows(official, case="balanced"):
    inputs = official("inputs")
    L, n, _ = inputs["X_fit"].shape
    counts = inputs["counts_unbalanced"] if case == "unbalanced" else np.full(L, n)
    X = np.concatenate([rows[:k] for rows, k in zip(inputs["X_fit"], counts, strict=True)])
    return X, np.repeat(np.arange(L), counts), inputs


# --- the law ----------------------------------------------------------------------------------


def test_at_full_rank_all_language_means_become_equal(as_kind, rows_of, rtol):
    X, language = five_languages()
    assert np.ptp(means_of(X, language), axis=0).max() > 5  # it was not so before
    Z = rows_of(LSAR().fit_transform(as_kind(X), language=language))
    assert np.ptp(means_of(Z, language), axis=0).max() < 10 * rtol * np.abs(X).max()


def test_the_planted_subspace_is_found():
    rng = np.random.default_rng(1)
    basis = np.linalg.qr(rng.normal(size=(12, 2)))[0].T
    language = np.repeat(NAMES, 40)
    noise = rng.normal(size=(200, 12))
    noise -= means_of(noise, language)[np.searchsorted(NAMES, language)]  # means are exact
    X = noise + 5 + (rng.normal(size=(5, 2)) @ basis)[np.searchsorted(NAMES, language)]
    lsar = LSAR(rank=2).fit(X, language=language)
    np.testing.assert_allclose(projector(lsar), np.eye(12) - basis.T @ basis, atol=1e-12)


def test_what_is_orthogonal_to_the_subspace_stays():
    X, language = five_languages()
    lsar = LSAR(rank=2).fit(X, language=language)
    Z = X @ projector(lsar)
    np.testing.assert_allclose(lsar.transform(Z), Z, atol=1e-12)
    np.testing.assert_allclose(lsar.transform(X), Z, atol=1e-12)  # and this is all it does


@pytest.mark.parametrize("rank", [1, 2, 4])
def test_removing_twice_is_removing_once(rank, as_kind, rows_of, rtol):
    X, language = five_languages()
    lsar = LSAR(rank=rank).fit(as_kind(X), language=language)
    once = lsar.transform(as_kind(X))
    np.testing.assert_allclose(
        rows_of(lsar.transform(once)), rows_of(once), atol=rtol * np.abs(X).max()
    )


@pytest.mark.parametrize("rank", [0, 1, 2, 4])
def test_the_basis_is_orthonormal_and_of_the_rank_asked_for(rank):
    X, language = five_languages()
    lsar = LSAR(rank=rank).fit(X, language=language)
    C = lsar.components_
    assert C.shape == (rank, 12)
    assert lsar.rank_ == rank
    np.testing.assert_allclose(C @ C.T, np.eye(rank), atol=1e-13)


def test_the_shared_mean_is_orthogonal_to_the_subspace_and_is_not_subtracted():
    X, language = five_languages()
    lsar = LSAR().fit(X, language=language)
    np.testing.assert_allclose(lsar.components_ @ lsar.mean_, 0, atol=1e-11)
    # At full rank it is the point where all languages end.
    means = means_of(lsar.transform(X), language)
    np.testing.assert_allclose(means, np.tile(lsar.mean_, (5, 1)), atol=1e-11)
    assert np.linalg.norm(lsar.mean_) > 1


def test_centring_first_takes_away_the_shared_mean_that_the_subspace_removal_keeps():
    X, language = five_languages()
    Z = LSAR().fit_transform(X, language=language)
    centred = LanguageCentering().fit_transform(X, language=language)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # little is left to remove
        both = LSAR().fit_transform(centred, language=language)
    assert np.linalg.norm(Z.mean(axis=0)) > 1
    np.testing.assert_allclose(both.mean(axis=0), 0, atol=1e-12)


def test_no_subspace_of_that_rank_leaves_language_means_closer_together():
    X, language = five_languages()
    means = means_of(X, language)
    centred = means - means.mean(axis=0)
    left = np.linalg.norm(centred @ projector(LSAR(rank=2).fit(X, language=language)))
    singular = np.linalg.svd(centred, compute_uv=False)
    np.testing.assert_allclose(left, np.linalg.norm(singular[2:]), rtol=1e-12)  # Eckart-Young


def test_moving_all_languages_alike_does_not_change_the_subspace():
    X, language = five_languages()
    shift = 100 * np.random.default_rng(2).normal(size=12)
    for rank in (2, 4):
        a = LSAR(rank=rank).fit(X, language=language)
        b = LSAR(rank=rank).fit(X + shift, language=language)
        np.testing.assert_allclose(projector(a), projector(b), atol=1e-11)


def test_rotating_the_space_rotates_the_result():
    X, language = five_languages()
    Q = np.linalg.qr(np.random.default_rng(3).normal(size=(12, 12)))[0]
    Z = LSAR(rank=2).fit_transform(X, language=language)
    ZQ = LSAR(rank=2).fit_transform(X @ Q, language=language)
    np.testing.assert_allclose(ZQ, Z @ Q, atol=1e-11)


def test_every_language_weighs_the_same_however_many_rows_it_has():
    X, language = five_languages()
    more = np.concatenate([np.arange(200), *[np.flatnonzero(language == "en")] * 9])
    a = LSAR(rank=2).fit(X, language=language)
    b = LSAR(rank=2).fit(X[more], language=language[more])
    np.testing.assert_allclose(a.components_, b.components_, atol=1e-11)


def test_below_full_rank_a_near_duplicate_language_pulls_the_axes():
    X, language = five_languages()
    twin = X[language == "en"] + 1e-3 * np.random.default_rng(4).normal(size=(40, 12))
    X2, language2 = np.vstack([X, twin]), np.append(language, ["en2"] * 40)
    low = [LSAR(rank=1).fit(x, language=at) for x, at in ((X, language), (X2, language2))]
    assert np.abs(projector(low[0]) - projector(low[1])).max() > 1e-2
    full = [LSAR(rank=r).fit(x, language=at) for r, x, at in ((4, X, language), (4, X2, language2))]
    # The four strong axes span what they spanned, up to the 1e-4 by which the twins differ.
    np.testing.assert_allclose(projector(full[0]), projector(full[1]), atol=1e-3)


# --- peers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [1, 3, 5])
def test_the_official_code_gives_the_same_projector_mean_fit_and_rows(official, rank):
    X, language, inputs = reference_rows(official)
    lsar = LSAR(rank=rank).fit(X, language=language)
    reference = official("lsar")
    means = means_of(X, language)
    low_rank_fit = lsar.mean_ + (means - means.mean(axis=0)) @ lsar.components_.T @ lsar.components_
    low_rank_fit += means.mean(axis=0) @ lsar.components_.T @ lsar.components_
    new = np.stack([lsar.transform(rows) for rows in inputs["X_new"]])
    for name, ours in (
        ("P", projector(lsar)), ("mu", lsar.mean_), ("lowrank_fit", low_rank_fit), ("T_new", new)
    ):  # fmt: skip
        theirs = reference[f"r{rank}_{name}"]
        np.testing.assert_allclose(ours, theirs, atol=1e-9, rtol=0, err_msg=name)


def test_the_official_code_agrees_on_fitting_rows_means_and_singular_values(official):
    X, language, inputs = reference_rows(official)
    lsar, reference = LSAR().fit(X, language=language), official("lsar")
    ours = lsar.transform(inputs["X_fit"][1])
    np.testing.assert_allclose(ours, reference["r5_T_fit_l1"], atol=1e-9, rtol=0)
    means = np.stack([part.mean for part in lsar.moments_.values()])
    np.testing.assert_allclose(means, reference["means"], atol=1e-9, rtol=0)
    np.testing.assert_allclose(
        lsar.singular_values_, reference["singular_values_centred_means"], atol=1e-9, rtol=0
    )


def test_the_official_removal_of_two_axes_out_of_five_follows_from_the_basis(official):
    X, language, inputs = reference_rows(official)
    lsar, reference = LSAR(rank=5).fit(X, language=language), official("lsar")
    # Their axes are those of the means about mu, inside the same five-dimensional subspace.
    inside = (means_of(X, language) - lsar.mean_) @ lsar.components_.T
    axes = np.linalg.svd(inside)[2][:2] @ lsar.components_
    new = inputs["X_new"] - inputs["X_new"] @ axes.T @ axes
    np.testing.assert_allclose(new, reference["r2of5_T_new"], atol=1e-9, rtol=0)


def test_the_official_code_agrees_on_languages_of_unequal_size(official):
    X, language, inputs = reference_rows(official, "unbalanced")
    lsar, reference = LSAR(rank=2).fit(X, language=language), official("lsar")
    new = np.stack([lsar.transform(rows) for rows in inputs["X_new"]])
    np.testing.assert_allclose(projector(lsar), reference["unbalanced_r2_P"], atol=1e-9, rtol=0)
    np.testing.assert_allclose(new, reference["unbalanced_r2_T_new"], atol=1e-9, rtol=0)


@pytest.mark.parametrize("case", ["balanced", "unbalanced"])
def test_orthogonal_erasure_of_the_language_is_the_full_rank_projector(official, case):
    X, language, inputs = reference_rows(official, case)
    lsar, reference = LSAR().fit(X, language=language), official("leace")
    np.testing.assert_allclose(projector(lsar), reference[f"{case}_orth_P"], atol=1e-8, rtol=0)
    new = np.stack([lsar.transform(rows) for rows in inputs["X_new"]])
    linear, affine = (reference[f"{case}_orth_T_new_{form}"] for form in ("linear", "affine"))
    np.testing.assert_allclose(new, linear, atol=1e-8, rtol=0)  # the index's tolerance
    kept = X.mean(axis=0) @ (np.eye(48) - projector(lsar))  # what the affine form puts back
    np.testing.assert_allclose(new + kept, affine, atol=1e-8, rtol=0)


# --- decompose --------------------------------------------------------------------------------


def test_the_two_parts_add_up_and_are_orthogonal(as_kind, rows_of, rtol):
    X, language = five_languages()
    lsar = LSAR(rank=3).fit(as_kind(X), language=language)
    neutral, specific = (rows_of(part) for part in lsar.decompose(as_kind(X)))
    size = np.abs(X).max() ** 2 * 12
    np.testing.assert_allclose(neutral + specific, X, atol=rtol * np.abs(X).max())
    np.testing.assert_allclose((neutral * specific).sum(axis=1), 0, atol=rtol * size)
    np.testing.assert_array_equal(neutral, rows_of(lsar.transform(as_kind(X))))


def test_the_specific_part_lies_in_the_subspace_and_the_neutral_part_knows_no_language():
    X, language = five_languages()
    neutral, specific = LSAR().fit(X, language=language).decompose(X)
    assert np.linalg.matrix_rank(specific) == 4
    probe = lambda Z: LogisticRegression(max_iter=2000).fit(Z, language).score(Z, language)  # noqa: E731
    assert probe(specific) > 0.99
    assert probe(neutral) < 0.5  # of 200 rows in 8 dimensions: chance is 0.2, some is overfit


@pytest.mark.parametrize("door", ["numpy float16", "torch float16", "torch bfloat16"])
def test_half_precision_parts_come_back_in_half_precision(door, make_kind, rows_of):
    X, language = five_languages(offset=2.0)
    x = make_kind(X, door)
    lsar = LSAR().fit(x, language=language)
    exact = LSAR().fit(rows_of(x), language=language)
    step = 2.0**-8 if "bfloat" in door else 2.0**-11  # relative rounding of the stored answer
    for part, whole in zip(lsar.decompose(x), exact.decompose(rows_of(x)), strict=True):
        assert type(part) is type(x)
        assert part.dtype == x.dtype
        np.testing.assert_allclose(rows_of(part), whole, rtol=step, atol=1e-3)


# --- rank -------------------------------------------------------------------------------------


def test_the_default_rank_is_one_less_than_the_languages():
    X, language = five_languages()
    assert LSAR().fit(X, language=language).rank_ == 4


def test_one_language_leaves_the_rows_as_they_are():
    X, _ = five_languages()
    np.testing.assert_array_equal(LSAR().fit_transform(X), X)
    np.testing.assert_array_equal(LSAR().fit_transform(X, language=["en"] * 200), X)


def test_a_rank_above_what_means_can_span_waits_for_more_languages_in_a_stream():
    X, language = five_languages()
    X, language = X[np.argsort(language)], np.sort(language)
    with pytest.raises(ValueError, match="rank=3 .* 2 languages span at most L - 1 = 1"):
        LSAR(rank=3).fit(X[:80], language=language[:80])
    stream = LSAR(rank=3).partial_fit(X[:80], language=language[:80])
    with pytest.raises(ValueError, match="rank=3 .* 2 languages span at most L - 1 = 1"):
        stream.transform(X)
    stream.partial_fit(X[80:], language=language[80:])
    whole = LSAR(rank=3).fit(X, language=language)
    np.testing.assert_allclose(stream.transform(X), whole.transform(X), atol=1e-10)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_two_languages_of_the_same_rows_lower_the_rank_with_a_warning(dtype):
    X, language = five_languages()
    X = X.astype(dtype)
    X[language == "zh"] = X[language == "en"]
    with pytest.warns(UserWarning, match="removes 3 directions instead of 4"):
        lsar = LSAR().fit(X, language=language)
    assert lsar.rank_ == 3
    others = language != "zh"
    alone = LSAR().fit(X[others], language=language[others])
    tight = 1e-11 if dtype == "float64" else 1e-5
    np.testing.assert_allclose(projector(lsar), projector(alone), atol=tight)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("n_languages", [2, 5])
def test_after_centring_there_is_nothing_left_to_remove(dtype, n_languages):
    X, language = five_languages(d=40)
    keep = np.isin(language, NAMES[:n_languages])
    X, language = X[keep].astype(dtype), language[keep]
    Z = LanguageCentering().fit_transform(X, language=language)
    with pytest.warns(UserWarning, match="removes 0 directions"):
        lsar = LSAR().fit(Z, language=language)
    np.testing.assert_array_equal(lsar.transform(Z), Z)


def test_more_languages_than_dimensions_are_warned_of_before_everything_is_removed():
    X, language = five_languages(d=3)
    with pytest.warns(UserWarning, match="more languages than the 3 dimensions"):
        lsar = LSAR().fit(X, language=language)
    assert lsar.rank_ <= 3


# --- ways to fit and to transform -------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), rank=st.sampled_from([None, 2]))
def test_a_stream_of_batches_gives_the_same_fit(seed, rank):
    rng = np.random.default_rng(seed)
    X, language = five_languages(seed, n=12)
    edges = [0, *np.unique(rng.integers(1, 59, size=4)), 60]
    stream = LSAR(rank=rank)
    for a, b in pairwise(edges):
        stream.partial_fit(X[a:b], language=language[a:b])
    whole = LSAR(rank=rank).fit(X, language=language)
    np.testing.assert_allclose(stream.singular_values_, whole.singular_values_, atol=1e-9)
    # The axes turn by rounding over the gap between singular values.
    gap = min(-np.diff(whole.singular_values_)) if rank else whole.singular_values_[-2]
    np.testing.assert_allclose(projector(stream), projector(whole), atol=1e-10 / min(gap, 1))


def test_merged_moments_give_the_same_fit():
    X, language = five_languages()
    a, b = (LSAR().fit(X[i::2], language=language[i::2]).moments_ for i in (0, 1))
    merged, whole = LSAR(rank=2).fit_moments(a + b), LSAR(rank=2).fit(X, language=language)
    np.testing.assert_allclose(merged.components_, whole.components_, atol=1e-11)


def test_the_order_of_rows_and_the_names_of_languages_do_not_matter():
    X, language = five_languages()
    order = np.random.default_rng(5).permutation(200)
    a = LSAR(rank=3).fit(X, language=language)
    b = LSAR(rank=3).fit(X[order], language=9 - np.searchsorted(NAMES, language)[order])
    np.testing.assert_allclose(a.components_, b.components_, atol=1e-10)  # signs are fixed


def test_fit_transform_is_fit_and_then_transform(as_kind, rows_of):
    X, language = five_languages()
    a = LSAR(rank=2).fit_transform(as_kind(X), language=language)
    b = LSAR(rank=2).fit(as_kind(X), language=language).transform(as_kind(X))
    np.testing.assert_array_equal(rows_of(a), rows_of(b))


def test_transform_needs_no_language_and_ignores_the_one_it_is_given():
    X, language = five_languages()
    lsar = LSAR().fit(X, language=language)
    Z = lsar.transform(X)
    np.testing.assert_array_equal(lsar.transform(X, language=language), Z)
    np.testing.assert_array_equal(lsar.transform(X, language="never seen"), Z)


def test_a_row_is_transformed_the_same_whatever_else_is_in_the_batch():
    X, language = five_languages()
    lsar = LSAR().fit(X, language=language)
    alone = np.vstack([lsar.transform(X[i : i + 1]) for i in range(20)])
    # A product of one row may be summed in another order than a product of many.
    np.testing.assert_allclose(lsar.transform(X[:20]), alone, atol=1e-13)


def test_torch_and_numpy_agree(as_kind, rows_of, rtol):
    X, language = five_languages()
    expected = LSAR(rank=2).fit_transform(X, language=language)
    Z = rows_of(LSAR(rank=2).fit_transform(as_kind(X), language=language))
    np.testing.assert_allclose(Z, expected, atol=rtol * np.abs(X).max())


def test_clone_pickle_pandas_and_pipeline():
    X, language = five_languages()
    lsar = LSAR(rank=2).fit(X, language=language)
    assert clone(lsar).get_params() == {"rank": 2, "language_from": None}
    again = pickle.loads(pickle.dumps(lsar))
    np.testing.assert_array_equal(again.transform(X), lsar.transform(X))
    frame = pd.DataFrame(X).add_prefix("x")
    out = LSAR().set_output(transform="pandas").fit_transform(frame, language=language)
    assert list(out.columns) == list(frame.columns)
    y = (np.random.default_rng(6).normal(size=200) > 0).astype(int)
    with sklearn.config_context(enable_metadata_routing=True), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipe = make_pipeline(LSAR(rank=2), LogisticRegression()).fit(X, y, language=language)
    Z = lsar.transform(X)
    np.testing.assert_array_equal(
        pipe.predict(X), LogisticRegression(max_iter=100).fit(Z, y).predict(Z)
    )
