import dataset
import pytest

from rlrf4rec.errors import RLRFError

INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
ITEM = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
RATINGS = "01\t7\t5\t100\n01\t8\t3\t50\n2\t7\t4\t10\n2\t8\t1\t20\n"


def folder(tmp_path, inter=INTER + RATINGS, item=ITEM + '7\tA "Q" Film\t1995\tAction Sci-Fi\n8\tB\tV\t\n'):
    (tmp_path / "x.inter").write_text(inter)
    (tmp_path / "x.item").write_text(item)
    return tmp_path


def test_reads_tables_in_time_order_and_keeps_ids_as_text(tmp_path):
    raw = dataset.tables(folder(tmp_path), 1)
    assert raw.interactions.rows() == [
        ("01", "8", 3.0, 50),
        ("01", "7", 5.0, 100),
        ("2", "7", 4.0, 10),
        ("2", "8", 1.0, 20),
    ]
    assert raw.items.rows() == [("7", 'A "Q" Film', 1995, "Action|Sci-Fi"), ("8", "B", None, "")]
    assert raw.users.rows() == [("01", 2), ("2", 2)]
    assert raw.counts["items_without_year"] == 1


def test_everything_left_out_is_counted(tmp_path):
    ratings = RATINGS + "2\t8\t5\t30\n3\t7\t5\t1\n2\t99\t5\t1\n2\t9\t5\t1\n"
    items = ITEM + "7\tA\t1995\tAction\n8\tB\t1990\tWar\n9\t\t1990\tWar\n"
    raw = dataset.tables(folder(tmp_path, INTER + ratings, items), 2, users=5)
    assert raw.counts == {
        "interactions_read": 8,
        "items_read": 3,
        "items_without_year": 0,
        "items_without_title": 1,
        "interactions_with_unknown_item": 2,
        "interactions_rated_again": 1,
        "users_with_few_interactions": 1,
        "interactions_of_users_with_few": 1,
        "users_not_drawn": 0,
        "interactions_of_users_not_drawn": 0,
    }
    assert raw.interactions.filter(user="2", item="8")["rating"].to_list() == [5.0]


@pytest.mark.parametrize(
    ("inter", "words"),
    [
        (INTER + "1\t7\tgood\t3\n", "line 2, column rating: 'good'"),
        (INTER + "1\t7\t5\t3\n1\t8\t5\t\n", "line 3, column timestamp"),
        ("user_id:token\titem_id:token\n1\t2\n", "no column 'rating'"),
        (INTER + "1\t77\t5\t3\n", "no interaction is left"),
    ],
)
def test_bad_files_name_file_line_and_column(tmp_path, inter, words):
    with pytest.raises(RLRFError) as error:
        dataset.tables(folder(tmp_path, inter), 1)
    assert words in str(error.value)


def test_missing_or_doubled_files_are_named(tmp_path):
    with pytest.raises(RLRFError, match=r"expected one \.inter file, found 0"):
        dataset.tables(tmp_path, 1)
    folder(tmp_path)
    (tmp_path / "y.inter").write_text(INTER)
    with pytest.raises(RLRFError, match="found 2"):
        dataset.tables(tmp_path, 1)
