"""Rows for a command: read from files or a store, and which of them are held out."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from posthoc_align._array_files import existing_file
from posthoc_align._held_out import HeldOut
from posthoc_align.commands._console import Console
from posthoc_align.store import is_store, open_store, read_corpus


def read_rows(arguments: argparse.Namespace, console: Console) -> Bunch:
    """Read the files or the store of a command, its table and labels.

    Parameters
    ----------
    arguments : argparse.Namespace
        With what :func:`posthoc_align.commands._options.add_rows` declares.
    console : Console

    Returns
    -------
    Bunch
        As :func:`posthoc_align.store.read_corpus`.
    """
    with console.step("read"):
        corpus = read_corpus(
            arguments.files,
            table=arguments.table,
            labels=getattr(arguments, "labels", None),
            layer=arguments.layer,
        )
    names = np.unique(corpus.language).tolist()
    if arguments.pivot not in names:
        raise ValueError(
            f"--pivot {arguments.pivot} is none of the languages, {names}: name one of them."
        )
    return corpus


def hold_out(arguments: argparse.Namespace, corpus: Bunch) -> HeldOut:
    """Split the rows as the table says, or draw as ``--test-size`` and ``--seed`` say.

    The draw rests on these two, the pair ids and the pivot alone: commands that are given the
    same hold out the same pairs.
    """
    return HeldOut.of(
        corpus.X,
        corpus.language,
        corpus.pair_id,
        arguments.pivot,
        corpus.label,
        corpus.split,
        arguments.test_size,
        arguments.seed,
    )


class Layers(Mapping[str, Any]):
    """The rows of each layer, read when asked for: one layer is in memory at a time.

    Parameters
    ----------
    arguments : argparse.Namespace
        Whose ``layers`` are numbers of a store's layers or "all", or folders with files named as
        those of ``files``.

    Raises
    ------
    FileNotFoundError
        If a folder lacks a file, before any is read.
    ValueError
        If the store has no such layer.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._files = arguments.files
        self._table = arguments.table
        self._of_store = is_store(arguments.files[0])
        self._layers = self._numbers(arguments) if self._of_store else self._folders(arguments)

    def _numbers(self, arguments: argparse.Namespace) -> dict[str, Any]:
        store = open_store(arguments.files[0])
        there = {str(layer): layer for layer in store.layers or ()}
        wanted = list(there) if arguments.layers == ["all"] else arguments.layers
        missing = [layer for layer in wanted if layer not in there]
        if missing or not wanted:
            raise ValueError(
                f"--layers {' '.join(arguments.layers)}: {store.path} has the layers {list(there)}."
            )
        return {layer: there[layer] for layer in wanted}

    def _folders(self, arguments: argparse.Namespace) -> dict[str, Any]:
        folders = [Path(folder) for folder in arguments.layers]
        alike = len({folder.name for folder in folders}) < len(folders)
        for folder in folders:  # a missing one is found before hours of work
            for path in self._files:
                existing_file(folder / path.name)
        return {str(f) if alike else f.name: f for f in folders}

    def __getitem__(self, layer: str) -> Any:
        place = self._layers[layer]
        if self._of_store:
            return read_corpus(self._files, table=self._table, layer=place).X
        return read_corpus([place / path.name for path in self._files], table=self._table).X

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)
