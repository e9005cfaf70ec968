"""Where a row stands in its file, which rows are items at all, which of an item's lines counts, what parts genres."""

import polars as pl
import pytest
from dataset import LOG, REVIEW_2014, columns, files, json_lines, shop, tables, write

from rlrf4rec.datasets import lines
from rlrf4rec.errors import InputError
from rlrf4rec.sources import activity

ITEMS = 'sku;name;tags\n0012;"Tea\ngreen\n";drink\n\n13;"A ""cup""";\n13;Pot;\n'
SHOP = shop(separator=";")


def test_a_row_is_told_by_its_line_where_quoted_parts_hold_line_breaks(tmp_path):
    for newline in ("\n", "\r\n"):
        write(tmp_path, {**LOG, "items.csv": ITEMS.replace("\n", newline)})
        with pytest.raises(InputError, match=r"items.csv: line 6, column item: '13' is there more than once"):
            tables(tmp_path, **SHOP)
    write(tmp_path, {**LOG, "items.csv": 'sku;"name\nof it";tags\n0012;Tea;\n13;Cup;;x\n'})
    with pytest.raises(InputError, match=r"items.csv: line 4: more parts than there are columns"):
        tables(tmp_path, **{**SHOP, "columns": SHOP["columns"].model_copy(update={"title": "name\nof it"})})


def test_a_row_of_json_lines_is_told_by_its_line_where_some_are_blank(tmp_path):
    meta = json_lines({"asin": "0000013714", "title": "Hymns"})
    bad = json_lines({**REVIEW_2014, "overall": "good"})
    write(tmp_path, {"meta_A.json": meta, "A.json": json_lines(REVIEW_2014) + "\n  \n" + bad})
    with pytest.raises(InputError, match=r"[^_]A.json: line 4, column rating: 'good' is not valid"):
        tables(tmp_path, format="amazon-2018")


def test_a_row_that_the_file_has_not_is_told_by_its_number(tmp_path):
    (tmp_path / "a.csv").write_text("x\n1\n")
    assert [lines.place(tmp_path / "a.csv", row) for row in (1, 2, 3)] == ["line 1", "line 2", "row 3"]


@pytest.mark.parametrize("bad", ['"9;13;2024-05-01\n9;14;2024-05-01\n', '9;"13"x;2024-05-01\n', '9;13"x;2024-05-01\n'])
def test_of_several_files_the_one_that_can_not_be_parsed_is_named(tmp_path, bad):
    write(tmp_path, {**LOG, "log/b.csv": "customer;sku;at\n" + bad})
    with pytest.raises(InputError, match=r"log/b.csv: not a file of interactions that can be read: "):
        tables(tmp_path, **SHOP)
    write(tmp_path, {**LOG, "more/items.csv": "sku;name;tags\n" + bad})
    both = files(interactions="log/*.csv", items="**/items.csv")
    with pytest.raises(InputError, match=r"more/items.csv: not a file of items that can be read: "):
        tables(tmp_path, **{**SHOP, "files": both})


def test_of_several_parquet_files_the_one_of_another_type_is_named(tmp_path):
    for number, kind in enumerate((pl.Int64, pl.String)):
        rows = pl.DataFrame({"customer": ["u", "v"], "sku": ["1", "2"], "at": [1, 2]})
        rows.with_columns(pl.col("at").cast(kind)).write_parquet(tmp_path / f"log{number}.parquet")
    write(tmp_path, {"items.csv": "sku,name,tags\n1,Tea,\n"})
    patterns = files(interactions="log*.parquet", items="items.csv")
    with pytest.raises(InputError, match=r"log1.parquet: column 'at' has String, but log0.parquet has Int64 in it"):
        tables(tmp_path, **shop(files=patterns))


@pytest.mark.parametrize("texts", [[], ["name"]])
def test_a_blank_line_among_items_is_no_item_without_a_title(tmp_path, texts):
    write(tmp_path, {**LOG, "items.csv": LOG["items.csv"] + "\n\n14;;pots\n;;\n"})
    own = {**SHOP, "columns": SHOP["columns"].model_copy(update={"texts": texts})}
    counts = tables(tmp_path, **own).counts
    assert (counts["items_read"], counts["items_without_title"], counts["blank_rows_of_items"]) == (3, 1, 3)


def product(asin, title, *category):
    return {"asin": asin, "title": title, "category": list(category)}


def test_of_repeated_metadata_the_first_line_with_a_title_counts(tmp_path):
    reviews = json_lines(REVIEW_2014, {**REVIEW_2014, "asin": "7", "unixReviewTime": 1252800001})
    first = product("0000013714", None, "None"), product("7", " ", "Void")
    meta = json_lines(*first, product("0000013714", "Hymns", "Music"), product("0000013714", "Other", "Late"))
    raw = tables(write(tmp_path, {"A.json": reviews, "meta_A.json": meta}), 1, format="amazon-2018")
    assert raw.items.rows() == [("0000013714", "Hymns", None, "Music")]
    told = raw.counts["items_read"], raw.counts["items_repeated"], raw.counts["items_without_title"]
    assert told == (4, 2, 1)


def test_a_bar_inside_of_a_genre_parts_nothing_and_is_counted(tmp_path):
    items = "sku;name;tags\n0012;Tea;Rock|Pop, Jazz\n13;Cup;Jazz\n"
    raw = tables(write(tmp_path, {**LOG, "items.csv": items}), **shop(separator=";", genre_separator=", "))
    assert raw.items["genres"].to_list() == ["Rock/Pop|Jazz", "Jazz"]
    assert raw.counts["genres_with_bar"] == 1


def test_a_bar_inside_of_a_listed_genre_parts_nothing(tmp_path):
    for nested in (False, True):
        tags = [[["Rock|Pop"], ["Jazz", "Jazz"]], [[" "]]] if nested else [["Rock|Pop", "Jazz", "Jazz"], [" "]]
        pl.DataFrame({"sku": ["0012", "13"], "name": ["Tea", "Cup"], "tags": tags}).write_parquet(
            tmp_path / "i.parquet"
        )
        write(tmp_path, {name: LOG[name] for name in ("log/a.csv", "log/b.csv")})
        patterns = files(interactions="log/*.csv", items="i.parquet")
        raw = tables(tmp_path, **shop(separator=";", files=patterns, genre_separator=","))
        assert raw.items["genres"].to_list() == ["Rock/Pop|Jazz", ""]
        assert (raw.counts["genres_with_bar"], raw.counts.get("genres_with_control_characters")) == (1, None)
    meta = json_lines(product("0000013714", "Hymns", "Rock|Pop", "Jazz"))
    raw = tables(write(tmp_path, {"A.json": json_lines(REVIEW_2014), "meta_A.json": meta}), 1, format="amazon-2018")
    assert (raw.items["genres"].item(), raw.counts["genres_with_bar"]) == ("Rock/Pop|Jazz", 1)


def test_without_a_column_of_genres_there_are_none(tmp_path):
    own = {**SHOP, "columns": columns(**{**SHOP["columns"].model_dump(), "genres": None})}
    assert tables(write(tmp_path, LOG), **own).items["genres"].to_list() == ["", ""]


@pytest.mark.parametrize("per_second", [1, 1000])
def test_the_days_of_activity_are_days_whatever_times_are_counted_in(per_second):
    rated = [{"rating": rating, "timestamp": day * 86400 * per_second} for rating, day in ((5.0, 0), (3.0, 3))]
    assert activity.numbers(rated, [], per_second=per_second)[-1] == pytest.approx(1.3862943611)  # log(1 + 3)
