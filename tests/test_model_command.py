"""From files to a saved aligner, to aligned files, to exports, without a line of Python."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from posthoc_align import (
    AlignedClassifier,
    LanguageCentering,
    LinearMap,
    MigrationMap,
    PivotAligner,
    load,
    save,
)
from posthoc_align.align._apply import fit_aligner
from posthoc_align.cli import main

RNG = np.random.default_rng(0)
CONCEPTS = RNG.normal(size=(120, 8))
TURN = np.linalg.qr(RNG.normal(size=(8, 8)))[0]


@pytest.fixture
def files(tmp_path):
    """English, and German turned and moved; row i translates row i."""
    folder = tmp_path / "emb"
    folder.mkdir()
    noise = 0.1 * RNG.normal(size=(120, 8))
    np.save(folder / "en.npy", CONCEPTS.astype(np.float32))
    np.save(folder / "de.npy", ((CONCEPTS + noise) @ TURN + 2.0).astype(np.float32))
    return [str(folder / "en.npy"), str(folder / "de.npy")]


def run(*words: object) -> int:
    return main([str(word) for word in words])


def test_auto_is_fitted_saved_applied_and_says_why(files, tmp_path, capsys):
    model, out = tmp_path / "m.safetensors", tmp_path / "aligned"
    assert run("fit", *files, "--pivot", "en", "--output", model) == 0
    said = capsys.readouterr().err
    assert "Procrustes" in said or "ridge" in said
    assert run("transform", model, *files, "--output", out) == 0
    aligned = {name: np.load(out / f"{name}.npy") for name in ("en", "de")}
    for name, path in zip(("en", "de"), files, strict=True):
        expected = load(model).transform(np.load(path), language=name)
        assert np.array_equal(aligned[name], expected)
        assert aligned[name].dtype == np.float32
    nearest = (aligned["de"] @ aligned["en"].T).argmax(axis=1)
    assert np.mean(nearest == np.arange(120)) > 0.9
    before = (np.load(files[1]) @ np.load(files[0]).T).argmax(axis=1)
    assert np.mean(before == np.arange(120)) < 0.3


@pytest.mark.parametrize("method", ["centring", "lsar", "procrustes", "ridge"])
def test_a_method_can_be_named(method, files, tmp_path, capsys):
    model = tmp_path / "m.safetensors"
    assert run("fit", *files, "--pivot", "en", "--method", method, "--output", model) == 0
    assert run("inspect", model, "--json") == 0
    about = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert about["languages"] == ["de", "en"]
    expected = PivotAligner(LinearMap(), pivot="en") if method == "ridge" else None
    if expected is not None:
        assert about["estimator"] == repr(expected)
    assert run("inspect", model) == 0
    assert "languages: de, en" in capsys.readouterr().out


def test_a_table_says_the_languages_of_one_file(files, tmp_path):
    rows = np.concatenate([np.load(path) for path in files])
    np.save(tmp_path / "all.npy", rows)
    lines = [f"{name},{i}" for name in ("en", "de") for i in range(120)]
    (tmp_path / "rows.csv").write_text("language,pair_id\n" + "\n".join(lines) + "\n")
    model, table = tmp_path / "m.safetensors", tmp_path / "rows.csv"
    base = [tmp_path / "all.npy", "--table", table]
    assert run("fit", *base, "--pivot", "en", "--method", "ridge", "--output", model) == 0
    assert run("transform", model, *base, "--output", tmp_path / "out") == 0
    expected = load(model).transform(rows, language=np.repeat(["en", "de"], 120))
    assert np.array_equal(np.load(tmp_path / "out" / "all.npy"), expected)


def test_exports_answer_as_the_model_does(files, tmp_path, capsys):
    model = tmp_path / "m.safetensors"
    assert run("fit", *files, "--pivot", "en", "--method", "centring", "--output", model) == 0
    assert run("export", model, tmp_path / "de.npz", "--language", "de") == 0
    with np.load(tmp_path / "de.npz") as arrays:
        rows = np.load(files[1])
        expected = load(model).transform(rows, language="de")
        np.testing.assert_allclose(rows @ arrays["W"] + arrays["b"], expected, atol=1e-5)
    assert run("export", model, tmp_path / "de.txt", "--language", "de") == 1
    assert "'.txt'; expected one of ['.onnx', '.npz', '.faiss']" in capsys.readouterr().err
    assert run("export", model, tmp_path / "de.npz") == 1
    assert "language=None is none of" in capsys.readouterr().err


@pytest.mark.parametrize("ending", [".onnx", ".faiss"])
def test_exports_of_other_libraries_can_be_read(ending, files, tmp_path):
    library = pytest.importorskip({".onnx": "onnxruntime", ".faiss": "faiss"}[ending])
    pytest.importorskip("onnx" if ending == ".onnx" else "faiss")
    model, out = tmp_path / "m.safetensors", tmp_path / f"de{ending}"
    assert run("fit", *files, "--pivot", "en", "--method", "ridge", "--output", model) == 0
    assert run("export", model, out, "--language", "de") == 0
    rows = np.load(files[1])
    expected = load(model).transform(rows, language="de")
    if ending == ".onnx":
        session = library.InferenceSession(out, providers=["CPUExecutionProvider"])
        np.testing.assert_allclose(session.run(None, {"rows": rows})[0], expected, atol=1e-5)
        return
    index = library.read_index(str(out))
    index.add(rows)
    unit = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(index.search(rows, 1)[0][:, 0], (unit * unit).sum(axis=1), atol=1e-5)


def test_wrong_input_is_named_and_ends_in_1(files, tmp_path, capsys):
    model = tmp_path / "m.safetensors"
    assert run("fit", *files, "--pivot", "fr", "--output", model) == 1
    assert "--pivot fr is none of the languages, ['de', 'en']" in capsys.readouterr().err
    assert not model.exists()
    assert run("fit", *files, "--pivot", "en", "--method", "ridge", "--output", model) == 0
    sw = tmp_path / "sw.npy"
    np.save(sw, CONCEPTS)
    assert run("transform", model, sw, "--output", tmp_path / "out") == 1
    assert "sw.npy: Unseen language ['sw']" in capsys.readouterr().err
    assert run("transform", model, files[0], "--output", tmp_path / "emb") == 1
    assert "would overwrite" in capsys.readouterr().err
    assert run("transform", files[0], files[0], "--output", tmp_path / "out") == 1
    assert "not a complete model file" in capsys.readouterr().err


def fails_in_a_line(capsys, *words) -> str:
    """What a command says that ends in 1, all of it one line of error."""
    capsys.readouterr()
    assert run(*words) == 1
    said = capsys.readouterr().err
    assert said.startswith("posthoc-align: error: ")
    assert said.count("\n") == 1
    return said


def test_a_classifier_is_no_aligner(files, tmp_path, capsys):
    model = tmp_path / "head.safetensors"
    X, language = np.concatenate([np.load(path) for path in files]), np.repeat(["en", "de"], 120)
    labels = np.tile(np.where(CONCEPTS[:, 0] > 0, "up", "down"), 2)
    head = AlignedClassifier(aligner=LanguageCentering()).fit(X, labels, language=language)
    save(head, model)
    for words in (
        ["transform", model, *files, "--output", tmp_path / "out"],
        ["evaluate", *files, "--pivot", "en", "--model", model, "--quiet"],
    ):
        said = fails_in_a_line(capsys, *words)
        assert "head.safetensors holds AlignedClassifier, which transforms no rows" in said
        assert "save(load(path).aligner_, other_path)" in said
    assert not (tmp_path / "out").exists()
    own = tmp_path / "own.safetensors"
    save(load(model).aligner_, own)  # as it says
    assert run("transform", own, *files, "--output", tmp_path / "out") == 0


@pytest.mark.parametrize("piped", [False, True])
def test_a_map_is_applied_and_not_evaluated(files, tmp_path, capsys, piped):
    old = np.load(files[0])
    fitted = MigrationMap().fit(old, np.hstack([old, old]))
    model, out = tmp_path / "migration.safetensors", tmp_path / "out"
    save(make_pipeline("passthrough", fitted) if piped else fitted, model)
    assert run("transform", model, files[0], "--output", out) == 0
    np.testing.assert_array_equal(np.load(out / "en.npy"), fitted.transform(old))
    said = fails_in_a_line(capsys, "evaluate", *files, "--pivot", "en", "--model", model, "--quiet")
    assert "migration.safetensors holds MigrationMap, a map between two spaces" in said


def test_an_aligner_of_other_rows_is_not_evaluated(files, tmp_path, capsys):
    wide, model = np.hstack([CONCEPTS, CONCEPTS]), tmp_path / "wide.safetensors"
    evaluate = ["evaluate", *files, "--pivot", "en", "--model", model, "--quiet"]
    save(LanguageCentering(), model)
    assert "is not fitted yet" in fails_in_a_line(capsys, *evaluate)
    save(LanguageCentering().fit(wide, language=["en"] * 60 + ["de"] * 60), model)
    said = fails_in_a_line(capsys, *evaluate)
    assert "wide.safetensors cannot transform these rows: X has 8 features" in said


def test_a_pipeline_in_a_pipeline_is_evaluated_with_the_languages(files, tmp_path, capsys):
    X, language = np.concatenate([np.load(path) for path in files]), np.repeat(["en", "de"], 120)
    nested = make_pipeline(make_pipeline(LanguageCentering()), StandardScaler())
    model = tmp_path / "m.safetensors"
    save(fit_aligner(nested, X, language=language), model)
    assert run("evaluate", *files, "--pivot", "en", "--model", model, "--json") == 0
    before, after = json.loads(capsys.readouterr().out)["rows"]
    assert before["values"]["language_id"] > 0.9
    assert after["values"]["language_id"] < 0.8
