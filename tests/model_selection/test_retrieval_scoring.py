"""Aligners in a grid search, scored by retrieval on held-out pairs."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline

from posthoc_align import (
    Blend,
    ConceptWhitening,
    Identity,
    LanguageCentering,
    LinearMap,
    PivotAligner,
    Procrustes,
)
from posthoc_align.metrics import weak_alignment
from posthoc_align.model_selection import PairGroupKFold, make_retrieval_scorer


def planted(n=60, d=8, seed=0):
    """English, German as a rotation of it, French as a rotation and a shift."""
    rng = np.random.default_rng(seed)
    en = rng.normal(size=(n, d))
    de, fr = (en @ np.linalg.qr(rng.normal(size=(d, d)))[0] for _ in range(2))
    X = np.vstack([en, de, fr + 2.0]) + 0.05 * rng.normal(size=(3 * n, d))
    return X, np.repeat(["en", "de", "fr"], n), np.tile(np.arange(n), 3)


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.mark.usefixtures("routing")
def test_a_grid_over_aligners_their_maps_and_strengths_finds_the_planted_rotation():
    X, language, pair_id = planted()
    search = GridSearchCV(
        PivotAligner(Procrustes()),
        [
            {"estimator": [Procrustes(), Blend(Procrustes(), strength=0.1)]},
            {"estimator": [LinearMap()], "estimator__penalty": [1e6]},
            {"recipe": [None]},
        ],
        scoring=make_retrieval_scorer(),
        cv=PairGroupKFold(3),
        error_score="raise",
    ).fit(X, language=language, pair_id=pair_id)
    found = search.cv_results_["mean_test_score"]
    assert search.best_index_ == 0
    assert found[0] > 0.95
    # A strength of 0.1 or a penalty that forbids the rotation leaves retrieval near chance, 1/20.
    assert found[1] < 0.5
    assert found[2] < 0.5
    assert search.score(X, language=language, pair_id=pair_id) > 0.95
    aligned = search.best_estimator_.transform(X, language=language)
    assert weak_alignment(aligned[60:120], aligned[:60]) > 0.95


@pytest.mark.usefixtures("routing")
def test_pipelines_of_aligners_are_scored_and_the_identity_is_among_them():
    X, language, pair_id = planted()
    search = GridSearchCV(
        make_pipeline(PivotAligner(), ConceptWhitening()),
        {"pivotaligner": [Identity(), LanguageCentering(), PivotAligner()]},
        scoring=make_retrieval_scorer(score="csls"),
        cv=PairGroupKFold(3),
        error_score="raise",
    ).fit(X, language=language, pair_id=pair_id)
    assert isinstance(search.best_params_["pivotaligner"], PivotAligner)


@pytest.mark.usefixtures("routing")
def test_it_is_the_mean_of_weak_alignment_both_ways():
    X, language, pair_id = planted()
    aligner = LanguageCentering().fit(X, language=language)
    Z = aligner.transform(X, language=language)
    en, de, fr = Z[:60], Z[60:120], Z[120:]
    expected = np.mean([weak_alignment(a, b) for a, b in ((de, en), (en, de), (fr, en), (en, fr))])
    found = make_retrieval_scorer()(aligner, X, language=language, pair_id=pair_id)
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_tensors_are_scored_as_arrays_are(library):
    import torch

    X, language, pair_id = planted()
    rows = X if library == "numpy" else torch.as_tensor(X)
    aligner = PivotAligner().fit(rows, language=language, pair_id=pair_id)
    assert make_retrieval_scorer()(aligner, rows, language=language, pair_id=pair_id) == 1.0


@pytest.mark.usefixtures("routing")
def test_another_pivot_may_be_asked_for():
    X, language, pair_id = planted()
    scores = cross_val_score(
        PivotAligner(pivot="de"),
        X,
        scoring=make_retrieval_scorer(pivot="de"),
        cv=PairGroupKFold(3),
        params={"language": language, "pair_id": pair_id},
        error_score="raise",
    )
    assert scores.min() > 0.9


def test_what_is_lost_on_the_way_is_named():
    X, language, _ = planted()
    aligner = Identity().fit(X)
    scorer = make_retrieval_scorer()
    with pytest.raises(ValueError, match=r"got no language and no pair_id: enable"):
        scorer(aligner, X)
    with pytest.raises(ValueError, match=r"got no pair_id"):
        scorer(aligner, X, language=language)
    with pytest.raises(ValueError, match=r"No language shares 2 or more pair ids.*PairGroupKFold"):
        scorer(aligner, X, language=language, pair_id=np.arange(180))
    with pytest.raises(ValueError, match="Duplicate"):
        scorer(aligner, X, language=language, pair_id=np.zeros(180, dtype=int))
    with pytest.raises(ValueError, match="score='dot' is not known"):
        make_retrieval_scorer(score="dot")


def test_it_says_what_it_is():
    assert repr(make_retrieval_scorer()) == "RetrievalScorer(pivot='en', score='cosine')"
