"""Loading the LLM (with a LoRA adapter) and the encoder from local folders.

Weights are read from safetensors alone: a pickle can run code when it is read.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from transformers import AutoModel, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from rlrf4rec import machine
from rlrf4rec.errors import InputError, RLRFError
from rlrf4rec.files import check_json, fingerprint, sha256
from rlrf4rec.llm.tokenizer import UNREADABLE, unreadable

if TYPE_CHECKING:
    from peft import PeftModel  # takes seconds to import

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


def load_whole(kind: Any, folder: Path, **options: Any) -> PreTrainedModel:
    """A model by `kind.from_pretrained`; ValueError unless the checkpoint has every tensor of it and no other one.

    ValueError as well where a weight is not finite: nothing after it would see that, what is computed is NaN.
    transformers draws what a checkpoint lacks, and drops what the model has no place for. Of an encoder (AutoModel) the
    last hidden states alone are read: a pooler that is not there is left out, and so is the head of another task.
    """
    model, found = kind.from_pretrained(
        folder, local_files_only=True, output_loading_info=True, ignore_mismatched_sizes=True, **options
    )
    missing, unexpected = set(found["missing_keys"]), set(found["unexpected_keys"])
    if kind is AutoModel:
        if any(name.startswith("pooler.") for name in missing):
            model.pooler = None
            missing = {name for name in missing if not name.startswith("pooler.")}
        if type(model).__name__ not in (model.config.architectures or [type(model).__name__]):
            unexpected = {name for name in unexpected if name.startswith(f"{model.base_model_prefix}.")}
    other = {name: f"{tuple(given)} for {tuple(wanted)}" for name, given, wanted in found["mismatched_keys"]}
    faults = [
        f"{what} {min(names)!r} (of {len(names)})"
        for what, names in (("it lacks", missing), ("it has", unexpected))
        if names
    ]
    faults += [f"{min(other)!r} has the shape {other[min(other)]} (of {len(other)})"] if other else []
    if faults:
        raise ValueError(f"its weights are not those of a {type(model).__name__}: {', '.join(faults)}")
    if odd := not_finite(dict(model.named_parameters())):
        raise ValueError(f"its weights {min(odd)!r} are not finite (of {len(odd)})")
    return model  # type: ignore[no-any-return]


def not_finite(tensors: Mapping[str, torch.Tensor]) -> list[str]:
    """Names of those that hold a number that is not finite; one pass over them, without a copy.

    Whole numbers are not looked at, and so no weights of four bits.
    """
    found = {name: tensor for name, tensor in tensors.items() if tensor.is_floating_point() and tensor.numel()}
    return [name for name, tensor in found.items() if not all(end.isfinite() for end in tensor.detach().aminmax())]


def window(config: PretrainedConfig) -> int | None:
    """Tokens that layers with a sliding window see; None when there is no such layer."""
    size, kinds = getattr(config, "sliding_window", None), getattr(config, "layer_types", None)
    return size if size and (kinds is None or "sliding_attention" in kinds) else None


def context(model: PreTrainedModel) -> int:
    """Tokens that the LLM can take at once: its positions or, where that is shorter, a window, which isn't computed."""
    size: int = model.config.max_position_embeddings
    return min(size, window(model.config) or size)


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
        model = load_whole(
            AutoModelForCausalLM,
            folder,
            dtype=dtype,
            attn_implementation=attention,
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
    if place.four_bit:
        beside = load_adapter(load_llm(folder, dtype, attention, place), adapter)
        return beside.get_base_model().eval()  # type: ignore[return-value, operator]
    model = load_llm(folder, torch.float32, attention, place)
    merged = load_adapter(model, adapter).merge_and_unload()
    for parameter in merged.parameters():
        parameter.data = parameter.data.to(dtype)
    return merged.eval()


def load_adapter(model: PreTrainedModel, adapter: Path, trainable: bool = False) -> "PeftModel":
    """The LLM with an adapter beside its weights; InputError unless the adapter has a tensor for each of its places."""
    check_adapter(adapter)
    from peft import PeftModel, get_peft_model_state_dict

    again = "run the stage that writes it again with dvc repro"
    try:
        with safe_open(adapter / "adapter_model.safetensors", "pt") as file:
            given = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        with warnings.catch_warnings():  # of what is missing, which is an error here
            warnings.simplefilter("ignore")
            tuned = PeftModel.from_pretrained(model, str(adapter), is_trainable=trainable)
    except (*UNREADABLE, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "size mismatch" not in str(error):
            raise
        raise InputError(f"{adapter}: no adapter of this LLM: {error}; {again}") from None
    places = set(get_peft_model_state_dict(tuned, save_embedding_layers=False))
    faults = [
        f"{what} {min(names)!r} (of {len(names)})"
        for what, names in (("it lacks", places - given.keys()), ("the LLM has no place for", given.keys() - places))
        if names
    ]
    if faults:
        raise InputError(f"{adapter}: no adapter of this LLM: {', '.join(faults)}; {again}")
    if odd := not_finite(given):
        raise InputError(
            f"{adapter / 'adapter_model.safetensors'}: its weights {odd[0]!r} are not finite, so the file is damaged "
            f"or the training has diverged; {again}, with a lower train_dpo.learning_rate if they come out so again"
        )
    return tuned


def untuned(adapter: Path) -> bool:
    """Whether the folder is that of the LLM as it was fetched."""
    return (adapter / UNTUNED).is_file()


def check_adapter(adapter: Path) -> None:
    """InputError unless the folder holds an adapter as safetensors: without them PEFT would read a pickle."""
    if not adapter.exists():
        raise InputError(f"{adapter}: missing; run its stage with dvc repro (or `dvc pull --allow-missing`)")
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        if not (adapter / name).is_file():
            raise InputError(
                f"{adapter / name}: missing; an adapter is read from these two files alone, never from a pickle "
                "(.bin): run the stage that writes it again with dvc repro, or save the adapter as safetensors"
            )
    check_json(adapter / "adapter_config.json")


def load_encoder(folder: Path) -> PreTrainedModel:
    """The text encoder of a folder, in eval mode; its own code never runs."""
    try:
        return load_whole(AutoModel, folder, use_safetensors=True, trust_remote_code=False).eval()
    except UNREADABLE as error:
        raise unreadable(folder, "no encoder", error, False) from None
