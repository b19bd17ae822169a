"""A model that turns token ids into states, its tokenizer, and what its folder says of both."""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from posthoc_align.extract._sentence_transformers import Around, around_folder, around_loaded

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
    around : Around
        What sentence-transformers does besides.
    """

    name: str
    model: Any
    tokenizer: Any
    max_length: int
    n_positions: int | None
    around: Around

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

    Of a model with a head, such as one that predicts words, the part below it is taken; of an
    encoder-decoder the encoder.

    Raises
    ------
    ImportError
        If transformers is not installed.
    ValueError
        If the folder is no model, lacks a tokenizer, a loaded model comes without one, or it is no
        model of transformers.
    OSError
        If a name is in no cache and cannot be fetched.
    """
    around = Around()
    own = isinstance(model, (str, Path))
    if own:
        name = str(model)
        around = around_folder(name, lambda file: _json(name, file))
        loaded = _load_model(name, around.part)
        tokenizer = _load_tokenizer(name, around.part) if tokenizer is None else tokenizer
    elif hasattr(model, "encode") and hasattr(model, "max_seq_length"):  # SentenceTransformer
        loaded = getattr(model[0], "auto_model", model[0])
        _require_transformer(loaded, f"The first module of the model, {type(model[0]).__name__},")
        name = str(loaded.config.name_or_path)
        tokenizer = model.tokenizer if tokenizer is None else tokenizer
        around = around_loaded(model)
    else:
        _require_transformer(model, f"model={type(model).__name__}")
        name, loaded = str(getattr(model.config, "name_or_path", "")), model
        if tokenizer is None:
            raise ValueError(
                f"A loaded {type(model).__name__} came without its tokenizer. Pass tokenizer=, or "
                "the model's folder or name."
            )
    loaded = getattr(loaded, "base_model", loaded)
    if loaded.config.is_encoder_decoder:
        loaded = loaded.get_encoder()
    if not getattr(tokenizer, "is_fast", False):
        raise ValueError(
            f"{type(tokenizer).__name__} is a slow tokenizer: it knows no character offsets. Save "
            "the model with a fast one (tokenizer.json)."
        )
    loaded = ready(loaded, device=device, dtype=dtype, own=own)
    n_positions = _positions(loaded)
    limits = (around.max_length, tokenizer.model_max_length, n_positions)
    known = [int(limit) for limit in limits if limit is not None and limit < 10**9]
    return Backbone(
        name=name,
        model=loaded,
        tokenizer=tokenizer,
        max_length=min(known, default=_USUAL_LENGTH),
        n_positions=n_positions,
        around=around,
    )


def ready(module: Any, *, device: str | None, dtype: str, own: bool = False) -> Any:
    """Return a module on a device, in a type and in evaluation mode.

    Parameters
    ----------
    module : torch module
    device : str or None
        None: where it is.
    dtype : str
        Of its floating parameters and buffers.
    own : bool, default=False
        Whether nobody else has it, so that it may be changed in place. Otherwise it is copied
        unless it is as asked for already.
    """
    import torch

    kind = getattr(torch, dtype)

    def there(tensor: Any) -> bool:
        place = tensor.device if device is None else tensor.new_empty(0, device=device).device
        return tensor.device == place and (tensor.dtype == kind or not tensor.is_floating_point())

    tensors = [*module.parameters(), *module.buffers()]
    if all(map(there, tensors)) and not any(part.training for part in module.modules()):
        return module
    if not own:  # torch moves, casts and switches in place, and the user goes on with theirs
        module = copy.deepcopy(module)
    return module.to(device=device, dtype=kind).eval()


def _require_transformer(model: Any, what: str) -> None:
    if not hasattr(model, "config") or not hasattr(model, "forward"):
        raise ValueError(
            f"{what} is no model of transformers: it has no layers of hidden states. Pass a folder "
            "or name, a loaded encoder or decoder, or a SentenceTransformer that has one; static "
            "vectors are read by read_vectors."
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
    try:
        torch.zeros(1, device=device).cpu()
    # torch says so in all three ways, as the kind of device has it
    except (RuntimeError, NotImplementedError, AssertionError) as error:
        raise ValueError(
            f"device={device!r}, but this torch ({torch.__version__}) cannot use it "
            f"({str(error).splitlines()[0][:200]}). Pass a device that is there, or 'cpu'."
        ) from None
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
        f"from the hub by that name ({said}). Without a network pass the folder that holds its "
        f"config.json, tokenizer.json and model.safetensors, e.g. one that `hf download {name} "
        "--local-dir FOLDER` made on a machine with a network."
    )


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
