"""The figures of ``evaluate`` are those of the metrics, on rows that no aligner was fitted on."""

from __future__ import annotations

import json

import numpy as np
import pytest

from posthoc_align import EmbeddingStore, LanguageCentering, load, save
from posthoc_align.cli import main
from posthoc_align.commands import _seen as seen
from posthoc_align.metrics import (
    anisotropy,
    hubness,
    iso_score,
    language_identification,
    strong_alignment,
    weak_alignment,
    zero_shot_scores,
)

N, D = 120, 8
LANGUAGES = ("en", "de", "fi")


def run(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.fixture
def folder(tmp_path):
    """Three languages, turned, moved and noisy; labels one a pair; a table that splits the rows."""
    rng = np.random.default_rng(0)
    concepts = rng.normal(size=(N, D))
    parts = []
    for name in LANGUAGES:
        turn = np.eye(D) if name == "en" else np.linalg.qr(rng.normal(size=(D, D)))[0]
        rows = (concepts + 0.4 * rng.normal(size=(N, D))) @ turn + 2 * rng.normal(size=D)
        parts.append(rows.astype(np.float32))
        np.save(tmp_path / f"{name}.npy", parts[-1])
    np.save(tmp_path / "all.npy", np.concatenate(parts))
    labels = np.where(concepts[:, 0] > 0, "up", "down")
    np.save(tmp_path / "labels.npy", labels)
    lines = [
        f"{name},{i},{labels[i]},{'test' if i % 3 == 0 else 'train'}"
        for name in LANGUAGES
        for i in range(N)
    ]
    (tmp_path / "rows.csv").write_text("language,pair_id,label,split\n" + "\n".join(lines) + "\n")
    return tmp_path


def files(folder):
    return [folder / f"{name}.npy" for name in LANGUAGES]


def evaluate(capsys, *given):
    capsys.readouterr()
    assert run("evaluate", *given, "--pivot", "en", "--json") == 0
    return json.loads(capsys.readouterr().out)


def fit(folder, *given, method="ridge"):
    place = folder / "m.safetensors"
    out = ["--method", method, "--quiet", "--output", place]
    assert run("fit", *given, "--pivot", "en", *out) == 0
    return place


@pytest.mark.parametrize("through", ["as they are", "an aligner"])
def test_figures_are_those_of_the_metrics_on_the_test_rows(folder, capsys, through):
    base = [folder / "all.npy", "--table", folder / "rows.csv"]
    X, language = np.load(folder / "all.npy"), np.repeat(LANGUAGES, N)
    test = np.tile(np.arange(N) % 3 == 0, len(LANGUAGES))
    label = np.tile(np.load(folder / "labels.npy"), len(LANGUAGES))
    if through == "an aligner":
        model = fit(folder, *base)
        Z = load(model).transform(X, language=language)
        found = evaluate(capsys, *base, "--model", model)
        row = found["rows"][1]
        assert found["measured"]["fitted_share"] == 0.0
        before = found["rows"][0]["values"]["weak"]
        assert row["differences"]["weak"]["value"] == pytest.approx(row["values"]["weak"] - before)
        assert row["values"]["weak"] > 3 * before  # or rows as they are would pass as well
    else:
        Z = X
        (row,) = evaluate(capsys, *base)["rows"]

    def of(name):
        return Z[test & (language == name)]

    heads = zero_shot_scores(
        Z[~test], label[~test], language[~test], Z[test], label[test], language[test], pivot="en"
    )
    others = LANGUAGES[1:]
    for name in others:
        each = {key: values.get(name) for key, values in row["per_language"].items()}
        assert each["weak"] == weak_alignment(of(name), of("en"))
        assert each["csls"] == weak_alignment(of(name), of("en"), score="csls")
        assert each["strong"] == strong_alignment(of(name), of("en"))
        assert each["head_others"] == pytest.approx(heads[name])
        low, high = row["per_language_intervals"]["weak"][name]
        assert low <= each["weak"] <= high
        hubs = hubness(of(name), of("en"), k=10).skewness
        assert row["geometry"]["hub_skewness"][name] == pytest.approx(hubs)
    for key in ("weak", "csls", "strong", "head_others"):
        mean = np.mean([row["per_language"][key][name] for name in others])
        assert row["values"][key] == pytest.approx(mean)
    probe = language_identification(
        Z[~test], language[~test], X_test=Z[test], language_test=language[test]
    )
    assert row["values"]["language_id"] == pytest.approx(probe)
    assert row["geometry"]["iso_score"] == pytest.approx(iso_score(Z[test]))
    assert row["geometry"]["anisotropy"] == pytest.approx(anisotropy(Z[test], language[test]))


@pytest.mark.slow
def test_the_same_share_and_seed_leave_out_what_is_measured(folder, capsys):
    for given in ([], ["--seed", 5], ["--test-size", 0.4, "--seed", 1]):
        asked = given if "--test-size" in given else [*given, "--test-size", 0.25]
        model = fit(folder, *files(folder), *asked)
        found = evaluate(capsys, *files(folder), "--model", model, *given)
        assert found["measured"]["fitted_share"] == 0.0
        assert not [note for note in found["warnings"] if "fitted on" in note]
    found = evaluate(capsys, *files(folder), "--model", model, "--seed", 2)  # another draw
    assert 0.3 < found["measured"]["fitted_share"] < 0.9
    assert "the figures flatter it" in found["warnings"][0]


def test_rows_that_were_fitted_on_are_not_measured_silently(folder, capsys):
    model = fit(folder, *files(folder))
    assert run("evaluate", *files(folder), "--pivot", "en", "--model", model, "--quiet") == 0
    said = capsys.readouterr()
    assert said.out.startswith(f"NOT HELD OUT: {model} was fitted on 100 % of these rows\n")
    assert said.err == ""
    assert run("evaluate", *files(folder), "--pivot", "en", "--model", model) == 0
    assert "100 % of the measured rows are among those" in capsys.readouterr().err


def test_an_aligner_that_does_not_know_its_rows_is_said_not_to(folder, capsys):
    X = np.load(folder / "all.npy")
    model = folder / "own.safetensors"
    save(LanguageCentering().fit(X, language=np.repeat(LANGUAGES, N)), model)
    found = evaluate(capsys, *files(folder), "--model", model)
    assert found["measured"]["fitted_share"] is None
    assert "does not know the rows that it was fitted on" in found["warnings"][0]
    assert run("evaluate", *files(folder), "--pivot", "en", "--model", model, "--quiet") == 0
    assert f"{model} does not know which rows it was fitted on" in capsys.readouterr().out


def test_a_store_is_measured_and_fitted_as_its_rows_in_files_are(folder, capsys):
    with EmbeddingStore.create(folder / "store", n_features=D, layers=[3]) as store:
        for path in files(folder):
            store.append({3: np.load(path)}, language=path.stem, pair_id=range(N))
    labels = ["--labels", folder / "labels.npy"]
    apart = evaluate(capsys, *files(folder), *labels, "--model", fit(folder, *files(folder)))
    model = fit(folder, folder / "store")
    together = evaluate(capsys, folder / "store", *labels, "--model", model)
    for a, b in zip(apart["rows"], together["rows"], strict=True):
        assert a["values"] == b["values"]
    place = folder / "aligned"
    assert run("transform", model, folder / "store", "--output", place, "--json") == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 3 * N
    aligned = EmbeddingStore(place)
    assert aligned.language.tolist() == np.repeat(LANGUAGES, N).tolist()
    expected = load(model).transform(np.load(folder / "all.npy"), language=aligned.language)
    np.testing.assert_allclose(aligned.to_array(), expected, atol=1e-6)
    (row,) = evaluate(capsys, place)["rows"]
    assert row["values"]["weak"] == together["rows"][1]["values"]["weak"]
    assert run("inspect", place) == 0
    assert "rows: de 120, en 120, fi 120" in capsys.readouterr().out


@pytest.mark.parametrize("labels", [True, False])
def test_the_tables_fit_a_terminal_and_name_every_language(folder, capsys, labels, monkeypatch):
    monkeypatch.chdir(folder)
    fit(folder, "en.npy", "de.npy", "fi.npy", "--test-size", 0.25)
    given = ["en.npy", "de.npy", "fi.npy", "--pivot", "en", "--model", "m.safetensors"]
    given += ["--labels", "labels.npy"] if labels else []
    assert run("evaluate", *given, "--quiet") == 0
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80
    assert said.count("\nde ") == said.count("\nfi ") == said.count("\nmean ") == 2
    assert "\nen " not in said
    assert ("head" in said) == labels
    assert "through m.safetensors" in said
    assert "change of the means:\n  weak +" in said


def test_labels_of_the_wrong_number_say_both_that_would_do(folder, capsys):
    np.save(folder / "labels.npy", np.zeros(7, dtype=int))
    labels = ["--labels", folder / "labels.npy"]
    assert run("evaluate", *files(folder), "--pivot", "en", *labels) == 1
    said = capsys.readouterr().err
    assert (
        "labels has shape (7,); expected 120 (one a pair, shared by all languages) or 360" in said
    )


# Fingerprints of rows


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_equal_rows_have_equal_fingerprints_whatever_their_type(dtype):
    X = np.random.default_rng(0).normal(size=(500, 7)).astype(np.float16)
    found = seen.fingerprints(X)
    assert len(np.unique(found)) == 500
    assert np.array_equal(seen.fingerprints(X.astype(dtype)), found)
    assert np.array_equal(seen.fingerprints(X[::-1]), found[::-1])
    nudged = X.astype(np.float32)
    nudged[:, 3] = np.nextafter(nudged[:, 3], np.float32(9))
    assert not np.isin(seen.fingerprints(nudged), found).any()


def test_signs_of_zero_do_not_tell_rows_apart():
    X = np.array([[0.0, 1.0]])
    assert seen.fingerprints(X) == seen.fingerprints(X * [-1.0, 1.0])


def test_a_sample_of_the_fingerprints_tells_the_share(monkeypatch):
    """1000 kept of 8000; the share of 4000 rows is then known from about 500 of them."""
    monkeypatch.setattr(seen, "KEPT", 1000)
    rng = np.random.default_rng(0)
    X, new = rng.normal(size=(8000, 4)), rng.normal(size=(3000, 4))
    model = LanguageCentering()
    seen.remember_rows(model, X)
    assert len(model.fitted_rows_) == 1000
    assert seen.share_seen(model, X[:50]) in (0.0, 1.0)  # 0.0 if none of the fifty is in the sample
    # Of 500 drawn, a share of a quarter is known to 4 * sqrt(3 / 16 / 500) = 0.08.
    mixed = np.concatenate([X[:1000], new])
    assert seen.share_seen(model, mixed) == pytest.approx(0.25, abs=0.08)
    assert seen.share_seen(model, new) == 0.0
    assert seen.share_seen(LanguageCentering(), X) is None
