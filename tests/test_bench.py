"""What benchmarks make of what they measure; the measuring itself, on the small LLM."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
import torch

from rlrf4rec import paths
from rlrf4rec.alignment import module
from rlrf4rec.alignment.loss import LogProbs
from rlrf4rec.bench import arms, child, data, measure, scaling
from rlrf4rec.errors import RLRFError
from rlrf4rec.params import load
from rlrf4rec.stages import bench

ROOT = Path(__file__).parent.parent


def result(cpu, made=4, name="texts", **more):
    return {"cpu_s": cpu, "wall_s": cpu, "peak_mb": 100.0 * cpu, "loaded_mb": 10.0, name: made, **more}


def test_a_summary_has_medians_and_the_cost_of_one():
    found = measure.summary([result(3.0), result(1.0), result(2.0)], "texts")
    assert found == {"texts": 4, "cpu_s": 2.0, "wall_s": 2.0, "peak_mb": 200.0, "loaded_mb": 10.0, "cpu_s_per": 0.5}


def test_a_ratio_is_taken_turn_by_turn_for_equal_work():
    # the machine is half as fast in the second turn; the other arm makes twice as many texts in it
    others, own = [result(6.0), result(24.0, made=8), result(5.0)], [result(2.0), result(4.0), result(1.0)]
    assert measure.ratio(others, own, "texts") == {"ratio": 3.0, "low": 3.0, "high": 5.0}


def test_the_exponent_of_quadratic_cost_with_noise_is_near_two():
    assert measure.exponent([1, 2, 4], [5, 20, 80]) == 2.0
    assert measure.exponent([4, 8, 16, 32], [1.0, 1.0, 1.0, 1.0]) == 0.0


def test_a_child_that_fails_is_named_with_its_last_words(tmp_path):
    (tmp_path / "rlrf4rec").mkdir()
    (tmp_path / "rlrf4rec" / "__init__.py").write_text("raise ImportError('another package')")
    with pytest.raises(RLRFError, match="bench: own_dpo failed: ImportError: another package"):
        measure.run({"arm": "own_dpo"}, tmp_path)


def test_the_limit_is_measured_in_a_process_of_its_own():
    found = measure.run({"arm": "matmul", "dtype": "float32", "times": 20})
    assert found["flop"] == 20 * 2 * 1024 * 576 * 1536
    assert 0 < found["cpu_s"] < 60
    assert found["peak_mb"] >= found["loaded_mb"] > 50


def test_arms_run_in_turn_and_a_commit_with_other_names_is_left_out(monkeypatch, tmp_path, capsys):
    asked = []

    def run(spec, source=measure.SOURCE):
        asked.append((spec["arm"], source))
        if source == tmp_path:
            raise RLRFError("bench: own_dpo failed: no such name")
        return result({"own_dpo": 1.0, "stock_dpo": 4.0}[spec["arm"]], name="pairs")

    monkeypatch.setattr(measure, "run", run)
    found = arms.compare({}, "dpo", "pairs", 2, tmp_path)
    here, there = ("own_dpo", measure.SOURCE), ("stock_dpo", measure.SOURCE)
    assert asked == [here, there, ("own_dpo", tmp_path), here, there]
    assert found["others"] == {"trl": {"ratio": 4.0, "low": 4.0, "high": 4.0}}
    assert "the last commit is left out" in capsys.readouterr().out


def test_a_stock_arm_that_fails_is_no_result(monkeypatch):
    def run(spec, source=None):
        raise RLRFError("bench: plain_sampling failed")

    monkeypatch.setattr(measure, "run", run)
    with pytest.raises(RLRFError, match="plain_sampling"):
        arms.compare({}, "sampling", "texts", 1, None)


def test_own_and_plain_sampling_do_the_same_work(llama, monkeypatch, arithmetic):
    """Without stops every text has its full length; the operations are those of the tokens that are computed."""
    monkeypatch.setattr(child, "load_tokenizer", lambda folder: None)
    monkeypatch.setattr(child, "load_llm", lambda folder, dtype, attention="sdpa": llama(attention).to(dtype))
    spec = {
        "dtype": arithmetic,
        "prompts": [[5, 6, 7, 8], [5, 6, 9]],
        "n": 3,
        "tokens": 4,
        "stop": [],
        "batch": 2,
        "temperature": 1.0,
        "top_k": 0,
        "top_p": 0.9,
    }
    own, plain = child.own_sampling(spec), child.plain_sampling(spec)
    assert own["texts"] == plain["texts"] == 6
    assert own["new_tokens"] == plain["new_tokens"] == 24
    model = llama()
    head = model.get_output_embeddings().weight.numel()
    body = sum(p.numel() for p in model.parameters()) - head
    # two shared tokens, two and one of their own, and three of four new ones of each text
    assert own["flop"] == 2 * (body * (2 + 2 + 1 + 6 * 3) + head * 24)


def test_our_dpo_takes_the_told_reference_in_float32_alone(llama, monkeypatch, arithmetic):
    asked = []
    monkeypatch.setattr(child, "load_llm", lambda folder, dtype, attention="sdpa": llama(attention).to(dtype))
    monkeypatch.setattr(
        module,
        "reference_log_probs",
        lambda policy, pairs, *more: asked.append(1) or LogProbs(*torch.zeros(2, len(pairs))),
    )
    pair = {
        "prompt_tokens": [5, 6],
        "chosen_tokens": [7],
        "rejected_tokens": [8],
        "chosen_log_prob": -1.0,
        "rejected_log_prob": -2.0,
    }
    found = child.own_dpo({"pairs": [pair, pair], "rank": 2, "alpha": 4, "batch": 2, "dtype": arithmetic})
    assert found["pairs"] == 2
    assert bool(asked) == (arithmetic == "bfloat16")


def test_every_arithmetic_of_the_machine_is_measured(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    empty = pl.DataFrame(schema=dict.fromkeys(("user", "prompt", "tokens", "item", *bench.PAIR), pl.String))
    for name in ("PROMPTS", "PAIRS", "ITEMS", "HISTORY"):
        monkeypatch.setattr(bench, name, SimpleNamespace(read=lambda path: empty))
    monkeypatch.setattr(bench.template, "read", lambda path, texts: None)
    monkeypatch.setattr(bench, "load_tokenizer", lambda folder: None)
    monkeypatch.setattr(arms, "last_commit", lambda folder: None)
    monkeypatch.setattr(bench, "scaling", lambda prompts, spec, users: spec["dtype"])
    monkeypatch.setattr(bench, "large_data", lambda *given: [{}, {}])
    monkeypatch.setattr(bench, "large_catalogue", lambda folder: {})
    asked = []

    def run(spec, source=measure.SOURCE):
        asked.append((spec["arm"], spec["dtype"]))
        name = "pairs" if spec["arm"].endswith("dpo") else "texts"
        return result(4.0 if spec["arm"] in ("plain_sampling", "stock_dpo") else 1.0, name=name, flop=2e9)

    monkeypatch.setattr(measure, "run", run)
    monkeypatch.setattr(bench.machine, "bfloat16_in_hardware", lambda device: True)
    p = load(ROOT / "params.yaml")
    line = bench.run(p.prompt, p.sample, p.dpo, p.bench)
    found = json.loads(paths.metrics("bench").read_text())
    assert list(found["arithmetic"]) == ["float32", "bfloat16"]
    assert found["arithmetic"]["bfloat16"]["sampling"]["here"]["share_of_matmul_limit"] == 1.0
    assert found["scaling"] == "bfloat16"
    assert "bfloat16: plain generate takes 4.0 times the CPU, stock TRL 4.0 times" in line
    assert {kind for _, kind in asked} == {"float32", "bfloat16"}
    monkeypatch.setattr(bench.machine, "bfloat16_in_hardware", lambda device: False)
    bench.run(p.prompt, p.sample, p.dpo, p.bench)
    assert list(json.loads(paths.metrics("bench").read_text())["arithmetic"]) == ["float32"]


def test_each_kind_of_work_is_measured_at_four_sizes_in_the_arithmetic_asked_for(monkeypatch):
    asked = []

    def run(spec, source=measure.SOURCE):
        asked.append((len(spec["prompts"]), spec["n"], spec["tokens"], spec["dtype"]))
        return {"cpu_s": float(len(spec["prompts"]) * spec["n"])}

    monkeypatch.setattr(measure, "run", run)
    found = scaling.scaling(lambda users, items: [[5]] * users, {"dtype": "bfloat16", "prompts": [[6]]}, 8)
    assert list(found) == ["users", "n", "tokens", "history"]
    assert found["users"] == {"sizes": [1, 2, 4, 8], "cpu_s": [4.0, 8.0, 16.0, 32.0], "exponent": 1.0}
    assert found["history"]["exponent"] == 0.0
    assert asked[:2] == [(1, 4, 16, "bfloat16"), (2, 4, 16, "bfloat16")]
    assert len(asked) == 16


def test_the_child_reads_its_spec_and_prints_one_object(tmp_path, monkeypatch, capsys):
    path = tmp_path / "spec.json"
    path.write_text(json.dumps({"arm": "matmul"}))
    monkeypatch.setattr(sys, "argv", ["child.py", str(path)])
    monkeypatch.setitem(child.ARMS, "matmul", lambda spec: {"given": spec["arm"]})
    child.main()
    assert json.loads(capsys.readouterr().out) == {"given": "matmul"}


def test_a_large_data_set_goes_through_the_stages(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)  # where the params are
    monkeypatch.setattr(data, "ITEMS", 300)
    size = {"to": str(tmp_path), "interactions": 5000, "users": 60}
    child.generated_data(size)
    found = child.interactions_stage(size)
    assert (found["users"], found["items"]) == (60, 300)
    assert 2000 < found["interactions"] <= 5000
    assert pl.read_parquet(tmp_path / paths.INTERACTIONS).height == found["interactions"]
    split = child.split_stage({**size, "protocol": "retrieved", "epochs": 1})
    lists = [pl.read_parquet(tmp_path / paths.lists(fold)) for fold in ("train", "validation", "development")]
    assert split["lists"] == sum(made.height for made in lists) / 10 > 0
    assert set(lists[0]["protocol"]) == {"retrieved"}


def test_stages_of_a_large_data_set_run_one_after_the_other(tmp_path, monkeypatch):
    asked = []

    def run(spec):
        assert Path(spec["to"]).parent == tmp_path
        asked.append({key: spec[key] for key in spec if key != "to"})
        return {"wall_s": 1.23456, "users": 1999, "items": 60_000, "interactions": 390_123, "lists": 7}

    monkeypatch.setattr(measure, "run", run)
    found = scaling.large_catalogue(tmp_path)
    assert [spec["arm"] for spec in asked] == ["generated_data", "interactions_stage", "split_stage"]
    assert asked[2] == {"arm": "split_stage", "protocol": "retrieved", "epochs": 1, "threads": 2}
    assert found == {"wall_s": 1.23, "users": 1999, "items": 60_000, "interactions": 390_123, "lists": 7}
    assert list(tmp_path.iterdir()) == []
