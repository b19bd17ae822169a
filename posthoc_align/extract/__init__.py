"""From text to embeddings: encoders by layer, static vectors, dictionaries.

Needs transformers for :class:`Encoder` (``pip install "posthoc-align[extract]"``); the readers of
vectors, dictionaries and alignments need nothing more.
"""

from posthoc_align.extract._encoder import Encoder
from posthoc_align.extract._run import write_store
from posthoc_align.extract._run_words import write_words
from posthoc_align.extract._words import words_of
from posthoc_align.extract.dictionaries import (
    dictionary_rows,
    read_alignment,
    read_dictionary,
    word_pairs,
)
from posthoc_align.extract.texts import read_texts
from posthoc_align.extract.vectors import read_vectors

__all__ = [
    "Encoder",
    "dictionary_rows",
    "read_alignment",
    "read_dictionary",
    "read_texts",
    "read_vectors",
    "word_pairs",
    "words_of",
    "write_store",
    "write_words",
]
