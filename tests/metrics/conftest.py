"""The kinds of arrays every measure takes, and the dense definitions they are compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch


@dataclass(frozen=True)
class Kind:
    """A library, a device and a type."""

    library: str
    dtype: str

    def __call__(self, values: Any) -> Any:
        """The values as an array of this kind."""
        if self.library == "numpy":
            return np.asarray(values, dtype=self.dtype)
        device = "cuda" if self.library == "cuda" else "cpu"
        return torch.as_tensor(np.asarray(values), dtype=getattr(torch, self.dtype), device=device)

    def plain(self, array: Any) -> np.ndarray:
        """An array of this kind as float64 on the host."""
        if self.library == "numpy":
            return np.asarray(array, dtype=np.float64)
        return array.double().cpu().numpy()

    @property
    def tolerance(self) -> float:
        """What a sum of a few hundred terms may be off in the type that products run in."""
        return 1e-12 if self.dtype == "float64" else 2e-6


KINDS = [
    Kind("numpy", "float64"),
    Kind("numpy", "float32"),
    Kind("numpy", "float16"),
    Kind("torch", "float64"),
    Kind("torch", "float32"),
    Kind("torch", "bfloat16"),
]
if torch.cuda.is_available():
    KINDS += [Kind("cuda", dtype) for dtype in ("float64", "float32", "bfloat16")]


@pytest.fixture(params=KINDS, ids=lambda kind: f"{kind.library}-{kind.dtype}")
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


class Dense:
    """The definitions, from the whole matrix in float64: ties are those of float64."""

    @staticmethod
    def cosine(X: np.ndarray, Y: np.ndarray) -> np.ndarray:
        X = X / np.linalg.norm(X, axis=1, keepdims=True)
        return X @ (Y / np.linalg.norm(Y, axis=1, keepdims=True)).T

    @classmethod
    def csls(cls, X: np.ndarray, Y: np.ndarray, neighbors: int) -> np.ndarray:
        S = cls.cosine(X, Y)
        near_x = np.sort(S, axis=1)[:, -neighbors:].mean(axis=1, keepdims=True)
        near_y = np.sort(S, axis=0)[-neighbors:].mean(axis=0)
        return 2 * S - near_x - near_y

    @classmethod
    def inverted_softmax(cls, X: np.ndarray, Y: np.ndarray) -> np.ndarray:
        """Its logarithm: each candidate's scores over all queries sum to one."""
        S = 30 * cls.cosine(X, Y)
        return S - np.log(np.exp(S).sum(axis=0))

    @classmethod
    def scores(cls, name: str, X: np.ndarray, Y: np.ndarray, neighbors: int = 10) -> np.ndarray:
        return cls.csls(X, Y, neighbors) if name == "csls" else getattr(cls, name)(X, Y)

    @staticmethod
    def rank(scores: np.ndarray) -> np.ndarray:
        gold = np.diag(scores)[:, None]
        return (scores >= gold - 1e-13).sum(axis=1)  # the translation itself is the 1

    @classmethod
    def strong(cls, X: np.ndarray, Y: np.ndarray) -> float:
        across, own = cls.cosine(X, Y), cls.cosine(X, X)
        gold = np.diag(across).copy()
        np.fill_diagonal(across, -np.inf)
        np.fill_diagonal(own, -np.inf)
        return float(np.mean(gold > np.maximum(across.max(axis=1), own.max(axis=1)) + 1e-13))


@pytest.fixture
def dense() -> type[Dense]:
    return Dense


@pytest.fixture
def translations() -> tuple[np.ndarray, np.ndarray]:
    """Noisy translations: every measure lies well inside (0, 1)."""
    rng = np.random.default_rng(7)
    X = rng.normal(size=(60, 16)) + 0.5
    return X, X + 1.2 * rng.normal(size=X.shape) - 0.3
