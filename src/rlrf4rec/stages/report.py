"""Stage report: one HTML page from metrics and tables. Reads no list and no text of a development user.

Of the lists it asks alone whether they are those of a study.
"""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl

from rlrf4rec import machine, paths
from rlrf4rec.errors import InputError
from rlrf4rec.files import Keyed, atomic, contents, dvc_hash, locked, read_json
from rlrf4rec.params import (
    Dpo,
    Evaluate,
    FetchDataset,
    FetchModels,
    Loop,
    Pair,
    Reward,
    RewardModel,
    Round,
    Sample,
    Split,
    TrainRanker,
)
from rlrf4rec.report import arms, costs, final, learning, page, people, provenance, results
from rlrf4rec.report.blocks import Section
from rlrf4rec.tables.contract import Table
from rlrf4rec.tables.interactions import ITEMS
from rlrf4rec.tables.results import EXAMPLES
from rlrf4rec.tables.rewards import REWARDS
from rlrf4rec.tables.split import HISTORY
from rlrf4rec.tables.texts import TEXTS

PAGE = paths.DATA / "report" / "index.html"
FOOTER = (
    "Intervals are 95 % and paired by user; “detectable” is the smallest effect that this test would find four times "
    "out of five."
)
LOCKS = {name: paths.STUDIES / name / "dvc.lock" for name in ("controls", "arms")}  # of the studies that are shown
PEOPLE, LISTS = paths.FOLD_USERS.parent, paths.lists("train").parent
OF_RUN = {"controls": (PEOPLE,), "arms": (PEOPLE, LISTS)}  # what of the run the arms of each are about
COUNTED = ("interactions", "split", "prompt")
WORDS = ("metric", "backbone", "knowledge", "user", "policy", "measure")  # columns of CSV files; others hold numbers
EVALUATED = (
    *("metrics", "protocol", "development_users", "development_lists", "orders", "reward_gain"),
    *("reward_gain_labellers", "rankers", "differences", "personal", "family", "trained_out"),
)
# Stages of studies whose metrics lie beside the run's.
OF_STUDIES = {"probe": "controls", "bench": "bench", "learning_curve": "learning_curve", "final": "final"}
OF_STUDIES |= {"final_arms": "final_arms"}
SEARCHES = {
    "Search of the reward model: validation NDCG": "tune_reward",
    "Search of DPO: reward gain of held-out train users": "tune_dpo",
}


class Inputs:
    """Reads files and remembers which."""

    def __init__(self) -> None:
        self.read: list[Path] = []
        self.arithmetic: dict[str, str] = {}  # what the stage of a metrics file computed in, by the file

    def json(self, path: Path, *needed: str) -> dict[str, Any]:
        """A JSON object that must be there, and in it these keys: the page has to lack nothing without a word."""
        self.read.append(path)
        content = Keyed(read_json(path), path, f"run `dvc repro {_stage(path)}`")
        content.require(*needed)
        if said := machine.said(content):
            self.arithmetic[path.with_suffix("").as_posix().removeprefix("metrics/")] = said
        return content

    def optional(self, path: Path) -> dict[str, Any] | None:
        """A JSON object that a run need not have."""
        return self.json(path) if path.exists() else None

    def table(self, contract: Table, path: Path) -> pl.DataFrame:
        """A table, checked."""
        self.read.append(path)
        return contract.read(path)

    def csv(self, path: Path, *columns: str) -> pl.DataFrame:
        """A CSV file with at least these columns; no rows when it is empty."""
        self.read.append(path)
        try:
            content = path.read_bytes()
            frame = pl.read_csv(BytesIO(content), infer_schema_length=None) if content.strip() else None
        except FileNotFoundError:
            raise InputError(f"{path}: missing; run the stage that writes it with dvc repro") from None
        except pl.exceptions.PolarsError as error:
            raise InputError(f"{path}: not a readable CSV file ({error}); run the stage that writes it again") from None
        if frame is None:
            return pl.DataFrame(schema=dict.fromkeys(columns, pl.Float64))
        if missing := [c for c in columns if c not in frame.columns]:
            raise InputError(f"{path}: column {missing[0]} is missing; run the stage that writes it again")
        numbers = frame.select(pl.col(columns).exclude(*WORDS))
        if odd := [c.name for c in numbers if not c.dtype.is_numeric() and c.null_count() < len(c)]:
            raise InputError(f"{path}: column {odd[0]} holds more than numbers; run the stage that writes it again")
        return frame


def run(
    seed: int,
    loop: Loop,
    fetch_dataset: FetchDataset,
    fetch_models: FetchModels,
    split: Split,
    sample: Sample,
    reward: Reward,
    reward_model: RewardModel,
    pair: Pair,
    dpo: Dpo,
    train_ranker: TrainRanker,
    evaluate: Evaluate,
) -> str:
    """Write the page; returns the closing line."""
    inputs = Inputs()
    blocks = {
        "split": split,
        "sample": sample,
        "reward": reward,
        "reward_model": reward_model,
        "pair": pair,
        "dpo": dpo,
        "train_ranker": train_ranker,
        "evaluate": evaluate,
    }
    params = {
        "seed": seed,
        "fetch_dataset": {"name": fetch_dataset.name, "path": fetch_dataset.path},
        "rounds": {name: r.policy for name, r in loop.rounds.items()},
        **{name: block.model_dump() for name, block in blocks.items()},
    }
    sections = [
        *_found(inputs, loop.policies[-1], reward.kind, split),
        _final(inputs, loop.policies[-1], reward.kind),
        *_feedback(inputs, list(loop.rounds), reward.kind),
        _people(inputs, loop.rounds),
        costs.costs(inputs.optional(paths.metrics("bench"))),
        _provenance(inputs, fetch_models.model_dump(), params, list(loop.samples)),
    ]
    with atomic(PAGE) as temporary:
        temporary.write_text(
            page.render("RLRF4Rec: what this run found", sections, FOOTER), encoding="utf-8", newline="\n"
        )
    return f"wrote {PAGE}, {len(sections)} sections from {len(inputs.read)} files"


def _found(inputs: Inputs, last: str, kind: str, split: Split) -> list[Section]:
    found = inputs.json(paths.EVALUATE, *EVALUATED)
    found |= {"fold": split.fold, "folds": split.folds, **found}
    study, replicated = inputs.optional(paths.CONTROLS), inputs.optional(paths.ARMS)
    of_others = [name for name, of in (("controls", study), ("arms", replicated)) if of and _of_others(inputs, name)]
    per_user = inputs.csv(paths.HEADLINE, "metric", "backbone", "knowledge", "user", "seed0")
    return [
        results.headline(found, per_user, last, kind),
        results.variants(found),
        results.protocols(found, study, "controls" in of_others),
        arms.arms(study, replicated, of_others),
    ]


def _final(inputs: Inputs, last: str, kind: str) -> Section:
    """What the looks at the final users gave, where there were some; `dvc repro` waits for none."""
    columns = "metric", "knowledge", "user", "seed0"
    found = inputs.optional(paths.metrics("final"))
    per_user = inputs.csv(paths.FINAL_HEADLINE, *columns) if found else pl.DataFrame()
    return final.final(found, per_user, last, kind, inputs.optional(paths.metrics("final_arms")))


def _of_others(inputs: Inputs, study: str) -> bool:
    """Whether the study's lock names other users, or lists, than those of this run."""
    if not LOCKS[study].exists():
        return False
    locks = locked(LOCKS[study].read_text(encoding="utf-8"))
    inputs.read += [path for path in (paths.FOLD_USERS, LOCKS[study]) if path not in inputs.read]
    named = {folder: locks[folder.as_posix()] for folder in OF_RUN[study] if folder.as_posix() in locks}
    return any(of_study != {dvc_hash(contents(folder))} for folder, of_study in named.items())


def _feedback(inputs: Inputs, rounds: list[str], kind: str) -> list[Section]:
    scores = {r: inputs.json(paths.metrics("score", r), "tuning", "validation") for r in rounds}
    histograms = {r: inputs.csv(paths.plot("score", r), "reward", "texts") for r in rounds}
    curves = {
        r: inputs.csv(paths.plot("train_dpo", r), "step", "loss", "margin", "accuracy", "chosen", "rejected")
        for r in rounds
    }
    chosen = {r: inputs.json(paths.metrics("train_dpo", r)) for r in rounds}
    searches = {title: inputs.csv(paths.plot(stage, "trials"), "trial", "value") for title, stage in SEARCHES.items()}
    measured, probed = (inputs.optional(paths.metrics(name)) for name in ("watch", "probe"))
    curve, changed = inputs.optional(paths.metrics("learning_curve", rounds[0])), paths.plot("watch", "changes")
    changes = inputs.csv(changed, "policy", "measure", "users", "difference", "low", "high") if measured else None
    searched = {stage: found for stage in SEARCHES.values() if (found := inputs.optional(paths.metrics(stage)))}
    return [
        learning.reliability(scores, histograms, kind),
        learning.training(curves, chosen, searches, curve, searched),
        learning.watch(measured, changes, probed),
    ]


def _people(inputs: Inputs, rounds: Mapping[str, Round]) -> Section:
    """Texts of the first round's policy, which its rewards are about, and of the last round's."""
    first, last = next(iter(rounds)), list(rounds)[-1]
    policy = rounds[first].policy
    return people.people(
        inputs.table(EXAMPLES, paths.EXAMPLES),
        inputs.table(HISTORY, paths.HISTORY),
        inputs.table(ITEMS, paths.ITEMS),
        inputs.table(REWARDS, paths.rewards(first)),
        inputs.table(TEXTS, paths.texts(policy)),
        inputs.table(TEXTS, paths.texts(last)),
        (policy, last),
    )


def _stage(path: Path) -> str:
    """The stage that writes a metrics file, by the first word below `metrics`, with its pipeline if it is a study's."""
    place = path.parts.index(paths.METRICS.name)
    stage = Path(path.parts[place + 1]).stem
    study = path.parts[place - 1] if place else OF_STUDIES.get(stage)
    return f"{paths.STUDIES}/{study}/dvc.yaml:{stage}" if study else stage


def _provenance(inputs: Inputs, models: dict[str, Any], params: dict[str, Any], samples: list[str]) -> Section:
    dataset = inputs.json(paths.metrics("fetch_dataset"))
    counts = {stage: inputs.json(paths.metrics(stage)) for stage in COUNTED}
    for name in samples:
        inputs.json(paths.metrics("sample", name))
    return provenance.provenance(dataset, counts, models, params, inputs.read, inputs.arithmetic)
