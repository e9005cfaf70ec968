"""The look at final users that asks what the study of arms asks: what its answer goes by, and what it refuses."""

import argparse
import json
from pathlib import Path

import polars as pl
import pytest
import torch
from ruamel.yaml import YAML
from test_arms import FINAL_ARMS, KINDS, POLICIES, ROOT, SEEDS, place, write_movement
from test_looks import git

from rlrf4rec import paths
from rlrf4rec.cli import run_stage
from rlrf4rec.errors import InputError, ParamsError, RLRFError
from rlrf4rec.evaluation import arms
from rlrf4rec.files import write_json
from rlrf4rec.looking import commit, known, looks, ready
from rlrf4rec.params import load
from rlrf4rec.tables.results import ALPHA
from rlrf4rec.tables.split import CANDIDATES, FINAL, FINAL_USERS, HISTORY, LISTS
from rlrf4rec.tables.vectors import load_tensors, save_tensors

__all__ = ["place"]
USERS = 60
OF_FINAL = [kind for kind in KINDS if kind != "sft"]


@pytest.fixture
def final(place):
    """The folder of test_arms, committed, with sixty final users of whom nobody else knows."""
    users = [f"f{number:02}" for number in range(USERS)]
    people = pl.DataFrame({"user": users, "fold": FINAL, "role": "none", "half": "-"})
    FINAL_USERS.write(people, paths.FINAL_USERS)
    history = [{"user": u, "position": 0, "item": "5", "rating": 5.0, "timestamp": 1} for u in users]
    HISTORY.write(pl.DataFrame(history), paths.FINAL_HISTORY)
    about = {"begins": 2, "activity": 1, "protocol": "popularity"}
    rows = [
        {"user": u, "list": n, "position": i, "item": str(i), "label": int(i == 2), "real": i == 2, **about}
        for u in users
        for n in range(2)
        for i in range(5)
    ]
    frame = pl.DataFrame(rows)
    LISTS.write(frame, paths.lists(FINAL, paths.FINAL_SPLIT))
    CANDIDATES.write(frame.select(pl.exclude("label", "real")), paths.candidates(paths.FINAL_SPLIT))
    Path("src").mkdir()
    Path("src/x.py").write_text("")
    git("init", "-q")
    git("add", "params.yaml", "src")
    git("commit", "-qm", "the study")
    return place.__class__(people, place.items, place.popularity, paths.FINAL_SPLIT)


def write_scores(tables, strength, short=None):
    """Scores of re-rankers that know the label as well as `strength` of the kind says; see test_arms."""
    write_movement()
    lists = tables.lists(LISTS.read(paths.lists(FINAL, paths.FINAL_SPLIT)))
    generator = torch.Generator().manual_seed(3)
    for kind in OF_FINAL:
        for policy in range(1, POLICIES + 1):
            own = strength(kind) + 0.1 * torch.randn(1, generator=generator)
            made = {
                f"prm/{seed}/own": lists.label * own + torch.randn(lists.label.shape, generator=generator)
                for seed in range(SEEDS)
            }
            save_tensors(paths.final_arm_scores(policy, kind), made, {"lists": lists.identity()})
            beside = paths.arm(policy, kind, "popularity").with_name("curves.json")
            write_json(beside, {"prm": {"trained_out": f"{kind}-{policy}" != short}})


def looked():
    run_stage("final_arms", [])
    return json.loads(paths.metrics("final_arms").read_text())


def helped(kind):
    return 1.4 * (kind == "tuned") + 0.8 * ("template" in kind)


def test_a_planted_effect_is_found_in_the_final_users_and_a_planted_null_is_not(final, capsys):
    write_scores(final, helped)
    found = looked()
    assert set(found["kinds"]) == set(OF_FINAL)
    assert (found["look"], found["final_users"], found["final_lists"]) == (1, USERS, 2 * USERS)
    assert (found["shown"], found["adds"]) == (True, False)
    assert all(found["family"][f"tuned - {name}"]["low"] > 0.05 for name in arms.QUESTIONS["shown"][1])
    assert "look 1; shown yes, adds no (not above template: " in capsys.readouterr().out
    table = pl.read_csv(paths.FINAL_ARMS_HEADLINE)
    assert table.columns == ["user", *OF_FINAL]
    assert {kind: table[kind].mean() for kind in OF_FINAL} == pytest.approx(
        {kind: found["kinds"][kind]["ndcg@5"]["mean"] for kind in OF_FINAL}, abs=1e-5
    )


def test_an_answer_goes_by_p_as_it_is_adjusted_for_the_look(final):
    """The same scores: a first look shows it, the fortieth, whose p are 40 x 41 / 2 times those, does not."""
    write_scores(final, lambda kind: 1.4 * (kind == "tuned"))
    one = looked()
    assert (one["look"], one["shown"]) == (1, True)
    before = looks.read(paths.LOOKS)[0]
    for path in (paths.LOOKS, Path(".git") / known.JOURNAL):  # as if this one had never been
        path.unlink()
    looks.add(paths.LOOKS, [], looks.Look(**{**before.__dict__, "seen": "others", "look": 39}))
    forty = looked()
    claims = [f"tuned - {name}" for name in arms.QUESTIONS["shown"][1]]
    assert (forty["look"], forty["shown"]) == (40, False)
    for name in claims:
        assert forty["family"][name]["low"] == one["family"][name]["low"] > 0
        assert forty["family"][name]["p"] == pytest.approx(min(1, one["family"][name]["p"] * 40 * 41 / 2))
    assert any("not above" in said for said in forty["lacks"]["shown"])


def test_what_was_not_trained_out_or_as_far_is_another_look(final):
    """An answer rests on it, though no score does."""
    write_scores(final, helped, short="matched-2")
    found = looked()
    assert (found["look"], found["shown"]) == (1, False)
    assert found["lacks"]["shown"] == ["re-rankers of matched not trained out"]
    write_scores(final, helped)
    assert (looked()["look"], looked()["look"]) == (2, 2)
    write_movement(not_matched=["rule_years-2"])
    assert (looked()["look"], looked()["shown"]) == (3, False)


def test_several_questions_share_the_level(final):
    """Two are asked, and a p of 0.03 is none of 2.5 %."""
    write_scores(final, helped)
    assert looked()["level"] == ALPHA / 2
    plain = {"difference": 0.02, "low": 0.01, "high": 0.03, "p": 0.03}
    found = {"family": {f"tuned - {name}": plain for name in arms.QUESTIONS["shown"][1]}}
    assert arms.lacks("shown", found, POLICIES, set(), []) == []
    assert len(arms.lacks("shown", found, POLICIES, set(), [], ALPHA / 2)) == 4


def test_ready_says_what_can_not_be_answered_with_yes(final, capsys, monkeypatch):
    monkeypatch.setattr(commit, "up_to_date", lambda _: None)
    Path("dvc.yaml").write_text("stages: {}")
    git("add", "dvc.yaml")
    git("commit", "-qm", "a pipeline")
    write_scores(final, helped, short="template-1")
    assert ready.run(argparse.Namespace(arms=True)) == 0
    said = capsys.readouterr().out
    assert "shown: can be answered\n" in said
    assert "adds: no, whatever is seen: re-rankers of template not trained out\n" in said
    assert not paths.LOOKS.exists()
    other_protocol()
    with pytest.raises(ParamsError, match=r"begins with popularity, and lists of final users are those of .*, uniform"):
        ready.run(argparse.Namespace(arms=True))


def other_protocol():
    yaml = YAML()
    content = yaml.load(Path("params.yaml").read_text())
    content["split"]["protocol"] = "uniform"
    with Path("params.yaml").open("w") as file:
        yaml.dump(content, file)


def test_a_study_that_is_not_committed_gets_no_look_and_one_that_lacks_scores_neither(final):
    write_scores(final, helped)
    path = paths.final_arm_scores(2, "matched")
    good = path.read_bytes()
    path.unlink()
    with pytest.raises(RLRFError, match=r"data/final_arms/2/scores/matched/scores.safetensors: missing"):
        looked()
    path.write_bytes(good)
    tensors, _ = load_tensors(path)
    save_tensors(path, tensors, {"lists": "others"})
    with pytest.raises(InputError, match=r"other lists than these 120; run `dvc repro studies/final_arms/dvc.yaml:fin"):
        looked()
    path.write_bytes(good)
    Path("src/x.py").write_text("1")
    with pytest.raises(RLRFError, match=r"^final-arms: src/x.py is not as HEAD has it, .* then `make final-arms`"):
        looked()
    assert not paths.LOOKS.exists()
    assert not paths.metrics("final_arms").exists()


def test_re_rankers_are_looked_at_with_lists_of_the_kind_that_they_learned_from(final):
    with pytest.raises(ParamsError, match=r"arms.policies: it has no 4; one of 1, 2, 3"):
        run_stage("final_arm", ["4"])
    other_protocol()
    with pytest.raises(ParamsError, match=r"begins with popularity, and lists of final users are those of .*, uniform"):
        run_stage("final_arm", ["1"])


def test_the_final_kinds_are_those_that_the_questions_of_two_rounds_need():
    """What is asked of the arms that the params name is asked in whole."""
    of = load(ROOT / "params.yaml").arms
    asked = {name for own, others in arms.QUESTIONS.values() if own in of.final_kinds() for name in (own, *others)}
    assert asked <= set(of.final_kinds())
    assert {"base", "base_labels"} < set(of.final_kinds())
    assert not {"tuned", "profile", "items_mean"} & set(of.final_kinds())
    assert set(FINAL_ARMS) == {"tuned", *(name for name in arms.QUESTIONS["shown"][1] if name != "base")}
