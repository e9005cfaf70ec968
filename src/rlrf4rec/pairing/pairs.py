"""Preference pairs: a user's best and worst text by reward, second best and second worst, and so on."""

import polars as pl


def make(
    rewards: pl.DataFrame, texts: pl.DataFrame, min_gap: float, max_pairs: int, per_user: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Pair k of a user, k = 1 to `per_user`: chosen = k-th largest, rejected = k-th smallest of its rewards.

    The lower sample number comes first among equals. A user whose first pair can't be used gives none; a later pair
    that can't, or that has a text on one side which an earlier one has on the other, is left out.

    rewards: user, sample, reward, judged; texts: user, sample, text, tokens, log_prob. Kept are the `max_pairs` pairs
    with the largest gaps. Returns pairs (without prompt and half), ordered by user, a user's by falling gap, and users
    without a pair, with a reason.
    """
    joined = rewards.select("user", "sample", "reward", "judged").join(
        texts.select("user", "sample", "text", "tokens", "log_prob"), on=["user", "sample"]
    )
    best = joined.sort(["user", "reward", "sample"], descending=[False, True, False])
    worst = joined.sort(["user", "reward", "sample"])
    first = _judged(best, worst, 0, min_gap)
    usable = first.filter(pl.col("reason").is_null())
    for k in range(1, per_user):
        more = _judged(best, worst, k, min_gap).filter(pl.col("reason").is_null()).join(usable, on="user", how="semi")
        for side, other in (("chosen", "rejected"), ("rejected", "chosen")):
            more = more.join(usable, left_on=["user", side], right_on=["user", other], how="anti")
        usable = pl.concat([usable, more])
    usable = usable.sort(["gap", "user"], descending=[True, False], maintain_order=True)
    kept = usable.head(max_pairs)
    beyond = usable.unique("user", maintain_order=True).join(kept, on="user", how="anti")
    beyond = beyond.with_columns(reason=pl.lit("beyond max_pairs"))
    skipped = pl.concat([first.filter(pl.col("reason").is_not_null()), beyond]).select("user", "reason").sort("user")
    return kept.drop("reason").sort("user", maintain_order=True), skipped


def _judged(best: pl.DataFrame, worst: pl.DataFrame, k: int, min_gap: float) -> pl.DataFrame:
    """Pair k (0: the first) of each user with so many texts, and the reason why it can't be used, null if it can.

    best, worst: the texts of each user, best first and worst first.
    """
    of_best, of_worst = (found.filter(pl.int_range(pl.len()).over("user") == k) for found in (best, worst))
    pairs = of_best.join(of_worst, on="user", suffix="_rejected").select(
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
    return pairs.with_columns(reason.alias("reason"))
