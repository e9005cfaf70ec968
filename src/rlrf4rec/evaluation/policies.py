"""What a study of several policies finds of the users of one fold: the same for development users and final ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from torch import Tensor

from rlrf4rec import paths
from rlrf4rec.evaluation import arms as study
from rlrf4rec.evaluation.blocks import HEADLINE
from rlrf4rec.evaluation.lists import RankerKey, by_ranker, by_user, counted, read_curves, read_scores
from rlrf4rec.files import Keyed, read_json
from rlrf4rec.params import Arms, Evaluate
from rlrf4rec.ranking.lists import Lists
from rlrf4rec.tables.results import ALPHA, metric_names

# Pipelines whose `match_policy` brings others to the distance of an arm.
MATCHED_BY = {"tuned": "studies/arms/dvc.yaml", "second": "studies/arms/second/dvc.yaml"}

Files = Mapping[int, Mapping[str, Path]]  # of each policy by kind
Scores = dict[int, dict[RankerKey, Tensor]]


@dataclass(frozen=True)
class Trained:
    """What is known of policies and re-rankers before a label is read.

    moved, not_matched: of `movement`; short: re-rankers that were not trained out, as `backbone-kind-policy`; kinds:
    those of which one wasn't.
    """

    moved: dict[str, Any]
    not_matched: list[str]
    short: list[str]
    kinds: set[str]


def read_all(files: Files, backbones: Sequence[str], seeds: int, lists: Lists) -> Scores:
    """Scores of these lists with the own texts, by policy and re-ranker; see `lists.read_scores`."""
    return {policy: read_scores(of, backbones, seeds, ("own",), lists)["own"] for policy, of in files.items()}


def trained(files: Files, backbones: Sequence[str], kinds: Sequence[str]) -> Trained:
    """Of what gave the scores `files`; kinds: those of which policies are read."""
    short, not_out = [], set()
    for policy, of in files.items():
        for kind, verdicts in read_curves(of, backbones).items():
            found = [b for b, verdict in verdicts.items() if not verdict["trained_out"]]
            short += [f"{b}-{kind}-{policy}" for b in found]
            not_out |= {kind} if found else set()
    moved, not_matched = movement(list(files), kinds)
    return Trained(moved, not_matched, short, not_out)


def measured(
    scores: Scores, lists: Lists, users: pl.Series, kinds: Sequence[str], evaluate: Evaluate, seed: int
) -> tuple[dict[str, Any], study.Values, list[str]]:
    """What `arms.report` says, the values of every kind that it is of, and users in their order.

    lists: with labels; users: whom these number; kinds: those that are compared.
    """
    names = [name for name in HEADLINE if name in metric_names(evaluate.ks)]
    per_policy = [
        study.pooled(by_user(by_ranker(found, lists, users, evaluate.ks), names), names) for found in scores.values()
    ]
    evaluated = per_policy[0]["user"].unique().sort().to_list()
    values = study.stacked(per_policy, kinds, names)
    return study.report(values, counted(lists, users), evaluate.bootstrap, seed), values, evaluated


def questions(kinds: Sequence[str]) -> list[str]:
    """Those of `arms.QUESTIONS` that are asked of these kinds."""
    return [question for question, (own, _) in study.QUESTIONS.items() if own in kinds]


def answered(
    found: Mapping[str, Any], policies: int, kinds: Sequence[str], of: Trained, level: float = ALPHA
) -> dict[str, Any]:
    """The same with the answer to each of `questions`, and with what it rests on.

    found: of `measured`, with every p adjusted for what it has to be: an answer goes by p as it stands there, at
    `level`.
    """
    lacks = {q: study.lacks(q, found, policies, of.kinds, of.not_matched, level) for q in questions(kinds)}
    about = {"not_trained_out": of.short, "moved": of.moved, "not_matched": of.not_matched}
    return {**about, **found, **{q: not said for q, said in lacks.items()}, "lacks": lacks}


def told(lacks: Mapping[str, Sequence[str]]) -> str:
    """The answer to every question that was asked, and what there lacks for a yes."""
    return ", ".join(f"{question} no ({'; '.join(of)})" if of else f"{question} yes" for question, of in lacks.items())


def movement(policies: Sequence[int], kinds: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """How far each policy has moved from the LLM, by name, and those that were to be as far as another and are not.

    Of those that were brought there: how many times their own epochs they were trained, what their update was then
    multiplied by, and KL less that of the other with its error over users, since the match is on these few texts.
    """
    moved: dict[str, Any] = {}
    not_matched: list[str] = []
    for policy in policies:
        for kind, target in ((k, t) for k, t in study.TARGETS.items() if k in kinds):
            path = paths.metrics("match_policy", f"{kind}-{policy}")
            found = Keyed(read_json(path), path, f"run `dvc repro {MATCHED_BY[target]}:match_policy@{kind}-{policy}`")
            longest = max(int(times) for times in found["trained"])
            apart = f"kl_minus_{target}"
            how = {"times": longest, "scale": found["scale"], apart: found[apart]}
            moved |= {f"{target}-{policy}": found[f"moved_{target}"], f"{kind}-{policy}": found["moved"] | how}
            not_matched += [] if found["matched"] else [f"{kind}-{policy}"]
    return moved, not_matched


def files_of(arms: Arms, protocol: str, kinds: Sequence[str]) -> dict[int, dict[str, Path]]:
    """Scores that the study of arms has given to development users' lists, by policy and kind."""
    return {policy: {kind: paths.arm(policy, kind, protocol) for kind in kinds} for policy in arms.policies}
