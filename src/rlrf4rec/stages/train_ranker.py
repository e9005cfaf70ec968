"""Stage train_ranker: re-rankers of all backbones and seeds with one knowledge: what they are given of users and items.

They score the lists of development users without having seen the labels; `evaluate` alone reads those.
"""

from rlrf4rec import machine, paths
from rlrf4rec.files import write_json
from rlrf4rec.inputs import read_tables
from rlrf4rec.params import TrainRanker
from rlrf4rec.retraining.material import material
from rlrf4rec.retraining.parallel import RankerSettings
from rlrf4rec.retraining.retrain import retrain
from rlrf4rec.tables.vectors import save_tensors


def run(
    seed: int, backbones: list[str], train_ranker: TrainRanker, name: str, text: str, beside: str, items: str
) -> str:
    """Train and score: `text` and `beside` are vectors of users, `items` of items; returns the closing line."""
    inputs = material(read_tables(), text, beside, items)
    settings = RankerSettings.of(train_ranker)
    made = retrain(name, inputs, backbones, train_ranker.seeds, settings, seed, f"train_ranker {name}")
    save_tensors(paths.ranker(name), made.weights(), {"kind": name})
    made.write(paths.scores(name))
    computed = machine.arithmetic(threads=1)
    write_json(paths.metrics("train_ranker", name), {**made.verdicts(), "arithmetic": computed})
    return f"wrote {paths.ranker(name)}, {made.summary()}; {computed}"
