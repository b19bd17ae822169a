"""Language identification and its chance level."""

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from posthoc_align.metrics import chance_level, language_identification


def corpus(shift, n=40, d=8, seed=0):
    """Rows of three languages, `shift` apart."""
    rng = np.random.default_rng(seed)
    means = shift * rng.normal(size=(3, d))
    language = np.repeat(["de", "en", "fi"], n)
    return rng.normal(size=(3 * n, d)) + np.repeat(means, n, axis=0), language


def test_languages_far_apart_are_told_and_centred_ones_are_not(kind):
    X, language = corpus(6.0)
    assert language_identification(kind(X), language) > 0.98
    for name in np.unique(language):
        X[language == name] -= X[language == name].mean(axis=0)
    assert language_identification(kind(X), language) < chance_level(language) + 0.12


def test_the_probe_is_a_logistic_regression_on_rows_of_length_3(kind):
    (X, language), (X_test, language_test) = corpus(0.5), corpus(0.5, n=30, seed=0)
    X, X_test = kind(X), kind(X_test)

    def three(rows):
        rows = kind.plain(rows)
        return 3 * rows / np.linalg.norm(rows, axis=1, keepdims=True)

    peer = LogisticRegression(C=1.0, max_iter=500).fit(three(X), language)
    assert language_identification(
        X, language, X_test=X_test, language_test=language_test
    ) == pytest.approx(peer.score(three(X_test), language_test), abs=1 / len(X_test))


def test_lengths_of_rows_tell_nothing():
    X, language = corpus(0.5)
    scale = np.where(language == "en", 50.0, 0.02)[:, None]
    plain = language_identification(X, language)
    assert language_identification(X * scale, language) == pytest.approx(plain, abs=1e-3)


def test_two_calls_give_one_figure():
    X, language = corpus(0.5)
    assert language_identification(X, language) == language_identification(X, language)


def test_a_probe_that_knows_nothing_reaches_the_chance_level():
    X, language = corpus(6.0)
    keep = slice(20, None)  # de 20, en 40, fi 40
    found = language_identification(X[keep], language[keep], head=DummyClassifier())
    assert found == pytest.approx(chance_level(language[keep]), abs=0.01)


def test_a_given_head_is_used_and_left_unfitted():
    X, language = corpus(6.0)
    head = KNeighborsClassifier(1)
    assert language_identification(X, language, X_test=X, language_test=language, head=head) == 1
    assert not hasattr(head, "classes_")


def test_one_label_for_all_test_rows_will_do():
    X, language = corpus(6.0)
    found = language_identification(X, language, X_test=X[:40], language_test="de")
    assert found == language_identification(X, language, X_test=X[:40], language_test=["de"] * 40)


def test_integer_labels_will_do():
    X, language = corpus(0.5)
    codes = np.unique(language, return_inverse=True)[1]
    assert language_identification(X, codes) == language_identification(X, language)


def test_the_chance_level_is_the_share_of_the_largest_language():
    assert chance_level(["en"] * 3 + ["de"]) == 0.75
    assert chance_level(np.array([1, 2, 3, 4])) == 0.25
    assert chance_level(["en"]) == 1


class TestErrors:
    def test_one_language(self):
        X, _ = corpus(1.0)
        for language in ("en", ["en"] * len(X)):
            with pytest.raises(ValueError, match=r"one language only .'en'.*two or more"):
                language_identification(X, language)

    def test_no_language(self):
        with pytest.raises(ValueError, match="language is None: pass one language label a row"):
            language_identification(np.eye(3), None)

    def test_half_a_test_set(self):
        X, language = corpus(1.0)
        with pytest.raises(ValueError, match=r"^language_test is missing"):
            language_identification(X, language, X_test=X)
        with pytest.raises(ValueError, match=r"^X_test is missing"):
            language_identification(X, language, language_test=language)

    def test_a_test_language_that_is_new(self):
        X, language = corpus(1.0)
        with pytest.raises(ValueError, match=r"language_test holds \['sw'\].*'de', 'en', 'fi'"):
            language_identification(X, language, X_test=X[:2], language_test=["sw", "en"])

    def test_a_language_too_rare_for_the_folds(self):
        X, language = corpus(1.0)
        with pytest.raises(ValueError, match="Language 'fi' has 3 rows; 5 folds need 5"):
            language_identification(X[:83], language[:83])

    def test_labels_that_do_not_fit(self):
        X, language = corpus(1.0)
        with pytest.raises(ValueError, match=r"language has shape \(9,\)"):
            language_identification(X, language[:9])

    def test_widths_that_differ(self):
        X, language = corpus(1.0)
        with pytest.raises(ValueError, match="X has 8 features and X_test has 5"):
            language_identification(X, language, X_test=X[:, :5], language_test=language)

    def test_rows_without_direction(self):
        X, language = corpus(1.0)
        X[7] = 0
        with pytest.raises(ValueError, match="X has a zero vector in row 7"):
            language_identification(X, language)
        with pytest.raises(ValueError, match="X_test has a zero vector in row 7"):
            language_identification(X[8:], language[8:], X_test=X, language_test=language)

    def test_rows_that_are_not_finite(self):
        X, language = corpus(1.0)
        X[7, 2] = np.nan
        with pytest.raises(ValueError, match="Input X contains NaN, first in row 7"):
            language_identification(X, language)

    def test_no_labels_have_no_chance_level(self):
        with pytest.raises(ValueError, match=r"language has shape \(0,\)"):
            chance_level([])
        with pytest.raises(ValueError, match=r"language has shape \(\)"):
            chance_level("en")
        with pytest.raises(ValueError, match="missing"):
            chance_level(["en", None])
