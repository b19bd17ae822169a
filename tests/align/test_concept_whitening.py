"""Whitening within concepts damps what tells translations of one text apart."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline

from posthoc_align import (
    ConceptWhitening,
    LanguageCentering,
    LinearMap,
    PivotAligner,
    compare,
)
from posthoc_align.align import concept_whitening
from posthoc_align.datasets import load_parallel_topics
from posthoc_align.linalg import shrunk_covariance

N, D, L = 60, 5, 3
LANGUAGE = np.repeat(["a", "b", "c"], N)
PAIR_ID = np.tile(np.arange(N), L)


@pytest.fixture
def X():
    """Concepts vary in all directions alike; translations disagree most in the last ones."""
    rng = np.random.default_rng(0)
    concepts = rng.normal(size=(N, D))
    noise = rng.normal(size=(L, N, D)) * [0.1, 0.2, 0.4, 0.8, 1.6]
    return (concepts + noise).reshape(-1, D)


def within(X):
    """Covariance of rows about the mean of their concept, by the definition."""
    away = X.reshape(L, N, D) - X.reshape(L, N, D).mean(axis=0)
    rows = away.reshape(-1, D)
    return rows.T @ rows / ((L - 1) * N)


def test_it_is_the_power_of_the_covariance_about_concepts(X, as_kind, rows_of, rtol):
    fitted = ConceptWhitening(power=0.5, shrinkage=0.0).fit(as_kind(X), pair_id=PAIR_ID)
    values, vectors = np.linalg.eigh(within(rows_of(as_kind(X))))
    expected = (vectors * values**-0.25) @ vectors.T
    expected *= np.sqrt(D) / np.linalg.norm(expected)
    np.testing.assert_allclose(fitted.matrix_, expected, rtol=100 * rtol, atol=100 * rtol)
    Z = fitted.transform(as_kind(X))
    assert type(Z) is type(as_kind(X))
    np.testing.assert_allclose(rows_of(Z), rows_of(as_kind(X)) @ expected, atol=1e3 * rtol)


def test_the_whole_power_makes_disagreement_alike_in_all_directions(X):
    Z = ConceptWhitening(power=1.0, shrinkage=0.0).fit(X, pair_id=PAIR_ID).transform(X)
    covariance = within(Z)
    np.testing.assert_allclose(covariance, covariance[0, 0] * np.eye(D), atol=1e-10)


@pytest.mark.parametrize("options", [{"power": 0}, {"shrinkage": 1}])
def test_no_power_and_full_shrinkage_leave_rows_as_they_are(X, options):
    fitted = ConceptWhitening(**options).fit(X, pair_id=PAIR_ID)
    np.testing.assert_allclose(fitted.transform(X), X, atol=1e-12)


def test_without_pairs_it_is_the_identity(X):
    np.testing.assert_array_equal(ConceptWhitening().fit_transform(X, language=LANGUAGE), X)


def test_the_order_of_rows_and_unpaired_rows_do_not_matter(X):
    order = np.random.default_rng(1).permutation(len(X))
    rows = np.vstack([X[order], 100 * np.ones((2, D))])
    ids = np.append(PAIR_ID[order], [-1, 10_000])  # no translation, and one alone with its id
    found = ConceptWhitening().fit(rows, pair_id=ids)
    expected = ConceptWhitening().fit(X, pair_id=PAIR_ID)
    np.testing.assert_allclose(found.matrix_, expected.matrix_, rtol=1e-10)


def test_concepts_may_lack_a_language(X):
    kept = np.random.default_rng(2).random(len(X)) < 0.7
    found = ConceptWhitening().fit(X[kept], pair_id=PAIR_ID[kept]).matrix_
    away = [
        X[kept & (i == PAIR_ID)] - X[kept & (i == PAIR_ID)].mean(axis=0)
        for i in range(N)
        if np.sum(kept & (i == PAIR_ID)) > 1
    ]
    scatter = sum(rows.T @ rows for rows in away)
    degrees = sum(len(rows) - 1 for rows in away)
    one = shrunk_covariance(scatter, degrees)[0]
    values, vectors = np.linalg.eigh(one)
    expected = (vectors * values**-0.25) @ vectors.T
    np.testing.assert_allclose(found, expected * np.sqrt(D) / np.linalg.norm(expected), rtol=1e-8)


def test_a_stream_of_whole_concepts_gives_what_one_batch_gives(X, monkeypatch):
    whole = ConceptWhitening().fit(X, pair_id=PAIR_ID)
    stream = ConceptWhitening()
    for part in (PAIR_ID < 20, (PAIR_ID >= 20) & (PAIR_ID < 25), PAIR_ID >= 25):
        stream.partial_fit(X[part], pair_id=PAIR_ID[part])
    np.testing.assert_allclose(stream.matrix_, whole.matrix_, rtol=1e-10)
    monkeypatch.setattr(concept_whitening, "CHUNK", 7)  # blocks of two or three concepts
    blocks = ConceptWhitening().fit(X, pair_id=PAIR_ID)
    np.testing.assert_allclose(blocks.matrix_, whole.matrix_, rtol=1e-10)


def test_it_can_be_undone(X):
    fitted = ConceptWhitening().fit(X, pair_id=PAIR_ID)
    np.testing.assert_allclose(fitted.inverse_transform(fitted.transform(X)), X, atol=1e-10)


def test_fewer_concepts_than_dimensions_are_regularised(X):
    few = PAIR_ID < 2
    fitted = ConceptWhitening().fit(X[few], pair_id=PAIR_ID[few])
    assert np.all(np.isfinite(fitted.matrix_))
    assert np.linalg.cond(fitted.matrix_) < 1e6


def test_translations_that_agree_leave_nothing_to_whiten(X):
    fitted = ConceptWhitening().fit(np.vstack([X[:N], X[:N]]), pair_id=PAIR_ID[: 2 * N])
    np.testing.assert_array_equal(fitted.matrix_, np.eye(D))


def test_half_precision_comes_back_in_half_precision(X):
    fitted = ConceptWhitening().fit(X.astype(np.float16), pair_id=PAIR_ID)
    assert fitted.transform(X.astype(np.float16)).dtype == np.float16


def test_ids_that_nothing_shares_are_refused(X):
    with pytest.raises(ValueError, match=r"No two rows share a pair_id.*Pass the ids"):
        ConceptWhitening().fit(X, pair_id=np.arange(len(X)))


@pytest.mark.parametrize(
    ("options", "says"),
    [({"power": 2}, r"power=2.*0 to 1"), ({"shrinkage": -1}, r"shrinkage=-1.*0 to 1")],
)
def test_parameters_out_of_range_are_refused(X, options, says):
    with pytest.raises(ValueError, match=says):
        ConceptWhitening(**options).fit(X, pair_id=PAIR_ID)


def test_a_row_that_is_not_finite_is_named(X):
    X[7, 1] = np.nan
    with pytest.raises(ValueError, match=r"NaN, first in row 7"):
        ConceptWhitening().fit(X, pair_id=PAIR_ID)


def test_after_an_aligner_it_finds_more_translations_of_the_bundled_corpus():
    corpus = load_parallel_topics()
    few = np.isin(corpus.language, ["en", "de", "fr", "es", "id", "tr"])
    plain = PivotAligner(LinearMap(penalty=1.0))
    found = compare(
        corpus.embeddings[few].astype(np.float32),
        language=corpus.language[few],
        pair_id=corpus.pair_id[few],
        split=corpus.split[few],
        aligners={"plain": plain, "whitened": make_pipeline(plain, ConceptWhitening())},
    )
    weak = {row["method"]: row["values"]["weak"] for row in found.rows}
    assert weak["whitened"] > weak["plain"] + 0.005


def test_it_follows_an_aligner_in_a_pipeline(X):
    import sklearn

    with sklearn.config_context(enable_metadata_routing=True):
        steps = make_pipeline(LanguageCentering(), ConceptWhitening())
        Z = steps.fit_transform(X, language=LANGUAGE, pair_id=PAIR_ID)
        again = steps.transform(X, language=LANGUAGE)
    np.testing.assert_allclose(Z, again)
    assert np.abs(Z - LanguageCentering().fit_transform(X, language=LANGUAGE)).max() > 0.1
