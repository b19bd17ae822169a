"""Zero-shot by single aligners and by AutoAligner: ``python benchmarks/selection.py [corpus]``.

Corpus is ``bundled`` (the default) or ``sib200`` (found through POSTHOC_ALIGN_DATA). Aligners are
fitted, and AutoAligner chooses, on the anchors (train and dev rows); all are measured on the test
rows. *Retrieval*: translations that find each other, from both sides; *transfer*: accuracy of a
head that was fitted on the pivot's anchors. Per cent, mean over languages, with intervals of 95 %
over sentences. The best single choice is picked by these very test rows, which flatters it.
``--hidden`` withholds the translations of the anchors from all.
"""

from __future__ import annotations

import argparse
import time
import warnings
from typing import Any

import numpy as np
from quality import bundled, sib200
from sklearn.linear_model import LogisticRegression

from posthoc_align import AutoAligner
from posthoc_align.align._apply import apply_aligner, fit_aligner
from posthoc_align.languages import pair_rows
from posthoc_align.metrics import bootstrap, paired_difference, translation_ranks
from posthoc_align.model_selection._ladder import ladder

OBJECTIVES = ("retrieval", "transfer")


def outcomes(Z: np.ndarray, data: dict[str, Any]) -> dict[str, Any]:
    """Outcome of each test row by objective, with its sentence and language."""
    pivot, language, ids = data["pivot"], data["language"], data["pair_id"]
    test = data["split"] == "test"
    found: dict[str, list[Any]] = {key: [] for key in (*OBJECTIVES, "sentence", "language")}
    unit = 3 * Z / np.linalg.norm(Z, axis=1, keepdims=True)
    head = LogisticRegression(max_iter=2000)
    taught = ~test & (language == pivot)
    head.fit(unit[taught], data["label"][taught])
    there = np.flatnonzero(test & (language == pivot))
    for name in np.unique(language[language != pivot]):
        here = np.flatnonzero(test & (language == name))
        own, to = pair_rows(ids[here], ids[there])
        own, to = here[own], there[to]
        hits = [translation_ranks(Z[a], Z[b]) == 1 for a, b in ((own, to), (to, own))]
        found["retrieval"].append(np.mean(hits, axis=0))
        found["transfer"].append(head.predict(unit[own]) == data["label"][own])
        found["sentence"].append(ids[own])
        found["language"].append(language[own])
    return {key: np.concatenate(parts) for key, parts in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", nargs="?", choices=["bundled", "sib200"], default="bundled")
    parser.add_argument("--hidden", action="store_true", help="no translations among the anchors")
    arguments = parser.parse_args()
    data = {"bundled": bundled, "sib200": sib200}[arguments.corpus]()
    pivot, anchors = data["pivot"], data["split"] != "test"
    ids = None if arguments.hidden else data["pair_id"][anchors]
    autos = {f"AutoAligner, {o}": AutoAligner(objective=o, pivot=pivot) for o in OBJECTIVES}
    singles = ladder(pivot, paired=ids is not None)
    warnings.simplefilter("ignore")
    measured, fitted = {}, {}
    print("| | retrieval | transfer | seconds |\n|---|---:|---:|---:|")
    for name, aligner in {**singles, **autos}.items():
        start = time.perf_counter()
        fitted[name] = fit_aligner(
            aligner,
            data["X"][anchors],
            data["label"][anchors],
            language=data["language"][anchors],
            pair_id=ids,
        )
        seconds = time.perf_counter() - start
        found = outcomes(apply_aligner(fitted[name], data["X"], data["language"]), data)
        measured[name] = found
        cells = [str(bootstrap(found[o], **clusters(found))) for o in OBJECTIVES]
        print(f"| {name} | {' | '.join(cells)} | {seconds:.1f} |", flush=True)
    for objective, name in zip(OBJECTIVES, autos, strict=True):
        values = {
            key: bootstrap(found[objective], **clusters(found)).value
            for key, found in measured.items()
            if key in singles
        }
        best = max(values, key=lambda key: values[key])
        gap = paired_difference(
            measured[name][objective], measured[best][objective], **clusters(measured[best])
        )
        print(f"\n{fitted[name]}\nTo the best on the test rows, {best!r}: {gap}")


def clusters(found: dict[str, Any]) -> dict[str, Any]:
    return {"groups": found["sentence"], "strata": found["language"]}


if __name__ == "__main__":
    main()
