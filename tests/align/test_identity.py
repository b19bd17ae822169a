"""The identity leaves rows as they are, whatever kind they are."""

from __future__ import annotations

import numpy as np
import pytest

from posthoc_align import Identity


def test_rows_come_back_as_they_were_and_are_no_view(as_kind, rows_of):
    X = as_kind(np.arange(6.0).reshape(3, 2))
    Z = Identity().fit_transform(X, language=["en", "de", "de"])
    assert type(Z) is type(X)
    assert Z.dtype == X.dtype
    assert np.array_equal(rows_of(Z), rows_of(X))
    Z[0, 0] = 9.0
    assert X[0, 0] == 0.0


def test_it_knows_the_languages_and_needs_none():
    X = np.arange(6.0).reshape(3, 2)
    identity = Identity().fit(X, language=["en", "de", "de"])
    assert identity.languages_ == ["de", "en"]
    assert np.array_equal(identity.transform(X), X)
    assert np.array_equal(identity.inverse_transform(X, language="fr"), X)


def test_labels_of_another_length_are_refused():
    identity = Identity().fit(np.ones((3, 2)))
    with pytest.raises(ValueError, match=r"language has shape \(2,\)"):
        identity.transform(np.ones((3, 2)), language=["en", "de"])


def test_nan_is_refused():
    with pytest.raises(ValueError, match="NaN, first in row 1"):
        Identity().fit([[1.0], [np.nan]])
