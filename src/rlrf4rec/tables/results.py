"""What `evaluate` writes: metrics per list and per user, and rewards of the test users' texts."""

import pandera.polars as pa

from rlrf4rec.tables.contract import Table, table
from rlrf4rec.tables.rewards import FINITE
from rlrf4rec.tables.split import FOLDS

UNIT = pa.Check.in_range(0.0, 1.0)


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
    """Mean reward of a policy's texts for one user under the frozen, cross-fitted re-rankers of round 1.

    `personal_ndcg`: NDCG of the user's own texts minus that of another user's texts on the same lists.
    """

    policy: str
    user: str
    fold: str = pa.Field(isin=FOLDS)
    ndcg: float = pa.Field(in_range={"min_value": 0.0, "max_value": 1.0})
    map: float = pa.Field(in_range={"min_value": 0.0, "max_value": 1.0})
    smooth: float = pa.Field(in_range=FINITE)
    personal: float = pa.Field(in_range=FINITE)
    permuted_ndcg: float = pa.Field(in_range={"min_value": 0.0, "max_value": 1.0})
    permuted_smooth: float = pa.Field(in_range=FINITE)

    class Config:
        strict = True
        unique = ["policy", "user"]


POLICY_REWARDS = table(PolicyReward, "evaluate")


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
