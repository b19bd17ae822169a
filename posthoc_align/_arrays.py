"""The one door for arrays: check rows, keep kind, dtype and device.

Every other room of the package receives two-dimensional arrays that went through
:func:`check_rows` and returns arrays made by :func:`like` or, row by row, by
:func:`posthoc_align._blocks.map_rows`. No other file asks whether an array is a tensor.

Kinds: NumPy arrays (memory-mapped ones are read block by block), torch tensors on any device.
Types: float64 is computed in float64; float32, float16 and bfloat16 are computed in float32
and handed back in the type they came in. How precisely float32 products run is left to torch's
own setting, which is never touched: TF32 is off unless ``torch.set_float32_matmul_precision`` was
called, and what is then computed is only as precise as TF32.
"""

from __future__ import annotations

from typing import Any

import array_api_compat.numpy
import numpy as np
from array_api_compat import array_namespace, is_torch_array
from scipy.sparse import csc_array
from sklearn.utils.validation import check_array, validate_data

Array = Any  # a NumPy array or a torch tensor; the array API has no nominal type


def is_tensor(X: object) -> bool:
    """Whether X is a torch tensor (answered without importing torch)."""
    return is_torch_array(X)


def namespace(*arrays: Array) -> Any:
    """The array-API namespace of the arrays."""
    if type(arrays[0]) is np.ndarray:  # asked for in every block: the look-up costs 10 us
        return array_api_compat.numpy
    return array_namespace(*arrays)


def device_of(X: Array) -> Any:
    """The torch device of X, or None for host arrays."""
    return X.device if is_tensor(X) else None


def on_host(X: Array) -> bool:
    """Whether X lies in this machine's main memory."""
    return not is_tensor(X) or X.device.type == "cpu"


def _named(X: Array) -> str:
    return f"a torch tensor on {X.device}" if is_tensor(X) else "a NumPy array"


def check_rows(estimator: Any, X: Any, *, reset: bool = False, name: str = "X") -> Array:
    """Return X as a checked two-dimensional floating array of the kind it came in.

    Parameters
    ----------
    estimator : BaseEstimator or None
        Its ``n_features_in_`` is set (``reset=True``) or compared. None checks the array alone.
    X : array-like of shape (n_samples, n_features)
        Integers, booleans and numeric objects become float64.
    reset : bool, default=False
        Whether this call begins a fit.
    name : str, default="X"
        What error messages call the array.

    Raises
    ------
    ValueError
        If X is not two-dimensional, empty, complex, text, or of another width than fitted.
        NaN and infinity are found later, in sums that are taken anyway: see
        :func:`posthoc_align._blocks.require_finite`.
    """
    if is_tensor(X):
        return _check_tensor(estimator, X, reset=reset, name=name)
    _refuse_text(X, name)
    kinds = [np.float64, np.float32, np.float16]
    try:
        if estimator is not None:
            return validate_data(estimator, X, reset=reset, dtype=kinds, ensure_all_finite=False)
        return check_array(X, dtype=kinds, ensure_all_finite=False, input_name=name)
    except ValueError as error:
        raise _with_cure(error, X, name) from None


def _with_cure(error: ValueError, X: Any, name: str) -> ValueError:
    """What scikit-learn says is wrong, and what to do about it."""
    said = str(error)
    if "Complex data" in said:
        kind = getattr(X, "dtype", "complex")
        return ValueError(f"Complex data not supported: {name} has dtype {kind}. {_REAL}")
    if "setting an array element" in said:
        return ValueError(
            f"{name} holds objects that are no numbers. Expected numbers of shape (n_samples, "
            "n_features): pass one row of equal length a sample."
        )
    if "0 sample(s)" in said or "0 feature(s)" in said:
        return ValueError(f"{said} {_NOT_EMPTY}")
    if "features, but" in said:
        return ValueError(f"{said} {_SAME_ENCODER}")
    return error


_REAL = "Pass real embeddings, such as X.real."
_NOT_EMPTY = "Pass at least one row and one column."
_SAME_ENCODER = "Pass embeddings of the encoder it was fitted on."


def _refuse_text(X: Any, name: str) -> None:
    """Refuse strings, which NumPy would quietly parse as numbers."""
    if hasattr(X, "dtypes"):  # a data frame is looked at only if a column is not plainly numeric
        doubtful = any(getattr(kind, "kind", "O") not in "biuf" for kind in X.dtypes)
        array = np.asarray(X) if doubtful else None
    else:
        array = np.asarray(X) if isinstance(X, (np.ndarray, list, tuple)) else None
    if array is None:
        return
    text = array.dtype.kind in "USVMm" or (
        array.dtype.kind == "O" and any(isinstance(v, (str, bytes)) for v in array.flat)
    )
    if text:
        raise ValueError(
            f"{name} holds text or dates (dtype {array.dtype}); expected numbers of shape "
            "(n_samples, n_features). Embed the text first and pass the embeddings."
        )


def _check_tensor(estimator: Any, X: Array, *, reset: bool, name: str) -> Array:
    xp = namespace(X)
    X = X.detach()
    if xp.isdtype(X.dtype, "complex floating"):
        raise ValueError(f"Complex data not supported: {name} has dtype {X.dtype}. {_REAL}")
    if str(X.layout) != "torch.strided":
        raise TypeError(f"{name} is a sparse tensor; a dense one is required: call .to_dense().")
    if X.ndim != 2:
        raise ValueError(
            f"Expected 2D array, got {X.ndim}D tensor of shape {tuple(X.shape)} for {name}. "
            "Reshape your data with .reshape(1, -1) if it is one sample."
        )
    if X.shape[0] == 0 or X.shape[1] == 0:
        raise ValueError(
            f"Found {name} of shape {tuple(X.shape)}: 0 sample(s) or 0 feature(s) while a "
            f"minimum of 1 is required. {_NOT_EMPTY}"
        )
    if not xp.isdtype(X.dtype, "real floating"):
        X = xp.astype(X, xp.float64)
    if estimator is None:
        return X
    if reset:
        estimator.n_features_in_ = int(X.shape[1])
        if hasattr(estimator, "feature_names_in_"):
            del estimator.feature_names_in_
    elif hasattr(estimator, "n_features_in_") and X.shape[1] != estimator.n_features_in_:
        raise ValueError(
            f"X has {X.shape[1]} features, but {type(estimator).__name__} is expecting "
            f"{estimator.n_features_in_} features as input. {_SAME_ENCODER}"
        )
    return X


def check_target(y: Any, X: Array, *, name: str = "y", same_length: bool = True) -> Array:
    """Check the second space of a map; a one-dimensional y becomes one column.

    Raises
    ------
    ValueError
        If y is None, lies elsewhere than X, or (``same_length``) has another number of rows.
    """
    if y is None:
        raise ValueError(
            "This estimator requires y to be passed, but the target y is None. "
            "Pass the target space, of shape (n_samples, n_features_out)."
        )
    if not is_tensor(y):
        y = np.asarray(y)
    if y.ndim == 1:
        y = y.reshape(-1, 1)
    y = check_rows(None, y, name=name)
    require_same_place(X, y, names=("X", name))
    if same_length and y.shape[0] != X.shape[0]:
        raise ValueError(
            f"X has {X.shape[0]} rows and {name} has {y.shape[0]}: row i of {name} must be the "
            "counterpart of row i of X. Select the common rows first."
        )
    return y


def check_weight(sample_weight: Any, X: Array) -> Array | None:
    """Check the weights of the rows of X; they come back where X lies, in its compute type.

    Raises
    ------
    ValueError
        If there is not one finite weight >= 0 a row, or none above 0.
    """
    if sample_weight is None:
        return None
    if not is_tensor(sample_weight):
        sample_weight = np.asarray(sample_weight, dtype=np.float64)
    if tuple(sample_weight.shape) != (X.shape[0],):
        raise ValueError(
            f"sample_weight has shape {tuple(sample_weight.shape)} but X has {X.shape[0]} rows: "
            "pass one weight a row."
        )
    weight = like(sample_weight, X)
    xp = namespace(weight)
    bad = ~(xp.isfinite(weight) & (weight >= 0))
    if bool(xp.any(bad)):
        at = int(xp.argmax(xp.astype(bad, xp.int64)))
        raise ValueError(
            f"sample_weight is {float(weight[at])} in row {at}: give finite weights >= 0."
        )
    if not bool(xp.any(weight > 0)):
        raise ValueError("sample_weight is zero in every row: give at least one positive weight.")
    return weight


def require_same_place(X: Array, Y: Array, *, names: tuple[str, str] = ("X", "Y")) -> None:
    """Raise unless X and Y are of one kind and on one device."""
    if is_tensor(X) != is_tensor(Y) or (is_tensor(X) and X.device != Y.device):
        raise ValueError(
            f"{names[0]} is {_named(X)} and {names[1]} is {_named(Y)}: both must be of one kind "
            "on one device. Move one of them, e.g. torch.as_tensor(..., device=...)."
        )


def compute_dtype(X: Array) -> Any:
    """The type sums and products run in: float64 for float64, float32 for all narrower ones."""
    xp = namespace(X)
    return xp.float64 if X.dtype == xp.float64 else xp.float32


def resolution(X: Array) -> float:
    """Relative spacing of :func:`compute_dtype`, what numerical rank is judged by."""
    return float(np.finfo(np.float64 if "64" in str(X.dtype) else np.float32).eps)


def upcast(X: Array) -> Array:
    """X in its compute type; the same object when it is that already."""
    xp = namespace(X)
    return xp.astype(X, compute_dtype(X), copy=False)


def like(value: Any, X: Array, *, dtype: Any = None) -> Array:
    """The value as an array of X's kind, on X's device, in X's compute type (or `dtype`)."""
    xp = namespace(X)
    if dtype is None:
        dtype = compute_dtype(X)
    if is_tensor(X):
        if isinstance(value, np.ndarray) and not value.flags.writeable:
            value = value.copy()  # torch takes no array that it could not write to
        return xp.asarray(value, dtype=dtype, device=X.device)
    return np.asarray(value, dtype=dtype)


def index_like(value: np.ndarray, X: Array) -> Array:
    """Integer codes as an index array on X's device (one upload)."""
    return like(value, X, dtype=namespace(X).int64)


def empty_like_rows(X: Array, width: int, *, n_rows: int | None = None) -> Array:
    """An uninitialised array of X's kind, type and device with `width` columns."""
    xp = namespace(X)
    shape = (X.shape[0] if n_rows is None else n_rows, width)
    if is_tensor(X):
        return xp.empty(shape, dtype=X.dtype, device=X.device)
    return np.empty(shape, dtype=X.dtype)


def zeros_on(X: Array, shape: tuple[int, ...]) -> Array:
    """Float64 zeros on X's device, to accumulate in."""
    xp = namespace(X)
    return xp.zeros(shape, dtype=xp.float64, **({"device": X.device} if is_tensor(X) else {}))


def summary_on(value: np.ndarray, device: str) -> Array | None:
    """A small summary as a float64 tensor on a torch device; None if that cannot hold it.

    For work that the host can do as well: moments may have come from another machine.
    """
    import torch

    try:
        return torch.tensor(value, dtype=torch.float64, device=device)
    except (RuntimeError, AssertionError, TypeError):  # no such device, no CUDA, no float64
        return None


def to_host(value: Array) -> np.ndarray:
    """A small summary as a float64 NumPy array. Never call it on rows of X."""
    if is_tensor(value):
        return value.detach().double().cpu().numpy()
    return np.asarray(value, dtype=np.float64)


LANE = 64
"""Rows that are added one to the other in their own type before float64 takes over: each addition
may be off by half a spacing of the sum, and always to the same side if the rows are alike."""


def column_sums(block: Array) -> Array:
    """Sum of each column of a block, shape (n_features,), in its type or float64."""
    if is_tensor(block) or not block.flags.c_contiguous:
        return namespace(block).sum(block, axis=0)  # these add in pairs
    n_rows, width = block.shape
    lanes = max(1, n_rows // LANE)
    whole = n_rows - n_rows % lanes
    sums = block[:whole].reshape(-1, lanes * width).sum(axis=0).reshape(lanes, width)
    return np.sum(sums, axis=0, dtype=np.float64) + block[whole:].sum(axis=0)


def group_sums(block: Array, codes: Array, n_groups: int) -> Array:
    """Sum of the rows of each group, shape (n_groups, n_features), added in a fixed order.

    Parameters
    ----------
    block : array of shape (n_rows, n_features)
    codes : array of int of shape (n_rows,)
        Groups counted from 0, where the block lies.
    n_groups : int

    Returns
    -------
    sums : array
        In float64.
    """
    n_rows, width = block.shape
    if is_tensor(block) and not on_host(block):
        return _group_products(block, codes, n_groups)
    most = int(codes.bincount().max()) if is_tensor(block) else int(np.bincount(codes).max())
    lanes = -(-most // LANE)
    place = codes * lanes + like(np.arange(n_rows) % lanes, codes, dtype=codes.dtype)
    if is_tensor(block):
        sums = block.new_zeros((n_groups * lanes, width)).index_add_(0, place, block)
        return sums.reshape(n_groups, lanes, width).double().sum(dim=1)
    # A sparse product adds row to row, in a third of the time of a dense one.
    entries = (np.ones(n_rows, dtype=block.dtype), place, np.arange(n_rows + 1))
    sums = csc_array(entries, shape=(n_groups * lanes, n_rows)) @ block
    return np.sum(sums.reshape(n_groups, lanes, width), axis=1, dtype=np.float64)


def _group_products(block: Array, codes: Array, n_groups: int) -> Array:
    """Sums of groups on a GPU, where adding to places has whatever order its threads come in."""
    groups = namespace(block).arange(n_groups, dtype=codes.dtype, device=block.device)
    many = 8 * LANE  # a product of less would not be worth its start
    total = zeros_on(block, (n_groups, block.shape[1]))
    whole = block.shape[0] - block.shape[0] % many
    for rows, length in ((slice(whole), many), (slice(whole, None), block.shape[0] - whole)):
        if length and block[rows].shape[0]:
            member = (codes[rows].reshape(-1, 1, length) == groups[:, None]).to(block.dtype)
            total += (member @ block[rows].reshape(-1, length, block.shape[1])).double().sum(dim=0)
    return total


def cast_like(value: Array, X: Array) -> Array:
    """A computed array back in X's own type."""
    return namespace(X).astype(value, X.dtype, copy=False)


def largest(block: Array, k: int) -> Array:
    """Return the k largest values of each row, in no particular order; all if there are fewer."""
    if k >= block.shape[1]:
        return block
    if is_tensor(block):
        return block.topk(k, dim=1, sorted=False).values
    return np.partition(block, block.shape[1] - k, axis=1)[:, -k:]


def largest_at(block: Array, k: int) -> tuple[Array, Array]:
    """Return the (at most) k largest values of each row, falling, and their columns.

    Which of several equal values is kept, and their order, is not promised for k > 1.
    """
    xp = namespace(block)
    k = min(k, block.shape[1])
    if k == 1:
        columns = xp.argmax(block, axis=1)[:, None]
        return xp.take_along_axis(block, columns, axis=1), columns
    if is_tensor(block):
        values, columns = block.topk(k, dim=1)
        return values, columns
    columns = np.argpartition(block, block.shape[1] - k, axis=1)[:, -k:]
    values = np.take_along_axis(block, columns, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    return np.take_along_axis(values, order, axis=1), np.take_along_axis(columns, order, axis=1)


def labels_to_host(values: Any) -> np.ndarray:
    """Return class labels as a NumPy array of their own type."""
    return values.detach().cpu().numpy() if is_tensor(values) else np.asarray(values)
