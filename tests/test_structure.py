"""Files whose structure, encoding or times are not what their format says: refused by place, or mended and counted."""

import polars as pl
import pytest
from dataset import LOG, REVIEW_2014, SHOP, columns, files, json_lines, shop, tables, write

from rlrf4rec.errors import InputError

RATINGS = "userId,movieId,rating,timestamp\n1,11,3.0,100\n1,12,4.0,200\n"
MOVIES = "movieId,title,genres\n11,Tea (1995),Drama\n12,Cup (1996),War\n"
INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\nu\t1\t5\t3\nu\t2\t4\t4\n"
ITEM = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n1\tA\t1995\tWar\n2\tB\t1996\tWar\n"
PRODUCTS = [{"asin": "1", "title": "Tea"}, {"asin": "2", "title": "Cup"}]
REVIEWS = json_lines(*({**REVIEW_2014, "asin": asin} for asin in "12"))
DAT = {"ratings.dat": "u::1::5::3\nu::2::4::4\n", "movies.dat": "1::Tea (1995)::Drama\n2::Cup (1996)::War\n"}
CSV = {"ratings.csv": RATINGS, "movies.csv": MOVIES}


@pytest.mark.parametrize(
    ("changes", "given", "words"),
    [
        (
            {"format": "ml-csv"},
            {**CSV, "movies.csv": '"title",movieId,"title",genres\nA,11,B,x\n'},
            r"movies.csv: line 1: column 'title' stands 2 times \(columns 1 and 3\); rename one",
        ),
        (
            shop(separator=";"),
            {**LOG, "log/b.csv": "customer;sku;at;at\n8;0012;1;2\n"},
            r"b.csv: line 1: column 'at' stands 2 times \(columns 3 and 4\)",
        ),
        (
            {},
            {"x.inter": INTER, "x.item": "item_id:token\titem_id:token\tmovie_title:token_seq\n1\t2\tA\n"},
            r"x.item: line 1: column 'item_id:token' stands 2 times",
        ),
    ],
)
def test_a_column_that_stands_twice_is_refused_by_name(tmp_path, changes, given, words):
    with pytest.raises(InputError, match=words):
        tables(write(tmp_path, given), **changes)


def test_a_column_without_a_name_is_read_past(tmp_path):
    """As an index that was written beside the rows, or a separator at the end of each."""
    for number, (before, after) in enumerate([("0,", ""), ("", ","), ("0,", ",1,2")]):
        header, *rows = RATINGS.splitlines()
        blank = before.replace("0", ""), "," * after.count(",")
        lines = [f"{blank[0]}{header}{blank[1]}", *(f"{before}{row}{after}" for row in rows)]
        (folder := tmp_path / str(number)).mkdir()
        raw = tables(write(folder, {**CSV, "ratings.csv": "\n".join(lines) + "\n"}), format="ml-csv")
        assert raw.interactions["item"].to_list() == ["11", "12"]


def test_a_blank_line_is_no_header(tmp_path):
    write(tmp_path, {**CSV, "ratings.csv": "\n" + RATINGS})
    with pytest.raises(InputError, match=r"ratings.csv: line 1: blank, where names of columns are expected; remove it"):
        tables(tmp_path, format="ml-csv")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize(
    ("changes", "given", "name"),
    [
        ({}, {"x.inter": INTER, "x.item": ITEM}, "x.inter"),
        ({"format": "ml-csv"}, CSV, "movies.csv"),
        ({"format": "ml-1m"}, DAT, "movies.dat"),
        ({"format": "amazon-2018"}, {"A.json": REVIEWS, "meta_A.json": json_lines(*PRODUCTS)}, "A.json"),
    ],
)
def test_utf_16_and_utf_32_are_named(tmp_path, changes, given, name, encoding):
    write(tmp_path, given)
    if encoding == "utf-32":
        (tmp_path / name).write_bytes(given[name].encode("utf-32"))
    else:
        write(tmp_path, {name: given[name]}, encoding)
    kind = "UTF-32" if encoding == "utf-32" else "UTF-16"
    with pytest.raises(InputError, match=rf"/{name}: it is written in {kind}; save it as (UTF-8|latin-1)$"):
        tables(tmp_path, **changes)


def test_a_byte_order_mark_is_no_part_of_an_id_and_refused_where_it_can_t_stand(tmp_path):
    write(tmp_path, CSV, "utf-8-sig")
    assert tables(tmp_path, format="ml-csv").items["item"].to_list() == ["11", "12"]
    write(tmp_path, DAT, "utf-8-sig")
    raw = tables(tmp_path, format="ml-10m")
    assert (raw.items["item"].to_list(), raw.users["user"].to_list()) == (["1", "2"], ["u"])
    with pytest.raises(
        InputError, match=r"movies.dat: it begins with the byte-order mark of UTF-8; save it as latin-1"
    ):
        tables(tmp_path, format="ml-1m")
    write(tmp_path, {"A.json": REVIEWS, "meta_A.json": json_lines(*PRODUCTS)}, "utf-8-sig")
    with pytest.raises(InputError, match=r"A.json: it begins with the byte-order mark of UTF-8"):
        tables(tmp_path, format="amazon-2018")


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        ("ratings.csv", b"1,12", b"1,1\xe92", r"ratings.csv: line 3, column 4 \(after '1,1'\): byte 0xe9 is no UTF-8"),
        ("movies.csv", b"11,", b"\xff11,", r"movies.csv: line 2, column 1: byte 0xff is no UTF-8; save it as UTF-8"),
        ("movies.csv", b"title", b"t\xeftre", r"movies.csv: line 1, column 10 \(after 'movieId,t'\): byte 0xef is no"),
    ],
)
def test_a_byte_that_is_no_utf_8_is_told_by_line_and_column(tmp_path, name, old, new, words):
    write(tmp_path, CSV)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes().replace(old, new))
    with pytest.raises(InputError, match=words):
        tables(tmp_path, format="ml-csv")


def test_a_bad_byte_is_found_in_the_one_of_several_files_that_has_it(tmp_path):
    write(tmp_path, LOG)
    (tmp_path / "log" / "b.csv").write_bytes(LOG["log/b.csv"].replace("13", "é").encode("latin-1"))
    with pytest.raises(InputError, match=r"b.csv: line 3, column 3 \(after '8;'\): byte 0xe9 is no UTF-8"):
        tables(tmp_path, **shop(separator=";"))


@pytest.mark.parametrize(
    ("name", "extra", "words"),
    [
        (
            "movies.dat",
            "3::Mission::Impossible (1996)::Drama\n",
            r"movies.dat: line 3: 4 columns, expected 3 \(item",
        ),
        ("ratings.dat", "v::1::5::4::9\n", r"ratings.dat: line 3, column timestamp: '4::9' is no time"),
        ("ratings.dat", "v::1::5\n", r"ratings.dat: line 3, column timestamp: None is no time"),
    ],
)
def test_a_line_of_more_or_fewer_parts_is_refused(tmp_path, name, extra, words):
    write(tmp_path, {**DAT, name: DAT[name] + extra})
    with pytest.raises(InputError, match=words):
        tables(tmp_path, format="ml-1m")


def test_only_a_line_feed_ends_a_line_and_a_carriage_return_before_it_is_no_content(tmp_path):
    given = {name: text.replace("Tea", "Tea\x85of China").replace("\n", "\r\n") for name, text in DAT.items()}
    raw = tables(write(tmp_path, given, "latin-1"), format="ml-1m")
    assert raw.items["title"].to_list() == ["Tea of China", "Cup"]
    assert raw.items["genres"].to_list() == ["Drama", "War"]
    assert raw.counts["titles_with_control_characters"] == 1
    assert raw.interactions["timestamp"].to_list() == [3, 4]


def test_repeated_metadata_are_counted(tmp_path):
    meta = json_lines(*PRODUCTS, {"asin": "2", "title": "Mug"}, {"asin": "2", "title": "Cup"})
    raw = tables(write(tmp_path, {"A.json": REVIEWS, "meta_A.json": meta}), format="amazon-2018")
    assert raw.items["title"].to_list() == ["Tea", "Cup"]
    assert (raw.counts["items_read"], raw.counts["items_repeated"]) == (4, 2)
    write(tmp_path, {"meta_A.json": json_lines(*PRODUCTS)})
    assert "items_repeated" not in tables(tmp_path, format="amazon-2018").counts


def test_control_characters_of_genres_are_counted_and_titles_that_show_nothing_are_none(tmp_path):
    item = ITEM.replace("A\t1995\tWar", "A\t1995\tW\x07ar") + "3\t\u200b \u202e\t1995\tWar\n"
    raw = tables(write(tmp_path, {"x.inter": INTER, "x.item": item}))
    assert raw.items["genres"].to_list() == ["W ar", "War"]
    assert raw.counts["genres_with_control_characters"] == 1
    assert raw.counts["items_without_title"] == 1


@pytest.mark.parametrize(("unit", "parts"), [("milliseconds", 1), ("microseconds", 1000), ("nanoseconds", 1_000_000)])
def test_times_in_parts_of_a_second_are_turned_and_counted_by_their_unit(tmp_path, unit, parts):
    ratings = RATINGS.replace(",100", f",{978300760000 * parts}").replace(",200", f",{1588687728000 * parts}")
    raw = tables(write(tmp_path, {**CSV, "ratings.csv": ratings}), format="ml-csv")
    assert raw.interactions["timestamp"].to_list() == [978300760, 1588687728]
    assert {name: n for name, n in raw.counts.items() if name.startswith("timestamps")} == {f"timestamps_in_{unit}": 2}


@pytest.mark.parametrize(
    ("times", "words"),
    [
        (("978300760000000", "1588687728"), r"line 2, .*'978300760000000' is in microseconds, others are in seconds"),
        (("978300760", "1588687728000", "1588687728000"), r"line 2, .*'978300760' is in seconds, others are in milli"),
        (("100", "2024/05/01"), r"line 3, column timestamp: '2024/05/01' is no time: neither seconds since 1970"),
        (("100", "-1"), r"line 3, column timestamp: '-1' is before 1970"),
    ],
)
def test_times_in_several_units_or_none_are_refused(tmp_path, times, words):
    rows = "".join(f"{user},11,3,{time}\n" for user, time in enumerate(times))
    write(tmp_path, {**CSV, "ratings.csv": "userId,movieId,rating,timestamp\n" + rows})
    with pytest.raises(InputError, match=words):
        tables(tmp_path, format="ml-csv")


@pytest.mark.parametrize(
    ("changes", "given", "words"),
    [
        (
            shop(separator=";"),
            {**LOG, "items.csv": "sku;name;tags;price\n0012;Tea; green;drink;2.5\n13;Cup;;3\n"},
            r"items.csv: line 2: more parts than there are columns \(1 such lines\); quote values that hold the sep",
        ),
        (
            shop(separator=";"),
            {name: text.replace("-03 00", "-03;00") for name, text in LOG.items()},
            r"b.csv: line 2: more",
        ),
        (
            {"format": "ml-csv"},
            {**CSV, "movies.csv": MOVIES + "13,Tea, green (1995),Drama\n"},
            r"movies.csv: line 4: more",
        ),
        ({}, {"x.inter": INTER, "x.item": ITEM.replace("B\t", "B\t\t")}, r"x.item: line 3: more"),
        ({}, {"x.inter": INTER + "u\t1\t5\t3\t7\t8\n", "x.item": ITEM}, r"x.inter: line 4: more"),
    ],
)
def test_a_row_of_more_parts_than_columns_is_refused_by_line(tmp_path, changes, given, words):
    with pytest.raises(InputError, match=words):
        tables(write(tmp_path, given), **changes)


def test_a_quoted_separator_is_content_and_one_at_the_end_of_a_row_none(tmp_path):
    items = 'sku;name;tags\n0012;"Tea; green";drink;\n13;Cup;;\n'
    raw = tables(write(tmp_path, {**LOG, "items.csv": items}), **shop(separator=";"))
    assert raw.items.select("title", "genres").rows() == [("Tea; green", "drink"), ("Cup", "")]


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        ("log/b.csv", "2024-05-04", "May", r"b.csv: line 3, column timestamp: 'May' is no time"),
        ("log/b.csv", "8;13", ";13", r"b.csv: line 3, column user: (None|'') is not valid"),
        ("log/a.csv", "007;13", "007;", r"a.csv: line 3, column item: (None|'') is not valid"),
        ("more/items.csv", "14;", ";", r"more/items.csv: line 2, column item: (None|'') is not valid"),
    ],
)
def test_a_bad_value_is_told_with_the_one_of_several_files_that_has_it(tmp_path, name, old, new, words):
    given = {**LOG, "more/items.csv": "sku;name;tags\n14;Pot;\n"}
    patterns = files(interactions="log/*.csv", items="**/items.csv")
    assert tables(write(tmp_path, given), **shop(separator=";", files=patterns)).items.height == 3
    write(tmp_path, {name: given[name].replace(old, new)})
    with pytest.raises(InputError, match=words):
        tables(tmp_path, **shop(separator=";", files=patterns))


def test_of_several_parquet_files_the_one_with_the_bad_value_is_named(tmp_path):
    for number, times in enumerate(([1, 2], [3, -4])):
        rows = pl.DataFrame({"customer": "u", "sku": [f"{number}{time}" for time in times], "at": times})
        rows.write_parquet(tmp_path / f"log{number}.parquet")
    pl.DataFrame({"sku": ["01"], "name": ["Tea"], "tags": [""]}).write_parquet(tmp_path / "items.parquet")
    patterns = files(interactions="log*.parquet", items="items.parquet")
    with pytest.raises(InputError, match=r"log1.parquet: row 2, column timestamp: '-4' is before 1970"):
        tables(tmp_path, **shop(files=patterns))


def test_ids_stay_as_they_are_written(tmp_path):
    ids = ["007", "7", "🎬👩\u200d🚀", "a\x07b", " 7", "\u200b7"]
    inter = INTER.splitlines()[0] + "\n" + "".join(f"{user}\t{item}\t5\t1\n" for user in ids for item in ids)
    item = ITEM.splitlines()[0] + "\n" + "".join(f"{item}\tT\t1995\tWar\n" for item in ids)
    raw = tables(write(tmp_path, {"x.inter": inter, "x.item": item}))
    assert raw.items["item"].to_list() == raw.users["user"].to_list() == sorted(ids)
    assert raw.interactions.height == len(ids) ** 2


@pytest.mark.parametrize("title", ["\u200b", "\u2060 \ufeff\u202e", "\x07", " \t "])
def test_a_title_that_shows_nothing_is_none_and_counted(tmp_path, title):
    movies = MOVIES + f'13,"{title}",Drama\n'
    raw = tables(write(tmp_path, {"ratings.csv": RATINGS + "1,13,5,300\n", "movies.csv": movies}), format="ml-csv")
    assert (raw.counts["items_without_title"], raw.counts["interactions_with_unknown_item"]) == (1, 1)
    assert raw.items["item"].to_list() == ["11", "12"]


def test_a_row_with_another_separator_is_refused_or_counted(tmp_path):
    write(tmp_path, {"x.inter": INTER + "u 1 5 3\n", "x.item": ITEM})
    with pytest.raises(InputError, match=r"x.inter: line 4, column item: None is not valid"):
        tables(tmp_path)
    write(tmp_path, {"x.inter": INTER, "x.item": ITEM.replace("2\tB\t1996\t", "2;B;1996;")})
    counts = tables(tmp_path, 1).counts
    assert (counts["items_without_title"], counts["interactions_with_unknown_item"]) == (1, 1)


@pytest.mark.parametrize(
    ("changes", "given", "words"),
    [
        (
            shop(separator=";", columns=columns(**{**SHOP, "timestamp": "when"})),
            LOG,
            r"a.csv: no column 'when'; its columns are customer, sku, at",
        ),
        (
            {"format": "amazon-2018"},
            {"A.json": REVIEWS.replace("unixReviewTime", "time"), "meta_A.json": json_lines(*PRODUCTS)},
            r"A.json: line 1, column timestamp: None is no time",
        ),
        (
            {},
            {"x.inter": INTER, "x.item": ITEM.replace("class", "genre")},
            r"x.item: no column 'class'; its columns are it",
        ),
    ],
)
def test_a_missing_column_is_named(tmp_path, changes, given, words):
    with pytest.raises(InputError, match=words):
        tables(write(tmp_path, given), **changes)
