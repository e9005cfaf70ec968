"""Stage evaluate: of the run the only reader of the development users' labels.

Two headline numbers, never mixed:
- reward gain: the tuned LLM's texts against the base LLM's under frozen re-rankers of round 1, which no development
  user has trained, which have never seen a tuned text, and which did not label the pairs (those that did are beside);
- end-to-end difference: re-rankers trained again on tuned texts against those trained on base texts.
"""

import polars as pl

from rlrf4rec import machine, paths
from rlrf4rec.evaluation import findings, fold, frozen
from rlrf4rec.evaluation.examples import examples
from rlrf4rec.evaluation.lists import of_seeds
from rlrf4rec.files import read_json, write_csv, write_json
from rlrf4rec.inputs import Tables, read_tables
from rlrf4rec.params import Evaluate, Loop, Reward, TrainRanker
from rlrf4rec.seeds import derive
from rlrf4rec.tables.results import EXAMPLES, POLICY_REWARDS, metrics_table


def run(
    seed: int,
    loop: Loop,
    backbones: list[str],
    reward: Reward,
    train_ranker: TrainRanker,
    evaluate: Evaluate,
) -> str:
    """Evaluate policies and re-rankers on the development users; returns the closing line."""
    tables, own_seed = read_tables(), derive(seed, "evaluate")
    rewarded = _rewarded(tables, loop.policies, reward, own_seed)
    POLICY_REWARDS.write(rewarded, paths.POLICY_REWARDS)
    frame, popularity = tables.list_frame("development"), tables.item_features().log_popularity
    of = fold.Labelled("development", frame, tables.lists(frame), tables.users["user"], popularity)
    files, last = {name: paths.scores(name) for name in loop.rankers}, loop.policies[-1]
    seeds, computed = train_ranker.seeds, machine.arithmetic(threads=1)
    made = fold.measured(of, rewarded, files, loop, backbones, seeds, evaluate, own_seed, computed)
    metrics_table(evaluate.ks, per_list=True).write(made.per_list, paths.PER_LIST)
    metrics_table(evaluate.ks, per_list=False).write(made.per_user, paths.PER_USER)
    before, after = (of_seeds(files[k], backbones[0], seeds, "validation") for k in ("base", last))
    EXAMPLES.write(examples(tables, before, after), paths.EXAMPLES)
    verdicts = {name: read_json(paths.curves(name)) for name in files}
    trained_out = {f"{backbone}-{name}": verdicts[name][backbone] for backbone in backbones for name in files}
    report = {**made.about, **made.found, "trained_out": trained_out}
    write_json(paths.EVALUATE, report)
    write_csv(paths.HEADLINE, made.headline)
    summary = findings.summary(report, backbones, last)
    write_json(paths.SUMMARY, summary)
    write_csv(paths.plot("evaluate", "variants"), findings.plot(report, backbones, list(files)))
    return f"wrote {paths.SUMMARY}; {findings.in_words(summary)}; {report['arithmetic']}"


def _rewarded(tables: Tables, policies: list[str], reward: Reward, seed: int) -> pl.DataFrame:
    """Rewards of all policies' texts for development and validation users."""
    lists = tables.lists(pl.concat([tables.list_frame("validation"), tables.list_frame("development")]))
    texts = {policy: tables.texts(policy, "evaluated") for policy in policies}
    return frozen.by_first_round(tables.users, lists, texts, tables.texts, tables.item_features(), reward, seed)
