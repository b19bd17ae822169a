"""Where one language's class mix is skewed, equal class weights recover what centring loses."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from posthoc_align import AlignedClassifier, LanguageCentering
from posthoc_align.metrics.confidence import paired_difference


def test_class_balanced_centring_recovers_a_planted_label_shift():
    rng = np.random.default_rng(0)
    classes = rng.integers(2, size=400)
    rows = rng.normal(size=(400, 4)) * 0.3
    rows[:, 0] += 2.0 * classes
    # Of 20 German rows 19 are of class 1, so that plain centring moves them by 0.9 too much.
    kept = np.flatnonzero((classes == 1) | (np.arange(400) % 19 == 0))
    X = np.vstack([rows, rows[kept] + 7.0])
    y = np.concatenate([classes, classes[kept]])
    language = np.repeat(["en", "de"], [400, len(kept)])
    english = language == "en"
    score = {}
    for balanced in (False, True):
        aligner = LanguageCentering(class_balanced=balanced).fit(X, y, language=language)
        Z = aligner.transform(X, language=language)
        head = AlignedClassifier("passthrough").fit(Z[english], y[english])
        score[balanced] = head.score(Z[~english], y[~english])
    assert score[True] > 0.98
    assert score[False] < 0.8


@pytest.mark.slow
def test_class_balanced_centring_recovers_a_label_shift_of_real_sentences(shared_data):
    folder = shared_data / "sib200"
    with open(folder / "labels.tsv", newline="") as file:
        table = list(csv.DictReader(file, delimiter="\t"))
    y = np.array([row["category"] for row in table])
    test = np.array([row["split"] == "test" for row in table])
    english = np.load(folder / "minilm_l6" / "eng_Latn.npy").astype(np.float32)
    head = AlignedClassifier(LanguageCentering())
    head.fit(english[~test], y[~test], language="en")
    rng = np.random.default_rng(0)
    hits: dict[str, list[np.ndarray]] = {"all": [], "skewed": [], "balanced": []}
    languages = ("deu_Latn", "fra_Latn", "spa_Latn")  # those an English head reads
    for name in languages:
        rows = np.load(folder / "minilm_l6" / f"{name}.npy").astype(np.float32)
        found: dict[str, list[np.ndarray]] = {key: [] for key in hits}
        for dominant in np.unique(y):
            often = (y == dominant) | (rng.random(len(y)) < 0.1)
            few = ~test & often
            for key, at, classes in (
                ("all", ~test, None),
                ("skewed", few, None),
                ("balanced", few, y[few]),
            ):
                centring = LanguageCentering(class_balanced=classes is not None)
                Z = head.scale_ * centring.fit(rows[at], classes).transform(rows[test])
                found[key].append(head.head_.predict(Z) == y[test])
        for key, each in found.items():
            hits[key].append(np.mean(each, axis=0))
    by = {
        "groups": np.tile(np.flatnonzero(test), len(languages)),
        "strata": np.repeat(languages, test.sum()),
    }
    outcome = {key: np.concatenate(each) for key, each in hits.items()}
    assert paired_difference(outcome["skewed"], outcome["all"], **by).high < 0
    assert paired_difference(outcome["balanced"], outcome["skewed"], **by).low > 0
