"""``posthoc-align export``: a saved aligner for where no Python estimator runs."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from posthoc_align.commands._console import Console
from posthoc_align.commands._options import declare, folder_or_name
from posthoc_align.commands._outputs import ready_file, ready_folder, require_empty

Writer = Callable[[Any, argparse.Namespace], None]
FORMATS = {".onnx": "ONNX", ".npz": "arrays W and b", ".faiss": "an empty faiss index"}
EXAMPLES = """\
  posthoc-align export aligner.safetensors de.onnx --language de
  posthoc-align export aligner.safetensors de.npz --language de
      arrays: rows @ W + b are the aligned rows
  posthoc-align export aligner.safetensors folder --encoder model --language de
      a sentence-transformers model: the encoder, then the aligner
"""


def add(commands: Any) -> None:
    """Add the command.

    Parameters
    ----------
    commands : subparsers
    """
    command = declare(
        commands,
        "export",
        run,
        text="hand a saved aligner to something else, for rows of one language",
        examples=EXAMPLES,
    )
    command.add_argument("model", type=Path, help="a file that fit or save wrote")
    command.add_argument(
        "output",
        type=Path,
        help="; ".join(f"{end}: {what}" for end, what in FORMATS.items())
        + "; a new folder with --encoder",
    )
    command.add_argument(
        "--language",
        metavar="LANG",
        help="of the rows; may be left out where all are treated alike",
    )
    command.add_argument(
        "--encoder",
        type=folder_or_name,
        metavar="MODEL",
        help="folder or hub name of a sentence-transformers model, to be saved with the aligner",
    )


def run(arguments: argparse.Namespace) -> None:
    """Run the command.

    Parameters
    ----------
    arguments : argparse.Namespace
        As :func:`add` declares them.
    """
    from posthoc_align.persist import load

    console = Console(arguments)
    place, ending = arguments.output, arguments.output.suffix.lower()
    if arguments.encoder is not None:
        if ending in FORMATS:
            raise ValueError(f"--encoder came with {place}: with it the output is a folder.")
        require_empty(place)
        ready_folder(place.parent)
        write: Writer = _encoder
        what, replaced = "a sentence-transformers model", False
    else:
        if ending not in FORMATS:
            raise ValueError(
                f"{place} has the extension {ending!r}; expected one of {list(FORMATS)}, or a "
                "folder with --encoder."
            )
        replaced = ready_file(place, read=[arguments.model])
        what, write = FORMATS[ending], WRITERS[ending]
    with console.step("export"):
        write(load(arguments.model), arguments)
    console.written(place, what, replaced=replaced)
    console.result(None, {"output": place, "format": what, "language": arguments.language})


def _onnx(model: Any, arguments: argparse.Namespace) -> None:
    from posthoc_align.export import to_onnx

    to_onnx(model, arguments.output, arguments.language)


def _arrays(model: Any, arguments: argparse.Namespace) -> None:
    from functools import partial

    import numpy as np

    from posthoc_align._array_files import write_whole
    from posthoc_align.export import to_arrays

    W, b = to_arrays(model, arguments.language)
    write_whole(arguments.output, partial(np.savez, W=W, b=b))


def _faiss(model: Any, arguments: argparse.Namespace) -> None:
    from posthoc_align._array_files import write_whole
    from posthoc_align.export import to_faiss

    index = to_faiss(model, arguments.language)  # says what to install
    import faiss

    write_whole(arguments.output, faiss.serialize_index(index).tobytes())


def _encoder(model: Any, arguments: argparse.Namespace) -> None:
    from posthoc_align.commands._seen import require_like_fitted
    from posthoc_align.export import to_sentence_transformers

    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise ImportError(
            '--encoder needs sentence-transformers: pip install "posthoc-align[extract]"'
        ) from error
    encoder = SentenceTransformer(arguments.encoder)
    require_like_fitted(model, encoder.encode(["A sentence."], show_progress_bar=False))
    whole = to_sentence_transformers(model, encoder, language=arguments.language)
    whole.save_pretrained(str(arguments.output))


WRITERS: dict[str, Writer] = {
    ".onnx": _onnx,
    ".npz": _arrays,
    ".faiss": _faiss,
}
