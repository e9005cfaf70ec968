"""What of the sources DVC holds by content: a folder or file of one's own, which nothing else pins."""

from pathlib import Path

from rlrf4rec.params.data import FetchDataset
from rlrf4rec.params.models import FetchModels, Model
from rlrf4rec.params.types import Block, Text

LOCAL = ("folder", "gguf")
# Of a source that is pinned. dvc.yaml can neither leave a dependency out nor name one that is not there, and this one
# both stages have anyway.
PINNED = "src/rlrf4rec/fetching"


class Content(Block):
    """Paths that dvc.yaml lists as dependencies of `fetch_dataset` and `fetch_models`."""

    dataset: Text
    llm: Text
    encoder: Text


def unseen(content: Content, dataset: FetchDataset, models: FetchModels) -> list[str]:
    """What to write where a path is not the one that is read: an edit there would not be seen."""
    sources: dict[str, tuple[str, FetchDataset | Model]] = {
        "dataset": ("fetch_dataset", dataset),
        "llm": ("fetch_models.llm", models.llm),
        "encoder": ("fetch_models.encoder", models.encoder),
    }
    found = []
    for name, (key, given) in sources.items():
        local = given.source in LOCAL
        path = Path(str(given.name)) / str(given.path)  # no lists where it is local
        wanted, written = path if local else Path(PINNED), getattr(content, name)
        if Path(written) != wanted:
            why = "so that an edit of it runs the stage again" if local else "the source is pinned"
            found.append(
                f"content.{name} is {written!r}, but {key} has source: {given.source}; "
                f"write {name}: {str(wanted)!r} in `content`, {why}"
            )
    return found
