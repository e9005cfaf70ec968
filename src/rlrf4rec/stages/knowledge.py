"""Stage knowledge: the texts about items: none, their description, or the description with the LLM's facts (KAR)."""

from pathlib import Path

import polars as pl

from rlrf4rec import paths, store
from rlrf4rec.errors import RLRFError
from rlrf4rec.files import fingerprint, sha256, write_json
from rlrf4rec.language.prompts import describe, item_description
from rlrf4rec.params import Knowledge
from rlrf4rec.seeds import derive
from rlrf4rec.tables.interactions import ITEMS
from rlrf4rec.tables.texts import ITEM_TEXTS


def run(seed: int, knowledge: Knowledge) -> str:
    """Write one text per item; returns the closing line. `none` gives every item the same text."""
    items = ITEMS.read(paths.ITEMS)
    rows = items.to_dicts()
    if knowledge.items == "none":
        texts = ["item"] * len(rows)
    else:
        texts = [item_description(r["title"], r["year"], r["genres"]) for r in rows]
    if knowledge.items == "llm":
        named = [describe(r["title"], r["year"], r["genres"]) for r in rows]
        texts = [f"{text}. {fact}" for text, fact in zip(texts, _facts(named, knowledge, seed), strict=True)]
    written = items.select("item", pl.lit(0, pl.Int64).alias("sample"), pl.Series("text", texts))
    ITEM_TEXTS.write(written, paths.ITEM_TEXTS)
    characters = written["text"].str.len_chars().mean()
    write_json(
        paths.metrics("knowledge"), {"items": knowledge.items, "texts": len(texts), "characters_mean": characters}
    )
    return f"wrote {paths.ITEM_TEXTS}, {len(texts)} texts ({knowledge.items})"


def _facts(named: list[str], p: Knowledge, seed: int) -> list[str]:
    """What the LLM says about each item, one text each."""
    from rlrf4rec.language.generate import Settings
    from rlrf4rec.language.models import DTYPES, load_policy, load_tokenizer
    from rlrf4rec.language.sampler import Sampler, blank_tokens, sample_texts, stop_tokens, to_text, token_texts
    from rlrf4rec.language.shared_attention import NAME

    try:
        examples = Path(p.template).read_text(encoding="utf-8").rstrip()
    except (OSError, UnicodeDecodeError) as error:
        raise RLRFError(f"knowledge.template: {p.template}: {error}") from None
    tokenizer = load_tokenizer(paths.LLM)
    words = token_texts(tokenizer)
    settings = Settings(p.temperature, p.top_p, p.max_tokens, stop_tokens(tokenizer, words, ["\n"]))
    sampler = Sampler(
        load_policy(paths.LLM, paths.NO_ADAPTER, DTYPES[p.dtype], NAME),
        [tokenizer.encode(f"{examples}\n\nMovie: {name}\nFacts:") for name in named],
        settings,
        1,
        derive(seed, "knowledge"),
        3,
        blank_tokens(words),
        fingerprint([sha256(paths.LLM), store.code("language/generate", "language/sampler", "language/nucleus")]),
    )
    drawn = sample_texts(sampler, p.batch, "knowledge")["tokens"].to_list()
    return [to_text(tokenizer, tokens, ["\n"]) for tokens in drawn]
