"""Writing a model and its tokenizer as safetensors, from a model folder or a GGUF file."""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from rlrf4rec.errors import InputError
from rlrf4rec.llm.tokenizer import needs_code, own_code
from rlrf4rec.seeds import seeded


def convert(
    source: Path, target: Path, dtype: torch.dtype, causal: bool, gguf: str | None = None, trusted: bool = False
) -> None:
    """Write a model and its tokenizer as safetensors in `dtype`, from a folder or a GGUF file in it.

    A GGUF model is dequantised in float32 into a fresh model without quantisation settings, which can be saved.
    `trusted`: code that lies in the folder may run. InputError for weights that are pickles.
    """
    name = f"{source.name}/{gguf}" if gguf else source.name
    extra: dict[str, Any] = {"gguf_file": gguf} if gguf else {"use_safetensors": True}
    if not gguf:
        _check(source, trusted)
    kind = AutoModelForCausalLM if causal else AutoModel
    try:
        with seeded(0):  # weights that a checkpoint lacks (a pooler, say) are drawn: the same ones each time
            model = kind.from_pretrained(
                source,
                dtype=torch.float32 if gguf else dtype,
                local_files_only=True,
                trust_remote_code=trusted,
                **extra,
            )
        tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True, trust_remote_code=trusted, **extra)
    except Exception as error:  # readers of broken model files raise anything
        raise InputError(
            f"{name}: not a model that transformers can read: {error}; look at fetch_models in params.yaml"
        ) from None
    if not causal and model.config.is_encoder_decoder:
        raise InputError(f"{name}: an encoder-decoder model; take one whose encoder stands alone, BERT's kind")
    if gguf:
        config = model.config
        if hasattr(config, "quantization_config"):
            del config.quantization_config
        config._name_or_path = ""
        fresh = kind.from_config(config)
        fresh.load_state_dict(model.state_dict())
        model = fresh
    model.generation_config = GenerationConfig() if causal else None
    model.to(dtype).save_pretrained(target)  # type: ignore[arg-type]
    tokenizer.save_pretrained(target)
    (target / "generation_config.json").unlink(missing_ok=True)  # every setting of the sampler is a param


def _check(source: Path, trusted: bool) -> None:
    """InputError when the folder's weights are no safetensors, or when it wants code that may not run."""
    if not any(source.glob("*.safetensors")):
        pickles = [path.name for suffix in ("bin", "pt", "pth") for path in sorted(source.glob(f"*.{suffix}"))]
        found = f"only {pickles[0]}, a pickle, which can run code when it is read" if pickles else "no weights"
        raise InputError(f"{source.name}: {found}; take a model whose weights are .safetensors, or a GGUF file")
    if own_code(source):
        if not trusted:
            raise InputError(needs_code(source.name))
        for reference in _references(source):
            if "--" in reference:
                raise InputError(
                    f"{source.name}: its code lies in another repository ({reference.split('--')[0]}), where it can "
                    "change; take a copy of the model with the code beside it"
                )


def _references(source: Path) -> list[str]:
    """What the `auto_map` of a model's configuration points at."""
    found: list[str] = []
    for name in ("config.json", "tokenizer_config.json"):
        if (source / name).is_file():
            entries = json.loads((source / name).read_text(encoding="utf-8")).get("auto_map", {}).values()
            found += [str(part) for entry in entries for part in (entry if isinstance(entry, list) else [entry])]
    return found
