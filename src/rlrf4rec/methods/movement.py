"""How far a policy has moved from the LLM that it was made of."""

from dataclasses import dataclass

import polars as pl
from peft import PeftModel

from rlrf4rec.alignment.loss import LogProbs
from rlrf4rec.alignment.module import reference_log_probs
from rlrf4rec.alignment.packed import TokenPair


def others(texts: pl.DataFrame, prompts: pl.DataFrame, users: pl.Series, count: int) -> list[TokenPair]:
    """The first two texts of the first `count` of `users`, whom nothing is tuned on, behind their prompts."""
    rows = texts.filter(pl.col("sample") < 2).sort("user", "sample").group_by("user", maintain_order=True)
    two = rows.agg("tokens").join(prompts.select("user", prompt="tokens"), on="user", how="inner")
    chosen = users.to_frame("user").join(two, on="user", how="inner", maintain_order="left").head(count)
    return [TokenPair(prompt, *tokens) for prompt, tokens in chosen.select("prompt", "tokens").iter_rows()]


@dataclass(frozen=True)
class Texts:
    """Texts that the LLM wrote, two behind each prompt, with the log-probabilities that it gives to them itself."""

    pairs: list[TokenPair]
    before: LogProbs
    batch: int
    precision: str

    @classmethod
    def of(cls, untuned: PeftModel, pairs: list[TokenPair], batch: int, precision: str) -> "Texts":
        """untuned: an adapter that is not trained yet."""
        return cls(pairs, _log_probs(untuned, pairs, batch, precision), batch, precision)

    def kl(self, policy: PeftModel) -> float:
        """Mean of log p_LLM - log p_policy, nats a text: Monte Carlo of KL(LLM || policy), as the texts are the LLM's.

        They were drawn with the sampler's temperature and top-p: with top-p below 1 the tail is left out.
        """
        now = _log_probs(policy, self.pairs, self.batch, self.precision)
        return float(((self.before.chosen - now.chosen) + (self.before.rejected - now.rejected)).mean() / 2)

    def shift(self, policy: PeftModel) -> float:
        """Mean of |log p_policy - log p_LLM|, nats a text."""
        now = _log_probs(policy, self.pairs, self.batch, self.precision)
        return float(((now.chosen - self.before.chosen).abs() + (now.rejected - self.before.rejected).abs()).mean() / 2)


def _log_probs(policy: PeftModel, pairs: list[TokenPair], batch: int, precision: str) -> LogProbs:
    return reference_log_probs(policy, pairs, batch, precision, "how far it has moved", None)
