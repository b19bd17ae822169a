"""The command ``posthoc-align extract``: from files of texts to a store."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

HELP = "embed files of texts, any layers, into a store"
EXAMPLES = """examples:
  posthoc-align extract path/to/model en.txt de.txt --output store
      one text a line, line i of each file translates line i of the others; last layer
  posthoc-align extract intfloat/multilingual-e5-small texts.tsv --output store --layers all
      a table with the columns text, language, pair_id; all layers
  posthoc-align extract path/to/model *.txt --output store --layers 6 12 --dtype float16
      two layers in half the space
Run again with the same arguments, a run that was stopped goes on where it was.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    """
    parser.epilog = EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("model", help="folder or hub name of a transformers or sentence-transformers model")
    add(
        "files",
        nargs="+",
        type=Path,
        help=".txt (a text a line, its language the file's stem), .tsv, .csv, .jsonl or .parquet "
        "(columns text, language, pair_id)",
    )
    add("--output", type=Path, required=True, help="folder of the store")
    add("--language", nargs="+", help="of each file, or one for all (default: as the files say)")
    add(
        "--layers",
        nargs="+",
        default=["-1"],
        help="numbers, 0 before the first block, -1 the last; or all (default: -1)",
    )
    add("--pooling", choices=["mean", "cls", "last", "max"], help="(default: as the model says)")
    add("--no-special-tokens", action="store_true", help="leave [CLS], </s> and such out of it")
    add("--max-length", type=int, help="tokens to cut texts at (default: as the model says)")
    add("--batch-size", type=int, default=32, help="texts at once (default: %(default)s)")
    types = ["float32", "float16", "bfloat16"]
    add("--dtype", choices=types, default="float32", help="of the store (default: %(default)s)")
    add("--compute-dtype", choices=types, default="float32", help="the model runs in (float32)")
    add("--device", help="cpu, cuda, cuda:1 (default: cuda if there is any)")
    add("--shard-rows", type=int, default=8192, help="rows of a shard (default: %(default)s)")
    add("--json", action="store_true", help="say what was written as JSON")
    add("--quiet", action="store_true", help="no progress bar")


def run(arguments: argparse.Namespace) -> None:
    """Run the command on parsed arguments.

    Parameters
    ----------
    arguments : argparse.Namespace
        As :func:`add_arguments` declares them.
    """
    from posthoc_align.extract import Encoder, read_texts, write_store

    given = arguments.language
    corpus = read_texts(arguments.files, language=given[0] if given and len(given) == 1 else given)
    encoder = Encoder(
        arguments.model,
        layers=_layers(arguments.layers),
        pooling=arguments.pooling,
        special_tokens=not arguments.no_special_tokens,
        max_length=arguments.max_length,
        batch_size=arguments.batch_size,
        dtype=arguments.dtype,
        compute_dtype=arguments.compute_dtype,
        device=arguments.device,
    )
    if not arguments.quiet:
        print(
            f"{len(corpus.text)} texts, layers {list(encoder.layers_)}, "
            f"{encoder.pooling_} pooling, on {encoder.device_}",
            file=sys.stderr,
        )
    store = write_store(
        encoder,
        corpus.text,
        arguments.output,
        language=corpus.language,
        pair_id=corpus.pair_id,
        shard_rows=arguments.shard_rows,
        progress=not arguments.quiet,
    )
    if arguments.json:
        about = {
            "store": str(store.path),
            "rows": len(store),
            "n_features": store.n_features,
            "layers": store.layers,
            "dtype": store.dtype,
        }
        print(json.dumps(about))
    else:
        print(store)


def _layers(given: list[str]) -> str | list[int]:
    if given == ["all"]:
        return "all"
    try:
        return [int(layer) for layer in given]
    except ValueError:
        raise ValueError(
            f"--layers {' '.join(given)}: expected numbers, like 0 6 -1, or all."
        ) from None
