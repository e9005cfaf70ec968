"""Orders that no re-ranker made, beside what the re-rankers reached."""

from collections.abc import Mapping
from typing import Any

from rlrf4rec.report import numbers
from rlrf4rec.report.blocks import TableBlock

Json = Mapping[str, Any]
ORDERS = {
    "random": "random order (the mean over all orders)",
    "popularity": "order by popularity",
    "first_stage": "the first stage's order",
    "rated_first": "what the user rated before what they didn't, else random",
    "oracle": "what the user likes first: the most there is",
}
METRICS = {"ndcg@5": "NDCG@5", "map@5": "MAP@5", "kar_map@5": "KAR's MAP@5"}


def table(found: Json) -> list[TableBlock]:
    """What every order reached, as means over users; none where the run has no orders."""
    made = names([found])
    rows = tuple((ORDERS[name], *(reached(found, name, metric) for metric in METRICS)) for name in made)
    caption = "What orders without a re-ranker reach on the development users: a scale for the table above"
    return [TableBlock(caption, ("order", *METRICS.values()), rows)] if rows else []


def rows(runs: list[Json], metric: str) -> list[tuple[str, ...]]:
    """A row for each order that one of the runs has, a column for each run."""
    return [(f"no re-ranker: {ORDERS[name]}", *(reached(run, name, metric) for run in runs)) for name in names(runs)]


def names(runs: list[Json]) -> list[str]:
    """The orders that one of the runs has."""
    return [name for name in ORDERS if any(name in run.get("orders", {}) for run in runs)]


def reached(found: Json, name: str, metric: str) -> str:
    """Mean over users of a metric of an order, as text."""
    return numbers.plain(found.get("orders", {}).get(name, {}).get("over_users", {}).get(metric))
