"""Wrong input, each through the command: what came is named, and the exit code is 1."""

from __future__ import annotations

import numpy as np
import pytest

from posthoc_align import EmbeddingStore
from posthoc_align.cli import main

N, D = 40, 5
RNG = np.random.default_rng(0)


def run(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.fixture
def folder(tmp_path):
    """Three languages, one file each, rows corresponding; an aligner of two of them."""
    concepts = RNG.normal(size=(N, D))
    for name in ("en", "de", "fi"):
        np.save(tmp_path / f"{name}.npy", (concepts + RNG.normal(size=D)).astype(np.float32))
    return tmp_path


def files(folder):
    return [folder / f"{name}.npy" for name in ("en", "de", "fi")]


def compare(folder, *given):
    return run("compare", *given, "--quiet", "--output", folder / "out")


@pytest.fixture
def store(folder):
    """The same rows as a store of three shards and two layers."""
    layers = {"n_features": D, "layers": [1, 2]}
    with EmbeddingStore.create(folder / "store", **layers) as made:
        for path in files(folder):
            X = np.load(path)
            made.append({1: X, 2: 2 * X}, language=path.stem, pair_id=range(N))
    return folder / "store"


# Wrong input, each through the command


def test_texts_of_different_length_are_named_with_their_counts(tmp_path, capsys):
    (tmp_path / "en.txt").write_text("One.\nTwo.\n")
    (tmp_path / "de.txt").write_text("Eins.\n")
    texts = [str(tmp_path / "en.txt"), str(tmp_path / "de.txt")]
    assert main(["extract", "model", *texts, "--output", str(tmp_path / "store")]) == 1
    said = capsys.readouterr().err
    assert "en.txt has 2" in said
    assert "de.txt has 1" in said
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("Größe\n".encode("latin-1"), "not UTF-8 text"),
        (b"One.\n\nThree.\n", "has no text in row 1"),
        (b"", "is empty"),
    ],
)
def test_a_text_file_that_cannot_be_embedded_is_named(tmp_path, capsys, content, words):
    (tmp_path / "en.txt").write_bytes(content)
    given = ["extract", "model", str(tmp_path / "en.txt"), "--output", str(tmp_path / "store")]
    assert main(given) == 1
    said = capsys.readouterr().err
    assert "en.txt" in said
    assert words in said


def test_a_missing_text_file_is_named(tmp_path, capsys):
    nowhere = tmp_path / "nowhere.txt"
    assert main(["extract", "model", str(nowhere), "--output", str(tmp_path / "store")]) == 1
    assert "nowhere.txt" in capsys.readouterr().err


def test_layers_that_are_no_numbers_are_wrong_usage(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["extract", "model", "en.txt", "--output", "store", "--layers", "last"])
    assert stop.value.code == 2
    assert "argument --layers: invalid" in capsys.readouterr().err


@pytest.mark.parametrize("ending", [".npy", ".safetensors"])
def test_a_truncated_file_is_named(folder, capsys, ending):
    from safetensors.numpy import save_file

    names = [folder / f"{name}{ending}" for name in ("en", "de")]
    for path in names:
        X = np.load(folder / f"{path.stem}.npy")
        if ending == ".safetensors":
            save_file({"embeddings": X}, path)
    names[1].write_bytes(names[1].read_bytes()[:-100])
    assert compare(folder, *map(str, names), "--pivot", "en") == 1
    said = capsys.readouterr().err
    assert str(names[1]) in said
    assert "Copy or write it again" in said


def test_a_folder_that_cannot_be_written_is_named_before_any_row_is_read(
    folder, capsys, monkeypatch
):
    monkeypatch.setattr(
        "posthoc_align.commands._rows.read_corpus", lambda *_, **__: pytest.fail("was read")
    )
    (folder / "file").write_text("")
    under = str(folder / "file" / "out")
    assert run("compare", *files(folder), "--pivot", "en", "--output", under) == 1
    assert f"The folder {under} cannot be made (Not a directory)" in capsys.readouterr().err
    monkeypatch.setattr("os.access", lambda *_: False)  # as for a user who may not write there
    for command, name in (("fit", "m.safetensors"), ("report", "page.html"), ("compare", "out")):
        place = ["--output", str(folder / "locked" / name)]
        assert run(command, *files(folder), "--pivot", "en", *place) == 1
        assert "is read-only: choose another --output" in capsys.readouterr().err


def test_a_damaged_store_is_refused_and_not_read_in_part(folder, store, capsys):
    shard = sorted(store.glob("*.safetensors"))[1]
    shard.write_bytes(shard.read_bytes()[:-10])
    given = ["--pivot", "en", "--layer", 1, "--output", folder / "m.safetensors"]
    assert run("fit", store, *given) == 1
    said = capsys.readouterr().err
    assert f"The store {store} is damaged: {shard.name}" in said
    assert "Copy it again, or delete the folder and extract again" in said
    assert run("inspect", store) == 1
    assert "is damaged" in capsys.readouterr().err


def test_a_store_wants_one_of_its_layers(folder, store, capsys):
    given = ["--pivot", "en", "--output", folder / "m.safetensors"]
    assert run("fit", store, *given) == 1
    assert "has the layers [1, 2]: name one" in capsys.readouterr().err
    assert run("fit", store, *given, "--layer", 7) == 1
    assert "layer=7 is not in the store" in capsys.readouterr().err
    assert run("fit", *files(folder), *given, "--layer", 1) == 1
    assert "en.npy is no store: files have one layer each" in capsys.readouterr().err
    assert run("fit", store, files(folder)[0], *given, "--layer", 1) == 1
    assert "is a store and came with 1 more" in capsys.readouterr().err
    page = ["--output", folder / "page.html"]
    assert run("report", store, "--pivot", "en", "--layer", 1, "--layers", 1, 9, *page) == 1
    assert "has the layers ['1', '2']" in capsys.readouterr().err


def test_a_store_without_languages_asks_for_a_table(folder, capsys):
    with EmbeddingStore.create(folder / "bare", n_features=D) as made:
        made.append(np.load(folder / "en.npy"))
    given = ["--pivot", "en", "--output", folder / "m.safetensors"]
    assert run("fit", folder / "bare", *given) == 1
    assert "does not know the language of its rows: pass a table" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["fit", "evaluate", "compare", "report"])
def test_a_wrong_pivot_lists_the_languages(folder, store, capsys, command):
    out = {
        "fit": ["--output", folder / "m.safetensors"],
        "evaluate": [],
        "compare": ["--output", folder / "out"],
        "report": ["--output", folder / "page.html"],
    }[command]
    assert run(command, *files(folder), "--pivot", "xx", *out) == 1
    words = "--pivot xx is none of the languages, ['de', 'en', 'fi']: name one of them"
    assert words in capsys.readouterr().err
    assert run(command, store, "--layer", 1, "--pivot", "xx", *out) == 1
    assert words in capsys.readouterr().err


@pytest.fixture
def model(folder):
    place = folder / "m.safetensors"
    given = ["--pivot", "en", "--method", "centring", "--quiet", "--output", place]
    assert run("fit", *files(folder)[:2], *given) == 0
    return place


def test_a_language_that_was_not_fitted_is_named(folder, model, store, capsys):
    assert run("transform", model, folder / "fi.npy", "--output", folder / "out") == 1
    assert "fi.npy: Unseen language ['fi']" in capsys.readouterr().err
    assert run("transform", model, store, "--layer", 1, "--output", folder / "out") == 1
    assert "Unseen language ['fi']" in capsys.readouterr().err
    assert run("evaluate", *files(folder), "--pivot", "en", "--model", model) == 1
    said = capsys.readouterr().err
    assert f"{model} cannot transform these rows: Unseen language ['fi']" in said


def test_rows_of_another_width_are_named(folder, model, capsys):
    np.save(folder / "en.npy", RNG.normal(size=(N, D + 1)))
    assert run("transform", model, folder / "en.npy", "--output", folder / "out") == 1
    said = capsys.readouterr().err
    assert "en.npy: X has 6 features" in said
    assert "expecting 5" in said


def test_an_output_is_never_something_that_is_read(folder, model, store, capsys):
    assert run("transform", model, folder / "en.npy", "--output", folder) == 1
    assert f"{folder / 'en.npy'} would overwrite what is read" in capsys.readouterr().err
    assert run("transform", model, store, "--layer", 1, "--output", store) == 1
    assert "would overwrite what is read" in capsys.readouterr().err
    assert run("fit", *files(folder), "--pivot", "en", "--output", folder / "en.npy") == 1
    assert "a model is written to a .safetensors file" in capsys.readouterr().err
    onto = folder / "en.safetensors"
    onto.write_bytes(b"")
    given = [onto, files(folder)[1], "--pivot", "en", "--output", onto]
    assert run("fit", *given) == 1
    assert "would overwrite what is read" in capsys.readouterr().err
    (folder / "sub").mkdir()
    np.save(folder / "sub" / "en.npy", np.load(folder / "en.npy"))
    both = [folder / "en.npy", folder / "sub" / "en.npy"]
    assert run("transform", model, *both, "--output", folder / "out") == 1
    assert "More than one file is named ['en']" in capsys.readouterr().err


def test_an_output_that_is_there_is_replaced_and_that_is_said(folder, model, capsys):
    before = model.read_bytes()
    given = ["--pivot", "en", "--method", "lsar", "--output", model]
    assert run("fit", *files(folder), *given) == 0
    assert f"written to {model} (replaced what was there)" in capsys.readouterr().err
    assert model.read_bytes() != before
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_a_folder_with_something_in_it_is_not_filled_by_an_export(folder, model, capsys):
    given = ["--encoder", "anything", "--language", "de"]
    assert run("export", model, folder, *given) == 1
    assert "is there already and not empty" in capsys.readouterr().err
    assert run("export", model, folder / "de.onnx", *given) == 1
    assert "with it the output is a folder" in capsys.readouterr().err


def test_options_that_do_not_go_together_are_named(folder, model, store, capsys):
    out = ["--output", folder / "new.safetensors"]
    split = "language,pair_id,split\n" + "".join(
        f"{name},{i},{'test' if i < 9 else 'train'}\n" for name in ("en", "de") for i in range(N)
    )
    (folder / "rows.csv").write_text(split)
    np.save(folder / "all.npy", np.concatenate([np.load(path) for path in files(folder)[:2]]))
    given = ["fit", folder / "all.npy", "--table", folder / "rows.csv", "--pivot", "en", *out]
    assert run(*given, "--test-size", 0.2) == 1
    assert "has the column split: the column says which" in capsys.readouterr().err
    assert run(*given, "--method", "lsar", "--objective", "transfer") == 1
    assert "--objective is what auto chooses for" in capsys.readouterr().err
    aligned = ["--output", folder / "aligned"]
    assert run("transform", model, *files(folder)[:2], "--layer", 1, *aligned) == 1
    assert "--layer is of a store" in capsys.readouterr().err
    assert run("transform", model, store, "--table", folder / "rows.csv", *aligned) == 1
    assert "leave out --table" in capsys.readouterr().err
    assert run("transform", model, store, files(folder)[0], *aligned) == 1
    assert "A store is transformed alone" in capsys.readouterr().err
    assert run("transform", model, store, *aligned) == 1
    assert "has the layers [1, 2]: name one by --layer" in capsys.readouterr().err


def test_a_single_name_that_is_not_there_is_said_to_be_missing(tmp_path, capsys):
    assert main(["evaluate", str(tmp_path / "nothing_here"), "--pivot", "en"]) == 1
    assert "There is no file" in capsys.readouterr().err
