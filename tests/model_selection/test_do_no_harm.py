"""DoNoHarm passes on what helps, holds back what harms, and says which and by how much."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from posthoc_align import DoNoHarm, Identity, LanguageCentering, PivotAligner, Procrustes
from posthoc_align.metrics import weak_alignment


@pytest.fixture
def mixed(rotated):
    """German a shift of English, which centring cures; "xx" lies right, but for far rows.

    Those are without translations, and pull the mean of "xx" away from where its sentences lie.
    """
    far = rotated.X[:45] + 40.0
    en, fr = rotated.X[:90], rotated.X[180:]
    noise = 0.05 * np.random.default_rng(5).normal(size=en.shape)
    rotated.X = np.vstack([en, fr, en + noise, far])
    rotated.language = np.repeat(["en", "de", "xx"], [90, 90, 135])
    rotated.pair_id = np.concatenate([np.tile(np.arange(90), 3), np.full(45, -1)])
    rotated.y = np.append(rotated.y, rotated.y[:45])
    return rotated


def fit(gate, data):
    return gate.fit(data.X, data.y, language=data.language, pair_id=data.pair_id)


def fit_quietly(gate, data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fit(gate, data)


def found(Z, data, language):
    rows = (data.language == language) & (data.pair_id >= 0)
    return weak_alignment(Z[rows], Z[data.language == "en"])


def test_an_aligner_that_helps_everywhere_is_passed_on(rotated):
    gate = fit(DoNoHarm(PivotAligner(Procrustes())), rotated)
    expected = PivotAligner(Procrustes()).fit_transform(
        rotated.X, language=rotated.language, pair_id=rotated.pair_id
    )
    assert gate.harmed_ == gate.routes_ == {}
    assert all(gain.low > 0 for gain in gate.gains_.values())
    assert np.array_equal(gate.transform(rotated.X, language=rotated.language), expected)


def test_a_harmed_language_is_kept_as_it_was_and_the_others_are_aligned(mixed):
    gate = fit_quietly(DoNoHarm(LanguageCentering()), mixed)
    assert list(gate.harmed_) == list(gate.routes_) == ["xx"]
    plain = LanguageCentering().fit_transform(mixed.X, language=mixed.language)
    Z = gate.transform(mixed.X, language=mixed.language)
    others = mixed.language != "xx"
    assert np.array_equal(Z[others], plain[others])
    # The control: without the gate the language is lost, and without centring German is.
    assert found(plain, mixed, "xx") < 0.5 < 0.95 < found(Z, mixed, "xx")
    assert found(mixed.X, mixed, "de") < 0.5 < 0.95 < found(Z, mixed, "de")


def test_the_harm_is_warned_of_with_its_figures(mixed):
    with pytest.warns(UserWarning, match="made held-out retrieval worse") as heard:
        gate = fit(DoNoHarm(LanguageCentering()), mixed)
    (warning,) = heard
    told, figures = str(warning.message), gate.harmed_["xx"]
    assert f"'xx' from {figures['before']} to {figures['after']}" in told
    assert f"'xx' moves as the pivot does ({figures['kept']})" in told
    assert figures["difference"] == gate.gains_["xx"]
    assert figures["difference"].high < 0
    assert figures["difference"].p_value < 0.01


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_the_route_of_the_pivot_is_its_own_transform(mixed, library):
    import torch

    if library == "torch":
        mixed.X = torch.as_tensor(mixed.X)
    gate = fit_quietly(DoNoHarm(LanguageCentering()), mixed)
    here = np.flatnonzero(mixed.language == "xx")
    assert gate.routes_ == {"xx": "pivot"}
    Z = gate.transform(mixed.X, language=mixed.language)
    assert type(Z) is type(mixed.X)
    assert bool((Z[here] == gate.aligner_.transform(mixed.X[here], language="en")).all())


class Fussy(LanguageCentering):
    """Spoils the rows of "xx", and those that pass for English without being it."""

    def transform(self, X, *, language=None):
        labels, Z = np.asarray(language), np.array(X)
        spoilt = (labels == "xx") | ((labels == "en") & (X[:, 0] > 2))
        Z[spoilt, 1:] = 1.0
        return Z


def test_rows_stay_where_they_were_if_that_is_better_than_moving_with_the_pivot():
    """The first column, too small to matter, tells the languages apart."""
    rng = np.random.default_rng(6)
    en = 20 * rng.normal(size=(60, 6))
    X = np.vstack([en, en])
    X[:, 0] = np.repeat([0.0, 3.0], 60)
    with pytest.warns(UserWarning, match="'xx' stays where it was"):
        gate = DoNoHarm(Fussy()).fit(
            X, language=["en"] * 60 + ["xx"] * 60, pair_id=[*range(60)] * 2
        )
    assert gate.routes_ == {"xx": "identity"}
    Z = gate.transform(X, language=["en"] * 60 + ["xx"] * 60)
    assert np.array_equal(Z, X)


@pytest.mark.parametrize("objective", ["retrieval", "transfer"])
def test_where_nothing_keeps_what_was_there_nothing_is_aligned(rotated, objective):
    """The aligner takes all columns but a useless one from all languages."""
    rotated.X[90:180] = rotated.X[:90] + 0.05 * np.random.default_rng(8).normal(size=(90, 8))
    ruin = FunctionTransformer(lambda X: np.hstack([np.full((len(X), 7), 0.1), X[:, 7:]]))
    gate = DoNoHarm(ruin, objective=objective)
    with pytest.warns(UserWarning, match="so that no language is aligned: leave them out"):
        fit(gate, rotated)
    assert isinstance(gate.aligner_, Identity)
    assert gate.routes_ == {}
    assert "de" in gate.harmed_
    assert gate.harmed_["de"]["kept"] == gate.harmed_["de"]["before"]
    assert np.array_equal(gate.transform(rotated.X), rotated.X)


def test_transfer_is_judged_by_the_pivots_head(mixed):
    gate = fit_quietly(DoNoHarm(LanguageCentering(), objective="transfer"), mixed)
    assert gate.gains_["de"].low > 0
    assert gate.gains_["xx"].high < 0
    assert set(gate.routes_) == {"xx"}
    assert gate.harmed_["xx"]["kept"].value > gate.harmed_["xx"]["after"].value


def test_chance_is_no_harm():
    """Rows without any relation: what differs is noise, in at most one of six languages."""
    rng = np.random.default_rng(7)
    X, language = rng.normal(size=(420, 6)), np.repeat(list("abcdefg"), 60)
    pair_id = np.tile(np.arange(60), 7)
    gate = DoNoHarm(LanguageCentering(), pivot="a")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gate.fit(X, language=language, pair_id=pair_id)
    assert len(gate.gains_) == 6
    assert len(gate.harmed_) <= 1


def test_a_language_with_few_pairs_is_aligned_unjudged_and_named(rotated):
    rotated.pair_id[(rotated.language == "fr") & (rotated.pair_id > 7)] = -1
    with pytest.warns(UserWarning, match=r"Languages \['fr'\] have too few held-out pairs"):
        gate = fit(DoNoHarm(LanguageCentering()), rotated)
    assert list(gate.gains_) == ["de"]


def test_pipelines_are_gated_too_and_pickle(mixed):
    gate = fit_quietly(DoNoHarm(make_pipeline(LanguageCentering(), LanguageCentering())), mixed)
    Z = gate.transform(mixed.X, language=mixed.language)
    copy = pickle.loads(pickle.dumps(gate))
    assert np.array_equal(copy.transform(mixed.X, language=mixed.language), Z)
    with pytest.raises(ValueError, match="got no language"):
        gate.transform(mixed.X)


def test_without_translations_harm_cannot_be_judged(rotated):
    gate = DoNoHarm(LanguageCentering())
    with pytest.raises(ValueError, match=r"No row shares a pair id with the pivot 'en'.*Pass"):
        gate.fit(rotated.X, language=rotated.language)
    with pytest.raises(ValueError, match=r"needs 10 translations of the pivot or more"):
        gate.fit(
            rotated.X,
            language=rotated.language,
            pair_id=np.where(rotated.pair_id < 6, rotated.pair_id, -1),
        )


def test_of_one_language_it_is_the_aligner():
    X = np.array([[0.0, 1.0], [2.0, 3.0]])
    assert np.array_equal(DoNoHarm(LanguageCentering()).fit_transform(X), [[-1, -1], [1, 1]])


def test_an_unseen_language_is_refused_also_where_nothing_is_aligned(rotated):
    ruin = FunctionTransformer(lambda X: np.ones_like(X) + 1e-3 * X[:, :1])
    gate = fit_quietly(DoNoHarm(ruin), rotated)
    assert isinstance(gate.aligner_, Identity)
    with pytest.raises(ValueError, match=r"Unseen language \['xx'\]"):
        gate.transform(rotated.X[:2], language="xx")
    gate = fit_quietly(DoNoHarm(LanguageCentering(unseen="global")), rotated)
    assert gate.transform(rotated.X[:2], language="xx").shape == (2, 8)
