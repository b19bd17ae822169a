"""A model that turns token ids into states, its tokenizer, and what its folder says of both."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

# Encoders of text are commonly trained on 512 tokens; taken where neither model nor tokenizer names
# a limit, as with relative positions.
_USUAL_LENGTH = 512
_LOADERS = 'pip install "posthoc-align[extract]"'


@dataclass(frozen=True)
class Backbone:
    """A loaded model and how texts enter it.

    Parameters
    ----------
    name : str
        Where it came from.
    model, tokenizer : object
        Of transformers; the model in evaluation mode.
    max_length : int
        Most tokens that it was made for.
    n_positions : int or None
        Most tokens that it can take; None without a table of positions.
    pooling : str or None
        What a sentence-transformers folder asks for.
    lower : bool
        Whether that folder asks for lower case.
    """

    name: str
    model: Any
    tokenizer: Any
    max_length: int
    n_positions: int | None
    pooling: str | None
    lower: bool

    @property
    def takes_no_types(self) -> bool:
        """Whether the model knows no token_type_ids."""
        return "token_type_ids" not in self.tokenizer.model_input_names

    def fingerprint(self) -> str:
        """Digest of the first values of every weight: tells one model from another."""
        digest = hashlib.sha256()
        for name, weight in sorted(self.model.state_dict().items()):
            some = weight.reshape(-1)[:16].float().cpu().numpy()
            digest.update(f"{name}{tuple(weight.shape)}".encode())
            digest.update(np.ascontiguousarray(some).data)
        return digest.hexdigest()


def load_backbone(model: Any, tokenizer: Any, *, device: str | None, dtype: str) -> Backbone:
    """Load a folder or name, or take what is loaded already, onto a device in a type.

    Raises
    ------
    ImportError
        If transformers is not installed.
    ValueError
        If the folder is no model, lacks a tokenizer, or a loaded model comes without one.
    OSError
        If a name is in no cache and cannot be fetched.
    """
    import torch

    settings: dict[str, Any] = {}
    if isinstance(model, (str, Path)):
        name = str(model)
        settings = _folder_settings(name)
        part = settings.get("path") or ""
        tokenizer = _load_tokenizer(name, part) if tokenizer is None else tokenizer
        loaded = _load_model(name, part)
    elif hasattr(model, "encode") and hasattr(model, "max_seq_length"):  # SentenceTransformer
        inner = model[0]
        name, loaded = str(inner.auto_model.config.name_or_path), inner.auto_model
        tokenizer = model.tokenizer if tokenizer is None else tokenizer
        settings = {
            "max_seq_length": model.max_seq_length,
            "do_lower_case": bool(getattr(inner, "do_lower_case", False)),
            "pooling": _pooling_of(vars(model[1])) if len(model) > 1 else None,
        }
    else:
        name, loaded = str(getattr(model.config, "name_or_path", "")), model
        if tokenizer is None:
            raise ValueError(
                f"A loaded {type(model).__name__} came without its tokenizer. Pass tokenizer=, or "
                "the model's folder or name."
            )
    if loaded.config.is_encoder_decoder:
        loaded = loaded.get_encoder()
    if not getattr(tokenizer, "is_fast", False):
        raise ValueError(
            f"{type(tokenizer).__name__} is a slow tokenizer: it knows no character offsets. Save "
            "the model with a fast one (tokenizer.json)."
        )
    loaded = loaded.to(device=device, dtype=getattr(torch, dtype)).eval()
    n_positions = _positions(loaded)
    limits = (settings.get("max_seq_length"), tokenizer.model_max_length, n_positions)
    known = [int(limit) for limit in limits if limit is not None and limit < 10**9]
    return Backbone(
        name=name,
        model=loaded,
        tokenizer=tokenizer,
        max_length=min(known, default=_USUAL_LENGTH),
        n_positions=n_positions,
        pooling=settings.get("pooling"),
        lower=bool(settings.get("do_lower_case")),
    )


def require_device(device: str | None) -> str:
    """Return the device asked for, or the best there is; never another than asked for."""
    import torch

    if device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise ValueError(
            f"device={device!r} is not known ({error}). Pass 'cpu' or 'cuda'."
        ) from None
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"device={device!r}, but this torch ({torch.__version__}) finds no CUDA device. Pass "
            "device='cpu' to run on the processor, or install a CUDA build and its driver."
        )
    return device


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise ImportError(f"Encoders need transformers: {_LOADERS}.") from error
    return transformers


def _load_model(name: str, part: str) -> Any:
    from safetensors import SafetensorError

    transformers = _transformers()
    try:
        return transformers.AutoModel.from_pretrained(name, subfolder=part)
    except (OSError, ValueError, SafetensorError) as error:
        raise _not_found(name, "model (config.json and its weights)", error) from error


def _load_tokenizer(name: str, part: str) -> Any:
    transformers = _transformers()
    what = "tokenizer (tokenizer.json)"
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(name, subfolder=part)
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise _not_found(name, what, error) from error
    if len(tokenizer) <= len(tokenizer.all_special_ids):  # made up where its files are missing
        raise _not_found(name, what, ValueError("it has no vocabulary"))
    return tokenizer


def _not_found(name: str, what: str, error: Exception) -> Exception:
    said = f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
    if Path(name).is_dir():
        return ValueError(
            f"The folder {name} has no {what} that transformers can read ({said}). Save both there "
            "with model.save_pretrained and tokenizer.save_pretrained."
        )
    return OSError(
        f"{name!r} is no folder here (looked in {Path.cwd()}), and its {what} could not be fetched "
        f"from the hub by that name ({said}). Without a network pass the folder of a saved model."
    )


def _folder_settings(name: str) -> dict[str, Any]:
    """What the files of sentence-transformers say; nothing for a plain model."""
    modules = _json(name, "modules.json")
    if not isinstance(modules, list):
        return {}
    settings: dict[str, Any] = {}
    for module in modules:
        kind, part = module["type"].rpartition(".")[2], module["path"]
        if kind == "Transformer":
            inside = f"{part}/" if part else ""
            settings |= _json(name, f"{inside}sentence_bert_config.json") or {}
            settings["path"] = part
        elif kind == "Pooling":
            settings["pooling"] = _pooling_of(_json(name, f"{part}/config.json") or {})
    return settings


def _pooling_of(config: dict[str, Any]) -> str | None:
    """The pooling of a configuration of either age, if it is one of ours."""
    names = {"mean_tokens": "mean", "cls_token": "cls", "lasttoken": "last", "max_tokens": "max"}
    mode = config.get("pooling_mode")
    found = [mode] if mode else [k for k in names if config.get(f"pooling_mode_{k}")]
    pooling = names.get(str(found[0]), str(found[0])) if len(found) == 1 else None
    return "last" if pooling == "lasttoken" else pooling


def _json(name: str, file: str) -> Any:
    if Path(name).is_dir():
        path = Path(name) / file
    else:
        try:
            found = _transformers().utils.cached_file(
                name, file, _raise_exceptions_for_missing_entries=False
            )
        except OSError:  # the loader of the model says what is wrong, once
            return None
        if found is None:
            return None
        path = Path(found)
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _positions(model: Any) -> int | None:
    """Length of the table of positions, less the entries that padding takes (RoBERTa's)."""
    table = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
    if table is not None and hasattr(table, "num_embeddings"):
        padding = table.padding_idx
        return int(table.num_embeddings - (0 if padding is None else padding + 1))
    limit = getattr(model.config, "max_position_embeddings", None)
    return int(limit) if limit and limit > 0 else None
