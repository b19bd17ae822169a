"""ConsensusAligner: every language is mapped towards a space that none of them owns."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from posthoc_align import ConsensusAligner, LinearMap, PivotAligner
from posthoc_align.align.consensus import METHODS
from posthoc_align.datasets import load_parallel_topics
from posthoc_align.languages import pair_rows
from posthoc_align.metrics import weak_alignment

NAMES = np.array(["de", "en", "fr", "it"])
each_method = pytest.mark.parametrize("method", METHODS)


def parallel(n=60, d=6, *, noise=0.0, seed=0):
    """Four rotated, shifted copies of the same points, rows of all languages shuffled."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(n, d)) * np.linspace(2, 1, d)
    parts = [
        points @ np.linalg.qr(rng.normal(size=(d, d)))[0]
        + rng.normal(size=d)
        + noise * rng.normal(size=(n, d))
        for _ in NAMES
    ]
    order = rng.permutation(len(NAMES) * n)
    language, pair_id = np.repeat(NAMES, n), np.tile(np.arange(n), len(NAMES))
    return np.vstack(parts)[order], language[order], pair_id[order]


def apart(Z, language, pair_id):
    """Mean squared distance of rows to the mean of their concept, relative to all scatter."""
    means = {i: Z[pair_id == i].mean(axis=0) for i in np.unique(pair_id)}
    within = np.mean([np.sum((z - means[i]) ** 2) for z, i in zip(Z, pair_id, strict=True)])
    return within / np.mean(np.sum((Z - Z.mean(axis=0)) ** 2, axis=1))


def stacked(X):
    """Rows, labels and ids of an array of shape (languages, rows, dimensions)."""
    n_languages, n, d = X.shape
    labels = np.repeat([f"l{i}" for i in range(n_languages)], n)
    return X.reshape(-1, d), labels, np.tile(np.arange(n), n_languages)


# --- what it finds ----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("which", ["centred", "raw"])
def test_the_official_mean_shape_agrees(which, official):
    reference = official("gpa")
    X, language, pair_id = stacked(official("inputs")["X_fit"])
    aligner = ConsensusAligner(
        method="procrustes",
        penalty=0.0,
        recipe="center" if which == "centred" else None,
        max_iter=3000,
        tol=1e-10,
    )
    Z = aligner.fit_transform(X, language=language, pair_id=pair_id).reshape(6, 160, 48)
    mean = aligner.consensus_
    assert aligner.objective_ == pytest.approx(float(reference[f"{which}_objective"]), rel=1e-8)
    distances = np.linalg.norm(Z - mean, axis=(1, 2))
    np.testing.assert_allclose(distances, reference[f"{which}_distances"], atol=1e-5, rtol=0)
    gram = reference[f"{which}_mean_gram"]
    np.testing.assert_allclose((mean @ mean.T)[: len(gram), : len(gram)], gram, atol=1e-5, rtol=0)
    values = np.linalg.svd(mean, compute_uv=False)
    np.testing.assert_allclose(values, reference[f"{which}_mean_singular_values"], atol=1e-5)
    if which == "centred":
        np.testing.assert_allclose(mean, reference["centred_mean_started_at_l0"], atol=1e-4)


@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_planted_rotations_are_undone_whatever_is_missing(missing, as_kind, rows_of, rtol):
    X, language, pair_id = parallel()
    there = np.random.default_rng(1).random(len(X)) >= missing
    aligner = ConsensusAligner(
        method="procrustes", penalty=0.0, recipe=None, max_iter=500, tol=max(rtol, 1e-8)
    )
    X = (
        X
        - np.vstack([X[language == name].mean(axis=0) for name in NAMES])[
            np.searchsorted(NAMES, language)
        ]
    )
    aligner.fit(as_kind(X[there]), language=language[there], pair_id=pair_id[there])
    Z = rows_of(aligner.transform(as_kind(X), language=language))
    assert apart(X, language, pair_id) > 0.3
    assert apart(Z, language, pair_id) < 0.1 * max(rtol, 1e-8)


@each_method
def test_translations_come_together_on_held_out_rows(method):
    X, language, pair_id = parallel(n=200, noise=0.2)
    old = pair_id < 150
    aligner = ConsensusAligner(method=method, recipe="center", penalty=0.01)
    aligner.fit(X[old], language=language[old], pair_id=pair_id[old])
    Z = aligner.transform(X[~old], language=language[~old])
    before = apart(X[~old], language[~old], pair_id[~old])
    assert apart(Z, language[~old], pair_id[~old]) < 0.1 < before


def test_the_objective_never_rises():
    X, language, pair_id = parallel(noise=0.5)
    aligner = ConsensusAligner(method="procrustes", penalty=0.5, tol=1e-6, max_iter=500)
    history = np.array(aligner.fit(X, language=language, pair_id=pair_id).history_)
    assert len(history) == aligner.n_iter_ > 5
    assert np.all(np.diff(history) <= 1e-12 * history[0])


def test_rotations_change_no_distance_and_no_length():
    X, language, pair_id = parallel(noise=0.5)
    aligner = ConsensusAligner(method="procrustes", recipe=None).fit(
        X, language=language, pair_id=pair_id
    )
    for mapped in aligner.maps_.values():
        np.testing.assert_allclose(mapped.matrix @ mapped.matrix.T, np.eye(6), atol=1e-12)


def test_a_strong_pull_leaves_every_language_where_it_was():
    X, language, pair_id = parallel(noise=0.5)
    aligner = ConsensusAligner(method="procrustes", recipe=None, penalty=1e9)
    Z = aligner.fit_transform(X, language=language, pair_id=pair_id)
    np.testing.assert_allclose(Z, X, atol=1e-6)


def test_no_language_owns_the_space():
    """Renaming the languages changes the result only by rounding: none is treated apart."""
    X, language, pair_id = parallel(noise=0.5)
    renamed = np.array(["z", "b", "y", "a"])[np.searchsorted(NAMES, language)]
    for method in METHODS:
        one, two = (
            ConsensusAligner(method=method).fit_transform(X, language=labels, pair_id=pair_id)
            for labels in (language, renamed)
        )
        np.testing.assert_allclose(one, two, atol=1e-8, err_msg=method)


def test_two_view_cca_has_the_canonical_correlations_of_scikit_learn():
    from sklearn.cross_decomposition import CCA

    rng = np.random.default_rng(0)
    common = rng.normal(size=(300, 3))
    a = np.hstack([common + rng.normal(size=(300, 3)), rng.normal(size=(300, 2))])
    b = np.hstack([common + 0.5 * rng.normal(size=(300, 3)), rng.normal(size=(300, 2))])
    u, v = CCA(5, scale=False, max_iter=5000, tol=1e-12).fit_transform(a, b)
    rho = [np.corrcoef(u[:, i], v[:, i])[0, 1] for i in range(5)]
    X, language, pair_id = stacked(np.stack([a, b]))
    aligner = ConsensusAligner(method="cca", recipe="center", penalty=1e-9, n_components=5)
    aligner.fit(X, language=language, pair_id=pair_id)
    # the mean of two projections has the eigenvalues (1 + rho) / 2
    assert aligner.objective_ == pytest.approx(np.sum((1 + np.array(rho)) / 2), abs=1e-5)


@pytest.mark.parametrize("rank", [1, 3])
def test_few_components_give_maps_of_that_rank(rank):
    X, language, pair_id = parallel(noise=0.5)
    aligner = ConsensusAligner(method="cca", n_components=rank)
    Z = aligner.fit_transform(X, language=language, pair_id=pair_id)
    assert Z.shape == X.shape
    assert all(np.linalg.matrix_rank(m.matrix, tol=1e-8) == rank for m in aligner.maps_.values())


@each_method
def test_fewer_concepts_than_dimensions_are_enough(method):
    X, language, pair_id = parallel(n=12, d=30)
    aligner = ConsensusAligner(method=method, recipe="center")
    Z = aligner.fit_transform(X, language=language, pair_id=pair_id)
    assert np.all(np.isfinite(Z))
    assert apart(Z, language, pair_id) < apart(X, language, pair_id)


@pytest.mark.parametrize("wide", [True, False])
def test_missing_translations_are_left_out_of_the_canonical_variates(wide):
    """Concepts that one language lacks weigh as many votes as there are: doubling nothing."""
    X, language, pair_id = parallel(n=15 if wide else 90, noise=0.1)
    there = (language != "fr") | (pair_id % 3 > 0)
    aligner = ConsensusAligner(method="cca", recipe="center", penalty=0.1)
    aligner.fit(X[there], language=language[there], pair_id=pair_id[there])
    Z = aligner.transform(X, language=language)
    assert apart(Z, language, pair_id) < 0.2 < apart(X, language, pair_id)
    assert aligner.objective_ <= 6 + 1e-9


# --- concepts ---------------------------------------------------------------------------------


def test_rows_without_translation_count_for_the_means_alone():
    X, language, pair_id = parallel(noise=0.3)
    lone = pair_id >= 50
    ids = np.where(lone, -1, pair_id)
    ids[np.flatnonzero(lone & (language == "en"))[0]] = 999  # an id that no other language has
    aligner = ConsensusAligner().fit(X, language=language, pair_id=ids)
    np.testing.assert_array_equal(aligner.concepts_, np.arange(50))
    assert aligner.consensus_.shape == (50, 6)
    assert aligner.n_pairs_ == dict.fromkeys(NAMES.tolist(), 50)


@pytest.mark.parametrize("given", ["pair_id", "target"])
@each_method
def test_an_added_language_is_aligned_and_the_others_stay_bit_identical(method, given):
    X, language, pair_id = parallel(noise=0.05)
    old = language != "fr"
    aligner = ConsensusAligner(method=method, penalty=0.01)
    aligner.fit(X[old], language=language[old], pair_id=pair_id[old])
    before = aligner.transform(X[old], language=language[old])
    new = X[~old][np.argsort(pair_id[~old])]
    if given == "pair_id":
        aligner.add_language(new, "fr", pair_id=np.arange(60))
    else:
        english = X[language == "en"][np.argsort(pair_id[language == "en"])]
        aligner.add_language(new, "fr", aligner.transform(english, language="en"))
    np.testing.assert_array_equal(aligner.transform(X[old], language=language[old]), before)
    Z = aligner.transform(X, language=language)
    assert apart(Z, language, pair_id) < 0.05
    assert aligner.n_pairs_["fr"] == 60


@pytest.mark.parametrize("unseen", ["identity", "global", "transductive"])
def test_an_unseen_language_is_treated_by_the_policy(unseen):
    X, language, pair_id = parallel(noise=0.3)
    consensus = ConsensusAligner(unseen=unseen).fit(X, language=language, pair_id=pair_id)
    pivot = PivotAligner(unseen=unseen).fit(X, language=language, pair_id=pair_id)
    new = np.random.default_rng(3).normal(size=(9, 6)) + 4
    one, other = (a.transform(new, language="xx") for a in (consensus, pivot))
    np.testing.assert_allclose(one, other, atol=1e-12)


# --- what it says -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"method": "pca"}, "method='pca'.*choose one of.*ridge"),
        ({"penalty": -1}, "penalty=-1 .*a number >= 0, or 'auto'"),
        ({"method": "cca", "penalty": 0}, "penalty=0 .*a number > 0 for method='cca'"),
        ({"max_iter": 0}, "max_iter=0 .*integer >= 1"),
        ({"tol": np.nan}, "tol=nan .*a number >= 0"),
        ({"n_components": 2}, "n_components=2 belongs to method='cca'"),
        ({"method": "cca", "n_components": 7}, "n_components=7 is more than the 6.*at most 6"),
        ({"method": "cca", "n_components": 0}, "n_components=0 .*integer >= 1"),
        ({"unseen": "skip"}, "unseen='skip'"),
    ],
)
def test_a_parameter_out_of_range_names_the_range(parameters, says):
    X, language, pair_id = parallel()
    with pytest.raises(ValueError, match=says):
        ConsensusAligner(**parameters).fit(X, language=language, pair_id=pair_id)


def test_too_few_rounds_warn():
    X, language, pair_id = parallel(noise=0.5)
    with pytest.warns(ConvergenceWarning, match=r"max_iter=2 rounds.*Raise max_iter"):
        ConsensusAligner(max_iter=2, tol=1e-12).fit(X, language=language, pair_id=pair_id)


def test_languages_without_a_common_concept_are_named_by_group():
    X, language, pair_id = parallel()
    ids = np.where(np.isin(language, ["de", "fr"]), pair_id, pair_id + 100)
    with pytest.raises(ValueError, match=r"\[\['de', 'fr'\], \['en', 'it'\]\].*Add translations"):
        ConsensusAligner().fit(X, language=language, pair_id=ids)


def test_a_chain_of_languages_is_one_group():
    X, language, pair_id = parallel()
    # de-en share the first ids, en-fr the middle ones, fr-it the last: no id is in all
    has = {"de": pair_id < 20, "en": pair_id < 40, "fr": pair_id >= 20, "it": pair_id >= 40}
    there = np.select([language == name for name in NAMES], [has[name] for name in NAMES]).astype(
        bool
    )
    aligner = ConsensusAligner(
        method="procrustes", penalty=0.0, recipe=None, max_iter=2000, tol=1e-6
    )
    X = (
        X
        - np.vstack([X[language == name].mean(axis=0) for name in NAMES])[
            np.searchsorted(NAMES, language)
        ]
    )
    aligner.fit(X[there], language=language[there], pair_id=pair_id[there])
    assert apart(aligner.transform(X, language=language), language, pair_id) < 1e-4


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"language": "en"}, r"at least 2 languages; got only \['en'\]"),
        ({"pair_id": None}, "no pair_id.*Pass pair_id="),
        ({"pair_id": np.arange(240)}, r"Too few translations.*'de': 0.*leave these languages"),
        ({"pair_id": np.zeros(240, int)}, "Duplicate"),
    ],
)
def test_what_it_cannot_be_fitted_on_is_explained(change, says):
    X, language, pair_id = parallel()
    with pytest.raises(ValueError, match=says):
        ConsensusAligner().fit(X, **({"language": language, "pair_id": pair_id} | change))


def test_what_a_language_cannot_be_added_from_is_explained():
    X, language, pair_id = parallel()
    fitted = ConsensusAligner().fit(X, language=language, pair_id=pair_id)
    rows, ids = X[language == "fr"], pair_id[language == "fr"]
    for arguments, says in [
        ({"language": "xx"}, "pass either pair_id="),
        ({"language": "xx", "pair_id": ids, "target": rows}, "pass either pair_id="),
        ({"language": "fr", "pair_id": ids}, "Cannot add language 'fr'"),
        ({"language": "xx", "pair_id": ids + 500}, r"\{'xx': 0\}"),
        ({"language": "xx", "target": rows[:5]}, "target has 5"),
        ({"language": "xx", "target": rows[:, :2]}, "target has 2 features"),
    ]:
        with pytest.raises(ValueError, match=says):
            fitted.add_language(rows, **arguments)


@each_method
def test_repeated_rows_constant_columns_and_collinear_rows_are_no_obstacle(method):
    X, language, pair_id = parallel(noise=0.3)
    X[:, 1], X[:, 2] = 3.0, 2 * X[:, 0]
    for name in NAMES:
        at = np.flatnonzero(language == name)
        X[at[pair_id[at] == 1]] = X[at[pair_id[at] == 0]]
    Z = ConsensusAligner(method=method).fit_transform(X, language=language, pair_id=pair_id)
    assert np.all(np.isfinite(Z))


# --- ways to use ------------------------------------------------------------------------------


@each_method
def test_all_kinds_agree_and_keep_their_kind(method, as_kind, rows_of, rtol):
    X, language, pair_id = parallel(noise=0.5)
    expected = ConsensusAligner(method=method).fit_transform(X, language=language, pair_id=pair_id)
    x = as_kind(X)
    aligner = ConsensusAligner(method=method).fit(x, language=language, pair_id=pair_id)
    Z = aligner.transform(x, language=language)
    assert (type(Z), Z.dtype) == (type(x), x.dtype)
    assert type(aligner.consensus_) is type(x)
    np.testing.assert_allclose(rows_of(Z), expected, atol=1000 * rtol)
    twice = ConsensusAligner(method=method).fit_transform(x, language=language, pair_id=pair_id)
    np.testing.assert_array_equal(rows_of(twice), rows_of(Z))


def test_half_precision_comes_back_in_half_precision(make_kind, rows_of):
    X, language, pair_id = parallel(noise=0.5)
    for form in ("numpy float16", "torch float16", "torch bfloat16"):
        x = make_kind(X, form)
        Z = ConsensusAligner().fit_transform(x, language=language, pair_id=pair_id)
        assert Z.dtype == x.dtype


def test_without_labels_it_is_the_identity():
    X, _, _ = parallel()
    np.testing.assert_array_equal(ConsensusAligner().fit_transform(X), X)


def test_two_jobs_do_what_one_does_and_a_pickle_too():
    X, language, pair_id = parallel(noise=0.5)
    one = ConsensusAligner().fit(X, language=language, pair_id=pair_id)
    two = clone(one).set_params(n_jobs=2).fit(X, language=language, pair_id=pair_id)
    again = pickle.loads(pickle.dumps(two))
    Z = one.transform(X, language=language)
    np.testing.assert_array_equal(again.transform(X, language=language), Z)


def test_a_pipeline_delivers_language_and_ids():
    X, language, pair_id = parallel(noise=0.3)
    y = (pair_id % 2).astype(int)
    with sklearn.config_context(enable_metadata_routing=True):
        pipe = make_pipeline(ConsensusAligner(), LogisticRegression())
        pipe.fit(X, y, language=language, pair_id=pair_id)
        predicted = pipe.predict(X, language=language)
    Z = ConsensusAligner().fit_transform(X, language=language, pair_id=pair_id)
    np.testing.assert_array_equal(predicted, LogisticRegression().fit(Z, y).predict(Z))


@pytest.mark.slow
def test_on_real_sentences_languages_that_are_not_the_pivot_come_nearer_to_each_other():
    corpus = load_parallel_topics()
    names = ("de", "en", "fi", "sw")
    kept = np.isin(corpus.language, names)
    X, language = corpus.embeddings[kept].astype(np.float64), corpus.language[kept]
    pair_id, test = corpus.pair_id[kept], corpus.split[kept] == "test"
    known = {"language": language[~test], "pair_id": pair_id[~test]}
    found = {"before": X}
    for name, aligner in (("consensus", ConsensusAligner()), ("pivot", PivotAligner(LinearMap()))):
        found[name] = aligner.fit(X[~test], **known).transform(X, language=language)

    def between(Z, a, b):
        one, other = (np.flatnonzero(test & (language == name)) for name in (a, b))
        in_a, in_b = pair_rows(pair_id[one], pair_id[other])
        return weak_alignment(Z[one[in_a]], Z[other[in_b]])

    mean = {
        key: np.mean(
            [between(Z, a, b) for a in names for b in names if a != b and "en" not in (a, b)]
        )
        for key, Z in found.items()
    }
    assert mean["consensus"] > mean["before"]
    assert mean["consensus"] > mean["pivot"] - 0.01
