from pathlib import Path
from types import SimpleNamespace

import pytest

from rlrf4rec import machine
from rlrf4rec.params import load

PLAIN = "processor : 0\nflags\t\t: fpu vme avx2 avx512f avx512_vnni\n"
KEYS = ["sample.dtype"]


@pytest.fixture
def params():
    """The committed params, in bfloat16."""
    found = load(Path(__file__).parent.parent / "params.yaml")
    half = {"sample": {"dtype": "bfloat16"}, "knowledge": {"dtype": "bfloat16"}, "dpo": {"precision": "bfloat16"}}
    return found.model_copy(update={name: getattr(found, name).model_copy(update=half[name]) for name in half})


def test_a_cpu_that_emulates_bfloat16_is_warned_of():
    warning = machine.slow_bfloat16(["sample.dtype", "dpo.precision"], PLAIN, False)
    assert warning.startswith("warning: sample.dtype, dpo.precision: bfloat16")
    assert "many times slower; float32 is the quicker choice" in warning
    assert "\n" not in warning


@pytest.mark.parametrize(
    ("keys", "cpuinfo", "cuda"),
    [
        (KEYS, PLAIN.replace("avx512f", "avx512_bf16"), False),
        (KEYS, PLAIN.replace("avx512f", "amx_bf16"), False),
        (KEYS, "Features : fp asimd bf16 i8mm\n", False),
        (KEYS, PLAIN, True),
        (KEYS, "", False),
        ([], PLAIN, False),
    ],
)
def test_nothing_is_said_where_bfloat16_is_native_or_not_used_or_nothing_is_known(keys, cpuinfo, cuda):
    assert machine.slow_bfloat16(keys, cpuinfo, cuda) == ""


def test_only_blocks_that_the_stage_reads_count(params):
    assert machine.bfloat16_keys(params, ["sample", "encode", "reward", "dpo"]) == ["sample.dtype", "dpo.precision"]
    assert machine.bfloat16_keys(params, ["interactions", "watch"]) == []


def test_items_texts_count_only_where_the_llm_writes_them(params):
    assert machine.bfloat16_keys(params, ["knowledge"]) == []
    by_llm = SimpleNamespace(knowledge=params.knowledge.model_copy(update={"items": "llm"}))
    assert machine.bfloat16_keys(by_llm, ["knowledge"]) == ["knowledge.dtype"]


@pytest.mark.parametrize(("cpuinfo", "lines"), [(PLAIN, 1), (PLAIN + "amx_bf16", 0)])
def test_a_stage_that_computes_in_bfloat16_says_so_once(cpuinfo, lines, stage, tmp_path, monkeypatch, capsys):
    path = tmp_path / "cpuinfo"
    path.write_text(cpuinfo)
    monkeypatch.setattr(machine, "CPUINFO", path)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(machine, "bfloat16_keys", lambda params, blocks: [f"{b}.dtype" for b in blocks])
    assert stage(lambda: "done") == 0
    err = capsys.readouterr().err
    assert err.count("warning: interactions.dtype: bfloat16") == lines
    assert err.count("\n") == lines


def test_a_system_without_cpuinfo_says_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "none")
    assert machine.cpuinfo() == ""
