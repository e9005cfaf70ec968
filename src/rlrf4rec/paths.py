"""Where each stage's outputs lie. No file name of an output stands anywhere else but in dvc.yaml."""

from pathlib import Path

DATA, MODELS, METRICS = Path("data"), Path("models"), Path("metrics")

RAW = DATA / "raw" / "dataset"
LLM = MODELS / "pretrained" / "llm"
ENCODER = MODELS / "pretrained" / "encoder"
NO_ADAPTER = MODELS / "pretrained" / "no_adapter.json"

INTERACTIONS = DATA / "interactions" / "interactions.parquet"
USERS = DATA / "interactions" / "users.parquet"
ITEMS = DATA / "interactions" / "items.parquet"

FOLD_USERS = DATA / "split" / "users.parquet"
HISTORY = DATA / "split" / "history.parquet"
POPULARITY = DATA / "split" / "popularity.parquet"

STUDY = Path("studies") / "controls" / "metrics"
CONTROLS = STUDY / "evaluate_controls.json"
CONTROLS_HEADLINE = STUDY / "per_user.csv"
CANDIDATES = "candidates_test.parquet"
VECTORS = "vectors.safetensors"
ITEM_TEXTS = DATA / "knowledge" / "items.parquet"

PROMPTS = DATA / "prompt" / "prompts.parquet"
TEMPLATES = DATA / "prompt" / "template.parquet"

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
PLOTS = METRICS / "plots"


def lists(fold: str) -> Path:
    """Candidate lists of a fold; those of test are read by `evaluate` alone."""
    return DATA / "split" / f"lists_{fold}.parquet"


def texts(policy: str) -> Path:
    """Texts sampled from a policy."""
    return DATA / "sample" / policy / "texts.parquet"


def answers(policy: str) -> Path:
    """What a server answered, when it sampled the texts of a policy."""
    return DATA / "sample" / policy / "answers.parquet"


def vectors(name: str) -> Path:
    """Vectors of a source of texts about users, or of the texts about items (`items`)."""
    return DATA / "encode" / name / VECTORS


def knowledge(name: str) -> Path:
    """What re-rankers of this kind are told about users and items."""
    return DATA / "combine" / name / VECTORS


def reward_model(round_name: str) -> Path:
    """Reward models of a round: weights of both halves and all seeds."""
    return MODELS / "train_reward" / round_name / "reward.safetensors"


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


def adapter(round_name: str) -> Path:
    """LoRA adapter of a round, a folder in PEFT's format."""
    return MODELS / "train_dpo" / round_name


def ranker(backbone: str, knowledge: str) -> Path:
    """Re-rankers of all seeds."""
    return MODELS / "train_ranker" / f"{backbone}-{knowledge}" / "ranker.safetensors"


def protocol(name: str) -> Path:
    """Study: candidate lists of a protocol."""
    return DATA / "protocol" / name


def source(name: str) -> Path:
    """Study: vectors about users that no LLM wrote, or that are chosen among texts."""
    return DATA / "source" / name / VECTORS


def told(name: str) -> Path:
    """Study: what a kind of re-ranker is told about users and items."""
    return DATA / "told" / name / VECTORS


def policy(method: str) -> Path:
    """Study: LoRA adapter of another way to use the pairs."""
    return MODELS / "train_policy" / method


def control(protocol: str, kind: str) -> Path:
    """Study: scores of the unlabelled test lists by re-rankers of all backbones and seeds."""
    return DATA / "control" / f"{protocol}-{kind}" / "scores.safetensors"


def curves(backbone: str, knowledge: str) -> Path:
    """How the re-rankers' training went."""
    return MODELS / "train_ranker" / f"{backbone}-{knowledge}" / "curves.json"


def metrics(stage: str, entry: str | None = None) -> Path:
    """Small JSON metrics of a stage, in Git."""
    return METRICS / stage / f"{entry}.json" if entry else METRICS / f"{stage}.json"


def plot(stage: str, name: str) -> Path:
    """Plot data of a stage, CSV in Git."""
    return PLOTS / f"{stage}_{name}.csv"
