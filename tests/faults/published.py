"""A small data set in each format that others publish: its files by name, the first with interactions, then items."""

import json

FLAGS = "|".join("1" if i in (3, 4, 5) else "0" for i in range(19))
DAT = b"1::73::5::978300760\n1::1::3.5::978302109\n2::1::4::978298413\n2::99::2::978298414\n"
MOVIES = "1::Tea (1995)::War\n73::Misérables (1995)::Drama|War\n"
OLD = {"reviewerID": "A1", "asin": "5120053084", "overall": 5.0, "unixReviewTime": 1514764800, "style": {"Size:": "L"}}
NEW = {"rating": 5.0, "text": "Nice.", "parent_asin": "B1", "user_id": "AG", "timestamp": 1588687728923, "images": []}
KEPT = {"asin": "5120053084", "title": "Girls Shirt", "price": 3.17, "category": ["Clothing", "Girls"]}
SOLD = {"title": "Sea Mist", "price": None, "categories": ["Beauty", "Hair"], "parent_asin": "B1"}


def _lines(*rows: dict[str, object]) -> bytes:
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


PUBLISHED: dict[str, dict[str, bytes]] = {
    "ml-100k": {
        "u.data": b"196\t242\t3\t881250949\n196\t1\t5\t881250950\n22\t242\t1\t878887116\n22\t1\t4\t878887117\n",
        "u.item": f"1|Tea (1995)|01-Jan-1995||http://x|{FLAGS}\n242|Misérables (1995)|||x|{FLAGS}\n".encode("latin-1"),
    },
    "ml-1m": {"ratings.dat": DAT, "movies.dat": MOVIES.encode("latin-1")},
    "ml-10m": {"ratings.dat": DAT, "movies.dat": MOVIES.encode()},
    "ml-csv": {
        "ratings.csv": b"userId,movieId,rating,timestamp\n1,307,3.5,1256677221\n2,11,4.0,1192912964\n",
        "movies.csv": b'movieId,title,genres\n11,"Tea, The (1995)",Drama\n307,"Blue ""(Bleu)""",(no genres listed)\n',
    },
    "amazon-2014": {
        "reviews_Sports_5.json": _lines(OLD, {**OLD, "reviewerID": "A2", "overall": 2.0}),
        "meta_Sports.json": b"{'asin': '5120053084', 'title': \"Heaven's Tutu\", 'categories': [['Sports', 'Dance']]}\n"
        b"{'asin': '0000000000', 'title': 'Hat', 'related': {'also_bought': ['B00']}}\n",
    },
    "amazon-2018": {
        "Clothing_5.json": _lines(OLD, {**OLD, "asin": "7"}),
        "meta_Clothing.json": _lines(KEPT, KEPT, {"asin": "7", "title": "Hat", "category": []}),
    },
    "amazon-2023": {
        "All_Beauty.jsonl": _lines(NEW, {**NEW, "parent_asin": "B2", "timestamp": 1588687729000}),
        "meta_All_Beauty.jsonl": _lines(SOLD, {**SOLD, "parent_asin": "B2", "title": "Comb", "categories": []}),
    },
}
