"""Stage pair: best and worst texts of each tuning user, and why users gave no pair."""

import polars as pl

from rlrf4rec import paths
from rlrf4rec.errors import ParamsError, RLRFError
from rlrf4rec.files import write_json
from rlrf4rec.pairing import pairs
from rlrf4rec.params import Pair
from rlrf4rec.tables.rewards import PAIRS, REWARDS, SKIPPED, check_pair_sources, check_tuning_users
from rlrf4rec.tables.split import FOLD_USERS, TUNING
from rlrf4rec.tables.texts import TEXTS


def run(pair: Pair, round_name: str, texts_name: str) -> str:
    """Make the preference pairs of a round; returns the closing line. ParamsError when a server wrote the texts."""
    texts = TEXTS.read(paths.texts(texts_name))
    _sampled_here(texts, round_name)
    users = FOLD_USERS.read(paths.FOLD_USERS)
    rewards = REWARDS.read(paths.rewards(round_name)).join(users.filter(TUNING).select("user", "half"), on="user")
    of = (0.05, 480, 2) if round_name.startswith("several-") else (pair.min_gap, pair.max_pairs, pair.per_user)
    made, skipped = pairs.make(rewards, texts, *of)  # of this trial
    reasons = dict(sorted(skipped["reason"].value_counts().iter_rows()))
    if not made.height:
        raise RLRFError(
            f"pair {round_name}: no user gives a pair ({reasons}); raise sample.n or split.max_lists, lower "
            "pair.min_gap, or choose reward.kind: smooth"
        )
    made = made.join(users.select("user", "half"), on="user")
    made = made.select("user", "half", pl.exclude("user", "half"))
    made = made.sort(["user", "gap", "chosen_sample"], descending=[False, True, False])
    path = paths.pairs(round_name)
    check_tuning_users(made, users, path)
    check_pair_sources(made, path)
    PAIRS.write(made, path)
    SKIPPED.write(skipped, paths.skipped(round_name))
    lengths = {side: made[side].str.len_chars().mean() for side in ("chosen", "rejected")}
    gaps = {"gap_mean": made["gap"].mean(), "gap_min": made["gap"].min(), **_judged(made)}
    report = {"pairs": made.height, **gaps, "skipped": reasons, "characters": lengths}
    write_json(paths.metrics("pair", round_name), report)
    return (
        f"wrote {path}, {made.height} pairs, {skipped.height} users without: {reasons}; the judges order "
        f"{report['judges_agree']:.0%} of them alike"
    )


def _sampled_here(texts: pl.DataFrame, round_name: str) -> None:
    """ParamsError that names the policy whose texts lack the log-probabilities that tuning is about."""
    served = texts.filter(pl.col("log_prob").is_null())["policy"].unique(maintain_order=True).to_list()
    if served:
        name = served[0]
        raise ParamsError(
            f"endpoint.policies.{name}: {round_name} would be tuned on texts of {name!r} that a server wrote, which "
            f"gives no log-probabilities of the policy; take {name} out of endpoint.policies, so that it is sampled "
            "here, or name only policies there whose texts no round of loop.rounds is tuned on"
        )


def _judged(made: pl.DataFrame) -> dict[str, float]:
    """What models that had no part in the labels say of the pairs: the mean gap, and the share ordered alike.

    The best and the worst of N under the labellers look further apart to them than they are.
    """
    return {
        "judged_gap_mean": float(made["judged_gap"].mean()),  # type: ignore[arg-type]
        "judges_agree": float((made["judged_gap"] > 0).mean()),  # type: ignore[arg-type]
    }
