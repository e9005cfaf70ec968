"""How far a reward can be trusted: halves of a user's lists, model seeds, ties."""

import numpy as np
from torch import Tensor

from rlrf4rec.errors import RLRFError
from rlrf4rec.metrics.statistics import Array, correlation, disattenuated, spearman_brown
from rlrf4rec.reward.kinds import KINDS
from rlrf4rec.reward.rewards import UserRewards


def reliability(
    rewards: list[UserRewards], seeds: int, judged: list[UserRewards] | None = None
) -> dict[str, dict[str, float]]:
    """Per kind: correlations of rewards centred within each user, and shares of ties; `seeds` models of a half in turn.

    split_half: even lists with odd ones. seed_to_seed: two seeds of models that trained on the same half of the tuning
    users; half_to_half: two models of different halves, so other users and other seeds (0 for users who tune, whom one
    half scores). labellers_to_judges: the mean over the models that label with that over those that judge, `judged`
    (0 without). all_lists, all_models: what the reward is worth as it is used, from all lists and all models
    (Spearman-Brown: twice the lists of a half; M times the mean correlation of two models).
    tied_lists: share of (model, list) in which all texts of a user have the same value (for `personal`
    and `smooth` the log-probability); tied_users: share of users whose texts all have the same reward.
    """
    return {kind: _of(kind, rewards, seeds, judged or []) for kind in KINDS}


def _of(kind: str, rewards: list[UserRewards], seeds: int, judged: list[UserRewards]) -> dict[str, float]:
    even, odd = _both_halves(kind, rewards)
    models = min(len(r.smooth) for r in rewards)
    by_model = [_joined([r.per_model(kind)[m] for r in rewards]) for m in range(models)]
    pairs = [(i, j) for i in range(models) for j in range(i)]
    of_pair = {(i, j): correlation(by_model[i], by_model[j]) for i, j in pairs}
    same = [r for (i, j), r in of_pair.items() if i // seeds == j // seeds]
    across = [r for (i, j), r in of_pair.items() if i // seeds != j // seeds]
    both = [(r.reward(kind), j.reward(kind)) for r, j in zip(rewards, judged, strict=bool(judged))]
    lists = [r.by_list(kind) for r in rewards]
    tied_lists = np.concatenate([(v.amax(1) - v.amin(1) == 0).flatten().numpy() for v in lists])
    tied_users = [float(r.reward(kind).max() == r.reward(kind).min()) for r in rewards]
    split_half = correlation(even, odd)
    return {
        "split_half": split_half,
        "seed_to_seed": _mean(same),
        "half_to_half": _mean(across),
        "labellers_to_judges": correlation(_joined([a for a, _ in both]), _joined([b for _, b in both])),
        "all_lists": spearman_brown(split_half, 2),
        "all_models": spearman_brown(_mean(list(of_pair.values())), models),
        "tied_lists": float(tied_lists.mean()),
        "tied_users": float(np.mean(tied_users)),
    }


def across_backbones(rewards: dict[str, list[UserRewards]]) -> dict[str, dict[str, dict[str, float]]]:
    """Per kind and pair of backbones `a-b`: how far the reward models of two backbones agree on the same texts.

    rewards: backbone -> rewards of the same users in the same order, at least two backbones.
    correlation: of rewards centred within each user, one backbone on the even lists and the other on the odd ones (the
    mean of both ways), so that lists which both have seen can't make them agree; disattenuated: divided by the root
    of both split-half correlations, what the two would show without the noise of few lists, within [-1, 1].
    """
    names = list(rewards)
    if len(names) < 2 or len({tuple(r.user for r in group) for group in rewards.values()}) != 1:
        raise RLRFError("reliability across backbones needs two backbones or more that scored the same users")
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    return {kind: {f"{a}-{b}": _agreement(kind, rewards[a], rewards[b]) for a, b in pairs} for kind in KINDS}


def _agreement(kind: str, first: list[UserRewards], second: list[UserRewards]) -> dict[str, float]:
    (a_even, a_odd), (b_even, b_odd) = (_both_halves(kind, group) for group in (first, second))
    r = (correlation(a_even, b_odd) + correlation(a_odd, b_even)) / 2
    return {"correlation": r, "disattenuated": disattenuated(r, correlation(a_even, a_odd), correlation(b_even, b_odd))}


def _both_halves(kind: str, rewards: list[UserRewards]) -> tuple[Array, Array]:
    """Centred rewards from even and from odd lists of all users with at least two lists, flat."""
    halves = [r.halves(kind) for r in rewards if r.smooth.shape[-1] >= 2]
    return _joined([a for a, _ in halves]), _joined([b for _, b in halves])


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else 0.0


def _joined(values: list[Tensor]) -> Array:
    """Values of all users, centred within each; one 0 without any user."""
    return np.concatenate([_centred(v.numpy()) for v in values]) if values else np.zeros(1)


def _centred(values: Array) -> Array:
    centred: Array = values - values.mean()
    return centred
