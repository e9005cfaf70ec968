"""Stage evaluate_controls (study): metrics and paired differences of all controls, protocol by protocol.

The only reader of development users' labels in the protocols. `orders` has what no re-ranker made, see
`evaluation.orders`.
"""

from typing import Any

from rlrf4rec import paths
from rlrf4rec.evaluation import blocks, orders
from rlrf4rec.evaluation import controls as study
from rlrf4rec.evaluation.lists import read_curves, read_scores
from rlrf4rec.files import write_csv, write_json
from rlrf4rec.inputs import Tables, read_tables
from rlrf4rec.params import Evaluate, RankerInputs, TrainRanker
from rlrf4rec.seeds import derive


def run(
    seed: int,
    backbones: list[str],
    protocols: list[str],
    train_ranker: TrainRanker,
    controls: dict[str, RankerInputs],
    evaluate: Evaluate,
) -> str:
    """Write the study's metrics and its headline table; returns the closing line."""
    read, own_seed, resamples = read_tables(), derive(seed, "evaluate_controls"), evaluate.bootstrap
    report: dict[str, Any] = {}
    rows: list[dict[str, Any]] = []
    for protocol in protocols:
        tables = Tables(read.users, read.items, read.popularity, paths.protocol(protocol))
        frame = tables.list_frame("development")
        lists = tables.lists(frame)
        files = {name: paths.control(protocol, name) for name in controls}
        scores = read_scores(files, backbones, train_ranker.seeds, ("own", "permuted"), lists)
        users, popularity = tables.users["user"], tables.item_features().log_popularity
        made = orders.report(frame, lists, users, popularity, evaluate.ks)
        found, own_rows = study.report(
            scores, made, lists, users, backbones, list(controls), evaluate.ks, resamples, own_seed
        )
        verdicts = read_curves(files, backbones)
        trained = {f"{backbone}-{name}": v for name, of in verdicts.items() for backbone, v in of.items()}
        report[protocol] = {**found, "rankers": _lean(found["rankers"]), "trained_out": trained}
        rows += [{"protocol": protocol, **row} for row in own_rows]
    write_json(paths.CONTROLS, report)
    write_csv(paths.CONTROLS_HEADLINE, rows)
    headline = f"{study.TUNED} - base"
    shown = ", ".join(f"{name} {found['family'][headline]['difference']:+.4f}" for name, found in report.items())
    return f"wrote {paths.CONTROLS}; NDCG@5 of {headline}: {shown}"


def _lean(rankers: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Single seeds of the headline metrics alone: those of all metrics make a file that is too large for Git."""
    return {
        ranker: {name: of if name in blocks.HEADLINE else {"mean": of["mean"]} for name, of in by_metric.items()}
        for ranker, by_metric in rankers.items()
    }
