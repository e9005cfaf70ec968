"""Stage knowledge: the texts about items: none, their description, or the description with the LLM's facts (KAR)."""

from collections.abc import Callable
from pathlib import Path

import polars as pl

from rlrf4rec import machine, paths, store
from rlrf4rec.errors import ParamsError, entry
from rlrf4rec.files import fingerprint, write_json
from rlrf4rec.params import Knowledge, Llm
from rlrf4rec.prompting import domain
from rlrf4rec.prompting.plain import control_words, plain
from rlrf4rec.seeds import derive
from rlrf4rec.tables.interactions import ITEMS, text_names
from rlrf4rec.tables.texts import ITEM_TEXTS

ITEM = "{item}"


def run(seed: int, knowledge: Knowledge, llm: Llm) -> str:
    """Write one text per item; returns the closing line. `none` gives every item the same text."""
    items = ITEMS.read(paths.ITEMS)
    texts = entry(SAID, knowledge.items, "knowledge.items")(items, knowledge, llm, seed)
    written = items.select("item", pl.lit(0, pl.Int64).alias("sample"), pl.Series("text", texts))
    ITEM_TEXTS.write(written, paths.texts("items"))
    characters = written["text"].str.len_chars().mean()
    report = {"items": knowledge.items, "texts": len(texts), "characters_mean": characters}
    told = f"wrote {paths.texts('items')}, {len(texts)} texts ({knowledge.items})"
    if knowledge.items == "llm":
        report["arithmetic"] = machine.arithmetic(knowledge.dtype, machine.device(llm.device), threads=1)
        told = f"{told}; {report['arithmetic']}"
    write_json(paths.metrics("knowledge"), report)
    return told


def _nothing(items: pl.DataFrame, p: Knowledge, llm: Llm, seed: int) -> list[str]:
    return ["item"] * items.height


def _description(items: pl.DataFrame, p: Knowledge, llm: Llm, seed: int) -> list[str]:
    words = domain.read(Path(p.template), "knowledge.template", text_names(items)).domain
    return [words.described(r["title"], r["year"], r["genres"], r.get("texts")) for r in items.iter_rows(named=True)]


def _with_facts(items: pl.DataFrame, p: Knowledge, llm: Llm, seed: int) -> list[str]:
    facts = _facts(items, p, llm, seed)
    return [f"{text}. {fact}" for text, fact in zip(_description(items, p, llm, seed), facts, strict=True)]


SAID: dict[str, Callable[[pl.DataFrame, Knowledge, Llm, int], list[str]]] = {
    "none": _nothing,
    "description": _description,
    "llm": _with_facts,
}  # of each item, by the name in the params


def _facts(items: pl.DataFrame, p: Knowledge, llm: Llm, seed: int) -> list[str]:
    """What the LLM says about each item, one text each."""
    from rlrf4rec.llm.models import DTYPES, Place, load_policy
    from rlrf4rec.llm.tokenizer import load_tokenizer
    from rlrf4rec.sampling.generate import SamplingSettings
    from rlrf4rec.sampling.sampler import (
        Sampler,
        blank_tokens,
        check_fit,
        sample_texts,
        stop_tokens,
        to_text,
        token_texts,
    )
    from rlrf4rec.sampling.shared_attention import NAME

    file = domain.read(Path(p.template), "knowledge.template", text_names(items))
    words, asked = file.domain, file.question
    if asked.count(ITEM) != 1:
        raise ParamsError(
            f"knowledge.template: {p.template}: {ITEM} must stand once, not {asked.count(ITEM)} times, in the question "
            "about an item, the section '--- question' of a domain"
        )
    where = Place.of(llm.device, llm.quantization, llm.trust_remote_code)
    tokenizer = load_tokenizer(paths.LLM, where.trusted)
    texts = token_texts(tokenizer)
    mended, _ = plain(items, control_words(tokenizer))
    named = [words.rated(r["title"], r["year"], r["genres"], r.get("texts")) for r in mended.iter_rows(named=True)]
    stop = stop_tokens(tokenizer, texts, ["\n"])
    settings = SamplingSettings(p.temperature, p.top_k, p.top_p, p.max_tokens, stop, len(texts))
    model = load_policy(paths.LLM, paths.policy("base"), DTYPES[p.dtype], NAME, where)
    prompts = [tokenizer.encode(asked.replace(ITEM, name)) for name in named]
    mend = "lower knowledge.max_tokens, or shorten the question in knowledge.template"
    check_fit(model, prompts, p.max_tokens, "knowledge: the longest question", mend)
    sampler = Sampler(
        model,
        prompts,
        settings,
        1,
        derive(seed, "knowledge"),
        3,
        blank_tokens(texts),
        fingerprint([where.identity(paths.LLM), store.code("stages.knowledge", threads=1)]),
    )
    drawn = sample_texts(sampler, p.batch, "knowledge")["tokens"].to_list()
    return [to_text(tokenizer, tokens, ["\n"]) for tokens in drawn]
