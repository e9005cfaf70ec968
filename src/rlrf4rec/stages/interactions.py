"""Stage interactions: raw files to interactions, users and items."""

from rlrf4rec import paths
from rlrf4rec.datasets import atomic
from rlrf4rec.files import write_json
from rlrf4rec.params import Interactions
from rlrf4rec.tables.interactions import INTERACTIONS, ITEMS, USERS


def run(interactions: Interactions) -> str:
    """Read the raw files and write the three tables; every row left out is counted in the metrics."""
    raw = atomic.read(paths.RAW, interactions.min_interactions)
    INTERACTIONS.write(raw.interactions, paths.INTERACTIONS)
    USERS.write(raw.users, paths.USERS)
    ITEMS.write(raw.items, paths.ITEMS)
    counts = {"interactions": raw.interactions.height, "users": raw.users.height, "items": raw.items.height}
    write_json(paths.metrics("interactions"), {**counts, **raw.counts})
    return f"wrote {paths.INTERACTIONS.parent}, {raw.interactions.height} interactions of {raw.users.height} users"
