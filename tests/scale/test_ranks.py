"""Ranks of torch.distributed end with the same moments, those of all their rows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from posthoc_align import LanguageWhitening, Procrustes
from posthoc_align.scale import all_reduce

pytestmark = pytest.mark.distributed

ROOT = Path(__file__).resolve().parents[2]

RANK = """
import datetime, sys
import numpy as np
import torch.distributed as dist
from posthoc_align import LSAR, LanguageWhitening, Procrustes
from posthoc_align.scale import all_reduce, moments_of

rank, folder = int(sys.argv[1]), sys.argv[2]
dist.init_process_group(
    "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2,
    timeout=datetime.timedelta(seconds=100),
)
rows = np.load(f"{folder}/rows.npz")
X, Y, language, at = rows["X"], rows["Y"], rows["language"], rows["owner"] == rank
out = {}

mine = moments_of(X[at], LanguageWhitening(), language=language[at])
moments = all_reduce(mine)
out["labels"] = np.array(list(moments))
for label, part in moments.items():
    for name in ("count", "mean", "scatter"):
        out[f"{name} {label}"] = getattr(part, name)
out["white"] = LanguageWhitening().fit_moments(moments).transform(X[:50], language=language[:50])

pairs = all_reduce(Procrustes().partial_fit(X[at], Y[at]).moments_)
out["rotation"] = Procrustes().fit_moments(pairs).rotation_

some = all_reduce(mine if rank == 1 else None)
out["only one"] = some["fi"].mean

def told(what, **options):
    try:
        all_reduce(what, **options)
    except (TypeError, ValueError) as error:
        return f"{type(error).__name__}: {error}"

narrow = LSAR().partial_fit(X[:9, : 3 + rank], language=language[:9]).moments_
out["widths"] = told(narrow)
out["kinds"] = told(mine if rank else pairs)
out["rows"] = told(X if rank else mine)
out["nothing"] = told(None)

alone = dist.new_group([1])
if rank == 1:
    out["own group"] = all_reduce(mine, group=alone)["fi"].mean
else:
    out["stranger"] = told(mine, group=alone)
np.savez(f"{folder}/rank{rank}.npz", **out)
dist.destroy_process_group()
"""


@pytest.fixture(scope="module")
def rows() -> dict[str, np.ndarray]:
    """Rows of two ranks: one has no English, the other no Finnish."""
    rng = np.random.default_rng(0)
    language = rng.choice(["de", "en", "fi"], 600)
    owner = np.where(language == "en", 0, np.where(language == "fi", 1, rng.integers(2, size=600)))
    X = rng.standard_normal((600, 8)) + 50 * (language == "en")[:, None]
    return {"X": X, "Y": X[:, ::-1] + 0.1, "language": language, "owner": owner}


@pytest.fixture(scope="module")
def ranks(rows, tmp_path_factory) -> list[dict[str, np.ndarray]]:
    """What two processes found that met in a file."""
    folder = tmp_path_factory.mktemp("ranks")
    np.savez(folder / "rows.npz", **rows)
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    # The file tells where the ranks are; the loopback is there on every machine.
    told = {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    if sys.platform == "linux":
        told["GLOO_SOCKET_IFNAME"] = "lo"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, str(rank), str(folder)],
            env=os.environ | told,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        outputs = [process.communicate(timeout=200)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, output in zip(processes, outputs, strict=True):
        assert process.returncode == 0, output
    found = []
    for rank in range(2):
        with np.load(folder / f"rank{rank}.npz") as arrays:
            found.append(dict(arrays))
    return found


@pytest.mark.slow
def test_all_ranks_hold_the_same_bits(ranks):
    first, second = ranks
    for name in first.keys() & second.keys():
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
    assert {"labels", "white", "rotation", "only one"} <= first.keys() & second.keys()


@pytest.mark.slow
def test_ranks_fit_as_one_process_does_on_all_rows(ranks, rows):
    X, language = rows["X"], rows["language"]
    whole = LanguageWhitening().fit(X, language=language)
    assert ranks[0]["labels"].tolist() == list(whole.moments_)
    for label, part in whole.moments_.items():
        assert ranks[0][f"count {label}"] == part.count
        np.testing.assert_allclose(ranks[0][f"mean {label}"], part.mean, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(
            ranks[0][f"scatter {label}"], part.scatter, rtol=1e-10, atol=1e-10
        )
    white = whole.transform(X[:50], language=language[:50])
    np.testing.assert_allclose(ranks[0]["white"], white, atol=1e-9)  # well-conditioned scatters
    rotation = Procrustes().fit(X, rows["Y"]).rotation_
    np.testing.assert_allclose(ranks[0]["rotation"], rotation, atol=1e-10)


@pytest.mark.slow
def test_one_rank_alone_sees_something_else(ranks, rows):
    at = rows["owner"] == 0
    own = LanguageWhitening().fit(rows["X"][at], language=rows["language"][at]).moments_
    assert "fi" not in own
    assert np.abs(own["de"].mean - ranks[0]["mean de"]).max() > 1e-3


@pytest.mark.slow
def test_a_rank_may_have_no_rows(ranks, rows):
    finnish = rows["X"][rows["language"] == "fi"].mean(axis=0)
    np.testing.assert_allclose(ranks[0]["only one"], finnish, rtol=1e-12, atol=1e-13)


@pytest.mark.slow
def test_a_group_takes_its_own_ranks_only(ranks, rows):
    finnish = rows["X"][rows["language"] == "fi"].mean(axis=0)
    np.testing.assert_allclose(ranks[1]["own group"], finnish, rtol=1e-12, atol=1e-13)
    assert "Rank 0 is not in the group it passed" in str(ranks[0]["stranger"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("widths", "ValueError: Moments of width 3 and 4 cannot be merged"),
        ("kinds", "TypeError: Rank 0 has PairMoments and rank 1 LanguageMoments: all ranks must"),
        ("rows", "TypeError: Rank 1 passed something of type ndarray to all_reduce; expected"),
        ("nothing", "ValueError: No rank had rows: all of them passed None"),
    ],
)
def test_what_one_rank_does_wrong_all_ranks_are_told(ranks, what, message):
    for found in ranks:
        assert message in str(found[what])


def test_without_a_group_the_error_says_how_to_make_one():
    with pytest.raises(RuntimeError, match=r"torchrun.*init_process_group.*'gloo' without GPUs"):
        all_reduce(Procrustes().fit(np.eye(3), np.eye(3)).moments_)
