"""The parts of `make same` that decide; the whole runs two tiny pipelines and is tried by hand."""

import hashlib
import shutil

import pytest
from ruamel.yaml import YAML

from . import same
from .conftest import ROOT, ran, run
from .same import address, compared, described, first_unequal, kind, rewrite, rewritten, settings

OLD, NEW = {"": b"old\n"}, {"": b"new\n"}
FOLDER = {"one.py": b"1\n", "two.py": b"2\n"}
ENTRY = {
    "cmd": "rlrf4rec pair",
    "deps": [
        {"path": "data/x", "hash": "md5", "md5": "1" * 32, "size": 1},
        {"path": "src/a.py", "hash": "md5", **described(OLD)},
    ],
    "outs": [{"path": "data/pair", "md5": "2" * 32}],
}


def test_the_first_stage_that_differs_is_named_with_its_outputs():
    base = {("a", "x"): "1", ("b", "y"): "1", ("b", "z"): "1", ("c", "w"): "1"}
    assert first_unequal(base, dict(base), ["a", "b", "c"]) is None
    here = {**base, ("b", "z"): "2", ("c", "w"): "2"}
    assert first_unequal(base, here, ["a", "b", "c"]) == ("b", ["z"])
    assert first_unequal(base, {**base, ("c", "new"): "1"}, ["a", "b", "c"]) == ("c", ["new"])


def test_only_the_code_of_an_entry_is_rewritten():
    was, now = {"src/a.py": OLD}.get, {"src/a.py": NEW, "src/b.py": OLD}.get
    made = rewritten(ENTRY, ["src/a.py", "src/b.py"], was, now, {})
    assert made["deps"] == [
        ENTRY["deps"][0],
        {"path": "src/a.py", "hash": "md5", **described(NEW)},
        {"path": "src/b.py", "hash": "md5", **described(OLD)},
    ]
    assert (made["cmd"], made["outs"]) == (ENTRY["cmd"], ENTRY["outs"])
    assert ENTRY["deps"][1]["md5"] == hashlib.md5(b"old\n").hexdigest()


def test_code_that_is_no_longer_a_dependency_goes():
    assert rewritten(ENTRY, [], {"src/a.py": OLD}.get, {}.get, {})["deps"] == ENTRY["deps"][:1]


def test_an_entry_that_the_base_had_not_run_is_left():
    assert rewritten(ENTRY, ["src/a.py"], {"src/a.py": NEW}.get, {"src/a.py": NEW}.get, {}) is None
    assert rewritten(ENTRY, ["src/a.py"], {}.get, {"src/a.py": NEW}.get, {}) is None


def test_the_hash_of_a_lock_that_was_rewritten_goes_with_it():
    was = now = {"src/a.py": OLD}.get
    made = rewritten(ENTRY, ["src/a.py"], was, now, {"1" * 32: described(NEW), "2" * 32: described(OLD)})
    assert made["deps"] == [{"path": "data/x", "hash": "md5", **described(NEW)}, ENTRY["deps"][1]]
    assert rewritten(ENTRY, ["src/a.py"], was, now, {"3" * 32: described(NEW)}) == ENTRY


def test_policies_are_of_one_kind_and_arms_and_rounds_are_not():
    names = ("sample@tuned-1", "sample@tuned-12", "arm@3", "sample@second-1", "sample@round1", "evaluate_arms")
    assert [*map(kind, names)] == ["sample@tuned", "sample@tuned", "arm", "sample@second", "sample@round1", names[-1]]


def test_the_tiny_study_has_one_policy_and_kinds_that_the_revision_knows(tmp_path):
    """A revision without the study, or a param of it, is asked for nothing that it would refuse."""
    here = settings(ROOT)
    assert here["arms"]["policies"] == [1]
    assert set(here["arms"]["kinds"]) == set(same.KINDS)
    (tmp_path / "params.yaml").write_text("sample: {n: 5, stop: []}\npair: {max_pairs: 3}\n")
    assert settings(tmp_path) == {"sample": {"n": here["sample"]["n"]}, "pair": here["pair"]}
    (tmp_path / "params.yaml").write_text("arms: {policies: [1, 2], kinds: {base: 1, old: 2}}\nprotocols: [rated]\n")
    assert settings(tmp_path) == {"arms": {"policies": [1], "kinds": {"base": 1}}, "protocols": ["rated"]}


@pytest.fixture
def repository(tmp_path):
    """A pipeline of two stages that has run, with its lock committed; the code of the second is a folder."""
    for name, text in (
        ("src/a.py", "print(1)"),
        ("src/room/b.py", "print(2)"),
        ("src/room/deep/c.py", "print(3)"),
        ("src/room/__pycache__/c.pyc", "print(4)"),
        (".gitignore", "__pycache__/"),
        (".dvcignore", "__pycache__/"),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "params.yaml").write_text("seed: 1\n")
    one = {"cmd": "python src/a.py > one", "deps": ["src/a.py"], "params": ["seed"], "outs": ["one"]}
    # Named twice: a file, as the kind of re-ranker that is told nothing names its vectors, and a room of the code, as
    # the content of a source that has none of its own names one.
    deps = ["one", "one", "src/room", "src/room"]
    two = {"cmd": "python src/room/b.py > two", "deps": deps, "params": ["seed"], "outs": ["two"]}
    with (tmp_path / "dvc.yaml").open("w") as file:
        YAML().dump({"stages": {"first": one, "second": two}}, file)
    for command in (["git", "init", "-q"], ["dvc", "init", "-q"], ["dvc", "repro", "-q"], ["git", "add", "-A"]):
        run(tmp_path, *command)
    run(tmp_path, "git", "commit", "-qm", "base")
    return tmp_path


def test_after_the_rewriting_nothing_has_to_run_again_and_the_outputs_are_as_they_were(repository, monkeypatch):
    """From another folder, as `make same` runs it; what had not fitted before is left."""
    lock = repository / "dvc.lock"
    before = YAML(typ="safe").load(lock.read_text())["stages"]
    (repository / "src" / "room" / "b.py").write_text("print(2)  # said better")
    assert ran(run(repository, "dvc", "repro", "--dry").stdout) == {"second"}
    monkeypatch.chdir(repository / "src")
    reached = {"dvc.lock": {"first", "second"}}
    assert rewrite(repository, "HEAD", reached) == (["second"], [], [])
    assert ran(run(repository, "dvc", "repro", "--dry").stdout) == set()
    after = YAML(typ="safe").load(lock.read_text())["stages"]
    assert after["first"] == before["first"]
    assert (after["second"]["outs"], after["second"]["cmd"]) == (before["second"]["outs"], before["second"]["cmd"])
    assert [dep["path"] for dep in after["second"]["deps"]] == ["one", "one", "src/room", "src/room"]  # as it was
    run(repository, "git", "add", "-A")
    run(repository, "git", "commit", "-qm", "same")
    (repository / "src" / "a.py").write_text("print(4)")
    run(repository, "git", "commit", "-qam", "not run")
    assert rewrite(repository, "HEAD", reached) == ([], ["first"], [])


STUDY, SECOND = "studies/arms/dvc.lock", "studies/arms/second/dvc.lock"


@pytest.fixture
def studied(repository):
    """The pipeline with a study in two files, of two policies, one of an arm of its own; the run reads its lock."""

    def stage(name, folder):
        outs = [{name: {"cache": False}}]
        return {"wdir": folder, "cmd": f"python src/room/b.py > {name}", "deps": ["src/room", "one"], "outs": outs}

    arms = {"sample": {"matrix": {"arm": ["tuned"], "policy": [1, 2]}, **stage("tuned-${item.policy}", "../..")}}
    arms["match"] = stage("matched", "../..")
    second = {"pair": {"foreach": [1, 2], "do": stage("second-${item}", "../../..")}}
    last = {"cmd": "python src/a.py > page", "deps": ["src/a.py", STUDY], "outs": ["page"]}
    yaml = YAML(typ="safe")
    stages = yaml.load(repository / "dvc.yaml")["stages"]
    for path, told in (
        ("studies/arms/dvc.yaml", arms),
        ("studies/arms/second/dvc.yaml", second),
        ("dvc.yaml", {**stages, "report": last}),
    ):
        (repository / path).parent.mkdir(parents=True, exist_ok=True)
        with (repository / path).open("w") as file:
            yaml.dump({"stages": told}, file)
    for path in ("studies/arms/dvc.yaml", "studies/arms/second/dvc.yaml", "dvc.yaml"):
        run(repository, "dvc", "repro", "-q", path)
    run(repository, "git", "add", "-A")
    run(repository, "git", "commit", "-qm", "study")
    return repository


ALL = ("dvc.yaml", "studies/arms/dvc.yaml", "studies/arms/second/dvc.yaml")


def test_locks_of_studies_are_rewritten_for_every_policy_and_the_run_reads_them_as_before(studied):
    before = {path: same.hashes(studied, [path]) for path in ("dvc.lock", STUDY, SECOND)}
    (studied / "src" / "room" / "b.py").write_text("print(2)  # said better")
    assert {"second", "studies/arms/dvc.yaml:match"} < ran(run(studied, "dvc", "repro", "--dry", *ALL).stdout)
    reached = {"dvc.lock": {"first", "second", "report"}, STUDY: {"sample@tuned", "match"}, SECOND: {"pair"}}
    done, unfit, beyond = rewrite(studied, "HEAD", reached)
    of_studies = {address(STUDY, name) for name in ("sample@tuned-1", "sample@tuned-2", "match")}
    assert set(done) == {"second", "report", *of_studies, *(address(SECOND, f"pair@{n}") for n in (1, 2))}
    assert (unfit, beyond) == ([], [])
    assert ran(run(studied, "dvc", "repro", "--dry", *ALL).stdout) == set()
    assert {path: same.hashes(studied, [path]) for path in before} == before


def test_what_the_tiny_study_did_not_reach_is_left_and_named_and_a_lock_that_is_not_given_is_not_read(studied):
    (studied / "src" / "room" / "b.py").write_text("print(2)  # said better")
    second = (studied / SECOND).read_bytes()
    done, unfit, beyond = rewrite(studied, "HEAD", {STUDY: {"sample@tuned"}})
    assert set(done) == {address(STUDY, f"sample@tuned-{n}") for n in (1, 2)}
    assert (unfit, beyond) == ([], [address(STUDY, "match")])
    assert (studied / SECOND).read_bytes() == second


@pytest.fixture
def clones(studied, tmp_path_factory, monkeypatch):
    """Two copies of the pipeline and its study, of which nothing has run."""
    monkeypatch.setattr(same, "STUDY", ALL[1:])
    place = tmp_path_factory.mktemp("clones")
    folders = [place / "base", place / "here"]
    for folder in folders:
        shutil.copytree(studied, folder, ignore=shutil.ignore_patterns("cache"))
        for lock in folder.rglob("dvc.lock"):
            lock.write_text("schema: '2.0'\nstages: {}\n")
    return folders


def test_what_ran_in_both_and_is_the_same_is_reached_and_what_failed_in_both_is_not(clones, capsys):
    for folder in clones:
        study = folder / "studies" / "arms" / "dvc.yaml"
        study.write_text(study.read_text().replace("b.py > matched", "missing.py > matched"))
    reached = {STUDY: {"sample@tuned"}, SECOND: {"pair"}, "dvc.lock": {"first", "second", "report"}}
    assert compared(clones) == (0, reached)
    assert "missing.py" in capsys.readouterr().out


def test_of_a_study_that_differs_what_runs_before_is_reached_and_so_is_the_run(clones, capsys):
    study = clones[1] / SECOND.replace(".lock", ".yaml")
    study.write_text(study.read_text().replace("b.py", "deep/c.py"))
    reached = {STUDY: {"sample@tuned", "match"}, "dvc.lock": {"first", "second", "report"}}
    assert compared(clones) == (1, reached)
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.startswith("not the same: studies/arms/second/dvc.yaml:pair@")
    assert ": second-" in said


def test_a_stage_that_the_base_has_not_is_no_difference_and_is_not_reached(clones):
    study = clones[1] / "studies" / "arms" / "dvc.yaml"
    stages = YAML(typ="safe").load(study.read_text())["stages"]
    stages["more"] = {**stages["match"], "cmd": "python src/a.py > more", "outs": [{"more": {"cache": False}}]}
    with study.open("w") as file:
        YAML(typ="safe").dump({"stages": stages}, file)
    code, reached = compared(clones)
    assert (code, reached[STUDY]) == (0, {"sample@tuned", "match"})


def test_a_revision_without_the_study_is_compared_by_its_run_alone(clones, capsys):
    shutil.rmtree(clones[0] / "studies" / "arms" / "second")
    (clones[0] / "studies" / "arms" / "dvc.yaml").unlink()
    assert compared(clones) == (0, {"dvc.lock": {"first", "second", "report"}})
    assert "the study of arms is left alone: it is not in both revisions" in capsys.readouterr().out
    (clones[1] / "src" / "a.py").write_text("print(5)")
    assert compared(clones) == (1, {})


def test_a_report_that_differs_is_left_and_what_runs_before_it_and_the_study_are_not(clones, capsys):
    lines = (clones[1] / "dvc.yaml").read_text()
    (clones[1] / "dvc.yaml").write_text(lines.replace("a.py > page", "room/b.py > page"))
    code, reached = compared(clones)
    assert (code, reached["dvc.lock"], set(reached)) == (1, {"first", "second"}, {"dvc.lock", STUDY, SECOND})
    assert "not the same: report is the first stage that differs: page" in capsys.readouterr().out


def test_what_a_study_reads_of_the_run_and_differs_leaves_all_that_reads_it(clones):
    """Their own outputs are equal: what they print goes by no input."""
    (clones[1] / "src" / "a.py").write_text("print(5)")
    assert compared(clones) == (1, {})
