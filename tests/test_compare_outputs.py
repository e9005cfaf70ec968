import io
from pathlib import Path

import polars as pl
import pytest
from compared import KNOWLEDGE, USERS, as_json, better, call, commit, compare, experiment, per_user, scores, write
from dvc.exceptions import FileMissingError

from rlrf4rec.errors import RLRFError
from rlrf4rec.revisions import git
from rlrf4rec.revisions.markdown import escaped
from rlrf4rec.revisions.state import flatten

pytestmark = pytest.mark.usefixtures("repository")


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
    with pytest.raises(RLRFError, match=r"workspace: data/evaluate/per_user.parquet is missing; `dvc repro evaluate`"):
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
    with pytest.raises(RLRFError, match=rf"not in DVC's cache.*`git checkout {head[:7]} && dvc repro evaluate`"):
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
