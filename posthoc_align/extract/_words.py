"""Words as the pieces that cover their characters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from posthoc_align._arrays import Array, index_like
from posthoc_align.extract._tokens import Tokens

Span = tuple[int, int]


@dataclass(frozen=True)
class Pieces:
    """Which tokens each word of each sentence is made of.

    Parameters
    ----------
    tokens : list of list of list of int
        By sentence and word.
    """

    tokens: list[list[list[int]]]

    def of(self, at: np.ndarray, hidden: Array) -> tuple[Array, Array]:
        """Return states of the pieces of each word of some sentences, padded, and their mask.

        Shapes (n_words, n_pieces, n_features) and (n_words, n_pieces).
        """
        words = [(row, word) for row, i in enumerate(at) for word in self.tokens[i]]
        most = max(len(word) for _, word in words)
        where = np.zeros((len(words), most), dtype=np.int64)
        real = np.zeros((len(words), most), dtype=np.int64)
        for i, (_, word) in enumerate(words):
            where[i, : len(word)] = word
            real[i, : len(word)] = 1
        rows = np.array([row for row, _ in words], dtype=np.int64)[:, None]
        picked = hidden[index_like(rows, hidden), index_like(where, hidden)]
        return picked, index_like(real, hidden).bool()


def split_words(
    sentences: Sequence[str | Sequence[str]],
) -> tuple[list[str], list[list[Span]], list[list[str]]]:
    """Return each sentence as text, the characters of its words, and its words.

    Raises
    ------
    ValueError
        If a sentence has no words, or a word is empty.
    """
    texts, spans, words = [], [], []
    for number, sentence in enumerate(sentences):
        if isinstance(sentence, str):
            found = [match.span() for match in re.finditer(r"\S+", sentence)]
            text = sentence
        else:
            text = " ".join(sentence)
            ends = np.cumsum([len(word) + 1 for word in sentence]) - 1
            found = [
                (int(end) - len(word), int(end)) for word, end in zip(sentence, ends, strict=True)
            ]
        own = [text[a:b] for a, b in found]
        if not own or not all(word.strip() for word in own):
            raise ValueError(
                f"Sentence {number} has {'an empty word' if own else 'no words'}: {text[:60]!r}. "
                "Leave it out."
            )
        texts.append(text)
        spans.append(found)
        words.append(own)
    return texts, spans, words


def gather_words(
    rows: Tokens, spans: Sequence[Sequence[Span]], words: Sequence[Sequence[str]]
) -> tuple[Pieces, np.ndarray]:
    """Find the pieces of each word, and the number of the first word of each sentence.

    Raises
    ------
    ValueError
        If a word has none.
    """
    tokens = []
    for number, (row, own) in enumerate(zip(rows, spans, strict=True)):
        found = _covering(row, own)
        for i, pieces in enumerate(found):
            if not pieces:
                raise ValueError(
                    f"Word {i} of sentence {number}, {words[number][i][:40]!r}, has no piece: the "
                    "sentence was cut before it (raise max_length, or split the sentence) or the "
                    "tokenizer drops all of its characters (leave it out)."
                )
        tokens.append(found)
    first = np.cumsum([0, *(len(own) for own in spans)])
    return Pieces(tokens), first


def _covering(row: dict[str, list], own: Sequence[Span]) -> list[list[int]]:
    """Tokens that share a character with each word; both run from left to right."""
    found: list[list[int]] = [[] for _ in own]
    word = 0
    for token, (start, end) in enumerate(row["offset_mapping"]):
        if row["special_tokens_mask"][token] or start == end:
            continue
        while word < len(own) and own[word][1] <= start:
            word += 1
        at = word
        while at < len(own) and own[at][0] < end:  # a piece may reach into the next word
            found[at].append(token)
            at += 1
    return found
