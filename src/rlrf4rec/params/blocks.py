"""The blocks of the run's stages, all of params.yaml, and reading it.

Each block belongs to the stage of its name. `reward`, `reward_model` and `dpo` are shared by the stages that
score texts, that train reward models, and that run DPO. A hyperparameter that is null takes the search's best value.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from rlrf4rec.errors import ParamsError
from rlrf4rec.logs import secret_in
from rlrf4rec.params.content import Content, unseen
from rlrf4rec.params.data import FetchDataset, Interactions
from rlrf4rec.params.faults import explain
from rlrf4rec.params.known import laid_over
from rlrf4rec.params.loop import Loop, RankerInputs
from rlrf4rec.params.models import Endpoint, Estimate, FetchModels, Llm, Store
from rlrf4rec.params.study import Arms, Bench, LearningCurve, MatchPolicy, Probe, TrainPolicy
from rlrf4rec.params.types import (
    Arithmetic,
    Backbone,
    Beta,
    Block,
    Count,
    DataSet,
    Decay,
    Dropout,
    Probability,
    Protocol,
    Rate,
    RewardKind,
    RewardNet,
    Share,
    Text,
    Width,
)
from rlrf4rec.paths import APART_POLICIES


class Split(Block):
    """User folds and candidate lists, see `rlrf4rec.lists`."""

    folds: Annotated[int, Field(ge=2, le=100)]
    fold: Annotated[int, Field(ge=0)]
    validation_share: Share
    tuning_users: Literal["apart", "shared"]
    tuning_share: Share
    history_length: Annotated[int, Field(ge=1, le=1000)]
    positive_rating: float
    step: Annotated[int, Field(ge=1, le=100)]
    list_length: Annotated[int, Field(ge=2, le=1000)]
    max_lists: Count
    window: Annotated[int, Field(ge=1, le=1000)]
    protocol: Protocol

    @model_validator(mode="after")
    def _consistent(self) -> "Split":
        if self.fold >= self.folds:
            raise ValueError(f"fold must be below folds = {self.folds}; folds count from 0")
        if self.validation_share + 1 / self.folds >= 1:
            raise ValueError("validation_share + 1 / folds must be below 1, or no train user is left")
        if self.step >= self.list_length:
            raise ValueError("step must be below list_length, or a list has no negatives")
        return self


class Knowledge(Block):
    """What the items' side says: nothing, each item's description, or that with the LLM's facts (KAR's second kind)."""

    items: Literal["none", "description", "llm"]
    template: Text
    temperature: Annotated[float, Field(gt=0, le=5)]
    top_k: Annotated[int, Field(ge=0)]
    top_p: Probability
    max_tokens: Annotated[int, Field(ge=1, le=4096)]
    batch: Count
    dtype: Arithmetic


class Prompt(Block):
    """`template` is a file (see `prompting.template`); so many `liked` and `disliked` ratings of the user are shown.

    `titles: masked` hides what the LLM could know of an item by its title; it wants examples in the same form.
    `chat`: the prompt is what the user says in the LLM's own chat template, in place of a text to go on with.
    """

    template: Text
    chat: bool
    titles: Literal["shown", "masked"]
    liked: Annotated[int, Field(ge=1, le=200)]
    disliked: Annotated[int, Field(ge=0, le=200)]
    max_tokens: Annotated[int, Field(ge=16)]


class Sample(Block):
    """Sampling settings; nothing is taken from the checkpoint's own defaults."""

    n: Annotated[int, Field(ge=2, le=64)]
    temperature: Annotated[float, Field(gt=0, le=5)]
    top_k: Annotated[int, Field(ge=0)]
    top_p: Probability
    max_tokens: Annotated[int, Field(ge=1, le=4096)]
    stop: Annotated[list[Text], Field(min_length=1)]
    redraws: Annotated[int, Field(ge=0, le=20)]
    batch_users: Count
    dtype: Arithmetic


class Encode(Block):
    """Encoder batches; `prompt` names one of the encoder's own."""

    prompt: Text | None
    max_tokens: Annotated[int, Field(ge=2)]
    batch: Count


class Reward(Block):
    """What a text is rewarded for, see `rlrf4rec.reward.rewards`."""

    kind: RewardKind
    k: Count
    other_lists: Count


class RewardModel(Block):
    """The net that scores texts and the texts it is trained with; shared by tune_reward and train_reward.

    `beside`: what stands beside every text, in training as in scoring.
    """

    net: RewardNet
    texts: Literal["llm", "template", "both"]
    beside: Literal["none", "template"]
    batch: Count
    dropout: Dropout


class TuneReward(Block):
    """Search of the reward model by how well it reads validation users' texts; ranges are [low, high]."""

    n_trials: Annotated[int, Field(ge=0)]
    max_epochs: Count
    learning_rate: Annotated[list[Rate], Field(min_length=2, max_length=2)]
    weight_decay: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=2, max_length=2)]
    width: Annotated[list[Width], Field(min_length=1)]


class TrainReward(Block):
    """The reward models; null hyperparameters take the search's best. `seeds` label, others judge."""

    seeds: Annotated[int, Field(ge=2, le=20)]
    judge_net: RewardNet
    judge_seeds: Annotated[int, Field(ge=2, le=20)]
    learning_rate: Rate | None
    weight_decay: Decay | None
    width: Width | None
    epochs: Count | None


class Pair(Block):
    """At most `max_pairs` pairs, those with the largest gaps, of them at most `per_user` of a user."""

    max_pairs: Count
    per_user: Annotated[int, Field(ge=1, le=32)]
    min_gap: Annotated[float, Field(ge=0)]


class Dpo(Block):
    """What the search and the training of DPO share."""

    engine: Literal["lightning", "trl"]
    lora_rank: Annotated[int, Field(ge=1, le=512)]
    lora_alpha: Annotated[int, Field(ge=1)]
    lora_dropout: Dropout
    lora_target: Literal["all-linear"] | Annotated[list[Text], Field(min_length=1)]
    batch: Count
    accumulate: Count
    epochs: Count
    warmup: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: Decay
    max_grad_norm: Annotated[float, Field(gt=0)]
    reference: Literal["base", "previous"]
    precision: Arithmetic


class TuneDpo(Block):
    """Search of DPO's hyperparameters by the reward of new texts for held-out train users."""

    n_trials: Annotated[int, Field(ge=0)]
    pairs: Count
    holdout_users: Count
    samples: Count
    learning_rate: Annotated[list[Rate], Field(min_length=2, max_length=2)]
    beta: Annotated[list[Beta], Field(min_length=2, max_length=2)]


class TrainDpo(Block):
    """Hyperparameters of DPO; null takes the search's best."""

    beta: Beta | None
    learning_rate: Rate | None


class Watch(Block):
    """What the texts look like: users for the divergence from the base LLM, genres that count as a user's own."""

    kl_users: Annotated[int, Field(ge=2)]
    top_genres: Annotated[int, Field(ge=1, le=20)]
    bootstrap: Annotated[int, Field(ge=100)]
    batch: Count
    precision: Arithmetic


class TrainRanker(Block):
    """How a re-ranker is trained."""

    seeds: Annotated[int, Field(ge=1, le=50)]
    epochs: Count
    batch: Count
    learning_rate: Rate
    weight_decay: Decay
    dropout: Dropout
    experts_shared: Count
    experts_private: Count


class Evaluate(Block):
    """Metric cut-offs and the bootstrap."""

    ks: Annotated[list[Count], Field(min_length=1)]
    bootstrap: Annotated[int, Field(ge=100)]


class Params(Block):
    """All of params.yaml."""

    seed: Annotated[int, Field(ge=0, le=2**31 - 1)]
    loop: Loop
    backbones: Annotated[list[Backbone], Field(min_length=1)]
    dataset: DataSet
    fetch_dataset: FetchDataset
    fetch_models: FetchModels
    content: Content
    llm: Llm
    endpoint: Endpoint
    interactions: Interactions
    split: Split
    knowledge: Knowledge
    prompt: Prompt
    sample: Sample
    encode: Encode
    reward: Reward
    reward_model: RewardModel
    tune_reward: TuneReward
    train_reward: TrainReward
    pair: Pair
    dpo: Dpo
    tune_dpo: TuneDpo
    train_dpo: TrainDpo
    train_ranker: TrainRanker
    train_policy: TrainPolicy
    match_policy: MatchPolicy
    protocols: Annotated[list[Protocol], Field(min_length=1)]
    controls: Annotated[dict[str, RankerInputs], Field(min_length=1)]
    arms: Arms
    probe: Probe
    learning_curve: LearningCurve
    watch: Watch
    bench: Bench
    estimate: Estimate
    store: Store
    evaluate: Evaluate

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, content: Any) -> Any:
        return laid_over(content)

    @model_validator(mode="after")
    def _trusted(self) -> "Params":
        if self.llm.trust_remote_code not in (None, self.fetch_models.llm.name):
            raise ValueError(
                f"llm.trust_remote_code: {self.llm.trust_remote_code!r} is not the model of fetch_models.llm.name, "
                f"{self.fetch_models.llm.name!r}; name the model whose own code may run, or set it to null"
            )
        return self

    @model_validator(mode="after")
    def _seen(self) -> "Params":
        if found := unseen(self.content, self.fetch_dataset, self.fetch_models):
            raise ValueError("; ".join(found))
        return self

    @model_validator(mode="after")
    def _served(self) -> "Params":
        known = [*self.loop.policies, *APART_POLICIES]
        if strange := [name for name in self.endpoint.policies if name not in known]:
            raise ValueError(f"endpoint.policies: {strange[0]!r} is no policy; one of {', '.join(known)}")
        return self


def load(path: Path = Path("params.yaml")) -> Params:
    """Read and check the params file; ParamsError lists every fault with its key, value and allowed range."""
    try:
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
        place = secret_in(content)
    except FileNotFoundError:
        raise ParamsError(f"{path}: missing; run from the repository's top folder") from None
    except (YAMLError, ValueError, RecursionError) as error:  # of a date that is none; of a part that holds itself
        raise ParamsError(f"{path}: not valid YAML: {error}") from None
    if place:
        raise ParamsError(
            f"{path}: {place} holds what looks like a token or password, and this file is versioned: take it out, "
            "give it in an environment variable (HF_TOKEN), and revoke it if it was ever committed"
        )
    return check(content, path)


def check(content: Any, path: Path) -> Params:
    """Params from plain values; ParamsError as of `load`, in the name of `path`."""
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        faults = "\n".join(f"  {explain(Params, fault)}" for fault in error.errors())
        raise ParamsError(f"{path} has {error.error_count()} fault(s):\n{faults}") from None
