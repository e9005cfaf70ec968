"""Metrics of re-rankers on lists, from the scores that they gave before they could see a label."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from torch import Tensor

from rlrf4rec import paths
from rlrf4rec.errors import InputError
from rlrf4rec.files import read_json
from rlrf4rec.metrics.ranking import METRICS, ranked_labels
from rlrf4rec.ranking.lists import Lists
from rlrf4rec.tables.results import metric_names
from rlrf4rec.tables.vectors import load_tensors

RankerKey = tuple[str, str, int]  # backbone, knowledge, seed
RANKER = ("backbone", "knowledge", "seed")
BY_USER = [*RANKER, "user"]
MADE_BY = {  # by the folder of scores; the first folder in it is the entry
    paths.MODELS: "train_ranker",
    paths.ARM_SCORES: "studies/arms/dvc.yaml:arm@{}",
    paths.APART / "train_ranker": "studies/controls/dvc.yaml:control@{}",
    paths.FINAL: "studies/final/dvc.yaml:final_score",
    paths.FINAL_ARMS: "studies/final_arms/dvc.yaml:final_arm@{}",
}


def read_scores(
    files: Mapping[str, Path], backbones: Sequence[str], seeds: int, which: Iterable[str], lists: Lists
) -> dict[str, dict[RankerKey, Tensor]]:
    """Scores [L, C] by which of them (own, permuted), backbone, knowledge and seed; by the `files` of each."""
    read = {knowledge: load_tensors(path) for knowledge, path in files.items()}
    found: dict[str, dict[RankerKey, Tensor]] = {name: {} for name in which}
    for backbone in backbones:
        for knowledge, (tensors, about) in read.items():
            if about.get("lists") != lists.identity():
                path = files[knowledge]
                raise InputError(f"{path}: scores of other lists than these {len(lists)}; {again(path)}")
            for number in range(seeds):
                for name, rankers in found.items():
                    key = f"{backbone}/{number}/{name}"
                    rankers[backbone, knowledge, number] = _one(files[knowledge], tensors, key, lists)
    return found


def of_seeds(path: Path, backbone: str, seeds: int, which: str, lists: Lists) -> list[Tensor]:
    """Scores [L, C] of every seed of one backbone, `which` of them."""
    tensors, _ = load_tensors(path)
    return [_one(path, tensors, f"{backbone}/{number}/{which}", lists) for number in range(seeds)]


def _one(path: Path, tensors: Mapping[str, Tensor], key: str, lists: Lists) -> Tensor:
    """Scores of a re-ranker; InputError where one is not finite: it would have a place in the order of its list."""
    if key not in tensors:
        raise InputError(f"{path}: no scores {key}; {again(path)}")
    if tensors[key].shape != lists.item.shape:
        shapes = f"{tuple(tensors[key].shape)}, the lists {tuple(lists.item.shape)}"
        raise InputError(f"{path}: scores {key} are {shapes}; {again(path)}")
    if not tensors[key].isfinite().all():
        raise InputError(
            f"{path}: scores {key} are not finite, so the file is damaged or the training has diverged; "
            f"{again(path, '--force ')}, with a lower train_ranker.learning_rate if they come out so again"
        )
    return tensors[key]


def read_curves(files: Mapping[str, Path], backbones: Sequence[str]) -> dict[str, dict[str, Any]]:
    """How the training of re-rankers went, by knowledge and backbone: what lies beside their scores, the `files`."""
    found = {}
    for knowledge, path in files.items():
        beside = path.with_name("curves.json")
        verdicts = read_json(beside)
        for backbone in (*backbones, *verdicts):
            verdict = verdicts.get(backbone)
            if not isinstance(verdict, dict) or not isinstance(verdict.get("trained_out"), bool):
                raise InputError(f"{beside}: does not say whether {backbone} was trained out; {again(path)}")
        found[knowledge] = verdicts
    return found


def again(path: Path, force: str = "") -> str:
    """What makes the scores of the run, or of a study, again."""
    of = [stage.format(path.relative_to(top).parts[0]) for top, stage in MADE_BY.items() if path.is_relative_to(top)]
    return f"run `dvc repro {force}{of[0] if of else ''}".rstrip() + "`"


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
