"""Stage final (study): a look at the final users by what the run has made, and every look is written down.

With `final_arms` it is the only reader of their labels.

What it reports is what `evaluate` does of development users, from a committed run and with every p adjusted for the
number of the look (`looking.looks`). The labels are read last, when the row is on the disk, and all else before it is:
what is refused is no look.
"""

from dataclasses import replace

from torch import Tensor

from rlrf4rec import machine, paths
from rlrf4rec.evaluation import findings, fold, frozen
from rlrf4rec.evaluation.lists import read_scores
from rlrf4rec.files import write_csv, write_json
from rlrf4rec.inputs import read_tables
from rlrf4rec.looking import commit, identity, look, looks
from rlrf4rec.params import Evaluate, Loop, Reward, TrainRanker
from rlrf4rec.reward import reading
from rlrf4rec.seeds import derive
from rlrf4rec.tables.split import FINAL, FINAL_USERS, HISTORY


def run(
    seed: int,
    loop: Loop,
    backbones: list[str],
    reward: Reward,
    train_ranker: TrainRanker,
    evaluate: Evaluate,
) -> str:
    """Evaluate policies and re-rankers on the final users; returns the closing line."""
    head = commit.clean(commit.OF_RUN)
    tables, users, own_seed = read_tables(), FINAL_USERS.read(paths.FINAL_USERS), derive(seed, "evaluate")
    item_features = tables.item_features()
    vectors_of = [paths.vectors(f"{paths.OF_FINAL}{name}") for name in loop.texts if name != "items"]
    of_final = replace(tables, users=users, folder=paths.FINAL_SPLIT)

    def read(name: str) -> Tensor:
        """Vectors of the texts of a name about the final users, [users, samples, width]."""
        return reading.texts(of_final, item_features, f"{paths.OF_FINAL}{name}")

    texts = {policy: read(policy) for policy in loop.policies}
    files = {name: paths.final_scores(name) for name in loop.rankers}
    unlabelled, history = of_final.candidates(FINAL), HISTORY.read(paths.FINAL_HISTORY)
    scores = read_scores(files, backbones, train_ranker.seeds, ("own", "permuted"), unlabelled)
    by_duty = frozen.of_first_round(item_features, unlabelled.item.shape[1], read)
    judged = [paths.FINAL_USERS, paths.lists(FINAL, paths.FINAL_SPLIT), *vectors_of, *files.values()]
    judges = [paths.ITEMS, paths.POPULARITY, paths.vectors("items")]
    judges += [paths.reward_models("round1", duty) for duty in paths.DUTIES]
    asked = {"seed": seed, "backbones": backbones, "policies": loop.policies, "rankers": list(loop.rankers)}
    asked |= {"seeds": train_ranker.seeds, "reward": reward.model_dump(), "evaluate": evaluate.model_dump()}
    this = look.written_down(head, users["user"].to_list(), identity.seen([*judged, *judges], asked, identity.OF_RUN))
    frame, lists = look.labelled(of_final, history, unlabelled)
    rewarded = frozen.policy_rewards(users, lists, texts, by_duty, reward, own_seed)
    of = fold.Labelled(FINAL, frame, lists, users["user"], item_features.log_popularity)
    computed = machine.arithmetic(threads=1)
    made = fold.measured(of, rewarded, scores, loop, backbones, evaluate, own_seed, computed)
    which = {"look": this.look, "commit": this.commit, "users": this.users}
    report = {**made.about, **which, **looks.adjusted(made.found, this.look)}
    write_json(paths.metrics("final"), report)
    write_csv(paths.FINAL_HEADLINE, made.headline)
    summary = findings.summary(report, backbones, loop.policies[-1])
    return f"wrote {paths.metrics('final')}, look {this.look}; {findings.in_words(summary)}"
