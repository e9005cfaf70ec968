"""Data sets from addresses, DVC repositories and the hub."""

import gzip
import hashlib
import io
import os
import subprocess
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from rlrf4rec.errors import FetchError, InputError, ParamsError
from rlrf4rec.fetching import dataset as fetch
from rlrf4rec.files import sweep
from rlrf4rec.params import FetchDataset, load
from rlrf4rec.stages import fetch_dataset

ROOT = Path(__file__).parent.parent
RAW = Path("data/raw/dataset")
CONTENT = bytes(range(256)) * 12_000  # three blocks


class Handler(BaseHTTPRequestHandler):
    """Gives `content`, in parts if it is asked; cuts the connection after `cuts` bytes, once for each of them."""

    def do_GET(self):
        server = self.server
        begin = int(self.headers.get("Range", "bytes=0-")[6:-1])
        server.asked.append((self.path, begin))
        if not server.parts:
            begin = 0
        part = server.content[begin:]
        if begin and not part:
            self.send_response(416)
            self.end_headers()
            return
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part[: server.cuts.pop(0)] if server.cuts else part)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.daemon_threads = True
    made.asked, made.cuts, made.parts, made.content = [], [], True, CONTENT
    threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def address(server, name="x.csv"):
    return f"http://127.0.0.1:{server.server_port}/{name}"


def digest(content):
    return hashlib.sha256(content).hexdigest()


def test_a_download_that_is_cut_off_goes_on_where_it_was(server):
    server.cuts = [1_000_000, 1_500_000]
    path = fetch.from_url(address(server), digest(CONTENT))
    assert path.read_bytes() == CONTENT
    begins = [begin for _, begin in server.asked]
    assert begins[0] == 0
    assert 0 <= 1_000_000 - begins[1] < fetch.BLOCK
    assert 0 <= begins[1] + 1_500_000 - begins[2] < fetch.BLOCK


def test_a_killed_download_goes_on_in_the_next_run(server, monkeypatch):
    monkeypatch.setattr(fetch, "TRIES", 1)
    server.cuts = [700_000]
    with pytest.raises(FetchError, match=r"6\d{5} bytes are kept, the next run goes on from them"):
        fetch.from_url(address(server), digest(CONTENT))
    assert fetch.from_url(address(server), digest(CONTENT)).read_bytes() == CONTENT
    assert 0 <= 700_000 - server.asked[1][1] < fetch.BLOCK
    assert fetch.from_url(address(server), digest(CONTENT)).read_bytes() == CONTENT  # whole already


def test_a_server_that_gives_no_parts_is_asked_for_all(server):
    server.parts, server.cuts = False, [500_000]
    assert fetch.from_url(address(server), digest(CONTENT)).read_bytes() == CONTENT


def test_another_content_is_thrown_away(server):
    expected = digest(b"another")
    with pytest.raises(FetchError, match=rf"SHA-256 is {digest(CONTENT)}, but fetch_dataset.sha256 says {expected}"):
        fetch.from_url(address(server), expected)
    server.content = b"another"
    assert fetch.from_url(address(server), expected).read_bytes() == b"another"


def given(**changes):
    return FetchDataset(**{"source": "folder", "name": "x", "path": "", "revision": None, "sha256": None, **changes})


def archive(**entries):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as made:
        for name, text in entries.items():
            made.writestr(zipfile.ZipInfo(name.replace("__", "/").replace("_csv", ".csv")), text)
    return content.getvalue()


@pytest.mark.parametrize(("inside", "names"), [("ml", ["ratings.csv"]), ("", ["ml/ratings.csv"])])
def test_a_zip_behind_an_address_is_unpacked(server, inside, names):
    server.content = archive(ml__ratings_csv="a,b\n", ml__README="words")
    line = fetch_dataset.run(
        given(source="url", name=address(server, "ml.zip"), path=inside, sha256=digest(server.content))
    )
    assert "1 files" in line
    assert [p.relative_to(RAW).as_posix() for p in RAW.rglob("*") if p.is_file()] == names


def test_a_gzip_behind_an_address_is_unpacked_under_its_name(server):
    server.content = gzip.compress(b'{"a": 1}\n', mtime=0)
    fetch_dataset.run(given(source="url", name=address(server, "meta_A.json.gz"), sha256=digest(server.content)))
    assert (RAW / "meta_A.json").read_bytes() == b'{"a": 1}\n'


def test_a_broken_gzip_leaves_the_former_data_set(server):
    server.content = gzip.compress(b"a,b\n" * 9999, mtime=0)[:-9]
    RAW.mkdir(parents=True)
    (RAW / "old.csv").write_text("old")
    with pytest.raises(InputError, match=r"b.csv.gz: not a whole gzip file"):
        fetch_dataset.run(given(source="url", name=address(server, "b.csv.gz"), sha256=digest(server.content)))
    assert [p.name for p in RAW.iterdir()] == ["old.csv"]
    assert not list(RAW.parent.glob(".fetch*"))


def test_a_folder_with_the_same_file_twice_and_one_without_data_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("x").mkdir()
    Path("x/notes.md").write_text("words")
    with pytest.raises(InputError, match=r"no data file \(.csv, .*\) in x"):
        fetch_dataset.run(given())
    Path("x/a.csv").write_text("1")
    Path("x/a.csv.gz").write_bytes(gzip.compress(b"2"))
    with pytest.raises(InputError, match=r"a.csv is there twice"):
        fetch_dataset.run(given())


def test_a_file_of_a_dvc_repository_at_a_revision(tmp_path, monkeypatch):
    other, here = tmp_path / "other", tmp_path / "here"
    for folder in (other / "data", here):
        folder.mkdir(parents=True)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}

    def run(*command):
        done = subprocess.run(command, cwd=other, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    run("git", "init", "-q")
    run("dvc", "init", "-q")
    for text in ("a,b\n1,2\n", "changed\n"):
        (other / "data" / "x.csv").write_text(text)
        run("dvc", "add", "-q", "data")
        run("git", "add", "-A")
        run("git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", text[0])
    monkeypatch.chdir(here)
    fetch_dataset.run(given(source="dvc", name=str(other), path="data", revision="HEAD~1"))
    assert (RAW / "x.csv").read_text() == "a,b\n1,2\n"
    with pytest.raises(FetchError, match=r"dvc get data of .* at no-such-tag: .*no-such-tag"):
        fetch_dataset.run(given(source="dvc", name=str(other), path="data", revision="no-such-tag"))


def test_a_data_set_of_the_hub_is_asked_for_at_its_commit(tmp_path, monkeypatch):
    import huggingface_hub

    monkeypatch.chdir(tmp_path)
    asked = {}

    def snapshot(name, local_dir, **options):
        asked.update(options, name=name)
        (local_dir / "raw").mkdir(parents=True)
        (local_dir / "raw" / "x.parquet").write_bytes(b"PAR1")
        return str(local_dir)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    commit = "c0ffee" + 34 * "0"
    fetch_dataset.run(given(source="hf", name="org/shop", path="raw", revision=commit))
    assert asked == {
        "name": "org/shop",
        "repo_type": "dataset",
        "revision": commit,
        "allow_patterns": ["raw/*", "raw"],
    }
    assert (RAW / "x.parquet").exists()
    with pytest.raises(FetchError, match=r"'none' is not in org/shop at c0ffee"):
        fetch_dataset.run(given(source="hf", name="org/shop", path="none", revision=commit))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("source: wheel # wheel | folder", "source: url # ", "needs an http"),
        ("source: wheel # wheel | folder", "source: hf # ", "the 40 digits of a commit"),
        ("source: wheel # wheel | folder", "source: dvc # ", "a commit or a tag"),
        ("revision: null # of dvc", "revision: main # of dvc", "with source: wheel set it to null"),
    ],
)
def test_what_could_change_must_be_pinned(tmp_path, old, new, words):
    text = (ROOT / "params.yaml").read_text()
    assert old in text
    (tmp_path / "params.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(ParamsError, match=words):
        load(tmp_path / "params.yaml")


def test_a_killed_fetch_leaves_the_former_data_set_and_nothing_to_the_next_stage(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "x.inter").write_text("x")
    params = FetchDataset(source="folder", name="mine", path="", revision=None, sha256=None)
    fetch_dataset.run(params)
    code = (
        "import os, signal; from rlrf4rec.stages import fetch_dataset; from rlrf4rec.params import FetchDataset\n"
        "fetch_dataset.shutil.copyfile = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"fetch_dataset.run(FetchDataset(**{params.model_dump()!r}))"
    )
    subprocess.run([sys.executable, "-c", code])
    raw = tmp_path / "data" / "raw"
    assert len(list(raw.iterdir())) == 3
    assert sweep(tmp_path / "data") == 2
    assert list(raw.iterdir()) == [raw / "dataset"]
    assert (raw / "dataset" / "x.inter").read_text() == "x"
