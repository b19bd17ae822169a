"""Which words of sentences become rows, and which rows translate each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Chosen:
    """Words of each sentence that become rows, in this order; a word may come several times.

    Parameters
    ----------
    positions : list of ndarray of int
        By sentence.
    ids : list of ndarray of int, or None
        Pair ids of the same.
    """

    positions: list[np.ndarray]
    ids: list[np.ndarray] | None = None


def every_word(counts: np.ndarray) -> Chosen:
    """Each word once."""
    return Chosen([np.arange(count) for count in counts])


def linked(counts: np.ndarray, language: np.ndarray | None, links: Sequence[np.ndarray]) -> Chosen:
    """The words of each link of the sentences of two languages, one pair id a link.

    Parameters
    ----------
    counts : ndarray of int of shape (n_sentences,)
        Words of each sentence.
    language : ndarray of shape (n_sentences,) or None
    links : list of ndarray of shape (n_links, 2)

    Raises
    ------
    ValueError
        If the sentences are not of two languages, as many of each as there are lines of links, a
        link points behind the end of its sentence, or there are no links.
    """
    names = [] if language is None else list(dict.fromkeys(language.tolist()))
    if language is None or len(names) != 2:
        raise ValueError(
            f"Links came with sentences of {len(names) or 'no named'} languages{_named(names)}: "
            "they join the words of two. Pass language=, and the sentences of two languages."
        )
    sides = [np.flatnonzero(language == name) for name in names]
    if {len(side) for side in sides} != {len(links)}:
        raise ValueError(
            f"{len(links)} lines of links came for {len(sides[0])} sentences in {names[0]!r} and "
            f"{len(sides[1])} in {names[1]!r}: expected a line a sentence pair, an empty one where "
            "there are no links."
        )
    positions: list[np.ndarray] = [np.zeros(0, dtype=np.int64)] * len(counts)
    ids = positions.copy()
    number = 0
    for line, pairs in enumerate(links):
        own = np.asarray(pairs, dtype=np.int64).reshape(-1, 2)
        numbers = np.arange(number, number + len(own))
        number += len(own)
        for column, side in enumerate(sides):
            sentence = side[line]
            wrong = own[(own[:, column] < 0) | (own[:, column] >= counts[sentence])]
            if len(wrong):
                raise ValueError(
                    f"Link {wrong[0][0]}-{wrong[0][1]} in line {line} (from 0) points to word "
                    f"{wrong[0][column]} of a sentence in {names[column]!r} that has "
                    f"{counts[sentence]}. Words count from 0, split as they were for the alignment."
                )
            positions[sentence], ids[sentence] = own[:, column], numbers
    if not number:
        raise ValueError(f"None of the {len(links)} lines has a link: there are no rows to write.")
    return Chosen(positions, ids)


def _named(names: Sequence[object]) -> str:
    return f", {', '.join(map(repr, names[:5]))}" * bool(names)
