"""RecBole atomic files: tab-separated, `name:type` in the header; `.inter` and `.item`, one each."""

from pathlib import Path

from rlrf4rec.datasets import texts
from rlrf4rec.datasets.found import INTERACTIONS, ITEMS, Found, one, pick
from rlrf4rec.datasets.separated import scan
from rlrf4rec.params import Interactions


def read(folder: Path, p: Interactions) -> Found:
    """`columns` of the params: what the files call each column; null for what they lack.

    Genres are words, as in RecBole's `token_seq`.
    """
    columns = p.columns.model_dump()
    inter, item = one(folder, "*.inter"), one(folder, "*.item")
    items = scan(item, "\t")
    told = texts.together(items, item, p.columns.texts)
    catalogue = pick(items, item, {name: columns[name] for name in ITEMS}, told)
    ratings = pick(scan(inter, "\t"), inter, {name: columns[name] for name in INTERACTIONS})
    return Found(ratings, catalogue, inter, item, genres="words")
