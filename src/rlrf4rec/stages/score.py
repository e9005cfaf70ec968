"""Stage score: the reward of each sample under models that did not train on its user, and how reliable it is.

Each is scored twice: by the models that label (what pairs are made of) and by those that judge.
"""

import functools

import polars as pl

from rlrf4rec import machine, paths, replicates
from rlrf4rec.files import write_csv, write_json
from rlrf4rec.inputs import Tables, read_tables
from rlrf4rec.judging.reliability import reliability
from rlrf4rec.params import Reward
from rlrf4rec.reward import models, reading, rewards
from rlrf4rec.reward.rewards import KINDS, UserRewards
from rlrf4rec.seeds import derive
from rlrf4rec.tables.rewards import REWARDS, TRAINED_LISTS
from rlrf4rec.tables.split import TUNING, check_reward_lists

BINS = 30


def run(seed: int, reward: Reward, round_name: str, texts_name: str) -> str:
    """Score the samples of tuning and validation users; returns the closing line."""
    tables = read_tables()
    item_features = tables.item_features()
    own, validation = _tuning_lists(tables, round_name), tables.list_frame("validation")
    for frame, fold in ((own, "train"), (validation, "validation")):
        tables.lists_of(frame, fold, "the users whose texts are scored")
    lists = tables.lists(pl.concat([own, validation]))
    texts = reading.texts(tables, item_features, texts_name, "tuning")
    group = rewards.groups(tables.users, lists)
    length, own_seed = lists.item.shape[1], seed_of(seed, round_name)
    places = [paths.reward_models(round_name, duty) for duty in paths.DUTIES]
    read = functools.partial(reading.texts, tables, item_features)
    labellers, judges = (models.load(place, item_features, length, read) for place in places)
    both = [rewards.scoring(of, lists, texts, group, reward, own_seed) for of in (labellers, judges)]
    done, judged = rewards.score(both, f"score {round_name}")
    folds = tables.users["fold"].to_list()
    table = _table(done, judged, tables, reward.kind)
    groups = {
        name: [[r for r in found if folds[r.user] == fold] for found in (done, judged)]
        for name, fold in (("tuning", "train"), ("validation", "validation"))
    }
    seeds = len(models.by_seed(labellers))
    report = {name: reliability(own, seeds, others) for name, (own, others) in groups.items()}
    histogram, computed = _histogram(table), machine.arithmetic(threads=1)
    REWARDS.write(table, paths.rewards(round_name))  # the first that is written: all else is made
    write_json(paths.metrics("score", round_name), {**report, "arithmetic": computed})
    write_csv(paths.plot("score", round_name), histogram)
    shown = report["validation"][reward.kind]
    return (
        f"wrote {paths.rewards(round_name)}, {table.height} rewards; {reward.kind} on validation users: "
        f"split-half {shown['split_half']:.2f}, seed to seed {shown['seed_to_seed']:.2f}, "
        f"labellers to judges {shown['labellers_to_judges']:.2f}, "
        f"tied lists {shown['tied_lists']:.0%}; {computed}"
    )


def seed_of(seed: int, round_name: str) -> int:
    """Of the draw of others' lists: one for all rounds of the run, of its own for each policy of a study."""
    number = replicates.parts(round_name)[1]
    return derive(seed, "score", *([number] if number else []))


def _tuning_lists(tables: Tables, round_name: str) -> pl.DataFrame:
    """Lists of the tuning users, checked: none of them was seen by the models that will score its user."""
    frame = tables.list_frame("train").join(tables.users.filter(TUNING).select("user"), on="user", how="semi")
    trained = TRAINED_LISTS.read(paths.trained_lists(round_name))
    for half in ("A", "B"):
        others = tables.users.filter(TUNING & (pl.col("half") != half)).select("user")
        scored = frame.join(others, on="user", how="semi")
        check_reward_lists(scored, trained.filter(pl.col("half") == half), paths.trained_lists(round_name))
    return frame


def _table(done: list[UserRewards], judged: list[UserRewards], tables: Tables, kind: str) -> pl.DataFrame:
    users, folds = tables.users["user"].to_list(), tables.users["fold"].to_list()
    rows = []
    for r, by_judges in zip(done, judged, strict=True):
        by_kind = {k: r.reward(k).tolist() for k in KINDS}
        judged_of = by_judges.reward(kind).tolist()
        for sample in range(r.smooth.shape[1]):
            values = {k: by_kind[k][sample] for k in KINDS}
            head = {"user": users[r.user], "sample": sample, "fold": folds[r.user], "lists": r.smooth.shape[2]}
            rows.append({**head, **values, "reward": values[kind], "judged": judged_of[sample]})
    return pl.DataFrame(rows)


def _histogram(table: pl.DataFrame) -> list[dict[str, float]]:
    """Counts of rewards relative to the user's mean, in bins of equal width."""
    centred = table.with_columns((pl.col("reward") - pl.col("reward").mean().over("user")).alias("reward"))
    low, high = float(centred["reward"].min()), float(centred["reward"].max())  # type: ignore[arg-type]
    width = (high - low) / BINS or 1.0
    bins = centred.with_columns(
        ((pl.col("reward") - low) / width).floor().clip(0, BINS - 1).cast(pl.Int64).alias("bin")
    )
    counts = dict(bins.group_by("bin").len().iter_rows())
    return [{"reward": low + (b + 0.5) * width, "texts": counts.get(b, 0)} for b in range(BINS)]
