"""Section on ten validation users: history, best and worst text, and a list before and after. No development user."""

import polars as pl

from rlrf4rec.errors import InputError, RLRFError
from rlrf4rec.report import numbers
from rlrf4rec.report.blocks import ListPlace, Note, Person, Rated, Section, ShownText


def people(
    examples: pl.DataFrame,
    history: pl.DataFrame,
    items: pl.DataFrame,
    rewards: pl.DataFrame,
    texts: pl.DataFrame,
    tuned: pl.DataFrame,
    policies: tuple[str, str],
) -> Section:
    """`rewards` score the texts of the first of `policies` in `texts`; `tuned` are texts of the second."""
    rated = rewards.filter(pl.col("fold") == "validation").join(texts, on=["user", "sample"])
    users = examples["user"].unique(maintain_order=True).to_list()
    if strangers := sorted(set(users) - set(rated["user"])):
        raise RLRFError(
            f"data/evaluate/examples.parquet: column user: {strangers[0]!r} is no validation user with rewards; "
            "run `dvc repro score evaluate`"
        )
    if examples.select("user", "list", "position").is_duplicated().any():
        raise InputError(
            "data/evaluate/examples.parquet: column position: a place of a list is there twice; "
            "run `dvc repro evaluate`"
        )
    shown = {*examples["item"], *history.filter(pl.col("user").is_in(users))["item"]}
    if unknown := sorted(shown - {*items["item"]}):
        raise InputError(
            f"data/interactions/items.parquet: no row of item {unknown[0]!r}, of a history or a list that is shown; "
            "run `dvc repro interactions`"
        )
    names = titles(items)
    before, after = policies
    blocks = [
        Note(
            f"Best and worst are the {before} texts with the highest and the lowest reward; the "
            f"third text is the first one by {after}, which got no reward in that round. The list is one of the "
            f"user's, as a re-ranker with {before} texts and one with {after} texts order it. Ratings belong to the "
            "data set: mind its licence before you pass this page on."
        )
    ]
    persons = [
        _person(
            user,
            examples.filter(pl.col("user") == user),
            history.filter(pl.col("user") == user).sort("position"),
            rated.filter(pl.col("user") == user),
            tuned.filter((pl.col("user") == user) & (pl.col("sample") == 0)),
            names,
            policies,
        )
        for user in users
    ]
    return Section("people", f"{len(users)} validation users", (*blocks, *persons))


def titles(items: pl.DataFrame) -> dict[str, str]:
    """Title and year of every item."""
    return {
        item: f"{title} ({year})" if year is not None else title
        for item, title, year in items.select("item", "title", "year").iter_rows()
    }


def _person(
    user: str,
    lists: pl.DataFrame,
    history: pl.DataFrame,
    rated: pl.DataFrame,
    tuned: pl.DataFrame,
    names: dict[str, str],
    policies: tuple[str, str],
) -> Person:
    ordered = rated.sort("reward", "sample", descending=[True, False])
    best, worst = ordered.row(0, named=True), ordered.row(-1, named=True)
    texts = [
        ShownText("best", best["text"], numbers.signed(best["reward"])),
        ShownText("worst", worst["text"], numbers.signed(worst["reward"])),
        *(ShownText(f"by {policies[1]}", text, "") for text in tuned["text"]),
    ]
    one = lists.filter(pl.col("list") == lists["list"][0])
    base, after = one.sort("rank_base"), one.sort("rank_tuned")
    places = tuple(
        ListPlace(names[b["item"]], b["label"] == 1, a["liked"], a["label"] == 1)
        for b, a in zip(
            base.iter_rows(named=True),
            ({"liked": names[r["item"]], "label": r["label"]} for r in after.iter_rows(named=True)),
            strict=True,
        )
    )
    seen = tuple(
        Rated(names[item], numbers.compact(rating)) for item, rating in history.select("item", "rating").iter_rows()
    )
    summary = (
        f"Liked items stand at {_places(base)} with {policies[0]} and at {_places(after)} with {policies[1]} texts."
    )
    return Person(user, seen, tuple(texts), numbers.plain(best["reward"] - worst["reward"]), places, summary)


def _places(ordered: pl.DataFrame) -> str:
    """Places of liked items, counted from 1."""
    return ", ".join(str(i + 1) for i, label in enumerate(ordered["label"]) if label) or "no place"
