"""What is frozen no fit changes, and languages still reach it."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import config_context
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from posthoc_align import (
    Blend,
    FrozenAligner,
    LanguageCentering,
    PivotAligner,
    Procrustes,
    freeze,
)

N = 60
RNG = np.random.default_rng(0)
LANGUAGE = np.array(["en", "de"] * (N // 2))
Y = RNG.integers(0, 2, N)
X = RNG.normal(size=(N, 3)) + Y[:, None] + 8.0 * (LANGUAGE == "de")[:, None]


def fitted(**parameters):
    return LanguageCentering(**parameters).fit(X, language=LANGUAGE)


def test_fit_changes_nothing(as_kind, rows_of):
    frozen = freeze(fitted())
    before = frozen.means_.copy()
    assert frozen.fit(as_kind(100 * X), Y, language=LANGUAGE[::-1], pair_id=Y) is frozen
    Z = frozen.fit_transform(as_kind(X), language=LANGUAGE[::-1])
    np.testing.assert_array_equal(frozen.means_, before)
    np.testing.assert_array_equal(
        rows_of(Z), rows_of(fitted().transform(as_kind(X), language=LANGUAGE[::-1]))
    )


def test_a_frozen_tensor_transform_gives_a_tensor():
    Z = freeze(fitted()).transform(torch.as_tensor(X), language=LANGUAGE)
    assert isinstance(Z, torch.Tensor)


def test_a_clone_is_the_object_itself():
    frozen = freeze(fitted())
    assert clone(frozen) is frozen
    assert clone(make_pipeline(frozen, LogisticRegression()))[0] is frozen


def test_freezing_twice_is_freezing_once():
    frozen = freeze(fitted())
    assert freeze(frozen) is frozen


def test_fitted_attributes_and_harmless_methods_are_there():
    inner = fitted()
    frozen = freeze(inner)
    assert frozen.languages_ == ["de", "en"]
    assert frozen.n_features_in_ == 3
    assert frozen.requires_language
    Z = frozen.transform(X, language=LANGUAGE)
    np.testing.assert_allclose(frozen.inverse_transform(Z, language=LANGUAGE), X)
    for part in frozen.decompose(X, language=LANGUAGE):
        assert part.shape == X.shape
    assert list(frozen.get_feature_names_out()) == ["x0", "x1", "x2"]
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = frozen.nothing


@pytest.mark.parametrize("method", ["partial_fit", "fit_moments", "add_language", "fit_predict"])
def test_methods_that_would_change_it_are_not_there(method):
    frozen = freeze(fitted())
    assert not hasattr(frozen, method)
    with pytest.raises(AttributeError, match=f"{method} would change .* Call it on .estimator"):
        getattr(frozen, method)


def test_a_map_is_frozen_too():
    target = X @ np.linalg.qr(RNG.normal(size=(3, 3)))[0]
    inner = Procrustes().fit(X, target)
    frozen = freeze(inner).fit(X, X)
    np.testing.assert_array_equal(frozen.transform(X), inner.transform(X))
    assert frozen.score(X, target) == inner.score(X, target)
    assert not frozen.__sklearn_tags__().requires_fit or get_tags(inner).requires_fit


def test_a_frozen_map_and_a_frozen_aligner_can_be_blended():
    target = X + 1.0
    half = Blend(freeze(Procrustes().fit(X, target)), strength=0.5).fit(X, target)
    np.testing.assert_allclose(half.transform(X), X + 0.5)
    frozen = freeze(fitted())
    half = Blend(frozen, strength=0.5).fit(X, language=LANGUAGE)
    expected = (X + frozen.transform(X, language=LANGUAGE)) / 2
    np.testing.assert_allclose(half.transform(X, language=LANGUAGE), expected)
    with pytest.raises(ValueError, match="got no language"):
        half.transform(X)


def test_an_aligner_of_frozen_maps_does_not_fit_them():
    target = X[LANGUAGE == "en"]
    inner = Procrustes(center=False).fit(target, target)
    ids = np.repeat(np.arange(N // 2), 2)
    aligner = PivotAligner(freeze(inner), recipe=None).fit(X, language=LANGUAGE, pair_id=ids)
    np.testing.assert_allclose(aligner.transform(X, language=LANGUAGE), X)


def test_it_survives_pickling_and_copying():
    frozen = freeze(fitted())
    for other in (pickle.loads(pickle.dumps(frozen)), copy.deepcopy(frozen)):
        np.testing.assert_array_equal(other.means_, frozen.means_)
        assert other.estimator is not frozen.estimator


@pytest.mark.parametrize("kind", [FrozenAligner, freeze])
def test_what_was_never_fitted_cannot_be_used_frozen(kind):
    with pytest.raises(NotFittedError, match="LanguageCentering was not fitted.*fit first"):
        kind(LanguageCentering()).fit(X)


def test_an_unfitted_one_says_so_to_scikit_learn():
    with pytest.raises(NotFittedError):
        check_is_fitted(FrozenAligner(LanguageCentering()))
    check_is_fitted(FrozenAligner(fitted()))


def test_what_is_no_estimator_is_refused():
    with pytest.raises(TypeError, match="3 is no estimator.*pass a fitted one"):
        freeze(3)


def test_only_the_estimator_is_a_parameter():
    inner, other = fitted(), fitted(anchor="pooled")
    frozen = freeze(inner)
    assert frozen.get_params() == {"estimator": inner}
    with pytest.raises(ValueError, match=r"Cannot set \['estimator__anchor'\] of a frozen.*Set"):
        frozen.set_params(estimator__anchor="origin")
    assert frozen.set_params(estimator=other).estimator is other


def test_tags_are_those_of_the_estimator():
    head = LogisticRegression().fit(X, Y)
    assert is_classifier(freeze(head))
    np.testing.assert_array_equal(freeze(head).predict(X), head.predict(X))
    assert not hasattr(freeze(head), "transform")
    assert not hasattr(freeze(head), "fit_transform")
    tags = freeze(fitted()).__sklearn_tags__()
    assert tags.transformer_tags.preserves_dtype == ["float64", "float32", "float16"]


def test_set_output_reaches_the_estimator():
    frozen = freeze(fitted()).set_output(transform="pandas")
    frame = pd.DataFrame(X, columns=list("abc"), index=pd.Index(LANGUAGE, name="language"))
    Z = freeze(LanguageCentering().fit(frame)).set_output(transform="pandas").transform(frame)
    assert list(Z.columns) == ["a", "b", "c"]
    assert list(Z.index) == list(LANGUAGE)
    assert isinstance(frozen.transform(X, language=LANGUAGE), pd.DataFrame)


def test_routing_delivers_the_language_where_scikit_learn_s_own_freezing_loses_it():
    head, inner = LogisticRegression(), fitted()
    expected = head.fit(inner.transform(X, language=LANGUAGE), Y)
    expected = expected.predict(inner.transform(X, language=LANGUAGE))
    with config_context(enable_metadata_routing=True):
        pipeline = make_pipeline(freeze(inner), LogisticRegression())
        pipeline.fit(X, Y, language=LANGUAGE)
        np.testing.assert_array_equal(pipeline.predict(X, language=LANGUAGE), expected)
        lost = make_pipeline(FrozenEstimator(inner), LogisticRegression())
        with pytest.raises(TypeError, match="language"):
            lost.fit(X, Y, language=LANGUAGE)


@pytest.mark.usefixtures("own_score_is_told")
def test_what_the_estimator_s_fit_takes_may_be_passed_on_as_before():
    ids = np.repeat(np.arange(N // 2), 2)
    inner = PivotAligner().fit(X, language=LANGUAGE, pair_id=ids)
    with config_context(enable_metadata_routing=True):
        pipeline = make_pipeline(freeze(inner), LogisticRegression())
        pipeline.fit(X, Y, language=LANGUAGE, pair_id=ids[::-1])
        expected = inner.transform(X, language=LANGUAGE)
        np.testing.assert_array_equal(pipeline[0].transform(X, language=LANGUAGE), expected)
        scores = cross_val_score(
            pipeline, X, Y, params={"language": LANGUAGE, "pair_id": ids}, error_score="raise"
        )
    assert np.mean(scores) > 0.5


@pytest.mark.usefixtures("own_score_is_told")
def test_a_search_over_the_head_never_fits_it():
    inner = fitted()
    before = inner.means_.copy()
    with config_context(enable_metadata_routing=True):
        search = GridSearchCV(
            make_pipeline(freeze(inner), LogisticRegression()),
            {"logisticregression__C": [0.1, 1.0]},
            error_score="raise",
        ).fit(X, Y, language=LANGUAGE)
    assert search.best_estimator_[0].estimator is inner
    np.testing.assert_array_equal(inner.means_, before)


def test_it_has_a_picture_and_a_text():
    frozen = freeze(fitted())
    assert repr(frozen) == "FrozenAligner(estimator=LanguageCentering())"
    assert "LanguageCentering" in frozen._repr_html_()
