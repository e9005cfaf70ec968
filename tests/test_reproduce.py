"""`rlrf4rec reproduce` on a tiny repository with a real `dvc repro`: classes, exit codes, failures, Ctrl-C, --take."""

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from compared import call

from rlrf4rec.committed import check, line, reproduced
from rlrf4rec.errors import InputError, ParamsError, RunError
from rlrf4rec.reproducing import command
from rlrf4rec.reproducing.classes import EQUAL, NOT, WITHIN, classify
from rlrf4rec.reproducing.headlines import Headline, headlines

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
    "reward_gain": {"round1": {"test": {"ndcg": gain, "ndcg_personal_part": effect(0.02, 0.01, 0.03)}}},
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


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A repository with a committed run."""
    folder = tmp_path_factory.mktemp("prepared")
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
    return folder


@pytest.fixture
def run(prepared, tmp_path, monkeypatch):
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


def test_a_run_that_gives_the_same(run, capfd):
    """Nothing of the workspace's cache or its metrics is taken over: the clone has run the stage itself."""
    assert run() == 0
    printed = capfd.readouterr().out
    assert "Running stage 'evaluate'" in printed  # of DVC, as it comes
    assert re.search(r"the code is that of \S+/clones/rlrf4rec-reproduce-\w+/src\n", printed)
    assert "HEAD (" in printed
    assert "4 equal, 0 within tolerance, 0 not reproduced" in printed
    assert "outputs equal to the byte: 3 of 3" in printed
    found = json.loads(Path("metrics/reproduced.json").read_text())
    assert found["commit"] == call("rev-parse", "HEAD")
    assert (found["how"], found["classes"]) == ("run", {EQUAL: 4, WITHIN: 0, NOT: 0})
    assert {"cpu", "cores", "capability"} == set(found["machine"])
    assert {"python", "torch", "dvc"} < set(found["versions"])
    assert found["date"] == time.strftime("%Y-%m-%d", time.gmtime())
    assert clones() == []


def test_all_three_classes(run, monkeypatch, capfd):
    """A shift of 0.009 of the gain is less than half its interval's width, 0.01; 0.0031 of the other is more."""
    monkeypatch.setenv("SHIFT", "-0.009")
    monkeypatch.setenv("SHARE", "0.0031")
    assert run("HEAD") == 1
    printed = capfd.readouterr().out
    assert "2 equal, 1 within tolerance, 1 not reproduced" in printed
    row = next(each for each in printed.splitlines() if each.startswith("personal part of re-rankers with base"))
    assert row.split()[6:] == ["+0.0010", "[-0.0020,", "+0.0040]", "+0.0041", "+0.0031", "0.0030", "not", "reproduced"]
    assert "note: reward gain of round1: a gain is claimed in the commit alone" in printed
    assert "outputs equal to the byte: 1 of 3" in printed
    assert "arithmetic here: float32 on avx2, 1 thread" in printed
    rows = json.loads(Path("metrics/reproduced.json").read_text())["numbers"]
    assert {name: each["class"] for name, each in rows.items()} == {
        "reward gain of round1": WITHIN,
        "personal part of the reward gain of round1 by judges": EQUAL,
        "personal part of re-rankers with base": NOT,
        "ndcg@5 with base": EQUAL,
    }


def test_a_run_that_fails_says_so_and_keeps_the_clone(run, monkeypatch, capfd):
    monkeypatch.setenv("FAIL", "1")
    with pytest.raises(
        RunError, match=r"`dvc repro` of \w{10} ended with code 255: see above; its clone is kept in "
    ) as e:
        run()
    assert "make.py: no luck today" in capfd.readouterr().err
    (kept,) = clones()
    assert str(e.value).endswith(kept.name)
    assert (e.value.code, Path("metrics/reproduced.json").exists()) == (7, False)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_leaves_no_clone_and_no_process(run, monkeypatch, number):
    monkeypatch.setenv("SLOW", "1")
    own = {**os.environ, "TMPDIR": str(Path("../clones").resolve())}
    words = [sys.executable, "-m", "rlrf4rec", "reproduce"]
    with subprocess.Popen(words, env=own, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while "working" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(number)
        begin = time.monotonic()
        _, told = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert told.splitlines()[-1].startswith("rlrf4rec reproduce: stopped; nothing is written, and its clone is removed")
    assert "Traceback" not in told
    assert clones() == []
    assert time.monotonic() - begin < 50  # the stage would have slept on


def test_the_workspace_is_no_commit(run):
    with pytest.raises(ParamsError, match="the workspace is no commit"):
        run("workspace")


def test_a_commit_without_a_run(run):
    with pytest.raises(InputError, match=r"metrics/evaluate.json is missing, so there is no finished run"):
        run("HEAD~1")


def ran_now(seconds=60):
    """The log that the stage's command would have left."""
    log = Path(".rlrf4rec/logs/src_make.py.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("ran\n")
    when = time.time() + seconds
    os.utime(log, (when, when))


def test_a_run_that_is_taken(run, monkeypatch, capfd):
    monkeypatch.setenv("SHIFT", "0.02")
    repro("--force", "--no-run-cache")
    ran_now()
    assert run("--take") == 1
    assert "3 equal, 0 within tolerance, 1 not reproduced" in capfd.readouterr().out
    assert json.loads(Path("metrics/reproduced.json").read_text())["how"] == "taken"
    assert clones() == []


def test_what_may_not_be_taken(run):
    """The committed run itself, that of other code, one that was never made here, an edited one."""
    with pytest.raises(InputError, match="evaluate has not run in this workspace"):
        run("--take")
    ran_now(-3600)
    with pytest.raises(InputError, match=r"evaluate last ran here at .*, before HEAD \(\w+\) had its dvc.lock"):
        run("--take")
    ran_now()
    Path("metrics/summary.json").write_text("{}")
    with pytest.raises(InputError, match=r"no finished run: metrics/summary.json: edited"):
        run("--take")
    call("checkout", "metrics")
    Path("src/new.py").write_text("")
    with pytest.raises(InputError, match=r"the workspace is not HEAD \(\w+\): src/new.py differ"):
        run("--take")
    Path("src/new.py").unlink()
    Path("params.yaml").write_text("seed: 2\n")
    with pytest.raises(InputError, match=r"the workspace is not HEAD \(\w+\): params.yaml differ"):
        run("--take")


def test_the_check_and_the_readme_tell_the_last_one(run, capfd):
    assert "no `rlrf4rec reproduce`" in dict(check.everything().said)["again"]
    run()
    found = check.everything()
    assert found.faults == ["README.md: its line on the run is not true; `rlrf4rec check --write` mends it"]
    line.write(line.README, check.readme_line(Path()))
    assert (
        ": 4 equal, 0 within tolerance, 0 not reproduced (`metrics/reproduced.json`)." in Path("README.md").read_text()
    )
    assert check.everything().faults == []


def test_an_edited_record_is_found(run, capfd):
    run()
    level = "ndcg@5 with base"
    edits = [
        (lambda found: found.update(commit="0" * 40), "its commit 0000000 is not in this repository"),
        (lambda found: found["classes"].update(equal=5), "its counts are not those of its numbers"),
        (lambda found: found["numbers"].pop(level), "its counts are not those of its numbers"),
        (lambda found: found["numbers"][level]["here"].update(value=0.9), "is said to be equal, but is not reproduced"),
        (
            lambda found: [found["numbers"][level][side].update(value=0.9) for side in ("committed", "here")],
            "its committed numbers are not those of commit",
        ),
    ]
    for edit, fault in edits:
        found = json.loads(Path("metrics/reproduced.json").read_text())
        assert reproduced.faults(found) == []
        edit(found)
        assert any(fault in sentence for sentence in reproduced.faults(found))
    Path("metrics/reproduced.json").write_text("{}")
    with pytest.raises(InputError, match="is not as `rlrf4rec reproduce` writes it"):
        check.everything()


def test_a_shallow_clone_says_that_it_could_not_look_at_the_commit(run, capfd, monkeypatch):
    run()
    line.write(line.README, check.readme_line(Path()))
    call("add", "-A")
    call("commit", "-qm", "reproduced")
    subprocess.run(["git", "clone", "-q", "--depth=1", f"file://{Path.cwd()}", "../shallow"], check=True)
    monkeypatch.chdir("../shallow")
    found = check.everything()
    assert found.faults == []
    assert found.warnings == [
        "metrics/reproduced.json: its commit is not in this shallow clone, so it is not looked at"
    ]


def number(value, low=0.01, high=0.03):
    return Headline(value, (high - low) / 2, low, high)


def test_classes_by_hand():
    one = number(0.02)
    assert classify(one, number(0.02)) == EQUAL
    assert classify(one, number(0.02, high=0.031)) == WITHIN
    assert (classify(one, number(0.0299)), classify(one, number(0.0301))) == (WITHIN, NOT)
    assert (classify(one, number(0.0101)), classify(one, number(0.0099))) == (WITHIN, NOT)
    assert classify(one, None) == NOT


def test_the_headline_numbers_of_the_committed_run():
    """What the report's first section shows: claims, both kinds of gain, personal parts, levels."""
    metrics = Path(__file__).parent.parent / "metrics"
    evaluate, summary = (json.loads((metrics / f"{name}.json").read_text()) for name in ("evaluate", "summary"))
    found = headlines(evaluate, summary)
    assert set(evaluate["family"]) < set(found)
    gain = found["reward gain of round1"]
    assert gain.value == summary["reward_gain_ndcg5"]
    assert gain.tolerance == pytest.approx((summary["reward_gain_ndcg5_high"] - summary["reward_gain_ndcg5_low"]) / 2)
    assert found["ndcg@5 with round1"].value == summary["ndcg5_tuned"]
    assert {"ndcg@5 with template", "ndcg@5 with base", "reward gain of round1 by labellers"} < set(found)
