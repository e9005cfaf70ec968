"""Stage source (study): what is known of a user without an LLM, and what can be chosen among an LLM's texts."""

from rlrf4rec import paths
from rlrf4rec.files import read_json
from rlrf4rec.inputs import read_tables
from rlrf4rec.params import Reward, Split
from rlrf4rec.sources.given import SourceInputs
from rlrf4rec.sources.sources import source
from rlrf4rec.tables import vectors
from rlrf4rec.tables.interactions import INTERACTIONS
from rlrf4rec.tables.split import HISTORY
from rlrf4rec.tables.texts import PROMPTS


def run(seed: int, split: Split, reward: Reward, name: str) -> str:
    """Write the vectors `name`; returns the closing line."""
    found, tables = source(name), read_tables()
    history, prompts = HISTORY.read(paths.HISTORY), PROMPTS.read(paths.PROMPTS)
    interactions, nets = INTERACTIONS.read(paths.INTERACTIONS), paths.reward_models("round1", "label")
    per_second = read_json(paths.metrics("interactions")).get("timestamps_per_second", 1)
    made = found.make(SourceInputs(tables, history, prompts, interactions, nets, split, reward, seed, per_second))
    rows = {"user": tables.users["user"], "item": tables.items["item"]}[found.about]
    vectors.write_texts(paths.source(name), made, rows)
    return f"wrote {paths.source(name)}, {made.shape[2]} numbers for each of {made.shape[0]} {found.about}s"
