"""Arrays in files of three formats, checked before a row is read and never unpickled.

A header that promises more than the file has, pickled objects, text and complex numbers end in a
ValueError that says what came and what to do.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import secrets
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from posthoc_align._arrays import Array

PathLike = str | os.PathLike[str]

ARRAY_KEY = "embeddings"
SAVE = "Save it with numpy.save(path, embeddings), embeddings of shape (n_samples, n_features)."
# Types a safetensors file may hold that NumPy has; bfloat16 ("BF16") is read as a tensor.
_SAFETENSORS = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "I8": "|i1", "U8": "|u1", "I16": "<i2"}


class Refused(ValueError):
    """A ValueError whose message is already fit for the user."""


def unreadable(path: Path, error: Exception) -> Refused:
    """Return the refusal for whatever a parser stumbled over in damaged bytes."""
    return Refused(
        f"{path} cannot be read as {path.suffix.lower()} ({type(error).__name__}: "
        f"{str(error).split('. ')[0][:200]}): it is damaged or of another format. Write it again."
    )


def existing_file(path: object) -> Path:
    """Return the path of a file that is there, or raise."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"Expected the path of a file, a str or Path; got {type(path).__name__}.")
    path = Path(os.fspath(path))
    if path.is_dir():
        raise ValueError(
            f"{path} is a folder; expected a file. Pass its files, e.g. "
            f'sorted(Path("{path}").glob("*.npy")).'
        )
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no file {path} (looked in {Path.cwd()}). Check the path and its extension."
        )
    return path


def require_numbers(where: object, dtype: np.dtype[Any]) -> None:
    """Refuse, before any row is read, what cannot be embeddings."""
    if dtype.hasobject:
        raise Refused(
            f"{where} holds pickled Python objects; expected numbers. It was not unpickled, "
            "because that can run any code. Where the file comes from, save a plain array: "
            "numpy.asarray(embeddings, dtype=numpy.float32), or numpy.asarray(labels, dtype=str)."
        )
    if dtype.kind not in "biuf":
        kind = {"U": "text", "S": "bytes", "c": "complex numbers"}.get(dtype.kind, "no numbers")
        raise Refused(f"{where} holds {kind} (dtype {dtype}); expected real numbers. {SAVE}")


def require_rows(where: object, shape: tuple[int, ...]) -> None:
    """Refuse what is not two-dimensional, or is empty."""
    if len(shape) != 2:
        raise Refused(
            f"{where} holds an array of shape {shape}; expected two dimensions, "
            "(n_samples, n_features). Reshape or pool it to one row a text, then save it again."
        )
    if 0 in shape:
        raise Refused(
            f"{where} is empty: shape {shape}; expected at least one row and one column. "
            "Check the step that wrote it."
        )


def read_npy(path: Path) -> Array:
    """Map an array; its rows stay on disk."""
    with path.open("rb") as stream:
        shape, fortran, dtype = npy_header(stream, path, os.path.getsize(path))
        require_numbers(path, dtype)
        require_rows(path, shape)  # an empty file cannot be mapped
        offset = stream.tell()
    return np.memmap(path, dtype, "r", offset, shape, order="F" if fortran else "C")


def npy_header(
    stream: BinaryIO, where: object, size: int
) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read what a .npy stream of `size` bytes declares; leave it where its data begin."""
    start = stream.read(8)
    if start[:6] != b"\x93NUMPY":
        pickled = start[:1] == b"\x80"
        what = "looks like a bare pickle (not opened)" if pickled else f"starts with {start!r}"
        raise Refused(f"{where} is not a .npy file: it {what}. {SAVE}")
    # Version 3 differs from 2 only in the encoding of field names, and tables are refused anyway.
    old = start[6] == 1
    read = np.lib.format.read_array_header_1_0 if old else np.lib.format.read_array_header_2_0
    length = stream.read(2 if old else 4)
    left = size - stream.tell()
    if int.from_bytes(length, "little") > left:  # before as much memory is asked for
        raise Refused(
            f"{where} is truncated: it declares a header of {int.from_bytes(length, 'little')} "
            f"bytes, and {left} are there. Copy or write it again."
        )
    header = stream.read(int.from_bytes(length, "little"))
    shape, fortran, dtype = read(io.BytesIO(length + header))
    n_bytes = dtype.itemsize * math.prod(shape)
    if min(shape, default=0) < 0 or (n_bytes > size - stream.tell() and not dtype.hasobject):
        raise Refused(
            f"{where} is truncated: its header declares {shape} {dtype}, {n_bytes} bytes, and "
            f"{size - stream.tell()} are there. Copy or write it again."
        )
    return shape, fortran, dtype


def read_npz(path: Path) -> Array:
    """Read the embeddings of a zip archive of arrays into memory."""
    return npz_array(path, ARRAY_KEY, text=False)


def npz_array(path: Path, key: str, *, text: bool) -> np.ndarray:
    """Read the array `key`, or the only one; `text` admits str besides numbers."""
    if not zipfile.is_zipfile(path):
        raise Refused(
            f"{path} is not a .npz file (a zip archive of arrays), or it is truncated. Write it "
            "again with numpy.savez(path, embeddings=embeddings)."
        )
    with zipfile.ZipFile(path) as archive:
        key = one_key(path, [name.removesuffix(".npy") for name in archive.namelist()], key)
        member = key if key in archive.namelist() else key + ".npy"
        where = f"{path}[{key!r}]"
        size = archive.getinfo(member).file_size
        with archive.open(member) as stream:
            shape, fortran, dtype = npy_header(cast(BinaryIO, stream), where, size)
            if not (text and dtype.kind == "U"):
                require_numbers(where, dtype)
            data = stream.read()
    return np.ndarray(shape, dtype, data, order="F" if fortran else "C")


def one_key(path: Path, keys: Sequence[str], preferred: str, what: str = "arrays") -> str:
    """Return the preferred key if it is there, else the only one."""
    if preferred in keys:
        return preferred
    if len(keys) != 1:
        raise Refused(
            f"{path} holds {len(keys)} {what}, {sorted(keys)}; expected one, or one named "
            f"{preferred!r}. Save the wanted one under that name."
        )
    return keys[0]


def read_safetensors(path: Path) -> Array:
    """Map a tensor as a NumPy array; bfloat16 as a torch tensor."""
    from safetensors import SafetensorError, safe_open

    try:
        # The library checks that header and data fit each other; the arrays are mapped here.
        with safe_open(path, framework="numpy") as file:
            key = one_key(path, list(file.keys()), ARRAY_KEY)
            stored = file.get_slice(key)
            kind, shape = stored.get_dtype(), tuple(stored.get_shape())
    except SafetensorError as error:
        raise Refused(
            f"{path} is not a complete .safetensors file ({error}). Copy or write it again with "
            'safetensors.numpy.save_file({"embeddings": embeddings}, path).'
        ) from error
    where = f"{path}[{key!r}]"
    require_rows(where, shape)
    if kind != "BF16" and kind not in _SAFETENSORS:
        raise Refused(
            f"{where} is of type {kind}; expected one of BF16, {', '.join(_SAFETENSORS)}. "
            "Convert it, e.g. to float16, and save it again."
        )
    return map_tensor(path, key)


def map_tensor(path: Path, key: str) -> Array:
    """Map one tensor of a checked .safetensors file; its rows stay on disk."""
    with path.open("rb") as stream:
        header = int.from_bytes(stream.read(8), "little")
        entry = json.loads(stream.read(header))[key]
    kind, shape, (begin, _) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
    if kind == "BF16":  # NumPy has no such type
        from safetensors import safe_open

        with safe_open(path, framework="pt") as file:
            return file.get_tensor(key)
    if 0 in shape:  # nothing to map
        return np.empty(shape, _SAFETENSORS[kind])
    return np.memmap(path, _SAFETENSORS[kind], "r", 8 + header + begin, shape)


def write_whole(path: Path, data: bytes | Callable[[BinaryIO], object]) -> None:
    """Put data, or what a function writes, in place as a whole or not at all, and make it last."""
    part = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    file = part.open("xb")
    try:
        with file:
            data(file) if callable(data) else file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
    with contextlib.suppress(OSError):  # where a folder cannot be opened (Windows)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
