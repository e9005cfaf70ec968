"""First-stage retrieval: what a re-ranker meets in production is the top of a ranker that knows no label of its lists.

Item-kNN and SASRec learn from the interactions of train users; validation users say which is better. Train users have
lists, too: each is retrieved for by a retriever trained without them. Else a retriever that has seen their future makes
train lists easier than those of other folds, and its order truer.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rlrf4rec.errors import RLRFError
from rlrf4rec.lists import knn
from rlrf4rec.lists.candidates import SCHEMA
from rlrf4rec.lists.given import Places
from rlrf4rec.seeds import derive

Scores = NDArray[np.float64]

RETRIEVED = {**SCHEMA, "first_stage": pl.Float64}  # of the lists
PARTS = 4  # of the train users, to retrieve for each with a retriever trained on the others
WIDE = 50  # the second cut-off of recall
BATCH = 512  # queries scored at once


class Retriever(Protocol):
    """A first-stage ranker."""

    def score(self, queries: list[Places]) -> Scores:
        """Scores [Q, I] of every item, higher is better; queries are time-ordered, non-empty."""


@dataclass(frozen=True)
class MostPopular:
    """The same order for everybody: interactions of train users with each item, counts [I]."""

    counts: Scores

    def score(self, queries: list[Places]) -> Scores:
        """The counts, once per query."""
        return np.tile(self.counts, (len(queries), 1))


@dataclass(frozen=True)
class Window:
    """A stretch of a user's later interactions; `query`, `real` and `positive` are places in the catalogue.

    query: all that the user did before, in time order, strictly before `begins`; activity: how much that is.
    """

    user: str
    query: Places
    real: Places
    positive: Places
    begins: int
    activity: int


@dataclass(frozen=True)
class Top:
    """The best items of each query [Q, K], best first: their places in the catalogue, and the retriever's scores."""

    places: Places
    scores: Scores


@dataclass(frozen=True)
class FirstStage:
    """A retriever trained on all train users, and for each part of them one trained without it.

    part: of each train user; without: trains the retriever of a part. One part is retrieved for after the other, as a
    large catalogue has no room for all of their retrievers.
    """

    retriever: Retriever
    part: Mapping[str, int]
    without: Callable[[int], Retriever]

    def top(self, asked: list[Window], length: int) -> Top:
        """The `length` best new items of each window."""
        parts = [self.part.get(w.user) for w in asked]
        best = Top(np.zeros((len(asked), length), dtype=np.int64), np.zeros((len(asked), length)))
        for part in dict.fromkeys(parts):
            rows = [i for i, one in enumerate(parts) if one == part]
            found = top(self._of(part), [asked[i].query for i in rows], length)
            best.places[rows], best.scores[rows] = found.places, found.scores
        return best

    def _of(self, part: int | None) -> Retriever:
        return self.retriever if part is None else self.without(part)


def sequences(interactions: pl.DataFrame, items: pl.Series) -> dict[str, Places]:
    """Each user's item places in time order; interactions are ordered by user and time."""
    place = pl.DataFrame({"item": items, "place": np.arange(len(items))})
    placed = interactions.join(place, on="item", how="left", maintain_order="left")
    return {str(user): rows["place"].to_numpy() for (user,), rows in placed.group_by("user", maintain_order=True)}


def mixed(interactions: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Order interactions of the same second by chance: else a sequence model learns the order of the file."""
    draw = pl.Series("draw", np.random.default_rng(seed).random(interactions.height))
    return interactions.with_columns(draw).sort("user", "timestamp", "draw").drop("draw")


def stretches(timestamps: list[int], window: int) -> list[tuple[int, int]]:
    """Begin and end of windows of `window` interactions, each prolonged to where time moves on; the last is shorter."""
    found, begin = [], 0
    for end in range(1, len(timestamps)):
        if end - begin >= window and timestamps[end - 1] < timestamps[end]:
            found.append((begin, end))
            begin = end
    return [*found, (begin, len(timestamps))] if timestamps else []


def windows(
    later: pl.DataFrame, history: pl.DataFrame, items: pl.Series, window: int, positive_rating: float
) -> list[Window]:
    """Walk through the users of `later`, in its order, in windows of `window` interactions.

    later: interactions after the history, ordered by user and time; history: table of the `split` stage.
    """
    before, after = sequences(history, items), sequences(later, items)
    found = []
    for (user,), rows in later.group_by("user", maintain_order=True):
        earlier, own = before[str(user)], after[str(user)]
        times, ratings = rows["timestamp"].to_list(), rows["rating"].to_numpy()
        for begin, end in stretches(times, window):
            query = np.concatenate([earlier, own[:begin]])
            real = own[begin:end]
            positive = real[ratings[begin:end] >= positive_rating]
            found.append(Window(str(user), query, real, positive, times[begin], len(query)))
    return found


def top(retriever: Retriever, queries: list[Places], length: int) -> Top:
    """The `length` best items outside the query; ties in the order of the catalogue.

    Where fewer are left, the query's own items come last.
    """
    found, values = [], []
    for begin in range(0, len(queries), BATCH):
        batch = queries[begin : begin + BATCH]
        scores = retriever.score(batch)
        for row, query in zip(scores, batch, strict=True):
            row[query] = -np.inf
            found.append(_best(row, length))
            values.append(row[found[-1]])
    if not found:
        return Top(np.zeros((0, length), dtype=np.int64), np.zeros((0, length)))
    return Top(np.stack(found), np.stack(values))


def _best(scores: Scores, length: int) -> Places:
    """Places of the `length` largest, all where there are fewer; sorts none but them and what ties with the last."""
    kept = min(length, len(scores))
    able = np.flatnonzero(scores >= np.partition(scores, -kept)[-kept])
    return able[np.argsort(-scores[able], kind="stable")[:kept]]


def recall(asked: list[Window], best: Places) -> float:
    """Mean over windows with a positive of the share of positives that `best` [W, K] holds; nan without such a window.

    The positives are all new to the user, as no user interacts twice with an item.
    """
    shares = [np.isin(w.positive, row).mean() for w, row in zip(asked, best, strict=True) if len(w.positive)]
    return float(np.mean(shares)) if shares else float("nan")


def fit(name: str, train: list[Places], items: int, seed: int) -> Retriever:
    """Train "popularity", "knn" or "sasrec" on users' time-ordered item places."""
    if name == "popularity":
        return MostPopular(np.bincount(np.concatenate(train), minlength=items).astype(np.float64))
    if name == "knn":
        return knn.fit(train, items)
    from rlrf4rec.lists import sasrec

    return sasrec.fit(train, items, derive(seed, "sasrec"))


def choose(
    interactions: pl.DataFrame,
    users: pl.DataFrame,
    history: pl.DataFrame,
    later: pl.DataFrame,
    items: pl.Series,
    length: int,
    window: int,
    positive_rating: float,
    seed: int,
) -> tuple[FirstStage, dict[str, Any]]:
    """Train the first-stage rankers on fold train and choose by recall@length over windows of fold validation.

    interactions: ordered by user and time; users: user, fold; later: interactions after the history; items: the
    catalogue. No interaction of fold development is looked at. Popularity is measured, never chosen; a tie goes to kNN.
    Returns the better one and a report: `chosen`, and the recall of each at `length` and at 50.
    """
    train = sequences(mixed(_of(interactions, users, "train"), derive(seed, "retrieval", "ties")), items)
    asked = windows(_of(later, users, "validation"), history, items, window, positive_rating)
    cuts = sorted({length, WIDE})
    found: dict[str, dict[str, float]] = {f"validation_recall{k}": {} for k in cuts}
    retrievers = {name: fit(name, list(train.values()), len(items), seed) for name in ("popularity", "knn", "sasrec")}
    for name, retriever in retrievers.items():
        best = top(retriever, [w.query for w in asked], cuts[-1]).places
        for k in cuts:
            found[f"validation_recall{k}"][name] = recall(asked, best[:, :k])
    at_length = found[f"validation_recall{length}"]
    chosen = "sasrec" if at_length["sasrec"] > at_length["knn"] else "knn"
    return cross_fitted(retrievers[chosen], chosen, train, len(items), PARTS, seed), {"chosen": chosen, **found}


def cross_fitted(
    retriever: Retriever, name: str, train: dict[str, Places], items: int, parts: int, seed: int
) -> FirstStage:
    """For each train user a retriever trained on the users of the other parts; users fall into parts at random."""
    order = np.random.default_rng(derive(seed, "retrieval", "parts")).permutation(len(train))
    part = dict(zip(train, (order % parts).tolist(), strict=True))

    def without(p: int) -> Retriever:
        """Trained on the users of the other parts than this."""
        return fit(name, [train[u] for u in train if part[u] != p], items, seed)

    return FirstStage(retriever, part, without)


def build_retrieved(
    later: pl.DataFrame,
    history: pl.DataFrame,
    items: pl.Series,
    first_stage: FirstStage,
    length: int,
    window: int,
    max_lists: int,
    positive_rating: float,
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Make a list of each window of each user of `later`: the first stage's `length` best new items, in its order.

    position: rank in the first stage, 0 is its best; real: the user interacts with the item within the window;
    label 1: real and rated at least `positive_rating`; first_stage: its score. Returns the lists (at most the first
    `max_lists` with a positive per user) and a report: lists, windows left out as none of their positives was
    retrieved, and recall@length over all windows. RLRFError when a user has fewer than `length` new items.
    """
    asked = windows(later, history, items, window, positive_rating)
    for w in asked:
        if len(items) - len(w.query) < length:
            raise RLRFError(f"split: user {w.user} has only {len(items) - len(w.query)} new items; lower list_length")
    best = first_stage.top(asked, length)
    lists, without = _lists(asked, best, items, length, max_lists)
    made = lists.height // length
    return lists, {"lists": made, "without_positive": without, f"recall{length}": recall(asked, best.places)}


def _of(frame: pl.DataFrame, users: pl.DataFrame, fold: str) -> pl.DataFrame:
    members = users.filter(pl.col("fold") == fold).select("user")
    return frame.join(members, on="user", how="semi", maintain_order="left")


def _lists(asked: list[Window], best: Top, items: pl.Series, length: int, max_lists: int) -> tuple[pl.DataFrame, int]:
    kept: Counter[str] = Counter()
    made: list[tuple[Window, int, Places]] = []
    scores: list[Scores] = []
    without = 0
    for w, places, values in zip(asked, best.places, best.scores, strict=True):
        if kept[w.user] == max_lists:
            continue
        if not np.isin(places, w.positive).any():
            without += 1
            continue
        made.append((w, kept[w.user], places))
        scores.append(values)
        kept[w.user] += 1
    columns = {
        "user": [w.user for w, _, _ in made for _ in range(length)],
        "list": [number for _, number, _ in made for _ in range(length)],
        "position": [position for _ in made for position in range(length)],
        "item": items.gather([place for _, _, places in made for place in places]),
        "label": [int(place in w.positive) for w, _, places in made for place in places],
        "real": [bool(place in w.real) for w, _, places in made for place in places],
        "begins": [w.begins for w, _, _ in made for _ in range(length)],
        "activity": [w.activity for w, _, _ in made for _ in range(length)],
        "protocol": ["retrieved"] * (len(made) * length),
        "first_stage": np.concatenate([np.zeros(0), *scores]),
    }
    return pl.DataFrame(columns, schema=RETRIEVED), without
