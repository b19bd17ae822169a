"""The fuzzer sees every kind of finding, and what it once found stays mended."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from posthoc_align.extract import read_texts, read_vectors
from posthoc_align.store import read_embeddings, read_labels

HERE = Path(__file__).parent

PLANTED = """
import os, pickle, signal, time
from pathlib import Path
from hypothesis import strategies as st

class Target:
    name, example, folder = "planted fault", st.just({{"x.bin": b"data"}}), False
    calls = 0
    def put(self, example, folder):
        for name, content in example.items():
            (folder / name).write_bytes(content)
        return folder / "x.bin"
    def read(self, path):
        {fault}

def targets(canary):
    Target.canary = canary
    return [Target()]
"""


def fuzz(folder: Path, *given: str) -> subprocess.CompletedProcess[str]:
    script = [sys.executable, str(folder / "readers.py"), "--seconds", "1", "--seed", "1"]
    kept = ["--findings", str(folder / "kept")] if folder != HERE else []
    return subprocess.run([*script, *kept, *given], capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ('raise KeyError("x")', "KeyError: 'x'"),
        ('raise MemoryError(f"{path}")', "MemoryError"),
        ('raise ValueError("wrong")', "refusal does not name the file: ValueError('wrong')"),
        ('path.with_name("y").write_text("")', "what no reader may do: open"),
        ('os.system("true")', "what no reader may do: os.system"),
        ('pickle.loads(pickle.dumps(Path("x")))', "what no reader may do: pickle.find_class"),
        ("self.canary.mkdir(exist_ok=True)", "what no reader may do: os.mkdir"),
        ("bytearray(2**40)", "MemoryError"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "the process died of signal 11"),
        ("Target.calls += 1\n        while self.calls > 1: pass", "took more than 10 seconds"),
    ],
)
def test_a_planted_fault_is_found_and_its_file_kept(tmp_path, fault, says):
    for name in ("readers.py", "mutations.py"):
        shutil.copy(HERE / name, tmp_path)
    (tmp_path / "targets.py").write_text(PLANTED.format(fault=fault))
    run = fuzz(tmp_path)
    assert run.returncode == 1
    assert says in run.stdout + run.stderr
    assert "Reader: planted fault, --seed 1" in run.stdout
    assert (tmp_path / "kept" / "planted-fault" / "x.bin").read_bytes() == b"data"


@pytest.mark.slow
def test_a_run_says_what_it_tried():
    run = fuzz(HERE, "--only", "alignment")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "seeds 1 to " in run.stdout
    row = next(line for line in run.stdout.splitlines() if line.startswith("| alignment"))
    examples, read, refused, places = map(int, row.split("|")[2:6])
    assert examples == read + refused >= 50
    assert read > 0
    assert places > 0
    wrong = fuzz(HERE, "--only", "no such reader")
    assert wrong.returncode == 1
    assert "No reader has 'no such reader' in its name" in wrong.stderr


# What was found


@pytest.mark.parametrize("read", [read_embeddings, read_labels])
@pytest.mark.parametrize("version", [2, 3])
def test_a_header_of_four_gigabytes_is_refused_before_it_is_asked_for(tmp_path, read, version):
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.eye(3), version=(version, 0))
    data = stream.getvalue()
    path = tmp_path / "x.npy"
    path.write_bytes(data[:8] + b"\xff\xff\xff\xff" + data[12:])
    with pytest.raises(ValueError, match=r"x\.npy is truncated: it declares a header of 42949672"):
        read(path)


@pytest.mark.parametrize("kind", [".vec", ".bin"])
@pytest.mark.parametrize("head", ["9" * 19 + " 3", "3 " + "9" * 5000, "9" * 13 + " 3"])
def test_vectors_that_promise_more_words_than_there_are_in_the_world_are_refused(
    tmp_path, kind, head
):
    path = tmp_path / f"x{kind}"
    path.write_text(f"{head}\nthe 1 2 3\n")
    with pytest.raises(ValueError, match=rf"x\{kind} (is damaged: its first line|begins with)"):
        read_vectors(path)


def test_a_text_file_of_a_mark_alone_holds_no_texts(tmp_path):
    (tmp_path / "x.txt").write_bytes(b"\xef\xbb\xbf")
    with pytest.raises(ValueError, match=r"x\.txt has no rows: expected texts"):
        read_texts(tmp_path / "x.txt")


@pytest.mark.parametrize("number", [2**63, -(2**70), 10**30])
def test_a_pair_id_beyond_64_bits_is_refused(tmp_path, number):
    (tmp_path / "x.jsonl").write_text(json.dumps({"text": "Snow.", "pair_id": number}))
    with pytest.raises(ValueError, match=r"x\.jsonl.*pair_id holds integers of more than 64 bits"):
        read_texts(tmp_path / "x.jsonl")


def test_a_refusal_of_pairs_names_its_files(tmp_path):
    for name in "abcd":
        (tmp_path / f"{name}.tsv").write_text("text\tlanguage\tpair_id\nx\ten\t1\n")
    with pytest.raises(ValueError, match=r"a\.tsv, .*b\.tsv, .*c\.tsv and 1 more: Duplicate"):
        read_texts([tmp_path / f"{name}.tsv" for name in "abcd"])
