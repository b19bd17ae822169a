"""The bundled corpus: shapes, correspondence of rows, and its errors."""

from collections import Counter

import numpy as np
import pytest

from posthoc_align.datasets import load_parallel_topics

LANGUAGES = ["en", "de", "fr", "es", "tr", "fi", "id", "sw", "vi", "ru", "zh", "ar"]


@pytest.fixture(scope="module")
def corpus():
    return load_parallel_topics()


def test_every_column_has_one_entry_a_row(corpus):
    assert corpus.embeddings.shape == (14400, 384)
    assert corpus.embeddings.dtype == np.float16
    for column in ("language", "pair_id", "topic", "split", "text"):
        assert corpus[column].shape == (14400,), column
    assert corpus.pivot == "en"


def test_rows_are_grouped_by_language_in_the_order_of_the_table(corpus):
    assert corpus.languages == LANGUAGES
    np.testing.assert_array_equal(corpus.language, np.repeat(LANGUAGES, 1200))


def test_every_sentence_is_there_once_in_every_language(corpus):
    ids = corpus.pair_id.reshape(12, 1200)
    assert len(set(ids[0])) == 1200
    assert (ids == ids[0]).all()


def test_topics_and_splits_are_as_the_readme_says(corpus):
    english = corpus.language == "en"
    assert set(Counter(corpus.topic[english]).values()) == {200}
    for topic in set(corpus.topic):
        assert topic in corpus.DESCR
    assert Counter(corpus.split[english]) == {"train": 780, "dev": 120, "test": 300}
    for fact in ("CC0-1.0", "Apache-2.0", "not reviewed by native speakers"):
        assert fact in corpus.DESCR


def test_embeddings_are_finite_and_no_row_is_empty(corpus):
    assert np.isfinite(corpus.embeddings).all()
    assert np.linalg.norm(corpus.embeddings.astype(np.float32), axis=1).min() > 0
    assert all(text.strip() for text in corpus.text)


def nearest_is_translation(X, Y):
    """Share of rows of X whose nearest row of Y by cosine is their counterpart."""
    X, Y = (A / np.linalg.norm(A, axis=1, keepdims=True) for A in (X, Y))
    return float(np.mean((X @ Y.T).argmax(axis=1) == np.arange(len(X))))


def test_embeddings_belong_to_their_sentences(corpus):
    X = corpus.embeddings.astype(np.float32).reshape(12, 1200, 384)
    shuffled = np.random.default_rng(0).permutation(1200)
    for code in ("de", "fr", "es"):
        rows = X[LANGUAGES.index(code)]
        assert nearest_is_translation(rows, X[0]) > 0.1  # chance is 1/1200
        assert nearest_is_translation(rows[shuffled], X[0]) < 0.01


def test_a_subset_is_cut_from_the_whole_in_the_same_order(corpus):
    subset = load_parallel_topics(languages=["de", "en"])
    assert subset.languages == ["en", "de"]
    rows = np.isin(corpus.language, ["en", "de"])
    for column in ("embeddings", "language", "pair_id", "topic", "split", "text"):
        np.testing.assert_array_equal(subset[column], corpus[column][rows])


def test_one_language_may_be_given_as_a_string():
    assert load_parallel_topics(languages="sw").languages == ["sw"]


@pytest.mark.parametrize(
    ("asked", "came"), [(["en", "xx"], r"Unknown languages \['xx'\]"), ([], "languages is empty")]
)
def test_an_impossible_choice_names_the_languages_there_are(asked, came):
    with pytest.raises(ValueError, match=f"{came}: parallel_topics has en, de, .*None for all"):
        load_parallel_topics(languages=asked)
