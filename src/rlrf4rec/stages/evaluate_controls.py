"""Stage evaluate_controls (study): metrics and paired differences of all controls, protocol by protocol.

The only reader of the protocols' test labels. `popularity` and `first_stage` are orders without a re-ranker:
by the items' counts, and (retrieved lists) as they were retrieved.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from rlrf4rec import paths
from rlrf4rec.errors import InputError
from rlrf4rec.files import read_json, write_csv, write_json
from rlrf4rec.metrics import blocks
from rlrf4rec.metrics.ranking import METRICS, ranked_labels
from rlrf4rec.params import Controls, Evaluate, TrainRanker, Variants
from rlrf4rec.ranking.lists import Lists
from rlrf4rec.seeds import derive
from rlrf4rec.stages.inputs import Tables, read_tables
from rlrf4rec.tables.results import metric_names
from rlrf4rec.vectors import load_tensors

TUNED = "round1"


def run(seed: int, variants: Variants, train_ranker: TrainRanker, controls: Controls, evaluate: Evaluate) -> str:
    """Write the study's metrics and its headline table; returns the closing line."""
    read = read_tables()
    report: dict[str, Any] = {}
    rows: list[dict[str, Any]] = []
    for protocol in controls.protocols:
        tables = Tables(read.users, read.items, read.popularity, paths.protocol(protocol))
        report[protocol], table = _protocol(tables, protocol, seed, variants, train_ranker, controls, evaluate)
        rows += table
    write_json(paths.CONTROLS, report)
    write_csv(paths.CONTROLS_HEADLINE, rows)
    shown = ", ".join(f"{p} {r['family'][f'{TUNED} - base']['difference']:+.4f}" for p, r in report.items())
    return f"wrote {paths.CONTROLS}; NDCG@5 of {TUNED} - base: {shown}"


def _protocol(
    tables: Tables,
    protocol: str,
    seed: int,
    variants: Variants,
    train_ranker: TrainRanker,
    controls: Controls,
    evaluate: Evaluate,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The report of one protocol, and its rows of the headline table."""
    lists = tables.lists(tables.list_frame("test"))
    kinds, backbones, names = list(controls.told), variants.backbone, metric_names(evaluate.ks)
    own, permuted = [], []
    over_lists: dict[str, list[pl.DataFrame]] = {}
    for kind in kinds:
        scores, _ = load_tensors(paths.control(protocol, kind))
        for backbone in backbones:
            for number in range(train_ranker.seeds):
                place = {"backbone": backbone, "knowledge": kind, "seed": number}
                frame = _by_list(_scores(scores, f"{backbone}/{number}/own", lists), lists, tables, evaluate.ks)
                over_lists.setdefault(f"{backbone}-{kind}", []).append(frame.select(names).mean())
                own.append(_by_user(frame, place, names))
                frame = _by_list(_scores(scores, f"{backbone}/{number}/permuted", lists), lists, tables, evaluate.ks)
                permuted.append(_by_user(frame, place, names))
    mine, others = pl.concat(own), pl.concat(permuted)
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
        "over_lists": {k: {n: float(np.mean([f[n][0] for f in v])) for n in names} for k, v in over_lists.items()},
        "orders": _orders(lists, tables, protocol, evaluate.ks, names),
        "differences": everything,
        "personal": blocks.personal(pooled, pooled_others, ["all"], kinds, headline, resamples, own_seed),
        "family": blocks.family({c: everything[c] for c in claims if c in everything}, headline[0]),
        "trained_out": {
            f"{b}-{k}": v
            for k in kinds
            for b, v in read_json(paths.control(protocol, k).with_name("curves.json")).items()
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


def _scores(scores: dict[str, Tensor], key: str, lists: Lists) -> Tensor:
    if key not in scores or scores[key].shape != lists.item.shape:
        raise InputError(f"data/control: {key} does not fit the test lists; run `make study`")
    return scores[key]


def _by_list(scores: Tensor, lists: Lists, tables: Tables, ks: list[int]) -> pl.DataFrame:
    """Metrics of every list, with its user."""
    ranked = ranked_labels(scores, lists.label)
    columns = {f"{name}@{k}": metric(ranked, k).numpy() for k in ks for name, metric in METRICS.items()}
    return pl.DataFrame({"user": tables.users["user"].gather(lists.user.tolist()), **columns})


def _by_user(frame: pl.DataFrame, place: dict[str, Any], names: list[str]) -> pl.DataFrame:
    mean = frame.group_by("user", maintain_order=True).agg(pl.col(names).mean())
    head = [pl.lit(v, pl.Int64 if isinstance(v, int) else pl.String).alias(name) for name, v in place.items()]
    return mean.select(*head, "user", *names)


def _orders(lists: Lists, tables: Tables, protocol: str, ks: list[int], names: list[str]) -> dict[str, Any]:
    """Orders that no re-ranker made: by popularity, and for retrieved lists the first stage's own."""
    scores = {"popularity": tables.catalogue().log_popularity[lists.item]}
    if protocol == "retrieved":
        scores["first_stage"] = -torch.arange(lists.item.shape[1]).expand(lists.item.shape).float()
    found = {}
    for name, values in scores.items():
        frame = _by_list(values, lists, tables, ks)
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
