"""Words as the pieces that cover their characters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.utils import Bunch

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


@dataclass(frozen=True)
class Split:
    """Sentences and where their words are.

    Parameters
    ----------
    texts : list of str
    spans : list of list of (int, int)
        First character of each word, and the one behind its last.
    """

    texts: list[str]
    spans: list[list[Span]]

    @property
    def counts(self) -> np.ndarray:
        """Words of each sentence."""
        return np.array([len(own) for own in self.spans], dtype=np.int64)

    def table(self) -> Bunch:
        """One entry a word, as :func:`words_of` returns."""
        spans = np.array([span for own in self.spans for span in own], dtype=np.int64)
        return Bunch(
            word=[
                text[a:b] for text, own in zip(self.texts, self.spans, strict=True) for a, b in own
            ],
            sentence=np.repeat(np.arange(len(self.texts)), self.counts),
            position=np.concatenate([np.arange(count) for count in self.counts]),
            start=spans[:, 0],
            end=spans[:, 1],
        )


def words_of(sentences: Sequence[str | Sequence[str]]) -> Bunch:
    """Split sentences into words: what the rows of word embeddings are.

    Parameters
    ----------
    sentences : sequence of str or of lists of str
        A str is split at white space, a list holds its words.

    Returns
    -------
    words : Bunch
        Of length n_words: word, a list of str; sentence and position, ndarrays of int, which
        sentence and which word of it, from 0; start and end, the word's characters in the sentence
        (in the words joined by spaces, where a list came).

    Raises
    ------
    ValueError
        If a sentence has no words, or a word is empty.

    Examples
    --------
    >>> words = words_of(["Snow fell."])
    >>> words.word, words.start.tolist(), words.end.tolist()
    (['Snow', 'fell.'], [0, 5], [4, 10])
    """
    return split_words(sentences).table()


def split_words(sentences: Sequence[str | Sequence[str]]) -> Split:
    """Find the words of sentences; as :func:`words_of`."""
    if isinstance(sentences, str) or not len(sentences):
        raise ValueError("Expected a list of sentences, at least one; a str is no list.")
    texts, spans = [], []
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
        if not found or not all(text[a:b].strip() for a, b in found):
            raise ValueError(
                f"Sentence {number} has {'an empty word' if found else 'no words'}: {text[:60]!r}. "
                "Leave it out."
            )
        texts.append(text)
        spans.append(found)
    return Split(texts, spans)


def gather_words(rows: Tokens, split: Split) -> Pieces:
    """Find the pieces of each word.

    Raises
    ------
    ValueError
        If a word has none.
    """
    tokens = []
    for number, (row, own) in enumerate(zip(rows, split.spans, strict=True)):
        found = _covering(row, own)
        for i, pieces in enumerate(found):
            if not pieces:
                start, end = own[i]
                raise ValueError(
                    f"Word {i} of sentence {number}, {split.texts[number][start:end][:40]!r}, has "
                    "no piece: the sentence was cut before it (raise max_length, or split the "
                    "sentence) or the tokenizer drops all of its characters (leave it out)."
                )
        tokens.append(found)
    return Pieces(tokens)


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
