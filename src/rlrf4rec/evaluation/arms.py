"""What the study of arms compares under one protocol: every arm has several policies, each with its own re-rankers."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from rlrf4rec.evaluation import blocks, compare
from rlrf4rec.metrics.components import components
from rlrf4rec.metrics.statistics import Array
from rlrf4rec.tables.results import ALPHA

# What is asked, by name: the texts of the first have to beat those of each of the others, none of which read feedback.
QUESTIONS = {
    "shown": ("tuned", ("base", "matched", "rule_years", "rule_length")),
    "adds": ("tuned_template", ("template", "base_template", "matched_template")),
    "shown_second": ("second", ("base", "matched_second", "rule_years_second", "rule_length_second")),
    "adds_second": ("second_template", ("template", "base_template", "matched_second_template")),
}
CONTROLS = (*QUESTIONS["shown"][1], "sft")  # `sft` reads the same feedback: is it DPO that one needs for it?
CLAIMS = [f"{own} - {name}" for own, others in QUESTIONS.values() for name in others] + ["tuned - sft"]
# What else is asked of it: is a label better spent on the re-ranker, and is what is free better than what is tuned?
ASIDE = [
    *("matched - base", "rule_years - base", "rule_length - base", "sft - base", "base_labels - base"),
    *("tuned - base_labels", "tuned - template", "tuned - template_shown", "tuned - profile", "tuned - profile_shown"),
    "tuned_template_shown - template_shown",
    *("second - tuned", "second - base_labels", "second - rule_years", "second - rule_length"),
    *("matched_second - base", "rule_years_second - base", "rule_length_second - base"),
    *(f"{new} - {old}" for new in ("several", "ten") for old in ("base", "tuned")),  # of this trial
    *(f"{new}_template - {old}" for new in ("several", "ten") for old in ("template", "tuned_template")),
]
# How much is there to be added to the profile, and does a text add to the items themselves that the history names?
ROOM = ["profile_template - template", "items_mean_template - template", "items_mean - template"]
ROOM += [f"{name}_items_mean - {other}" for name in ("tuned", "second") for other in ("items_mean", "base_items_mean")]

# Whose distance from the LLM the policies of an arm are brought to.
TARGETS = {"matched": "tuned", "rule_years": "tuned", "rule_length": "tuned", "sft": "tuned"}
TARGETS |= {"matched_second": "second", "rule_years_second": "second", "rule_length_second": "second"}

POLICIES = 3  # fewer tell too little of what the next one would give: with two, t is 12.7

Values = dict[str, dict[str, Array]]  # by kind and metric, [users, policies, seeds]


def pooled(per_user: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """The mean over backbones: seed s of every backbone averaged, as one backbone `all`."""
    mean = per_user.group_by("knowledge", "seed", "user", maintain_order=True).agg(pl.col(names).mean())
    return mean.select(pl.lit("all").alias("backbone"), "knowledge", "seed", "user", *names)


def stacked(per_policy: Sequence[pl.DataFrame], kinds: Sequence[str], names: Sequence[str]) -> Values:
    """Metrics `names` of every kind, [users, policies, seeds], users in rising order.

    per_policy: of each policy a frame as of `pooled`; InputError if one lacks a kind's value for a user and seed.
    """
    return {
        kind: {
            name: np.stack([compare.by_user_and_seed(own, "all", kind, name) for own in per_policy], axis=1)
            for name in names
        }
        for kind in kinds
    }


def report(values: Values, lists: Sequence[int], resamples: int, seed: int) -> dict[str, Any]:
    """Means of every kind, differences of those that there are, and claims with p adjusted for all that are asked.

    What is asked of an arm that the study has not is none of them.

    An interval is about new users, policies and re-ranker seeds; with one policy it is about this one. Each difference
    has beside it `over_lists`, the mean over lists, of which each user has as many as `lists` says, `over_policies`,
    its interval by the policies' means alone, where there are several, and `components`, from which a study of other
    sizes can be planned (`components.planned_effect`).
    """
    kinds = {
        kind: {name: {"mean": float(v.mean()), "policies": v.mean(axis=(0, 2)).tolist()} for name, v in own.items()}
        for kind, own in values.items()
    }
    found = {}
    for pair in CLAIMS + ASIDE + ROOM:
        a, b = pair.split(" - ")
        if a in values and b in values:
            by_metric = {name: values[a][name] - values[b][name] for name in values[a]}
            found[pair] = {name: _compared(of, lists, resamples, seed) for name, of in by_metric.items()}
    claims = {name: found[name][blocks.HEADLINE[0]] for name in CLAIMS if name in found}
    of_all = [name for name in CLAIMS if name.partition(" - ")[0] in values]
    return {"kinds": kinds, "differences": found, "family": compare.with_holm(claims, of_all)}


def _compared(difference: Array, lists: Sequence[int], resamples: int, seed: int) -> dict[str, Any]:
    return {
        **compare.difference(difference, resamples, seed),
        "over_lists": compare.over_lists(difference, lists, resamples, seed),
        **({"over_policies": compare.over_policies(difference)} if difference.shape[1] > 1 else {}),
        "components": components(difference),
    }


def rows(values: Values, policies: Sequence[int], users: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of the headline table: arm, policy, user, the headline metric of each seed with five decimals."""
    return [
        {"arm": kind, "policy": policy, "user": user}
        | {f"seed{s}": round(v, 5) for s, v in enumerate(own[blocks.HEADLINE[0]][row, place].tolist())}
        for kind, own in values.items()
        for place, policy in enumerate(policies)
        for row, user in enumerate(users)
    ]


def lacks(
    question: str,
    found: Mapping[str, Any],
    policies: int,
    short: Collection[str],
    not_matched: Sequence[str],
    level: float = ALPHA,
) -> list[str]:
    """What there lacks for one of `QUESTIONS` to be answered with yes, a sentence each; none: it is.

    Each of its claims has to have an interval above 0 and p at most `level`. All of them have to hold together, so p is
    not adjusted for their number (an intersection-union test); what a single claim says by itself goes by Holm's. And
    nothing may lack that is known before, see `lacks_before`.
    """
    asked, others = QUESTIONS[question]
    said = lacks_before(question, policies, short, not_matched)
    for name in others:
        claim = found["family"].get(f"{asked} - {name}")
        if claim is None:
            said.append(f"{name} left out")
        elif not (claim["low"] > 0 and claim["p"] <= level):
            said.append(f"not above {name}: {claim['difference']:+.4f} [{claim['low']:.4f}, {claim['high']:.4f}]")
    return said


def lacks_before(question: str, policies: int, short: Collection[str], not_matched: Sequence[str]) -> list[str]:
    """What of it lacks whatever the labels say.

    There have to be `POLICIES` policies or more, whose re-rankers of these kinds were trained out, and controls that
    have moved as far as its arm. short: kinds of which a re-ranker was not trained out; not_matched: policies that have
    not moved so far.
    """
    asked, others = QUESTIONS[question]
    said = [] if policies >= POLICIES else [f"{policies} of {POLICIES} policies"]
    said += [f"re-rankers of {kind} not trained out" for kind in (asked, *others) if kind in short]
    arms = {name.removesuffix("_template") for name in others}
    apart = [name for name in not_matched if name.rpartition("-")[0] in arms]
    as_far = asked.removesuffix("_template")
    return said + ([f"not as far from the LLM as {as_far}: {', '.join(apart)}"] if apart else [])
