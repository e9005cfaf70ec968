"""A tiny repository with a real `dvc repro`, for the tests of `rlrf4rec reproduce`."""

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from compared import call

from rlrf4rec.committed import line
from rlrf4rec.reproducing import command

# The stage `evaluate`; what another machine would make of it comes from the environment.
MAKE = """
import json, os, time
from pathlib import Path

shift, share = float(os.environ.get("SHIFT", 0)), float(os.environ.get("SHARE", 0))
print("the code is that of", os.environ.get("PYTHONPATH"))
if os.environ.get("FAIL"):
    raise SystemExit("make.py: no luck today")
if os.environ.get("SLOW"):
    print("working", flush=True)
    time.sleep(60)


def effect(value, low, high, p=0.01):
    return {"difference": value, "low": low, "high": high, "p": p, "p_holm": p}


gain = effect(0.016 + shift, 0.006 + shift, 0.026 + shift)
evaluate = {
    "arithmetic": "float32 on avx2, 1 thread" if shift else "float32 on avx512, 1 thread",
    "reward_gain": {"round1": {"development": {"ndcg": gain, "ndcg_personal_part": effect(0.02, 0.01, 0.03)}}},
    "personal": {"base": {"all": {"ndcg@5": effect(0.001 + share, -0.002 + share, 0.004 + share)}}},
    "differences": {"base - constant": {"all": {"ndcg@5": effect(0.01, 0.0, 0.02)}}},
    "family": {"reward gain of round1": gain},
}
for name, content in (("evaluate", evaluate), ("summary", {"ndcg5_base": 0.51})):
    Path("metrics").mkdir(exist_ok=True)
    Path(f"metrics/{name}.json").write_text(json.dumps(content))
Path("data").mkdir(exist_ok=True)
Path("data/out").write_text(str(shift))
"""
DAG = """stages:
  evaluate:
    cmd: {python} src/make.py
    deps: [src/make.py]
    params: [seed]
    outs: [data/out]
    metrics:
      - metrics/evaluate.json: {{cache: false}}
      - metrics/summary.json: {{cache: false}}
"""


def repro(*more):
    words = [sys.executable, "-m", "dvc", "repro", "-q", *more]
    subprocess.run(words, check=True, env={**os.environ, "DVC_ROOT": ""})


def prepare(folder):
    """A repository with a committed run."""
    files = {
        "src/make.py": MAKE,
        "dvc.yaml": DAG.format(python=sys.executable),
        "params.yaml": "seed: 1\n",
        ".dvc/config": "",
        ".gitignore": "/.rlrf4rec/\n",
        ".dvcignore": "",
        "README.md": f"# A\n\n{line.BEGIN}\n{line.FITS}\n{line.END}\n",
        "docs/findings.md": "# Findings\n",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    with contextlib.chdir(folder):
        call("init", "-q")
        call("add", "-A")
        call("commit", "-qm", "code")
        repro()
        call("add", "-A")
        call("commit", "-qm", "run")


def in_copy(prepared, tmp_path, monkeypatch):
    """The command in a copy of the repository. Clones come into `clones` beside it."""
    shutil.copytree(prepared, tmp_path / "r")
    (tmp_path / "clones").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "clones"))
    monkeypatch.setenv("DVC_ROOT", "")
    monkeypatch.chdir(tmp_path / "r")

    def reproduce(*args):
        parser = argparse.ArgumentParser()
        command.add(parser.add_subparsers())
        return command.run(parser.parse_args(["reproduce", *args]))

    return reproduce


def clones():
    return list(Path("../clones").iterdir())


def ran_now(seconds=60):
    """The log that the stage's command would have left."""
    log = Path(".rlrf4rec/logs/src_make.py.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("ran\n")
    when = time.time() + seconds
    os.utime(log, (when, when))


def kept(path, seconds):
    """A piece of work in the state folder, made so many seconds from now."""
    piece = Path(".rlrf4rec") / path
    piece.parent.mkdir(parents=True, exist_ok=True)
    piece.write_bytes(b"piece")
    os.utime(piece, (time.time() + seconds,) * 2)
    return piece
