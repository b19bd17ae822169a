"""The commands ``posthoc-align fit``, ``transform``, ``inspect`` and ``export``."""

from __future__ import annotations

import argparse
import json
import warnings
from functools import partial
from pathlib import Path
from typing import Any

METHODS = ("auto", "centring", "lsar", "procrustes", "ridge")
FORMATS = {".onnx": "ONNX", ".npz": "arrays W and b", ".faiss": "an empty faiss index"}

EXAMPLES = """examples:
  posthoc-align fit emb/*.npy --pivot en --output aligner.safetensors
      choose a method on held-out translations and fit it; one file a language
  posthoc-align transform aligner.safetensors new/de.npy new/sw.npy --output aligned
      align other rows of these languages, a file each
  posthoc-align inspect aligner.safetensors
  posthoc-align export aligner.safetensors de.onnx --language de
"""


def add_commands(commands: Any, corpus_command: Any) -> None:
    """Add the four commands to a parser's subcommands.

    Parameters
    ----------
    commands : subparsers
        What ``ArgumentParser.add_subparsers`` returned.
    corpus_command : callable
        ``corpus_command(commands, name, help)``, a command that reads embeddings of languages.
    """
    fit = corpus_command(commands, "fit", "fit an aligner on your embeddings and save it")
    fit.epilog = EXAMPLES
    fit.add_argument(
        "--method",
        choices=METHODS,
        default="auto",
        help="auto chooses on held-out translations (default: %(default)s)",
    )
    fit.add_argument(
        "--objective",
        choices=("retrieval", "transfer"),
        default="retrieval",
        help="what auto chooses for; transfer wants --labels (default: %(default)s)",
    )
    fit.add_argument("--output", type=Path, required=True, help="the model file, .safetensors")
    fit.set_defaults(run=run_fit)

    transform = _command(commands, "transform", "align rows by a saved aligner")
    transform.add_argument("model", type=Path, help="a file that fit or save wrote")
    transform.add_argument(
        "files", nargs="+", type=Path, help="embeddings, one file a language, or one with --table"
    )
    transform.add_argument("--table", type=Path, help="CSV or TSV, as for fit")
    transform.add_argument("--output", type=Path, required=True, help="folder for .npy files")
    transform.set_defaults(run=run_transform)

    inspect = _command(commands, "inspect", "say what is in a model file")
    inspect.add_argument("model", type=Path, help="a file that fit or save wrote")
    inspect.add_argument("--json", action="store_true", help="as JSON")
    inspect.set_defaults(run=run_inspect)

    export = _command(commands, "export", "hand an aligner of one language to something else")
    export.add_argument("model", type=Path, help="a file that fit or save wrote")
    export.add_argument(
        "output", type=Path, help="; ".join(f"{end}: {what}" for end, what in FORMATS.items())
    )
    export.add_argument("--language", help="of the rows; may be left out where all are alike")
    export.set_defaults(run=run_export)


def _command(commands: Any, name: str, text: str) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = commands.add_parser(
        name, help=text, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    return made


def run_fit(arguments: argparse.Namespace) -> None:
    """Fit an aligner on all rows and save it. Parameters as in the command."""
    from posthoc_align.align._apply import fit_aligner
    from posthoc_align.persist import save
    from posthoc_align.store import read_corpus

    corpus = read_corpus(arguments.files, table=arguments.table, labels=arguments.labels)
    known = {"language": corpus.language, "pair_id": corpus.pair_id}
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        model = fit_aligner(_method(arguments), corpus.X, corpus.label, **known)
    save(model, arguments.output)
    for note in dict.fromkeys(str(warning.message) for warning in heard):
        print(f"warning: {note}")
    print(getattr(model, "reason_", " ".join(repr(model).split())))
    print(f"written to {arguments.output}")


def _method(arguments: argparse.Namespace) -> Any:
    import posthoc_align as pa

    if arguments.pivot not in {path.stem for path in arguments.files} and arguments.table is None:
        raise ValueError(
            f"--pivot {arguments.pivot} is none of the files' languages, "
            f"{sorted(path.stem for path in arguments.files)}: name one of them."
        )
    return {
        "auto": pa.AutoAligner(objective=arguments.objective, pivot=arguments.pivot),
        "centring": pa.LanguageCentering(),
        "lsar": pa.LSAR(),
        "procrustes": pa.PivotAligner(pivot=arguments.pivot),
        "ridge": pa.PivotAligner(pa.LinearMap(), pivot=arguments.pivot),
    }[arguments.method]


def run_transform(arguments: argparse.Namespace) -> None:
    """Align each file and write it under its own name. Parameters as in the command."""
    import numpy as np

    from posthoc_align._array_files import write_whole
    from posthoc_align._arrays import labels_to_host, upcast
    from posthoc_align.align._apply import apply_aligner
    from posthoc_align.persist import load
    from posthoc_align.store import read_embeddings, read_table

    model = load(arguments.model)
    if arguments.table is not None and len(arguments.files) > 1:
        raise ValueError("A table describes the rows of one file: pass one file, or no --table.")
    places = [arguments.output / f"{path.stem}.npy" for path in arguments.files]
    for path, place in zip(arguments.files, places, strict=True):
        if place.resolve() == path.resolve():
            raise ValueError(f"--output {arguments.output} would overwrite {path}: choose another.")
    arguments.output.mkdir(parents=True, exist_ok=True)
    for path, place in zip(arguments.files, places, strict=True):
        X = read_embeddings(path)
        language: Any = path.stem
        if arguments.table is not None:
            language = read_table(arguments.table).language
        try:
            Z = apply_aligner(model, X, language)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        rows = labels_to_host(upcast(Z) if "bfloat16" in str(Z.dtype) else Z)  # .npy has no such
        write_whole(place, partial(np.save, arr=rows))
        print(f"{place}: {rows.shape[0]} rows of {rows.shape[1]}, {rows.dtype}")


def run_inspect(arguments: argparse.Namespace) -> None:
    """Print what a model file holds. Parameters as in the command."""
    from posthoc_align.persist import describe

    about = describe(arguments.model)
    if arguments.json:
        print(json.dumps(about, ensure_ascii=False))
        return
    for name, value in about.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {part}" for key, part in value.items())
        elif isinstance(value, list):
            value = ", ".join(value)
        print(f"{name}: {value}")


def run_export(arguments: argparse.Namespace) -> None:
    """Write a model in the format that the file's extension names. Parameters as in the command."""
    from posthoc_align import export
    from posthoc_align.persist import load

    ending = arguments.output.suffix.lower()
    if ending not in FORMATS:
        raise ValueError(
            f"{arguments.output} has the extension {ending!r}; expected one of {list(FORMATS)}."
        )
    model = load(arguments.model)
    if ending == ".onnx":
        export.to_onnx(model, arguments.output, arguments.language)
    elif ending == ".faiss":
        index = export.to_faiss(model, arguments.language)
        import faiss

        faiss.write_index(index, str(arguments.output))
    else:
        import numpy as np

        W, b = export.to_arrays(model, arguments.language)
        np.savez(arguments.output, W=W, b=b)
    print(f"written to {arguments.output}: {FORMATS[ending]}")
