"""Loading the LLM (with a LoRA adapter) and the encoder from local folders.

Weights are read from safetensors alone: a pickle can run code when it is read.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel, AutoModelForCausalLM, PreTrainedModel

from rlrf4rec import machine
from rlrf4rec.errors import InputError, RLRFError
from rlrf4rec.files import fingerprint, sha256
from rlrf4rec.llm.tokenizer import UNREADABLE, unreadable

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Place:
    """Where the LLM runs, whether its weights are held in four bits, and whether its own code may run."""

    device: str = "cpu"
    four_bit: bool = False
    trusted: bool = False

    def identity(self, folder: Path) -> str:
        """Names the LLM of a folder as it is loaded here, for the store."""
        return fingerprint([sha256(folder), vars(self)])

    @classmethod
    def of(cls, device: str, quantization: str, trust_remote_code: str | None) -> "Place":
        """The place that the params block `llm` asks for; RLRFError when the machine has no such one."""
        gpu = torch.cuda.is_available()
        if device == "cuda" and not gpu:
            raise RLRFError("llm.device: cuda, but PyTorch finds no GPU on this machine; set it to auto or cpu")
        chosen = machine.device(device)
        if quantization == "4bit" and chosen == "cpu":
            raise RLRFError("llm.quantization: 4bit needs a GPU, and the LLM would run on the CPU; set it to none")
        if quantization == "4bit" and find_spec("bitsandbytes") is None:
            raise RLRFError(
                "llm.quantization: 4bit needs bitsandbytes, which is not installed; "
                "install this package with its extra `quantization`, or set the param to none"
            )
        return cls(chosen, quantization == "4bit", trust_remote_code is not None)


CPU = Place()
UNTUNED = "no_adapter.json"  # the file in the folder of a policy that is the LLM as it was fetched


def load_llm(folder: Path, dtype: torch.dtype, attention: str = "sdpa", place: Place = CPU) -> PreTrainedModel:
    """The causal LM of a folder, in eval mode; parameters in `dtype`, the tables of rotary positions in float32."""
    extra: dict[str, Any] = {}
    if place.four_bit:
        from transformers import BitsAndBytesConfig

        extra["device_map"] = {"": place.device}
        extra["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
        )
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            attn_implementation=attention,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=place.trusted,
            **extra,
        )
    except UNREADABLE as error:
        raise unreadable(folder, "no causal language model", error, place.trusted) from None
    return model.eval() if place.four_bit else model.to(place.device).eval()  # type: ignore[arg-type]


def operations(model: PreTrainedModel, tokens: int, answered: int) -> float:
    """Operations of products with weights for `tokens` forward and logits for `answered` of them; no attention."""
    embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    body = sum(p.numel() for p in model.base_model.parameters()) - embedding.numel()  # type: ignore[operator]
    return 2.0 * (body * tokens + head.numel() * answered)  # type: ignore[operator]


def load_policy(
    folder: Path, adapter: Path, dtype: torch.dtype, attention: str = "sdpa", place: Place = CPU
) -> PreTrainedModel:
    """The LLM with an adapter, or none when that is what the folder `adapter` says.

    The adapter's update is merged in fp32 and then cast. Weights of four bits stay as they are and the adapter beside
    them: that is what it was trained with.
    """
    if untuned(adapter):
        return load_llm(folder, dtype, attention, place)
    check_adapter(adapter)
    from peft import PeftModel

    if place.four_bit:
        beside = PeftModel.from_pretrained(load_llm(folder, dtype, attention, place), str(adapter))
        return beside.get_base_model().eval()  # type: ignore[return-value, operator]
    model = load_llm(folder, torch.float32, attention, place)
    merged = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    for parameter in merged.parameters():
        parameter.data = parameter.data.to(dtype)
    return merged.eval()


def untuned(adapter: Path) -> bool:
    """Whether the folder is that of the LLM as it was fetched."""
    return (adapter / UNTUNED).is_file()


def check_adapter(adapter: Path) -> None:
    """InputError unless the folder holds an adapter as safetensors: without them PEFT would read a pickle."""
    if not adapter.exists():
        raise InputError(f"{adapter}: missing; run the stage that writes it with dvc repro (or `dvc pull`)")
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        if not (adapter / name).is_file():
            raise InputError(
                f"{adapter / name}: missing; an adapter is read from these two files alone, never from a pickle "
                "(.bin): run the stage that writes it again with dvc repro, or save the adapter as safetensors"
            )


def load_encoder(folder: Path) -> PreTrainedModel:
    """The text encoder of a folder, in eval mode; its own code never runs."""
    try:
        return AutoModel.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, trust_remote_code=False
        ).eval()
    except UNREADABLE as error:
        raise unreadable(folder, "no encoder", error, False) from None
