"""What the `interactions` stage writes."""

import pandera.polars as pa
import polars as pl

from rlrf4rec.tables.contract import Rule, table

RATING_RANGE = (-1e6, 1e6)


class Interaction(pa.DataFrameModel):
    """One rating of one item by one user.

    timestamp: seconds since 1970; where times have fractions, parts of a second (`timestamps_per_second` of the
    metrics). Rows of a user are in the order of time, those of one time in that of the files.
    """

    user: str = pa.Field(str_length={"min_value": 1})
    item: str = pa.Field(str_length={"min_value": 1})
    rating: float = pa.Field(in_range={"min_value": RATING_RANGE[0], "max_value": RATING_RANGE[1]})
    timestamp: int = pa.Field(ge=0)

    class Config:
        strict = True
        unique = ["user", "item"]


class User(pa.DataFrameModel):
    """A user that has interactions."""

    user: str = pa.Field(unique=True, str_length={"min_value": 1})
    interactions: int = pa.Field(ge=1)

    class Config:
        strict = True


class Item(pa.DataFrameModel):
    """A catalogue item; `genres` joined by "|", empty where there is none."""

    item: str = pa.Field(unique=True, str_length={"min_value": 1})
    title: str = pa.Field(str_length={"min_value": 1})
    year: int = pa.Field(nullable=True, in_range={"min_value": 1800, "max_value": 2200})
    genres: str

    class Config:
        strict = True


INTERACTIONS = table(
    Interaction,
    "interactions",
    Rule(
        "timestamp",
        "interactions are ordered by user, then time",
        "run `dvc repro interactions`; the file was changed after it was written",
        lambda f: f.filter((pl.col("user") == pl.col("user").shift(1)) & (pl.col("timestamp").diff() < 0)),
    ),
)
USERS = table(User, "interactions")
ITEMS = table(Item, "interactions")
