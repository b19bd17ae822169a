"""A whole experiment in a TOML file: what it may say, and that it says all there is to repeat."""

from __future__ import annotations

import html
import json
import tomllib
from pathlib import Path

import numpy as np
import pytest

from posthoc_align import EmbeddingStore, load
from posthoc_align.cli import _parsers, main
from posthoc_align.commands._config import write_settings

N, D = 60, 6


def run(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.fixture
def folder(tmp_path):
    """Three languages in a folder of their own; experiments lie beside it."""
    rng = np.random.default_rng(0)
    concepts = rng.normal(size=(N, D))
    (tmp_path / "emb").mkdir()
    for name in ("en", "de", "fi"):
        rows = concepts + rng.normal(size=D) + 0.1 * rng.normal(size=(N, D))
        np.save(tmp_path / "emb" / f"{name}.npy", rows.astype(np.float32))
    return tmp_path


def write(folder: Path, text: str) -> Path:
    path = folder / "experiment.toml"
    path.write_text(text, encoding="utf-8")
    return path


FIT = """
[fit]
files = ["emb/en.npy", "emb/de.npy", "emb/fi.npy"]
pivot = "en"
method = "ridge"
test-size = 0.25
output = "out/m.safetensors"
"""


def test_paths_count_from_the_file_and_flags_override_it(folder, monkeypatch, capsys):
    path = write(folder, FIT)
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    assert run("fit", "--config", path, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["left_out_rows"] == 3 * 15
    assert type(load(folder / "out" / "m.safetensors")).__name__ == "PivotAligner"
    assert run("fit", f"--config={path}", "--method", "lsar", "--test-size", 0.5, "--json") == 0
    assert json.loads(capsys.readouterr().out)["left_out_rows"] == 3 * 30
    assert type(load(folder / "out" / "m.safetensors")).__name__ == "LSAR"
    here = folder / "elsewhere" / "m.safetensors"
    assert run("fit", "--config", path, "--output", here.name, "--quiet") == 0
    assert here.exists()
    two = [folder / "emb" / f"{name}.npy" for name in ("en", "fi")]
    assert run("fit", *two, "--config", path, "--json") == 0
    assert json.loads(capsys.readouterr().out)["languages"] == ["en", "fi"]


def test_an_experiment_runs_its_tables_in_order(folder, capsys):
    path = write(
        folder,
        FIT
        + """
[evaluate]
files = "emb/*.npy"
pivot = "en"
model = "out/m.safetensors"

[transform]
model = "out/m.safetensors"
files = ["emb/??.npy"]
output = "aligned"

[[export]]
model = "out/m.safetensors"
output = "out/de.npz"
language = "de"

[[export]]
model = "out/m.safetensors"
output = "out/fi.npz"
language = "fi"
""".replace("out/m.safetensors", "out/m.safetensors"),
    )
    path.write_text(path.read_text().replace('"ridge"', '"centring"'))
    assert run("run", path, "--json") == 0
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    names = ["fit", "evaluate", "transform", "export", "export"]
    assert [part["command"] for part in said] == names
    assert said[1]["measured"]["fitted_share"] == 0.0
    for place in ("aligned/fi.npy", "out/de.npz", "out/fi.npz"):
        assert (folder / place).exists()
    assert run("run", path, "--quiet") == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert "was fitted on none of these rows" in said.out


def test_files_that_an_earlier_table_writes_are_found(folder, capsys):
    path = write(
        folder,
        FIT
        + """
[transform]
model = "out/m.safetensors"
files = "emb/*.npy"
output = "aligned"

[evaluate]
files = "aligned/*.npy"
pivot = "en"
""",
    )
    assert run("run", path, "--quiet") == 0
    assert "as they are" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[fit]", "[fitt]", "has an unknown table [fitt]: did you mean 'fit'?"),
        ("pivot =", "pivto =", "[fit] has an unknown key 'pivto': did you mean 'pivot'?"),
        ("test-size", "test_size", "unknown key 'test_size': did you mean 'test-size'?"),
        ("0.25", '"0.25"', "[fit]: test-size is '0.25'; expected a number"),
        ("0.25", "true", "[fit]: test-size is True; expected a number"),
        ('"en"\n', "7\n", "[fit]: pivot is 7; expected text"),
        ('"ridge"', '"rigde"', "[fit]: method is 'rigde'; expected one of ['auto', 'centring'"),
        ('["emb/en.npy"', '[3, "emb/en.npy"', "expected a path, or a list of these"),
        ('"out/m.safetensors"', '["a", "b"]', "output is ['a', 'b']; expected a path"),
        ("0.25", "0.25\nquiet = 1", "[fit]: quiet is 1; expected true or false"),
        ('["emb/en.npy", "emb/de.npy", "emb/fi.npy"]', "[]", "files is an empty list"),
        ('["emb/en.npy", "emb/de.npy", "emb/fi.npy"]', '"emb/*.npz"', "is like 'emb/*.npz'"),
        ("[fit]", "fit = 3\n[evaluate]", "fit is 3; expected a table, [fit]"),
        ("[fit]", "[fit", "is no TOML"),
        ('output = "out/m.safetensors"', "", "[fit] lacks output"),
    ],
)
def test_what_a_file_may_not_say_is_named_with_what_it_may(folder, capsys, old, new, words):
    assert old in FIT
    path = write(folder, FIT.replace(old, new))
    assert run("run", path, "--quiet") == 1
    said = capsys.readouterr().err
    assert words in said
    assert str(path) in said
    assert not (folder / "out").exists()


def test_a_file_that_is_not_there_or_has_no_such_table_is_named(folder, capsys):
    assert run("run", folder / "none.toml") == 1
    assert "none.toml" in capsys.readouterr().err
    assert run("run", write(folder, "")) == 1
    assert "is empty: expected tables such as [fit]" in capsys.readouterr().err
    assert run("run", write(folder, "[run]\nexperiment = 'a.toml'")) == 1
    assert "an experiment cannot run another" in capsys.readouterr().err
    path = write(folder, FIT)
    assert run("evaluate", "--config", path) == 1
    assert "has 0 tables [evaluate]; expected one" in capsys.readouterr().err
    path = write(folder, FIT + "[[export]]\nlanguage = 'de'\n[[export]]\nlanguage = 'fi'\n")
    assert run("export", "--config", path) == 1
    assert f"All that it has are run by posthoc-align run {path}" in capsys.readouterr().err


@pytest.mark.parametrize("how", ["config", "run"])
def test_verbose_in_a_file_shows_where_an_error_arose(folder, capsys, how):
    words = {"config": ["inspect", "--config"], "run": ["run"]}[how]
    for said in ("true", "false"):
        path = write(folder, f"[inspect]\npath = 'lost.safetensors'\nverbose = {said}\n")
        assert run(*words, path) == 1
        assert ("Traceback" in capsys.readouterr().err) == (said == "true")
    assert run(*words, path, "--verbose") == 1
    assert "Traceback" in capsys.readouterr().err


def no_path_between_drives(*_):
    """As on Windows from D: to C:."""
    raise ValueError("path is on mount 'C:', start on mount 'D:'")


def test_a_path_to_another_drive_is_written_whole(folder, monkeypatch):
    monkeypatch.chdir(folder)
    given = ["compare", "emb/en.npy", "emb/de.npy", "--pivot", "en", "--output", "out"]
    arguments = _parsers()[0].parse_args(given)
    monkeypatch.setattr("os.path.relpath", no_path_between_drives)
    table = tomllib.loads(write_settings("compare", arguments, folder / "out"))["compare"]
    whole = [(folder / "emb" / name).resolve().as_posix() for name in ("en.npy", "de.npy")]
    assert table["files"] == whole
    assert table["output"] == (folder / "out").resolve().as_posix()


@pytest.mark.parametrize(
    ("command", "work"),
    [("compare", "comparison.compare"), ("report", "report.Report.of")],
)
def test_the_file_that_repeats_it_is_made_before_the_long_work(
    folder, capsys, monkeypatch, command, work
):
    def fails(*_):
        raise ValueError("cannot be written down")

    monkeypatch.setattr("posthoc_align.commands._config.write_settings", fails)
    monkeypatch.setattr(f"posthoc_align.{work}", lambda *_, **__: pytest.fail("was done"))
    files = [folder / "emb" / f"{name}.npy" for name in ("en", "de")]
    assert run(command, *files, "--pivot", "en", "--output", folder / "out.html") == 1
    assert "cannot be written down" in capsys.readouterr().err


def test_every_option_of_every_command_can_stand_in_a_file():
    """Each kind of option has a kind of value."""
    from posthoc_align.commands._config import _KINDS

    for command, parser in _parsers()[1].items():
        for name, action in parser.settings.items():
            assert action.nargs == 0 or action.type in _KINDS, (command, name)


def test_an_option_may_be_missing_only_if_the_command_line_may_lack_it(folder, capsys):
    path = write(folder, FIT.replace('pivot = "en"\n', ""))
    with pytest.raises(SystemExit) as stop:
        run("fit", "--config", path)
    assert stop.value.code == 2
    assert "--pivot" in capsys.readouterr().err


@pytest.mark.slow
def test_a_comparison_leaves_the_file_that_repeats_it(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    given = ["emb/en.npy", "emb/de.npy", "--pivot", "en", "--seed", 3, "--output", "runs/one"]
    assert run("compare", *given, "--quiet") == 0
    first = json.loads((folder / "runs/one/comparison.json").read_text())
    again = folder / "runs/one/experiment.toml"
    table = tomllib.loads(again.read_text())["compare"]
    assert table["files"] == ["../../emb/en.npy", "../../emb/de.npy"]
    (folder / "runs/one/comparison.json").unlink()
    monkeypatch.chdir(folder / "runs")
    assert run("run", again, "--quiet") == 0
    second = json.loads((folder / "runs/one/comparison.json").read_text())
    assert [row["values"] for row in second["rows"]] == [row["values"] for row in first["rows"]]


@pytest.mark.slow
def test_a_page_holds_the_file_that_repeats_it(folder, capsys):
    """Given by a configuration and by flags, from a store, with layers: all of it is there."""
    with EmbeddingStore.create(folder / "store", n_features=D, layers=[0, 4]) as store:
        for path in sorted((folder / "emb").iterdir()):
            X = np.load(path)
            store.append({0: X, 4: X[::-1].copy()}, language=path.stem, pair_id=range(N))
    path = write(folder, "[report]\nfiles = 'store'\npivot = 'en'\nlayer = 0\nlayers = [0, 4]\n")
    page = folder / "pages" / "page.html"
    assert run("report", "--config", path, "--seed", 3, "--output", page, "--quiet") == 0
    capsys.readouterr()
    text = html.unescape(page.read_text())
    block = text[text.index("[report]") :].partition("</pre>")[0]
    found = tomllib.loads(block)["report"]
    assert found == {
        "files": ["../store"],
        "pivot": "en",
        "layer": 0,
        "layers": ["0", "4"],
        "test-size": 0.25,
        "seed": 3,
        "output": "page.html",
    }
    repeated = folder / "pages" / "experiment.toml"
    repeated.write_text(block)
    before = text[text.index("<table") :].partition("</table>")[0]
    page.unlink()
    assert run("run", repeated, "--quiet") == 0
    again = html.unescape(page.read_text())
    assert before.count("<td") == again[again.index("<table") :].partition("</table>")[0].count(
        "<td"
    )
