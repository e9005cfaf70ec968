"""Metrics of re-rankers on lists, from the scores that they gave before they could see a label."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import polars as pl
from torch import Tensor

from rlrf4rec.errors import InputError
from rlrf4rec.metrics.ranking import METRICS, ranked_labels
from rlrf4rec.ranking.lists import Lists
from rlrf4rec.tables.results import metric_names
from rlrf4rec.tables.vectors import load_tensors

RankerKey = tuple[str, str, int]  # backbone, knowledge, seed
RANKER = ("backbone", "knowledge", "seed")
BY_USER = [*RANKER, "user"]


def read_scores(
    files: Mapping[str, Path], backbones: Sequence[str], seeds: int, which: Iterable[str], lists: Lists
) -> dict[str, dict[RankerKey, Tensor]]:
    """Scores [L, C] by which of them (own, permuted), backbone, knowledge and seed; by the `files` of each."""
    read = {knowledge: load_tensors(path) for knowledge, path in files.items()}
    found: dict[str, dict[RankerKey, Tensor]] = {name: {} for name in which}
    for backbone in backbones:
        for knowledge, (tensors, about) in read.items():
            if about.get("lists") != lists.identity():
                raise InputError(f"{files[knowledge]}: scores of other lists than these {len(lists)}; run `dvc repro`")
            for number in range(seeds):
                for name, rankers in found.items():
                    key = f"{backbone}/{number}/{name}"
                    if key not in tensors:
                        raise InputError(f"{files[knowledge]}: no scores {key}; run `dvc repro`")
                    rankers[backbone, knowledge, number] = tensors[key]
    return found


def of_seeds(path: Path, backbone: str, seeds: int, which: str) -> list[Tensor]:
    """Scores [L, C] of every seed of one backbone, `which` of them."""
    tensors, _ = load_tensors(path)
    return [tensors[f"{backbone}/{number}/{which}"] for number in range(seeds)]


def by_list(scores: Tensor, lists: Lists, users: pl.Series, ks: list[int]) -> pl.DataFrame:
    """All metrics of scores [L, C] on every list: user, list, and a column for each metric."""
    ranked = ranked_labels(scores, lists.label)
    columns = {f"{name}@{k}": metric(ranked, k).numpy() for k in ks for name, metric in METRICS.items()}
    found = pl.DataFrame({"user": users.gather(lists.user.tolist()), "list": lists.number.numpy(), **columns})
    return found.select("user", "list", *metric_names(ks))


def by_ranker(scores: Mapping[RankerKey, Tensor], lists: Lists, users: pl.Series, ks: list[int]) -> pl.DataFrame:
    """The same of every re-ranker and seed, one below the other."""
    return pl.concat(
        by_list(values, lists, users, ks).select(
            pl.lit(backbone).alias("backbone"),
            pl.lit(knowledge).alias("knowledge"),
            pl.lit(number, pl.Int64).alias("seed"),
            pl.all(),
        )
        for (backbone, knowledge, number), values in scores.items()
    )


def counted(lists: Lists, users: pl.Series) -> list[int]:
    """How many lists each user has, of those who have some, in rising order of their names."""
    found = users.gather(lists.user.tolist()).rename("user").value_counts().sort("user")
    return [int(count) for count in found["count"]]


def by_user(per_list: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """Means over each user's lists."""
    return per_list.group_by(BY_USER, maintain_order=True).agg(pl.col(names).mean())
