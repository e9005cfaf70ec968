"""What a stage cost is written beside its metrics, and never in its way."""

import json
import re
import shutil
import time
from pathlib import Path

import polars as pl
import pytest

from rlrf4rec import cost, leftovers, machine, store
from rlrf4rec.llm.models import operations
from rlrf4rec.params import load

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def spend(seconds):
    """CPU-seconds of this thread: never more than pass on the clock, as those of all threads can be."""
    begin = time.thread_time()
    while time.thread_time() - begin < seconds:
        sum(range(1000))


def test_a_stage_s_file_has_its_time_memory_and_arithmetic():
    with cost.measured("sample", ["base", "base", "all"], {"llm": load().llm}, ["float32"]):
        spend(0.3)
    found = json.loads(Path("metrics/cost/sample-base.json").read_text())
    assert found["wall_s"] >= 0.3
    assert found["cpu_s"] >= 0.3
    assert 50 < found["peak_mb"] < 50_000
    assert found["cpu"] == machine.cpu_name()
    assert found["arithmetic"] == machine.arithmetic("float32", machine.device("auto"))


def test_entries_have_files_of_their_own_and_are_added_up():
    assert cost.place("train_ranker", ["base", "encode/base"]) == Path("metrics/cost/train_ranker-base.json")
    assert cost.place("split", []) == Path("metrics/cost/split.json")
    assert cost.seconds("A CPU") == {}
    for entry, seconds in (("base", 1.5), ("round1", 2.0), ("base-1", 50.0), ("shuffled", 60.0), ("final_base", 70.0)):
        path = cost.place("sample", [entry])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"wall_s": seconds, "cpu": "A CPU"}))
    cost.place("sample_more", []).write_text(json.dumps({"wall_s": 100.0, "cpu": "A CPU"}))
    cost.place("sample", ["elsewhere"]).write_text(json.dumps({"wall_s": 9.0, "cpu": "Another"}))
    assert cost.seconds("A CPU") == {"sample": 3.5, "sample_more": 100.0}


def test_the_llm_s_speed_stands_beside_what_products_reach(monkeypatch):
    monkeypatch.setattr(machine, "measured", {})
    machine.per_number(0.001)
    machine.flops("float32", least=0.001)
    with cost.measured("sample", ["base"], {"llm": load().llm}, ["float32"]):
        machine.count(4e10)
        time.sleep(0.1)
    found = json.loads(Path("metrics/cost/sample-base.json").read_text())
    assert found["tflop"] == pytest.approx(0.04, abs=1e-3)
    assert 0.0 < found["gflop_per_s"] <= 400
    assert found["machine"] == machine.measured
    assert list(found["machine"]) == ["float32_gflop_per_s", "ns_per_number"]
    assert 0.001 < found["machine"]["ns_per_number"] < 1000
    with cost.measured("split", [], {}, []):
        pass
    assert "tflop" not in json.loads(Path("metrics/cost/split.json").read_text())


def test_what_a_stage_takes_from_the_store_is_noted():
    """It cost nothing there: another stage, or this one before it was killed, has paid for it."""
    shelf = store.Rows("score", "key", ["user"])
    with cost.measured("score", ["round1"], {}, []):
        assert shelf.load() is None
        shelf.add(pl.DataFrame({"user": ["a"]}))
        shelf.flush()
    assert "kept" not in json.loads(Path("metrics/cost/score-round1.json").read_text())
    with cost.measured("score", ["tuned-1"], {}, []):
        assert shelf.load() is not None
    assert json.loads(Path("metrics/cost/score-tuned-1.json").read_text())["kept"] == 1
    cost.write_page(("score",))
    page = cost.PAGE.read_text()
    assert page.count("<td>≥ ") == 1


def test_the_costs_are_a_page_in_the_order_of_the_stages():
    arithmetic = {"arithmetic": "float32 on avx2, 2 threads", "cpu": "A <CPU>"}
    reached = {"gflop_per_s": 30.0, "machine": {"bfloat16_gflop_per_s": 5, "float32_gflop_per_s": 60}}
    for name, wall, more in (("sample-base", 20.0, {**arithmetic, **reached}), ("split", 1.5, {}), ("old", 1.0, {})):
        path = cost.FOLDER / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"wall_s": wall, "cpu_s": 2 * wall, "peak_mb": 500, "largest_worker_mb": 0, **more}))
    cost.write_page(("split", "sample"))
    page = (cost.FOLDER / "index.html").read_text()
    rows = [re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)]
    assert [row[0] for row in rows[1:]] == ["split", "sample-base", "old", "all"]
    assert rows[2] == ["sample-base", "float32 on avx2, 2 threads", "20.0", "40.0", "500", "0", "30", "50%"]
    assert [rows[4][i] for i in (0, 2, 3, 4)] == ["all", "22", "45", "500"]
    assert "A &lt;CPU&gt;" in page


def test_a_page_that_can_not_be_written_is_told(capsys):
    path = cost.FOLDER / "split.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    cost.write_page(())
    assert "metrics/cost/index.html is not written" in capsys.readouterr().err


def test_the_llm_s_operations_are_counted_by_hand(llama):
    """Two layers of hidden size 32, 2 keys of 8, 48 inside; 64 words."""
    model = llama()
    layer = 32 * 32 * 2 + 2 * 32 * 16 + 3 * 32 * model.config.intermediate_size + 2 * 32
    assert operations(model, 10, 3) == 2.0 * (10 * (2 * layer + 32) + 3 * 64 * 32)


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


def test_costs_of_stages_and_entries_that_are_gone_are_found():
    cost.FOLDER.mkdir(parents=True)
    names = (
        "split",
        "combine-base",
        "sample-base",
        "sample-round3",
        "train_ranker-prm-base",
        "bench",
        "tune_reward-base",
        "sample-shuffled",
    )
    for name in names:
        (cost.FOLDER / f"{name}.json").write_text("{}")
    found = leftovers.gone(load().loop, ("split", "sample", "train_ranker", "bench", "tune_reward"), cost.FOLDER)
    assert [path.stem for path in found] == ["combine-base", "sample-round3", "train_ranker-prm-base"]


def test_folders_of_entries_that_are_gone_are_named():
    loop = load().loop
    for name in (
        "data/texts/base",
        "data/texts/round3",
        "models/policy/round1",
        "data/encode/items",
        "data/pair/round3",
    ):
        Path(name).mkdir(parents=True)
    for name in ("metrics/sample/base.json", "metrics/sample/round3.json", "metrics/plots/score/round1.csv"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("")
    Path("data/texts/.gitignore").write_text("")
    found = [path.as_posix() for path in leftovers.left(loop)]
    assert found == ["data/pair/round3", "data/texts/round3", "metrics/sample/round3.json"]
