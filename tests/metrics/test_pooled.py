"""Mean average precision over a pool of many languages, and the preference for the own one."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from posthoc_align.metrics import mean_reciprocal_rank, pooled_retrieval, strong_alignment


@pytest.fixture
def pool():
    """Three languages of 20 sentences, one missing here and there; strong language offsets."""
    rng = np.random.default_rng(1)
    base = rng.normal(size=(20, 8))
    offset = 1.2 * rng.normal(size=(3, 1, 8))
    X = (base + offset + 0.6 * rng.normal(size=(3, 20, 8))).reshape(-1, 8)
    language, ids = np.repeat(["en", "de", "fi"], 20), np.tile(np.arange(20), 3)
    ids[[3, 25, 47]] = -1
    order = rng.permutation(60)
    return X[order], language[order], ids[order]


def by_definition(S, ids, alone, at):
    """Average precision by scikit-learn, and within the first places by sorting."""
    full, first, asked = [], [], []
    for i, scores in enumerate(S):
        others = np.arange(S.shape[1]) != i if alone else np.full(S.shape[1], True)
        right = ids[others] == ids[i]
        if ids[i] < 0 or not right.any():
            continue
        asked.append(i)
        full.append(average_precision_score(right, scores[others]))
        hits = right[np.argsort(-scores[others])]
        precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
        first.append(np.sum((precision * hits)[:at]) / min(right.sum(), at))
    return np.array(full), np.mean(first), np.array(asked)


@pytest.mark.parametrize("score", ["cosine", "dot"])
@pytest.mark.parametrize("at", [1, 4, 20])
def test_it_is_the_definition(kind, dense, pool, score, at):
    X, language, ids = kind(pool[0]), *pool[1:]
    x = kind.plain(X)
    S = dense.cosine(x, x) if score == "cosine" else x @ x.T
    full, first, asked = by_definition(S, ids, True, at)
    found = pooled_retrieval(X, language=language, pair_id=ids, score=score, at=at)
    np.testing.assert_array_equal(found.asked, asked)
    np.testing.assert_allclose(found.average_precision, full, atol=1e-12)
    assert found.map == pytest.approx(full.mean())
    assert found.map_at == pytest.approx(first)
    for label, value in found.per_language.items():
        assert value == pytest.approx(full[language[asked] == label].mean())


def test_a_pool_of_its_own_is_the_whole_with_itself_taken_out(pool):
    X, language, ids = pool
    with_self = pooled_retrieval(
        X, X, language=language, pair_id=ids, language_pool=language, pair_id_pool=ids
    )
    alone = pooled_retrieval(X, language=language, pair_id=ids)
    assert with_self.map > alone.map  # each row finds itself first
    assert len(with_self.asked) == 57


def brute_own_language(S, language, ids):
    share, chance = [], []
    for i in range(len(S)):
        wrong = (ids != ids[i]) & (np.arange(len(S)) != i)
        right = ~wrong & (np.arange(len(S)) != i) & (language != language[i])
        if ids[i] < 0 or not right.any():
            continue
        ahead = [wrong & (S[i] >= S[i, r]) for r in np.flatnonzero(right)]
        total = sum(rows.sum() for rows in ahead)
        if total:
            share.append(sum((rows & (language == language[i])).sum() for rows in ahead) / total)
            chance.append(np.mean(language[wrong] == language[i]))
    return np.mean(share), np.mean(chance)


def test_the_preference_for_the_own_language_is_the_definition(kind, dense, pool):
    X, language, ids = kind(pool[0]), *pool[1:]
    found = pooled_retrieval(X, language=language, pair_id=ids)
    expected = brute_own_language(dense.cosine(kind.plain(X), kind.plain(X)), language, ids)
    assert (found.own_language, found.own_language_chance) == pytest.approx(expected)


def test_centring_takes_the_preference_away(pool):
    X, language, ids = pool
    before = pooled_retrieval(X, language=language, pair_id=ids)
    means = np.stack([X[language == label].mean(axis=0) for label in language])
    after = pooled_retrieval(X - means, language=language, pair_id=ids)
    assert before.own_language > before.own_language_chance + 0.2
    assert abs(after.own_language - after.own_language_chance) < 0.1
    assert after.map > before.map + 0.2


def test_one_right_answer_makes_it_the_reciprocal_rank(kind, translations):
    X, Y = map(kind, translations)
    n = len(translations[0])
    found = pooled_retrieval(
        X,
        Y,
        language="en",
        pair_id=np.arange(n),
        language_pool=np.tile(["de", "fi"], n // 2),
        pair_id_pool=np.arange(n),
        at=1,
    )
    assert found.map == pytest.approx(mean_reciprocal_rank(X, Y))


def test_of_two_languages_the_first_place_is_strong_alignment(kind, translations):
    X, Y = translations
    n = len(X)
    both = kind(np.concatenate([X, Y]))
    language, ids = np.repeat(["en", "de"], n), np.tile(np.arange(n), 2)
    found = pooled_retrieval(both, language=language, pair_id=ids, at=1)
    first = found.average_precision == 1
    assert np.mean(first[:n]) == strong_alignment(both[:n], both[n:])
    assert np.mean(first[n:]) == strong_alignment(both[n:], both[:n])


def test_it_matches_lareqa(official, kind):
    expected, inputs = official("lareqa_map"), official("inputs")["X_fit"]
    candidates = inputs[expected["candidate_language"], expected["candidate_row"]]
    relevance, names = expected["relevance"], np.array([f"l{i}" for i in range(6)])
    pool_ids = np.where(relevance.any(axis=0), relevance.argmax(axis=0), -1)
    means = inputs.mean(axis=1)
    questions = expected["questions"]
    moved = {
        "none": (questions, candidates),
        "demean": (
            questions - means[:, None],
            candidates - means[expected["candidate_language"]],
        ),
    }
    for name, (asked, searched) in moved.items():
        found = pooled_retrieval(
            kind(asked.reshape(-1, 48)),
            kind(searched),
            language=np.repeat(names, 40),
            pair_id=np.tile(np.arange(40), 6),
            language_pool=names[expected["candidate_language"]],
            pair_id_pool=pool_ids,
            score="dot",
        )
        tolerance = 1e-9 if kind.dtype == "float64" else {"float32": 1e-5}.get(kind.dtype, 0.02)
        assert found.map == pytest.approx(float(expected[f"{name}_map_all"]), abs=tolerance)
        by_language = [found.per_language[label] for label in names]
        np.testing.assert_allclose(
            by_language, expected[f"{name}_map_per_language"], atol=2 * tolerance
        )
        if kind.dtype == "float64":
            np.testing.assert_allclose(
                found.average_precision[40:80], expected[f"{name}_average_precision_l1"], atol=1e-9
            )


def test_the_budget_does_not_change_the_answer(kind, pool):
    X, language, ids = kind(pool[0]), *pool[1:]
    whole = pooled_retrieval(X, language=language, pair_id=ids)
    for budget in (4000, 20_000):
        cut = pooled_retrieval(X, language=language, pair_id=ids, memory_budget=budget)
        np.testing.assert_array_equal(cut.average_precision, whole.average_precision)
        assert cut[:5] == whole[:5]


def test_equal_rows_share_the_last_of_their_ranks(kind):
    X = kind(np.concatenate([np.eye(4), np.eye(4)[[0, 0, 2, 2]]]))
    found = pooled_retrieval(
        X, language=["en"] * 4 + ["de"] * 4, pair_id=[0, 1, 2, 3, 0, 1, 2, 3], at=2
    )
    # en-0 meets de-0 and de-1 at once: one right of two. en-1 meets none: all seven tie.
    np.testing.assert_allclose(found.average_precision[:2], [1 / 2, 1 / 7])


def test_several_answers_in_one_language(dense):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 5))
    language, ids = np.repeat(["a", "b"], 15), np.tile(np.arange(5), 6)
    found = pooled_retrieval(X, language=language, pair_id=ids)
    full, first, _ = by_definition(dense.cosine(X, X), ids, True, 20)
    np.testing.assert_allclose(found.average_precision, full)
    assert found.map_at == pytest.approx(first)


def test_a_perfect_space_has_no_wrong_rows_to_tell_a_preference_from(kind):
    X = kind(np.concatenate([np.eye(5), np.eye(5)]))
    with pytest.warns(UserWarning, match="No wrong row comes before a right one"):
        found = pooled_retrieval(
            X, language=np.repeat([1, 2], 5), pair_id=np.tile(np.arange(5), 2), at=1
        )
    assert found.map == found.map_at == 1
    assert np.isnan(found.own_language)
    assert np.isnan(found.own_language_chance)


def test_wrong_input_is_named():
    X, labels, ids = np.eye(4), ["en", "en", "de", "de"], [0, 1, 0, 1]
    with pytest.raises(ValueError, match=r"The pool has one language only, 'en'"):
        pooled_retrieval(X, language="en", pair_id=ids)
    with pytest.raises(ValueError, match="None of the 4 rows of X has a translation in the pool"):
        pooled_retrieval(X, language=labels, pair_id=[0, 1, 2, 3], at=1)
    with pytest.raises(ValueError, match="at=20 but the pool has 4 rows"):
        pooled_retrieval(X, language=labels, pair_id=ids)
    with pytest.raises(ValueError, match="Y, language_pool and pair_id_pool go together"):
        pooled_retrieval(X, X, language=labels, pair_id=ids)
    with pytest.raises(ValueError, match="Unknown score 'csls'"):
        pooled_retrieval(X, language=labels, pair_id=ids, score="csls")
    with pytest.raises(ValueError, match="pair_id is None"):
        pooled_retrieval(X, language=labels, pair_id=None)
    pool = {"language_pool": labels, "pair_id_pool": ["a", "b", "a", "b"]}
    with pytest.raises(ValueError, match="pair_id is of dtype int64 and pair_id_pool of <U1"):
        pooled_retrieval(X, X, language=labels, pair_id=ids, at=1, **pool)
    with pytest.raises(ValueError, match="zero vector in row 1"):
        pooled_retrieval(X * [1, 0, 1, 1], language=labels, pair_id=ids)
    with pytest.raises(ValueError, match="contains NaN"):
        pooled_retrieval(X * np.nan, language=labels, pair_id=ids)
