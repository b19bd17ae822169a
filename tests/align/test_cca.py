"""CCAMap: the steps of VecMap on both sides, canonical correlations, and the fold onto a pivot."""

import pickle
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.cross_decomposition import CCA

from posthoc_align import CCAMap, LinearMap, PivotAligner, Procrustes
from posthoc_align.align.recipe import FittedRecipe
from posthoc_align.datasets import load_parallel_topics
from posthoc_align.metrics import weak_alignment

PRESETS = ["supervised", "aaai2018", "orthogonal", "unconstrained", "cca"]


def pairs(seed=0, n=80, d_in=6, d_out=6, noise=0.5):
    """Two noisy views of the same meanings, rotated, scaled and off the origin."""
    rng = np.random.default_rng(seed)
    meaning = rng.normal(size=(n, max(d_in, d_out))) * np.linspace(0.5, 2, max(d_in, d_out))
    views = []
    for d in (d_in, d_out):
        mix = np.linalg.qr(rng.normal(size=(max(d_in, d_out),) * 2))[0][:, :d]
        views.append(meaning @ mix + noise * rng.normal(size=(n, d)) + 3)
    return views


def root(matrix, power):
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * values**power) @ vectors.T


def by_hand(X, Y, a, b, dewhiten, penalty=0.0):
    """Both matrices of the formula, computed apart from the class; columns up to a sign."""
    x, y = X - X.mean(axis=0), Y - Y.mean(axis=0)
    A, B = (root(z.T @ z + penalty * np.eye(z.shape[1]), -0.5) for z in (x, y))
    U, s, Vt = np.linalg.svd(A @ x.T @ y @ B, full_matrices=False)
    V = Vt.T
    T, S = A @ U * s**a, B @ V * s**b
    if dewhiten:
        T, S = T @ U.T @ np.linalg.inv(A) @ U, S @ V.T @ np.linalg.inv(B) @ V
    return T, S


# --- peers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "preset", "recipe", "n_components"),
    [
        ("supervised", "supervised", ("unit", "center", "unit"), None),
        ("supervised_dim_reduction", "supervised", ("unit", "center", "unit"), 20),
        ("aaai2018", "aaai2018", ("unit", "center"), None),
        ("orthogonal_unit_center", "emnlp2016", ("unit", "center"), None),
        ("orthogonal_unit_center_unit", "orthogonal", ("unit", "center", "unit"), None),
        ("unconstrained_unit_center", "unconstrained", ("unit", "center"), None),
    ],
)
def test_the_official_mappings_of_vecmap_agree(official, mode, preset, recipe, n_components):
    X, reference = official("inputs")["X_fit"], official("vecmap_supervised")
    rows = reference["dictionary_rows"]
    source, target = (FittedRecipe.fit(recipe, x)[1] for x in (X[1], X[0]))
    map_ = CCAMap(preset=preset, n_components=n_components, penalty=0, center=False)
    map_.fit(source[rows], target[rows])
    ours = map_.transform(source), map_.transform_target(target)
    theirs = reference[f"{mode}_src"], reference[f"{mode}_trg"]
    # Columns are defined up to a common rotation or sign, which products do not see.
    for i, j in ((0, 0), (1, 1), (0, 1)):
        np.testing.assert_allclose(ours[i] @ ours[j].T, theirs[i] @ theirs[j].T, rtol=0, atol=1e-7)


def test_plain_cca_has_the_correlations_of_scikit_learn():
    X, Y = pairs(n=300, d_in=5, d_out=4)
    map_ = CCAMap(preset="cca", penalty=0).fit(X, Y)
    peer = CCA(n_components=4, max_iter=5000, tol=1e-12).fit(X, Y)
    a, b = peer.transform(X, Y)
    expected = [np.corrcoef(a[:, i], b[:, i])[0, 1] for i in range(4)]
    np.testing.assert_allclose(map_.correlations_, expected, atol=1e-6)


def test_the_variates_of_plain_cca_are_white_and_correlate_only_in_pairs():
    X, Y = pairs(d_in=5, d_out=7)
    map_ = CCAMap(preset="cca", penalty=0).fit(X, Y)
    a, b = map_.transform(X), map_.transform_target(Y)
    np.testing.assert_allclose(a.T @ a, np.eye(5), atol=1e-11)
    np.testing.assert_allclose(b.T @ b, np.eye(5), atol=1e-11)
    np.testing.assert_allclose(a.T @ b, np.diag(map_.correlations_), atol=1e-11)


# --- formula and identities -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "a", "b", "dewhiten"),
    [
        ({"preset": "supervised"}, 0.5, 0.5, True),
        ({"preset": "aaai2018"}, 0, 1, True),
        ({"preset": "cca"}, 0, 0, False),
        ({"preset": "supervised", "reweight": (1.0, 0.25)}, 1, 0.25, True),
        ({"preset": "aaai2018", "reweight": 0, "dewhiten": False}, 0, 0, False),
        ({"preset": "cca", "dewhiten": True, "reweight": 2}, 2, 2, True),
    ],
)
@pytest.mark.parametrize("penalty", [0.0, 5.0])
def test_both_sides_are_the_formula_and_given_parameters_win(parameters, a, b, dewhiten, penalty):
    X, Y = pairs()
    map_ = CCAMap(penalty=penalty, **parameters).fit(X, Y)
    T, S = by_hand(X, Y, a, b, dewhiten, penalty)
    signs = np.sign(np.sum(T * map_.matrix_, axis=0))
    np.testing.assert_allclose(map_.matrix_, T * signs, atol=1e-10)
    np.testing.assert_allclose(map_.target_matrix_, S * signs, atol=1e-10)
    assert map_.penalty_ == (penalty, penalty)


def test_rows_are_mapped_mean_onto_mean(as_kind, rows_of, rtol):
    X, Y = pairs()
    map_ = CCAMap(penalty=1.0).fit(as_kind(X), as_kind(Y))
    a, b = map_.transform(as_kind(X)), map_.transform_target(as_kind(Y))
    assert type(a) is type(as_kind(X))
    for mapped, rows, matrix in ((a, X, map_.matrix_), (b, Y, map_.target_matrix_)):
        expected = (rows - rows.mean(axis=0)) @ matrix
        np.testing.assert_allclose(rows_of(mapped), expected, atol=1000 * rtol)


@pytest.mark.parametrize("damping", [None, 0, 1.0])
@pytest.mark.parametrize("n", [80, 4])
def test_rotation_alone_folds_into_procrustes(n, damping):
    X, Y = pairs(n=n)
    map_ = CCAMap(preset="orthogonal", damping=damping).fit(X, Y)
    peer = Procrustes().fit(X, Y)
    np.testing.assert_allclose(map_.onto_target_, peer.rotation_, atol=1e-10)
    np.testing.assert_allclose(
        map_.correlations_, np.where(np.arange(6) < n - 1, peer.singular_values_, 0), atol=1e-10
    )
    np.testing.assert_allclose(map_.score(X, Y), peer.score(X, Y), atol=1e-10)


@pytest.mark.parametrize("damping", [None, 0, 1.0])
def test_the_unconstrained_preset_folds_into_least_squares(damping):
    X, Y = pairs()
    map_ = CCAMap(preset="unconstrained", penalty=0, damping=damping).fit(X, Y)
    peer = LinearMap(prior="zero", penalty=0).fit(X, Y)
    np.testing.assert_allclose(map_.onto_target_, peer.coef_, atol=1e-10)


@pytest.mark.parametrize("preset", PRESETS)
def test_rotated_copies_meet_in_the_common_space_and_in_the_target(preset):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 5)) + 2
    Y = X @ np.linalg.qr(rng.normal(size=(5, 5)))[0] - 7
    map_ = CCAMap(preset=preset, penalty=0, damping=0).fit(X, Y)
    a, b = map_.transform(X), map_.transform_target(Y)
    np.testing.assert_allclose(a, b, atol=1e-10)
    onto = map_.onto_target()
    np.testing.assert_allclose(onto.on(X)(X), Y, atol=1e-10)
    assert map_.score(X, Y) > 1 - 1e-12
    assert np.abs(X - Y).max() > 1  # they did not meet before


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("n_components", [None, 3])
def test_the_fold_without_damping_is_the_pseudo_inverse(preset, n_components):
    X, Y = pairs()
    map_ = CCAMap(preset=preset, penalty=1.0, damping=0, n_components=n_components).fit(X, Y)
    expected = map_.matrix_ @ np.linalg.pinv(map_.target_matrix_)
    np.testing.assert_allclose(map_.onto_target_, expected, atol=1e-9)


def test_much_damping_keeps_the_products_of_the_common_space():
    X, Y = pairs()
    map_ = CCAMap(penalty=1.0, damping=1e4).fit(X, Y)
    y = Y - Y.mean(axis=0)
    folded = (X - X.mean(axis=0)) @ map_.onto_target_ @ y.T
    common = map_.transform(X) @ map_.transform_target(Y).T
    np.testing.assert_allclose(folded / folded[0, 0], common / common[0, 0], rtol=1e-5)


def test_columns_kept_are_the_first_ones():
    X, Y = pairs()
    whole, part = (CCAMap(n_components=k).fit(X, Y) for k in (None, 2))
    np.testing.assert_allclose(part.transform(X), whole.transform(X)[:, :2], atol=1e-13)
    assert (part.n_components_, whole.n_components_) == (2, 6)


def test_the_inverse_gives_rows_back():
    X, Y = pairs()
    map_ = CCAMap(penalty=1.0).fit(X, Y)
    np.testing.assert_allclose(map_.inverse_transform(map_.transform(X)), X, atol=1e-8)


@pytest.mark.parametrize(("d_in", "d_out"), [(7, 4), (4, 7), (5, 1)])
@pytest.mark.parametrize("preset", PRESETS)
def test_spaces_of_different_width_are_mapped(preset, d_in, d_out):
    X, Y = pairs(d_in=d_in, d_out=d_out)
    map_ = CCAMap(preset=preset).fit(X, Y)
    k = min(d_in, d_out)
    assert map_.transform(X).shape == map_.transform_target(Y).shape == (80, k)
    assert map_.onto_target().on(X)(X).shape == Y.shape


# --- few pairs and degenerate ones ------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
def test_fewer_pairs_than_dimensions_are_enough_with_the_default_penalty(preset):
    X, Y = pairs(n=500, d_in=40, d_out=40, noise=0.1)
    map_ = CCAMap(preset=preset).fit(X[:30], Y[:30])
    assert np.isfinite(map_.transform(X)).all()
    onto = map_.onto_target().on(X)(X[300:]) - map_.target_mean_
    held_out = Y[300:] - map_.target_mean_
    assert weak_alignment(onto, held_out) > 5 * weak_alignment(X[300:], Y[300:])


def test_whitening_without_penalty_needs_rows_that_span_the_space():
    X, Y = pairs(n=5)
    says = r"penalty=0 cannot whiten X, which spans 4 of 6 dimensions .*5 pairs.*Give penalty"
    with pytest.raises(ValueError, match=says):
        CCAMap(penalty=0).fit(X, Y)
    X, Y = pairs()
    Y[:, 2] = 1.5
    with pytest.raises(ValueError, match="cannot whiten y, which spans 5 of 6"):
        CCAMap(penalty=0).fit(X, Y)
    CCAMap(preset="orthogonal", penalty=0).fit(X, Y)  # nothing is whitened


@pytest.mark.parametrize("preset", PRESETS)
def test_constant_collinear_and_repeated_rows_are_mapped_without_surprises(preset):
    X, Y = pairs()
    for rows in (np.full_like(X, 0.5), X[:, :1] * np.ones(6), np.repeat(X[:8], 10, axis=0)):
        map_ = CCAMap(preset=preset).fit(rows, Y)
        assert np.isfinite(map_.transform(rows)).all()
        assert np.isfinite(map_.onto_target_).all()
        assert (map_.correlations_ >= 0).all()


@pytest.mark.parametrize("preset", ["supervised", "cca"])
def test_regularised_correlations_do_not_exceed_one(preset):
    for n in (4, 10, 80):
        correlations = CCAMap(preset=preset).fit(*pairs(n=n)).correlations_
        assert correlations[0] < 1
        assert (np.diff(correlations) <= 0).all()


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"preset": "vecmap"}, r"preset='vecmap' is not known: choose one of .*'supervised'"),
        ({"penalty": -1}, "penalty=-1 is out of range: give a number >= 0, or 'auto'"),
        ({"penalty": np.nan}, "penalty=nan is out of range"),
        ({"damping": -1}, "damping=-1 is out of range: give"),
        ({"reweight": -0.5}, "reweight=-0.5 is out of range: give"),
        ({"reweight": (1, 2, 3)}, r"reweight=\(1, 2, 3\) is out of range: give"),
        ({"dewhiten": ("source",)}, r"dewhiten=\('source',\) is not known: give True"),
        ({"dewhiten": ("mine", None)}, r"dewhiten=\('mine', None\) is not known: give"),
        ({"n_components": 7}, "n_components=7 is out of range: the narrower space has 6 .*Give"),
        ({"n_components": 0}, "n_components=0 is out of range"),
        ({"n_components": 2.0}, "n_components=2.0 is out of range"),
    ],
)
def test_parameters_out_of_range_are_explained_at_fit(parameters, says):
    with pytest.raises(ValueError, match=says):
        CCAMap(**parameters).fit(*pairs())


def test_target_rows_of_another_width_and_moments_without_scatters_are_refused():
    X, Y = pairs(d_out=5)
    map_ = CCAMap().fit(X, Y)
    for call in (map_.transform_target, lambda y: map_.score(X, y)):
        with pytest.raises(ValueError, match="y has 6 features, but CCAMap maps to 5. Pass rows"):
            call(X)
    with pytest.raises(ValueError, match="needs the scatters of X and y: accumulate"):
        CCAMap().fit_moments(LinearMap(prior="zero").fit(X, Y).moments_)


# --- ways to fit and to use -------------------------------------------------------------------


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), preset=st.sampled_from(PRESETS), center=st.booleans())
def test_a_stream_of_weighted_batches_gives_the_same_fit(seed, preset, center):
    rng = np.random.default_rng(seed)
    X, Y = pairs(seed)
    weight = rng.integers(0, 3, size=80) + 0.5
    stream, whole = (CCAMap(preset=preset, center=center) for _ in range(2))
    for a, b in pairwise([0, *np.unique(rng.integers(1, 79, size=4)), 80]):
        stream.partial_fit(X[a:b], Y[a:b], sample_weight=weight[a:b])
    whole.fit(X, Y, sample_weight=weight)
    # 1e-10 of moments, over the gap below which single axes turn freely: the fold sees products.
    np.testing.assert_allclose(stream.onto_target_, whole.onto_target_, atol=1e-7)
    np.testing.assert_allclose(stream.correlations_, whole.correlations_, atol=1e-10, rtol=1e-10)


def test_a_weight_of_two_is_the_pair_twice():
    X, Y = pairs()
    weight = np.random.default_rng(0).integers(0, 4, size=80)
    map_ = CCAMap().fit(X, Y, sample_weight=weight)
    twice = CCAMap().fit(np.repeat(X, weight, axis=0), np.repeat(Y, weight, axis=0))
    np.testing.assert_allclose(map_.penalty_, twice.penalty_, rtol=1e-10)
    np.testing.assert_allclose(map_.matrix_, twice.matrix_, atol=1e-9)


@pytest.mark.parametrize("door", ["numpy float16", "torch float16", "torch bfloat16"])
def test_half_precision_rows_come_back_in_half_precision(door, make_kind, rows_of):
    x, y = (make_kind(Z, door) for Z in pairs())
    map_ = CCAMap().fit(x, y)
    for Z, rows, exact in (
        (map_.transform(x), rows_of(x), map_.transform),
        (map_.transform_target(y), rows_of(y), map_.transform_target),
    ):
        assert type(Z) is type(x)
        assert Z.dtype == x.dtype
        step = 2.0**-8 if "bfloat" in door else 2.0**-11
        np.testing.assert_allclose(rows_of(Z), exact(rows), rtol=step, atol=1e-4)


def test_clone_pickle_and_pandas_output():
    X, Y = pairs()
    map_ = CCAMap(preset="aaai2018", reweight=(0.5, 1.0), n_components=3).fit(X, Y)
    assert clone(map_).get_params() == map_.get_params()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(map_)).transform(X), map_.transform(X))
    out = map_.set_output(transform="pandas").transform(pd.DataFrame(X))
    assert list(out.columns) == ["ccamap0", "ccamap1", "ccamap2"]


@pytest.mark.parametrize("preset", PRESETS)
def test_a_pivot_aligner_maps_onto_the_pivot_as_it_is(preset, as_kind, rows_of, rtol):
    X, Y = pairs()
    language, ids = np.repeat(["de", "en"], 80), np.tile(np.arange(80), 2)
    aligner = PivotAligner(CCAMap(preset=preset, penalty=1.0), recipe=None)
    Z = aligner.fit_transform(as_kind(np.vstack([X, Y])), language=language, pair_id=ids)
    map_ = CCAMap(preset=preset, penalty=1.0).fit(X, Y)
    expected = np.vstack([map_.onto_target().on(X)(X), Y])
    np.testing.assert_allclose(rows_of(Z), expected, atol=1e4 * rtol)


@pytest.fixture(scope="module")
def sentences():
    """German and English sentences: fit rows, their labels and ids, and held-out pairs."""
    corpus = load_parallel_topics()
    keep = np.isin(corpus.language, ["en", "de"])
    X, language = corpus.embeddings[keep].astype(np.float32), corpus.language[keep]
    ids, test = corpus.pair_id[keep], corpus.split[keep] == "test"
    held = [np.flatnonzero(test & (language == name)) for name in ("de", "en")]
    de, en = (X[at[np.argsort(ids[at])]] for at in held)
    return X[~test], language[~test], ids[~test], de, en


def retrieved(map_, sentences):
    X, language, ids, de, en = sentences
    aligner = PivotAligner(map_).fit(X, language=language, pair_id=ids)
    return weak_alignment(*(aligner.transform(Z, language=l) for Z, l in ((de, "de"), (en, "en"))))


@pytest.mark.parametrize("preset", ["supervised", "aaai2018", "cca", "orthogonal"])
def test_on_real_sentences_every_preset_beats_the_rows_as_they_came(preset, sentences):
    before = weak_alignment(*sentences[-2:])
    assert retrieved(CCAMap(preset=preset), sentences) > before


@pytest.mark.parametrize("preset", ["supervised", "aaai2018"])
def test_on_real_sentences_damping_saves_what_an_outright_inverse_destroys(preset, sentences):
    outright = retrieved(CCAMap(preset=preset, damping=0, penalty=1e-3), sentences)
    assert retrieved(CCAMap(preset=preset, penalty=1e-3), sentences) > 5 * outright
