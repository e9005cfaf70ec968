"""What `evaluate` writes: metrics per list and per user, rewards of their texts, and when a gain is one."""

from collections.abc import Mapping
from typing import Any

import pandera.polars as pa

from rlrf4rec.tables.contract import Table, table
from rlrf4rec.tables.rewards import kind_columns
from rlrf4rec.tables.split import FOLDS

UNIT = pa.Check.in_range(0.0, 1.0)
PERMUTED = ("ndcg", "smooth")  # kinds of rewards that permuted texts are scored by


ALPHA = 0.05


def shows_gain(difference: Mapping[str, Any]) -> bool:
    """Interval above zero, and p at most 0.05: Holm's p where there is one."""
    return bool(difference["low"] > 0 and difference.get("p_holm", difference.get("p", 0.0)) <= ALPHA)


def metric_names(ks: list[int]) -> list[str]:
    """Column names of the ranking metrics, `name@k`."""
    return [f"{name}@{k}" for k in ks for name in ("ndcg", "map", "kar_map", "hr", "mrr")]


def metrics_table(ks: list[int], per_list: bool) -> Table:
    """Contract of metrics by re-ranker and list (or user: means over the user's lists)."""
    keys = ["backbone", "knowledge", "seed", "user", *(["list"] if per_list else [])]
    types = {"seed": int, "list": int}
    columns = {key: pa.Column(types.get(key, str)) for key in keys}
    columns |= {name: pa.Column(float, UNIT) for name in metric_names(ks)}
    return Table(pa.DataFrameSchema(columns, strict=True, unique=keys), "evaluate")


class PolicyReward(pa.DataFrameModel):
    """Mean reward of a policy's texts for one user under the frozen, cross-fitted re-rankers of round 1, by their seed.

    `duty`: whether they labelled the pairs or judge. A column a kind, and `permuted_KIND` of the kinds of `PERMUTED`:
    that of another user's texts on the same lists.
    """

    policy: str
    duty: str = pa.Field(isin=["label", "judge"])
    seed: int = pa.Field(ge=0)
    user: str
    fold: str = pa.Field(isin=FOLDS)

    class Config:
        strict = True
        unique = ["policy", "duty", "seed", "user"]


POLICY_REWARDS = Table(
    PolicyReward.to_schema().add_columns(kind_columns() | kind_columns(PERMUTED, "permuted_")), "evaluate"
)


class Example(pa.DataFrameModel):
    """A place of a validation user's list, and its rank (1 = best) by re-rankers with base and with tuned texts."""

    user: str
    list: int = pa.Field(ge=0)
    position: int = pa.Field(ge=0)
    item: str
    label: int = pa.Field(isin=[0, 1])
    rank_base: int = pa.Field(ge=1)
    rank_tuned: int = pa.Field(ge=1)

    class Config:
        strict = True


EXAMPLES = table(Example, "evaluate")
