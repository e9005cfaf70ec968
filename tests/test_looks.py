"""The list of looks: counted by what was seen, told what they differ in, left alone by DVC, and paid for by every p."""

import subprocess
import sys
from pathlib import Path

import pytest
from dataset import write
from ruamel.yaml import YAML

from rlrf4rec import paths
from rlrf4rec.errors import InputError, RLRFError
from rlrf4rec.looking import commit, looks

ROOT = Path(__file__).parent.parent


def test_looks_are_counted_by_what_was_seen_whatever_the_commit_and_whoever_the_users(tmp_path):
    path = tmp_path / "looks.csv"
    asked = [("c1", "ab", "s1"), ("c2", "ba", "s1"), ("c2", "ba", "s2"), ("c3", "cde", "s3"), ("c4", "ab", "s2")]
    numbers = []
    for head, users, seen in asked:
        before = looks.read(path)
        look = looks.next_look(before, head, list(users), seen, "")
        looks.add(path, before, look)
        numbers.append(look.look)
    assert numbers == [1, 1, 2, 3, 2]
    found = looks.read(path)
    assert [(look.commit, look.final_users, look.look) for look in found] == [("c1", 2, 1), ("c2", 2, 2), ("c3", 3, 3)]
    assert found[0].users == found[1].users != found[2].users


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [("commit", "revision", "its columns are not date, commit"), (",1,", ",one,", "line 2: .*'one'")],
)
def test_looks_that_were_edited_by_hand_are_told(tmp_path, old, new, words):
    path = tmp_path / "looks.csv"
    looks.add(path, [], looks.next_look([], "c", ["a"], "s", ""))
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError, match=words):
        looks.read(path)


def test_every_p_is_adjusted_for_the_number_of_its_look():
    """By hand: .01 and Holm's .03 at a third look, 3 x 4, are .12 and .36; .4 can't be more than 1."""
    found = {"family": {"a": {"difference": 0.1, "p": 0.01, "p_holm": 0.03}}, "seeds": [0.1], "b": {"all": {"p": 0.4}}}
    made = looks.adjusted(found, 3)
    assert made["family"]["a"] == pytest.approx({"difference": 0.1, "p": 0.12, "p_holm": 0.36})
    assert (made["seeds"], made["b"]) == ([0.1], {"all": {"p": 1.0}})


def test_over_any_number_of_looks_a_null_is_rejected_no_more_often_than_one_test_would():
    """p below alpha after the adjustment has probability alpha / factor; by the union bound these add up."""
    bounds = [1 / looks.spent(look) for look in range(1, 10_001)]
    assert 0.999 < sum(bounds) < 1
    assert bounds[0] == 1 / 2


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
    assert commit.clean(commit.OF_RUN) == repository
    Path(path).write_text("seed: 2\n")
    with pytest.raises(RLRFError, match=rf"^final: {path} is not as HEAD has it, .* commit code, params"):
        commit.clean(commit.OF_RUN)


def test_a_look_where_nothing_is_committed_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    git("init", "-q")
    with pytest.raises(RLRFError, match="final: no commit here"):
        commit.clean(commit.OF_RUN)


def test_a_look_says_what_differs_from_the_one_before(repository):
    Path("params.yaml").write_text("seed: 1\nsplit: {fold: 3, step: 4}\n")
    assert commit.changed(repository) == '{"split.fold": [0, 3], "split.step": [null, 4]}'
    assert commit.changed(None) == ""
    assert commit.changed("0" * 40) == "commit 0000000 is not in this clone"


LOOK = """
from pathlib import Path
from rlrf4rec import paths
from rlrf4rec.looking import commit, identity, known, looks

head, before = commit.clean(commit.OF_RUN), known.everywhere(paths.LOOKS)
since = commit.changed(before[-1].commit if before else None)
seen = identity.seen([Path("params.yaml")], {}, identity.OF_RUN)
known.write_down(paths.LOOKS, looks.next_look(before, head, ["a"], seen, since))
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
