"""A study that is spread over clones, by the pipelines as they are: a command that writes a hash acts every stage."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent
YAMLS = "dvc.yaml", *(f"studies/{name}/dvc.yaml" for name in ("arms", "arms/base", "arms/second"))
ARMS = "studies/arms/dvc.yaml"
# Its outputs are those that dvc.yaml has, with what the command and all that it reads decide; it says that it ran.
STAND_IN = """#!{python} -S
import hashlib, sys
from pathlib import Path
deps, outs = (words.split(",") for words in sys.argv[-2:])
read = hashlib.md5(" ".join(sys.argv[1:-2]).encode())
for dep in map(Path, filter(None, deps)):
    for path in sorted(dep.rglob("*")) if dep.is_dir() else [dep]:
        if path.is_file():
            read.update(path.read_bytes())
for out in map(Path, filter(None, outs)):
    names = [out] if out.suffix else [out / f"{{name}}.parquet" for name in ("items", "prompts", "interactions")]
    for path in names:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(read.hexdigest())
"""


def plain(body):
    """A stage without the dependencies on code and sources, whose command is told what it reads and writes."""
    deps = [dep for dep in body["deps"] if re.match("(data|models|metrics|studies)/", dep)]
    outs = [
        name
        for kind in ("outs", "metrics", "plots")
        for out in body.get(kind, [])
        for name in ([out] if isinstance(out, str) else out)
    ]
    return {**body, "deps": deps, "cmd": f"{body['cmd']} '{','.join(deps)}' '{','.join(outs)}'"}


def run(folder, *command):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def ran(folder, *words):
    """Names of the stages that a `dvc repro` ran."""
    return set(re.findall(r"Running stage '([^']+)'", run(folder, "dvc", "repro", *words)))


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A repository with the committed pipelines and params but for one policy, in which nothing has run."""
    (tmp_path / "bin").mkdir()
    stand_in = tmp_path / "bin" / "rlrf4rec"
    stand_in.write_text(STAND_IN.format(python=sys.executable))
    stand_in.chmod(0o755)
    monkeypatch.setenv(
        "PATH", f"{stand_in.parent}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    )
    monkeypatch.delenv("DVC_ROOT")
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "a")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "a@b")
    folder = tmp_path / "first"
    for name in (".dvc/config", ".dvc/.gitignore", ".dvcignore", ".gitignore", "data/.gitignore", "models/.gitignore"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    params = YAML(typ="safe").load((ROOT / "params.yaml").read_text())
    params["arms"]["policies"] = [1]
    yaml = YAML(typ="safe")
    yaml.dump(params, folder / "params.yaml")
    for name in YAMLS:
        whole = yaml.load((ROOT / name).read_text())
        for body in whole["stages"].values():
            own = body.get("do", body)
            own.update(plain(own))
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        yaml.dump({key: whole[key] for key in whole if key != "plots"}, folder / name)
    run(folder, "git", "init", "-q")
    run(folder, "git", "add", "-A")
    run(folder, "git", "commit", "-qm", "params of the study")
    return folder


def test_an_empty_clone_goes_on_from_what_is_in_git_and_samples_and_scores_none_of_it_again(study, tmp_path):
    """No cache and no store. What holds ratings is made again, in the clone, to the same bytes."""
    recorded = re.search(r"^RECORDED := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()
    done = ran(study, f"{ARMS}:pair@1", "tune_dpo")
    kept = {"sample@base", "score@round1", "pair@round1", "tune_reward", "tune_dpo"}
    kept |= {"studies/arms/base/dvc.yaml:sample@1", f"{ARMS}:score@1", f"{ARMS}:pair@1"}
    assert kept < done
    assert {name.partition("@")[0] for name in kept if "/" not in name} == {*recorded}
    run(study, "dvc", "push", "-r", "records", *recorded)
    run(study, "git", "add", "-A")
    run(study, "git", "commit", "-qm", "as far as it came")
    in_git = run(study, "git", "ls-files").split()
    assert sum(path.startswith("records/files/md5/") and not path.endswith(".dir") for path in in_git) == 5
    assert not any(path.startswith("data/") and path != "data/.gitignore" for path in in_git)

    clone = tmp_path / "clone"
    run(tmp_path, "git", "clone", "-q", str(study), str(clone))
    run(clone, "dvc", "pull", "-r", "records", "--allow-missing", *recorded)
    again = ran(clone, f"{ARMS}:train_dpo@1")
    assert not again & kept
    assert again - done == {f"{ARMS}:train_dpo@1"}
    assert {"fetch_dataset", "split", "prompt", "encode@base"} <= again
    changed = run(clone, "git", "status", "--porcelain").splitlines()
    assert [line for line in changed if line.endswith("dvc.lock")] == ["M  studies/arms/dvc.lock"]
    assert not [line for line in changed if "records" in line or "/texts/" in line or "/score/" in line]


def test_what_a_clone_that_takes_nothing_from_the_records_makes_is_from_nothing(study, tmp_path):
    """They are read where they are asked for: `make repro` in a clone samples, as `rlrf4rec reproduce` does."""
    ran(study, "sample@base")
    run(study, "dvc", "push", "-r", "records", "sample")
    run(study, "git", "add", "-A")
    run(study, "git", "commit", "-qm", "as far as it came")
    run(tmp_path, "git", "clone", "-q", str(study), str(tmp_path / "clone"))
    assert "sample@base" in ran(tmp_path / "clone", "sample@base")
