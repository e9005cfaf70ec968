"""Stage tune_reward: search of the reward model's hyperparameters by how well it reads validation users' texts.

A trial is judged by the log-probability of validation users' positives with their own LLM texts, less that with
another user's texts: what a judge of texts must see. NDCG of validation users can't tell trials apart.
"""

import optuna
import polars as pl

from rlrf4rec import machine, paths, store
from rlrf4rec.files import write_csv, write_json
from rlrf4rec.inputs import read_tables
from rlrf4rec.params import RewardModel, TuneReward
from rlrf4rec.ranking.module import Ranker, fit, personal_part
from rlrf4rec.ranking.permute import permutation
from rlrf4rec.reward import models
from rlrf4rec.reward.models import DEFAULTS, Hyperparameters
from rlrf4rec.search import study
from rlrf4rec.seeds import derive, seeded
from rlrf4rec.tables.split import TUNING
from rlrf4rec.workers import one_thread


class Objective:
    """One trial: trains a reward model on the tuning users, judged on validation users after each epoch."""

    def __init__(self, seed: int, reward_model: RewardModel, space: TuneReward, policy: str) -> None:
        self.seed = derive(seed, "tune_reward")  # the same for all trials: they differ in hyperparameters alone
        self.reward_model, self.space = reward_model, space
        tables = read_tables()
        self.catalogue = tables.catalogue()
        tuning = tables.users.filter(TUNING).select("user")
        self.train = tables.lists(tables.list_frame("train").join(tuning, on="user", how="semi"))
        self.validation = tables.lists(tables.list_frame("validation"))
        self.bank = models.text_bank(tables.texts(policy), tables.texts("template"), reward_model.texts)
        self.seen = self.bank[tables.rows(TUNING)]
        self.texts = tables.texts(policy)
        members = dict.fromkeys(self.validation.user.tolist(), "validation")
        self.others = permutation(members, tables.users.height, self.seed)

    @one_thread()
    def __call__(self, trial: optuna.Trial) -> float:
        """Best personal part over the epochs; that epoch's number is kept with the trial."""
        space, net, own = self.space, self.reward_model.net, self.seed
        h = Hyperparameters(
            trial.suggest_float("learning_rate", *space.learning_rate, log=True),
            trial.suggest_float("weight_decay", *space.weight_decay, log=True),
            trial.suggest_categorical("width", space.width),
            space.max_epochs,
        )
        length = self.train.item.shape[1]
        model = models.new(net, self.catalogue, self.seen, length, self.reward_model.dropout, h.width, own)
        values: list[float] = []

        def report(epoch: int) -> bool:
            values.append(personal_part(model, self.validation, self.texts, self.others))
            trial.report(values[-1], epoch)
            return trial.should_prune()

        with seeded(own):
            ranker = Ranker(model, net, self.train, self.bank, h.learning_rate, h.weight_decay, own)
            fit(ranker, h.epochs, self.reward_model.batch, own, report)
        if len(values) < h.epochs:
            raise optuna.TrialPruned
        best_epoch = max(range(len(values)), key=lambda e: values[e])
        trial.set_user_attr("epochs", best_epoch + 1)
        return values[best_epoch]


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
    write_json(paths.TUNE_REWARD, found)
    rows = study.rows(trials)
    write_csv(paths.TUNE_REWARD_TRIALS, rows)
    write_csv(paths.plot("tune_reward", "trials"), [{k: r[k] for k in ("trial", "value", "best_so_far")} for r in rows])
    value = winner.value if winner else None
    computed = machine.arithmetic(threads=1)
    counts = {"validation_personal_part": value, "trials": len(trials)}
    write_json(paths.metrics("tune_reward"), {**counts, **found, "arithmetic": computed})
    pruned = pl.Series([r["state"] for r in rows], dtype=pl.String).eq("PRUNED").sum()
    best = f"best {found or 'none: search is off'}"
    return f"wrote {paths.TUNE_REWARD}, {len(trials)} trials ({pruned} pruned), {best}; {computed}"
