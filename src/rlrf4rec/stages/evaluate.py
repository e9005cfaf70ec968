"""Stage evaluate: the only reader of the test users' lists.

Two headline numbers, never mixed:
- reward gain: the tuned LLM's texts against the base LLM's under frozen re-rankers of round 1, which no test user has
  trained, which have never seen a tuned text, and which did not label the pairs (those that did are shown beside);
- end-to-end difference: re-rankers trained again on tuned texts against those trained on base texts.
"""

from typing import Any

import polars as pl
import torch

from rlrf4rec import machine, paths
from rlrf4rec.evaluation import blocks, compare
from rlrf4rec.evaluation.lists import by_place, by_user, read_scores
from rlrf4rec.files import read_json, write_csv, write_json
from rlrf4rec.inputs import Tables, read_tables
from rlrf4rec.metrics.permute import permutation
from rlrf4rec.params import Evaluate, Loop, Reward, TrainRanker
from rlrf4rec.reward import models, rewards
from rlrf4rec.reward.rewards import UserRewards
from rlrf4rec.seeds import derive
from rlrf4rec.tables.results import EXAMPLES, PERMUTED, POLICY_REWARDS, metric_names, metrics_table
from rlrf4rec.tables.vectors import load_tensors

SHOWN_USERS = 10


def run(
    seed: int,
    loop: Loop,
    backbones: list[str],
    reward: Reward,
    train_ranker: TrainRanker,
    evaluate: Evaluate,
) -> str:
    """Evaluate policies and re-rankers on the test users; returns the closing line."""
    tables = read_tables()
    own_seed, resamples, tuned = derive(seed, "evaluate"), evaluate.bootstrap, loop.policies[1:]
    rewarded = _policy_rewards(tables, loop.policies, reward, own_seed)
    POLICY_REWARDS.write(rewarded, paths.POLICY_REWARDS)
    of_duty = {duty: rewarded.filter(pl.col("duty") == duty) for duty in paths.DUTIES}
    gains = {duty: _gains(frame, tuned, resamples, own_seed) for duty, frame in of_duty.items()}
    frame = tables.list_frame("test")
    lists = tables.lists(frame)
    kinds, names = list(loop.rankers), metric_names(evaluate.ks)
    files = {kind: paths.scores(kind) for kind in kinds}
    scores = read_scores(files, backbones, train_ranker.seeds, ("own", "permuted"), lists)
    per_list = {which: by_place(found, lists, tables.users["user"], evaluate.ks) for which, found in scores.items()}
    metrics_table(evaluate.ks, per_list=True).write(per_list["own"], paths.PER_LIST)
    mean = {which: by_user(frame, names) for which, frame in per_list.items()}
    metrics_table(evaluate.ks, per_list=False).write(mean["own"], paths.PER_USER)
    EXAMPLES.write(_examples(tables, backbones[0], train_ranker.seeds, tuned[-1]), paths.EXAMPLES)
    compared = [name for name in blocks.HEADLINE if name in names] or names[:1]
    found = blocks.differences(mean["own"], backbones, _pairs(kinds, tuned[-1]), compared, resamples, own_seed)
    reward_gain = {f"reward gain of {tuned[-1]}": gains["judge"][tuned[-1]]["test"]["ndcg"]}
    with_policy = [kind for kind in kinds if kind in loop.policies]
    report: dict[str, Any] = {
        "metrics": {
            "k": evaluate.ks,
            "map_divisor": "min(k, positives)",
            "kar_map_divisor": "hits in the top k",
            "lists_without_positive": "0",
        },
        "protocol": frame["protocol"][0],
        "arithmetic": machine.arithmetic(threads=1),
        "test_users": mean["own"]["user"].n_unique(),
        "test_lists": len(lists),
        "reward_gain": gains["judge"],
        "reward_gain_labellers": gains["label"],
        "rankers": blocks.rankers(mean["own"], backbones, kinds, names),
        "differences": found,
        "personal": blocks.personal(
            mean["own"], mean["permuted"], backbones, with_policy, compared, resamples, own_seed
        ),
        "family": blocks.family(found, _claims(tuned[-1]), compared[0], reward_gain),
        "trained_out": _trained_out(backbones, kinds),
    }
    write_json(paths.EVALUATE, report)
    write_csv(paths.HEADLINE, blocks.headline_table(mean["own"], of_duty["judge"].filter(pl.col("fold") == "test")))
    summary = _summary(report, backbones, tuned[-1])
    write_json(paths.SUMMARY, summary)
    write_csv(paths.plot("evaluate", "variants"), _plot(report, backbones, kinds))
    return f"wrote {paths.SUMMARY}; {_told(summary)}; {report['arithmetic']}"


def _trained_out(backbones: list[str], kinds: list[str]) -> dict[str, Any]:
    """How the training of each re-ranker's seeds went, by `backbone-kind`."""
    verdicts = {kind: read_json(paths.curves(kind)) for kind in kinds}
    return {f"{backbone}-{kind}": verdicts[kind][backbone] for backbone in backbones for kind in kinds}


def _told(summary: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:+.4f}" for name, value in summary.items())


def _pairs(kinds: list[str], tuned: str) -> list[tuple[str, str]]:
    """Every kind against a constant, the base LLM's text and the template; beside the template, tuned against base."""
    against = [kind for kind in ("constant", "base", "template") if kind in kinds]
    beside = [(f"{tuned}_template", "base_template")]
    return [(kind, a) for a in against for kind in kinds if kind != a] + [p for p in beside if set(p) <= set(kinds)]


def _claims(tuned: str) -> list[str]:
    """Comparisons that the method stands or falls with, as the reward gain does; their p is adjusted together."""
    alone = [f"{tuned} - base", f"{tuned} - constant", "base - constant"]
    return [*alone, f"{tuned}_template - template", f"{tuned}_template - base_template"]


def _gains(rewarded: pl.DataFrame, tuned: list[str], resamples: int, seed: int) -> dict[str, dict[str, Any]]:
    """Reward gain of each tuned policy, for users of each fold."""
    return {
        policy: {fold: compare.reward_gain(rewarded, policy, fold, resamples, seed) for fold in ("test", "validation")}
        for policy in tuned
    }


def _policy_rewards(tables: Tables, policies: list[str], reward: Reward, seed: int) -> pl.DataFrame:
    """Mean reward of every policy's texts for test and validation users, with own and with permuted texts.

    By the models of each duty and seed; each seed has a permutation of its own.
    """
    lists = tables.lists(pl.concat([tables.list_frame("validation"), tables.list_frame("test")]))
    group = rewards.groups(tables.users, lists)
    catalogue, length = tables.catalogue(), lists.item.shape[1]
    frames = []
    for duty in paths.DUTIES:
        nets_of_duty = models.load(paths.reward_models("round1", duty), catalogue, length)
        for number, nets in enumerate(models.by_seed(nets_of_duty)):
            other = permutation(group, tables.users.height, derive(seed, "permuted", number))
            for policy in policies:
                texts, what = tables.texts(policy, "evaluated"), f"evaluate {policy}, {duty} {number}"
                own = rewards.score_texts(nets, lists, texts, group, reward, seed, what)
                permuted = rewards.score_texts(nets, lists, texts[other], group, reward, seed, f"{what}, permuted")
                keys = {"policy": policy, "duty": duty, "seed": number}
                frames.append(_reward_frame(keys, tables, own, permuted))
    return pl.concat(frames)


def _reward_frame(
    keys: dict[str, Any], tables: Tables, own: list[UserRewards], permuted: list[UserRewards]
) -> pl.DataFrame:
    users, folds = tables.users["user"].to_list(), tables.users["fold"].to_list()
    rows = []
    for mine, others in zip(own, permuted, strict=True):
        kinds = {kind: float(mine.reward(kind).mean()) for kind in rewards.KINDS}
        permuted_kinds = {f"permuted_{kind}": float(others.reward(kind).mean()) for kind in PERMUTED}
        rows.append(
            {
                **keys,
                "user": users[mine.user],
                "fold": folds[mine.user],
                **kinds,
                **permuted_kinds,
            }
        )
    return pl.DataFrame(rows)


def _examples(tables: Tables, backbone: str, seeds: int, tuned: str) -> pl.DataFrame:
    """The first list of each of ten validation users as base and tuned re-rankers of the first backbone order it."""
    frame = tables.list_frame("validation").sort("user", "list", "position")
    lists = tables.lists(frame)
    shown = frame.filter(pl.col("list") == 0)["user"].unique().sort().head(SHOWN_USERS)
    rows = torch.tensor(tables.rows(pl.col("user").is_in(shown.to_list())))
    chosen = torch.isin(lists.user, rows) & (lists.number == 0)
    columns = {}
    for name, kind in (("rank_base", "base"), ("rank_tuned", tuned)):
        tensors, _ = load_tensors(paths.scores(kind))
        scores = [tensors[f"{backbone}/{number}/validation"][chosen].softmax(-1) for number in range(seeds)]
        order = torch.stack(scores).mean(0).argsort(dim=-1, descending=True, stable=True)
        columns[name] = (order.argsort(dim=-1) + 1).flatten().numpy()
    frame = frame.filter(pl.col("list") == 0, pl.col("user").is_in(shown.to_list()))
    return frame.select("user", "list", "position", "item", "label").with_columns(
        **{name: pl.Series(ranks, dtype=pl.Int64) for name, ranks in columns.items()}
    )


def _summary(report: dict[str, Any], backbones: list[str], tuned: str) -> dict[str, float]:
    """At most ten numbers for `dvc exp show`; metrics of re-rankers are means over backbones and seeds."""
    found = {"reward_gain": report["reward_gain"][tuned]["test"]["ndcg"]}
    metric = blocks.HEADLINE[0]
    for name, pair in (("end_to_end", f"{tuned} - base"), ("beyond_profile", f"{tuned}_template - template")):
        if metric in report["differences"].get(pair, {}).get("all", {}):
            found[name] = report["differences"][pair]["all"][metric]
    numbers = {}
    for name, d in found.items():
        numbers[f"{name}_ndcg5"] = float(d["difference"])
        if name != "beyond_profile":
            numbers |= {f"{name}_ndcg5_low": float(d["low"]), f"{name}_ndcg5_high": float(d["high"])}
    for k in ("template", "base", tuned):
        values = [report["rankers"].get(f"{b}-{k}", {}).get(metric) for b in backbones]
        if values and all(values):
            mean = sum(v["mean"] for v in values) / len(values)
            numbers[f"ndcg5_{'tuned' if k == tuned else k}"] = mean
    return numbers


def _plot(report: dict[str, Any], backbones: list[str], kinds: list[str]) -> list[dict[str, Any]]:
    metrics = list(next(iter(report["rankers"].values())))
    metric = blocks.HEADLINE[0] if blocks.HEADLINE[0] in metrics else metrics[-1]
    return [
        {"backbone": b, "knowledge": k, "seed": seed, "metric": metric, "value": value}
        for b in backbones
        for k in kinds
        for seed, value in enumerate(report["rankers"][f"{b}-{k}"][metric]["seeds"])
    ]
