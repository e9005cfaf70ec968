"""Thousands of generated bad inputs: each ends in our own error, and what was written before stays as it was.

Hypothesis makes the same ones in every run. `BAD` holds how many inputs a test makes and how many of them at
least must be refused: the others have changes that do no harm, such as another letter in a title.
"""

import copy
import re
from pathlib import Path

import dataset
import polars as pl
import pytest
from faults.exploring import ANY, ONE, earlier, edits, explored
from faults.fuzz_readers import edited, readers
from good_tables import GOOD
from hypothesis import strategies as st
from ruamel.yaml import YAML

from rlrf4rec import params, tables
from rlrf4rec.tables.contract import Table
from rlrf4rec.tables.interactions import INTERACTIONS, ITEMS, USERS

ROOT = Path(__file__).parent.parent
BAD = {
    "params": (250, 230),
    "params file": (200, 170),
    "contracts": (700, 700),
    "table files": (500, 430),
    "atomic files": (500, 330),
    "inter": (150, 130),
    "item": (150, 130),
    "mapped table": (150, 130),
    "tensors": (200, 190),
    "json": (200, 190),
    "wheel": (150, 130),
}


def test_enough_bad_inputs_are_made():
    assert sum(refused for _, refused in BAD.values()) >= 2000


@pytest.fixture
def untouched(tmp_path):
    return earlier(tmp_path / "earlier")


def explore(name, strategy, call, untouched):
    return explored(BAD[name], strategy, call, untouched)


# Params

CONTENT = YAML(typ="safe", pure=True).load((ROOT / "params.yaml").read_text())
FREE = {"controls", "rankers", "samples", "policies", "rounds"}  # mappings whose keys are names
WORDS = st.text(st.sampled_from("abcxyz_.-0é "), min_size=1, max_size=8)
WRONG = st.sampled_from(
    [None, True, -1, -1.5, -(10**30), float("nan"), float("-inf"), -1e308, "", "1", [], {}, {"a": 1}, [None], [[1]]]
)


def places(content, head=()):
    """Every key of nested mappings, and every place of lists."""
    inner = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in inner:
        yield (*head, key)
        if isinstance(value, dict | list):
            yield from places(value, (*head, key))


PLACES = list(places(CONTENT))
KEYS = [p for p in PLACES if isinstance(p[-1], str) and not FREE & set(p[:-1])]


def changed(change):
    place, kind, word, value = change
    content = copy.deepcopy(CONTENT)
    block = content
    for key in place[:-1]:
        block = block[key]
    if kind == "other":
        block[place[-1]] = value
    elif kind == "gone":
        del block[place[-1]]
    elif kind == "misspelt":
        block[place[-1] + word] = block.pop(place[-1])
    else:
        block[place[-1] + word] = value
    return content


def test_no_wrong_key_or_value_of_the_params_gets_through(tmp_path, untouched):
    other = st.tuples(st.sampled_from(PLACES), st.just("other"), WORDS, WRONG)
    keys = st.tuples(st.sampled_from(KEYS), st.sampled_from(["gone", "misspelt", "more"]), WORDS, WRONG)
    path = tmp_path / "params.yaml"

    def load(change):
        with path.open("w") as file:
            YAML(typ="safe").dump(changed(change), file)
        params.load(path)

    assert explore("params", other | keys, load, untouched)


def test_a_broken_params_file_is_an_error_of_ours(tmp_path, untouched):
    text = re.sub(r"(?m)^#.*\n| +#.*$", "", (ROOT / "params.yaml").read_text()).encode()
    marks = [
        b"\t",
        b"\0",
        b"\xff",
        b"{",
        b"]",
        b'"',
        b"'",
        b": ",
        b"- ",
        b"\n",
        b"*x ",
        b"&x ",
        b"? ",
        b"%",
        b"@",
        b"|",
        b"=",
    ]
    tags = [
        b"!!python/object/apply:os.system ['x'] ",
        b"!!python/name:os.system ",
        b"!x ",
        b"!!set ",
        b"<<: ",
        b"---\n",
    ]
    path = tmp_path / "params.yaml"

    def load(given):
        path.write_bytes(edited(text, given))
        params.load(path)

    assert explore("params file", edits(st.sampled_from(marks + tags)), load, untouched)


# Tables

TYPES = {pl.Int64: pl.Int32, pl.Float64: pl.Float32, pl.Boolean: pl.Int8, pl.String: pl.Categorical}
VALUES = {
    pl.Int64: st.integers(-(2**62), -1),
    pl.Float64: st.floats(max_value=-1e10) | st.just(float("nan")),
    pl.String: st.just(""),
}


def test_every_contract_is_tried():
    modules = (getattr(tables, name) for name in ("interactions", "results", "rewards", "split", "texts"))
    contracts = [value for module in modules for value in vars(module).values() if isinstance(value, Table)]
    tried = [id(table) for table, _ in GOOD]
    assert all(id(table) in tried for table in contracts)
    for table, frame in GOOD:
        table.check(frame, Path("x"))


@st.composite
def broken(draw):
    """A contract and a frame that breaks it in one place."""
    table, frame = draw(st.sampled_from(GOOD))
    column, row = draw(st.sampled_from(frame.columns)), draw(st.integers(0, frame.height - 1))
    kind, here = frame.schema[column], pl.int_range(pl.len()) == row
    ways = ["missing", "misnamed", "type", "text", "more"]
    ways += ["twice"] if table.schema.name != "Example" else []
    ways += ["null"] if not table.schema.columns[column].nullable else []
    ways += ["value"] if table.schema.columns[column].checks and kind in VALUES and column != "genres" else []
    match draw(st.sampled_from(ways)):
        case "missing":
            return table, frame.drop(column)
        case "misnamed":
            return table, frame.rename({column: column + draw(WORDS)})
        case "type":
            if kind in TYPES or kind == pl.List(pl.Int64):
                return table, frame.with_columns(pl.col(column).cast(TYPES.get(kind, pl.List(pl.Int32))))
            return table, frame.with_columns(pl.concat_list(pl.lit(1)).alias(column))
        case "text":
            return table, frame.with_columns(
                pl.lit(draw(WORDS)).cast(pl.Binary if kind == pl.String else pl.String).alias(column)
            )
        case "more":
            return table, frame.with_columns(pl.lit(draw(WORDS)).alias(column + draw(WORDS)))
        case "twice":
            return table, pl.concat([frame, frame[row]])
        case "value":
            value = pl.lit(draw(VALUES[kind]), kind)
            return table, frame.with_columns(pl.when(here).then(value).otherwise(pl.col(column)).alias(column))
        case _:
            return table, frame.with_columns(pl.when(~here).then(pl.col(column)).alias(column))


def test_a_frame_that_breaks_its_contract_is_never_written(tmp_path, untouched):
    (tmp_path / "new").mkdir()

    def write(given):
        (table, frame), folder = given
        table.write(frame, tmp_path / folder / f"{table.schema.name}.parquet")

    assert explore("contracts", st.tuples(broken(), st.sampled_from(["new", "earlier"])), write, untouched)
    assert not list((tmp_path / "new").iterdir())


def test_a_broken_table_file_is_an_error_of_ours_or_keeps_the_contract(tmp_path, untouched, capfd):
    files = []
    for number, (table, frame) in enumerate(GOOD):
        table.write(frame, tmp_path / f"{number}.parquet")
        files.append((table, (tmp_path / f"{number}.parquet").read_bytes()))
    path = tmp_path / "broken.parquet"

    def read(given):
        (table, content), changes = given
        path.write_bytes(edited(content, changes))
        table.check(table.read(path), path)

    assert explore("table files", st.tuples(st.sampled_from(files), edits()), read, untouched)
    assert capfd.readouterr().err == ""  # no panic of Polars


# Data sets

HEADS = {
    "inter": ["user_id:token", "item_id:token", "rating:float", "timestamp:float"],
    "item": ["item_id:token", "movie_title:token_seq", "release_year:token", "class:token_seq"],
}
FIELDS = {
    "inter": [st.sampled_from("uvw"), st.sampled_from("1239"), st.sampled_from("12345"), st.integers(0, 99).map(str)],
    "item": [st.just(""), st.sampled_from(["Heat", "A B", ""]), st.just("1995"), st.just("War Drama")],
}
ODD = st.sampled_from(
    [
        *("", " ", "nan", "inf", "-inf", "NaN", "-1", "1e400", "9" * 30, "0x1", "1.5", "1,5", " 3", "3000", "x", "\0"),
        *("é", '"', '"a', "'", "\\N", "None", "true", "1e3", "+5", "2020-01-01", "\ufeff", "\u2028", "\x1a", "#"),
    ]
)


@st.composite
def atomic_file(draw, suffix, bad):
    """A file of rows as bytes; a bad one has some odd fields or another shape, and is maybe written in another way."""
    columns, fields = list(HEADS[suffix]), FIELDS[suffix]
    rows = [[draw(field) for field in fields] for _ in range(draw(st.integers(1, 6)))]
    if suffix == "item":
        rows = [[str(number), *row[1:]] for number, row in enumerate(rows, 1)]
    if not bad:
        return "\n".join("\t".join(row) for row in [columns, *rows]).encode()
    match draw(
        st.sampled_from(["odd", "odd", "short", "long", "blank", "none", "missing", "twice", "untyped", "order"])
    ):
        case "odd":
            for _ in range(draw(st.integers(1, 3))):
                draw(st.sampled_from(rows))[draw(st.integers(0, 3))] = draw(ODD)
        case "short":
            rows[-1].pop()
        case "none":
            rows = []
        case "long":
            rows[-1].append(draw(ODD))
        case "blank":
            rows.append([])
        case "missing":
            columns.pop(draw(st.integers(0, 3)))
        case "twice":
            columns.append(draw(st.sampled_from(columns)))
        case "untyped":
            columns = [column.split(":")[0] for column in columns]
        case "order":
            columns.reverse()
            rows = [row[::-1] for row in rows]
    separators = draw(st.sampled_from(["\t\t"] * 8 + ["\t ", ",,"]))
    lines = [separators[0].join(columns), *(separators[1].join(row) for row in rows)]
    newline = draw(st.sampled_from(["\n"] * 4 + ["\r\n"] * 4 + ["\r"]))
    text = newline.join(lines) + draw(st.sampled_from([newline, newline, ""]))
    return text.encode(draw(st.sampled_from(["utf-8"] * 6 + ["utf-8-sig", "utf-16", "latin-1"])), "ignore")


def lines(content):
    """Lines after the header, counted without any reader of tables."""
    return content.count(b"\n") - 1 + (not content.endswith(b"\n"))


def test_of_a_data_set_every_row_is_kept_or_counted_or_it_is_refused(tmp_path, untouched):
    (tmp_path / "raw").mkdir()

    def read(given):
        inter, item = given
        (tmp_path / "raw" / "x.inter").write_bytes(inter)
        (tmp_path / "raw" / "x.item").write_bytes(item)
        raw = dataset.tables(tmp_path / "raw", 1)
        counts = raw.counts
        assert counts["interactions_read"] == lines(inter)
        assert counts["items_read"] + counts.get("blank_rows_of_items", 0) == lines(item)
        assert counts["interactions_read"] == raw.interactions.height + dataset.removed(counts)
        assert counts["items_read"] == raw.items.height + counts["items_without_title"]
        assert raw.users["interactions"].sum() == raw.interactions.height
        for table, frame in ((INTERACTIONS, raw.interactions), (USERS, raw.users), (ITEMS, raw.items)):
            table.check(frame, tmp_path)

    pairs = [st.tuples(atomic_file("inter", a), atomic_file("item", not a)) for a in (True, False)]
    assert explore("atomic files", pairs[0] | pairs[1], read, untouched)


@pytest.mark.parametrize("name", ["inter", "item", "mapped table", "tensors", "json", "wheel"])
def test_broken_bytes_are_an_error_of_ours(tmp_path, untouched, name):
    reader = readers(tmp_path)[name]
    assert explore(name, edits(ANY | ONE), lambda given: reader.read(edited(reader.good, given)), untouched)
