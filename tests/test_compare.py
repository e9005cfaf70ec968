import json
from pathlib import Path

import numpy as np
import pytest
from compared import LISTS, ROOM, SOURCE, USERS, as_json, better, call, commit, compare, per_user
from ruamel.yaml import YAML

from rlrf4rec.errors import RLRFError
from rlrf4rec.files import dvc_hash
from rlrf4rec.revisions.differences import difference
from rlrf4rec.revisions.state import Cell

pytestmark = pytest.mark.usefixtures("repository")


def test_equal_revisions_say_that_nothing_changed(capsys):
    assert compare("first") == 0
    out = capsys.readouterr().out
    assert "Nothing changed" in out
    assert "all differences are 0" in out
    code, found = as_json(capsys, "first", "workspace", "--fail-if-worse", "ndcg@5")
    assert code == 0
    assert {(r["difference"], r["p"]) for r in found["differences"]} == {(0.0, 1.0)}
    assert found["notes"] == []


def test_what_changed(capsys):
    Path("constraints.txt").write_text("")
    commit(beta=0.05, source="other\n", texts="d" * 32)
    Path("constraints.txt").write_text("numpy==3.0\n")
    call("commit", "-qam", "library")
    _, found = as_json(capsys, "first", "HEAD")
    assert found["changed"] == {
        "params": [{"key": "train_dpo.beta", "old": 0.1, "new": 0.05}],
        "code": {"evaluate": [SOURCE]},
        "libraries": [{"key": "numpy", "old": "2.4.6", "new": "3.0"}],
        "arithmetic": [],
        "data": [{"key": "data/texts/round1", "old": "c" * 32, "new": "d" * 32}],
    }
    assert compare("first", "HEAD") == 0
    out = capsys.readouterr().out
    assert "train_dpo.beta  0.1 -> 0.05" in out
    assert "evaluate  ranking/nets.py" in out
    assert "data/texts/round1  cccccccc -> dddddddd" in out


def test_code_that_is_only_here_is_told_by_its_files(capsys):
    """A folder's files, new ones and those that are gone: against a commit and against what is not committed."""
    room = Path(ROOM)
    (room / "losses.py").write_text("new\n")
    (room / "__pycache__").mkdir()
    (room / "__pycache__" / "nets.pyc").write_text("no code\n")
    _, found = as_json(capsys, "first", "workspace")
    assert any("are not of its own files; other than in dvc.lock" in note for note in found["notes"])
    (room / "losses.py").unlink()
    _, found = as_json(capsys, "first", "workspace")
    assert found["notes"] == []


def test_another_arithmetic_is_told(capsys):
    """All else equal: a run on another machine."""
    commit(computed="bfloat16 on amx_bf16, 2 threads")
    _, found = as_json(capsys, "first", "HEAD")
    row = {"key": "evaluate", "old": "float32 on avx2, 2 threads", "new": "bfloat16 on amx_bf16, 2 threads"}
    assert found["changed"]["arithmetic"] == [row]
    for form in ((), ("--md",)):
        assert compare("first", "HEAD", *form) == 0
        out = " ".join(capsys.readouterr().out.replace("\\_", "_").split())
        assert "Nothing changed" not in out
        assert '"float32 on avx2, 2 threads" -> "bfloat16 on amx_bf16, 2 threads"' in out


def test_a_study_that_is_older_than_the_run_is_told_with_its_commit(capsys):
    lock = Path("studies/controls/dvc.lock")
    lock.parent.mkdir(parents=True)
    read = [(ROOM, dvc_hash({"nets.py": b"nets\n"})), (LISTS, "a" * 32), ("data/study", "9" * 32)]
    lock.write_text("".join(f"    - path: {p}\n      hash: md5\n      md5: {h}\n      size: 1\n" for p, h in read))
    of_study = commit()
    _, found = as_json(capsys, "first", "HEAD")
    assert found["notes"] == []
    commit(source="other nets\n", lists="b" * 32)
    _, found = as_json(capsys, of_study, "HEAD")
    (note,) = [note for note in found["notes"] if "studies" in note]
    assert note.startswith(f"studies/controls is that of {of_study[:7]}")
    assert note.endswith("1 of the source files and 1 of the data files that it read are others now")


def test_a_study_of_which_one_stage_is_older_is_told(capsys):
    """Two of its stages read the same file; the one that is named last has run again."""
    lock = Path("studies/controls/dvc.lock")
    lock.parent.mkdir(parents=True)
    read = [(LISTS, "0" * 32), (LISTS, "a" * 32)]
    lock.write_text("".join(f"    - path: {p}\n      hash: md5\n      md5: {h}\n      size: 1\n" for p, h in read))
    commit()
    _, found = as_json(capsys, "first", "HEAD")
    (note,) = found["notes"]
    assert note.endswith("0 of the source files and 1 of the data files that it read are others now")


def test_a_stage_that_dvc_yaml_no_longer_has_is_no_change(capsys):
    """DVC leaves entries of removed stages and rounds in dvc.lock."""
    lock = YAML(typ="safe").load(Path("dvc.lock").read_text())
    for name in ("sample@round9", "gone"):
        lock["stages"][name] = {
            "cmd": "x",
            "deps": [{"path": SOURCE, "md5": "1" * 32}],
            "outs": [{"path": f"data/{name}", "md5": "1" * 32}],
        }
    with Path("dvc.lock").open("w") as file:
        YAML(typ="safe").dump(lock, file)
    _, found = as_json(capsys, "first")
    assert found["changed"]["data"] == []
    assert found["changed"]["code"] == {}
    assert found["notes"] == []


def test_another_source_of_one_s_own_is_told_wherever_it_lies(capsys):
    for md5 in ("1" * 32, "2" * 32):
        lock = YAML(typ="safe").load(Path("dvc.lock").read_text())
        lock["stages"]["split"]["deps"] = [{"path": "/my own/shop", "md5": f"{md5}.dir"}, {"path": ROOM, "md5": md5}]
        with Path("dvc.lock").open("w") as file:
            YAML(typ="safe").dump(lock, file)
        call("commit", "-qam", md5)
    _, found = as_json(capsys, "HEAD~1", "HEAD")
    assert found["changed"]["data"] == [{"key": "/my own/shop", "old": f"{'1' * 32}.dir", "new": f"{'2' * 32}.dir"}]


def test_results_that_are_not_of_the_own_files_are_told(capsys):
    Path("params.yaml").write_text(Path("params.yaml").read_text().replace("0.1", "0.2"))
    Path(SOURCE).write_text("edited\n")
    Path("metrics/summary.json").write_text('{"ndcg5_tuned": 0.9}')
    _, found = as_json(capsys, "first")
    assert len(found["notes"]) == 1
    for said in ("workspace", "evaluate (params.yaml: train_dpo.beta", "and 1 more", "dvc repro"):
        assert said in found["notes"][0]


def test_hand_checked_difference():
    """Two backbones with three seeds: B - A by user and seed, averaged over backbones; unlike seeds are averaged."""
    old = [Cell(("1", "2"), np.array([[0.1, 0.2], [0.3, 0.4]])), Cell(("1", "2"), np.array([[0.0, 0.0], [0.0, 0.0]]))]
    new = [Cell(("1", "2"), np.array([[0.3, 0.2], [0.3, 0.6]])), Cell(("1", "2"), np.array([[0.2, 0.4], [0.0, 0.2]]))]
    np.testing.assert_allclose(difference(old, new), [[0.2, 0.2], [0.0, 0.2]])
    one = [Cell(("1", "2"), np.array([[0.5], [0.5]]))]
    np.testing.assert_allclose(difference(old[:1], one), [0.35, 0.15])


def test_a_shift_is_found_in_each_number(capsys):
    commit(table=better(0.02, ["round1"]), summary={"ndcg5_tuned": 0.52, "new": 1})
    code, found = as_json(capsys, "first", "HEAD")
    assert code == 0
    rows = {(r["metric"], r["knowledge"]): r for r in found["differences"]}
    row = rows["ndcg@5", "round1"]
    shift = 0.02 + 0.0005 * np.mean([u % 3 for u in range(20)])
    assert row["difference"] == pytest.approx(shift, abs=1e-6)
    assert row["b"] - row["a"] == pytest.approx(shift, abs=1e-6)
    assert row["a"] == pytest.approx(0.4 + 0.02 + 0.001 * 9.5 + 0.0001)
    assert row["low"] <= row["difference"] <= row["high"]
    assert row["low"] > 0.02
    assert row["by_seed"] == pytest.approx([shift] * 3, abs=1e-6)
    assert (row["users"], row["seeds"], row["backbones"]) == (20, 3, ["dlcm", "prm"])
    assert row["p"] < 0.001
    assert found["family"] == len(rows) == 7
    assert row["p_holm"] == pytest.approx(row["p"] * 7)
    assert rows["ndcg@5", "base"]["difference"] == 0
    assert found["summary"] == [
        {"metric": "ndcg5_tuned", "a": 0.5, "b": 0.52, "change": pytest.approx(0.02)},
        {"metric": "new", "b": 1.0},
    ]


def test_filters_leave_the_family_as_it_is(capsys):
    commit(table=better(0.02))
    _, found = as_json(capsys, "first", "HEAD", "--metric", "map@5", "--knowledge", "base", "--knowledge", "none")
    assert [(r["metric"], r["knowledge"]) for r in found["differences"]] == [("map@5", "none"), ("map@5", "base")]
    assert found["family"] == 7
    with pytest.raises(RLRFError, match=r"knowledge 'bass'.*base, none, round1"):
        compare("first", "HEAD", "--knowledge", "bass")


def test_knowledge_that_only_one_side_has_is_named(capsys):
    commit(table=per_user(knowledge=("none", "base")))
    code, found = as_json(capsys, "first", "HEAD")
    assert code == 0
    assert found["notes"] == ["only in A: round1 (ndcg@5), round1 (map@5)"]
    assert "round1" not in {r["knowledge"] for r in found["differences"]}


def test_backbones_of_both_and_unlike_seeds(capsys):
    commit(table=per_user(backbones=("prm", "setrank"), seeds=5))
    _, found = as_json(capsys, "first", "HEAD", "--metric", "ndcg@5")
    for row in found["differences"]:
        assert (row["backbones"], row["seeds"], row["by_seed"]) == (["prm"], 1, [])
        assert row["difference"] == pytest.approx(0.0001)  # mean seed 2 instead of 1


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (
            {"lists": "b" * 32},
            "other candidate lists: data/split/development is aaaaaaaa in A and bbbbbbbb in B",
        ),
        (
            {"table": per_user(users=[*USERS[2:], "99"])},
            "other development users (metrics/per_user.csv): 0, 1 only in A, 99 only",
        ),
        ({"definition": {"k": [5], "ties": "last"}}, "other metric definition (metrics/evaluate.json, metrics): ties"),
    ],
)
@pytest.mark.parametrize("form", [(), ("--json",), ("--md",)])
def test_a_refusal_shows_what_changed_and_no_difference(changed, reason, form, capsys):
    commit(beta=0.3, **changed)
    assert compare("first", "HEAD", "--fail-if-worse", "ndcg@5", *form) == 3
    out = capsys.readouterr().out
    if form == ("--json",):
        found = json.loads(out)
        assert not found["comparable"]
        assert reason in found["reasons"][0]
        assert found["summary"] == found["differences"] == found["worse"] == []
        assert found["changed"]["params"] == [{"key": "train_dpo.beta", "old": 0.1, "new": 0.3}]
    else:
        plain = out.replace("\\", "").replace("\n", " ")
        assert reason in plain
        assert "train_dpo.beta" in plain
        assert "interval" not in plain.lower()
        assert "ndcg5_tuned" not in plain


def test_lists_that_evaluate_has_read_count_not_those_written_since(capsys):
    lock = YAML(typ="safe").load(Path("dvc.lock").read_text())
    lock["stages"]["split"]["outs"][0]["md5"] = "b" * 32
    with Path("dvc.lock").open("w") as file:
        YAML(typ="safe").dump(lock, file)
    code, found = as_json(capsys, "first")
    assert code == 0
    (note,) = found["notes"]
    said = (
        "workspace holds no finished run: written again since is data/split/development that evaluate has read (split)"
    )
    assert note.startswith(said)


def test_lists_are_compared_with_those_of_a_revision_that_had_them_elsewhere(capsys):
    """Development users were test users once: the same lists, by the hash of their folder."""
    for path in ("dvc.lock", "dvc.yaml"):
        Path(path).write_text(Path(path).read_text().replace(LISTS, "data/split/test"))
    call("commit", "-qam", "as it was")
    call("tag", "former")
    commit()
    assert as_json(capsys, "former", "HEAD")[0] == 0
    commit(lists="b" * 32)
    code, found = as_json(capsys, "former", "HEAD")
    assert (code, found["reasons"][0][:21]) == (3, "other candidate lists")


def test_rewards_of_other_judges_are_left_out(capsys):
    commit(table=per_user(reward=0.6), judge="f" * 32)
    code, found = as_json(capsys, "first", "HEAD")
    assert code == 0
    assert "reward_ndcg@5" not in {r["metric"] for r in found["differences"]}
    assert "frozen re-rankers" in found["notes"][0]
    with pytest.raises(RLRFError, match=r"reward_ndcg@5.*map@5, ndcg@5.*another judge is another scale"):
        compare("first", "HEAD", "--fail-if-worse", "reward_ndcg@5")


def test_words_of_the_summary_stand_beside_each_other_and_have_no_change(capsys):
    before, after = "no gain claimed (Holm's p 0.052)", "gain claimed (Holm's p 0.005)"
    commit(summary={"end_to_end_ndcg5": 0.02, "end_to_end_claim": before})
    commit(summary={"end_to_end_ndcg5": 0.03, "end_to_end_claim": after})
    code, found = as_json(capsys, "HEAD~1", "HEAD")
    assert code == 0
    number, words = found["summary"]
    assert number["change"] == pytest.approx(0.01)
    assert words == {"metric": "end_to_end_claim", "a": before, "b": after}
    assert compare("HEAD~1", "HEAD") == 0
    assert f"end_to_end_claim  {before}  {after}" in capsys.readouterr().out
    assert compare("HEAD~1", "HEAD", "--md") == 0
    assert f"| end\\_to\\_end\\_claim | {before} | {after} |" in capsys.readouterr().out
