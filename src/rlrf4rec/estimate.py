"""What a run will take in time, memory and disk, from its params and the numbers of its LLM; pure arithmetic.

Rough by design: time within a factor of 1.5 or so on a CPU, memory and disk from above. An LLM of P parameters takes
2 P operations for a token forward, and as many again backward, since its own weights get no gradients. What all prompts
share is computed once for all users in sampling, and once for a batch in DPO. Every entry of every stage starts a
process, whose imports are a good part of a small run.
"""

from dataclasses import dataclass

from rlrf4rec.errors import ResourceError
from rlrf4rec.params import Params

GB = 1e9
LIBRARIES = 1.5 * GB  # of memory, before any model
WORKER = 0.6 * GB  # the same in a process that trains a re-ranker
CONTEXT = 1.0 * GB  # of a GPU's memory, before any model
BYTES = {"float32": 4, "bfloat16": 2}
KEPT = {"float32": 4, "bfloat16": 3}  # the same of what DPO keeps for the way back: norms and adapters stay in float32
STORED = 2  # bytes of a parameter in models/pretrained/llm, bfloat16
FOUR_BIT = 0.55  # bytes of a parameter, scales of the blocks included
ACTIVATIONS = 40  # numbers of the hidden size that a token of DPO keeps in a layer for the way back
PASSING = 16  # the same of one layer at a time, where nothing is kept
PASSES = 0.0065  # numbers that an operation of the LLM passes over outside of products: norms, gates, attention
RANKER_SHARE = 0.57  # of the products' rate that training re-rankers reaches
SMALL_SHARE = 0.4  # the same of the encoder and of reward models, whose products are smaller
ONCE = 11  # stages that have one entry
REWARD = 4e6  # operations for a list in an epoch of a reward model
TEXT = 40  # tokens of a text that is encoded
COPIES = 2  # what is kept twice: outputs, and the store or DVC's cache
PLACES = 2  # about the user, in a re-ranker
NARROW, OUT = 6, 32  # shape of an expert of the adaptor: width, width / 6, 32


@dataclass(frozen=True)
class LlmSize:
    """Numbers of an LLM: parameters, layers, hidden size, width of keys and values together per kind, words."""

    parameters: float
    layers: int
    hidden: int
    key_values: int
    vocabulary: int


@dataclass(frozen=True)
class Work:
    """How much there is to do: users, tokens of a prompt, those that all prompts share at their start, and the width of
    the encoder's vectors; `fetched`: the LLM is there already.
    """

    users: int
    tokens: int
    shared: int
    width: int = 384
    fetched: bool = True


@dataclass(frozen=True)
class Machine:
    """Cores, operations a second of products of matrices where the LLM runs and on the CPU, bytes of memory and disk.

    gpu: bytes of the GPU's memory; None when the LLM runs on the CPU, 0 when it wants a GPU and there is none.
    per_number: seconds of all cores for a number of a pass over memory (a gate, say). start: seconds that a stage takes
    for its imports.
    """

    cores: int
    flops: float
    cpu_flops: float
    memory: float
    disk: float
    gpu: float | None = None
    per_number: float = 0.0
    start: float = 3.0

    def seconds(self, operations: float, flops: float | None = None) -> float:
        """Of so many operations of an LLM: of its products, and of all that stands between them."""
        return operations * (1 / (flops or self.flops) + PASSES * self.per_number)


@dataclass(frozen=True)
class Need:
    """What a stage takes in all its entries together: seconds, and bytes of the GPU's memory, of memory, of disk."""

    stage: str
    seconds: float
    gpu: float
    memory: float
    disk: float


def needs(p: Params, llm: LlmSize, work: Work, machine: Machine) -> list[Need]:
    """Of the heavy stages; `fetch_models` only where the LLM has to come first, without the time of its download."""
    found = [_sample(p, llm, work, machine), _tune_dpo(p, llm, work, machine), _train_dpo(p, llm, work, machine)]
    stored = STORED * llm.parameters
    checked = LIBRARIES + BYTES["float32"] * llm.parameters
    first = Need("fetch_models", 0.0, 0.0, checked, (COPIES + 1) * stored)  # the download, for a while
    return [*([] if work.fetched else [first]), *found, _train_ranker(p, work, machine), _others(p, llm, work, machine)]


def _place(stage: str, seconds: float, used: float, loaded: float, disk: float, machine: Machine) -> Need:
    """`used`: bytes where the LLM runs; `loaded`: bytes that pass through the memory on their way to a GPU."""
    if machine.gpu is None:
        return Need(stage, seconds, 0.0, LIBRARIES + used, disk)
    return Need(stage, seconds, CONTEXT + used, LIBRARIES + loaded, disk)


def _weights(p: Params, llm: LlmSize, dtype: str) -> float:
    """Bytes of the weights as they are computed with."""
    return llm.parameters * (FOUR_BIT if p.llm.quantization == "4bit" else BYTES[dtype])


def _merged(p: Params, llm: LlmSize) -> float:
    """Bytes of the weights while an adapter is merged into them, in float32; four bits stay as they are."""
    return llm.parameters * (FOUR_BIT if p.llm.quantization == "4bit" else BYTES["float32"])


def _sampling(p: Params, llm: LlmSize, work: Work, users: int, n: int) -> tuple[float, float]:
    """Operations for n texts of so many users, and bytes at most, those of loading the policy among them."""
    own, new = work.tokens - work.shared, p.sample.max_tokens
    body = llm.parameters - llm.vocabulary * llm.hidden  # what a prompt's tokens go through: all but the output
    operations = 2.0 * users * (own * body + n * new * llm.parameters)
    batch, width = min(users, p.sample.batch_users), BYTES[p.sample.dtype]
    cache = 2.0 * llm.layers * llm.key_values * width * (batch * (own + n * new) + work.shared)
    passing = 1.0 * batch * own * PASSING * llm.hidden * width
    logits = 3.0 * batch * n * llm.vocabulary * 4
    return operations, max(_merged(p, llm), _weights(p, llm, p.sample.dtype) + cache + passing + logits)


def _sample(p: Params, llm: LlmSize, work: Work, machine: Machine) -> Need:
    """All samples together."""
    found = [_sampling(p, llm, work, round(_users(p, work, s.users)), p.sample.n) for s in p.loop.samples.values()]
    texts = _texts(p, work) * (4 * work.width + 8 * p.sample.max_tokens) * COPIES  # with their vectors
    seconds = sum(machine.seconds(operations) for operations, _ in found)
    return _place("sample", seconds, max(used for _, used in found), _merged(p, llm), texts, machine)


def share_of_sampling(p: Params, work: Work, name: str) -> float:
    """Of the time that all samples take together, that of those called `name`."""
    users = {each: _users(p, work, samples.users) for each, samples in p.loop.samples.items()}
    return users.get(name, work.users) / sum(users.values())


def _texts(p: Params, work: Work) -> float:
    """Texts that all policies write together."""
    return p.sample.n * sum(_users(p, work, samples.users) for samples in p.loop.samples.values())


def _users(p: Params, work: Work, which: str) -> float:
    """Number of the users that samples are for, see `tables.split.USERS`."""
    tuning, validation = _tuning_users(p, work), work.users * p.split.validation_share
    apart = p.split.tuning_users == "apart"
    evaluated = work.users - (tuning if apart else 0.0)
    return {"all": float(work.users), "evaluated": evaluated, "tuning": tuning + validation}[which]


def _dpo(p: Params, llm: LlmSize, work: Work) -> tuple[float, float, float]:
    """Operations for a pair forward, bytes at most while training, bytes of an adapter on disk."""
    own, new = work.tokens - work.shared, p.sample.max_tokens
    forward = 2 * llm.parameters * (own + 2 * new + work.shared / p.dpo.batch)
    row = work.shared + p.dpo.batch * (own + 2 * new)
    kept = 1.0 * row * llm.layers * ACTIVATIONS * llm.hidden * KEPT[p.dpo.precision]
    logits = 3.0 * 128 * llm.vocabulary * 4
    adapter = 4.0 * p.dpo.lora_rank * llm.layers * 14 * llm.hidden
    return forward, _weights(p, llm, p.dpo.precision) + kept + logits + 4 * adapter, adapter


def _tuning_users(p: Params, work: Work) -> float:
    train = 1 - 1 / p.split.folds - p.split.validation_share
    return work.users * train * (p.split.tuning_share if p.split.tuning_users == "apart" else 1)


def _pairs(p: Params, work: Work) -> int:
    return min(p.pair.max_pairs, round(_tuning_users(p, work)) * min(p.pair.per_user, p.sample.n // 2))


def _tune_dpo(p: Params, llm: LlmSize, work: Work, machine: Machine) -> Need:
    """Trials, each followed by sampling for held-out users from the LLM loaded a second time."""
    forward, used, adapter = _dpo(p, llm, work)
    trials, pairs = p.tune_dpo.n_trials, min(p.tune_dpo.pairs, _pairs(p, work))
    if not trials:
        return _place("tune_dpo", 0.0, 0.0, 0.0, 0.0, machine)
    sampled, beside = _sampling(p, llm, work, p.tune_dpo.holdout_users, p.tune_dpo.samples)
    operations = (trials * 2 * p.dpo.epochs + (0 if _sampler_gives_reference(p) else 1)) * pairs * forward
    both = max(used, _weights(p, llm, p.dpo.precision) + beside)
    judged = 1.5 * 2 * trials * sampled  # half of the users halfway as well; so few at half the speed
    seconds = machine.seconds(operations + judged)
    return _place("tune_dpo", seconds, both, _merged(p, llm), adapter * COPIES, machine)


def _train_dpo(p: Params, llm: LlmSize, work: Work, machine: Machine) -> Need:
    """The reference's pass where the sampler does not give it, then forward and backward."""
    forward, used, adapter = _dpo(p, llm, work)
    rounds = len(p.loop.rounds)
    computed = (rounds if p.dpo.reference == "previous" else 1) if _sampler_gives_reference(p) else 0
    operations = _pairs(p, work) * (rounds * 2 * p.dpo.epochs + rounds - computed) * forward
    seconds, disk = machine.seconds(operations), rounds * adapter * COPIES
    return _place("train_dpo", seconds, used, _weights(p, llm, p.dpo.precision), disk, machine)


def _sampler_gives_reference(p: Params) -> bool:
    """Whether DPO takes the reference's log-probabilities from the sampler."""
    return p.sample.dtype == p.dpo.precision == "float32"


def _train_ranker(p: Params, work: Work, machine: Machine) -> Need:
    """All backbones and all knowledge, on the CPU; nearly all of the time goes into the adaptor's experts."""
    r = p.train_ranker
    train = 1 - 1 / p.split.folds - p.split.validation_share
    share = 1 - p.split.tuning_share if p.split.tuning_users == "apart" else 1
    lists = work.users * train * share * p.split.max_lists
    narrow = work.width // NARROW
    expert = work.width * narrow + narrow * OUT + work.width
    vector = 2.0 * (r.experts_shared + r.experts_private) * expert
    operations = lists * r.epochs * r.seeds * (p.split.list_length + PLACES) * vector * 3
    groups = len(p.backbones) * len(p.loop.rankers)
    texts = 4.0 * work.users * p.sample.n * PLACES * work.width
    workers = min(machine.cores, len(p.backbones) * r.seeds)
    disk = groups * r.seeds * 4.0 * (2 + PLACES) * r.experts_private * expert * COPIES
    seconds = groups * operations / (RANKER_SHARE * machine.cpu_flops)
    return Need("train_ranker", seconds, 0.0, LIBRARIES + texts + workers * (WORKER + texts), disk)


def _others(p: Params, llm: LlmSize, work: Work, machine: Machine) -> Need:
    """The start of every entry, encoding, reward models, and the LLM's passes of `watch`."""
    rounds, policies = len(p.loop.rounds), len(p.loop.policies)
    entries = ONCE + len(p.loop.samples) + len(p.loop.texts) + 4 * rounds + len(p.loop.rankers)
    layers = 6 if work.width <= 384 else 12
    texts = _texts(p, work) + work.users * (len(p.loop.texts) - len(p.loop.samples))
    encoded = texts * TEXT * 2 * 12 * layers * work.width**2
    lists = _tuning_users(p, work) * p.split.max_lists
    seeds = p.train_reward.seeds + p.train_reward.judge_seeds
    trained = p.tune_reward.n_trials / 2 + seeds * rounds  # a pruned trial takes a third
    learned = lists * trained * p.tune_reward.max_epochs * REWARD
    forward, _, _ = _dpo(p, llm, work)
    watched = 2 * (policies - 1) * min(work.users, p.watch.kl_users) * forward
    seconds = entries * machine.start + (encoded + learned) / (SMALL_SHARE * machine.cpu_flops)
    seconds += machine.seconds(watched, machine.cpu_flops)
    workers = min(machine.cores, 2 * seeds)
    return Need("others", seconds, 0.0, LIBRARIES + workers * WORKER + 4.0 * texts * work.width, 0.0)


def refuse(found: list[Need], machine: Machine) -> None:
    """ResourceError with the numbers when a stage can't fit."""
    try_it = "or set estimate.refuse to false to try it all the same"
    for what, there, need in (
        ("GPU memory", machine.gpu, max(found, key=lambda need: need.gpu)),
        ("memory", machine.memory, max(found, key=lambda need: need.memory)),
    ):
        wanted = need.memory if what == "memory" else need.gpu
        if there is not None and wanted > there:
            none = " (llm.device is cuda, and PyTorch finds no GPU)" if not there else ""
            raise ResourceError(
                f"{need.stage}: about {wanted / GB:.1f} GB of {what} are needed, and there are {there / GB:.1f} GB"
                f"{none}; lower {_knobs(need.stage)}, take a smaller LLM, {try_it}"
            )
    disk = sum(need.disk for need in found)
    if disk > machine.disk:
        raise ResourceError(
            f"about {disk / GB:.1f} GB of disk are needed, and {machine.disk / GB:.1f} GB are free; make room, lower "
            f"sample.n, {try_it}"
        )


def _knobs(stage: str) -> str:
    """What a stage's memory goes with."""
    return {"sample": "sample.batch_users", "train_ranker": "train_ranker.seeds"}.get(
        stage, "dpo.batch or prompt.max_tokens"
    )
