"""Zero-shot scores and the transfer gap."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, f1_score, r2_score
from sklearn.naive_bayes import GaussianNB

from posthoc_align.metrics import (
    bootstrap,
    transfer_gap,
    transfer_scores,
    zero_shot_predictions,
    zero_shot_scores,
)


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


def labelled(y):
    """Indicators of two overlapping labels made from three topics."""
    return np.stack([y == 0, y != 1], axis=1).astype(int)


def told(n=80, seed=0):
    """Targets, predictions of a middling head, languages and sentence ids."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, 3 * n)
    found = np.where(rng.random(3 * n) < 0.6, y, rng.integers(0, 3, 3 * n))
    return y, found, np.repeat(["de", "en", "fi"], n), np.tile(np.arange(n), 3)


PEERS = {
    "accuracy": accuracy_score,
    "f1_micro": lambda a, b: f1_score(a, b, average="micro"),
    "f1_macro": lambda a, b: f1_score(a, b, average="macro"),
    "r2": r2_score,
    "spearman": lambda a, b: spearmanr(a, b).statistic,
}


class TestTransferScores:
    @pytest.mark.parametrize("metric", PEERS)
    def test_every_metric_is_that_of_its_peer_in_each_language(self, metric):
        y, found, language, _ = told()
        if metric in ("r2", "spearman"):
            found = found + np.random.default_rng(1).normal(size=len(y))
            y = y + 0.5 * found + 1000  # far from 0
        scores = transfer_scores(y, found, language, pivot="en", metric=metric, n_resamples=40)
        for name, score in scores.per_language.items():
            rows = language == name
            assert score.value == pytest.approx(PEERS[metric](y[rows], found[rows]), abs=1e-9)

    @pytest.mark.parametrize("metric", ["accuracy", "f1_micro", "f1_macro"])
    def test_indicators_are_scored_as_the_peer_does(self, metric):
        y, found, language, _ = told()
        y, found = labelled(y), labelled(found)
        scores = transfer_scores(y, found, language, pivot="en", metric=metric, n_resamples=40)
        for name, score in scores.per_language.items():
            rows = language == name
            assert score.value == pytest.approx(PEERS[metric](y[rows], found[rows]), abs=1e-12)

    def test_the_metric_follows_from_the_targets(self):
        y, found, language, _ = told()
        few = {"pivot": "en", "n_resamples": 40}
        assert transfer_scores(y, found, language, **few).metric == "accuracy"
        assert transfer_scores(labelled(y), labelled(y), language, **few).metric == "f1_micro"
        assert transfer_scores(y + 0.5, found * 1.0, language, **few).metric == "r2"
        assert transfer_scores(y * 1.0, found, language, **few).metric == "accuracy"

    def test_macro_worst_and_gap_leave_the_pivot_aside(self):
        y, found, language, _ = told()
        found[language == "en"] = (y[language == "en"] + 1) % 3  # the pivot is the worst of all
        scores = transfer_scores(y, found, language, pivot="en")
        others = {k: v.value for k, v in scores.per_language.items() if k != "en"}
        assert scores.macro.value == pytest.approx(np.mean(list(others.values())))
        assert scores.worst == min(others, key=others.get)
        assert scores.source == scores.per_language["en"]
        assert scores.gap.value == pytest.approx(scores.source.value - scores.macro.value)
        assert scores.gap.value == transfer_gap(y, found, language, pivot="en")

    def test_intervals_of_accuracy_are_those_of_hits(self):
        y, found, language, sentence = told()
        scores = transfer_scores(y, found, language, pivot="en", groups=sentence)
        rows = language != "en"
        peer = bootstrap((y == found)[rows], groups=sentence[rows], strata=language[rows])
        assert scores.macro == peer
        assert scores.macro.n == 80

    @pytest.mark.parametrize("metric", ["f1_micro", "f1_macro", "r2", "spearman"])
    def test_intervals_hold_the_value_and_shrink_with_more_rows(self, metric):
        def width(n):
            y, found, language, sentence = told(n)
            score = transfer_scores(y, found, language, pivot="en", metric=metric, groups=sentence)
            assert score.macro.low <= score.macro.value <= score.macro.high
            assert score.gap.low <= score.gap.value <= score.gap.high
            return score.macro.high - score.macro.low

        assert width(800) < 0.5 * width(80)

    @pytest.mark.slow
    def test_an_interval_of_f1_is_that_of_scores_taken_anew(self):
        y, found, language, sentence = told()
        score = transfer_scores(
            y, found, language, pivot="en", metric="f1_macro", groups=sentence, n_resamples=2000
        )
        rng, values = np.random.default_rng(1), []
        rows = np.arange(len(y)).reshape(3, -1)
        for _ in range(400):
            drawn = rng.integers(80, size=80)
            values.append(
                np.mean([PEERS["f1_macro"](y[r[drawn]], found[r[drawn]]) for r in rows[::2]])
            )
        half = (score.macro.high - score.macro.low) / 2
        # 400 draws know a standard deviation to 4 %.
        assert half == pytest.approx(1.96 * np.std(values), rel=0.15)

    def test_tokens_of_a_sentence_are_drawn_together(self):
        # Every token of a sentence is right, or every one is wrong.
        rng = np.random.default_rng(0)
        sentence = np.repeat(np.arange(120), 10)
        right = np.repeat(rng.random(120) < 0.7, 10)
        y, language = rng.integers(0, 5, 1200), np.repeat(["en", "de"], 600)
        found = np.where(right, y, (y + 1) % 5)
        whole = transfer_scores(y, found, language, pivot="en", groups=sentence)
        naive = transfer_scores(y, found, language, pivot="en")
        assert whole.macro.value == naive.macro.value
        ratio = (whole.macro.high - whole.macro.low) / (naive.macro.high - naive.macro.low)
        assert ratio == pytest.approx(np.sqrt(10), rel=0.15)
        assert whole.macro.n == 60

    def test_it_prints_a_line_a_language_and_names_the_worst(self):
        y, found, language, sentence = told()
        text = str(transfer_scores(y, found, language, pivot="en", groups=sentence))
        assert [line.split("  ")[0].strip() for line in text.splitlines()[:-1]] == [
            *("de", "fi", "macro", "en (pivot)", "gap"),
        ]
        assert "accuracy, percent; 95% intervals; worst language:" in text
        assert "seed 0" in text


class TestTasks:
    def test_several_labels_transfer_where_spaces_agree(self, kind):
        (X, y, language), (X_test, y_test, language_test) = topics(), topics(seed=1)
        given = (kind(X), labelled(y), language, kind(X_test), labelled(y_test), language_test)
        found = zero_shot_scores(*given, pivot="en")
        assert found["en"] == found["de"] > 0.9
        assert found["fi"] < 0.75

    def test_numbers_transfer_where_spaces_agree(self, kind):
        (X, _, language), (X_test, _, language_test) = topics(), topics(seed=1)

        def target(rows):  # the direction of the English row tells it, in each language
            english = rows[: len(rows) // 3]
            return np.tile(english[:, 0] / np.linalg.norm(english, axis=1), 3)

        given = (kind(X), target(X), language, kind(X_test), target(X_test), language_test)
        found = zero_shot_scores(*given, pivot="en")
        assert found["en"] == found["de"] > 0.9
        assert found["fi"] < 0
        ranks = zero_shot_scores(*given, pivot="en", metric="spearman")
        assert ranks["en"] > 0.9
        assert abs(ranks["fi"]) < 0.8

    def test_whole_numbers_are_classes_unless_the_metric_says_otherwise(self):
        X, y, language = topics()
        assert set(zero_shot_predictions(X, y, language, X, pivot="en")) <= {0, 1, 2}
        rows = 3 * X / np.linalg.norm(X, axis=1, keepdims=True)
        peer = Ridge(alpha=1.0).fit(rows[:60], y[:60]).predict(rows)
        found = zero_shot_predictions(X, y, language, X, pivot="en", metric="r2")
        assert found == pytest.approx(peer)

    def test_predictions_and_scores_are_two_steps_of_one(self):
        X, y, language = topics()
        found = zero_shot_predictions(X, y, language, X, pivot="en")
        scores = transfer_scores(y, found, language, pivot="en", n_resamples=40)
        values = {name: score.value for name, score in scores.per_language.items()}
        assert values == zero_shot_scores(X, y, language, X, y, language, pivot="en")

    def test_blocks_of_test_rows_change_nothing(self, monkeypatch):
        X, y, language = topics()
        whole = zero_shot_predictions(X, y, language, X, pivot="en")
        monkeypatch.setattr("posthoc_align.metrics._probe.PRODUCT_BLOCK", 8 * 10 * 7)
        assert np.array_equal(zero_shot_predictions(X, y, language, X, pivot="en"), whole)


class TestErrors:
    @pytest.mark.parametrize(
        ("y_true", "y_pred", "metric", "message"),
        [
            ([1, 0, 1, 0], [1, 0, 1, 0], "f1", "Unknown metric 'f1': expected one of"),
            (["a", "b"] * 2, ["a", "b"] * 2, "r2", "metric='r2' is for numbers, but y_true"),
            (np.eye(4), np.eye(4), "spearman", "is for numbers, but y_true has shape .4, 4."),
            ([0.5, 1, 2, 3], [1, 2, 3, 4], "accuracy", "is for classes, but y_true holds numbers"),
            ([0, 1, 2, 3], [0.5, 2, 3, 4], None, "is for classes, but y_pred holds numbers"),
            ([[1, 0]] * 4, [1, 0, 1, 0], None, "y_true has shape .4, 2. and y_pred has shape .4,."),
            ([[1, 2]] * 4, [[1, 0]] * 4, None, "holds other values than 0 and 1.*indicator"),
            ([1, 1, 0, 1], [1.0, 0, 1, 0], "r2", r"not defined in \['en'\]: the rows there do not"),
            ([1, 0, 0, 1], [1, 1, 1, 0], "spearman", r"not defined in \['en'\]"),
            ([[0]] * 2 + [[1]] * 2, [[0]] * 4, "f1_micro", r"in \['en'\]: the rows there have no"),
            (
                [1, np.nan, 0, 1],
                [1, 1, 1, 0],
                None,
                "y_true is NaN or None in 1 rows, first in row",
            ),
            (
                ["a", None, "b", None],
                ["a", "b"] * 2,
                None,
                "y_true is NaN or None in 2 rows.*row 1",
            ),
            (["a", np.nan] * 2, ["a", "b"] * 2, None, "y_true is NaN or None in 2 rows.*Leave out"),
            ([1, 0, 1, 0], [1, None, 1, 0], None, "y_pred is NaN or None in 1 rows, first in row"),
            ([1, "1", 2, 2], [1, 1, 2, 2], None, r"y_true holds .* \['int', 'str'\].*all text or"),
            (np.array(["a", "b"] * 2, object), [1, 0] * 2, None, "text never equals a number"),
        ],
    )
    def test_targets_and_metrics_that_do_not_fit(self, y_true, y_pred, metric, message):
        language = ["en", "en", "de", "de"]
        for measure in (transfer_scores, transfer_gap):
            with pytest.raises(ValueError, match=message):
                measure(y_true, y_pred, language, pivot="en", metric=metric)

    def test_a_language_of_one_sentence_has_no_interval(self):
        with pytest.raises(ValueError, match=r"The rows of \['de'\] are of one group only"):
            transfer_scores(
                [1, 0, 1, 0],
                [1, 0, 1, 1],
                ["en", "en", "de", "de"],
                pivot="en",
                groups=[1, 2, 3, 3],
            )
        with pytest.raises(ValueError, match="level=2 must lie between 0 and 1"):
            transfer_scores([1, 0] * 2, [1, 0] * 2, ["en", "de"] * 2, pivot="en", level=2)

    def test_a_label_that_the_pivot_always_or_never_has(self):
        X, y, language = topics()
        y = np.stack([y == 0, np.ones(len(y))], axis=1)
        with pytest.raises(ValueError, match=r"60 rows of pivot 'en' are .* in the columns \[1\]"):
            zero_shot_scores(X, y, language, X, y, language, pivot="en")

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

    def test_a_missing_label_is_no_wrong_answer(self):
        X, y, language = topics()
        names = np.array(["sports", "health", "travel"])[y]
        gone = np.where(language == "en", names, None)
        for given, expected in ((gone, names), (names, gone)):
            which = "y" if given is gone else "y_test"
            with pytest.raises(ValueError, match=f"^{which} is NaN or None in 120 rows.*row 60"):
                zero_shot_scores(X, given, language, X, expected, language, pivot="en")
        with pytest.raises(ValueError, match="y_true is NaN or None in 120 rows, first in row 60"):
            transfer_scores(gone, names, language, pivot="en")

    def test_labels_as_objects_are_the_labels_they_hold(self):
        X, y, language = topics()
        names = np.array(["sports", "health", "travel"])[y]
        for labels in (names, y):
            expected = zero_shot_scores(X, labels, language, X, labels, language, pivot="en")
            held = labels.astype(object)
            assert zero_shot_scores(X, held, language, X, labels, language, pivot="en") == expected

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
        with pytest.raises(ValueError, match="y is NaN or None in 1 rows, first in row 5"):
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
        with pytest.raises(ValueError, match=r"y_true has shape \(2, 2\) and holds other values"):
            transfer_gap(2 * np.eye(2), np.eye(2), "en", pivot="en")
