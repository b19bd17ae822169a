"""An encoder whose embeddings are aligned: text in, aligned rows out, where an encoder is expected.

``sentence_transformers`` evaluators and ``mteb`` take it for a model of theirs. mteb is imported
where it is asked for: ``pip install posthoc-align[mteb]``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from posthoc_align._arrays import Array, namespace
from posthoc_align.align._apply import apply_aligner, hears_language
from posthoc_align.languages import check_language
from posthoc_align.linalg import unit_block

Language = str | int | Mapping[str, Any] | Callable[[list[str]], Any]


class AlignedEncoder:
    """Encode texts with a model, then align the embeddings with a fitted aligner.

    ``encode(texts)`` is ``aligner.transform(model.encode(texts), language=...)``, in the kind and
    on the device that the model answers in. What is not defined here is the model's own.

    Parameters
    ----------
    model : SentenceTransformer or model of mteb
        Anything with ``encode``. It is not changed.
    aligner : fitted transformer
        Fitted on embeddings of this very model.
    language : str, int, mapping or callable, optional
        Of the texts, since evaluators do not pass it on: one label for all texts; a mapping from
        each text to its label; or a function of a list of texts that returns a label each, such as
        a language detector. None: mteb's word where it has one, or none, which will do for an
        aligner that does not depend on the language.
    codes : mapping of str, optional
        From mteb's codes to the aligner's labels, as ``{"deu-Latn": "de"}``. A code that is not in
        it is looked for among the labels as "deu-Latn", "deu_Latn" and "deu".

    Raises
    ------
    TypeError
        If `model` has no ``encode`` or `aligner` no ``transform``.

    See Also
    --------
    posthoc_align.export.to_sentence_transformers :
        A model of sentence-transformers with the aligner inside, for texts of one language; it can
        be saved as any other.

    Notes
    -----
    mteb knows the languages of a subset, not that of each text: a bitext in one subset needs
    `language`, as a mapping or a function. Only a task with ``parallel_subsets``, whose columns are
    languages, tells.

    The rows an aligner sees are those the model returns: pass ``normalize_embeddings`` and prompts
    as they were when it was fitted. With ``normalize_embeddings=True`` the aligned rows are scaled
    to unit norm again. mteb's results are kept apart from the model's own by name, and from those
    of another fit by a revision that holds a fingerprint of the aligner.

    Examples
    --------
    >>> import numpy as np
    >>> from posthoc_align import AlignedEncoder, LanguageCentering
    >>> class Letters:
    ...     def encode(self, texts):
    ...         return np.array([[text.count("a"), text.count("e")] for text in texts], dtype=float)
    >>> texts, language = ["ea", "aaa", "eee", "e"], ["de", "de", "en", "en"]
    >>> aligner = LanguageCentering().fit(Letters().encode(texts), language=language)
    >>> AlignedEncoder(Letters(), aligner, language="de").encode(["aae"])
    array([[0. , 0.5]])
    """

    def __init__(
        self,
        model: Any,
        aligner: Any,
        *,
        language: Language | None = None,
        codes: Mapping[str, Any] | None = None,
    ) -> None:
        for name, thing, method in (("model", model, "encode"), ("aligner", aligner, "transform")):
            if not callable(getattr(thing, method, None)):
                raise TypeError(
                    f"{name} is a {type(thing).__name__}, which has no {method}(): pass a "
                    "sentence-transformers or mteb model, and a fitted aligner."
                )
        self.model = model
        self.aligner = aligner
        self.language = language
        self.codes = codes

    def __repr__(self) -> str:
        return f"AlignedEncoder({type(self.model).__name__}, {self.aligner!r})"

    def __getattr__(self, name: str) -> Any:
        if name in ("model", "aligner") or name.startswith("__"):
            raise AttributeError(name)  # while it is unpickled or copied there is no model to ask
        return getattr(self.model, name)

    def encode(self, inputs: Any, *, language: Any = None, **options: Any) -> Any:
        """Return the aligned embeddings of texts.

        Parameters
        ----------
        inputs : str, sequence of str, or mteb's loader of batches
        language : str, int or array-like of shape (n_texts,), optional
            In place of the constructor's.
        **options
            For the model's own ``encode``.

        Returns
        -------
        ndarray, tensor or list of tensors
            What the model returns for these options.

        Raises
        ------
        ValueError
            If options ask for anything but sentence embeddings in full precision, or the language
            cannot be told where the aligner depends on it.
        """
        return self._encode("encode", inputs, language, options)

    def encode_query(self, inputs: Any, *, language: Any = None, **options: Any) -> Any:
        """Return the aligned embeddings of texts that ask; parameters as in :meth:`encode`."""
        return self._encode("encode_query", inputs, language, options)

    def encode_document(self, inputs: Any, *, language: Any = None, **options: Any) -> Any:
        """Return the aligned embeddings of texts to be found; parameters as in :meth:`encode`."""
        return self._encode("encode_document", inputs, language, options)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Scores of all pairs by the model's own similarity.

        Parameters
        ----------
        embeddings1, embeddings2 : arrays or tensors of shape (n_texts, n_features)
            Aligned already.
        """
        return self.model.similarity(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Scores of row with row by the model's own similarity.

        Parameters
        ----------
        embeddings1, embeddings2 : arrays or tensors of shape (n_texts, n_features)
            Aligned already.
        """
        return self.model.similarity_pairwise(embeddings1, embeddings2)

    @property
    def model_card_data(self) -> _NoCard:
        """Takes what evaluators note down; the model's own card is about the model alone."""
        return _NoCard()

    @property
    def mteb_model_meta(self) -> Any:
        """The model's entry in mteb under the aligner's name and fingerprint."""
        import joblib

        meta = self._for_mteb.mteb_model_meta
        name = meta.name if meta.name and "/" in meta.name else f"model/{meta.name or 'unnamed'}"
        told = self.language
        if callable(told):
            told = getattr(told, "__qualname__", type(told).__qualname__)
        print_of = joblib.hash((self.aligner, told, self.codes))[:16]
        return meta.model_copy(
            update={
                "name": f"{name}-{type(self.aligner).__name__}",
                "revision": f"{meta.revision or 'unknown'}-{print_of}",
                "adapted_from": meta.name,
                "loader": None,
            }
        )

    @cached_property
    def _for_mteb(self) -> Any:
        """The model as mteb calls it: its own, or a sentence-transformers model in its wrapper."""
        if hasattr(self.model, "mteb_model_meta"):
            return self.model
        try:
            from mteb.models import SentenceTransformerEncoderWrapper
        except ImportError as error:
            raise ImportError(
                "mteb is not installed, which handing this encoder to mteb needs: "
                "pip install posthoc-align[mteb]."
            ) from error
        return SentenceTransformerEncoderWrapper(self.model)

    def _encode(self, method: str, inputs: Any, language: Any, options: dict[str, Any]) -> Any:
        require_plain(options)
        task = options.get("task_metadata")
        model = self.model if task is None else self._for_mteb
        found = getattr(model, method)(inputs, **options)
        if len(found) == 0:
            return found
        rows, restore = as_rows(found)
        if language is None:
            language = self._language_of(inputs, task, options.get("hf_subset"))
        aligned = apply_aligner(self.aligner, rows, check_language(language, rows.shape[0]))
        return restore(unit_block(aligned) if options.get("normalize_embeddings") else aligned)

    def _language_of(self, inputs: Any, task: Any, subset: str | None) -> Any:
        """A label, or one label a text, or None where nobody says."""
        if not hears_language(self.aligner):
            return None
        told = self.language
        if isinstance(told, Mapping) or callable(told):
            texts = _texts(inputs, loader=task is not None)
            return told(texts) if callable(told) else _look_up(told, texts)
        if told is not None or task is None:
            return told
        return self._language_of_task(task, subset)

    def _language_of_task(self, task: Any, subset: str | None) -> Any:
        subsets = task.hf_subsets_to_langscripts
        spoken = sorted(set(subsets.get(subset, [subset])))
        if len(spoken) == 1:
            return self._label(spoken[0], required=_depends_on_language(self.aligner))
        if not _depends_on_language(self.aligner):
            return None
        raise ValueError(
            f"Subset {subset!r} of task {task.name!r} holds texts in {spoken} and mteb does not "
            "say which text is in which: pass AlignedEncoder(..., language=) a mapping from text "
            "to language, or a function of texts that tells it."
        )

    def _label(self, code: str, *, required: bool) -> Any:
        """The aligner's label for one of mteb's language codes."""
        if self.codes and code in self.codes:
            return self.codes[code]
        known = getattr(self.aligner, "languages_", None)
        if known is None:  # a pipeline, or an estimator of another library
            return code
        for name in (code, code.replace("-", "_"), code.split("-")[0]):
            if name in known:
                return name
        if not required:
            return None
        raise ValueError(
            f"mteb's language {code!r} is none of the aligner's: {list(known)}. Say which one it "
            f"is with AlignedEncoder(..., codes={{{code!r}: ...}}), or fit the aligner on it."
        )


class _NoCard:
    """A model card that keeps nothing."""

    def set_evaluation_metrics(self, *args: Any, **kwargs: Any) -> None:
        """Drop them: the evaluator returns them too."""


def require_plain(options: Mapping[str, Any]) -> None:
    """Refuse options under which a model does not return sentence embeddings to be aligned."""
    kind = options.get("output_value", "sentence_embedding")
    if kind != "sentence_embedding":
        raise ValueError(
            f"output_value={kind!r}: only sentence embeddings are aligned. Call the model itself, "
            "AlignedEncoder.model, for anything else."
        )
    precision = options.get("precision")
    if precision not in (None, "float32"):
        raise ValueError(
            f"precision={precision!r}: quantised embeddings cannot be aligned. Encode in float32 "
            "and quantise what is aligned (sentence_transformers.quantize_embeddings)."
        )


def as_rows(found: Any) -> tuple[Array, Callable[[Array], Any]]:
    """Embeddings as rows, and the way back to what they were: rows, one row, or a list of rows."""
    if isinstance(found, list):
        return namespace(found[0]).stack(found), list
    if found.ndim == 1:
        return found[None, :], lambda rows: rows[0]
    return found, lambda rows: rows


def _texts(inputs: Any, *, loader: bool) -> list[str]:
    """The texts of a call, in their order."""
    if loader:
        return [text for batch in inputs for text in batch["text"]]
    return [inputs] if isinstance(inputs, str) else list(inputs)


def _look_up(table: Mapping[str, Any], texts: Sequence[str]) -> list[Any]:
    missing = [text for text in texts if text not in table]
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(texts)} texts are not in the mapping from text to language, "
            f"first {missing[0]!r}: add them, or pass a function of texts."
        )
    return [table[text] for text in texts]


def _depends_on_language(aligner: Any) -> bool:
    """Whether transform needs the language: not with a shared map, nor with one language."""
    known = getattr(aligner, "languages_", None)
    return bool(getattr(aligner, "requires_language", True)) and (known is None or len(known) > 1)
