"""Types of params: numbers in their ranges, choices, and the strict block that all blocks are."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Probability = Annotated[float, Field(gt=0, le=1)]
Share = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0, le=1)]
Dropout = Annotated[float, Field(ge=0, lt=1)]
Decay = Annotated[float, Field(ge=0, le=10)]
Beta = Annotated[float, Field(gt=0, le=10)]
Text = Annotated[str, Field(min_length=1)]
Hash = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Width = Annotated[int, Field(ge=1, le=4096)]
RewardKind = Literal["ndcg", "map", "smooth", "personal"]
Backbone = Literal["dlcm", "prm", "setrank"]  # names of tables: tests/test_names.py says of which
RewardNet = Literal["match", Backbone]
Format = Literal["atomic", "ml-100k", "ml-1m", "ml-10m", "ml-csv", "amazon-2014", "amazon-2018", "amazon-2023", "table"]
DataSet = Literal["given", "ml-100k", "ml-1m"]  # given: as the blocks say; others in `known`
Arithmetic = Literal["auto", "float32", "bfloat16"]  # auto: as `machine` decides
Protocol = Literal["uniform", "popularity", "matched", "retrieved", "rated"]


class Block(BaseModel):
    """Strict and frozen: no unknown keys, no coercion."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
