"""Preference pairs: a user's best and worst text by reward."""

import polars as pl


def make(
    rewards: pl.DataFrame, texts: pl.DataFrame, min_gap: float, max_pairs: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Chosen = argmax, rejected = argmin of a user's rewards, the lower sample number among equals.

    rewards: user, sample, reward, judged; texts: user, sample, text, tokens, log_prob. Kept are the `max_pairs` users
    with the largest gaps. Returns pairs (without prompt and half), ordered by user, and skipped users with a reason.
    """
    joined = rewards.select("user", "sample", "reward", "judged").join(
        texts.select("user", "sample", "text", "tokens", "log_prob"), on=["user", "sample"]
    )
    best = (
        joined.sort(["user", "reward", "sample"], descending=[False, True, False])
        .group_by("user", maintain_order=True)
        .first()
    )
    worst = joined.sort(["user", "reward", "sample"]).group_by("user", maintain_order=True).first()
    pairs = best.join(worst, on="user", suffix="_rejected").select(
        "user",
        pl.col("sample").alias("chosen_sample"),
        pl.col("sample_rejected").alias("rejected_sample"),
        pl.col("text").alias("chosen"),
        pl.col("text_rejected").alias("rejected"),
        pl.col("tokens").alias("chosen_tokens"),
        pl.col("tokens_rejected").alias("rejected_tokens"),
        pl.col("log_prob").alias("chosen_log_prob"),
        pl.col("log_prob_rejected").alias("rejected_log_prob"),
        pl.col("reward").alias("chosen_reward"),
        pl.col("reward_rejected").alias("rejected_reward"),
        (pl.col("reward") - pl.col("reward_rejected")).alias("gap"),
        (pl.col("judged") - pl.col("judged_rejected")).alias("judged_gap"),
    )
    reason = (
        pl.when(pl.col("gap") <= 0)
        .then(pl.lit("all rewards equal"))
        .when(pl.col("chosen") == pl.col("rejected"))
        .then(pl.lit("best and worst text equal"))
        .when(pl.col("gap") < min_gap)
        .then(pl.lit("gap below min_gap"))
    )
    judged = pairs.with_columns(reason.alias("reason"))
    usable = judged.filter(pl.col("reason").is_null()).sort(["gap", "user"], descending=[True, False])
    beyond = usable.slice(max_pairs).with_columns(reason=pl.lit("beyond max_pairs"))
    skipped = pl.concat([judged.filter(pl.col("reason").is_not_null()), beyond]).select("user", "reason").sort("user")
    return usable.head(max_pairs).drop("reason").sort("user"), skipped
