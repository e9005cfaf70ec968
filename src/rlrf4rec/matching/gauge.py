"""Tells how far adapters move one LLM, on texts that it wrote."""

from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor

from rlrf4rec.movement.divergence import Apart, Texts

Adapter = dict[str, Tensor]


def adapter_of(policy: PeftModel) -> Adapter:
    """Its weights as they are now, which later steps do not change."""
    return {
        name: w.detach().clone() for name, w in get_peft_model_state_dict(policy, save_embedding_layers=False).items()
    }


def scaled(adapter: Adapter, factor: float) -> Adapter:
    """The adapter whose update of every weight is `factor` times as large: B of its B A is."""
    return {name: weight * factor if ".lora_B." in name else weight for name, weight in adapter.items()}


def put(policy: PeftModel, adapter: Adapter) -> None:
    """Give a policy these weights, in place of its own."""
    set_peft_model_state_dict(policy, {name: weight.to(policy.device) for name, weight in adapter.items()})


class Gauge:
    """KL(LLM || policy) of adapters of one shape; the LLM is read once."""

    def __init__(self, policy: PeftModel, texts: Texts, what: str) -> None:
        """policy: the LLM with any such adapter, which is replaced by what is measured."""
        self.policy, self.texts, self.what = policy, texts, what
        with policy.disable_adapter():
            self.before = texts.read(policy, f"{what} LLM")

    def apart(self, adapter: Adapter) -> Apart:
        """How far the policy with this adapter is from the LLM."""
        put(self.policy, adapter)
        return self.texts.apart(self.before, self.texts.read(self.policy, self.what))
