"""The ladder of methods on real embeddings stands where a plain NumPy computation put it."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from posthoc_align import LSAR, LanguageCentering, LinearMap, PivotAligner, compare
from posthoc_align.datasets import load_parallel_topics

POINTS = 0.3  # percent: one row in 300 is 0.33, and a solver may stop one step earlier or later

RUNGS = {
    "identity": "identity",
    "centring": "centring",
    "LSAR": "LSAR rank={rank}",
    "Procrustes": "centre-unit-centre, Procrustes",
    "ridge": "centre-unit-centre, ridge to identity, penalty 1.0",
}
MEASURES = ("weak", "weak_reverse", "strong", "csls", "language_id", "head_pivot", "head_others")


def ladder(X, *, language, pair_id, label, split, pivot):
    aligners = {
        "centring": LanguageCentering(),
        "LSAR": LSAR(),
        "Procrustes": PivotAligner(pivot=pivot),
        "ridge": PivotAligner(LinearMap(prior="identity", penalty=1.0), pivot=pivot),
    }
    return compare(
        X,
        language=language,
        pair_id=pair_id,
        label=label,
        split=split,
        pivot=pivot,
        aligners=aligners,
    )


def assert_same(found, expected, rank):
    for row in found.rows:
        reference = expected[RUNGS[row["method"]].format(rank=rank)]
        percent = {key: 100 * row["values"][key] for key in MEASURES}
        percent["head_worst"] = 100 * row["worst"]["head_others"][1]
        off = {
            k: (round(v, 2), reference[k])
            for k, v in percent.items()
            if abs(v - reference[k]) > POINTS
        }
        assert not off, f"{row['method']}: {off}"


@pytest.mark.slow
def test_the_ladder_on_the_bundled_corpus_is_reproduced(shared_data):
    expected = json.loads(
        (shared_data.parent / "reference/parallel_topics_ladder.json").read_text()
    )
    corpus = load_parallel_topics()
    found = ladder(
        corpus.embeddings.astype(np.float64),
        language=corpus.language,
        pair_id=corpus.pair_id,
        label=corpus.topic,
        split=corpus.split,
        pivot="en",
    )
    assert_same(found, expected, rank=11)


@pytest.mark.slow
def test_the_ladder_on_sib200_is_reproduced(shared_data):
    folder = shared_data / "sib200"
    expected = json.loads((shared_data.parent / "reference/sib200_ladder.json").read_text())
    with open(folder / "labels.tsv", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    files = sorted((folder / "minilm_l6").glob("*.npy"))
    found = ladder(
        np.vstack([np.load(path).astype(np.float64) for path in files]),
        language=np.repeat([path.stem for path in files], len(rows)),
        pair_id=np.tile(np.arange(len(rows)), len(files)),
        label=np.tile([row["category"] for row in rows], len(files)),
        split=np.tile([row["split"] for row in rows], len(files)),
        pivot="eng_Latn",
    )
    assert_same(found, expected, rank=19)
