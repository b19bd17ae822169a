"""Which words translate each other: dictionaries and word alignments."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from posthoc_align._array_files import PathLike, existing_file
from posthoc_align._table_files import read_text


def read_dictionary(path: PathLike) -> Bunch:
    r"""Read a dictionary in the format of MUSE: a word and its translation a line.

    Parameters
    ----------
    path : str or path
        UTF-8 text; the two words of a line are parted by a tab, or else by spaces. A word with
        several translations has a line for each.

    Returns
    -------
    dictionary : Bunch
        source, target : ndarray of str of shape (n_pairs,); in the order of the file, equal lines
        once.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is empty, no UTF-8, or a line does not hold two words.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "en-de.txt"
    >>> _ = path.write_text("cat Katze\ncat Kater\ndog\tHund\n")
    >>> read_dictionary(path).source.tolist()
    ['cat', 'cat', 'dog']
    """
    path = existing_file(path)
    pairs: dict[tuple[str, str], None] = {}
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        words = line.strip("\r").split("\t") if "\t" in line else line.split()
        if len(words) != 2 or not all(word.strip() for word in words):
            raise ValueError(
                f"{path} has {len(words)} words in line {number}, {line[:60]!r}; expected a word "
                "and its translation. Part words that hold spaces by a tab."
            )
        pairs[words[0].strip(), words[1].strip()] = None
    if not pairs:
        raise ValueError(f"{path} has no pairs: expected a word and its translation a line.")
    source, target = zip(*pairs, strict=True)
    return Bunch(source=np.array(source), target=np.array(target))


def dictionary_rows(
    dictionary: Bunch, source_words: Sequence[str], target_words: Sequence[str]
) -> Bunch:
    """Find the rows of the words of a dictionary in two vocabularies.

    Many-to-many: a word with several translations has its row repeated, and pair k of the two
    results is one entry, so that k serves as the pair id.

    Parameters
    ----------
    dictionary : Bunch
        source, target : words, as :func:`read_dictionary` returns.
    source_words, target_words : sequence of str
        The word of each row of the two spaces; none twice.

    Returns
    -------
    rows : Bunch
        * source, target : ndarray of int of shape (n_found,)
        * missing : list of (str, str); entries of which a word is in neither vocabulary

    Raises
    ------
    ValueError
        If a vocabulary has a word twice, or no entry is found.

    Warns
    -----
    UserWarning
        If entries are missing.

    Examples
    --------
    >>> entries = Bunch(source=["cat", "cat"], target=["Katze", "Kater"])
    >>> rows = dictionary_rows(entries, ["dog", "cat"], ["Kater", "Hund", "Katze"])
    >>> rows.source, rows.target
    (array([1, 1]), array([2, 0]))
    """
    places = [_places(source_words, "source_words"), _places(target_words, "target_words")]
    found, missing = [], []
    for a, b in zip(dictionary.source, dictionary.target, strict=True):
        at = places[0].get(str(a)), places[1].get(str(b))
        if None in at:
            missing.append((str(a), str(b)))
        else:
            found.append(at)
    if not found:
        raise ValueError(
            f"None of the {len(missing)} entries has both words in the vocabularies, such as "
            f"{missing[:1]}. Check languages, direction and letter case."
        )
    if missing:
        warnings.warn(
            f"{len(missing)} of {len(missing) + len(found)} entries of the dictionary have a word "
            f"that is in no vocabulary, such as {missing[0]}; they are left out (see .missing).",
            UserWarning,
            stacklevel=2,
        )
    rows = np.array(found, dtype=np.int64)
    return Bunch(source=rows[:, 0], target=rows[:, 1], missing=missing)


def _places(words: Sequence[str], name: str) -> dict[str, int]:
    places = {str(word): row for row, word in enumerate(words)}
    if len(places) < len(words):
        twice = next(w for row, w in enumerate(words) if places[str(w)] != row)
        raise ValueError(f"{name} has {str(twice)!r} more than once: keep one row of each word.")
    return places


def read_alignment(path: PathLike) -> list[np.ndarray]:
    r"""Read word alignments: a line a sentence pair, links ``i-j`` parted by spaces.

    Parameters
    ----------
    path : str or path
        Word i of the source sentence is linked to word j of the target sentence, from 0, as
        fast_align, eflomal and SimAlign write. An empty line has no links.

    Returns
    -------
    links : list of ndarray of int of shape (n_links, 2)

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is empty or a link is not of that form.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "en-de.align"
    >>> _ = path.write_text("0-0 1-2\n\n")
    >>> [links.tolist() for links in read_alignment(path)]
    [[[0, 0], [1, 2]], []]
    """
    path = existing_file(path)
    text = read_text(path)
    if not text:
        raise ValueError(f"{path} is empty: expected a line of links i-j for each sentence pair.")
    found = []
    for number, line in enumerate(text.removesuffix("\n").split("\n"), start=1):
        links = line.split()
        odd = [link for link in links if not re.fullmatch(r"\d{1,9}-\d{1,9}", link, re.ASCII)]
        if odd:
            raise ValueError(
                f"{path} has {odd[0][:40]!r} in line {number}: expected links i-j of word numbers "
                "from 0, parted by spaces."
            )
        pairs = [[int(part) for part in link.split("-")] for link in links]
        found.append(np.array(pairs, dtype=np.int64).reshape(-1, 2))
    return found


def word_pairs(
    source: Any, target: Any, links: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Find the rows of linked words in the words of two lists of sentences.

    Parameters
    ----------
    source, target : Bunch
        Words of corresponding sentences, as :meth:`Encoder.encode_words` returns: sentence k of
        one translates sentence k of the other.
    links : list of ndarray of shape (n_links, 2)
        Of each sentence, as :func:`read_alignment` returns.

    Returns
    -------
    source_rows, target_rows : ndarray of int of shape (n_links,)
        Row ``source_rows[k]`` is linked to ``target_rows[k]``; a word with several links is
        repeated, and k serves as the pair id.

    Raises
    ------
    ValueError
        If a sentence has no line of links, or a link points behind the end of its sentence.
    """
    tables = [{at: row for row, at in enumerate(_places_in_text(w))} for w in (source, target)]
    n_sentences = max(int(words.sentence.max()) + 1 for words in (source, target))
    if n_sentences != len(links):
        raise ValueError(
            f"{len(links)} lines of links came for {n_sentences} sentences: expected a line a "
            "sentence, an empty one where there are no links."
        )
    rows: list[tuple[int, int]] = []
    for sentence, pairs in enumerate(links):
        for i, j in pairs.tolist():
            at = tables[0].get((sentence, i)), tables[1].get((sentence, j))
            if at[0] is None or at[1] is None:
                raise ValueError(
                    f"Link {i}-{j} of sentence {sentence} points to a word that is not there. "
                    "Words count from 0, split as they were for the alignment."
                )
            rows.append((at[0], at[1]))
    found = np.array(rows, dtype=np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def _places_in_text(words: Any) -> zip[tuple[int, int]]:
    """Sentence and position of each word."""
    return zip(words.sentence.tolist(), words.position.tolist(), strict=True)
