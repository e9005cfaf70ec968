"""Stage evaluate: of the run the only reader of the development users' labels.

Two headline numbers, never mixed:
- reward gain: the tuned LLM's texts against the base LLM's under frozen re-rankers of round 1, which no development
  user has trained, which have never seen a tuned text, and which did not label the pairs (those that did are beside);
- end-to-end difference: re-rankers trained again on tuned texts against those trained on base texts.
"""

import functools

import polars as pl

from rlrf4rec import machine, paths
from rlrf4rec.evaluation import findings, fold, frozen
from rlrf4rec.evaluation.examples import examples
from rlrf4rec.evaluation.lists import of_seeds, read_curves, read_scores
from rlrf4rec.files import write_csv, write_json
from rlrf4rec.inputs import Tables, read_tables
from rlrf4rec.params import Evaluate, Loop, Reward, TrainRanker
from rlrf4rec.ranking.lists import ItemFeatures
from rlrf4rec.reward import reading
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
    item_features = tables.item_features()
    rewarded = _rewarded(tables, item_features, loop.policies, reward, own_seed)
    frame = tables.list_frame("development")
    lists = tables.lists_of(frame, "development", "a development user")
    of = fold.Labelled("development", frame, lists, tables.users["user"], item_features.log_popularity)
    files, last = {name: paths.scores(name) for name in loop.rankers}, loop.policies[-1]
    seeds, computed = train_ranker.seeds, machine.arithmetic(threads=1)
    scores = read_scores(files, backbones, seeds, ("own", "permuted"), lists)
    made = fold.measured(of, rewarded, scores, loop, backbones, evaluate, own_seed, computed)
    validation = tables.lists_of(tables.list_frame("validation"), "validation", "a validation user")
    before, after = (of_seeds(files[k], backbones[0], seeds, "validation", validation) for k in ("base", last))
    shown, verdicts = examples(tables, before, after), read_curves(files, backbones)
    trained_out = {f"{backbone}-{name}": verdicts[name][backbone] for backbone in backbones for name in files}
    report = {**made.about, **made.found, "trained_out": trained_out}
    summary, variants = findings.summary(report, backbones, last), findings.plot(report, backbones, list(files))
    written = [
        (POLICY_REWARDS, rewarded, paths.POLICY_REWARDS),
        (metrics_table(evaluate.ks, per_list=True), made.per_list, paths.PER_LIST),
        (metrics_table(evaluate.ks, per_list=False), made.per_user, paths.PER_USER),
        (EXAMPLES, shown, paths.EXAMPLES),
    ]
    for table, content, path in written:
        table.check(content, path)  # each before the first is written
    for table, content, path in written:
        table.write(content, path)
    write_json(paths.EVALUATE, report)
    write_csv(paths.HEADLINE, made.headline)
    write_json(paths.SUMMARY, summary)
    write_csv(paths.plot("evaluate", "variants"), variants)
    return f"wrote {paths.SUMMARY}; {findings.in_words(summary)}; {report['arithmetic']}"


def _rewarded(
    tables: Tables, item_features: ItemFeatures, policies: list[str], reward: Reward, seed: int
) -> pl.DataFrame:
    """Rewards of all policies' texts for development and validation users."""
    lists = tables.lists(pl.concat([tables.list_frame("validation"), tables.list_frame("development")]))
    read = functools.partial(reading.texts, tables, item_features)
    texts = {policy: read(policy, "evaluated") for policy in policies}
    by_duty = frozen.of_first_round(item_features, lists.item.shape[1], read)
    return frozen.policy_rewards(tables.users, lists, texts, by_duty, reward, seed)
