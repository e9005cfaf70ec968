"""Stage evaluate_controls (study): metrics and paired differences of all controls, protocol by protocol.

The only reader of the protocols' test labels. `popularity` and `first_stage` are orders without a re-ranker:
by the items' counts, and (retrieved lists) as they were retrieved.
"""

from collections.abc import Sequence
from typing import Any

import polars as pl
import torch

from rlrf4rec import paths
from rlrf4rec.evaluation import blocks
from rlrf4rec.evaluation.lists import by_list, by_place, by_user, read_scores
from rlrf4rec.files import read_json, write_csv, write_json
from rlrf4rec.inputs import Tables, read_tables
from rlrf4rec.params import Evaluate, Told, TrainRanker
from rlrf4rec.ranking.lists import Lists
from rlrf4rec.seeds import derive
from rlrf4rec.tables.results import metric_names

TUNED = "round1"


def run(
    seed: int,
    backbones: list[str],
    protocols: list[str],
    train_ranker: TrainRanker,
    controls: dict[str, Told],
    evaluate: Evaluate,
) -> str:
    """Write the study's metrics and its headline table; returns the closing line."""
    read = read_tables()
    report: dict[str, Any] = {}
    rows: list[dict[str, Any]] = []
    for protocol in protocols:
        tables = Tables(read.users, read.items, read.popularity, paths.protocol(protocol))
        report[protocol], table = _protocol(
            tables, protocol, seed, backbones, list(controls), train_ranker.seeds, evaluate
        )
        rows += table
    write_json(paths.CONTROLS, report)
    write_csv(paths.CONTROLS_HEADLINE, rows)
    shown = ", ".join(f"{p} {r['family'][f'{TUNED} - base']['difference']:+.4f}" for p, r in report.items())
    return f"wrote {paths.CONTROLS}; NDCG@5 of {TUNED} - base: {shown}"


def _protocol(
    tables: Tables,
    protocol: str,
    seed: int,
    backbones: list[str],
    kinds: list[str],
    seeds: int,
    evaluate: Evaluate,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The report of one protocol, and its rows of the headline table."""
    lists, names = tables.lists(tables.list_frame("test")), metric_names(evaluate.ks)
    files = {kind: paths.control(protocol, kind) for kind in kinds}
    scores = read_scores(files, backbones, seeds, ("own", "permuted"), lists)
    users = tables.users["user"]
    per_list = by_place(scores["own"], lists, users, evaluate.ks)
    over_lists = per_list.group_by("backbone", "knowledge", maintain_order=True).agg(pl.col(names).mean())
    mine, others = by_user(per_list, names), by_user(by_place(scores["permuted"], lists, users, evaluate.ks), names)
    resamples, own_seed = evaluate.bootstrap, derive(seed, "evaluate_controls")
    headline = [name for name in blocks.HEADLINE if name in names]
    pairs = [(k, a) for a in ("constant", "base", "template") if a in kinds for k in kinds if k != a]
    pooled, pooled_others = _pooled(mine, names), _pooled(others, names)  # each backbone's seeds are in `rankers`
    found = blocks.differences(pooled, ["all"], pairs, headline, resamples, own_seed)
    extra = blocks.differences(pooled, ["all"], _feedback(kinds), headline, resamples, own_seed)
    claims = [f"{TUNED} - base", f"{TUNED} - shuffled", f"{TUNED} - constant", "base - constant", "sft - base"]
    claims += [f"{TUNED}_template - template", f"{TUNED}_template - base_template"]
    everything = found | extra
    report = {
        "test_users": mine["user"].n_unique(),
        "test_lists": len(lists),
        "rankers": blocks.rankers(mine, backbones, kinds, names),
        "over_lists": {
            f"{row['backbone']}-{row['knowledge']}": {n: row[n] for n in names} for row in over_lists.to_dicts()
        },
        "orders": _orders(lists, tables, protocol, evaluate.ks, names),
        "differences": everything,
        "personal": blocks.personal(pooled, pooled_others, ["all"], kinds, headline, resamples, own_seed),
        "family": blocks.family(everything, claims, headline[0], {}),
        "trained_out": {
            f"{b}-{kind}": v for kind in kinds for b, v in read_json(files[kind].with_name("curves.json")).items()
        },
    }
    return report, _rows(mine, backbones, kinds, protocol, headline)


def _pooled(per_user: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    """The mean over backbones: seed s of every backbone averaged, as one backbone `all`."""
    mean = per_user.group_by("knowledge", "seed", "user", maintain_order=True).agg(pl.col(names).mean())
    return mean.select(pl.lit("all").alias("backbone"), "knowledge", "seed", "user", *names)


def _feedback(kinds: list[str]) -> list[tuple[str, str]]:
    """Is it the feedback: tuned against shuffled preferences, and against what else the same pairs can do."""
    against = [("round1", "shuffled"), ("round1", "sft"), ("round1", "best_of_n"), ("template", "profile")]
    against += [(f"round1_{b}", f"{k}_{b}") for b in ("template",) for k in ("base", "shuffled", "sft")]
    return [(a, b) for a, b in against if a in kinds and b in kinds]


def _orders(lists: Lists, tables: Tables, protocol: str, ks: list[int], names: list[str]) -> dict[str, Any]:
    """Orders that no re-ranker made: by popularity, and for retrieved lists the first stage's own."""
    scores = {"popularity": tables.catalogue().log_popularity[lists.item]}
    if protocol == "retrieved":
        scores["first_stage"] = -torch.arange(lists.item.shape[1]).expand(lists.item.shape).float()
    found = {}
    for name, values in scores.items():
        frame = by_list(values, lists, tables.users["user"], ks)
        users = frame.group_by("user").agg(pl.col(names).mean()).select(names).mean()
        found[name] = {
            "over_users": dict(zip(names, users.row(0), strict=True)),
            "over_lists": dict(zip(names, frame.select(names).mean().row(0), strict=True)),
        }
    return found


def _rows(
    mine: pl.DataFrame, backbones: Sequence[str], kinds: list[str], protocol: str, headline: list[str]
) -> list[dict[str, Any]]:
    """Rows of the study's headline table: the mean over backbones per user and seed, five decimals."""
    users, rows = mine["user"].unique().sort().to_list(), []
    for metric in headline[:1]:
        for kind in kinds:
            values = blocks.values(mine, backbones, kind, metric)["all"]
            for user, by_seed in zip(users, values.tolist(), strict=True):
                head = {"protocol": protocol, "metric": metric, "knowledge": kind, "user": user}
                rows.append({**head, **{f"seed{s}": round(v, 5) for s, v in enumerate(by_seed)}})
    return rows
