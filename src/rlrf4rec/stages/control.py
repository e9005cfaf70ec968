"""Stage control (study): re-rankers of all backbones and seeds for one protocol and one kind of knowledge.

They score the test lists without having seen their labels; `evaluate_controls` alone reads those.
"""

from typing import Any

import torch

from rlrf4rec import paths, vectors
from rlrf4rec.files import write_json
from rlrf4rec.params import TrainRanker, Variants
from rlrf4rec.ranking import curves
from rlrf4rec.ranking.parallel import Job, train_all
from rlrf4rec.ranking.permute import permutation
from rlrf4rec.seeds import derive
from rlrf4rec.stages.inputs import Tables, read_tables
from rlrf4rec.stages.train_ranker import settings
from rlrf4rec.tables.split import CANDIDATES, RANKING
from rlrf4rec.vectors import save_tensors


def run(seed: int, variants: Variants, train_ranker: TrainRanker, protocol: str, kind: str) -> str:
    """Train and score; returns the closing line. Seeds and settings are those of the default run."""
    read = read_tables()
    tables = Tables(read.users, read.items, read.popularity, paths.protocol(protocol))
    told = vectors.read_knowledge(paths.told(kind), tables.users["user"], tables.items["item"])
    frame = tables.list_frame("train").join(tables.users.filter(RANKING).select("user"), on="user", how="semi")
    lists, validation = tables.lists(frame), tables.lists(tables.list_frame("validation"))
    candidates = tables.lists(CANDIDATES.read(paths.protocol(protocol) / paths.CANDIDATES))
    others = permutation(dict.fromkeys(candidates.user.tolist(), "test"), tables.users.height, derive(seed, "evaluate"))
    work = [(backbone, number) for backbone in variants.backbone for number in range(train_ranker.seeds)]
    jobs = [
        Job(
            backbone,
            tables.catalogue(told.items),
            lists,
            validation,
            told.texts,
            torch.tensor(tables.rows(RANKING)),
            settings(train_ranker),
            derive(seed, "train_ranker", backbone, number),
            candidates,
            others,
        )
        for backbone, number in work
    ]
    trained = train_all(jobs, f"control {protocol}-{kind}")
    scores = {f"{b}/{n}/{texts}": s for (b, n), t in zip(work, trained, strict=True) for texts, s in t.scores.items()}
    path = paths.control(protocol, kind)
    save_tensors(path, scores, {"protocol": protocol, "knowledge": kind, "lists": str(len(candidates))})
    verdicts: dict[str, Any] = {}
    for backbone in variants.backbone:
        own = [t for (b, _), t in zip(work, trained, strict=True) if b == backbone]
        verdicts[backbone] = curves.describe([t.losses for t in own], [t.validation for t in own])
    write_json(path.with_name("curves.json"), verdicts)
    mean = sum(sum(v["last"]) / len(v["last"]) for v in verdicts.values()) / len(verdicts)
    return f"wrote {path}, {len(jobs)} re-rankers, {len(lists)} lists, validation NDCG@5 {mean:.4f}"
