import argparse
import hashlib
import io
import json
import subprocess
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from dvc.exceptions import FileMissingError
from ruamel.yaml import YAML

from rlrf4rec.errors import RLRFError
from rlrf4rec.revisions import command, git
from rlrf4rec.revisions.differences import difference
from rlrf4rec.revisions.markdown import escaped
from rlrf4rec.revisions.state import Cell, flatten

SOURCE = "src/rlrf4rec/ranking/nets.py"
LISTS = "data/split/lists_test.parquet"
USERS = [str(u) for u in range(20)]
KNOWLEDGE = ("none", "base", "round1")


def call(*args, git_args=("-c", "user.name=n", "-c", "user.email=e@x")):
    return subprocess.run(["git", *git_args, *args], check=True, capture_output=True, text=True).stdout.strip()


def md5(text):
    return hashlib.md5(text.encode()).hexdigest()


def scores(knowledge, user, seed):
    return 0.4 + 0.01 * KNOWLEDGE.index(knowledge) + 0.001 * int(user) + 0.0001 * seed


def per_user(value=scores, users=USERS, knowledge=KNOWLEDGE, seeds=3, backbones=("dlcm", "prm"), reward=0.5):
    rows = ["metric,backbone,knowledge,user," + ",".join(f"seed{s}" for s in range(seeds))]
    for metric in ("ndcg@5", "map@5"):
        for backbone in backbones:
            for k in knowledge:
                rows += [
                    f"{metric},{backbone},{k},{u}," + ",".join(f"{value(k, u, s):.5f}" for s in range(seeds))
                    for u in users
                ]
    rows += [f"reward_ndcg@5,frozen,base,{u},{reward}{',' * (seeds - 1)}" for u in users]
    return "\n".join(rows) + "\n"


def write(
    table=None, beta=0.1, source="nets\n", lists="a" * 32, texts="c" * 32, judge="e" * 32, definition=None, summary=None
):
    """A run of a small pipeline: the files that a revision is read from, with a lock that fits them."""
    files = {
        "params.yaml": f"seed: 1\npolicies: {{base: m, round1: m}}\ntrain_dpo: {{beta: {beta}}}\n",
        SOURCE: source,
        "constraints.txt": "numpy==2.4.6\n",
        "metrics/summary.json": json.dumps(summary or {"ndcg5_tuned": 0.5}),
        "metrics/evaluate.json": json.dumps({"metrics": definition or {"k": [5]}}),
        "metrics/per_user.csv": table or per_user(),
    }
    stages = {
        "split": {"cmd": "s", "outs": [{"path": LISTS, "md5": lists}]},
        "sample@round1": {"cmd": "s", "outs": [{"path": "data/sample/round1", "md5": texts}]},
        "evaluate": {
            "cmd": "e",
            "deps": [
                {"path": LISTS, "md5": lists},
                {"path": "models/train_reward/round1", "md5": judge},
                {"path": SOURCE, "md5": md5(source)},
            ],
            "params": {"params.yaml": {"train_dpo.beta": beta}},
            "outs": [{"path": p, "md5": md5(text)} for p, text in files.items() if p.startswith("metrics/")],
        },
    }
    dag = {"stages": {"split": {}, "sample": {"foreach": "${policies}", "do": {}}, "evaluate": {}}}
    for path, text in files.items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text)
    for path, content in (("dvc.lock", {"schema": "2.0", "stages": stages}), ("dvc.yaml", dag)):
        with Path(path).open("w") as file:
            YAML(typ="safe").dump(content, file)


def commit(message="run", **changed):
    write(**changed)
    call("add", "-A")
    call("commit", "-q", "--allow-empty", "-m", message)
    return call("rev-parse", "HEAD")


def experiment(name, **changed):
    """What `dvc exp run -n NAME` leaves: a commit on top of HEAD under refs/exps, the workspace as before."""
    head = call("rev-parse", "HEAD")
    sha = commit(**changed)
    call("update-ref", f"refs/exps/{head[:2]}/{head[2:]}/{name}", sha)
    call("reset", "-q", "--hard", head)
    return sha


@pytest.fixture(autouse=True)
def repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)
    call("init", "-q", "-b", "main")
    commit()
    call("tag", "first")
    return tmp_path


def compare(*args):
    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers())
    return command.run(parser.parse_args(["compare", *args]))


def as_json(capsys, *args):
    code = compare(*args, "--json")
    return code, json.loads(capsys.readouterr().out)


def better(by, only=KNOWLEDGE):
    return per_user(lambda k, u, s: scores(k, u, s) + (by + 0.0005 * (int(u) % 3) if k in only else 0))


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
        "data": [{"key": "data/sample/round1", "old": "c" * 32, "new": "d" * 32}],
    }
    assert compare("first", "HEAD") == 0
    out = capsys.readouterr().out
    assert "train_dpo.beta  0.1 -> 0.05" in out
    assert "evaluate  ranking/nets.py" in out
    assert "data/sample/round1  cccccccc -> dddddddd" in out


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


def test_results_that_are_not_of_the_own_files_are_told(capsys):
    Path("params.yaml").write_text(Path("params.yaml").read_text().replace("0.1", "0.2"))
    Path(SOURCE).write_text("edited\n")
    Path("metrics/summary.json").write_text('{"ndcg5_tuned": 0.9}')
    _, found = as_json(capsys, "first")
    assert len(found["notes"]) == 1
    for said in ("workspace", "evaluate (train_dpo.beta", "and 1 more", "dvc repro"):
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
            "other candidate lists: data/split/lists_test.parquet is aaaaaaaa in A and bbbbbbbb in B",
        ),
        (
            {"table": per_user(users=[*USERS[2:], "99"])},
            "other test users (metrics/per_user.csv): 0, 1 only in A, 99 only",
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
    assert found["notes"] == ["split has written other test lists in workspace since evaluate ran"]


def test_rewards_of_other_judges_are_left_out(capsys):
    commit(table=per_user(reward=0.6), judge="f" * 32)
    code, found = as_json(capsys, "first", "HEAD")
    assert code == 0
    assert "reward_ndcg@5" not in {r["metric"] for r in found["differences"]}
    assert "frozen re-rankers" in found["notes"][0]
    with pytest.raises(RLRFError, match=r"reward_ndcg@5.*map@5, ndcg@5.*another judge is another scale"):
        compare("first", "HEAD", "--fail-if-worse", "reward_ndcg@5")


def test_fail_if_worse(capsys):
    commit(table=better(-0.02, ["base"]))
    assert compare("first", "HEAD") == 0
    assert "wholly below 0: base" in capsys.readouterr().out
    assert compare("first", "HEAD", "--fail-if-worse", "ndcg@5") == 1
    out = capsys.readouterr().out
    assert "Worse: ndcg@5 with base, -0.0195" in out
    assert out.count("Worse:") == 1
    assert compare("HEAD", "first", "--fail-if-worse", "ndcg@5") == 0
    # the filter of what is shown does not hide what is worse
    assert compare("first", "HEAD", "--fail-if-worse", "ndcg@5", "--knowledge", "none") == 1
    with pytest.raises(RLRFError, match=r"'ndcg@50': not among the compared ones: map@5, ndcg@5, reward_ndcg@5"):
        compare("first", "HEAD", "--fail-if-worse", "ndcg@50")


def test_an_interval_that_holds_zero_is_not_worse(capsys):
    noisy = per_user(lambda k, u, s: scores(k, u, s) + (0.05 if int(u) % 2 else -0.052))
    commit(table=noisy)
    code, found = as_json(capsys, "first", "HEAD", "--fail-if-worse", "ndcg@5")
    assert code == 0
    assert found["worse"] == []
    assert all(r["difference"] < 0 < r["high"] for r in found["differences"] if r["metric"] == "ndcg@5")


def test_experiments_by_name(capsys):
    sha = experiment("smaller-beta", beta=0.05, table=better(0.01))
    _, found = as_json(capsys, "main", "smaller-beta")
    assert found["b"] == {"name": "smaller-beta", "commit": sha}
    assert git.resolve("smaller-beta~1").commit == call("rev-parse", "HEAD")
    with pytest.raises(RLRFError, match=r"'smaler-beta'.*did you mean 'smaller-beta'"):
        compare("main", "smaler-beta")


def test_a_name_with_two_meanings_names_both():
    first = experiment("twice", beta=0.05)
    commit("later", beta=0.4)
    second = experiment("twice", beta=0.06)
    with pytest.raises(RLRFError, match=r"'twice' has more than one meaning") as error:
        compare("main", "twice")
    assert first[:7] in str(error.value)
    assert second[:7] in str(error.value)
    ref = next(e.ref for e in git.experiments() if e.commit == first)
    assert git.resolve(ref).commit == first
    experiment("main", beta=0.07)
    with pytest.raises(RLRFError, match=r"Git revision"):
        compare("main")


def test_all_experiments(capsys):
    experiment("of-before", beta=0.9)
    head = commit("later", beta=0.2)
    experiment("better", beta=0.3, table=better(0.01))
    experiment("group/worse", beta=0.4, table=better(-0.01))
    experiment("lists", lists="b" * 32)
    broken = experiment("broken", beta=0.5)
    call("update-ref", "refs/exps/exec/EXEC_HEAD", broken)
    call("checkout", "-q", broken)
    call("rm", "-q", "metrics/per_user.csv")
    call("commit", "-qm", "no table")
    call("update-ref", f"refs/exps/{head[:2]}/{head[2:]}/broken", "HEAD")
    call("checkout", "-q", "main")

    code, found = as_json(capsys, "main", "--all-experiments", "--fail-if-worse", "ndcg@5")
    assert code == 1
    by_name = {e["name"]: e for e in found["experiments"]}
    assert list(by_name) == ["better", "broken", "group/worse", "lists"]
    (row,) = by_name["better"]["differences"]
    assert (row["metric"], row["knowledge"]) == ("ndcg@5", "round1")
    assert row["p_holm"] == pytest.approx(2 * row["p"])  # two experiments are in the table
    assert "per_user.csv is not in this commit" in by_name["broken"]["fault"]
    assert not by_name["lists"]["comparable"]
    assert "of-before" in found["notes"][0]

    assert compare("--all-experiments") == 0
    out = capsys.readouterr().out
    assert "ndcg@5 with round1; Holm over 2 comparisons" in out
    assert [line.split()[0] for line in out.split("What each changed")[0].splitlines()[3:7]] == [
        "better",
        "group/worse",
        "broken",
        "lists",
    ]
    assert "train_dpo.beta 0.2 -> 0.3" in out
    assert compare("--all-experiments", "--md", "--knowledge", "base") == 0
    assert "| better | ndcg@5 | base |" in capsys.readouterr().out
    with pytest.raises(RLRFError, match="leave first out"):
        compare("main", "first", "--all-experiments")


def test_no_experiment_says_what_there_is():
    experiment("old", beta=0.9)
    commit("later", beta=0.2)
    with pytest.raises(RLRFError, match=r"no experiment of HEAD.*dvc exp run.*old \(of "):
        compare("--all-experiments")


def test_markdown_shows_names_as_they_are(capsys):
    table = per_user().replace(",round1,", ",a|b<c*,")
    write(table=table)
    call("commit", "-qam", "names")
    commit(table=table, beta='"x|y"')
    assert compare("HEAD~1", "HEAD", "--md") == 0
    out = capsys.readouterr().out
    assert r"| a\|b\<c\* | 0." in out
    assert r'| train\_dpo.beta | 0.1 -> "x\|y" |' in out
    assert escaped("a\x1b[31m\nb") == r"a?\[31m?b"


@pytest.mark.parametrize("width", [80, 120])
def test_text_fits_the_terminal_and_is_plain(width, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    commit(beta=0.3, source="x\n", texts="d" * 32, table=better(-0.02))
    compare("first", "HEAD", "--fail-if-worse", "ndcg@5")
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert max(len(line) for line in out.splitlines()) <= width
    rows = [line for line in out.splitlines() if line.startswith(("none ", "base ", "round1 "))]
    assert len({len(line.rstrip()) for line in rows[:3]}) == 1  # aligned, one line for each
    assert all(line.split()[3].startswith("-0.0") for line in rows[:6])


def full_table(shift):
    rows = [(b, k, s, u) for b in ("dlcm", "prm") for k in KNOWLEDGE for s in range(2) for u in USERS]
    frame = pl.DataFrame(rows, schema=["backbone", "knowledge", "seed", "user"], orient="row")
    return frame.with_columns((0.3 + 0.01 * pl.col("user").cast(pl.Float64) + shift).alias("hr@5"))


def test_full_tables_come_from_dvc(capsys, monkeypatch):
    head = call("rev-parse", "HEAD")

    def opened(path, rev, mode):
        assert (path, rev, mode) == ("data/evaluate/per_user.parquet", head, "rb")
        return io.BytesIO(content.getvalue())

    monkeypatch.setattr("dvc.api.open", opened)
    content = io.BytesIO()
    full_table(0.0).write_parquet(content)
    with pytest.raises(RLRFError, match=r"workspace: data/evaluate/per_user.parquet is missing; `dvc pull data/eval"):
        compare("first", "--full")
    Path("data/evaluate").mkdir(parents=True)
    full_table(0.02).sample(fraction=1, shuffle=True, seed=1).write_parquet("data/evaluate/per_user.parquet")
    code, found = as_json(capsys, "first", "--full")
    assert code == 0
    assert {r["metric"] for r in found["differences"]} == {"hr@5", "reward_ndcg@5"}
    for row in found["differences"][:3]:
        assert row["by_seed"] == pytest.approx([0.02, 0.02])
        assert row["low"] == pytest.approx(row["high"])  # every user gains the same
    full_table(0.02)[1:].write_parquet("data/evaluate/per_user.parquet")
    with pytest.raises(RLRFError, match="dlcm with none has not one row for each user and seed"):
        compare("first", "--full")

    def missing(path, rev, mode):
        raise FileMissingError("data/evaluate")

    monkeypatch.setattr("dvc.api.open", missing)
    with pytest.raises(RLRFError, match=rf"neither in DVC's cache.*git checkout {head[:7]} && dvc pull data/evaluate"):
        compare("first", "--full")
    with pytest.raises(RLRFError, match="--full compares two revisions"):
        compare("--full", "--all-experiments")


def test_unknown_revisions_and_missing_files():
    with pytest.raises(RLRFError, match=r"'mian'.*did you mean 'main'"):
        compare("mian")
    with pytest.raises(RLRFError, match=r"revision ''"):
        compare("")
    call("rm", "-q", "metrics/per_user.csv")
    call("commit", "-qm", "without")
    with pytest.raises(RLRFError, match=r"HEAD \(\w{7}\): metrics/per_user.csv is not in this commit.*dvc repro"):
        compare("first", "HEAD")
    with pytest.raises(RLRFError, match=r"workspace: metrics/per_user.csv is missing; `dvc repro`"):
        compare("first")


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("params.yaml", "a: [", "params.yaml is not valid YAML"),
        ("params.yaml", "- a", "params.yaml holds list"),
        ("dvc.lock", "a: b", "dvc.lock has not the form"),
        ("metrics/summary.json", "{", "metrics/summary.json is not valid JSON"),
        ("metrics/per_user.csv", "a,b\n1,2\n", r"columns \['a', 'b'\], expected"),
        (
            "metrics/per_user.csv",
            per_user().replace("0.40500", "high"),
            r"column seed0, line 7: 'high' is not a number",
        ),
        ("metrics/per_user.csv", per_user().replace("0.40500,", ","), "ndcg@5 of dlcm with none: .* not filled alike"),
        ("metrics/per_user.csv", per_user(users=["1", "1"]), "column user names a user twice"),
    ],
)
def test_broken_files_are_named(path, text, message):
    Path(path).write_text(text)
    with pytest.raises(RLRFError, match=f"workspace: .*{message}"):
        compare("first")


def test_outside_of_the_repository(tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    with pytest.raises(RLRFError, match=r"no dvc.yaml in this folder"):
        compare()


def test_a_pipeline_in_a_folder_of_the_repository(tmp_path, monkeypatch, capsys):
    (tmp_path / "studies").mkdir()
    monkeypatch.chdir(tmp_path / "studies")
    commit(beta=0.6)
    write(beta=0.7)
    _, found = as_json(capsys, "HEAD")
    assert found["changed"]["params"] == [{"key": "train_dpo.beta", "old": 0.6, "new": 0.7}]


def test_two_runs_print_the_same(capsys):
    commit(table=better(0.01, ["base"]))
    compare("first", "HEAD")
    first = capsys.readouterr().out
    compare("first", "HEAD")
    assert capsys.readouterr().out == first


def test_flatten():
    assert flatten({"a": {"b": None, "c": {"d": [1]}}}) == {"a.b": None, "a.c.d": [1]}
