"""Stage final_arm (study): vectors of all texts about the final users, and scores of their lists, without a label.

Of one policy of the study of arms. Nothing is trained: the re-rankers are those that `evaluate_arms` has measured.
"""

from dataclasses import replace

import torch

from rlrf4rec import machine, paths, store
from rlrf4rec.encoding.tables import TextTable, write
from rlrf4rec.errors import ParamsError
from rlrf4rec.inputs import read_tables
from rlrf4rec.looking import look
from rlrf4rec.looking.scores import scores
from rlrf4rec.params import Arms, Encode, Split, TrainRanker
from rlrf4rec.progress import track
from rlrf4rec.seeds import derive
from rlrf4rec.tables import vectors
from rlrf4rec.tables.split import FINAL, FINAL_USERS
from rlrf4rec.tables.texts import TEMPLATES, TEXTS
from rlrf4rec.tables.vectors import save_tensors

WRITTEN = "none", "template"  # by no LLM, and so the same beside each policy


def run(
    seed: int, split: Split, encode: Encode, backbones: list[str], train_ranker: TrainRanker, arms: Arms, policy: str
) -> str:
    """Encode and score; returns the closing line."""
    if not policy.isdigit() or int(policy) not in arms.policies:
        raise ParamsError(f"arms.policies: it has no {policy}; one of {', '.join(map(str, arms.policies))}")
    look.same_protocol(split, arms)
    protocol = arms.protocols[0]
    tables = read_tables()
    of_final = replace(tables, users=FINAL_USERS.read(paths.FINAL_USERS), folder=paths.FINAL_SPLIT)
    users, lists, kinds = of_final.users["user"], of_final.candidates(FINAL), arms.final_kinds()
    code = store.code("stages.final_arm", threads=1)
    for name in (*WRITTEN, *arms.final_texts()):
        given = f"{paths.OF_FINAL}{name}" if name in WRITTEN else _name(name, policy)
        texts = (TEMPLATES if name in WRITTEN else TEXTS).read(paths.texts(given))
        write(TextTable(_name(name, policy), texts, users, paths.texts(given), complete=True), encode, code)
    item_features, own_seed = tables.item_features(), derive(seed, "arm", policy)
    for kind, knowledge in track(kinds.items(), f"final_arm {policy}, lists of all final users by kind"):
        names = (_name(place.rpartition("/")[2], policy) for place in (knowledge.text, knowledge.beside))
        known = torch.cat([vectors.read_texts(paths.vectors(name), users).mean(1) for name in names], dim=1)
        rankers = paths.arm_ranker(int(policy), kind, protocol)
        found = scores(rankers, item_features, known, lists, backbones, train_ranker, own_seed, FINAL)
        save_tensors(paths.final_arm_scores(int(policy), kind), found, {"kind": kind, "lists": lists.identity()})
    computed = machine.arithmetic(threads=1)
    return f"wrote {paths.FINAL_ARMS / policy}, {len(lists)} lists by {len(kinds)} kinds; {computed}"


def _name(of: str, policy: str) -> str:
    """What is called so of a policy and the final users."""
    return f"{paths.OF_FINAL}{of}-{policy}"
