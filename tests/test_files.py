"""Files and folders that are there whole, the old or the new one, whatever happens while they are written."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rlrf4rec import files
from rlrf4rec.alignment.policy import new_policy, save_adapter
from rlrf4rec.errors import InputError

# The process ends by SIGKILL in place of the n-th rename.
KILLED = """
import os, pathlib, signal
from rlrf4rec import files
renames = []
def rename(self, target, real=pathlib.Path.rename):
    renames.append(target)
    if len(renames) == {number}:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, target)
pathlib.Path.rename = rename
with files.atomic_folder(pathlib.Path("made")) as folder:
    (folder / "deep").mkdir()
    (folder / "deep" / "x").write_text("new")
"""


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def synced(monkeypatch):
    """Inodes of what was brought to the disk, in order, and whether `made` had its name then."""
    done = []

    def watch(target):
        monkeypatch.setattr(os, "fsync", lambda number: done.append((os.fstat(number).st_ino, target.exists())))
        return done

    return watch


def test_a_file_is_on_the_disk_before_it_takes_its_name(tmp_path, synced):
    done = synced(tmp_path / "made")
    files.write_json(tmp_path / "made", {"a": 1})
    assert done == [((tmp_path / "made").stat().st_ino, False), (tmp_path.stat().st_ino, True)]


def test_a_folder_is_on_the_disk_before_it_takes_its_name(tmp_path, synced):
    done = synced(tmp_path / "made")
    with files.atomic_folder(tmp_path / "made") as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "x").write_text("new")
    whole = [path.stat().st_ino for path in (tmp_path / "made", *(tmp_path / "made").rglob("*"))]
    assert len(whole) == 3
    assert sorted(done[:-1]) == sorted((number, False) for number in whole)
    assert done[-1] == (tmp_path.stat().st_ino, True)


def test_a_folder_takes_the_place_of_the_old_one_as_a_whole(tmp_path):
    for content in ("old", "new"):
        with files.atomic_folder(tmp_path / "made") as folder:
            (folder / content).write_text(content)
    assert tree(tmp_path) == {"made/new": "new"}
    with pytest.raises(FileNotFoundError), files.atomic_folder(tmp_path / "made") as folder:
        shutil.copy(tmp_path / "made" / "new", folder / "half") and (tmp_path / "missing").read_text()
    assert tree(tmp_path) == {"made/new": "new"}


def test_a_folder_that_can_t_take_its_name_leaves_the_old_one(tmp_path, monkeypatch):
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "old").write_text("old")
    real = Path.rename

    def refuse(self, to):
        if self.name.endswith(files.PARTIAL):
            raise OSError(errno.EIO, "refused")
        return real(self, to)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match="refused"), files.atomic_folder(tmp_path / "made") as folder:
        (folder / "new").write_text("new")
    assert tree(tmp_path) == {"made/old": "old"}


@pytest.mark.parametrize(("number", "there"), [(1, True), (2, False)], ids=["before", "between"])
def test_a_kill_at_any_rename_leaves_the_old_folder_to_the_next_stage(tmp_path, number, there):
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "old").write_text("old")
    done = subprocess.run([sys.executable, "-c", KILLED.format(number=number)], cwd=tmp_path)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "made").exists() == there
    assert {"old", "new"} <= set(tree(tmp_path).values())  # nothing is lost
    assert files.sweep(tmp_path) == (1 if there else 2)
    assert tree(tmp_path) == {"made/old": "old"}


def test_a_former_folder_whose_successor_came_goes(tmp_path):
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "new").write_text("new")
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    former = tmp_path / f".made.{files._machine()}.{done.stdout.strip()}.0.former"
    former.mkdir()
    (former / "old").write_text("old")
    (tmp_path / ".of.another.program.partial").write_text("")
    assert files.sweep(tmp_path) == 1
    assert tree(tmp_path) == {"made/new": "new", ".of.another.program.partial": ""}


def test_the_old_adapter_goes_only_when_the_new_one_is_there(llama, tmp_path, monkeypatch):
    policy, target = new_policy(llama(), 4, 8, 0.0, 0), tmp_path / "adapter"
    save_adapter(policy, tmp_path, target)
    before = {path.name: path.read_bytes() for path in target.iterdir()}
    whole, real = [], shutil.rmtree

    def remove(path, **options):
        whole.append({inner.name: inner.read_bytes() for inner in target.iterdir()})
        real(path, **options)

    monkeypatch.setattr(shutil, "rmtree", remove)
    save_adapter(policy, tmp_path, target)
    assert whole
    assert all(found == before for found in whole)
    assert list(tmp_path.iterdir()) == [target]


def test_a_key_that_an_object_lacks_is_named_with_its_file_however_deep_it_lies():
    content = {"a": {"b": {"c": 1}}, "d": [2]}
    found = files.Keyed(content, Path("metrics/x.json"), "run `dvc repro x`")
    assert found == content
    assert str(found) == str(content)
    assert found.get("e") is None
    found.require("a", "d")
    for read in (lambda: found["e"], lambda: found.require("a", "e")):
        with pytest.raises(InputError, match=r"^metrics/x.json: no e; run `dvc repro x`$"):
            read()
    with pytest.raises(InputError, match=r"^metrics/x.json: no a.b.f; run `dvc repro x`$"):
        found["a"]["b"]["f"]


def test_of_some_files_those_that_are_there_have_to_hold_a_json_object(tmp_path):
    good, other, gone = (tmp_path / name for name in ("good", "other", "gone"))
    good.write_text("{}")
    other.write_text("[1]")
    files.check_json(good, gone)
    assert not gone.exists()
    with pytest.raises(InputError, match="other: expected a JSON object, found list; delete it and run"):
        files.check_json(good, other)
