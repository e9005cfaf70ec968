"""Protocol retrieved: the best new items of a first stage, in its order; see `lists.retrieval`."""

from typing import Any

import polars as pl

from rlrf4rec.lists import retrieval
from rlrf4rec.lists.given import Made, Make, ProtocolInputs


def protocol(given: ProtocolInputs) -> tuple[Make, dict[str, Any]]:
    """See `lists.given.Protocol`; reports how the first stage was chosen."""
    p, items = given.settings, given.popularity["item"]
    columns = "user", "item", "rating", "timestamp"
    parts = [part.select(columns) for part in (given.history, given.later)]
    interactions = pl.concat(parts).sort("user", maintain_order=True)
    first_stage, chosen = retrieval.choose(
        interactions, given.users, given.history, given.later, items, p.list_length, p.window, p.positive_rating,
        given.seed,
    )  # fmt: skip

    def make(members: pl.DataFrame) -> Made:
        """The lists of these users."""
        later = given.later.join(members, on="user", how="semi", maintain_order="left")
        lists, counted = retrieval.build_retrieved(
            later, given.history, items, first_stage, p.list_length, p.window, p.max_lists, p.positive_rating
        )
        return Made(lists, counted["without_positive"], counted[f"recall{p.list_length}"])

    return make, {"first_stage": chosen}
