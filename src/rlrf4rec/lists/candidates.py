"""Candidate lists: up to `step` real next interactions plus drawn negatives, shuffled, frozen as data.

What a protocol that draws them decides is a `Draw`; `lists.retrieval` has lists that are not drawn.
"""

from functools import partial

import numpy as np
import polars as pl

from rlrf4rec.errors import RLRFError
from rlrf4rec.lists.draws import People, draws
from rlrf4rec.lists.given import CandidatePool, Draw, Made, Make, Places, ProtocolInputs

SCHEMA = {
    "user": pl.String,
    "list": pl.Int64,
    "position": pl.Int64,
    "item": pl.String,
    "label": pl.Int64,
    "real": pl.Boolean,
    "begins": pl.Int64,
    "activity": pl.Int64,
    "protocol": pl.String,
}
USERS = 1000  # drawn for at once, where there are more than that


def drawn(given: ProtocolInputs, after: pl.DataFrame, draw: Draw) -> Make:
    """Makes the lists of some users by a draw, of the later interactions `after`."""
    p, pool, seen = given.settings, CandidatePool.of(given.popularity), given.seen

    def make(members: pl.DataFrame) -> Made:
        """The lists of these users."""
        later = after.join(members, on="user", how="semi", maintain_order="left")
        made = build(later, seen, pool, draw, p.step, p.list_length, p.max_lists, p.positive_rating, given.seed)
        return Made(*made)

    return make


def build(
    later: pl.DataFrame,
    seen: pl.DataFrame,
    pool: CandidatePool,
    draw: Draw,
    step: int,
    length: int,
    max_lists: int,
    positive_rating: float,
    seed: int,
) -> tuple[pl.DataFrame, int]:
    """Walk through each user's later interactions in steps and make a list of each step.

    later: interactions after the history, ordered by user and time, with `activity`.
    seen: all interactions (user, item), also of other users. Returns the lists and how many steps had no positive.
    """
    if len(pool.items) < length:
        raise RLRFError(f"split: {len(pool.items)} items are fewer than a list holds; lower split.list_length")
    if not later.height:
        return pl.DataFrame(schema=SCHEMA), 0
    catalogue = pl.Enum(pool.items)
    users = later.group_by("user", maintain_order=True).len()
    rows = users["len"].to_numpy().astype(np.int64)
    positive = later["rating"].to_numpy() >= positive_rating
    steps = -(-rows // step)
    user, before = np.repeat(np.arange(len(rows)), steps), _within(steps) * step
    begin, real = np.repeat(np.cumsum(rows) - rows, steps) + before, np.minimum(step, rows[user] - before)
    hopeful = np.logical_or.reduceat(positive, begin)
    kept = _kept(user, hopeful, max_lists) if draw.positives_only else np.ones_like(hopeful)
    user, begin, real = user[kept], begin[kept], real[kept]
    lists = np.bincount(user, minlength=len(rows))

    own, own_ends = _own(seen, users, catalogue)
    at = np.repeat(begin, real) + _within(real)
    chosen = _places(later["item"], catalogue)[at]
    names, ends = users["user"].to_list(), (np.cumsum(real), np.cumsum(lists))
    people = People(names, own, own_ends, chosen, ends[0], length - real, ends[1])
    negatives, order = _drawn(people, pool, draw, length, seed)

    first = np.arange(length) < real[:, None]  # the real ones come first, before a list is shuffled
    items, labels = np.empty(first.shape, dtype=np.int64), np.zeros(first.shape, dtype=np.int64)
    items[first], labels[first] = chosen, positive[at]
    items[~first] = negatives
    items, labels, first = (np.take_along_axis(some, order, axis=1).ravel() for some in (items, labels, first))
    columns = {
        "user": users["user"].gather(np.repeat(user, length)),
        "list": np.repeat(_within(lists), length),
        "position": np.tile(np.arange(length), len(user)),
        "item": pool.items.gather(items),
        "label": labels,
        "real": first,
        "begins": np.repeat(later["timestamp"].to_numpy()[begin], length),
        "activity": np.repeat(later["activity"].to_numpy()[begin], length),
        "protocol": pl.repeat(draw.name, len(items), eager=True),
    }
    return pl.DataFrame(columns, schema=SCHEMA), int(np.count_nonzero(~hopeful))


def _within(sizes: Places) -> Places:
    """0, 1, ... within each of groups of these sizes, one group after the other."""
    return np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)


def _kept(user: Places, hopeful: np.ndarray, most: int) -> np.ndarray:
    """Whether a step is one of its user's first `most` with a positive; users by number, in order."""
    kept = hopeful.copy()
    kept[hopeful] = _within(np.bincount(user[hopeful])) < most
    return kept


def _places(items: pl.Series, catalogue: pl.Enum) -> Places:
    return items.cast(catalogue).to_physical().to_numpy()


def _own(seen: pl.DataFrame, users: pl.DataFrame, catalogue: pl.Enum) -> tuple[Places, Places]:
    """Places of all items of the users, in the order of the users, and where each user's end."""
    numbered = users.select("user").with_row_index("number")
    own = seen.join(numbered, on="user").select("number", "item").sort("number", maintain_order=True)
    sizes = np.bincount(own["number"].to_numpy(), minlength=users.height)
    return _places(own["item"], catalogue), np.cumsum(sizes)


def _drawn(people: People, pool: CandidatePool, draw: Draw, length: int, seed: int) -> tuple[Places, Places]:
    """See `lists.draws`, of all users: in processes, where there are many of them."""
    count = len(people.names)
    some = [range(begin, min(begin + USERS, count)) for begin in range(0, count, USERS)]
    step = partial(draws, people, pool, draw, length, seed)
    if len(some) == 1:
        return step(some[0])
    from rlrf4rec import workers  # brings torch along

    found = list(workers.spread(step, some))
    return np.concatenate([one for one, _ in found]), np.concatenate([orders for _, orders in found])
