"""Stage told (study): what a kind of re-ranker of the study is told; as `combine`, in a folder of its own."""

from rlrf4rec import paths
from rlrf4rec.stages.combine import write


def run(name: str, text: str, beside: str, items_from: str) -> str:
    """Join the vectors of the folders `text`, `beside` and `items_from`; returns the closing line."""
    return write(paths.told(name), text, beside, items_from)
