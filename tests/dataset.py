"""Reading a folder as the stage `interactions` does, with the default params but for some."""

import json
from pathlib import Path

from rlrf4rec.datasets.clean import clean
from rlrf4rec.datasets.readers import read
from rlrf4rec.params import load

DEFAULT = load(Path(__file__).parent.parent / "params.yaml").interactions.model_copy(
    update={"final_folds": None, "final_list": None}
)


def tables(folder, min_interactions=2, **changes):
    """Tables and counts of the data set in a folder."""
    params = DEFAULT.model_copy(update={"min_interactions": min_interactions, **changes})
    return clean(read(folder, params), params, seed=1)


def removed(counts):
    """How many interactions were left out, whatever the reason."""
    reasons = "with_unknown_item", "rated_again", "below_min_rating", "outside_core", "of_users_with_few"
    reasons += "of_final_users", "of_users_left_out", "of_users_not_drawn"
    return sum(counts.get(f"interactions_{reason}", 0) for reason in reasons)


def write(folder, files, encoding="utf-8"):
    """Files by name with their text; returns the folder."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode(encoding))
    return folder


def columns(**names):
    """The default columns but for some."""
    return DEFAULT.columns.model_copy(update=names)


def files(**patterns):
    """The default patterns of files but for some."""
    return DEFAULT.files.model_copy(update=patterns)


def json_lines(*rows):
    """A line of JSON for each row."""
    return "".join(json.dumps(row) + "\n" for row in rows)


SHOP = {
    "user": "customer",
    "item": "sku",
    "rating": None,
    "timestamp": "at",
    "title": "name",
    "year": None,
    "genres": "tags",
}
FILES = {"interactions": "log/*.csv", "items": "items.csv"}


def shop(**changes):
    return {"format": "table", "columns": columns(**SHOP), "files": files(**FILES), **changes}


LOG = {
    "log/a.csv": "customer;sku;at\n007;0012;2024-05-01T10:00:00Z\n007;13;2024-05-02T10:00:00+02:00\n",
    "log/b.csv": "customer;sku;at\n8;0012;2024-05-03 00:00:00\n8;13;2024-05-04\n",
    "items.csv": 'sku;name;tags\n0012;"Tea; green";drink\n13;🍵 Cup;\n',
}

REVIEW_2014 = {
    "reviewerID": "A2SUAM1J3GNN3B",
    "asin": "0000013714",
    "reviewerName": "J. McDonald",
    "helpful": [2, 3],
    "reviewText": "I bought this for my husband who plays the piano.",
    "overall": 5.0,
    "summary": "Heavenly Highway Hymns",
    "unixReviewTime": 1252800000,
    "reviewTime": "09 13, 2009",
}
