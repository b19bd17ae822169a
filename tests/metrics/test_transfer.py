"""Zero-shot scores and the transfer gap."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB

from posthoc_align.metrics import transfer_gap, zero_shot_scores


def topics(n=60, d=10, seed=0):
    """Three topics in English, German (= English) and Finnish (rotated)."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    english = 4 * np.eye(3, d)[y] + rng.normal(size=(n, d))
    finnish = np.roll(english, 1, axis=1)
    X = np.concatenate([english, english, finnish])
    return X, np.tile(y, 3), np.repeat(["en", "de", "fi"], n)


def test_a_head_transfers_where_spaces_agree_and_fails_where_they_do_not(kind):
    X, y, language = topics()
    X_test, y_test, language_test = topics(seed=1)
    found = zero_shot_scores(kind(X), y, language, kind(X_test), y_test, language_test, pivot="en")
    assert list(found) == ["de", "en", "fi"]
    assert found["en"] == found["de"] > 0.9
    assert found["fi"] < 0.4


def test_the_head_is_a_logistic_regression_on_pivot_rows_of_length_3():
    X, y, language = topics()
    X_test, y_test, language_test = topics(seed=1)

    def three(rows):
        return 3 * rows / np.linalg.norm(rows, axis=1, keepdims=True)

    peer = LogisticRegression(C=1.0, max_iter=2000).fit(three(X[:60]), y[:60])
    found = zero_shot_scores(X, y, language, X_test, y_test, language_test, pivot="en")
    for name, score in found.items():
        rows = language_test == name
        assert score == peer.score(three(X_test[rows]), y_test[rows])


def test_rows_of_other_languages_and_their_labels_take_no_part():
    X, y, language = topics()
    test = topics(seed=1)
    found = zero_shot_scores(X, y, language, *test, pivot="en")
    spoiled, wrong = X.copy(), y.copy()
    spoiled[60:] = np.random.default_rng(0).normal(size=spoiled[60:].shape)
    wrong[60:] = 0
    assert zero_shot_scores(spoiled, wrong, language, *test, pivot="en") == found
    assert zero_shot_scores(X[:60], y[:60], "en", *test, pivot="en") == found


def test_a_given_head_reads_the_same_rows_and_is_left_unfitted():
    X, y, language = topics()
    head = GaussianNB()
    found = zero_shot_scores(X, y, language, X, y, language, pivot="en", head=head)
    rows = 3 * X / np.linalg.norm(X, axis=1, keepdims=True)
    assert found["en"] == GaussianNB().fit(rows[:60], y[:60]).score(rows[:60], y[:60])
    assert not hasattr(head, "classes_")


def test_lengths_of_rows_do_not_matter():
    X, y, language = topics()
    scale = np.random.default_rng(0).uniform(0.1, 9, size=(len(X), 1))
    plain = zero_shot_scores(X, y, language, X, y, language, pivot="en")
    assert zero_shot_scores(X * scale, y, language, X * scale, y, language, pivot="en") == plain


def test_text_and_integer_languages_will_do():
    X, y, _ = topics()
    codes, names = np.repeat([0, 1, 2], 60), np.array(["sports", "health", "travel"])[y]
    found = zero_shot_scores(X, names, codes, X, names, codes, pivot=0)
    assert list(found) == [0, 1, 2]
    assert found[0] == found[1]


def test_tensors_of_labels_will_do():
    import torch

    X, y, language = topics()
    found = zero_shot_scores(
        torch.as_tensor(X),
        torch.as_tensor(y),
        language,
        torch.as_tensor(X),
        y,
        language,
        pivot="en",
    )
    assert found == zero_shot_scores(X, y, language, X, y, language, pivot="en")
    assert transfer_gap(torch.as_tensor(y), torch.as_tensor(y), language, pivot="en") == 0


def test_the_gap_weighs_languages_not_rows():
    language = ["en"] * 4 + ["de"] * 4 + ["fi"] * 1
    y_pred = [1, 1, 1, 0, 1, 1, 0, 0, 0]  # 0.75, 0.5, 0
    assert transfer_gap([1] * 9, y_pred, language, pivot="en") == pytest.approx(0.75 - 0.25)


def test_the_gap_is_negative_where_others_do_better():
    assert transfer_gap(["a", "a"], ["b", "a"], ["en", "de"], pivot="en") == -1


def test_the_gap_is_made_of_zero_shot_scores():
    X, y, language = topics()
    scores = zero_shot_scores(X, y, language, X, y, language, pivot="en")
    rows = 3 * X / np.linalg.norm(X, axis=1, keepdims=True)
    y_pred = LogisticRegression(C=1.0, max_iter=2000).fit(rows[:60], y[:60]).predict(rows)
    gap = transfer_gap(y, y_pred, language, pivot="en")
    assert gap == pytest.approx(scores["en"] - (scores["de"] + scores["fi"]) / 2, abs=1e-12)


class TestErrors:
    def test_an_unknown_pivot(self):
        X, y, language = topics()
        with pytest.raises(ValueError, match=r"Unknown pivot 'sw'.*\['de', 'en', 'fi'\]"):
            zero_shot_scores(X, y, language, X, y, language, pivot="sw")
        with pytest.raises(ValueError, match=r"Unknown pivot 'sw'.*\['de', 'en', 'fi'\]"):
            transfer_gap(y, y, language, pivot="sw")

    def test_a_pivot_of_one_class(self):
        X, y, language = topics()
        y[:60] = 2
        with pytest.raises(ValueError, match=r"60 rows of pivot 'en' have one class only \(2\)"):
            zero_shot_scores(X, y, language, X, y, language, pivot="en")

    def test_lengths_that_differ(self):
        X, y, language = topics()
        with pytest.raises(ValueError, match=r"y has shape \(9,\) but there are 180 rows"):
            zero_shot_scores(X, y[:9], language, X, y, language, pivot="en")
        with pytest.raises(ValueError, match=r"y_test has shape \(9,\) but there are 180 rows"):
            zero_shot_scores(X, y, language, X, y[:9], language, pivot="en")
        with pytest.raises(ValueError, match=r"language has shape \(9,\)"):
            zero_shot_scores(X, y, language, X, y, language[:9], pivot="en")
        with pytest.raises(ValueError, match=r"y_pred has shape \(9,\) but there are 180 rows"):
            transfer_gap(y, y[:9], language, pivot="en")

    def test_no_language(self):
        X, y, language = topics()
        with pytest.raises(ValueError, match="language_test is None"):
            zero_shot_scores(X, y, language, X, y, None, pivot="en")

    def test_text_against_numbers(self):
        X, y, language = topics()
        with pytest.raises(ValueError, match="y has dtype int64 and y_test has dtype <U"):
            zero_shot_scores(X, y, language, X, y.astype(str), language, pivot="en")
        with pytest.raises(ValueError, match="text never equals a number"):
            transfer_gap(["1"], [1], ["en"], pivot="en")

    def test_missing_labels(self):
        X, y, language = topics()
        y = y.astype(float)
        y[5] = np.nan
        with pytest.raises(ValueError, match="y is NaN, first in row 5"):
            zero_shot_scores(X, y, language, X, y, language, pivot="en")

    def test_widths_that_differ(self):
        X, y, language = topics()
        with pytest.raises(ValueError, match="X has 10 features and X_test has 4"):
            zero_shot_scores(X, y, language, X[:, :4], y, language, pivot="en")

    def test_rows_without_direction_or_value(self):
        X, y, language = topics()
        bad = X.copy()
        bad[3] = 0
        with pytest.raises(ValueError, match="X_test has a zero vector in row 3"):
            zero_shot_scores(X, y, language, bad, y, language, pivot="en")
        bad[3] = np.inf
        with pytest.raises(ValueError, match="Input X contains infinity, first in row 3"):
            zero_shot_scores(bad, y, language, X, y, language, pivot="en")

    def test_a_gap_of_one_language(self):
        with pytest.raises(ValueError, match="language holds 'en' only"):
            transfer_gap([1, 0], [1, 0], "en", pivot="en")

    def test_a_gap_of_nothing(self):
        with pytest.raises(ValueError, match=r"y_true has shape \(0,\)"):
            transfer_gap([], [], [], pivot="en")
        with pytest.raises(ValueError, match=r"y_true has shape \(2, 2\)"):
            transfer_gap(np.eye(2), np.eye(2), "en", pivot="en")
