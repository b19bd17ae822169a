"""A device that is not there: tensors that behave as on CUDA, with a log of what crosses.

Rows are tensors of a subclass that says it lies on ``cuda:0``. As on a GPU they refuse NumPy and
refuse to be mixed with tensors of the host; what is moved either way is written down. All is
computed by the processor, so that a machine without a GPU can prove what leaves one.
"""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from posthoc_align import (
    AdversarialMap,
    Blend,
    LanguageSubspaceShift,
    PivotAligner,
    Procrustes,
    TransportMap,
    WassersteinProcrustes,
)

CUDA = torch.device("cuda:0")

DOWN = {"cpu", "numpy", "tolist", "item", "__array__", "__dlpack__", "__reduce_ex__"}
SCALAR = {"__float__", "__int__", "__bool__", "__index__", "__complex__"}
UP = {"as_tensor", "asarray", "tensor", "from_numpy", "scalar_tensor"}
MIXED = {"__getitem__", "__setitem__", "copy_", "as_subclass"}
"""What CUDA lets host tensors into: they are copied to the device."""


class Foreign(torch.Tensor):
    """A tensor that lies on a device that is not the host."""

    __torch_function__ = torch._C._disabled_torch_function_impl


class ForeignDevice(TorchFunctionMode):
    """Inside it :class:`Foreign` tensors are kept apart from those of the host.

    Attributes
    ----------
    down, up : list of (shape, dtype)
        Every array that went from the device to the host, and the other way.
    """

    def __init__(self) -> None:
        super().__init__()
        self.down: list[tuple[tuple[int, ...], str]] = []
        self.up: list[tuple[tuple[int, ...], str]] = []

    def put(self, X: Any) -> torch.Tensor:
        """Rows on the device, whose way there is not written down."""
        return torch.as_tensor(np.asarray(X)).clone().as_subclass(Foreign)

    def put_like(self, X: torch.Tensor) -> torch.Tensor:
        """A tensor of the host on the device, whose way there is not written down."""
        return X.clone().as_subclass(Foreign)

    def look(self, X: torch.Tensor) -> np.ndarray:
        """Values of a tensor of the device, for a test's own eyes."""
        with torch._C.DisableTorchFunction():
            return X.detach().double().as_subclass(torch.Tensor).numpy()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", str(func))
        owner = getattr(getattr(func, "__self__", None), "__name__", "")
        leaves = [leaf for leaf in tree_leaves((args, kwargs)) if _is_array(leaf)]
        foreign = [leaf for leaf in leaves if isinstance(leaf, Foreign)]
        if name == "__get__":
            return self._attribute(owner, func, args)
        if name in DOWN | SCALAR and foreign:
            return self._to_host(name, func, args, kwargs)
        target, args, kwargs = _device_asked(name, args, kwargs)
        if target is None and name == "new_tensor" and foreign:
            target = CUDA
        if target is not None:
            return self._moved(name, func, args, kwargs, target)
        host = [leaf for leaf in leaves if not isinstance(leaf, Foreign) and leaf.ndim]
        if foreign and host:
            if name not in MIXED:
                raise RuntimeError(
                    f"Expected all tensors to be on the same device: {name} got some of "
                    f"{CUDA} and some of the host, of shape {tuple(host[0].shape)}."
                )
            if not isinstance(args[0], Foreign):  # rows written into an array of the host
                self._note(self.down, foreign[0])
            self.up += [(tuple(leaf.shape), str(leaf.dtype)) for leaf in host]
        out = func(*args, **kwargs)
        return _as_foreign(out) if foreign else out

    def _attribute(self, owner: str, func: Any, args: tuple[Any, ...]) -> Any:
        foreign = isinstance(args[0], Foreign)
        if foreign and owner == "device":
            return CUDA
        if foreign and owner == "is_cuda":
            return True
        if foreign and owner == "is_cpu":
            return False
        out = func(*args)
        return _as_foreign(out) if foreign else out

    def _to_host(self, name: str, func: Any, args: Any, kwargs: Any) -> Any:
        if name in ("numpy", "__array__"):
            raise TypeError(
                "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the "
                "tensor to host memory first."
            )
        if name not in SCALAR:
            self._note(self.down, args[0])
        plain = args[0].as_subclass(torch.Tensor)
        return func(plain, *args[1:], **kwargs)

    def _moved(self, name: str, func: Any, args: Any, kwargs: Any, target: torch.device) -> Any:
        given = [leaf for leaf in tree_leaves((args, kwargs)) if _is_array(leaf)]
        here = any(isinstance(leaf, Foreign) for leaf in given)
        plain_args, plain_kwargs = tree_map(_plain, (args, kwargs))
        out = func(*plain_args, **plain_kwargs)
        if target.type == "cpu":
            if here:
                self._note(self.down, given[0])
            return out
        if given and not here and (name in UP or name in ("to", "cuda", "new_tensor")):
            self.up += [(tuple(leaf.shape), str(leaf.dtype)) for leaf in given]
        return _as_foreign(out)

    def _note(self, log: list[tuple[tuple[int, ...], str]], X: Any) -> None:
        log.append((tuple(X.shape), str(X.dtype)))


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, (torch.Tensor, np.ndarray))


def _plain(leaf: Any) -> Any:
    return leaf.as_subclass(torch.Tensor) if isinstance(leaf, Foreign) else leaf


def _as_foreign(out: Any) -> Any:
    def wrap(leaf: Any) -> Any:
        known = isinstance(leaf, Foreign) or not isinstance(leaf, torch.Tensor)
        return leaf if known else leaf.as_subclass(Foreign)

    return tree_map(wrap, out)


def _device_asked(name: str, args: Any, kwargs: Any) -> tuple[torch.device | None, Any, Any]:
    """The device that a call asks for, and the call without asking for it."""
    asked = kwargs.pop("device", None)
    if name == "cuda":
        asked = CUDA
    if name == "to":
        found = [a for a in args[1:] if isinstance(a, (str, torch.device))]
        found += [a.device for a in args[1:] if isinstance(a, torch.Tensor)]
        args = tuple(a for a in args if not isinstance(a, (str, torch.device)))
        args = (args[0], *(a.dtype if isinstance(a, torch.Tensor) else a for a in args[1:]))
        asked = found[0] if found else asked
    return (None if asked is None else torch.device(asked)), args, kwargs


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch) -> Iterator[ForeignDevice]:
    """The device, switched on: ``foreign.put(X)`` lays rows there."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device=None: (2**32, 2**33))
    with ForeignDevice() as device:
        yield device


# --- what is run on it ----------------------------------------------------------------------

N, WIDTH = 211, 7
"""Rows, a number that no summary has, and columns: their square is less than N."""


def _rows() -> tuple[np.ndarray, np.ndarray]:
    """Rows of three languages that translate each other by threes, and another space of them."""
    rng = np.random.default_rng(0)
    meaning = 2 * rng.normal(size=(N // 3 + 1, WIDTH))[np.arange(N) // 3]
    X = rng.normal(size=(N, WIDTH)) + (np.arange(N) % 3)[:, None] + meaning
    turn = np.linalg.qr(rng.normal(size=(WIDTH, WIDTH)))[0]
    return X, X @ turn + 0.01 * rng.normal(size=X.shape)


X, Y = _rows()
LANGUAGE = np.array(["de", "en", "sw"])[np.arange(N) % 3]
PAIR_ID = np.arange(N) // 3
CLASSES = PAIR_ID % 2

# The contract is checked on these with a target of its own making, or not at all.
MORE = [
    TransportMap(),
    TransportMap(method="exact"),
    TransportMap(method="unbalanced"),
    TransportMap(method="low_rank"),
    TransportMap(batch_size=100),
    WassersteinProcrustes(),
    AdversarialMap(max_epochs=1, n_restarts=1, random_state=0),
    PivotAligner(Blend(Procrustes())),
]


@dataclass(frozen=True)
class Case:
    """An estimator, what it is fitted on, and what it is told of the languages."""

    estimator: Any
    y: np.ndarray
    fit: dict[str, Any]
    ask: dict[str, Any]

    @property
    def X(self) -> np.ndarray:
        return X

    def __str__(self) -> str:
        return " ".join(repr(self.estimator).split())


def _case(estimator: Any) -> Case:
    if isinstance(estimator, LanguageSubspaceShift):
        estimator.set_params(to="en")
    inner = estimator.estimator if isinstance(estimator, Blend) else estimator
    known = {"language": LANGUAGE, "pair_id": PAIR_ID}
    parameters = inspect.signature(inner.fit).parameters
    fit = {name: labels for name, labels in known.items() if name in parameters}
    asked = hasattr(estimator, "transform") and inspect.signature(estimator.transform).parameters
    ask = {"language": LANGUAGE} if asked and "language" in asked else {}
    return Case(estimator, CLASSES if "language" in parameters else Y, fit, ask)


def _every() -> list[Case]:
    path = Path(__file__).parents[1] / "test_contract.py"
    spec = importlib.util.spec_from_file_location("contract", path)
    assert spec is not None
    assert spec.loader is not None
    contract = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(contract)
    return [_case(estimator) for estimator in [*contract.ESTIMATORS, *MORE]]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test on every estimator, as the contract knows them."""
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", _every(), ids=lambda case: str(case)[:70])


@pytest.fixture
def rows_case() -> Case:
    """Rows of two spaces, with languages and pair ids."""
    return Case(None, Y, {"language": LANGUAGE, "pair_id": PAIR_ID}, {})
