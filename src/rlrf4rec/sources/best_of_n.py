"""The best of the LLM's texts, without tuning it."""

import polars as pl
import torch
from torch import Tensor

from rlrf4rec.lists import candidates
from rlrf4rec.lists.given import CandidatePool
from rlrf4rec.lists.popular import POPULAR
from rlrf4rec.seeds import derive
from rlrf4rec.sources.given import SourceInputs


def make(given: SourceInputs) -> Tensor:
    """Vectors, [users, 1, width], of the base text with the highest reward on lists made of the user's own history.

    No later label is touched. A user without such a list keeps the first text.
    """
    from rlrf4rec.reward import models, rewards  # brings Lightning along, which the others can do without

    tables, split, reward, seed = given.tables, given.split, given.reward, given.seed
    own = given.history.with_columns(pl.col("position").alias("activity")).sort("user", "position")
    seen = given.interactions.select("user", "item")
    pool = CandidatePool.of(tables.popularity)
    frame, _ = candidates.build(
        own, seen, pool, POPULAR, split.step, split.list_length, split.max_lists, split.positive_rating,
        derive(seed, "best_of_n"),
    )  # fmt: skip
    lists = tables.lists(frame)
    labellers = models.load(given.reward_models, tables.item_features(), lists.item.shape[1], tables.texts)
    texts, group = tables.texts("base"), rewards.groups(tables.users, lists)
    (done,) = rewards.score(
        [rewards.scoring(labellers, lists, texts, group, reward, derive(seed, "score"))], "source best_of_n"
    )
    best = torch.zeros(len(texts), dtype=torch.int64)
    for found in done:
        best[found.user] = int(found.reward(reward.kind).argmax())
    return texts[torch.arange(len(texts)), best][:, None]
