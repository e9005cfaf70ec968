"""What the two dvc.yaml say against what the code does."""

import importlib
import inspect
from pathlib import Path

import pytest
from imports import code_deps
from ruamel.yaml import YAML

from rlrf4rec.cli import STAGES, STUDY
from rlrf4rec.params import Params, load

ROOT = Path(__file__).parent.parent
DAG = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]
CONTROLS = YAML(typ="safe").load((ROOT / "studies" / "controls" / "dvc.yaml").read_text())["stages"]
CURVE = YAML(typ="safe").load((ROOT / "studies" / "learning_curve" / "dvc.yaml").read_text())["stages"]
BENCH = YAML(typ="safe").load((ROOT / "studies" / "bench" / "dvc.yaml").read_text())["stages"]
ALL = [(dag, stage) for dag in (DAG, CONTROLS, CURVE, BENCH) for stage in dag]
NAMES = [f"{'' if dag is DAG else 'study-'}{stage}" for dag, stage in ALL]


def body(dag, stage):
    return dag[stage].get("do", dag[stage])


def test_stages_are_those_of_the_command_line():
    assert tuple(DAG) == STAGES
    assert set(STUDY) <= set(CONTROLS) | set(CURVE) | set(BENCH) <= set(STUDY + STAGES)


@pytest.mark.parametrize(("dag", "stage"), ALL, ids=NAMES)
def test_a_stage_depends_on_exactly_the_code_that_it_runs(dag, stage):
    listed = [d for d in body(dag, stage).get("deps", []) if d.startswith("src/rlrf4rec/")]
    assert listed == code_deps(stage)


@pytest.mark.parametrize(("dag", "stage"), ALL, ids=NAMES)
def test_a_stage_depends_on_exactly_the_params_that_it_gets(dag, stage):
    run = importlib.import_module(f"rlrf4rec.stages.{stage}").run
    blocks = [name for name in inspect.signature(run).parameters if name in Params.model_fields]
    assert sorted(body(dag, stage).get("params", [])) == sorted(blocks)
    entries = len(inspect.signature(run).parameters) - len(blocks)
    assert len(body(dag, stage)["cmd"].split()) == 2 + entries


def test_only_evaluate_reads_the_test_lists():
    readers = [s for s in DAG if any("lists_test" in d or d == "data/split" for d in body(DAG, s).get("deps", []))]
    assert readers == ["evaluate"]


def test_in_the_study_only_its_evaluation_reads_test_labels():
    readers = [
        stage
        for stage in CONTROLS
        for d in body(CONTROLS, stage)["deps"]
        if "lists_test" in d or d in ("data/split", "data/protocol")
    ]
    assert readers == ["evaluate_controls"]


def test_no_label_reaches_the_llm():
    for dag, stage in ALL:
        if stage in ("prompt", "sample", "encode", "knowledge", "probe"):
            assert not any("lists_" in d for d in body(dag, stage)["deps"])


def test_metrics_and_plots_are_in_git_and_keep_the_run_cache():
    for dag, stage in ALL:
        for kind in ("metrics", "plots"):
            for entry in body(dag, stage).get(kind, []):
                assert all(options["cache"] is False for options in entry.values())
        in_git = [o for o in body(dag, stage).get("outs", []) if isinstance(o, dict)]
        assert all(name.endswith("per_user.csv") for out in in_git for name in out)


def test_every_kind_of_the_study_is_trained_under_every_protocol():
    params = load(ROOT / "params.yaml")
    assert CONTROLS["control"]["matrix"]["knowledge"] == list(params.controls.told)
    assert CONTROLS["control"]["wdir"] == "../.."


def test_what_is_forced_is_one_stage():
    """With --force alone DVC runs all that the stage depends on again as well."""
    lines = [line for line in (ROOT / "Makefile").read_text().splitlines() if "--force" in line]
    assert lines
    assert all("--single-item" in line for line in lines)


def test_the_report_waits_for_no_study():
    """Its dependency on the study is the lock file, which no stage writes: `dvc repro` must not start the study."""
    deps = body(DAG, "report")["deps"]
    assert "studies/controls/dvc.lock" in deps
    outs = {o for s in CONTROLS for o in body(CONTROLS, s).get("outs", []) if isinstance(o, str)}
    assert not set(deps) & outs
