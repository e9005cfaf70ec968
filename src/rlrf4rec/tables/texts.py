"""Prompts and what is written from them."""

from typing import Any

import pandera.polars as pa
import polars as pl

from rlrf4rec.tables.contract import Rule, table

LOG_PROB = {"min_value": -1e6, "max_value": 0.0}  # nats of a whole text; a finite number
TOKENS = pl.List(pl.Int64)
PARTS = pl.List(pl.Struct({"part": pl.String, "text": pl.String, "token_count": pl.Int64}))
RATINGS = pl.List(
    pl.Struct({"item": pl.String, "title": pl.String, "year": pl.Int64, "genres": pl.String, "liked": pl.Boolean})
)
PROMPT: dict[str, Any] = {  # of a row of prompts
    "user": pl.String,
    "prompt": pl.String,
    "tokens": TOKENS,
    "parts": PARTS,
    "ratings": RATINGS,
}


class PromptRow(pa.DataFrameModel):
    """What the LLM gets for a user, as text and as `tokens` of the LLM's own tokenizer, special ones included.

    parts: texts that make up the prompt, each with its number of tokens: `form` of a chat, few-shot `examples`, the
    user's `own` part, the `end` of a chat's form with the forced beginning of the answer; a prompt has those that are
    not empty. ratings: what the own part shows, in its order, as it is shown.
    """

    user: str = pa.Field(unique=True)
    prompt: str = pa.Field(str_length={"min_value": 1})
    tokens: TOKENS  # type: ignore[valid-type]
    parts: PARTS  # type: ignore[valid-type]
    ratings: RATINGS  # type: ignore[valid-type]

    class Config:
        strict = True


class UserText(pa.DataFrameModel):
    """A text about a user, from a template."""

    user: str
    sample: int = pa.Field(ge=0)
    text: str = pa.Field(str_length={"min_value": 1})

    class Config:
        strict = True
        unique = ["user", "sample"]


class SampledText(UserText):
    """A text of an LLM with all that made it; `tokens` are the sampled ids, the stop token included.

    `log_prob`: of all these tokens under the policy as it is, without temperature, top-k and top-p, in nats; null where
    a server wrote the text.
    """

    policy: str
    tokens: TOKENS  # type: ignore[valid-type]
    token_count: int = pa.Field(ge=1)
    stop: str = pa.Field(isin=["stop", "length"])
    redraws: int = pa.Field(ge=0)
    log_prob: float = pa.Field(in_range=LOG_PROB, nullable=True)
    temperature: float = pa.Field(gt=0)
    top_k: int = pa.Field(ge=0)
    top_p: float = pa.Field(gt=0, le=1)
    max_tokens: int = pa.Field(ge=1)
    seed: int = pa.Field(ge=0)

    class Config:
        strict = True
        unique = ["user", "sample"]


def _blank(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.filter(pl.col("text").str.strip_chars() == "").select("user", "sample", "text")


def _uneven(frame: pl.DataFrame) -> pl.DataFrame:
    counts = frame.group_by("user", maintain_order=True).agg(pl.len().alias("texts"), pl.col("sample").max())
    return counts.filter((pl.col("texts") != pl.col("texts").max()) | (pl.col("sample") != pl.col("texts") - 1))


_NOT_BLANK = Rule("text", "no text is blank", "look at the prompt and at sample.stop; then `dvc repro sample`", _blank)
_EVEN = Rule("sample", "every user has the same number of texts", "run the writing stage again", _uneven)
_COUNT = Rule(
    "token_count",
    "token_count is the number of tokens",
    "run `dvc repro sample`",
    lambda f: f.filter(pl.col("tokens").list.len() != pl.col("token_count")).select("user", "sample", "token_count"),
)


def _fields(column: str, name: str) -> pl.Expr:
    """One field of all structs in the lists of a column."""
    return pl.col(column).list.eval(pl.element().struct.field(name))


_OF_PARTS = Rule(
    "parts",
    "the parts make up the prompt and its tokens",
    "run `dvc repro prompt`",
    lambda f: f.filter(
        _fields("parts", "text").list.join("").ne_missing(pl.col("prompt"))
        | _fields("parts", "token_count").list.sum().ne_missing(pl.col("tokens").list.len().cast(pl.Int64))
    ).select("user", "prompt"),
)
_RATED = Rule(
    "ratings",
    "a prompt shows at least one rating, each with title and liked or not",
    "run `dvc repro prompt`",
    lambda f: f.filter(
        (pl.col("ratings").list.len() == 0)
        | _fields("ratings", "title").list.eval(pl.element().is_null()).list.any()
        | _fields("ratings", "liked").list.eval(pl.element().is_null()).list.any()
    ).select("user"),
)


class ItemText(pa.DataFrameModel):
    """A text about an item, one each."""

    item: str = pa.Field(unique=True)
    sample: int = pa.Field(isin=[0])
    text: str = pa.Field(str_length={"min_value": 1})

    class Config:
        strict = True


PROMPTS = table(PromptRow, "prompt", _OF_PARTS, _RATED)
ITEM_TEXTS = table(ItemText, "knowledge")
TEMPLATES = table(UserText, "prompt", _NOT_BLANK, _EVEN)
TEXTS = table(SampledText, "sample", _NOT_BLANK, _EVEN, _COUNT)
