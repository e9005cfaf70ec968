from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from rlrf4rec import machine, store
from rlrf4rec.params import Params, load

ROOT = Path(__file__).parent.parent


@pytest.fixture
def params():
    """The committed params."""
    return load(ROOT / "params.yaml")


@pytest.fixture
def cpu(monkeypatch):
    """A machine without a GPU whose CPU has just these instructions."""

    def make(*names):
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
        monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"avx2": True, **dict.fromkeys(names, True)})
        for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY"):
            monkeypatch.delenv(name, raising=False)

    return make


def with_values(params, **changes):
    """The params with other values by `block__name`."""
    for key, value in changes.items():
        block, name = key.split("__")
        params = params.model_copy(update={block: getattr(params, block).model_copy(update={name: value})})
    return params


def test_every_param_that_names_an_arithmetic_is_auto_but_what_compares_policies(params):
    """The divergence of two policies is a small difference of large numbers: it stays in float32."""
    auto, found = machine.asked(params, Params.model_fields, "auto"), machine.asked(params, Params.model_fields)
    assert [key for key in found if key not in auto] == ["match_policy.precision", "watch.precision"]
    assert set(auto) < set(found)
    assert machine.asked(params, Params.model_fields, "auto") == [
        "knowledge.dtype",
        "sample.dtype",
        "dpo.precision",
        "probe.dtype",
    ]


@pytest.mark.parametrize("native", ["amx_bf16", "avx512_bf16", "bf16", "sve_bf16"])
def test_auto_is_bfloat16_on_a_cpu_that_has_it(native, cpu, params):
    cpu(native)
    found = machine.resolve(params)
    assert found.sample.dtype == found.dpo.precision == found.knowledge.dtype == found.probe.dtype == "bfloat16"
    assert found.watch.precision == "float32"
    assert machine.arithmetic("bfloat16").startswith(f"bfloat16 on {native}, ")


def test_auto_is_float32_on_a_cpu_that_has_not(cpu, params):
    cpu("avx512_f", "avx512_vnni")
    found = machine.resolve(params)
    assert machine.asked(found, Params.model_fields, "float32") == machine.asked(params, Params.model_fields)


def test_an_explicit_value_wins(cpu, params):
    cpu("amx_bf16")
    found = machine.resolve(with_values(params, sample__dtype="float32"))
    assert (found.sample.dtype, found.dpo.precision) == ("float32", "bfloat16")
    cpu()
    assert machine.resolve(with_values(params, sample__dtype="bfloat16")).sample.dtype == "bfloat16"


@pytest.mark.parametrize(
    ("name", "limit", "native"),
    [
        ("ONEDNN_MAX_CPU_ISA", "AVX2", False),
        ("ONEDNN_MAX_CPU_ISA", "avx512_core_vnni", False),
        ("DNNL_MAX_CPU_ISA", "AVX2", False),
        ("ATEN_CPU_CAPABILITY", "avx2", False),
        ("ATEN_CPU_CAPABILITY", "default", False),
        ("ATEN_CPU_CAPABILITY", "avx512", True),
        ("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16", True),
        ("ONEDNN_MAX_CPU_ISA", "ALL", True),
    ],
)
def test_a_limit_of_the_environment_counts(name, limit, native, cpu, monkeypatch):
    """This is how a slower machine is emulated on a faster one."""
    cpu("avx512_bf16")
    monkeypatch.setenv(name, limit)
    assert machine.bfloat16_in_hardware("cpu") is native


def test_a_gpu_counts_by_what_it_computes_itself(monkeypatch, params):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda number: "A GPU")
    for native, chosen in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation, n=native: n)
        assert machine.resolve(params).sample.dtype == chosen
    assert machine.arithmetic("bfloat16", "cuda").startswith("bfloat16 on A GPU, ")


def test_the_device_of_the_llm_decides_and_a_gpu_to_come_is_taken_for_a_usual_one(cpu, params, monkeypatch):
    cpu()
    assert machine.resolve(with_values(params, llm__device="cuda")).sample.dtype == "bfloat16"
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert machine.resolve(with_values(params, llm__device="cpu")).sample.dtype == "float32"


def test_emulated_bfloat16_is_warned_of_with_what_it_costs(cpu, monkeypatch):
    cpu()
    monkeypatch.setattr(machine, "flops", lambda kind, device: {"float32": 34e9, "bfloat16": 5.2e9}[kind])
    assert machine.emulated(["sample.dtype", "dpo.precision"], "cpu") == (
        "warning: sample.dtype, dpo.precision: bfloat16, which this machine only emulates: a product of matrices takes "
        "6.5 times as long as in float32; auto takes float32 here"
    )
    assert machine.emulated([], "cpu") == ""
    cpu("avx512_bf16")
    assert machine.emulated(["sample.dtype"], "cpu") == ""


def test_the_speed_of_products_is_measured_in_either_arithmetic():
    assert all(machine.flops(kind, least=0.01) > 1e7 for kind in ("float32", "bfloat16"))


def test_a_moment_in_which_others_have_the_cores_does_not_count(monkeypatch):
    """Most of a measurement falls in one: what the machine can do is what it did in the rest."""
    now, calls = [0.0], [0]

    def work():
        calls[0] += 1
        now[0] += 0.1 if calls[0] in (20, 21, 22) else 0.5

    monkeypatch.setattr(machine.time, "perf_counter", lambda: now[0])
    assert machine._fastest(work, 0.8) == pytest.approx(0.5)  # every piece once
    calls[0] = 19
    assert machine._fastest(work, 0.8) == pytest.approx(0.1)


def test_items_texts_count_only_where_the_llm_writes_them(params):
    assert machine.used(params, ["knowledge", "sample"]) == ["sample"]
    by_llm = SimpleNamespace(knowledge=params.knowledge.model_copy(update={"items": "llm"}))
    assert machine.used(by_llm, ["knowledge"]) == ["knowledge"]


@pytest.mark.parametrize(("native", "lines"), [((), 1), (("amx_bf16",), 0)])
def test_a_stage_that_computes_in_bfloat16_says_so_once(native, lines, cpu, tmp_path, monkeypatch, capsys):
    """`sample` reads sample.dtype alone; dpo.precision is another stage's."""
    from rlrf4rec.cli import main
    from rlrf4rec.stages import sample

    text = (ROOT / "params.yaml").read_text()
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(
        text.replace("dtype: auto", "dtype: bfloat16").replace("precision: auto", "precision: bfloat16")
    )
    cpu(*native)
    monkeypatch.setattr("sys.argv", ["rlrf4rec", "sample", "base", "none.json"])
    seen = []

    def body(seed, sample, llm, endpoint, policy, adapter):
        seen.append(sample.dtype)
        return "done"

    monkeypatch.setattr(sample, "run", body)
    assert main() == 0
    assert seen == ["bfloat16"]
    err = capsys.readouterr().err
    assert err.count("warning: sample.dtype: bfloat16") == lines
    assert err.count("\n") == lines


def test_a_stage_gets_what_auto_stands_for(cpu, tmp_path, monkeypatch, capsys):
    from rlrf4rec.cli import main
    from rlrf4rec.stages import sample

    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["rlrf4rec", "sample", "base", "none.json"])

    def body(seed, sample, llm, endpoint, policy, adapter):
        return f"in {sample.dtype}"

    monkeypatch.setattr(sample, "run", body)
    for native, kind in (((), "float32"), (("avx512_bf16",), "bfloat16")):
        cpu(*native)
        assert main() == 0
        out = capsys.readouterr()
        assert f"sample base: in {kind}" in out.out
        assert out.err == ""


def test_work_in_the_store_is_that_of_one_machine_one_number_of_threads_and_one_version(cpu, monkeypatch):
    found = []
    for native, threads, version in (((), 1, "1"), (("amx_bf16",), 1, "1"), ((), 2, "1"), ((), 1, "2")):
        cpu(*native)
        monkeypatch.setattr("torch.get_num_threads", lambda t=threads: t)
        monkeypatch.setattr(store, "version", lambda name, v=version: v)
        found.append(store.code("sampling.sampler"))
    assert len(set(found)) == 4
    monkeypatch.setattr(store, "version", lambda name: "1")
    monkeypatch.setattr("torch.get_num_threads", lambda: 1)
    assert store.code("sampling.sampler") == found[0]


def test_threads_are_named():
    assert machine.arithmetic("float32", threads=2).endswith(", 2 threads")
    assert machine.arithmetic("float32", threads=1).endswith(", 1 thread")
    assert f", {torch.get_num_threads()} thread" in machine.arithmetic()
