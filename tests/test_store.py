"""Reading from disk: what comes back, and that every damaged file ends in words a user can use."""

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_tensors

from posthoc_align.store import read_corpus, read_embeddings, read_labels, read_table

RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 4)).astype(np.float32)


def save(path: Path, array: np.ndarray) -> Path:
    """Write an array in the format of the extension."""
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".npz":
        np.savez(path, embeddings=array)
    else:
        save_file({"embeddings": np.ascontiguousarray(array)}, path)
    return path


# What comes back


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8"])
@pytest.mark.parametrize("kind", [".npy", ".npz", ".safetensors"])
@pytest.mark.parametrize("mmap", [True, False])
def test_what_was_saved_is_read(tmp_path, kind, dtype, mmap):
    array = (10 * X).astype(dtype)
    found = read_embeddings(save(tmp_path / f"en{kind}", array), mmap=mmap)
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype
    assert found.flags.writeable is not mmap


@pytest.mark.parametrize("kind", [".npy", ".safetensors"])
def test_rows_stay_on_disk_until_used(tmp_path, kind):
    path = save(tmp_path / f"en{kind}", X)
    assert isinstance(read_embeddings(path), np.memmap)
    assert not isinstance(read_embeddings(path, mmap=False), np.memmap)


@pytest.mark.parametrize("kind", [".npy", ".npz"])
def test_column_order_of_the_file_is_kept(tmp_path, kind):
    found = read_embeddings(save(tmp_path / f"en{kind}", np.asfortranarray(X)))
    np.testing.assert_array_equal(found, X)
    assert found.flags.f_contiguous


@pytest.mark.parametrize("kind", [".npz", ".safetensors"])
def test_a_single_array_needs_no_certain_name(tmp_path, kind):
    path = tmp_path / f"en{kind}"
    if kind == ".npz":
        np.savez_compressed(path, x=X)
    else:
        save_file({"x": X}, path)
    np.testing.assert_array_equal(read_embeddings(str(path)), X)


@pytest.mark.parametrize("kind", [".npz", ".safetensors"])
def test_of_several_arrays_the_one_named_embeddings_is_read(tmp_path, kind):
    path = tmp_path / f"en{kind}"
    arrays = {"mask": np.ones((3, 3), np.float32), "embeddings": X, "z": -X}
    np.savez(path, **arrays) if kind == ".npz" else save_file(arrays, path)
    np.testing.assert_array_equal(read_embeddings(path), X)


def test_bfloat16_comes_as_a_tensor(tmp_path):
    tensor = torch.from_numpy(X).bfloat16()
    save_tensors({"embeddings": tensor}, tmp_path / "en.safetensors")
    found = read_embeddings(tmp_path / "en.safetensors")
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, tensor)


# What is refused


def test_a_missing_file_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file nowhere\.npy \(looked in /.*Check"):
        read_embeddings("nowhere.npy")


def test_a_path_must_be_a_path():
    with pytest.raises(TypeError, match=r"Expected the path of a file.*got int"):
        read_embeddings(3)
    with pytest.raises(TypeError, match=r"Expected the path of a file.*got ndarray"):
        read_corpus([X, X])


def test_a_folder_is_not_a_file(tmp_path):
    with pytest.raises(ValueError, match=r"is a folder; expected a file.*glob"):
        read_embeddings(tmp_path)


def test_an_unknown_extension_names_the_known_ones(tmp_path):
    (tmp_path / "en.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match=r"'.parquet'; .* from .npy, .npz, .safetensors"):
        read_embeddings(tmp_path / "en.parquet")


@pytest.mark.parametrize("keep", [0.2, 0.9])
@pytest.mark.parametrize("kind", [".npy", ".npz", ".safetensors"])
def test_a_truncated_file_is_refused(tmp_path, kind, keep):
    path = save(tmp_path / f"en{kind}", np.ones((50, 40)))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole))])
    with pytest.raises(ValueError, match=r"truncated|not a complete .safetensors.*again"):
        read_embeddings(path)


def test_a_truncated_array_says_what_was_declared_and_what_is_there(tmp_path):
    path = save(tmp_path / "en.npy", X)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match=r"declares \(6, 4\) float32, 96 bytes, and 86 are there"):
        read_embeddings(path)


def test_a_damaged_archive_is_refused(tmp_path):
    path = save(tmp_path / "en.npz", X)
    damaged = bytearray(path.read_bytes())
    at = damaged.find(X.tobytes())
    assert at > 0
    damaged[at] ^= 255  # the checksum of the archive no longer fits
    path.write_bytes(bytes(damaged))
    with pytest.raises(ValueError, match=r"cannot be read as .npz \(BadZipFile: Bad CRC"):
        read_embeddings(path)


@pytest.mark.parametrize("kind", [".npy", ".npz", ".safetensors"])
def test_text_is_not_an_array(tmp_path, kind):
    (tmp_path / f"en{kind}").write_text("These are not the embeddings you are looking for.")
    with pytest.raises(
        ValueError, match=r"not a .npy file: it starts with b'These|not a .npz|not a"
    ):
        read_embeddings(tmp_path / f"en{kind}")


def test_a_text_member_of_an_archive_is_not_an_array(tmp_path):
    with zipfile.ZipFile(tmp_path / "en.npz", "w") as archive:
        archive.writestr("readme.txt", "hello, this is text")
    with pytest.raises(ValueError, match=r"\['readme.txt'\] is not a .npy file: it starts with"):
        read_embeddings(tmp_path / "en.npz")


class Trap:
    """A pickle of this touches a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def plant_pickle(path: Path, trap: Trap) -> None:
    objects = np.empty((1, 1), dtype=object)
    objects[0, 0] = trap
    if path.suffix == ".npz":
        np.savez(path, embeddings=objects)
    elif path.stem == "bare":
        path.write_bytes(pickle.dumps(trap))
    else:
        np.save(path, objects)


@pytest.mark.parametrize("name", ["en.npy", "en.npz", "bare.npy"])
@pytest.mark.parametrize("read", [read_embeddings, read_labels])
def test_pickled_objects_are_refused_and_never_run(tmp_path, name, read):
    touched = tmp_path / "touched"
    plant_pickle(tmp_path / name, Trap(touched))
    with pytest.raises(ValueError, match=r"pickled Python objects.*not unpickled|a bare pickle"):
        read(tmp_path / name)
    assert not touched.exists()


def test_the_trap_of_the_pickle_test_works(tmp_path):
    pickle.loads(pickle.dumps(Trap(tmp_path / "touched")))
    assert (tmp_path / "touched").exists()


@pytest.mark.parametrize("kind", [".npy", ".npz"])
@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.array([["a", "b"]]), "holds text"),
        (np.array([[b"a", b"b"]]), "holds bytes"),
        (np.ones((2, 2), complex), "holds complex numbers"),
        (np.zeros((2, 2), "datetime64[s]"), "holds no numbers"),
        (np.zeros((2, 2), [("a", "f4")]), "holds no numbers"),
    ],
)
def test_what_is_no_real_number_is_refused(tmp_path, kind, array, words):
    with pytest.raises(ValueError, match=f"{words}.*expected real numbers"):
        read_embeddings(save(tmp_path / f"en{kind}", array))


@pytest.mark.parametrize("kind", [".npy", ".npz", ".safetensors"])
@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((4,), r"shape \(4,\); expected two dimensions"),
        ((2, 3, 4), r"shape \(2, 3, 4\); expected two dimensions"),
        ((0, 4), r"is empty: shape \(0, 4\)"),
        ((4, 0), r"is empty: shape \(4, 0\)"),
    ],
)
def test_what_is_no_table_of_rows_is_refused(tmp_path, kind, shape, words):
    with pytest.raises(ValueError, match=words):
        read_embeddings(save(tmp_path / f"en{kind}", np.ones(shape, np.float32)))


@pytest.mark.parametrize("kind", [".npz", ".safetensors"])
def test_several_arrays_without_the_name_list_their_keys(tmp_path, kind):
    path = tmp_path / f"en{kind}"
    np.savez(path, b=X, a=X) if kind == ".npz" else save_file({"b": X, "a": X}, path)
    with pytest.raises(ValueError, match=r"2 arrays, \['a', 'b'\]; .* named 'embeddings'"):
        read_embeddings(path)


def test_an_archive_of_nothing_is_refused(tmp_path):
    np.savez(tmp_path / "en.npz")
    with pytest.raises(ValueError, match="holds 0 arrays"):
        read_embeddings(tmp_path / "en.npz")


def test_a_type_that_numpy_lacks_names_those_that_work(tmp_path):
    save_tensors({"x": torch.zeros(2, 2).to(torch.float8_e4m3fn)}, tmp_path / "en.safetensors")
    with pytest.raises(ValueError, match=r"of type F8_E4M3; expected one of BF16, F16.*Convert"):
        read_embeddings(tmp_path / "en.safetensors")


def npy_bytes(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


BEGINNINGS = {
    ".npy": [b"", b"\x93NUMPY\x01\x00", b"\x93NUMPY\x02\x00v\x00\x00\x00", npy_bytes(X)[:60]],
    ".npz": [b"", b"PK\x03\x04", b"PK\x05\x06"],
    ".safetensors": [b"", b"\x10" + bytes(7) + b'{"a":{"dtype":"F', b"\x02" + bytes(7) + b"{}"],
}


@pytest.mark.parametrize("kind", list(BEGINNINGS))
@pytest.mark.filterwarnings("ignore::UserWarning")  # NumPy's, about headers of Python 2
@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_random_bytes_end_in_a_clear_error(tmp_path, kind, data):
    start = data.draw(st.sampled_from(BEGINNINGS[kind]))
    path = tmp_path / f"en{kind}"
    path.write_bytes(start + data.draw(st.binary(max_size=200)))
    with pytest.raises(ValueError, match=r"en\.") as refusal:
        read_embeddings(path)
    assert "allow_pickle" not in str(refusal.value)


@pytest.mark.parametrize("kind", list(BEGINNINGS))
@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_flipped_bytes_end_in_rows_of_numbers_or_a_clear_error(tmp_path, kind, data):
    path = save(tmp_path / f"en{kind}", X)
    damaged = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / f"damaged{kind}").write_bytes(bytes(damaged))
    try:
        shape = read_embeddings(tmp_path / f"damaged{kind}").shape
    except ValueError as error:
        shape, words = (1, 1), str(error)
    else:
        words = "damaged."
    assert "damaged." in words
    assert len(shape) == 2
    assert min(shape) > 0


# Labels


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("y.txt", "sport\nfood\r\nsport\n"),
        ("y.csv", "label\nsport\nfood\nsport\n"),
        ("y.csv", "topic\nsport\nfood\nsport\n"),
        ("y.csv", "\ufeffid,label\n1,sport\n2,food\n3,sport\n"),
        ("y.tsv", 'text\tlabel\n"quoted\tsport\nplain\tfood\n\u2028\tsport\n'),
    ],
)
def test_labels_of_text_files_are_read(tmp_path, name, content):
    (tmp_path / name).write_bytes(content.encode())
    assert read_labels(tmp_path / name).tolist() == ["sport", "food", "sport"]


@pytest.mark.parametrize("values", [["sport", "food", "ä"], [3, -1, 0], [0.5, 1.5]])
@pytest.mark.parametrize("kind", [".npy", ".npz"])
def test_labels_of_arrays_are_read(tmp_path, kind, values):
    path = save(tmp_path / f"y{kind}", np.array(values))
    assert read_labels(path).tolist() == values


@pytest.mark.parametrize(
    ("content", "values"),
    [("0\n-3\n12\n", [0, -3, 12]), ("01\n1\n", ["01", "1"]), ("-0\n1\n", ["-0", "1"])],
)
def test_integers_are_integers_unless_that_would_merge_two_labels(tmp_path, content, values):
    (tmp_path / "y.txt").write_text(content)
    assert read_labels(tmp_path / "y.txt").tolist() == values


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("y.json", b"[1]", r"'.json'; labels are read from .txt"),
        ("y.txt", b"a\n\nb\n", "blank in line 2"),
        ("y.txt", b"", r"shape \(0,\); expected one a row"),
        ("y.txt", b"\xff\xfe\x00", "not UTF-8 text"),
        ("y.csv", b"a,b\n1,2\n", r"2 columns, \['a', 'b'\]; .* named 'label'"),
        ("y.csv", b"label\n", "has 1 lines: expected a header line, then the rows"),
        ("y.csv", b"a,label\n1,2\n1\n", "1 cells in data row 2 and 2 in its header"),
        ("y.csv", b"label,label\n1,2\n", "names a column twice"),
        ("y.csv", b'label\n"' + 200_000 * b"x", r"is not a .csv table \(field larger"),
        ("y.npy", npy_bytes(X), r"shape \(6, 4\); expected one a row"),
        ("y.npy", npy_bytes(np.array([], str)), r"shape \(0,\); expected one a row"),
        ("y.npy", npy_bytes(np.arange(9))[:-1], "truncated"),
        ("y.npy", b"\x93NUMPY\x01\x00\x04\x00{'a}", "cannot be read as .npy"),
        ("y.npz", npy_bytes(np.arange(9)), "not a .npz file"),
    ],
)
def test_labels_that_cannot_be_read_say_why(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=words):
        read_labels(tmp_path / name)


# Tables


def test_a_table_gives_its_columns_in_order(tmp_path):
    (tmp_path / "rows.csv").write_text(
        "split,note,pair_id,language,label\n"
        'train,"a, b",7,en,sport\n'
        "test,,8,de,food\n"
        "\n"
        "test,,,de,food\n"
    )
    table = read_table(tmp_path / "rows.csv")
    assert table.language.tolist() == ["en", "de", "de"]
    assert table.pair_id.tolist() == [7, 8, -1]
    assert table.label.tolist() == ["sport", "food", "food"]
    assert table.split.tolist() == ["train", "test", "test"]


def test_text_ids_mark_unpaired_rows_by_an_empty_one(tmp_path):
    (tmp_path / "rows.tsv").write_text("language\tpair_id\nen\ta1\nen\t-1\nde\t\n")
    table = read_table(tmp_path / "rows.tsv")
    assert table.pair_id.tolist() == ["a1", "", ""]
    assert table.label is None
    assert table.split is None


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (
            "rows.csv",
            "lang,pair_id\nen,1\n",
            r"columns \['lang', 'pair_id'\] and lacks \['language'",
        ),
        ("rows.csv", "language,pair_id\nen,1\n,2\n", "no language in data row 2"),
        ("rows.csv", "language,pair_id\nen,1,2\n", "3 cells in data row 1 and 2 in its header"),
        ("rows.csv", "", "has 0 lines"),
        ("rows.xlsx", "", r"'.xlsx'; expected .csv or .tsv"),
    ],
)
def test_a_table_that_cannot_be_read_says_why(tmp_path, name, content, words):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=words):
        read_table(tmp_path / name)


# A corpus


@pytest.fixture
def files(tmp_path):
    return [save(tmp_path / "en.npy", X), save(tmp_path / "de.npy", -X)]


@pytest.fixture
def one_file(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("language,pair_id\n" + "".join(f"en,{i}\nde,{i}\n" for i in range(3)))
    return save(tmp_path / "all.npy", X), path


def test_files_are_languages_and_rows_are_pairs(files):
    corpus = read_corpus(files)
    np.testing.assert_array_equal(corpus.X, np.concatenate([X, -X]))
    assert corpus.language.tolist() == ["en"] * 6 + ["de"] * 6
    assert corpus.pair_id.tolist() == [0, 1, 2, 3, 4, 5] * 2
    assert corpus.label is None
    assert corpus.split is None


def test_one_file_takes_its_languages_from_the_table(one_file):
    path, table = one_file
    corpus = read_corpus(path, table=table)
    assert isinstance(corpus.X, np.memmap)
    assert corpus.language.tolist() == ["en", "de"] * 3
    assert corpus.pair_id.tolist() == [0, 0, 1, 1, 2, 2]


def test_bfloat16_files_are_joined_as_tensors(tmp_path):
    tensor = torch.from_numpy(X).bfloat16()
    paths = [tmp_path / "en.safetensors", tmp_path / "de.safetensors"]
    for path in paths:
        save_tensors({"x": tensor}, path)
    assert torch.equal(read_corpus(paths).X, torch.cat([tensor, tensor]))


def test_labels_may_be_one_a_pair_or_one_a_row(files, tmp_path):
    shared = list("abcabc")
    assert read_corpus(files, labels=shared).label.tolist() == 2 * shared
    own = list("abcabcxyzxyz")
    assert read_corpus(files, labels=np.array(own)).label.tolist() == own
    (tmp_path / "y.txt").write_text("\n".join(shared))
    assert read_corpus(files, labels=tmp_path / "y.txt").label.tolist() == 2 * shared


def test_labels_of_one_file_are_one_a_row(one_file):
    path, table = one_file
    assert read_corpus(path, table=table, labels=range(6)).label.tolist() == [0, 1, 2, 3, 4, 5]
    with pytest.raises(ValueError, match=r"labels has shape \(3,\); expected 6 \(one a row\)"):
        read_corpus(path, table=table, labels=range(3))


def test_labels_of_another_count_say_both_that_would_do(files):
    with pytest.raises(ValueError, match=r"shape \(5,\); expected 6 \(one a pair.* or 12 \(one a"):
        read_corpus(files, labels=range(5))


def test_labels_must_not_come_twice(one_file):
    path, table = one_file
    table.write_text("language,pair_id,label\n" + 6 * "en,-1,a\n")
    with pytest.raises(ValueError, match=r"Labels came twice.*Pass one"):
        read_corpus(path, table=table, labels=range(6))


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (X[:5], r"differ in rows: .*en.npy has 6, .*de.npy has 5. Rows must correspond"),
        (X[:, :3], r"differ in columns: .*has 4, .*has 3. Use one encoder"),
        (X.astype(np.float16), r"differ in dtype: .*has float32, .*has float16. Save all"),
    ],
)
def test_files_that_do_not_fit_together_are_named(files, other, words):
    np.save(files[1], other)
    with pytest.raises(ValueError, match=words):
        read_corpus(files)


def test_a_language_must_not_come_from_two_files(files):
    twin = save(files[0].with_suffix(".npz"), X)
    with pytest.raises(ValueError, match=r"\['en'\] come from more than one file, .*Rename"):
        read_corpus([*files, twin])


def test_a_table_of_another_length_is_refused(one_file):
    path, table = one_file
    table.write_text("language,pair_id\nen,0\n")
    with pytest.raises(ValueError, match=r"rows.csv has 1 rows and .*all.npy has 6: expected one"):
        read_corpus(path, table=table)


def test_one_file_needs_a_table_and_several_need_none(files, one_file):
    with pytest.raises(ValueError, match="came alone: the languages of its rows are unknown"):
        read_corpus(files[0])
    with pytest.raises(ValueError, match="2 files came with a table"):
        read_corpus(files, table=one_file[1])
    with pytest.raises(ValueError, match="No embeddings files were given"):
        read_corpus([])


def test_a_transposed_file_is_called_so(files):
    save(files[0].parent / "de.npy", X.T.copy())
    with pytest.raises(
        ValueError, match=r"differ in rows.*Is one of them transposed\?.*dimensions"
    ):
        read_corpus(files)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 0.0])
def test_a_row_without_a_direction_is_named_in_its_file(tmp_path, dtype, bad):
    rows = np.ones((6, 4), dtype=dtype)
    rows[4] = bad
    paths = [save(tmp_path / "en.npy", np.ones_like(rows)), save(tmp_path / "de.npy", rows)]
    what = "NaN or infinity" if bad else "zeros alone"
    with pytest.raises(ValueError, match=f"de.npy holds {what} in row 4, counted from 0"):
        read_corpus(paths)
    table = tmp_path / "rows.csv"
    table.write_text("language,pair_id\n" + "".join(f"en,{i}\n" for i in range(6)))
    with pytest.raises(ValueError, match=f"de.npy holds {what} in row 4"):
        read_corpus(paths[1], table=table)


def test_a_row_with_one_zero_is_sound(tmp_path):
    rows = np.eye(4, dtype=np.float32)
    paths = [save(tmp_path / f"{name}.npy", rows) for name in ("en", "de")]
    assert read_corpus(paths).X.shape == (8, 4)
