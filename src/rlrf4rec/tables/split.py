"""What the `split` stage writes: folds, histories and candidate lists, and the rules between them."""

from dataclasses import dataclass
from pathlib import Path

import pandera.polars as pa
import polars as pl

from rlrf4rec import paths
from rlrf4rec.tables.contract import Rule, require, table

FOLDS = ["train", "validation", "development"]
FINAL = "final"  # users that no stage of the run reads
EVALUATED = ["development", FINAL]
ROLES = ["tune", "rank", "both", "none"]
HALVES = ["A", "B", "-"]
TUNING = pl.col("role").is_in(["tune", "both"])  # of FoldUser: users whose labels may tune the LLM
RANKING = pl.col("role").is_in(["rank", "both"])  # those whose lists train the evaluated re-rankers
USERS = {  # whose texts a policy writes, by name
    "all": pl.lit(True),
    "evaluated": RANKING | (pl.col("fold") != "train"),  # their texts are read by re-rankers
    "tuning": TUNING | (pl.col("fold") == "validation"),  # theirs by reward models
}


@dataclass(frozen=True)
class ListRules:
    """What the lists of a protocol keep to.

    checked: each has a positive, no item twice, and no drawn item that the user had before; ranked: their order is that
    of a first stage; rated: nothing was drawn, and each has something besides positives.
    """

    checked: bool = True
    ranked: bool = False
    rated: bool = False


PROTOCOLS = {  # by name; `lists.protocols` makes them
    "uniform": ListRules(checked=False),
    "popularity": ListRules(),
    "matched": ListRules(),
    "retrieved": ListRules(ranked=True),
    "rated": ListRules(rated=True),
}
UNCHECKED = [name for name, rules in PROTOCOLS.items() if not rules.checked]
IS_CHECKED = ~pl.col("protocol").is_in(UNCHECKED)
RANKED = [name for name, rules in PROTOCOLS.items() if rules.ranked]
RATED = [name for name, rules in PROTOCOLS.items() if rules.rated]


class FoldUser(pa.DataFrameModel):
    """A user's fold; `role` says what a train user is for, `half` is the cross-fitting half of a tuning user."""

    user: str = pa.Field(unique=True)
    fold: str = pa.Field(isin=FOLDS)
    role: str = pa.Field(isin=ROLES)
    half: str = pa.Field(isin=HALVES)

    class Config:
        strict = True


class FinalUser(FoldUser):
    """A user that is looked at once: of no fold of the run, and nothing tunes, trains or is chosen by it."""

    fold: str = pa.Field(isin=[FINAL])
    role: str = pa.Field(isin=["none"])
    half: str = pa.Field(isin=["-"])

    class Config:
        strict = True


class History(pa.DataFrameModel):
    """An interaction that the LLM may see; `position` 0 is the user's earliest."""

    user: str
    position: int = pa.Field(ge=0)
    item: str
    rating: float
    timestamp: int = pa.Field(ge=0)

    class Config:
        strict = True
        unique = ["user", "item"]


class Candidate(pa.DataFrameModel):
    """One place of one candidate list.

    `real`: the user interacted with the item (else it was drawn or retrieved); `label` 1: real and rated as
    positive. `begins`: time of the list's first real interaction; `activity`: interactions of the user before it.
    `first_stage`: the score of the first stage, only where one ranks the lists.
    """

    user: str
    list: int = pa.Field(ge=0)
    position: int = pa.Field(ge=0)
    item: str
    label: int = pa.Field(isin=[0, 1])
    real: bool
    begins: int = pa.Field(ge=0)
    activity: int = pa.Field(ge=0)
    protocol: str = pa.Field(isin=[*PROTOCOLS])
    first_stage: float | None = pa.Field(in_range={"min_value": -1e300, "max_value": 1e300})

    class Config:
        strict = True
        unique = ["user", "list", "position"]


class Unlabelled(pa.DataFrameModel):
    """A place of an evaluated user's list without its label: all that a re-ranker needs to score it."""

    user: str
    list: int = pa.Field(ge=0)
    position: int = pa.Field(ge=0)
    item: str
    begins: int = pa.Field(ge=0)
    activity: int = pa.Field(ge=0)
    protocol: str = pa.Field(isin=[*PROTOCOLS])
    first_stage: float | None = pa.Field(in_range={"min_value": -1e300, "max_value": 1e300})

    class Config:
        strict = True
        unique = ["user", "list", "position"]


class Popularity(pa.DataFrameModel):
    """Interactions with an item in the histories of train users; every catalogue item has a row."""

    item: str = pa.Field(unique=True)
    count: int = pa.Field(ge=0)

    class Config:
        strict = True


_SPLIT = "run `dvc repro split`; a list is frozen once written and must not be edited"


def _uneven(frame: pl.DataFrame) -> pl.DataFrame:
    sizes = frame.group_by("user", "list", maintain_order=True).agg(pl.len(), pl.col("position").max())
    return sizes.filter((pl.col("len") != pl.col("len").max()) | (pl.col("position") != pl.col("len") - 1))


def _checked(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.filter(IS_CHECKED)


def _rated(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.filter(pl.col("protocol").is_in(RATED))


def _ranked_or_not(frame: pl.DataFrame) -> pl.DataFrame:
    ranked = pl.col("protocol").is_in(RANKED)
    return frame.filter(~ranked if "first_stage" in frame.columns else ranked).select("user", "list", "protocol")


def _rising(frame: pl.DataFrame) -> pl.DataFrame:
    if "first_stage" not in frame.columns:
        return frame.clear()
    rises = pl.col("first_stage").diff().over("user", "list", order_by="position") > 0
    return frame.filter(rises).select("user", "list", "position", "first_stage")


def _lists_without(frame: pl.DataFrame, label: int = 1) -> pl.DataFrame:
    having = frame.group_by("user", "list", maintain_order=True).agg((pl.col("label") == label).sum().alias("having"))
    return having.filter(pl.col("having") == 0).select("user", "list")


def _twice(frame: pl.DataFrame) -> pl.DataFrame:
    keys = ["user", "list", "item"]
    return frame.filter(pl.struct(keys).is_duplicated()).select(keys)


FOLD_USERS = table(
    FoldUser,
    "split",
    Rule(
        "role",
        "only train users tune or rank",
        "run `dvc repro split`",
        lambda f: f.filter((pl.col("fold") == "train") == (pl.col("role") == "none")),
    ),
    Rule(
        "half",
        "tuning users, and only they, have a half",
        "run `dvc repro split`",
        lambda f: f.filter(pl.col("role").is_in(["tune", "both"]) == (pl.col("half") == "-")),
    ),
)
FINAL_USERS = table(FinalUser, "final_split")
HISTORY = table(History, "split")
_OTHERS = f"those of {', '.join(UNCHECKED)}"
_EVEN = Rule("position", "all lists are equally long, positions count from 0", _SPLIT, _uneven)
_OF_A_FIRST_STAGE = (
    Rule(
        "first_stage",
        f"lists of {', '.join(RANKED)}, and no others, have scores of a first stage",
        _SPLIT,
        _ranked_or_not,
    ),
    Rule("first_stage", "the first stage's scores fall with the position", _SPLIT, _rising),
)
LISTS = table(
    Candidate,
    "split",
    _EVEN,
    Rule("label", f"every list has a positive, but for {_OTHERS}", _SPLIT, lambda f: _lists_without(_checked(f))),
    Rule("item", f"no item is twice in a list, but for {_OTHERS}", _SPLIT, lambda f: _twice(_checked(f))),
    Rule("label", "a positive is real", _SPLIT, lambda f: f.filter((pl.col("label") == 1) & ~pl.col("real"))),
    Rule(
        "label", f"a list of {', '.join(RATED)} has more than positives", _SPLIT, lambda f: _lists_without(_rated(f), 0)
    ),
    Rule(
        "real", f"the user rated every item of {', '.join(RATED)}", _SPLIT, lambda f: _rated(f).filter(~pl.col("real"))
    ),
    *_OF_A_FIRST_STAGE,
)
CANDIDATES = table(Unlabelled, "split", _EVEN, *_OF_A_FIRST_STAGE)
POPULARITY = table(Popularity, "split")


def check_fold(lists: pl.DataFrame, users: pl.DataFrame, fold: str, path: Path) -> pl.DataFrame:
    """Return `lists` if every user of it belongs to `fold`; a user of another fold is a leak."""
    strangers = lists.join(users.filter(pl.col("fold") == fold), on="user", how="anti")
    require(
        strangers.select("user", "list", "item").join(users, on="user", how="left"),
        path,
        "user",
        f"only users of the {fold} fold have lists here",
        "labels of another fold would leak; run `dvc repro split`",
    )
    return lists


def check_items(lists: pl.DataFrame, items: pl.DataFrame, path: Path) -> pl.DataFrame:
    """Return `lists` if every candidate is one of the items."""
    unknown = lists.join(items, on="item", how="anti").select("user", "list", "item")
    require(unknown, path, "item", "every candidate is an item of the catalogue", _SPLIT)
    return lists


def check_history(lists: pl.DataFrame, history: pl.DataFrame, path: Path) -> None:
    """History strictly before the lists, and no item of the history in a list (unchecked negatives apart)."""
    ends = history.group_by("user").agg(pl.col("timestamp").max().alias("history_ends"))
    late = lists.join(ends, on="user", how="left")
    require(
        late.filter(pl.col("history_ends").is_null()).select("user", "list"),
        path,
        "user",
        "every user with lists has a history",
        _SPLIT,
    )
    require(
        late.filter(pl.col("begins") <= pl.col("history_ends")).select("user", "list", "begins", "history_ends"),
        path,
        "begins",
        "the history lies strictly before the lists",
        _SPLIT,
    )
    chosen = lists.filter(pl.col("real") | IS_CHECKED)
    seen = chosen.join(history.select("user", "item"), on=["user", "item"], how="semi")
    require(seen.select("user", "list", "item"), path, "item", "no list holds an item of the history", _SPLIT)


def write_lists(fold: str, lists: pl.DataFrame, users: pl.DataFrame, history: pl.DataFrame, folder: Path) -> None:
    """Write the lists of a fold, evaluated users' without labels too, if they keep to all of these rules."""
    path = paths.lists(fold, folder)
    check_fold(lists, users, fold, path)
    check_history(lists, history, path)
    LISTS.write(lists, path)
    if fold in EVALUATED:
        CANDIDATES.write(lists.select(pl.exclude("label", "real")), paths.candidates(folder))


def check_reward_lists(scored: pl.DataFrame, trained: pl.DataFrame, path: Path) -> None:
    """The lists that score a user's texts are none of those that the scoring model was trained on."""
    both = scored.select("user", "list").unique().join(trained.select("user", "list"), on=["user", "list"], how="semi")
    require(
        both,
        path,
        "list",
        "reward lists are disjoint from the lists of the scoring model",
        "a model would reward what it has learned by heart; score each half with the model of the other",
    )
