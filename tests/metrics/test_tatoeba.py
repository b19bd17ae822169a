"""The Tatoeba protocol: both directions, per language, macro."""

import numpy as np
import pytest

from posthoc_align.metrics import retrieval_precision, tatoeba_accuracy


def stacked(inputs):
    """Languages below each other, with labels and ids."""
    n_languages, n, width = inputs.shape
    names = [f"l{i}" for i in range(n_languages)]
    return inputs.reshape(-1, width), np.repeat(names, n), np.tile(np.arange(n), n_languages)


@pytest.fixture
def corpus():
    rng = np.random.default_rng(3)
    base = rng.normal(size=(30, 12))
    return stacked(np.stack([base + s * rng.normal(size=base.shape) for s in (0, 0.5, 1.0, 2.0)]))


def test_it_matches_xtreme(official):
    expected = official("tatoeba")
    X, language, pair_id = stacked(official("inputs")["X_fit"])
    found = tatoeba_accuracy(X, language=language, pair_id=pair_id, pivot="l0")
    for i in range(1, 6):
        accuracy = [found.from_pivot[f"l{i}"], found.to_pivot[f"l{i}"]]
        np.testing.assert_allclose(accuracy, expected[f"tatoeba_l{i}_accuracy"], rtol=1e-14)
    macro = [found.macro_from_pivot, found.macro_to_pivot]
    np.testing.assert_allclose(macro, expected["tatoeba_macro_accuracy"], rtol=1e-14)


def test_it_is_retrieval_of_each_pair_whatever_the_order_of_rows(kind, corpus):
    X, language, pair_id = corpus
    order = np.random.default_rng(0).permutation(len(X))
    X, language, pair_id = kind(X[order]), language[order], pair_id[order]
    found = tatoeba_accuracy(X, language=language, pair_id=pair_id, pivot="l0", score="csls")
    assert list(found.pairs) == ["l1", "l2", "l3"]
    by_id = [
        np.flatnonzero(language == f"l{i}")[np.argsort(pair_id[language == f"l{i}"])]
        for i in range(4)
    ]
    for i in (1, 2, 3):
        foreign, home = X[by_id[i]], X[by_id[0]]
        assert found.from_pivot[f"l{i}"] == retrieval_precision(home, foreign, score="csls")
        assert found.to_pivot[f"l{i}"] == retrieval_precision(foreign, home, score="csls")
    assert found.macro_to_pivot == pytest.approx(np.mean(list(found.to_pivot.values())))


def test_more_noise_is_less_accuracy_and_unpaired_rows_take_no_part(corpus):
    X, language, pair_id = corpus
    found = tatoeba_accuracy(X, language=language, pair_id=pair_id, pivot="l0")
    assert found.to_pivot["l1"] > found.to_pivot["l2"] > found.to_pivot["l3"]
    # Strangers equal to the pivot's rows would win every race they are let into.
    more = np.concatenate([X, X[:30]])
    ids = np.concatenate([pair_id, np.full(30, -1)])
    labels = np.concatenate([language, np.full(30, "l1")])
    assert tatoeba_accuracy(more, language=labels, pair_id=ids, pivot="l0") == found


def test_a_pivot_side_of_its_own_for_each_language(corpus):
    X, language, _ = corpus
    first, second = (np.flatnonzero(language == name) for name in ("l1", "l2"))
    home = np.flatnonzero(language == "l0")
    rows = np.concatenate([home[:10], first[:10], home[10:], second[10:]])
    names = ["en"] * 10 + ["de"] * 10 + ["en"] * 20 + ["fi"] * 20
    ids = [f"de-{i}" for i in range(10)] * 2 + [f"fi-{i}" for i in range(20)] * 2
    found = tatoeba_accuracy(X[rows], language=names, pair_id=ids)
    assert found.pairs == {"de": 10, "fi": 20}
    assert found.to_pivot["de"] == retrieval_precision(X[first[:10]], X[home[:10]])
    assert found.from_pivot["fi"] == retrieval_precision(X[home[10:]], X[second[10:]])


def test_wrong_input_is_named():
    X, ids = np.eye(4), [0, 1, 0, 1]
    with pytest.raises(ValueError, match="language holds 'en' only"):
        tatoeba_accuracy(X, language="en", pair_id=[0, 1, 2, 3])
    with pytest.raises(ValueError, match="language is None"):
        tatoeba_accuracy(X, language=None, pair_id=ids)
    with pytest.raises(ValueError, match=r"pivot='en' is none of the languages \['de', 'fi'\]"):
        tatoeba_accuracy(X, language=["de", "de", "fi", "fi"], pair_id=ids)
    labels = ["en", "en", "fi", "fi"]
    with pytest.raises(ValueError, match="Language 'fi' has 1 rows with a translation in 'en'"):
        tatoeba_accuracy(X, language=labels, pair_id=[0, 1, 0, 7])
    with pytest.raises(ValueError, match=r"Duplicate \(language, pair_id\)"):
        tatoeba_accuracy(X, language=labels, pair_id=[0, 0, 0, 1])
    with pytest.raises(ValueError, match="zero vector"):
        tatoeba_accuracy(X * [1, 0, 0, 0], language=labels, pair_id=ids)
