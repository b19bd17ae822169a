"""Mined pairs, their threshold and F1, and the xSIM error."""

import numpy as np
import pytest

from posthoc_align.metrics import (
    MinedPairs,
    MiningThreshold,
    best_threshold,
    csls_scores,
    mine_pairs,
    mining_f1,
    weak_alignment,
    xsim_error,
)


@pytest.fixture
def pools():
    """Noisy translations in another order, and strangers on both sides; with the true pairs."""
    rng = np.random.default_rng(4)
    common = rng.normal(size=(40, 24)) + 0.4
    order = rng.permutation(40)
    X = np.concatenate([common, rng.normal(size=(25, 24)) + 0.4])
    Y = common[order] + 0.5 * rng.normal(size=(40, 24))
    Y = np.concatenate([Y, rng.normal(size=(10, 24)) + 0.4])
    return X, Y, np.stack([order, np.arange(40)], axis=1)


def as_set(mined):
    return set(zip(mined.rows_x.tolist(), mined.rows_y.tolist(), strict=True))


@pytest.mark.parametrize("margin", ["ratio", "distance", "absolute"])
def test_planted_pairs_are_found_and_strangers_score_low(kind, pools, margin):
    X, Y, gold = kind(pools[0]), kind(pools[1]), pools[2]
    mined = mine_pairs(X, Y, margin=margin)
    threshold = best_threshold(mined, gold, split="dev")
    assert mining_f1(mined, gold, threshold=threshold).f1 == threshold.f1 > 0.95
    # Negative control: rows with nothing in common.
    noise = np.random.default_rng(0).normal(size=pools[1].shape) + 0.4
    mined = mine_pairs(X, kind(noise), margin=margin)
    false = [pair for pair in as_set(mined) if pair in set(map(tuple, gold.tolist()))]
    assert len(false) < 5


@pytest.mark.parametrize("margin", ["ratio", "distance", "absolute"])
def test_pairs_are_one_to_one_falling_and_the_same_from_the_other_side(pools, margin):
    X, Y, _ = pools
    mined = mine_pairs(X, Y, margin=margin)
    assert len(set(mined.rows_x)) == len(set(mined.rows_y)) == len(mined.scores)
    assert np.all(np.diff(mined.scores) <= 0)
    turned = mine_pairs(Y, X, margin=margin)
    assert as_set(turned) == {(j, i) for i, j in as_set(mined)}


def test_the_distance_margin_is_half_of_csls(pools):
    X, Y, _ = pools
    mined = mine_pairs(X, Y, margin="distance", k=4)
    scores = csls_scores(X, Y, neighbors=4)[mined.rows_x, mined.rows_y]
    np.testing.assert_allclose(mined.scores, scores / 2, atol=1e-14)


def test_the_budget_does_not_change_the_answer(pools):
    X, Y, _ = pools
    whole, cut = mine_pairs(X, Y), mine_pairs(X, Y, memory_budget=20_000)
    assert as_set(whole) == as_set(cut)
    np.testing.assert_allclose(whole.scores, cut.scores, rtol=1e-13)
    assert xsim_error(X[:40], Y[:40]) == xsim_error(X[:40], Y[:40], memory_budget=20_000)


@pytest.mark.parametrize("language", [1, 3])
@pytest.mark.parametrize("margin", ["ratio", "distance", "absolute"])
def test_mining_matches_xtreme(official, language, margin):
    expected, inputs = official("bucc_margin"), official("inputs")["X_fit"]
    rows_x, rows_y = expected["src_rows"], expected["trg_rows"]
    mined = mine_pairs(inputs[language][rows_x], inputs[0][rows_y], margin=margin)
    name = f"l{language}_{margin}_max"
    pairs = set(zip(rows_x[mined.rows_x].tolist(), rows_y[mined.rows_y].tolist(), strict=True))
    assert pairs == set(map(tuple, expected[f"{name}_pairs"].tolist()))
    np.testing.assert_allclose(mined.scores, np.sort(expected[f"{name}_scores"])[::-1], atol=2e-5)

    def places(rows, wanted):
        return np.argsort(rows)[np.searchsorted(np.sort(rows), wanted)]

    gold = expected["gold_rows"]
    gold = np.stack([places(rows_x, gold[:, 0]), places(rows_y, gold[:, 1])], axis=1)
    # The official script tunes on the pairs it scores.
    threshold = best_threshold(mined, gold, split="the evaluated pairs")
    score = mining_f1(mined, gold, threshold=threshold)
    tuned = expected[f"{name}_threshold_precision_recall_f1"]
    assert threshold.value == pytest.approx(tuned[0], abs=2e-5)
    percent = [100 * value for value in (score.precision, score.recall, score.f1)]
    np.testing.assert_allclose(percent, tuned[1:], atol=0.01)


def pairs_of(scores, right):
    """Mined pairs (i, i) where right, else (i, i + 1), of which (i, i) are the true ones."""
    at = np.arange(len(scores))
    mined = MinedPairs(at, at + ~np.asarray(right), np.asarray(scores, dtype=float))
    return mined, np.stack([at, at], axis=1)


def test_the_best_threshold_is_the_best_of_all_thresholds():
    rng = np.random.default_rng(0)
    for _ in range(20):
        scores = np.sort(rng.integers(0, 12, size=15) / 4)[::-1]
        mined, gold = pairs_of(scores, rng.random(15) < 0.6)
        found = best_threshold(mined, gold, split="dev")
        f1 = []
        for value in np.append(np.unique(scores)[:-1] + 0.1, -1.0):
            threshold = MiningThreshold(value, "dev", np.nan)
            f1.append(mining_f1(mined, gold, threshold=threshold).f1)
        assert found.f1 == pytest.approx(max(f1))
        assert mining_f1(mined, gold, threshold=found).f1 == pytest.approx(found.f1)


def test_the_threshold_lies_midway_or_below_all():
    mined, gold = pairs_of([4.0, 2.0, 1.0], [True, True, False])
    assert best_threshold(mined, gold, split="dev").value == 1.5
    mined, gold = pairs_of([4.0, 2.0], [True, True])
    threshold = best_threshold(mined, gold, split="dev")
    assert threshold.value == np.nextafter(2.0, 0)
    assert mining_f1(mined, gold, threshold=threshold).recall == 1


def test_precision_recall_and_the_split_are_told():
    mined, gold = pairs_of([4.0, 3.0, 2.0, 1.0], [True, True, False, True])
    threshold = MiningThreshold(1.5, "dev", np.nan)
    score = mining_f1(mined, gold, threshold=threshold)
    assert score == (2 / 3, 1 / 2, 4 / 7, 1.5, "dev")


def test_a_pair_given_twice_counts_once():
    mined, gold = pairs_of([4.0, 3.0], [True, False])
    twice = np.concatenate([gold, gold])
    threshold = best_threshold(mined, gold, split="dev")
    assert best_threshold(mined, twice, split="dev") == threshold
    assert mining_f1(mined, twice, threshold=threshold).recall == 1 / 2


def test_an_undefined_ratio_is_never_mined_and_said():
    X = np.concatenate([np.eye(4), -np.eye(4)])
    with pytest.warns(UserWarning, match=r"ratio margin is undefined for \d+ of 128 candidates"):
        mined = mine_pairs(X, X, k=8)  # every row's mean cosine is 0
    assert len(mined.scores) == 0
    with pytest.warns(UserWarning, match='Use margin="distance"'):
        assert xsim_error(X, X, k=8) == 1
    assert len(mine_pairs(X, X, k=8, margin="distance").scores) == 8
    assert xsim_error(X, X, k=8, margin="distance") == 0


def test_a_threshold_that_cuts_all_gives_precision_0_and_says_so():
    mined, gold = pairs_of([4.0], [True])
    with pytest.warns(UserWarning, match="None of the 1 mined pairs scores above the threshold 9"):
        score = mining_f1(mined, gold, threshold=MiningThreshold(9.0, "dev", 1.0))
    assert score[:3] == (0, 0, 0)


def test_thresholds_need_pairs():
    nothing = MinedPairs(np.zeros(0, int), np.zeros(0, int), np.zeros(0))
    mined, gold = pairs_of([4.0], [False])
    with pytest.raises(ValueError, match="No mined pairs to tune a threshold on"):
        best_threshold(nothing, gold, split="dev")
    with pytest.raises(ValueError, match="None of the 1 mined pairs is among the 1 true ones"):
        best_threshold(mined, gold, split="dev")
    with pytest.raises(ValueError, match="gold is empty"):
        best_threshold(mined, np.zeros((0, 2), int), split="dev")
    with pytest.raises(ValueError, match="gold is empty"):
        mining_f1(mined, [], threshold=MiningThreshold(0.0, "dev", 1.0))
    with pytest.raises(ValueError, match=r"gold has shape \(3,\) and dtype int64: expected integ"):
        best_threshold(mined, [1, 2, 3], split="dev")


@pytest.mark.parametrize("measure", [mine_pairs, xsim_error])
def test_wrong_input_is_named(measure):
    X = np.eye(6)
    with pytest.raises(ValueError, match="Unknown margin 'cosine': expected one of"):
        measure(X, X, margin="cosine")
    with pytest.raises(ValueError, match="k=7 but each side has 6 rows"):
        measure(X, X, k=7)
    with pytest.raises(ValueError, match=r"0 sample\(s\)"):
        measure(X[:0], X)
    with pytest.raises(ValueError, match="Y has a zero vector in row 2"):
        measure(X, X * (np.arange(6) != 2)[:, None])
    with pytest.raises(ValueError, match="Input X contains NaN, first in row 0"):
        measure(np.full((6, 6), np.nan), X)
    with pytest.raises(ValueError, match="k=5 but the smaller of X and Y has 4 rows"):
        mine_pairs(X[:4], X, k=5)
    with pytest.raises(ValueError, match="X has 6 rows and Y has 4"):
        xsim_error(X, X[:4])


def dense_xsim(dense, X, Y, k, margin):
    S = dense.cosine(X, Y)
    near = np.sort(S, axis=1)[:, -k:].mean(1)[:, None], np.sort(S, axis=0)[-k:].mean(0)
    middle = (near[0] + near[1]) / 2
    M = {"ratio": S / middle, "distance": S - middle, "absolute": S}[margin]
    M[np.sort(S, axis=1)[:, [-k]] > S] = -np.inf
    return np.mean(M.argmax(axis=1) != np.arange(len(S)))


@pytest.mark.parametrize("margin", ["ratio", "distance", "absolute"])
def test_xsim_is_the_dense_one(kind, dense, translations, margin):
    X, Y = map(kind, translations)
    expected = dense_xsim(dense, kind.plain(X), kind.plain(Y), 4, margin)
    assert 0 < expected < 1
    assert xsim_error(X, Y, margin=margin) == pytest.approx(expected)


def test_xsim_by_the_cosine_is_what_weak_alignment_misses(translations):
    X, Y = translations
    assert xsim_error(X, Y, margin="absolute") == pytest.approx(1 - weak_alignment(X, Y))


@pytest.mark.parametrize("margin", ["ratio", "distance", "absolute"])
def test_equal_candidates_are_an_error(kind, margin):
    rng = np.random.default_rng(0)
    Y = rng.normal(size=(40, 12)) + 0.5
    Y[31] = Y[2]
    assert xsim_error(kind(Y), kind(Y), margin=margin) == pytest.approx(2 / 40)
