import subprocess
import sys

import optuna
import pytest

from rlrf4rec import store
from rlrf4rec.search import study


def objective(trial):
    x = trial.suggest_float("x", -1.0, 1.0)
    return -((x - 0.3) ** 2)


def test_a_study_finds_the_best_and_repeats_itself():
    one = study.run("a", "key1", objective, 12, 5, 4, 0)
    two = study.run("b", "key2", objective, 12, 5, 4, 0)
    assert len(one) == 12
    assert abs(study.best(one).params["x"] - 0.3) < 0.2
    other = study.run("a", "key3", objective, 12, 6, 4, 0)
    assert [t.params for t in one] != [t.params for t in other]
    assert len(two) == 12


def test_equal_name_and_seed_give_equal_trials(tmp_path, monkeypatch):
    first = study.run("a", "key1", objective, 6, 5, 3, 0)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "elsewhere"))
    (tmp_path / "elsewhere").mkdir()
    assert study.rows(study.run("a", "key1", objective, 6, 5, 3, 0)) == study.rows(first)


TWO = """
import pathlib, sys, time
from rlrf4rec.search import study
state, own = pathlib.Path(sys.argv[1]), sys.argv[2]

def objective(trial):
    deadline = time.monotonic() + 60
    while len(list(state.glob("began-*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    with (state / "done").open("a") as file:
        file.write(f"{trial.number}\\n")
    return -((trial.suggest_float("x", -1.0, 1.0) - 0.3) ** 2)

(state / f"began-{own}").touch()
print(study.rows(study.run("a", "key1", objective, 6, 5, 3, 0)))
"""


def test_two_experiments_that_search_the_same_at_once_share_the_trials_of_one(tmp_path, monkeypatch):
    """The second waits: sampler seeds go by the number of finished trials, so in turns both would draw each point."""
    alone = study.rows(study.run("a", "key1", objective, 6, 5, 3, 0))
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    command = [sys.executable, "-c", TWO, str(tmp_path)]
    both = [subprocess.Popen([*command, own], stdout=subprocess.PIPE, text=True) for own in "ab"]
    said = [process.communicate(timeout=120)[0].splitlines()[-1] for process in both]
    assert said == [repr(alone)] * 2
    assert (tmp_path / "done").read_text().split() == list("012345")


def test_a_journal_that_was_cut_anywhere_goes_on_with_what_is_whole(state):
    """A kill or a full disk ends it in the middle of a line; what was told by whole lines is not done again."""
    whole = study.rows(study.run("a", "key1", objective, 3, 5, 3, 0))
    (journal,) = (state / ".rlrf4rec" / "studies").glob("a-*.log")
    content = journal.read_bytes()
    tried = []

    def remembered(trial):
        """The objective, which tells that it was called."""
        tried.append(trial.number)
        return objective(trial)

    cuts = [*range(0, len(content), len(content) // 12), len(content) - 1, len(content)]
    for cut in cuts:
        journal.write_bytes(content[:cut])
        tried.clear()
        assert study.rows(study.run("a", "key1", remembered, 3, 5, 3, 0)) == whole
        told = content[: content.rfind(b"\n", 0, cut) + 1].count(b'"state":1')  # complete
        assert len(tried) == 3 - told
    journal.write_bytes(content + content[:25])  # the shape of a line that was begun
    assert study.rows(study.run("a", "key1", objective, 3, 5, 3, 0)) == whole


class Killed(BaseException):
    """Stands for SIGKILL: it passes every handler and leaves the trial RUNNING."""


def test_a_killed_study_goes_on_and_ends_as_if_it_had_not_been_killed(tmp_path, monkeypatch):
    whole = study.rows(study.run("a", "key1", objective, 6, 5, 3, 0))
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "killed"))
    (tmp_path / "killed").mkdir()
    calls = []

    def dies(trial):
        calls.append(trial.number)
        if len(calls) == 4:
            raise Killed
        return objective(trial)

    with pytest.raises(Killed):
        study.run("a", "key1", dies, 6, 5, 3, 0)
    before = store.taken()
    assert study.rows(study.run("a", "key1", dies, 6, 5, 3, 0)) == whole
    assert store.taken() - before == 3  # so the cost of what is left isn't told as that of the whole search
    assert len(calls) == 7  # three finished, one killed, three more: nothing was done twice
    study.run("a", "key1", dies, 6, 5, 3, 0)
    assert len(calls) == 7


def test_pruned_trials_are_counted_and_never_best():
    def prunes(trial):
        value = objective(trial)
        trial.report(value, 0)
        if trial.number % 2:
            raise optuna.TrialPruned
        return value

    trials = study.run("a", "key", prunes, 6, 5, 2, 0)
    assert [t.state.name for t in trials] == ["COMPLETE", "PRUNED"] * 3
    assert study.best(trials).number % 2 == 0
    assert study.best([]) is None


def test_the_default_is_tried_first():
    assert study.run("a", "key", objective, 3, 5, 2, 0, {"x": 0.25})[0].params == {"x": 0.25}


def test_what_the_built_in_values_reach_is_kept_beside_the_best():
    trials = study.run("d", "key", objective, 4, 5, 2, 0, {"x": -0.5})
    assert study.default(trials, "gain") == {"gain": pytest.approx(-0.64), "x": -0.5}
    assert study.best(trials).value > -0.64
    assert study.default(study.run("e", "key", objective, 3, 5, 2, 0), "gain") is None
    assert study.default([], "gain") is None


def test_the_built_in_values_are_tried_once_by_a_study_that_goes_on():
    study.run("f", "key", objective, 1, 5, 2, 0, {"x": -0.5})
    again = study.run("f", "key", objective, 3, 5, 2, 0, {"x": -0.5})
    assert study.default(again, "gain")["x"] == -0.5
    assert sum(trial.params == {"x": -0.5} for trial in again) == 1


def test_pinned_wins_over_search_over_default_and_says_so():
    values, sources = study.join(
        {"beta": 0.05, "rate": None, "width": None}, {"beta": 0.2, "rate": 0.1}, {"beta": 1.0, "rate": 2.0, "width": 3}
    )
    assert values == {"beta": 0.05, "rate": 0.1, "width": 3}
    assert sources == "beta=0.05 (params.yaml), rate=0.1 (search), width=3 (default)"


def test_identity_changes_with_settings_and_files(tmp_path):
    path = tmp_path / "f"
    path.write_text("x")
    first = study.identity([1], [path])
    assert study.identity([1], [path]) == first
    assert study.identity([2], [path]) != first
    path.write_text("y")
    assert study.identity([1], [path]) != first


def test_a_best_value_at_the_edge_of_its_range_is_named():
    ranges = {"rate": [0.001, 0.1], "decay": [0.5, 2.0], "point": [3.0, 3.0]}
    assert study.at_edge({"rate": 0.01, "decay": 1.0, "point": 3.0}, ranges) == []
    assert study.at_edge({"rate": 0.0011, "decay": 1.99}, ranges) == ["rate", "decay"]
    assert study.at_edge({}, ranges) == []
    assert study.edge_note(["rate"]) == "; at the edge of its range: rate"
    assert study.edge_note([]) == ""
