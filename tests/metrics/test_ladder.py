"""The measures on real embeddings, against a plain computation of the same protocol."""

import json

import numpy as np
import pytest

from posthoc_align.metrics import (
    language_identification,
    strong_alignment,
    weak_alignment,
    zero_shot_scores,
)

CORPORA = {
    "parallel_topics": ("sentences.tsv", "split", "topic", "en"),
    "sib200": ("labels.tsv", "split", "category", "eng_Latn"),
}


class Ladder:
    """One corpus, one step: test rows and anchors of each language, and what is expected."""

    def __init__(self, folder, corpus, step):
        table, split, topic, self.pivot = CORPORA[corpus]
        lines = (folder / corpus / table).read_text(encoding="utf-8").splitlines()
        header, *rows = (line.split("\t") for line in lines)
        self.test = np.array([row[header.index(split)] == "test" for row in rows])
        self.topic = np.array([row[header.index(topic)] for row in rows])
        self.X = {}
        for path in sorted((folder / corpus / "minilm_l6").glob("*.npy")):
            X = np.load(path).astype(np.float64)
            self.X[path.stem] = X - (X[~self.test].mean(axis=0) if step == "centring" else 0)
        self.others = [name for name in self.X if name != self.pivot]
        results = folder.parent / "reference" / f"{corpus}_ladder.json"
        if not results.is_file():
            pytest.skip(f"no reference values at {results}")
        self.expected = json.loads(results.read_text())[step]

    def mean(self, measure):
        english = self.X[self.pivot][self.test]
        return 100 * np.mean([measure(self.X[name][self.test], english) for name in self.others])

    def stack(self, rows):
        names = np.repeat(list(self.X), np.count_nonzero(rows))
        return np.concatenate([X[rows] for X in self.X.values()]), names


@pytest.fixture(scope="module", params=[(c, s) for c in CORPORA for s in ("identity", "centring")])
def ladder(request, shared_data):
    return Ladder(shared_data, *request.param)


WITHIN = {"abs": 0.3}  # percentage points


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "measure"),
    [
        ("weak", weak_alignment),
        ("weak_reverse", lambda X, Y: weak_alignment(Y, X)),
        ("strong", strong_alignment),
        ("csls", lambda X, Y: weak_alignment(X, Y, score="csls", neighbors=10)),
    ],
)
def test_alignment_is_that_of_the_ladder(ladder, name, measure):
    assert ladder.mean(measure) == pytest.approx(ladder.expected[name], **WITHIN)


@pytest.mark.slow
def test_zero_shot_transfer_is_that_of_the_ladder(ladder):
    X, language = ladder.stack(~ladder.test)
    X_test, language_test = ladder.stack(ladder.test)
    y = np.tile(ladder.topic[~ladder.test], len(ladder.X))
    y_test = np.tile(ladder.topic[ladder.test], len(ladder.X))
    found = zero_shot_scores(X, y, language, X_test, y_test, language_test, pivot=ladder.pivot)
    others = [100 * found[name] for name in ladder.others]
    assert 100 * found[ladder.pivot] == pytest.approx(ladder.expected["head_pivot"], **WITHIN)
    assert np.mean(others) == pytest.approx(ladder.expected["head_others"], **WITHIN)
    assert min(others) == pytest.approx(ladder.expected["head_worst"], **WITHIN)


@pytest.mark.slow
def test_language_identification_is_that_of_the_ladder(ladder):
    X, language = ladder.stack(~ladder.test)
    X_test, language_test = ladder.stack(ladder.test)
    found = language_identification(X, language, X_test=X_test, language_test=language_test)
    assert 100 * found == pytest.approx(ladder.expected["language_id"], **WITHIN)
