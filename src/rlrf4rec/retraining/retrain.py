"""Training the evaluated re-rankers with one knowledge: all backbones, all seeds, one process."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from rlrf4rec.files import write_json
from rlrf4rec.metrics.permute import permutation
from rlrf4rec.retraining import curves
from rlrf4rec.retraining.material import Material
from rlrf4rec.retraining.parallel import Job, RankerSettings, Trained, train_all
from rlrf4rec.seeds import derive
from rlrf4rec.tables.vectors import save_tensors

Member = tuple[str, int]  # backbone, number of the seed


@dataclass(frozen=True)
class TrainedRankers:
    """The trained re-rankers with one knowledge, and what they learned from."""

    name: str
    material: Material
    members: Mapping[Member, Trained]

    def verdicts(self) -> dict[str, dict[str, Any]]:
        """How the training of each backbone's seeds went, see `curves`."""
        found = {}
        for backbone in dict.fromkeys(backbone for backbone, _ in self.members):
            own = [trained for (name, _), trained in self.members.items() if name == backbone]
            found[backbone] = curves.describe([t.losses for t in own], [t.validation for t in own])
        return found

    def weights(self) -> dict[str, Tensor]:
        """Weights of all nets by `backbone/seed/name`."""
        return {f"{b}/{n}/{name}": found for (b, n), t in self.members.items() for name, found in t.weights.items()}

    def scores(self) -> dict[str, Tensor]:
        """Scores of lists by `backbone/seed/which`: own and permuted of the candidates, and validation."""
        return {f"{b}/{n}/{which}": found for (b, n), t in self.members.items() for which, found in t.scores.items()}

    def write(self, scores: Path) -> None:
        """Write the scores, with the identity of the lists, and beside them the verdicts."""
        save_tensors(scores, self.scores(), {"kind": self.name, "lists": self.material.candidates.identity()})
        write_json(scores.with_name("curves.json"), self.verdicts())

    def summary(self) -> str:
        """What was trained, for the closing line."""
        found = self.verdicts()
        last = [value for verdict in found.values() for value in verdict["last"]]
        short = [name for name, verdict in found.items() if not verdict["trained_out"]]
        warning = f"; NOT trained out ({', '.join(short)}): raise train_ranker.epochs" if short else ""
        return (
            f"{len(self.members)} re-rankers, {len(self.material.lists)} lists, validation NDCG@5 "
            f"{sum(last) / len(last):.4f}{warning}"
        )


def retrain(
    knowledge: str,
    material: Material,
    backbones: Sequence[str],
    seeds: int,
    settings: RankerSettings,
    seed: int,
    what: str,
) -> TrainedRankers:
    """Train every backbone with every seed.

    A seed starts from the same weights and sees the lists in the same order whatever the texts, so that re-rankers of
    other knowledge differ in these alone. Each seed has a permutation of the users of its own (the same for all of
    them): whose text a user is scored with instead is drawn as often as there are seeds, so that an interval over
    users and seeds covers that draw too.
    """
    members = [(backbone, number) for backbone in backbones for number in range(seeds)]
    group = dict.fromkeys(material.candidates.user.tolist(), "development")
    others = [permutation(group, len(material.texts), derive(seed, "permuted", number)) for number in range(seeds)]
    jobs = [Job(b, material, settings, derive(seed, "train_ranker", b, n), others[n]) for b, n in members]
    return TrainedRankers(knowledge, material, dict(zip(members, train_all(jobs, what), strict=True)))
