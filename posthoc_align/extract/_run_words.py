"""From the words of sentences to a store: all of them, or those that an alignment joins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from posthoc_align._array_files import PathLike
from posthoc_align.embedding_store import EmbeddingStore
from posthoc_align.extract._encoder import Encoder
from posthoc_align.extract._links import every_word, linked
from posthoc_align.extract._run import digest_of, write_rows
from posthoc_align.extract._words import split_words
from posthoc_align.languages import check_language


def write_words(
    encoder: Encoder,
    sentences: Sequence[str | Sequence[str]],
    path: PathLike,
    *,
    language: Any = None,
    links: Sequence[np.ndarray] | None = None,
    shard_rows: int = 8192,
    progress: bool = False,
) -> EmbeddingStore:
    """Embed the words of sentences, in their context, into a store, or finish a stopped run.

    Parameters
    ----------
    encoder : Encoder
    sentences : sequence of str or of lists of str
        As :meth:`Encoder.encode_words` takes.
    path : str or path
        Folder of the store.
    language : str, int, or array-like of shape (n_sentences,), optional
    links : list of ndarray of shape (n_links, 2), optional
        Which words translate each other, as :func:`read_alignment` returns, for sentences of two
        languages: element k holds links between the words of the k-th sentence of the language that
        comes first and those of the k-th of the other.
    shard_rows : int, default=8192
        Most rows of a shard, unless one sentence has more.
    progress : bool, default=False
        Show a bar with rate and time left.

    Returns
    -------
    store : EmbeddingStore
        Without links a row for each word, in the order of :func:`words_of`, which says what word
        it is. With links two rows for each link, with its number over all lines as their pair id: a
        word with several links has its row repeated, one without links has none.

    Raises
    ------
    ValueError
        If links came for other than two languages or do not fit their sentences; and as
        :func:`write_store` and :meth:`Encoder.encode_words`.
    BlockingIOError
        If another run writes there.
    """
    labels = check_language(language, len(sentences), of="sentences")
    split = split_words(sentences)
    chosen = every_word(split.counts) if links is None else linked(split.counts, labels, links)
    about = {
        "encoder": encoder.settings(),
        "words": {
            "sentences": len(sentences),
            "rows": sum(len(own) for own in chosen.positions),
            "shard_rows": shard_rows,
            "sha256": digest_of(
                [*split.texts, *split.spans],
                {"language": labels, "words": chosen.positions, "pair_id": chosen.ids},
            ),
        },
    }

    def rows(part: slice, progress: Callable[[int], Any]) -> dict[str, Any]:
        own = range(len(sentences))[part]
        wanted = [i for i in own if len(chosen.positions[i])]
        found = encoder.encode_words([sentences[i] for i in wanted], progress=progress)
        progress(len(own) - len(wanted))
        first = np.cumsum([0, *split.counts[wanted]])
        at = np.concatenate(
            [first[k] + chosen.positions[i] for k, i in enumerate(wanted)], dtype=np.int64
        )
        ids = None if chosen.ids is None else np.concatenate([chosen.ids[i] for i in wanted])
        counts = [len(chosen.positions[i]) for i in wanted]
        return {
            "X": {layer: X[at] for layer, X in found.X.items()},
            "language": None if labels is None else np.repeat(labels[wanted], counts),
            "pair_id": ids,
        }

    ends = np.cumsum([len(own) for own in chosen.positions])
    unit = "sentence" if progress else None
    return write_rows(encoder, Path(path), about, ends, shard_rows, rows, unit)
