"""The study of arms: names and seeds of its policies, and what its evaluation makes of made-up scores."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from ruamel.yaml import YAML

from rlrf4rec import params, paths
from rlrf4rec.cli import run_stage
from rlrf4rec.errors import ParamsError, RLRFError
from rlrf4rec.evaluation import arms
from rlrf4rec.files import write_json
from rlrf4rec.inputs import Tables, read_tables
from rlrf4rec.metrics.components import planned_effect
from rlrf4rec.seeds import derive
from rlrf4rec.stages import score
from rlrf4rec.tables.interactions import ITEMS
from rlrf4rec.tables.split import CANDIDATES, FOLD_USERS, HISTORY, LISTS, POPULARITY
from rlrf4rec.tables.vectors import save_tensors

ROOT = Path(__file__).parent.parent
USERS, POLICIES, SEEDS = 60, 3, 3
KINDS = ("base", "base_labels", "tuned", "matched", "rule_years", "rule_length", "sft")
KINDS += ("template", "base_template", "tuned_template", "matched_template")
FINAL_ARMS = ["tuned", "matched", "rule_years", "rule_length"]
TEMPLATES = "base_template", "tuned_template", "matched_template"
BROUGHT = {"kl_minus_tuned": {"difference": 0.0, "standard_error": 0.1}, "scale": 0.5, "trained": {"1": {}, "2": {}}}


def test_what_a_study_makes_lies_apart_from_the_run():
    """No output of the run moves; texts, rewards and pairs of several policies lie below the study, in Git."""
    made = [paths.texts, paths.vectors, paths.rewards, paths.pairs, paths.policy]
    assert [place("round1").as_posix() for place in made] == [
        *("data/texts/round1/texts.parquet", "data/encode/round1/vectors.safetensors"),
        *("data/score/round1/rewards.parquet", "data/pair/round1/pairs.parquet", "models/policy/round1"),
    ]
    assert [place("tuned-2").as_posix() for place in made] == [
        *("studies/arms/texts/tuned-2/texts.parquet", "data/arms/encode/tuned-2/vectors.safetensors"),
        *("studies/arms/score/tuned-2/rewards.parquet", "studies/arms/pair/tuned-2/pairs.parquet"),
        "models/arms/policy/tuned-2",
    ]
    assert paths.policy("shuffled").as_posix() == "models/controls/policy/shuffled"
    assert paths.texts("template_shown").as_posix() == "data/controls/texts/template_shown/texts.parquet"
    assert paths.reward_models("tuned-2", "label").as_posix() == "models/arms/train_reward/tuned-2/label.safetensors"
    assert paths.metrics("pair", "tuned-2").as_posix() == "studies/arms/metrics/pair/tuned-2.json"
    assert paths.metrics("pair", "round1").as_posix() == "metrics/pair/round1.json"
    assert paths.plot("score", "tuned-2").as_posix() == "studies/arms/metrics/plots/score/tuned-2.csv"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"policies": [1, 1]}, r"policies: \[1, 1\] names one twice"),
        ({"policies": [0]}, r"arms.policies.0: 0"),
        ({"final": ["tuned", "tunde"]}, r"final: 'tunde' is no arm among kinds"),
        ({"final": ["tuned", "tuned"]}, r"final: \['tuned', 'tuned'\] names one twice, or base"),
        ({"final": ["base"]}, r"final: \['base'\] names one twice, or base, which is compared anyway"),
        ({"final": []}, r"arms.final: \[\]"),
        ({"final": ["tuned_template"]}, r"final: 'tuned_template' is no arm among kinds"),
        ({"tuned": None}, "kinds has no entry tuned"),
        (
            {"tuned": {"text": "tunde"}},
            r"kinds.tuned.text: 'tunde' is neither a place in data nor one of base, tu",
        ),
        (
            {"tuned": {"learners": "train"}},
            "kinds.tuned.learners: train, but tuned writes no texts about the users",
        ),
        (
            {"tuned": {"text": "base"}},
            "kinds.tuned: what is claimed of it is about the texts tuned alone",
        ),
    ],
)
def test_arms_that_do_not_fit_are_refused(change, words):
    content = YAML(typ="safe").load((ROOT / "params.yaml").read_text())
    if "tuned" not in change:
        content["arms"].update(change)
    elif change["tuned"] is None:
        del content["arms"]["kinds"]["tuned"]
    else:
        content["arms"]["kinds"]["tuned"].update(change["tuned"])
    with pytest.raises(ParamsError, match=words):
        params.check(content, Path("params.yaml"))


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Test users with two lists of five items under one protocol, the third item the one that they liked."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    yaml = YAML()
    content = yaml.load((ROOT / "params.yaml").read_text())
    kinds = {name: kind for name, kind in content["arms"]["kinds"].items() if name in KINDS}
    content["arms"].update(protocols=["popularity"], kinds=kinds, policies=[*range(1, POLICIES + 1)], final=FINAL_ARMS)
    content["train_ranker"]["seeds"] = SEEDS
    content["backbones"] = ["prm"]
    content["evaluate"]["bootstrap"] = 1000
    with (tmp_path / "params.yaml").open("w") as file:
        yaml.dump(content, file)
    users = [f"u{number:02}" for number in range(USERS)]
    FOLD_USERS.write(
        pl.DataFrame({"user": users, "fold": "development", "role": "none", "half": "-"}), paths.FOLD_USERS
    )
    names = [str(i) for i in range(6)]
    ITEMS.write(pl.DataFrame({"item": names, "title": names, "year": [1990] * 6, "genres": [""] * 6}), paths.ITEMS)
    POPULARITY.write(pl.DataFrame({"item": names, "count": [1] * 6}), paths.POPULARITY)
    about = {"begins": 2, "activity": 1, "protocol": "popularity"}
    history = [{"user": u, "position": 0, "item": "5", "rating": 5.0, "timestamp": 1} for u in users]
    HISTORY.write(pl.DataFrame(history), paths.HISTORY)
    rows = [
        {"user": u, "list": n, "position": i, "item": str(i), "label": int(i == 2), "real": i == 2, **about}
        for u in users
        for n in range(2)
        for i in range(5)
    ]
    frame = pl.DataFrame(rows)
    folder = paths.protocol("popularity")
    LISTS.write(frame, paths.lists("development", folder))
    CANDIDATES.write(frame.select(pl.exclude("label", "real")), paths.candidates(folder))
    read = read_tables()
    return Tables(read.users, read.items, read.popularity, folder)


def write_movement(not_matched=()):
    """How far the policies have moved, all as far as the tuned one or not."""
    for name in (f"{kind}-{policy}" for kind in arms.CONTROLS[1:] for policy in range(1, POLICIES + 1)):
        kl = 0.1 if name in not_matched else 0.5
        found = {"moved": {"kl": kl}, "moved_tuned": {"kl": 0.5}, "matched": name not in not_matched, **BROUGHT}
        write_json(paths.metrics("match_policy", name), found)


def write_scores(tables, strength, lacking=(), short=None):
    """Scores of re-rankers that know the label as well as `strength` of kind and policy says, noise besides.

    short: the re-ranker that was not trained out, as `sft-3`.
    """
    write_movement()
    lists = tables.lists(tables.list_frame("development"))
    generator = torch.Generator().manual_seed(3)
    taste = torch.randn(USERS, generator=generator)[lists.user][:, None]  # a user is easy or hard for all
    for kind in KINDS:
        for policy in range(1, POLICIES + 1):
            if (kind, policy) in lacking:
                continue
            own = strength(kind, policy) + 0.5 * taste + 0.1 * torch.randn(1, generator=generator)
            made = {
                f"prm/{seed}/own": lists.label * own + torch.randn(lists.label.shape, generator=generator)
                for seed in range(SEEDS)
            }
            path = paths.arm(policy, kind, "popularity")
            save_tensors(path, made, {"lists": lists.identity()})
            write_json(path.with_name("curves.json"), {"prm": {"trained_out": f"{kind}-{policy}" != short}})


def evaluated():
    run_stage("evaluate_arms", [])
    return json.loads(paths.ARMS.read_text())["popularity"]


def around_zero(difference):
    return difference["low"] < 0 < difference["high"]


def test_a_planted_effect_is_found_and_a_planted_null_is_not(place, capsys):
    """Tuned texts help alone, and beside the template nothing does; labels help the re-ranker as much."""
    helped = {"tuned": 1.4, "base_labels": 1.4} | dict.fromkeys(("template", *TEMPLATES), 0.8)
    write_scores(place, lambda kind, policy: helped.get(kind, 0.0), short="base_labels-3")  # no control
    found = evaluated()
    assert (found["development_users"], found["development_lists"], found["not_trained_out"]) == (
        USERS,
        2 * USERS,
        ["prm-base_labels-3"],
    )
    for control in arms.CONTROLS:
        claim = found["family"][f"tuned - {control}"]
        assert claim["low"] > 0.05
        assert claim["p"] <= claim["p_holm"] < 0.05
        assert (claim["users"], claim["policies"], claim["seeds"]) == (USERS, POLICIES, SEEDS)
    assert (found["shown"], found["lacks"]["shown"], found["adds"]) == (True, [], False)
    assert [said.split(":")[0] for said in found["lacks"]["adds"]] == [
        f"not above {name}" for name in ("template", "base_template", "matched_template")
    ]
    assert "; popularity: shown yes, adds no (not above template: " in capsys.readouterr().out
    for name in (f"tuned_template - {other}" for other in ("template", "base_template", "matched_template")):
        assert around_zero(found["family"][name])
        assert found["family"][name]["p_holm"] > 0.05
    differences = {name: by_metric["ndcg@5"] for name, by_metric in found["differences"].items()}
    assert all(around_zero(differences[f"{name} - base"]) for name in ("matched", "rule_years", "rule_length", "sft"))
    assert differences["base_labels - base"]["low"] > 0.05
    assert around_zero(differences["tuned - base_labels"])
    assert "tuned - profile" not in differences  # a kind that was left out


def test_a_gain_that_the_study_can_not_vouch_for_is_not_shown(place, capsys):
    """The gain is as plain as in the test above; but one control's re-ranker would have learned on."""
    write_scores(place, lambda kind, policy: float(kind == "tuned"), short="matched-3")
    found = evaluated()
    assert all(found["family"][f"tuned - {control}"]["low"] > 0.05 for control in arms.CONTROLS)
    assert (found["shown"], found["lacks"]["shown"]) == (False, ["re-rankers of matched not trained out"])
    assert "; popularity: shown no (re-rankers of matched not trained out)" in capsys.readouterr().out


def test_tuning_that_adds_to_the_profile_by_its_feedback_is_told(place):
    """Beside the template tuned texts help, and matched ones do not; alone nothing does."""
    write_scores(place, lambda kind, policy: 1.4 if kind == "tuned_template" else 0.4 * (kind in TEMPLATES))
    found = evaluated()
    assert (found["adds"], found["lacks"]["adds"], found["shown"]) == (True, [], False)


def test_another_use_of_the_feedback_is_no_control_of_it(place):
    """Fine-tuning on the chosen texts helps as much: the feedback is shown, and that DPO is needed for it is not."""
    write_scores(place, lambda kind, policy: float(kind in ("tuned", "sft")), short="sft-2")
    found = evaluated()
    assert found["shown"]
    assert around_zero(found["family"]["tuned - sft"])


def test_what_the_feedback_lacks_to_be_shown_is_told():
    plain = {"difference": 0.02, "low": 0.01, "high": 0.03, "p": 0.01}
    found = {"family": {f"tuned - {name}": plain for name in arms.CONTROLS if name != "rule_length"}}
    assert arms.lacks("shown", found, 2, {"tuned", "base_labels", "sft"}, ["matched-1", "sft-1"]) == [
        *("2 of 3 policies", "re-rankers of tuned not trained out"),
        *("not as far from the LLM as tuned: matched-1", "rule_length left out"),
    ]
    found["family"]["tuned - rule_length"] = {**plain, "low": 0.0}
    found["family"]["tuned - base"] = {**plain, "p": 0.06}  # of the sign flips, where the interval is that of t
    assert arms.lacks("shown", found, 3, (), ()) == [
        *("not above base: +0.0200 [0.0100, 0.0300]", "not above rule_length: +0.0200 [0.0000, 0.0300]"),
    ]
    assert arms.lacks("adds", found, 3, {"tuned"}, ["rule_years-1", "matched-2"]) == [
        "not as far from the LLM as tuned: matched-2",
        *(f"{name} left out" for name in ("template", "base_template", "matched_template")),
    ]


def test_a_study_of_other_sizes_can_be_planned_from_the_file(place):
    """Of as many users, policies and seeds it could find what this one could, where no variance is held at 0."""
    write_scores(place, lambda kind, policy: 0.5)
    for by_metric in evaluated()["differences"].values():
        found = by_metric["ndcg@5"]
        assert set(found["components"]) == {"users", "policies", "users x policies", "seeds", "users x seeds"}
        planned = planned_effect(found["components"], USERS, POLICIES, SEEDS)
        assert planned == pytest.approx(found["mde"]) or min(found["components"].values()) == 0
        assert found["over_lists"]["difference"] == pytest.approx(found["difference"])  # two lists each


def test_users_with_many_lists_count_for_more_by_list():
    """Of two users with one list and three, the second alone gains."""
    of = {"base": np.zeros((2, 3, 2)), "tuned": np.zeros((2, 3, 2))}
    of["tuned"][1] = 1.0
    values = {kind: {"ndcg@5": own} for kind, own in of.items()}
    found = arms.report(values, [1, 3], 100, 0)["differences"]["tuned - base"]["ndcg@5"]
    assert (found["difference"], found["over_lists"]["difference"]) == (0.5, 0.75)


def test_what_a_control_has_too_is_not_the_feedback_s(place):
    """A rule helps as much as the feedback: tuned lies above base, and the claim isn't made."""
    write_scores(place, lambda kind, policy: float(kind in ("tuned", "rule_years")))
    found = evaluated()
    assert found["family"]["tuned - base"]["low"] > 0.05
    assert around_zero(found["family"]["tuned - rule_years"])
    assert not found["shown"]


def test_a_control_that_has_not_moved_as_far_shows_nothing(place):
    """Tuned texts lie above it, and it could be that the control has hardly moved."""
    write_scores(place, lambda kind, policy: float(kind == "tuned"))
    assert evaluated()["shown"]
    write_movement(not_matched=["rule_years-2"])
    found = evaluated()
    assert found["family"]["tuned - rule_years"]["low"] > 0.05
    assert (found["shown"], found["not_matched"]) == (False, ["rule_years-2"])
    how = {"times": 2, "scale": 0.5, "kl_minus_tuned": BROUGHT["kl_minus_tuned"]}
    assert (found["moved"]["rule_years-2"], found["moved"]["tuned-2"]) == ({"kl": 0.1} | how, {"kl": 0.5})
    assert len(found["moved"]) == POLICIES * len(arms.CONTROLS)


def test_nothing_is_found_where_nothing_is(place):
    write_scores(place, lambda kind, policy: 0.5)
    found = evaluated()
    assert all(claim["p_holm"] > 0.05 for claim in found["family"].values())
    assert not found["shown"]


def test_a_gain_of_one_policy_among_three_is_none_of_the_method_s(place):
    """For these users it is plain enough; whether another policy would have it is open."""
    write_scores(place, lambda kind, policy: 2.0 * (kind == "tuned" and policy == 2))
    found = evaluated()
    by_policy = found["kinds"]["tuned"]["ndcg@5"]["policies"]
    assert by_policy[1] - max(by_policy[0], by_policy[2]) > 0.15
    assert around_zero(found["family"]["tuned - base"])
    assert found["family"]["tuned - base"]["difference"] > 0.05


def test_the_table_has_a_row_for_every_arm_policy_and_user(place):
    write_scores(place, lambda kind, policy: 0.5)
    found = evaluated()
    table = pl.read_csv(paths.ARMS_HEADLINE)
    assert table.columns == ["protocol", "arm", "policy", "user", *(f"seed{s}" for s in range(SEEDS))]
    assert table.height == len(KINDS) * POLICIES * USERS == table.select("arm", "policy", "user").unique().height
    seeds = pl.concat_list(pl.exclude("protocol", "arm", "policy", "user")).list.mean()
    means = table.group_by("arm", "policy").agg(seeds.mean().alias("value"))
    for arm, policy, value in means.iter_rows():
        assert found["kinds"][arm]["ndcg@5"]["policies"][policy - 1] == pytest.approx(value, abs=1e-5)


def test_scores_that_are_not_there_or_of_other_lists_are_named(place):
    write_scores(place, lambda kind, policy: 0.5, lacking={("sft", 2)})
    with pytest.raises(RLRFError, match=r"data/arms/train_ranker/2/sft/popularity/scores.safetensors: missing"):
        evaluated()
    save_tensors(paths.arm(2, "sft", "popularity"), {"prm/0/own": torch.zeros(1)}, {"lists": "others"})
    with pytest.raises(RLRFError, match=r"2/sft/popularity/scores.safetensors: scores of other lists than these 120"):
        evaluated()


def test_every_policy_s_texts_are_scored_on_other_users_lists_of_its_own():
    """The run's draw stays what it was; three policies with the same others' lists would share what these add."""
    assert score.seed_of(2026, "round1") == score.seed_of(2026, "round2") == derive(2026, "score")
    assert len({score.seed_of(2026, name) for name in ("round1", "tuned-1", "tuned-2", "tuned-3")}) == 4


def test_a_matched_policy_is_one_of_several(place):
    with pytest.raises(ParamsError, match="matched moves as far as a policy of the study of arms; name one: matched-1"):
        run_stage("match_policy", ["matched"])
    with pytest.raises(ParamsError, match="sft-2 is a policy of the study of arms; match_policy makes it"):
        run_stage("train_policy", ["sft-2"])


def test_a_policy_that_the_params_do_not_have_is_named(place):
    with pytest.raises(ParamsError, match=r"arms.policies: it has no 4; one of 1, 2, 3"):
        run_stage("arm", ["4"])
