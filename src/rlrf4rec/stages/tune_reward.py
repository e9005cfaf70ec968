"""Stage tune_reward: search of the reward model's hyperparameters by the validation users' ranking metric."""

import optuna
import polars as pl

from rlrf4rec import paths, store
from rlrf4rec.feedback import models
from rlrf4rec.feedback.models import DEFAULTS, Hyperparameters
from rlrf4rec.files import write_csv, write_json
from rlrf4rec.params import RewardModel, TuneReward
from rlrf4rec.ranking.module import Ranker, fit, mean_ndcg
from rlrf4rec.search import study
from rlrf4rec.seeds import derive, seeded
from rlrf4rec.stages.inputs import TUNING, read_tables


def run(seed: int, reward_model: RewardModel, tune_reward: TuneReward, policy: str) -> str:
    """Search and write the best hyperparameters and all trials; returns the closing line."""
    tables = read_tables()
    llm, template = tables.vectors(policy), tables.vectors("template")
    catalogue = tables.catalogue(llm)
    tuning = tables.users.filter(TUNING).select("user")
    train = tables.lists(tables.list_frame("train").join(tuning, on="user", how="semi"))
    validation = tables.lists(tables.list_frame("validation"))
    bank = models.text_bank(llm.texts, template.texts, reward_model.texts)
    seen = bank[tables.rows(TUNING)]
    length = train.item.shape[1]
    space = tune_reward

    def objective(trial: optuna.Trial) -> float:
        h = Hyperparameters(
            trial.suggest_float("learning_rate", *space.learning_rate, log=True),
            trial.suggest_float("weight_decay", *space.weight_decay, log=True),
            trial.suggest_categorical("width", space.width),
            space.max_epochs,
        )
        own = derive(seed, "tune_reward")  # the same for all trials: they differ in hyperparameters alone
        model = models.new(reward_model.net, catalogue, seen, length, reward_model.dropout, h.width, own)
        values: list[float] = []

        def report(epoch: int) -> bool:
            values.append(mean_ndcg(model, validation, bank, space.k))
            trial.report(values[-1], epoch)
            return trial.should_prune()

        with seeded(own):
            ranker = Ranker(model, reward_model.net, train, bank, h.learning_rate, h.weight_decay, own)
            fit(ranker, h.epochs, reward_model.batch, own, report)
        if len(values) < h.epochs:
            raise optuna.TrialPruned
        best_epoch = max(range(len(values)), key=lambda e: values[e])
        trial.set_user_attr("epochs", best_epoch + 1)
        return values[best_epoch]

    files = [paths.FOLD_USERS, paths.lists("train"), paths.lists("validation"), paths.vectors(policy)]
    key = study.identity(
        [
            store.code("stages/tune_reward", "ranking", "feedback", "metrics"),
            seed,
            reward_model.model_dump(),
            space.model_dump(),
        ],
        [*files, paths.vectors("template")],
    )
    default = {"learning_rate": DEFAULTS.learning_rate, "weight_decay": DEFAULTS.weight_decay, "width": DEFAULTS.width}
    inside = default["width"] in space.width
    trials = study.run(
        "tune_reward", key, objective, space.n_trials, seed, 4, space.max_epochs // 3, default if inside else None
    )
    winner = study.best(trials)
    found = {**winner.params, "epochs": winner.user_attrs["epochs"]} if winner else {}
    write_json(paths.TUNE_REWARD, found)
    rows = study.rows(trials)
    write_csv(paths.TUNE_REWARD_TRIALS, rows)
    write_csv(paths.plot("tune_reward", "trials"), [{k: r[k] for k in ("trial", "value", "best_so_far")} for r in rows])
    value = winner.value if winner else None
    write_json(paths.metrics("tune_reward"), {f"validation_ndcg@{space.k}": value, "trials": len(trials), **found})
    pruned = pl.Series([r["state"] for r in rows], dtype=pl.String).eq("PRUNED").sum()
    return f"wrote {paths.TUNE_REWARD}, {len(trials)} trials ({pruned} pruned), best {found or 'none: search is off'}"
