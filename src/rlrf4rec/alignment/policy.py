"""The policy: an LLM with a LoRA adapter, and the one format in which adapters are saved."""

import json
import shutil
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import PreTrainedModel

from rlrf4rec.seeds import seeded


def new_policy(model: PreTrainedModel, rank: int, alpha: int, dropout: float, seed: int) -> PeftModel:
    """A fresh adapter on all linear layers but the output; its update is zero."""
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",  # type: ignore[arg-type]
    )
    with seeded(seed):
        return get_peft_model(model, config)  # type: ignore[return-value]


def load_policy_for_training(model: PreTrainedModel, adapter: Path) -> PeftModel:
    """The adapter of a former round, to be trained on."""
    return PeftModel.from_pretrained(model, str(adapter), is_trainable=True)


def save_adapter(policy: PeftModel, base: Path, target: Path) -> None:
    """Save the adapter as PEFT does, with a relative base path and sorted lists so that files are byte-equal."""
    temporary = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    policy.save_pretrained(str(temporary), selected_adapters=["default"])
    path = temporary / "adapter_config.json"
    config = json.loads(path.read_text())
    config["base_model_name_or_path"] = base.as_posix()
    config["target_modules"] = sorted(config["target_modules"])
    config["inference_mode"] = True
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    (temporary / "README.md").unlink(missing_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    temporary.replace(target)


def to_precision(model: PreTrainedModel, precision: str) -> PreTrainedModel:
    """Cast the frozen base; LoRA weights stay in fp32 and meet it under autocast."""
    return model.to(torch.bfloat16 if precision == "bfloat16" else torch.float32)  # type: ignore[arg-type]
