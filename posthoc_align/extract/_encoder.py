"""Embeddings of texts by layer, from an encoder or decoder of transformers."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from posthoc_align._array_files import PathLike
from posthoc_align._arrays import Array
from posthoc_align.extract._batches import Room, in_batches
from posthoc_align.extract._layers import find_blocks, layer_numbers, run_layers
from posthoc_align.extract._models import load_backbone, ready, require_device
from posthoc_align.extract._pooling import POOLINGS, pool
from posthoc_align.extract._sentence_transformers import Output
from posthoc_align.extract._tokens import Tokens, padded, tokenize
from posthoc_align.extract._words import gather_words, split_words

_TYPES = ("float32", "float16", "bfloat16")


class Encoder:
    r"""Extract embeddings of sentences or words from any layers of a model.

    A sentence is the mean (or another pooling) of the states of its tokens at a layer,
    :math:`\frac{1}{|T|} \sum_{t \in T} h_t`. Only wanted layers are kept, one at a time, and what
    lies above the last of them is not computed.

    Parameters
    ----------
    model : str, path, or loaded model
        Folder or hub name of a model of transformers (an encoder, a decoder, or an encoder-decoder,
        of which the encoder is taken) or of sentence-transformers; or such a model, loaded. That
        one stays as it is: it is copied, unless it is in evaluation mode, on `device` and of
        `compute_dtype` already.
    layers : "all" or sequence of int, default=(-1,)
        0 is what enters the first block, k what leaves block k, negative ones count from the last:
        the numbers of transformers' ``hidden_states``. Where a model of sentence-transformers has
        modules behind its pooling, such as Dense or Normalize, one layer more, ``n_layers_ + 1``,
        is what they make of the last block's: what the model's own ``encode`` returns.
    pooling : {"mean", "cls", "last", "max"}, optional
        Of the tokens of a sentence; "cls" is the first one. None: what a sentence-transformers
        folder asks for, otherwise "mean".
    special_tokens : bool, default=True
        Whether tokens such as [CLS] and </s> are pooled, too. The model reads them in any case.
    max_length : int, optional
        Cut texts at so many tokens; None: what the model was made for, at most 512 if it does not
        say.
    batch_size : int, default=32
        Texts that run at once. Halved, with a warning, when memory runs out.
    dtype : {"float32", "float16", "bfloat16"}, default="float32"
        Type of the embeddings. bfloat16 comes as torch tensors.
    compute_dtype : {"float32", "float16", "bfloat16"}, default="float32"
        Type that the model runs in. Pooling is done in float32.
    device : str, optional
        None: CUDA if there is any, otherwise the processor.
    tokenizer : tokenizer, optional
        For a loaded model of transformers.

    Attributes
    ----------
    layers_ : tuple of int
        The layers, counted from 0.
    n_layers_ : int
        Blocks of the model; it has so many layers, besides layer 0.
    n_features_ : int
        Columns of each layer.
    pooling_, max_length_, device_ : str, int, str
        What was settled on.

    Raises
    ------
    ImportError
        If transformers is not installed.
    OSError
        If the model is neither a folder nor can be fetched.
    ValueError
        If the folder lacks a model or a tokenizer, the model has no hidden states, a layer does not
        exist, an option is not known, the model asks for a pooling that is not here, or the device
        asked for is not there.

    Warns
    -----
    UserWarning
        If the last block is asked for without the dense modules behind it, or the model is used
        with a prompt that it was given: texts are read as they are.

    Notes
    -----
    Texts are sorted by length into batches and come back in their own order. A row depends, in its
    last bits, on the batch it was computed in. Time is that of the model's forward pass; memory
    O(batch_size n_tokens n_features) besides the result.

    Examples
    --------
    >>> encoder = Encoder("FacebookAI/xlm-roberta-base", layers=[8, 12])  # doctest: +SKIP
    >>> X = encoder.encode(["A sentence.", "Ein Satz."])  # doctest: +SKIP
    >>> X[8].shape  # doctest: +SKIP
    (2, 768)
    """

    def __init__(
        self,
        model: PathLike | Any,
        *,
        layers: str | Sequence[int] = (-1,),
        pooling: str | None = None,
        special_tokens: bool = True,
        max_length: int | None = None,
        batch_size: int = 32,
        dtype: str = "float32",
        compute_dtype: str = "float32",
        device: str | None = None,
        tokenizer: Any = None,
    ) -> None:
        _require_choice("pooling", pooling, (None, *POOLINGS))
        _require_choice("dtype", dtype, _TYPES)
        _require_choice("compute_dtype", compute_dtype, _TYPES)
        _require_count("batch_size", batch_size)
        self.device_ = require_device(device)
        self._backbone = load_backbone(model, tokenizer, device=self.device_, dtype=compute_dtype)
        self.special_tokens = special_tokens
        self.batch_size = batch_size
        self._room = Room(batch_size)
        self.dtype = dtype
        self.compute_dtype = compute_dtype
        self.max_length_ = self._length(max_length)
        self.pooling_ = self._pooling(pooling)
        inputs, _ = padded(
            self._backbone,
            tokenize(self._backbone, ["a b"], max_length=self.max_length_),
            self.device_,
        )
        with _no_gradient():
            self._blocks, states = find_blocks(self._backbone.model, inputs)
        self.n_layers_ = len(states) - 1
        self.layers_ = layer_numbers(layers, self.n_layers_, self._backbone.around.behind)
        last = states[-1]
        self._output = self._output_layer()
        widths = {int(states[layer].shape[2]) for layer in self.layers_ if layer <= self.n_layers_}
        if self._output is not None:
            with _no_gradient():
                widths.add(int(self._output(last[:, 0].float()).shape[1]))
        if len(widths) > 1:
            raise ValueError(
                f"The layers {list(self.layers_)} differ in width, {sorted(widths)}: extract those "
                "of each width on their own."
            )
        self.n_features_ = widths.pop()

    def _length(self, max_length: int | None) -> int:
        if max_length is None:
            return self._backbone.max_length
        _require_count("max_length", max_length)
        most = self._backbone.n_positions
        if most is not None and max_length > most:
            raise ValueError(
                f"max_length={max_length}, but the model has positions for {most} tokens: pass at "
                "most that."
            )
        return max_length

    def _pooling(self, pooling: str | None) -> str:
        asked = self._backbone.around.pooling
        if pooling is None and asked is not None and asked not in POOLINGS:
            raise ValueError(
                f"The model pools by {asked!r}, which is not among {', '.join(POOLINGS)}: pass "
                "pooling= to take one of these."
            )
        return pooling or asked or "mean"

    def _output_layer(self) -> Output | None:
        """The modules behind the pooling, if their output is wanted; say what is left out."""
        around, n = self._backbone.around, self.n_layers_
        if around.prompt:
            warnings.warn(
                f"The model's own encode puts {around.prompt!r} before each text. Here texts are "
                "read as they are: put it there yourself if you want it.",
                UserWarning,
                stacklevel=3,
            )
        if n + 1 not in self.layers_:
            if around.changed and n in self.layers_:
                warnings.warn(
                    f"Layer {n} is what leaves the last block. The model's own encode applies "
                    f"{' and '.join(around.behind)} to it: that is layer {n + 1}.",
                    UserWarning,
                    stacklevel=3,
                )
            return None
        if self.pooling_ != around.pooling or not self.special_tokens:
            raise ValueError(
                f"Layer {n + 1} was made for {around.pooling!r} pooling of all tokens; got "
                f"{self.pooling_!r}, special_tokens={self.special_tokens}. Leave out pooling= and "
                "special_tokens=, or the layer."
            )
        modules = around.load() if around.load else []  # there is one wherever modules are behind
        return Output([ready(part, device=self.device_, dtype="float32") for part in modules])

    def settings(self) -> dict[str, Any]:
        """Return all that the embeddings depend on, to keep beside them.

        Returns
        -------
        settings : dict
            Of values that JSON can hold.
        """
        output = {} if self._output is None else {"output": self._output.fingerprint()}
        return {
            "model": self._backbone.name,
            "weights": self._backbone.fingerprint(),
            **output,
            "layers": list(self.layers_),
            "pooling": self.pooling_,
            "special_tokens": self.special_tokens,
            "max_length": self.max_length_,
            "batch_size": self.batch_size,
            "dtype": self.dtype,
            "compute_dtype": self.compute_dtype,
            "device": self.device_.partition(":")[0],
        }

    def encode(
        self, texts: Sequence[str], *, progress: Callable[[int], Any] | None = None
    ) -> dict[int, Array]:
        """Embed texts.

        Parameters
        ----------
        texts : sequence of str
            None of them empty.
        progress : callable, optional
            Called with the number of texts done since the last call, such as a bar's ``update``.

        Returns
        -------
        X : dict of int -> array of shape (n_texts, n_features)
            By layer; rows in the order of the texts.

        Raises
        ------
        TypeError, ValueError
            If a text is no str, is empty, or nothing of it is left as a token.
        MemoryError
            If memory does not suffice for a single text.

        Warns
        -----
        UserWarning
            If texts were cut, or memory ran out and batches were halved.
        """
        rows = tokenize(self._backbone, texts, max_length=self.max_length_)
        return self._pooled(rows, len(rows), self._sentences, progress)

    def encode_words(
        self,
        sentences: Sequence[str | Sequence[str]],
        *,
        progress: Callable[[int], Any] | None = None,
    ) -> Bunch:
        """Embed the words of sentences in their context: each is pooled from its pieces.

        A piece belongs to the words whose characters it covers, by the tokenizer's offsets.

        Parameters
        ----------
        sentences : sequence of str or of lists of str
            A str is split at white space, a list holds its words.
        progress : callable, optional
            As in :meth:`encode`.

        Returns
        -------
        words : Bunch
            What :func:`words_of` returns of the sentences, and X, a dict of int -> array of shape
            (n_words, n_features), by layer.

        Raises
        ------
        ValueError
            If a word has no piece, because the tokenizer drops its characters or the sentence was
            cut before it, or a layer was asked for that only sentences have.
        """
        if self._output is not None:
            raise ValueError(
                f"Layer {self.n_layers_ + 1} is of whole sentences: words have no such layer. Ask "
                "for others."
            )
        split = split_words(sentences)
        rows = tokenize(self._backbone, split.texts, max_length=self.max_length_, offsets=True)
        pieces = gather_words(rows, split)
        first = np.cumsum([0, *split.counts])

        def pooled(hidden: Array, at: np.ndarray, mask: Array) -> tuple[np.ndarray, Array]:
            picked, mask = pieces.of(at, hidden)
            numbers = np.concatenate([np.arange(first[i], first[i + 1]) for i in at])
            return numbers, pool(picked, mask, self.pooling_)

        return Bunch(X=self._pooled(rows, int(first[-1]), pooled, progress), **split.table())

    def _sentences(self, hidden: Array, at: np.ndarray, mask: Array) -> tuple[np.ndarray, Array]:
        return at, pool(hidden, mask, self.pooling_)

    def _pooled(
        self,
        rows: Tokens,
        n_out: int,
        pooled: Callable[[Array, np.ndarray, Array], tuple[np.ndarray, Array]],
        progress: Callable[[int], Any] | None,
    ) -> dict[int, Array]:
        """Run all rows in batches and lay what `pooled` makes of each into place."""
        import torch

        out = {
            layer: torch.empty((n_out, self.n_features_), dtype=getattr(torch, self.dtype))
            for layer in self.layers_
        }

        run = sorted({min(layer, self.n_layers_) for layer in self.layers_})

        def work(at: np.ndarray) -> None:
            inputs, special = padded(self._backbone, [rows[i] for i in at], self.device_)
            mask = inputs["attention_mask"].bool()
            if not self.special_tokens:
                mask &= ~special

            def put(layer: int, numbers: np.ndarray, X: Array) -> None:
                out[layer][torch.from_numpy(numbers)] = X.to(device="cpu", dtype=out[layer].dtype)

            def take(layer: int, hidden: Array) -> None:
                numbers, X = pooled(hidden, at, mask)
                if layer in out:
                    put(layer, numbers, X)
                if self._output is not None and layer == self.n_layers_:
                    put(layer + 1, numbers, self._output(X))

            with _no_gradient():
                run_layers(self._backbone.model, self._blocks, self.n_layers_, run, inputs, take)
            if progress is not None:
                progress(len(at))

        lengths = np.array([len(row["input_ids"]) for row in rows])
        in_batches(lengths, work, self._room)
        if self.dtype == "bfloat16":
            return out
        return {layer: X.numpy() for layer, X in out.items()}


def _no_gradient() -> Any:
    import torch

    return torch.inference_mode()


def _require_choice(name: str, value: Any, known: Sequence[Any]) -> None:
    if value not in known:
        names = ", ".join(repr(choice) for choice in known if choice is not None)
        raise ValueError(f"{name}={value!r} is not known: choose one of {names}.")


def _require_count(name: str, value: Any) -> None:
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name}={value!r}: expected a whole number of at least 1.")
