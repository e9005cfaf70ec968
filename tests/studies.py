"""The stages of the studies, one after the other, in the process that has run the loop."""

import json

import polars as pl
import pytest

from rlrf4rec import paths
from rlrf4rec.cli import run_stage
from rlrf4rec.inputs import Tables, read_tables
from rlrf4rec.looking.scores import scores
from rlrf4rec.params import load
from rlrf4rec.retraining.material import material
from rlrf4rec.seeds import derive
from rlrf4rec.tables.vectors import load_tensors


def run_study():
    """What studies/controls and studies/learning_curve list, but for `probe`, which asks an LLM that can read."""
    params = load()
    for protocol in params.protocols:
        run_stage("protocol", [protocol])
    for kind in {told.text for told in params.controls.values()} | {told.items for told in params.controls.values()}:
        if kind.startswith("controls/encode/") and not kind.endswith("/shuffled"):
            run_stage("source", [kind.rsplit("/", 1)[1]])
    run_stage("train_policy", ["shuffled"])
    run_stage("sample", ["shuffled", "shuffled", "evaluated"])
    run_stage("encode", ["shuffled"])
    for knowledge, inputs in params.controls.items():
        run_stage("control", [knowledge, inputs.text, inputs.beside, inputs.items])
    for stage in ("evaluate_controls", "reliability"):
        run_stage(stage, [])
    run_stage("learning_curve", ["round1"])


def run_arms():
    """What studies/arms lists, but for the rules: whether texts of a random LLM differ by them is chance."""
    arms = load().arms
    for protocol in arms.protocols:
        run_stage("protocol", [protocol])
    for name in ("profile", "profile_shown"):
        run_stage("source", [name])
    run_stage("shown", [])
    run_stage("encode", ["template_shown"])
    for number in arms.policies:
        base, tuned = f"base-{number}", f"tuned-{number}"
        run_stage("sample", [base, "base", "all"])
        run_stage("encode", [base])
        for stage in ("train_reward", "score", "pair"):
            run_stage(stage, [tuned, base])
        run_stage("train_dpo", [tuned, "base"])
        others = [f"{arm}-{number}" for arm in ("matched", "sft")]
        for name in others:
            run_stage("match_policy", [name])
        for name in (tuned, *others):
            run_stage("sample", [name, name, "evaluated"])
            run_stage("encode", [name])
        run_stage("arm", [str(number)])
    run_stage("evaluate_arms", [])
    run_second_round(arms.policies[0])
    as_the_arms_were_told(arms)


def run_final_arms():
    """What studies/final_arms lists, with what it needs of studies/final; the look is of what is committed."""
    arms = load().arms
    for stage in ("final_split", "final_prompt"):
        run_stage(stage, [])
    for number in arms.policies:
        run_stage("sample", [f"final_base-{number}", "base", "final"])
        for arm in arms.final:
            run_stage("sample", [f"final_{arm}-{number}", f"{arm}-{number}", "final"])
        run_stage("final_arm", [str(number)])
    run_stage("final_arms", [])


def kept_weights_and_scores(kind, policy, protocol):
    """Scores of development users' lists that `arm` has written, and those of the weights that it has kept."""
    params, read = load(), read_tables()
    given = params.arms.kinds[kind]
    tables = Tables(read.users, read.items, read.popularity, paths.protocol(protocol))
    known = material(tables, f"arms/encode/{given.text}-{policy}", given.beside, "encode/items", given.learners)
    kept, _ = load_tensors(paths.arm(int(policy), kind, protocol))
    rankers, seed = paths.arm_ranker(int(policy), kind, protocol), derive(params.seed, "arm", policy)
    features, lists, p = known.item_features, known.candidates, params.train_ranker
    again = scores(rankers, features, known.texts, lists, params.backbones, p, seed, "development")
    return {key: values for key, values in kept.items() if not key.endswith("/validation")}, again


def run_second_round(number):
    """What studies/arms/second lists, and a control that is brought as far as the policy that was tuned twice."""
    second, wrote = f"second-{number}", f"tuned_tuning-{number}"
    run_stage("sample", [wrote, f"tuned-{number}", "tuning"])
    run_stage("encode", [wrote])
    for stage in ("train_reward", "score", "pair"):
        run_stage(stage, [second, wrote])
    run_stage("train_dpo", [second, f"tuned-{number}"])
    run_stage("match_policy", [f"matched_second-{number}"])
    of_tuned, of_second = (
        json.loads(paths.metrics("match_policy", f"{name}-{number}").read_text())
        for name in ("matched", "matched_second")
    )
    assert of_second["moved_second"]["kl"] != of_tuned["moved_tuned"]["kl"]
    assert of_second["pairs"] == of_tuned["pairs"]
    exact = of_second["moved"]["kl"] == pytest.approx(of_second["moved_second"]["kl"], rel=0.01)
    assert of_second["matched"] == exact
    assert of_second["kl_minus_second"]["difference"] == pytest.approx(
        of_second["moved"]["kl"] - of_second["moved_second"]["kl"], abs=1e-4
    )


def as_the_arms_were_told(arms):
    """Each policy has texts of its own; what was tuned has moved; all kinds are compared over the policies."""
    told = json.loads(paths.ARMS.read_text())
    assert list(told) == arms.protocols
    for found in told.values():
        assert set(found["kinds"]) == set(arms.kinds)
        assert found["differences"]["tuned - base"]["ndcg@5"]["policies"] == len(arms.policies)
    texts = [pl.read_parquet(paths.texts(name)) for name in ("base", *(f"base-{n}" for n in arms.policies))]
    assert len({tuple(frame["text"]) for frame in texts}) == len(texts)
    assert len({tuple(frame["user"]) for frame in texts}) == 1
    for number in arms.policies:
        moved = {
            name: json.loads(paths.metrics("match_policy", f"{name}-{number}").read_text())
            for name in ("matched", "sft")
        }
        assert len({found["moved_tuned"]["kl"] for found in moved.values()}) == 1
        assert all(found["moved"]["shift"] > 0 for found in moved.values())
        for name, found in moved.items():
            exact = found["moved"]["kl"] == pytest.approx(found["moved_tuned"]["kl"], rel=0.01)
            assert found["matched"] == exact == (found["why_not"] == "")
            last = list(found["trained"].values())[-1]
            assert last["kl"] >= found["moved"]["kl"]
            assert found["matched"] or f"{name}-{number}" in told[arms.protocols[0]]["not_matched"]
        assert moved["matched"]["pairs"] == moved["sft"]["pairs"]
    shown = pl.read_parquet(paths.texts("template_shown"))["text"]
    assert shown.n_unique() > 1
    assert not shown.equals(pl.read_parquet(paths.texts("template"))["text"])
