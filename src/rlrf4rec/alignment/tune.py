"""One way to tune a policy, whatever the engine."""

from collections.abc import Callable
from typing import Any

from rlrf4rec.alignment import module
from rlrf4rec.alignment.module import DpoModule, DpoSettings
from rlrf4rec.alignment.steps import Step
from rlrf4rec.errors import ParamsError, entry
from rlrf4rec.params import Dpo

DEFAULTS = {"beta": 0.1, "learning_rate": 4e-4}  # where neither params nor a search say more


def settings_of(dpo: Dpo, values: dict[str, float], seed: int, device: str) -> DpoSettings:
    """DpoSettings of the engine, from the shared params and the two that are searched, `beta` and `learning_rate`."""
    return DpoSettings(
        beta=values["beta"],
        learning_rate=values["learning_rate"],
        batch=dpo.batch,
        accumulate=dpo.accumulate,
        epochs=dpo.epochs,
        warmup=dpo.warmup,
        weight_decay=dpo.weight_decay,
        max_grad_norm=dpo.max_grad_norm,
        precision=dpo.precision,
        seed=seed,
        device=device,
    )


def tune(work: DpoModule, engine: str, tokenizer: Any, what: str, identity: str | None) -> list[Step]:
    """Tune the policy of `work` in place; returns the steps.

    `identity` names the LLM and all code: with it a killed training goes on from its checkpoints, where the engine
    keeps some.
    """
    return entry(ENGINES, engine, "dpo.engine")(work, tokenizer, what, identity)


def _lightning(work: DpoModule, tokenizer: Any, what: str, identity: str | None) -> list[Step]:
    return module.train(work, what, identity)


def _trl(work: DpoModule, tokenizer: Any, what: str, identity: str | None) -> list[Step]:
    from rlrf4rec.alignment import trl_engine

    if type(work) is not DpoModule:
        raise ParamsError(f"dpo.engine: trl trains by DPO's loss alone, not {what}; set it to lightning")
    return trl_engine.train(work.policy, tokenizer, work.pairs, work.reference, work.settings)


ENGINES: dict[str, Callable[[DpoModule, Any, str, str | None], list[Step]]] = {
    "lightning": _lightning,
    "trl": _trl,
}  # by the name in the params
