"""Stage prompt: each user's prompt for the LLM, and the same profile as a template text without any LLM."""

from pathlib import Path
from typing import Any

import polars as pl

from rlrf4rec import paths
from rlrf4rec.errors import ParamsError, RLRFError
from rlrf4rec.files import write_json
from rlrf4rec.language import leaks
from rlrf4rec.language.plain import control_words, plain
from rlrf4rec.language.prompts import genre_shares, masked, named, telling, template_text
from rlrf4rec.language.template import Template, read
from rlrf4rec.language.tokenizer import load_tokenizer
from rlrf4rec.params import Llm, Prompt
from rlrf4rec.tables.interactions import ITEMS
from rlrf4rec.tables.split import FOLD_USERS, HISTORY
from rlrf4rec.tables.texts import PROMPTS, TEMPLATES

# Some chat templates name the day. Prompts must be the same on every day, so it is this one, which Llama 3.1's names.
TODAY = "{% macro strftime_now(format) %}26 Jul 2024{% endmacro %}"


def run(prompt: Prompt, llm: Llm) -> str:
    """Write prompts and template texts; a prompt beyond max_tokens loses its least telling ratings, counted."""
    users, template = FOLD_USERS.read(paths.FOLD_USERS), read(Path(prompt.template))
    tokenizer = load_tokenizer(paths.LLM, llm.trust_remote_code is not None)
    items, mended = plain(ITEMS.read(paths.ITEMS), control_words(tokenizer))
    history = HISTORY.read(paths.HISTORY).join(items, on="item", how="left", maintain_order="left")
    train = users.filter(pl.col("fold") == "train").select("user")
    usual = genre_shares(history.join(train, on="user", how="semi"))
    rows, texts, shortened = [], [], 0
    for (user,), frame in history.group_by("user", maintain_order=True):
        ratings = frame.to_dicts()
        row, cut = fitting(str(user), template, ratings, prompt, tokenizer)
        shortened += cut
        rows.append(row)
        texts.append({"user": user, "sample": 0, "text": template_text(ratings, usual, template.domain)})
    order = users.select("user")
    prompts = order.join(pl.DataFrame(rows), on="user", how="inner", maintain_order="left")
    templates = order.join(pl.DataFrame(texts), on="user", how="inner", maintain_order="left")
    if prompts.height != users.height:
        missing = users.join(prompts, on="user", how="anti")["user"].to_list()
        raise RLRFError(
            f"{paths.HISTORY}: {len(missing)} user(s) without history, the first {missing[0]!r}; run `dvc repro split`"
        )
    PROMPTS.write(prompts, paths.PROMPTS)
    TEMPLATES.write(templates, paths.TEMPLATES)
    tokens = prompts["tokens"]
    report = {"prompts": len(rows), "shortened": shortened, "tokens_mean": tokens.mean(), "tokens_max": tokens.max()}
    report |= {"template_version": template.version, "domain": template.domain, "factors": list(template.factors)}
    report |= {"items_with_control_tokens": mended} if mended else {}
    write_json(paths.metrics("prompt"), report)
    told = f", {mended} items with control tokens of the LLM in their title or genres made plain" if mended else ""
    return f"wrote {paths.PROMPTS}, {len(rows)} prompts of at most {tokens.max()} tokens, {shortened} shortened{told}"


def fitting(
    user: str, template: Template, ratings: list[dict[str, Any]], prompt: Prompt, tokenizer: Any
) -> tuple[dict[str, Any], bool]:
    """The prompt row of a user with as many of the most telling ratings as fit, and whether some did not.

    Where not all fit, disliked ones go first: likes say more.
    """
    shown = masked(ratings) if prompt.titles == "masked" else ratings
    asked = sum(map(len, telling(shown, prompt.liked, prompt.disliked)))
    sizes = [(prompt.liked, n) for n in range(prompt.disliked, 0, -1)] + [(n, 0) for n in range(prompt.liked, 0, -1)]
    for liked, disliked in sizes:
        best, worst = telling(shown, liked, disliked)
        text = template.write(named(best), named(worst))
        text = as_chat(text, template.prefix, tokenizer) if prompt.chat else text
        tokens = len(tokenizer.encode(text))
        if tokens <= prompt.max_tokens:
            leaks.check(user, text, shown)
            count = len(best) + len(worst)
            return {"user": user, "prompt": text, "tokens": tokens, "items": count}, count < asked
    raise RLRFError(
        f"prompt: user {user}: even one rating makes a prompt of more than max_tokens = {prompt.max_tokens}; "
        "raise prompt.max_tokens or use a shorter template"
    )


def as_chat(text: str, prefix: str, tokenizer: Any) -> str:
    """The prompt as a chat has it, the forced beginning where the answer begins; ParamsError for an LLM without one.

    The token of the beginning is left to the tokenizer where it puts one itself: there must not be two.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise ParamsError("prompt.chat: this LLM's tokenizer has no chat template; set it to false")
    asked = [{"role": "user", "content": text.removesuffix(prefix)}]
    form = TODAY + tokenizer.get_chat_template()
    made = tokenizer.apply_chat_template(asked, chat_template=form, tokenize=False, add_generation_prompt=True)
    chat = str(made) + prefix.lstrip()
    begin = tokenizer.bos_token
    return chat.removeprefix(begin) if begin and tokenizer.encode("")[:1] == [tokenizer.bos_token_id] else chat
