"""Files of texts, vectors, dictionaries and alignments: what comes back, and what is refused."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.utils import Bunch

from posthoc_align.extract import (
    dictionary_rows,
    read_alignment,
    read_dictionary,
    read_texts,
    read_vectors,
    word_pairs,
)

FUZZ = settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # the same folder serves all
)
RNG = np.random.default_rng(0)
TEXTS = ["Snow\u2028fell.", "  Rain, 日本. ", 'A "dog', "x" * 100_000]


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# Texts


def test_a_text_is_a_line_and_its_number_the_pair_id(tmp_path):
    write(tmp_path / "en.txt", "\n".join(TEXTS) + "\n")
    write(tmp_path / "de.txt", "\ufeff" + "\r\n".join(TEXTS))
    corpus = read_texts([tmp_path / "en.txt", tmp_path / "de.txt"])
    assert corpus.text == TEXTS * 2
    assert corpus.language.tolist() == ["en"] * 4 + ["de"] * 4
    assert corpus.pair_id.tolist() == [0, 1, 2, 3] * 2


@pytest.mark.parametrize("kind", [".tsv", ".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("ids", [[0, 1, -1, 0], ["a", "b", "", "a"], None])
def test_a_table_brings_languages_and_ids(tmp_path, kind, ids):
    texts, language = ["Snow.", "Rain.", "Dog.", "Schnee."], ["en", "en", "en", "de"]
    columns = {"text": texts, "language": language} | ({} if ids is None else {"pair_id": ids})
    path = tmp_path / f"all{kind}"
    if kind == ".parquet":
        arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
        from pyarrow import parquet

        parquet.write_table(arrow.table(columns), path)
    elif kind == ".jsonl":
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        write(path, "\n".join(map(json.dumps, rows)))
    else:
        mark = {".tsv": "\t", ".csv": ","}[kind]
        rows = [list(columns), *zip(*columns.values(), strict=True)]
        write(path, "\n".join(mark.join(map(str, row)) for row in rows))
    corpus = read_texts(path)
    assert corpus.text == texts
    assert corpus.language.tolist() == language
    assert corpus.pair_id.tolist() == ([-1] * 4 if ids is None else ids)


@pytest.mark.parametrize("kind", [".txt", ".tsv", ".csv", ".jsonl", ".parquet"])
def test_lines_of_100000_characters_are_read_whole(tmp_path, kind):
    text = 'Ünï "x" ' * 12_500
    path = tmp_path / f"en{kind}"
    if kind == ".parquet":
        arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
        from pyarrow import parquet

        parquet.write_table(arrow.table({"text": [text]}), path)
    elif kind == ".csv":
        write(path, 'text\n"' + text.replace('"', '""') + '"\n')
    else:
        head = {".txt": "", ".tsv": "text\n", ".jsonl": ""}[kind]
        write(path, head + (json.dumps({"text": text}) if kind == ".jsonl" else text))
    found = read_texts(path)
    assert found.text[0].strip() == text.strip()
    assert len(text) == 100_000
    write(tmp_path / "long.tsv", "text\n" + "x" * 1_000_000)  # csv's own reader would refuse it
    assert len(read_texts(tmp_path / "long.tsv").text[0]) == 1_000_000


@pytest.mark.parametrize("read", [read_texts, read_dictionary, read_alignment])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a b\nc caf\xe9 d\n".encode("latin-1"), "line 2 has the byte 0xe9 as its byte 6 .*iconv"),
        (b"\xff\xfea\x00", "line 1 has the byte 0xff as its byte 1 .*begins like UTF-16. Save"),
        (b"\xef\xbb\xbfa b\n\xffc", "line 2 has the byte 0xff as its byte 1 "),
        (b"a b\nb \xe6\x97", "line 2 has the byte 0xe6 as its byte 3 .unexpected end of data"),
    ],
)
def test_another_encoding_is_said_with_file_line_and_byte(tmp_path, read, content, message):
    with pytest.raises(ValueError, match=rf"x\.txt is not UTF-8 text: {message}"):
        read(write(tmp_path / "x.txt", content))


def test_the_language_given_wins_over_the_file(tmp_path):
    write(tmp_path / "a.jsonl", '{"text": "x", "language": "en"}')
    write(tmp_path / "b.txt", "x")
    paths = [tmp_path / "a.jsonl", tmp_path / "b.txt"]
    assert read_texts(paths).language.tolist() == ["en", "b"]
    assert read_texts(paths, language=["fr", "sw"]).language.tolist() == ["fr", "sw"]
    assert read_texts(paths[1], language="sw").language.tolist() == ["sw"]
    with pytest.raises(ValueError, match="1 languages came with 2 files"):
        read_texts(paths, language=["fr"])


def test_ids_of_both_kinds_become_text(tmp_path):
    write(tmp_path / "en.tsv", "text\tlanguage\tpair_id\nSnow.\ten\ta\nRain.\ten\t\n")
    write(tmp_path / "de.txt", "Schnee.")
    corpus = read_texts([tmp_path / "en.tsv", tmp_path / "de.txt"])
    assert corpus.pair_id.tolist() == ["a", "", "0"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "", "is empty: expected texts"),
        ("a.txt", "x\n\ny\n", r"no text in row 1 \(from 0; 1 such rows\)"),
        ("a.txt", "x\n  \ny", "an empty text has no embedding"),
        ("a.txt", "caf\xe9".encode("latin-1"), "is not UTF-8 text.*Save it as UTF-8"),
        ("a.tsv", "language\tpair_id\nen\t0\n", "lacks 'text': expected text and"),
        ("a.tsv", "text\tlanguage\nSnow\n", "1 cells in data row 1 and 2 in its header"),
        ("a.tsv", "text\tlanguage\nSnow.\t\n", "no language in row 0"),
        ("a.tsv", "text\tpair_id\nx\t1\ny\t1\n", "a.tsv: Duplicate .language, pair_id."),
        ("a.txt", "\ufeff", "has no rows: expected texts"),
        ("a.jsonl", "\n\n", "lacks 'text'"),
        ("a.jsonl", '{"text": "x", "pair_id": 99999999999999999999}', "more than 64 bits: pass"),
        ("a.jsonl", '{"text": "x"}\n{"text": "y', "no JSON in line 2.*Was the file cut off"),
        ("a.jsonl", "[1]", "has a list in line 1: expected an object"),
        ("a.jsonl", '{"text": 3}', "no text in row 0"),
        ("a.jsonl", '{"text": "x"}\n{}', "no text in row 1"),
        ("a.jsonl", '{"language": "en"}', "lacks 'text'"),
        ("a.jsonl", '{"text": "x", "language": 3}', "no language in row 0"),
        ("a.jsonl", '{"text": "x", "pair_id": [1]}', "a.jsonl: pair_id"),
        ("a.jsonl", "[" * 100_000, "no JSON in line 1"),
        ("a.pdf", "x", "has the extension '.pdf'; texts are read from .txt, .tsv"),
    ],
)
def test_wrong_files_of_texts_are_refused(tmp_path, name, content, message):
    with pytest.raises(ValueError, match=message):
        read_texts(write(tmp_path / name, content))


def test_a_truncated_parquet_file_is_refused(tmp_path):
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    from pyarrow import parquet

    path = tmp_path / "a.parquet"
    parquet.write_table(arrow.table({"text": ["x"] * 100}), path)
    write(path, path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="cannot be read as .parquet.*damaged"):
        read_texts(path)
    parquet.write_table(arrow.table({"sentence": ["x"]}), path)
    with pytest.raises(ValueError, match=r"has the columns \['sentence'\] and lacks 'text'"):
        read_texts(path)


def test_plain_files_of_different_length_are_refused(tmp_path):
    write(tmp_path / "en.txt", "a\nb\n")
    write(tmp_path / "de.txt", "a\n")
    with pytest.raises(ValueError, match=r"Files differ in lines: .*2, .*1\. .*use one table"):
        read_texts([tmp_path / "en.txt", tmp_path / "de.txt"])
    with pytest.raises(ValueError, match="No files"):
        read_texts([])
    with pytest.raises(FileNotFoundError, match="There is no file"):
        read_texts(tmp_path / "nowhere.txt")


@pytest.mark.slow
@FUZZ
@given(
    data=st.binary(max_size=200),
    kind=st.sampled_from([".txt", ".tsv", ".csv", ".jsonl", ".parquet"]),
)
def test_any_bytes_are_texts_or_refused(tmp_path, data, kind):
    if kind == ".parquet":
        pytest.importorskip("pyarrow")
    try:
        corpus = read_texts(write(tmp_path / f"x{kind}", data))
    except ValueError:
        return
    assert len(corpus.text) == len(corpus.language) == len(corpus.pair_id) > 0


# Vectors

WORDS = ["the", "naïve", "日本", "New York", "."]
X = RNG.normal(size=(5, 4)).astype(np.float32)


def lines(header: bool) -> str:
    rows = [f"{w} {' '.join(repr(float(v)) for v in x)}" for w, x in zip(WORDS, X, strict=True)]
    return "\n".join(["5 4"] * header + rows) + "\n"


def binary(end: bytes = b"\n") -> bytes:
    rows = [  # a space ends a word here
        w.replace(" ", "_").encode() + b" " + x.astype("<f4").tobytes()
        for w, x in zip(WORDS, X, strict=True)
    ]
    return b"5 4\n" + end.join(rows) + end


@pytest.mark.parametrize("max_words", [None, 2, 5, 99])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.vec", lines(True)),
        ("glove.txt", lines(False)),
        ("a.vec", lines(True).replace("\n", " \n")),  # fastText ends its lines so
        ("a.vec", lines(True).replace("\n", "\r\n")),
        ("a.bin", binary()),
        ("a.bin", binary(b"")),  # gensim writes no line ends
    ],
)
def test_vectors_and_words_come_back(tmp_path, name, content, max_words):
    found = read_vectors(write(tmp_path / name, content), max_words=max_words)
    words = [word.replace(" ", "_") if name == "a.bin" else word for word in WORDS]
    assert found.word.tolist() == words[:max_words]
    assert found.X.dtype == np.float32
    np.testing.assert_array_equal(found.X, X[:max_words])


def test_an_array_comes_with_its_vocabulary(tmp_path):
    np.save(tmp_path / "x.npy", X)
    words = write(tmp_path / "words.txt", "\n".join(WORDS) + "\n")
    found = read_vectors(tmp_path / "x.npy", vocabulary=words, max_words=3)
    assert found.word.tolist() == WORDS[:3]
    np.testing.assert_array_equal(found.X, X[:3])
    with pytest.raises(ValueError, match="without vocabulary="):
        read_vectors(tmp_path / "x.npy")
    with pytest.raises(ValueError, match="words.txt has 4 words and .*x.npy has 5 rows"):
        read_vectors(tmp_path / "x.npy", vocabulary=write(words, "a\nb\nc\nd"))
    with pytest.raises(ValueError, match="with vocabulary="):
        read_vectors(write(tmp_path / "a.vec", lines(True)), vocabulary=words)


def test_a_word_that_is_there_twice_is_said_and_kept_once(tmp_path):
    path = write(tmp_path / "a.vec", "3 2\na 1 2\nb 3 4\na 5 6\n")
    with pytest.warns(UserWarning, match="1 words more than once, such as 'a': the first"):
        found = read_vectors(path)
    assert found.word.tolist() == ["a", "b"]
    np.testing.assert_array_equal(found.X, [[1, 2], [3, 4]])


def test_bytes_that_are_no_utf8_are_said(tmp_path):
    path = write(tmp_path / "a.vec", b"1 2\ncaf\xe9 1 2\n")
    with pytest.warns(UserWarning, match="1 words with bytes that are no UTF-8"):
        assert read_vectors(path).word.tolist() == ["caf\ufffd"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.vec", "", "is empty"),
        ("a.vec", "word\n", "begins with b'word"),
        ("a.vec", "3 2\na 1 2\n", "truncated: expected 3 words, as its first line says, found 1"),
        ("a.vec", "2 2\na 1 2\nb 3\n", r"no word and 2 numbers in line 3: b'b 3"),
        ("a.vec", "2 2\na 1 2\nb 3 x\n", "line 3"),
        ("a.vec", "a 1 2\nb 3 x\n", "no word and 2 numbers in line 2"),
        ("a.vec", "0 2\n", "truncated: expected 0 words"),
        ("a.bin", binary()[:-10], "truncated: its first line says 5 words, and 4 are there"),
        ("a.bin", b"word2vec", "begins with b'word2vec'"),
        ("a.bin", b"0 4\n", "holds no words"),
        (
            "a.bin",
            (793712314).to_bytes(4, "little") + b"\x0c\0\0\0",
            "a model file of fastText.*.vec",
        ),
    ],
)
def test_wrong_files_of_vectors_are_refused(tmp_path, name, content, message):
    with pytest.raises(ValueError, match=message):
        read_vectors(write(tmp_path / name, content))


def test_no_words_are_not_asked_for(tmp_path):
    with pytest.raises(ValueError, match="max_words=0: expected at least 1"):
        read_vectors(write(tmp_path / "a.vec", lines(True)), max_words=0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*no UTF-8", "ignore:.*more than once")
@FUZZ
@given(
    head=st.sampled_from([b"", b"2 2\n", b"1 1\n", b"999999999 99999\n"]),
    data=st.binary(max_size=100),
    kind=st.sampled_from([".vec", ".bin"]),
)
def test_any_bytes_are_vectors_or_refused(tmp_path, head, data, kind):
    try:
        found = read_vectors(write(tmp_path / f"x{kind}", head + data))
    except ValueError:
        return
    assert found.X.shape[0] == len(found.word) > 0


# Dictionaries and alignments


def test_a_dictionary_is_many_to_many(tmp_path):
    path = write(tmp_path / "d.txt", "cat Katze\ncat Kater\nNew York\tNeu York\n\ncat Katze\r\n")
    entries = read_dictionary(path)
    assert entries.source.tolist() == ["cat", "cat", "New York"]
    assert entries.target.tolist() == ["Katze", "Kater", "Neu York"]


def test_rows_of_a_dictionary_are_repeated_and_what_is_missing_is_said():
    entries = Bunch(source=["cat", "cat", "dog", "cow"], target=["Katze", "Kater", "Hund", "Kuh"])
    source, target = ["dog", "cat"], ["Kater", "Hund", "Katze"]
    with pytest.warns(UserWarning, match=r"1 of 4 entries .*\('cow', 'Kuh'\).*left out"):
        rows = dictionary_rows(entries, source, target)
    assert [source[i] for i in rows.source] == ["cat", "cat", "dog"]
    assert [target[j] for j in rows.target] == ["Katze", "Kater", "Hund"]
    assert rows.missing == [("cow", "Kuh")]
    with pytest.raises(ValueError, match="None of the 4 entries.*letter case"):
        dictionary_rows(entries, ["Dog"], target)
    with pytest.raises(ValueError, match="source_words has 'dog' more than once"):
        dictionary_rows(entries, ["dog", "cat", "dog"], target)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no pairs"),
        ("cat\n", "1 words in line 1"),
        ("a b\na b c\n", "3 words in line 2, 'a b c'.*tab"),
        ("a\t\n", "2 words in line 1"),
        (b"\xff\xfe", "not UTF-8"),
    ],
)
def test_wrong_dictionaries_are_refused(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        read_dictionary(write(tmp_path / "d.txt", content))


def test_links_join_words_of_corresponding_sentences(tmp_path):
    links = read_alignment(write(tmp_path / "a.align", "0-1 1-0\n\n0-0 0-1\n"))
    source = Bunch(sentence=np.array([0, 0, 1, 2]), position=np.array([0, 1, 0, 0]))
    target = Bunch(sentence=np.array([0, 0, 1, 2, 2]), position=np.array([0, 1, 0, 0, 1]))
    a, b = word_pairs(source, target, links)
    assert a.tolist() == [0, 1, 3, 3]
    assert b.tolist() == [1, 0, 3, 4]
    with pytest.raises(ValueError, match="2 lines of links came for 3 sentences"):
        word_pairs(source, target, links[:2])
    with pytest.raises(ValueError, match="Link 5-0 of sentence 1 points to a word that is not"):
        word_pairs(source, target, [links[0], np.array([[5, 0]]), links[2]])


@pytest.mark.parametrize("content", ["0-1 2\n", "0-x\n", "0:1\n", "-1-0\n", "0-1-2"])
def test_wrong_alignments_are_refused(tmp_path, content):
    with pytest.raises(ValueError, match="in line 1: expected links i-j"):
        read_alignment(write(tmp_path / "a.align", content))
    with pytest.raises(ValueError, match="is empty"):
        read_alignment(write(tmp_path / "a.align", ""))
