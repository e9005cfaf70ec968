"""`rlrf4rec check` on small repositories: figures, findings at commits, releases, the README's line."""

import argparse
import json
import subprocess
from pathlib import Path

import pytest
from compared import SOURCE, call, commit, edit_stages, write

from rlrf4rec import cost, paths
from rlrf4rec.committed import check, command, line
from rlrf4rec.committed.figures import Numbers, figures
from rlrf4rec.committed.findings import MEND, entries
from rlrf4rec.errors import InputError
from rlrf4rec.looking import looks
from rlrf4rec.revisions import git, locks, state

GAIN = {"difference": 0.016251, "low": 0.006966, "high": 0.026049, "p": 0.00514}


def numbers(*contents):
    known = Numbers()
    for content in contents:
        known.add(content)
    return known


def quoted(text):
    return [str(figure) for figure in figures(text)]


def unknown(text, known):
    return [str(figure) for figure in figures(text) if not known.has(figure)]


def test_figures_are_told_from_versions_and_code():
    text = "Python 3.11 and `x=0.5`, [a](b-1.25.html), arXiv 2410.05939, 95 % intervals"
    assert quoted(text) == []
    assert quoted(f"{text}: +0.0164 (p .004), \u22120.02, 52.2%.") == ["+0.0164", ".004", "-0.02", "52.2%"]


def test_a_figure_and_its_interval_are_one():
    text = "+0.0163 NDCG@5\n[0.0070, 0.0260], personal part +0.0187 [\u22120.0054, 0.0333] of [0.1, 0.2], 0.3"
    assert quoted(text) == ["+0.0163 [0.0070, 0.0260]", "+0.0187 [-0.0054, 0.0333]", "[0.1, 0.2]", "0.3"]


def test_a_figure_is_known_at_the_precision_quoted():
    known = numbers({"a": 0.016432, "b": {"c": 0.521739}, "d": -0.0213})
    assert unknown("+0.0164, 0.016, 52.2 %, 52%, \u22120.021, 0.021", known) == []
    assert unknown("+0.0165, 53%, +0.021", known) == ["+0.0165", "53%", "+0.021"]


def test_an_interval_is_that_of_its_difference():
    """Each of the three numbers stands somewhere: that is not enough."""
    other = {"difference": 0.03, "low": 0.01, "high": 0.05}
    known = numbers({"x": GAIN, "y": other})
    assert unknown("+0.0163 [0.0070, 0.0260] and 0.03 [0.01, 0.05] and p 0.005", known) == []
    assert unknown("+0.0163 [0.0100, 0.0260]", known) == ["+0.0163 [0.0100, 0.0260]"]
    assert unknown("-0.0163 [0.0070, 0.0260]", known) == ["-0.0163 [0.0070, 0.0260]"]
    assert unknown("+0.02 [0.01, 0.04]", numbers({"g": 0.02, "g_low": 0.01, "g_high": 0.04})) == []
    again = numbers({"here": {"value": 0.02, "low": 0.01, "high": 0.04}})  # of metrics/reproduced.json
    assert unknown("+0.02 [0.01, 0.04]", again) == []
    assert unknown("+0.01, +0.02 [0.01, 0.03]", again) == ["+0.02 [0.01, 0.03]", "+0.01"]


def test_a_signed_figure_is_a_difference_and_none_is_of_a_single_seed():
    known = numbers({"x": GAIN, "rankers": {"ndcg": {"mean": 0.5, "seeds": [0.41, 0.59]}}})
    assert unknown("+0.0163, 0.5, 0.0070", known) == []
    assert unknown("+0.0070, +0.5, 0.41", known) == ["+0.0070", "+0.5", "0.41"]


def found(text, **files):
    contents = {path.replace("_", "/", 1) + ".json": content for path, content in files.items()}
    return entries(text, lambda commit, path: contents.get(path))


def test_an_entry_names_the_files_of_its_figures():
    text = "Intro 0.9\n\n## One\n\nGain +0.02.\n\nA trial: 0.7. (Not\nreproducible: by hand.)\n\nFigures: `m/a.json`.\n"
    (one,) = found(text, m_a=json.dumps({"g": 0.02}))
    assert (one.title, one.found, one.marked, one.faults) == ("One", 1, 1, [])


@pytest.mark.parametrize(
    ("rest", "fault"),
    [
        ("", f"+0.02: no line `Figures: ...` names the files that they come from; {MEND}"),
        ("Figures: `m/b.json`.", f"+0.02: in none of the files that the entry names; {MEND}"),
        ("Figures: `m/c.json`.", "names m/c.json, which is not there"),
        ("Figures: commit 0123abc, `m/d.json`.", "names m/d.json of commit 0123abc, which is no JSON"),
    ],
)
def test_an_entry_whose_figures_come_from_nowhere_is_a_fault(rest, fault):
    (one,) = found(f"## One\n\nGain +0.02.\n\n{rest}\n", m_b='{"g": 0.03}', m_d="{")
    assert fault in one.faults


def test_a_whole_entry_can_be_marked():
    (one,) = found("## One\n\nGain +0.02.\n\n- 0.5\n\nFigures: not reproducible, its run is not in Git.\n")
    assert (one.found, one.marked, one.faults) == (0, 2, [])


LOG = "## One\n\nGain +0.0163 [0.0070, 0.0260].\n\nFigures: {}`metrics/gain.json`.\n"


@pytest.fixture
def checked(repository):
    """The small repository with a README, and a finding of a first commit whose file is another one by now."""
    Path("README.md").write_text(f"# A\n\n{line.BEGIN}\n{line.FITS}\n{line.END}\n")
    Path("docs").mkdir()
    Path("metrics/gain.json").write_text(json.dumps({"gain": GAIN}))
    first = commit("gain")
    Path("docs/findings.md").write_text(LOG.format(f"commit {first[:9]}, "))
    Path("metrics/gain.json").unlink()
    commit("other")
    return first


def run(*args):
    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers(), ("split", "evaluate"))
    return command.run(parser.parse_args(["check", *args]))


def test_a_true_repository(checked, capsys):
    assert run() == 0
    printed = capsys.readouterr().out
    assert "1 figures of docs/findings.md stand in the files" in printed
    assert printed.endswith("check: the committed numbers are true\n")


def test_a_finding_of_the_workspace_holds_as_long_as_its_file_does(checked, capsys):
    Path("docs/findings.md").write_text(LOG.format(""))
    assert run() == 1
    assert "names metrics/gain.json, which is not there" in capsys.readouterr().out


def test_a_commit_that_there_is_not_is_a_fault(checked, capsys):
    Path("docs/findings.md").write_text(LOG.format("commit 0123abc, "))
    assert run() == 1
    assert "metrics/gain.json of commit 0123abc, which is not there" in capsys.readouterr().out


def test_a_shallow_clone_says_what_it_could_not_look_at(checked, tmp_path, monkeypatch, capsys):
    subprocess.run(["git", "clone", "-q", "--depth=1", f"file://{tmp_path}", "clone"], check=True)
    monkeypatch.chdir("clone")
    assert run() == 0
    printed = capsys.readouterr().out
    assert f"'One' is not looked at: metrics/gain.json of commit {checked[:9]} is not in this shallow clone" in printed
    assert "git fetch --unshallow" in printed


def test_a_figure_of_the_readme_that_no_file_has(checked, capsys):
    with Path("README.md").open("a") as file:
        file.write("It gains 0.1234.\n")
    assert run() == 1
    assert "README.md: 0.1234: in no metrics file and no param; quote a number of theirs" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["cost/evaluate.json", "reproduced.json"])
def test_a_figure_does_not_stand_by_what_a_run_cost(checked, capsys, name):
    Path("metrics/cost").mkdir()
    content = {"wall_s": 0.1234} if name.startswith("cost") else {"committed": 0.1234}
    Path("metrics", name).write_text(json.dumps(content))
    with Path("README.md").open("a") as file:
        file.write("It gains 0.1234.\n")
    found = check.Found()
    check._docs(Path(), found)
    assert found.faults == [f"README.md: 0.1234: in no metrics file and no param; {check.QUOTE}"]


def test_a_figure_of_a_run_again_stands_where_its_file_is_named(checked):
    """It is another run's, so it stands for no other figure of the page."""
    record = {"numbers": {"gain": {"here": {"value": 0.1234, "low": 0.1, "high": 0.2}, "tolerance": 0.05}}}
    Path("metrics/reproduced.json").write_text(json.dumps({check.records.SAME: record}))
    quote = "Again it is +0.1234 [0.1000,\n0.2000] (`metrics/reproduced.json`)"
    cases = {
        f"{quote}.\n": [],
        f"{quote.replace('0.2000', '0.2001')}.\n": ["+0.1234 [0.1000, 0.2001]"],
        f"{quote}.\n\nIt gains 0.1234.\n": ["0.1234"],
        f"- {quote}.\n- It gains 0.1234.\n": ["0.1234"],
        "| `metrics/reproduced.json` | 0.1234 |\n| other | 0.1234 |\n": ["0.1234"],
        f"{quote}.\n\n```\nrun\n\nx 0.9 in code\n```\n": [],
    }
    start = Path("README.md").read_text()
    for text, missing in cases.items():
        Path("README.md").write_text(f"{start}\n{text}")
        found = check.Found()
        check._docs(Path(), found)
        told = [f"README.md: {', '.join(missing)}: in no metrics file and no param; {check.QUOTE}"]
        assert found.faults == (told if missing else [])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda stages: stages["evaluate"].update(cmd="f"), "dvc.yaml (cmd) is not what evaluate of dvc.yaml ran with"),
        (
            lambda stages: stages["evaluate"]["deps"].append("src/more.py"),
            "src/more.py is not what evaluate of dvc.yaml ran with",
        ),
        (
            lambda stages: stages["evaluate"]["params"].append("seed"),
            "params.yaml: seed is not what evaluate of dvc.yaml ran with",
        ),
        (lambda stages: stages.update(later={"cmd": "l"}), "later of dvc.yaml has never run"),
        (
            lambda stages: stages["sample"].update(foreach=["round1", "round2"]),
            "sample@round2 of dvc.yaml has never run",
        ),
        (
            lambda stages: stages["sample"]["do"].update(cmd="s ${item.policy} ${key}"),
            "dvc.yaml (cmd) is not what sample@round1 of dvc.yaml ran with",
        ),
    ],
)
def test_what_only_dvc_yaml_has_is_behind(checked, capsys, change, told):
    edit_stages("dvc.yaml", change)
    assert [str(one) for one in locks.behind(Path())] == [told]
    assert run() == 1
    assert "warning: dvc.lock is older than code or params of " in capsys.readouterr().out
    (one,) = locks.behind(Path())
    assert state.load(git.resolve("workspace")).stale == {one.stage: [one.what]}


def test_what_dvc_yaml_no_longer_has_is_no_part_of_the_run(checked):
    """DVC leaves it in the lock: its lost file lacks nothing, and one that is left is no stage's."""
    path = "metrics/removed/round2.json"
    edit_stages("dvc.lock", lambda stages: stages.update(removed={"cmd": "r", "outs": [{"path": path, "md5": "a"}]}))
    assert "removed" not in locks.locks(Path())["dvc.yaml"]
    assert locks.other_metrics(Path()) == []
    Path(path).parent.mkdir()
    Path(path).write_text("{}")
    assert [fault.startswith(f"{path}: ") for fault in locks.other_metrics(Path())] == [True]


def test_a_run_behind_its_code_is_told_and_is_a_fault_at_a_release(checked, capsys):
    Path(SOURCE).write_text("other\n")
    assert run() == 1
    printed = capsys.readouterr().out
    assert "warning: dvc.lock is older than code or params of evaluate" in printed
    assert "README.md: its line on the run is not true; `rlrf4rec check --write` mends it" in printed
    assert run("--write") == 0
    assert "**Committed run:** older than code or params of `evaluate`." in Path("README.md").read_text()
    call("tag", "v1")
    capsys.readouterr()
    assert run() == 1
    assert "release v1 holds a run of other code or params: src/rlrf4rec/ranking" in capsys.readouterr().out
    write()
    assert run("--write") == 0
    assert Path("README.md").read_text() == f"# A\n\n{line.BEGIN}\n{line.FITS}\n{line.END}\n"


def test_the_readme_says_which_of_all_looks_the_last_one_was(checked):
    row = {"date": "2026-11-26", "commit": "c", "final_users": 3, "users": "u", "seen": "s", "look": 1, "params": ""}
    found = [looks.Look(**row), looks.Look(**{**row, "seen": "t", "look": 2})]
    looks.add(paths.LOOKS, found[:1], found[1])
    assert (
        check.readme_line(Path())
        == f"{line.FITS} Last look at its final users: number 2 of all looks at any (`metrics/looks.csv`)."
    )


def test_a_look_whose_row_is_gone_is_a_fault_and_the_list_of_looks_is_none(checked, capsys):
    row = looks.Look("2026-11-26", "c", 3, "u", "s", 1, "")
    looks.add(paths.LOOKS, [], row)
    assert run("--write") == 0
    assert "1 at final users, the last number 1 of all" in capsys.readouterr().out
    for path in (paths.metrics("final"), paths.metrics("final_arms")):
        for number, said in ((1, 0), (2, 1)):
            path.write_text(json.dumps({"look": number, "commit": "c"}))
            faults = [fault for fault in check.everything().faults if "has no such row" in fault]
            assert faults == [fault for fault in faults if fault.startswith(f"{path}: of look 2 at commit c, and")]
            assert len(faults) == said
        path.unlink()


def test_a_readme_without_marks_is_an_error(checked):
    Path("README.md").write_text("# A\n")
    with pytest.raises(InputError, match=r"README.md: the marks <!-- run: .* are missing; put them on lines"):
        run()


def test_the_page_that_the_report_shows_says_the_same_or_nothing(checked, capsys):
    """A run writes it without the sentence; one that was written before the code changed is found."""
    cost.PAGE.parent.mkdir()
    cost.write_page(("evaluate",))
    assert line.TITLE not in cost.PAGE.read_text()
    assert run() == 0
    Path(SOURCE).write_text("other\n")
    assert run("--write") == 0
    assert "<p>Committed run: older than code or params of evaluate.</p>" in cost.PAGE.read_text()
    write()
    line.write(line.README, line.FITS)
    capsys.readouterr()
    assert run() == 1
    assert "FAULT: metrics/cost/index.html: its sentence on the run is not true" in capsys.readouterr().out
    assert run("--write") == 0
