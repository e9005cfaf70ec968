"""Table files that mean harm: Polars, which panics at some and ends the process at others, gets none of them."""

import contextlib
import itertools
from datetime import timedelta

import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest

from rlrf4rec.errors import RLRFError
from rlrf4rec.tables.interactions import USERS


def test_a_table_file_is_refused_where_polars_would_end_the_process_or_lose_its_rows(tmp_path):
    path = tmp_path / "users.parquet"
    USERS.write(pl.DataFrame({"user": ["u", "v"], "interactions": [1, 2]}), path)
    good = path.read_bytes()
    places = [place for place, byte in enumerate(good) if not chr(byte).isalnum()]  # names and the like apart
    for place, bit in itertools.product(places, (2, 5)):
        path.write_bytes(good[:place] + bytes([good[place] ^ 1 << bit]) + good[place + 1 :])
        with contextlib.suppress(RLRFError):
            assert USERS.read(path).height == 2


def odd_list_name(path):
    """A list whose elements have a name that is no UTF-8."""
    frame = pl.DataFrame({"user": [["u"]], "interactions": [1]})
    frame.write_parquet(path, statistics=False)
    path.write_bytes(path.read_bytes().replace(b"element", b"\xff" * 7))


def of_type(value):
    """Writes a table whose column of users has values of another type."""

    def write(path):
        USERS_FRAME.with_columns(value.alias("user")).write_parquet(path)

    return write


def of_long_decimals(path):
    users = pa.array([1, 2]).cast(pa.decimal256(40, 0))
    pyarrow.parquet.write_table(pa.table({"user": users, "interactions": [1, 2]}), path)


USERS_FRAME = pl.DataFrame({"user": ["u", "v"], "interactions": [1, 2]})
ODD = {
    "bytes": (of_type(pl.lit(b"x")), r"no table here has such columns: user: large_binary"),
    "times": (of_type(pl.lit(timedelta(1))), r"no table here has such columns: user: duration\[us\]"),
    "record": (
        of_type(pl.struct(pl.lit(b"x").alias("a"))),
        r"no table here has such columns: user: struct<a: large_bi",
    ),
    "decimals": (of_long_decimals, r"no table here has such columns: user: decimal256"),
    "name": (odd_list_name, "not a readable Parquet file"),
}


@pytest.mark.parametrize("kind", ODD)
def test_a_column_at_which_polars_panics_is_refused_before_polars_gets_it(tmp_path, capfd, kind):
    path, (write, words) = tmp_path / "users.parquet", ODD[kind]
    write(path)
    with pytest.raises(RLRFError, match=words):
        USERS.read(path)
    assert capfd.readouterr() == ("", "")


def test_a_frame_whose_failures_cannot_be_shown_is_refused(tmp_path):
    frame = USERS_FRAME.with_columns(pl.lit(timedelta(1)).alias("user"))
    with pytest.raises(RLRFError, match="can't be checked"):
        USERS.write(frame, tmp_path / "users.parquet")
    assert not list(tmp_path.iterdir())
