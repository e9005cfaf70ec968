"""Stage source (study): what is known of a user without an LLM, and what can be chosen among an LLM's texts.

Numbers are standardised over users that may train, then turned at random into as many dimensions as a text's
vector has (an orthogonal map scaled to the norm of a standardised text), so that every kind meets the same net.
"""

from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from rlrf4rec import paths, vectors
from rlrf4rec.errors import RLRFError
from rlrf4rec.inputs import Tables, read_tables
from rlrf4rec.lists import candidates
from rlrf4rec.params import Reward, Split
from rlrf4rec.seeds import derive
from rlrf4rec.tables.interactions import INTERACTIONS
from rlrf4rec.tables.split import HISTORY, RANKING


def run(seed: int, split: Split, reward: Reward, name: str) -> str:
    """Write the vectors `name`; returns the closing line."""
    tables = read_tables()
    if name == "no_items":
        made = torch.zeros(tables.items.height, 1, tables.catalogue().vectors.shape[1])
        vectors.write_texts(paths.source(name), made, tables.items["item"])
        return f"wrote {paths.source(name)}, nothing about {tables.items.height} items"
    history = HISTORY.read(paths.HISTORY)
    if name == "base_mean":
        made = tables.texts("base").mean(dim=1, keepdim=True)
    elif name == "items_mean":
        made = _items_mean(tables, history)
    elif name == "best_of_n":
        made = _best_of_n(tables, history, split, reward, seed)
    elif name in NUMBERS:
        rows = history.join(tables.items, on="item", how="left", maintain_order="left")
        genres = sorted({g for row in tables.items["genres"] for g in row.split("|") if g})
        numbers = np.array([NUMBERS[name](user, genres) for user in _by_user(rows, tables)], dtype=np.float64)
        made = _turned(torch.from_numpy(numbers), tables, derive(seed, "source", name))
    else:
        raise RLRFError(
            f"source {name}: unknown; one of no_items, base_mean, items_mean, best_of_n, {', '.join(NUMBERS)}"
        )
    vectors.write_texts(paths.source(name), made, tables.users["user"])
    return f"wrote {paths.source(name)}, {made.shape[2]} numbers for each of {made.shape[0]} users"


def _by_user(rows: pl.DataFrame, tables: Tables) -> list["User"]:
    """Each user's history with items, in the order of the users table."""
    found = {str(user): frame.to_dicts() for (user,), frame in rows.group_by("user", maintain_order=True)}
    return [found[user] for user in tables.users["user"]]


User = list[dict[str, Any]]  # rows of a user's history with their items


def activity(history: User, genres: list[str]) -> list[float]:
    """How much and how generously a user rates: log count, mean, spread, share of 4 and 5, log days."""
    ratings = np.array([float(r["rating"]) for r in history])
    days = (int(history[-1]["timestamp"]) - int(history[0]["timestamp"])) / 86400
    return [np.log1p(len(ratings)), ratings.mean(), ratings.std(), (ratings >= 4).mean(), np.log1p(days)]


def years(history: User, genres: list[str]) -> list[float]:
    """Release years: mean, spread and quantiles, of all and of liked items."""
    return [*_eras(history), *_eras(_liked(history))]


def profile(history: User, genres: list[str]) -> list[float]:
    """Genres and era: shares of each genre among liked and among other items, and the liked ones' release years."""
    liked = _liked(history)
    other = [r for r in history if r not in liked]
    return [*_shares(liked, genres), *_shares(other, genres), *_eras(liked)]


NUMBERS = {"activity": activity, "years": years, "profile": profile}


def _liked(history: User) -> User:
    mean = sum(float(r["rating"]) for r in history) / len(history)
    return [r for r in history if float(r["rating"]) >= mean]


def _shares(rows: User, genres: list[str]) -> list[float]:
    return [sum(genre in str(r["genres"]).split("|") for r in rows) / max(1, len(rows)) for genre in genres]


def _eras(rows: User) -> list[float]:
    found = np.array([int(r["year"]) for r in rows if r["year"]] or [0])
    return [*np.quantile(found, [0.1, 0.25, 0.5, 0.75, 0.9]), found.mean(), found.std()]


def _turned(numbers: Tensor, tables: Tables, seed: int) -> Tensor:
    """Numbers [users, n] as vectors [users, 1, width] of the norm of a standardised text."""
    width = tables.catalogue().vectors.shape[1]
    seen = numbers[tables.rows(RANKING)]
    spread = seen.std(dim=0, unbiased=False)
    scaled = torch.where(spread > 1e-9, (numbers - seen.mean(dim=0)) / spread.clamp(min=1e-9), 0.0)
    generator = torch.Generator().manual_seed(seed)
    square = torch.randn(width, numbers.shape[1], generator=generator, dtype=torch.float64)
    basis, _ = torch.linalg.qr(square)
    return ((scaled @ basis.T) * (width / numbers.shape[1]) ** 0.5).float()[:, None]


def _items_mean(tables: Tables, history: pl.DataFrame) -> Tensor:
    """Mean of the vectors of the items that a user's history rates at or above the user's mean."""
    described = tables.catalogue().vectors
    row = {item: number for number, item in enumerate(tables.items["item"])}
    liked = history.filter(pl.col("rating") >= pl.col("rating").mean().over("user"))
    items = dict(liked.group_by("user").agg("item").iter_rows())
    return torch.stack([described[[row[i] for i in items[user]]].mean(dim=0) for user in tables.users["user"]])[:, None]


def _best_of_n(tables: Tables, history: pl.DataFrame, split: Split, reward: Reward, seed: int) -> Tensor:
    """The base text with the highest reward on lists made of the user's own history: no later label is touched."""
    from rlrf4rec.reward import models, rewards  # brings Lightning along, which the others can do without

    own = history.with_columns(pl.col("position").alias("activity")).sort("user", "position")
    seen = INTERACTIONS.read(paths.INTERACTIONS).select("user", "item")
    catalogue = candidates.Catalogue.of(tables.popularity)
    frame, _ = candidates.build(
        own, seen, catalogue, "popularity", split.step, split.list_length, split.max_lists, split.positive_rating,
        derive(seed, "best_of_n"),
    )  # fmt: skip
    lists = tables.lists(frame)
    nets = models.load(paths.reward_model("round1"), tables.catalogue(), lists.item.shape[1])
    texts, group = tables.texts("base"), rewards.groups(tables.users, lists)
    done = rewards.score_texts(nets, lists, texts, group, reward, derive(seed, "score"), "source best_of_n")
    best = torch.zeros(len(texts), dtype=torch.int64)  # a user without such a list keeps the first text
    for found in done:
        best[found.user] = int(found.reward(reward.kind).argmax())
    return texts[torch.arange(len(texts)), best][:, None]
