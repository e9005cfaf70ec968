"""Stage evaluate_arms (study): metrics and paired differences of all arms, over users, policies and re-ranker seeds.

The only reader of the protocols' labels of development users in the study of arms.
"""

from typing import Any

from rlrf4rec import paths
from rlrf4rec.evaluation import arms as study
from rlrf4rec.evaluation.blocks import HEADLINE
from rlrf4rec.evaluation.lists import by_ranker, by_user, counted, read_curves, read_scores
from rlrf4rec.files import Keyed, read_json, write_csv, write_json
from rlrf4rec.inputs import Tables, read_tables
from rlrf4rec.params import Arms, Evaluate, TrainRanker
from rlrf4rec.seeds import derive
from rlrf4rec.tables.results import metric_names

# Pipelines whose `match_policy` brings others to the distance of an arm.
MADE_BY = {"tuned": "studies/arms/dvc.yaml", "second": "studies/arms/second/dvc.yaml"}


def run(seed: int, backbones: list[str], train_ranker: TrainRanker, arms: Arms, evaluate: Evaluate) -> str:
    """Write the study's metrics and its headline table; returns the closing line."""
    read, own_seed = read_tables(), derive(seed, "evaluate_arms")
    names = [name for name in HEADLINE if name in metric_names(evaluate.ks)]
    moved, not_matched = _movement(arms)
    questions = [question for question, (own, _) in study.QUESTIONS.items() if own in arms.kinds]
    report: dict[str, Any] = {}
    rows: list[dict[str, Any]] = []
    for protocol in arms.protocols:
        tables = Tables(read.users, read.items, read.popularity, paths.protocol(protocol))
        lists = tables.lists(tables.list_frame("development"))
        per_policy, short, kinds = [], [], set()
        for policy in arms.policies:
            files = {kind: paths.arm(policy, kind, protocol) for kind in arms.kinds}
            scores = read_scores(files, backbones, train_ranker.seeds, ("own",), lists)["own"]
            own = by_user(by_ranker(scores, lists, tables.users["user"], evaluate.ks), names)
            per_policy.append(study.pooled(own, names))
            for kind, verdicts in read_curves(files, backbones).items():
                not_out = [b for b, verdict in verdicts.items() if not verdict["trained_out"]]
                short += [f"{b}-{kind}-{policy}" for b in not_out]
                kinds |= {kind} if not_out else set()
        users = per_policy[0]["user"].unique().sort().to_list()
        values = study.stacked(per_policy, list(arms.kinds), names)
        number = counted(lists, tables.users["user"])
        found = study.report(values, number, evaluate.bootstrap, own_seed)
        about = {"development_users": len(users), "development_lists": len(lists), "not_trained_out": short}
        about |= {"moved": moved, "not_matched": not_matched}
        lacks = {q: study.lacks(q, found, len(arms.policies), kinds, not_matched) for q in questions}
        report[protocol] = {**about, **found, **{q: not of for q, of in lacks.items()}, "lacks": lacks}
        rows += [{"protocol": protocol, **row} for row in study.rows(values, arms.policies, users)]
    write_json(paths.ARMS, report)
    write_csv(paths.ARMS_HEADLINE, rows)
    told = "; ".join(f"{name}: {_told(found['lacks'])}" for name, found in report.items())
    return f"wrote {paths.ARMS}, {len(arms.kinds)} kinds of {len(arms.policies)} policies; {told}"


def _told(lacks: dict[str, list[str]]) -> str:
    """The answer to every question that was asked, and what there lacks for a yes."""
    return ", ".join(f"{question} no ({'; '.join(of)})" if of else f"{question} yes" for question, of in lacks.items())


def _movement(arms: Arms) -> tuple[dict[str, Any], list[str]]:
    """How far each policy has moved from the LLM, by name, and those that were to be as far as another and are not.

    Of those that were brought there: how many times their own epochs they were trained, what their update was then
    multiplied by, and KL less that of the other with its error over users, since the match is on these few texts.
    """
    moved: dict[str, Any] = {}
    not_matched: list[str] = []
    for policy in arms.policies:
        for kind, target in ((k, t) for k, t in study.TARGETS.items() if k in arms.kinds):
            path = paths.metrics("match_policy", f"{kind}-{policy}")
            found = Keyed(read_json(path), path, f"run `dvc repro {MADE_BY[target]}:match_policy@{kind}-{policy}`")
            longest = max(int(times) for times in found["trained"])
            apart = f"kl_minus_{target}"
            how = {"times": longest, "scale": found["scale"], apart: found[apart]}
            moved |= {f"{target}-{policy}": found[f"moved_{target}"], f"{kind}-{policy}": found["moved"] | how}
            not_matched += [] if found["matched"] else [f"{kind}-{policy}"]
    return moved, not_matched
