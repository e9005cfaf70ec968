"""Looks of all branches, of rows that were thrown away and of other worktrees count; none can be edited away."""

import argparse
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from dataset import write
from test_looks import git

from rlrf4rec import paths
from rlrf4rec.errors import InputError, ParamsError, RLRFError
from rlrf4rec.looking import commit, identity, known, looks, ready
from rlrf4rec.params import load
from rlrf4rec.stages import final

ROOT = Path(__file__).parent.parent
OF_RUN, OF_ARMS = (argparse.Namespace(arms=arms) for arms in (False, True))


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A commit in the branch main."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path, {"README.md": "", "params.yaml": "seed: 1\n"})
    git("init", "-q", "-b", "main")
    git("add", "-A")
    git("commit", "-qm", "run")
    return tmp_path


def look(seen):
    """Number of the look that this is, written down."""
    with known.alone():
        made = looks.next_look(known.everywhere(paths.LOOKS), "c", ["a", "b"], seen, "")
        known.write_down(paths.LOOKS, made)
    return made.look


def commit_looks(message):
    git("add", "metrics")
    git("commit", "-qm", message)


def forget():
    """As a clone of this repository: without the journal."""
    Path(".git", known.JOURNAL).unlink()


def rows():
    return [(each.seen, each.look) for each in looks.read(paths.LOOKS)]


def test_looks_of_other_branches_and_tags_count_in_a_clone(repository):
    git("checkout", "-q", "-b", "other")
    assert [look("s1"), look("s2")] == [1, 2]
    commit_looks("two looks")
    git("tag", "kept")
    git("checkout", "-q", "main")
    git("branch", "-q", "-D", "other")
    forget()
    assert not paths.LOOKS.exists()
    assert look("s3") == 3
    assert rows() == [("s3", 3)]
    assert look("s1") == 1, "what another branch has seen already is no other look"
    assert rows() == [("s3", 3), ("s1", 1)]
    assert look("s4") == 4


def test_an_experiment_s_looks_count(repository):
    """DVC keeps the commits of experiments under refs of its own."""
    look("s1")
    commit_looks("one look")
    git("update-ref", f"refs/exps/{'ab'}/{'c' * 38}/odd-name", "HEAD")
    git("reset", "-q", "--hard", "HEAD~1")
    forget()
    assert look("s2") == 2


def test_a_row_that_was_thrown_away_before_it_was_committed_counts(repository):
    look("s1")
    paths.LOOKS.unlink()
    assert look("s2") == 2
    assert rows() == [("s2", 2)]


def test_looks_of_another_worktree_count(repository, tmp_path, monkeypatch):
    look("s1")
    git("worktree", "add", "-q", str(tmp_path / "beside"))
    monkeypatch.chdir(tmp_path / "beside")
    assert look("s2") == 2


@pytest.mark.parametrize("edit", [lambda lines: lines[:-1], lambda lines: [lines[0], lines[2], lines[1]]])
def test_rows_that_head_has_can_neither_go_nor_change_places(repository, edit):
    look("s1"), look("s2")
    commit_looks("two looks")
    look("s3")
    assert look("s3") == 3, "rows after those of HEAD are well"
    lines = paths.LOOKS.read_text().splitlines(keepends=True)[:3]
    paths.LOOKS.write_text("".join(edit(lines)))
    with pytest.raises(InputError, match=r"looks.csv: rows that HEAD has are edited or gone, .* `git checkout metrics"):
        look("s4")


def test_looks_at_the_same_time_get_numbers_of_their_own(repository):
    threads = [threading.Thread(target=look, args=(f"s{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(number for _, number in rows()) == list(range(1, 9))
    assert len({seen for seen, _ in rows()}) == 8


def test_labels_are_read_when_the_row_is_on_the_disk(repository, monkeypatch):
    """The stage with what it judges left out, stopped where it reads labels."""

    def labels(tables, *_):
        """Fails with what is written down before."""
        raise InputError(f"{tables.users.height} users, rows before: {rows()}")

    def of_final(_, **changes):
        """Tables of the final users, of whose lists five items are all that is known."""
        return SimpleNamespace(candidates=lambda _: SimpleNamespace(item=np.zeros((1, 5))), **changes)

    monkeypatch.setattr(final, "FINAL_USERS", SimpleNamespace(read=lambda _: pl.DataFrame({"user": ["a", "b"]})))
    monkeypatch.setattr(final, "HISTORY", SimpleNamespace(read=lambda _: None))
    monkeypatch.setattr(final, "read_tables", lambda: SimpleNamespace(item_features=lambda: None))
    monkeypatch.setattr(final, "replace", of_final)
    monkeypatch.setattr(final, "read_scores", lambda *_: {})
    monkeypatch.setattr(final.reading, "texts", lambda *_: None)
    monkeypatch.setattr(final.frozen, "of_first_round", lambda *_: None)
    monkeypatch.setattr(commit, "clean", lambda _: "c")
    monkeypatch.setattr(commit, "changed", lambda _: "")
    monkeypatch.setattr(identity, "seen", lambda *_: "s1")
    monkeypatch.setattr(final.look, "labelled", labels)
    p = load(ROOT / "params.yaml")
    with pytest.raises(InputError, match=r"2 users, rows before: \[\('s1', 1\)\]"):
        final.run(p.seed, p.loop, p.backbones, p.reward, p.train_ranker, p.evaluate)


def test_what_was_seen_is_files_params_and_code_without_its_words(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_text("1"), second.write_text("2")
    found = identity.seen([first, second], {"k": 5}, identity.OF_RUN)
    assert identity.seen([first, second], {"k": 5}, identity.OF_RUN) == found
    assert identity.seen([first, second], {"k": 6}, identity.OF_RUN) != found
    second.write_text("3")
    assert identity.seen([first, second], {"k": 5}, identity.OF_RUN) != found
    with pytest.raises(InputError, match=r"b: missing; `make final` makes what a look needs"):
        identity.seen([first, tmp_path / "none" / "b"], {}, identity.OF_RUN)


def test_a_docstring_is_a_word_and_a_number_is_not():
    code = (
        'MORE = 1\n\n\nclass A:\n    """What."""\n\n    def f(self, x):\n        "How."\n        return x * 2  # why\n'
    )
    other = code.replace("What.", "Which.").replace("How.", "So.").replace("# why", "# since")
    assert identity.bare(code) == identity.bare(other) != identity.bare(code.replace("* 2", "* 3"))
    assert "How" not in identity.bare(code)
    assert identity.bare('def f():\n    "Only words."\n') == "def f():\n    pass"


def test_no_look_in_a_copy_that_dvc_makes_for_an_experiment(repository, monkeypatch):
    inner = Path(".dvc", "tmp", "exps", "standalone", "x")
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    with pytest.raises(RLRFError, match=r"final: DVC runs an experiment in this copy"):
        commit.clean(commit.OF_RUN)


def test_a_look_is_refused_at_once_where_the_run_is_not_committed_or_not_up_to_date(repository, capsys):
    """With a pipeline of one stage; each refusal comes before any stage of the study could start."""
    with pytest.raises(ParamsError, match=r"no dvc.yaml in this folder"):
        ready.run(OF_RUN)
    stage = f"stages:\n  a:\n    cmd: {sys.executable} -c \"open('b', 'w').write(open('a').read())\"\n    deps: [a]\n"
    shown = "  report:\n    cmd: cp c d\n    deps: [c]\n    outs: [d]\n"
    write(repository, {"a": "1", "c": "1", "dvc.yaml": stage + "    outs: [b]\n" + shown, "src/x.py": ""})
    params = (ROOT / "params.yaml").read_text()
    Path("params.yaml").write_text(params)
    subprocess.run(["dvc", "init", "-q"], check=True)
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    git("add", "-A")
    git("commit", "-qm", "a pipeline")
    with pytest.raises(RLRFError, match=r"final: a of the run is not up to date: `dvc repro` .* then `make final`"):
        ready.run(OF_RUN)  # nor is the report, which is not counted
    subprocess.run(["dvc", "repro", "-q"], check=True, env=environment)
    with pytest.raises(RLRFError, match=r"final: dvc.lock is not as HEAD has it"):
        ready.run(OF_RUN)
    git("add", "-A")
    git("commit", "-qm", "the run")
    look("s1")
    assert ready.run(OF_RUN) == 0
    assert "can be looked at; if that shows something new it is look 2" in capsys.readouterr().out
    Path("c").write_text("what a look that failed half way has left, which the report shows")
    assert ready.run(OF_RUN) == 0
    study = "stages:\n  x:\n    cmd: echo > y\n    outs: [y]\n"
    write(repository, dict.fromkeys(commit.ARMS, study))
    git("add", "-A")
    git("commit", "-qm", "a study that was not run")
    assert ready.run(OF_RUN) == 0
    with pytest.raises(
        RLRFError, match=r"^final-arms: studies/arms/.*dvc.yaml:x and 2 more .* `make repro arms` .* commit"
    ):
        ready.run(OF_ARMS)
    Path("b").unlink()
    with pytest.raises(RLRFError, match=r"final: a of the run is not up to date"):
        ready.run(OF_RUN)
    Path("params.yaml").write_text(params.replace("final_folds: 4", "final_folds: null"))
    with pytest.raises(ParamsError, match=r"no user is final: set interactions.final_folds, and `dvc repro`"):
        ready.run(OF_RUN)
