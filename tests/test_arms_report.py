"""The report on arms: all of them in pictures, what they cost beside what they gained, and whether searches paid."""

import itertools
import json
import re

import pytest
from made_up_run import ROOT, effect, evaluated, run_stage, write_json, write_run

from rlrf4rec import cost, paths
from rlrf4rec.files import contents, dvc_hash
from rlrf4rec.params import load
from rlrf4rec.report import arms, numbers, searches, worth
from rlrf4rec.report.blocks import Figures, Note, TableBlock
from rlrf4rec.revisions.dag import Stage
from rlrf4rec.stages import report


def figures(section):
    return [f for block in section.blocks if isinstance(block, Figures) for f in block.figures]


def test_arms_that_were_not_run_say_how():
    (note,) = arms.arms(None, None).blocks
    assert "`make study` runs them" in note.text


def test_controls_are_drawn_against_base_and_constant():
    drawn = figures(arms.arms({"uniform": evaluated()}, None))
    assert [f.caption for f in drawn] == [
        "NDCG@5, uniform: every arm minus base (the untuned LLM's texts); one policy each",
        "NDCG@5, uniform: every arm minus constant (nothing about the user); one policy each",
    ]
    labels = re.findall(r'class="label"[^>]*>([^<]+)<', str(drawn[0].svg))
    assert labels == ["constant", "template", "round1", "shuffled", "round1_template"]
    assert "Interval above zero: template, round1_template." in str(drawn[0].svg)


def test_arms_of_several_policies_are_drawn_as_they_were_compared():
    differences = {
        "tuned - matched": {"ndcg@5": effect(0.01, 0.005, policies=3), "map@5": effect(9.0, 0.005, policies=3)},
        "tuned - rule_years": {"ndcg@5": effect(-0.01, 0.005, policies=3)},
    }
    (drawn,) = figures(arms.arms(None, {"rated": {"differences": differences}}))
    assert drawn.caption == "NDCG@5, rated: arms against each other; 3 policies each"
    assert f"tuned - matched +0.0100, tuned - rule_years {numbers.MINUS}0.0100." in str(drawn.svg)
    assert "Interval above zero: tuned - matched." in str(drawn.svg)


def test_arms_of_another_run_are_called_so():
    found = {"rated": {"differences": {"tuned - base": {"ndcg@5": effect(0.0, 0.01, policies=3)}}}}
    said = [b.text for b in arms.arms({"uniform": evaluated()}, found, ["arms"]).blocks if isinstance(b, Note)]
    assert [text for text in said if "is of other users" in text] == [
        "The study of arms is of other users or other lists than this run: hold its arms against each other, not "
        "against this run. `make arms` makes it anew."
    ]
    both = arms.arms({"uniform": evaluated()}, found, ["controls", "arms"]).blocks
    assert sum("is of other users" in b.text for b in both if isinstance(b, Note)) == 2


@pytest.mark.parametrize(
    ("people", "lists", "older"),
    [("same", "same", False), ("other", "same", True), ("same", "other", True), ("none", "none", False)],
)
def test_the_arms_lock_tells_whether_they_are_of_this_run(tmp_path, monkeypatch, people, lists, older):
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path)
    write_json(paths.ARMS, {"rated": {"differences": {"tuned - base": {"ndcg@5": effect(0.0, 0.01, policies=4)}}}})
    lock = ""
    for said, place in ((people, report.PEOPLE), (lists, report.LISTS)):
        (tmp_path / place).mkdir(exist_ok=True)
        (tmp_path / place / "users.parquet").write_bytes(b"of this run")
        md5 = dvc_hash(contents(place)) if said == "same" else f"{'0' * 32}.dir"
        lock += f"    - path: {place}\n      hash: md5\n      md5: {md5}\n" if said != "none" else ""
    report.LOCKS["arms"].write_text(f"stages:\n  score@1:\n    deps:\n{lock}")
    run_stage()
    page = (tmp_path / "data/report/index.html").read_text()
    assert ("The study of arms is of other users or other lists than this run" in page) == older


def test_whether_the_feedback_is_shown_stands_beside_the_arms():
    by_list = {"difference": 0.02, "low": 0.0, "high": 0.03}
    by_policy = {"difference": 0.01, "low": -0.01, "high": 0.04}
    claim = effect(0.01, 0.005, policies=3, p_holm=0.01, over_lists=by_list, over_policies=by_policy)
    found = {"differences": {"tuned - base": {"ndcg@5": claim}}, "family": {"tuned - base": claim}}
    lacks = {"shown": ["2 of 3 policies", "base left out"], "adds": ["template left out"]}
    lacking = {**found, "shown": False, "adds": False, "lacks": lacks}
    plain = {**found, "shown": True, "adds": True, "lacks": {"shown": [], "adds": []}}
    blocks = arms.arms(None, {"popularity": lacking, "rated": plain}).blocks
    said = [(b.text, b.tone) for b in blocks if isinstance(b, Note)][1:-1]
    shown, adds = (arms.ANSWERS[question][0] for question in ("shown", "adds"))
    assert said == [
        ("popularity: the feedback is not shown (2 of 3 policies; base left out).", "null"),
        ("popularity: it is not shown to add to the profile (template left out).", "null"),
        (f"rated (secondary): {shown}.", "plain"),
        (f"rated (secondary): {adds}.", "plain"),
    ]
    first = [(b.text, b.tone) for b in arms.arms(None, {"popularity": plain}).blocks if isinstance(b, Note)][1:-1]
    assert first == [(f"popularity: {shown}.", "gain"), (f"popularity: {adds}.", "gain")]
    (table,) = (b for b in blocks if isinstance(b, TableBlock))
    assert [row[:2] for row in table.rows] == [("tuned - base", "popularity"), ("tuned - base", "rated")]
    assert table.columns[2:6] == ("difference", "95 % interval", "by policies' means alone", "as a mean over lists")
    own = ("+0.0100", "[+0.0050, +0.0150]", "[\u22120.0100, +0.0400]", "+0.0200 [0.0000, +0.0300]")
    assert (table.rows[0][2:6], table.rows[0][-1]) == (own, "3")


def test_how_far_each_policy_has_moved_stands_on_the_page_once():
    of_tuned = {"kl": 8.1536, "kl_standard_error": 0.66, "shift": 12.345, "shift_standard_error": 1.5}
    how = {"times": 4, "scale": 0.3712, "kl_minus_tuned": {"difference": 0.01, "standard_error": 0.9}}
    moved = {"tuned-1": of_tuned, "matched-1": of_tuned | how}
    found = {"differences": {"tuned - base": {"ndcg@5": effect(0.0, 0.01, policies=3)}}, "moved": moved}
    blocks = arms.arms(None, {"rated": found, "popularity": found}).blocks
    (table,) = (b for b in blocks if isinstance(b, TableBlock))
    assert table.rows == (
        ("matched-1", "8.154 ± 0.660", "12.35 ± 1.50", "± 0.900", "4", "0.371"),
        ("tuned-1", "8.154 ± 0.660", "12.35 ± 1.50", *3 * [numbers.DASH]),
    )


def test_every_arm_of_the_study_is_explained():
    """Each kind of params.yaml in words, not by its name alone."""
    kinds = load(ROOT / "params.yaml").arms.kinds
    differences = {"tuned - base": {"ndcg@5": effect(0.0, 0.01, policies=3)}}
    blocks = arms.arms(None, {"rated": {"differences": differences, "kinds": {kind: {} for kind in kinds}}}).blocks
    (glossary,) = (b for b in blocks if isinstance(b, TableBlock))
    assert [name for name, _ in glossary.rows] == list(kinds)
    assert all(len(said.split()) > 3 for _, said in glossary.rows)
    assert dict(glossary.rows)["base_template"] == "texts of the untuned LLM, beside the profile text"


def test_the_page_has_the_arms_of_both_studies(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path)
    write_json(paths.CONTROLS, {"uniform": evaluated()})
    write_json(paths.ARMS, {"rated": {"differences": {"tuned - base": {"ndcg@5": effect(0.0, 0.01, policies=4)}}}})
    for stage, content in SEARCHED.items():
        write_json(paths.metrics(stage), content)
    run_stage()
    page = (tmp_path / "data/report/index.html").read_text()
    assert "rated: arms against each other; 4 policies each" in page
    assert "uniform: every arm minus base" in page
    assert "Built-in hyperparameters against searched ones" in page
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


# Searches

SEARCHED = {
    "tune_reward": {
        "validation_personal_part": 0.0607,
        "trials": 6,
        "default": {"validation_personal_part": 0.0591, "learning_rate": 0.001, "width": 64, "epochs": 41},
        "learning_rate": 0.002,
        "width": 32,
        "epochs": 38,
    },
    "tune_dpo": {"heldout_reward_gain": 0.016, "trials": 2, "default": None, "beta": 0.1},
}


def test_built_in_values_stand_beside_the_best():
    note, found = searches.table(SEARCHED, {"tune_reward": 32.4})
    assert "the very measure that it chose by, so it is more" in note.text
    assert "built-in values stand with their best epoch, by the same measure in hindsight" in note.text
    assert found.columns[5] == "gained, by the measure it chose by"
    dash = numbers.DASH
    assert [row[1:] for row in found.rows] == [
        (
            *("learning rate 0.001, width 64, epochs 41", "learning rate 0.002, width 32, epochs 38"),
            *("0.0591", "0.0607", "+0.0016", "6", "32"),
        ),
        (dash, "beta 0.1", dash, "0.0160", dash, "2", dash),
    ]
    assert [row[0].split(",")[0] for row in found.rows] == ["reward model", "DPO"]
    _, without = searches.table(SEARCHED)
    assert without.columns == found.columns[:-1]
    assert without.rows[0] == found.rows[0][:-1]


def test_a_search_that_is_off_has_no_row():
    assert searches.table({"tune_dpo": {"heldout_reward_gain": None, "trials": 0, "default": None}}) == []
    assert searches.table({}) == []


# Cost beside gain


def stage(command, deps, outs):
    return Stage(f"rlrf4rec {command}", dict.fromkeys(deps, "x"), dict.fromkeys(outs, "x"), {})


RAN = {
    "interactions": stage("interactions", [], ["data/interactions"]),
    "sample@base": stage("sample base base all", ["data/interactions/items.parquet"], ["data/texts/base"]),
    "encode@base": stage("encode base", ["data/texts/base"], ["data/encode/base"]),
    "train_reward@round1": stage("train_reward round1 base", ["data/encode/base"], ["models/train_reward/round1"]),
    "train_dpo@round1": stage("train_dpo round1", ["models/train_reward/round1/a"], ["models/policy/round1"]),
    "source@years": stage("source years", ["data/interactions", "data/encode/base"], ["data/controls/encode/years"]),
    "source@best_of_n": stage("source best_of_n", ["data/encode/base"], ["data/controls/encode/best_of_n"]),
    "train_ranker@base": stage("train_ranker base encode/base", ["data/encode/base"], ["models/train_ranker/base"]),
    "train_ranker@round1": stage("train_ranker round1", ["models/policy/round1"], ["models/train_ranker/round1"]),
    "control@years": stage("control years", ["data/controls/encode/years"], ["data/controls/train_ranker/years"]),
    "control@best_of_n": stage("control best_of_n", ["data/controls/encode/best_of_n"], ["data/controls/b"]),
}
SECONDS = {
    "interactions": 1,
    "sample-base": 200,
    "encode-base": 10,
    "train_reward-round1": 7,
    "train_dpo-round1": 100,
    "source-years": 2,
    "source-best_of_n": 3,
    "train_ranker-base": 30,
    "train_ranker-round1": 31,
    "control-years": 50,
    "control-best_of_n": 51,
}


def compared(**gains):
    return {
        "differences": {f"{arm} - constant": {"all": {"ndcg@5": effect(gain, 0.01)}} for arm, gain in gains.items()}
    }


def test_an_arm_costs_all_stages_that_it_comes_from():
    files = {name: {"cpu_s": spent} for name, spent in SECONDS.items()}
    study = compared(years=0.02, best_of_n=0.01)
    note, table = worth.spent(files, RAN, compared(base=0.01, round1=0.03, never=0.5), study)
    assert isinstance(note, Note)
    assert isinstance(table, TableBlock)
    assert table.columns[3:] == ("all", *worth.PARTS, worth.BEFORE)
    assert {row[0]: row[3:] for row in table.rows} == {
        "round1, this run": ("349", "200", "10", "7", "100", "31", "1"),
        "base, this run": ("241", "200", "10", "0", "0", "30", "1"),
        "years, study": ("53", "0", "2", "0", "0", "50", "1"),  # it reads no text, whatever its stage depends on
        "best_of_n, study": ("265", "200", "13", "0", "0", "51", "1"),
    }
    assert [row[0] for row in table.rows][:2] == ["round1, this run", "base, this run"]  # the larger gain first
    assert table.rows[0][1:3] == ("+0.0300", "[+0.0200, +0.0400]")


def test_a_stage_without_a_cost_leaves_no_sum():
    files = {name: {"cpu_s": spent} for name, spent in SECONDS.items() if name != "train_dpo-round1"}
    _, table = worth.spent(files, RAN, compared(round1=0.03), {})
    assert table.rows[0][3:] == (numbers.DASH, "200", "10", "7", numbers.DASH, "31", "1")
    assert worth.spent(files, RAN, {}, {}) == []


def test_seconds_of_an_arm_do_not_go_with_the_order_of_its_stages():
    files = [{"cpu_s": spent} for spent in (126.4, 288.2, 251.9, 243.0)]  # 909.5
    assert {worth._sum(list(order), 1) for order in itertools.permutations(files)} == {"910"}


def test_what_took_kept_work_cost_at_least_so_much():
    """The study's re-rankers that the run has trained before come from the store."""
    files = {name: {"cpu_s": spent} for name, spent in SECONDS.items()}
    files["control-years"] |= {"kept": 12}
    note, table = worth.spent(files, RAN, compared(base=0.01), compared(years=0.02))
    cells = {row[0]: row[3:] for row in table.rows}
    assert cells["years, study"] == ("≥ 53", "0", "2", "0", "0", "≥ 50", "1")
    assert cells["base, this run"][0] == "241"
    assert "≥ marks what took finished pieces" in note.text


ARMS_RAN = {
    **RAN,
    **{
        name: made
        for n in ("1", "2")
        for name, made in {
            f"sample@base-{n}": stage(f"sample base-{n} base all", ["data/interactions"], [f"texts/base-{n}"]),
            f"encode@base-{n}": stage(f"encode base-{n}", [f"texts/base-{n}"], [f"encode/base-{n}"]),
            f"train_dpo@{n}": stage(f"train_dpo tuned-{n} base", [f"encode/base-{n}"], [f"policy/tuned-{n}"]),
            f"sample@tuned-{n}": stage(f"sample tuned-{n}", [f"policy/tuned-{n}"], [f"texts/tuned-{n}"]),
            f"encode@tuned-{n}": stage(f"encode tuned-{n}", [f"texts/tuned-{n}"], [f"encode/tuned-{n}"]),
            f"arm@{n}": stage(f"arm {n}", [f"encode/base-{n}", f"encode/tuned-{n}"], [f"train_ranker/{n}"]),
        }.items()
    },
}
ARMS_SECONDS = {"sample-base": 200, "encode-base": 10, "train_dpo-tuned": 100, "sample-tuned": 60, "encode-tuned": 4}


def test_an_arm_of_several_policies_costs_what_a_policy_does():
    """Policy 2 takes twice the time; the re-rankers of both kinds are trained together, 80 and 160 s."""
    files = {f"{name}-{n}": {"cpu_s": s * n} for name, s in {**ARMS_SECONDS, "arm": 80}.items() for n in (1, 2)}
    files["interactions"] = {"cpu_s": 1}
    arms = {"kinds": {"base": {}, "tuned": {}, "template": {}, "profile": {}}}
    arms["differences"] = {"tuned - base": {"ndcg@5": effect(0.02, 0.01)}}
    note, table = worth.replicated(files, ARMS_RAN, arms)
    assert "an equal share of its re-rankers" in note.text
    assert table.columns == ("arm", "gain", "95 % interval", "all", *worth.PARTS, worth.BEFORE)
    dash = numbers.DASH
    assert table.rows == (
        ("base", dash, dash, "346", "300", "15", "0", "0", "30", "1"),
        ("tuned", "+0.0200", "[+0.0100, +0.0300]", "592", "390", "21", "0", "150", "30", "1"),
    )
    assert worth.replicated(files, RAN, arms) == worth.replicated(files, ARMS_RAN, {}) == []
    assert "several machines" not in note.text
    files["arm-1"] |= {"cpu": "AMD EPYC", "arithmetic": "float32 on avx512_bf16, 2 threads"}
    files["train_dpo-tuned-2"] |= {"cpu": "Intel Xeon", "arithmetic": "bfloat16 on NVIDIA H100, 1 thread"}
    (note, _) = worth.replicated(files, ARMS_RAN, arms)
    assert note.text.endswith("several machines: AMD EPYC; Intel Xeon with NVIDIA H100. Hold like against like.")
    files["arm-2"] |= {"kept": 3}
    assert worth.replicated(files, ARMS_RAN, arms)[1].rows[0][3:] == ("≥ 346", "300", "15", "0", "0", "≥ 30", "1")
    del files["encode-tuned-2"]
    assert worth.replicated(files, ARMS_RAN, arms)[1].rows[1][3:6] == (dash, "390", dash)


@pytest.mark.parametrize("protocol", ["uniform", "popularity"])
def test_the_page_of_costs_has_the_gain_under_the_run_s_protocol(tmp_path, monkeypatch, protocol):
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path)
    write_json(paths.EVALUATE, {**evaluated(), "protocol": protocol})
    write_json(paths.CONTROLS, {"popularity": compared(years=0.01), "uniform": compared(years=0.02)})
    write_json(paths.metrics("tune_reward"), SEARCHED["tune_reward"])
    lock = {n: {"cmd": s.command, "outs": [{"path": p} for p in s.outs]} for n, s in RAN.items() if "years" in n}
    for name in (worth.locks.DEFAULT, worth.RUNS[1]):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("stages:\n  control:\n    foreach: [years]\n    do: {cmd: x}\n")
    (tmp_path / worth.RUNS[1]).with_suffix(".lock").write_text(json.dumps({"stages": lock}))
    write_json(cost.place("control", ["years"]), {"cpu_s": 50.0})
    cost.write_page(())
    page = cost.PAGE.read_text()
    assert f">{'+0.0200' if protocol == 'uniform' else '+0.0100'}<" in page
    assert "years, study" in page
    assert "CPU-seconds of the search" in page
