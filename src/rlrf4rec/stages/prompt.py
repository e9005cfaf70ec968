"""Stage prompt: each user's prompt for the LLM, and the same profile as a template text without any LLM."""

from pathlib import Path

import polars as pl

from rlrf4rec import paths
from rlrf4rec.errors import InputError
from rlrf4rec.files import write_json
from rlrf4rec.llm.tokenizer import load_tokenizer
from rlrf4rec.params import Llm, Prompt
from rlrf4rec.prompting.plain import control_words, plain
from rlrf4rec.prompting.template import read
from rlrf4rec.prompting.written import NOBODY, write
from rlrf4rec.tables.interactions import ITEMS, text_names
from rlrf4rec.tables.split import FOLD_USERS, HISTORY
from rlrf4rec.tables.texts import PROMPTS, TEMPLATES


def run(prompt: Prompt, llm: Llm) -> str:
    """Write prompts and template texts; a prompt beyond max_tokens loses its least telling ratings, counted."""
    users, items = FOLD_USERS.read(paths.FOLD_USERS), ITEMS.read(paths.ITEMS)
    told = HISTORY.read(paths.HISTORY)
    if missing := users.join(told, on="user", how="anti", maintain_order="left")["user"].to_list():
        raise InputError(
            f"{paths.HISTORY}: {len(missing)} user(s) without history, the first {missing[0]!r}; run `dvc repro split`"
        )
    template = read(Path(prompt.template), prompt.titles, text_names(items))
    tokenizer = load_tokenizer(paths.LLM, llm.trust_remote_code is not None)
    items, mended = plain(items, control_words(tokenizer))
    history = told.join(items, on="item", how="left", maintain_order="left")
    train = users.filter(pl.col("fold") == "train").select("user")
    usual = history.join(train, on="user", how="semi")
    made = write(users.select("user"), history, usual, template, prompt, tokenizer)
    prompts, templates = made.prompts, made.templates
    PROMPTS.write(prompts, paths.PROMPTS)
    TEMPLATES.write(templates, paths.texts("template"))
    TEMPLATES.write(templates.with_columns(text=pl.lit(NOBODY)), paths.texts("none"))
    tokens = prompts["tokens"].list.len()
    report = {
        "prompts": prompts.height,
        "shortened": made.shortened,
        "tokens_mean": tokens.mean(),
        "tokens_max": tokens.max(),
    }
    domain = template.domain
    report |= {"template_version": template.version, "domain": domain.items, "factors": list(domain.factors)}
    report |= {"items_with_control_tokens": mended} if mended else {}
    write_json(paths.metrics("prompt"), report)
    plainer = f", {mended} items with control tokens of the LLM in what is told of them made plain" if mended else ""
    written = f"{prompts.height} prompts of at most {tokens.max()} tokens, {made.shortened} shortened"
    return f"wrote {paths.PROMPTS}, {written}{plainer}"
