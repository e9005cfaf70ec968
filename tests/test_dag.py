"""What dvc.yaml says against what the code does."""

import importlib
import inspect
from pathlib import Path

import pytest
from imports import code_deps
from ruamel.yaml import YAML

from rlrf4rec.cli import STAGES
from rlrf4rec.params import Params

ROOT = Path(__file__).parent.parent
DAG = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]


def body(stage):
    return DAG[stage].get("do", DAG[stage])


def test_stages_are_those_of_the_command_line():
    assert tuple(DAG) == STAGES


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_exactly_the_code_that_it_runs(stage):
    listed = [d for d in body(stage).get("deps", []) if d.startswith("src/rlrf4rec/")]
    assert listed == code_deps(stage)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_exactly_the_params_that_it_gets(stage):
    run = importlib.import_module(f"rlrf4rec.stages.{stage}").run
    blocks = [name for name in inspect.signature(run).parameters if name in Params.model_fields]
    assert sorted(body(stage).get("params", [])) == sorted(blocks)
    entries = len(inspect.signature(run).parameters) - len(blocks)
    assert len(body(stage)["cmd"].split()) == 2 + entries


def test_only_evaluate_reads_the_test_lists():
    readers = [s for s in STAGES if any("lists_test" in d or d == "data/split" for d in body(s).get("deps", []))]
    assert readers == ["evaluate"]


def test_no_label_reaches_the_llm():
    for stage in ("prompt", "sample", "encode"):
        assert not any("lists_" in d for d in body(stage)["deps"])


def test_metrics_and_plots_are_in_git_and_keep_the_run_cache():
    for stage in STAGES:
        for kind in ("metrics", "plots"):
            for entry in body(stage).get(kind, []):
                assert all(options["cache"] is False for options in entry.values())
        assert not any(isinstance(out, dict) for out in body(stage)["outs"])
