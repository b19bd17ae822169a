"""Every reader of files, valid files for it, and a walk over all that it gives back."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import pickle
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from mutations import Draw, damaged, edited_json
from sklearn.base import BaseEstimator

import posthoc_align
from posthoc_align.embedding_store import EmbeddingStore
from posthoc_align.embedding_store._index import NAME
from posthoc_align.extract import read_alignment, read_dictionary, read_texts, read_vectors
from posthoc_align.persist import describe
from posthoc_align.store import read_embeddings, read_labels, read_table

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(5, 3)).astype(np.float32)
WORDS = ["the", "katze", "日本", "a-b", "x"]


@dataclass(frozen=True)
class Target:
    """A reader under test.

    Parameters
    ----------
    name : str
    read : callable
        Path -> None; reads the file and looks at every part of what came.
    example : strategy
        Of files: relative name -> content. The first name is the path that is read.
    folder : bool
        Whether the folder of the files is read, instead of the first of them.
    """

    name: str
    read: Callable[[Path], None]
    example: st.SearchStrategy[dict[str, bytes]]
    folder: bool = False

    def put(self, example: dict[str, bytes], folder: Path) -> Path:
        """Write an example, and return the path to read."""
        for name, content in example.items():
            (folder / name).write_bytes(content)
        return folder if self.folder else folder / next(iter(example))


class Canary:
    """Unpickled, it writes the file that no reader may ever write."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def targets(canary: Path) -> list[Target]:
    """All readers; the pickles among their files make the folder `canary` when they are run."""
    bomb = Canary(canary)
    return [
        *_texts(),
        *_vectors(bomb),
        *_tables(bomb),
        *_embeddings(bomb),
        *_stores(),
        *_models(bomb),
    ]


def _one(name: str, suffix: str, read: Callable[[Path], None], seeds: list[bytes]) -> Target:
    return Target(name, read, damaged(seeds).map(lambda data: {f"x{suffix}": data}))


# Texts, vectors, dictionaries, alignments


def _texts() -> list[Target]:
    def read(path: Path) -> None:
        corpus = read_texts(path)
        assert len(corpus.text) == len(corpus.language) == len(corpus.pair_id) > 0
        assert all(text.strip() for text in corpus.text)

    columns = {
        "text": ["Snow.", 'A "dog', "Ünï\u2028code", "Schnee."],
        "language": ["en", "en", "en", "de"],
        "pair_id": [0, 1, -1, 0],
    }
    rows = list(zip(*columns.values(), strict=True))
    lines = [dict(zip(columns, row, strict=True)) for row in rows]
    table = [list(columns), *rows]
    seeds = {
        ".txt": ["\n".join(columns["text"]), "\ufeffa\r\nb\r\n"],
        ".tsv": ["\n".join("\t".join(map(str, row)) for row in table)],
        ".csv": ['text,language,pair_id\n"Snow, rain",en,a\n"say ""x""",de,\n'],
        ".jsonl": ["\n".join(map(json.dumps, lines))],
    }
    found = [
        _one(f"texts {kind}", kind, read, [text.encode() for text in texts])
        for kind, texts in seeds.items()
    ]
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        return found
    stored = []
    for compression in ("none", "snappy", "zstd"):
        stream = io.BytesIO()
        parquet.write_table(pyarrow.table(columns), stream, compression=compression)
        stored.append(stream.getvalue())
    return [*found, _one("texts .parquet", ".parquet", read, stored)]


def _vectors(bomb: Canary) -> list[Target]:
    def read(path: Path, **given: Any) -> None:
        found = read_vectors(path, **given)
        assert found.X.shape[0] == len(found.word) == len(set(found.word.tolist())) > 0
        assert np.asarray(found.X).sum() is not None

    def read_array(path: Path) -> None:
        read(path, vocabulary=path.with_name("words.txt"))

    lines = [
        f"{word} {' '.join(map(repr, map(float, row)))}"
        for word, row in zip(WORDS, ROWS, strict=True)
    ]
    glove = "\n".join(lines).encode()
    head = b"5 3\n"
    binary = head + b"".join(
        f"{word} ".encode() + row.tobytes() + b"\n" for word, row in zip(WORDS, ROWS, strict=True)
    )
    fasttext = (793712314).to_bytes(4, "little") + bytes(40)
    words = damaged(["\n".join(WORDS).encode()])
    both = st.tuples(damaged(_npy(bomb)), words | st.just("\n".join(WORDS).encode()))
    links = b"0-0 1-2 2-1\n\n3-3 0-1\n"
    pairs = b"cat Katze\ncat Kater\nNew York\tNeu York\n"
    return [
        _one("vectors .vec", ".vec", read, [head + glove, glove]),
        _one("vectors .bin", ".bin", read, [binary, fasttext, pickle.dumps(bomb)]),
        Target("vectors .npy", read_array, both.map(lambda b: {"x.npy": b[0], "words.txt": b[1]})),
        _one("dictionary", ".txt", _each(read_dictionary, ("source", "target")), [pairs]),
        _one("alignment", ".align", _links, [links]),
    ]


def _links(path: Path) -> None:
    for links in read_alignment(path):
        assert links.shape[1] == 2
        assert (links >= 0).all()


def _each(read: Callable[[Path], Any], names: tuple[str, ...]) -> Callable[[Path], None]:
    """Read a Bunch whose parts are all as long as the first one."""

    def check(path: Path) -> None:
        found = read(path)
        lengths = {len(found[name]) for name in names}
        assert len(lengths) == 1
        assert lengths.pop() > 0

    return check


# Tables and arrays


def _npy(bomb: Canary) -> list[bytes]:
    boxed = np.empty(2, dtype=object)
    boxed[:] = [bomb, bomb]
    arrays = [
        *(ROWS, ROWS.T.astype(np.float64), ROWS.astype(np.float16), np.asfortranarray(ROWS)),
        *(np.array(WORDS), np.arange(5), boxed, ROWS.astype(complex), np.zeros((0, 3))),
    ]
    found = []
    for array in arrays:
        stream = io.BytesIO()
        np.save(stream, array)
        found.append(stream.getvalue())
    stream = io.BytesIO()
    np.lib.format.write_array(stream, ROWS, version=(2, 0))
    return [*found, stream.getvalue(), pickle.dumps(bomb)]


def _npz(bomb: Canary, keys: tuple[str, ...]) -> st.SearchStrategy[bytes]:
    """Archives damaged as a whole, and whole archives of damaged arrays."""

    def archive(members: list[bytes]) -> bytes:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
            for key, data in zip(keys, members, strict=False):
                file.writestr(f"{key}.npy", data)
        return stream.getvalue()

    plain = [archive([data]) for data in _npy(bomb)]
    return damaged(plain) | st.lists(damaged(_npy(bomb)), min_size=1, max_size=2).map(archive)


def _tables(bomb: Canary) -> list[Target]:
    table = "language,pair_id,label,split\nen,0,a,train\nde,0,a,test\nfi,,b,train\n"
    lines = b"1\n2\n-3\nnews\n"
    labels = _each(lambda path: {"label": read_labels(path)}, ("label",))
    rows = _each(read_table, ("language", "pair_id"))
    found = []
    for kind, text in ((".csv", table), (".tsv", table.replace(",", "\t"))):
        found.append(_one(f"table {kind}", kind, rows, [text.encode()]))
        found.append(_one(f"labels {kind}", kind, labels, [text.encode(), b"label\n1\n2\n"]))
    return [
        *found,
        _one("labels .txt", ".txt", labels, [lines]),
        _one("labels .npy", ".npy", labels, _npy(bomb)),
        Target("labels .npz", labels, _npz(bomb, ("label", "x")).map(lambda d: {"x.npz": d})),
    ]


def _embeddings(bomb: Canary) -> list[Target]:
    from safetensors.numpy import save
    from safetensors.torch import save as save_tensors

    def read(path: Path) -> None:
        X = read_embeddings(path)
        assert len(X.shape) == 2
        assert float(X.sum()) is not None  # every byte is touched: a map may reach too far

    import torch

    stored = [save({"embeddings": ROWS}), save({"a": ROWS, "b": ROWS}), save({"a": np.arange(3)})]
    stored.append(save_tensors({"embeddings": torch.ones(5, 3, dtype=torch.bfloat16)}))
    return [
        _one("embeddings .npy", ".npy", read, _npy(bomb)),
        Target(
            "embeddings .npz", read, _npz(bomb, ("embeddings", "x")).map(lambda d: {"x.npz": d})
        ),
        _one("embeddings .safetensors", ".safetensors", read, [*stored, pickle.dumps(bomb)]),
    ]


# Stores and models


@functools.cache
def _store_files() -> tuple[dict[str, bytes], ...]:
    import tempfile

    import torch

    found = []
    for dtype in ("float32", "bfloat16"):
        X = torch.as_tensor(ROWS).to(getattr(torch, dtype))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "s"
            with EmbeddingStore.create(path, n_features=3, dtype=dtype, layers=[0, 2]) as store:
                for language, ids in (("en", list("abcde")), (["de", "fi"] * 2 + ["fi"], WORDS)):
                    store.append({0: X, 2: 2 * X}, language=language, pair_id=ids)
            found.append({p.name: p.read_bytes() for p in path.iterdir() if p.name[0] != "."})
    return tuple(found)


def _read_store(path: Path) -> None:
    store = EmbeddingStore(path)
    repr(store)
    for layer in [None, *(store.layers or ())]:
        for part in store.shards(layer=layer):
            assert float(part.X.sum()) is not None
    labels = store.language, store.pair_id
    assert all(found is None or len(found) >= 0 for found in labels)
    if len(store):
        assert store.to_array().shape[0] >= 0
        store.rows([0])
    store.verify()


def _stores() -> list[Target]:
    @st.composite
    def index(draw: Draw) -> dict[str, bytes]:
        files = draw(st.sampled_from(_store_files()))
        return {**files, NAME: draw(damaged([files[NAME]]))}

    @st.composite
    def shard(draw: Draw) -> dict[str, bytes]:
        """A damaged shard that the index calls whole, as if its writer had meant it so."""
        files = draw(st.sampled_from(_store_files()))
        name = draw(st.sampled_from(sorted(set(files) - {NAME})))
        data = draw(damaged([files[name]]))
        content = json.loads(files[NAME])
        for entry in content["shards"]:
            if entry["file"] == name:
                entry |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        return {**files, name: data, NAME: json.dumps(content).encode()}

    return [
        Target("store index", _read_store, index(), folder=True),
        Target("store shard", _read_store, shard(), folder=True),
    ]


@functools.cache
def _model_files() -> tuple[bytes, ...]:
    import tempfile

    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    X = RNG.normal(size=(24, 3))
    known = {"language": np.repeat(["en", "de"], 12), "pair_id": np.tile(np.arange(12), 2)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        models = [
            posthoc_align.LanguageCentering().fit(X, language=known["language"]),
            posthoc_align.PivotAligner().fit(X, **known),
            make_pipeline(StandardScaler(), posthoc_align.LSAR()).fit(X),
            posthoc_align.Blend(posthoc_align.LSAR(), strength=0.5),
        ]
    found = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.safetensors"
        for model in models:
            posthoc_align.save(model, path)
            found.append(path.read_bytes())
    return tuple(found)


def _models(bomb: Canary) -> list[Target]:
    from safetensors.numpy import load as load_arrays
    from safetensors.numpy import save as save_arrays

    from posthoc_align.persist import _checksum

    def read(path: Path) -> None:
        about = describe(path)
        assert isinstance(about, dict)
        assert isinstance(posthoc_align.load(path), BaseEstimator)

    def metadata(data: bytes) -> dict[str, str]:
        size = int.from_bytes(data[:8], "little")
        return json.loads(data[8 : 8 + size])["__metadata__"]

    @st.composite
    def signed(draw: Draw) -> bytes:
        """An edited tree whose checksum is right, as an attacker would write it."""
        data = draw(st.sampled_from(_model_files()))
        arrays, about = load_arrays(data), metadata(data)
        text = about["posthoc_align"].encode()
        for _ in range(draw(st.integers(1, 3))):
            text = edited_json(draw, text)
        about["posthoc_align"] = text.decode()
        if draw(st.integers(0, 9)) == 0:
            arrays.pop(draw(st.sampled_from(sorted(arrays)))) if arrays else None
        about["posthoc_align.checksum"] = _checksum(about["posthoc_align"], arrays)
        return save_arrays(arrays, metadata=about)

    name = "x.safetensors"
    seeds = [*_model_files(), pickle.dumps(bomb)]
    return [
        Target("model", read, damaged(seeds).map(lambda data: {name: data})),
        Target("model, signed", read, signed().map(lambda data: {name: data})),
    ]
