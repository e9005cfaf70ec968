"""How far a reward can be trusted: halves of a user's lists, model seeds, ties."""

import numpy as np

from rlrf4rec.feedback.rewards import KINDS, UserRewards
from rlrf4rec.metrics.statistics import Array, correlation


def reliability(rewards: list[UserRewards]) -> dict[str, dict[str, float]]:
    """Per kind: split_half, seed_to_seed (correlations of rewards centred within each user) and shares of ties.

    tied_lists: share of (model, list) in which all texts of a user have the same value (for `personal`
    and `smooth` the log-probability); tied_users: share of users whose texts all have the same reward.
    """
    return {kind: _of(kind, rewards) for kind in KINDS}


def _of(kind: str, rewards: list[UserRewards]) -> dict[str, float]:
    halves = [r.halves(kind) for r in rewards if r.smooth.shape[-1] >= 2]
    even = np.concatenate([_centred(a.numpy()) for a, _ in halves]) if halves else np.zeros(1)
    odd = np.concatenate([_centred(b.numpy()) for _, b in halves]) if halves else np.zeros(1)
    models = min(len(r.smooth) for r in rewards)
    by_model = [np.concatenate([_centred(r.per_model(kind)[m].numpy()) for r in rewards]) for m in range(models)]
    seeds = [correlation(by_model[i], by_model[j]) for i in range(models) for j in range(i)]
    lists = [getattr(r, "smooth" if kind == "personal" else kind) for r in rewards]
    tied_lists = np.concatenate([(v.amax(1) - v.amin(1) == 0).flatten().numpy() for v in lists])
    tied_users = [float(r.reward(kind).max() == r.reward(kind).min()) for r in rewards]
    return {
        "split_half": correlation(even, odd),
        "seed_to_seed": float(np.mean(seeds)) if seeds else 0.0,
        "tied_lists": float(tied_lists.mean()),
        "tied_users": float(np.mean(tied_users)),
    }


def _centred(values: Array) -> Array:
    centred: Array = values - values.mean()
    return centred
