"""Every target of the Makefile in a clone whose path has a blank, with programs that only note how they were called."""

import shutil
import subprocess
from pathlib import Path

import pytest
from pipeline.lacking import lacking

ROOT = Path(__file__).parent.parent
PROGRAMS = ("python", "ruff", "mypy", "pytest", "dvc", "rlrf4rec", "pip-audit")
NOTE = '#!/bin/sh\necho "$0 $*${FAULTS_STRICT:+ strictly}" >>"$LOG"\n'
# `python -m venv FOLDER` makes the programs; all else succeeds.
PYTHON = f"""{NOTE}
[ "$2" = venv ] || exit 0
mkdir -p "$3/bin"
for name in {" ".join(PROGRAMS)}; do cp "$(dirname "$0")/noted" "$3/bin/$name"; done
"""


@pytest.fixture
def clone(tmp_path):
    """The Makefile, what it looks at, and programs that it finds before the machine's own."""
    folder, programs = tmp_path / "my clone", tmp_path / "my programs"
    for name in ("Makefile", "pyproject.toml", "constraints.txt", ".ci/run"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    (folder / "tests").mkdir()
    programs.mkdir()
    for name, text in (("python", PYTHON), ("noted", NOTE), ("chromium", NOTE)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    return folder, programs


def called(clone, *command):
    """Programs of the clone's environment that the command ran."""
    folder, programs = clone
    log = folder.parent / "log"
    log.write_text("")
    environment = {"PATH": f"{programs}:/usr/local/bin:/usr/bin:/bin", "LOG": str(log)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = log.read_text().splitlines()
    return [line.split(".venv/", 1)[1] for line in lines if line.startswith(f"{folder}/.venv/")]


@pytest.mark.parametrize(
    ("target", "last"),
    [
        ("setup", "bin/python -m pip install"),
        ("repro", "bin/dvc repro"),
        ("report", "bin/dvc repro report"),
        ("study", "bin/dvc repro studies/controls/dvc.yaml"),
        ("final", "bin/dvc repro report"),
        ("final-arms", "bin/dvc repro report"),
        ("arms", "bin/dvc repro studies/arms/dvc.yaml"),
        ("curve", "bin/dvc repro studies/learning_curve/dvc.yaml"),
        ("bench", "bin/dvc repro --force --single-item studies/bench/dvc.yaml:bench"),
        ("exp", "bin/rlrf4rec exp smoke"),
        ("quick", "bin/rlrf4rec exp smoke"),
        ("test", "bin/pytest"),
        ("check", "bin/rlrf4rec check"),
        ("same", "bin/python -m pipeline.same HEAD"),
        ("test-faults", "bin/pytest -m faults strictly"),
    ],
)
def test_a_target_runs_in_a_path_with_a_blank(clone, target, last):
    python = clone[1] / "python"
    found = called(clone, "make", target, f"PYTHON={python}", "RECIPE=smoke", "BASE=HEAD")
    assert found[-1].startswith(last)
    assert found[0].startswith("bin/python -m pip install")  # once, and not again
    assert (clone[0] / ".venv" / "ready").exists()
    again = called(clone, "make", target, f"PYTHON={python}", "RECIPE=smoke", "BASE=HEAD")
    assert again == found[1:]


def test_the_gate_runs_in_a_path_with_a_blank(clone):
    (clone[1] / "python3").symlink_to("python")
    found = called(clone, str(clone[0] / ".ci" / "run"))
    assert [line.split()[0] for line in found] == ["bin/python", "bin/ruff", "bin/ruff", "bin/mypy", "bin/pytest"]


@pytest.mark.parametrize(
    ("target", "asked", "study"), [("final", "", "final"), ("final-arms", " --arms", "final_arms")]
)
def test_a_final_look_is_refused_before_anything_of_it_is_made(clone, target, asked, study):
    found = called(clone, "make", target, f"PYTHON={clone[1] / 'python'}")
    made = [f"bin/rlrf4rec ready{asked}", f"bin/dvc repro studies/{study}/dvc.yaml", "bin/dvc repro report"]
    assert found[-3:] == made


@pytest.mark.parametrize(("strict", "outcome"), [("", pytest.skip.Exception), ("1", pytest.fail.Exception)])
def test_what_a_machine_lacks_is_skipped_but_fails_where_everything_is_to_be_tried(monkeypatch, strict, outcome):
    monkeypatch.setenv("FAULTS_STRICT", strict)
    with pytest.raises(outcome, match="a compiler"):
        lacking("a compiler")
