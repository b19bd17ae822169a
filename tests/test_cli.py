"""The command line: exit codes, files written, errors a person can act on."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest

from posthoc_align.cli import main

N, D = 60, 6


@pytest.fixture
def folder(tmp_path):
    """Three languages, one file each, rows corresponding, and labels one a pair."""
    rng = np.random.default_rng(0)
    concepts = rng.normal(size=(N, D))
    for name in ("en", "de", "fi"):
        rows = concepts + rng.normal(size=D) + 0.1 * rng.normal(size=(N, D))
        np.save(tmp_path / f"{name}.npy", rows.astype(np.float32))
    np.save(tmp_path / "topics.npy", (concepts[:, 0] > 0).astype(int))
    return tmp_path


def files(folder):
    return [str(folder / f"{name}.npy") for name in ("en", "de", "fi")]


def compare(folder, *more):
    return main(["compare", *more, "--quiet", "--output", str(folder / "out")])


@pytest.mark.slow
def test_files_one_a_language_give_a_table_and_the_files(folder, capsys):
    labels = ["--labels", str(folder / "topics.npy")]
    assert compare(folder, *files(folder), "--pivot", "en", *labels) == 0
    printed = capsys.readouterr().out
    assert "ridge to identity" in printed
    assert "transport" in printed
    kept = json.loads((folder / "out" / "comparison.json").read_text())
    assert kept["languages"] == ["de", "en", "fi"]
    assert "head_others" in kept["rows"][0]["values"]
    for name in ("comparison.csv", "comparison.html", "space.png"):
        assert (folder / "out" / name).stat().st_size > 0


@pytest.mark.slow
def test_one_file_and_a_table_give_the_same_as_one_file_a_language(folder, capsys):
    assert compare(folder, *files(folder), "--pivot", "en") == 0
    apart = json.loads((folder / "out" / "comparison.json").read_text())
    np.save(folder / "all.npy", np.vstack([np.load(path) for path in files(folder)]))
    lines = [f"{name},{i}" for name in ("en", "de", "fi") for i in range(N)]
    (folder / "rows.csv").write_text("language,pair_id\n" + "\n".join(lines) + "\n")
    table = ["--table", str(folder / "rows.csv")]
    assert compare(folder, str(folder / "all.npy"), *table, "--pivot", "en") == 0
    together = json.loads((folder / "out" / "comparison.json").read_text())
    for a, b in zip(apart["rows"], together["rows"], strict=True):
        assert a["values"] == pytest.approx(b["values"], abs=1e-6)


@pytest.mark.slow
def test_a_report_is_one_page_that_says_how_to_repeat_it(folder, capsys):
    """The layers are two folders: noise, and the rows themselves."""
    rng = np.random.default_rng(1)
    for layer in ("1", "2"):
        (folder / layer).mkdir()
        for path in files(folder):
            X = np.load(path)
            noise = X if layer == "2" else rng.normal(size=X.shape)
            np.save(folder / layer / path.split("/")[-1], noise)
    page = folder / "pages" / "report.html"
    layers = ["--layers", str(folder / "1"), str(folder / "2")]
    given = ["report", *files(folder), "--pivot", "en", *layers, "--output", str(page), "--quiet"]
    assert main(given) == 0
    printed = capsys.readouterr().out
    assert "Of 2 layers, 2 is the one to align" in printed
    assert f"written to {page}" in printed
    text = page.read_text()
    assert "posthoc-align report " in text
    assert text.count("<img") == 7
    assert [path.name for path in page.parent.iterdir()] == ["report.html"]


def test_a_layer_without_a_file_is_named_before_anything_is_compared(folder, capsys, monkeypatch):
    monkeypatch.setattr("posthoc_align.report.whole.compare", lambda *_, **__: pytest.fail("ran"))
    layers = ["--layers", str(folder / "none")]
    assert main(["report", *files(folder), "--pivot", "en", "--quiet", *layers]) == 1
    assert str(folder / "none" / "en.npy") in capsys.readouterr().err


def test_a_missing_file_is_named(folder, capsys):
    assert compare(folder, str(folder / "xx.npy"), files(folder)[0], "--pivot", "en") == 1
    assert "xx.npy" in capsys.readouterr().err


def test_an_unknown_pivot_lists_the_languages(folder, capsys):
    assert compare(folder, *files(folder), "--pivot", "xx") == 1
    assert "pivot='xx' is not among the languages ['de', 'en', 'fi']" in capsys.readouterr().err


def test_a_pickle_in_an_npy_is_refused_and_not_run(folder, capsys):
    class Touch:
        def __reduce__(self):
            return (open, (str(folder / "touched"), "w"))

    np.save(folder / "evil.npy", np.array([Touch()], dtype=object), allow_pickle=True)
    with open(folder / "worse.npy", "wb") as file:
        pickle.dump(Touch(), file)
    for name in ("evil.npy", "worse.npy"):
        assert compare(folder, str(folder / name), files(folder)[0], "--pivot", "en") == 1
        assert name in capsys.readouterr().err
    assert not (folder / "touched").exists()


def test_wrong_usage_exits_with_two(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["compare", "en.npy"])
    assert stop.value.code == 2
    assert "--pivot" in capsys.readouterr().err


def test_help_shows_examples_for_every_command(capsys):
    for argv in (["--help"], ["compare", "--help"], ["report", "--help"]):
        with pytest.raises(SystemExit) as stop:
            main(argv)
        assert stop.value.code == 0
        assert "posthoc-align compare emb/" in capsys.readouterr().out


def test_the_module_runs_as_the_command():
    run = subprocess.run(
        [sys.executable, "-m", "posthoc_align", "--version"], capture_output=True, text=True
    )
    assert run.returncode == 0
    assert run.stdout.strip() == __import__("posthoc_align").__version__


def report(folder, *more):
    page = folder / "page.html"
    return main(
        ["report", *files(folder), "--pivot", "en", "--quiet", "--output", str(page), *more]
    )


@pytest.mark.slow
def test_a_report_on_rows_that_do_not_correspond_says_so(folder, capsys):
    rng = np.random.default_rng(1)
    for name in ("de", "fi"):
        np.save(folder / f"{name}.npy", rng.permutation(np.load(folder / f"{name}.npy")))
    assert report(folder) == 0
    printed = capsys.readouterr().out
    assert "No method is surely better than identity" in printed
    assert (
        "warning: Held-out retrieval is at chance after every alignment in ['de', 'fi']" in printed
    )


def test_a_report_that_cannot_be_drawn_reads_no_file(folder, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr("posthoc_align.store.read_corpus", lambda *_, **__: pytest.fail("was read"))
    assert report(folder) == 1
    assert "needs Matplotlib: pip install" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("value", "words"),
    [(np.nan, "holds NaN or infinity in row 3"), (0.0, "holds zeros alone in row 3")],
)
def test_a_bad_row_is_named_with_its_file(folder, capsys, value, words):
    X = np.load(folder / "fi.npy")
    X[3] = value
    np.save(folder / "fi.npy", X)
    assert compare(folder, *files(folder), "--pivot", "en") == 1
    assert f"fi.npy {words}, counted from 0" in capsys.readouterr().err


def test_advice_names_the_option_of_the_command(folder, capsys):
    assert compare(folder, files(folder)[0], "--pivot", "en") == 1
    assert "of the command --table" in capsys.readouterr().err


def test_labels_that_are_numbers_are_refused_by_name(folder, capsys):
    np.save(folder / "topics.npy", np.linspace(0, 1, N))
    labels = ["--labels", str(folder / "topics.npy")]
    assert compare(folder, *files(folder), "--pivot", "en", *labels) == 1
    assert "label holds ['float']" in capsys.readouterr().err


def test_extract_shows_examples_and_names_what_is_missing(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        main(["extract", "--help"])
    assert end.value.code == 0
    assert "posthoc-align extract path/to/model" in capsys.readouterr().out
    nowhere = tmp_path / "nowhere.txt"
    assert main(["extract", "model", str(nowhere), "--output", str(tmp_path / "store")]) == 1
    assert "nowhere.txt" in capsys.readouterr().err
