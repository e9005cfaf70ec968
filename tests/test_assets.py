import subprocess
import zipfile

import pytest

from rlrf4rec.errors import RLRFError
from rlrf4rec.fetching import assets
from rlrf4rec.files import sha256


def wheel(folder, names):
    path = folder / "thing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, f"content of {name}")
    return path


def test_only_the_asked_part_is_unpacked(tmp_path):
    path = wheel(tmp_path, ["thing/data/a.txt", "thing/data/b/c.txt", "thing/code.py"])
    target = assets.unpack(path, "thing/data", tmp_path / "out", "k")
    assert sorted(p.relative_to(target).as_posix() for p in target.rglob("*") if p.is_file()) == ["a.txt", "b/c.txt"]
    file = assets.unpack(path, "thing/code.py", tmp_path / "out", "k")
    assert file.read_text() == "content of thing/code.py"


def test_an_entry_that_points_outside_is_refused(tmp_path):
    path = wheel(tmp_path, ["thing/data/../../../evil.txt"])
    with pytest.raises(RLRFError, match=r"points out of the archive"):
        assets.unpack(path, "thing", tmp_path / "out", "k")
    assert not list(tmp_path.rglob("evil.txt"))


def test_a_missing_part_and_a_broken_archive_are_named(tmp_path):
    with pytest.raises(RLRFError, match=r"k.path: 'nothing' is not in thing"):
        assets.unpack(wheel(tmp_path, ["thing/a"]), "nothing", tmp_path / "out", "k")
    broken = tmp_path / "broken.whl"
    broken.write_bytes(b"PK no")
    with pytest.raises(RLRFError, match=r"broken.whl: not a readable archive"):
        assets.unpack(broken, "thing", tmp_path / "out", "k")


def test_a_wrong_hash_names_both(tmp_path):
    path = tmp_path / "file"
    path.write_text("x")
    found = sha256(path)
    assert assets.check_hash(path, found, "k") == found
    assert assets.check_hash(path, None, "k") == found
    with pytest.raises(RLRFError, match=rf"{found}, but k.sha256 says 0000"):
        assets.check_hash(path, "0000", "k")


def test_a_download_that_fails_says_so(tmp_path, monkeypatch):
    with pytest.raises(RLRFError, match="must be name==version"):
        assets.download("thing", tmp_path, "k")
    failed = subprocess.CompletedProcess([], 1, "", "ERROR: No matching distribution found")
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: failed)
    with pytest.raises(RLRFError, match=r"could not download thing==1: ERROR: No matching distribution"):
        assets.download("thing==1", tmp_path, "k")


def test_a_folder_hash_depends_on_names_and_contents(tmp_path):
    for name, content in (("one", "x"), ("two", "x"), ("three", "y")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(content)
    assert sha256(tmp_path / "one") == sha256(tmp_path / "two") != sha256(tmp_path / "three")
    (tmp_path / "two" / "file").rename(tmp_path / "two" / "other")
    assert sha256(tmp_path / "one") != sha256(tmp_path / "two")
