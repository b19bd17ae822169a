"""Self-learning finds the pairs that nobody gave."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from posthoc_align import (
    CCAMap,
    LinearMap,
    PivotAligner,
    Procrustes,
    SelfLearningAligner,
    TransportMap,
)
from posthoc_align.align._induction import induce, match_by_distribution
from posthoc_align.datasets import load_parallel_topics
from posthoc_align.metrics import retrieval_precision, weak_alignment

N, D = 120, 8


def spaces(seed=0, noise=0.15, turn=0.15, languages=("en", "de", "fr")):
    """Languages that each turn and shift the same concepts a little, in an order of their own."""
    rng = np.random.default_rng(seed)
    concepts = rng.normal(size=(N, D)) * np.linspace(2.0, 1.0, D)
    X, language, concept = [], [], []
    for place, label in enumerate(languages):
        rotation = np.linalg.qr(np.eye(D) + turn * (place > 0) * rng.normal(size=(D, D)))[0]
        order = rng.permutation(N)
        rows = concepts @ (rotation * np.sign(np.diag(rotation))) + noise * rng.normal(size=(N, D))
        X.append(rows[order] + 0.2 * rng.normal(size=D))
        language += [label] * N
        concept.append(order)
    return np.vstack(X), np.array(language), np.concatenate(concept)


def precision(aligner, X, language, concept, label):
    """Share of rows whose nearest pivot row is their translation."""
    Z = aligner.transform(X, language=language)
    sides = []
    for name in (label, "en"):
        at = np.flatnonzero(language == name)
        sides.append(Z[at[np.argsort(concept[at])]])
    return retrieval_precision(*sides)


def test_rows_in_any_order_find_their_translations(as_kind, rows_of):
    X, language, concept = spaces()
    aligner = SelfLearningAligner().fit(as_kind(X), language=language)
    for label in ("de", "fr"):
        assert precision(aligner, as_kind(X), language, concept, label) > 0.97
    assert aligner.n_pairs_.keys() == {"de", "fr"}
    assert all(n > 0.9 * N for n in aligner.n_pairs_.values())
    assert aligner.n_iter_ == len(aligner.history_["de"])


def test_it_beats_the_recipe_alone_and_reaches_what_known_pairs_reach():
    X, language, concept = spaces(turn=0.25)
    found = SelfLearningAligner().fit(X, language=language)
    recipe = PivotAligner(LinearMap(penalty=1e9), pivot="en")
    recipe.fit(X, language=language, pair_id=concept)
    told = PivotAligner(LinearMap(penalty=3.0), pivot="en").fit(
        X, language=language, pair_id=concept
    )
    for label in ("de", "fr"):
        reached = precision(found, X, language, concept, label)
        assert reached > precision(recipe, X, language, concept, label) + 0.05
        assert reached >= precision(told, X, language, concept, label) - 0.02


def test_the_order_of_the_rows_does_not_matter():
    X, language, _ = spaces()
    order = np.random.default_rng(1).permutation(len(X))
    one = SelfLearningAligner().fit(X, language=language)
    other = SelfLearningAligner().fit(X[order], language=language[order])
    Z, Z_other = one.transform(X, language=language), other.transform(X, language=language)
    np.testing.assert_allclose(Z, Z_other, atol=1e-9)


def test_the_deterministic_official_run_is_reproduced(official):
    """VecMap, ``--acl2017_seed``: nearest neighbours forward, orthogonal map, dot products."""
    inputs, vecmap = official("inputs"), official("vecmap_selflearning")
    source, target = inputs["X_fit"][1], inputs["X_fit"][0]
    seeds = vecmap["seed_rows"]
    seed_id = np.full(2 * len(source), -1)
    seed_id[seeds] = seed_id[len(source) + seeds] = seeds
    aligner = SelfLearningAligner(
        Procrustes(center=False),
        pivot="t",
        recipe="unit,center",
        matching="forward",
        similarity="dot",
        weighted=False,
        support=0,
        patience=1,
        tol=1e-6,
    )
    aligner.fit(
        np.vstack([source, target]),
        language=["s"] * len(source) + ["t"] * len(target),
        seed_id=seed_id,
    )
    src, trg = (aligner.transform(rows, language=k) for rows, k in ((source, "s"), (target, "t")))
    np.testing.assert_allclose(src, vecmap["acl2017_seed_src"], atol=1e-7)
    np.testing.assert_allclose(trg, vecmap["acl2017_seed_trg"], atol=1e-7)
    pairs = induce(src, trg, matching="forward", similarity="dot")
    np.testing.assert_array_equal(pairs.target, vecmap["acl2017_seed_dictionary_trg"])
    objective = float(vecmap["acl2017_seed_objective"])
    assert aligner.history_["s"][-1] == pytest.approx(objective, abs=1e-9)


def test_the_stochastic_official_run_is_matched_in_accuracy(official):
    """VecMap, ``--semi_supervised``: stochastic, orthogonal in the loop, re-weighted at the end."""
    inputs, vecmap = official("inputs"), official("vecmap_selflearning")
    source, target = inputs["X_fit"][1], inputs["X_fit"][0]
    seeds = vecmap["seed_rows"]
    seed_id = np.full(2 * len(source), -1)
    seed_id[seeds] = seed_id[len(source) + seeds] = seeds
    aligner = SelfLearningAligner(
        Procrustes(center=False),
        pivot="t",
        recipe="unit,center,unit",
        matching="union",
        weighted=False,
        support=0,
        keep=0.1,
        patience=20,
        tol=1e-6,
        max_iter=1000,
        final=CCAMap(preset="supervised", center=False, penalty=0),
        random_state=0,
    )
    aligner.fit(
        np.vstack([source, target]),
        language=["s"] * len(source) + ["t"] * len(target),
        seed_id=seed_id,
    )
    final, recipes = aligner.maps_["s"], aligner.recipes_
    src = final.transform(recipes["s"].apply(source))
    trg = final.transform_target(recipes["t"].apply(target))
    reached = retrieval_precision(src, trg)
    assert abs(reached - float(vecmap["semi_supervised_seed0_p_at_1"])) <= 0.05


def test_separate_spaces_are_matched_by_how_similarities_are_distributed():
    rng = np.random.default_rng(0)
    en = rng.standard_t(4, size=(400, 6)) * np.linspace(3.0, 1.0, 6)
    rotation = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    order = rng.permutation(400)
    X = np.vstack([en, (en @ rotation)[order]])
    language = np.repeat(["en", "de"], 400)
    aligner = SelfLearningAligner(Procrustes(), start="distribution", keep=0.5, random_state=0)
    aligner.fit(X, language=language)
    assert precision(aligner, X, language, np.r_[np.arange(400), order], "de") > 0.95
    astray = SelfLearningAligner(Procrustes(), random_state=0).fit(X, language=language)
    assert precision(astray, X, language, np.r_[np.arange(400), order], "de") < 0.5


def test_a_rotated_copy_has_the_same_profiles():
    rng = np.random.default_rng(3)
    x = rng.standard_t(4, size=(60, 5)) * [4, 3, 2, 1, 1]
    y = x @ np.linalg.qr(rng.normal(size=(5, 5)))[0]
    pairs = match_by_distribution(x, y)
    assert np.mean(pairs.source == pairs.target) > 0.95


def test_seeds_start_the_search_where_the_space_does_not_help():
    rng = np.random.default_rng(5)
    en = rng.normal(size=(N, D))
    X = np.vstack([en, en @ np.linalg.qr(rng.normal(size=(D, D)))[0]])
    language, concept = np.repeat(["en", "de"], N), np.tile(np.arange(N), 2)
    seeds = np.where(concept < 2 * D, concept, -1)
    aligner = SelfLearningAligner(Procrustes()).fit(X, language=language, seed_id=seeds)
    assert precision(aligner, X, language, concept, "de") == 1.0


@pytest.mark.parametrize("matching", ["mutual", "forward", "union", "sinkhorn"])
def test_matches_of_a_hand_made_case(matching):
    x = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    y = np.array([[1.0, 0.05], [0.0, 2.0]])
    pairs = induce(x, y, matching=matching, similarity="cosine")
    found = sorted(zip(pairs.source.tolist(), pairs.target.tolist(), strict=True))
    assert (
        found
        == {
            "mutual": [(0, 0), (2, 1)],
            "forward": [(0, 0), (1, 0), (2, 1)],
            "union": [(0, 0), (0, 0), (1, 0), (2, 1), (2, 1)],
            "sinkhorn": [(0, 0), (2, 1)],
        }[matching]
    )
    assert pairs.weight.mean() == pytest.approx(1.0, abs=0.1)


def test_a_clear_match_weighs_more_than_a_doubtful_one():
    x = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.9]])
    y = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    pairs = induce(x, y, similarity="cosine")
    np.testing.assert_array_equal(pairs.target, [0, 1])
    assert pairs.weight[0] > 5 * pairs.weight[1]


def test_hidden_rows_are_never_matched():
    x = np.random.default_rng(0).normal(size=(50, 4))
    state = np.random.RandomState(0)
    pairs = induce(x, x, matching="forward", keep=0.2, random_state=state)
    assert len(np.unique(pairs.target)) <= 10


def test_other_languages_support_the_search():
    X, language, concept = spaces(noise=0.7, turn=0.2, languages=("en", "de", "fr", "es", "it"))
    alone = SelfLearningAligner(support=0).fit(X, language=language)
    together = SelfLearningAligner().fit(X, language=language)
    gain = [
        precision(together, X, language, concept, label)
        - precision(alone, X, language, concept, label)
        for label in ("de", "fr", "es", "it")
    ]
    assert np.mean(gain) > 0


def test_a_random_state_repeats_the_run_and_rows_are_drawn_from_it():
    X, language, _ = spaces()
    options = {"keep": 0.3, "max_rows": 80, "patience": 2}
    one, same, other = (
        SelfLearningAligner(**options, random_state=seed).fit_transform(X, language=language)
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1e-6


def test_a_language_is_added_without_a_change_to_the_others():
    X, language, concept = spaces()
    known = language != "fr"
    aligner = SelfLearningAligner().fit(X[known], language=language[known])
    before = aligner.transform(X[known], language=language[known])
    aligner.add_language(X[~known], "fr", X[language == "en"])
    np.testing.assert_array_equal(aligner.transform(X[known], language=language[known]), before)
    assert precision(aligner, X, language, concept, "fr") > 0.97
    assert aligner.history_.keys() == {"de", "fr"}


def test_on_the_bundled_corpus_it_beats_the_recipe_without_a_single_pair():
    corpus = load_parallel_topics()
    few = np.isin(corpus.language, ["en", "de", "fr", "es", "id"])
    X, language = corpus.embeddings[few].astype(np.float32), corpus.language[few]
    test, ids = corpus.split[few] == "test", corpus.pair_id[few]
    order = np.random.default_rng(0).permutation(np.flatnonzero(~test))
    aligner = SelfLearningAligner().fit(X[order], language=language[order])

    def weak(transform):
        def side(label):
            at = np.flatnonzero(test & (language == label))
            return transform(X[at[np.argsort(ids[at])]], label)

        return np.mean([weak_alignment(side(k), side("en")) for k in ("de", "fr", "es", "id")])

    recipes = aligner.recipes_
    alone = weak(lambda rows, label: recipes[label].apply(rows))
    assert weak(lambda rows, label: aligner.transform(rows, language=label)) > alone + 0.01


def test_a_run_that_is_cut_short_warns():
    X, language, _ = spaces()
    with pytest.warns(ConvergenceWarning, match=r"still improves after 1 rounds.*max_iter"):
        SelfLearningAligner(max_iter=1).fit(X, language=language)


def test_duplicated_rows_and_a_copy_of_the_pivot_are_no_obstacle():
    X, _, _ = spaces()
    en = X[:N]
    twice = np.vstack([en, en, en[:10]])
    language = ["en"] * N + ["de"] * (N + 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        aligner = SelfLearningAligner().fit(twice, language=language)
    Z = aligner.transform(twice, language=language)
    assert retrieval_precision(Z[N : 2 * N], Z[:N]) == 1.0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"start": "magic"}, "start='magic'.*identity"),
        ({"matching": "best"}, "matching='best'.*mutual"),
        ({"similarity": "l2"}, "similarity='l2'.*csls"),
        ({"keep": 0}, r"keep=0.*\(0, 1\]"),
        ({"support": -1}, "support=-1.*>= 0"),
        ({"max_rows": 1}, "max_rows=1.*>= 2"),
        ({"neighbors": 0}, "neighbors=0.*>= 1"),
    ],
)
def test_a_parameter_out_of_range_is_refused(options, says):
    X, language, _ = spaces()
    with pytest.raises(ValueError, match=says):
        SelfLearningAligner(**options).fit(X, language=language)


def test_a_map_without_pairs_has_nothing_to_be_taught():
    X, language, _ = spaces()
    with pytest.raises(TypeError, match="without pairs.*PivotAligner"):
        SelfLearningAligner(TransportMap()).fit(X, language=language)


def test_clouds_of_very_different_size_are_matched():
    X, language, concept = spaces()
    few = np.r_[np.arange(N), N + np.arange(25)]
    aligner = SelfLearningAligner().fit(X[few], language=language[few])
    Z = aligner.transform(X[few], language=language[few])
    place = np.argsort(concept[:N])[concept[few][N:]]
    similar = Z[N:] @ Z[:N].T
    assert np.mean(np.argmax(similar, axis=1) == place) > 0.8


@pytest.mark.parametrize("matching", ["forward", "union", "sinkhorn"])
def test_every_way_to_match_leads_to_the_translations(matching):
    X, language, concept = spaces()
    aligner = SelfLearningAligner(matching=matching).fit(X, language=language)
    assert precision(aligner, X, language, concept, "de") > 0.97
