"""Stage final_score (study): scores of the final users' lists by the re-rankers of the run, without a label.

Nothing is trained: the re-rankers are those that the run has evaluated on development users.
"""

from dataclasses import replace

import torch

from rlrf4rec import machine, paths
from rlrf4rec.inputs import read_tables
from rlrf4rec.looking.scores import scores
from rlrf4rec.params import Loop, TrainRanker
from rlrf4rec.progress import track
from rlrf4rec.tables import vectors
from rlrf4rec.tables.split import FINAL, FINAL_USERS
from rlrf4rec.tables.vectors import save_tensors


def run(seed: int, loop: Loop, backbones: list[str], train_ranker: TrainRanker) -> str:
    """Score by all backbones and seeds with every knowledge; returns the closing line."""
    tables = read_tables()
    of_final = replace(tables, users=FINAL_USERS.read(paths.FINAL_USERS), folder=paths.FINAL_SPLIT)
    users, lists = of_final.users["user"], of_final.candidates(FINAL)
    for knowledge, given in track(loop.rankers.items(), "final_score, lists of all final users by kind"):
        names = (f"{paths.OF_FINAL}{place.rsplit('/', 1)[1]}" for place in (given.text, given.beside))
        texts = torch.cat([vectors.read_texts(paths.vectors(name), users).mean(1) for name in names], dim=1)
        item_features = tables.item_features(paths.vectors_at(given.items))
        found = scores(paths.ranker(knowledge), item_features, texts, lists, backbones, train_ranker, seed, FINAL)
        save_tensors(paths.final_scores(knowledge), found, {"kind": knowledge, "lists": lists.identity()})
    computed = machine.arithmetic(threads=1)
    return f"wrote {paths.final_scores('*').parents[1]}, {len(lists)} lists by {len(loop.rankers)} kinds; {computed}"
