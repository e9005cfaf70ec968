"""Stage evaluate_controls (study): metrics and paired differences of all controls, protocol by protocol.

The only reader of development users' labels in the protocols. `popularity` and `first_stage` are orders without a
re-ranker: by the items' counts, and as a first stage ranked them (where the protocol has one).
"""

from typing import Any

from rlrf4rec import paths
from rlrf4rec.evaluation import controls as study
from rlrf4rec.evaluation.lists import read_scores
from rlrf4rec.files import read_json, write_csv, write_json
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
        lists = tables.lists(tables.list_frame("development"))
        files = {name: paths.control(protocol, name) for name in controls}
        scores = read_scores(files, backbones, train_ranker.seeds, ("own", "permuted"), lists)
        orders = study.without_ranker(protocol, lists, tables.item_features().log_popularity)
        found, own_rows = study.report(
            scores, orders, lists, tables.users["user"], backbones, list(controls), evaluate.ks, resamples, own_seed
        )
        verdicts = {name: read_json(path.with_name("curves.json")) for name, path in files.items()}
        trained = {f"{backbone}-{name}": v for name, of in verdicts.items() for backbone, v in of.items()}
        report[protocol] = {**found, "trained_out": trained}
        rows += [{"protocol": protocol, **row} for row in own_rows]
    write_json(paths.CONTROLS, report)
    write_csv(paths.CONTROLS_HEADLINE, rows)
    headline = f"{study.TUNED} - base"
    shown = ", ".join(f"{name} {found['family'][headline]['difference']:+.4f}" for name, found in report.items())
    return f"wrote {paths.CONTROLS}; NDCG@5 of {headline}: {shown}"
