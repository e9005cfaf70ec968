"""Stage control (study): what `train_ranker` does, for one knowledge of the study under every protocol."""

from rlrf4rec import paths
from rlrf4rec.inputs import Tables, read_tables
from rlrf4rec.params import TrainRanker
from rlrf4rec.retraining.material import material
from rlrf4rec.retraining.parallel import RankerSettings
from rlrf4rec.retraining.retrain import retrain


def run(
    seed: int,
    backbones: list[str],
    protocols: list[str],
    train_ranker: TrainRanker,
    name: str,
    text: str,
    beside: str,
    items: str,
) -> str:
    """Train and score; returns the closing line. Seeds and settings are those of the default run."""
    read, settings, closing = read_tables(), RankerSettings.of(train_ranker), []
    for protocol in protocols:
        tables = Tables(read.users, read.items, read.popularity, paths.protocol(protocol))
        inputs = material(tables, text, beside, items)
        made = retrain(name, inputs, backbones, train_ranker.seeds, settings, seed, f"control {name} {protocol}")
        made.write(paths.control(protocol, name))
        closing.append(f"{protocol}: {made.summary()}")
    return f"wrote {paths.control(protocols[0], name).parent.parent}; {'; '.join(closing)}"
