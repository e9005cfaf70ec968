"""The parts of `make same` that decide; the whole runs two tiny pipelines and is tried by hand."""

import hashlib

import pytest
from ruamel.yaml import YAML

from .conftest import ran, run
from .same import described, first_unequal, rewrite, rewritten

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
    made = rewritten(ENTRY, ["src/a.py", "src/b.py"], was, now)
    assert made["deps"] == [
        ENTRY["deps"][0],
        {"path": "src/a.py", "hash": "md5", **described(NEW)},
        {"path": "src/b.py", "hash": "md5", **described(OLD)},
    ]
    assert (made["cmd"], made["outs"]) == (ENTRY["cmd"], ENTRY["outs"])
    assert ENTRY["deps"][1]["md5"] == hashlib.md5(b"old\n").hexdigest()


def test_code_that_is_no_longer_a_dependency_goes():
    assert rewritten(ENTRY, [], {"src/a.py": OLD}.get, {}.get)["deps"] == ENTRY["deps"][:1]


def test_an_entry_that_the_base_had_not_run_is_left():
    assert rewritten(ENTRY, ["src/a.py"], {"src/a.py": NEW}.get, {"src/a.py": NEW}.get) is None
    assert rewritten(ENTRY, ["src/a.py"], {}.get, {"src/a.py": NEW}.get) is None


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
    assert rewrite(repository, "HEAD") == (["second"], [])
    assert ran(run(repository, "dvc", "repro", "--dry").stdout) == set()
    after = YAML(typ="safe").load(lock.read_text())["stages"]
    assert after["first"] == before["first"]
    assert (after["second"]["outs"], after["second"]["cmd"]) == (before["second"]["outs"], before["second"]["cmd"])
    assert [dep["path"] for dep in after["second"]["deps"]] == ["one", "one", "src/room", "src/room"]  # as it was
    run(repository, "git", "add", "-A")
    run(repository, "git", "commit", "-qm", "same")
    (repository / "src" / "a.py").write_text("print(4)")
    run(repository, "git", "commit", "-qam", "not run")
    assert rewrite(repository, "HEAD") == ([], ["first"])
