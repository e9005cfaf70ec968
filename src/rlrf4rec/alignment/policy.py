"""The policy: an LLM with a LoRA adapter, and the one format in which adapters are saved."""

import json
from pathlib import Path

from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from rlrf4rec.errors import ParamsError, RLRFError
from rlrf4rec.files import atomic_folder
from rlrf4rec.llm.models import load_adapter
from rlrf4rec.seeds import seeded


def new_policy(
    model: PreTrainedModel, rank: int, alpha: int, dropout: float, seed: int, target: str | list[str] = "all-linear"
) -> PeftModel:
    """A fresh adapter on the linear layers `target` (`all-linear`: all but the output); its update is zero."""
    if isinstance(target, list):
        check_target(model, target)
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=target,
        task_type="CAUSAL_LM",  # type: ignore[arg-type]
    )
    with seeded(seed):
        return get_peft_model(model, config)  # type: ignore[return-value]


def check_target(model: PreTrainedModel, target: list[str]) -> None:
    """RLRFError unless every name of `target` is that of linear layers of this LLM, the output not among them."""
    output = model.get_output_embeddings()
    linear = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.Linear | Conv1D)]
    known = {name.split(".")[-1] for name, m in linear if m is not output}
    if strange := [name for name in target if name not in known]:
        raise RLRFError(
            f"dpo.lora_target: {strange[0]!r} is no linear layer of this LLM that can carry an adapter; "
            f"it has {', '.join(sorted(known))}"
        )


def load_policy_for_training(model: PreTrainedModel, adapter: Path) -> PeftModel:
    """The adapter of a former round, to be trained on."""
    return load_adapter(model, adapter, trainable=True)


def check_settings(policy: PeftModel, adapter: Path, rank: int, alpha: int, dropout: float) -> None:
    """ParamsError when an adapter that is trained on was made with other settings than the params have now."""
    config = policy.peft_config["default"]
    for name, asked, there in (
        ("lora_rank", rank, config.r),  # type: ignore[attr-defined]
        ("lora_alpha", alpha, config.lora_alpha),  # type: ignore[attr-defined]
        ("lora_dropout", dropout, config.lora_dropout),  # type: ignore[attr-defined]
    ):
        if asked != there:
            raise ParamsError(
                f"dpo.{name}: {asked}, but the adapter that is tuned on, {adapter}, was made with {there}: set it to "
                f"that, or run the round that made it again"
            )


def save_adapter(policy: PeftModel, base: Path, target: Path) -> None:
    """Save the adapter as PEFT does, with a relative base path and sorted lists so that files are byte-equal."""
    with atomic_folder(target) as folder:
        policy.save_pretrained(str(folder), selected_adapters=["default"])
        path = folder / "adapter_config.json"
        config = json.loads(path.read_text())
        config["base_model_name_or_path"] = base.as_posix()
        config["target_modules"] = sorted(config["target_modules"])
        config["inference_mode"] = True
        path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
        (folder / "README.md").unlink(missing_ok=True)
