"""What a model of sentence-transformers does around its transformer, from its files or loaded.

Such a model is a list of modules: the transformer, a pooling, and what follows, such as a dense
layer or scaling to unit norm. The files are read as data; the modules behind the pooling are loaded
by their own library, and only when their output is wanted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from posthoc_align._arrays import Array

_POOLINGS = {  # in the configurations of either age
    "mean_tokens": "mean",
    "cls_token": "cls",
    "lasttoken": "last",
    "max_tokens": "max",
    "weightedmean_tokens": "weightedmean",
    "mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
}


@dataclass(frozen=True)
class Around:
    """What surrounds the transformer; the defaults are those of a plain model.

    Parameters
    ----------
    part : str
        Folder of the transformer inside the model's.
    max_length : int or None
    lower : bool
        Whether texts are put in lower case.
    pooling : str or None
        As the library calls it: "mean", "cls", "last", "max", or another; several joined by "+".
    behind : tuple of str
        Kinds of the modules that follow the pooling.
    prompt : str
        What is put before each text unless told otherwise.
    load : callable or None
        Returns the modules that follow the pooling.
    """

    part: str = ""
    max_length: int | None = None
    lower: bool = False
    pooling: str | None = None
    behind: tuple[str, ...] = ()
    prompt: str = ""
    load: Callable[[], list[Any]] | None = None

    @property
    def changed(self) -> tuple[str, ...]:
        """Modules behind the pooling that do more than scale a row."""
        return tuple(kind for kind in self.behind if kind not in ("Normalize", "Dropout"))


def around_folder(name: str, read: Callable[[str], Any]) -> Around:
    """Read what a folder or repository says; `read` gives the content of a JSON file, or None."""
    modules = read("modules.json")
    if not isinstance(modules, list):
        return Around()
    found: dict[str, Any] = {}
    kinds: list[str] = []
    for module in modules:
        kind, part = module["type"].rpartition(".")[2], module["path"]
        kinds.append(kind)
        inside = f"{part}/" if part else ""
        if kind == "Transformer":
            said = read(f"{inside}sentence_bert_config.json") or {}
            found |= {"part": part, "max_length": said.get("max_seq_length")}
            found["lower"] = bool(said.get("do_lower_case"))
        elif kind == "Pooling":
            found["pooling"] = _pooling(read(f"{inside}config.json") or {})
    prompts = read("config_sentence_transformers.json") or {}
    return Around(
        **found,
        behind=_behind(kinds),
        prompt=_prompt(prompts.get("prompts"), prompts.get("default_prompt_name")),
        load=lambda: _load_behind(name),
    )


def around_loaded(model: Any) -> Around:
    """Ask a loaded ``SentenceTransformer``."""
    modules = list(model)
    kinds = [type(module).__name__ for module in modules]
    at = kinds.index("Pooling") if "Pooling" in kinds else None
    return Around(
        max_length=model.max_seq_length,
        lower=bool(getattr(modules[0], "do_lower_case", False)),
        pooling=None if at is None else _pooling(vars(modules[at])),
        behind=_behind(kinds),
        prompt=_prompt(model.prompts, model.default_prompt_name),
        load=lambda: modules[(at or 0) + 1 :],
    )


def _behind(kinds: list[str]) -> tuple[str, ...]:
    return tuple(kinds[kinds.index("Pooling") + 1 :]) if "Pooling" in kinds else ()


def _pooling(config: dict[str, Any]) -> str | None:
    mode = config.get("pooling_mode")
    if isinstance(mode, str):
        modes = [mode]
    else:
        modes = list(mode or [key for key in _POOLINGS if config.get(f"pooling_mode_{key}")])
    return "+".join(_POOLINGS.get(mode, mode) for mode in modes) or None


def _prompt(prompts: Any, name: Any) -> str:
    return str(prompts.get(name) or "") if isinstance(prompts, dict) and name is not None else ""


def _load_behind(name: str) -> list[Any]:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise ImportError(
            f"The modules behind the pooling of {name} need sentence-transformers: "
            'pip install "posthoc-align[extract]".'
        ) from error
    load = around_loaded(SentenceTransformer(name, device="cpu")).load
    return [] if load is None else load()


class Output:
    """The modules behind the pooling, as one function of pooled rows.

    Parameters
    ----------
    modules : list of torch modules
        Of float32 and in evaluation mode, where the rows lie.
    """

    def __init__(self, modules: list[Any]) -> None:
        self.modules = modules

    def __call__(self, X: Array) -> Array:
        """Return the model's embeddings of rows of shape (n_rows, n_features), float32."""
        features = {"sentence_embedding": X}
        for module in self.modules:
            features = module(features)
        return features["sentence_embedding"]

    def fingerprint(self) -> str:
        """Digest of the modules' types, configurations and weights."""
        digest = hashlib.sha256()
        for module in self.modules:
            digest.update(f"{type(module).__module__}.{type(module).__qualname__}".encode())
            said = module.get_config_dict() if hasattr(module, "get_config_dict") else repr(module)
            digest.update(json.dumps(said, sort_keys=True, default=str).encode())
            for name, weight in sorted(module.state_dict().items()):
                digest.update(f"{name}{weight.dtype}{tuple(weight.shape)}".encode())
                digest.update(weight.cpu().numpy().tobytes())
        return digest.hexdigest()
