"""Stage final (study): the only reader of the final users' labels, and every reading is a look that is written down.

What it reports is what `evaluate` does of development users, from a committed run and with every p adjusted for the
number of looks that these users have had (`metrics/looks.csv`).
"""

import polars as pl

from rlrf4rec import machine, paths
from rlrf4rec.evaluation import blocks, findings, frozen, orders
from rlrf4rec.evaluation.lists import by_ranker, by_user, counted, read_scores
from rlrf4rec.files import write_csv, write_json
from rlrf4rec.inputs import Tables, read_tables
from rlrf4rec.looking import commit, looks
from rlrf4rec.params import Evaluate, Loop, Reward, TrainRanker
from rlrf4rec.ranking.lists import Lists
from rlrf4rec.reward import models
from rlrf4rec.seeds import derive
from rlrf4rec.tables import vectors
from rlrf4rec.tables.results import metric_names
from rlrf4rec.tables.split import FINAL, FINAL_USERS, HISTORY, LISTS, check_fold, check_history


def run(
    seed: int,
    loop: Loop,
    backbones: list[str],
    reward: Reward,
    train_ranker: TrainRanker,
    evaluate: Evaluate,
) -> str:
    """Evaluate policies and re-rankers on the final users; returns the closing line."""
    head, before = commit.clean(), looks.read(paths.LOOKS)
    tables, users, own_seed = read_tables(), FINAL_USERS.read(paths.FINAL_USERS), derive(seed, "evaluate")
    frame = _labelled(users)
    look = looks.next_look(before, head, frame, commit.changed(before[-1].commit if before else None))
    looks.add(paths.LOOKS, before, look)  # first: what comes after it can be seen
    lists = Lists.of(frame, users["user"], tables.items["item"])
    rewarded = _rewarded(tables, users, lists, loop.policies, reward, own_seed)
    gains = frozen.gains(rewarded, loop.policies[1:], evaluate.bootstrap, own_seed)
    knowledge, names, last = list(loop.rankers), metric_names(evaluate.ks), loop.policies[-1]
    files = {name: paths.final_scores(name) for name in knowledge}
    scores = read_scores(files, backbones, train_ranker.seeds, ("own", "permuted"), lists)
    per_list = {which: by_ranker(found, lists, users["user"], evaluate.ks) for which, found in scores.items()}
    own, permuted = (by_user(per_list[which], names) for which in ("own", "permuted"))
    judged, number, resamples = frozen.judged(rewarded, FINAL), counted(lists, users["user"]), evaluate.bootstrap
    found = findings.report(
        own, permuted, gains, backbones, knowledge, loop.policies, names, judged, number, resamples, own_seed, FINAL
    )
    report = {
        "metrics": {"k": evaluate.ks, **findings.DEFINITION},
        "protocol": frame["protocol"][0],
        "arithmetic": machine.arithmetic(threads=1),
        "final_users": own["user"].n_unique(),
        "final_lists": len(lists),
        "orders": orders.report(frame, lists, users["user"], tables.item_features().log_popularity, evaluate.ks),
        "look": look.look,
        "commit": look.commit,
        "users": look.users,
        **looks.adjusted(found, look.look),
    }
    write_json(paths.metrics("final"), report)
    write_csv(paths.FINAL_HEADLINE, blocks.headline_table(own, judged))
    summary = findings.summary(report, backbones, last)
    return f"wrote {paths.metrics('final')}, look {look.look} at these users; {findings.in_words(summary)}"


def _labelled(users: pl.DataFrame) -> pl.DataFrame:
    """The final users' lists, checked for other users and against the histories."""
    path = paths.lists(FINAL, paths.FINAL_SPLIT)
    frame = check_fold(LISTS.read(path), users, FINAL, path)
    check_history(frame, HISTORY.read(paths.FINAL_HISTORY), path)
    return frame


def _rewarded(
    tables: Tables, users: pl.DataFrame, lists: Lists, policies: list[str], reward: Reward, seed: int
) -> pl.DataFrame:
    """Rewards of all policies' texts by the reward models of the first round."""
    item_features, length = tables.item_features(), lists.item.shape[1]
    nets = {duty: models.load(paths.reward_models("round1", duty), item_features, length) for duty in paths.DUTIES}
    names = {policy: paths.vectors(f"{paths.OF_FINAL}{policy}") for policy in policies}
    texts = {policy: vectors.read_texts(path, users["user"]) for policy, path in names.items()}
    return frozen.policy_rewards(users, lists, texts, nets, reward, seed)
