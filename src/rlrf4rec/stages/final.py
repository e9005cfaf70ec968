"""Stage final (study): the only reader of the final users' labels, and every reading is a look that is written down.

What it reports is what `evaluate` does of development users, from a committed run and with every p adjusted for the
number of looks that these users have had (`metrics/looks.csv`).
"""

import polars as pl
from torch import Tensor

from rlrf4rec import machine, paths
from rlrf4rec.evaluation import findings, fold, frozen
from rlrf4rec.files import write_csv, write_json
from rlrf4rec.inputs import read_tables
from rlrf4rec.looking import commit, looks
from rlrf4rec.params import Evaluate, Loop, Reward, TrainRanker
from rlrf4rec.ranking.lists import Lists
from rlrf4rec.seeds import derive
from rlrf4rec.tables import vectors
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
    lists, item_features = Lists.of(frame, users["user"], tables.items["item"]), tables.item_features()

    def read(name: str) -> Tensor:
        """Vectors of the texts of a name about the final users, [users, samples, width]."""
        return vectors.read_texts(paths.vectors(f"{paths.OF_FINAL}{name}"), users["user"])

    texts = {policy: read(policy) for policy in loop.policies}
    rewarded = frozen.by_first_round(users, lists, texts, read, item_features, reward, own_seed)
    of = fold.Labelled(FINAL, frame, lists, users["user"], item_features.log_popularity)
    files = {name: paths.final_scores(name) for name in loop.rankers}
    seeds, computed = train_ranker.seeds, machine.arithmetic(threads=1)
    made = fold.measured(of, rewarded, files, loop, backbones, seeds, evaluate, own_seed, computed)
    which = {"look": look.look, "commit": look.commit, "users": look.users}
    report = {**made.about, **which, **looks.adjusted(made.found, look.look)}
    write_json(paths.metrics("final"), report)
    write_csv(paths.FINAL_HEADLINE, made.headline)
    summary = findings.summary(report, backbones, loop.policies[-1])
    return f"wrote {paths.metrics('final')}, look {look.look} at these users; {findings.in_words(summary)}"


def _labelled(users: pl.DataFrame) -> pl.DataFrame:
    """The final users' lists, checked for other users and against the histories."""
    path = paths.lists(FINAL, paths.FINAL_SPLIT)
    frame = check_fold(LISTS.read(path), users, FINAL, path)
    check_history(frame, HISTORY.read(paths.FINAL_HISTORY), path)
    return frame
