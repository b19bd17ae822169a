"""Folds by sentence: translations stay together, and classes and languages are spread."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, KFold, LeaveOneGroupOut, cross_val_score
from sklearn.pipeline import make_pipeline

from posthoc_align import LanguageCentering
from posthoc_align.model_selection import PairGroupKFold, check_no_leakage

LANGUAGES = np.repeat(["de", "en", "fr"], 60)
PAIRS = np.tile(np.arange(60), 3)
CLASSES = np.tile(np.repeat([0, 1, 2], [30, 20, 10]), 3)
X = np.zeros((180, 2))


def test_every_row_is_tested_once_and_no_pair_is_torn():
    tested = []
    for train, test in PairGroupKFold(5).split(X, pair_id=PAIRS):
        check_no_leakage(train, test, PAIRS)
        assert np.array_equal(np.sort(np.append(train, test)), np.arange(180))
        tested.append(test)
    assert np.array_equal(np.sort(np.concatenate(tested)), np.arange(180))


def test_plain_folds_tear_pairs_and_the_check_says_so():
    train, test = next(KFold(5, shuffle=True, random_state=0).split(X))
    with pytest.raises(ValueError, match=r"test rows translate training rows \(pair ids \[.*Split"):
        check_no_leakage(train, test, PAIRS)


def test_classes_and_languages_are_spread_evenly_where_plain_groups_are_not():
    for _, test in PairGroupKFold(10).split(X, CLASSES, pair_id=PAIRS, language=LANGUAGES):
        assert np.bincount(CLASSES[test]).tolist() == [9, 6, 3]
        assert np.unique(LANGUAGES[test], return_counts=True)[1].tolist() == [6, 6, 6]
    plain = GroupKFold(10, shuffle=True, random_state=0).split(X, groups=PAIRS)
    plain = [np.bincount(CLASSES[test], minlength=3) for _, test in plain]
    assert any(counts.tolist() != [9, 6, 3] for counts in plain)


def test_sentences_in_other_languages_are_spread_too():
    """Of 60 sentences 20 are there in German and French alone; each fold gets its share."""
    ids = np.where((LANGUAGES == "en") & (PAIRS % 3 == 0), -1, PAIRS)
    for _, test in PairGroupKFold(4).split(X, pair_id=ids, language=LANGUAGES):
        assert np.unique(LANGUAGES[test], return_counts=True)[1].tolist() == [15, 15, 15]


@pytest.mark.parametrize("missing", [-1, None])
def test_unpaired_rows_go_by_themselves(missing):
    ids = np.where(PAIRS < 50, PAIRS, -1).astype(object)
    ids[ids == -1] = missing
    folds = [test for _, test in PairGroupKFold(5).split(X, pair_id=ids)]
    alone = [np.flatnonzero(PAIRS[test] >= 50) for test in folds]
    assert [len(found) for found in alone] == [6] * 5  # 30 unpaired rows over 5 folds


def test_the_same_seed_gives_the_same_folds_and_another_seed_others():
    def folds(seed):
        return [t.tolist() for _, t in PairGroupKFold(3, random_state=seed).split(X, pair_id=PAIRS)]

    assert folds(0) == folds(0)
    assert folds(0) != folds(1)


def test_text_ids_and_tensors_of_classes_will_do():
    import torch

    names = np.array([f"s{i}" for i in PAIRS])
    for train, test in PairGroupKFold(5).split(X, torch.as_tensor(CLASSES), pair_id=names):
        check_no_leakage(train, test, names)


def test_a_continuous_target_is_no_class():
    y = np.linspace(0, 1, 180)
    with_y = [t.tolist() for _, t in PairGroupKFold(3).split(X, y, pair_id=PAIRS)]
    assert with_y == [t.tolist() for _, t in PairGroupKFold(3).split(X, pair_id=PAIRS)]


def test_pair_ids_arrive_by_routing_and_without_it_as_groups():
    rng = np.random.default_rng(0)
    rows, y = rng.normal(size=(180, 2)), CLASSES > 0
    by_groups = cross_val_score(
        LogisticRegression(), rows, y, groups=PAIRS, cv=PairGroupKFold(3), scoring="accuracy"
    )
    with sklearn.config_context(enable_metadata_routing=True):
        routed = cross_val_score(
            LogisticRegression(), rows, y, params={"pair_id": PAIRS}, cv=PairGroupKFold(3)
        )
    assert np.array_equal(by_groups, routed)


def test_without_pair_ids_it_names_the_cure():
    with pytest.raises(ValueError, match=r"no pair_id: pass split.*routing.*groups="):
        next(PairGroupKFold(3).split(X))


@pytest.mark.parametrize("n_splits", [1, 0, 2.5, "3", True])
def test_a_number_of_folds_that_is_none_is_refused(n_splits):
    with pytest.raises(ValueError, match=r"n_splits=.* is out of range: give an integer from 2"):
        next(PairGroupKFold(n_splits).split(X, pair_id=PAIRS))


def test_more_folds_than_sentences_are_refused():
    with pytest.raises(ValueError, match=r"n_splits=61 but the rows hold 60 sentences"):
        next(PairGroupKFold(61).split(X, pair_id=PAIRS))


def test_it_is_cloned_and_shown_as_it_was_made():
    assert repr(PairGroupKFold(3, random_state=4)) == "PairGroupKFold(n_splits=3, random_state=4)"
    assert clone(PairGroupKFold(3), safe=False).get_n_splits() == 3


def test_a_row_on_both_sides_is_found():
    with pytest.raises(ValueError, match=r"1 rows are on both sides of the split, first row 2"):
        check_no_leakage([0, 2], [2, 3], [-1, -1, -1, -1])


def test_masks_will_do_and_unpaired_rows_do_not_leak():
    mask = np.array([True, True, False, False])
    check_no_leakage(mask, ~mask, [1, -1, 2, -1])
    with pytest.raises(ValueError, match=r"1 of the 2 test rows.*pair ids \[1\]"):
        check_no_leakage(mask, ~mask, [1, -1, 1, -1])


def test_leaving_out_a_language_leaves_its_translations_in():
    """scikit-learn's own splitter does what it says; on parallel data that is a leak."""
    for train, test in LeaveOneGroupOut().split(X, groups=LANGUAGES):
        assert len(np.unique(LANGUAGES[test])) == 1
        with pytest.raises(ValueError, match="60 of the 60 test rows"):
            check_no_leakage(train, test, PAIRS)


@pytest.mark.parametrize("missing", [np.nan, None])
@pytest.mark.parametrize("kind", [float, str])
def test_rows_without_a_class_are_spread_like_a_class(missing, kind):
    """Labelled is the pivot alone, as a corpus often is: every fold has its share of classes."""
    y = CLASSES.astype(kind).astype(object)
    y[LANGUAGES != "en"] = missing
    if kind is float:
        y = y.astype(float)
    for _, test in PairGroupKFold(10).split(X, y, pair_id=PAIRS, language=LANGUAGES):
        here = test[LANGUAGES[test] == "en"]
        assert np.bincount(CLASSES[here]).tolist() == [3, 2, 1]
    without = np.full(180, missing, dtype=object)
    assert len(list(PairGroupKFold(3).split(X, without, pair_id=PAIRS))) == 3


def test_the_check_without_pair_ids_says_what_to_pass():
    with pytest.raises(ValueError, match="check_no_leakage got no pair_id: pass the id of each"):
        check_no_leakage([0], [1], None)


@pytest.mark.usefixtures("own_score_is_told")
def test_folds_that_hold_out_a_whole_language_name_the_cure():
    """Rows ordered by language, cut into as many folds unshuffled; by sentence they go through."""
    rows = np.random.default_rng(0).normal(size=(180, 2))
    model = make_pipeline(LanguageCentering(), LogisticRegression())
    given = {"params": {"language": LANGUAGES, "pair_id": PAIRS}, "error_score": "raise"}
    with sklearn.config_context(enable_metadata_routing=True):
        with pytest.raises(ValueError, match="Unseen language .*shuffle them, or split by PairGr"):
            cross_val_score(
                model,
                rows,
                CLASSES,
                cv=KFold(3),
                params={"language": LANGUAGES},
                error_score="raise",
            )
        assert np.isfinite(
            cross_val_score(model, rows, CLASSES, cv=PairGroupKFold(3), **given)
        ).all()
