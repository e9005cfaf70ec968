"""A small valid frame for every contract."""

import polars as pl

from rlrf4rec.tables import answers, interactions, results, rewards, split, texts

KINDS = dict.fromkeys(rewards.KINDS, 0.5)
TOKENS = pl.List(pl.Int64)


def rows(*given, **same):
    return pl.DataFrame([{**row, **same} for row in given])


def prompt_row(user, prompt, tokens):
    """A row of the prompts, all of it the user's own part."""
    ratings = [{"item": "i", "title": "Heat", "year": 1995, "genres": "", "liked": True}]
    parts = [{"part": "own", "text": prompt, "token_count": len(tokens)}]
    return {"user": user, "prompt": prompt, "tokens": tokens, "parts": parts, "ratings": ratings}


def candidates():
    users = [{"user": u, "list": 0, "position": i, "item": f"{u}{i}"} for u in "uv" for i in range(3)]
    return rows(*users, begins=10, activity=2, protocol="popularity")


def metrics(ks, **lists):
    names = results.metric_names(ks)
    return rows(
        {"user": "u"}, {"user": "v"}, backbone="prm", knowledge="none", seed=0, **lists, **dict.fromkeys(names, 0.5)
    )


SAMPLED = rows(
    {"user": "a", "sample": 0, "text": "x", "tokens": [1, 2], "token_count": 2, "stop": "stop"},
    {"user": "a", "sample": 1, "text": "y", "tokens": [3], "token_count": 1, "stop": "length"},
    policy="base",
    redraws=0,
    log_prob=-1.5,
    temperature=1.0,
    top_k=0,
    top_p=0.9,
    max_tokens=3,
    seed=1,
)
PAIRS = rows(
    {"user": "u", "half": "A", "chosen_tokens": [1, 2], "rejected_tokens": [3]},
    {"user": "v", "half": "B", "chosen_tokens": [1], "rejected_tokens": [2]},
    chosen_sample=0,
    rejected_sample=1,
    chosen="good",
    rejected="bad",
    chosen_log_prob=-1.5,
    rejected_log_prob=-2.5,
    chosen_reward=0.5,
    rejected_reward=0.1,
    gap=0.4,
    judged_gap=-0.1,
)
GOOD = [
    (
        interactions.INTERACTIONS,
        rows({"item": "1", "timestamp": 3}, {"item": "2", "timestamp": 9}, user="u", rating=4.0),
    ),
    (interactions.USERS, rows({"user": "u"}, {"user": "v"}, interactions=2)),
    (interactions.ITEMS, rows({"item": "1"}, {"item": "2"}, title="Heat", year=1995, genres="")),
    (
        split.FOLD_USERS,
        rows(
            {"user": "u", "fold": "train", "role": "tune", "half": "A"},
            {"user": "v", "fold": "development", "role": "none", "half": "-"},
        ),
    ),
    (split.FINAL_USERS, rows({"user": "u"}, {"user": "v"}, fold="final", role="none", half="-")),
    (
        split.HISTORY,
        rows({"position": 0, "item": "1"}, {"position": 1, "item": "2"}, user="u", rating=4.0, timestamp=3),
    ),
    (
        split.LISTS,
        candidates().with_columns(label=(pl.col("position") == 0).cast(pl.Int64), real=pl.col("position") == 0),
    ),
    (split.CANDIDATES, candidates()),
    (split.POPULARITY, rows({"item": "1"}, {"item": "2"}, count=0)),
    (texts.PROMPTS, rows(prompt_row("u", "p", [1, 2]), prompt_row("v", "p", [3]))),
    (texts.ITEM_TEXTS, rows({"item": "1"}, {"item": "2"}, sample=0, text="x")),
    (texts.TEMPLATES, rows({"user": "u"}, {"user": "v"}, sample=0, text="x")),
    (texts.TEXTS, SAMPLED),
    (answers.ANSWERS, rows({"sample": 0}, {"sample": 1}, user="u", answer="{}")),
    (
        rewards.REWARDS,
        rows({"user": "u"}, {"user": "v"}, sample=0, fold="train", lists=1, **KINDS, reward=0.0, judged=0.0),
    ),
    (rewards.PAIRS, PAIRS),
    (rewards.SKIPPED, rows({"user": "u"}, {"user": "v"}, reason="beyond max_pairs")),
    (rewards.TRAINED_LISTS, rows({"list": 0}, {"list": 1}, half="A", user="u")),
    (results.metrics_table([5], per_list=False), metrics([5])),
    (results.metrics_table([1, 5], per_list=True), metrics([1, 5], list=0)),
    (
        results.POLICY_REWARDS,
        rows(
            {"user": "u"},
            {"user": "v"},
            **{"policy": "base", "duty": "judge", "seed": 0, "fold": "development", **KINDS},
            permuted_ndcg=0.5,
            permuted_smooth=0.0,
        ),
    ),
    (
        results.EXAMPLES,
        rows({"position": 0}, {"position": 1}, user="u", list=0, item="1", label=1, rank_base=1, rank_tuned=2),
    ),
]
