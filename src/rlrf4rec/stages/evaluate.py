"""Stage evaluate: the only reader of the test users' lists.

Two headline numbers, never mixed:
- reward gain: the tuned LLM's texts against the base LLM's under the frozen, cross-fitted re-rankers of
  round 1, which no test user has trained and which have never seen a tuned text;
- end-to-end difference: re-rankers trained again on tuned texts against those trained on base texts.
"""

from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from rlrf4rec import paths
from rlrf4rec.errors import RLRFError
from rlrf4rec.feedback import models, rewards
from rlrf4rec.feedback.rewards import Scorer, UserRewards
from rlrf4rec.files import write_csv, write_json
from rlrf4rec.metrics import compare
from rlrf4rec.metrics.ranking import METRICS, ranked_labels
from rlrf4rec.params import Evaluate, Reward, TrainRanker, Variants
from rlrf4rec.progress import Progress, track
from rlrf4rec.ranking import nets
from rlrf4rec.ranking.lists import Lists
from rlrf4rec.ranking.module import predict
from rlrf4rec.seeds import derive
from rlrf4rec.stages.inputs import RANKING, Tables, read_tables
from rlrf4rec.tables.results import POLICY_REWARDS, metric_names, metrics_table
from rlrf4rec.vectors import load_tensors

HEADLINE = "ndcg@5"


def run(
    seed: int,
    policies: dict[str, str],
    variants: Variants,
    reward: Reward,
    train_ranker: TrainRanker,
    evaluate: Evaluate,
) -> str:
    """Evaluate policies and re-rankers on the test users; returns the closing line."""
    tables = read_tables()
    own_seed = derive(seed, "evaluate")
    gains = _policy_rewards(tables, list(policies), reward, own_seed)
    POLICY_REWARDS.write(gains, paths.POLICY_REWARDS)
    per_list = _rank_test_lists(tables, variants, train_ranker, evaluate.ks)
    metrics_table(evaluate.ks, per_list=True).write(per_list, paths.PER_LIST)
    keys, names = ["backbone", "knowledge", "seed", "user"], metric_names(evaluate.ks)
    per_user = per_list.group_by(keys, maintain_order=True).agg(pl.col(names).mean())
    metrics_table(evaluate.ks, per_list=False).write(per_user, paths.PER_USER)
    tuned = list(policies)[1:]
    report: dict[str, Any] = {
        "metrics": {"k": evaluate.ks, "map_divisor": "min(k, positives)", "kar_map_divisor": "hits in the top k"},
        "test_users": per_user["user"].n_unique(),
        "reward_gain": {
            policy: {
                fold: compare.reward_gain(gains, policy, fold, evaluate.bootstrap, own_seed)
                for fold in ("test", "validation")
            }
            for policy in tuned
        },
        "rankers": {
            f"{b}-{k}": {
                name: {"mean": float(np.mean(v)), "seeds": v}
                for name in names
                for v in [compare.by_seed(per_user, b, k, name)]
            }
            for b in variants.backbone
            for k in variants.knowledge
        },
        "differences": _differences(per_user, variants, names, evaluate.bootstrap, own_seed),
    }
    write_json(paths.EVALUATE, report)
    summary = _summary(report, per_user, variants, tuned[-1], evaluate, own_seed)
    write_json(paths.SUMMARY, summary)
    write_csv(paths.plot("evaluate", "variants"), _plot(per_user, variants))
    return f"wrote {paths.SUMMARY}; " + ", ".join(f"{name} {value:+.4f}" for name, value in summary.items())


def _policy_rewards(tables: Tables, policies: list[str], reward: Reward, seed: int) -> pl.DataFrame:
    """Mean reward of every policy's texts for test and validation users, with own and with permuted texts."""
    folds = tables.users["fold"].to_list()
    lists = tables.lists(pl.concat([tables.list_frame("validation"), tables.list_frame("test")]))
    group = {u: folds[u] for u in sorted(set(lists.user.tolist()))}
    other = _permutation(group, seed)
    frames = []
    for policy in policies:
        described = tables.vectors(policy)
        loaded = models.load(paths.reward_model("round1"), tables.catalogue(described), lists.item.shape[1])
        scorer = Scorer(list(loaded.values()), models.models_of(list(loaded), group), lists, reward.k)
        own = _score(scorer, lists, described.texts, group, reward, seed, f"evaluate {policy}")
        permuted = _score(scorer, lists, described.texts[other], group, reward, seed, f"evaluate {policy} permuted")
        frames.append(_reward_frame(policy, tables, own, permuted))
    return pl.concat(frames)


def _permutation(group: dict[int, str], seed: int) -> Tensor:
    """For each user another user of the same group, by a random cycle; users outside keep themselves."""
    other = torch.arange(max(group) + 1)
    for name in sorted(set(group.values())):
        members = np.array([u for u, g in group.items() if g == name])
        order = np.random.default_rng(derive(seed, "permuted", name)).permutation(members)
        other[torch.tensor(order)] = torch.tensor(np.roll(order, 1))
    return other


def _score(
    scorer: Scorer, lists: Lists, texts: Tensor, group: dict[int, str], reward: Reward, seed: int, what: str
) -> list[UserRewards]:
    return rewards.score(scorer, rewards.tasks(lists, texts, group, reward.other_lists, seed), what)


def _reward_frame(policy: str, tables: Tables, own: list[UserRewards], permuted: list[UserRewards]) -> pl.DataFrame:
    users, folds = tables.users["user"].to_list(), tables.users["fold"].to_list()
    rows = []
    for mine, others in zip(own, permuted, strict=True):
        kinds = {kind: float(mine.reward(kind).mean()) for kind in rewards.KINDS}
        rows.append(
            {
                "policy": policy,
                "user": users[mine.user],
                "fold": folds[mine.user],
                **kinds,
                "permuted_ndcg": float(others.reward("ndcg").mean()),
                "permuted_smooth": float(others.reward("smooth").mean()),
            }
        )
    return pl.DataFrame(rows)


def _rank_test_lists(tables: Tables, variants: Variants, p: TrainRanker, ks: list[int]) -> pl.DataFrame:
    """All metrics of every re-ranker and seed on every test list."""
    lists = tables.lists(tables.list_frame("test"))
    users = tables.users["user"].gather(lists.user.tolist())
    frames = []
    for backbone, knowledge in track(
        [(b, k) for b in variants.backbone for k in variants.knowledge], "evaluate re-rankers"
    ):
        read = tables.vectors(knowledge)
        text = read.texts.mean(dim=1)[lists.user]
        seen = read.texts[torch.tensor(tables.rows(RANKING))]
        tensors, _ = load_tensors(paths.ranker(backbone, knowledge))
        for number in range(p.seeds):
            net = _ranker(backbone, tables, read, seen, lists, p)
            weights = {k.split("/", 1)[1]: v for k, v in tensors.items() if k.startswith(f"{number}/")}
            try:
                net.load_state_dict(weights)
            except RuntimeError as error:
                path = paths.ranker(backbone, knowledge)
                raise RLRFError(f"{path}: weights do not fit the tables ({error}); run `dvc repro`") from None
            ranked = ranked_labels(predict(net, lists, text), lists.label)
            values = {f"{name}@{k}": metric(ranked, k).numpy() for k in ks for name, metric in METRICS.items()}
            head = {"backbone": backbone, "knowledge": knowledge, "seed": number}
            frames.append(
                pl.DataFrame({"user": users, "list": lists.number.numpy(), **values}).select(
                    *(pl.lit(v, pl.Int64 if name == "seed" else pl.String).alias(name) for name, v in head.items()),
                    "user",
                    "list",
                    *metric_names(ks),
                )
            )
    return pl.concat(frames)


def _ranker(backbone: str, tables: Tables, read: Any, seen: Tensor, lists: Lists, p: TrainRanker) -> nn.Module:
    return nets.build(
        backbone, tables.catalogue(read), seen, lists.item.shape[1], p.dropout, p.experts_shared, p.experts_private, 0
    )


def _differences(per_user: pl.DataFrame, p: Variants, names: list[str], resamples: int, seed: int) -> dict[str, Any]:
    """Paired differences of every knowledge against none and base, by backbone; seeds averaged within a user."""
    against = [k for k in ("none", "base") if k in p.knowledge]
    found: dict[str, Any] = {}
    pairs = [(k, a) for a in against for k in p.knowledge if k != a]
    progress = Progress(len(pairs) * len(p.backbone), "evaluate differences")
    for knowledge, other in pairs:
        for b in p.backbone:
            found.setdefault(f"{knowledge} - {other}", {})[b] = {
                name: compare.interval(
                    compare.by_user(per_user, b, knowledge, name) - compare.by_user(per_user, b, other, name),
                    resamples,
                    seed,
                )
                for name in names
            }
            progress.advance()
    progress.close()
    return found


def _summary(
    report: dict[str, Any], per_user: pl.DataFrame, p: Variants, tuned: str, evaluate: Evaluate, seed: int
) -> dict[str, float]:
    """At most ten numbers for `dvc exp show`; metrics of re-rankers are means over backbones and seeds."""
    gain = report["reward_gain"][tuned]["test"]["ndcg"]
    summary = {
        "reward_gain_ndcg5": gain["difference"],
        "reward_gain_ndcg5_low": gain["low"],
        "reward_gain_ndcg5_high": gain["high"],
    }
    if HEADLINE not in per_user.columns or not {"base", tuned} <= set(p.knowledge):
        return summary
    mean = {k: compare.mean_over_backbones(per_user, p.backbone, k, HEADLINE) for k in p.knowledge}
    end = compare.interval(mean[tuned] - mean["base"], evaluate.bootstrap, seed)
    summary |= {
        "end_to_end_ndcg5": float(end["difference"]),
        "end_to_end_ndcg5_low": float(end["low"]),
        "end_to_end_ndcg5_high": float(end["high"]),
    }
    shown = [k for k in ("none", "template", "base", tuned) if k in mean]
    return summary | {f"ndcg5_{'tuned' if k == tuned else k}": float(mean[k].mean()) for k in shown}


def _plot(per_user: pl.DataFrame, p: Variants) -> list[dict[str, Any]]:
    metric = HEADLINE if HEADLINE in per_user.columns else per_user.columns[-1]
    return [
        {"backbone": b, "knowledge": k, "seed": seed, "metric": metric, "value": value}
        for b in p.backbone
        for k in p.knowledge
        for seed, value in enumerate(compare.by_seed(per_user, b, k, metric))
    ]
