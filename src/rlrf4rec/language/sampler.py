"""Sampling texts from a policy as a LightningModule run with `Trainer.predict`.

A text depends on the policy, its prompt, the settings, the seed and its sample index: its random numbers
come from a key of these alone. Prompts are batched by length and batches are kept in the store as they
finish, so a killed stage goes on where it was.
"""

import hashlib
from typing import Any

import lightning as L
import polars as pl
import torch
from torch.utils.data import DataLoader
from transformers import PreTrainedModel

from rlrf4rec import store
from rlrf4rec.errors import RLRFError
from rlrf4rec.files import fingerprint
from rlrf4rec.language import nucleus
from rlrf4rec.language.generate import Settings, common_prefix, generate, prefix_cache
from rlrf4rec.language.shared_attention import SharedCache
from rlrf4rec.progress import Progress


class PromptData(L.LightningDataModule):
    """Batches of prompts, the longest last."""

    def __init__(self, prompts: list[list[int]], batch_users: int) -> None:
        super().__init__()
        order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), prompts[i]))
        self.batches = [order[i : i + batch_users] for i in range(0, len(order), batch_users)]

    def predict_dataloader(self) -> DataLoader[list[int]]:
        """One element per batch: rows of the prompt list."""
        return DataLoader(self.batches, batch_size=None, collate_fn=list)  # type: ignore[arg-type]


class Sampler(L.LightningModule):
    """Samples n token lists for each prompt of a batch; the result of a batch is a table of its rows."""

    def __init__(
        self,
        model: PreTrainedModel,
        prompts: list[list[int]],
        settings: Settings,
        n: int,
        seed: int,
        redraws: int,
        blank: frozenset[int],
        identity: str | None,
    ) -> None:
        """`blank`: tokens that are white space; `identity`: names the policy in the store, None keeps nothing."""
        super().__init__()
        self.model, self.prompts, self.settings = model, prompts, settings
        self.n, self.seed, self.redraws, self.blank, self.identity = n, seed, redraws, blank, identity
        self.prefix_length = common_prefix(prompts)
        self.prefix: SharedCache | None = None
        self.progress: Progress | None = None

    def predict_step(self, rows: list[int]) -> pl.DataFrame:
        """Table row, sample, tokens, redraws of the batch's prompts."""
        key = self._key(rows)
        finished = store.load("sample", key) if key else None
        if finished is None:
            finished = self._sample(rows)
            if key:
                store.save("sample", key, finished)
        if self.progress:
            self.progress.advance(len(rows))
        return finished

    def _key(self, rows: list[int]) -> str | None:
        if self.identity is None:
            return None
        settings = {**vars(self.settings), "stop": sorted(self.settings.stop), "dtype": str(self.model.dtype)}
        more = [self.n, self.seed, self.redraws, self.prefix_length, torch.get_num_threads()]
        return fingerprint([self.identity, settings, more, rows, [self.prompts[r] for r in rows]])

    def _sample(self, rows: list[int]) -> pl.DataFrame:
        if self.prefix is None:
            tokens = self.prompts[0][: self.prefix_length]
            self.prefix = prefix_cache(self.model, tokens, self.settings.max_tokens)
        prompts = [self.prompts[row] for row in rows]
        texts = self._draw(prompts, 0)
        redraws = [[0] * self.n for _ in prompts]
        for attempt in range(1, self.redraws + 1):
            empty = [i for i, user in enumerate(texts) if any(self._is_blank(t) for t in user)]
            if not empty:
                break
            again = self._draw([prompts[i] for i in empty], attempt)
            for i, user in zip(empty, again, strict=True):
                for sample, tokens in enumerate(user):
                    if self._is_blank(texts[i][sample]):
                        texts[i][sample], redraws[i][sample] = tokens, attempt
        drawn = [
            {"row": row, "sample": sample, "tokens": texts[i][sample], "redraws": redraws[i][sample]}
            for i, row in enumerate(rows)
            for sample in range(self.n)
        ]
        schema: dict[str, Any] = {"row": pl.Int64, "sample": pl.Int64, "tokens": pl.List(pl.Int64), "redraws": pl.Int64}
        return pl.DataFrame(drawn, schema=schema)

    def _draw(self, prompts: list[list[int]], attempt: int) -> list[list[list[int]]]:
        assert self.prefix is not None
        uniform = torch.stack(
            [
                nucleus.uniforms(
                    [(self.seed, _hash(prompt), sample, attempt) for sample in range(self.n)], self.settings.max_tokens
                )
                for prompt in prompts
            ]
        )
        return generate(self.model, prompts, uniform, self.prefix, self.settings)

    def _is_blank(self, tokens: list[int]) -> bool:
        return all(t in self.blank or t in self.settings.stop for t in tokens)


def _hash(tokens: list[int]) -> int:
    return int.from_bytes(hashlib.sha256(repr(tokens).encode()).digest()[:8], "big")


def sample_texts(sampler: Sampler, batch_users: int, what: str) -> pl.DataFrame:
    """Run the sampler over all its prompts; returns row, sample, tokens, redraws, ordered by row and sample.

    RLRFError when an answer stays blank after all redraws.
    """
    data = PromptData(sampler.prompts, batch_users)
    sampler.progress = Progress(len(sampler.prompts), what)
    trainer = L.Trainer(
        logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="auto", devices=1
    )
    pieces = trainer.predict(sampler, datamodule=data)
    sampler.progress.close()
    texts = pl.concat(pieces).sort("row", "sample")  # type: ignore[arg-type]
    blank = [t["row"] for t in texts.iter_rows(named=True) if sampler._is_blank(t["tokens"])]
    if blank:
        raise RLRFError(
            f"{what}: {len(blank)} answer(s) stayed empty after {sampler.redraws} redraws (first: prompt {blank[0]}); "
            "look at the prompt, or raise sample.redraws or sample.temperature"
        )
    return texts


def token_texts(tokenizer: Any) -> list[str]:
    """The text of every token alone; special tokens give an empty text."""
    return list(tokenizer.batch_decode([[i] for i in range(len(tokenizer))], skip_special_tokens=True))


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
