"""Stage sample: N texts per user from a policy (the LLM with the adapter of the round before)."""

from pathlib import Path

import polars as pl

from rlrf4rec import paths, store
from rlrf4rec.errors import RLRFError
from rlrf4rec.files import fingerprint, sha256, write_json
from rlrf4rec.language.generate import Settings
from rlrf4rec.language.models import DTYPES, load_policy, load_tokenizer
from rlrf4rec.language.sampler import Sampler, blank_tokens, sample_texts, stop_tokens, to_text, token_texts
from rlrf4rec.language.shared_attention import NAME
from rlrf4rec.params import Sample
from rlrf4rec.seeds import derive
from rlrf4rec.tables.texts import PROMPTS, TEXTS

SAMPLING_CODE = ("language/generate", "language/nucleus", "language/sampler", "language/shared_attention")


def run(seed: int, sample: Sample, policy: str, adapter: str) -> str:
    """Sample and write the texts of `policy`; returns the closing line."""
    prompts = PROMPTS.read(paths.PROMPTS)
    tokenizer = load_tokenizer(paths.LLM)
    model = load_policy(paths.LLM, Path(adapter), DTYPES[sample.dtype], NAME)
    longest = int(prompts["tokens"].max()) + sample.max_tokens  # type: ignore[arg-type, operator]
    if longest > model.config.max_position_embeddings:
        raise RLRFError(
            f"sample: the longest prompt and max_tokens make {longest} tokens, more than the LLM's context of "
            f"{model.config.max_position_embeddings}; lower prompt.max_tokens or sample.max_tokens"
        )
    words = token_texts(tokenizer)
    settings = Settings(sample.temperature, sample.top_p, sample.max_tokens, stop_tokens(tokenizer, words, sample.stop))
    own_seed = derive(seed, "sample")
    sampler = Sampler(
        model,
        [tokenizer.encode(text) for text in prompts["prompt"]],
        settings,
        sample.n,
        own_seed,
        sample.redraws,
        blank_tokens(words),
        fingerprint([sha256(paths.LLM), sha256(Path(adapter)), store.code(*SAMPLING_CODE)]),
    )
    drawn = sample_texts(sampler, sample.batch_users, f"sample {policy}")
    stops = settings.stop
    texts = drawn.select(
        prompts["user"].gather(drawn["row"]).alias("user"),
        "sample",
        pl.Series("text", [to_text(tokenizer, t, sample.stop) for t in drawn["tokens"].to_list()]),
        pl.lit(policy).alias("policy"),
        "tokens",
        pl.col("tokens").list.len().cast(pl.Int64).alias("token_count"),
        pl.Series("stop", ["stop" if t[-1] in stops else "length" for t in drawn["tokens"].to_list()]),
        "redraws",
        pl.lit(sample.temperature).alias("temperature"),
        pl.lit(sample.top_p).alias("top_p"),
        pl.lit(sample.max_tokens, pl.Int64).alias("max_tokens"),
        pl.lit(own_seed, pl.Int64).alias("seed"),
    )
    TEXTS.write(texts, paths.texts(policy))
    report = {
        "texts": texts.height,
        "redrawn": int((texts["redraws"] > 0).sum()),
        "tokens_mean": texts["token_count"].mean(),
        "characters_mean": texts["text"].str.len_chars().mean(),
        "stopped_share": float((texts["stop"] == "stop").mean()),  # type: ignore[arg-type]
        "distinct_share": texts["text"].n_unique() / texts.height,
    }
    write_json(paths.metrics("sample", policy), report)
    return f"wrote {paths.texts(policy)}, {texts.height} texts of {prompts.height} users, {report['redrawn']} redrawn"
