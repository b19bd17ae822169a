"""MetaEmbedding: several encoders of the same texts, one embedding."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from posthoc_align import MetaEmbedding
from posthoc_align.datasets import load_parallel_topics
from posthoc_align.metrics import weak_alignment

WIDTHS = (8, 6, 8)
each_method = pytest.mark.parametrize("method", ["procrustes", "cca"])


def encoders(n=120, *, noise=0.0, missing=0.0, seed=0):
    """Points of 6 dimensions as three encoders see them: turned, shifted, with own noise."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(n, 6)) * np.linspace(2, 1, 6)
    parts = [
        points @ np.linalg.qr(rng.normal(size=(width, width)))[0][:6]
        + rng.normal(size=width)
        + noise * rng.normal(size=(n, width))
        for width in WIDTHS
    ]
    lacks = rng.random((n, 3)) < missing
    lacks[lacks.all(axis=1), 0] = False
    for part, gone in zip(parts, lacks.T, strict=True):
        part[gone] = np.nan
    return np.hstack(parts), lacks


def split(X):
    return np.split(X, np.cumsum(WIDTHS)[:-1], axis=1)


def test_planted_encoders_are_brought_to_one_space_and_the_mean_keeps_all_distances():
    X, _ = encoders()
    meta = MetaEmbedding(widths=WIDTHS, recipe="center", tol=1e-9, max_iter=1000)
    Z = meta.fit_transform(X)
    part = split(X)[0] - split(X)[0].mean(axis=0)
    np.testing.assert_allclose(Z @ Z.T, part @ part.T, atol=1e-5)


@pytest.mark.parametrize("missing", [0.2, 0.4])
def test_what_encoders_lack_is_filled_in_from_the_others(missing):
    whole, _ = encoders()
    X, _ = encoders(missing=missing)
    meta = MetaEmbedding(widths=WIDTHS, recipe="center", tol=1e-8, max_iter=2000).fit(X)
    filled = meta.fill(X)
    at = np.isnan(X)
    np.testing.assert_array_equal(filled[~at], X[~at])
    spread = np.nanstd(X - np.nanmean(X, axis=0))
    # centring on those rows that are there puts the spaces a little apart; regression does the rest
    assert np.sqrt(np.mean((filled[at] - whole[at]) ** 2)) < 0.25 * spread
    guess = np.broadcast_to(np.nanmean(X, axis=0), X.shape)
    assert np.sqrt(np.mean((guess[at] - whole[at]) ** 2)) > 0.8 * spread  # negative control


@each_method
def test_a_row_that_one_encoder_lacks_lies_where_it_would_with_it(method):
    whole, _ = encoders(noise=0.1)
    X, lacks = encoders(noise=0.1, missing=0.2)
    meta = MetaEmbedding(widths=WIDTHS, method=method).fit(whole)
    Z, full = meta.transform(X), meta.transform(whole)
    some = lacks.any(axis=1)
    np.testing.assert_allclose(Z[~some], full[~some], atol=1e-13)
    assert weak_alignment(Z[some], full[some]) == 1.0
    assert np.mean((Z - full)[some] ** 2) < 0.2 * np.mean(full**2)


@each_method
def test_the_average_is_nearer_to_the_truth_than_the_best_encoder(method):
    truth, _ = encoders(n=400)
    X, _ = encoders(n=400, noise=0.7)
    gram = lambda Z: np.corrcoef((Z @ Z.T).ravel(), (points @ points.T).ravel())[0, 1]  # noqa: E731
    points = split(truth)[0] - split(truth)[0].mean(axis=0)
    alone = max(gram(part - part.mean(axis=0)) for part in split(X))
    meta = MetaEmbedding(widths=WIDTHS, method=method, recipe="center", n_components=None)
    assert gram(meta.fit_transform(X)) > alone + 0.01


def test_the_way_back_from_the_average_gives_all_encoders():
    X, _ = encoders()
    meta = MetaEmbedding(widths=WIDTHS, recipe="center", tol=1e-9, max_iter=1000).fit(X)
    back = meta.inverse_transform(meta.transform(X))
    assert back.shape == X.shape
    np.testing.assert_allclose(back, X, atol=0.05)


@each_method
def test_all_kinds_agree(method, as_kind, rows_of, rtol):
    X, _ = encoders(noise=0.3, missing=0.2)
    expected = MetaEmbedding(widths=WIDTHS, method=method).fit_transform(X)
    x = as_kind(X)
    meta = MetaEmbedding(widths=WIDTHS, method=method).fit(x)
    Z, filled = meta.transform(x), meta.fill(x)
    assert (type(Z), Z.dtype) == (type(filled), filled.dtype) == (type(x), x.dtype)
    np.testing.assert_allclose(rows_of(Z), expected, atol=1000 * rtol)
    assert np.all(np.isfinite(rows_of(filled)))


def test_half_precision_comes_back_in_half_precision(make_kind):
    X, _ = encoders(noise=0.3, missing=0.2)
    for form in ("numpy float16", "torch bfloat16"):
        x = make_kind(X, form)
        meta = MetaEmbedding(widths=WIDTHS).fit(x)
        assert meta.transform(x).dtype == meta.fill(x).dtype == x.dtype


def test_rows_do_not_depend_on_the_batch_and_a_pickle_does_the_same():
    X, _ = encoders(noise=0.3, missing=0.3)
    meta = MetaEmbedding(widths=WIDTHS).fit(X)
    Z = meta.transform(X)
    alone = np.vstack([pickle.loads(pickle.dumps(meta)).transform(X[i : i + 1]) for i in range(20)])
    np.testing.assert_allclose(alone, Z[:20], atol=1e-13)
    np.testing.assert_array_equal(clone(meta).fit_transform(X), Z)


def test_one_encoder_is_the_identity():
    X, _ = encoders()
    np.testing.assert_array_equal(MetaEmbedding().fit_transform(X), X)
    np.testing.assert_array_equal(MetaEmbedding(widths=(22,)).fit(X).inverse_transform(X), X)


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"widths": (8, 6)}, r"widths=\(8, 6\) add up to 14, but X has 22.*Pass the encoders"),
        ({"widths": (22, 0)}, "widths=0 .*integers >= 1"),
        ({"method": "mean"}, "method='mean'.*choose one of"),
        ({"penalty": 0}, "penalty=0 .*number > 0"),
        ({"tol": -1}, "tol=-1"),
        ({"max_iter": 0}, "max_iter=0"),
        ({"n_components": 3}, "n_components=3 belongs to method='cca'"),
        ({"method": "cca", "n_components": 9}, "n_components=9 is more than.*choose at most"),
    ],
)
def test_a_parameter_out_of_range_names_the_range(parameters, says):
    with pytest.raises(ValueError, match=says):
        MetaEmbedding(**({"widths": WIDTHS} | parameters)).fit(encoders()[0])


@pytest.mark.parametrize("when", ["fit", "transform"])
@pytest.mark.parametrize(
    ("columns", "value", "says"),
    [
        (slice(None), np.nan, r"1 rows have no encoder at all.*row 7: remove"),
        (slice(9, 10), np.nan, r"NaN in a part of encoder 1's columns in row 7.*remove or repair"),
        (slice(9, 10), np.inf, r"X contains infinity, first in row 7\."),
    ],
)
def test_rows_that_cannot_be_used_are_named(when, columns, value, says):
    X, _ = encoders()
    meta = MetaEmbedding(widths=WIDTHS).fit(X)
    X[2, :8] = np.nan  # which is no fault
    X[7, columns] = value
    with pytest.raises(ValueError, match=says):
        getattr(meta, when)(X)


def test_encoders_without_texts_in_common_are_explained():
    X, _ = encoders(n=10)
    X[:5, :8], X[5:, 8:] = np.nan, np.nan
    with pytest.raises(
        ValueError, match=r"shares with others \(by encoder: \[0, 5, 5\].*Add texts"
    ):
        MetaEmbedding(widths=WIDTHS).fit(X)
    X, _ = encoders(n=2)
    meta = MetaEmbedding(widths=WIDTHS, recipe="center").fit(X)
    with pytest.raises(ValueError, match="Encoder 0 shared fewer than 3 texts.*Add texts"):
        meta.inverse_transform(meta.transform(X))
    with pytest.raises(ValueError, match="maps to 8. Pass rows of the common space"):
        meta.inverse_transform(X)


def test_too_few_rounds_warn():
    X, _ = encoders(noise=1.0)
    with pytest.warns(ConvergenceWarning, match="max_iter=1 rounds.*Raise max_iter"):
        MetaEmbedding(widths=WIDTHS, max_iter=1, tol=1e-12).fit(X)


@pytest.mark.slow
def test_two_noisy_encoders_of_real_sentences_agree_better_together_than_alone():
    corpus = load_parallel_topics()
    X = corpus.embeddings[corpus.language == "en"].astype(np.float64)
    X = X / np.linalg.norm(X, axis=1, keepdims=True)
    rng = np.random.default_rng(0)
    noisy = [X + 0.05 * rng.normal(size=X.shape) for _ in range(2)]
    turn = np.linalg.qr(rng.normal(size=(X.shape[1], X.shape[1])))[0]
    pair = np.hstack([noisy[0], noisy[1] @ turn])
    Z = MetaEmbedding(widths=(384, 384), recipe=None).fit_transform(pair)
    alone = [np.corrcoef((e @ e.T).ravel(), (X @ X.T).ravel())[0, 1] for e in noisy]
    both = np.corrcoef((Z @ Z.T).ravel(), (X @ X.T).ravel())[0, 1]
    assert both > max(alone)
