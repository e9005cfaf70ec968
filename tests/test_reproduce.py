"""`rlrf4rec reproduce` on a tiny repository with a real `dvc repro`: classes, exit codes, failures, Ctrl-C."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from again import clones, ran_now, repro
from compared import call

from rlrf4rec import interrupts
from rlrf4rec.committed import check, line, reproduced
from rlrf4rec.errors import InputError, ParamsError, RunError
from rlrf4rec.reproducing import records, told
from rlrf4rec.reproducing.classes import EQUAL, NOT, WITHIN, classify
from rlrf4rec.reproducing.headlines import Headline, headlines
from rlrf4rec.reproducing.runs import Run
from rlrf4rec.tables.results import shows_gain


def test_a_run_that_gives_the_same(reproduce, capfd):
    """Nothing of the workspace's cache or its metrics is taken over: the clone has run the stage itself."""
    assert reproduce() == 0
    printed = capfd.readouterr().out
    assert "Running stage 'evaluate'" in printed  # of DVC, as it comes
    assert re.search(r"the code is that of \S+/clones/rlrf4rec-reproduce-\w+/src\n", printed)
    assert "HEAD (" in printed
    assert "4 equal, 0 within tolerance, 0 not reproduced" in printed
    assert "outputs equal to the byte: 3 of 3" in printed
    (found,) = records.read(Path()).values()
    assert found["commit"] == call("rev-parse", "HEAD")
    assert (found["how"], found["classes"]) == ("run", {EQUAL: 4, WITHIN: 0, NOT: 0})
    assert {"cpu", "cores", "capability"} == set(found["machine"])
    assert {"python", "torch", "dvc"} < set(found["versions"])
    assert found["date"] == time.strftime("%Y-%m-%d", time.gmtime())
    assert clones() == []


def test_all_three_classes(reproduce, monkeypatch, capfd):
    """A shift of 0.009 of the gain is less than half its interval's width, 0.01; 0.0031 of the other is more."""
    monkeypatch.setenv("SHIFT", "-0.009")
    monkeypatch.setenv("SHARE", "0.0031")
    assert reproduce("HEAD") == 1
    printed = capfd.readouterr().out
    assert "2 equal, 1 within tolerance, 1 not reproduced" in printed
    row = next(each for each in printed.splitlines() if each.startswith("personal part of re-rankers with base"))
    assert row.split()[6:] == ["+0.0010", "[-0.0020,", "+0.0040]", "+0.0041", "+0.0031", "0.0030", "not", "reproduced"]
    assert "note: reward gain of round1: a gain is claimed in the commit alone, of its one policy" in printed
    assert "outputs equal to the byte: 1 of 3" in printed
    assert "arithmetic here: float32 on avx2, 1 thread" in printed
    rows = records.read(Path())[records.OTHER]["numbers"]
    assert {name: each["class"] for name, each in rows.items()} == {
        "reward gain of round1": WITHIN,
        "personal part of the reward gain of round1 by judges": EQUAL,
        "personal part of re-rankers with base": NOT,
        "ndcg@5 with base": EQUAL,
    }


def test_a_run_that_fails_says_so_and_keeps_the_clone(reproduce, monkeypatch, capfd):
    monkeypatch.setenv("FAIL", "1")
    with pytest.raises(
        RunError, match=r"`dvc repro` of \w{10} ended with code 255: see above; its clone is kept in "
    ) as e:
        reproduce()
    assert "make.py: no luck today" in capfd.readouterr().err
    (kept,) = clones()
    assert str(e.value).endswith(kept.name)
    assert (e.value.code, Path("metrics/reproduced.json").exists()) == (7, False)
    # What the error advises: the clone goes on with its own code, and its run may be taken.
    assert "`PYTHONPATH=$PWD/src dvc repro` goes on, and then `rlrf4rec reproduce --take`" in e.value.todo
    monkeypatch.delenv("FAIL")
    monkeypatch.chdir(kept)
    monkeypatch.setenv("PYTHONPATH", str(kept.resolve() / "src"))
    repro()
    ran_now()
    assert reproduce("--take") == 0
    assert records.read(Path())[records.SAME]["how"] == "taken"


def test_the_record_is_written_before_anything_is_shown(reproduce, monkeypatch, capfd):
    """A pipe that is closed (`| head`) loses no hours of work."""

    def closed(*_):
        raise BrokenPipeError

    monkeypatch.setattr(told, "show", closed)
    with pytest.raises(BrokenPipeError):
        reproduce()
    assert records.read(Path())[records.SAME]["how"] == "run"


@pytest.mark.parametrize(("error", "left"), [(OSError("no space"), 1), (KeyboardInterrupt, 0)])
def test_a_finished_run_that_could_not_be_written_is_kept(reproduce, monkeypatch, capfd, error, left):
    """Not when it was stopped."""

    def failing(*_):
        raise error

    monkeypatch.setattr(interrupts, "ignore", lambda: None)
    monkeypatch.setattr(records, "write_json", failing)
    with pytest.raises(type(error) if left else error):
        reproduce()
    assert len(clones()) == left
    said = capfd.readouterr().err
    assert [f"the run has finished and is kept in {folder.resolve()};" in said for folder in clones()] == [True] * left


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_leaves_no_clone_and_no_process(reproduce, monkeypatch, number):
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


def test_the_workspace_is_no_commit(reproduce):
    with pytest.raises(ParamsError, match="the workspace is no commit"):
        reproduce("workspace")


def test_a_commit_without_a_run(reproduce):
    with pytest.raises(InputError, match=r"metrics/evaluate.json is missing, so there is no finished run"):
        reproduce("HEAD~1")


def test_the_check_and_the_readme_tell_the_last_one(reproduce, capfd):
    assert "no `rlrf4rec reproduce`" in dict(check.everything().said)["again"]
    reproduce()
    found = check.everything()
    assert found.faults == ["README.md: its line on the run is not true; `rlrf4rec check --write` mends it"]
    line.write(line.README, check.readme_line(Path()))
    assert (
        " in the same arithmetic: 4 equal, 0 within tolerance, 0 not reproduced (`metrics/reproduced.json`)."
        in Path("README.md").read_text()
    )
    assert check.everything().faults == []


def test_runs_in_the_same_and_in_another_arithmetic_stand_beside_each_other(reproduce, monkeypatch, capfd):
    """Neither answers for the other; a new one takes the place of the last of its kind."""
    reproduce()
    monkeypatch.setenv("SHIFT", "-0.009")
    reproduce()
    first, second = records.read(Path()).values()
    assert (first["classes"], second["classes"]) == ({EQUAL: 4, WITHIN: 0, NOT: 0}, {EQUAL: 3, WITHIN: 1, NOT: 0})
    said = check.readme_line(Path())
    assert said.index(" in the same arithmetic: 4 equal") < said.index(" in another arithmetic (float32 on avx2): 3")
    records.put({**first, "date": "2030-01-01"})
    assert [each["date"] for each in records.read(Path()).values()] == ["2030-01-01", second["date"]]
    Path("metrics/reproduced.json").write_text(json.dumps({records.SAME: second}))
    with pytest.raises(InputError, match="'the same arithmetic' holds a run in another arithmetic"):
        records.read(Path())
    Path("metrics/reproduced.json").write_text('{"commit": "as it was written before"}')
    capfd.readouterr()
    records.put(second)
    assert "the top level holds 'commit'" in capfd.readouterr().out
    assert list(records.read(Path())) == [records.OTHER]


def test_what_other_pipelines_have_left_is_not_what_the_run_computed_in(reproduce, capfd):
    Path("metrics/probe.json").write_text('{"arithmetic": "bfloat16 on amx_bf16, 2 threads"}')
    call("add", "-A")
    call("commit", "-qm", "a probe made elsewhere")
    reproduce()
    (found,) = records.read(Path()).values()
    assert found["arithmetic"]["committed"] == ["float32 on avx512, 1 thread"]


def test_an_edited_record_is_found(reproduce, capfd):
    reproduce()
    level = "ndcg@5 with base"
    edits = [
        (lambda found: found.update(commit="0" * 40), "its commit 0000000 is not in this repository"),
        (lambda found: found["classes"].update(equal=5), "its counts are not those of its numbers"),
        (lambda found: found["numbers"].pop(level), "its counts are not those of its numbers"),
        (lambda found: found["other_claims"].append("x"), "its other claims are not those of its numbers"),
        (lambda found: found["numbers"][level]["here"].update(value=0.9), "is said to be equal, but is not reproduced"),
        (
            lambda found: [found["numbers"][level][side].update(value=0.9) for side in ("committed", "here")],
            "its committed numbers are not those of commit",
        ),
    ]
    for edit, fault in edits:
        found = records.read(Path())[records.SAME]
        assert reproduced.faults(found) == []
        edit(found)
        assert any(fault in sentence for sentence in reproduced.faults(found))
    Path("metrics/reproduced.json").write_text("{}")
    with pytest.raises(InputError, match="is not as `rlrf4rec reproduce` writes it"):
        check.everything()


def test_a_shallow_clone_says_that_it_could_not_look_at_the_commit(reproduce, capfd, monkeypatch):
    reproduce()
    line.write(line.README, check.readme_line(Path()))
    call("add", "-A")
    call("commit", "-qm", "reproduced")
    subprocess.run(["git", "clone", "-q", "--depth=1", f"file://{Path.cwd()}", "../shallow"], check=True)
    monkeypatch.chdir("../shallow")
    found = check.everything()
    assert found.faults == []
    assert found.warnings == [
        "metrics/reproduced.json, the same arithmetic: its commit is not in this shallow clone, so it is not looked at"
    ]


def test_a_run_that_loses_its_claim_is_told_beside_its_classes(reproduce, monkeypatch, capfd):
    """All its numbers are within tolerance, but the interval of the gain holds zero."""
    monkeypatch.setenv("SHIFT", "-0.009")
    assert reproduce() == 0
    assert check.readme_line(Path()).endswith(
        " in another arithmetic (float32 on avx2): 3 equal, 1 within tolerance, 0 not reproduced "
        "(`metrics/reproduced.json`); reward gain of round1: a gain is claimed in the commit alone, of its one policy."
    )
    found = records.read(Path())[records.OTHER]
    assert reproduced.faults(found) == []
    found["other_claims"] = []
    (fault,) = reproduced.faults(found)
    assert "its other claims are not those of its numbers" in fault


def test_a_tolerance_of_more_digits_than_a_file_holds_is_the_same():
    """Rounded to nine digits, one goes up and the other down."""
    row = {"value": -0.00272889934, "low": -0.01983274203, "high": 0.01381510098, "claimed": False}
    tolerance = (row["high"] - row["low"]) / 2
    run = Run({"round1 - base": Headline(row["value"], tolerance, row["low"], row["high"], False)}, [], {})
    held = float(f"{tolerance:.10g}")
    assert round(held, 9) != round(tolerance, 9)
    assert reproduced.same({"numbers": {"round1 - base": {"committed": row, "tolerance": held}}}, run)
    for change in ({"value": -0.0027288993}, {"low": -0.0198}, {"claimed": True}):
        assert not reproduced.same({"numbers": {"round1 - base": {"committed": row | change, "tolerance": held}}}, run)
    assert not reproduced.same({"numbers": {"round1 - base": {"committed": row, "tolerance": held * 1.001}}}, run)
    assert not reproduced.same({"numbers": {}}, run)


def test_a_claim_is_what_the_report_calls_one():
    """Holm's p at the level itself still shows a gain."""
    row = {"difference": 0.02, "low": 0.01, "high": 0.03, "p": 0.01, "p_holm": 0.05}
    assert shows_gain(row)
    assert headlines({"family": {"gain": row}}, {})["gain"].claimed
    assert not headlines({"family": {"gain": {**row, "p_holm": 0.0501}}}, {})["gain"].claimed


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
    gain = found["reward gain of round2"]
    assert gain.value == summary["reward_gain_ndcg5"]
    assert gain.tolerance == pytest.approx((summary["reward_gain_ndcg5_high"] - summary["reward_gain_ndcg5_low"]) / 2)
    assert found["ndcg@5 with round2"].value == summary["ndcg5_tuned"]
    assert {"ndcg@5 with template", "ndcg@5 with base", "reward gain of round2 by labellers"} < set(found)
