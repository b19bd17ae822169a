"""Splits for zero-shot transfer: trained in the source alone, tested in the others."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

from posthoc_align.model_selection import ZeroShotSplit, check_no_leakage

LANGUAGES = np.repeat(["de", "en", "fr"], 20)
PAIRS = np.tile(np.arange(20), 3)
X = np.zeros((60, 2))


def test_it_trains_on_the_source_and_tests_each_other_language():
    splits = list(ZeroShotSplit().split(X, language=LANGUAGES))
    assert [set(LANGUAGES[test]) for _, test in splits] == [{"de"}, {"fr"}]
    assert all(set(LANGUAGES[train]) == {"en"} and len(train) == 20 for train, _ in splits)


def test_others_together_make_one_split():
    ((train, test),) = ZeroShotSplit(each=False).split(X, language=LANGUAGES)
    assert len(train) == 20
    assert len(test) == 40


def test_several_sources_train_together():
    ((train, test),) = ZeroShotSplit(["en", "fr"]).split(X, language=LANGUAGES)
    assert set(LANGUAGES[train]) == {"en", "fr"}
    assert set(LANGUAGES[test]) == {"de"}


def test_translations_of_training_rows_are_refused_and_folds_hold_them_out():
    with pytest.raises(ValueError, match=r"20 of the 20 test rows.*ZeroShotSplit\(n_splits=5\)"):
        next(ZeroShotSplit().split(X, language=LANGUAGES, pair_id=PAIRS))
    tested = []
    splitter = ZeroShotSplit(n_splits=4)
    for train, test in splitter.split(X, language=LANGUAGES, pair_id=PAIRS):
        check_no_leakage(train, test, PAIRS)
        assert (len(train), len(test)) == (15, 5)
        tested.append(test)
    assert len(tested) == splitter.get_n_splits(X, language=LANGUAGES) == 8
    assert np.array_equal(np.sort(np.concatenate(tested)), np.flatnonzero(LANGUAGES != "en"))


@pytest.mark.parametrize("missing", [np.nan, None])
def test_labels_of_the_source_alone_will_do(missing):
    y = np.where(LANGUAGES == "en", PAIRS % 2, -1).astype(object)
    y[y == -1] = missing
    for train, _ in ZeroShotSplit(n_splits=4).split(X, y, language=LANGUAGES, pair_id=PAIRS):
        assert 7 <= sum(y[train]) <= 8  # of 15 training rows, half of either class


def test_unpaired_corpora_need_no_folds():
    splits = list(ZeroShotSplit().split(X, language=LANGUAGES, pair_id=np.full(60, -1)))
    assert len(splits) == 2


def test_language_arrives_by_routing_and_without_it_as_groups():
    rng = np.random.default_rng(0)
    rows, y = rng.normal(size=(60, 2)), np.tile([0, 1], 30)
    by_groups = cross_val_score(LogisticRegression(), rows, y, groups=LANGUAGES, cv=ZeroShotSplit())
    with sklearn.config_context(enable_metadata_routing=True):
        routed = cross_val_score(
            LogisticRegression(), rows, y, params={"language": LANGUAGES}, cv=ZeroShotSplit()
        )
    assert by_groups.shape == (2,)
    assert np.array_equal(by_groups, routed)


@pytest.mark.parametrize(
    ("splitter", "language", "says"),
    [
        (ZeroShotSplit(), None, r"got no language: pass split.*groups="),
        (ZeroShotSplit("es"), LANGUAGES, r"source \['es'\] is not among the languages \['de'"),
        (ZeroShotSplit(["en", "es"]), LANGUAGES, r"source \['es'\]"),
        (ZeroShotSplit(["de", "en", "fr"]), LANGUAGES, r"All rows are in .*another language"),
        (ZeroShotSplit(n_splits=0), LANGUAGES, r"n_splits=0 .*an integer from 1"),
        (ZeroShotSplit(n_splits=90), LANGUAGES, r"n_splits=90 but the rows hold 60 sentences"),
        (ZeroShotSplit(n_splits=30), LANGUAGES, r"Fold . of 30 has .* test rows.*fewer folds"),
    ],
)
def test_what_cannot_be_split_is_named_with_its_cure(splitter, language, says):
    with pytest.raises(ValueError, match=says):
        list(splitter.split(X, language=language))
