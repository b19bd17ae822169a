"""Models in files that are data, never code: one safetensors file with JSON in its metadata."""

from __future__ import annotations

import hashlib
import json
import platform
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
from sklearn.base import BaseEstimator

import posthoc_align
from posthoc_align._array_files import PathLike, Refused, existing_file, write_whole
from posthoc_align._state import Packer, unpack

FORMAT = 1
"""Version of the file format; a reader reads its own and all before."""

_KEY = "posthoc_align"


def save(model: Any, path: PathLike) -> None:
    """Write an estimator, fitted or not, or a Pipeline of them, to one file.

    The file is written beside its place and then moved there: whoever reads the path finds the old
    file or the new one, whole. Arrays are stored as they are, a tensor as the array it holds.

    Parameters
    ----------
    model : estimator
        Of this library, or of scikit-learn: Pipeline, scalers, PCA and linear heads.
    path : str or path
        Conventionally with the extension ``.safetensors``.

    Raises
    ------
    TypeError
        If the model, or something in it, is of a kind that the file cannot hold, such as a
        function, a random state or a forest. It names the attribute.
    OSError
        If the file cannot be written; what was at `path` stays.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from posthoc_align import LSAR, load, save
    >>> X, language = np.array([[1.0, 2.0], [3.0, 4.0]]), "en"
    >>> fitted = LSAR().fit(X, language=language)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(fitted, f"{folder}/lsar.safetensors")
    ...     again = load(f"{folder}/lsar.safetensors")
    >>> again.transform(X[:1]) == fitted.transform(X[:1])
    array([[ True,  True]])
    """
    from safetensors.numpy import save as to_bytes

    if not isinstance(model, BaseEstimator):
        raise TypeError(f"Only an estimator can be saved; got {type(model).__name__}.")
    packer = Packer()
    content = {"model": packer.pack(model, type(model).__name__), "about": _about(model)}
    text = json.dumps(content, ensure_ascii=False, allow_nan=False)
    metadata = {
        _KEY: text,
        f"{_KEY}.format": str(FORMAT),
        f"{_KEY}.checksum": _checksum(text, packer.arrays),
    }
    write_whole(Path(path), to_bytes(packer.arrays, metadata=metadata))


def load(path: PathLike) -> Any:
    """Read a model that :func:`save` wrote. Nothing in the file is run.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    estimator
        As it was saved.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is no model file, was damaged (its checksum differs), was written by a later
        version, or names a class that this version does not know.

    Warns
    -----
    UserWarning
        If it holds estimators of scikit-learn that another version of it fitted.
    """
    path = existing_file(path)
    metadata, arrays = _read(path)
    text = _content(path, metadata, arrays)
    content = _tree(path, text)
    try:
        model = unpack(content["model"], arrays)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Refused(f"{path} is not a model this version can read: {error}.") from error
    if not isinstance(model, BaseEstimator):
        raise Refused(f"{path} holds no estimator but a {type(model).__name__}.")
    _warn_of_versions(path, text, content)
    return model


def _warn_of_versions(path: Path, text: str, content: Mapping[str, Any]) -> None:
    """Warn where estimators of scikit-learn were fitted by another version of it."""
    about = content.get("about")
    versions = about.get("versions") if isinstance(about, dict) else None
    written = versions.get("scikit-learn") if isinstance(versions, dict) else None
    if '"object": "sklearn.' in text and written != sklearn.__version__:
        warnings.warn(
            f"{path} holds estimators that scikit-learn {written} fitted, and this is "
            f"{sklearn.__version__}: what they learned may be read differently. Check their "
            "answers, or fit and save them again.",
            UserWarning,
            stacklevel=3,
        )


def describe(path: PathLike) -> dict[str, Any]:
    """Say what is in a model file.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    dict
        ``estimator``, ``languages``, ``rows`` (a language, where it was counted),
        ``versions`` (of the libraries that wrote it), ``bytes`` (of its arrays).

    Raises
    ------
    FileNotFoundError, ValueError
        As :func:`load`.
    """
    path = existing_file(path)
    metadata, arrays = _read(path)
    text = _content(path, metadata, arrays)
    about = _tree(path, text).get("about")
    size = sum(array.nbytes for array in arrays.values())
    return (about if isinstance(about, dict) else {}) | {"bytes": size}


def _tree(path: Path, text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refused(f"{path} is not a model this version can read: {error}.") from error
    if not isinstance(content, dict):
        raise Refused(
            f"{path} is not a model this version can read: it holds a {type(content).__name__} "
            "where an object belongs."
        )
    return content


def _about(model: Any) -> dict[str, Any]:
    """What a person wants to know of a file; :func:`load` makes no use of it."""
    moments = vars(model).get("moments_")
    counts = (
        {str(name): part.count for name, part in moments.items()}
        if isinstance(moments, Mapping)
        else None
    )
    languages = vars(model).get("languages_")
    return {
        "estimator": " ".join(repr(model).split()),
        "languages": None if languages is None else [str(name) for name in languages],
        "rows": counts,
        "versions": {
            "posthoc_align": posthoc_align.__version__,
            "numpy": np.__version__,
            "scikit-learn": sklearn.__version__,
            "python": platform.python_version(),
        },
    }


def _checksum(text: str, arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256(text.encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"{name}:{array.dtype.str}:{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _read(path: Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if _KEY not in metadata:
                raise Refused(
                    f"{path} holds arrays but no model. Embeddings are read by "
                    "posthoc_align.store.read_embeddings; a model file is written by "
                    "posthoc_align.save(model, path)."
                )
            names = list(file.keys())  # the handle is no mapping: it cannot be iterated itself
            return metadata, {name: file.get_tensor(name) for name in names}
    except (SafetensorError, TypeError) as error:  # TypeError: a type that NumPy has not
        raise Refused(
            f"{path} is not a complete model file ({error}). Copy or write it again with "
            "posthoc_align.save(model, path)."
        ) from error


def _content(path: Path, metadata: Mapping[str, str], arrays: Mapping[str, np.ndarray]) -> str:
    """The JSON text of a file of a known version whose checksum is right."""
    version = metadata.get(f"{_KEY}.format", "")
    if not version.isdecimal():
        raise Refused(f"{path} does not say in which version of the format it was written.")
    if int(version[:9]) > FORMAT:
        raise Refused(
            f"{path} is of version {version[:9]} of the format and this posthoc_align "
            f"({posthoc_align.__version__}) reads up to {FORMAT}: upgrade it, or save the model "
            "with an older one."
        )
    text = metadata[_KEY]
    if metadata.get(f"{_KEY}.checksum") != _checksum(text, arrays):
        raise Refused(
            f"{path} was damaged or changed since it was saved: its checksum differs. Copy or "
            "write it again."
        )
    return text
