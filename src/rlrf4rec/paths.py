"""Where each stage's outputs lie. No file name of an output stands anywhere else but in dvc.yaml."""

from pathlib import Path
from typing import Literal

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

# What the study adds lies apart: no folder that a stage of the run depends on may hold it.
APART = DATA / "controls"
APART_POLICIES = ("shuffled", "sft")  # LLMs that the same pairs tune in another way
STUDY = Path("studies") / "controls" / "metrics"
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


def _data(name: str) -> Path:
    return FINAL if name.startswith(OF_FINAL) else APART if name in APART_POLICIES else DATA


def texts(name: str) -> Path:
    """Texts about users (`none`: the same word for each) or items: written from a template or sampled from a policy."""
    return _data(name) / "texts" / name / "texts.parquet"


def answers(name: str) -> Path:
    """What a server answered, when it sampled the texts."""
    return _data(name) / "texts" / name / "answers.parquet"


def vectors(name: str) -> Path:
    """Vectors of a source of texts about users, or of the texts about items (`items`)."""
    return _data(name) / "encode" / name / VECTORS


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
    return MODELS / "train_reward" / round_name / f"{duty}.safetensors"


def trained_lists(round_name: str) -> Path:
    """Which lists the reward models of each half were trained on."""
    return MODELS / "train_reward" / round_name / "lists.parquet"


def rewards(round_name: str) -> Path:
    """Rewards of the samples that a round scores."""
    return DATA / "score" / round_name / "rewards.parquet"


def pairs(round_name: str) -> Path:
    """Preference pairs of a round."""
    return DATA / "pair" / round_name / "pairs.parquet"


def skipped(round_name: str) -> Path:
    """Users without a pair."""
    return DATA / "pair" / round_name / "skipped.parquet"


def policy(name: str) -> Path:
    """LoRA adapter of a policy, a folder in PEFT's format; that of `base` holds none."""
    return (MODELS / "controls" if name in APART_POLICIES else MODELS) / "policy" / name


def ranker(knowledge: str) -> Path:
    """Re-rankers with this knowledge: weights of all backbones and seeds."""
    return MODELS / "train_ranker" / knowledge / "ranker.safetensors"


def scores(knowledge: str) -> Path:
    """Scores of unlabelled development lists, and of the validation lists, by the re-rankers with this knowledge."""
    return MODELS / "train_ranker" / knowledge / "scores.safetensors"


def final_scores(knowledge: str) -> Path:
    """Scores of final users' unlabelled lists by the run's re-rankers with this knowledge."""
    return FINAL / "scores" / knowledge / "scores.safetensors"


def curves(knowledge: str) -> Path:
    """How the training of the re-rankers with this knowledge went, by backbone."""
    return MODELS / "train_ranker" / knowledge / "curves.json"


def protocol(name: str) -> Path:
    """Study: candidate lists of a protocol."""
    return APART / "protocol" / name


def control(protocol: str, knowledge: str) -> Path:
    """Study: scores of unlabelled development lists by re-rankers of all backbones and seeds."""
    return APART / "train_ranker" / knowledge / protocol / "scores.safetensors"


def metrics(stage: str, entry: str | None = None) -> Path:
    """Small JSON metrics of a stage, in Git."""
    if entry is None:
        return METRICS / f"{stage}.json"
    return _metrics(entry) / stage / f"{entry}.json"


def _metrics(name: str) -> Path:
    if name.startswith(OF_FINAL):
        return Path("studies") / "final" / "metrics"
    return STUDY if name in APART_POLICIES else METRICS


def plot(stage: str, name: str) -> Path:
    """Plot data of a stage, CSV in Git."""
    return _metrics(name) / "plots" / stage / f"{name}.csv"
