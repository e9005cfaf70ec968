"""What the `interactions` stage writes."""

from typing import Optional

import pandera.polars as pa
import polars as pl

from rlrf4rec.tables.contract import Rule, table

RATING_RANGE = (-1e6, 1e6)
TEXTS = pl.List(pl.Struct({"name": pl.String, "value": pl.String}))


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
    """A catalogue item; `genres` joined by "|", empty where there is none.

    texts: what the columns of `interactions.columns.texts` say of it, in their order, with null where one says nothing;
    the table has the column only where there are such.
    """

    item: str = pa.Field(unique=True, str_length={"min_value": 1})
    title: str = pa.Field(str_length={"min_value": 1})
    year: int = pa.Field(nullable=True, in_range={"min_value": 1800, "max_value": 2200})
    genres: str
    texts: Optional[TEXTS]  # type: ignore[valid-type]  # noqa: UP045

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
ITEMS = table(
    Item,
    "interactions",
    Rule(
        "texts",
        "all items have texts of the same names, and none that is empty",
        "run `dvc repro interactions`; the file was changed after it was written",
        lambda f: f.filter(_uneven_texts(text_names(f))) if "texts" in f.columns else f.clear(),
    ),
)


def text_names(items: pl.DataFrame) -> list[str]:
    """Names of the texts that the items of a table have."""
    if "texts" not in items.columns or not items.height:
        return []
    return [str(text["name"]) for text in items["texts"][0]]


def _uneven_texts(names: list[str]) -> pl.Expr:
    """Items whose texts have not these names in this order, or an empty value."""
    own = pl.col("texts").list.eval(pl.element().struct.field("name"))
    values = pl.col("texts").list.eval(pl.element().struct.field("value") == "").list.any()
    return pl.col("texts").is_null() | own.list.join("\n", ignore_nulls=False).ne_missing("\n".join(names)) | values
