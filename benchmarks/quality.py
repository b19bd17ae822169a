"""What a method reaches on held-out rows: ``python benchmarks/quality.py [corpus] [method ...]``.

Corpus is ``bundled`` (the default) or ``sib200`` (found through POSTHOC_ALIGN_DATA). Each method is
fitted on the anchors (train and dev rows) and measured on the test rows: English against each other
language, in per cent, averaged over languages. Prints a Markdown table, grouped by what a method is
given. Settings were chosen on dev rows with methods fitted on train rows; no test row chose any.
``--pairs 200`` hides all but so many translations; ``--separate`` turns each language by a random
rotation of its own, as if it came from another encoder.
"""

from __future__ import annotations

import argparse
import csv
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.pipeline import make_pipeline

import posthoc_align as pa
from posthoc_align.datasets import load_parallel_topics

MEASURES = {
    "weak": "weak",
    "weak_reverse": "reverse",
    "strong": "strong",
    "csls": "CSLS",
    "language_id": "language id",
    "head_others": "head",
}


def methods(pivot: str) -> dict[str, dict[str, Any]]:
    """From what is given to the methods that need no more than that."""

    def pivoted(estimator: Any, **options: Any) -> Any:
        return pa.PivotAligner(estimator, pivot=pivot, **options)

    return {
        "monolingual rows, language labels": {
            "identity": "passthrough",
            "LanguageCentering": pa.LanguageCentering(),
            "LanguageScaling": pa.LanguageScaling(),
            "LIR": pa.LIR(),
            "LSAR": pa.LSAR(),
            "LEACE": pa.LEACE(),
            "LEACE, orthogonal": pa.LEACE(method="orthogonal"),
            "INLP": pa.INLP(),
            "AllButTheTop": pa.AllButTheTop(),
            "ClusterIsotropy": pa.ClusterIsotropy(random_state=0),
            "LanguageAxes": pa.LanguageAxes(),
            "LanguageWhitening": pa.LanguageWhitening(),
            "LanguageSubspaceShift": pa.LanguageSubspaceShift(to=pivot),
            "GaussianTransport": pa.GaussianTransport(),
            "TransportMap, entropic": pivoted(pa.TransportMap()),
            "TransportMap, exact, 30 neighbours": pivoted(
                pa.TransportMap(method="exact", n_neighbors=30)
            ),
            "TransportMap, entropic, then linear": pivoted(
                pa.TransportMap(reg=0.02, tol=1e-2, out_of_sample=pa.LinearMap(penalty=3.0))
            ),
            "WassersteinProcrustes": pivoted(pa.WassersteinProcrustes(n_iter=40)),
            "AdversarialMap": pivoted(pa.AdversarialMap()),
            "SelfLearningAligner": pa.SelfLearningAligner(pivot=pivot),
        },
        "translations of one language pair": {
            "SharedAligner, English-German": pa.SharedAligner(
                pivot=pivot, languages=["de" if pivot == "en" else "deu_Latn"]
            ),
        },
        "translations": {
            "Procrustes": pivoted(pa.Procrustes()),
            "CCAMap, VecMap supervised": pivoted(pa.CCAMap(preset="supervised")),
            "CCAMap, canonical correlations": pivoted(pa.CCAMap(preset="cca")),
            "LinearMap, ridge to zero": pivoted(pa.LinearMap(prior="zero")),
            "LinearMap, ridge to identity": pivoted(pa.LinearMap()),
            "LinearMap, half strength": pivoted(pa.Blend(pa.LinearMap())),
            "ContrastiveMap": pivoted(pa.ContrastiveMap(random_state=0)),
            "SharedAligner": pa.SharedAligner(pivot=pivot),
            "ConsensusAligner, ridge": pa.ConsensusAligner(),
            "ConsensusAligner, Procrustes": pa.ConsensusAligner(method="procrustes"),
            "ConsensusAligner, CCA": pa.ConsensusAligner(method="cca"),
            "LinearMap, then ConceptWhitening": make_pipeline(
                pivoted(pa.LinearMap()), pa.ConceptWhitening()
            ),
            "ContrastiveMap, then ConceptWhitening": make_pipeline(
                pivoted(pa.ContrastiveMap(random_state=0)), pa.ConceptWhitening()
            ),
        },
    }


def bundled() -> dict[str, Any]:
    corpus = load_parallel_topics()
    return {
        "X": corpus.embeddings.astype(np.float32),
        "language": corpus.language,
        "pair_id": corpus.pair_id,
        "label": corpus.topic,
        "split": corpus.split,
        "pivot": "en",
    }


def sib200() -> dict[str, Any]:
    folder = Path(os.environ.get("POSTHOC_ALIGN_DATA", "../shared/data")) / "sib200"
    with open(folder / "labels.tsv", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    files = sorted((folder / "minilm_l6").glob("*.npy"))
    return {
        "X": np.vstack([np.load(path).astype(np.float32) for path in files]),
        "language": np.repeat([path.stem for path in files], len(rows)),
        "pair_id": np.tile(np.arange(len(rows)), len(files)),
        "label": np.tile([row["category"] for row in rows], len(files)),
        "split": np.tile([row["split"] for row in rows], len(files)),
        "pivot": "eng_Latn",
    }


def with_few_pairs(data: dict[str, Any], pairs: int) -> dict[str, Any]:
    """The same rows, of which only so many anchor sentences are known to translate each other."""
    anchors = np.unique(data["pair_id"][data["split"] != "test"])
    known = np.random.default_rng(0).permutation(anchors)[:pairs]
    hidden = (data["split"] != "test") & ~np.isin(data["pair_id"], known)
    return {**data, "pair_id": np.where(hidden, -1, data["pair_id"])}


def with_separate_spaces(data: dict[str, Any]) -> dict[str, Any]:
    """The same rows, each language but the pivot turned by a rotation of its own."""
    rng, X = np.random.default_rng(0), data["X"].copy()
    for label in np.unique(data["language"]):
        if label != data["pivot"]:
            rows = data["language"] == label
            turn = np.linalg.qr(rng.normal(size=(X.shape[1], X.shape[1])))[0]
            X[rows] = X[rows] @ turn.astype(np.float32)
    return {**data, "X": X}


def for_separate_spaces(pivot: str) -> dict[str, dict[str, Any]]:
    """What can bring together spaces that have nothing in common."""

    def pivoted(estimator: Any) -> Any:
        return pa.PivotAligner(estimator, pivot=pivot)

    return {
        "monolingual rows, language labels": {
            "identity": "passthrough",
            "LanguageCentering": pa.LanguageCentering(),
            "SelfLearningAligner, start=distribution": pa.SelfLearningAligner(
                pa.Procrustes(), pivot=pivot, start="distribution", keep=0.1, random_state=0
            ),
        },
        "translations": {
            "Procrustes": pivoted(pa.Procrustes()),
            "LinearMap, ridge to identity": pivoted(pa.LinearMap()),
            "LinearMap, ridge to the rotation": pivoted(pa.LinearMap(prior="procrustes")),
            "CCAMap, canonical correlations": pivoted(pa.CCAMap(preset="cca")),
            "ContrastiveMap, start=procrustes": pivoted(
                pa.ContrastiveMap(start="procrustes", random_state=0)
            ),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", nargs="?", choices=["bundled", "sib200"], default="bundled")
    parser.add_argument("methods", nargs="*", help="only those whose name begins like one of these")
    parser.add_argument("--pairs", type=int, help="translations that are known; all by default")
    parser.add_argument("--separate", action="store_true", help="a space of its own a language")
    arguments = parser.parse_args()
    data = {"bundled": bundled, "sib200": sib200}[arguments.corpus]()
    if arguments.pairs:
        data = with_few_pairs(data, arguments.pairs)
    if arguments.separate:
        data = with_separate_spaces(data)
    choices = for_separate_spaces if arguments.separate else methods
    warnings.simplefilter("ignore")
    print("| | " + " | ".join(MEASURES.values()) + " | seconds |")
    print("|---" + "|---:" * (len(MEASURES) + 1) + "|")
    for given, aligners in choices(data["pivot"]).items():
        chosen = {
            name: aligner
            for name, aligner in aligners.items()
            if not arguments.methods or name.startswith(tuple(arguments.methods))
        }
        if chosen:
            print(f"| *given: {given}* |" + " |" * (len(MEASURES) + 1))
        for name, aligner in chosen.items():
            row = pa.compare(**data, aligners={name: aligner}).rows[-1]
            cells = [f"{100 * row['values'][key]:.1f}" for key in MEASURES]
            print(f"| {name} | " + " | ".join(cells) + f" | {row['seconds']:.1f} |", flush=True)


if __name__ == "__main__":
    main()
