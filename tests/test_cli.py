"""The command line: exit codes, files written, errors a person can act on."""

from __future__ import annotations

import json
import pickle
import shlex
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from posthoc_align.cli import _parsers, main

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
    given = ["report", *files(folder), "--pivot", "en", *layers, "--output", str(page)]
    assert main(given) == 0
    said = capsys.readouterr()
    assert "Of 2 layers, 2 is the one to align" in said.out
    assert f"written to {page}" in said.err
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
    assert "--pivot xx is none of the languages, ['de', 'en', 'fi']" in capsys.readouterr().err


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


COMMANDS = [
    *("demo", "compare", "report", "extract", "fit", "evaluate", "transform", "export"),
    *("inspect", "run"),
]


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_shows_examples_and_exit_codes_in_80_columns(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as stop:
        main([word for word in (command, "--help") if word])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    assert f"\n  posthoc-align {command or 'demo'}" in said.partition("examples:")[2]
    assert "exit codes: 0 done, 1 wrong input, 2 wrong usage, 130 interrupted" in said
    assert max(map(len, said.splitlines())) <= 80
    if command:
        assert all(option in said for option in ("--json", "--quiet", "--verbose"))
        assert "--config" in said or command == "run"
    else:
        assert all(f"\n    {name} " in said for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_examples_of_a_command_are_ones_that_it_takes(command):
    parser = _parsers()[1][command]
    lines = [line.strip() for line in parser.epilog.splitlines()]
    shown = [line for line in lines if line.startswith("posthoc-align ")]
    assert shown
    for line in shown:
        _parsers()[0].parse_args(shlex.split(line)[1:])


def test_help_comes_without_waiting_for_numpy():
    code = (
        "import sys; from posthoc_align.cli import _parser; _parser();"
        "print([name for name in ('numpy', 'sklearn', 'torch') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_the_module_runs_as_the_command():
    run = subprocess.run(
        [sys.executable, "-m", "posthoc_align", "--version"], capture_output=True, text=True
    )
    assert run.returncode == 0
    assert run.stdout.strip() == __import__("posthoc_align").__version__


def report(folder, *more):
    page = folder / "page.html"
    return main(["report", *files(folder), "--pivot", "en", "--output", str(page), *more])


@pytest.mark.slow
def test_a_report_on_rows_that_do_not_correspond_says_so(folder, capsys):
    rng = np.random.default_rng(1)
    for name in ("de", "fi"):
        np.save(folder / f"{name}.npy", rng.permutation(np.load(folder / f"{name}.npy")))
    assert report(folder) == 0
    said = capsys.readouterr()
    assert "No method is surely better than identity" in said.out
    assert "warning: Held-out retrieval is at chance after every alignment" in said.err


def test_a_report_that_cannot_be_drawn_reads_no_file(folder, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(
        "posthoc_align.commands._rows.read_corpus", lambda *_, **__: pytest.fail("was read")
    )
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


# What all commands have in common


def test_an_interrupt_ends_in_130_and_says_how_to_go_on(folder, capsys, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("posthoc_align.commands._rows.read_corpus", stop)
    monkeypatch.setattr("posthoc_align.extract.read_texts", stop)
    assert compare(folder, *files(folder), "--pivot", "en") == 130
    assert capsys.readouterr().err == "posthoc-align: stopped.\n"
    assert main(["extract", "model", "en.txt", "--output", str(folder / "store")]) == 130
    said = capsys.readouterr().err
    assert said == "posthoc-align: stopped. The same command goes on where it stopped.\n"


@pytest.mark.slow
def test_a_real_interrupt_ends_the_process_with_130(tmp_path):
    run = subprocess.Popen(
        [sys.executable, "-m", "posthoc_align", "demo", "--output", str(tmp_path / "out")],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    while not (tmp_path / "out").exists():  # it is at work from then on
        assert run.poll() is None
        time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    _, said = run.communicate()
    assert run.returncode == 130
    assert said.endswith("posthoc-align: stopped.\n")
    assert "Traceback" not in said


def test_quiet_says_nothing_and_verbose_says_how_long_and_where(folder, capsys):
    out = ["--pivot", "en", "--method", "ridge", "--output", str(folder / "m.safetensors")]
    assert main(["fit", *files(folder), *out, "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert main(["fit", *files(folder), *out, "--verbose"]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "fit: 0." in said.err
    assert "(replaced what was there)" in said.err
    lost = ["inspect", str(folder / "lost.safetensors")]
    assert main([*lost, "--verbose"]) == 1
    assert "Traceback" in capsys.readouterr().err
    assert main(lost) == 1
    assert "Traceback" not in capsys.readouterr().err
    assert main([*lost, "--verbose", "--quiet"]) == 1
    assert "--quiet and --verbose came together" in capsys.readouterr().err


def test_a_comparison_says_that_it_replaced_another(folder, capsys, monkeypatch):
    class Result:
        """Writes what a comparison writes, without comparing."""

        warnings = ()

        def to_csv(self, path):
            path.write_text("")

        to_json = to_csv

        def to_html(self, path):
            raise ImportError("no matplotlib here")

        def to_dict(self):
            return {}

    monkeypatch.setattr("posthoc_align.comparison.compare", lambda *_, **__: Result())
    given = ["compare", *files(folder), "--pivot", "en", "--output", str(folder / "out")]
    (folder / "out").mkdir()
    for name in ("note.txt", "space.png"):  # a picture that is not drawn anew is not replaced
        (folder / "out" / name).write_text("")
    for replaced in (False, True):
        assert main(given) == 0
        line = f"written to {folder / 'out'}: comparison.csv, comparison.json, experiment.toml"
        assert line + " (replaced what was there)" * replaced + "\n" in capsys.readouterr().err


def test_json_is_all_there_is_on_standard_output(folder, capsys):
    place = str(folder / "m.safetensors")
    fit = ["fit", *files(folder), "--pivot", "en", "--method", "centring", "--output", place]
    commands = [
        fit,
        ["inspect", place],
        ["transform", place, *files(folder), "--output", str(folder / "out")],
        ["export", place, str(folder / "de.npz"), "--language", "de"],
        ["evaluate", *files(folder), "--pivot", "en", "--model", place],
        ["demo", "--texts", str(folder / "texts")],
    ]
    for command in commands:
        assert main([*command, "--json"]) == 0
        said = json.loads(capsys.readouterr().out)
        assert said["command"] == command[0]
        assert isinstance(said["warnings"], list)
    assert main([*fit[:3], "--json", *fit[4:-1], str(folder)]) == 1
    assert capsys.readouterr().out == ""


def test_a_reader_that_goes_away_is_no_error(folder):
    """As in ``posthoc-align inspect ... | head -0``."""
    place = folder / "m.safetensors"
    fit = ["fit", *files(folder), "--pivot", "en", "--method", "lsar", "--output", str(place)]
    assert main([*fit, "--quiet"]) == 0
    code = (
        "import os, sys; from posthoc_align.cli import main; read, write = os.pipe();"
        f"os.close(read); os.dup2(write, 1); sys.exit(main(['inspect', {str(place)!r}]))"
    )
    run = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    assert run.stderr == ""


def test_half_an_option_is_not_guessed_at(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["compare", "en.npy", "--piv", "en"])
    assert stop.value.code == 2


def test_the_texts_of_the_corpus_correspond_line_by_line(tmp_path, capsys):
    from posthoc_align.datasets import load_parallel_topics
    from posthoc_align.extract import read_texts
    from posthoc_align.store import read_labels

    assert main(["demo", "--texts", str(tmp_path / "texts")]) == 0
    assert "of 1200 lines each" in capsys.readouterr().err
    corpus = load_parallel_topics(languages=["en", "zh"])
    read = read_texts([tmp_path / "texts" / f"{code}.txt" for code in ("en", "zh")])
    assert read.text == corpus.text.tolist()
    topics = read_labels(tmp_path / "texts" / "topics.csv")
    assert topics.tolist() == corpus.topic[:1200].tolist()


@pytest.mark.parametrize("name", ["zh.txt", "topics.csv"])
def test_the_texts_of_the_corpus_never_take_the_place_of_others(tmp_path, capsys, name):
    own = tmp_path / "texts" / name
    own.parent.mkdir()
    own.write_text("Mine.")
    assert main(["demo", "--texts", str(own.parent)]) == 1
    assert f"{own} would be written over: nothing was written" in capsys.readouterr().err
    assert own.read_text() == "Mine."
    assert list(own.parent.iterdir()) == [own]
    own.unlink()
    assert main(["demo", "--texts", str(own.parent), "--quiet"]) == 0
    assert main(["demo", "--texts", str(own.parent)]) == 1
    assert ".txt and 12 more would be written over" in capsys.readouterr().err
