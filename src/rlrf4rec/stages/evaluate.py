"""Stage evaluate: the only reader of the development users' lists.

Two headline numbers, never mixed:
- reward gain: the tuned LLM's texts against the base LLM's under frozen re-rankers of round 1, which no development
  user has trained, which have never seen a tuned text, and which did not label the pairs (those that did are beside);
- end-to-end difference: re-rankers trained again on tuned texts against those trained on base texts.
"""

import polars as pl

from rlrf4rec import machine, paths
from rlrf4rec.evaluation import blocks, findings, frozen, orders
from rlrf4rec.evaluation.examples import examples
from rlrf4rec.evaluation.lists import by_ranker, by_user, counted, of_seeds, read_scores
from rlrf4rec.files import read_json, write_csv, write_json
from rlrf4rec.inputs import Tables, read_tables
from rlrf4rec.params import Evaluate, Loop, Reward, TrainRanker
from rlrf4rec.reward import models
from rlrf4rec.seeds import derive
from rlrf4rec.tables.results import EXAMPLES, POLICY_REWARDS, metric_names, metrics_table


def run(
    seed: int,
    loop: Loop,
    backbones: list[str],
    reward: Reward,
    train_ranker: TrainRanker,
    evaluate: Evaluate,
) -> str:
    """Evaluate policies and re-rankers on the development users; returns the closing line."""
    tables, own_seed, resamples = read_tables(), derive(seed, "evaluate"), evaluate.bootstrap
    rewarded = _rewarded(tables, loop.policies, reward, own_seed)
    POLICY_REWARDS.write(rewarded, paths.POLICY_REWARDS)
    gains = frozen.gains(rewarded, loop.policies[1:], resamples, own_seed)
    frame = tables.list_frame("development")
    lists = tables.lists(frame)
    knowledge, names, last = list(loop.rankers), metric_names(evaluate.ks), loop.policies[-1]
    files = {name: paths.scores(name) for name in knowledge}
    scores = read_scores(files, backbones, train_ranker.seeds, ("own", "permuted"), lists)
    per_list = {which: by_ranker(found, lists, tables.users["user"], evaluate.ks) for which, found in scores.items()}
    metrics_table(evaluate.ks, per_list=True).write(per_list["own"], paths.PER_LIST)
    own, permuted = (by_user(per_list[which], names) for which in ("own", "permuted"))
    metrics_table(evaluate.ks, per_list=False).write(own, paths.PER_USER)
    before, after = (of_seeds(files[k], backbones[0], train_ranker.seeds, "validation") for k in ("base", last))
    EXAMPLES.write(examples(tables, before, after), paths.EXAMPLES)
    judged, number = frozen.judged(rewarded, "development"), counted(lists, tables.users["user"])
    found = findings.report(
        own, permuted, gains, backbones, knowledge, loop.policies, names, judged, number, resamples, own_seed
    )
    verdicts = {name: read_json(paths.curves(name)) for name in knowledge}
    report = {
        "metrics": {"k": evaluate.ks, **findings.DEFINITION},
        "protocol": frame["protocol"][0],
        "arithmetic": machine.arithmetic(threads=1),
        "development_users": own["user"].n_unique(),
        "development_lists": len(lists),
        "orders": orders.report(frame, lists, tables.users["user"], tables.item_features().log_popularity, evaluate.ks),
        **found,
        "trained_out": {f"{backbone}-{name}": verdicts[name][backbone] for backbone in backbones for name in knowledge},
    }
    write_json(paths.EVALUATE, report)
    write_csv(paths.HEADLINE, blocks.headline_table(own, judged))
    summary = findings.summary(report, backbones, last)
    write_json(paths.SUMMARY, summary)
    write_csv(paths.plot("evaluate", "variants"), findings.plot(report, backbones, knowledge))
    return f"wrote {paths.SUMMARY}; {findings.in_words(summary)}; {report['arithmetic']}"


def _rewarded(tables: Tables, policies: list[str], reward: Reward, seed: int) -> pl.DataFrame:
    """Rewards of all policies' texts for development and validation users by the reward models of the first round."""
    lists = tables.lists(pl.concat([tables.list_frame("validation"), tables.list_frame("development")]))
    item_features, length = tables.item_features(), lists.item.shape[1]
    nets = {duty: models.load(paths.reward_models("round1", duty), item_features, length) for duty in paths.DUTIES}
    texts = {policy: tables.texts(policy, "evaluated") for policy in policies}
    return frozen.policy_rewards(tables.users, lists, texts, nets, reward, seed)
