"""MovieLens as GroupLens publishes it: 100K, 1M and 10M in formats of their own, 20M, 25M, 32M and latest as CSV."""

from pathlib import Path

import polars as pl

from rlrf4rec.datasets.found import INTERACTIONS, YEAR, Found, one, places, reading
from rlrf4rec.datasets.separated import lines, scan
from rlrf4rec.params import Interactions

GENRES_100K = (
    *(
        "unknown",
        "Action",
        "Adventure",
        "Animation",
        "Children's",
        "Comedy",
        "Crime",
        "Documentary",
        "Drama",
        "Fantasy",
    ),
    *("Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
)


def read_100k(folder: Path, _: Interactions) -> Found:
    """`u.data`, tab-separated, and `u.item`, parted by "|" in Latin-1, a column of 0 and 1 for each genre."""
    data, item = one(folder, "u.data"), one(folder, "u.item")
    names = ("item", "title", "released", "video", "address", *GENRES_100K)
    films = lines(item, "latin-1", "|", names)
    marked = [pl.when(pl.col(g) == "1").then(pl.lit(g)) for g in GENRES_100K[1:]]
    catalogue = films.with_columns(genres=pl.concat_list(marked).list.drop_nulls().list.join("|"))
    return Found(scan(data, "\t", INTERACTIONS), _titled(catalogue.lazy()), data, item)


def read_1m(folder: Path, _: Interactions) -> Found:
    """1M: `ratings.dat` and `movies.dat`, parted by "::", titles in Latin-1."""
    return _dat(folder, "latin-1")


def read_10m(folder: Path, _: Interactions) -> Found:
    """10M: as 1M, titles in UTF-8."""
    return _dat(folder, "utf-8")


def _dat(folder: Path, encoding: str) -> Found:
    ratings, movies = one(folder, "ratings.dat"), one(folder, "movies.dat")
    catalogue = lines(movies, encoding, "::", ("item", "title", "genres"))
    rated = pl.col("whole").str.strip_chars_end("\r").str.splitn("::", len(INTERACTIONS))  # more stays in the last
    whole = scan(ratings, "\n", ("whole",)).with_columns(rated)
    parts = [pl.col("whole").struct[i].alias(name) for i, name in enumerate(INTERACTIONS)]
    return Found(whole.select("line", *parts), _titled(catalogue.lazy()), ratings, movies)


def read_csv(folder: Path, _: Interactions) -> Found:
    """20M, 25M, 32M, latest: `ratings.csv` and `movies.csv` with headers and quoted titles."""
    ratings, movies = one(folder, "ratings.csv"), one(folder, "movies.csv")
    films = scan(movies, ",", quote='"')
    catalogue = films.rename({"movieId": "item"})
    names = {"userId": "user", "movieId": "item"}
    with reading(movies, "a movies.csv"):
        catalogue.select("item", "title", "genres").collect_schema()
    rated = scan(ratings, ",").rename(names)
    with reading(ratings, "a ratings.csv"):
        rated.select(INTERACTIONS).collect_schema()
    return Found(rated.select(*places(rated), *INTERACTIONS), _titled(catalogue), ratings, movies)


def _titled(films: pl.LazyFrame) -> pl.LazyFrame:
    """With the year that a title ends in: `Toy Story (1995)`."""
    year = pl.col("title").str.extract(YEAR).alias("year")
    return films.select(*places(films), "item", "title", year, "genres")
