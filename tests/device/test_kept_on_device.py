"""What was fitted is copied to a device once, and again only after it has changed."""

from __future__ import annotations

import gc
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
from sklearn.base import clone

from posthoc_align import LanguageCentering, PivotAligner, Procrustes
from posthoc_align.align import _on_device

# Rows so few have nothing that an adversary could better.
pytestmark = [
    pytest.mark.filterwarnings("ignore:No state of training was better"),
    pytest.mark.filterwarnings("ignore:INLP removed all"),
]


def copied(foreign):
    """Shapes of the fitted arrays that went up: indices of rows are of integers."""
    return [shape for shape, dtype in foreign.up if "int" not in dtype]


def test_the_second_transform_copies_nothing(case, foreign):
    if not hasattr(case.estimator, "transform"):
        return
    y = foreign.put(case.y) if case.y.ndim == 2 else case.y
    X = foreign.put(case.X)
    fitted = clone(case.estimator).fit(X, y, **case.fit)
    first = fitted.transform(X, **case.ask)
    foreign.up.clear()
    again = fitted.transform(X, **case.ask)
    assert copied(foreign) == []
    np.testing.assert_array_equal(foreign.look(again), foreign.look(first))


@pytest.fixture
def fitted(foreign, rows_case):
    """A map fitted on the host, and rows on the device that it has mapped once."""
    X = foreign.put(rows_case.X)
    fitted = Procrustes().fit(rows_case.X, rows_case.y)
    fitted.transform(X)
    foreign.up.clear()
    return fitted, X


def test_each_type_has_copies_of_its_own(fitted, foreign):
    procrustes, X = fitted
    procrustes.transform(X.float())
    assert copied(foreign)
    foreign.up.clear()
    procrustes.transform(X)
    procrustes.transform(X.float())
    assert copied(foreign) == []


@pytest.mark.parametrize("way", ["fit", "fit_moments", "partial_fit", "assign", "set_params"])
def test_a_change_of_the_fit_is_copied_anew(way, fitted, foreign, rows_case):
    procrustes, X = fitted
    before = foreign.look(procrustes.transform(X))
    if way == "assign":
        procrustes.rotation_ = -procrustes.rotation_
    elif way == "set_params":
        procrustes.set_params(scale=True)
    elif way == "fit_moments":
        procrustes.fit_moments(Procrustes().fit(rows_case.X, -rows_case.y).moments_)
    else:
        getattr(procrustes, way)(rows_case.X, -3 * rows_case.y)
    after = foreign.look(procrustes.transform(X))
    assert copied(foreign)
    np.testing.assert_allclose(after, procrustes.transform(rows_case.X), atol=1e-10)
    assert (way == "set_params") == np.allclose(before, after)  # which says nothing before a fit


def test_an_array_that_was_copied_cannot_be_changed_behind_the_back_of_its_copy(fitted):
    with pytest.raises(ValueError, match="read-only"):
        fitted[0].rotation_[0, 0] = 7.0


def test_what_was_never_copied_can_be_changed(rows_case):
    procrustes = Procrustes().fit(rows_case.X, rows_case.y)
    procrustes.transform(rows_case.X)
    procrustes.rotation_[0, 0] = 7.0
    assert procrustes.transform(rows_case.X).shape == rows_case.X.shape


def test_copies_are_neither_cloned_nor_pickled_and_go_with_their_owner(foreign, rows_case):
    X = foreign.put(rows_case.X)
    before = len(_on_device._KEPT)
    centring = LanguageCentering().fit(rows_case.X, language=rows_case.fit["language"])
    size = len(pickle.dumps(centring))
    centring.transform(X, language=rows_case.fit["language"])
    assert len(_on_device._KEPT) == before + 1
    assert len(pickle.dumps(centring)) == size
    again = pickle.loads(pickle.dumps(centring))
    assert again not in _on_device._KEPT
    again.means_[0, 0] = 7.0  # nor is it read-only
    del centring
    gc.collect()
    assert len(_on_device._KEPT) == before


def test_a_language_that_is_added_gets_its_table(foreign, rows_case):
    X, language = rows_case.X, rows_case.fit["language"]
    centring = LanguageCentering().fit(X[language != "sw"], language=language[language != "sw"])
    known = foreign.put(X[language == "de"])
    before = foreign.look(centring.transform(known, language="de"))
    centring.add_language(X[language == "sw"], "sw")
    np.testing.assert_array_equal(foreign.look(centring.transform(known, language="de")), before)
    found = foreign.look(centring.transform(foreign.put(X), language=language))
    np.testing.assert_allclose(found, centring.transform(X, language=language), atol=1e-12)


def test_maps_of_many_languages_keep_theirs(foreign, rows_case):
    aligner = PivotAligner().fit(rows_case.X, **rows_case.fit)
    X, language = foreign.put(rows_case.X), rows_case.fit["language"]
    found = foreign.look(aligner.transform(X, language=language))
    np.testing.assert_allclose(found, aligner.transform(rows_case.X, language=language), atol=1e-12)


@pytest.fixture
def hasty():
    """Let threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.slow
def test_threads_may_map_with_one_estimator(foreign, rows_case, hasty):
    X, n_threads = foreign.put(rows_case.X[:3]), 4
    fitted = Procrustes().fit(rows_case.X, rows_case.y)
    expected, together = fitted.transform(rows_case.X[:3]), Barrier(n_threads)

    def work(number):
        with type(foreign)():  # which holds for one thread only
            together.wait()
            for turn in range(60):
                fitted.note_ = number, turn  # whatever is kept is stale now
                _on_device.kept(fitted, X, lambda: number, use=f"{number} {turn}")
                found = fitted.transform(X)
        return foreign.look(found)

    with ThreadPoolExecutor(n_threads) as pool:
        for found in pool.map(work, range(n_threads)):
            np.testing.assert_allclose(found, expected, atol=1e-12)


def test_copies_are_made_while_others_look_theirs_up(foreign, rows_case):
    X = foreign.put(rows_case.X)
    fitted = Procrustes().fit(rows_case.X, rows_case.y)

    def slow():
        return _on_device.kept(fitted, X, lambda: "inner", use="inner")

    assert _on_device.kept(fitted, X, slow, use="outer") == "inner"  # and does not wait for ever
