"""Stage train_ranker: re-rankers of one backbone with one kind of knowledge about the user, several seeds."""

import torch

from rlrf4rec import machine, paths
from rlrf4rec.files import write_json
from rlrf4rec.params import TrainRanker
from rlrf4rec.ranking import curves
from rlrf4rec.ranking.parallel import Job, Settings, train_all
from rlrf4rec.seeds import derive
from rlrf4rec.stages.inputs import read_tables
from rlrf4rec.tables.split import RANKING
from rlrf4rec.vectors import save_tensors


def run(seed: int, train_ranker: TrainRanker, backbone: str, kind: str) -> str:
    """Train the seeds of one re-ranker; returns the closing line.

    A seed starts from the same weights and sees the lists in the same order whatever the knowledge, so
    that variants differ in the user's text alone. Training meets one of a user's texts at a time, drawn anew
    each time; a list is scored with the mean of their vectors.
    """
    p = train_ranker
    tables = read_tables()
    told = tables.knowledge(kind)
    frame = tables.list_frame("train").join(tables.users.filter(RANKING).select("user"), on="user", how="semi")
    lists, validation = tables.lists(frame), tables.lists(tables.list_frame("validation"))
    jobs = [
        Job(
            backbone,
            tables.catalogue(told.items),
            lists,
            validation,
            told.texts,
            torch.tensor(tables.rows(RANKING)),
            settings(p),
            derive(seed, "train_ranker", backbone, number),
        )
        for number in range(p.seeds)
    ]
    trained = train_all(jobs, f"train_ranker {backbone}-{kind}")
    path = paths.ranker(backbone, kind)
    tensors = {f"{number}/{key}": value for number, t in enumerate(trained) for key, value in t.weights.items()}
    save_tensors(path, tensors, {"backbone": backbone, "knowledge": kind, "seeds": str(p.seeds)})
    verdict = curves.describe([t.losses for t in trained], [t.validation for t in trained])
    write_json(paths.curves(backbone, kind), verdict)
    computed = machine.arithmetic(threads=1)
    write_json(paths.metrics("train_ranker", f"{backbone}-{kind}"), {**verdict, "arithmetic": computed})
    mean = sum(verdict["last"]) / p.seeds
    warning = "" if verdict["trained_out"] else "; NOT trained out: raise train_ranker.epochs"
    return f"wrote {path}, {p.seeds} seeds, {len(lists)} lists, validation NDCG@5 {mean:.4f}{warning}; {computed}"


def settings(p: TrainRanker) -> Settings:
    """How a re-ranker is trained, from the params."""
    return Settings(p.learning_rate, p.weight_decay, p.dropout, p.experts_shared, p.experts_private, p.epochs, p.batch)
