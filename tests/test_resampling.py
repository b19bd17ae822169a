"""PairMixup: new training rows between a sentence and its translation."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

from posthoc_align import PairMixup


def parallel(n=30, d=4, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(3 * n, d))
    language, pair_id = np.repeat(["de", "en", "fr"], n), np.tile(np.arange(n), 3)
    y = np.array(["news", "sport", "weather"])[pair_id % 3]
    order = rng.permutation(3 * n)
    return X[order], y[order], language[order], pair_id[order]


def resample(X, y, language, pair_id, **parameters):
    mixup = PairMixup(**parameters)
    return mixup, *mixup.fit_resample(X, y, language=language, pair_id=pair_id, pivot="en")


def test_new_rows_lie_between_a_row_of_the_pivot_and_its_translation(as_kind, rows_of, rtol):
    X, y, language, pair_id = parallel()
    x = as_kind(X)
    mixup, X_new, y_new = resample(x, y, language, pair_id, n_copies=2, random_state=0)
    assert (type(X_new), X_new.dtype, tuple(X_new.shape)) == (type(x), x.dtype, (90 + 120, 4))
    np.testing.assert_array_equal(rows_of(X_new)[:90], rows_of(x))
    np.testing.assert_array_equal(y_new[:90], y)
    own, other = mixup.sample_indices_.T
    assert set(language[own]) == {"en"}
    assert set(language[other]) == {"de", "fr"}
    np.testing.assert_array_equal(pair_id[own], pair_id[other])
    share = mixup.mixing_[:, None]
    expected = share * X[own] + (1 - share) * X[other]
    np.testing.assert_allclose(rows_of(X_new)[90:], expected, atol=100 * rtol)
    np.testing.assert_array_equal(y_new[90:], y[own])


@pytest.mark.parametrize(("ratio", "of"), [(1.0, "en"), (0.0, "others")])
def test_the_ends_of_the_ratio_are_the_two_rows(ratio, of):
    X, *known = parallel()
    mixup, X_new, _ = resample(X, *known, ratio=ratio)
    at = mixup.sample_indices_[:, 0 if of == "en" else 1]
    np.testing.assert_array_equal(X_new[90:], X[at])


def test_alpha_shapes_the_mixing_and_the_seed_fixes_it():
    data = parallel(n=2000)
    spread = [resample(*data, alpha=a, random_state=0)[0].mixing_.std() for a in (0.1, 1, 10)]
    # standard deviation of Beta(a, a): 1 / (2 sqrt(2 a + 1))
    expected = [1 / (2 * np.sqrt(2 * a + 1)) for a in (0.1, 1, 10)]
    np.testing.assert_allclose(spread, expected, rtol=0.05)
    one, two = (resample(*data, random_state=3)[1] for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_unpaired_rows_are_kept_and_not_mixed():
    X, y, language, pair_id = parallel()
    ids = np.where(pair_id < 10, pair_id, -1)
    mixup, X_new, _ = resample(X, y, language, ids)
    assert len(X_new) == 90 + 20
    assert set(pair_id[mixup.sample_indices_].ravel()) == set(range(10))


def test_a_head_between_two_languages_learns_what_neither_alone_shows():
    """The line from each pivot row to its translation is of one class: so the head comes to see."""
    rng = np.random.default_rng(0)
    n = 200
    y = np.repeat([0, 1], n // 2)
    en = np.column_stack([3.0 * (2 * y - 1), np.zeros(n)]) + 0.3 * rng.normal(size=(n, 2))
    de = np.column_stack([np.zeros(n), 3.0 * (2 * y - 1)]) + 0.3 * rng.normal(size=(n, 2))
    X, both = np.vstack([en, de]), np.tile(y, 2)
    ids = np.tile(np.arange(n), 2)
    _, X_new, y_new = resample(X, both, np.repeat(["en", "de"], n), ids, random_state=0)
    head = LogisticRegression().fit(X_new, y_new)
    assert head.score(de, y) == 1.0
    assert LogisticRegression().fit(en, y).score(de, y) < 0.8  # negative control


def test_it_is_cloned_and_its_parameters_are_kept():
    mixup = clone(PairMixup(alpha=0.4, n_copies=3, random_state=1))
    assert mixup.get_params() == {"alpha": 0.4, "n_copies": 3, "random_state": 1, "ratio": None}


def test_labels_that_differ_within_a_pair_are_named():
    X, y, language, pair_id = parallel()
    y[np.flatnonzero((language == "fr") & (pair_id == 4))[0]] = "other"
    with pytest.raises(ValueError, match=r"Labels differ in 1 of 60 pairs.*'other'.*Check y"):
        resample(X, y, language, pair_id)


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"alpha": 0}, "alpha=0 .*number > 0"),
        ({"ratio": 1.5}, r"ratio=1\.5 .*from 0 to 1"),
        ({"n_copies": 0}, "n_copies=0 .*integer >= 1"),
    ],
)
def test_a_parameter_out_of_range_names_the_range(parameters, says):
    with pytest.raises(ValueError, match=says):
        resample(*parallel(), **parameters)


def test_what_cannot_be_mixed_is_explained():
    X, y, language, pair_id = parallel()
    mix = PairMixup().fit_resample
    with pytest.raises(ValueError, match=r"pivot='xx' is not among .*name one"):
        mix(X, y, language=language, pair_id=pair_id, pivot="xx")
    with pytest.raises(ValueError, match="No row translates a row of the pivot 'en'"):
        mix(X, y, language=language, pair_id=np.arange(90))
    with pytest.raises(ValueError, match=r"y has shape \(5,\) but X has 90 rows: pass one"):
        mix(X, y[:5], language=language, pair_id=pair_id)
    X[3, 1] = np.nan
    with pytest.raises(ValueError, match=r"X contains NaN, first in row 3\b"):
        mix(X, y, language=language, pair_id=pair_id)
