"""Stage control (study): what `train_ranker` does, for one of the study's kinds under every protocol."""

from rlrf4rec import paths
from rlrf4rec.inputs import Tables, read_tables
from rlrf4rec.params import TrainRanker
from rlrf4rec.retraining.material import material
from rlrf4rec.retraining.parallel import Settings
from rlrf4rec.retraining.retrain import retrain


def run(
    seed: int,
    backbones: list[str],
    protocols: list[str],
    train_ranker: TrainRanker,
    kind: str,
    text: str,
    beside: str,
    items: str,
) -> str:
    """Train and score; returns the closing line. Seeds and settings are those of the default run."""
    read, settings, closing = read_tables(), Settings.of(train_ranker), []
    for name in protocols:
        tables = Tables(read.users, read.items, read.popularity, paths.protocol(name))
        told = material(tables, text, beside, items)
        made = retrain(kind, told, backbones, train_ranker.seeds, settings, seed, f"control {kind} {name}")
        made.write(paths.control(name, kind))
        closing.append(f"{name}: {made.told()}")
    return f"wrote {paths.control(protocols[0], kind).parent.parent}; {'; '.join(closing)}"
