"""Remotes of DVC on this machine: a folder, and a server that speaks S3."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec

import pytest
import requests

from .conftest import run
from .lacking import lacking

NEEDED = ("dvc_s3", "moto", "flask", "flask_cors")
LACKING = "needs what the extra `s3` installs: .venv/bin/pip install --constraint constraints.txt --editable '.[s3]'"
BUCKET = "runs"


@dataclass(frozen=True)
class Remote:
    """Its address, options of `dvc remote modify`, and the names of the files in it."""

    url: str
    stored: Callable[[], list[str]]
    options: dict[str, str] = field(default_factory=dict)

    def join(self, folder):
        """Make it the remote of a clone, by its own configuration that is not in Git."""
        run(folder, "dvc", "remote", "add", "--local", "--force", "--default", "there", self.url)
        for name, value in self.options.items():
            run(folder, "dvc", "remote", "modify", "--local", "there", name, value)


def in_folder(folder):
    """An empty folder as a remote."""
    return Remote(str(folder), lambda: [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()])


@contextmanager
def on_s3():
    """A bucket of a server on loopback; a test is skipped, or fails, where its packages are lacking."""
    if any(find_spec(name) is None for name in NEEDED):
        lacking(LACKING)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", port]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen(command, env={**os.environ, **keys}, **quiet)
    bucket = f"http://127.0.0.1:{port}/{BUCKET}"
    try:
        _make(bucket, server)
        options = {"endpointurl": f"http://127.0.0.1:{port}", "region": "us-east-1"}
        options |= {"access_key_id": "a", "secret_access_key": "b"}
        yield Remote(f"s3://{BUCKET}/here", lambda: _keys(bucket), options)
    finally:
        server.terminate()
        server.wait()


def _make(bucket, server):
    """Make the bucket as soon as the server answers."""
    for _ in range(600):
        assert server.poll() is None, "the server has ended"
        try:
            requests.put(bucket, timeout=10).raise_for_status()
        except requests.ConnectionError:
            time.sleep(0.1)
        else:
            return
    pytest.fail("the server does not answer")


def _keys(bucket):
    answer = requests.get(f"{bucket}?list-type=2", timeout=60)
    assert "<IsTruncated>false" in answer.text
    return re.findall(r"<Key>here/(.*?)</Key>", answer.text)
