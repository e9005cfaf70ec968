"""The oldest safe versions of the libraries that read files or speak to networks, checked before any of them runs."""

import re
from importlib.metadata import PackageNotFoundError, version

from rlrf4rec.errors import ResourceError

# Distribution, oldest safe version, what is wrong with those before it. The constraints of pyproject.toml and the pins
# of constraints.txt are at least these; an environment made by hand is caught here.
SAFE = {
    "lightning": ("2.6.4", "GHSA-w37p-236h-pfx3: 2.6.2 and 2.6.3 stole credentials on import"),
    "pytorch-lightning": ("2.6.4", "GHSA-w37p-236h-pfx3: 2.6.2 and 2.6.3 stole credentials on import"),
    "torch": ("2.6.0", "CVE-2025-32434: loading weights could run code"),
    "pyarrow": ("14.0.1", "CVE-2023-47248: reading Arrow or Parquet files could run code"),
    "jinja2": ("3.1.6", "CVE-2025-27516: a chat template could leave its sandbox"),
    "aiohttp": ("3.12.14", "CVE-2025-53643: requests could be smuggled"),
    "requests": ("2.32.4", "CVE-2024-47081: passwords of .netrc could go to another host"),
    "urllib3": ("2.6.0", "CVE-2025-66418: a small answer could fill the memory"),
    "h11": ("0.16.0", "CVE-2025-43859: requests could be smuggled"),
    "gitpython": ("3.1.41", "CVE-2024-22190: a file of the folder could run as Git"),
    "filelock": ("3.20.1", "CVE-2025-68146: a link put in time could have another file emptied"),
    "setuptools": ("78.1.1", "CVE-2025-47273: a package could write outside of its folder"),
}


def numbers(text: str) -> tuple[int, ...]:
    """The release part of a version: 2.13.0+cpu and 2.13.0rc1 are (2, 13, 0)."""
    release = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(int(part) for part in release[0].split(".")) if release else ()


def check() -> None:
    """ResourceError when an installed library is older than its oldest safe version; one that is missing is no harm.

    Reads what is installed without importing it: a compromised release does its harm when it is imported.
    """
    for name, (safe, why) in SAFE.items():
        try:
            found = version(name)
        except PackageNotFoundError:
            continue
        if numbers(found) < numbers(safe):
            raise ResourceError(
                f"{name} {found} is installed, older than {safe}, the oldest safe version ({why}); "
                f"run `make setup`, or install {name}>={safe}"
            )
