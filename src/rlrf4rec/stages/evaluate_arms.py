"""Stage evaluate_arms (study): metrics and paired differences of all arms, over users, policies and re-ranker seeds.

The only reader of the protocols' labels of development users in the study of arms.
"""

from typing import Any

from rlrf4rec import paths
from rlrf4rec.evaluation import arms as study
from rlrf4rec.evaluation import policies
from rlrf4rec.files import write_csv, write_json
from rlrf4rec.inputs import Tables, read_tables
from rlrf4rec.params import Arms, Evaluate, TrainRanker
from rlrf4rec.seeds import derive


def run(seed: int, backbones: list[str], train_ranker: TrainRanker, arms: Arms, evaluate: Evaluate) -> str:
    """Write the study's metrics and its headline table; returns the closing line."""
    read, own_seed, kinds = read_tables(), derive(seed, "evaluate_arms"), list(arms.kinds)
    report: dict[str, Any] = {}
    rows: list[dict[str, Any]] = []
    for protocol in arms.protocols:
        tables = Tables(read.users, read.items, read.popularity, paths.protocol(protocol))
        lists = tables.lists(tables.list_frame("development"))
        files = policies.files_of(arms, protocol, kinds)
        scores = policies.read_all(files, backbones, train_ranker.seeds, lists)
        trained = policies.trained(files, backbones, kinds)
        found, values, users = policies.measured(scores, lists, tables.users["user"], kinds, evaluate, own_seed)
        answers = policies.answered(found, len(arms.policies), kinds, trained)
        report[protocol] = {"development_users": len(users), "development_lists": len(lists), **answers}
        rows += [{"protocol": protocol, **row} for row in study.rows(values, arms.policies, users)]
    write_json(paths.ARMS, report)
    write_csv(paths.ARMS_HEADLINE, rows)
    told = "; ".join(f"{name}: {policies.told(found['lacks'])}" for name, found in report.items())
    return f"wrote {paths.ARMS}, {len(kinds)} kinds of {len(arms.policies)} policies; {told}"
