"""Task projection: few directions that tell the classes, in which languages do not differ."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression

from posthoc_align import LEACE, TaskProjection
from posthoc_align.datasets import load_parallel_topics

LANGUAGES, CLASSES = np.array(["de", "en", "fr"]), np.array(["art", "law", "sea", "war"])


def rows_of_a_task(seed=0, n=600, d=10, mix=None):
    """Rows that are language + class + correlated noise, and what was planted."""
    rng = np.random.default_rng(seed)
    language, planted = rng.integers(3, size=n), rng.normal(size=(7, d))
    mix = np.full((3, 4), 0.25) if mix is None else mix
    y = np.array([rng.choice(4, p=mix[at]) for at in language])
    noise = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) / 3
    X = noise + 4 * planted[language] + 2 * planted[3 + y] + 5
    return X, CLASSES[y], LANGUAGES[language], planted


def language_gap(Z, y, language):
    """How far languages lie apart within classes, against the spread within both."""
    cells = [Z[(y == c) & (language == name)] for c in CLASSES for name in LANGUAGES]
    means = np.stack([cell.mean(axis=0) for cell in cells]).reshape(4, 3, -1)
    within = np.mean([cell.var(axis=0) for cell in cells], axis=0)
    return float(np.max(np.var(means.mean(axis=0), axis=0) / within))


# --- the law ----------------------------------------------------------------------------------


def test_with_one_language_it_is_linear_discriminant_analysis():
    X, y, language, _ = rows_of_a_task(mix=np.full((3, 4), 0.25))
    X, y = X[language == "en"], y[language == "en"]
    keep = np.concatenate([np.flatnonzero(y == name)[:30] for name in CLASSES])  # equal classes
    X, y = X[keep], y[keep]
    task = TaskProjection(shrinkage=0).fit(X, y)
    lda = LinearDiscriminantAnalysis(solver="eigen").fit(X, y)
    ours, theirs = task.transform(X), (X - X.mean(axis=0)) @ lda.scalings_[:, :3]
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs), rtol=1e-8, atol=1e-8)
    ratio = task.task_variance_ / task.task_variance_.sum()
    np.testing.assert_allclose(ratio, lda.explained_variance_ratio_, atol=1e-10)


def test_languages_differ_less_the_larger_the_trade_off_and_not_at_all_at_one():
    X, y, language, _ = rows_of_a_task()
    gaps = []
    for trade_off in (0.0, 0.5, 0.9, 1.0):
        task = TaskProjection(trade_off=trade_off).fit(X, y, language=language)
        gaps.append(task.language_variance_.sum())
    assert all(b < a for a, b in pairwise(gaps))
    assert gaps[-1] < 1e-20 < 1 < gaps[0]


def test_no_other_direction_has_a_larger_ratio():
    X, y, language, _ = rows_of_a_task()
    task = TaskProjection(n_components=1, trade_off=0.3).fit(X, y, language=language)
    ratio = lambda t, lang: t / (0.7 + 0.3 * lang)  # noqa: E731
    best = ratio(task.task_variance_[0], task.language_variance_[0])
    others = [
        TaskProjection(n_components=3, trade_off=t).fit(X, y, language=language)
        for t in (0.0, 0.2, 0.4, 1.0)
    ]
    for other in others:
        assert np.all(ratio(other.task_variance_, other.language_variance_) <= best + 1e-9)
    whole = TaskProjection(n_components=3, trade_off=0.3).fit(X, y, language=language)
    np.testing.assert_allclose(whole.components_[:1], task.components_, atol=1e-9)


def test_what_is_reported_is_what_rows_show():
    X, y, language, _ = rows_of_a_task(n=3000)
    task = TaskProjection(trade_off=0.2, shrinkage=0).fit(X, y, language=language)
    Z = task.transform(X)
    own = np.stack([Z[(y == c) & (language == n)].mean(axis=0) for c in CLASSES for n in LANGUAGES])
    own = own.reshape(4, 3, -1)
    np.testing.assert_allclose(task.language_variance_, own.mean(axis=0).var(axis=0), rtol=0.05)
    np.testing.assert_allclose(task.task_variance_, own.mean(axis=1).var(axis=0), rtol=0.05)
    within = [Z[(y == c) & (language == n)].var(axis=0) for c in CLASSES for n in LANGUAGES]
    np.testing.assert_allclose(np.mean(within, axis=0), 1, rtol=0.05)


def test_a_class_that_is_frequent_in_one_language_does_not_pass_for_that_language():
    mix = np.array([[0.85, 0.05, 0.05, 0.05], [0.05, 0.85, 0.05, 0.05], [0.05, 0.05, 0.1, 0.8]])
    X, y, language, planted = rows_of_a_task(n=3000, mix=mix)
    task = TaskProjection(trade_off=1.0).fit(X, y, language=language)
    balanced = rows_of_a_task(n=3000)
    Z = task.transform(balanced[0])
    assert language_gap(Z, *balanced[1:3]) < 0.02
    assert language_gap(balanced[0], *balanced[1:3]) > 5
    # All that tells the classes and not the language is kept.
    away = np.eye(10) - np.linalg.pinv(planted[:3] - planted[:3].mean(axis=0)) @ (
        planted[:3] - planted[:3].mean(axis=0)
    )
    score = lambda Z: LogisticRegression(max_iter=3000).fit(Z, balanced[1]).score(Z, balanced[1])  # noqa: E731
    assert score(Z) > score(balanced[0] @ away) - 0.02


def test_repeating_the_rows_of_a_class_in_a_language_changes_little():
    X, y, language, _ = rows_of_a_task(n=3000)
    more = np.concatenate(
        [np.arange(3000), *[np.flatnonzero((y == "art") & (language == "en"))] * 5]
    )
    a = TaskProjection(trade_off=1.0, shrinkage=0.1).fit(X, y, language=language)
    b = clone(a).fit(X[more], y[more], language=language[more])
    angle = np.linalg.svd(
        np.linalg.qr(a.components_.T)[0].T @ np.linalg.qr(b.components_.T)[0], compute_uv=False
    )
    assert angle.min() > 0.98


# --- rows without a class ---------------------------------------------------------------------


def test_unlabelled_rows_of_other_languages_tell_what_to_drop():
    X, y, language, _ = rows_of_a_task(n=3000)
    partly = np.where(language == "en", y, "?")
    english = language == "en"
    alone = TaskProjection(trade_off=1.0).fit(X[english], y[english])
    task = TaskProjection(trade_off=1.0, missing_label="?").fit(X, partly, language=language)
    assert task.classes_ == CLASSES.tolist()
    gaps = [language_gap(t.transform(X), y, language) for t in (alone, task)]
    assert gaps[1] < 0.05 < 1 < gaps[0]
    head = LogisticRegression(max_iter=2000).fit(task.transform(X[english]), y[english])
    blind = LogisticRegression(max_iter=2000).fit(alone.transform(X[english]), y[english])
    others = ~english
    assert head.score(task.transform(X[others]), y[others]) > 0.1 + blind.score(
        alone.transform(X[others]), y[others]
    )


def test_minus_one_is_a_class_like_any_other():
    X, y, language, _ = rows_of_a_task()
    codes = np.where(y == "art", -1, 1)
    assert TaskProjection().fit(X, codes, language=language).classes_ == [-1, 1]
    with pytest.raises(ValueError, match="y has 1 class.*Pass rows of other classes"):
        TaskProjection(missing_label=-1).fit(X, codes, language=language)


# --- ways to fit and to transform -------------------------------------------------------------


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_stream_of_batches_gives_the_same_projection(seed):
    rng = np.random.default_rng(seed)
    X, y, language, _ = rows_of_a_task(seed % 5, n=200)
    y = np.where(rng.random(200) < 0.2, "?", y)
    edges = [0, *np.unique(rng.integers(1, 199, size=4)), 200]
    stream = TaskProjection(missing_label="?")
    for a, b in pairwise(edges):
        stream.partial_fit(X[a:b], y[a:b], language=language[a:b])
    whole = TaskProjection(missing_label="?").fit(X, y, language=language)
    np.testing.assert_allclose(stream.transform(X), whole.transform(X), atol=1e-8)
    assert stream.classes_ == whole.classes_


def test_kinds_agree(as_kind, rows_of, rtol):
    X, y, language, _ = rows_of_a_task()
    expected = TaskProjection().fit_transform(X, y, language=language)
    x = as_kind(X)
    Z = TaskProjection().fit_transform(x, y, language=language)
    assert type(Z) is type(x)
    assert Z.dtype == x.dtype
    np.testing.assert_allclose(rows_of(Z), expected, atol=50 * rtol * np.abs(expected).max())


def test_the_result_has_a_column_a_component_and_names_for_them():
    X, y, language, _ = rows_of_a_task()
    task = TaskProjection(n_components=2).fit(X, y, language=language)
    assert task.transform(X).shape == (600, 2)
    assert task.get_feature_names_out().tolist() == ["taskprojection0", "taskprojection1"]
    frame = clone(task).set_output(transform="pandas").fit_transform(X, y, language=language)
    assert list(frame.columns) == ["taskprojection0", "taskprojection1"]


def test_transform_needs_no_language_and_float16_stays_float16():
    X, y, language, _ = rows_of_a_task()
    task = TaskProjection().fit(X, y, language=language)
    np.testing.assert_array_equal(task.transform(X), task.transform(X, language="new"))
    assert task.transform(X.astype(np.float16)).dtype == np.float16


def test_the_way_back_is_projected_to_the_same_point_and_the_parts_add_up():
    X, y, language, _ = rows_of_a_task()
    task = TaskProjection().fit(X, y, language=language)
    Z = task.transform(X)
    np.testing.assert_allclose(task.transform(task.inverse_transform(Z)), Z, atol=1e-10)
    neutral, specific = task.decompose(X)
    np.testing.assert_allclose(neutral + specific, X, atol=1e-11)
    np.testing.assert_allclose((neutral - task.mean_) @ specific[0], 0, atol=1e-9)
    with pytest.raises(ValueError, match="X has 10 columns, but transform gives 3: pass"):
        task.inverse_transform(X)


# --- wrong and degenerate input ---------------------------------------------------------------


def test_classes_are_required_of_every_row_and_of_two_kinds():
    X, y, language, _ = rows_of_a_task()
    with pytest.raises(ValueError, match="TaskProjection needs the class.*pass y"):
        TaskProjection().fit(X, language=language)
    with pytest.raises(ValueError, match=r"y has shape \(9,\) but X has 600 rows"):
        TaskProjection().fit(X, y[:9], language=language)
    gone = y.astype(object)
    gone[7] = None
    with pytest.raises(ValueError, match="first in row 7.*missing_label=, give them that label"):
        TaskProjection().fit(X, gone, language=language)
    with pytest.raises(ValueError, match="y has 1 class, and a task has at least 2"):
        TaskProjection().fit(X, ["art"] * 600, language=language)


@pytest.mark.parametrize("missing", [None, np.nan])
def test_nan_stands_for_every_kind_of_missing_class(missing, as_kind, rows_of):
    X, y, language, _ = rows_of_a_task()
    english = language == language[0]
    marked = np.where(english, y, "?")
    held = np.array([v if own else missing for v, own in zip(y, english, strict=True)], object)
    expected = TaskProjection(missing_label="?").fit(as_kind(X), marked, language=language)
    task = TaskProjection(missing_label=np.nan).fit(as_kind(X), held, language=language)
    assert task.classes_ == expected.classes_
    assert task.moments_.keys() == expected.moments_.keys()
    np.testing.assert_array_equal(task.components_, expected.components_)
    codes = np.where(english, np.unique(y, return_inverse=True)[1], np.nan)
    numbers = TaskProjection(missing_label=np.nan).fit(as_kind(X), codes, language=language)
    np.testing.assert_array_equal(numbers.components_, expected.components_)


def test_a_batch_may_be_without_any_class():
    X, y, language, _ = rows_of_a_task()
    english = language == language[0]
    whole = TaskProjection(missing_label=np.nan)
    whole.fit(X, np.where(english, y, None), language=language)
    stream = TaskProjection(missing_label=np.nan)
    stream.partial_fit(X[english], y[english], language=language[english])
    stream.partial_fit(X[~english], np.full(np.sum(~english), None), language=language[~english])
    np.testing.assert_allclose(stream.transform(X), whole.transform(X), atol=1e-8)


def test_classes_of_several_kinds_are_refused():
    X, _, language, _ = rows_of_a_task()
    with pytest.raises(ValueError, match=r"y holds labels of several kinds, \['int', 'str'\]"):
        TaskProjection().fit(X, [1, "1", 2] * 200, language=language)


def test_languages_without_a_class_in_common_cannot_be_told_from_classes():
    X, _, language, _ = rows_of_a_task()
    apart = np.where(language == "en", "u", "v")
    with pytest.raises(ValueError, match="cannot be told apart.*labelled rows of one class in"):
        TaskProjection().fit(X, apart, language=language)


def test_values_instead_of_classes_are_refused():
    X = rows_of_a_task(n=30)[0]
    with pytest.raises(ValueError, match="no spread.*Pass classes, not values"):
        TaskProjection().fit(X, np.arange(30))


def test_classes_that_differ_only_where_languages_do_leave_nothing():
    rng = np.random.default_rng(0)
    X = np.hstack([rng.normal(size=(400, 1)), np.zeros((400, 1))])
    y, language = np.repeat([0, 1], 200), np.tile(["a", "b"], 200)
    X[:, 0] += 3 * y + 5 * (language == "a")
    TaskProjection().fit(X, y, language=language)
    with pytest.raises(ValueError, match="trade_off=1.0 nothing is left.*lower trade_off"):
        TaskProjection(trade_off=1.0, shrinkage=0).fit(X, y, language=language)


def test_classes_on_a_line_lower_the_number_of_components_with_a_warning():
    X = np.array([[0, 1], [0, -1], [1, 1], [1, -1], [2, 1], [2, -1.0]])
    with pytest.warns(UserWarning, match="keeps 1 components instead of 2"):
        task = TaskProjection().fit(X, [0, 0, 1, 1, 2, 2])
    assert task.transform(X).shape == (6, 1)


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"n_components": 4}, "n_components=4 .*4 classes .* at most 3. Give an int from 1 to 3"),
        ({"n_components": 0}, "n_components=0 is out of range"),
        ({"trade_off": 1.5}, "trade_off=1.5 is out of range: give a number from 0 to 1"),
        ({"trade_off": True}, "trade_off=True is out of range"),
        ({"shrinkage": "x"}, "shrinkage='x' is out of range"),
    ],
)
def test_parameters_out_of_range_are_refused_at_fit(parameters, says):
    X, y, language, _ = rows_of_a_task()
    with pytest.raises(ValueError, match=says):
        TaskProjection(**parameters).fit(X, y, language=language)


def test_batches_with_and_without_languages_do_not_mix():
    X, y, language, _ = rows_of_a_task()
    stream = TaskProjection().partial_fit(X, y, language=language)
    with pytest.raises(ValueError, match="some without: pass language="):
        stream.partial_fit(X, y)


# --- real data --------------------------------------------------------------------------------


def test_with_classes_of_english_alone_a_head_transfers_better_on_the_bundled_corpus():
    corpus = load_parallel_topics()
    X, test = corpus.embeddings.astype(float), corpus.split == "test"
    english = corpus.language == "en"
    known = np.where(english, corpus.topic, "?")
    task = TaskProjection(missing_label="?").fit(
        X[~test], known[~test], language=corpus.language[~test]
    )
    erased = LEACE().fit(X[~test], language=corpus.language[~test])

    def transfer(Z):
        Z = Z / Z[english & ~test].std()
        head = LogisticRegression(max_iter=2000)
        head.fit(Z[english & ~test], corpus.topic[english & ~test])
        return head.score(Z[test & ~english], corpus.topic[test & ~english])

    found = transfer(task.transform(X))
    assert found > transfer(X)
    assert found > transfer(erased.transform(X)) - 0.05
