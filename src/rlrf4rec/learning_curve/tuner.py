"""Tuning the base LLM on parts of the preference pairs."""

from pathlib import Path

import polars as pl

from rlrf4rec.alignment import packed
from rlrf4rec.alignment.loss import LogProbs
from rlrf4rec.alignment.module import DpoModule
from rlrf4rec.alignment.pairs import token_pairs
from rlrf4rec.alignment.policy import new_policy, save_adapter
from rlrf4rec.alignment.reference import reference
from rlrf4rec.alignment.tune import settings_of, tune
from rlrf4rec.llm.models import DTYPES, Place, context, load_llm
from rlrf4rec.llm.tokenizer import load_tokenizer
from rlrf4rec.params import Dpo


class Tuner:
    """Tunes the base LLM on some of the pairs; reference log-probabilities are computed once."""

    def __init__(
        self,
        frame: pl.DataFrame,
        prompts: pl.DataFrame,
        sampled: bool,
        dpo: Dpo,
        values: dict[str, float],
        folder: Path,
        place: Place,
    ) -> None:
        """`sampled`: the sampler computed in this arithmetic, so its log-probabilities are taken; `folder`: the LLM."""
        self.dpo, self.values, self.folder, self.place = dpo, values, folder, place
        self.tokenizer = load_tokenizer(folder, place.trusted)
        self.llm = llm = load_llm(folder, DTYPES[dpo.precision], packed.NAME, place)
        self.pairs = pairs = token_pairs(frame, prompts, context(llm))
        policy = new_policy(llm, dpo.lora_rank, dpo.lora_alpha, dpo.lora_dropout, 0, dpo.lora_target)
        self.reference = reference(
            policy, frame, pairs, sampled, dpo.batch, dpo.precision, "learning_curve reference", None
        )
        policy.unload()

    def tune(self, rows: list[int], epochs: int, seed: int, target: Path) -> None:
        """Save an adapter tuned on these pairs at `target`."""
        dpo = self.dpo.model_copy(update={"epochs": epochs})
        settings = settings_of(dpo, self.values, seed, self.place.device)
        before = LogProbs(self.reference.chosen[rows], self.reference.rejected[rows])
        tuned = new_policy(self.llm, dpo.lora_rank, dpo.lora_alpha, dpo.lora_dropout, seed, dpo.lora_target)
        work = DpoModule(tuned, [self.pairs[r] for r in rows], before, settings)
        tune(work, dpo.engine, self.tokenizer, f"learning_curve {len(rows)} pairs", None)
        save_adapter(tuned, self.folder, target)
        tuned.unload()
