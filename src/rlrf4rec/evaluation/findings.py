"""What the default run compares, and what is reported of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from rlrf4rec import paths
from rlrf4rec.evaluation import blocks, compare
from rlrf4rec.evaluation.frozen import Gains
from rlrf4rec.tables.results import shows_gain

DEFINITION = {
    "map_divisor": "min(k, positives)",
    "kar_map_divisor": "hits in the top k",
    "lists_without_positive": "0",
}  # of the metrics; `rlrf4rec compare` refuses to compare others
CLAIMED = "of this one policy claimed"  # its intervals know of no other draw of pairs, tuning and texts


def report(
    own: pl.DataFrame,
    permuted: pl.DataFrame,
    gains: Mapping[paths.Duty, Gains],
    backbones: Sequence[str],
    knowledge: Sequence[str],
    policies: Sequence[str],
    names: Sequence[str],
    judged: pl.DataFrame,
    lists: Sequence[int],
    resamples: int,
    seed: int,
    fold: str = "development",
) -> dict[str, Any]:
    """Reward gains; differences and personal parts of the re-rankers; claims.

    own, permuted: metrics `names` by user, with the own and with another user's text. gains: of `frozen.gains`; that of
    the last policy by the judges is a claim beside those of the re-rankers. policies: the untuned one first. judged:
    the rewards behind that claim; lists: how many each of its users has, by `lists.counted`; fold: of the users.
    """
    tuned = policies[-1]
    gain, claims = gains["judge"][tuned][fold]["ndcg"], _claims(tuned)
    compared = [name for name in blocks.HEADLINE if name in names] or list(names[:1])
    found = blocks.differences(own, backbones, _pairs(knowledge, tuned), compared, resamples, seed)
    by_list = blocks.over_lists(own, backbones, claims, compared[0], lists, resamples, seed)
    of_texts = compare.gains_by_user(judged, tuned)["ndcg"]
    by_list[_reward_gain(tuned)] = compare.over_lists(of_texts, lists, resamples, seed)
    with_policy = [name for name in knowledge if name in policies]
    return {
        "reward_gain": gains["judge"],
        "reward_gain_labellers": gains["label"],
        "rankers": blocks.rankers(own, backbones, knowledge, names),
        "differences": found,
        "personal": blocks.personal(own, permuted, backbones, with_policy, compared, resamples, seed),
        "family": blocks.family(found, claims, compared[0], {_reward_gain(tuned): gain}, by_list),
    }


def _pairs(knowledge: Sequence[str], tuned: str) -> list[tuple[str, str]]:
    """All against a constant, the base LLM's text and the template; beside the template, tuned against base."""
    against = [name for name in ("constant", "base", "template") if name in knowledge]
    beside = [(f"{tuned}_template", "base_template")]
    pairs = [(name, a) for a in against for name in knowledge if name != a]
    return pairs + [p for p in beside if set(p) <= set(knowledge)]


def _claims(tuned: str) -> list[str]:
    """Comparisons that the method stands or falls with, as the reward gain does; their p is adjusted together."""
    alone = [f"{tuned} - base", f"{tuned} - constant", "base - constant"]
    return [*alone, f"{tuned}_template - template", f"{tuned}_template - base_template"]


def _reward_gain(tuned: str) -> str:
    return f"reward gain of {tuned}"


def summary(report: Mapping[str, Any], backbones: Sequence[str], tuned: str) -> dict[str, float | str]:
    """At most ten numbers for `dvc exp show`, and for each claim among them whether it is made, of this one policy.

    Metrics of re-rankers are means over backbones and seeds.
    """
    metric = blocks.HEADLINE[0]
    claims = {"reward_gain": _reward_gain(tuned)}
    for name, pair in (("end_to_end", f"{tuned} - base"), ("beyond_profile", f"{tuned}_template - template")):
        if metric in report["differences"].get(pair, {}).get("all", {}):
            claims[name] = pair
    shown: dict[str, float | str] = {}
    for name, claim in claims.items():
        d = report["family"][claim]
        shown[f"{name}_ndcg5"] = float(d["difference"])
        if name != "beyond_profile":
            shown |= {f"{name}_ndcg5_low": float(d["low"]), f"{name}_ndcg5_high": float(d["high"])}
        shown[f"{name}_claim"] = f"{'gain' if shows_gain(d) else 'no gain'} {CLAIMED} (Holm's p {d['p_holm']:.3f})"
    for k in ("template", "base", tuned):
        values = [report["rankers"].get(f"{b}-{k}", {}).get(metric) for b in backbones]
        if values and all(values):
            mean = sum(v["mean"] for v in values) / len(values)
            shown[f"ndcg5_{'tuned' if k == tuned else k}"] = mean
    return shown


def in_words(summary: Mapping[str, float | str]) -> str:
    """The summary on one line.

    >>> in_words({"reward_gain_ndcg5": 0.01625, "reward_gain_claim": "gain claimed"})
    'reward_gain_ndcg5 +0.0163, reward_gain_claim gain claimed'
    """
    return ", ".join(f"{name} {v if isinstance(v, str) else f'{v:+.4f}'}" for name, v in summary.items())


def plot(report: dict[str, Any], backbones: list[str], knowledge: list[str]) -> list[dict[str, Any]]:
    """Rows of the plot of every re-ranker's headline metric, one for each seed."""
    metrics = list(next(iter(report["rankers"].values())))
    metric = blocks.HEADLINE[0] if blocks.HEADLINE[0] in metrics else metrics[-1]
    return [
        {"backbone": b, "knowledge": k, "seed": seed, "metric": metric, "value": value}
        for b in backbones
        for k in knowledge
        for seed, value in enumerate(report["rankers"][f"{b}-{k}"][metric]["seeds"])
    ]
