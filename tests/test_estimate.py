"""What a run costs is estimated near what was measured, held against the machine, and refused when it can't fit."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from estimated import COMMITTED, CPU, GPU, HEAVY, LARGE, SMALL, WORK, held, needs, of_rounds, params
from good_tables import prompt_row

from rlrf4rec import capacity, estimate, machine
from rlrf4rec.cli import main
from rlrf4rec.errors import ParamsError, ResourceError
from rlrf4rec.estimate import Machine, Need, Work
from rlrf4rec.params import load, recipes
from rlrf4rec.tables.texts import PROMPTS

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def top(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_the_default_run_takes_about_as_long_as_it_did():
    """By `metrics/cost` of the committed run, or of the last one here: each heavy stage, and all of them together."""
    far, disturbed = held({p.stem: json.loads(p.read_text()) for p in (ROOT / "metrics" / "cost").glob("*.json")})
    assert far == {}
    if disturbed:
        pytest.xfail(f"{len(disturbed)} of {len(HEAVY)} stages waited for other programs: {', '.join(disturbed)}")


def cost_files(wall=1.0, cpu=1.0, factor=1.0):
    """A run that takes `factor` times as long as is estimated, on two cores that other programs make it share: its
    wall and CPU-seconds are so many times what they would be.
    """
    p = params(sample__dtype="bfloat16", dpo__precision="bfloat16")
    speeds = {"bfloat16_gflop_per_s": 400.0, "float32_gflop_per_s": 200.0, "ns_per_number": 0.25}
    there = replace(CPU, cpu_flops=2e11, per_number=0.25e-9)
    here = {"arithmetic": "bfloat16 on avx512_bf16, 1 thread", "machine": speeds, "cores": 2, "cpu": "A CPU"}
    found = {}
    for stage, need in needs(p, work=COMMITTED, machine=there).items():
        alone = need.seconds * factor
        cores = 0.6 if stage == "others" else 0.93
        name = {"sample": "sample-base", "others": "evaluate"}.get(stage, f"{stage}-round1")
        found[name] = {**here, "wall_s": alone * wall, "cpu_s": alone * 2 * cores * cpu}
    kept = {key: value for key, value in here.items() if key != "machine"}  # from the store, nothing was computed
    of_studies = {"control-base": {**here, "wall_s": 1e6, "cpu_s": 1e6}}
    of_studies["sample-final_round1_tuning"] = {**kept, "wall_s": 8.0, "cpu_s": 8.0}
    return {**found, **of_studies}


@pytest.mark.parametrize(("wall", "cpu", "count"), [(1.0, 1.0, 0), (1.4, 1.3, 0), (1.7, 1.39, 4), (4.0, 1.6, 4)])
def test_a_run_beside_other_programs_is_held_by_what_it_computed(wall, cpu, count):
    """Waiting threads and shared caches make CPU-seconds more as well: what has waited much is left out."""
    far, disturbed = held(cost_files(wall, cpu))
    assert far == {}
    assert len(disturbed) == count


@pytest.mark.parametrize("factor", [0.6, 1.7])
def test_an_estimate_that_is_far_off_is_found(factor):
    far, disturbed = held(cost_files(factor=factor))
    assert far.keys() >= HEAVY
    assert not disturbed


def test_the_memory_of_dpo_is_near_what_make_bench_measured():
    bench = json.loads((ROOT / "metrics" / "bench.json").read_text())["arithmetic"]["float32"]
    p = params()
    _, used, _ = estimate._dpo(p, SMALL, WORK)
    assert bench["dpo"]["here"]["peak_mb"] * 1e6 < estimate.LIBRARIES + used < 2 * bench["dpo"]["here"]["peak_mb"] * 1e6


def test_time_goes_with_users_rounds_and_machine():
    usual = needs()
    assert needs(work=replace(WORK, users=1886))["sample"].seconds == pytest.approx(
        2 * usual["sample"].seconds, rel=0.01
    )
    assert needs(work=replace(WORK, users=1886))["train_dpo"].seconds == usual["train_dpo"].seconds  # pair.max_pairs
    few = replace(WORK, users=100)
    assert needs(work=few)["train_dpo"].seconds < usual["train_dpo"].seconds
    two, most = (needs(params(pair__per_user=n), work=few)["train_dpo"].seconds for n in (2, 9))  # of five texts
    assert (two, most) == (pytest.approx(2 * needs(work=few)["train_dpo"].seconds), two)
    fast = needs(machine=replace(CPU, flops=8e11))
    assert fast["sample"].seconds == pytest.approx(usual["sample"].seconds / 2)
    assert fast["train_ranker"].seconds == usual["train_ranker"].seconds  # that is the CPU's
    assert needs(work=replace(WORK, shared=0))["sample"].seconds > 1.5 * usual["sample"].seconds
    single, twice = needs(of_rounds(1)), needs(of_rounds(2))
    # Base for all; round1 for evaluated users (a quarter tests, a tenth validates, of the rest 0.4 rank), and for those
    # that tune (0.6 of the rest, and validation users) when a second round follows; round2 for evaluated ones.
    once = 1 + (0.35 + 0.65 * 0.4)
    more = (0.65 * 0.6 + 0.1) + (0.35 + 0.65 * 0.4)
    assert twice["sample"].seconds == pytest.approx(single["sample"].seconds * (once + more) / once, rel=0.01)
    assert twice["train_dpo"].seconds == pytest.approx(2.5 * single["train_dpo"].seconds)  # a reference of round 1
    half = needs(params(dpo__precision="bfloat16"))["train_dpo"].seconds  # the sampler's values are not taken there
    assert half == pytest.approx(3.0 * single["train_dpo"].seconds)
    slow = needs(machine=replace(CPU, per_number=1e-9))["sample"].seconds  # what stands between the products
    assert slow == pytest.approx(usual["sample"].seconds * (1 + 4e11 * 1e-9 * estimate.PASSES))
    assert needs(params(sample__n=10))["sample"].disk == pytest.approx(2 * usual["sample"].disk)
    assert needs(params(tune_dpo__n_trials=0))["tune_dpo"].seconds == 0


def test_a_sample_s_share_goes_with_its_users():
    one = of_rounds(1)
    shares = {name: estimate.share_of_sampling(one, WORK, name) for name in ("base", "round1", "shuffled")}
    assert shares["base"] + shares["round1"] == pytest.approx(1.0)
    assert shares["round1"] == pytest.approx(0.61 / 1.61)
    assert shares["shuffled"] == shares["base"]  # of a study: as many users as there are, at most
    both = one.model_copy(update={"split": one.split.model_copy(update={"tuning_users": "shared"})})
    assert estimate.share_of_sampling(both, WORK, "round1") == pytest.approx(0.5)


def test_memory_goes_with_precision_batch_and_adapter():
    """Merging an adapter holds the weights in float32, whatever they are computed in; those of four bits never are."""
    bfloat16 = {"sample__dtype": "bfloat16", "dpo__precision": "bfloat16"}
    full, half = needs(llm=LARGE, machine=GPU), needs(params(**bfloat16), LARGE, machine=GPU)
    four = needs(params(**bfloat16, llm__quantization="4bit"), LARGE, machine=GPU)
    assert half["sample"].gpu == pytest.approx(4 * LARGE.parameters + estimate.CONTEXT)
    assert half["sample"].memory == pytest.approx(4 * LARGE.parameters + estimate.LIBRARIES)
    assert full["train_dpo"].gpu - half["train_dpo"].gpu > 2 * LARGE.parameters
    assert four["sample"].gpu < 16e9 < half["sample"].gpu
    assert half["tune_dpo"].gpu > 6 * LARGE.parameters  # the LLM that is tuned, and the one that is sampled from
    assert needs(params(dpo__batch=8))["train_dpo"].memory > needs()["train_dpo"].memory + 1e9
    assert needs(params(sample__batch_users=943))["sample"].memory > needs()["sample"].memory + 5e9
    assert needs()["sample"].gpu == 0


def test_an_llm_that_is_not_there_yet_takes_disk_three_times_while_it_comes():
    found = needs(llm=LARGE, work=replace(WORK, fetched=False), machine=GPU)
    assert found["fetch_models"].disk == pytest.approx(3 * 2 * LARGE.parameters)
    assert found["fetch_models"].memory > 4 * LARGE.parameters  # what was converted is asked in float32
    assert "fetch_models" not in needs()


def test_what_cannot_fit_is_refused_with_the_numbers():
    found = [Need("sample", 1.0, 0.0, 9e9, 1e9), Need("train_dpo", 1.0, 0.0, 20e9, 2e9)]
    there = Machine(2, 1e11, 1e11, 21e9, 4e9)
    estimate.refuse(found, there)
    words = r"train_dpo: about 20.0 GB of memory are needed, and there are 16.0 GB; lower dpo.batch .* estimate.refuse"
    with pytest.raises(ResourceError, match=words):
        estimate.refuse(found, replace(there, memory=16e9))
    with pytest.raises(ResourceError, match=r"about 3.0 GB of disk are needed, and 2.5 GB are free"):
        estimate.refuse(found, replace(there, disk=2.5e9))
    on_gpu = [Need("sample", 1.0, 33e9, 4e9, 0.0)]
    with pytest.raises(
        ResourceError, match=r"sample: about 33.0 GB of GPU memory .* 24.0 GB; lower sample.batch_users"
    ):
        estimate.refuse(on_gpu, replace(there, gpu=24e9))


# Here


@pytest.fixture
def fetched(tmp_path, monkeypatch):
    """An LLM of 10^12 parameters and a table of prompts, as far as an estimate looks at them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    (tmp_path / "recipes").mkdir()
    monkeypatch.setattr(capacity, "known_llm", lambda: replace(SMALL, parameters=1e12))
    monkeypatch.setattr(capacity, "machine_here", lambda device, arithmetic: CPU)
    prompts = ["abcdefgh" + "x" * i for i in range(1, 4)]
    PROMPTS.write(
        pl.DataFrame([prompt_row(u, p, [1] * n) for u, p, n in zip("uvw", prompts, (18, 20, 22), strict=True)]),
        capacity.paths.PROMPTS,
    )
    return tmp_path


def call(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["rlrf4rec", *words])
    return main()


def test_a_stage_is_refused_before_work_unless_the_params_say_otherwise(fetched, monkeypatch, capsys):
    ran = []
    monkeypatch.setattr(
        "rlrf4rec.stages.sample.run", lambda seed, sample, llm, name, policy, users: ran.append(1) or "done"
    )
    assert call(monkeypatch, "sample", "base", "base", "all") == 6
    assert not ran
    error = capsys.readouterr().err
    assert "sample: about 4001.5 GB of memory are needed, and there are 25.0 GB; lower sample.batch_users" in error
    path = fetched / "params.yaml"
    path.write_text(path.read_text().replace("  refuse: true", "  refuse: false"))
    assert call(monkeypatch, "sample", "base", "base", "all") == 0
    assert ran
    assert "at most 4001.5 GB of memory, if nothing is done yet" in capsys.readouterr().err


def test_the_work_is_read_from_the_prompts(fetched):
    assert capacity.work_here(params_of(fetched)) == Work(3, 20, 18, 384)  # 9 of 10 letters are the same


def params_of(folder):
    return load(folder / "params.yaml")


def test_before_there_is_an_llm_nothing_is_said(monkeypatch, tmp_path):
    p = params()
    monkeypatch.chdir(tmp_path)
    assert capacity.before("sample", ["base"], p) == ""
    with pytest.raises(ParamsError, match=r"no LLM to estimate by; run `dvc repro fetch_models`"):
        capacity.show(p)


def test_before_anything_is_fetched_the_usual_recipe_s_numbers_serve(monkeypatch, capsys):
    monkeypatch.setattr(capacity, "known_llm", lambda: None)
    monkeypatch.setattr(capacity, "machine_here", lambda device, arithmetic: CPU)
    assert call(monkeypatch, "estimate") == 0
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first == "nothing is fetched yet: by the numbers of recipes/default.yaml"
    assert second.startswith("135 million parameters, 634 users, 418 tokens a prompt")


def test_the_numbers_of_an_llm_come_from_its_folder_however_many_files_it_has(llama, tmp_path):
    model = llama()
    for size in ("50GB", "20KB"):
        folder = tmp_path / size
        model.save_pretrained(folder, max_shard_size=size)
        found = capacity.known_llm(folder)
        assert found.parameters == pytest.approx(sum(p.numel() for p in model.parameters()), rel=0.1)
        assert (found.layers, found.hidden, found.key_values, found.vocabulary) == (2, 32, 16, 64)


def test_the_estimate_is_a_table_with_what_there_is(fetched, monkeypatch, capsys):
    monkeypatch.setattr(capacity, "known_llm", lambda: SMALL)
    monkeypatch.setattr(machine, "bfloat16_in_hardware", lambda device: False)
    assert call(monkeypatch, "estimate") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "135 million parameters, 3 users, 20 tokens a prompt (18 of them shared), N = 5, T = 2"
    rows = ["stage", "sample", "tune_dpo", "train_dpo", "train_ranker", "others", "all", "here"]
    assert [line.split()[0] for line in lines[1:9]] == rows
    assert lines[8].split() == ["here", "-", "25.0", "70.00"]
    assert lines[9] == ("2 cores, 400 GFLOP/s measured in float32, 400 in float32 for re-rankers; no download counted")
    assert lines[10] == "it fits"


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_s_estimate_is_printed_before_anything_is_fetched(name, monkeypatch, capsys):
    monkeypatch.setattr(capacity, "known_llm", lambda: None)
    server = {"cuda": replace(GPU), "auto": CPU}
    monkeypatch.setattr(capacity, "machine_here", lambda device, arithmetic: server[device])
    assert call(monkeypatch, "estimate", "--recipe", name) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{name}: ")
    assert "\nfetch_models " in out
    assert out.endswith("it fits\n")


def test_a_recipe_that_can_not_fit_here_ends_with_the_code_of_the_machine(monkeypatch, capsys):
    monkeypatch.setattr(capacity, "machine_here", lambda device, arithmetic: replace(CPU, gpu=0.0))
    assert call(monkeypatch, "estimate", "--recipe", "paper-ml1m") == 6
    out, error = capsys.readouterr()
    assert "8.0 billion parameters, 4593 users" in out
    assert "PyTorch finds no GPU" in error


def test_the_llm_that_was_fetched_is_known_by_its_shape(monkeypatch, capsys):
    monkeypatch.setattr(capacity, "known_llm", lambda: replace(SMALL, parameters=134_530_276))
    monkeypatch.setattr(capacity, "machine_here", lambda device, arithmetic: CPU)
    assert call(monkeypatch, "estimate", "--recipe", "default") == 0
    assert "fetch_models" not in capsys.readouterr().out


def test_this_machine_has_something_of_everything():
    here = capacity.machine_here("cpu")
    assert here.gpu is None
    assert here.flops == here.cpu_flops > 1e8
    half = capacity.machine_here("cpu", "bfloat16")
    assert half.flops != half.cpu_flops > 1e8
    assert here.memory > 1e9
    assert here.disk > 0
    assert capacity.machine_here("cuda").gpu is not None
