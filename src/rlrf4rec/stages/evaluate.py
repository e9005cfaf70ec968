"""Stage evaluate: the only reader of the test users' lists.

Two headline numbers, never mixed:
- reward gain: the tuned LLM's texts against the base LLM's under the frozen, cross-fitted re-rankers of
  round 1, which no test user has trained and which have never seen a tuned text;
- end-to-end difference: re-rankers trained again on tuned texts against those trained on base texts.
"""

from typing import Any

import polars as pl
import torch
from torch import Tensor

from rlrf4rec import machine, paths
from rlrf4rec.errors import InputError
from rlrf4rec.feedback import models, rewards
from rlrf4rec.feedback.rewards import Scorer, UserRewards
from rlrf4rec.files import read_json, write_csv, write_json
from rlrf4rec.metrics import blocks, compare
from rlrf4rec.metrics.ranking import METRICS, ranked_labels
from rlrf4rec.params import Evaluate, Reward, TrainRanker, Variants
from rlrf4rec.progress import track
from rlrf4rec.ranking import nets
from rlrf4rec.ranking.lists import Lists
from rlrf4rec.ranking.module import predict
from rlrf4rec.ranking.permute import permutation
from rlrf4rec.seeds import derive
from rlrf4rec.stages.inputs import Tables, read_tables
from rlrf4rec.tables.results import EXAMPLES, POLICY_REWARDS, metric_names, metrics_table
from rlrf4rec.tables.split import RANKING
from rlrf4rec.vectors import load_tensors

SHOWN_USERS = 10
BY_USER = ["backbone", "knowledge", "seed", "user"]


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
    own_seed, resamples, tuned = derive(seed, "evaluate"), evaluate.bootstrap, list(policies)[1:]
    gains = _policy_rewards(tables, list(policies), reward, own_seed)
    POLICY_REWARDS.write(gains, paths.POLICY_REWARDS)
    frame = tables.list_frame("test")
    lists = tables.lists(frame)
    other = permutation(dict.fromkeys(lists.user.tolist(), "test"), tables.users.height, own_seed)
    ranked = _rank(tables, variants, train_ranker, lists, other)
    names = metric_names(evaluate.ks)
    per_list = {texts: _metrics(ranked[texts], tables, lists, evaluate.ks) for texts in ("own", "permuted")}
    metrics_table(evaluate.ks, per_list=True).write(per_list["own"], paths.PER_LIST)
    mean = {t: f.group_by(BY_USER, maintain_order=True).agg(pl.col(names).mean()) for t, f in per_list.items()}
    metrics_table(evaluate.ks, per_list=False).write(mean["own"], paths.PER_USER)
    EXAMPLES.write(_examples(tables, variants, train_ranker, tuned[-1]), paths.EXAMPLES)
    compared = [name for name in blocks.HEADLINE if name in names] or names[:1]
    found = blocks.differences(mean["own"], variants.backbone, _pairs(variants), compared, resamples, own_seed)
    claims = {name: found[name] for name in _claims(tuned[-1]) if name in found}
    with_policy = [k for k in variants.knowledge if k in policies]
    report: dict[str, Any] = {
        "metrics": {
            "k": evaluate.ks,
            "map_divisor": "min(k, positives)",
            "kar_map_divisor": "hits in the top k",
            "lists_without_positive": "0",
        },
        "protocol": frame["protocol"][0],
        "arithmetic": machine.arithmetic(),
        "test_users": mean["own"]["user"].n_unique(),
        "test_lists": len(lists),
        "reward_gain": {
            policy: {
                fold: compare.reward_gain(gains, policy, fold, resamples, own_seed) for fold in ("test", "validation")
            }
            for policy in tuned
        },
        "rankers": blocks.rankers(mean["own"], variants.backbone, variants.knowledge, names),
        "differences": found,
        "personal": blocks.personal(
            mean["own"], mean["permuted"], variants.backbone, with_policy, compared, resamples, own_seed
        ),
        "family": blocks.family(claims, compared[0]),
        "trained_out": {
            f"{b}-{k}": read_json(paths.curves(b, k)) for b in variants.backbone for k in variants.knowledge
        },
    }
    write_json(paths.EVALUATE, report)
    write_csv(paths.HEADLINE, blocks.headline_table(mean["own"], gains.filter(pl.col("fold") == "test")))
    summary = _summary(report, variants, tuned[-1])
    write_json(paths.SUMMARY, summary)
    write_csv(paths.plot("evaluate", "variants"), _plot(report, variants))
    return f"wrote {paths.SUMMARY}; {_told(summary)}; {report['arithmetic']}"


def _told(summary: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:+.4f}" for name, value in summary.items())


def _pairs(variants: Variants) -> list[tuple[str, str]]:
    """Every knowledge against a constant, the base LLM's text and the template."""
    against = [k for k in ("constant", "base", "template") if k in variants.knowledge]
    return [(k, a) for a in against for k in variants.knowledge if k != a]


def _claims(tuned: str) -> list[str]:
    """The comparisons that the method stands or falls with; their p is adjusted for their number."""
    return [f"{tuned} - base", f"{tuned} - constant", "base - constant", f"{tuned}_template - template"]


def _policy_rewards(tables: Tables, policies: list[str], reward: Reward, seed: int) -> pl.DataFrame:
    """Mean reward of every policy's texts for test and validation users, with own and with permuted texts."""
    folds = tables.users["fold"].to_list()
    lists = tables.lists(pl.concat([tables.list_frame("validation"), tables.list_frame("test")]))
    group = {u: folds[u] for u in sorted(set(lists.user.tolist()))}
    other = permutation(group, tables.users.height, seed)
    catalogue, frames = tables.catalogue(), []
    for policy in policies:
        width = catalogue.vectors.shape[1]
        texts = tables.knowledge(policy).texts[..., :width]  # the part that holds the policy's own texts
        loaded = models.load(paths.reward_model("round1"), catalogue, lists.item.shape[1])
        scorer = Scorer(list(loaded.values()), models.models_of(list(loaded), group), lists, reward.k)
        own = _score(scorer, lists, texts, group, reward, seed, f"evaluate {policy}")
        permuted = _score(scorer, lists, texts[other], group, reward, seed, f"evaluate {policy} permuted")
        frames.append(_reward_frame(policy, tables, own, permuted))
    return pl.concat(frames)


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


Place = tuple[str, str, int]  # backbone, knowledge, seed


def _rank(
    tables: Tables, variants: Variants, p: TrainRanker, lists: Lists, other: Tensor
) -> dict[str, dict[Place, Tensor]]:
    """Scores [L, C] of lists by every re-ranker and seed, with the user's own texts and with another user's."""
    scores: dict[str, dict[Place, Tensor]] = {"own": {}, "permuted": {}}
    work = [(b, k) for b in variants.backbone for k in variants.knowledge]
    for backbone, knowledge in track(work, "evaluate re-rankers"):
        text = tables.knowledge(knowledge).texts.mean(dim=1)
        for number, net in enumerate(_load(tables, backbone, knowledge, lists.item.shape[1], p)):
            place = (backbone, knowledge, number)
            scores["own"][place] = predict(net, lists, text[lists.user])
            scores["permuted"][place] = predict(net, lists, text[other][lists.user])
    return scores


def _load(tables: Tables, backbone: str, knowledge: str, length: int, p: TrainRanker) -> list[torch.nn.Module]:
    """The trained re-rankers of all seeds."""
    told = tables.knowledge(knowledge)
    seen, catalogue = told.texts[torch.tensor(tables.rows(RANKING))], tables.catalogue(told.items)
    path = paths.ranker(backbone, knowledge)
    tensors, _ = load_tensors(path)
    loaded = []
    for number in range(p.seeds):
        net = nets.build(backbone, catalogue, seen, length, p.dropout, p.experts_shared, p.experts_private, 0)
        weights = {k.split("/", 1)[1]: v for k, v in tensors.items() if k.startswith(f"{number}/")}
        try:
            net.load_state_dict(weights)
        except RuntimeError as error:
            raise InputError(f"{path}: weights do not fit the tables ({error}); run `dvc repro`") from None
        loaded.append(net)
    return loaded


def _metrics(scores: dict[Place, Tensor], tables: Tables, lists: Lists, ks: list[int]) -> pl.DataFrame:
    """All metrics of every re-ranker and seed on every list."""
    users = tables.users["user"].gather(lists.user.tolist())
    frames = []
    for (backbone, knowledge, number), values in scores.items():
        ranked = ranked_labels(values, lists.label)
        columns = {f"{name}@{k}": metric(ranked, k).numpy() for k in ks for name, metric in METRICS.items()}
        frames.append(
            pl.DataFrame({"user": users, "list": lists.number.numpy(), **columns}).select(
                pl.lit(backbone).alias("backbone"),
                pl.lit(knowledge).alias("knowledge"),
                pl.lit(number, pl.Int64).alias("seed"),
                "user",
                "list",
                *metric_names(ks),
            )
        )
    return pl.concat(frames)


def _examples(tables: Tables, variants: Variants, p: TrainRanker, tuned: str) -> pl.DataFrame:
    """A list of each of ten validation users as base and tuned re-rankers of the first backbone order it."""
    frame = tables.list_frame("validation").filter(pl.col("list") == 0)
    shown = frame["user"].unique().sort().head(SHOWN_USERS).to_list()
    frame = frame.filter(pl.col("user").is_in(shown)).sort("user", "list", "position")
    lists = tables.lists(frame)
    backbone, columns = variants.backbone[0], {}
    for name, knowledge in (("rank_base", "base"), ("rank_tuned", tuned)):
        text = tables.knowledge(knowledge).texts.mean(dim=1)[lists.user]
        nets_of_seeds = _load(tables, backbone, knowledge, lists.item.shape[1], p)
        scores = torch.stack([predict(net, lists, text).softmax(-1) for net in nets_of_seeds]).mean(0)
        order = scores.argsort(dim=-1, descending=True, stable=True)
        columns[name] = (order.argsort(dim=-1) + 1).flatten().numpy()
    return frame.select("user", "list", "position", "item", "label").with_columns(
        **{name: pl.Series(ranks, dtype=pl.Int64) for name, ranks in columns.items()}
    )


def _summary(report: dict[str, Any], p: Variants, tuned: str) -> dict[str, float]:
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
        values = [report["rankers"][f"{b}-{k}"].get(metric) for b in p.backbone if k in p.knowledge]
        if values and all(values):
            mean = sum(v["mean"] for v in values) / len(values)
            numbers[f"ndcg5_{'tuned' if k == tuned else k}"] = mean
    return numbers


def _plot(report: dict[str, Any], p: Variants) -> list[dict[str, Any]]:
    metrics = list(next(iter(report["rankers"].values())))
    metric = blocks.HEADLINE[0] if blocks.HEADLINE[0] in metrics else metrics[-1]
    return [
        {"backbone": b, "knowledge": k, "seed": seed, "metric": metric, "value": value}
        for b in p.backbone
        for k in p.knowledge
        for seed, value in enumerate(report["rankers"][f"{b}-{k}"][metric]["seeds"])
    ]
