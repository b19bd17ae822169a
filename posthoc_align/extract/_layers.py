"""The states of some layers of a model, without keeping those of all.

Layer 0 is what enters the first block, layer k what leaves block k, and the last layer is what the
model returns, after its final norm if it has one: the numbers of transformers' ``hidden_states``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import Any

from posthoc_align._arrays import Array

Take = Callable[[int, Array], None]


class _Enough(Exception):
    """No later layer is wanted."""


def layer_numbers(
    layers: str | Sequence[int], n_layers: int, behind: Sequence[str] = ()
) -> tuple[int, ...]:
    """Return the layers asked for, ascending, counted from 0.

    With modules `behind` the pooling there is one layer more, ``n_layers + 1``: their output. "all"
    and negative numbers leave it out.

    Raises
    ------
    ValueError
        If there is no such layer, none was named, or one twice.
    """
    n, last = n_layers, n_layers + bool(behind)
    if isinstance(layers, str) and layers == "all":
        return tuple(range(n + 1))
    if isinstance(layers, (str, Integral)) or not len(layers):
        raise ValueError(f"layers={layers!r}: expected 'all' or a list of numbers, like [-1].")
    output = f", and {last}, what its {' and '.join(behind)} make of that" * bool(behind)
    for layer in layers:
        if not isinstance(layer, Integral) or not -n - 1 <= layer <= last:
            raise ValueError(
                f"Layer {layer!r} does not exist: the model has the layers 0 (what enters the "
                f"first block) to {n}{output}; negative ones count from the last block, -1."
            )
    found = tuple(sorted({int(layer) if layer >= 0 else int(layer) + n + 1 for layer in layers}))
    if len(found) < len(layers):
        raise ValueError(f"layers={list(layers)} names one layer twice: layers 0 to {last}.")
    return found


def run_layers(
    model: Any,
    blocks: Any,
    n_layers: int,
    layers: Sequence[int],
    inputs: Mapping[str, Any],
    take: Take,
) -> None:
    """Run a model and hand each wanted layer's states to `take` as soon as they are there.

    With `blocks` only one layer's states are alive at a time, and no block after the last wanted
    one is run. Without, the model keeps the states of all layers until the end.

    Parameters
    ----------
    model : torch module
    blocks : sequence of modules, or None
        The blocks, as :func:`find_blocks` found them.
    n_layers : int
        Number of blocks.
    layers : sequence of int
        In [0, n_layers].
    inputs : mapping
        Arguments of the model.
    take : callable
        Called with a layer and its states, shape (n_rows, n_tokens, n_features).
    """
    if blocks is None:
        states = model(**inputs, output_hidden_states=True).hidden_states
        for layer in layers:
            take(layer, states[layer])
        return
    last = max(layers)
    hooks = []

    def entered(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        take(0, args[0] if args else kwargs["hidden_states"])
        if last == 0:
            raise _Enough

    def left(layer: int) -> Callable[[Any, Any, Any], None]:
        def hook(module: Any, args: Any, output: Any) -> None:
            take(layer, output[0] if isinstance(output, (tuple, list)) else output)
            if last == layer:
                raise _Enough

        return hook

    try:
        if 0 in layers:
            hooks.append(blocks[0].register_forward_pre_hook(entered, with_kwargs=True))
        hooks += [
            blocks[layer - 1].register_forward_hook(left(layer))
            for layer in layers
            if 0 < layer < n_layers
        ]
        output = model(**inputs)
        if last == n_layers:
            take(last, output[0])
    except _Enough:
        pass
    finally:
        for hook in hooks:
            hook.remove()


def find_blocks(model: Any, inputs: Mapping[str, Any]) -> tuple[Any, list[Array]]:
    """Find a model's blocks, and its hidden states on one input.

    A candidate counts only if hooks on it give, bit for bit, what the model itself calls its
    hidden states. Models that share one block among layers have none; they run without hooks.

    Parameters
    ----------
    model : torch module
    inputs : mapping
        A short text.

    Returns
    -------
    blocks : sequence of modules, or None
    states : list of tensors, one a layer

    Raises
    ------
    ValueError
        If the model has no hidden states.
    """
    from torch.nn import ModuleList

    try:
        output = model(**inputs, output_hidden_states=True)
    except TypeError:  # it takes no token ids, or knows no hidden states
        output = None
    states = getattr(output, "hidden_states", None)
    if not states or any(state.ndim != 3 for state in states):
        raise ValueError(
            f"{type(model).__name__} returns no hidden states of shape (texts, tokens, features): "
            "expected an encoder or decoder of text."
        )
    n_layers = len(states) - 1
    for blocks in model.modules():
        if (
            isinstance(blocks, ModuleList)
            and len(blocks) == n_layers
            and _agree(model, blocks, n_layers, inputs, states)
        ):
            return blocks, list(states)
    return None, list(states)


def _agree(
    model: Any, blocks: Any, n_layers: int, inputs: Mapping[str, Any], states: Sequence[Array]
) -> bool:
    found: dict[int, Array] = {}
    try:
        run_layers(model, blocks, n_layers, range(n_layers + 1), inputs, found.__setitem__)
    except (KeyError, IndexError, TypeError, AttributeError):  # blocks of another make
        return False
    return len(found) == len(states) and all(
        found[layer].shape == state.shape and bool((found[layer] == state).all())
        for layer, state in enumerate(states)
    )
