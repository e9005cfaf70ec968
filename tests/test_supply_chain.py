"""What is installed is pinned, and nothing of it is older than its oldest safe version."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest

from rlrf4rec import versions
from rlrf4rec.errors import ResourceError

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
NO_PIN = {"rlrf4rec", "pip"}  # itself, and what installs the rest


def plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def pins():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines), "only exact versions"
    found = dict(line.split("==") for line in lines)
    return {plain(name): pinned for name, pinned in found.items()}


def test_everything_installed_is_pinned_to_what_is_installed():
    installed = {plain(d.metadata["Name"]): d.version.split("+")[0] for d in distributions()}
    unlike = {
        name: (v, pins().get(name)) for name, v in installed.items() if name not in NO_PIN and pins().get(name) != v
    }
    assert unlike == {}


def test_no_pin_is_older_than_the_oldest_safe_version():
    old = {
        name: pins()[name]
        for name, (safe, _) in versions.SAFE.items()
        if versions.numbers(pins()[name]) < versions.numbers(safe)
    }
    assert old == {}


def asked():
    """What the project asks for itself, all extras among it: name and requirement."""
    extras = PROJECT["project"]["optional-dependencies"]
    assert {"dev", "s3", "quantization"} <= set(extras)
    whole = [*PROJECT["project"]["dependencies"], *(each for extra in extras.values() for each in extra)]
    return [(plain(re.match(r"[\w.-]+", requirement)[0]), requirement) for requirement in whole]


def test_all_that_the_project_asks_for_is_pinned_whether_it_is_installed_or_not():
    assert [requirement for name, requirement in asked() if name not in pins()] == []


def test_what_the_project_asks_for_itself_cannot_resolve_to_an_unsafe_version():
    for name, requirement in asked():
        if name in versions.SAFE:
            floor = re.search(r">=([\d.]+)", requirement)
            assert floor, f"{requirement}: the oldest safe version is {versions.SAFE[name][0]}"
            assert versions.numbers(floor[1]) >= versions.numbers(versions.SAFE[name][0]), requirement


def test_an_unsafe_library_stops_every_stage_before_it_is_imported(tmp_path):
    """A lightning 2.6.3 that does harm on import lies first on the path."""
    (tmp_path / "lightning-2.6.3.dist-info").mkdir()
    (tmp_path / "lightning-2.6.3.dist-info" / "METADATA").write_text("Name: lightning\nVersion: 2.6.3\n")
    (tmp_path / "lightning.py").write_text("import pathlib\npathlib.Path('harm').touch()\n")
    command = (
        "import sys; sys.argv = ['rlrf4rec', 'train_ranker', 'prm-base']; import rlrf4rec.cli as c; exit(c.main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", command],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{tmp_path}:{ROOT / 'src'}", "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == ResourceError.code
    assert "lightning 2.6.3 is installed, older than 2.6.4" in done.stderr
    assert "GHSA-w37p-236h-pfx3" in done.stderr
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(("text", "release"), [("2.13.0+cpu", (2, 13, 0)), ("3.0rc1", (3, 0)), ("10.2", (10, 2))])
def test_versions_are_compared_by_number(text, release):
    assert versions.numbers(text) == release


def test_a_library_that_is_not_installed_is_no_harm(monkeypatch):
    monkeypatch.setattr(versions, "SAFE", {"no-such-library": ("1.0", "")})
    assert versions.check() is None
