"""A blend is a step between the rows as they are and what the estimator makes of them."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone

from posthoc_align import (
    LEACE,
    LIR,
    LSAR,
    Blend,
    GaussianTransport,
    LanguageCentering,
    LanguageScaling,
    LanguageWhitening,
    LinearMap,
    PivotAligner,
    Procrustes,
)

D = 5
LANGUAGE = np.repeat(["a", "b", "c"], 40)
PAIR_ID = np.tile(np.arange(40), 3)

AFFINE = [
    LanguageCentering(),
    LanguageScaling(anchor="pooled"),
    LanguageWhitening(),
    GaussianTransport(),
    LSAR(),
    LIR(),
    LEACE(),
]


@pytest.fixture
def X():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(40, D)) * [3, 2, 1, 1, 1]
    return np.vstack(
        [rows + rng.normal(size=(40, D)) * 0.3 + 2 * rng.normal(size=D) for _ in "abc"]
    )


@pytest.mark.parametrize("strength", [0, 0.25, 1.0])
@pytest.mark.parametrize("estimator", AFFINE, ids=repr)
def test_a_blend_lies_on_the_line_from_the_rows_to_their_images(
    estimator, strength, X, as_kind, rows_of, rtol
):
    full = clone(estimator).fit(as_kind(X), language=LANGUAGE)
    blend = Blend(estimator, strength=strength).fit(as_kind(X), language=LANGUAGE)
    image = rows_of(full.transform(as_kind(X), language=LANGUAGE))
    found = blend.transform(as_kind(X), language=LANGUAGE)
    assert type(found) is type(as_kind(X))
    assert found.dtype == as_kind(X).dtype
    expected = (1 - strength) * rows_of(as_kind(X)) + strength * image
    np.testing.assert_allclose(rows_of(found), expected, atol=50 * rtol)


@pytest.mark.parametrize("estimator", AFFINE, ids=repr)
def test_half_a_transformation_can_be_undone(estimator, X):
    blend = Blend(estimator, strength=0.5).fit(X, language=LANGUAGE)
    there = blend.transform(X, language=LANGUAGE)
    assert np.abs(there - X).max() > 0.1
    np.testing.assert_allclose(blend.inverse_transform(there, language=LANGUAGE), X, atol=1e-9)


@pytest.mark.parametrize("estimator", [LSAR(), LIR(), LEACE()], ids=repr)
def test_a_whole_projection_cannot_be_undone_and_the_error_names_decompose(estimator, X):
    blend = Blend(estimator, strength=1.0).fit(X, language=LANGUAGE)
    with pytest.raises(ValueError, match="decompose"):
        blend.inverse_transform(X, language=LANGUAGE)


def test_what_is_left_and_what_is_taken_add_up_to_the_rows(X):
    blend = Blend(LSAR(), strength=0.7).fit(X, language=LANGUAGE)
    neutral, specific = blend.decompose(X, language=LANGUAGE)
    np.testing.assert_allclose(neutral + specific, X, atol=1e-12)
    np.testing.assert_allclose(neutral, blend.transform(X, language=LANGUAGE))


def test_language_means_come_together_in_proportion_to_the_strength(X):
    def apart(Z):
        means = np.stack([Z[label == LANGUAGE].mean(axis=0) for label in "abc"])
        return np.linalg.norm(means - means.mean(axis=0))

    for strength in (0.0, 0.3, 1.0):
        blend = Blend(LanguageCentering(), strength=strength)
        left = apart(blend.fit_transform(X, language=LANGUAGE))
        assert left == pytest.approx((1 - strength) * apart(X), abs=1e-12)


def test_a_blended_map_is_a_map_and_goes_into_a_pivot_aligner(X):
    y = X[40:80][:, ::-1]
    blend = Blend(Procrustes(), strength=0.5).fit(X[:40], y)
    full = Procrustes().fit(X[:40], y).transform(X[:40])
    np.testing.assert_allclose(blend.transform(X[:40]), (X[:40] + full) / 2)
    np.testing.assert_allclose(blend.inverse_transform(blend.transform(X[:40])), X[:40], atol=1e-9)
    aligner = PivotAligner(Blend(LinearMap(penalty=1.0), strength=0.5), pivot="a")
    whole = PivotAligner(LinearMap(penalty=1.0), pivot="a")
    none = PivotAligner(Blend(LinearMap(penalty=1.0), strength=0), pivot="a")
    found, full, before = (
        each.fit_transform(X, language=LANGUAGE, pair_id=PAIR_ID) for each in (aligner, whole, none)
    )
    np.testing.assert_allclose(found, (full + before) / 2, atol=1e-12)


def test_a_blended_aligner_takes_pair_ids_and_has_no_closed_inverse(X):
    blend = Blend(PivotAligner(pivot="a"), strength=0.5)
    Z = blend.fit_transform(X, language=LANGUAGE, pair_id=PAIR_ID)
    with pytest.raises(ValueError, match="not affine.*decompose"):
        blend.inverse_transform(Z, language=LANGUAGE)


@pytest.mark.parametrize("strength", [-0.1, 1.5, "half", None])
def test_a_strength_out_of_range_is_refused(strength, X):
    with pytest.raises(ValueError, match="strength=.*from 0 to 1"):
        Blend(LanguageCentering(), strength=strength).fit(X, language=LANGUAGE)


def test_a_map_told_of_languages_says_who_handles_them(X):
    with pytest.raises(TypeError, match=r"takes no language.*PivotAligner\(Blend"):
        Blend(Procrustes()).fit(X, X, language=LANGUAGE)


def test_a_map_into_another_width_is_refused(X):
    blend = Blend(Procrustes()).fit(X, X[:, :3])
    with pytest.raises(ValueError, match="maps 5 features to 3"):
        blend.transform(X)


def test_half_precision_rows_are_blended_in_single_precision(X):
    narrow = X.astype(np.float16)
    blend = Blend(LanguageCentering(), strength=0.5).fit(narrow, language=LANGUAGE)
    found = blend.transform(narrow, language=LANGUAGE)
    assert found.dtype == np.float16
    wide = Blend(LanguageCentering(), strength=0.5).fit(narrow.astype(float), language=LANGUAGE)
    expected = wide.transform(narrow.astype(float), language=LANGUAGE)
    np.testing.assert_allclose(found.astype(float), expected, rtol=1e-3, atol=2e-3)
