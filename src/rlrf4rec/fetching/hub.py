"""Getting files from the Hugging Face hub at a commit."""

import shutil
from pathlib import Path
from typing import Any

from rlrf4rec.errors import FetchError

NOTES = Path(".cache") / "huggingface"  # the library's own, with times: no part of what was asked for, nor of its hash


def snapshot(name: str, inside: str, revision: str | None, folder: Path, key: str, **asked: Any) -> Path:
    """Download what is `asked` of a repository into `folder`; returns the path `inside` of it, by "" all of it.

    FetchError when it can't be had or there is no such path.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        found = Path(snapshot_download(name, revision=revision, local_dir=folder, **asked))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise FetchError(f"{key}: could not get {name} at {revision} from the hub: {error}") from None
    shutil.rmtree(found / NOTES, ignore_errors=True)
    if not (found / inside).exists():
        raise FetchError(f"{key}.path: {inside!r} is not in {name} at {revision}")
    return found / inside
