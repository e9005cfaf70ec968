"""What the study of arms compares under one protocol: every arm has several policies, each with its own re-rankers."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from rlrf4rec.evaluation import blocks, compare
from rlrf4rec.metrics.components import components
from rlrf4rec.metrics.statistics import Array

# The method stands or falls with these; their p is adjusted together. Tuned texts have to beat every control.
CONTROLS = ("base", "matched", "rule_years", "rule_length", "sft")
CLAIMS = [f"tuned - {name}" for name in CONTROLS] + ["tuned_template - template", "tuned_template - base_template"]
# What else is asked of it: is a label better spent on the re-ranker, and is what is free better than what is tuned?
ASIDE = [
    *("matched - base", "rule_years - base", "rule_length - base", "sft - base", "base_labels - base"),
    *("tuned - base_labels", "tuned - template", "tuned - template_shown", "tuned - profile", "tuned - profile_shown"),
    "tuned_template_shown - template_shown",
]

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

    An interval is about new users, policies and re-ranker seeds; with one policy it is about this one. Each difference
    has beside it `over_lists`, the mean over lists, of which each user has as many as `lists` says, and `components`,
    from which a study of other sizes can be planned (`components.planned_effect`).
    """
    kinds = {
        kind: {name: {"mean": float(v.mean()), "policies": v.mean(axis=(0, 2)).tolist()} for name, v in own.items()}
        for kind, own in values.items()
    }
    found = {}
    for pair in CLAIMS + ASIDE:
        a, b = pair.split(" - ")
        if a in values and b in values:
            by_metric = {name: values[a][name] - values[b][name] for name in values[a]}
            found[pair] = {name: _compared(of, lists, resamples, seed) for name, of in by_metric.items()}
    claims = {name: found[name][blocks.HEADLINE[0]] for name in CLAIMS if name in found}
    return {"kinds": kinds, "differences": found, "family": compare.with_holm(claims, CLAIMS)}


def _compared(difference: Array, lists: Sequence[int], resamples: int, seed: int) -> dict[str, Any]:
    return {
        **compare.difference(difference, resamples, seed),
        "over_lists": compare.over_lists(difference, lists, resamples, seed),
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


def lacks(found: Mapping[str, Any], policies: int, short: Collection[str], not_matched: Sequence[str]) -> list[str]:
    """What there lacks for the feedback to be shown, a sentence each; none: it is.

    Tuned has to lie above every control that the study has a claim about, each interval above 0, by `POLICIES` policies
    or more whose re-rankers of these kinds were trained out; and every policy of a control has to have moved as far as
    tuned. short: kinds of which a re-ranker was not trained out; not_matched: policies that have not moved so far.
    """
    said = [] if policies >= POLICIES else [f"{policies} of {POLICIES} policies"]
    said += [f"re-rankers of {kind} not trained out" for kind in ("tuned", *CONTROLS) if kind in short]
    said += [f"not as far from the LLM as tuned: {', '.join(not_matched)}"] if not_matched else []
    for name in CONTROLS:
        claim = found["family"].get(f"tuned - {name}")
        if claim is None:
            said.append(f"{name} left out")
        elif claim["low"] <= 0:
            said.append(f"not above {name}")
    return said
