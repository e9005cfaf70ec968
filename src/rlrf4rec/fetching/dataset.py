"""Getting the files of a data set: by address, from a DVC repository, from the hub; and unpacking gzip."""

import gzip
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import requests

from rlrf4rec import store
from rlrf4rec.errors import FetchError, InputError, explain
from rlrf4rec.fetching import hub
from rlrf4rec.files import sha256
from rlrf4rec.progress import Progress

MB = 1 << 20
BLOCK = 1 << 16  # bytes; what is lost of a download that is cut off
TIMEOUT = 60.0  # seconds without a byte
TRIES = 5


def from_url(url: str, expected: str) -> Path:
    """The file behind an address, in the state folder; what was downloaded before it was cut off is kept.

    FetchError when it can't be had or its SHA-256 is not `expected`; the file is then thrown away.
    """
    path = store.folder() / store.DOWNLOADS / expected
    path.parent.mkdir(parents=True, exist_ok=True)
    with store.alone(path.stem):
        for left in reversed(range(TRIES)):
            try:
                _continue(url, path)
                break
            except requests.RequestException as error:
                if not left:
                    kept = path.stat().st_size if path.exists() else 0
                    raise FetchError(f"{url}: {error}; {kept} bytes are kept, the next run goes on from them") from None
        found = sha256(path)
        if found != expected:
            path.unlink()
            raise FetchError(f"{url}: SHA-256 is {found}, but fetch_dataset.sha256 says {expected}; it was thrown away")
    return path


def _continue(url: str, path: Path) -> None:
    """Download what is missing of the file; all of it where the server can't give a part."""
    have = path.stat().st_size if path.exists() else 0
    headers = {"Range": f"bytes={have}-", "Accept-Encoding": "identity"} if have else {"Accept-Encoding": "identity"}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            return  # it is whole already
        response.raise_for_status()
        length = int(response.headers.get("Content-Length", 0))
        progress = Progress(length, "fetch_dataset, bytes") if length else None
        part = response.status_code == requests.codes.partial_content
        with path.open("ab" if part else "wb") as file:
            got = 0
            for block in response.iter_content(BLOCK):
                file.write(block)
                got += len(block)
                if progress:
                    progress.advance(len(block))
        if progress:
            progress.close()
        if length and got < length:
            raise requests.ConnectionError(f"the connection was lost after {got} of {length} bytes")


def from_dvc(repository: str, path: str, revision: str, folder: Path) -> Path:
    """A file or folder that a DVC repository has at a revision, by `dvc get`."""
    target = folder / Path(path).name
    options = ["--rev", revision, "--out", str(target)]
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "get", *options, "--", repository, path], capture_output=True, text=True
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise FetchError(f"fetch_dataset: dvc get {path} of {repository} at {revision}: {last}")
    return target


def from_hub(name: str, path: str, revision: str, folder: Path) -> Path:
    """A folder of a data set of the hub at a commit; an empty `path` is all of it."""
    wanted = [f"{path.rstrip('/')}/*", path] if path else None
    return hub.snapshot(name, path, revision, folder, "fetch_dataset", repo_type="dataset", allow_patterns=wanted)


def gunzip(source: Path, target: Path) -> None:
    """Unpack a gzip file; InputError when it is cut off or damaged."""
    try:
        with gzip.open(source) as packed, target.open("wb") as file:
            shutil.copyfileobj(packed, file, MB)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{source.name}: not a whole gzip file ({error}); fetch it again") from None
    except OSError as error:
        raise explain(error, target) or InputError(f"{source.name}: not readable: {error}") from None
