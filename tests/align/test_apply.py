"""Languages reach an aligner however deep it lies in composites, or an error says they cannot.

The planted rows differ by language in their mean alone: an aligner that is fitted and applied with
the languages makes the means equal, one that never heard of them leaves the gap as it was.
"""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.compose import make_column_transformer
from sklearn.feature_selection import SelectFromModel
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import StandardScaler

from posthoc_align import LSAR, LanguageCentering, LinearMap, PivotAligner, freeze
from posthoc_align.align._apply import (
    apply_aligner,
    call_aligner,
    fit_aligner,
    fitted_languages,
    hears_language,
    leaves,
    needs_language,
    takes_language,
)

N, D = 60, 3
RNG = np.random.default_rng(0)
LANGUAGE = np.repeat(["de", "en"], N)
PAIR_ID = np.tile(np.arange(N), 2)
X = np.tile(RNG.normal(size=(N, D)), (2, 1)) + 5.0 * (LANGUAGE == "en")[:, None]
X += 0.01 * RNG.normal(size=X.shape)


def gap(Z) -> np.ndarray:
    """Column by column, how far apart the means of the languages are."""
    return np.abs(Z[LANGUAGE == "de"].mean(axis=0) - Z[LANGUAGE == "en"].mean(axis=0))


def through(aligner):
    fitted = fit_aligner(aligner, X, language=LANGUAGE, pair_id=PAIR_ID)
    return fitted, apply_aligner(fitted, X, LANGUAGE)


ALL, SOME = slice(0, D), [0, 2]
NESTED = {
    "pipelines": make_pipeline(make_pipeline(LanguageCentering()), StandardScaler()),
    "deep": make_pipeline(make_pipeline("passthrough", make_pipeline(LanguageCentering()))),
    "union": make_union(LanguageCentering(), LanguageCentering()),
    "union in a pipeline": make_pipeline(StandardScaler(), make_union(LanguageCentering(), "drop")),
    "columns": make_column_transformer((LanguageCentering(), ALL)),
    "remainder": make_column_transformer(("drop", [1]), remainder=LanguageCentering()),
    "columns in a union": make_union(make_column_transformer((LanguageCentering(), SOME))),
}
each_nested = pytest.mark.parametrize("name", list(NESTED))


def test_the_planted_gap_is_there():
    assert gap(X).min() > 4.9


@each_nested
def test_a_nested_aligner_is_fitted_and_applied_with_the_languages(name):
    fitted, Z = through(NESTED[name])
    assert gap(Z).max() < 1e-9
    assert gap(call_aligner(fitted, "transform", X, LANGUAGE)).max() < 1e-9
    assert fitted_languages(fitted) == ["de", "en"]
    for asked in (NESTED[name], fitted):
        assert takes_language(asked)
        assert needs_language(asked)
        assert hears_language(asked)


def test_nested_is_as_flat():
    flat = make_pipeline(LanguageCentering(), StandardScaler())
    np.testing.assert_array_equal(through(NESTED["pipelines"])[1], through(flat)[1])
    _, Z = through(make_pipeline(make_pipeline(LSAR(rank=1)), StandardScaler()))
    np.testing.assert_array_equal(Z, through(make_pipeline(LSAR(rank=1), StandardScaler()))[1])


def test_pair_ids_reach_a_nested_aligner_and_the_way_back_is_the_same():
    flat = make_pipeline(PivotAligner(LinearMap(), pivot="en"))
    np.testing.assert_array_equal(through(make_pipeline(flat))[1], through(flat)[1])
    fitted, Z = through(NESTED["pipelines"])
    back = call_aligner(fitted, "inverse_transform", Z, LANGUAGE)
    np.testing.assert_allclose(back, X, atol=1e-9)


def test_what_takes_no_language_is_not_given_one():
    plain = make_pipeline(make_union(StandardScaler(), "passthrough"))
    _, Z = through(plain)
    assert gap(Z)[D:].min() > 4.9
    assert not takes_language(plain)
    assert not hears_language(plain)
    assert [type(step) for step in leaves(plain)] == [StandardScaler]


@each_nested
def test_a_frozen_composite_hears_the_languages(name):
    fitted, Z = through(NESTED[name])
    for frozen in (freeze(fitted), make_pipeline(freeze(fitted))):
        again, same = through(frozen)
        np.testing.assert_array_equal(same, Z)
        assert fitted_languages(again) == ["de", "en"]


def test_a_frozen_map_is_given_no_language():
    old, new = X[:N], X[N:] @ RNG.normal(size=(D, D))
    fitted = LinearMap().fit(old, new)
    assert not hears_language(freeze(fitted))
    np.testing.assert_array_equal(apply_aligner(freeze(fitted), X, LANGUAGE), fitted.transform(X))


CLOSED = [
    GridSearchCV(LanguageCentering(), {"shrinkage": [0.0]}),
    make_pipeline(GridSearchCV(LanguageCentering(), {"shrinkage": [0.0]})),
    SelectFromModel(make_pipeline(LanguageCentering(), LogisticRegression())),
]


@pytest.mark.parametrize("aligner", CLOSED, ids=["alone", "in a pipeline", "around a pipeline"])
def test_what_hands_no_language_on_is_refused(aligner):
    says = r"holds LanguageCentering, which takes the language of each row, and does not hand it on"
    with pytest.raises(TypeError, match=says):
        fit_aligner(aligner, X, LANGUAGE, language=LANGUAGE)
    with pytest.raises(TypeError, match=says):
        apply_aligner(aligner, X, LANGUAGE)


def test_scikit_learns_frozen_one_passes_alone_and_is_refused_where_it_hides_the_language():
    frozen = FrozenEstimator(LanguageCentering().fit(X, language=LANGUAGE))
    assert gap(through(frozen)[1]).max() < 1e-9
    with pytest.raises(TypeError, match=r"FrozenEstimator holds .*posthoc_align\.freeze"):
        fit_aligner(make_pipeline(frozen), X, language=LANGUAGE)


def test_without_languages_nothing_is_refused():
    """A plain scaler in a selector, or rows of one language."""
    select = SelectFromModel(LogisticRegression())
    assert fit_aligner(select, X, LANGUAGE, language=LANGUAGE).transform(X).shape[0] == 2 * N
    fitted = fit_aligner(make_pipeline(make_pipeline(LanguageCentering())), X)
    assert fitted_languages(fitted) == [None]
