"""Sampling texts from a policy.

A text depends on the policy, its prompt, the settings, the seed and its sample index: its random numbers
come from a key of these alone. Texts are kept in the store as batches finish and are named by the same key,
so a killed stage goes on where it was, and more samples, more users or changed prompts cost only what is new.

The last bits of what the LLM computes go with the batch, in bfloat16 enough for another token now and then. So each
text is kept with the batch that it was drawn in: those of a grown run that another batch of a fresh run would have
drawn are counted. A run that was killed has the batches of a fresh one.
"""

import hashlib
from typing import Any

import polars as pl
import torch
from transformers import PreTrainedModel

from rlrf4rec import machine, store, workers
from rlrf4rec.errors import RLRFError
from rlrf4rec.files import fingerprint
from rlrf4rec.llm.models import context, operations
from rlrf4rec.llm.predict import predict
from rlrf4rec.progress import Progress
from rlrf4rec.sampling import nucleus
from rlrf4rec.sampling.generate import Drawn, SamplingSettings, common_prefix, generate, prefix_cache
from rlrf4rec.sampling.shared_attention import SharedCache

SCHEMA: dict[str, Any] = {
    "prompt": pl.String,
    "sample": pl.Int64,
    "tokens": pl.List(pl.Int64),
    "redraws": pl.Int64,
    "log_prob": pl.Float64,
    "batch": pl.String,
}
Batch = tuple[list[int], list[int]]  # rows of the prompts, and the sample indices that each of them gets
Row = tuple[str, int, list[int], int, float, str]  # of SCHEMA


def batches_of(prompts: list[list[int]], missing: dict[int, tuple[int, ...]], batch_users: int) -> list[Batch]:
    """Batches of what is missing: prompts that miss the same samples, the longest last.

    missing: the sample indices that are wanted of a row of `prompts`.
    """
    batches: list[Batch] = []
    for samples in sorted(set(missing.values())):
        rows = sorted((r for r in missing if missing[r] == samples), key=lambda r: (len(prompts[r]), prompts[r]))
        batches += [(rows[i : i + batch_users], list(samples)) for i in range(0, len(rows), batch_users)]
    return batches


class Sampler:
    """Samples token lists for prompts; the result of a batch is a table of `SCHEMA`."""

    def __init__(
        self,
        model: PreTrainedModel,
        prompts: list[list[int]],
        settings: SamplingSettings,
        n: int,
        seed: int,
        redraws: int,
        blank: frozenset[int],
        identity: str | None,
    ) -> None:
        """`blank`: tokens that are white space; `identity`: names the policy in the store, None keeps nothing."""
        self.model, self.prompts, self.settings = model, prompts, settings
        self.n, self.seed, self.redraws, self.blank = n, seed, redraws, blank
        self.names = [_name(prompt) for prompt in prompts]
        self.shelf: store.Rows | None = None
        if identity is not None:
            asked = {**vars(settings), "stop": sorted(settings.stop), "dtype": str(model.dtype)}
            key = fingerprint([identity, asked, seed, redraws])
            self.shelf = store.Rows("sample", key, ["prompt", "sample"])
        self.prefix_length = common_prefix(prompts)
        self.prefix: SharedCache | None = None
        self.progress: Progress | None = None
        self.drawn: list[pl.DataFrame] = []
        self.fresh = self.kept = self.other_batches = 0

    def take(self, rows: list[Row]) -> None:
        """Keep and count what was sampled."""
        drawn = pl.DataFrame(rows, schema=SCHEMA, orient="row")
        self.fresh += drawn.height
        if self.shelf:
            self.shelf.add(drawn)
        if self.progress:
            self.progress.advance(drawn.height)
        self.drawn.append(drawn)

    def read_prefix(self) -> None:
        """Compute what all prompts share, once."""
        tokens = self.prompts[0][: self.prefix_length]
        self.prefix = prefix_cache(self.model, tokens, self.settings.max_tokens)

    def sample(self, batch: Batch) -> list[Row]:
        """Sample a batch; uses nothing with threads of its own, so that it can run in a forked worker."""
        rows, samples = batch
        if self.prefix is None:
            self.read_prefix()
        prompts = [self.prompts[row] for row in rows]
        texts = self._draw(prompts, samples, 0)
        redraws = [[0] * len(samples) for _ in prompts]
        for attempt in range(1, self.redraws + 1):
            empty = [i for i, user in enumerate(texts) if any(self._is_blank(t.tokens) for t in user)]
            if not empty:
                break
            again = self._draw([prompts[i] for i in empty], samples, attempt)
            for i, user in zip(empty, again, strict=True):
                for place, text in enumerate(user):
                    if self._is_blank(texts[i][place].tokens):
                        texts[i][place], redraws[i][place] = text, attempt
        name = self.name(batch)
        return [
            (self.names[row], sample, texts[i][place].tokens, redraws[i][place], texts[i][place].log_prob, name)
            for i, row in enumerate(rows)
            for place, sample in enumerate(samples)
        ]

    def name(self, batch: Batch) -> str:
        """Names a batch by all that goes through the LLM at once: other prompts or samples, another name."""
        rows, samples = batch
        return fingerprint([self.prefix_length, [self.names[row] for row in rows], samples])[:16]

    def _draw(self, prompts: list[list[int]], samples: list[int], attempt: int) -> list[list[Drawn]]:
        assert self.prefix is not None
        uniform = torch.stack(
            [
                nucleus.uniforms(
                    [(self.seed, int(_name(prompt)[:16], 16), sample, attempt) for sample in samples],
                    self.settings.max_tokens,
                )
                for prompt in prompts
            ]
        )
        return generate(self.model, prompts, uniform, self.prefix, self.settings)

    def _is_blank(self, tokens: list[int]) -> bool:
        return all(t in self.blank or t in self.settings.stop for t in tokens)


def _name(prompt: list[int]) -> str:
    return hashlib.sha256(repr(prompt).encode()).hexdigest()


def sample_texts(sampler: Sampler, batch_users: int, what: str) -> pl.DataFrame:
    """Run the sampler over all its prompts; returns row, sample, tokens, redraws, log_prob, ordered by row and sample.

    Only what is not in the store is sampled. Then `sampler.fresh` counts the texts that were drawn, `kept` the rows
    that were there before, and `other_batches` the rows whose text was drawn in another batch than that of a fresh
    run, now or before. RLRFError when an answer stays blank after all redraws.
    """
    wanted = pl.DataFrame({"row": range(len(sampler.names)), "prompt": sampler.names}).join(
        pl.DataFrame({"sample": range(sampler.n)}), how="cross"
    )
    known = sampler.shelf.load() if sampler.shelf else None
    known = pl.DataFrame(schema=SCHEMA) if known is None else known
    lacking = wanted.join(known, on=["prompt", "sample"], how="anti", maintain_order="left")
    sampler.kept, missing = wanted.height - lacking.height, _missing(lacking)
    pieces = [known]
    if missing:
        sampler.progress = Progress(sum(len(samples) for samples in missing.values()), what)
        with workers.one_thread():
            sampler.read_prefix()
        predict(sampler.model, sampler.sample, batches_of(sampler.prompts, missing, batch_users), sampler.take)
        pieces += sampler.drawn
        sampler.progress.close()
        machine.count(operations(sampler.model, *_tokens(sampler, list(missing))))
    if sampler.shelf:
        sampler.shelf.flush()
    texts = wanted.join(pl.concat(pieces), on=["prompt", "sample"], how="left", maintain_order="left")
    planned = texts.join(_planned(sampler, wanted, batch_users), on=["prompt", "sample"], maintain_order="left")
    sampler.other_batches = int((planned["batch"] != planned["planned"]).sum())
    texts = texts.drop("prompt", "batch")
    blank = [t["row"] for t in texts.iter_rows(named=True) if sampler._is_blank(t["tokens"])]
    if blank:
        raise RLRFError(
            f"{what}: {len(blank)} answer(s) stayed empty after {sampler.redraws} redraws (first: prompt {blank[0]}); "
            "look at the prompt, or raise sample.redraws or sample.temperature"
        )
    return texts


def _planned(sampler: Sampler, wanted: pl.DataFrame, batch_users: int) -> pl.DataFrame:
    """The batch in which a run that finds nothing in the store draws each text: prompt, sample, planned."""
    planned = []
    for batch in batches_of(sampler.prompts, _missing(wanted), batch_users):
        name = sampler.name(batch)
        planned += [(sampler.names[row], sample, name) for row in batch[0] for sample in batch[1]]
    return pl.DataFrame(planned, {"prompt": pl.String, "sample": pl.Int64, "planned": pl.String}, orient="row")


def _tokens(sampler: Sampler, rows: list[int]) -> tuple[int, int]:
    """Tokens that went through the LLM for the prompts of these rows, and those of them that were drawn."""
    drawn = sum(int(frame["tokens"].list.len().sum()) for frame in sampler.drawn)
    return sum(len(sampler.prompts[row]) - sampler.prefix_length for row in rows) + drawn, drawn


def _missing(wanted: pl.DataFrame) -> dict[int, tuple[int, ...]]:
    """Sample indices that are wanted, by row; of equal prompts only the first row."""
    once = wanted.unique(["prompt", "sample"], keep="first", maintain_order=True)
    return {row: tuple(samples) for row, samples in once.group_by("row", maintain_order=True).agg("sample").iter_rows()}


def check_fit(model: PreTrainedModel, prompts: list[list[int]], max_tokens: int, what: str, mend: str) -> None:
    """RLRFError when the longest of these prompts and an answer are longer than the LLM's context.

    what: `STAGE: the longest ...`; mend: what to change in the params.
    """
    longest, there = max(map(len, prompts)) + max_tokens, context(model)
    if longest > there:
        raise RLRFError(f"{what} and max_tokens make {longest} tokens, more than the LLM's context of {there}; {mend}")


def token_texts(tokenizer: Any) -> list[str]:
    """The text of every id that the tokenizer has, alone; special tokens and ids between give an empty text."""
    known = 1 + max(tokenizer.get_vocab().values())
    return list(tokenizer.batch_decode([[i] for i in range(known)], skip_special_tokens=True))


def stop_tokens(tokenizer: Any, texts: list[str], stop: list[str]) -> frozenset[int]:
    """Ids after which a text ends: tokens that hold one of the stop texts, and all special tokens."""
    holding = {i for i, text in enumerate(texts) if any(s in text for s in stop)}
    if not holding:
        raise RLRFError(f"sample.stop: no token of this LLM holds any of {stop}; texts would never stop")
    return frozenset(holding | set(tokenizer.all_special_ids))


def blank_tokens(texts: list[str]) -> frozenset[int]:
    """Ids of tokens that are white space or special: a text made of them alone is empty."""
    return frozenset(i for i, text in enumerate(texts) if not text.strip())


def to_text(tokenizer: Any, tokens: list[int], stop: list[str]) -> str:
    """The text of sampled tokens up to the first stop text, without white space around it."""
    text = str(tokenizer.decode(tokens, skip_special_tokens=True))
    for ending in stop:
        text = text.split(ending)[0] if text.strip(ending) else text
    return text.strip()
