"""The list of looks: counted by users, told what they differ in, kept by DVC, and taken into account by every p."""

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from dataset import write
from ruamel.yaml import YAML

from rlrf4rec import paths
from rlrf4rec.errors import InputError, RLRFError
from rlrf4rec.looking import commit, looks

ROOT = Path(__file__).parent.parent


def labelled(users="ab", label=1):
    rows = [(user, 0, position, f"i{position}", label * (position == 0)) for user in users for position in range(3)]
    return pl.DataFrame(rows, schema=["user", "list", "position", "item", "label"], orient="row")


def test_looks_are_counted_by_users_and_a_repetition_is_none(tmp_path):
    path = tmp_path / "looks.csv"
    asked = [("c1", labelled()), ("c2", labelled(label=0)), ("c2", labelled("abc")), ("c2", labelled(label=0))]
    numbers = []
    for head, lists in asked:
        before = looks.read(path)
        look = looks.next_look(before, head, lists, "")
        looks.add(path, before, look)
        numbers.append(look.look)
    assert numbers == [1, 2, 1, 2]
    found = looks.read(path)
    assert [(look.commit, look.final_users, look.look) for look in found] == [("c1", 2, 1), ("c2", 2, 2), ("c2", 3, 1)]
    assert found[0].users == found[1].users != found[2].users
    assert found[0].lists != found[1].lists


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [("commit", "revision", "its columns are not date, commit"), (",1,", ",one,", "line 2: .*'one'")],
)
def test_looks_that_were_edited_by_hand_are_told(tmp_path, old, new, words):
    path = tmp_path / "looks.csv"
    looks.add(path, [], looks.next_look([], "c", labelled(), ""))
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError, match=words):
        looks.read(path)


def test_every_p_is_adjusted_for_the_looks():
    """By hand: .01 and Holm's .03 at a third look are .03 and .09; .4 can't be more than 1."""
    found = {"family": {"a": {"difference": 0.1, "p": 0.01, "p_holm": 0.03}}, "seeds": [0.1], "b": {"all": {"p": 0.4}}}
    made = looks.adjusted(found, 3)
    assert made["family"]["a"] == pytest.approx({"difference": 0.1, "p": 0.03, "p_holm": 0.09})
    assert (made["seeds"], made["b"]) == ([0.1], {"all": {"p": 1.0}})
    assert looks.adjusted(found, 1) == found


def git(*args):
    assert not Path("pyproject.toml").exists(), "never in the project itself"
    named = ["git", "-c", "user.name=n", "-c", "user.email=e@x", *args]
    return subprocess.run(named, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A commit with params, code and a lock."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path, {"params.yaml": "seed: 1\nsplit: {fold: 0}\n", "src/x.py": "", "dvc.lock": "", "README.md": ""})
    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "run")
    return git("rev-parse", "HEAD")


@pytest.mark.parametrize("path", ["params.yaml", "src/x.py", "src/new.py", "dvc.lock"])
def test_a_look_by_what_is_not_committed_is_refused(repository, path):
    Path("README.md").write_text("of no account")
    Path("metrics").mkdir()
    Path("metrics/cost.json").write_text("{}")
    assert commit.clean() == repository
    Path(path).write_text("seed: 2\n")
    with pytest.raises(RLRFError, match=rf"^final: {path} is not as HEAD has it, .* commit code, params"):
        commit.clean()


def test_a_look_where_nothing_is_committed_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    git("init", "-q")
    with pytest.raises(RLRFError, match="final: no commit here"):
        commit.clean()


def test_a_look_says_what_differs_from_the_one_before(repository):
    Path("params.yaml").write_text("seed: 1\nsplit: {fold: 3, step: 4}\n")
    assert commit.changed(repository) == '{"split.fold": [0, 3], "split.step": [null, 4]}'
    assert commit.changed(None) == ""
    assert commit.changed("0" * 40) == "commit 0000000 is not in this clone"


LOOK = """
from pathlib import Path
import polars as pl
from rlrf4rec import paths
from rlrf4rec.looking import commit, looks

head, before = commit.clean(), looks.read(paths.LOOKS)
lists = pl.DataFrame({"user": ["a"], "list": [0], "position": [0], "item": ["i"], "label": [1]})
since = commit.changed(before[-1].commit if before else None)
looks.add(paths.LOOKS, before, looks.next_look(before, head, lists, since))
Path(paths.FINAL_HEADLINE).write_text("")
Path("metrics/final.json").write_text("{}")
"""


def test_dvc_keeps_the_looks_before_and_looks_again_only_at_something_new(repository):
    """The outputs of the stage `final` as it is written, with a command of this test."""
    stage = YAML(typ="safe").load((ROOT / "studies" / "final" / "dvc.yaml").read_text())["stages"]["final"]
    stage |= {"cmd": f"{sys.executable} look.py", "deps": ["look.py"], "params": ["seed"]}
    write(Path(), {"look.py": LOOK, "studies/final/dvc.yaml": "", "metrics/.gitignore": ""})
    with Path("studies/final/dvc.yaml").open("w") as file:
        YAML().dump({"stages": {"final": stage}}, file)
    subprocess.run(["dvc", "init", "-q"], check=True)
    git("add", "-A")
    git("commit", "-qm", "a pipeline")

    def look():
        """Numbers of all looks after `make final`, and whether it worked."""
        done = subprocess.run(["dvc", "repro", "studies/final/dvc.yaml"], check=False, capture_output=True, text=True)
        return [each.look for each in looks.read(paths.LOOKS)], done.returncode == 0

    assert look() == ([1], True)
    git("add", "-A")
    git("commit", "-qm", "the first look")
    assert look() == ([1], True)
    Path("params.yaml").write_text("seed: 2\nsplit: {fold: 0}\n")
    assert look() == ([1], False)
    git("commit", "-qam", "another seed")
    assert look() == ([1, 2], True)
    assert looks.read(paths.LOOKS)[1].params == '{"seed": [1, 2]}'
