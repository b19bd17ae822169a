"""Layerwise: one aligner a layer."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from posthoc_align import LanguageCentering, Layerwise, LinearMap, PivotAligner


def layers(n=50, d=5, *, n_layers=3, noise=0.1, seed=0):
    """Two languages, rotated against each other by a rotation of each layer's own."""
    rng = np.random.default_rng(seed)
    blocks = []
    for _ in range(n_layers):
        en = rng.normal(size=(n, d)) * np.linspace(2, 1, d)
        de = en @ np.linalg.qr(rng.normal(size=(d, d)))[0] + rng.normal(size=d)
        blocks.append(np.vstack([en, de]) + noise * rng.normal(size=(2 * n, d)))
    return np.hstack(blocks), np.repeat(["en", "de"], n), np.tile(np.arange(n), 2)


@pytest.mark.parametrize("estimator", [None, PivotAligner(LinearMap()), LanguageCentering()])
def test_each_layer_is_what_the_estimator_makes_of_it_alone(estimator, as_kind, rows_of):
    X, language, pair_id = layers()
    x = as_kind(X)
    stack = Layerwise(estimator, n_layers=3).fit(x, language=language, pair_id=pair_id)
    Z = stack.transform(x, language=language)
    assert (type(Z), Z.dtype) == (type(x), x.dtype)
    for i in range(3):
        part = slice(5 * i, 5 * i + 5)
        alone = PivotAligner() if estimator is None else clone(estimator)
        ids = {} if isinstance(alone, LanguageCentering) else {"pair_id": pair_id}
        alone.fit(x[:, part], language=language, **ids)
        expected = alone.transform(x[:, part], language=language)
        np.testing.assert_array_equal(rows_of(Z)[:, part], rows_of(expected))


def test_rotations_of_each_layer_are_undone_which_one_rotation_of_all_cannot_do_for_other_rows():
    X, language, pair_id = layers(n=40, noise=0.01)
    old = pair_id < 30
    stack = Layerwise(PivotAligner(recipe="center"), n_layers=3)
    stack.fit(X[old], language=language[old], pair_id=pair_id[old])
    Z = stack.transform(X[~old], language=language[~old])
    en, de = Z[language[~old] == "en"], Z[language[~old] == "de"]
    assert np.mean((en - de) ** 2) < 0.02
    whole = PivotAligner(recipe="center")
    whole.fit(X[old], language=language[old], pair_id=pair_id[old])
    Z = whole.transform(X[~old], language=language[~old])
    other = np.mean((Z[language[~old] == "en"] - Z[language[~old] == "de"]) ** 2)
    assert np.mean((en - de) ** 2) < other


def test_the_way_back_is_that_of_the_layers():
    X, language, _ = layers()
    stack = Layerwise(LanguageCentering(), n_layers=3)
    Z = stack.fit_transform(X, language=language)
    np.testing.assert_allclose(stack.inverse_transform(Z, language=language), X, atol=1e-12)


def test_the_estimator_given_is_never_fitted_and_two_jobs_do_what_one_does():
    X, language, pair_id = layers()
    given = PivotAligner()
    one = Layerwise(given, n_layers=3).fit_transform(X, language=language, pair_id=pair_id)
    two = Layerwise(given, n_layers=3, n_jobs=2).fit_transform(
        X, language=language, pair_id=pair_id
    )
    assert not hasattr(given, "maps_")
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    ("n_layers", "says"),
    [(4, "15 columns.*n_layers=4.*side by side"), (0, "n_layers=0"), (1.5, r"n_layers=1\.5")],
)
def test_columns_that_do_not_divide_into_layers_are_explained(n_layers, says):
    X, language, pair_id = layers()
    with pytest.raises(ValueError, match=says):
        Layerwise(n_layers=n_layers).fit(X, language=language, pair_id=pair_id)


def test_errors_of_the_estimator_come_through():
    X, language, pair_id = layers()
    with pytest.raises(ValueError, match="pivot='fr' is not among"):
        Layerwise(PivotAligner(pivot="fr"), n_layers=3).fit(X, language=language, pair_id=pair_id)
    fitted = Layerwise(n_layers=3).fit(X, language=language, pair_id=pair_id)
    with pytest.raises(ValueError, match="got no language"):
        fitted.transform(X)
    X[4, 7] = np.nan
    with pytest.raises(ValueError, match=r"X contains NaN, first in row 4\b"):
        fitted.transform(X, language=language)


def test_a_pipeline_delivers_language_and_ids():
    X, language, pair_id = layers()
    with sklearn.config_context(enable_metadata_routing=True):
        pipe = make_pipeline(Layerwise(n_layers=3), LogisticRegression())
        pipe.fit(X, pair_id % 2, language=language, pair_id=pair_id)
        predicted = pipe.predict(X, language=language)
    Z = Layerwise(n_layers=3).fit_transform(X, language=language, pair_id=pair_id)
    expected = LogisticRegression().fit(Z, pair_id % 2).predict(Z)
    np.testing.assert_array_equal(predicted, expected)
