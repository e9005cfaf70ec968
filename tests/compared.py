"""A small repository with runs, experiments and a lock that fits, for the tests of `rlrf4rec compare`."""

import argparse
import hashlib
import json
import subprocess
from pathlib import Path

from ruamel.yaml import YAML

from rlrf4rec.files import dvc_hash
from rlrf4rec.revisions import command

SOURCE = "src/rlrf4rec/ranking/nets.py"
ROOM = "src/rlrf4rec/ranking"
LISTS = "data/split/development"
USERS = [str(u) for u in range(20)]
KNOWLEDGE = ("none", "base", "round1")


def call(*args, git_args=("-c", "user.name=n", "-c", "user.email=e@x")):
    assert not Path("pyproject.toml").exists(), "never in the project itself"
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
    table=None,
    beta=0.1,
    source="nets\n",
    lists="a" * 32,
    texts="c" * 32,
    judge="e" * 32,
    definition=None,
    summary=None,
    computed="float32 on avx2, 2 threads",
):
    """A run of a small pipeline: the files that a revision is read from, with a lock that fits them."""
    assert not Path("pyproject.toml").exists(), "never in the project itself"
    files = {
        "params.yaml": f"seed: 1\nloop: {{rounds: {{round1: {{policy: base}}}}}}\ntrain_dpo: {{beta: {beta}}}\n",
        SOURCE: source,
        "constraints.txt": "numpy==2.4.6\n",
        "metrics/summary.json": json.dumps(summary or {"ndcg5_tuned": 0.5}),
        "metrics/evaluate.json": json.dumps({"metrics": definition or {"k": [5]}, "arithmetic": computed}),
        "metrics/per_user.csv": table or per_user(),
    }
    stages = {
        "split": {"cmd": "s", "outs": [{"path": LISTS, "md5": lists}]},
        "sample@round1": {"cmd": "s", "outs": [{"path": "data/texts/round1", "md5": texts}]},
        "evaluate": {
            "cmd": "e",
            "deps": [
                {"path": LISTS, "md5": lists},
                {"path": "models/train_reward/round1", "md5": judge},
                {"path": ROOM, "md5": dvc_hash({"nets.py": source.encode()})},
            ],
            "params": {"params.yaml": {"train_dpo.beta": beta}},
            "outs": [{"path": p, "md5": md5(text)} for p, text in files.items() if p.startswith("metrics/")],
        },
    }
    dag = {
        "stages": {
            "split": {"cmd": "s"},
            "sample": {"foreach": "${loop.rounds}", "do": {"cmd": "s"}},
            "evaluate": {"cmd": "e", "deps": [LISTS, ROOM], "params": ["train_dpo.beta"]},
        }
    }
    for path, text in files.items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text)
    for path, content in (("dvc.lock", {"schema": "2.0", "stages": stages}), ("dvc.yaml", dag)):
        with Path(path).open("w") as file:
            YAML(typ="safe").dump(content, file)


def edit_stages(path, change):
    """Change the stages of a dvc.yaml or dvc.lock in place."""
    content = YAML(typ="safe").load(Path(path).read_text())
    change(content["stages"])
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


def begin(folder):
    """A new repository in the empty folder that the test has changed to, with a first run."""
    assert not list(folder.iterdir()), "only ever in an empty folder: what follows commits and resets"
    assert Path.cwd() == folder
    call("init", "-q", "-b", "main")
    commit()
    call("tag", "first")


def compare(*args):
    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers())
    return command.run(parser.parse_args(["compare", *args]))


def as_json(capsys, *args):
    code = compare(*args, "--json")
    return code, json.loads(capsys.readouterr().out)


def better(by, only=KNOWLEDGE):
    return per_user(lambda k, u, s: scores(k, u, s) + (by + 0.0005 * (int(u) % 3) if k in only else 0))
