"""Language identification and its chance level."""

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import silhouette_score
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

from posthoc_align.metrics import chance_level, language_identification, language_silhouette


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


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


class TestCentroid:
    def test_it_is_the_nearest_mean_direction(self, kind):
        (X, language), (X_test, language_test) = corpus(0.5), corpus(0.5, n=30, seed=0)
        X, X_test = kind(X), kind(X_test)
        peer = NearestCentroid().fit(unit(kind.plain(X)), language)
        assert language_identification(
            X, language, X_test=X_test, language_test=language_test, probe="centroid"
        ) == pytest.approx(peer.score(unit(kind.plain(X_test)), language_test), abs=1 / len(X_test))

    def test_its_folds_are_those_of_the_linear_probe(self):
        X, language = corpus(0.5)
        folds = StratifiedKFold(5, shuffle=True, random_state=0)
        peer = cross_val_score(NearestCentroid(), unit(X), language, cv=folds).mean()
        assert language_identification(X, language, probe="centroid") == pytest.approx(peer)

    def test_it_is_blind_to_what_is_no_difference_of_means(self):
        # Both have mean 0: English lies on one axis, German on another.
        rng = np.random.default_rng(0)
        english = rng.choice([-1, 1], (200, 1)) * [[1, 0, 0, 0]] + 0.1 * rng.normal(size=(200, 4))
        german = rng.choice([-1, 1], (200, 1)) * [[0, 1, 0, 0]] + 0.1 * rng.normal(size=(200, 4))
        X, language = np.vstack([english, german]), np.repeat(["en", "de"], 200)
        assert language_identification(X, language, probe="centroid") < 0.65
        assert language_identification(X, language, head=KNeighborsClassifier(5)) > 0.95

    def test_it_is_told_nothing_of_the_rows_it_is_tested_on(self):
        rng = np.random.default_rng(0)
        X, language = rng.normal(size=(60, 200)), np.tile(["de", "en", "fi"], 20)
        assert language_identification(X, language, probe="centroid") < 0.5
        fitted = {"X_test": X, "language_test": language, "probe": "centroid"}
        assert language_identification(X, language, **fitted) > 0.8  # had it seen them


class TestSilhouette:
    def test_it_is_that_of_scikit_learn(self, kind):
        X, language = corpus(0.7)
        X = kind(X)
        for metric in ("cosine", "euclidean"):
            peer = silhouette_score(kind.plain(X), language, metric=metric)
            found = language_silhouette(X, language, metric=metric)
            assert found == pytest.approx(peer, abs=1e-9)

    def test_tiles_give_the_same_figure(self, monkeypatch):
        X, language = corpus(0.7)
        whole = language_silhouette(X, language, metric="euclidean")
        monkeypatch.setattr("posthoc_align.metrics._silhouette.PRODUCT_BLOCK", 8 * 17**2)
        assert language_silhouette(X, language, metric="euclidean") == pytest.approx(whole)

    def test_languages_far_apart_are_clusters_and_centred_ones_are_not(self):
        X, language = corpus(6.0)
        for metric in ("cosine", "euclidean"):
            assert language_silhouette(X, language, metric=metric) > 0.5
        for name in np.unique(language):
            X[language == name] -= X[language == name].mean(axis=0)
        for metric in ("cosine", "euclidean"):
            assert abs(language_silhouette(X, language, metric=metric)) < 0.05

    def test_each_metric_keeps_its_invariance(self):
        X, language = corpus(1.0)
        scale = np.random.default_rng(0).uniform(0.1, 9, size=(len(X), 1))
        cosine = language_silhouette(X, language)
        assert language_silhouette(X * scale, language) == pytest.approx(cosine)
        euclidean = language_silhouette(X, language, metric="euclidean")
        shifted = language_silhouette(X + 100, language, metric="euclidean")
        assert shifted == pytest.approx(euclidean)
        assert language_silhouette(X * scale, language, metric="euclidean") != pytest.approx(
            euclidean, abs=1e-3
        )

    def test_rows_of_one_place_and_the_only_row_of_a_language_count_as_none(self):
        X = np.tile([0.1, 0.2, 0.3], (6, 1))
        for metric in ("cosine", "euclidean"):
            assert language_silhouette(X, ["en"] * 3 + ["de"] * 3, metric=metric) == 0
        X = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        assert language_silhouette(X, ["en", "en", "de"]) == pytest.approx(2 / 3)

    def test_interleaved_curves_are_no_clusters_although_a_probe_tells_them_apart(self):
        angle = np.linspace(0, 1.5 * np.pi, 100)
        curve = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        X, language = np.vstack([curve, 1.15 * curve]), np.repeat(["en", "de"], 100)
        assert abs(language_silhouette(X, language, metric="euclidean")) < 0.05


class TestErrors:
    def test_unknown_choices(self):
        X, language = corpus(1.0)
        with pytest.raises(ValueError, match="Unknown probe 'knn': expected 'linear' or 'centro"):
            language_identification(X, language, probe="knn")
        with pytest.raises(ValueError, match="Unknown metric 'l1': expected 'cosine' or 'eucl"):
            language_silhouette(X, language, metric="l1")
        with pytest.raises(ValueError, match="probe='centroid' fits no head, but head=Nearest"):
            language_identification(X, language, probe="centroid", head=NearestCentroid())

    def test_a_silhouette_of_bad_rows(self):
        X, language = corpus(1.0)
        with pytest.raises(ValueError, match="one language only .'en'"):
            language_silhouette(X, "en")
        for bad, metric in ((np.nan, "cosine"), (np.inf, "euclidean")):
            X[7, 2] = bad
            with pytest.raises(ValueError, match="first in row 7"):
                language_silhouette(X, language, metric=metric)
        X[7] = 0
        with pytest.raises(ValueError, match="zero vector in row 7"):
            language_silhouette(X, language)
        assert np.isfinite(language_silhouette(X, language, metric="euclidean"))

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
