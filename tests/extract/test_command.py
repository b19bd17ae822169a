"""``posthoc-align extract``: from files of texts to a store, by the command."""

import numpy as np
import pytest

from posthoc_align.cli import main
from posthoc_align.embedding_store import EmbeddingStore

pytestmark = pytest.mark.extract


def test_the_command_goes_from_files_to_a_store(models, sentences, tmp_path):
    for code in ("en", "de"):
        (tmp_path / f"{code}.txt").write_text("\n".join(sentences), encoding="utf-8")
    given = ["extract", models("bert"), tmp_path / "en.txt", tmp_path / "de.txt"]
    given += ["--output", tmp_path / "s", "--layers", "0", "-1", "--dtype", "float16"]
    main([*map(str, given), "--device", "cpu", "--quiet"])
    store = EmbeddingStore(tmp_path / "s")
    assert store.language.tolist() == ["en"] * 7 + ["de"] * 7
    assert store.pair_id.tolist() == [*range(7)] * 2
    assert (store.layers, store.dtype) == ((0, 3), "float16")


def test_the_command_takes_words_and_links_between_them(models, tmp_path):
    (tmp_path / "en.txt").write_text("a black cat\nrain\n", encoding="utf-8")
    (tmp_path / "de.txt").write_text("eine Katze\nRegen\n", encoding="utf-8")
    (tmp_path / "links").write_text("0-0 2-1\n0-0\n", encoding="utf-8")
    given = ["extract", models("bert"), tmp_path / "en.txt", tmp_path / "de.txt", "--quiet"]
    given = [*map(str, given), "--device", "cpu"]
    assert main([*given, "--output", str(tmp_path / "words"), "--words"]) == 0
    words = EmbeddingStore(tmp_path / "words")
    assert words.language.tolist() == ["en"] * 4 + ["de"] * 3
    pairs = ["--output", str(tmp_path / "pairs"), "--alignment", str(tmp_path / "links")]
    assert main([*given, *pairs]) == 0
    linked = EmbeddingStore(tmp_path / "pairs")
    assert sorted(linked.pair_id.tolist()) == [0, 0, 1, 1, 2, 2]
    found = {
        name: linked.to_array()[linked.language == name][
            np.argsort(linked.pair_id[linked.language == name])
        ]
        for name in ("en", "de")
    }
    whole = words.to_array()
    np.testing.assert_allclose(found["en"], whole[[0, 2, 3]], atol=1e-6)
    np.testing.assert_allclose(found["de"], whole[[4, 5, 6]], atol=1e-6)


def link_table(folder, ids):
    """A table of three sentences in English and the same in German, with pair ids, and links."""
    en, de = ["a black cat", "rain", "a dog"], ["eine Katze", "Regen", "Hund"]
    rows = [f"{en[int(i)] if i else 'some rain'}\ten\t{i}" for i in ids["en"]]
    rows += [f"{de[int(i)] if i else 'etwas Regen'}\tde\t{i}" for i in ids["de"]]
    table = folder / "texts.tsv"
    table.write_text("text\tlanguage\tpair_id\n" + "\n".join(rows) + "\n", encoding="utf-8")
    (folder / "links").write_text("0-0\n0-0\n0-0\n", encoding="utf-8")
    return [str(table), "--alignment", str(folder / "links"), "--output", str(folder / "s")]


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        ({"en": "012", "de": "021"}, "row 1 of 'en' has the pair_id 1, row 1 of 'de' has the pair"),
        ({"en": "201", "de": "012"}, "Line 0 (from 0) of"),
        ({"en": ["0", "", "2"], "de": ["0", "1", "2"]}, "row 1 of 'en' has no pair_id, row 1 of"),
    ],
)
def test_links_do_not_join_sentences_of_different_pairs(tmp_path, capsys, ids, words):
    given = link_table(tmp_path, ids)
    assert main(["extract", "no/model", *given, "--quiet"]) == 1  # before a model is looked for
    said = capsys.readouterr().err
    assert words in said
    assert "links would join sentences of different pairs" in said
    assert "Sort the rows of both languages by pair_id" in said
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    "ids", [{"en": "120", "de": "120"}, {"en": "012", "de": ["", "", ""]}], ids=["same", "none"]
)
def test_links_join_sentences_of_equal_pairs_or_by_order_alone(models, tmp_path, ids):
    given = [*link_table(tmp_path, ids), "--device", "cpu", "--quiet"]
    assert main(["extract", str(models("bert")), *given]) == 0
    assert len(EmbeddingStore(tmp_path / "s")) == 6


def test_words_without_links_say_that_pair_ids_are_left_out(models, tmp_path, capsys):
    (tmp_path / "en.txt").write_text("a black cat\nrain\n", encoding="utf-8")
    (tmp_path / "bare.tsv").write_text("text\nrain\n", encoding="utf-8")
    for name, said in (("en.txt", True), ("bare.tsv", False)):
        given = ["extract", str(models("bert")), str(tmp_path / name), "--device", "cpu"]
        assert main([*given, "--output", str(tmp_path / f"{name}-words"), "--words"]) == 0
        note = capsys.readouterr().err
        assert ("the pair ids of the texts are left out" in note) == said
        assert ("posthoc_align.extract.words_of(texts)" in note) == said
    with pytest.raises(SystemExit):
        main(["extract", "--help"])
    assert "posthoc_align.extract.words_of(texts)" in capsys.readouterr().out
