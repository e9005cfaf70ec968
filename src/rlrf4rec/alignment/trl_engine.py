"""The same DPO by TRL's DPOTrainer: same pairs, same tokens, same reference log-probabilities, same adapter."""

import tempfile
from typing import Any

from datasets import Dataset
from peft import PeftModel
from trl import DPOConfig, DPOTrainer  # type: ignore[attr-defined]

from rlrf4rec.alignment.loss import LogProbs
from rlrf4rec.alignment.module import DpoSettings
from rlrf4rec.alignment.packed import TokenPair
from rlrf4rec.alignment.steps import Step
from rlrf4rec.errors import RLRFError
from rlrf4rec.trainers import alone


class TokenDPOTrainer(DPOTrainer):  # type: ignore[misc]
    """DPOTrainer on pairs that are tokens already, with reference log-probabilities that are known already.

    Tokenising the texts again could give other tokens than were sampled.
    """

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset

    def _precompute_ref_logps(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset


def to_dataset(pairs: list[TokenPair], reference: LogProbs) -> Dataset:
    """Pairs in the columns that TRL's collator takes."""
    return Dataset.from_dict(
        {
            "prompt_ids": [p.prompt for p in pairs],
            "chosen_ids": [p.chosen for p in pairs],
            "rejected_ids": [p.rejected for p in pairs],
            "ref_chosen_logps": reference.chosen.float().tolist(),
            "ref_rejected_logps": reference.rejected.float().tolist(),
        }
    )


def trainer(
    policy: PeftModel, tokenizer: Any, pairs: list[TokenPair], reference: LogProbs, s: DpoSettings, folder: str
) -> TokenDPOTrainer:
    """A trainer with exactly the settings of the Lightning engine; every TRL default that differs is set."""
    config = DPOConfig(
        output_dir=folder,
        beta=s.beta,
        learning_rate=s.learning_rate,
        per_device_train_batch_size=s.batch,
        gradient_accumulation_steps=s.accumulate,
        num_train_epochs=s.epochs,
        warmup_steps=s.warmup,
        lr_scheduler_type="linear",
        weight_decay=s.weight_decay,
        max_grad_norm=s.max_grad_norm,
        bf16=s.precision == "bfloat16",
        use_cpu=s.device == "cpu",
        gradient_checkpointing=False,
        precompute_ref_log_probs=True,
        max_length=None,
        disable_dropout=False,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        seed=s.seed,
        disable_tqdm=True,
    )
    config._n_gpu = min(config.n_gpu, 1)  # else the model would be spread over all there are
    return TokenDPOTrainer(
        model=policy, args=config, train_dataset=to_dataset(pairs, reference), processing_class=tokenizer
    )


def train(policy: PeftModel, tokenizer: Any, pairs: list[TokenPair], reference: LogProbs, s: DpoSettings) -> list[Step]:
    """Run DPO with TRL; the policy is changed in place. RLRFError if TRL drops a pair."""
    with tempfile.TemporaryDirectory() as folder, alone():
        run = trainer(policy, tokenizer, pairs, reference, s, folder)
        kept = len(run.train_dataset)  # type: ignore[arg-type]
        if kept != len(pairs):
            raise RLRFError(f"train_dpo: TRL kept {kept} of {len(pairs)} pairs; lower prompt.max_tokens")
        run.train()
        rows = [row for row in run.state.log_history if "loss" in row]
    return [
        Step(
            i,
            row["loss"],
            row["rewards/margins"],
            row["rewards/accuracies"],
            row["rewards/chosen"] / s.beta,
            row["rewards/rejected"] / s.beta,
        )
        for i, row in enumerate(rows)
    ]
