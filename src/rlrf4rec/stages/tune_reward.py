"""Stage tune_reward: search of the reward model's hyperparameters by how well it reads validation users' texts.

A trial trains what `train_reward` trains: a model for each half of the tuning users, so that `epochs` are of as many
steps. It is judged by the log-probability of validation users' positives with their own LLM texts, less that with
another user's texts: what a judge of texts must see. A profile beside them stays the user's own. NDCG of validation
users can't tell trials apart.
"""

import functools

import optuna
import polars as pl
from torch import Tensor

from rlrf4rec import machine, paths, store
from rlrf4rec.files import write_csv, write_json
from rlrf4rec.inputs import read_tables
from rlrf4rec.metrics.permute import permutation
from rlrf4rec.params import RewardModel, TuneReward
from rlrf4rec.ranking.lists import Lists
from rlrf4rec.ranking.module import personal_part
from rlrf4rec.reward import models, reading
from rlrf4rec.reward.models import DEFAULTS, Hyperparameters
from rlrf4rec.search import study
from rlrf4rec.seeds import derive
from rlrf4rec.tables.split import TUNING


class Objective:
    """One trial: a reward model for each half of the tuning users, judged on validation users after each epoch."""

    def __init__(self, seed: int, reward_model: RewardModel, space: TuneReward, policy: str) -> None:
        self.seed = derive(seed, "tune_reward")  # the same for all trials: they differ in hyperparameters alone
        self.reward_model, self.space = reward_model, space
        tables = read_tables()
        self.item_features = tables.item_features()
        frame = tables.list_frame("train")
        halves = [TUNING & (pl.col("half") == half) for half in ("A", "B")]
        own_lists = [frame.join(tables.users.filter(half), on="user", how="semi") for half in halves]
        self.train = [tables.lists_of(own, "train", "a half of the tuning users") for own in own_lists]
        self.validation = tables.lists_of(tables.list_frame("validation"), "validation", "a validation user")
        read = functools.partial(reading.texts, tables, self.item_features)
        texts, profile = read(policy), models.profile(reward_model.beside, read)
        bank = models.text_bank(texts, read("template"), reward_model.texts)
        self.bank = models.joined(bank, profile)
        self.seen = [self.bank[tables.rows(half)] for half in halves]
        group = dict.fromkeys(self.validation.user.tolist(), "validation")
        others = permutation(group, tables.users.height, self.seed)
        self.own, self.permuted = (models.joined(found, profile) for found in (texts, texts[others]))

    def __call__(self, trial: optuna.Trial) -> float:
        """Best personal part over the epochs, a mean of both halves' models; that epoch's number is kept."""
        space = self.space
        h = Hyperparameters(
            trial.suggest_float("learning_rate", *space.learning_rate, log=True),
            trial.suggest_float("weight_decay", *space.weight_decay, log=True),
            trial.suggest_categorical("width", space.width),
            space.max_epochs,
        )
        curves = [
            self._curve(trial, h, lists, seen, half)
            for half, lists, seen in zip("AB", self.train, self.seen, strict=True)
        ]
        means = [sum(values) / len(values) for values in zip(*curves, strict=True)]
        best_epoch = max(range(len(means)), key=lambda e: means[e])
        trial.set_user_attr("epochs", best_epoch + 1)
        return means[best_epoch]

    def _curve(self, trial: optuna.Trial, h: Hyperparameters, lists: Lists, seen: Tensor, half: str) -> list[float]:
        """Personal part after each epoch of one half's model; the first half's may prune the trial."""
        p, own = self.reward_model, derive(self.seed, half)
        net = models.new(p.net, self.item_features, seen, lists, p.dropout, h.width, own)
        values: list[float] = []

        def look(epoch: int) -> bool:
            """Note the epoch's value; whether the trial is one to prune."""
            values.append(personal_part(net, self.validation, self.own, self.permuted))
            if half == "A":
                trial.report(values[-1], epoch)
            return half == "A" and trial.should_prune()

        models.train_anew(net, p.net, lists, self.bank, h, p.batch, own, look)
        if len(values) < h.epochs:
            raise optuna.TrialPruned
        return values


def run(seed: int, reward_model: RewardModel, tune_reward: TuneReward, policy: str) -> str:
    """Search and write the best hyperparameters and all trials; returns the closing line."""
    space = tune_reward
    code = store.code("stages.tune_reward", threads=1)
    files = [paths.FOLD_USERS, paths.lists("train"), paths.lists("validation")]
    files += [paths.vectors(name) for name in (policy, "template", "items")]
    key = study.identity([code, seed, reward_model.model_dump(), space.model_dump()], files)
    default = {"learning_rate": DEFAULTS.learning_rate, "weight_decay": DEFAULTS.weight_decay, "width": DEFAULTS.width}
    enqueue = default if default["width"] in space.width else None
    objective = Objective(seed, reward_model, space, policy)
    trials = study.run("tune_reward", key, objective, space.n_trials, seed, 4, space.max_epochs // 3, enqueue)
    winner = study.best(trials)
    found = {**winner.params, "epochs": winner.user_attrs["epochs"]} if winner else {}
    ranges = {"learning_rate": space.learning_rate, "weight_decay": space.weight_decay}
    edges = study.at_edge(found, ranges)
    write_json(paths.TUNE_REWARD, found)
    rows = study.rows(trials)
    write_csv(paths.TUNE_REWARD_TRIALS, rows)
    write_csv(paths.plot("tune_reward", "trials"), [{k: r[k] for k in ("trial", "value", "best_so_far")} for r in rows])
    value = winner.value if winner else None
    computed = machine.arithmetic(threads=1)
    measure = "validation_personal_part"
    counts = {measure: value, "trials": len(trials), "at_edge": edges, "default": study.default(trials, measure)}
    write_json(paths.metrics("tune_reward"), {**counts, **found, "arithmetic": computed})
    pruned = pl.Series([r["state"] for r in rows], dtype=pl.String).eq("PRUNED").sum()
    best = f"best {found or 'none: search is off'}"
    wrote = f"wrote {paths.TUNE_REWARD}, {len(trials)} trials ({pruned} pruned)"
    return f"{wrote}, {best}{study.edge_note(edges)}; {computed}"
