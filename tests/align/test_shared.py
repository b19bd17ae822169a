"""SharedAligner: one map, learned on the pairs of some languages, moves them all."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone

from posthoc_align import CCAMap, ContrastiveMap, LinearMap, PivotAligner, SharedAligner
from posthoc_align.metrics import weak_alignment

FAST = ContrastiveMap(max_epochs=3, random_state=0)


def corpus(seed=0, n=60, d=6):
    """English, and German and French that differ from it by the same map and own shifts."""
    rng = np.random.default_rng(seed)
    en = rng.normal(size=(n, d))
    turn = np.linalg.qr(rng.normal(size=(d, d)))[0]
    X = np.vstack([en, en @ turn + 3, en @ turn - 4])
    return X, np.repeat(["en", "de", "fr"], n), np.tile(np.arange(n), 3)


def parts(Z, n=60):
    return Z[:n], Z[n : 2 * n], Z[2 * n :]


def aligner(estimator=None, **settings):
    estimator = LinearMap(penalty=0.0) if estimator is None else estimator
    return SharedAligner(estimator, **{"recipe": "center", **settings})


def test_a_map_learned_on_one_pair_of_languages_aligns_another(as_kind, rows_of, rtol):
    X, language, pair_id = corpus()
    pair_id[language == "fr"] = -1  # no pair of French is there to be seen
    shared = aligner(languages=["de"])
    Z = shared.fit_transform(as_kind(X), language=language, pair_id=pair_id)
    assert type(Z) is type(as_kind(X))
    en, de, fr = parts(rows_of(Z))
    np.testing.assert_allclose(de, en, atol=100 * rtol)
    np.testing.assert_allclose(fr, en, atol=100 * rtol)
    assert shared.n_pairs_ == {"de": 60}
    centred = parts(
        rows_of(
            aligner(LinearMap(penalty=1e12)).fit_transform(
                X, language=language, pair_id=corpus()[2]
            )
        )
    )
    assert weak_alignment(centred[2], centred[0]) < 0.2  # without the map it was not aligned


def test_pairs_of_all_languages_are_pooled():
    X, language, pair_id = corpus()
    X = X + np.random.default_rng(1).normal(size=X.shape)
    shared = aligner().fit(X, language=language, pair_id=pair_id)
    centred = [part - part.mean(axis=0) for part in parts(X)]
    pooled = LinearMap(penalty=0.0).fit(np.vstack(centred[1:]), np.vstack([centred[0]] * 2))
    np.testing.assert_allclose(shared.map_.matrix_, pooled.matrix_, atol=1e-10)
    assert shared.n_pairs_ == {"de": 60, "fr": 60}


def test_one_pair_of_languages_is_what_a_pivot_aligner_makes_of_it():
    X, language, pair_id = corpus()
    two = language != "fr"
    X, language, pair_id = X[two], language[two], pair_id[two]
    for map_ in (LinearMap(), FAST):
        ours = SharedAligner(map_).fit_transform(X, language=language, pair_id=pair_id)
        theirs = PivotAligner(map_).fit_transform(X, language=language, pair_id=pair_id)
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


@pytest.mark.parametrize(
    "map_", [CCAMap(), ContrastiveMap(sides="both", start="identity", random_state=0)]
)
def test_a_map_that_moves_both_sides_moves_the_pivot_too(map_):
    X, language, pair_id = corpus()
    shared = aligner(map_, languages=["de"])
    en, de, _ = parts(shared.fit_transform(X, language=language, pair_id=pair_id))
    english = X[:60] - X[:60].mean(axis=0)
    np.testing.assert_allclose(en, shared.map_.transform_target(english), atol=1e-10)
    np.testing.assert_allclose(de, shared.map_.transform(X[60:120] - X[60:120].mean(axis=0)))
    assert np.abs(en - english).max() > 1e-3


def test_a_map_without_pairs_is_fitted_on_the_pooled_clouds():
    from posthoc_align import TransportMap

    X, language, _ = corpus()
    shared = aligner(TransportMap(method="exact"), languages=["de"])
    en, de, _ = parts(shared.fit_transform(X, language=language))
    assert np.linalg.norm(de.mean(axis=0) - en.mean(axis=0)) < 1e-6


# --- languages that fit did not see -----------------------------------------------------------


def test_an_added_language_needs_no_translations_and_leaves_the_others_as_they_were():
    X, language, pair_id = corpus()
    old = language != "fr"
    shared = aligner().fit(X[old], language=language[old], pair_id=pair_id[old])
    before = shared.transform(X[old], language=language[old])
    shared.add_language(X[~old], "fr")
    np.testing.assert_array_equal(shared.transform(X[old], language=language[old]), before)
    np.testing.assert_allclose(shared.transform(X[~old], language="fr"), before[:60], atol=1e-10)
    with pytest.raises(ValueError, match="'it' has only 1 row"):
        shared.add_language(X[:1], "it")
    with pytest.raises(ValueError, match="Cannot add language 'fr'"):
        shared.add_language(X[:5], "fr")


@pytest.mark.parametrize("unseen", ["identity", "global", "transductive", "error"])
def test_an_unseen_language_is_treated_as_the_policy_says(unseen):
    X, language, pair_id = corpus()
    old = language != "fr"
    shared = aligner(unseen=unseen).fit(X[old], language=language[old], pair_id=pair_id[old])
    new = X[~old]
    if unseen == "error":
        with pytest.raises(ValueError, match="'fr'.*Fit it, add it"):
            shared.transform(new, language="fr")
        return
    Z = shared.transform(new, language="fr")
    mean = {"global": X[old].mean(axis=0), "transductive": new.mean(axis=0)}.get(unseen)
    expected = new if mean is None else shared.map_.transform(new - mean)
    np.testing.assert_allclose(Z, expected, atol=1e-12)


# --- edges ------------------------------------------------------------------------------------


@pytest.mark.parametrize("languages", [["it"], ["en"], [], ["de", "it"]])
def test_languages_that_are_not_there_are_named_with_the_choices(languages):
    X, language, pair_id = corpus()
    with pytest.raises(ValueError, match=r"languages=\[.*beside the pivot 'en'.*'de', 'fr'"):
        aligner(languages=languages).fit(X, language=language, pair_id=pair_id)


def test_too_few_pairs_matter_only_for_the_chosen_languages():
    X, language, pair_id = corpus()
    pair_id[language == "de"] = -1
    aligner(languages=["fr"]).fit(X, language=language, pair_id=pair_id)
    with pytest.raises(ValueError, match=r"Too few pairs with the pivot 'en'.*'de': 0"):
        aligner().fit(X, language=language, pair_id=pair_id)


def test_without_labels_or_other_languages_nothing_is_mapped():
    X, language, pair_id = corpus()
    shared = aligner().fit(X, language=language, pair_id=pair_id)
    np.testing.assert_array_equal(shared.fit(X).transform(X), X)
    assert shared.map_ is None
    alone = aligner().fit(X[:60], language="en", pair_id=pair_id[:60])
    np.testing.assert_allclose(alone.transform(X[:60]), X[:60] - X[:60].mean(axis=0), atol=1e-13)


def test_the_default_map_is_trained_on_cosines_and_moves_both_sides():
    X, language, pair_id = corpus()
    shared = SharedAligner().fit(X, language=language, pair_id=pair_id)
    assert isinstance(shared.map_, ContrastiveMap)
    assert shared.map_.sides == "both"
    assert shared.estimator is None


def test_clone_and_pickle():
    X, language, pair_id = corpus()
    shared = aligner(FAST, languages=["de"]).fit(X, language=language, pair_id=pair_id)
    assert clone(shared).get_params().keys() == shared.get_params().keys()
    again = pickle.loads(pickle.dumps(shared))
    expected = shared.transform(X, language=language)
    np.testing.assert_array_equal(again.transform(X, language=language), expected)
