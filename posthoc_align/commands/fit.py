"""``posthoc-align fit``: an aligner from rows, into a file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posthoc_align.commands._console import Console
from posthoc_align.commands._options import add_labels, add_rows, add_split, declare
from posthoc_align.commands._outputs import ready_file

if TYPE_CHECKING:
    import numpy as np
    from sklearn.utils import Bunch

METHODS = ("auto", "centring", "lsar", "procrustes", "ridge")
EXAMPLES = """\
  posthoc-align fit store --pivot en --output aligner.safetensors
      choose a method on held-out translations, then fit it on all rows
  posthoc-align fit emb/*.npy --pivot en --test-size 0.25 --output a.safetensors
      leave a quarter of the pairs out, for evaluate with the same --test-size
  posthoc-align fit all.npy --table rows.csv --pivot en --output a.safetensors
      leave out the rows whose column split says test
"""


def add(commands: Any) -> None:
    """Add the command.

    Parameters
    ----------
    commands : subparsers
    """
    command = declare(
        commands,
        "fit",
        run,
        text="fit an aligner on your embeddings and save it",
        examples=EXAMPLES,
    )
    add_rows(command)
    add_labels(command, "what --objective transfer learns from")
    command.add_argument(
        "--method",
        choices=METHODS,
        default="auto",
        help="auto chooses on held-out translations (default: %(default)s)",
    )
    command.add_argument(
        "--objective",
        choices=("retrieval", "transfer"),
        default="retrieval",
        help="what auto chooses for; transfer wants --labels (default: %(default)s)",
    )
    add_split(
        command,
        default=None,
        text="share of the pairs to leave out, for evaluate (default: none, or the rows that the "
        "table's column split calls test)",
    )
    command.add_argument(
        "--output", type=Path, required=True, metavar="FILE", help="the model, .safetensors"
    )


def run(arguments: argparse.Namespace) -> None:
    """Run the command.

    Parameters
    ----------
    arguments : argparse.Namespace
        As :func:`add` declares them.
    """
    from posthoc_align._arrays import index_like
    from posthoc_align.align._apply import fit_aligner
    from posthoc_align.commands._rows import read_rows
    from posthoc_align.commands._seen import remember_rows
    from posthoc_align.persist import describe, save

    console = Console(arguments)
    place = arguments.output
    if place.suffix.lower() != ".safetensors":
        raise ValueError(f"--output {place}: a model is written to a .safetensors file.")
    replaced = ready_file(place, read=arguments.files)
    if arguments.objective == "transfer" and arguments.method != "auto":
        raise ValueError("--objective is what auto chooses for: leave it out, or --method.")
    corpus = read_rows(arguments, console)
    rows = _fitted_rows(arguments, corpus)
    left_out = corpus.X.shape[0] - len(rows)
    console.note(
        f"fit {arguments.method} on {len(rows)} rows"
        + (f", {left_out} left out" if left_out else ", all of them")
    )
    X = corpus.X[index_like(rows, corpus.X)] if left_out else corpus.X
    with console.step("fit"):
        model = fit_aligner(
            _method(arguments),
            X,
            None if corpus.label is None else corpus.label[rows],
            language=corpus.language[rows],
            pair_id=corpus.pair_id[rows],
        )
    remember_rows(model, X)
    save(model, place)
    reason = getattr(model, "reason_", None)
    console.note(reason or " ".join(repr(model).split()))
    console.written(place, replaced=replaced)
    about = {"model": place, "fitted_rows": len(rows), "left_out_rows": left_out, "reason": reason}
    console.result(None, about | describe(place))


def _fitted_rows(arguments: argparse.Namespace, corpus: Bunch) -> np.ndarray:
    """All rows, but those that are to be measured later."""
    import numpy as np

    from posthoc_align.commands._rows import hold_out

    if arguments.test_size is not None and corpus.split is not None:
        raise ValueError(
            f"--test-size came, and {arguments.table} has the column split: the column says which "
            "rows are left out. Leave out one of them."
        )
    named = corpus.split is not None and bool(np.any(corpus.split == "test"))
    if arguments.test_size is None and not named:
        return np.arange(corpus.X.shape[0])
    return np.flatnonzero(~hold_out(arguments, corpus).test)


def _method(arguments: argparse.Namespace) -> Any:
    import posthoc_align as pa

    makers = {
        "auto": lambda: pa.AutoAligner(objective=arguments.objective, pivot=arguments.pivot),
        "centring": pa.LanguageCentering,
        "lsar": pa.LSAR,
        "procrustes": lambda: pa.PivotAligner(pivot=arguments.pivot),
        "ridge": lambda: pa.PivotAligner(pa.LinearMap(), pivot=arguments.pivot),
    }
    return makers[arguments.method]()
