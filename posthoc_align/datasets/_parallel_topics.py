"""The bundled parallel corpus: one table of sentences, one array of embeddings a language."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from importlib.resources import files

import numpy as np
from sklearn.utils import Bunch

_FIRST_LANGUAGE = 3  # the table's columns before: pair_id, topic, split


def load_parallel_topics(*, languages: Iterable[str] | None = None) -> Bunch:
    """Load 1200 sentences on 6 topics in 12 languages, with their embeddings.

    The encoder (all-MiniLM-L6-v2) was trained on English, so the other languages start nearly
    unaligned. Read from the installed package: about 11 MB of memory, no download.

    Parameters
    ----------
    languages : iterable of str, or str, optional
        Which languages to load; all of en de fr es tr fi id sw vi ru zh ar when None.
        The order asked for does not matter: rows always follow the order above.

    Returns
    -------
    corpus : Bunch
        Rows are grouped by language, and within each in the same order of sentences;
        n_rows = 1200 a language.

        * embeddings : ndarray of float16, shape (n_rows, 384), not normalised
        * language : ndarray of str, shape (n_rows,)
        * pair_id : ndarray of str, shape (n_rows,); equal ids are translations of each other
        * topic : ndarray of str, shape (n_rows,); 6 classes of 200 sentences
        * split : ndarray of str, shape (n_rows,); "train" (780), "dev" (120) or "test" (300)
        * text : ndarray of object (str), shape (n_rows,)
        * languages : list of str, those loaded
        * pivot : "en"
        * DESCR : str, origin and licence

    Raises
    ------
    ValueError
        If a language is not in the corpus, or none is asked for.

    Examples
    --------
    >>> corpus = load_parallel_topics(languages=["en", "de"])
    >>> corpus.embeddings.shape
    (2400, 384)
    >>> corpus.text[corpus.pair_id == "health-010"].tolist()[0]
    'She broke her wrist while skating and wore a cast for six weeks.'
    """
    folder = files("posthoc_align.datasets") / "parallel_topics"
    with io.StringIO((folder / "sentences.tsv").read_text(encoding="utf-8"), newline="") as table:
        header, *rows = csv.reader(table, delimiter="\t", quoting=csv.QUOTE_NONE)
    available = header[_FIRST_LANGUAGE:]
    chosen = _choose(languages, available)
    columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    embeddings = [(folder / "minilm_l6" / f"{code}.npy").read_bytes() for code in chosen]

    def each_language(column: str) -> np.ndarray:
        return np.tile(np.array(columns[column]), len(chosen))

    return Bunch(
        embeddings=np.concatenate(
            [np.lib.format.read_array(io.BytesIO(e), allow_pickle=False) for e in embeddings]
        ),
        language=np.repeat(np.array(chosen), len(rows)),
        pair_id=each_language("pair_id"),
        topic=each_language("topic"),
        split=each_language("split"),
        text=np.concatenate([np.array(columns[code], dtype=object) for code in chosen]),
        languages=chosen,
        pivot="en",
        DESCR=(folder / "README.md").read_text(encoding="utf-8"),
    )


def _choose(languages: Iterable[str] | None, available: Sequence[str]) -> list[str]:
    """Return the languages asked for, in the corpus's own order."""
    if languages is None:
        return list(available)
    asked = {languages} if isinstance(languages, str) else set(languages)
    unknown = sorted(asked - set(available), key=str)
    if unknown or not asked:
        came = f"Unknown languages {unknown}" if unknown else "languages is empty"
        raise ValueError(
            f"{came}: parallel_topics has {', '.join(available)}. "
            "Pass some of these codes, or None for all."
        )
    return [code for code in available if code in asked]
