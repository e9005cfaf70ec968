"""Stage train_ranker: re-rankers of all backbones and seeds of one kind; kinds differ in what these are told.

They score the test lists without having seen the labels; `evaluate` alone reads those.
"""

from rlrf4rec import machine, paths
from rlrf4rec.files import write_json
from rlrf4rec.inputs import read_tables
from rlrf4rec.params import TrainRanker
from rlrf4rec.retraining.material import material
from rlrf4rec.retraining.parallel import Settings
from rlrf4rec.retraining.retrain import retrain
from rlrf4rec.tables.vectors import save_tensors


def run(
    seed: int, backbones: list[str], train_ranker: TrainRanker, kind: str, text: str, beside: str, items: str
) -> str:
    """Train and score: `text` and `beside` are told of users, `items` of items; returns the closing line."""
    told = material(read_tables(), text, beside, items)
    settings = Settings.of(train_ranker)
    made = retrain(kind, told, backbones, train_ranker.seeds, settings, seed, f"train_ranker {kind}")
    save_tensors(paths.ranker(kind), made.weights(), {"kind": kind})
    made.write(paths.scores(kind))
    computed = machine.arithmetic(threads=1)
    write_json(paths.metrics("train_ranker", kind), {**made.verdicts(), "arithmetic": computed})
    return f"wrote {paths.ranker(kind)}, {made.told()}; {computed}"
