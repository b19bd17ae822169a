"""A fitted estimator as plain data, a JSON tree and named arrays, and back.

Nothing of a tree is ever called. An object is a name and its attributes; the name must be one of
:func:`known_classes`, and its attributes are put in place without running any code of the class.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import math
from collections.abc import Callable, Mapping
from functools import cache
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from posthoc_align._arrays import is_tensor, labels_to_host

# Statistics and maps that fitted estimators hold, by the module they live in.
_PARTS = {
    "posthoc_align.moments": ("Moments", "LanguageMoments"),
    "posthoc_align.pair_moments": ("PairMoments",),
    "posthoc_align.align._affine": ("Affine", "Removal"),
    "posthoc_align.align._covariance": ("MatchedAffine",),
    "posthoc_align.align.recipe": ("FittedRecipe",),
    "posthoc_align.metrics.confidence": ("Estimate",),
}

# Estimators of scikit-learn whose state is arrays and numbers. Left out is what holds functions
# (FunctionTransformer), compiled objects (neighbours, trees) or random states.
_GUESTS = {
    "sklearn.pipeline": ("Pipeline",),
    "sklearn.preprocessing": ("LabelBinarizer", "LabelEncoder", "Normalizer", "StandardScaler"),
    "sklearn.decomposition": ("PCA", "TruncatedSVD"),
    "sklearn.linear_model": (
        "LinearRegression",
        "LogisticRegression",
        "Ridge",
        "RidgeClassifier",
        "RidgeClassifierCV",
        "RidgeCV",
    ),
    "sklearn.svm": ("LinearSVC", "LinearSVR"),
    "sklearn.discriminant_analysis": ("LinearDiscriminantAnalysis",),
    "sklearn.naive_bayes": ("GaussianNB",),
    "sklearn.dummy": ("DummyClassifier", "DummyRegressor"),
}

_TYPES = (  # of NumPy arrays that a safetensors file holds
    *("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"),
    *("float16", "float32", "float64"),
)


@cache
def known_classes() -> dict[str, type]:
    """Every class that a tree may name: ``"LSAR"``, ``"sklearn.pipeline.Pipeline"``."""
    import posthoc_align

    found = {name: getattr(posthoc_align, name) for name in posthoc_align.__all__}
    own = {
        name: value
        for name, value in found.items()
        if isinstance(value, type) and issubclass(value, BaseEstimator)
    }
    for module, names in _PARTS.items():
        own |= {name: getattr(importlib.import_module(module), name) for name in names}
    for module, names in _GUESTS.items():
        room = importlib.import_module(module)
        own |= {f"{module}.{name}": getattr(room, name) for name in names}
    return own


class Packer:
    """Turns values into a JSON tree; the arrays it meets are kept beside it, each once.

    Attributes
    ----------
    arrays : dict of str to ndarray
        By the name that the tree calls them.
    """

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self._seen: dict[int, tuple[dict[str, Any], Any]] = {}
        self._names = {kind: name for name, kind in known_classes().items()}

    def pack(self, value: Any, where: str) -> Any:
        """Return the tree of a value that is called `where` in messages.

        Raises
        ------
        TypeError
            If the value, or one inside it, is of a kind that no file may hold.
        """
        if value is None or isinstance(value, (bool, np.bool_)):
            return value if value is None else bool(value)
        if isinstance(value, str):
            return str(value)
        if isinstance(value, Integral):
            return int(value)
        if isinstance(value, Real):
            number = float(value)
            return number if math.isfinite(number) else {"float": repr(number)}
        if isinstance(value, (list, tuple)):
            parts = [self.pack(part, f"{where}[{i}]") for i, part in enumerate(value)]
            return parts if type(value) is list else {"tuple": parts}
        if is_tensor(value) or isinstance(value, np.ndarray):
            return self._array(value, where)
        if type(value) in self._names:
            return {
                "object": self._names[type(value)],
                "state": {
                    name: self.pack(part, f"{where}.{name}")
                    for name, part in _attributes(value).items()
                },
            }
        if isinstance(value, dict):
            return {
                "dict": [
                    [self.pack(key, where), self.pack(part, f"{where}[{key!r}]")]
                    for key, part in value.items()
                ]
            }
        raise TypeError(
            f"{where} is a {type(value).__module__}.{type(value).__qualname__}, which a model file "
            "cannot hold: it holds this library's estimators, pipelines and linear heads of "
            "scikit-learn, numbers, texts and arrays. Use joblib.dump for others."
        )

    def _array(self, value: Any, where: str) -> dict[str, Any]:
        """An array by its name; text and objects, of which there are few, in the tree itself."""
        if id(value) in self._seen:
            return self._seen[id(value)][0]
        array = labels_to_host(value)
        if array.dtype.kind in "UO":
            parts = [self.pack(part, f"{where}[{i}]") for i, part in enumerate(array.ravel())]
            kind = "text" if array.dtype.kind == "U" else "objects"
            return {kind: parts, "shape": list(array.shape)}
        if array.dtype.name not in _TYPES:
            raise TypeError(
                f"{where} is an array of {array.dtype}, which a model file cannot hold: expected "
                "real numbers, booleans or text."
            )
        turned = array.flags.f_contiguous and not array.flags.c_contiguous
        name = where.lstrip(".")
        self.arrays[name] = np.ascontiguousarray(array.T if turned else array)
        tree = {"array": name, "columns_first": True} if turned else {"array": name}
        self._seen[id(value)] = (tree, value)  # the value is held so that its id stays its own
        return tree


def _attributes(value: Any) -> dict[str, Any]:
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return vars(value)


def unpack(tree: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """Return the value of a tree.

    Raises
    ------
    ValueError
        If the tree names a class that is not known, an array that is not there, or is not a tree.
    """
    if tree is None or isinstance(tree, (bool, int, float, str)):
        return tree
    if isinstance(tree, list):
        return [unpack(part, arrays) for part in tree]
    kind = next((key for key in _READERS if isinstance(tree, dict) and key in tree), None)
    if kind is None:
        raise ValueError(f"it holds {str(tree)[:80]!r}, which is no value")
    return _READERS[kind](tree, arrays)


def _array(tree: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    name = tree["array"]
    if not isinstance(name, str) or name not in arrays:
        raise ValueError(f"the array {str(name)[:80]!r} is missing")
    return arrays[name].T if tree.get("columns_first") is True else arrays[name]


def _few(dtype: Any) -> Callable[[dict[str, Any], Mapping[str, np.ndarray]], np.ndarray]:
    """A reader of arrays that lie in the tree itself."""

    def read(tree: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        parts = [unpack(part, arrays) for part in tree["text" if dtype is str else "objects"]]
        out = np.empty(len(parts), dtype=object)
        for i, part in enumerate(parts):
            out[i] = part
        return (out.astype(str) if dtype is str else out).reshape(tree["shape"])

    return read


def _object(tree: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> Any:
    """An object as it was, without a call of its constructor."""
    name, state = tree["object"], tree.get("state")
    kind = known_classes().get(name) if isinstance(name, str) else None
    if kind is None or not isinstance(state, dict):
        raise ValueError(f"it holds an object of the class {str(name)[:80]!r}, which is not known")
    values = {key: unpack(part, arrays) for key, part in state.items()}
    if values.get("memory") is not None and issubclass(kind, BaseEstimator):
        raise ValueError("its pipeline caches in a folder (memory=), from which code could be run")
    defaults, required = _signature(kind)
    wrong = required - set(values)
    if dataclasses.is_dataclass(kind):  # an estimator may hold what it learned as well
        wrong |= set(values) - set(defaults) - required
    if wrong:
        raise ValueError(f"its {name} has other attributes than expected: {sorted(wrong)}")
    made: Any = object.__new__(kind)
    vars(made).update(defaults | values)  # a parameter that is younger than the file: its default
    return made


def _signature(kind: type) -> tuple[dict[str, Any], set[str]]:
    """Parameters of a constructor that have a default, with it, and the names of the others."""
    parameters = list(inspect.signature(kind).parameters.values())
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    named = {p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    if dataclasses.is_dataclass(kind):
        made = {f.name: f.default_factory for f in dataclasses.fields(kind)}
        defaults |= {n: make() for n, make in made.items() if make is not dataclasses.MISSING}
    return defaults, named - set(defaults)


_READERS: dict[str, Callable[[dict[str, Any], Mapping[str, np.ndarray]], Any]] = {
    "float": lambda tree, arrays: float(tree["float"]),
    "tuple": lambda tree, arrays: tuple(unpack(part, arrays) for part in tree["tuple"]),
    "dict": lambda tree, arrays: {
        unpack(key, arrays): unpack(part, arrays) for key, part in tree["dict"]
    },
    "array": _array,
    "text": _few(str),
    "objects": _few(object),
    "object": _object,
}
