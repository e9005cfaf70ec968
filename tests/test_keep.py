"""`rlrf4rec keep` on small repositories, and what `compare` and `check` make of a kept run."""

import argparse
import contextlib
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from compared import SOURCE, as_json, better, call, commit, compare, edit_stages, experiment, write
from dvc.repo import Repo

from rlrf4rec import files
from rlrf4rec.committed import check
from rlrf4rec.errors import RLRFError
from rlrf4rec.params import recipes
from rlrf4rec.revisions import keep, kept

pytestmark = pytest.mark.usefixtures("repository")
ROOT = Path(__file__).parent.parent
FOLDER = Path("metrics/kept")


def keeping(*args):
    """What the command prints."""
    parser = argparse.ArgumentParser()
    keep.add(parser.add_subparsers())
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert keep.run(parser.parse_args(["keep", *args])) == 0
    return printed.getvalue()


def edit(path, old, new):
    text = Path(path).read_text()
    assert old in text
    Path(path).write_text(text.replace(old, new, 1))


def cost(text="{}"):
    Path("metrics/cost").mkdir(exist_ok=True)
    Path("metrics/cost/evaluate.json").write_text(text)


def test_the_workspace_s_run_is_kept_and_compared_like_a_revision(capsys):
    cost()
    head = commit(table=better(0.02), beta=0.05)
    assert "keep: workspace is in metrics/kept/low.beta-1, 9 files; `git add" in keeping("low.beta-1")
    assert sorted(p.relative_to(FOLDER / "low.beta-1").as_posix() for p in FOLDER.rglob("*") if p.is_file()) == [
        *("constraints.txt", "dvc.lock", "dvc.yaml", "metrics/cost/evaluate.json", "metrics/evaluate.json"),
        *("metrics/per_user.csv", "metrics/summary.json", "origin.json", "params.yaml"),
    ]
    assert json.loads((FOLDER / "low.beta-1" / "origin.json").read_text()) == {"revision": "workspace", "commit": head}
    assert kept.faults("low.beta-1") == []
    _, of_commit = as_json(capsys, "first", "HEAD")
    commit(beta=0.3, source="third\n")
    code, found = as_json(capsys, "first", "low.beta-1")
    assert code == 0
    assert found["b"] == {"name": "low.beta-1", "commit": None}
    assert found["notes"] == []
    del found["b"], of_commit["b"]
    assert found == of_commit
    _, of_path = as_json(capsys, "first", "metrics/kept/low.beta-1")
    assert of_path["differences"] == of_commit["differences"]
    assert compare("first", "low.beta-1", "--md") == 0
    assert "low.beta-1 (kept)" in capsys.readouterr().out.replace("\\", "")


@pytest.mark.parametrize(
    ("change", "other"),
    [
        (lambda: write(table=better(0.02)), "dvc.lock, metrics/per_user.csv are"),
        (lambda: Path("constraints.txt").write_text("numpy==2.4.7\n"), "constraints.txt is"),
        (cost, "metrics/cost/evaluate.json is"),
        (lambda: Path("src/rlrf4rec/more.py").write_text(""), "src/rlrf4rec/more.py is"),
        (lambda: (call("rm", "-q", "--cached", "metrics/summary.json"), commit_staged()), "metrics/summary.json is"),
    ],
)
def test_a_run_that_no_commit_has_is_kept_without_one_and_says_so(change, other):
    """Its metrics, cost and libraries have to be in it as well, not params, lock and code alone."""
    change()
    assert f"note: no commit has this run: {other} not as in HEAD\n" in keeping("a")
    assert json.loads((FOLDER / "a" / "origin.json").read_text()) == {"revision": "workspace", "commit": None}


def commit_staged():
    """The workspace keeps what the commit has lost."""
    call("commit", "-qm", "without")


def test_code_of_a_kept_run_is_told_by_its_folder(capsys):
    keeping("before")
    commit(source="other\n")
    _, found = as_json(capsys, "before", "HEAD")
    assert found["changed"]["code"] == {"evaluate": [str(Path(SOURCE).parent)]}
    assert found["notes"] == []


def test_an_experiment_is_kept_by_its_name_whatever_the_workspace_holds(capsys):
    """As `dvc exp run --temp` leaves it: the workspace has another run."""
    sha = experiment("smoke", beta=0.7, table=better(0.01))
    assert f"keep: smoke ({sha[:7]}) is in metrics/kept/smoke" in keeping("smoke")
    assert "beta: 0.7" in (FOLDER / "smoke" / "params.yaml").read_text()
    _, found = as_json(capsys, "first", "smoke")  # the experiment and what was kept of it are one
    assert found["b"] == {"name": "smoke", "commit": sha}
    keeping("smoke-small", "smoke")
    head = call("rev-parse", "HEAD")
    call("update-ref", "-d", f"refs/exps/{head[:2]}/{head[2:]}/smoke")
    _, alone = as_json(capsys, "first", "smoke")
    assert alone["differences"] == found["differences"]
    _, none = as_json(capsys, "smoke", "smoke-small")
    assert none["changed"] == {"params": [], "code": {}, "libraries": [], "arithmetic": [], "data": []}


EVALUATE = """
import json, pathlib
beta = pathlib.Path("params.yaml").read_text().partition("beta: ")[2].partition("}")[0]
pathlib.Path("metrics/cost").mkdir(parents=True, exist_ok=True)
pathlib.Path("metrics/summary.json").write_text(json.dumps({"beta": float(beta)}))
pathlib.Path("metrics/evaluate.json").write_text(json.dumps({"metrics": {"k": [5]}}))
pathlib.Path("metrics/per_user.csv").write_text("metric,backbone,knowledge,user,seed0\\nndcg@5,prm,base,u,.5\\nndcg@5,prm,base,v,.6\\n")
pathlib.Path("metrics/cost/evaluate.json").write_text(json.dumps({"beta": float(beta)}))
if float(beta) > 1:
    raise SystemExit("beta is too large")
"""
PIPELINE = """stages:
  split: {cmd: mkdir -p data/split/development && echo 1 > data/split/development/a, outs: [data/split/development]}
  evaluate:
    cmd: python evaluate.py
    deps: [data/split/development]
    params: [train_dpo]
    metrics: [metrics/summary.json: {cache: false}, metrics/evaluate.json: {cache: false}]
    outs: [metrics/per_user.csv: {cache: false}]
"""


@pytest.mark.parametrize("how", [[], ["--temp"]])
def test_what_dvc_leaves_of_an_experiment_can_be_kept(monkeypatch, capsys, how):
    """With DVC itself, as `rlrf4rec exp` runs a recipe, and apart from the workspace; one that fails can't."""

    def dvc(*words, code=0):
        done = subprocess.run([*recipes.DVC, *words], capture_output=True, text=True)
        assert done.returncode == code, done.stdout + done.stderr

    for name, text in {
        "evaluate.py": EVALUATE,
        "dvc.yaml": PIPELINE,
        "params.yaml": "train_dpo: {beta: 0.1}\n",
    }.items():
        Path(name).write_text(text)
    Path("dvc.lock").unlink()
    call("rm", "-qr", "--cached", "metrics")
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    monkeypatch.delenv("DVC_ROOT")
    dvc("init", "-q")
    dvc("repro", "-q")
    call("config", "user.name", "a")
    call("config", "user.email", "a@b")
    call("add", "-A")
    call("commit", "-qm", "with DVC")
    dvc("exp", "run", "-q", *how, "--name", "smoke", "--set-param", "train_dpo.beta=0.5")
    assert f"beta: {'0.1' if how else '0.5'}" in Path("params.yaml").read_text()
    keeping("smoke")
    assert kept.faults("smoke") == []
    assert json.loads((FOLDER / "smoke" / "metrics" / "cost" / "evaluate.json").read_text()) == {"beta": 0.5}
    dvc("exp", "remove", "-q", "smoke")
    _, found = as_json(capsys, "HEAD", "smoke")
    assert found["b"] == {"name": "smoke", "commit": None}
    assert found["changed"]["params"] == [{"key": "train_dpo.beta", "old": 0.1, "new": 0.5}]
    assert found["summary"] == [{"metric": "beta", "a": 0.1, "b": 0.5, "change": 0.4}]
    dvc("exp", "run", "-q", *how, "--name", "high", "--set-param", "train_dpo.beta=2.5", code=255)
    if how:
        with pytest.raises(RLRFError, match="revision 'high': no commit, branch, tag or experiment of this name"):
            keeping("tea", "high")
    else:
        with pytest.raises(RLRFError, match=r"workspace is not kept: .* evaluate \(params.yaml: train_dpo"):
            keeping("high")


def test_a_name_with_two_meanings_is_refused():
    experiment("tea", beta=0.7)
    with pytest.raises(
        RLRFError, match=r"'tea' is that of an experiment \(\w{7}\), which is another run than workspace"
    ):
        keeping("tea", "workspace")
    keeping("cup")
    call("add", "-A")
    call("commit", "-qm", "keep cup")
    experiment("cup", beta=0.8)
    with pytest.raises(RLRFError, match=r"'cup' has more than one meaning.*or metrics/kept/cup"):
        compare("first", "cup")
    assert compare("first", "metrics/kept/cup") == 0
    call("commit", "-q", "--allow-empty", "-m", "next")
    experiment("tea", beta=0.9)
    with pytest.raises(RLRFError, match="'tea' is that of 2 experiments"):
        keeping("tea")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        *(
            (name, "is of letters, digits")
            for name in ("", ".", "..", "../x", "a/b", "/tmp/x", "-x", "a b", "é", "a\n")
        ),
        *((name, "that of a Git revision") for name in ("main", "first", "HEAD", "workspace", "beef", "12345")),
    ],
)
def test_names_that_are_paths_or_revisions_are_refused(name, words):
    with pytest.raises(RLRFError, match=words):
        keep.run(argparse.Namespace(name=name, rev=None, replace=True))
    assert not FOLDER.exists()


def test_a_kept_run_is_replaced_only_when_asked():
    keeping("a")
    (FOLDER / "a" / "mine.txt").write_text("x")
    with pytest.raises(RLRFError, match="metrics/kept/a is there: take another name, or --replace"):
        keeping("a")
    assert (FOLDER / "a" / "mine.txt").exists()
    commit(beta=0.4)
    keeping("a", "--replace")
    assert not (FOLDER / "a" / "mine.txt").exists()
    assert "beta: 0.4" in (FOLDER / "a" / "params.yaml").read_text()


def test_a_failed_write_leaves_the_former_one(monkeypatch):
    keeping("a")
    before = files.contents(FOLDER)
    commit(beta=0.4)

    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write_json", full)
    with pytest.raises(OSError, match="No space"):
        keeping("a", "--replace")
    assert files.contents(FOLDER) == before


def test_a_run_that_is_stale_is_refused_with_the_reason():
    edit("params.yaml", "0.1", "0.2")
    with pytest.raises(RLRFError, match=r"workspace is not kept: .* evaluate \(params.yaml: train_dpo.beta\)"):
        keeping("a")
    write()
    edit("metrics/summary.json", "0.5", "0.9")
    with pytest.raises(RLRFError, match=r"evaluate \(metrics/summary.json\)"):
        keeping("a")
    assert not FOLDER.exists()


def test_dvc_takes_the_dvc_yaml_of_a_kept_run_for_no_pipeline_of_its_own(monkeypatch):
    monkeypatch.chdir(ROOT)
    with Repo() as repo:
        ignored = [repo.dvcignore.is_ignored_file(str(ROOT / p)) for p in ("metrics/kept/a/dvc.yaml", "dvc.yaml")]
    assert ignored == [True, False]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("evaluate"), r"evaluate \(never run\)"),
        (
            lambda s: s["split"]["outs"][0].update(md5="b" * 32),
            r"holds no finished run: written again since is data/split/development that evaluate has read \(split\)",
        ),
    ],
)
def test_a_run_that_ended_before_its_last_stage_is_refused(change, words):
    edit_stages("dvc.lock", change)
    with pytest.raises(RLRFError, match=words):
        keeping("a")


def test_a_recipe_without_a_finished_run_is_no_name_for_the_workspace():
    Path("recipes").mkdir()
    shutil.copy(ROOT / "recipes" / "smoke.yaml", "recipes")
    with pytest.raises(RLRFError, match=r"no finished experiment 'smoke': `rlrf4rec exp smoke` runs the recipe"):
        keeping("smoke")
    assert "keep: workspace is in metrics/kept/smoke" in keeping("smoke", "workspace")


@pytest.mark.parametrize(
    ("path", "old", "new", "words"),
    [
        ("metrics/summary.json", "0.5", "0.9", r"evaluate \(metrics/summary.json\). `git checkout` gives it back"),
        ("metrics/per_user.csv", "0.40500", "0.41500", r"evaluate \(metrics/per_user.csv\)"),
        ("params.yaml", "0.1", "0.2", r"a \(kept\) are not .* evaluate \(params.yaml: train_dpo.beta\)"),
        ("dvc.yaml", "cmd: e", "cmd: f", r"evaluate \(dvc.yaml \(cmd\)\)"),
    ],
)
def test_a_kept_run_that_was_edited_is_found(path, old, new, words, capsys):
    keeping("a")
    edit(FOLDER / "a" / path, old, new)
    (fault,) = kept.faults("a")
    assert re.search(words, fault)
    _, found = as_json(capsys, "first", "a")
    assert found["notes"] == [fault]  # `compare` says it too


def test_check_tells_of_kept_runs(tmp_path):
    keeping("a")
    keeping("b")
    (FOLDER / "a" / "better.json").write_text("{}")
    (FOLDER / "b" / "metrics" / "per_user.csv").unlink()
    found = check.Found()
    check._kept(found)
    assert found.said == [("kept", "2 kept runs: a, b")]
    assert found.faults == [
        "metrics/kept/a/better.json: no file of this kept run: remove it",
        "b (kept): metrics/per_user.csv is missing in metrics/kept/b; `git checkout` gives it back, or keep the run "
        "again with --replace",
    ]
    check._metrics(tmp_path, found)  # they are no metrics files without a stage
    assert len(found.faults) == 2


def test_what_is_not_kept_is_named():
    keeping("tea")
    with pytest.raises(RLRFError, match=r"revision 'tee': .*did you mean 'tea'"):
        compare("first", "tee")
    with pytest.raises(RLRFError, match=r"tea \(kept\): .*per_user.parquet is not kept with a run; leave --full out"):
        compare("tea", "first", "--full")
