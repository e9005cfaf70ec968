"""The readers of files that come from outside or lie on a disk, good content for each, and ways to break it."""

import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import torch
from safetensors.torch import save

from rlrf4rec import files, params
from rlrf4rec.datasets.clean import Raw, clean
from rlrf4rec.datasets.readers import read
from rlrf4rec.fetching import assets
from rlrf4rec.params import Interactions
from rlrf4rec.tables import vectors
from rlrf4rec.tables.interactions import INTERACTIONS, ITEMS, USERS
from rlrf4rec.tables.texts import TEXTS

from .published import PUBLISHED

ROOT = Path(__file__).parent.parent.parent
CHANGES = {"min_interactions": 1, "final_folds": None}
DEFAULT = params.load(ROOT / "params.yaml").interactions.model_copy(update=CHANGES)
INTER = (
    b"user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    b"01\t7\t5\t100\n01\t8\t3\t50\n2\t7\t4\t10\n2\t8\t1\t20.0\n2\t8\t2.5\t30\n3\t9\t1\t1\n"
)
ITEM = (
    b"item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    b'7\tA "Q" Film\t1995\tAction Sci-Fi\n8\tCaf\xc3\xa9\tV\t\n9\t\t1990\tWar\n'
)
JSON = b'{"a": [1, -2.5e3, {"b": null}], "c": "x\\u00e9\\n", "d": true, "e": {}}'
BYTES = b"\x00\xff\xfe\x7f\x80\t\n\r \"'-.:,eE09[]{}&*!|>%@`#?"


@dataclass(frozen=True)
class Edit:
    """One change of some bytes: what, where (0 .. 1 of the whole), how many bytes, and what is put in."""

    kind: str
    at: float
    length: int
    new: bytes

    def apply(self, content: bytes) -> bytes:
        begin = int(self.at * len(content))
        part = content[begin : begin + self.length]
        match self.kind:
            case "flip":
                return content[:begin] + bytes(b ^ 1 << self.length % 8 for b in part[:1]) + content[begin + 1 :]
            case "delete":
                return content[:begin] + content[begin + self.length :]
            case "repeat":
                return content[:begin] + part + content[begin:]
            case "move":
                return content[:begin] + content[begin + self.length :] + part
            case "insert":
                return content[:begin] + self.new + content[begin:]
            case "replace":
                return content[:begin] + self.new + content[begin + len(self.new) :]
            case _:
                return content[:begin]


KINDS = ["flip", "delete", "repeat", "move", "insert", "replace", "cut"]


def edited(content: bytes, edits: list[Edit]) -> bytes:
    """All edits, one after the other."""
    for edit in edits:
        content = edit.apply(content)
    return content


@dataclass(frozen=True)
class Reader:
    """Reads `content` as a file of its kind; `good` is content that it takes."""

    good: bytes
    read: Callable[[bytes], object]


def readers(folder: Path) -> dict[str, Reader]:
    """Every reader, with a folder of its own to read from."""

    def at(name: str, read: Callable[[Path], object]) -> Callable[[bytes], object]:
        path = folder / name
        path.parent.mkdir(exist_ok=True)

        def run(content: bytes) -> object:
            path.write_bytes(content)
            return read(path)

        return run

    def raw(path: Path, p: Interactions = DEFAULT) -> Raw:
        found = clean(read(path.parent, p), p, seed=1)
        INTERACTIONS.check(found.interactions, path)
        USERS.check(found.users, path)
        ITEMS.check(found.items, path)
        return found

    def mapped(path: Path) -> Raw:
        names = {"user": "who.id", "item": "what", "rating": "stars", "timestamp": "at", "title": "name"}
        p = DEFAULT.model_copy(
            update={
                "format": "table",
                "columns": DEFAULT.columns.model_copy(update={**names, "year": None, "genres": None}),
                "files": DEFAULT.files.model_copy(update={"interactions": path.name, "items": "items.parquet"}),
            }
        )
        return clean(read(path.parent, p), p, seed=1)

    (folder / "mapped").mkdir()
    pl.DataFrame({"what": [1, 2], "name": ["Tea", "Cup"]}).write_parquet(folder / "mapped" / "items.parquet")
    for kind, other in (("inter", "x.item"), ("item", "x.inter")):
        (folder / kind).mkdir()
        (folder / kind / other).write_bytes(ITEM if other == "x.item" else INTER)

    def published(kind: str, name: str) -> Reader:
        """A file of a data set in a format that others publish, beside a good one of the other kind."""
        for other, content in PUBLISHED[kind].items():
            (folder / kind / name).mkdir(parents=True, exist_ok=True)
            (folder / kind / name / other).write_bytes(content)
        p = DEFAULT.model_copy(update={"format": kind})
        return Reader(PUBLISHED[kind][name], at(f"{kind}/{name}/{name}", lambda path: raw(path, p)))

    return {
        "inter": Reader(INTER, at("inter/x.inter", raw)),
        "item": Reader(ITEM, at("item/x.item", raw)),
        "params": Reader((ROOT / "params.yaml").read_bytes(), at("params.yaml", params.load)),
        "interactions table": Reader(_parquet(_interactions()), at("interactions.parquet", INTERACTIONS.read)),
        "texts table": Reader(_parquet(_texts()), at("texts.parquet", TEXTS.read)),
        "mapped table": Reader(_parquet(_nested()), at("mapped/log.parquet", mapped)),
        "tensors": Reader(
            save({"a": torch.ones(2, 3), "b": torch.zeros(4)}), at("x.safetensors", vectors.load_tensors)
        ),
        "json": Reader(JSON, at("x.json", files.read_json)),
        "wheel": Reader(
            _wheel(), at("x.whl", lambda path: assets.unpack(path, "thing/data", folder / "unpacked", "k"))
        ),
        **{f"{kind} {name}": published(kind, name) for kind, files in PUBLISHED.items() for name in files},
    }


def _parquet(frame: pl.DataFrame) -> bytes:
    content = io.BytesIO()
    frame.write_parquet(content, statistics=False)
    return content.getvalue()


def _interactions() -> pl.DataFrame:
    users = [str(i // 4) for i in range(40)]
    rows = {"user": users, "item": [str(i) for i in range(40)], "rating": [1.0 + i % 5 for i in range(40)]}
    return pl.DataFrame({**rows, "timestamp": list(range(40))})


def _nested() -> pl.DataFrame:
    who = [{"id": number % 2, "name": None} for number in range(4)]
    return pl.DataFrame({"who": who, "what": [1, 2, 2, 1], "stars": [4] * 4, "at": list(range(4))})


def _texts() -> pl.DataFrame:
    same = {
        "policy": "base",
        "stop": "stop",
        "redraws": 0,
        "log_prob": -1.5,
        "temperature": 1.0,
        "top_k": 0,
        "top_p": 0.9,
        "max_tokens": 3,
        "seed": 1,
    }
    rows = [{"user": "a", "sample": i, "text": "x", "tokens": [1] * i, "token_count": i} for i in (0, 1)]
    return pl.DataFrame([{**row, **same, "tokens": [1, 2], "token_count": 2} for row in rows])


def _wheel() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("thing/data/a.txt", "thing/data/b/c.txt", "thing/code.py"):
            archive.writestr(zipfile.ZipInfo(name), f"content of {name} " * 9, zipfile.ZIP_DEFLATED)
    return content.getvalue()
