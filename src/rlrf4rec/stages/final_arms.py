"""Stage final_arms (study): the look at final users that asks of them what the study of arms asks.

What it reports is what `evaluate_arms` does under its first protocol, of the kinds that there is knowledge of final
users for (`arms.final`). Every p is adjusted for the number of the look before an answer goes by it, and each of
several questions is answered at its share of 5 %, which bounds a false yes to any of them in any look. As in `final`,
the labels are read last.
"""

from dataclasses import replace
from typing import Any

from rlrf4rec import machine, paths
from rlrf4rec.evaluation import policies
from rlrf4rec.evaluation.blocks import HEADLINE
from rlrf4rec.files import write_csv, write_json
from rlrf4rec.inputs import read_tables
from rlrf4rec.looking import commit, identity, look, looks
from rlrf4rec.params import Arms, Evaluate, TrainRanker
from rlrf4rec.seeds import derive
from rlrf4rec.tables.results import ALPHA
from rlrf4rec.tables.split import FINAL, FINAL_USERS, HISTORY


def run(seed: int, backbones: list[str], train_ranker: TrainRanker, arms: Arms, evaluate: Evaluate) -> str:
    """Compare the arms on the final users; returns the closing line."""
    head = commit.clean(commit.OF_ARMS)
    tables, users = read_tables(), FINAL_USERS.read(paths.FINAL_USERS)
    of_final = replace(tables, users=users, folder=paths.FINAL_SPLIT)
    kinds, protocol = list(arms.final_kinds()), arms.protocols[0]
    unlabelled, history = of_final.candidates(FINAL), HISTORY.read(paths.FINAL_HISTORY)
    files = {policy: {kind: paths.final_arm_scores(policy, kind) for kind in kinds} for policy in arms.policies}
    scores = policies.read_all(files, backbones, train_ranker.seeds, unlabelled)
    trained = policies.trained(policies.files_of(arms, protocol, kinds), backbones, kinds)
    judged = [paths.FINAL_USERS, paths.lists(FINAL, paths.FINAL_SPLIT)]
    judged += [path for of in files.values() for path in of.values()]
    asked = {"seed": seed, "backbones": backbones, "policies": arms.policies, "kinds": sorted(kinds)}
    asked |= {"seeds": train_ranker.seeds, "evaluate": evaluate.model_dump()}
    asked |= {"not_trained_out": trained.short, "not_matched": trained.not_matched}  # an answer rests on these, too
    this = look.written_down(head, users["user"].to_list(), identity.seen(judged, asked, identity.OF_ARMS))
    _, lists = look.labelled(of_final, history, unlabelled)
    own_seed = derive(seed, "evaluate_arms")
    found, values, evaluated = policies.measured(scores, lists, users["user"], kinds, evaluate, own_seed)
    level = ALPHA / max(1, len(policies.questions(kinds)))
    answers = policies.answered(looks.adjusted(found, this.look), len(arms.policies), kinds, trained, level)
    about: dict[str, Any] = {"protocol": protocol, "arithmetic": machine.arithmetic(threads=1)}
    about |= {"final_users": len(evaluated), "final_lists": len(lists)}
    about |= {"level": level, "look": this.look, "commit": this.commit, "users": this.users}
    write_json(paths.metrics("final_arms"), {**about, **answers})
    means = {kind: by[HEADLINE[0]].mean(axis=(1, 2)).tolist() for kind, by in values.items()}
    rows = [{"user": user} | {k: round(v[row], 5) for k, v in means.items()} for row, user in enumerate(evaluated)]
    write_csv(paths.FINAL_ARMS_HEADLINE, rows)
    return f"wrote {paths.metrics('final_arms')}, look {this.look}; {policies.told(answers['lacks'])}"
