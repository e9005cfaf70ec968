"""What a stage cost is written beside its metrics, and never in its way."""

import json
import shutil
import time
from pathlib import Path

import pytest

from rlrf4rec import cost, machine
from rlrf4rec.params import load

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def spend(seconds):
    begin = time.process_time()
    while time.process_time() - begin < seconds:
        sum(range(1000))


def test_a_stage_s_file_has_its_time_memory_and_arithmetic():
    with cost.measured("sample", ["base", "models/none.json"], {"llm": load().llm}, ["float32"]):
        spend(0.3)
    found = json.loads(Path("metrics/cost/sample-base.json").read_text())
    assert found["wall_s"] >= found["cpu_s"] >= 0.3
    assert 50 < found["peak_mb"] < 50_000
    assert found["cpu"] == machine.cpu_name()
    assert found["arithmetic"] == machine.arithmetic("float32", machine.device("auto"))


def test_entries_have_files_of_their_own_and_are_added_up():
    assert cost.place("train_ranker", ["prm", "base"]) == Path("metrics/cost/train_ranker-prm-base.json")
    assert cost.place("split", []) == Path("metrics/cost/split.json")
    assert cost.seconds("sample") is None
    for entry, seconds in (("base", 1.5), ("round1", 2.0)):
        path = cost.place("sample", [entry])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"wall_s": seconds}))
    cost.place("sample_more", []).write_text(json.dumps({"wall_s": 100.0}))
    assert cost.seconds("sample") == 3.5


def test_a_stage_that_fails_writes_none():
    with pytest.raises(ValueError, match="x"), cost.measured("split", [], {}, []):
        raise ValueError("x")
    assert not Path("metrics").exists()


def test_a_cost_that_can_not_be_written_is_told_and_ends_nothing(capsys):
    Path("metrics").write_text("in the way")
    with cost.measured("split", [], {}, []):
        pass
    assert "metrics/cost/split.json is not written: " in capsys.readouterr().err


def test_the_cost_of_another_run_is_seen():
    params = load()
    before = cost.identity("pair", ["round1"], {"pair": params.pair})
    assert before == cost.identity("pair", ["round1"], {"pair": params.pair})
    other = params.pair.model_copy(update={"max_pairs": 7})
    assert cost.identity("pair", ["round1"], {"pair": other}) != before
    path = Path("metrics/pair/round1.json")
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    assert cost.identity("pair", ["round1"], {"pair": params.pair}) != before
