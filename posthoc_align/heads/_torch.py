"""Heads of torch: a module, or a net of skorch, fitted as scikit-learn's heads are.

Rows stay where they lie; only predictions are copied. skorch is imported when a module is fitted.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone
from sklearn.utils import Tags

from posthoc_align._arrays import Array, is_tensor, labels_to_host, like, to_host

# A linear layer or a small perceptron on rows of length 3 is near its best after some 300 steps of
# 3e-3, be there forty labels or a thousand; of more labels each is still seen ten times.
STEP, BATCH, STEPS, PASSES = 3e-3, 32, 300, 10
SEED = 0  # of initial weights, dropout and the order of rows: a fit can be had again


def is_torch_head(head: Any) -> bool:
    """Whether a head is a module, a class of modules, or a net of skorch."""
    torch = sys.modules.get("torch")  # who has a module has imported torch
    if torch is None:
        return False
    kind = head if isinstance(head, type) else type(head)
    return issubclass(kind, torch.nn.Module) or _is_net(head)


def _is_net(head: Any) -> bool:
    skorch = sys.modules.get("skorch")
    return skorch is not None and isinstance(head, skorch.NeuralNet)


class TorchHead(BaseEstimator):
    """What the heads of torch share.

    Parameters
    ----------
    net : torch.nn.Module, class of modules, or skorch.NeuralNet
        A class is called with the numbers of features and of outputs; a module is copied before
        it is trained; a net is cloned and otherwise trained as its own options say.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        The fitted net, with its ``module_`` and the ``history`` of its training.

    Raises
    ------
    ImportError
        If skorch is not installed.
    ValueError
        If a module cannot read the rows, or answers another number of outputs.
    """

    def __init__(self, net: Any) -> None:
        self.net = net

    def _fit_net(self, kind: str, criterion: str, X: Array, y: np.ndarray, n_outputs: int) -> None:
        import torch

        rows = _floats(X)
        with _seeded(rows.device, fixed=not _is_net(self.net)):
            self.net_ = self._new_net(kind, criterion, rows, n_outputs)
            self.net_.fit(rows, torch.as_tensor(y, device=rows.device))

    def _new_net(self, kind: str, criterion: str, rows: Any, n_outputs: int) -> Any:
        if _is_net(self.net):
            return clone(self.net)
        import torch

        skorch, own_class = _skorch(), isinstance(self.net, type)
        module = self.net(rows.shape[1], n_outputs) if own_class else copy.deepcopy(self.net)
        _try_out(module, rows[:BATCH], n_outputs)
        return getattr(skorch, kind)(
            module,
            criterion=getattr(torch.nn, criterion),
            optimizer=torch.optim.AdamW,
            train_split=None,
            verbose=0,
            device=rows.device,
            iterator_train=batches,
            iterator_train__shuffle=True,
            iterator_valid=batches,
            lr=STEP,
            batch_size=BATCH,
            max_epochs=max(PASSES, -(-STEPS * BATCH // rows.shape[0])),
        )


def _try_out(module: Any, rows: Any, n_outputs: int) -> None:
    """Refuse a module that does not fit the rows, or answers other than one number an output.

    A wrong number of answers else breaks in the loss, or in nothing: a classifier that answers
    more logits than there are classes would train.
    """
    import torch

    cure = (
        f"Give one of {rows.shape[1]} inputs and {n_outputs} outputs, or a class of module, which "
        "is called with these numbers and so sized by itself."
    )
    name = type(module).__name__
    module.to(rows.device).eval()
    try:
        with torch.no_grad():
            found = module(rows)
    except RuntimeError as error:
        raise ValueError(
            f"The head, {name}, cannot read aligned rows of {rows.shape[1]} columns: {error}. "
            f"{cure}"
        ) from error
    module.train()
    found = found[0] if isinstance(found, tuple) else found  # as skorch does
    expected = (rows.shape[0], n_outputs)
    if tuple(found.shape) != expected:
        raise ValueError(
            f"The head, {name}, answers {tuple(found.shape)} to {rows.shape[0]} rows; expected is "
            f"{expected}, a logit a class or a number a target. {cure}"
        )


class TorchClassifier(ClassifierMixin, TorchHead):
    """A torch module that answers a logit a class.

    Parameters
    ----------
    net : torch.nn.Module, class of modules, or skorch.NeuralNetClassifier

    Attributes
    ----------
    net_ : skorch.NeuralNetClassifier
    classes_ : ndarray of shape (n_classes,)
    """

    def fit(self, X: Array, y: Any) -> Self:
        """Fit the net on rows and the places of their labels among the sorted classes."""
        self.classes_, codes = np.unique(labels_to_host(y), return_inverse=True)
        self._tensor_labels = is_tensor(y)
        if len(self.classes_) < 2:
            raise ValueError(
                f"y holds one class only, {self.classes_.tolist()[0]!r}: a head needs two or more."
            )
        self._fit_net(
            "NeuralNetClassifier", "CrossEntropyLoss", X, codes.ravel(), len(self.classes_)
        )
        found = self.predict_proba(X[:1]).shape[1]
        if found != len(self.classes_):  # of a net of skorch, whose module is not tried out
            raise ValueError(
                f"The net answers {found} probabilities a row, but y has {len(self.classes_)} "
                "classes: give its module as many outputs."
            )
        return self

    def predict_proba(self, X: Array) -> Array:
        """Probability of each class, in an array of X's kind on its device."""
        return like(self.net_.predict_proba(_floats(X)), X)

    def predict(self, X: Array) -> Array:
        """The likeliest class of each row, in a tensor where both labels and X are tensors."""
        found = self.classes_[self.net_.predict_proba(_floats(X)).argmax(axis=1)]
        return _like_labels(found, X) if self._tensor_labels and is_tensor(X) else found


class TorchRegressor(RegressorMixin, TorchHead):
    """A torch module that answers a number, or one an output.

    A module is fitted to targets of mean 0 and variance 1, so that its training does not depend
    on their unit; a net of skorch is fitted to the targets as they are.

    Parameters
    ----------
    net : torch.nn.Module, class of modules, or skorch.NeuralNetRegressor

    Attributes
    ----------
    net_ : skorch.NeuralNetRegressor
    mean_, scale_ : ndarray of shape (n_outputs,)
        What the outputs are multiplied by and then moved by.
    """

    def fit(self, X: Array, y: Any) -> Self:
        """Fit the net on rows and their targets."""
        targets = to_host(y)
        self._flat = targets.ndim == 1
        targets = targets.reshape(len(targets), -1)
        self.mean_, self.scale_ = np.zeros(targets.shape[1]), np.ones(targets.shape[1])
        if not _is_net(self.net):
            self.mean_, spread = targets.mean(axis=0), targets.std(axis=0)
            self.scale_ = np.where(spread > 0, spread, 1.0)
        targets = ((targets - self.mean_) / self.scale_).astype(np.float32)
        self._fit_net("NeuralNetRegressor", "MSELoss", X, targets, targets.shape[1])
        return self

    def predict(self, X: Array) -> Array:
        """The target of each row, in an array of X's kind on its device."""
        found = self.net_.predict(_floats(X)) * self.scale_ + self.mean_
        return like(found[:, 0] if self._flat else found, X)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def batches(dataset: Any, *, batch_size: int, shuffle: bool = False, **options: Any) -> Any:
    """A loader that takes each batch from the rows by one index, where they lie.

    torch's default takes them row by row, which is a launch a row on a GPU.
    """
    import torch
    from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SequentialSampler

    order = (RandomSampler if shuffle else SequentialSampler)(dataset)
    sampler = BatchSampler(order, batch_size=batch_size, drop_last=False)
    own = torch.Generator()  # else each pass would draw from the user's random state
    return DataLoader(dataset, sampler=sampler, batch_size=None, generator=own, **options)


def _floats(X: Array) -> Any:
    """Rows as a float32 tensor, the type of a module's weights, where they lie."""
    import torch

    return torch.as_tensor(X, dtype=torch.float32)


def _like_labels(found: np.ndarray, X: Array) -> Array:
    import torch

    return torch.as_tensor(found, device=X.device)


@contextmanager
def _seeded(device: Any, *, fixed: bool) -> Iterator[None]:
    """A fixed seed inside, and the user's random state untouched outside."""
    if not fixed:
        yield
        return
    import torch

    on_cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_cuda else []):
        # Not torch.manual_seed, which sets every device, now or once CUDA is first used.
        torch.default_generator.manual_seed(SEED)
        if on_cuda:
            torch.cuda.default_generators[device.index].manual_seed(SEED)
        yield


def _skorch() -> Any:
    try:
        import skorch
    except ImportError as error:
        raise ImportError(
            "A torch module as head is trained by skorch, which is not installed: "
            'pip install "posthoc-align[heads]".'
        ) from error
    return skorch
