"""What a head is worth by the labels it has: ``python benchmarks/heads.py [bundled|sib200]``.

First table, label shift: in one language after the other, each class in turn keeps all of its
anchor rows and every other class one in ten. An English head is scored on the test rows of that
language (all classes as they come) with the language centred on all of its anchors, on the skewed
ones, on the skewed ones with equal class weights, and with those weights taken from labels that the
head itself guessed. Outcomes are averaged over the classes in turn.

Second table, more source languages: labelled rows of one language or of several, of the same
number in total or of all; centring or ridge to identity; scored on languages without any label.

Per cent, 95 % intervals over sentences.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from quality import bundled, sib200

from posthoc_align import AlignedClassifier, LanguageCentering, LinearMap, PivotAligner
from posthoc_align.metrics.confidence import bootstrap, paired_difference

# Languages whose script and words the encoder met in training, and which its head reads.
READABLE = {"bundled": ("de", "fr", "es"), "sib200": ("deu_Latn", "fra_Latn", "spa_Latn")}
KEPT = 0.1
GUESSED = "skewed, balanced by guesses"


def skewed(label: np.ndarray, rows: np.ndarray, dominant: Any, rng: Any) -> np.ndarray:
    """Rows of one language of which every class but one keeps one in ten."""
    kept = []
    for name in np.unique(label[rows]).tolist():
        own = rng.permutation(rows[label[rows] == name])
        kept.append(own if name == dominant else own[: max(2, round(KEPT * len(own)))])
    return np.sort(np.concatenate(kept))


def shift_outcomes(data: dict[str, Any], language: Any) -> dict[str, np.ndarray]:
    """For each way to centre one language, the share of hits of its test rows, class by class."""
    X, label, rng = data["X"], data["label"], np.random.default_rng(0)
    test = data["split"] == "test"
    here, pivot = data["language"] == language, data["language"] == data["pivot"]
    english = np.flatnonzero(pivot & ~test)
    model = AlignedClassifier(LanguageCentering())
    model.fit(X[english], label[english], language=data["pivot"])
    anchors, tested = np.flatnonzero(here & ~test), np.flatnonzero(here & test)

    def predict(rows: np.ndarray, fitted_on: np.ndarray, classes: Any = None) -> np.ndarray:
        centring = LanguageCentering(class_balanced=classes is not None)
        Z = centring.fit(X[fitted_on], classes).transform(X[rows])
        return model.head_.predict(model.scale_ * Z)

    outcomes: dict[str, list[np.ndarray]] = {}
    for dominant in np.unique(label).tolist():
        few = skewed(label, anchors, dominant, rng)
        guessed = predict(few, few)
        found = {
            "all anchors": predict(tested, anchors),
            "skewed": predict(tested, few),
            "skewed, balanced by labels": predict(tested, few, label[few]),
            GUESSED: predict(tested, few, guessed),
        }
        for name, classes in found.items():
            outcomes.setdefault(name, []).append(classes == label[tested])
    return {name: np.mean(hits, axis=0) for name, hits in outcomes.items()}


def label_shift(data: dict[str, Any], languages: list[Any]) -> dict[str, Any]:
    """Outcomes of all ways to centre, with the sentence and language of each row."""
    test = data["split"] == "test"
    found = [shift_outcomes(data, language) for language in languages]
    rows = [np.flatnonzero(test & (data["language"] == language)) for language in languages]
    return {
        "outcomes": {name: np.concatenate([f[name] for f in found]) for name in found[0]},
        "groups": np.concatenate([data["pair_id"][at] for at in rows]),
        "strata": np.concatenate([data["language"][at] for at in rows]),
    }


def print_label_shift(data: dict[str, Any], title: str, languages: list[Any]) -> None:
    found = label_shift(data, languages)
    by = {"groups": found["groups"], "strata": found["strata"]}
    print(f"| {title} | accuracy | minus skewed |\n|---|---:|---:|")
    for name, hits in found["outcomes"].items():
        other = (
            "" if name == "skewed" else paired_difference(hits, found["outcomes"]["skewed"], **by)
        )
        print(f"| {name} | {bootstrap(hits, **by)} | {other} |", flush=True)
    print()


def print_sources(data: dict[str, Any], sources: tuple[Any, ...]) -> None:
    X, label, language, ids = data["X"], data["label"], data["language"], data["pair_id"]
    test = data["split"] == "test"
    anchors = np.flatnonzero(~test)
    scored = np.flatnonzero(test & ~np.isin(language, [data["pivot"], *sources]))
    one = anchors[language[anchors] == data["pivot"]]
    all_of = anchors[np.isin(language[anchors], [data["pivot"], *sources])]
    sentences = np.random.default_rng(0).permutation(np.unique(ids[one]))
    share = {s: i % (1 + len(sources)) for i, s in enumerate(sentences.tolist())}
    place = {name: i for i, name in enumerate([data["pivot"], *sources])}
    # As many labels as English has, each sentence labelled in one of the languages.
    spread = np.array([r for r in all_of if share[ids[r].item()] == place[language[r].item()]])
    by = {"groups": ids[scored], "strata": language[scored]}
    aligners = {
        "identity": "passthrough",
        "centring": LanguageCentering(),
        "ridge to identity": PivotAligner(LinearMap(), pivot=data["pivot"]),
    }
    several = "+".join(map(str, (data["pivot"], *sources)))
    print("| aligner | labels of | rows | accuracy elsewhere | minus one source |")
    print("|---|---|---:|---:|---:|")
    for name, aligner in aligners.items():
        given = {"X_anchor": X[anchors], "language_anchor": language[anchors]}
        if name == "ridge to identity":
            given["pair_id_anchor"] = ids[anchors]
        hits: dict[str, np.ndarray] = {}
        for what, rows in {data["pivot"]: one, several: spread, f"{several}, all": all_of}.items():
            model = AlignedClassifier(aligner)
            model.fit(
                X[rows],
                label[rows],
                language=language[rows],
                **(given if aligner != "passthrough" else {}),
            )
            hits[what] = model.predict(X[scored], language=language[scored]) == label[scored]
            gain = (
                ""
                if what == data["pivot"]
                else paired_difference(hits[what], hits[data["pivot"]], **by)
            )
            print(
                f"| {name} | {what} | {len(rows)} | {bootstrap(hits[what], **by)} | {gain} |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", nargs="?", choices=["bundled", "sib200"], default="bundled")
    corpus = parser.parse_args().corpus
    data = {"bundled": bundled, "sib200": sib200}[corpus]()
    readable = READABLE[corpus]
    others = [n for n in np.unique(data["language"]).tolist() if n != data["pivot"]]
    print_label_shift(data, f"label shift, {', '.join(readable)}", list(readable))
    print_label_shift(data, f"label shift, all {len(others)}", others)
    print_sources(data, readable)


if __name__ == "__main__":
    main()
