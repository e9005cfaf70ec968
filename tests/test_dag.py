"""What every dvc.yaml says against what the code does."""

import ast
import importlib
import inspect
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from imports import PIPELINES, code_deps, rewritten
from ruamel.yaml import YAML

from rlrf4rec import closure, paths
from rlrf4rec.cli import STAGES, STUDY
from rlrf4rec.params import Params
from rlrf4rec.params.known import DEFAULT, KNOWN
from rlrf4rec.params.rounds import write_rounds
from rlrf4rec.stages import report

ROOT = Path(__file__).parent.parent
DAG = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]
CONTROLS = YAML(typ="safe").load((ROOT / "studies" / "controls" / "dvc.yaml").read_text())["stages"]
CURVE = YAML(typ="safe").load((ROOT / "studies" / "learning_curve" / "dvc.yaml").read_text())["stages"]
FINAL = YAML(typ="safe").load((ROOT / "studies" / "final" / "dvc.yaml").read_text())["stages"]
FINAL_ARMS = YAML(typ="safe").load((ROOT / "studies" / "final_arms" / "dvc.yaml").read_text())["stages"]
FINAL_BASE = YAML(typ="safe").load((ROOT / "studies" / "final_arms" / "base" / "dvc.yaml").read_text())["stages"]
BENCH = YAML(typ="safe").load((ROOT / "studies" / "bench" / "dvc.yaml").read_text())["stages"]
ARMS = YAML(typ="safe").load((ROOT / "studies" / "arms" / "dvc.yaml").read_text())["stages"]
BEGIN = YAML(typ="safe").load((ROOT / "studies" / "arms" / "base" / "dvc.yaml").read_text())["stages"]
PREFIXES = {
    "": DAG,
    "study-": CONTROLS,
    "curve-": CURVE,
    "bench-": BENCH,
    "final-": FINAL,
    "final-arms-": FINAL_ARMS,
    "final-arms-base-": FINAL_BASE,
    "arms-": ARMS,
    "arms-base-": BEGIN,
}
OF_FINAL = FINAL, FINAL_ARMS, FINAL_BASE
ALL = [(dag, stage) for dag in PREFIXES.values() for stage in dag]
NAMES = [f"{prefix}{stage}" for prefix, dag in PREFIXES.items() for stage in dag]


def body(dag, stage):
    return dag[stage].get("do", dag[stage])


def outs(dag, stage):
    """Outputs of a stage by path, with their options."""
    found = {}
    for out in body(dag, stage).get("outs", []):
        found |= out if isinstance(out, dict) else {out: {}}
    return found


def test_stages_are_those_of_the_command_line():
    assert tuple(DAG) == STAGES
    of_studies = set().union(*(dag for dag in PREFIXES.values() if dag is not DAG))
    assert set(STUDY) <= of_studies <= set(STUDY + STAGES)


@pytest.mark.parametrize(("dag", "stage"), ALL, ids=NAMES)
def test_a_stage_depends_on_exactly_the_code_that_it_runs(dag, stage):
    listed = [d for d in body(dag, stage).get("deps", []) if d.startswith("src/rlrf4rec/")]
    assert listed == code_deps(stage), "`python tests/imports.py` writes them into every dvc.yaml"


@pytest.mark.parametrize("name", PIPELINES)
def test_the_lists_of_code_are_as_their_tool_writes_them(name):
    """And what the tool writes is the same pipeline."""
    text = (ROOT / name).read_text()
    assert rewritten(text) == text
    spoilt = "src/rlrf4rec/x.py".join(text.rsplit("src/rlrf4rec/seeds.py", 1))
    assert rewritten(spoilt) == text != spoilt


def test_an_edited_file_runs_few_stages_again():
    """Of the run's stages, on the average over the files of the rooms."""
    deps = {stage: code_deps(stage) for stage in STAGES}
    files = [path for path in (ROOT / "src" / "rlrf4rec").rglob("*.py") if path.parent.name != "stages"]
    names = [path.relative_to(ROOT).as_posix() for path in files if path.name != "__init__.py"]
    again = [
        sum(any(name == d or name.startswith(f"{d}/") for d in found) for found in deps.values()) for name in names
    ]
    some = [count for count in again if count]
    assert len(some) > 60
    assert sum(some) / len(some) <= 3.4


def test_no_package_runs_code_of_its_own():
    """What a module imports is followed by modules, so a package's `__init__` must not decide anything."""
    for path in (ROOT / "src" / "rlrf4rec").rglob("__init__.py"):
        if path.parent.name not in ("params", "stages"):  # plumbing; names of the command line
            assert [type(node) for node in ast.parse(path.read_text()).body] == [ast.Expr], path


def test_all_of_the_params_is_plumbing():
    """A block's range can change without a change of what any stage writes; its values are the stages' own params."""
    for stage in (*STAGES, *STUDY):
        assert not [path for path in code_deps(stage) if "/params" in path]


def test_no_stage_imports_a_stage_and_no_room_does():
    for path in (ROOT / "src" / "rlrf4rec").rglob("*.py"):
        if path.parent.name == "stages" or path.parent != ROOT / "src" / "rlrf4rec":
            assert "rlrf4rec.stages" not in path.read_text(), path


@pytest.mark.parametrize(("dag", "stage"), ALL, ids=NAMES)
def test_a_stage_depends_on_exactly_the_params_that_it_gets(dag, stage):
    run = importlib.import_module(f"rlrf4rec.stages.{stage}").run
    blocks = [name for name in inspect.signature(run).parameters if name in Params.model_fields]
    # What `dataset` lays over two blocks decides their own stages; the report shows it beside metrics that go with it.
    named = ["dataset"] if stage in KNOWN[DEFAULT] else []
    listed = [key.partition(".")[0] for key in body(dag, stage).get("params", [])]  # of a block, or of a part of it
    assert sorted(set(listed)) == sorted(blocks + named)
    entries = len(inspect.signature(run).parameters) - len(blocks)
    assert len(body(dag, stage)["cmd"].split()) == 2 + entries


def test_only_evaluate_reads_the_lists_of_development_users():
    readers = [
        s for s in DAG if any(d in ("data/split", "data/split/development") for d in body(DAG, s).get("deps", []))
    ]
    assert readers == ["evaluate"]


def test_only_looks_read_the_labels_of_final_users_and_no_stage_of_the_run_reads_anything_of_them():
    """Their ratings are in what the data set is made of, and in what lies apart."""
    of_labels = "data", "data/final", "data/final/split", "data/final/split/final"
    readers = [s for dag, s in ALL for d in body(dag, s)["deps"] if d in of_labels]
    assert readers == ["final", "final_arms"]
    readers = [s for dag, s in ALL for d in body(dag, s)["deps"] if d == "data/final/interactions"]
    assert readers == ["final_split"]
    others = [(dag, s) for dag, s in ALL if not any(dag is of for of in OF_FINAL)]
    assert len(others) == len(ALL) - sum(map(len, OF_FINAL))
    assert not [
        d
        for dag, s in others
        for d in body(dag, s)["deps"]
        if d in ("data", "studies/final") or d.startswith("data/final")
    ]
    assert [s for dag, s in ALL if "data/raw/dataset" in body(dag, s).get("deps", [])] == ["interactions", "probe"]


def test_nothing_of_the_final_studies_is_in_the_cache():
    """Else DVC would miss it at `dvc checkout` and `dvc exp apply` until somebody has looked."""
    found = [options["cache"] for dag in OF_FINAL for stage in dag for options in outs(dag, stage).values()]
    assert found == [False] * len(found)
    assert len(found) > 10


def test_the_list_of_looks_is_no_output():
    """Two stages add to it, and DVC takes away what a stage is going to write."""
    for dag, stage in ALL:
        assert "metrics/looks.csv" not in outs(dag, stage)
        assert not any("metrics/looks.csv" in metric for metric in body(dag, stage).get("metrics", []))


@pytest.mark.parametrize(("dag", "only"), [(CONTROLS, ["evaluate_controls"]), (ARMS, ["evaluate_arms"]), (BEGIN, [])])
def test_in_a_study_only_its_evaluation_reads_labels_of_development_users(dag, only):
    whole = "data/split", "data/controls", "data/controls/protocol"
    readers = [
        stage for stage in dag if any(d.endswith("/development") or d in whole for d in body(dag, stage)["deps"])
    ]
    assert readers == only


def test_no_label_reaches_the_llm():
    for dag, stage in ALL:
        if stage in ("prompt", "shown", "sample", "encode", "knowledge", "probe"):
            assert not any(d.startswith("data/split/") and "people" not in d for d in body(dag, stage)["deps"])


def test_metrics_and_plots_are_in_git_and_keep_the_run_cache():
    for dag, stage in ALL:
        for kind in ("metrics", "plots"):
            for entry in body(dag, stage).get(kind, []):
                assert all(options["cache"] is False for options in entry.values())
        own = [path for path, options in outs(dag, stage).items() if options.get("cache") is False]
        in_git = [path for path in own if not path.startswith(("data/final/", "data/final_arms/"))]
        assert all(path.endswith("per_user.csv") or pattern(path) in IN_GIT for path in in_git)


# Outputs that go on in any clone: small, and without ratings.
IN_GIT = {
    "studies/arms/texts/*": "texts that an LLM wrote",
    "studies/arms/score/*": "a reward for each text",
    "studies/arms/pair/*": "two of these texts of a user, and their rewards",
}


def pattern(path):
    """With * for the entry, of one part or of two."""
    return re.sub(r"\$\{[\w.]+\}", "*", re.sub(r"(?:[a-z]+-)?\$\{[\w.]+\}(?:-\$\{[\w.]+\})?", "*", path))


# What a remote may hold. A new output must be put into one of the two; a pattern has * for the entry.
HOLDS_RATINGS = {
    "data/raw/dataset": "the data set itself",
    "data/interactions": "its ratings, users and titles as tables",
    "data/split/people": "histories: what each user rated, and how",
    "data/split/lists": "lists with labels, which are ratings",
    "data/split/development": "lists with labels",
    "data/final/interactions": "ratings of the final users",
    "data/prompt": "prompts name the titles that a user liked and disliked",
    "data/texts/template": "says of each user the genres and titles of the history, without an LLM between",
    "data/evaluate": "examples show lists with labels",
    "data/report": "shows the history and lists of some users",
    "data/controls/protocol/*": "lists with labels",
    "data/controls/texts/template_shown": "says of each user the genres and era of what the prompt shows",
}
HOLDS_NONE = {
    "models/pretrained/llm": "fetched weights",
    "models/pretrained/encoder": "fetched weights",
    "models/policy/base": "an adapter without weights",
    "models/policy/*": "weights of an adapter",
    "models/train_reward/*": "weights, and numbers of the lists that they were trained on",
    "models/train_ranker/*": "weights, scores without items, losses",
    "models/controls/policy/*": "weights of an adapter",
    "data/texts/items": "texts about items",
    "data/texts/none": "the same word for everyone",
    "data/texts/*": "texts that an LLM wrote",
    "data/controls/texts/*": "texts that an LLM wrote",
    "data/score/*": "a reward for each text",
    "data/pair/*": "two of these texts of a user, and their rewards",
    "data/tune_reward": "trials of a search",
    "data/tune_dpo": "trials of a search",
    "data/encode/*": "vectors of texts",
    "data/controls/encode/*": "vectors",
    "data/controls/train_ranker/*": "scores without items",
    "models/arms/policy/*": "weights of an adapter",
    "models/arms/train_reward/*": "weights, and numbers of the lists that they were trained on",
    "data/arms/encode/*": "vectors of texts",
    "data/arms/train_ranker/*": "scores without items",
    "data/arms/evaluate_arms": "a metric of each user, without items",
}


def cached():
    """Every output in DVC's cache: its pattern, whether it is pushed, and the stage that writes it."""
    for dag, stage in ALL:
        for path, options in outs(dag, stage).items():
            if options.get("cache", True):
                yield pattern(path), options.get("push", True), stage


def test_what_holds_ratings_is_never_pushed_and_all_else_is():
    pushed = {path: push for path, push, _ in cached()}
    assert pushed == dict.fromkeys(HOLDS_RATINGS, False) | dict.fromkeys(HOLDS_NONE, True)


def test_what_is_not_pushed_is_made_again_by_stages_that_are_quick():
    """None runs the LLM or trains; `evaluate` alone keeps pieces of its work, the rewards of users."""
    again = {stage for _, push, stage in cached() if not push}
    of_studies = {"protocol", "shown"}
    assert again == {"fetch_dataset", "interactions", "split", "prompt", "evaluate", "report"} | of_studies
    slow = {"sampling", "alignment", "retraining", "encoding"}
    for stage in again:
        rooms = {path.relative_to(closure.PACKAGE).parts[0] for path in closure.files(f"stages.{stage}")}
        assert not rooms & slow, stage


def test_the_loss_and_the_margins_of_every_round_are_plotted(tmp_path, monkeypatch):
    """By DVC itself, of T = 2."""
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    write_rounds(tmp_path / "params.yaml", 2)
    monkeypatch.chdir(tmp_path)
    for number, margin in ((1, 0.25), (2, 0.75)):
        path = paths.plot("train_dpo", f"round{number}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"step,loss,margin,accuracy,chosen,rejected\n0,0.5,{margin},1.0,0.1,-0.2\n")

    def dvc(*args):
        """What a command of DVC prints."""
        return subprocess.run(["dvc", *args], check=True, capture_output=True, text=True).stdout

    dvc("init", "-q", "--no-scm")
    dvc("config", "core.analytics", "false")
    shown = json.loads(dvc("plots", "show", "--json", "metrics/plots/train_dpo", "dvc.yaml::metrics/plots/train_dpo"))
    values = {
        name: [(row["field"], row["dvc_inferred_y_value"]) for row in plot["content"]["data"]["values"]]
        for name, (plot,) in shown["data"].items()
        if name.startswith("dvc.yaml::")
    }
    reference = [("chosen", "0.1"), ("rejected", "-0.2")]
    assert values == {
        "dvc.yaml::metrics/plots/train_dpo/round1.csv": [("margin", "0.25"), *reference],
        "dvc.yaml::metrics/plots/train_dpo/round2.csv": [("margin", "0.75"), *reference],
    }
    titles = [plot["content"]["title"]["text"] for (plot,) in shown["data"].values()]
    assert {"DPO loss of round1", "DPO loss of round2"} < set(titles)


def test_what_is_forced_is_one_stage():
    """With --force alone DVC runs all that the stage depends on again as well."""
    lines = [line for line in (ROOT / "Makefile").read_text().splitlines() if "--force" in line]
    assert lines
    assert all("--single-item" in line for line in lines)


def test_the_report_looks_in_the_study_s_lock_for_what_the_study_depends_on():
    people, lists = report.PEOPLE.as_posix(), report.LISTS.as_posix()
    assert (people, lists) == ("data/split/people", "data/split/lists")
    assert people in body(CONTROLS, "control")["deps"]
    assert {people, lists} < set(body(ARMS, "score")["deps"]) & set(body(DAG, "report")["deps"])
    assert f"path: {people}\n" in (ROOT / report.LOCKS["controls"]).read_text()


def test_the_report_waits_for_no_study():
    """Its dependency on the study is the lock file, which no stage writes: `dvc repro` must not start the study."""
    deps = body(DAG, "report")["deps"]
    assert {f"studies/{name}/dvc.lock" for name in ("arms", "controls", "final", "final_arms")} < set(deps)
    of_studies = ARMS, CONTROLS, *OF_FINAL
    written = {path for dag in of_studies for stage in dag for path in outs(dag, stage)}
    written |= {p for dag in of_studies for s in dag for metric in body(dag, s).get("metrics", []) for p in metric}
    assert not set(deps) & written
