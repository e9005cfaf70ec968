"""Stage encode: vectors of a source of texts about users, or of the texts about items."""

from rlrf4rec import paths, store
from rlrf4rec.encoding.tables import TextTable, write
from rlrf4rec.params import Encode
from rlrf4rec.tables.interactions import ITEMS
from rlrf4rec.tables.split import FOLD_USERS
from rlrf4rec.tables.texts import ITEM_TEXTS, TEMPLATES, TEXTS

CONTRACTS = {"items": ITEM_TEXTS, **dict.fromkeys(("template", "template_shown", "none"), TEMPLATES)}  # others: sampled


def run(encode: Encode, name: str) -> str:
    """Encode the texts `name`; returns the closing line. A user that has none gets NaN: nobody may read it."""
    rows = ITEMS.read(paths.ITEMS)["item"] if name == "items" else FOLD_USERS.read(paths.FOLD_USERS)["user"]
    path = paths.texts(name)
    texts = CONTRACTS.get(name, TEXTS).read(path)
    table = TextTable(name, texts, rows, path, complete=name in CONTRACTS)
    return write(table, encode, store.code("stages.encode", threads=1))
