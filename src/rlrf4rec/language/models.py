"""Loading the LLM (with a LoRA adapter merged) and the encoder from local folders; converting GGUF files."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedModel
from transformers.utils import logging

from rlrf4rec.errors import RLRFError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
logging.disable_progress_bar()
logging.set_verbosity_error()


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a model folder."""
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise RLRFError(f"{folder}: no tokenizer: {error}; run `dvc repro fetch_models`") from None


def load_llm(folder: Path, dtype: torch.dtype, attention: str = "sdpa") -> PreTrainedModel:
    """The causal LM of a folder, in eval mode."""
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, attn_implementation=attention, local_files_only=True, use_safetensors=True
        )
    except (OSError, ValueError) as error:
        raise RLRFError(f"{folder}: no causal language model: {error}; run `dvc repro fetch_models`") from None
    return model.eval()


def load_policy(folder: Path, adapter: Path, dtype: torch.dtype, attention: str = "sdpa") -> PreTrainedModel:
    """The LLM with the adapter's update merged in fp32 and then cast; a file as `adapter` means none."""
    model = load_llm(folder, torch.float32, attention)
    if adapter.is_dir():
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    return model.to(dtype).eval()  # type: ignore[arg-type]


def load_encoder(folder: Path) -> PreTrainedModel:
    """The text encoder of a folder, in eval mode."""
    try:
        return AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True).eval()
    except (OSError, ValueError) as error:
        raise RLRFError(f"{folder}: no encoder: {error}; run `dvc repro fetch_models`") from None


def convert(source: Path, target: Path, dtype: torch.dtype, causal: bool, gguf: str | None = None) -> None:
    """Write a model and its tokenizer as safetensors in `dtype`, from a folder or a GGUF file in it.

    A GGUF model is dequantised into a fresh model without quantisation settings, which can be saved.
    """
    kind = AutoModelForCausalLM if causal else AutoModel
    extra = {"gguf_file": gguf} if gguf else {}
    try:
        model = kind.from_pretrained(source, dtype=torch.float32, local_files_only=True, **extra)
        tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True, **extra)
    except Exception as error:  # readers of broken model files raise anything
        raise RLRFError(f"{source.name}: not a model that transformers can read: {error}") from None
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
