"""Ways in which a file that a stage reads can be broken: from its good content to a broken one, None for no file.

`SURE`: whatever file of the kind it is, a stage that reads it has to refuse it. `OTHER`: it depends on the file.
"""

import io
import json

import polars as pl
import torch
from safetensors.torch import load, save

OTHER_TYPE = {pl.Int64: pl.Int32, pl.Float64: pl.Float32, pl.Boolean: pl.Int64}
NULLABLE = "year", "log_prob"


def _table(change):
    """A way that changes a Parquet table, at a column and a row that are drawn."""

    def way(content, draw):
        frame = pl.read_parquet(content)
        column = draw.choice([name for name in frame.columns if name not in NULLABLE])
        written = io.BytesIO()
        change(frame, column, draw.randrange(frame.height)).write_parquet(written, statistics=False)
        return written.getvalue()

    return way


def _one(frame, column, row, value):
    """The frame with another value in one place."""
    here = pl.int_range(pl.len()) == row
    value = pl.lit(value).cast(frame.schema[column])
    return frame.with_columns(pl.when(here).then(value).otherwise(pl.col(column)).alias(column))


def _typed(frame, column, row):
    kind = OTHER_TYPE.get(frame.schema[column])
    return frame.with_columns(pl.col(column).cast(kind) if kind else pl.lit(7).alias(column))


def _out_of_range(frame, column, row):
    """A fold that there is not, else a number below all that may be, else an empty text."""
    if "fold" in frame.columns:
        return _one(frame, "fold", row, "no such fold")
    whole = [name for name, kind in frame.schema.items() if kind == pl.Int64]
    return _one(frame, whole[row % len(whole)], row, -(10**12)) if whole else _one(frame, "prompt", row, "")


def _stranger(frame, column, row):
    """A user, or else an item, that no other table knows."""
    return _one(frame, "user" if "user" in frame.columns else "item", row, "stranger")


def _other_fold(frame, column, row):
    """A row of a user of another fold than all the others, of whom no label may be here."""
    users = pl.read_parquet("data/split/people/users.parquet")
    other = "train" if frame["user"][0] in users.filter(pl.col("fold") != "train")["user"] else "development"
    stranger = users.filter((pl.col("fold") == other) & ~pl.col("user").is_in(frame["user"].implode()))["user"]
    moved = frame.filter(pl.col("user") == frame["user"][row]).with_columns(user=pl.lit(stranger[0]))
    return pl.concat([frame, moved])


def _tensors(change):
    """A way that changes the tensors of a safetensors file or what they say of themselves."""

    def way(content, draw):
        length = int.from_bytes(content[:8], "little")
        about = json.loads(content[8 : 8 + length]).get("__metadata__", {})
        tensors = load(content)
        tensors, about = change(tensors, about, draw.choice(sorted(tensors)))
        return save({name: tensor.contiguous() for name, tensor in tensors.items()}, about)

    return way


def _narrow(tensors, about, name):
    return {key: one[..., : max(1, one.shape[-1] // 2)] if one.dim() else one for key, one in tensors.items()}, about


def _json(change):
    def way(content, draw):
        found = json.loads(content)
        return json.dumps(change(found, draw.choice(list(found)))).encode()

    return way


def _lines(change):
    def way(content, draw):
        lines = content.decode().splitlines()
        row = draw.randrange(1, len(lines))
        return ("\n".join(change(lines, lines[:row], lines[row], lines[row + 1 :])) + "\n").encode()

    return way


FILES = {
    "gone": lambda content, draw: None,
    "empty": lambda content, draw: b"",
    "half": lambda content, draw: content[: len(content) // 2],
}
SURE = {
    ".parquet": {
        **FILES,
        "column gone": _table(lambda frame, column, row: frame.drop(column)),
        "column more": _table(lambda frame, column, row: frame.with_columns(more=pl.lit(1))),
        "other type": _table(_typed),
        "null": _table(lambda frame, column, row: _one(frame, column, row, None)),
        "out of range": _table(_out_of_range),
        "row twice": _table(lambda frame, column, row: pl.concat([frame, frame[row]])),
    },
    ".safetensors": {
        **FILES,
        "tensor gone": _tensors(
            lambda tensors, about, name: ({f"{key}_" if key == name else key: tensors[key] for key in tensors}, about)
        ),
    },
    ".json": {**FILES, "a list": lambda content, draw: b"[1]"},
    ".csv": {
        "gone": FILES["gone"],
        "header gone": _lines(lambda lines, before, row, after: lines[1:]),
        "long row": _lines(lambda lines, before, row, after: [*before, f"{row},1,2", *after]),
    },
}
OTHER = {
    ".parquet": {
        "row gone": _table(lambda frame, column, row: frame.filter(pl.int_range(pl.len()) != row)),
        "stranger": _table(_stranger),
        "other item": _table(lambda frame, column, row: _one(frame, "item", row, "no such item")),
        "other fold": _table(_other_fold),
        "no rows": _table(lambda frame, column, row: frame.clear()),
    },
    ".safetensors": {
        "narrow": _tensors(_narrow),
        "not finite": _tensors(lambda tensors, about, name: ({**tensors, name: tensors[name] * torch.nan}, about)),
        "no metadata": _tensors(lambda tensors, about, name: (tensors, None)),
    },
    ".json": {
        "key gone": _json(lambda found, key: {name: value for name, value in found.items() if name != key}),
        "other value": _json(lambda found, key: {**found, key: ["no such value"]}),
    },
    ".csv": {
        "no number": _lines(lambda lines, before, row, after: [*before, ",".join("x" for _ in row.split(",")), *after]),
    },
}


def broken(content, suffix, way, draw):
    """The content of a file of this kind in one of the ways."""
    return (SURE[suffix] | OTHER[suffix])[way](content, draw)
