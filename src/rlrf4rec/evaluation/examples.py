"""Lists of some users before and after: what the page shows of single people."""

from collections.abc import Sequence

import polars as pl
import torch
from torch import Tensor

from rlrf4rec.inputs import Tables

SHOWN_USERS = 10


def examples(tables: Tables, before: Sequence[Tensor], after: Sequence[Tensor]) -> pl.DataFrame:
    """The first list of each of ten validation users as re-rankers order it: `tables.results.Example`.

    before, after: scores [L, C] of each seed on the validation lists, with base and with tuned texts; their softmax is
    averaged over seeds.
    """
    frame = tables.list_frame("validation").sort("user", "list", "position")
    lists = tables.lists(frame)
    shown = frame.filter(pl.col("list") == 0)["user"].unique().sort().head(SHOWN_USERS)
    rows = torch.tensor(tables.rows(pl.col("user").is_in(shown.to_list())))
    chosen = torch.isin(lists.user, rows) & (lists.number == 0)
    columns = {}
    for name, of_seeds in (("rank_base", before), ("rank_tuned", after)):
        order = torch.stack([values[chosen].softmax(-1) for values in of_seeds]).mean(0)
        order = order.argsort(dim=-1, descending=True, stable=True)
        columns[name] = (order.argsort(dim=-1) + 1).flatten().numpy()
    frame = frame.filter(pl.col("list") == 0, pl.col("user").is_in(shown.to_list()))
    return frame.select("user", "list", "position", "item", "label").with_columns(
        **{name: pl.Series(ranks, dtype=pl.Int64) for name, ranks in columns.items()}
    )
