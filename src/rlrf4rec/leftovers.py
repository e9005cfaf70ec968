"""What lies about from other params: DVC takes away what it is going to write again, never what nobody writes any more.

Such a folder is read by nobody, but where a stage depends on all of its kind (`data/texts`, say) it is part of what DVC
compares: the run is then another one than in a clean clone.
"""

from collections.abc import Collection
from pathlib import Path

from rlrf4rec import paths
from rlrf4rec.params import Loop


def entries(loop: Loop) -> dict[str, list[str]]:
    """Entries of the stages that have any, by stage."""
    rounds = list(loop.rounds)
    by_round = dict.fromkeys(("train_reward", "score", "pair", "train_dpo"), rounds)
    of = {"sample": list(loop.samples), "encode": loop.texts, "train_ranker": list(loop.rankers)}
    return {**of, **by_round, "tune_reward": ["base"], "tune_dpo": ["round1"]}


def left(loop: Loop) -> list[Path]:
    """Folders and metrics files of entries that the params no longer have."""
    of = entries(loop)
    rounds = list(loop.rounds)
    folders = {paths.policy("*").parent: loop.policies, paths.ranker("*").parents[1]: list(loop.rankers)}
    folders |= dict.fromkeys((place("*").parents[1] for place in (paths.texts, paths.vectors)), loop.texts)
    by_round = paths.reward_models("*", "label"), paths.rewards("*"), paths.pairs("*")
    folders |= dict.fromkeys((place.parents[1] for place in by_round), rounds)
    folders |= {paths.metrics(stage, "*").parent: names for stage, names in of.items()}
    folders |= dict.fromkeys((paths.plot(stage, "*").parent for stage in ("score", "train_dpo")), rounds)
    found = [path for folder, names in folders.items() for path in folder.glob("*") if path.stem not in names]
    return sorted(path for path in found if not path.name.startswith("."))


def gone(loop: Loop, stages: Collection[str], folder: Path) -> list[Path]:
    """Cost files of stages that there are no more, and of entries that neither the params nor a study have."""
    of, found = entries(loop), []
    for path in sorted(folder.glob("*.json")):
        stage, _, entry = path.stem.partition("-")
        if stage not in stages or (entry and entry not in of.get(stage, [entry]) and not paths.study(entry)):
            found.append(path)
    return found
