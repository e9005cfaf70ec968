"""A small made-up run: all files that the report reads, and its stage run on them."""

import json
from pathlib import Path

import polars as pl

from rlrf4rec import params
from rlrf4rec.params.rounds import write_rounds
from rlrf4rec.stages import report
from rlrf4rec.tables.results import PERMUTED
from rlrf4rec.tables.rewards import KINDS

ROOT = Path(__file__).parent.parent
BACKBONES = ["dlcm", "prm", "setrank"]
REACHED = {
    "constant": 0.545,
    "template": 0.581,
    "base": 0.546,
    "round1": 0.549,
    "shuffled": 0.544,
    "round1_template": 0.58,
}
HOSTILE = "<script>alert('x')</script> & </style><img src=x onerror=\"alert(1)\">"


def effect(value, half, **more):
    return {
        "difference": value,
        "low": value - half,
        "high": value + half,
        "p": 0.4,
        "mde": half * 1.43,
        "users": 235,
        "seeds": 5,
        **more,
    }


def benchmarked():
    """metrics/bench.json."""
    memory = {"peak_mb": 1300.0, "loaded_mb": 1258.0}
    plain = {"texts": 40, "cpu_s": 60.0, "cpu_s_per": 1.5, "peak_mb": 2768.0, "loaded_mb": 1258.0}
    times = {"ratio": 7.5, "low": 7.1, "high": 7.9}
    own = {"texts": 40, "cpu_s": 8.0, "cpu_s_per": 0.2, "share_of_matmul_limit": 0.37, **memory}
    pairs = {"pairs": 8, "cpu_s": 16.0, "cpu_s_per": 2.0, **memory}
    versions = {"torch": "2.13.0", "transformers": "5.23.0", "trl": "1.16.0"}
    return {
        "machine": {"cpu": "A CPU", "capability": "avx2", "cores": 2, **versions},
        "arithmetic": {
            "float32": {
                "matmul_gflop_per_cpu_s": 200,
                "sampling": {"here": own, "transformers": plain, "others": {"transformers": times}},
                "dpo": {"here": pairs, "trl": {**pairs, "cpu_s_per": 15.0}, "others": {"trl": times}},
            }
        },
        "interactions": {"interactions": 25_000_000, "users": 160_000, "wall_s": 31.2, "peak_mb": 4096.0},
        "split": {"wall_s": 88.8, "peak_mb": 5632.0, "lists": 1_900_000},
        "retrieved": {"interactions": 390_000, "users": 2000, "items": 60_000, "wall_s": 98.7, "peak_mb": 5120.0},
        "scaling": {"users": {"sizes": [4, 8, 16, 32], "cpu_s": [1.0, 2.0, 4.0, 8.0], "exponent": 1.0}},
    }


def evaluated():
    """metrics/evaluate.json of a run without a gain but for the template."""
    seeds = [-0.004, -0.001, 0.0, 0.002, 0.003]
    rankers = {
        f"{b}-{k}": {
            m: {"mean": value + i * 0.003, "seeds": [value + i * 0.003 + s * (i + j - 3) / 2 for s in seeds]}
            for m in ("ndcg@5", "map@5", "kar_map@5")
        }
        for i, b in enumerate(BACKBONES)
        for j, (k, value) in enumerate(REACHED.items())
    }
    pairs = [(k, r) for r in ("constant", "base", "template") for k in REACHED if k != r]
    differences = {
        f"{k} - {r}": {b: {"ndcg@5": effect(REACHED[k] - REACHED[r], 0.005)} for b in ["all", *BACKBONES]}
        for k, r in pairs
    }
    gains = {
        name: effect(-0.001, 0.0028, seeds=1) for name in (*KINDS, *(f"{kind}_personal_part" for kind in PERMUTED))
    }
    return {
        "metrics": {"k": [1, 3, 5, 7], "map_divisor": "min(k, positives)", "kar_map_divisor": "hits in the top k"},
        "protocol": "popularity",
        "arithmetic": "float32 on avx2, 2 threads",
        "development_users": 235,
        "development_lists": 2900,
        "orders": {
            name: {"over_users": dict.fromkeys(("ndcg@5", "map@5", "kar_map@5"), value)}
            for name, value in (("random", 0.31), ("popularity", 0.29), ("rated_first", 0.87), ("oracle", 1.0))
        },
        "reward_gain": {"round1": {"development": gains, "validation": gains}},
        "reward_gain_labellers": {"round1": {"development": gains, "validation": gains}},
        "rankers": rankers,
        "differences": differences,
        "personal": {k: {"all": {"ndcg@5": effect(0.001, 0.004)}} for k in ("base", "round1")},
        "family": {
            name: effect(
                value,
                0.005,
                p_holm=0.9,
                over_lists={"difference": value / 2, "low": value - 0.006, "high": value + 0.006},
            )
            for name, value in (
                ("reward gain of round1", -0.001),
                ("round1 - base", 0.003),
                ("round1_template - template", -0.001),
            )
        },
        "trained_out": {
            f"{b}-{k}": {
                "last": [0.56, 0.561],
                "below_best": 0.002,
                "spread": 0.001,
                "trained_out": True,
            }
            for b in BACKBONES
            for k in REACHED
        },
    }


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_run(folder, users=10):
    """All that the stage reads, made up; `folder` is the working directory."""
    (folder / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    write_rounds(folder / "params.yaml", 1)
    _write_metrics(folder / "metrics")
    _write_tables(folder / "data", [str(i) for i in range(1, users + 3)], users)


def _write_metrics(metrics):
    write_json(metrics / "evaluate.json", evaluated())
    lines = ["metric,backbone,knowledge,user,seed0,seed1"]
    for b in BACKBONES:
        for user, (base, tuned) in enumerate([(0.5, 0.6), (0.5, 0.4), (0.5, 0.5), (0.2, 0.3)]):
            lines += [f"ndcg@5,{b},base,{user},{base},{base}", f"ndcg@5,{b},round1,{user},{tuned},{tuned}"]
            lines.append(f"map@5,{b},base,{user},0.1,0.1")
    (metrics / "per_user.csv").write_text("\n".join(lines) + "\n")
    measures = {"split_half": 0.57, "seed_to_seed": 0.56, "labellers_to_judges": 0.6, "tied_lists": 0.18}
    kinds = {kind: {**measures, "tied_users": 0.0} for kind in KINDS}
    write_json(metrics / "score" / "round1.json", {"tuning": kinds, "validation": kinds})
    write_json(metrics / "train_dpo" / "round1.json", {"hyperparameters": {"beta": 0.1, "learning_rate": 0.0004}})
    for policy in ("base", "round1"):
        write_json(metrics / "sample" / f"{policy}.json", {"texts": 9, "arithmetic": "bfloat16 on amx_bf16, 2 threads"})
    for stage in ("fetch_dataset", "interactions", "split", "prompt"):
        write_json(metrics / f"{stage}.json", json.loads((ROOT / "metrics" / f"{stage}.json").read_text()))
    plot = metrics / "plots"
    for stage in ("score", "train_dpo", "tune_reward", "tune_dpo", "watch"):
        (plot / stage).mkdir(parents=True)
    bins = [(round(-0.3 + 0.02 * i, 2), max(0, 40 - (i - 15) ** 2)) for i in range(31)]
    (plot / "score" / "round1.csv").write_text("reward,texts\n" + "\n".join(f"{x},{n}" for x, n in bins) + "\n")
    steps = [(i, 0.7 - i / 900, i / 500, 0.5 + i % 3 / 8, -i / 20, -i / 15) for i in range(45)]
    head = "step,loss,margin,accuracy,chosen,rejected\n"
    (plot / "train_dpo" / "round1.csv").write_text(head + "\n".join(",".join(map(str, s)) for s in steps) + "\n")
    for stage in ("tune_reward", "tune_dpo"):
        (plot / stage / "trials.csv").write_text("trial,value,best_so_far\n0,0.51,0.51\n1,0.49,0.51\n2,0.52,0.52\n")


def _write_tables(data, users, shown):
    def write(path, rows, **types):
        (data / path).parent.mkdir(parents=True, exist_ok=True)
        pl.DataFrame(rows, schema_overrides=types).write_parquet(data / path)

    titles = [HOSTILE, *(f"The Film with a Rather Long Title, Part {i}" for i in range(1, 30))]
    items = [{"item": str(i), "title": t, "year": 1960 + i, "genres": "Drama"} for i, t in enumerate(titles)]
    items[5]["year"] = None
    write("interactions/items.parquet", items)
    seen = [(u, i) for u in users for i in range(12)]
    write(
        "split/people/history.parquet",
        [{"user": u, "position": i, "item": str(i), "rating": 1.0 + i % 5, "timestamp": 100 + i} for u, i in seen],
    )
    texts = [(u, s) for u in users for s in range(3)]
    for policy in ("base", "round1"):
        write(
            f"texts/{policy}/texts.parquet",
            [
                {
                    "user": u,
                    "sample": s,
                    "text": HOSTILE if u == "1" else f"likes {policy} comedies of the 1980s; not text {s} of {u}",
                    "policy": policy,
                    "tokens": [1, 2],
                    "token_count": 2,
                    "stop": "stop",
                    "redraws": 0,
                    "log_prob": -1.5,
                    "temperature": 1.0,
                    "top_k": 0,
                    "top_p": 0.95,
                    "max_tokens": 8,
                    "seed": 1,
                }
                for u, s in texts
            ],
        )
    write(
        "score/round1/rewards.parquet",
        [
            {
                "user": u,
                "sample": s,
                "fold": "train" if u == users[-1] else "validation",
                "lists": 4,
                **dict.fromkeys(KINDS, 0.5),
                "reward": [0.1, 0.3, -0.2][s],
                "judged": 0.0,
            }
            for u, s in texts
        ],
    )
    write(
        "evaluate/examples.parquet",
        [
            {
                "user": u,
                "list": 2,
                "position": i,
                "item": str(12 + i),
                "label": int(i in (3, 7)),
                "rank_base": i + 1,
                "rank_tuned": 10 - i,
            }
            for u in users[:shown]
            for i in range(10)
        ],
    )


def run_stage():
    loaded = params.load()
    return report.run(*(getattr(loaded, name) for name in list(report.run.__annotations__)[:-1]))
