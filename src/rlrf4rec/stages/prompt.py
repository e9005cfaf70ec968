"""Stage prompt: each user's prompt for the LLM, and the same profile as a template text without any LLM."""

from pathlib import Path
from typing import Any

import polars as pl

from rlrf4rec import paths
from rlrf4rec.errors import RLRFError
from rlrf4rec.files import write_json
from rlrf4rec.language.models import load_tokenizer
from rlrf4rec.language.prompts import genre_shares, masked, telling, template_text, write
from rlrf4rec.params import Prompt
from rlrf4rec.tables.interactions import ITEMS
from rlrf4rec.tables.split import FOLD_USERS, HISTORY
from rlrf4rec.tables.texts import PROMPTS, TEMPLATES


def run(prompt: Prompt) -> str:
    """Write prompts and template texts; a prompt beyond max_tokens loses its least telling ratings, counted."""
    users, items = FOLD_USERS.read(paths.FOLD_USERS), ITEMS.read(paths.ITEMS)
    history = HISTORY.read(paths.HISTORY).join(items, on="item", how="left", maintain_order="left")
    examples = _examples(Path(prompt.template))
    tokenizer = load_tokenizer(paths.LLM)
    train = users.filter(pl.col("fold") == "train").select("user")
    usual = genre_shares(history.join(train, on="user", how="semi"))
    rows, texts, shortened = [], [], 0
    for (user,), frame in history.group_by("user", maintain_order=True):
        ratings = frame.to_dicts()
        row, cut = fitting(str(user), examples, ratings, prompt, tokenizer)
        shortened += cut
        rows.append(row)
        texts.append({"user": user, "sample": 0, "text": template_text(ratings, usual)})
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
    write_json(paths.metrics("prompt"), report)
    return f"wrote {paths.PROMPTS}, {len(rows)} prompts of at most {tokens.max()} tokens, {shortened} shortened"


def fitting(
    user: str, examples: str, ratings: list[dict[str, Any]], prompt: Prompt, tokenizer: Any
) -> tuple[dict[str, Any], bool]:
    """The prompt row of a user with as many of the most telling ratings as fit, and whether some did not.

    Where not all fit, disliked ones go first: likes say more.
    """
    shown = masked(ratings) if prompt.titles == "masked" else ratings
    asked = sum(map(len, telling(shown, prompt.liked, prompt.disliked)))
    sizes = [(prompt.liked, n) for n in range(prompt.disliked, 0, -1)] + [(n, 0) for n in range(prompt.liked, 0, -1)]
    for liked, disliked in sizes:
        best, worst = telling(shown, liked, disliked)
        text = write(examples, best, worst)
        tokens = len(tokenizer.encode(text))
        if tokens <= prompt.max_tokens:
            count = len(best) + len(worst)
            return {"user": user, "prompt": text, "tokens": tokens, "items": count}, count < asked
    raise RLRFError(
        f"prompt: user {user}: even one rating makes a prompt of more than max_tokens = {prompt.max_tokens}; "
        "raise prompt.max_tokens or use a shorter template"
    )


def _examples(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RLRFError(f"prompt.template: {path}: {error}") from None
    if not text.strip():
        raise RLRFError(f"prompt.template: {path} is empty; it must hold at least one example")
    return text
