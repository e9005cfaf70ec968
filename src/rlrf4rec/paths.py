"""Where each stage's outputs lie. No file name of an output stands anywhere else but in dvc.yaml."""

from pathlib import Path
from typing import Literal

from rlrf4rec import replicates

DATA, MODELS, METRICS = Path("data"), Path("models"), Path("metrics")

RAW = DATA / "raw" / "dataset"
LLM = MODELS / "pretrained" / "llm"
ENCODER = MODELS / "pretrained" / "encoder"

INTERACTIONS = DATA / "interactions" / "interactions.parquet"
USERS = DATA / "interactions" / "users.parquet"
ITEMS = DATA / "interactions" / "items.parquet"

SPLIT = DATA / "split"
FINAL = DATA / "final"  # of the final users, whom no stage of the run reads
FINAL_INTERACTIONS = FINAL / "interactions" / "interactions.parquet"
FINAL_SPLIT = FINAL / "split"
FINAL_USERS = FINAL_SPLIT / "people" / "users.parquet"
FINAL_HISTORY = FINAL_SPLIT / "people" / "history.parquet"
FINAL_PROMPTS = FINAL / "prompt" / "prompts.parquet"
OF_FINAL = "final_"  # begins the names of texts about final users
FINAL_HEADLINE = METRICS / "final_per_user.csv"
LOOKS = METRICS / "looks.csv"
FOLD_USERS = SPLIT / "people" / "users.parquet"
HISTORY = SPLIT / "people" / "history.parquet"
POPULARITY = SPLIT / "people" / "popularity.parquet"

# What a study adds lies apart: no folder that a stage of the run depends on may hold it.
APART = DATA / "controls"
APART_POLICIES = ("shuffled", "sft", "matched", "rule_years", "rule_length")  # LLMs that are tuned in another way
APART_TEXTS = ("template_shown",)
# Of the study of arms, as `tuned-2`; with the ending they are brought as far from the LLM as `second`, not as `tuned`.
AS_SECOND = "_second"
ARM_POLICIES = (
    *("base", "tuned", "second", "matched", "rule_years", "rule_length", "sft"),
    *("several", "ten"),  # of this trial
    *(f"{arm}{AS_SECOND}" for arm in ("matched", "rule_years", "rule_length")),
)
STUDIES = Path("studies")
STUDY = STUDIES / "controls" / "metrics"
ARM_SCORES = DATA / "arms" / "train_ranker"
ARMS_STUDY = STUDIES / "arms"
ARMS = ARMS_STUDY / "metrics" / "evaluate_arms.json"
FINAL_ARMS = DATA / "final_arms"
FINAL_ARMS_HEADLINE = METRICS / "final_arms_per_user.csv"
ARMS_HEADLINE = DATA / "arms" / "evaluate_arms" / "per_user.csv"  # grows with kinds and policies: too large for Git
CONTROLS = STUDY / "evaluate_controls.json"
CONTROLS_HEADLINE = STUDY / "per_user.csv"
VECTORS = "vectors.safetensors"
PROMPTS = DATA / "prompt" / "prompts.parquet"

TUNE_REWARD = DATA / "tune_reward" / "best.json"
TUNE_REWARD_TRIALS = DATA / "tune_reward" / "trials.csv"
TUNE_DPO = DATA / "tune_dpo" / "best.json"
TUNE_DPO_TRIALS = DATA / "tune_dpo" / "trials.csv"

PER_LIST = DATA / "evaluate" / "per_list.parquet"
PER_USER = DATA / "evaluate" / "per_user.parquet"
EXAMPLES = DATA / "evaluate" / "examples.parquet"
HEADLINE = METRICS / "per_user.csv"
POLICY_REWARDS = DATA / "evaluate" / "rewards.parquet"
SUMMARY = METRICS / "summary.json"
EVALUATE = METRICS / "evaluate.json"


def lists(fold: str, folder: Path = SPLIT) -> Path:
    """Candidate lists of a fold; those with labels of users that are evaluated lie apart, for one reader alone."""
    evaluated = fold in ("development", "final")
    return folder / fold / "lists.parquet" if evaluated else folder / "lists" / f"{fold}.parquet"


def candidates(folder: Path = SPLIT) -> Path:
    """The lists of users that are evaluated without their labels."""
    return folder / "lists" / "candidates.parquet"


def study(name: str) -> str | None:
    """The study that makes what is called so, and the final look at it; None: the run."""
    of_final, number = name.startswith(OF_FINAL), replicates.parts(name)[1]
    if number:
        return "final_arms" if of_final else "arms"
    if of_final:
        return "final"
    return "controls" if name in APART_POLICIES + APART_TEXTS else None


def _below(top: Path, name: str) -> Path:
    """The folder of what a study makes; of a final look at several policies each has its own."""
    made_by = study(name)
    if made_by == "final_arms":
        return top / made_by / str(replicates.parts(name)[1])
    return top / made_by if made_by else top


def _in_git(name: str) -> Path:
    """The folder of what is small and holds no ratings: a study of several policies has it in Git."""
    return ARMS_STUDY if study(name) == "arms" else _below(DATA, name)


def _measured(name: str) -> Path:
    made_by = study(name)
    return STUDIES / made_by / "metrics" if made_by else METRICS


def texts(name: str) -> Path:
    """Texts about users (`none`: the same word for each) or items: written from a template or sampled from a policy."""
    return _in_git(name) / "texts" / name / "texts.parquet"


def answers(name: str) -> Path:
    """What a server answered, when it sampled the texts."""
    return _in_git(name) / "texts" / name / "answers.parquet"


def vectors(name: str) -> Path:
    """Vectors of a source of texts about users, or of the texts about items (`items`)."""
    return _below(DATA, name) / "encode" / name / VECTORS


def source(name: str) -> Path:
    """Study: vectors about users that no LLM wrote, or that are chosen among texts."""
    return APART / "encode" / name / VECTORS


def vectors_at(place: str) -> Path:
    """Vectors by their place below `data`, as `rankers` and `controls` of params.yaml name them."""
    return DATA / place / VECTORS


Duty = Literal["label", "judge"]
DUTIES: tuple[Duty, Duty] = ("label", "judge")


def reward_models(round_name: str, duty: Duty) -> Path:
    """Reward models of a round that label the pairs, or that judge: weights of both halves and all seeds."""
    return _below(MODELS, round_name) / "train_reward" / round_name / f"{duty}.safetensors"


def trained_lists(round_name: str) -> Path:
    """Which lists the reward models of each half were trained on."""
    return _below(MODELS, round_name) / "train_reward" / round_name / "lists.parquet"


def rewards(round_name: str) -> Path:
    """Rewards of the samples that a round scores."""
    return _in_git(round_name) / "score" / round_name / "rewards.parquet"


def pairs(round_name: str) -> Path:
    """Preference pairs of a round."""
    return _in_git(round_name) / "pair" / round_name / "pairs.parquet"


def skipped(round_name: str) -> Path:
    """Users without a pair."""
    return _in_git(round_name) / "pair" / round_name / "skipped.parquet"


def policy(name: str) -> Path:
    """LoRA adapter of a policy, a folder in PEFT's format; that of `base` holds none."""
    return _below(MODELS, name) / "policy" / name


def ranker(knowledge: str) -> Path:
    """Re-rankers with this knowledge: weights of all backbones and seeds."""
    return MODELS / "train_ranker" / knowledge / "ranker.safetensors"


def scores(knowledge: str) -> Path:
    """Scores of unlabelled development lists, and of the validation lists, by the re-rankers with this knowledge."""
    return MODELS / "train_ranker" / knowledge / "scores.safetensors"


def final_scores(knowledge: str) -> Path:
    """Scores of final users' unlabelled lists by the run's re-rankers with this knowledge."""
    return FINAL / "scores" / knowledge / "scores.safetensors"


def final_arm_scores(policy: int, kind: str) -> Path:
    """Scores of final users' unlabelled lists by the re-rankers of a policy of the study of arms."""
    return FINAL_ARMS / str(policy) / "scores" / kind / "scores.safetensors"


def curves(knowledge: str) -> Path:
    """How the training of the re-rankers with this knowledge went, by backbone."""
    return MODELS / "train_ranker" / knowledge / "curves.json"


def protocol(name: str) -> Path:
    """Study: candidate lists of a protocol."""
    return APART / "protocol" / name


def control(protocol: str, knowledge: str) -> Path:
    """Study: scores of unlabelled development lists by re-rankers of all backbones and seeds."""
    return APART / "train_ranker" / knowledge / protocol / "scores.safetensors"


def arm(policy: int, kind: str, protocol: str) -> Path:
    """Study: the same of the arms of a policy."""
    return ARM_SCORES / str(policy) / kind / protocol / "scores.safetensors"


def arm_ranker(policy: int, kind: str, protocol: str) -> Path:
    """Study: weights of the re-rankers that gave those scores, of what a final look compares."""
    return arm(policy, kind, protocol).with_name("ranker.safetensors")


def metrics(stage: str, entry: str | None = None) -> Path:
    """Small JSON metrics of a stage, in Git."""
    if entry is None:
        return METRICS / f"{stage}.json"
    return _measured(entry) / stage / f"{entry}.json"


def plot(stage: str, name: str) -> Path:
    """Plot data of a stage, CSV in Git."""
    return _measured(name) / "plots" / stage / f"{name}.csv"
