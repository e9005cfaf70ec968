"""Whether an LLM says the same run as the sampler and DPO run it as it says by itself.

Both give its layers an attention function of their own, and its head the last hidden states. An LLM that does more than
that at either place (caps, sinks, a scale, a state that runs on) would answer, and wrongly. A sliding window isn't
computed either: no prompt with its answer is longer than that (`context`), nor are those that are tried.
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from transformers import PreTrainedModel

from rlrf4rec import workers
from rlrf4rec.alignment import packed
from rlrf4rec.alignment.packed import TokenPair, completion_log_probs, pack
from rlrf4rec.alignment.policy import new_policy
from rlrf4rec.errors import InputError, ModelError, explain
from rlrf4rec.llm.models import Place, context, load_llm
from rlrf4rec.sampling import nucleus, shared_attention
from rlrf4rec.sampling.generate import SamplingSettings, generate, prefix_cache

TOLERANCE = 1e-3  # nats per token
LENGTHS = (24, 17)  # tokens of the prompts; of unlike length, so that one is padded
COMMON = 8  # tokens that both begin with
STEPS = 4
FREE = SamplingSettings(temperature=1.0, top_k=0, top_p=1.0, max_tokens=STEPS, stop=frozenset([-1]))  # no token is -1

Made = TypeVar("Made")


def check(folder: Path, name: str, kind: str, trusted: bool = False) -> float:
    """ModelError unless the sampler's and DPO's log-probabilities of some texts are the LLM's own, in float32.

    folder: the LLM as it is kept. name: what a message calls it. kind: its `model_type`. One copy of it is in memory at
    a time. Returns the largest distance that was found, nats per token, at most `TOLERANCE`.
    """

    def load(attention: str) -> PreTrainedModel:
        """The LLM with this attention function."""
        return load_llm(folder, torch.float32, attention, Place(trusted=trusted))

    def tried(path: str, work: Callable[[], Made]) -> Made:
        """The result of `work`; what it raises becomes a refusal, or an error of the machine."""
        try:
            with workers.one_thread(), warnings.catch_warnings():  # so little work: more threads wait for each other
                warnings.simplefilter("ignore")  # of an adapter that nobody keeps
                return work()
        except Exception as error:  # what an unknown architecture raises can be anything
            said = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"[:200]
            why = "can't give its layers an attention function" if isinstance(error, InputError) else f"fails ({said})"
            raise explain(error) or _refused(name, kind, path, why) from None

    pairs, sampled = tried("the sampler", lambda: _sampled(load(shared_attention.NAME)))
    reference, tuned = tried("DPO", lambda: _packed(load(packed.NAME), pairs))
    own, own_tuned = tried("its own forward", lambda: _own(load("eager"), pairs))
    distances = []
    for path, found, right in (
        ("the sampler", sampled, own),
        ("DPO's reference", reference, own),
        ("DPO's policy", tuned, own_tuned),
    ):
        worst = float((found - right).abs().max()) / STEPS
        if not worst <= TOLERANCE:
            raise _refused(name, kind, path, f"is {worst:.3g} nats per token off the model's own forward")
        distances.append(worst)
    return max(distances)


def _refused(name: str, kind: str, path: str, why: str) -> ModelError:
    return ModelError(f"{name}: models of type {kind!r} are not supported: {path} {why}; take an LLM of another type")


def _prompts(model: PreTrainedModel) -> list[list[int]]:
    """Prompts of random tokens, with a beginning in common."""
    vocabulary, generator = model.config.vocab_size, torch.Generator().manual_seed(0)

    def draw(tokens: int) -> list[int]:
        """So many random tokens."""
        return [int(token) for token in torch.randint(vocabulary, (tokens,), generator=generator)]

    common = draw(COMMON)
    return [common + draw(length - COMMON) for length in LENGTHS]


@torch.inference_mode()
def _sampled(model: PreTrainedModel) -> tuple[list[TokenPair], torch.Tensor]:
    """Two texts of each prompt, as pairs, and their log-probabilities as the sampler tells them, [pairs, 2]."""
    if context(model) < max(LENGTHS) + STEPS:
        raise ValueError("its context is shorter than any prompt")
    pairs, values, prompts = [], [], _prompts(model)
    uniform = torch.stack([nucleus.uniforms([(row, 0), (row, 1)], STEPS) for row in range(len(prompts))])
    prefix = prefix_cache(model, prompts[0][:COMMON], STEPS)
    for prompt, (one, two) in zip(prompts, generate(model, prompts, uniform, prefix, FREE), strict=True):
        pairs.append(TokenPair(prompt, one.tokens, two.tokens))
        values.append([one.log_prob, two.log_prob])
    return pairs, torch.tensor(values)


def _tuned(model: PreTrainedModel) -> PreTrainedModel:
    """The model with an adapter that changes what it says, in place; the same one each time."""
    policy = new_policy(model, 2, 2, 0.0, 0)
    generator = torch.Generator().manual_seed(0)
    for name, parameter in policy.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0.0, 0.05, generator=generator)
    return policy.get_base_model().eval()  # type: ignore[return-value, operator]


@torch.no_grad()
def _packed(model: PreTrainedModel, pairs: list[TokenPair]) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities of pairs as DPO computes them, [pairs, 2]: without an adapter and with one."""

    def values(of: PreTrainedModel) -> torch.Tensor:
        """Of all pairs, [pairs, 2]."""
        found = completion_log_probs(of, pack(pairs))
        return torch.stack([found.chosen, found.rejected], dim=1)

    return values(model), values(_tuned(model))


@torch.no_grad()
def _own(model: PreTrainedModel, pairs: list[TokenPair]) -> tuple[torch.Tensor, torch.Tensor]:
    """The same by the model's own forward, each text in a row of its own."""

    def value(of: PreTrainedModel, pair: TokenPair) -> torch.Tensor:
        """Of both texts of a pair, [2]."""
        texts = torch.tensor([pair.chosen, pair.rejected])
        rows = torch.cat([torch.tensor([pair.prompt]).expand(2, -1), texts], dim=1)
        logits = of(input_ids=rows).logits[:, len(pair.prompt) - 1 : -1]
        return torch.log_softmax(logits.float(), -1).gather(2, texts[..., None]).sum(dim=(1, 2))

    def values(of: PreTrainedModel) -> torch.Tensor:
        """Of all pairs, [pairs, 2]."""
        return torch.stack([value(of, pair) for pair in pairs])

    return values(model), values(_tuned(model))
