"""That the studies train, sample and read all that their params name, in an order that DVC keeps to."""

import re
import shutil
import subprocess

import pytest
from ruamel.yaml import YAML
from test_dag import ARMS, CONTROLS, ROOT, body, outs

from rlrf4rec import paths
from rlrf4rec.evaluation import arms, lists, policies
from rlrf4rec.params import load
from rlrf4rec.report import worth
from rlrf4rec.revisions import locks
from rlrf4rec.stages import report

SECOND = ("sample", "encode", "train_reward", "score", "pair", "train_dpo")  # of a second round, in order
OF_SECOND = YAML(typ="safe").load((ROOT / "studies" / "arms" / "second" / "dvc.yaml").read_text())["stages"]
MATCHED = {  # pipelines that bring arms as far as another, with the arms
    pipeline: dag["match_policy"]["matrix"]["arm"] for pipeline, dag in (("arms", ARMS), ("arms/second", OF_SECOND))
}


def plan(tmp_path, monkeypatch, pipeline):
    """Stages in the order in which DVC itself would run them where nothing was."""
    for path in [ROOT / "dvc.yaml", ROOT / "params.yaml", *(ROOT / "studies").rglob("dvc.yaml")]:
        place = tmp_path / path.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    monkeypatch.chdir(tmp_path)
    subprocess.run(["dvc", "init", "-q", "--no-scm"], check=True)
    words = ["dvc", "repro", "--dry", "--force", "--allow-missing", pipeline]
    printed = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    return re.findall(r"Running stage '(?:studies/)?([^']+)'", printed)


def test_a_look_at_the_arms_samples_scores_and_reads_labels_last_and_is_no_look_at_the_run(tmp_path, monkeypatch):
    order = plan(tmp_path, monkeypatch, "studies/final_arms/dvc.yaml")
    assert [stage for stage in order if stage.startswith("final/")] == [
        *("final/dvc.yaml:final_split", "final/dvc.yaml:final_prompt"),
    ]
    arms = load(ROOT / "params.yaml").arms
    for number in arms.policies:
        texts = [f"final_arms/base/dvc.yaml:sample@{number}"]
        texts += [f"final_arms/dvc.yaml:sample@{arm}-{number}" for arm in arms.final]
        scored = order.index(f"final_arms/dvc.yaml:final_arm@{number}")
        assert order.index("final/dvc.yaml:final_prompt") < min(map(order.index, texts))
        assert max(order.index(stage) for stage in [*texts, f"arms/dvc.yaml:arm@{number}"]) < scored
    assert order[-1] == "final_arms/dvc.yaml:final_arms"
    assert not {"evaluate", "report", "arms/dvc.yaml:evaluate_arms"} & set(order)


def test_the_study_of_arms_runs_after_what_it_depends_on(tmp_path, monkeypatch):
    """By DVC itself: every entry of every stage once, in an order that their dependencies allow."""
    order = plan(tmp_path, monkeypatch, "studies/arms/dvc.yaml")
    assert len(order) == len(set(order))
    policies = load(ROOT / "params.yaml").arms.policies
    rounds = {"tuned": [], "second": [f"arms/second/dvc.yaml:{stage}" for stage in SECOND]}
    matched = {arm: f"{pipeline}/dvc.yaml:match_policy" for pipeline, arms in MATCHED.items() for arm in arms}
    entries = [f"{arm}-{n}" for n in policies for arm in (*rounds, *matched)]
    for number in policies:
        chain = [f"arms/base/dvc.yaml:sample@{number}", f"arms/base/dvc.yaml:encode@{number}"]
        chain += [f"arms/dvc.yaml:{stage}@{number}" for stage in ("train_reward", "score", "pair", "train_dpo")]
        tuned = [name for name in entries if name.endswith(f"-{number}")]
        for name in tuned:
            arm = name.partition("-")[0]
            before = rounds["second" if arm in MATCHED["arms/second"] else arm if arm in rounds else "tuned"]
            how = [f"{stage}@{number}" for stage in before] + ([f"{matched[arm]}@{name}"] if arm in matched else [])
            made = [f"arms/dvc.yaml:{stage}@{name}" for stage in ("sample", "encode")]
            own = [*chain, *how, *made, f"arms/dvc.yaml:arm@{number}"]
            places = [order.index(stage) for stage in own]
            assert places == sorted(places)
    assert {stage.partition("@")[2] for stage in order if stage.startswith("arms/dvc.yaml:sample")} == set(entries)
    assert order[-1] == "arms/dvc.yaml:evaluate_arms"


def test_every_pipeline_is_known_to_what_reads_the_locks():
    found = [path.relative_to(ROOT).as_posix() for path in (ROOT / "studies").rglob("dvc.yaml")]
    assert sorted(locks.PIPELINES) == sorted(["dvc.yaml", *found])
    assert set(worth.RUNS) - {"dvc.yaml"} == {
        path for path in found if path.startswith(("studies/controls", "studies/arms"))
    }


def stages_of(pipeline):
    return YAML(typ="safe").load((ROOT / pipeline).read_text())["stages"]


@pytest.mark.parametrize(("folder", "target"), lists.MADE_BY.items(), ids=map(str, lists.MADE_BY))
def test_scores_that_are_wrong_are_said_to_be_made_by_the_stage_that_makes_them(folder, target):
    pipeline, _, stage = target.rpartition(":")
    dag = stages_of(pipeline or "dvc.yaml")
    stage = stage.partition("@")[0]
    assert [out for out in outs(dag, stage) if out.startswith(f"{folder.as_posix()}/")]


def test_metrics_files_beside_the_run_s_are_said_to_be_of_the_study_that_writes_them():
    """And no stage of the run is taken for one of a study."""
    for stage, study in report.OF_STUDIES.items():
        metrics = body(stages_of(f"studies/{study}/dvc.yaml"), stage)["metrics"]
        written = [path for entry in metrics for path in ([entry] if isinstance(entry, str) else entry)]
        assert {path.removeprefix("metrics/").removesuffix(".json").partition("/")[0] for path in written} == {stage}
    assert not set(report.OF_STUDIES) & set(stages_of("dvc.yaml"))


def test_every_kind_of_the_study_is_trained_under_every_protocol():
    control, params = CONTROLS["control"], load(ROOT / "params.yaml")
    assert control["foreach"] == "${controls}"
    listed = [dep for dep in body(CONTROLS, "control")["deps"] if dep.startswith("data/controls/protocol")]
    assert listed == [f"data/controls/protocol/{name}/lists" for name in params.protocols]


def test_every_arm_is_tuned_sampled_encoded_and_read_under_every_protocol():
    params = load(ROOT / "params.yaml")
    tuned = ARMS["sample"]["matrix"]["arm"]
    assert [["tuned", "second", *MATCHED["arms"], *MATCHED["arms/second"]]] * 2 == [
        ARMS[stage]["matrix"]["arm"] for stage in ("sample", "encode")
    ]
    assert set(tuned) <= set(paths.ARM_POLICIES[1:])
    deps = body(ARMS, "arm")["deps"]
    read = {d.removeprefix("data/arms/encode/").split("-")[0] for d in deps if d.startswith("data/arms/encode/")}
    assert read == {"base", *tuned} == {kind.text for kind in params.arms.kinds.values() if "/" not in kind.text}
    listed = [dep for dep in deps if dep.startswith("data/controls/protocol")]
    assert listed == [f"data/controls/protocol/{name}/lists" for name in params.arms.protocols]
    assert set(params.arms.protocols) <= set(params.protocols)
    places = {place for kind in params.arms.kinds.values() for place in (kind.text, kind.beside) if "/" in place}
    of_run = {d for d in deps if d.startswith(("data/encode/", "data/controls/encode/"))}
    assert of_run == {f"data/{place}" for place in places} | {"data/encode/items"}
    of_labels = [d for d in ARMS["evaluate_arms"]["deps"] if d.startswith("data/controls/")]
    assert of_labels == [f"data/controls/protocol/{name}/development" for name in params.arms.protocols]


def test_all_kinds_that_are_compared_are_in_the_study_but_the_one_that_takes_a_gpu():
    compared = {kind for pair in arms.CLAIMS + arms.ASIDE + arms.ROOM for kind in pair.split(" - ")}
    assert compared - set(load(ROOT / "params.yaml").arms.kinds) == {"sft"}


def test_arms_are_matched_with_the_policy_whose_distance_is_told():
    assert {arm for of in MATCHED.values() for arm in of} == set(arms.TARGETS) - {"sft"}
    for pipeline, target in (("arms", "tuned"), ("arms/second", "second")):
        assert {arms.TARGETS[arm] for arm in MATCHED[pipeline]} == {target}
        deps = {"arms": ARMS, "arms/second": OF_SECOND}[pipeline]["match_policy"]["deps"]
        assert [dep for dep in deps if dep.startswith("models/arms/policy/")] == [
            f"models/arms/policy/{target}-${{item.policy}}"
        ]
        assert policies.MATCHED_BY[target] == f"studies/{pipeline}/dvc.yaml"


def test_another_policy_of_the_arms_starts_none_of_those_before_it():
    """By the params that a stage of one policy depends on; all of them together are read by the evaluation alone."""
    readers = {stage: [p for p in body(ARMS, stage).get("params", []) if p.startswith("arms")] for stage in ARMS}
    assert {stage: found for stage, found in readers.items() if found} == {
        "arm": ["arms.protocols", "arms.final", "arms.kinds"],
        "evaluate_arms": ["arms"],
    }
