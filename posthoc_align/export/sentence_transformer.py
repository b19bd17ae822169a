"""A fitted aligner as the last modules of a sentence-transformers model."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np

from posthoc_align.export.chain import AffineStep, Chain, fold


def to_sentence_transformers(aligner: Any, model: Any, *, language: Any = None) -> Any:
    """Return a model of sentence-transformers whose embeddings are aligned.

    The aligner becomes the last modules, behind pooling and normalisation: there it meets the rows
    it was fitted on, those that ``model.encode`` returns. The modules are sentence-transformers'
    own (``Dense`` without an activation, ``Normalize``). So what ``save`` writes is loaded by
    ``SentenceTransformer(folder)`` anywhere, without posthoc_align and without
    ``trust_remote_code``.

    Parameters
    ----------
    aligner : fitted transformer, or Pipeline of such
        Fitted on embeddings of this very model. As for :func:`posthoc_align.export.fold`.
    model : SentenceTransformer
        It is not changed; the new model shares its weights. A ``truncate_dim`` is done as a module,
        before the aligner.
    language : str or int, optional
        Of the texts that the new model is for. As for :func:`posthoc_align.export.fold`.

    Returns
    -------
    SentenceTransformer
        On the model's device and in its precision, with its prompts and its similarity.

    Raises
    ------
    ImportError
        If sentence-transformers is not installed.
    TypeError
        If `model` is no SentenceTransformer.
    ValueError
        As :func:`posthoc_align.export.fold`, or if the model's embeddings have another width.

    See Also
    --------
    posthoc_align.AlignedEncoder :
        For texts of many languages, and for aligners that cannot be exported.

    Notes
    -----
    One model is for one language, since a model is not told the language of a text. The weights of
    the encoder are shared in memory but saved with each.
    ``encode(..., normalize_embeddings=True)`` scales what is aligned; rows that were scaled so when
    the aligner was fitted need a ``Normalize`` module in the model instead.
    """
    try:
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer.modules import Dense, Normalize
    except ImportError as error:
        raise ImportError(
            'This needs sentence-transformers: pip install "posthoc-align[extract]"'
        ) from error
    from posthoc_align.export._layers import UnitRows, layers

    if not isinstance(model, SentenceTransformer):
        raise TypeError(
            f"model is a {type(model).__name__}: pass a SentenceTransformer, such as "
            "SentenceTransformer(folder)."
        )
    modules: Any = OrderedDict(model.named_children())
    layer: Any
    for layer in layers(_truncated(fold(aligner, language), model)):
        name = str(len(modules))
        if isinstance(layer, UnitRows):
            modules[name] = Normalize()
        else:
            modules[name] = Dense(
                layer.in_features,
                layer.out_features,
                activation_function=None,
                init_weight=layer.weight,
                init_bias=layer.bias,
            ).requires_grad_(False)
    return _with_modules(model, modules)


def _with_modules(model: Any, modules: Any) -> Any:
    """A model of these modules that is otherwise as `model` is."""
    from sentence_transformers import SentenceTransformer

    made = SentenceTransformer(
        modules=modules,
        device=str(model.device),
        prompts=model.prompts,
        default_prompt_name=model.default_prompt_name,
        similarity_fn_name=model.similarity_fn_name,
        trust_remote_code=model.trust_remote_code,
        backend=model.backend,
    )
    made.module_kwargs = model.module_kwargs
    return made.eval()


def _truncated(chain: Chain, model: Any) -> Chain:
    """The chain behind a step that cuts rows to the model's ``truncate_dim``."""
    given = model.get_embedding_dimension()
    if given not in (None, chain.n_features_in):
        raise ValueError(
            f"The model's embeddings have {given} features and the aligner was fitted on rows of "
            f"{chain.n_features_in}: pass the model, and the truncate_dim, whose embeddings it was "
            "fitted on."
        )
    if model.truncate_dim is None:
        return chain
    with model.truncate_embeddings(None):
        whole = model.get_embedding_dimension()
    if whole == given:
        return chain
    cut = AffineStep(np.eye(whole, given), np.zeros(given))
    if chain.steps and isinstance(chain.steps[0], AffineStep):
        steps = (cut.then(chain.steps[0]), *chain.steps[1:])
    else:
        steps = (cut, *chain.steps)
    return Chain(steps, whole, chain.n_features_out)
