"""``posthoc-align extract``: from files of texts to a store."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posthoc_align.commands._console import Console
from posthoc_align.commands._options import declare, folder_or_name, layer_or_all
from posthoc_align.commands._outputs import ready_folder

if TYPE_CHECKING:
    from sklearn.utils import Bunch

EXAMPLES = """\
  posthoc-align extract path/to/model en.txt de.txt --output store
      one text a line, line i of each file translates line i of the others
  posthoc-align extract intfloat/multilingual-e5-small texts.tsv --output store
      a table with the columns text, language, pair_id
  posthoc-align extract path/to/model *.txt --output store --layers 6 12
      two layers
  posthoc-align extract path/to/model en.txt de.txt --alignment i-j --output s
      words in their context that translate each other, two rows a link
Run again with the same arguments, a run that was stopped goes on where it was.
"""
TYPES = ("float32", "float16", "bfloat16")


def add(commands: Any) -> None:
    """Add the command.

    Parameters
    ----------
    commands : subparsers
    """
    command = declare(
        commands,
        "extract",
        run,
        text="embed files of texts with a model, any of its layers, into a store",
        examples=EXAMPLES,
    )
    option = command.add_argument
    option(
        "model",
        type=folder_or_name,
        help="folder or hub name of a transformers or sentence-transformers model",
    )
    option(
        "files",
        nargs="+",
        type=Path,
        help=".txt (a text a line, its language the file's stem), .tsv, .csv, .jsonl or .parquet "
        "(columns text, language, pair_id)",
    )
    option("--output", type=Path, required=True, metavar="FOLDER", help="folder of the store")
    option(
        "--language",
        nargs="+",
        metavar="LANG",
        help="of each file, or one for all (default: as the files say)",
    )
    option(
        "--layers",
        nargs="+",
        type=layer_or_all,
        default=["-1"],
        metavar="N",
        help="numbers, 0 before the first block, -1 the last; or all (default: -1). One more than "
        "there are blocks is what encode of a sentence-transformers model returns",
    )
    option("--pooling", choices=["mean", "cls", "last", "max"], help="(default: as the model says)")
    option("--no-special-tokens", action="store_true", help="leave [CLS], </s> and such out of it")
    option(
        "--max-length", type=int, metavar="N", help="tokens to cut at (default: as the model says)"
    )
    option(
        "--batch-size",
        type=int,
        default=32,
        metavar="N",
        help="texts at once (default: %(default)s)",
    )
    option("--dtype", choices=TYPES, default="float32", help="of the store (default: %(default)s)")
    option(
        "--compute-dtype",
        choices=TYPES,
        default="float32",
        help="the model runs in (default: %(default)s)",
    )
    option(
        "--words",
        action="store_true",
        help="a row for each word instead of each text, without pair ids; in Python "
        "posthoc_align.extract.words_of(texts) gives each row's word",
    )
    option(
        "--alignment",
        type=Path,
        metavar="FILE",
        help="links i-j between the words of two languages, a line a pair of texts, as fast_align "
        "writes them: two rows a link, which share its number as pair_id",
    )
    option("--device", help="cpu, cuda, cuda:1 (default: cuda if there is any)")
    option(
        "--shard-rows",
        type=int,
        default=8192,
        metavar="N",
        help="rows of a shard (default: %(default)s)",
    )
    command.set_defaults(resume="The same command goes on where it stopped.")


def run(arguments: argparse.Namespace) -> None:
    """Run the command.

    Parameters
    ----------
    arguments : argparse.Namespace
        As :func:`add` declares them.
    """
    from posthoc_align.extract import (
        Encoder,
        read_alignment,
        read_texts,
        write_store,
        write_words,
    )

    console = Console(arguments)
    given = arguments.language
    corpus = read_texts(arguments.files, language=given[0] if given and len(given) == 1 else given)
    links = None if arguments.alignment is None else read_alignment(arguments.alignment)
    if links is not None:
        _require_same_order(corpus, arguments.alignment)
    elif arguments.words and _given(corpus.pair_id).any():
        console.note(
            "a row for each word: the pair ids of the texts are left out. "
            "posthoc_align.extract.words_of(texts) gives each row's word, --alignment pairs words."
        )
    ready_folder(arguments.output)
    with console.step("load"):
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
    console.note(
        f"{len(corpus.text)} texts, layers {list(encoder.layers_)}, {encoder.pooling_} pooling, "
        f"on {encoder.device_}"
    )
    how: Any = {"shard_rows": arguments.shard_rows, "progress": console.progress}
    with console.step("embed"):
        if arguments.words or links is not None:
            store = write_words(
                encoder, corpus.text, arguments.output, language=corpus.language, links=links, **how
            )
        else:
            store = write_store(
                encoder,
                corpus.text,
                arguments.output,
                language=corpus.language,
                pair_id=corpus.pair_id,
                **how,
            )
    about = {
        "store": store.path,
        "rows": len(store),
        "n_features": store.n_features,
        "layers": store.layers,
        "dtype": store.dtype,
    }
    console.written(store.path, f"{len(store)} rows of {store.n_features}, {store.dtype}")
    console.result(None, about)


def _given(pair_id: Any) -> Any:
    """Where a table names a pair id."""
    return pair_id != ("" if pair_id.dtype.kind == "U" else -1)


def _require_same_order(corpus: Bunch, path: Path) -> None:
    """Raise if line i of the links would join sentences that do not translate each other."""
    names = list(dict.fromkeys(corpus.language.tolist()))
    sides = [corpus.pair_id[corpus.language == name] for name in names]
    if len(sides) != 2 or len(sides[0]) != len(sides[1]):
        return  # which is refused with the counts in it, where words are linked
    if not all(_given(side).any() for side in sides):
        return
    odd = (sides[0] != sides[1]).nonzero()[0]
    if len(odd):
        row = int(odd[0])
        first, second = (_said(side[row]) for side in sides)
        raise ValueError(
            f"Line {row} (from 0) of {path} would join sentences of different pairs: row {row} of "
            f"{names[0]!r} has {first}, row {row} of {names[1]!r} has {second}. Sort the rows of "
            "both languages by pair_id, in the order that the links were made in."
        )


def _said(pair_id: Any) -> str:
    return f"the pair_id {pair_id.item()!r}" if _given(pair_id) else "no pair_id"


def _layers(given: list[str]) -> str | list[int]:
    if given == ["all"]:
        return "all"
    if "all" in given:
        raise ValueError(f"--layers {' '.join(given)}: expected numbers, like 0 6 -1, or all.")
    return [int(layer) for layer in given]
