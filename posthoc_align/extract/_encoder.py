"""Embeddings of texts by layer, from an encoder or decoder of transformers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from posthoc_align._array_files import PathLike
from posthoc_align._arrays import Array
from posthoc_align.extract._batches import in_batches
from posthoc_align.extract._layers import find_blocks, run_layers
from posthoc_align.extract._models import load_backbone, require_device
from posthoc_align.extract._pooling import POOLINGS, pool
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
        of which the encoder is taken) or of sentence-transformers; or such a model, loaded. It is
        set to evaluation mode. Of sentence-transformers the transformer is taken: what follows it,
        such as scaling to unit norm, is not applied.
    layers : "all" or sequence of int, default=(-1,)
        0 is what enters the first block, k what leaves block k, negative ones count from the last:
        the numbers of transformers' ``hidden_states``.
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
        If the folder lacks a model or a tokenizer, a layer does not exist, an option is not known,
        or the device asked for is not there.

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
        self.dtype = dtype
        self.compute_dtype = compute_dtype
        self.max_length_ = self._length(max_length)
        self.pooling_ = pooling or self._backbone.pooling or "mean"
        inputs, _ = padded(
            self._backbone,
            tokenize(self._backbone, ["a b"], max_length=self.max_length_),
            self.device_,
        )
        with _no_gradient():
            self._blocks, states = find_blocks(self._backbone.model, inputs)
        self.n_layers_ = len(states) - 1
        self.layers_ = self._numbers(layers)
        widths = sorted({int(states[layer].shape[2]) for layer in self.layers_})
        if len(widths) > 1:
            raise ValueError(
                f"The layers {list(self.layers_)} differ in width, {widths}: extract those of each "
                "width on their own."
            )
        self.n_features_ = widths[0]

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

    def _numbers(self, layers: str | Sequence[int]) -> tuple[int, ...]:
        n = self.n_layers_
        if isinstance(layers, str) and layers == "all":
            return tuple(range(n + 1))
        if isinstance(layers, (str, Integral)) or not len(layers):
            raise ValueError(f"layers={layers!r}: expected 'all' or a list of numbers, like [-1].")
        for layer in layers:
            if not isinstance(layer, Integral) or not -n - 1 <= layer <= n:
                raise ValueError(
                    f"Layer {layer!r} does not exist: the model has the layers 0 (what enters the "
                    f"first block) to {n}; negative ones count from the last, -1."
                )
        found = tuple(sorted({int(layer) % (n + 1) for layer in layers}))
        if len(found) < len(layers):
            raise ValueError(f"layers={list(layers)} names one layer twice: layers 0 to {n}.")
        return found

    def settings(self) -> dict[str, Any]:
        """Return all that the embeddings depend on, to keep beside them.

        Returns
        -------
        settings : dict
            Of values that JSON can hold.
        """
        return {
            "model": self._backbone.name,
            "weights": self._backbone.fingerprint(),
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
            * X : dict of int -> array of shape (n_words, n_features), by layer
            * word : list of str
            * sentence, position : ndarray of int of shape (n_words,); which sentence, and which
              word of it, from 0

        Raises
        ------
        ValueError
            If a word has no piece, because the tokenizer drops its characters or the sentence was
            cut before it.
        """
        texts, spans, words = split_words(sentences)
        rows = tokenize(self._backbone, texts, max_length=self.max_length_, offsets=True)
        pieces, first = gather_words(rows, spans, words)

        def pooled(hidden: Array, at: np.ndarray, mask: Array) -> tuple[np.ndarray, Array]:
            picked, mask = pieces.of(at, hidden)
            numbers = np.concatenate([np.arange(first[i], first[i + 1]) for i in at])
            return numbers, pool(picked, mask, self.pooling_)

        counts = np.diff(first)
        return Bunch(
            X=self._pooled(rows, int(first[-1]), pooled, progress),
            word=[word for sentence in words for word in sentence],
            sentence=np.repeat(np.arange(len(texts)), counts),
            position=np.concatenate([np.arange(count) for count in counts]),
        )

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

        def work(at: np.ndarray) -> None:
            inputs, special = padded(self._backbone, [rows[i] for i in at], self.device_)
            mask = inputs["attention_mask"].bool()
            if not self.special_tokens:
                mask &= ~special

            def take(layer: int, hidden: Array) -> None:
                numbers, X = pooled(hidden, at, mask)
                out[layer][torch.from_numpy(numbers)] = X.to(device="cpu", dtype=out[layer].dtype)

            with _no_gradient():
                run_layers(
                    self._backbone.model, self._blocks, self.n_layers_, self.layers_, inputs, take
                )
            if progress is not None:
                progress(len(at))

        lengths = np.array([len(row["input_ids"]) for row in rows])
        in_batches(lengths, work, size=self.batch_size)
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
