"""Rewards of texts and the preference pairs made of them."""

from collections.abc import Iterable
from pathlib import Path

import pandera.polars as pa
import polars as pl

from rlrf4rec.errors import InputError
from rlrf4rec.tables.contract import Rule, Table, require, table
from rlrf4rec.tables.split import FOLDS

FINITE = {"min_value": -1e9, "max_value": 1e9}
KINDS = {  # of rewards, as `reward.kinds` has them: the columns of their values, and what they range in
    "ndcg": (0.0, 1.0),
    "map": (0.0, 1.0),
    "smooth": (-1e9, 1e9),
    "personal": (-1e9, 1e9),
}
LOG_PROB = {"min_value": -1e6, "max_value": 0.0}  # nats of a whole text; a finite number


def kind_columns(names: Iterable[str] = KINDS, prefix: str = "") -> dict[str, pa.Column]:
    """Columns of the contract for values of these kinds."""
    return {f"{prefix}{name}": pa.Column(float, pa.Check.in_range(*KINDS[name])) for name in names}


class RewardRow(pa.DataFrameModel):
    """Reward of one text under models that did not train on its user: a column a kind; `reward` is the kind in use.

    `judged`: that kind by the models that judge, which make no pairs.
    """

    user: str
    sample: int = pa.Field(ge=0)
    fold: str = pa.Field(isin=FOLDS)
    lists: int = pa.Field(ge=1)
    reward: float = pa.Field(in_range=FINITE)
    judged: float = pa.Field(in_range=FINITE)

    class Config:
        strict = True
        unique = ["user", "sample"]


class PairRow(pa.DataFrameModel):
    """A user's best and worst text, second best and second worst, ...; without the prompt, see `prompts.parquet`.

    A prompt shows what the user rated.
    """

    user: str
    half: str = pa.Field(isin=["A", "B"])
    chosen_sample: int = pa.Field(ge=0)
    rejected_sample: int = pa.Field(ge=0)
    chosen: str = pa.Field(str_length={"min_value": 1})
    rejected: str = pa.Field(str_length={"min_value": 1})
    chosen_tokens: pl.List(pl.Int64)  # type: ignore[valid-type]
    rejected_tokens: pl.List(pl.Int64)  # type: ignore[valid-type]
    chosen_log_prob: float = pa.Field(in_range=LOG_PROB)
    rejected_log_prob: float = pa.Field(in_range=LOG_PROB)
    chosen_reward: float = pa.Field(in_range=FINITE)
    rejected_reward: float = pa.Field(in_range=FINITE)
    gap: float = pa.Field(gt=0)
    judged_gap: float = pa.Field(in_range=FINITE)

    class Config:
        strict = True
        unique = ["user", "chosen_sample"]


class Skipped(pa.DataFrameModel):
    """A tuning user without a pair, and why."""

    user: str = pa.Field(unique=True)
    reason: str = pa.Field(
        isin=["all rewards equal", "best and worst text equal", "gap below min_gap", "beyond max_pairs"]
    )

    class Config:
        strict = True


REWARDS = Table(
    RewardRow.to_schema().add_columns(kind_columns()),
    "score",
    (
        Rule(
            "fold",
            "no development user is rewarded",
            "development users are read by evaluate alone; run `dvc repro score`",
            lambda f: f.filter(pl.col("fold") == "development"),
        ),
    ),
)
PAIRS = table(
    PairRow,
    "pair",
    Rule(
        "rejected_sample",
        "of a user's texts each is rejected at most once",
        "run `dvc repro pair`",
        lambda f: f.filter(pl.struct("user", "rejected_sample").is_duplicated()).select("user", "rejected_sample"),
    ),
    Rule(
        "chosen",
        "no text of a user is chosen and rejected",
        "run `dvc repro pair`",
        lambda f: f.join(f, left_on=["user", "chosen"], right_on=["user", "rejected"], how="semi").select(
            "user", "chosen"
        ),
    ),
    Rule(
        "chosen_reward",
        "chosen reward > rejected reward",
        "run `dvc repro pair`",
        lambda f: f.filter(pl.col("chosen_reward") <= pl.col("rejected_reward")).select(
            "user", "chosen_reward", "rejected_reward"
        ),
    ),
    Rule(
        "chosen_tokens",
        "chosen and rejected differ and have tokens",
        "run `dvc repro pair`",
        lambda f: f.filter(
            (pl.col("chosen_tokens") == pl.col("rejected_tokens"))
            | (pl.col("chosen_tokens").list.len() == 0)
            | (pl.col("rejected_tokens").list.len() == 0)
        ).select("user", "chosen", "rejected"),
    ),
)
SKIPPED = table(Skipped, "pair")


def check_tuning_users(frame: pl.DataFrame, users: pl.DataFrame, path: Path) -> None:
    """Only tuning users (train fold) reach DPO."""
    tuning = users.filter((pl.col("fold") == "train") & pl.col("role").is_in(["tune", "both"]))
    leaked = frame.select("user").join(tuning, on="user", how="anti").join(users, on="user", how="left")
    require(leaked, path, "user", "only train users that tune the LLM are here", "run `dvc repro split pair`")


def read_pairs(path: Path, users: pl.DataFrame) -> pl.DataFrame:
    """The pairs that a policy is tuned on, all of tuning users of `users`; InputError when there is none."""
    frame = PAIRS.read(path)
    if not frame.height:
        raise InputError(f"{path}: no pair; run `dvc repro pair`")
    check_tuning_users(frame, users, path)
    return frame


def check_pair_sources(pairs: pl.DataFrame, path: Path) -> None:
    """Both cross-fitting halves give at least one pair."""
    found = set(pairs["half"].to_list())
    missing = pl.DataFrame({"half": [h for h in ("A", "B") if h not in found]}, schema={"half": pl.String})
    require(
        missing,
        path,
        "half",
        "each half gives at least one pair",
        "no user of this half has texts with different rewards: raise sample.n or split.max_lists, "
        "lower pair.min_gap, or choose reward.kind: smooth",
    )


class TrainedList(pa.DataFrameModel):
    """A list that the reward models of a half were trained on."""

    half: str = pa.Field(isin=["A", "B"])
    user: str
    list: int = pa.Field(ge=0)

    class Config:
        strict = True
        unique = ["half", "user", "list"]


TRAINED_LISTS = table(TrainedList, "train_reward")
