"""Stage final (study): the only reader of the final users' labels, and every reading is a look that is written down.

What it reports is what `evaluate` does of development users, from a committed run and with every p adjusted for the
number of the look (`looking.looks`). The labels are read last, when the row is on the disk.
"""

import polars as pl
from torch import Tensor

from rlrf4rec import machine, paths
from rlrf4rec.evaluation import findings, fold, frozen
from rlrf4rec.files import write_csv, write_json
from rlrf4rec.inputs import read_tables
from rlrf4rec.looking import commit, identity, known, looks
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
    head = commit.clean()
    tables, users, own_seed = read_tables(), FINAL_USERS.read(paths.FINAL_USERS), derive(seed, "evaluate")
    item_features = tables.item_features()
    vectors_of = [paths.vectors(f"{paths.OF_FINAL}{name}") for name in loop.texts if name != "items"]

    def read(name: str) -> Tensor:
        """Vectors of the texts of a name about the final users, [users, samples, width]."""
        return vectors.read_texts(paths.vectors(f"{paths.OF_FINAL}{name}"), users["user"])

    texts = {policy: read(policy) for policy in loop.policies}
    files = {name: paths.final_scores(name) for name in loop.rankers}
    judged = [paths.FINAL_USERS, paths.lists(FINAL, paths.FINAL_SPLIT), *vectors_of, *files.values()]
    judges = [paths.ITEMS, paths.POPULARITY, paths.vectors("items")]
    judges += [paths.reward_models("round1", duty) for duty in paths.DUTIES]
    asked = {"seed": seed, "backbones": backbones, "policies": loop.policies, "rankers": list(loop.rankers)}
    asked |= {"seeds": train_ranker.seeds, "reward": reward.model_dump(), "evaluate": evaluate.model_dump()}
    look = _written_down(head, users["user"].to_list(), identity.seen([*judged, *judges], asked))
    frame = _labelled(users)
    lists = Lists.of(frame, users["user"], tables.items["item"])
    rewarded = frozen.by_first_round(users, lists, texts, read, item_features, reward, own_seed)
    of = fold.Labelled(FINAL, frame, lists, users["user"], item_features.log_popularity)
    seeds, computed = train_ranker.seeds, machine.arithmetic(threads=1)
    made = fold.measured(of, rewarded, files, loop, backbones, seeds, evaluate, own_seed, computed)
    which = {"look": look.look, "commit": look.commit, "users": look.users}
    report = {**made.about, **which, **looks.adjusted(made.found, look.look)}
    write_json(paths.metrics("final"), report)
    write_csv(paths.FINAL_HEADLINE, made.headline)
    summary = findings.summary(report, backbones, loop.policies[-1])
    return f"wrote {paths.metrics('final')}, look {look.look}; {findings.in_words(summary)}"


def _written_down(head: str, users: list[str], seen: str) -> looks.Look:
    """The look that this is, as a row of the file."""
    with known.alone():
        before = known.everywhere(paths.LOOKS)
        look = looks.next_look(before, head, users, seen, commit.changed(before[-1].commit if before else None))
        known.write_down(paths.LOOKS, look)
    return look


def _labelled(users: pl.DataFrame) -> pl.DataFrame:
    """The final users' lists, checked for other users and against the histories."""
    path = paths.lists(FINAL, paths.FINAL_SPLIT)
    frame = check_fold(LISTS.read(path), users, FINAL, path)
    check_history(frame, HISTORY.read(paths.FINAL_HISTORY), path)
    return frame
