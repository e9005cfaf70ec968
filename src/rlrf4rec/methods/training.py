"""A method's training on the pairs of a round, from its beginning each time."""

from dataclasses import dataclass, replace
from typing import Any

import polars as pl
import torch
from peft import PeftModel

from rlrf4rec import paths, replicates, store
from rlrf4rec.alignment import packed
from rlrf4rec.alignment.loss import LogProbs
from rlrf4rec.alignment.module import DpoModule, DpoSettings
from rlrf4rec.alignment.packed import TokenPair
from rlrf4rec.alignment.pairs import token_pairs
from rlrf4rec.alignment.policy import new_policy
from rlrf4rec.alignment.reference import reference
from rlrf4rec.alignment.steps import Step
from rlrf4rec.alignment.tune import DEFAULTS, settings_of, tune
from rlrf4rec.files import fingerprint
from rlrf4rec.llm.models import DTYPES, Place, context, load_llm
from rlrf4rec.llm.tokenizer import load_tokenizer
from rlrf4rec.methods import methods
from rlrf4rec.methods.method import Given
from rlrf4rec.params import Dpo, Llm, Sample, TrainDpo, TrainPolicy
from rlrf4rec.search import study
from rlrf4rec.seeds import derive
from rlrf4rec.tables.rewards import read_pairs
from rlrf4rec.tables.split import FOLD_USERS
from rlrf4rec.tables.texts import PROMPTS, TEXTS


@dataclass
class Training:
    """What a training goes on: the policy as it begins, its pairs, and how they train it.

    users_skipped: users of the round that the method has no pair for; swapped: pairs that it turned round; what,
    identity: as of `tune`.
    """

    policy: PeftModel
    pairs: list[TokenPair]
    users_skipped: int
    swapped: int
    before: LogProbs
    loss: type[DpoModule]
    settings: DpoSettings
    engine: str
    tokenizer: Any
    what: str
    identity: str | None

    def __post_init__(self) -> None:
        self.begin = [p.detach().clone() for p in self._trained()]
        self.steps: list[Step] = []

    def _trained(self) -> list[torch.nn.Parameter]:
        return [p for p in self.policy.parameters() if p.requires_grad]

    def run(self, times: int = 1) -> None:
        """Train the policy from its beginning in `times` its epochs, one schedule; `steps` tells of this training."""
        for parameter, first in zip(self._trained(), self.begin, strict=True):
            parameter.data.copy_(first)
        settings = replace(self.settings, epochs=self.settings.epochs * times)
        work = self.loss(self.policy, self.pairs, self.before, settings)
        self.steps = tune(work, self.engine, self.tokenizer, self.what, self.identity)

    def second_half(self) -> dict[str, float]:
        """Means over the second half of the last training's steps."""
        tail = self.steps[len(self.steps) // 2 :]
        names = "loss", "margin", "accuracy", "chosen", "rejected"
        return {name: sum(getattr(step, name) for step in tail) / len(tail) for name in names}


def prepare(
    stage: str, name: str, method: str, seed: int, sample: Sample, llm: Llm, dpo: Dpo, by_dpo: TrainDpo, p: TrainPolicy
) -> Training:
    """The training of policy `name` by a method, on pairs and texts of its round."""
    round_name, wrote = replicates.beside(name, "tuned", "round1"), replicates.beside(name, "base", "base")
    changed = methods.method(method)
    searched = study.searched(paths.TUNE_DPO, DEFAULTS, "tune_dpo")
    values, _ = study.join(by_dpo.model_dump(), searched, DEFAULTS)
    of_round = read_pairs(paths.pairs(round_name), FOLD_USERS.read(paths.FOLD_USERS))
    texts = TEXTS.read(paths.texts(wrote))
    where = Place.of(llm.device, llm.quantization, llm.trust_remote_code)
    tokenizer = load_tokenizer(paths.LLM, where.trusted)
    base = load_llm(paths.LLM, DTYPES[dpo.precision], packed.NAME, where)
    # The same seed as the round's own policy: adapter and order of the pairs are equal, the preferences differ.
    own_seed = derive(seed, "train_dpo", round_name)
    frame = changed.pairs(Given(of_round, texts, derive(seed, name)))
    pairs = token_pairs(frame, PROMPTS.read(paths.PROMPTS), context(base))
    policy = new_policy(base, dpo.lora_rank, dpo.lora_alpha, dpo.lora_dropout, own_seed, dpo.lora_target)
    identity = fingerprint([where.identity(paths.LLM), store.code(f"stages.{stage}")])
    what, same = f"{stage} {name}", sample.dtype == dpo.precision
    before = reference(policy, frame, pairs, same, dpo.batch, dpo.precision, f"{what} reference", identity)
    return Training(
        policy=policy,
        pairs=pairs,
        users_skipped=of_round["user"].n_unique() - frame["user"].n_unique(),
        swapped=swapped(of_round, frame),
        before=before,
        loss=changed.loss,
        settings=changed.settings(settings_of(dpo, values, own_seed, where.device), p),
        engine=dpo.engine,
        tokenizer=tokenizer,
        what=what,
        identity=identity,
    )


def swapped(of_round: pl.DataFrame, pairs: pl.DataFrame) -> int:
    """How many of the round's pairs are among `pairs` with chosen and rejected the other way round."""
    sides = ["chosen_sample", "rejected_sample"]
    return pairs.join(of_round, how="semi", left_on=["user", *sides], right_on=["user", *sides[::-1]]).height
