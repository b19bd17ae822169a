"""GaussianTransport: languages become one Gaussian by the shortest way."""

import warnings
from itertools import pairwise

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning

from posthoc_align import GaussianTransport, LanguageScaling, LanguageWhitening
from posthoc_align.datasets import load_parallel_topics
from posthoc_align.moments import LanguageMoments, Moments

NAMES = np.array(["de", "en", "sw"])


def three_languages(seed=0, counts=(60, 60, 60), d=8, turned=True):
    """Rows of three means and covariances, in mixed order; variances lie between 0.1 and 10."""
    rng = np.random.default_rng(seed)
    language = rng.permutation(np.repeat(NAMES, counts))
    X = np.empty((len(language), d))
    for name, n in zip(NAMES, counts, strict=True):
        turn = np.linalg.qr(rng.normal(size=(d, d)))[0] if turned else np.eye(d)
        spread = np.exp(rng.uniform(np.log(0.3), np.log(3), size=d))
        X[language == name] = rng.normal(size=(n, d)) * spread @ turn + 10 * rng.normal(size=d)
    return X, language


def covariances(Z, language):
    return np.stack([np.cov(Z[language == name].T) for name in np.unique(language)])


def squared_distance(mean_a, a, mean_b, b):
    """Between two Gaussians, by its definition."""
    root = scipy.linalg.sqrtm(a)
    cross = scipy.linalg.sqrtm(root @ b @ root).real
    return np.sum((mean_a - mean_b) ** 2) + np.trace(a + b - 2 * cross)


def exact(**parameters):
    return GaussianTransport(shrinkage=0.0, **parameters)


# --- the law ----------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["barycentre", "pooled", "en"])
def test_all_languages_end_with_the_mean_and_covariance_of_the_target(
    target, as_kind, rows_of, rtol
):
    X, language = three_languages()
    transport = exact(target=target).fit(as_kind(X), language=language)
    Z = rows_of(transport.transform(as_kind(X), language=language))
    before, after = covariances(X, language), covariances(Z, language)
    assert np.abs(before[0] - before[2]).max() > 1
    tight = 100 * rtol * np.abs(before).max()
    for name, found in zip(NAMES, after, strict=True):
        np.testing.assert_allclose(found, transport.target_covariance_, atol=tight)
        mean = Z[language == name].mean(axis=0)
        np.testing.assert_allclose(mean, transport.target_mean_, atol=100 * rtol * np.abs(X).max())


@pytest.mark.parametrize("target", ["barycentre", "pooled", "de"])
def test_the_maps_are_symmetric_and_positive_which_makes_them_optimal(target):
    X, language = three_languages()
    transport = exact(target=target).fit(X, language=language)
    for name, piece in zip(NAMES, transport.pieces_, strict=True):
        A = piece.matrix
        np.testing.assert_allclose(A, A.T, atol=1e-12)
        assert np.linalg.eigvalsh(A).min() > 0  # Knott & Smith: no other such map is optimal
        if name != target:
            C = np.cov(X[language == name].T)
            np.testing.assert_allclose(A @ C @ A, transport.target_covariance_, atol=1e-11)


def test_rows_travel_as_far_as_the_distance_says_and_less_than_by_whitening():
    X, language = three_languages()
    transport = exact(target="en").fit(X, language=language)
    coral = LanguageWhitening(target="en", shrinkage=0.0).fit(X, language=language)
    goal = X[language == "en"]
    for name, distance in zip(NAMES, transport.distances_, strict=True):
        own = X[language == name]
        squared = squared_distance(
            own.mean(axis=0), np.cov(own.T), goal.mean(axis=0), np.cov(goal.T)
        )
        np.testing.assert_allclose(distance**2, squared, atol=1e-6)  # roots of rounding noise
        way = transport.transform(own, language=name) - own
        offset = way.mean(axis=0)
        travelled = np.sum((way - offset) ** 2) / 59 + offset @ offset
        np.testing.assert_allclose(travelled, squared, atol=1e-6)
        if name != "en":
            longer = coral.transform(own, language=name) - own
            assert np.sum(way**2) < np.sum(longer**2)


def test_the_target_language_itself_stays_bit_for_bit():
    X, language = three_languages()
    Z = GaussianTransport(target="en").fit_transform(X, language=language)
    np.testing.assert_array_equal(Z[language == "en"], X[language == "en"])
    assert np.abs(Z - X).max() > 1


def test_the_barycentre_is_a_fixed_point_whatever_the_sizes_of_the_languages():
    X, language = three_languages(counts=(40, 60, 100))
    transport = exact(tol=1e-13).fit(X, language=language)
    B, root = transport.target_covariance_, transport.target_root_
    weights = np.array([40, 60, 100]) / 200
    inner = [scipy.linalg.sqrtm(root @ C @ root).real for C in covariances(X, language)]
    np.testing.assert_allclose(np.tensordot(weights, inner, axes=1), B, atol=1e-10)
    # Hence the maps to the languages average to the identity: no way to go leads nearer to all.
    back = [np.linalg.inv(piece.matrix) for piece in transport.pieces_]
    np.testing.assert_allclose(np.tensordot(weights, back, axes=1), np.eye(8), atol=1e-9)


def test_no_other_gaussian_is_nearer_to_all_languages():
    X, language = three_languages(counts=(40, 60, 100))
    transport = exact().fit(X, language=language)
    weights = np.array([40, 60, 100]) / 200
    parts = [(X[language == name].mean(axis=0), np.cov(X[language == name].T)) for name in NAMES]

    def cost(mean, covariance):
        return sum(
            w * squared_distance(*part, mean, covariance)
            for w, part in zip(weights, parts, strict=True)
        )

    mean, B = transport.target_mean_, transport.target_covariance_
    least = cost(mean, B)
    np.testing.assert_allclose(weights @ transport.distances_**2, least, rtol=1e-10)
    rng = np.random.default_rng(1)
    for size in (0.01, 0.1, 0.5):
        for _ in range(20):
            T = np.eye(8) + size * rng.normal(size=(8, 8)) / 3
            assert cost(mean, T @ B @ T.T) > least
            assert cost(mean + size * rng.normal(size=8), B) > least
    assert cost(mean, np.tensordot(weights, [C for _, C in parts], axes=1)) > least


def test_where_dimensions_are_uncorrelated_the_barycentre_has_the_mean_spread():
    X, language = three_languages(turned=False)
    for name in NAMES:  # to the last digit uncorrelated
        own = X[language == name] - X[language == name].mean(axis=0)
        scale = np.random.default_rng(len(name) + ord(name[0])).uniform(1, 3, size=8)
        X[language == name] = np.linalg.qr(own)[0] * scale + 7
    transport = exact().fit(X, language=language)
    spread = np.stack([np.sqrt(np.diag(C)) for C in covariances(X, language)])
    expected = np.diag(spread.mean(axis=0) ** 2)
    np.testing.assert_allclose(transport.target_covariance_, expected, atol=1e-12)
    # And the map is scaling each dimension: the z-score, on another scale.
    Z = transport.transform(X, language=language) - transport.target_mean_
    scaled = LanguageScaling().fit_transform(X, language=language) * np.sqrt(59 / 60)
    np.testing.assert_allclose(Z, scaled * spread.mean(axis=0), atol=1e-11)


def test_a_planted_map_between_languages_is_found_back():
    rng = np.random.default_rng(2)
    X = rng.normal(size=(50, 6)) @ rng.normal(size=(6, 6))
    half = rng.normal(size=(6, 6))
    A = half @ half.T + np.eye(6)  # symmetric and positive: optimal between X and its image
    Y = X @ A + 5
    transport = exact(target="b").fit(np.vstack([X, Y]), language=["a"] * 50 + ["b"] * 50)
    np.testing.assert_allclose(transport.transform(X, language="a"), Y, atol=1e-9)


def test_one_language_stays_where_it_is():
    X, _ = three_languages()
    transport = exact().fit(X)
    np.testing.assert_allclose(transport.transform(X), X, atol=1e-11)
    np.testing.assert_allclose(transport.distances_, 0, atol=1e-6)  # the root of rounding noise


def test_a_rotated_space_gives_rotated_rows():
    X, language = three_languages()
    Q = np.linalg.qr(np.random.default_rng(3).normal(size=(8, 8)))[0]
    Z = GaussianTransport().fit_transform(X, language=language)
    ZQ = GaussianTransport().fit_transform(X @ Q, language=language)
    np.testing.assert_allclose(ZQ, Z @ Q, atol=1e-9)


# --- peers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["balanced", "unbalanced"])
def test_the_official_quadratic_eraser_gives_the_same_barycentre_maps_and_rows(official, case):
    inputs, reference = official("inputs"), official("quadratic_oracle")
    counts = [160] * 6 if case == "balanced" else inputs["counts_unbalanced"]
    X = np.concatenate([rows[:n] for rows, n in zip(inputs["X_fit"], counts, strict=True)])
    transport = exact().fit(X, language=np.repeat(np.arange(6), counts))
    theirs = {name: reference[f"{case}_quadratic_{name}"] for name in ("barycenter", "global_mean")}
    np.testing.assert_allclose(
        transport.target_covariance_, theirs["barycenter"], atol=1e-6, rtol=0
    )
    # They move to the mean of the language means; the barycentre's mean weighs languages.
    unweighted = np.mean([part.mean for part in transport.moments_.values()], axis=0)
    np.testing.assert_allclose(unweighted, theirs["global_mean"], atol=1e-9, rtol=0)
    moved = np.stack([transport.transform(x, language=i) for i, x in enumerate(inputs["X_new"])])
    moved += unweighted - transport.target_mean_
    np.testing.assert_allclose(moved, reference[f"{case}_quadratic_T_new"], atol=1e-6, rtol=0)
    if case == "balanced":
        np.testing.assert_allclose(
            transport.pieces_[1].matrix, reference["balanced_quadratic_map_l1"].T, atol=1e-6, rtol=0
        )


def ridged(moments, ridge):
    """The moments of rows whose covariances, over n, have a ridge."""
    return LanguageMoments(
        {
            label: Moments(
                part.count, part.mean, None, part.scatter + part.count * ridge * np.eye(48)
            )
            for label, part in moments.items()
        }
    )


def test_pot_gives_the_same_linear_map_there_and_back_and_the_same_distance(official):
    inputs, reference = official("inputs"), official("pot")
    X = np.concatenate(inputs["X_fit"][:2])
    moments = LanguageMoments.of(X, np.repeat([0, 1], 160), second="full")
    transport = exact(target=0).fit_moments(ridged(moments, 1e-8))
    piece, (there, back) = transport.pieces_[1], inputs["X_new"][[1, 0]]
    close = {"rtol": 1e-6, "atol": 1e-9}
    np.testing.assert_allclose(piece.matrix, reference["linear_A"], **close)
    offset = piece.target - piece.source @ piece.matrix
    np.testing.assert_allclose(offset, reference["linear_b"], **close)
    moved = transport.transform(there, language=1)
    np.testing.assert_allclose(moved, reference["linear_T_new"], **close)
    returned = transport.inverse_transform(back, language=1)
    np.testing.assert_allclose(returned, reference["linear_inverse_T_new_l0"], **close)
    # Their distance has a ridge of 1e-6, and covariances over n where ours are over n - 1.
    distance = exact(target=0).fit_moments(ridged(moments, 1e-6)).distances_[1]
    apart = np.sum((moments[0].mean - moments[1].mean) ** 2)
    over_n = np.sqrt(apart + (distance**2 - apart) * 159 / 160)
    np.testing.assert_allclose(over_n, reference["bures_wasserstein_distance"], rtol=1e-6)


# --- convergence, shrinkage, degenerate rows --------------------------------------------------


def test_a_barycentre_that_is_not_reached_is_warned_of_and_still_brings_languages_together():
    X, language = three_languages()
    says = "3 languages has not converged in max_iter=1 .* Give more steps"
    with pytest.warns(ConvergenceWarning, match=says):
        transport = exact(max_iter=1, tol=1e-12).fit(X, language=language)
    assert transport.n_iter_ == 1
    after = covariances(transport.transform(X, language=language), language)
    np.testing.assert_allclose(after, np.tile(after[0], (3, 1, 1)), atol=1e-11)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert 1 < exact(tol=1e-12).fit(X, language=language).n_iter_ < 100


@pytest.mark.parametrize(
    ("parameter", "value"), [("max_iter", 0), ("max_iter", 1.5), ("tol", -1.0), ("tol", None)]
)
def test_settings_of_the_barycentre_out_of_range_are_refused(parameter, value):
    X, language = three_languages()
    with pytest.raises(ValueError, match=rf"{parameter}={value!r} .* give"):
        GaussianTransport(**{parameter: value}).fit(X, language=language)


def test_shrunk_covariances_are_those_that_are_matched():
    X, language = three_languages()
    transport = GaussianTransport(shrinkage=0.25).fit(X, language=language)
    for piece, C in zip(transport.pieces_, covariances(X, language), strict=True):
        shrunk = 0.75 * C + 0.25 * np.trace(C) / 8 * np.eye(8)
        moved = piece.matrix.T @ shrunk @ piece.matrix
        np.testing.assert_allclose(moved, transport.target_covariance_, atol=1e-11)
    np.testing.assert_array_equal(transport.shrinkage_, 0.25)


def test_full_shrinkage_centres_and_scales_all_directions_alike():
    X, language = three_languages()
    transport = GaussianTransport(shrinkage=1.0).fit(X, language=language)
    for piece in transport.pieces_:
        np.testing.assert_allclose(piece.matrix, piece.matrix[0, 0] * np.eye(8), atol=1e-12)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_fewer_rows_than_dimensions_are_matched_by_default(dtype):
    X, language = three_languages(counts=(6, 7, 5), d=12)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        transport = GaussianTransport().fit(X.astype(dtype), language=language)
    Z = transport.transform(X, language=language)
    back = transport.inverse_transform(Z, language=language)
    np.testing.assert_allclose(back, X, atol=1e-10)


def test_without_shrinkage_directions_without_variance_are_removed_with_a_warning():
    X, language = three_languages()
    en = language == "en"
    X[en, 3:5] = X[en, 1:3] - X[en, 5:7]  # collinear
    says = r"'en' varies in 6 of 8 directions \(60 rows\).*'auto'"
    with pytest.warns(UserWarning, match=says):
        transport = exact(target="de").fit(X, language=language)
    Z = transport.transform(X, language=language)
    assert np.linalg.matrix_rank(Z[en] - Z[en].mean(axis=0)) == 6
    # What the others move to is no less exact for that.
    np.testing.assert_allclose(np.cov(Z[language == "sw"].T), np.cov(X[language == "de"].T))


@pytest.mark.parametrize("shrinkage", [0.0, "auto"])
def test_rows_that_are_all_the_same_end_at_the_mean_with_a_warning(shrinkage):
    X, language = three_languages()
    X[language == "en"] = 0.1 + np.arange(8) / 7
    with pytest.warns(UserWarning, match="'en' varies in 0 of 8 directions"):
        transport = GaussianTransport(shrinkage=shrinkage).fit(X, language=language)
    Z = transport.transform(X[language == "en"], language="en")
    np.testing.assert_allclose(Z, np.tile(transport.target_mean_, (60, 1)), atol=1e-12)


@pytest.mark.parametrize("target", ["xx", None, 3, ["en"], "identity"])
def test_a_target_that_is_no_language_names_the_choices(target):
    X, language = three_languages()
    says = r"is neither 'barycentre', 'pooled' nor one of .* \['de', 'en', 'sw'\]: choose"
    with pytest.raises(ValueError, match=says):
        GaussianTransport(target=target).fit(X, language=language)


# --- ways to fit and to transform -------------------------------------------------------------


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), target=st.sampled_from(["barycentre", "pooled", "en"]))
def test_a_stream_of_batches_gives_the_same_rows(seed, target):
    rng = np.random.default_rng(seed)
    X, language = three_languages(seed)
    edges = [0, *np.unique(rng.integers(1, 179, size=4)), 180]
    stream = GaussianTransport(target=target)
    for a, b in pairwise(edges):
        stream.partial_fit(X[a:b], language=language[a:b])
    whole = GaussianTransport(target=target).fit_transform(X, language=language)
    np.testing.assert_allclose(
        stream.transform(X, language=language), whole, atol=1e-10 * np.abs(X).max()
    )


@pytest.mark.parametrize("target", ["barycentre", "en"])
def test_the_way_back(target, as_kind, rows_of, rtol):
    X, language = three_languages()
    transport = GaussianTransport(target=target).fit(as_kind(X), language=language)
    Z = transport.transform(as_kind(X), language=language)
    assert type(Z) is type(as_kind(X))
    assert Z.dtype == as_kind(X).dtype
    back = rows_of(transport.inverse_transform(Z, language=language))
    np.testing.assert_allclose(back, X, atol=10 * rtol * np.abs(X).max())


def test_half_precision_comes_back_in_half_precision():
    X, language = three_languages()
    X = X.astype(np.float16)
    Z = GaussianTransport().fit_transform(X, language=language)
    assert Z.dtype == np.float16
    exact = GaussianTransport().fit_transform(X.astype(np.float64), language=language)
    np.testing.assert_allclose(Z, exact, atol=2.0**-10 * np.abs(exact).max())


@pytest.mark.parametrize("target", ["barycentre", "pooled", "en"])
def test_a_language_can_be_added_and_the_others_stay_bit_identical(target):
    X, language = three_languages()
    old = language != "sw"
    transport = exact(target=target).fit(X[old], language=language[old])
    before, goal = transport.transform(X[old], language=language[old]), transport.target_covariance_
    transport.add_language(X[~old], "sw")
    np.testing.assert_array_equal(transport.transform(X[old], language=language[old]), before)
    np.testing.assert_array_equal(transport.target_covariance_, goal)
    assert transport.distances_.shape == (3,)
    Z = transport.transform(X[~old], language="sw")
    np.testing.assert_allclose(np.cov(Z.T), goal, atol=1e-11)


def test_what_happens_to_a_language_that_fit_did_not_see():
    X, language = three_languages()
    old, new = language != "sw", X[language == "sw"]
    fitted = lambda unseen: exact(unseen=unseen).fit(X[old], language=language[old])  # noqa: E731
    with pytest.raises(ValueError, match="'sw'.*add_language"):
        fitted("error").transform(new, language="sw")
    np.testing.assert_array_equal(fitted("identity").transform(new, language="sw"), new)
    own = fitted("error").add_language(new, "sw").transform(new, language="sw")
    np.testing.assert_allclose(fitted("transductive").transform(new, language="sw"), own)
    transport = fitted("global")
    Z = transport.transform(X[old], language="sw")  # all rows together end at the target
    np.testing.assert_allclose(np.cov(Z.T), transport.target_covariance_, atol=1e-10)


def test_on_real_sentences_languages_become_one_gaussian_by_default():
    corpus = load_parallel_topics()
    keep = np.isin(corpus.language, ["de", "en"])
    X, language = corpus.embeddings[keep].astype(np.float64), corpus.language[keep]
    transport = GaussianTransport(tol=1e-4).fit(X, language=language)
    apart = lambda Z: np.linalg.norm(np.subtract(*covariances(Z, language)))  # noqa: E731
    assert apart(transport.transform(X, language=language)) < 0.3 * apart(X)
